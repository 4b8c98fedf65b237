"""The committed base model against its floors, measured here and not read from its card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lab.base import EMBEDDED, BaseModel
from lab.context.gold import Gold
from lab.foundry.card import floors
from lab.judge.grading import grade
from lab.ledger import Ledger
from lab.store import Store
from lab.student import Student
from lab.workspace import Workspace
from lab.worlds.embedded import StatuteCorpus
from lab.worlds.statutes import StatuteBook


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads((EMBEDDED / "card.json").read_text())


@pytest.fixture(scope="module")
def measured(card) -> dict[str, float]:
    return floors(BaseModel().load("cpu"), card["size"]["subjects"])


@pytest.mark.parametrize(
    ("what", "least"),
    [
        ("general_closed_book", 0.90),
        ("reading_gold", 0.90),
        ("reading_distractors", 0.85),
        ("unknown_right", 0.80),
    ],
)
def test_the_base_can(measured, what, least):
    assert measured[what] >= least


@pytest.mark.parametrize(("what", "most"), [("false_unknown", 0.05), ("private_closed_book", 0.03)])
def test_the_base_does_not(measured, what, most):
    assert measured[what] <= most


def test_the_base_reads_the_private_book():
    corpus = StatuteCorpus(StatuteBook()).load()
    asked = [question for question in StatuteBook().exam() if question.part == "recall"][:100]
    reader = Gold().prepare(corpus, Workspace(Store(Path("unused")), Ledger(), seed=0, device="cpu"))
    student = Student(BaseModel().load("cpu"), reader)
    answers = student.answer(student.read(asked))
    right = [grade(question, answer).exact_match for question, answer in zip(asked, answers, strict=True)]
    assert sum(right) / len(right) >= 0.90


def test_the_card_says_what_is_measured(card, measured):
    for what, value in card["floors"].items():
        # Another processor rounds otherwise, and a near tie can fall the other way: one answer in a hundred.
        assert measured[what] == pytest.approx(value, abs=0.01)


def test_the_base_is_small_and_plain():
    files = {path.relative_to(EMBEDDED).as_posix() for path in EMBEDDED.rglob("*") if path.is_file()}
    model = {"config.json", "generation_config.json", "model.safetensors", "state.json", "tokenizer.json",
             "tokenizer_config.json"}  # fmt: skip
    assert files == {"README.md", "card.json", *model, *(f"stages/before_decay/{name}" for name in model)}
    assert sum(path.stat().st_size for path in EMBEDDED.rglob("*") if path.is_file()) < 8e6


def test_the_stage_before_the_decay_is_of_the_same_training():
    end, stage = (json.loads((Path(base.location) / "state.json").read_text())
                  for base in (BaseModel(), BaseModel(stage="before_decay")))  # fmt: skip
    assert stage["tokens"] < end["tokens"]
    weights = [base.load("cpu").model.state_dict() for base in (BaseModel(), BaseModel(stage="before_decay"))]
    name = "model.layers.0.mlp.up_proj.weight"
    alike = torch.corrcoef(torch.stack([one[name].flatten() for one in weights]))[0, 1]
    assert 0.5 < alike < 1
    assert BaseModel().digest != BaseModel(stage="before_decay").digest
