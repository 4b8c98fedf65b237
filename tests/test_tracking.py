"""Trackers are told of curves and metrics, and change nothing of what is trained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_adapt import REPLAY, desk, training
from test_report import small_run

from lab.adapt.weights import WeightTraining
from lab.base import BaseModel
from lab.corpus.corpus import Corpus
from lab.records import LabError, write_jsonl
from lab.report import load
from lab.report.load import TRAINING_COLUMNS
from lab.tracking import ELSEWHERE, Tracker

CURVE = [dict(zip(TRAINING_COLUMNS, (tokens, 2.5, None, 1.25, 0.5, 0.75, None), strict=True)) for tokens in (0, 900)]


def board(folder: Path) -> EventAccumulator:
    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return read


def points(read: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read.Scalars(tag)]


def trained_run(folder: Path) -> Path:
    """A run with a curve, as one has whose weights were kept from before."""
    run = small_run(folder, "cpt", ["q1"])
    write_jsonl(run / "training.jsonl", CURVE)
    return run


def test_a_training_reports_its_way_and_its_weights_are_the_same(
    tmp_path: Path, random_model: Path, small_corpus: Corpus
) -> None:
    tracker = Tracker("tensorboard", tmp_path / "run")
    weights, looks = [], []
    for name, told in (("plain", Tracker("none", tmp_path)), ("tracked", tracker)):
        workspace = desk(tmp_path / name, reporting=told.reporting)
        with told.here():
            WeightTraining(training(replay=REPLAY)).adapt(BaseModel(str(random_model)), small_corpus, workspace)
        (file,) = (tmp_path / name).rglob("*.safetensors")
        weights.append((file.relative_to(tmp_path / name), load_file(file)))
        looks = workspace.ledger.rows()[0].detail["losses"]
    (place, plain), (same, tracked) = weights
    assert place == same  # the tracker is not part of what weights are kept under
    assert all((plain[name] == tracked[name]).all() for name in plain)
    read = board(tmp_path / "run")
    steps = [step for step, _ in points(read, "train/loss")]
    assert steps == list(range(1, len(steps) + 1)) != []  # no look takes the place of a step's loss
    assert [value for _, value in points(read, "eval/domain_loss")] == [
        pytest.approx(look["domain_loss"]) for look in looks
    ]


def test_tensorboard_has_the_curve_over_tokens_and_the_metrics(tmp_path: Path) -> None:
    folder = trained_run(tmp_path / "runs" / "0-cpt")
    Tracker("tensorboard", folder).tell(load(folder))
    read = board(folder)
    assert points(read, "curve/domain_loss") == [(0, 2.5), (900, 2.5)]
    assert points(read, "curve/exam_score") == [(0, 0.75), (900, 0.75)]
    assert not {"curve/general_loss", "curve/general_score"} & {*read.Tags()["scalars"]}  # not measured
    assert points(read, "exam/score") == [(0, 0.25)]
    table = read.Tensors("metrics/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| exam | recall | score | 0.5 |" in table


def test_without_a_tracker_nothing_is_written(tmp_path: Path) -> None:
    folder = trained_run(tmp_path / "0-cpt")
    before = sorted(folder.iterdir())
    Tracker("none", folder).tell(load(folder))
    assert sorted(folder.iterdir()) == before
    assert Tracker("none", folder).reporting == desk(tmp_path).reporting


def test_a_tracker_that_is_not_known_or_not_there_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabError, match="tracker=wandb: choose of none, tensorboard, trackio"):
        Tracker("wandb", tmp_path)
    monkeypatch.setattr("lab.tracking.find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"pip install 'open-book-exam-lab\[trackio\]'"):
        Tracker("trackio", tmp_path)


def test_nothing_is_sent_where_a_shell_says_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ELSEWHERE:
        monkeypatch.setenv(name, "https://example.invalid")
    before = dict(os.environ)
    with Tracker("tensorboard", tmp_path / "runs" / "1").here():
        assert not {*ELSEWHERE} & {*os.environ}
        assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "runs" / "1" / "tensorboard")
    assert dict(os.environ) == before


def test_trackio_has_the_curve_and_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    trackio = pytest.importorskip("trackio")
    folder = trained_run(tmp_path / "runs" / "0-cpt")
    tracker = Tracker("trackio", folder)
    with tracker.here():
        tracker.tell(load(folder))
    (run,) = trackio.Api().runs("open-book-exam-lab")
    assert run.name == "runs/0-cpt"
