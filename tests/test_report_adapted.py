"""The report on adapted routes: what was forgotten, practice, reverse, several seeds, the picture, the notebook."""

import dataclasses
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from test_report import CSV_HEADER, GENERAL, large_exam, make_run, small_run, value

from lab.judge.statistics import holm, interval, paired_difference
from lab.ledger import Entry
from lab.records import LabError, write_jsonl
from lab.report import compare, forgetting, gather, load, newest_adapted, newest_experiment, routes_of, show
from lab.report.picture import gained_and_lost
from lab.report.verdict import verdict
from lab.report.warnings import warnings

matplotlib.use("Agg")

ALL = (
    *("closed_book", "random", "rag", "gold"),
    *("lora", "lora_rag", "lora_gold", "cpt", "cpt_rag", "cpt_gold"),
)
# Chance of a right answer: practised documents, the others, general questions.
CHANCES = {
    "closed_book": (0.0, 0.0, 0.95),
    "random": (0.02, 0.02, 0.9),
    "rag": (0.6, 0.6, 0.9),
    "gold": (0.97, 0.97, 0.95),
    "lora": (0.5, 0.1, 0.8),
    "lora_rag": (0.8, 0.75, 0.8),
    "lora_gold": (0.99, 0.99, 0.8),
    "cpt": (0.3, 0.3, 0.5),
    "cpt_rag": (0.7, 0.7, 0.5),
    "cpt_gold": (0.98, 0.98, 0.5),
}
PARTS = ("recall", "reworded", "reverse", "two_hop", "absent")
EXAM = [dataclasses.replace(q, part=PARTS[n % 5]) for n, q in enumerate(large_exam())]


def evaluation(tokens: int, domain: float, general: float | None) -> dict[str, float | None]:
    """One row of `training.jsonl`."""
    losses = {"domain_loss": domain, "general_loss": general}
    return {"tokens": tokens, **losses, **dict.fromkeys((
        "domain_bits_per_byte", "general_bits_per_byte", "exam_score", "general_score"
    ))}  # fmt: skip


def route(root: Path, name: str, seeds: Sequence[int] = (0,), chances: Any = None, **more: Any) -> None:
    """Run folders of one route, a seed each; routes with a book show the gold passage, or a wrong one."""
    practised, other, general = chances or CHANCES[name]
    for seed in seeds:
        random = np.random.default_rng((ALL.index(name), seed))
        answers = {q.id: "yes" for q in EXAM if random.random() < (practised if q.practised else other)}
        answers |= {q.id: "yes" for q in GENERAL if random.random() < general}
        shown = (lambda q: [(q.passages[0], 1.0)]) if "rag" in name or "gold" in name else (lambda q: [])
        costs = [Entry("training", 1234.5, tokens=12_345_678, bytes=123_456_789, reused=True)] if "_" in name else []
        folder = root / f"{name}-{seed}-{len(list(root.glob('*')))}"
        make_run(folder, name, EXAM, GENERAL, answers, shown, costs=costs, seed=seed, **more)
        if name.startswith(("lora", "cpt")):
            write_jsonl(folder / "training.jsonl", [evaluation(100, 2.0, None)])


def opened(root: Path) -> tuple[list[Any], pd.DataFrame]:
    """Routes and comparison of the runs below a folder."""
    runs, _ = gather([root])
    return routes_of(runs), compare(runs)


