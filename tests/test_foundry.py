"""The foundry: packed pieces must score as if each branch stood alone after its prefix."""

from __future__ import annotations

import json
import math
import shutil
import signal
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader

import lab.foundry.train
from lab.base import BaseModel
from lab.curriculum import School, train_tokenizer
from lab.exam.prompts import ask, prefix
from lab.foundry.__main__ import main
from lab.foundry.lessons import STREAMS, Lessons
from lab.foundry.model import SIZES, answer_scores, first_right, new_model
from lab.foundry.train import LEVELS, STAGES, train
from lab.muon import Muon, orthogonalised
from lab.packing import Piece, batches, encode, pack
from lab.records import LabError
from lab.states import States
from lab.stopping import Terminated
from lab.worlds.general import GeneralWorld
from lab.worlds.lessons import paragraph
from lab.worlds.names import name, seeded


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(GeneralWorld(subjects=10), SIZES["tiny"].vocabulary, seed=0, samples=300)


@pytest.fixture(scope="module")
def school(tokenizer) -> School:
    return School(tokenizer, GeneralWorld(subjects=10), seeded("test"))


def test_a_packed_branch_scores_as_alone_after_its_prefix(tokenizer, school):
    torch.manual_seed(0)
    model = new_model(SIZES["tiny"], tokenizer).eval()
    reading, text = school.reading(-1), encode(tokenizer, [paragraph(school.world, school.random)])[0]
    with torch.no_grad():
        batch = pack([[reading, text]], row_tokens=len(reading) + len(text) + 7, pad=1)
        assert batch.tokens == len(reading) + len(text)
        packed, _ = answer_scores(model, batch)
        alone = []
        for tokens, prompt in reading.branches:
            ids = reading.prefix + tokens
            logs = model(torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
            start = len(reading.prefix) + prompt
            alone += [-logs[at - 1, ids[at]].item() for at in range(start, len(ids))]
        logs = model(torch.tensor([text.prefix]), use_cache=False).logits[0].log_softmax(-1)
        alone += [-logs[at - 1, text.prefix[at]].item() for at in range(1, len(text.prefix))]
    assert packed.tolist() == pytest.approx(alone, abs=1e-3)


def test_only_answers_carry_loss(tokenizer, school):
    reading = school.reading(-1)
    batch = pack([[reading]], row_tokens=len(reading), pad=1)
    wanted = [token for tokens, prompt in reading.branches for token in tokens[prompt:]]
    assert batch.labels[batch.labels != -100].tolist() == wanted


def test_training_prompts_are_the_exam_s_own(tokenizer, school):
    reading = school.reading(-1)
    text = tokenizer.decode(reading.prefix + reading.branches[0][0])
    assert text.startswith(prefix([]))
    assert ask("").split("\n")[1] in text
    assert text.endswith(tokenizer.eos_token)


def test_numbers_and_unseen_names_are_spelt_in_few_pieces(tokenizer):
    assert all(len(tokenizer.tokenize(f" {number}")) == 1 for number in range(10, 1000, 7))
    random = seeded("names")
    lengths = [len(tokenizer.tokenize(" " + name(random, "private"))) for _ in range(200)]
    assert max(lengths) <= 4
    assert sum(lengths) / len(lengths) < 3


def test_batches_lose_no_piece_and_fill_their_rows(tokenizer, school):
    made = []

    def pieces():
        while True:
            made.append(
                school.reading(-1) if len(made) % 2 else encode(tokenizer, [paragraph(school.world, school.random)])[0]
            )
            yield made[-1]

    taken = list(islice(batches(pieces(), rows_per_batch=2, row_tokens=600, pad=1), 20))
    in_order, row = [0], 0
    for piece in made:  # what a packer that never looks ahead would do with the same pieces
        row = row + len(piece) if row + len(piece) <= 600 else len(piece)
        in_order = [*in_order[:-1], row] if row != len(piece) else [*in_order, row]
    assert sum(batch.tokens for batch in taken) > sum(in_order[1:41])
    waiting = 8
    assert sum(map(len, made)) - sum(batch.tokens for batch in taken) <= waiting * max(map(len, made))


def test_muon_s_step_is_nearly_orthogonal_and_torch_s_own():
    torch.manual_seed(0)
    for shape in ((64, 64), (96, 32), (32, 96)):
        gradient = torch.randn(shape)
        values = torch.linalg.svdvals(orthogonalised(gradient[None])[0])
        assert values.max() < 1.3
        # A square random matrix has singular values near zero, which five steps do not lift.
        assert shape[0] == shape[1] or values.min() > 0.6
        ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
        mine = Muon([ours], lr=0.1)
        reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0)
        for step in range(3):
            for one in (ours, theirs):
                one.grad = gradient + step
            mine.step()
            reference.step()
        # torch rounds to bfloat16 inside, which is why ours exists: on a CPU that is several times slower.
        assert (ours - theirs).abs().max() < 0.02 * (ours - 1).abs().max() + 2e-3


