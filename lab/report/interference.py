"""Interference apart from forgetting: can adapted weights still use a book, and still say that they do not know?

Forgetting asks what was known before. Here the text lies on the desk on both sides, so only reading it may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lab.judge.statistics import Difference, holm, paired_difference
from lab.report.compare import shared_seeds
from lab.report.scores import OUTCOME_RATES, SCORE, Route, Rows

COLUMNS = [
    *("pipeline", "seed", "against", "suite", "part", "metric"),
    *("n", "before", "after", "change", "low", "high", "p_holm"),
]
RATES = ("unknown_right", "unknown_wrong")
GIVEN = "given"  # the part of all general questions that bring the text that they are to be read from
WHOLE = {"exam": "all", "general": GIVEN}


def interference(routes: Sequence[Route]) -> pd.DataFrame:
    """Adapted weights against the base in the same context, a row for each route, part and metric:

    - pipeline, seed: the adapted route; seed is "all" where several are pooled. against: the base whose context is the
      same in name and settings (rag for cpt_rag, closed_book for cpt); a route without one in the runs has no row.
    - suite: "exam" for routes that are handed passages, split by part and "all". "general" for those that are not, over
      the questions that bring their text, which the part "given" holds together; passages would stand between the
      student and it.
    - metric: score, and of the whole ("all", "given") the rates unknown_right (abstained where the text does not say)
      and unknown_wrong (abstained where it does; more is worse).
    - n: questions. before, after: the base's mean and the route's, over the seeds that both have.
    - change, low, high: after - before with its 95 % interval, paired by question. p_holm: against no change, adjusted
      by Holm across the routes within one suite, part and metric.
    """
    pairs = [(route, base) for route in routes if route.is_trained and (base := _same_context(route, routes))]
    rows: list[dict[str, Any]] = []
    for suite, fits in (("exam", lambda route: route.context != "none"), ("general", lambda r: r.context == "none")):
        mine = [pair for pair in pairs if fits(pair[0])]
        for part, metric, chosen in _slices(mine[0][0], suite) if mine else ():
            found = [_change(route, base, metric, chosen) for route, base in mine]
            adjusted = holm([difference.p for _, _, difference in found])
            for (route, base), (before, after, d), p in zip(mine, found, adjusted, strict=True):
                values = (suite, part, metric, len(chosen), before, after, d.estimate, d.low, d.high, p)
                rows.append(dict(zip(COLUMNS, (route.pipeline, route.seed, base.pipeline, *values), strict=True)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _same_context(route: Route, routes: Sequence[Route]) -> Route | None:
    """The base that reads what the route reads: a context of another k or retriever is another book."""
    contexts = [(other.context, other.runs[0].manifest["settings"].get("context")) for other in routes]
    own = contexts[list(routes).index(route)]
    alike = (
        other for other, context in zip(routes, contexts, strict=True) if other.adaptation == "none" and context == own
    )
    return next(alike, None)


def _slices(route: Route, suite: str) -> list[tuple[str, str, Rows]]:
    """(part, metric, rows) of a suite; the questions are the same for all routes."""
    questions = route.runs[0].questions
    read = np.flatnonzero((questions["given"].map(len) > 0) | (suite == "exam"))
    whole = WHOLE[suite]
    asked = [
        (whole if part == "all" else part, SCORE, np.intersect1d(route.choose(suite, part), read))
        for part in route.parts(suite)
    ]
    for rate in RATES:
        asked.append((whole, rate, np.intersect1d(route.choose(suite, answerable=OUTCOME_RATES[rate][1]), read)))
    return [(part, metric, rows) for part, metric, rows in asked if len(rows)]


def _change(route: Route, base: Route, metric: str, chosen: Rows) -> tuple[float, float, Difference]:
    """The base's mean, the route's, and the second minus the first."""
    pair = shared_seeds(route, base)
    after, before = (
        one.matrix(SCORE, chosen) if metric == SCORE else one.outcomes(OUTCOME_RATES[metric][0], chosen) for one in pair
    )
    difference = paired_difference(after, before, route.clusters(chosen))
    return float(before.mean()), float(after.mean()), difference