def test_forgetting_by_hand(tmp_path: Path) -> None:
    small_run(tmp_path / "base", "closed_book", ["g1", "g2"], texts=[(8.0, 4), (2.0, 1)])
    small_run(tmp_path / "cpt", "cpt", ["g1"], texts=[(10.0, 4), (3.0, 1)])
    small_run(tmp_path / "rag", "rag", ["g1", "g2"], texts=[(8.0, 4), (2.0, 1)])
    routes, frame = opened(tmp_path)
    found = forgetting(routes)
    columns = ["pipeline", "seed", "part", "metric", "n", "base", "value", "forgotten", "low", "high", "p_holm"]
    assert list(found.columns) == columns
    assert list(found["pipeline"].unique()) == ["rag", "cpt"]
    rows = found.set_index(["pipeline", "part", "metric"])
    points, bits = rows.loc[("cpt", "all", "score")], rows.loc[("cpt", "text", "bits_per_byte")]
    assert points[["seed", "n", "base", "value", "forgotten"]].tolist() == ["0", 2, 1.0, 0.5, 0.5]
    by_hand = paired_difference([1, 1], [1, 0], ["given Oro", "given Lim"])
    assert (points["low"], points["high"]) == pytest.approx((by_hand.low, by_hand.high))
    assert points["p_holm"] == pytest.approx(holm([1.0, by_hand.p])[1])
    # 10 bits and 13 bits over 5 bytes: more bits is worse, so the rise is positive too.
    assert bits[["n", "base", "value", "forgotten"]].tolist() == pytest.approx([2, 2.0, 2.6, 0.6])
    rag = found[found["pipeline"] == "rag"]
    assert (rag["forgotten"] == 0).all()
    assert (rag["p_holm"] == 1).all()
    # What the frame of the comparison calls change has the other sign.
    assert value(frame, "cpt", "general", "all", "score")["difference"] == -0.5


