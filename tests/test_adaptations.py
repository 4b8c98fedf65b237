"""Ways to adapt: which weights move, on what schedule, from which moments, with what general text, watched or not."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_adapt import REPLAY, desk, training
from transformers import GPT2Config, GPT2LMHeadModel, TrainerCallback

from lab.adapt.fit import fit, inputs
from lab.adapt.lora import VARIANTS, LowRankAdaptation
from lab.adapt.mixture import split
from lab.adapt.osf import OrthogonalSubspace
from lab.adapt.recipe import SCHEDULES, Recipe
from lab.adapt.replay import SelfReplay
from lab.adapt.training import KEPT_STEPS
from lab.adapt.watch import Watch
from lab.adapt.weights import WeightTraining
from lab.attention import mask
from lab.base import BaseModel
from lab.corpus.corpus import Corpus
from lab.packing import Piece, encode, rows
from lab.quiz import QUESTIONS, SmallQuiz
from lab.records import LabError
from lab.states import States
from lab.worlds.embedded import StatuteCorpus
from lab.worlds.general import GeneralWorld


@pytest.fixture(scope="module")
def corpus(book) -> Corpus:
    return StatuteCorpus(book, reworded_copies=3).load()


@pytest.fixture(scope="module")
def base(random_model) -> BaseModel:
    return BaseModel(str(random_model))


def moved(base: BaseModel, model) -> set[str]:
    """Names of the weights that differ from the base's."""
    before = base.load("cpu").model.state_dict()
    return {name for name, value in model.model.state_dict().items() if not torch.equal(value, before[name])}


def test_only_the_named_part_of_the_weights_moves(base, corpus, tmp_path):
    short = training(tokens=1500)
    top = moved(base, WeightTraining(short, part="top:1").adapt(base, corpus, desk(tmp_path)))
    assert {name.split(".")[2] for name in top if ".layers." in name} == {"3"}  # The last of four, from 0.
    assert {name for name in top if ".layers." not in name} == {"model.norm.weight"}
    embedded = moved(base, WeightTraining(short, part="embeddings").adapt(base, corpus, desk(tmp_path)))
    assert embedded == {"model.embed_tokens.weight", "lm_head.weight"}  # Tied: one matrix.
    with pytest.raises(LabError, match="part=top:9: the model has 4 blocks"):
        WeightTraining(short, part="top:9").adapt(base, corpus, desk(tmp_path))


def test_another_layout_has_its_last_blocks_too_and_no_linear_layers():
    sizes = {"vocab_size": 50, "n_positions": 32, "n_embd": 16, "n_layer": 3, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes))
    WeightTraining(training(), part="top:1")._attach(model)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {name.split(".")[1] for name in trained} == {"h", "ln_f"}
    assert {name.split(".")[2] for name in trained if ".h." in name} == {"2"}
    with pytest.raises(LabError, match="the model has no such linear layers; it has none"):
        LowRankAdaptation(training(), 4)._attach(GPT2LMHeadModel(GPT2Config(**sizes)))


def test_from_scratch_nothing_of_the_base_is_left(base, corpus, tmp_path):
    made = WeightTraining(training(tokens=1500, learning_rate=1e-7), start="random").adapt(
        base, corpus, desk(tmp_path, 1)
    )
    before, after = base.load("cpu").model.state_dict(), made.model.state_dict()
    name = "model.layers.0.mlp.up_proj.weight"
    correlation = torch.corrcoef(torch.stack([before[name].flatten(), after[name].flatten()]))[0, 1]
    assert after[name].shape == before[name].shape
    assert abs(correlation) < 0.05


def test_adapters_of_every_kind_learn_and_their_rank_is_as_told(base, corpus, tmp_path):
    before = base.load("cpu").model.state_dict()
    for variant in VARIANTS:
        settings = {"targets": ("q_proj", "down_proj"), "variant": variant}
        adaptation = LowRankAdaptation(training(learning_rate=1e-2), rank=2, **settings)
        after = adaptation.adapt(base, corpus, desk(tmp_path / variant)).model.state_dict()
        changed = {name for name in after if not torch.allclose(after[name], before[name], atol=1e-6)}
        assert {name.split(".")[-2] for name in changed} == {"q_proj", "down_proj"}
        if variant in ("lora", "rslora"):  # The others are no sum of the base and a product of that rank.
            rank = torch.linalg.matrix_rank(after[min(changed)] - before[min(changed)], atol=1e-4)
            assert rank == 2


