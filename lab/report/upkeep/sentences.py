"""What a small update is worth: a route that was continued, or whose passages were replaced, beside one made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lab.judge.statistics import Difference, paired_difference
from lab.report.compare import shared_seeds
from lab.report.scores import SCORE, Route, Rows
from lab.report.upkeep.editions import CHANGED, CONTINUED, NEW, REPLACED, UNCHANGED, Edition, asked, way
from lab.report.wording import listed, points


def against_anew(found: Sequence[Edition], frame: pd.DataFrame) -> list[str]:
    """One sentence for each route that was brought up to date without being made anew, where that was done too.

    frame: of `upkeep`. Differences are paired by question; a star is an interval that does not cover 0.
    """
    said = []
    for edition in found:
        costs = {row["pipeline"]: row for row in frame[frame["updates"] == edition.updates].to_dict("records")}
        for route in edition.routes:
            other = edition.control(route)
            if way(route) in (CONTINUED, REPLACED) and other is not None and other is not edition.base:
                said.append(_sentence(edition, route, other, costs))
    return said


def _sentence(edition: Edition, route: Route, other: Route, costs: Mapping[str, Mapping[str, float]]) -> str:
    slices = {status: asked(route, status) for status in (UNCHANGED, CHANGED, NEW)}
    slices["general"] = route.choose("general")
    told = [f"{name} {_told(_paired(route, other, rows))}" for name, rows in slices.items() if len(rows)]
    ours, theirs = costs[route.label], costs[other.label]
    parts = [
        f"{ours[f'update_{what}'] / theirs[f'update_{what}']:.2g} of its {what}"
        for what in ("seconds", "tokens")
        if theirs[f"update_{what}"]
    ]
    after = "one update" if edition.updates == 1 else f"{edition.updates} updates"
    takes = f"; an update takes {listed(parts)}" if parts else ""
    return f"After {after}, {route.label} against {other.label}, made anew: {', '.join(told)}{takes}."


def _paired(route: Route, other: Route, rows: Rows) -> Difference:
    one, two = shared_seeds(route, other)
    return paired_difference(one.matrix(SCORE, rows), two.matrix(SCORE, rows), route.clusters(rows))


def _told(found: Difference) -> str:
    return points(found.estimate, found.low, found.high) + ("*" if found.p < 0.05 else "")