def test_the_rise_of_bits_per_byte_is_paired_by_text(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    before = random.normal(500, 100, 50)  # texts differ far more than the route changes them
    after = before + random.normal(20, 5, 50)
    for name, bits in (("closed_book", before), ("lora", after)):
        small_run(tmp_path / name, name, [], texts=[(float(b), 1000) for b in bits])
    row = forgetting(opened(tmp_path)[0]).set_index("metric").loc["bits_per_byte"]
    by_hand = interval((after - before) / 1000, [f"t{n}" for n in range(50)], bounded=False)
    assert (row["forgotten"], row["low"], row["high"]) == pytest.approx((by_hand.estimate, by_hand.low, by_hand.high))
    assert row["p_holm"] < 1e-6


def test_forgetting_pools_the_seeds_that_both_have(tmp_path: Path) -> None:
    route(tmp_path, "closed_book", (0, 1))
    route(tmp_path, "cpt", (0, 1, 2))
    runs, _ = gather([tmp_path])
    row = forgetting(routes_of(runs)).set_index(["part", "metric"]).loc[("all", "score")]
    scores = {(run.pipeline, run.seed): run.answers.query("suite == 'general'")["score"].mean() for run in runs}
    by_hand = np.mean([scores["closed_book", seed] - scores["cpt", seed] for seed in (0, 1)])
    assert row["seed"] == "all"
    assert row["forgotten"] == pytest.approx(by_hand)
    assert row["forgotten"] == pytest.approx(row["base"] - row["value"])


def test_nothing_is_forgotten_without_a_base_or_another_route(tmp_path: Path) -> None:
    for name in ("closed_book", "cpt"):
        small_run(tmp_path / name, name, [])
    for name in ("closed_book", "cpt"):
        assert forgetting(opened(tmp_path / name)[0]).empty


def test_practised_and_unpractised_questions_have_differences_of_their_own(tmp_path: Path) -> None:
    small_run(tmp_path / "rag", "rag", ["q1", "q3"])
    small_run(tmp_path / "lora", "lora", ["q1", "q2"])
    frame = opened(tmp_path)[1]
    yes = value(frame, "lora", "exam", "all", "score", "yes")
    no = value(frame, "lora", "exam", "all", "score", "no")
    assert (yes["difference"], no["difference"]) == (0.5, -0.5)  # q1, q2 against q3, q4
    # Both practised questions are on one document, which allows no claim.
    assert yes["p_holm"] == 1.0
    assert np.isnan(value(frame, "lora", "exam", "recall", "score", "yes")["difference"])


def test_routes_stand_in_the_order_of_the_table(tmp_path: Path) -> None:
    for name in reversed(ALL):
        settings = [{"adaptation": {"general_share": share}} for share in (0.5, 0.25)] if name == "cpt" else [{}]
        settings = [{"context": {"k": k}} for k in (10, 3)] if name == "lora_rag" else settings
        for number, setting in enumerate(settings):
            small_run(tmp_path / f"{name}{number}", name, [], settings=setting)
    routes = routes_of(gather([tmp_path])[0])
    expected = [
        *ALL[:5],
        "lora_rag k=3",
        "lora_rag k=10",
        "lora_gold",
        "cpt general_share=0.25",
        "cpt general_share=0.5",
    ]
    assert [found.label for found in routes] == [*expected, "cpt_rag", "cpt_gold"]
    assert routes[8].pipeline == "cpt adaptation.general_share=0.25"


def test_training_is_read_where_there_is_any(tmp_path: Path) -> None:
    plain, trained = small_run(tmp_path / "rag", "rag", []), small_run(tmp_path / "cpt", "cpt", [])
    write_jsonl(trained / "training.jsonl", [evaluation(0, 3.0, 1.0), evaluation(9, 2, None)])
    assert load(plain).training.empty
    assert list(load(plain).training.columns) == list(evaluation(0, 3.0, 1.0))
    assert load(trained).training["domain_loss"].tolist() == [3.0, 2.0]
    assert load(trained).training["general_loss"].isna().tolist() == [False, True]
    write_jsonl(trained / "training.jsonl", [{"tokens": 0}])
    with pytest.raises(LabError, match=r"training\.jsonl, line 1: no domain_loss, general_loss, domain_bits"):
        load(trained)


def test_ten_routes_with_two_seeds_in_one_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ALL:
        route(tmp_path, name, (0, 1))
    show([tmp_path])
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Written")) <= 132
    # No figure is broken over two lines: a route's first line has a cell in each of its 15 columns after the name.
    first = next(line for line in lines if line.startswith(" lora_gold"))
    assert len(re.sub(r" (r|[kMG]?B)\b", r"\1", first).split()) == 16, first
    # lora_rag and cpt_rag find what rag finds, so the three share a row of the retrieval table.
    assert re.search(r"^ rag,", shown, re.MULTILINE)
    assert "General ability, by part: points lost against closed_book" in shown
    assert re.search(r"^ cpt +\+\d+\.\d\*", shown, re.MULTILINE)
    assert "shared by 9 comparisons" in shown
    # Gold is best of all and a control; rag is the reference.
    assert re.search(r"^lora_rag \(.*\) leads, beyond chance", shown, re.MULTILINE)
    assert "Warning: " not in shown
    assert (tmp_path / "comparison.csv").read_text().startswith(CSV_HEADER + "\n")
    assert len(pd.read_csv(tmp_path / "forgetting.csv")) == 9 * 3  # all, closed_book, and bits per byte
    assert len(pd.read_csv(tmp_path / "plane.csv")) == 9
    picture = (tmp_path / "comparison.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (900, 650)


def test_an_exam_that_practice_does_not_split_has_no_such_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exam = [dataclasses.replace(q, practised=None) for q in EXAM]
    for name in ("closed_book", "rag", "lora"):
        make_run(tmp_path / name, name, exam, GENERAL, {})
    show([tmp_path])
    shown = capsys.readouterr().out
    assert "unprac" not in shown
    assert "practised" not in shown


def test_what_practice_and_reverse_say_of_the_weights(tmp_path: Path) -> None:
    for name in ("closed_book", "rag", "gold", "lora", "cpt"):
        route(tmp_path, name)
    routes, frame = opened(tmp_path)
    said = verdict(frame, routes, "rag")
    assert len(said) == 6
    practised, reverse = said[4:]
    lora = [value(frame, "lora", "exam", "all", "score", side) for side in ("yes", "no")]
    assert f"lora {100 * (lora[0]['value'] - lora[1]['value']):+.1f} points" in practised
    assert "not paired" in practised
    beyond, within = practised.split("; ")
    assert "lora" in beyond
    assert beyond.endswith("beyond chance")
    assert "cpt" in within
    assert within.endswith("within chance.")
    row = value(frame, "cpt", "exam", "reverse", "score")
    assert f"cpt {100 * row['difference']:+.1f} points" in reverse
    assert "gold: " in reverse


def test_sentences_stay_short_with_many_variants(tmp_path: Path) -> None:
    for name in ("closed_book", "rag", "gold"):
        route(tmp_path, name)
    for share in range(8):
        route(tmp_path, "cpt", settings={"adaptation": {"general_share": share / 10}})
    routes, frame = opened(tmp_path)
    said = verdict(frame, routes, "rag")
    assert len(said) == 6
    assert max(map(len, said)) < 700
    assert "cpt general_share=0.7" in said[4]


def test_a_training_that_did_not_take_is_named(tmp_path: Path) -> None:
    for name in ("closed_book", "rag", "gold", "lora"):
        route(tmp_path, name)
    route(tmp_path, "cpt", chances=(0.0, 0.0, 0.5))
    said = [line for line in warnings(opened(tmp_path)[0], "rag") if "did not take" in line]
    assert len(said) == 1
    assert said[0].startswith("cpt does not beat closed_book on recall")


def test_one_seed_of_training_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    route(tmp_path, "closed_book")
    route(tmp_path, "lora", (0, 1))
    route(tmp_path, "cpt")
    show([tmp_path])
    assert "One training seed only, for cpt:" in capsys.readouterr().out


def test_no_picture_without_the_base_and_none_is_left_from_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "comparison.png").write_bytes(b"old")
    for name in ("rag", "cpt"):
        route(tmp_path, name)
    show([tmp_path])
    assert "No picture: it needs the base closed-book" in capsys.readouterr().out
    assert not (tmp_path / "comparison.png").exists()
    assert not (tmp_path / "forgetting.csv").exists()


def test_labels_in_the_picture_do_not_cover_each_other(tmp_path: Path) -> None:
    for name in ALL:
        route(tmp_path, name)
    routes = routes_of(gather([tmp_path])[0])
    figure = gained_and_lost(routes, forgetting(routes))
    texts = [text for text in figure.axes[0].texts if text.get_text() in ALL]
    boxes = [text.get_window_extent().padded(-3) for text in texts]
    assert len(texts) == 9
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)  # each with itself