def test_pissa_begins_as_the_base(base, corpus, tmp_path):
    still = LowRankAdaptation(training(learning_rate=1e-12), rank=4, variant="pissa")
    texts = [document.text for document in corpus.documents]
    begun = still.adapt(base, corpus, desk(tmp_path)).bits_per_byte(texts)
    assert begun == [pytest.approx(one, abs=1e-2) for one in base.load("cpu").bits_per_byte(texts)]
    with pytest.raises(LabError, match="variant=pissa: only merged"):
        LowRankAdaptation(training(), rank=4, variant="pissa", merged=False)


def test_an_adapter_beside_the_embeddings_leaves_a_tied_output_alone(base, corpus, tmp_path):
    plain = moved(base, LowRankAdaptation(training(), rank=4).adapt(base, corpus, desk(tmp_path)))
    adaptation = LowRankAdaptation(training(learning_rate=1e-2), rank=4, embeddings=True)
    merged = adaptation.adapt(base, corpus, desk(tmp_path))
    assert moved(base, merged) - plain == {"model.embed_tokens.weight"}
    beside = dataclasses.replace(adaptation, merged=False).adapt(base, corpus, desk(tmp_path))
    texts = [document.text for document in corpus.documents]
    assert merged.bits_per_byte(texts) == [pytest.approx(one, rel=1e-4) for one in beside.bits_per_byte(texts)]
    merged.model.save_pretrained(tmp_path / "merged")
    merged.tokenizer.save_pretrained(tmp_path / "merged")
    again = BaseModel(str(tmp_path / "merged")).load("cpu")
    assert again.bits_per_byte(texts) == [pytest.approx(one, rel=1e-4) for one in merged.bits_per_byte(texts)]


def test_targets_go_by_kind_or_name(base, corpus, tmp_path):
    names = {}
    for targets in ("attention", "feed-forward"):
        made = LowRankAdaptation(training(tokens=1500), 4, targets).adapt(base, corpus, desk(tmp_path))
        names[targets] = {name.split(".")[-2] for name in moved(base, made)}
    assert names["attention"] == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert names["feed-forward"] == {"gate_proj", "up_proj", "down_proj"}
    with pytest.raises(LabError, match="it has down_proj, gate_proj"):
        LowRankAdaptation(training(), 4, ["nothing"]).adapt(base, corpus, desk(tmp_path))


def test_osf_leaves_the_largest_directions_as_they_are(base, corpus, tmp_path):
    made = OrthogonalSubspace(training(learning_rate=1e-2), kept=0.5).adapt(base, corpus, desk(tmp_path))
    name = "model.layers.1.mlp.up_proj.weight"
    before, after = (model.model.state_dict()[name] for model in (base.load("cpu"), made))
    left, values, right = torch.linalg.svd(before, full_matrices=False)
    inside = left.T @ (after - before) @ right.T  # The change, seen in the base's own directions.
    kept = len(values) // 2
    assert inside[:kept, :kept].abs().max() < 0.05 * inside[kept:, kept:].abs().max()
    assert inside[kept:, kept:].abs().max() > 1e-3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_follows_its_schedule(schedule, base, corpus, tmp_path, monkeypatch):
    seen: list[float] = []

    class Rates(TrainerCallback):
        def __init__(self, *more) -> None: ...

        def on_step_end(self, args, state, control, lr_scheduler=None, **more) -> None:
            seen.append(lr_scheduler.get_last_lr()[0] / 1e-3)

    monkeypatch.setattr("lab.adapt.way._Steps", Rates)
    WeightTraining(training(tokens=9000, schedule=schedule)).adapt(base, corpus, desk(tmp_path))
    steps, warm = len(seen), math.ceil(0.1 * len(seen))
    assert steps > 12
    # What the rate is after step n, by hand.
    by_hand = {
        "rewarm_cosine": lambda n: n / warm if n < warm else (1 + math.cos(math.pi * (n - warm) / (steps - warm))) / 2,
        "constant_from_end": lambda n: 1.0,
        "warmup_stable_decay": lambda n: min(n / warm, 1.0, (steps - n) / math.ceil(0.2 * steps)),
    }[schedule]
    assert seen == pytest.approx([by_hand(number) for number in range(1, steps + 1)], abs=1e-6)


