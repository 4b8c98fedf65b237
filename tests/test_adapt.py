"""Training: what is learnt, kept, reused and refused. On weights that know nothing, for a few steps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from lab.adapt.lora import LowRankAdaptation
from lab.adapt.osf import OrthogonalSubspace
from lab.adapt.training import Training
from lab.adapt.weights import WeightTraining
from lab.attention import visible
from lab.base import BaseModel
from lab.corpus.corpus import Corpus
from lab.exam.leaks import LeakGuard
from lab.flops import matrices
from lab.ledger import PRACTICE_BILL, REWORDED_BILL, Entry, Ledger
from lab.packing import encode, pack
from lab.progress import Progress
from lab.records import LabError, TrainingText
from lab.store import Store
from lab.workspace import Workspace
from lab.worlds.embedded import StatuteCorpus, WorldReplay
from lab.worlds.general import GeneralWorld

REPLAY = WorldReplay(GeneralWorld(subjects=10))


def training(**changes) -> Training:
    usual = {
        "texts": ["documents"], "tokens": 3000, "learning_rate": 1e-3, "general_share": 0.3, "replay": REPLAY,
        "device_rows": 2, "row_tokens": 320, "evaluations": 2,
    }  # fmt: skip
    return Training(**{**usual, **changes})


@pytest.fixture(scope="module")
def corpus(book) -> Corpus:
    return StatuteCorpus(book, reworded_copies=1).load()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def base(random_model) -> BaseModel:
    return BaseModel(str(random_model))


def desk(root: Path, seed: int = 0, **more) -> Workspace:
    return Workspace(Store(root), Ledger(), seed, "cpu", **more)


def weights(root: Path) -> dict[str, torch.Tensor]:
    (file,) = root.rglob("*.safetensors")
    return load_file(file)


def test_training_learns_the_private_text_and_keeps_its_ledger(base, corpus, root):
    workspace = desk(root)
    model = WeightTraining(training()).adapt(base, corpus, workspace)
    (row,) = workspace.ledger.rows()
    losses = row.detail["losses"]
    assert losses[0]["tokens"] == 0
    assert losses[-1]["tokens"] == row.tokens == 3000
    assert losses[-1]["domain_loss"] < losses[0]["domain_loss"] - 0.5
    text = corpus.documents[0].text
    assert model.bits_per_byte([text]) < base.load("cpu").bits_per_byte([text])
    assert row.detail["general_share"] == 0.3
    assert sum(row.detail["tokens_by_source"].values()) == 3000
    assert row.bytes > 0
    # Rows are as wide as the fullest beside them, and what was counted on a batch of them holds for all.
    assert row.replayed_tokens == 900
    whole = row.tokens + row.padded_tokens
    assert row.padded_tokens < 300
    found = matrices(base.load("cpu").model)
    assert 6 * found.body * whole < row.flops_formula < 6 * (found.body + found.head) * whole  # Not all are predicted.
    assert row.flops > row.flops_formula
    assert "attention is" in row.detail["flops_note"]


def test_a_route_pays_for_the_practice_that_it_was_trained_on(base, corpus, root):
    bills = (Entry(PRACTICE_BILL, seconds=7.0, tokens=70), Entry(REWORDED_BILL, seconds=9.0, tokens=90))
    billed = dataclasses.replace(corpus, bills=bills)
    for texts, paid in ((["documents", "practice"], 70), (["documents"], 0)):
        workspace = desk(root)
        WeightTraining(training(texts=texts)).adapt(base, billed, workspace)
        assert workspace.ledger.total().tokens == 3000 + paid
        assert [row.phase for row in workspace.ledger.rows() if row.phase != "training"] == [PRACTICE_BILL] * bool(paid)


def test_lora_adds_b_times_a_and_merging_changes_no_answer(base, corpus, tmp_path):
    adaptation = LowRankAdaptation(training(learning_rate=1e-2), rank=4)
    merged = adaptation.adapt(base, corpus, desk(tmp_path))
    beside = dataclasses.replace(adaptation, merged=False).adapt(base, corpus, desk(tmp_path))
    before = base.load("cpu").model.state_dict()
    adapter = weights(tmp_path)
    changed = 0
    for name, matrix in merged.model.state_dict().items():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A.weight" in adapter:
            changed += 1
            # alpha is twice the rank, so the product counts twice
            added = 2 * adapter[f"{key}.lora_B.weight"] @ adapter[f"{key}.lora_A.weight"]
            assert torch.allclose(matrix, before[name] + added, atol=1e-5)
            assert added.abs().max() > 1e-4
        else:
            assert torch.equal(matrix, before[name])
    assert changed == 4 * 7  # four layers of seven linear maps
    assert not isinstance(beside.model, PeftModel)
    prompts = [question.question for question in corpus.practice[:20]]
    assert merged.generate(prompts, 8) == beside.generate(prompts, 8)


def test_packed_texts_score_as_each_alone(base, corpus):
    loaded = base.load("cpu")
    texts = [TrainingText("documents", document.text) for document in corpus.documents[:3]]
    texts.append(TrainingText("practice", "Read this.\n", (("One?", " yes"), ("Two?", " no no"))))
    pieces = encode(loaded.tokenizer, texts)
    batch = pack([pieces], sum(map(len, pieces)), loaded.tokenizer.pad_token_id)
    alone = [(piece.prefix, 1) for piece in pieces[:3]]
    alone += [(pieces[3].prefix + tokens, len(pieces[3].prefix) + prompt) for tokens, prompt in pieces[3].branches]
    with torch.no_grad():
        packed = loaded.model(
            batch.ids, attention_mask=visible(batch.piece, batch.branch), position_ids=batch.positions, use_cache=False
        ).logits[0]
        at = 0
        for ids, _ in alone[:3]:
            single = loaded.model(torch.tensor([ids]), use_cache=False).logits[0]
            assert torch.allclose(packed[at : at + len(ids)], single, atol=1e-4)
            at += len(ids)
        at += len(pieces[3].prefix)
        for (ids, first), (tokens, prompt) in zip(alone[3:], pieces[3].branches, strict=True):
            single = loaded.model(torch.tensor([ids]), use_cache=False).logits[0]
            assert torch.allclose(packed[at + prompt - 1 : at + len(tokens)], single[first - 1 :], atol=1e-4)
            at += len(tokens)


def test_a_leak_is_refused_before_training_and_when_weights_are_reused(base, book, corpus, tmp_path):
    question = book.exam()[0]
    leaking = dataclasses.replace(
        corpus, practice=(*corpus.practice, dataclasses.replace(question, id="copied", question=question.question))
    )
    guard = LeakGuard(book.exam())
    adaptation = WeightTraining(training(texts=["documents", "practice"]))
    with pytest.raises(LabError, match=question.id):
        adaptation.adapt(base, leaking, desk(tmp_path, refuse_leaks=guard.check))
    assert not list(tmp_path.rglob("*.safetensors"))
    adaptation.adapt(base, leaking, desk(tmp_path))  # as where that question was not in the exam yet
    with pytest.raises(LabError, match=question.id):
        adaptation.adapt(base, leaking, desk(tmp_path, refuse_leaks=guard.check))
    adaptation.adapt(base, corpus, desk(tmp_path, refuse_leaks=guard.check))


def test_a_rate_for_the_embedded_base_is_questioned_for_a_large_one(base, corpus, tmp_path, monkeypatch, caplog):
    caplog.set_level("WARNING", logger="lab.adapt.training")
    WeightTraining(training(learning_rate=2e-3)).adapt(base, corpus, desk(tmp_path / "small"))
    assert not caplog.messages
    monkeypatch.setattr("lab.adapt.training.SMALL_PARAMETERS", 1000)
    WeightTraining(training(learning_rate=2e-3)).adapt(base, corpus, desk(tmp_path / "large"))
    assert "learning_rate=0.002 suits the embedded base" in caplog.text


def test_a_loss_that_is_no_number_leaves_nothing(base, corpus, tmp_path):
    with pytest.raises(LabError, match="lower the learning rate"):
        WeightTraining(training(learning_rate=1e30)).adapt(base, corpus, desk(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_interrupt_leaves_nothing(base, corpus, tmp_path):
    class Interrupted(Progress):
        def step(self, what, total=None, unit=""):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WeightTraining(training()).adapt(base, corpus, desk(tmp_path, progress=Interrupted("test")))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"general_share": 1.2}, r"general_share=1\.2: a share"),
        ({"general_share": -0.1}, r"general_share=-0\.1"),
        ({"replay": None}, "there is no replay text"),
        ({"tokens": 0}, "tokens=0"),
        ({"tokens": 2.5}, r"tokens=2\.5"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"learning_rate": "fast"}, "learning_rate=fast"),
        ({"warmup_share": 2}, "warmup_share=2"),
        ({"evaluations": 0}, "evaluations=0"),
    ],
)
def test_wrong_settings_are_named(changes, named):
    with pytest.raises(LabError, match=named):
        training(**changes)


def test_wrong_ranks_are_named(base, corpus, tmp_path):
    for rank in (0, 1.5):
        with pytest.raises(LabError, match=f"rank={rank}"):
            LowRankAdaptation(training(), rank=rank)
    with pytest.raises(LabError, match="dropout=1"):
        LowRankAdaptation(training(), rank=4, dropout=1)
    with pytest.raises(LabError, match="the narrowest layer is 128 wide"):
        LowRankAdaptation(training(), rank=129).adapt(base, corpus, desk(tmp_path))


def test_practice_without_questions_and_budgets_below_one_pass_are_named(base, corpus, tmp_path):
    bare = dataclasses.replace(corpus, practice=())
    with pytest.raises(LabError, match="has no practice"):
        WeightTraining(training(texts=["documents", "practice"])).adapt(base, bare, desk(tmp_path))
    with pytest.raises(LabError, match="give at least tokens="):
        WeightTraining(training(tokens=100)).adapt(base, corpus, desk(tmp_path))


@pytest.mark.parametrize(
    ("how", "adaptation", "named"),
    [
        ("FSDP", OrthogonalSubspace(training()), "osf"),
        ("FSDP", WeightTraining(training(optimizer="kept")), "optimizer=kept"),
        ("DEEPSPEED", WeightTraining(training(optimizer="kept")), "optimizer=kept"),
    ],
)
def test_what_needs_whole_weights_or_moments_is_refused_where_they_are_split(
    how, adaptation, named, base, corpus, workspace, monkeypatch
):
    monkeypatch.setenv(f"ACCELERATE_USE_{how}", "true")
    with pytest.raises(LabError, match=named):
        adaptation.adapt(base, corpus, workspace)
