"""Sweeps: which runs are a point, what its row says, where it stands in the picture, and the command."""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from test_report import GENERAL, large_exam, make_run

from lab.judge.statistics import interval, smallest_detectable_difference
from lab.records import LabError, write_jsonl
from lab.report import load
from lab.report.plots import training_curves
from lab.report.sweep import main, sweep
from lab.report.sweep_plot import sweep_picture

matplotlib.use("Agg")

SHARE = "training.general_share"
EXAM = large_exam(8, 6)


def point(
    root: Path, words: str, right: int = 10, known: int = 30, name: str = "cpt", seed: int = 0, **more: Any
) -> Path:
    """A run made with these words; exactly so many of 48 exam and 60 general questions right."""
    answers = {q.id: "yes" for q in EXAM[:right]} | {q.id: "yes" for q in GENERAL[:known]}
    number = len(list(root.glob("*")))
    named = dict(word.split("=") for word in words.split() if not word.startswith("+free"))
    settings = {"adaptation": {key: float(v) if re.fullmatch(r"[\d.]+", v) else v for key, v in named.items()}}
    folder = make_run(
        *(root / f"{number:02}", name, EXAM, GENERAL, answers),
        **{"seed": seed, "overrides": [*words.split(), f"seed={seed}"], "settings": settings, **more},
    )
    os.utime(folder / "manifest.json", (10**9 + number, 10**9 + number))
    return folder


def places(frame: pd.DataFrame) -> dict[str, float]:
    """Where the picture's ticks stand, by their labels."""
    axis = sweep_picture(frame).axes[0].xaxis
    return {text.get_text(): tick for text, tick in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)}


def test_a_row_is_what_its_runs_pooled_are(tmp_path: Path) -> None:
    made = [point(tmp_path, f"{SHARE}=0.25 replay=self", right, known, seed=seed) for seed, right, known in (
        (0, 10, 30), (1, 20, 50), (2, 15, 20)
    )]  # fmt: skip
    frame = sweep([tmp_path], SHARE, by="replay")
    (row,) = frame.to_dict("records")
    assert (row["by"], row["x"], row["pipeline"], row["seeds"]) == ("self", 0.25, "cpt", 3)
    scores = np.array([[float(number < right) for number in range(48)] for right in (10, 20, 15)])
    clusters = [q.documents[0] for q in EXAM]
    by_hand = interval(scores, clusters)
    found = (row["exam"], row["exam_low"], row["exam_high"], row["exam_n"])
    assert found == pytest.approx((by_hand.estimate, by_hand.low, by_hand.high, 48))
    recall = [number for number, q in enumerate(EXAM) if q.part == "recall"]
    assert (row["recall"], row["recall_n"]) == pytest.approx((scores[:, recall].mean(), 16))
    other = [number for number, q in enumerate(EXAM) if q.practised is False]
    assert (row["unpractised"], row["unpractised_n"]) == pytest.approx((scores[:, other].mean(), 24))
    assert (row["general"], row["general_n"]) == pytest.approx((100 / 3 / 60, 60))
    assert (row["bits_per_byte"], row["bits_per_byte_n"]) == (2.0, 2)
    assert load(made[0]).overrides[SHARE] == "0.25"


def test_what_neighbours_could_be_told_apart_by_is_said(tmp_path: Path) -> None:
    for share, right in ((0.5, 24), (0, 10), (0.1, 12)):
        point(tmp_path, f"{SHARE}={share} replay=self", right)
    point(tmp_path, f"{SHARE}=0.9 replay=world", 40)  # another line: it is no neighbour
    by_hand = [np.array([[float(number < right) for number in range(48)]]) for right in (10, 12, 24)]
    clusters = [q.documents[0] for q in EXAM]
    expected = [smallest_detectable_difference(one, other, clusters) for one, other in itertools.pairwise(by_hand)]
    assert sweep([tmp_path], SHARE, by="replay").attrs["detectable"] == pytest.approx(sorted(expected))


