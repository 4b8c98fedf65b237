"""Which of two routes is cheaper, by how much is asked and how often the corpus changes; their scores beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from lab.report.bill import DAYS_PER_MONTH, Prices, Use, bill
from lab.report.compare import paired
from lab.report.scores import Route

COLUMNS = [
    *("pipeline", "other", "questions_per_day", "updates_per_month"),
    *("monthly_cost", "other_monthly_cost"),
    *("difference", "difference_low", "difference_high"),
]
QUESTIONS_PER_DAY = tuple(round(10 ** (half / 2)) for half in range(13))  # 1, 3, 10 and so on to a million
UPDATES_PER_MONTH = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


@dataclass(frozen=True)
class Line:
    """A route's month: a part that is there whatever is asked, and a part for each question a day."""

    fixed: float
    per_question_a_day: float

    def at(self, questions_per_day: float) -> float:
        """A month's cost."""
        return self.fixed + self.per_question_a_day * questions_per_day


def break_even(routes: Sequence[Route], prices: Prices) -> pd.DataFrame:
    """One row for each pair of routes whose bill is known and each point of a grid:

    - pipeline, other: the pair, in the order of the routes.
    - questions_per_day, updates_per_month: the point; from 1 to a million, and from none to one a day.
    - monthly_cost, other_monthly_cost: of `bill` at that use. Where the first falls below the second it is cheaper.
    - difference, difference_low, difference_high: exam score of the first minus the other's over the same questions,
      with its 95 % interval, the same at every point: being cheaper at the same score is one thing, being cheaper and
      worse another.
    """
    priced = [(route, row) for route, row in zip(routes, _bills(routes, prices), strict=True) if row is not None]
    rows: list[tuple[Any, ...]] = []
    for (route, ours), (other, theirs) in combinations(priced, 2):
        found = paired(route, other, "exam")
        score = (found.estimate, found.low, found.high)
        for updates in UPDATES_PER_MONTH:
            one, two = _line(ours, updates), _line(theirs, updates)
            rows += [
                (route.pipeline, other.pipeline, questions, updates, one.at(questions), two.at(questions), *score)
                for questions in QUESTIONS_PER_DAY
            ]
    return pd.DataFrame(rows, columns=COLUMNS)


def meeting(route: Route, other: Route, prices: Prices, updates_per_month: float) -> float | None:
    """Questions a day at which the two cost the same a month; None where one is cheaper however much is asked."""
    ours, theirs = _bills([route, other], prices)
    if ours is None or theirs is None:
        return None
    one, two = _line(ours, updates_per_month), _line(theirs, updates_per_month)
    slope = one.per_question_a_day - two.per_question_a_day
    found = (two.fixed - one.fixed) / slope if slope else math.nan
    return found if found > 0 else None


def _bills(routes: Sequence[Route], prices: Prices) -> list[pd.Series | None]:
    """A row of `bill` for each route, None where it is not known."""
    frame = bill(routes, prices, Use(0, 0))
    return [row if math.isfinite(row["monthly_cost"]) else None for _, row in frame.iterrows()]


def _line(row: pd.Series, updates_per_month: float) -> Line:
    fixed = row["storage_cost"] + updates_per_month * row["update_cost"]
    return Line(fixed, DAYS_PER_MONTH * row["cost_per_thousand"] / 1000)
