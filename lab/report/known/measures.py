"""What an answer measures: contrasts over the same questions, levels, bits, each with its interval and its bound."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from lab.judge.statistics import (
    Difference,
    Interval,
    interval,
    paired_difference,
    smallest_detectable_difference,
    unpaired_difference,
)
from lab.records import LabError
from lab.report.scores import SCORE, Floats, Route, Rows, ratio_values

# Units: how a figure is written. A difference of scores, a score, bits a byte, and a plain number.
POINTS, PERCENT, BITS, NUMBER = "points", "percent", "bits", "number"


@dataclass(frozen=True)
class Measure:
    """One figure with its 95 % interval.

    n: questions or texts. seeds: training seeds that it rests on, 0 where no weights were adapted. bound, above: it is
    expected above the bound, or below it; without a bound it is listed and decides nothing. p: two-sided, against the
    bound. detectable: how far from the bound a true value must be to be found with 80 % power; NaN where not known.
    """

    name: str
    unit: str
    estimate: float
    low: float
    high: float
    n: int
    seeds: int
    bound: float | None = None
    above: bool = True
    p: float = 1.0
    detectable: float = math.nan

    @property
    def holds(self) -> float:
        """p where the whole interval lies on the expected side of the bound, else 1."""
        return self.p if (self._above_bound if self.above else self._below_bound) else 1.0

    @property
    def fails(self) -> float:
        """p where the whole interval lies on the other side, else 1."""
        return self.p if (self._below_bound if self.above else self._above_bound) else 1.0

    @property
    def _above_bound(self) -> bool:
        return self.bound is not None and self.low > self.bound

    @property
    def _below_bound(self) -> bool:
        return self.bound is not None and self.high < self.bound


@dataclass(frozen=True)
class Asked:
    """Which questions: of a suite; of some parts, or all; practised "yes", "no" or "all"; those with an answer."""

    suite: str = "exam"
    parts: tuple[str, ...] = ()
    practised: str = "all"
    answerable: bool | None = None

    def rows(self, route: Route) -> Rows:
        """The questions' places among the route's answers."""
        chosen = route.choose(self.suite, practised=self.practised, answerable=self.answerable)
        if not self.parts:
            return chosen
        return chosen[np.isin(route.runs[0].arrays["part"][chosen].astype(str), self.parts)]


def contrast(
    name: str,
    weighted: Sequence[tuple[float, Route]],
    asked: Asked,
    *,
    column: str = SCORE,
    bound: float | None = None,
    above: bool = True,
) -> Measure:
    """The sum of weight times a route's score, question by question, and its mean over questions and seeds.

    A difference has the weights 1 and -1. Every linear contrast is such a mean over the same questions, so the paired
    machinery fits it. LabError where the routes were not asked the same.
    """
    weights, routes = [weight for weight, _ in weighted], matched([route for _, route in weighted])
    rows = same_questions(routes, asked)
    values = np.zeros((1, len(rows[0])))
    for weight, route, chosen in zip(weights, routes, rows, strict=True):
        values = values + weight * known_values(route, column, chosen)
    return against(name, POINTS, values, routes[0].clusters(rows[0]), seeds_of(routes), bound, above)


def less(
    name: str,
    first: Route,
    second: Route,
    asked: Asked,
    *,
    column: str = SCORE,
    bound: float | None = None,
    above: bool = True,
) -> Measure:
    """Score of the first less that of the second; see `contrast`."""
    return contrast(name, ((1.0, first), (-1.0, second)), asked, column=column, bound=bound, above=above)


def level(name: str, route: Route, asked: Asked, *, bound: float | None = None, above: bool = True) -> Measure:
    """A score itself, with Wilson's interval; p is of the t test against the bound."""
    rows = asked.rows(route)
    clusters = route.clusters(rows)
    if not len(rows):
        return unknown(name, PERCENT, seeds_of([route]), bound, above)
    values = known_values(route, SCORE, rows)
    tested = against(name, PERCENT, values, clusters, seeds_of([route]), bound, above)
    found = interval(values, clusters)
    return dataclasses.replace(tested, estimate=found.estimate, low=found.low, high=found.high)


def unpaired(
    name: str, route: Route, first: Asked, second: Asked, *, bound: float | None = None, above: bool = True
) -> Measure:
    """Score on the first questions less that on the second, of one route."""
    one, two = first.rows(route), second.rows(route)
    seeds = seeds_of([route])
    if not len(one) or not len(two):
        return unknown(name, POINTS, seeds, bound, above)
    shift = bound or 0.0
    values = known_values(route, SCORE, one) - shift, known_values(route, SCORE, two)
    found = unpaired_difference(*values, route.clusters(one), route.clusters(two))
    return _measure(name, POINTS, found, shift, len(one) + len(two), seeds, bound, above)


