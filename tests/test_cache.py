"""What is kept is taken again exactly where it would be made the same.

Two small runs keep one thing of every kind: LoRA with text that the base wrote, asked with a hybrid search, and
continued pretraining with a folder of general text, asked with gold passages. Each row of the table changes one input
and names what either run then makes; all that a row does not name is reused, counted by what the manifests say.
"""

from __future__ import annotations

import ast
import gc
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cached_runs import REPLAYED, RUNS, Inputs, write_inputs
from safetensors.torch import load_file, save_file

import lab.code
from lab.corpus.folder import FolderReplay
from lab.flops import Flops
from lab.records import read_jsonl
from lab.runtime import versions
from lab.store import MANIFEST


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """What decides on nothing that is kept is left out: checks, waits, counted operations."""
    gc.collect()
    gc.freeze()  # A run collects garbage, which takes half a second of all that other tests have left.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.base.BaseModel._check", lambda *_: None)
        patch.setattr("lab.store._sync", lambda _: None)
        patch.setattr("lab.run._wait", lambda *_, **__: [])
        patch.setattr("lab.model.LanguageModel.work", lambda *_: {})
        patch.setattr("lab.adapt.fit._step_flops", lambda *_: Flops(1, 0, 1))
        patch.setattr("lab.framing.bounded", lambda work, _: work())
        patch.setattr("lab.quiz.QUESTIONS", 1)
        yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs with all that the first two runs kept."""
    inputs = write_inputs(tmp_path_factory.mktemp("cache") / "before")
    made = inputs.run(RUNS)
    assert {route: set(new) for route, (new, _) in made.items()} == RUNS
    assert not any(kept for _, kept in made.values())
    return inputs.root


def edit(name: str, old: str, new: str) -> Callable[[Inputs, pytest.MonkeyPatch], None]:
    """Change a text in a file of the inputs."""

    def change(inputs: Inputs, _: pytest.MonkeyPatch) -> None:
        text = (inputs.root / name).read_text()
        assert old in text
        (inputs.root / name).write_text(text.replace(old, new, 1))

    return change


def tensor(name: str) -> Callable[[Inputs, pytest.MonkeyPatch], None]:
    """Change one number of a weight file."""

    def change(inputs: Inputs, _: pytest.MonkeyPatch) -> None:
        weights = load_file(inputs.root / name)
        next(iter(weights.values())).view(-1)[0] += 1
        save_file(weights, inputs.root / name, {"format": "pt"})

    return change


def setting(part: str, /, **values: Any) -> Callable[[Inputs, pytest.MonkeyPatch], None]:
    return lambda inputs, _: inputs.set(part, **values)


def version(package: str) -> Callable[[Inputs, pytest.MonkeyPatch], None]:
    """Another version of a library, as far as it says so."""

    def change(_: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
        known = versions()
        assert package in known
        monkeypatch.setattr("lab.runtime._version", lambda name: "0.0" if name == package else known[name])

    return change


def code(module: str) -> Callable[[Inputs, pytest.MonkeyPatch], None]:
    """Another code of a module."""
    syntax = lab.code._syntax

    def change(_: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
        other = ast.parse("pass")
        monkeypatch.setattr("lab.code._syntax", lambda name: other if name == module else syntax(name))
        lab.code.digest_code.cache_clear()

    return change


def file(name: str, text: str) -> Callable[[Inputs, pytest.MonkeyPatch], None]:
    return lambda inputs, _: (inputs.root / name).write_text(text)


def prompt(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.exam.prompts.INSTRUCTION", "Answer briefly, or say unknown.\n")


def renamed(inputs: Inputs, _: pytest.MonkeyPatch) -> None:
    (inputs.root / "corpus" / "weights.md").rename(inputs.root / "corpus" / "scales.md")


def damaged(inputs: Inputs, _: pytest.MonkeyPatch) -> None:
    (index,) = inputs.root.glob("artifacts/index/*/index.faiss")
    index.write_bytes(index.read_bytes()[:-1] + b"?")


def late(inputs: Inputs, _: pytest.MonkeyPatch) -> None:
    texts = FolderReplay(str(inputs.root / "replay")).texts(0)
    *_, last = itertools.islice(texts, REPLAYED)
    edit(f"replay/{last.text.split()[-4]:>03}.md", "fair", "feast")(inputs, _)


def moved(inputs: Inputs, _: pytest.MonkeyPatch) -> None:
    inputs.root = inputs.root.rename(inputs.root.with_name("elsewhere"))


LOWERCASE = '{"type": "Lowercase"}'
ASKED = "exam general"
ANEW = f"lora {ASKED}", f"weights {ASKED}"  # Weights, and answers with them.
BASE = f"replay lora {ASKED}", f"weights {ASKED}"
SEARCH = f"vectors dense bm25 {ASKED}"
FOUND = "exam? general?"  # Anew where other passages are found, or the same with other scores.
# By what is changed: how, and what the two runs then make. None: the run shows no more than other rows do.
TABLE: dict[str, tuple[Callable[[Inputs, pytest.MonkeyPatch], None], str | None, str | None]] = {
    "nothing": (lambda inputs, _: None, "", ""),
    "the place of it all": (moved, "", ""),
    # The base
    "a weight of the base": (tensor("base/model.safetensors"), *BASE),
    "its tokenizer": (edit("base/tokenizer.json", '"normalizer": null', f'"normalizer": {LOWERCASE}'), BASE[0], None),
    "a vocabulary beside it": (file("base/words.tiktoken", "a 1"), BASE[0], "weights"),
    "its chat template": (edit("base/chat_template.jinja", "Today Date", "The Date"), BASE[0], None),
    "its configuration": (edit("base/config.json", '"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'), BASE[0], None),
    "whether it chats": (setting("model", chat=False), BASE[0], None),
    "its attention": (setting("model", attention="eager"), None, BASE[1]),
    "the dtype it answers in": (setting("model", dtype="bfloat16"), f"replay lora {ASKED}", ASKED),
    # The corpus
    "a byte of a document": (edit("corpus/weights.md", "45", "46"), f"{SEARCH} lora", ANEW[1]),
    "a document's name": (renamed, f"dense bm25 {FOUND}", ""),
    "a passage's size": (setting("corpus", max_tokens=12), SEARCH, "exam"),
    "a practice question": (edit("practice.jsonl", "keeps", "has"), *ANEW),
    # The exam and the general suite
    "a question's wording": (edit("exam.jsonl", "Who lights", "Who sees to"), None, "exam"),
    "a reference answer": (edit("exam.jsonl", "the warden", "warden"), None, "exam"),
    "a question's part": (edit("exam.jsonl", '"id": "e-lamps"', '"part": "new", "id": "e-lamps"'), None, ""),
    "how many are asked": (setting("run", limit=1), None, "exam"),
    "a general question": (edit("general.jsonl", "legs", "hoofs"), None, "general"),
    "a held-out text": (edit("general.txt", "tail", "mane"), "", ""),
    # What is on the desk
    "the prompt": (prompt, *ANEW),
    "top-k": (setting("retrieved", k=1), ASKED, None),
    "the order of passages": (setting("retrieved", order="best_last"), ASKED, None),
    "passages beside the gold one": (setting("gold", k=2), None, ASKED),
    "the longest answer": (setting("run", answer_tokens=5), ASKED, ASKED),
    # The search
    "a weight of the encoder": (tensor("encoder/model.safetensors"), f"vectors dense {FOUND}", None),
    "its pooling": (edit("encoder/1_Pooling/config.json", '"mean"', '"cls"'), f"vectors dense {FOUND}", None),
    "the precision it computes in": (setting("dense", precision="bfloat16"), f"vectors dense {FOUND}", None),
    "the kind of index": (setting("dense", index="HNSW32"), f"dense {FOUND}", None),
    "a setting of BM25": (setting("bm25", b=0.5), f"bm25 {FOUND}", None),
    # The training
    "the adapter's rank": (setting("lora", rank=4), ANEW[0], None),
    "the adapter's dropout": (setting("lora", dropout=0.1), ANEW[0], None),
    "where the adapter is added": (setting("lora", merged=False), ASKED, None),
    "the weights that are trained": (setting("weights", part="top:1"), None, ANEW[1]),
    "the learning rate": (setting("training", learning_rate=2e-3), *ANEW),
    "the share of general text": (setting("training", general_share=0.2), *ANEW),
    "the text that the base writes": (setting("self", tokens=9), BASE[0], None),
    "a text of the general folder that is not reached": (late, None, "weights"),
    "how often its state is kept": (setting("training", checkpoint_seconds=9.0), "", ""),
    # All of it
    "the seed": (setting("run", seed=1), *BASE),
    "the run's name and arm": (setting("run", name="other", arm="b", overrides=("a=b",)), "", ""),
    "torch": (version("torch"), f"{BASE[0]} vectors dense", BASE[1]),
    "transformers": (version("transformers"), f"{BASE[0]} vectors dense", BASE[1]),
    "peft": (version("peft"), ANEW[0], "weights"),
    "accelerate": (version("accelerate"), "lora", "weights"),
    "sentence-transformers": (version("sentence-transformers"), "vectors dense", None),
    "faiss": (version("faiss-cpu"), "dense", None),
    "bm25s": (version("bm25s"), "bm25", None),
    "pandas": (version("pandas"), "", ""),
    "the code that trains": (code("lab.adapt.fit"), ANEW[0], "weights"),
    "a module that it imports": (code("lab.loss"), ANEW[0], "weights"),
    "the code of LoRA": (code("lab.adapt.lora"), ANEW[0], None),
    "the code of replay": (code("lab.adapt.replay"), f"replay {ANEW[0]}", None),
    "the code that answers": (code("lab.student"), ASKED, ASKED),
    "the code that encodes": (code("lab.context.embedder"), "vectors dense", None),
    "the code that finds words": (code("lab.context.words"), "bm25", None),
    "the code of the model": (code("lab.scoring"), BASE[0], BASE[1]),
    "the code that tells of it": (code("lab.progress"), "", ""),
    "the code that grades": (code("lab.judge.grading"), "", ""),
    "a kept index that was damaged": (damaged, "dense", None),
}  # fmt: skip


@pytest.mark.parametrize("changed", TABLE)
def test_what_depends_on_a_change_is_made_anew_and_nothing_else(
    changed: str, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, *cells = TABLE[changed]
    expected = {route: words.split() for route, words in zip(RUNS, cells, strict=True) if words is not None}
    inputs = Inputs(Path(shutil.copytree(before, tmp_path / "after")))
    try:
        change(inputs, monkeypatch)
        found = inputs.run(expected)
    finally:
        lab.code.digest_code.cache_clear()
        shutil.rmtree(inputs.root)
    for route, (made, kept) in found.items():
        by_chance = {name.rstrip("?") for name in expected[route] if name.endswith("?")}
        assert set(made) - by_chance == set(expected[route]) - {f"{name}?" for name in by_chance}, route
        assert set(kept) - {"vectors"} == RUNS[route] - {"vectors"} - set(made), route
        assert {*made.values(), *kept.values()} == {1}


def made_of(root: Path) -> dict[str, Any]:
    """What two runs kept and found out, with nothing in it of how long that took."""
    kept = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.glob("artifacts/*/*/**/*")
        if path.is_file() and path.name not in (MANIFEST, "answers.jsonl")
    }
    for run in root.glob("runs/*"):
        for name in ("questions", "passages", "texts", "training"):
            kept[f"{run.name}/{name}"] = (run / f"{name}.jsonl").read_bytes()
        rows = list(read_jsonl(run / "answers.jsonl"))
        kept[f"{run.name}/answers"] = [
            {name: value for name, value in row.items() if "seconds" not in name} for row in rows
        ]
        kept[f"{run.name}/metrics"] = {**json.loads((run / "metrics.json").read_text()), "cost": None}
    return kept


def test_another_process_in_another_folder_makes_the_same_bytes(before: Path, tmp_path: Path) -> None:
    home = Path(__file__).parent
    words = "import sys; from pathlib import Path; from cached_runs import *; write_inputs(Path(sys.argv[1])).run(RUNS)"
    paths = os.pathsep.join([str(home), str(home.parent)])
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", words, tmp_path / "other"], env=environment, check=True, capture_output=True)
    one, other = made_of(before), made_of(tmp_path / "other")
    assert [name for name in {**one, **other} if one.get(name) != other.get(name)] == []
    assert {Path(name).suffix for name in one} >= {".safetensors", ".faiss", ".jsonl"}  # weights, vectors, index, texts


def test_a_curve_of_kept_weights_shows_only_what_was_measured_on_the_same(before: Path, tmp_path: Path) -> None:
    inputs = Inputs(Path(shutil.copytree(before, tmp_path / "after")))

    def unknown() -> set[str]:
        inputs.run(["cpt"])
        newest = max(inputs.root.glob("runs/cpt-*"), key=lambda folder: int(folder.name.split("-")[1]))
        rows = list(read_jsonl(newest / "training.jsonl"))
        assert rows
        return {name for row in rows for name, value in row.items() if value is None}

    assert unknown() == set()
    edit("general.txt", "tail", "mane")(inputs, pytest.MonkeyPatch())
    assert unknown() == {"general_loss", "general_bits_per_byte"}
    edit("general.jsonl", "legs", "hoofs")(inputs, pytest.MonkeyPatch())
    assert unknown() == {"general_loss", "general_bits_per_byte", "general_score"}


def test_code_is_what_it_does_and_what_it_imports(tmp_path: Path) -> None:
    """In a package of the name that has nothing else in it, so in a process of its own."""
    code = Path(lab.code.__file__).parent
    usual = {"one": "from lab import two\nX = 1", "two": "def f():\n    return 2", "ledger": "Y = 1"}
    changes: list[dict[str, str]] = [
        {},
        {"one": "# why\nfrom lab import two\n\nX = 1  # one"},
        {"two": 'def f():\n    """Told."""\n    return 2'},
        {"ledger": "Y = 2"},  # plumbing
        {"one": "from lab import two, ledger\nX = 1"},
        {"two": "def f():\n    return 3"},
    ]
    for number, change in enumerate(changes):
        package = tmp_path / str(number) / "lab"
        package.mkdir(parents=True)
        for name in ("__init__", "code", "store", "meter", "records"):
            shutil.copy(code / f"{name}.py", package)
        for name, text in {**usual, **change}.items():
            (package / f"{name}.py").write_text(text)
    words = "from lab.code import digest_code; print(digest_code('lab.one'))"
    done = [
        subprocess.run([sys.executable, "-c", words], cwd=tmp_path / str(n), env={}, check=True, capture_output=True)
        for n in range(len(changes))
    ]
    told = [one.stdout for one in done]
    assert told[0] == told[1] == told[2] == told[3]
    assert len({told[0], *told[4:]}) == 3