def test_kept_moments_are_those_of_general_text_at_the_base_s_weights(base, corpus, tmp_path, monkeypatch):
    found = {}

    class First(TrainerCallback):
        def __init__(self, *more) -> None: ...

        def on_train_begin(self, args, state, control, model=None, optimizer=None, **more) -> None:
            found["weights"] = {name: value.clone() for name, value in model.state_dict().items()}
            found["moments"] = [optimizer.state[p]["exp_avg_sq"].clone() for p in model.parameters()]

    monkeypatch.setattr("lab.adapt.way._Steps", First)
    monkeypatch.setattr("lab.adapt.training.KEPT_STEPS", 3)
    WeightTraining(training(optimizer="kept")).adapt(base, corpus, desk(tmp_path))
    loaded = base.load("cpu")
    assert all(torch.equal(found["weights"][name], value) for name, value in loaded.model.state_dict().items())
    pieces = encode(loaded.tokenizer, list(islice(REPLAY.texts(1), 100)))
    general = rows((part for piece in pieces for part in split(piece, 320)), 320)
    average = [torch.zeros_like(p) for p in loaded.model.parameters()]
    for _ in range(3):  # AdamW's second moment, written out: beta2 = 0.95.
        batch = inputs(list(islice(general, 2)), loaded.tokenizer.pad_token_id)
        loaded.model.zero_grad()
        seen = mask("sdpa", batch.pop("piece"), batch.pop("branch"))
        loaded.model.train()(**batch, attention_mask=seen).loss.backward()
        torch.nn.utils.clip_grad_norm_(loaded.model.parameters(), 1.0)
        for one, p in zip(average, loaded.model.parameters(), strict=True):
            one.mul_(0.95).add_(0.05 * p.grad**2)
    for mine, theirs in zip(average, found["moments"], strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-12)
    assert KEPT_STEPS >= 60  # 0.95^60 = 0.05: what was there before has gone.


def test_what_moments_are_gathered_of_is_shown_to_the_leak_guard_first(base, corpus, tmp_path):
    shown: list[str] = []

    def refuse(texts) -> None:
        shown.extend(text for _, text in texts)
        raise LabError("shown")

    wanted = next(iter(REPLAY.texts(1))).plain
    with pytest.raises(LabError, match="shown"):
        WeightTraining(training(optimizer="kept")).adapt(base, corpus, replace(desk(tmp_path), refuse_leaks=refuse))
    assert wanted in shown
    shown.clear()
    with pytest.raises(LabError, match="shown"):
        WeightTraining(training()).adapt(base, corpus, replace(desk(tmp_path), refuse_leaks=refuse))
    assert shown
    assert wanted not in shown


def test_a_piece_cut_before_its_first_answer_teaches_nothing_and_is_no_failure(base, tmp_path):
    loaded = base.load("cpu")
    watch = Watch(loaded.tokenizer, loaded.frame, [], desk(tmp_path))
    recipe = Recipe(1e-3, "constant_from_end", 0.1, 1, 8, 1, 30.0)
    states, packed = States(tmp_path / "states", {}), [[Piece([5, 6, 7], [([8, 9], 2)])]]
    fit(loaded.model, loaded.tokenizer, packed, recipe, watch, [], states, desk(tmp_path))
    assert not moved(base, loaded)


