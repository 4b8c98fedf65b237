"""Gained and forgotten on one plane: what a route adds in the private exam against what it costs in general ability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lab.report.compare import base_of, paired
from lab.report.forgetting import forgetting
from lab.report.scores import SCORE, Route

COLUMNS = [
    *("pipeline", "seed"),
    *("gained", "gained_low", "gained_high"),
    *("lost", "lost_low", "lost_high"),
    *("control", "front"),
]
DECIMALS = 12  # means of the same scores, summed in another order, differ by less


def plane(routes: Sequence[Route], forgotten: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row for each route that is neither the base closed-book nor another system's:

    - pipeline, seed: the route; seed is "all" where several are pooled.
    - gained, gained_low, gained_high: exam score minus that of the base closed-book, paired by question, with its 95 %
      interval, as a share of 1.
    - lost, lost_low, lost_high: general score of the base minus the route's: the whole suite's row of `forgetting`.
    - control: whether it measures the exam rather than being a choice, as with gold or random passages.
    - front: whether it is on the Pareto front of the others, by point estimates: no other one gains at least as much
      for at most the loss, and more or for less. A control is never on it and keeps nobody off it, and neither does
      the base, which gains and loses nothing.

    forgotten: of `forgetting`, where it is at hand. Empty without the base, another route or a general suite.
    """
    rows = forgetting(routes) if forgotten is None else forgotten
    lost = rows[(rows["part"] == "all") & (rows["metric"] == SCORE)].set_index("pipeline")
    base = base_of(routes)
    points: list[dict[str, Any]] = []
    for route in routes:
        if base is None or route.pipeline not in lost.index:
            continue
        gain, loss = paired(route, base, "exam"), lost.loc[route.pipeline]
        ends = (gain.estimate, gain.low, gain.high, loss["forgotten"], loss["low"], loss["high"])
        values = (route.pipeline, route.seed, *map(float, ends), route.is_control)
        points.append(dict(zip(COLUMNS, values, strict=False)))
    for point in points:
        rivals = [other for other in points if not other["control"]]
        point["front"] = not point["control"] and not any(_dominates(rival, point) for rival in rivals)
    return pd.DataFrame(points, columns=COLUMNS)


def front_of(placed: pd.DataFrame) -> pd.DataFrame:
    """The rows of `plane` that are on the front, from the least lost to the most, which is also the most gained."""
    return placed[placed["front"].astype(bool)].sort_values(["lost", "gained"], kind="stable")


def _dominates(one: dict[str, Any], other: dict[str, Any]) -> bool:
    more = round(one["gained"] - other["gained"], DECIMALS)
    less = round(other["lost"] - one["lost"], DECIMALS)
    return more >= 0 and less >= 0 and (more > 0 or less > 0)
