"""Every command that the README gives for a user's own documents, run as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import lab.grade
import lab.practice.__main__
import lab.search
from lab.__main__ import command_line
from lab.records import write_jsonl
from lab.worlds.statutes import StatuteBook

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    section = README.split("## Your own documents")[1].split("\n## ")[0]
    return [line for block in re.findall(r"```bash\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]


def run(command: str) -> int:
    python, minus, module, *arguments = shlex.split(command)
    assert (python, minus) == ("python", "-m")
    if module != "lab":
        mains = {"lab.search": lab.search, "lab.practice": lab.practice.__main__, "lab.grade": lab.grade}
        return mains[module].main(arguments)
    sys.argv = ["lab", *arguments]
    return command_line()


@pytest.mark.slow
def test_the_commands_for_own_documents_work_as_they_stand(tmp_path, book: StatuteBook, random_model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    acts = book.documents()[:3]
    for folder, texts in {"docs": acts, "general": book.reworded(1)[:2]}.items():
        Path(folder).mkdir()
        for document in texts:
            Path(folder, f"{document.id}.md").write_text(document.text, encoding="utf-8")
    asked = [question for question in book.exam() if {act.id for act in acts} >= set(question.documents)][:4]
    write_jsonl(Path("exam.jsonl"), asked)
    write_jsonl(Path("theirs.jsonl"), [{"id": question.id, "answer": question.answers[0]} for question in asked])
    shutil.copytree(random_model, "MODEL")
    given = commands()
    assert len(given) >= 7
    for command in given:
        # A budget for a person's model would take the suite's whole time; nothing else is changed.
        small = re.sub(r"training.tokens=\d+", "training.tokens=2000", command)
        if "corpus.practice" in small:
            # A random model writes nothing that can be used: what a real one would have written stands in for it.
            write_jsonl(Path("practice", "practice.jsonl"), book.practice()[:4])
            shutil.copytree("general", "practice/reworded", dirs_exist_ok=True)
            small += " training.tokens=4000"
        assert run(small) == 0, command
    graded = [json.loads(path.read_text()) for path in Path("runs").rglob("graded-*/**/manifest.json")]
    assert {manifest["pipeline"] for manifest in graded} == {"theirs"}


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`((?:corpus|general|model|exam|training)\.\w+)=", README))))
def test_every_option_that_the_readme_names_is_in_a_configuration(option):
    group, name = option.split(".")
    conf = Path(__file__).parent.parent / "conf"
    files = [conf / "config.yaml"] if group == "training" else sorted((conf / group).glob("*.yaml"))
    assert any(re.search(rf"^ *{name}:", file.read_text(), re.MULTILINE) for file in files), option