def test_being_watched_changes_no_weight_and_the_curve_is_whole(base, book, corpus, tmp_path):
    world, exam = GeneralWorld(subjects=10), book.exam()
    quiz = SmallQuiz(exam, world.exam(10, 10), max_new_tokens=8)
    looked = desk(tmp_path / "looked", general_texts=world.held_out_text(4), quiz=quiz)
    WeightTraining(training(evaluations=3)).adapt(base, corpus, looked)
    WeightTraining(training(evaluations=1)).adapt(base, corpus, desk(tmp_path / "alone"))
    one, two = (load_file(next((tmp_path / name).rglob("*.safetensors"))) for name in ("looked", "alone"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    (row,) = looked.ledger.rows()
    curve = row.detail["losses"]
    assert [point["tokens"] for point in curve] == sorted({point["tokens"] for point in curve})
    assert (len(curve), curve[0]["tokens"], curve[-1]["tokens"]) == (4, 0, 3000)
    assert all(value is not None for point in curve for value in point.values())
    texts = [document.text for document in corpus.documents]
    measured = base.load("cpu").bits_per_byte(texts)
    bits, size = sum(b for b, _ in measured), sum(s for _, s in measured)
    assert curve[0]["domain_bits_per_byte"] == pytest.approx(bits / size, rel=1e-4)
    tokens = base.load("cpu").count_tokens(texts)
    assert curve[0]["domain_loss"] == pytest.approx(bits * math.log(2) / tokens, rel=1e-4)
    assert row.detail["watching_seconds"] > 0


def test_a_quiz_is_spread_over_what_can_be_answered(book):
    exam = book.exam()
    quiz = SmallQuiz(exam, [], 8)
    asked = quiz._asked["exam_score"]
    assert len(asked) == min(QUESTIONS, sum(question.part != "absent" for question in exam))
    assert {question.part for question in asked} == {question.part for question in exam} - {"absent"}
    assert quiz.digests == SmallQuiz(exam, [], 8).digests != SmallQuiz(exam[1:], [], 8).digests


def test_passes_are_gone_through_whole_with_general_text_on_top(base, corpus, tmp_path):
    workspace = desk(tmp_path)
    WeightTraining(training(tokens=None, passes=2, general_share=0.5)).adapt(base, corpus, workspace)
    (row,) = workspace.ledger.rows()
    assert row.detail["passes"] == pytest.approx(2, abs=1e-3)
    assert row.detail["general_share"] == pytest.approx(0.5, abs=1e-3)
    private = sum(count for source, count in row.detail["tokens_by_source"].items() if source == "documents")
    assert row.tokens == pytest.approx(2 * private, abs=2)


def test_without_general_text_its_source_does_not_count(base, corpus, tmp_path):
    for replay in (REPLAY, None, SelfReplay(count=1)):
        workspace = desk(tmp_path)
        WeightTraining(training(general_share=0, replay=replay)).adapt(base, corpus, workspace)
    assert [row.reused for row in workspace.ledger.rows() if row.tokens] == [True]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_a_base_writes_its_own_replay_and_pays_for_it(base, corpus, tmp_path):
    replay = SelfReplay(starts=["Here is the", ""], count=6, tokens=12)
    workspace = desk(tmp_path)
    written = replay.written(base, workspace)
    assert len(written.written) <= 6
    assert sum(text.startswith("Here is the") for text in written.written) == 3
    (row,) = workspace.ledger.rows()
    assert 0 < row.tokens <= 6 * 12
    assert replay.written(base, desk(tmp_path)) == written
    stream = written.texts(0)
    twice = [next(stream).text for _ in range(2 * len(written.written))]
    assert sorted(twice) == sorted(2 * written.written)
    assert SelfReplay(count=6, tokens=12).written(base, desk(tmp_path, seed=1)) != written
    WeightTraining(training(replay=replay)).adapt(base, corpus, workspace)
    assert [entry.phase for entry in workspace.ledger.rows()][-3:] == ["replay writing", "replay writing", "training"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"passes": 2}, "give one of the two"),
        ({"tokens": None}, "give one of the two"),
        ({"tokens": None, "passes": 0.5}, r"passes=0\.5: a number of at least 1"),
        ({"wordings": 0}, "wordings=0"),
        ({"schedule": "linear"}, "schedule=linear: choose of rewarm_cosine"),
        ({"optimizer": "adam"}, "optimizer=adam: choose of fresh, kept"),
        ({"optimizer": "kept", "replay": None, "general_share": 0}, "optimizer=kept"),
    ],
)
def test_wrong_settings_are_named(changes, named):
    with pytest.raises(LabError, match=named):
        training(**changes)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: WeightTraining(training(), part="bottom"), "part=bottom"),
        (lambda: WeightTraining(training(), part="top:0"), "part=top:0"),
        (lambda: WeightTraining(training(), start="zero"), "start=zero"),
        (lambda: LowRankAdaptation(training(), 4, "everything"), "targets=everything"),
        (lambda: LowRankAdaptation(training(), 4, variant="lora2"), "variant=lora2"),
        (lambda: OrthogonalSubspace(training(), kept=1), "kept=1"),
        (lambda: SelfReplay(starts=[]), r"replay\.starts"),
        (lambda: SelfReplay(count=0), r"replay\.count=0"),
    ],
)
def test_wrong_kinds_are_named(make, named):
    with pytest.raises(LabError, match=named):
        make()


def test_a_stage_is_named_where_there_is_none(random_model: Path):
    with pytest.raises(LabError, match=r"model\.stage=third: .* keeps no stages"):
        BaseModel(str(random_model), stage="third").load("cpu")


def test_a_recipe_is_plain_values():
    recipe = Recipe(1e-3, "rewarm_cosine", 0.1, 4, 512, 8, 30.0)
    assert json.dumps(recipe.arguments(100)) == '{"lr_scheduler_type": "cosine", "warmup_steps": 10}'