def risen(name: str, route: Route, base: Route, *, bound: float | None = None) -> Measure:
    """Bits a byte of the held-out general text, the route's less the base's, by text."""
    pair = matched([route, base])
    after, before, size = pair[0].texts("bits"), pair[1].texts("bits"), base.texts("bytes")[0]
    if not size.size:
        return unknown(name, BITS, seeds_of(pair), bound, True)
    rise = after - before
    values = ratio_values(rise, np.broadcast_to(size, rise.shape))
    return against(name, BITS, values, _text_ids(base), seeds_of(pair), bound, True)


def share_saved(name: str, with_it: Route, without: Route, base: Route, *, bound: float) -> Measure:
    """(bits without less bits with it) / (bits without less the base's) of the held-out text, a ratio of sums by text.

    By the delta method (`ratio_values`), which needs a rise that is surely above 0: claim that too.
    """
    saved, lost, first = matched([with_it, without, base])
    bits = [route.texts("bits") for route in (saved, lost, first)]
    top, bottom = np.broadcast_arrays(bits[1] - bits[0], bits[1] - bits[2])
    if not bottom.size or bottom.sum() == 0:
        return unknown(name, NUMBER, seeds_of([saved, lost, first]), bound, True)
    return against(
        name, NUMBER, ratio_values(top, bottom), _text_ids(base), seeds_of([saved, lost, first]), bound, True
    )


def plain(name: str, unit: str, found: Interval, n: int, seeds: int) -> Measure:
    """A figure that decides nothing by itself."""
    return Measure(name, unit, found.estimate, found.low, found.high, n, seeds)


def against(
    name: str, unit: str, values: Floats, clusters: Sequence[str], seeds: int, bound: float | None, above: bool
) -> Measure:
    """The mean of values, (seeds, units), tested against the bound; not known where there are no units."""
    if not values.size:
        return unknown(name, unit, seeds, bound, above)
    shift = bound or 0.0
    sides = values - shift, np.zeros(values.shape[1])
    found = _measure(name, unit, paired_difference(*sides, clusters), shift, values.shape[1], seeds, bound, above)
    return dataclasses.replace(found, detectable=smallest_detectable_difference(*sides, clusters))


def unknown(name: str, unit: str, seeds: int, bound: float | None, above: bool) -> Measure:
    """Nothing was asked, so nothing is known: an interval without ends."""
    return Measure(name, unit, math.nan, -math.inf, math.inf, 0, seeds, bound, above)


def matched(routes: Sequence[Route]) -> list[Route]:
    """The routes with the seeds that all of them have; one of a single run stays, and stands against every seed.

    LabError where they share none.
    """
    several = [{run.seed for run in route.runs} for route in routes if len(route.runs) > 1]
    if not several:
        return list(routes)
    common = reduce(set.intersection, several)
    if not common:
        names = ", ".join(sorted({str(route.runs[0].folder.parent) for route in routes}))
        raise LabError(f"{names}: no seed is common to all; run each with the same seeds")
    return [
        route
        if len(route.runs) == 1
        else dataclasses.replace(route, runs=tuple(run for run in route.runs if run.seed in common))
        for route in routes
    ]


def same_questions(routes: Sequence[Route], asked: Asked) -> list[Rows]:
    """Each route's rows of the questions asked. LabError unless all were asked the same ones, in the same order."""
    rows = [asked.rows(route) for route in routes]
    for route, chosen in zip(routes, rows, strict=True):
        for run in route.runs:
            if _told(run.arrays["question_id"], chosen) != _told(routes[0].runs[0].arrays["question_id"], rows[0]):
                raise LabError(
                    f"{routes[0].runs[0].folder} and {run.folder} were not asked the same questions; run both with the "
                    "same exam and limit"
                )
    return rows


def known_values(route: Route, column: str, rows: Rows) -> Floats:
    """A column at the rows, (seeds, questions). LabError where a value is not known."""
    values = route.matrix(column, rows)
    if np.isnan(values).any():
        raise LabError(f"{route.runs[0].folder}: {column} is not known of every question; ask a model that tells it")
    return values


def seeds_of(routes: Sequence[Route]) -> int:
    """The fewest training seeds that one of the adapted routes has; 0 where none is adapted."""
    return min((len(route.runs) for route in routes if route.is_trained), default=0)


def _told(ids: Floats, rows: Rows) -> list[str]:
    return list(ids[rows].tolist())


def _text_ids(route: Route) -> list[str]:
    return list(route.runs[0].texts["text_id"].tolist())


def _measure(
    name: str, unit: str, found: Difference, shift: float, n: int, seeds: int, bound: float | None, above: bool
) -> Measure:
    ends = (found.estimate + shift, found.low + shift, found.high + shift)
    return Measure(name, unit, *ends, n, seeds, bound, above, found.p)