def test_rows_stand_by_size_and_words_as_they_come(tmp_path: Path) -> None:
    for share in ("0.5", "0", "0.05", "0.10", ".1"):
        for source in ("world", "self"):
            point(tmp_path, f"{SHARE}={share} replay={source}", seed=int(share == ".1"))
    frame = sweep([tmp_path], SHARE, by="replay")
    assert frame["x"].tolist() == [0, 0.05, 0.1, 0.5] * 2
    assert frame["by"].tolist() == ["world"] * 4 + ["self"] * 4
    assert frame["seeds"].tolist() == [1, 1, 2, 1] * 2  # 0.10 and .1 are one number
    for rank in ("full", "64", "4", "half"):
        point(tmp_path / "ranks", f"rank={rank}")
    assert sweep([tmp_path / "ranks"], "rank")["x"].tolist() == ["4", "64", "full", "half"]


def test_a_run_that_does_not_say_is_left_out_or_takes_the_default(tmp_path: Path) -> None:
    point(tmp_path, f"{SHARE}=0.5")
    point(tmp_path, "", name="closed_book")
    unfinished = point(tmp_path, f"{SHARE}=0.9", finished=False)
    frame = sweep([tmp_path], SHARE)
    assert frame[["by", "x", "pipeline"]].values.tolist() == [["", 0.5, "cpt"]]
    left, without = frame.attrs["notes"]
    assert left == f"{unfinished} is left out: the run did not finish."
    assert "closed_book (1)" in without
    taken = sweep([tmp_path], SHARE, by="replay", default="0.25")
    assert taken[["by", "x", "pipeline"]].values.tolist() == [
        ["default", 0.5, "cpt"], ["default", 0.25, "closed_book"]
    ]  # fmt: skip
    with pytest.raises(LabError, match=r"no finished run names training\.passes"):
        sweep([tmp_path], "training.passes")


def test_other_corpora_are_swept_over_and_other_exams_refused(tmp_path: Path) -> None:
    for corpus in ("full", "thin", "wrong"):
        digests = {"corpus": corpus, "exam": "e", "general": "g", "model": "m"}
        point(tmp_path, f"corpus={corpus}", name="rag", digests=digests, settings={})
    assert sweep([tmp_path], "corpus")["x"].tolist() == ["full", "thin", "wrong"]
    other = point(tmp_path, "corpus=new", digests={"corpus": "c", "exam": "other", "general": "g", "model": "m"})
    with pytest.raises(LabError, match=f"{other} sat different exams"):
        sweep([tmp_path], "corpus")


def test_of_repeats_the_newest_counts_and_what_else_differs_is_named(tmp_path: Path) -> None:
    old = point(tmp_path, f"{SHARE}=0.5 +free=1", right=10)
    new = point(tmp_path, f"{SHARE}=0.5 +free=2", right=20)  # a word that changes no setting of the route
    frame = sweep([tmp_path], SHARE)
    assert frame["exam"].tolist() == [20 / 48]
    assert frame.attrs["notes"] == [f"{old} is left out: {new} is newer, with the same settings and seed."]
    point(tmp_path, f"{SHARE}=0.5 passes=2", seed=1)
    with pytest.raises(LabError, match=r"both cpt at .*=0\.5, but differ in free and passes; give it as --by"):
        sweep([tmp_path], SHARE)
    assert sweep([tmp_path], SHARE, by="passes")["by"].tolist() == ["2", "default"]
    small = point(tmp_path / "models", f"{SHARE}=0.5")
    point(
        tmp_path / "models",
        f"{SHARE}=0.50",
        seed=1,
        digests={"corpus": "c", "exam": "e", "general": "g", "model": "large"},
    )
    with pytest.raises(LabError, match=f"{small} and .* differ in model;"):
        sweep([tmp_path / "models"], SHARE)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 5, 10], [1, 2, 3, 5, 10]),  # ten times: by distance
        ([1, 2, 5, 10, 25], [math.log10(value) for value in (1, 2, 5, 10, 25)]),
        # 0 a usual step left of 0.01, the median of 1 and log10(9).
        ([0, 0.01, 0.1, 0.9], [-2.5 - math.log10(9) / 2, -2, -1, math.log10(0.9)]),
        ([-1, 0, 50], [-1, 0, 50]),
        ([0.25], [0.25]),
    ],
)
def test_numbers_stand_by_distance_or_by_ratio(
    tmp_path: Path, values: Sequence[float], expected: Sequence[float]
) -> None:
    for value in values:
        point(tmp_path, f"x={value}")
    stands = list(places(sweep([tmp_path], "x")).values())
    assert stands == pytest.approx(list(expected))