def test_the_newest_folder_with_an_adapted_route_is_found(tmp_path: Path) -> None:
    folders = {
        "old": small_run(tmp_path / "old" / "0-cpt", "cpt", []),
        "new": small_run(tmp_path / "new" / "0-lora", "lora", []),
        "alone": small_run(tmp_path / "alone", "cpt", []),
        "plain": small_run(tmp_path / "plain" / "0-rag", "rag", []),
        "broken": small_run(tmp_path / "broken" / "0-cpt", "cpt", [], finished=False),
    }
    for age, name in enumerate(("broken", "plain", "new", "alone", "old")):
        os.utime(folders[name] / "manifest.json", (10**9 - age, 10**9 - age))
    assert newest_adapted(tmp_path) == tmp_path / "new"
    os.utime(folders["alone"] / "manifest.json", (2 * 10**9, 2 * 10**9))
    assert newest_adapted(tmp_path) == tmp_path / "alone"
    with pytest.raises(LabError, match="no finished run of an adapted route"):
        newest_adapted(tmp_path / "plain")


def test_the_newest_experiment_is_found_by_its_name(tmp_path: Path) -> None:
    for name in ("2026-01-02_03-04-05-rank_sweep", "2026-01-03_03-04-05-rank_sweep", "2026-01-04_03-04-05-known"):
        (tmp_path / name).mkdir()
    assert newest_experiment(tmp_path, "rank_sweep").name == "2026-01-03_03-04-05-rank_sweep"
    with pytest.raises(LabError, match="python -m lab experiment=replay_sweep"):
        newest_experiment(tmp_path, "replay_sweep")
