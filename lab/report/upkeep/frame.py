"""Each route after updates: what the last one cost, and what the route knows of what stayed, changed, came and went."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lab.judge.statistics import Difference, Interval, interval, paired_difference
from lab.report.bill import Prices, Use, bill, read_prices
from lab.report.compare import paired, shared_seeds
from lab.report.load import Run
from lab.report.scores import SCORE, SITTING, Route, Rows
from lab.report.upkeep.editions import (
    CHANGED,
    CONTINUED,
    DELETED,
    MIXED,
    NEVER,
    NEW,
    NOTHING,
    REPLACED,
    RETRAINED,
    UNCHANGED,
    Edition,
    asked,
    editions,
    way,
)

STALE = "stale_given"
UPDATING = "updating"
# Shares with their interval: name, status of the questions, column that is averaged.
SHARES = (
    (UNCHANGED, UNCHANGED, SCORE),
    (CHANGED, CHANGED, SCORE),
    (NEW, NEW, SCORE),
    (DELETED, DELETED, SCORE),
    ("stale", CHANGED, STALE),
    ("residual", DELETED, STALE),
)
DIFFERENCES = ("residual_more", "general_change")
ENDS = ("", "_low", "_high", "_n")
COLUMNS = [
    *("updates", "pipeline", "way", "seeds"),
    *("update_seconds", "update_tokens", "update_cost", "currency"),
    *(f"{name}{end}" for name in (*(share[0] for share in SHARES), "general") for end in ENDS),
    "residual_control",
    *(f"{name}{end}" for name in DIFFERENCES for end in ENDS[:3]),
]


def upkeep(paths: Sequence[str | Path], prices: Prices | None = None) -> pd.DataFrame:
    """One row for each number of updates and each route, among the runs at or below the paths:

    - updates: that the corpus went through since its first state. pipeline, seeds: the route. way: how it was brought
      up to date: "retrained" from the base, "continued" from the weights before, its index "rebuilt" or its passages
      "replaced", "never", "in part" (weights and passages of two editions), or "nothing" to update: the base.
    - update_seconds, update_tokens, update_cost, currency: what one update takes, of several the mean: all of the
      preparation where it is made again from nothing, else what is billed as updating. 0 where nothing is done.
    - unchanged, changed, new, deleted: score on facts that stayed, have another value, came and went since the first
      state; where a fact is gone "unknown" is right. Only questions of the parts in which all are asked.
    - stale: of the questions on changed facts, those answered by an old value. residual: of those on deleted facts,
      those answered by the deleted value. residual_control: the route that never saw it; residual_more: how much more
      often than that one, over the same questions.
    - general: score of the general suite. general_change: less that of the base closed-book.

    Each with _low and _high (95 % interval) and, but for differences, _n. Shares are in 0..1; what is not known is NaN.
    Raises LabError where no run is of a corpus that was updated.
    """
    return upkeep_of(editions(paths)[0], prices or read_prices("default"))


def upkeep_of(found: Sequence[Edition], prices: Prices) -> pd.DataFrame:
    """The frame of `upkeep`."""
    rows = [_row(edition, route, prices) for edition in found for route in edition.routes]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(edition: Edition, route: Route, prices: Prices) -> dict[str, Any]:
    row: dict[str, Any] = {
        "updates": edition.updates,
        "pipeline": route.label,
        "way": way(route),
        "seeds": len(route.runs),
        **_costs(edition, route, prices),
    }
    for name, status, column in SHARES:
        row |= _share(name, route, asked(route, status), column)
    row |= _share("general", route, route.choose("general"), SCORE)
    control, gone = edition.control(route), asked(route, DELETED)
    if control is not None and len(gone):
        row["residual_control"] = control.label
        row |= _difference("residual_more", _more(route, control, gone))
    if edition.base is not None and route is not edition.base and len(route.choose("general")):
        row |= _difference("general_change", paired(route, edition.base, "general"))
    return row


def _share(name: str, route: Route, rows: Rows, column: str) -> dict[str, Any]:
    if not len(rows):
        return {f"{name}_n": 0}
    found: Interval = interval(route.matrix(column, rows), route.clusters(rows))
    return {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": len(rows)}


def _more(route: Route, control: Route, rows: Rows) -> Difference:
    one, other = shared_seeds(route, control)
    return paired_difference(one.matrix(STALE, rows), other.matrix(STALE, rows), route.clusters(rows))


def _difference(name: str, found: Difference) -> dict[str, float]:
    return {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}


def _costs(edition: Edition, route: Route, prices: Prices) -> dict[str, Any]:
    """Of one update: seconds, tokens and money, means over seeds."""
    how = way(route)
    if how in (NEVER, NOTHING, MIXED):  # What was updated in part is no way to keep a route, but a test of it.
        costs = dict.fromkeys(("update_seconds", "update_tokens", "update_cost"), math.nan if how == MIXED else 0.0)
        return {**costs, "currency": prices.currency}
    runs = [_of_one_update(run, how, edition.updates) for run in route.runs]
    priced = bill([Route(route.pipeline, tuple(runs))], prices, Use(0, 0))
    return {
        "update_seconds": float(np.mean([run.costs["seconds"].sum() for run in runs])),
        "update_tokens": float(np.mean([run.costs["tokens"].sum() for run in runs])),
        "update_cost": float(priced["prepare_cost"].iloc[0]),
        "currency": prices.currency,
    }


def _of_one_update(run: Run, how: str, updates: int) -> Run:
    """The run with a ledger of what one update took."""
    costs = run.costs[~run.costs["phase"].isin(SITTING)]
    if how in (CONTINUED, REPLACED):
        numbers = ["seconds", "cpu_seconds", "tokens"]
        costs = costs[costs["phase"] == UPDATING].astype(dict.fromkeys(numbers, float))
        costs[numbers] = costs[numbers] / updates
    if how in (CONTINUED, RETRAINED):
        costs = costs.assign(phase=costs["phase"].replace(UPDATING, "training"))
    return dataclasses.replace(run, costs=costs)