def test_a_built_folder_loads_like_any_other_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lab.foundry.__main__.floors", lambda model, subjects: {"general_closed_book": 0.5})
    monkeypatch.setattr("sys.argv", ["foundry", "model=tiny", "out=base", "tokens=6000", "device=cpu"])
    assert main() == 0
    card = json.loads((tmp_path / "base" / "card.json").read_text())
    assert card["tokens"] >= 6000
    assert card["parameters"] == sum(p.numel() for p in BaseModel("base").load("cpu").model.parameters())
    assert "general closed book | 0.500" in (tmp_path / "base" / "README.md").read_text()
    stages = {name: BaseModel("base", stage=name).load("cpu") for name in STAGES}
    tokens = {
        name: json.loads((tmp_path / "base/stages" / name / "state.json").read_text())["tokens"] for name in STAGES
    }
    assert tokens["third"] < tokens["before_decay"] < card["tokens"]
    assert len({model.digest for model in [*stages.values(), BaseModel("base").load("cpu")]}) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"base", "artifacts"}


def taken_to(tokenizer, folder, tokens=9000, probe_every=4):
    size = replace(SIZES["tiny"], tokens=tokens, rows=1, probe_every=probe_every)
    model, _, reached = train(size, 0, "cpu", States(folder / "states", {}), folder / "stages")
    return model.state_dict(), reached


@pytest.fixture
def quick(monkeypatch, tokenizer):
    """A state after every step, and no compiler: its minute is of no use here."""
    monkeypatch.setattr("lab.foundry.train.KEEP_SECONDS", 0.0)
    monkeypatch.setattr("lab.foundry.train.train_tokenizer", lambda *_: tokenizer)
    monkeypatch.setattr(shutil, "which", lambda _: None)


@pytest.mark.parametrize("killed_after", [6, 8])
def test_a_killed_training_goes_on_bit_for_bit(killed_after, quick, tokenizer, tmp_path, monkeypatch):
    whole, ended = taken_to(tokenizer, tmp_path / "whole")
    assert ended.steps > 12
    step, taken = lab.foundry.train._step, []

    def killed(*given):
        taken.append(1)
        if len(taken) > killed_after:
            raise KeyboardInterrupt
        return step(*given)

    with monkeypatch.context() as patch:
        patch.setattr("lab.foundry.train._step", killed)
        with pytest.raises(KeyboardInterrupt):
            taken_to(tokenizer, tmp_path / "killed")
    resumed, again = taken_to(tokenizer, tmp_path / "killed")
    assert (again.tokens, again.steps, again.loss) == (ended.tokens, ended.steps, ended.loss)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    for stage in STAGES:
        one, two = (tmp_path / run / "stages" / stage / "model.safetensors" for run in ("whole", "killed"))
        assert one.read_bytes() == two.read_bytes()


def test_a_stop_keeps_the_step_that_is_done(quick, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("lab.foundry.train.KEEP_SECONDS", 1e9)
    step, taken = lab.foundry.train._step, []

    def stopped(*given):
        taken.append(1)
        if len(taken) == 5:
            signal.raise_signal(signal.SIGTERM)
        return step(*given)

    monkeypatch.setattr("lab.foundry.train._step", stopped)
    with pytest.raises(Terminated):
        taken_to(tokenizer, tmp_path)
    assert States(tmp_path / "states", {}).newest().step == 5


def test_lessons_are_the_same_however_many_processes_make_them(tokenizer):
    size = replace(SIZES["tiny"], rows=1)
    made = (tokenizer, GeneralWorld(subjects=10), size, 0, 0, range(200, 200 + STREAMS + 2))
    alone = [batch.ids for batch in Lessons(*made)]
    assert len(alone) == STREAMS + 2
    assert len({str(ids.tolist()) for ids in alone}) == STREAMS + 2
    skipped = [batch.ids for batch in Lessons(*made, 3)]
    shared = [batch.ids for batch in DataLoader(Lessons(*made), batch_size=None, num_workers=2)]
    for other, of in ((skipped, alone[3:]), (shared, alone)):
        assert len(other) == len(of)
        assert all(torch.equal(one, two) for one, two in zip(other, of, strict=True))


def test_a_probe_counts_the_first_tokens_of_answers(monkeypatch):
    batch = pack([[Piece([1, 2], [([3, 4, 5], 1), ([6, 7], 1)])]], row_tokens=8, pad=0)
    # Of the three tokens with loss the first and the last open an answer.
    monkeypatch.setattr("lab.foundry.model.answer_scores", lambda *_: (None, torch.tensor([True, False, False])))
    assert first_right(None, batch) == 0.5


@pytest.mark.parametrize(
    ("right", "share", "last"), [(0.91, 9.0, len(LEVELS) - 1), (0.89, 0.0, len(LEVELS) - 1), (0.89, 9.0, 0)]
)
def test_a_level_ends_once_it_is_passed_or_has_had_its_share(
    quick, tmp_path, monkeypatch, tokenizer, right, share, last
):
    monkeypatch.setattr("lab.foundry.train.LEVEL_SHARE", share)
    monkeypatch.setattr("lab.foundry.train.first_right", lambda model, batch: right)
    _, reached = taken_to(tokenizer, tmp_path, 500 * len(LEVELS), probe_every=1)
    assert reached.level == last
    assert reached.tokens >= 500 * len(LEVELS)


def test_a_loss_that_is_no_number_ends_it(quick, tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr("lab.foundry.train.answer_scores", lambda *_: (torch.tensor([math.nan]), torch.tensor([False])))
    with pytest.raises(LabError, match="the loss is nan after 0 steps; lower the learning rates"):
        taken_to(tokenizer, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["model=huge", "layers=3", "device=tpu", "seed=x", "tokens=many", "tokens=-5"])
def test_a_wrong_option_is_named(option, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["foundry", option])
    assert main() == 2
    assert option.split("=")[0] in capsys.readouterr().err
