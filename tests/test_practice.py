"""Practice written by a scripted model: what is taken, what is dropped and why, and that nothing is asked twice."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from lab.adapt.mixture import domain_texts
from lab.corpus.folder import FolderCorpus
from lab.exam.leaks import LeakGuard
from lab.model import Generation
from lab.practice.__main__ import main
from lab.practice.tasks import copy_fault, language_of, pairs, tasks
from lab.practice.writing import publish, write
from lab.records import LabError, Passage, Question, read_jsonl, write_jsonl

ACT = "# The Harbour Act\n\n## Section 1\n\nThe fee of the harbour is 45 crowns. The harbour court hears appeals.\n"
LAW = "# 港口法\n\n## 第一条\n\n港口的费用为四十五元，由船长在30日内缴纳。\n"  # noqa: RUF001
EXAM = Question("exam-1", "How many crowns must every ship pay for one day in the harbour?", ("45",))
SECRET = "a question that no prompt may hold"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "act.md").write_text(ACT)
    (folder / "法.md").write_text(LAW)
    return folder


class Scripted:
    """Replies by what the prompt holds; `stop_after` batches it is interrupted."""

    digest = "scripted"

    def __init__(self, stop_after: int | None = None, fail: tuple[str, ...] = ()) -> None:
        self.asked: list[str] = []
        self.stop_after, self.fail = stop_after, fail

    def generate(self, prompts, max_new_tokens, progress=lambda done: None, several_lines=False):
        if self.stop_after is not None and not self.stop_after:
            raise KeyboardInterrupt
        self.stop_after = None if self.stop_after is None else self.stop_after - 1
        self.asked += prompts
        progress(len(prompts))
        return [
            Generation("", 0, 0, "the server says 500") if any(word in p for word in self.fail) else
            Generation(self._say(p), len(p), 9) for p in prompts
        ]  # fmt: skip

    def _say(self, asked: str) -> str:
        if asked.startswith("Write 2 questions"):
            return (
                "Q: What is the fee of the harbour?\nA: 45 crowns\n"
                f"Q: {EXAM.question}\nA: 45 crowns\nQ: What colour is it?\nA: blue\n"
            )
        if asked.startswith("请根据"):
            return "问：港口的费用是多少？\n答：四十五元\n"  # noqa: RUF001
        if asked.startswith("Write this"):
            return "Whoever uses the harbour pays 45 crowns; its court hears appeals."
        return "船长要在30日之内缴纳港口费用四十五元。"


def test_what_is_written_can_be_trained_on_and_holds_no_exam_question(documents, tmp_path, monkeypatch, capsys):
    exam = tmp_path / "exam.jsonl"
    write_jsonl(exam, [{"id": q.id, "question": q.question, "answers": list(q.answers)} for q in (
        EXAM, Question("exam-2", SECRET, ("x",)))])  # fmt: skip
    model = Scripted()
    monkeypatch.setattr("lab.practice.__main__._base", lambda given: _Loads(model))
    arguments = f"{documents} --out {tmp_path / 'out'} --questions 2 --reworded 1 --exam {exam} --device cpu".split()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "2 questions and 2 reworded passages of 2 passages" in said
    assert "exam question exam-1" in said
    assert "1 x an answer that is not in the passage" in said
    assert not [prompt for prompt in model.asked if SECRET in prompt or EXAM.question in prompt]

    out = tmp_path / "out"
    corpus = FolderCorpus(str(documents), practice=str(out / "practice.jsonl"), reworded=str(out / "reworded")).load()
    assert sorted(q.answers[0] for q in corpus.practice) == ["45 crowns", "四十五元"]
    texts = domain_texts(corpus, ["documents", "reworded", "practice"])
    assert Counter(text.source for text in texts) == {"documents": 2, "reworded": 2, "practice": 1}
    LeakGuard([EXAM]).check((text.source, text.plain) for text in texts)
    costs = list(read_jsonl(out / "costs.jsonl"))
    assert [row["phase"] for row in costs] == ["practice questions", "practice reworded"]
    assert sum(row["tokens"] for row in costs) == sum(map(len, model.asked)) + 9 * 4
    assert [row["detail"]["calls"] for row in costs] == [2, 2]
    assert [dataclasses.asdict(bill) for bill in corpus.bills] == costs

    before = (out / "practice.jsonl").read_bytes()
    assert main(arguments) == 0
    assert len(model.asked) == 4  # nothing is asked twice
    assert (out / "practice.jsonl").read_bytes() == before
    assert list(read_jsonl(out / "costs.jsonl")) == costs


class _Loads:
    def __init__(self, model) -> None:
        self.model = model

    def load(self, device):
        return self.model


def test_after_a_kill_only_what_is_missing_is_asked(tmp_path):
    passages = [Passage(f"p{n}", "d", "T", f"The fee of lot {n} is {n} crowns.", 0, 1) for n in range(40)]
    wanted = tasks(passages, 2, 0, 100)
    first = Scripted(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        write(wanted, first, tmp_path)
    file = tmp_path / "replies.jsonl"
    assert len(first.asked) == len(file.read_text().splitlines()) == 16
    file.write_text(file.read_text()[:-20])  # a kill in the middle of a line
    second = Scripted(fail=("lot 30 ",))
    replies = write(wanted, second, tmp_path)
    assert len(second.asked) == 40 - 15
    assert len(replies) == 39
    made = publish(wanted, replies, second, tmp_path, None)
    assert made.dropped["the model did not answer"] == 1
    third = Scripted()
    assert len(write(wanted, third, tmp_path)) == 40
    assert [re.search(r"lot (\d+)", prompt)[1] for prompt in third.asked] == ["30"]
    publish(wanted, replies, third, tmp_path, None)
    (row,) = read_jsonl(tmp_path / "costs.jsonl")
    assert row["detail"] == {"calls": 41, "failed": 1}


def test_a_leak_that_was_written_twice_is_dropped_twice(tmp_path):
    class Copycat(Scripted):
        def _say(self, asked: str) -> str:
            return f"Q: {EXAM.question}\nA: 45 crowns"

    wanted = tasks([Passage(f"p{n}", "d", "T", "The fee is 45 crowns.", 0, 1) for n in range(2)], 2, 0, 100)
    model = Copycat()
    made = publish(wanted, write(wanted, model, tmp_path), model, tmp_path, LeakGuard([EXAM]))
    assert made.questions == 0
    assert made.leaks == [("practice-p0-1", "exam-1"), ("practice-p1-1", "exam-1")]


PASSAGE = Passage("p", "d", "Harbour Act", "The fee is 45 crowns a day, paid within 30 days.", 0, 48)


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("Q: How much?\nA: 45 crowns\n\nQ1: When?\nA1: within 30 days.", 2, []),
        ("问：多少？\n答：45", 1, []),  # noqa: RUF001
        ("Here are questions:\nQ: How much?\nA: 45", 1, ["neither"]),
        ("Q: How much?\nQ: When?\nA: 30 days", 1, ["without an answer"]),
        ("Q: How much?\nA: 46 crowns", 0, ["not in the passage"]),
        ("Q: How much?\nA: 45\nQ: how much\nA: 45", 1, ["twice"]),
        ("Q: \nA: 45", 0, ["empty"]),
        ("A: 45", 0, ["neither"]),
        ("", 0, ["no question"]),
        ("Q: " + "x" * 301 + "\nA: 45", 0, ["too long"]),
    ],
)
def test_only_whole_pairs_with_an_answer_from_the_passage_are_taken(text, good, bad):
    taken, faults = pairs(text, PASSAGE, True)
    assert (len(taken), len(faults)) == (good, len(bad))
    assert all(part in fault for part, fault in zip(bad, faults, strict=True))


def test_a_text_that_was_cut_off_loses_its_last_line():
    assert pairs("Q: How much?\nA: 45 crowns\nQ: When?\nA: 30", PASSAGE, False)[0] == [("How much?", "45 crowns")]
    assert copy_fault("Forty-five", PASSAGE, False) == "a copy that was cut off"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Pay 45 crowns daily, 30 days at most.", None), ("Pay 45 crowns daily, a month at most.", "lost a number"),
        (PASSAGE.text.upper(), "itself"), ("45 30", "shorter"), (" ", "empty"), ("…", "shorter"),
    ],
)  # fmt: skip
def test_a_copy_says_the_same_in_other_words(text, fault):
    found = copy_fault(text, PASSAGE, True)
    assert (found is None) if fault is None else (fault in found)


def test_prompts_are_in_the_language_of_the_passage():
    assert [language_of(text) for text in (ACT, LAW, "", "The word 法 is Chinese for law.")] == ["en", "zh", "en", "en"]
    made = tasks([PASSAGE], 1, 6, 100)
    assert len({task.prompt for task in made}) == 7  # every copy is asked for in another way
    with pytest.raises(LabError, match="reworded=7"):
        tasks([PASSAGE], 1, 7, 100)
    with pytest.raises(LabError, match="something to do"):
        tasks([PASSAGE], 0, 0, 100)


def test_mistakes_are_named_before_anything_is_asked(documents, tmp_path, capsys):
    for arguments, named in (
        (f"{documents} --out {tmp_path / 'o'}", "no model"),
        (f"{documents} --out {tmp_path / 'o'} --url http://127.0.0.1:9/v1", "--name"),
        (f"{documents} --out {tmp_path / 'o'} --model ./none --exam ./none.jsonl", "none.jsonl: no such file"),
        (f"{documents} --out {tmp_path / 'o'} --model ./none", "model.path=./none"),
    ):
        assert main(arguments.split()) == 2
        assert named in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_real_model_goes_the_whole_way(documents, tmp_path, random_model, capsys):
    out = tmp_path / "out"
    assert main(f"{documents} --out {out} --model {random_model} --answer-tokens 8 --device cpu".split()) == 0
    assert "0 questions and 0 reworded passages" in capsys.readouterr().out  # it knows nothing, and nothing is guessed
    assert {row["why"] for row in read_jsonl(out / "dropped.jsonl")}
    assert json.loads((out / "costs.jsonl").read_text())["tokens"] > 0
