"""Gained against lost: the plane, its Pareto front, the sentence on it and the line in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_report import GENERAL, large_exam, make_run, small_run

from lab.judge.statistics import paired_difference
from lab.records import LabError
from lab.report import compare, forgetting, load, plane, routes_of
from lab.report.picture import gained_and_lost
from lab.report.scores import Route
from lab.report.verdict import verdict

EXAM = large_exam(20, 10)
# Exam questions of 200 right, general ones of 60 right.
RIGHT = {
    "closed_book": (0, 57),
    "random": (190, 60),  # a control: neither on the front nor in anybody's way
    "gold": (200, 60),
    "rag": (100, 57),
    "lora": (100, 50),  # gains what rag gains, and loses more
    "lora_rag": (150, 50),
    "cpt": (120, 30),
    "cpt_rag": (151, 20),
}


def runs_of(root: Path, names: Sequence[str] = tuple(RIGHT)) -> list[Route]:
    """Routes with exactly so many right answers, the same questions first."""
    made = []
    for name in names:
        asked, known = RIGHT[name]
        answers = {q.id: "yes" for q in EXAM[:asked]} | {q.id: "yes" for q in GENERAL[:known]}
        made.append(load(make_run(root / name, name, EXAM, GENERAL, answers)))
    return routes_of(made)


def by_hand(points: dict[str, tuple[float, float]]) -> set[str]:
    """The front from its definition, over (gained, lost)."""
    return {
        name
        for name, (gained, lost) in points.items()
        if not any(
            other_gained >= gained and other_lost <= lost and (other_gained > gained or other_lost < lost)
            for other_gained, other_lost in points.values()
        )
    }


def test_the_plane_by_hand(tmp_path: Path) -> None:
    small_run(tmp_path / "base", "closed_book", ["q4", "g1", "g2"])
    small_run(tmp_path / "cpt", "cpt", ["q1", "q2", "q3", "g1"])
    routes = routes_of([load(tmp_path / name) for name in ("base", "cpt")])
    found = plane(routes)
    assert list(found.columns) == [
        *("pipeline", "seed", "gained", "gained_low", "gained_high", "lost", "lost_low", "lost_high"),
        *("control", "front"),
    ]
    (row,) = found.to_dict("records")
    assert (row["pipeline"], row["seed"], row["gained"], row["lost"]) == ("cpt", "0", 0.5, 0.5)
    gain = paired_difference([1, 1, 1, 0], [0, 0, 0, 1], ["a", "a", "b", "b"])
    loss = paired_difference([1, 1], [1, 0], ["Oro", "Lim"])
    assert (row["gained_low"], row["gained_high"]) == pytest.approx((gain.low, gain.high))
    assert (row["lost_low"], row["lost_high"]) == pytest.approx((loss.low, loss.high))


def test_the_front_is_that_of_its_definition_and_without_controls(tmp_path: Path) -> None:
    found = plane(runs_of(tmp_path)).set_index("pipeline")
    assert found.index[found["control"].astype(bool)].tolist() == ["random", "gold"]
    points = {
        name: (asked / 200, (57 - known) / 60)
        for name, (asked, known) in RIGHT.items()
        if name not in ("closed_book", "random", "gold")
    }
    assert np.allclose(found.loc[list(points), ["gained", "lost"]], list(points.values()))
    assert set(found.index[found["front"].astype(bool)]) == by_hand(points) == {"rag", "lora_rag", "cpt_rag"}


def test_points_that_coincide_are_both_on_the_front_and_chance_can_make_any(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    base = load(make_run(tmp_path / "base", "closed_book", EXAM, GENERAL, {q.id: "yes" for q in GENERAL}))
    made, points = [base], {}
    for number in range(12):
        asked, known = (int(random.integers(1, 5)) for _ in range(2))  # few values, so that many coincide
        answers = {q.id: "yes" for q in EXAM[:asked]} | {q.id: "yes" for q in GENERAL[:known]}
        run = load(make_run(tmp_path / str(number), "cpt", EXAM, GENERAL, answers))
        run.manifest["pipeline"] = f"cpt {number}"
        made.append(run)
        points[f"cpt {number}"] = (float(asked), -float(known))
    found = plane(routes_of(made)).set_index("pipeline")
    assert len(set(points.values())) < 12
    assert set(found.index[found["front"].astype(bool)]) == by_hand(points)


def test_nothing_to_place_without_a_base_a_route_or_a_general_suite(tmp_path: Path) -> None:
    assert plane(runs_of(tmp_path / "1", ["rag", "cpt"])).empty
    assert plane(runs_of(tmp_path / "2", ["closed_book"])).empty
    made = [load(make_run(tmp_path / "3" / n, n, EXAM, [], {}, texts=[])) for n in ("closed_book", "rag", "cpt")]
    routes = routes_of(made)
    assert plane(routes).empty
    assert not any("Pareto" in sentence for sentence in verdict(compare(made), routes, "rag"))
    with pytest.raises(LabError, match="general suite"):
        gained_and_lost(routes, forgetting(routes))


def test_the_sentence_names_the_front_and_what_chance_may_have_told_apart(tmp_path: Path) -> None:
    routes = runs_of(tmp_path)
    runs = [run for route in routes for run in route.runs]
    (said,) = [line for line in verdict(compare(runs), routes, "rag") if "Pareto" in line]
    # One question of 200 says nothing, while 7 of 60 on as many subjects do.
    assert said == (
        "Pareto front by point estimates (gained, lost, in points): rag (+50.0, 0.0), lora_rag (+75.0, 11.7) and "
        "cpt_rag (+75.5, 61.7); within chance of each other are lora_rag and cpt_rag in what they gain."
    )


def test_one_route_to_choose_has_no_front_worth_a_sentence(tmp_path: Path) -> None:
    routes = runs_of(tmp_path, ["closed_book", "gold", "rag"])
    runs = [run for route in routes for run in route.runs]
    assert not any("Pareto" in sentence for sentence in verdict(compare(runs), routes, "rag"))


def test_the_picture_joins_the_front_by_steps(tmp_path: Path) -> None:
    routes = runs_of(tmp_path)
    figure = gained_and_lost(routes, forgetting(routes))
    (front,) = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert np.allclose(front.get_xydata(), [(0, 50), (100 * 7 / 60, 75), (100 * 37 / 60, 75.5)])
    assert any("Pareto front" in text.get_text() for text in figure.legends[0].get_texts())
    alone = gained_and_lost(few := routes[:2] + routes[3:4], forgetting(few))
    assert not any("Pareto" in text.get_text() for text in alone.legends[0].get_texts())