def test_the_picture_shows_what_the_frame_says(tmp_path: Path) -> None:
    for source, shift in (("world", 0), ("self", 5)):
        for share, known in ((0, 10), (0.5, 50)):
            point(tmp_path, f"{SHARE}={share} replay={source}", right=20 + shift, known=known + shift)
    frame = sweep([tmp_path], SHARE, by="replay")
    figure = sweep_picture(frame)
    exam, general = figure.axes
    assert exam.get_title() == "Exam score, n = 48"
    assert general.get_title() == "General score, n = 60"
    drawn = [container.lines[0].get_ydata().tolist() for container in general.containers]
    assert drawn == [pytest.approx([1000 / 60, 5000 / 60]), pytest.approx([1500 / 60, 5500 / 60])]
    low, high = general.containers[0].lines[2][0].get_segments()[0][:, 1]
    row = frame.iloc[0]
    assert (low, high) == pytest.approx((100 * row["general_low"], 100 * row["general_high"]))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["world", "self"]
    assert "documents alone" in figure.get_suptitle()


def test_words_and_a_missing_general_suite_are_drawn_too(tmp_path: Path) -> None:
    for rank in ("4", "64", "full"):
        make_run(tmp_path / rank, "lora", EXAM, [], {}, texts=[], overrides=[f"rank={rank}"])
    frame = sweep([tmp_path], "rank")
    assert frame["general"].isna().all()
    assert places(frame) == {"4": 0, "64": 1, "full": 2}
    figure = sweep_picture(frame)
    assert figure.axes[1].get_title() == "General score, n = 0"
    assert not figure.legends


def test_the_command_writes_a_table_and_a_picture(tmp_path: Path, capsys: Any) -> None:
    for share in (0, 0.5):
        for seed in (0, 1):
            point(tmp_path / "runs", f"{SHARE}={share}", right=10 + 20 * seed, seed=seed)
    assert main([str(tmp_path / "runs"), "--x", SHARE, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines() if not line.startswith("Written")) <= 132
    line = next(line for line in shown.splitlines() if line.startswith(" cpt"))
    assert line.split()[:4] == ["cpt", "0", "2", "41.7"]
    frame = pd.read_csv(tmp_path / "out" / "sweep.csv")
    assert frame["exam"].tolist() == pytest.approx([20 / 48, 20 / 48], rel=1e-5)
    assert (tmp_path / "out" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert main([str(tmp_path / "runs"), "--x", "no.such"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no finished run names no.such")
    assert error.count("\n") == 1


def test_the_module_runs_without_torch_and_without_a_warning() -> None:
    code = (
        "import runpy, sys; sys.argv = ['sweep', '--help']\n"
        "try: runpy.run_module('lab.report.sweep', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert done.stderr == ""


def test_training_curves_show_the_column_that_is_asked_for(tmp_path: Path) -> None:
    folder = point(tmp_path, "")
    rows = [
        {"tokens": 0, "domain_loss": 3.0, "general_loss": 1.0, "domain_bits_per_byte": 2.0}
        | {"general_bits_per_byte": 0.5, "exam_score": 0.1, "general_score": None},
        {"tokens": 9, "domain_loss": 1.0, "general_loss": 2.0, "domain_bits_per_byte": 0.7}
        | {"general_bits_per_byte": 1.5, "exam_score": 0.6, "general_score": 0.4},
    ]
    write_jsonl(folder / "training.jsonl", rows)
    runs = [load(folder)]
    expected = {"loss": ([3, 1], [1, 2]), "bits_per_byte": ([2, 0.7], [0.5, 1.5]), "score": ([10, 60], [40])}
    for column, both in expected.items():
        drawn = [axes.lines[0].get_ydata().tolist() for axes in training_curves(runs, column)]
        assert drawn == [pytest.approx(list(values)) for values in both]
    with pytest.raises(LabError, match="column=accuracy: not measured"):
        training_curves(runs, "accuracy")
