"""Who wins where weights learnt one edition and the passage on the desk is of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.judge.stale import CURRENT, NEITHER, OLD, side
from lab.judge.statistics import interval
from lab.report.scores import Floats, Route, Rows
from lab.report.upkeep.editions import CHANGED, Edition, asked, editions

ALL, KNOWN = "all", "known by the weights"
WINNERS = ("passage", "weights", "neither")
COLUMNS = [
    *("updates", "pipeline", "passages", "weights_learnt", "among"),
    *(f"{name}{end}" for name in WINNERS for end in ("", "_low", "_high")),
    "n",
]


def conflicts(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Two rows a route whose weights and passages are of two editions, for each number of updates:

    - updates, pipeline. passages, weights_learnt: which value of a changed fact they hold, "current" or "old".
    - among: "all" questions on changed facts with the fact's own passage among those shown, or of these the ones that
      the same weights answer by what they learnt when they sit closed-book, "known by the weights": there both sides
      have something to say. Without such a run only the first.
    - passage, weights, neither: the share of answers that give the passage's value, the weights', and another or
      none, with _low and _high (95 % interval). n: questions; of several seeds those that it holds for in each.

    Raises LabError where no run is of a corpus that was updated.
    """
    return conflicts_of(editions(paths)[0])


def conflicts_of(found: Sequence[Edition]) -> pd.DataFrame:
    """The frame of `conflicts`."""
    rows = [row for edition in found for route in edition.routes for row in _rows(edition, route)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(edition: Edition, route: Route) -> list[dict[str, Any]]:
    old_weights, old_passages = route.adaptation.endswith("_outdated"), route.context == "outdated"
    if not route.is_trained or not route.retrieves or old_weights == old_passages:
        return []
    passages, weights = (OLD if old_passages else CURRENT), (OLD if old_weights else CURRENT)
    chosen = asked(route, CHANGED)
    chosen = chosen[_shown(route, chosen)]
    by_heart = edition.route(route.adaptation, "none")
    among = {ALL: chosen}
    if by_heart is not None:
        among[KNOWN] = chosen[(_gives(by_heart, chosen, weights) == 1.0).all(axis=0)]
    made = []
    for name, rows in among.items():
        row: dict[str, Any] = {
            "updates": edition.updates, "pipeline": route.label, "passages": passages, "weights_learnt": weights,
            "among": name, "n": len(rows),
        }  # fmt: skip
        for winner, value in zip(WINNERS, (passages, weights, NEITHER), strict=True):
            if len(rows):
                share = interval(_gives(route, rows, value), route.clusters(rows))
                row |= {winner: share.estimate, f"{winner}_low": share.low, f"{winner}_high": share.high}
        made.append(row)
    return made


def _gives(route: Route, rows: Rows, value: str) -> Floats:
    """1.0 where the answer is of that side, (seeds, questions)."""
    questions = route.runs[0].questions
    told = list(zip(questions["answers"].to_numpy()[rows], questions["stale"].to_numpy()[rows], strict=True))
    return np.stack(
        [
            [float(side(text, *both) == value) for text, both in zip(run.arrays["text"][rows], told, strict=True)]
            for run in route.runs
        ]
    )


def _shown(route: Route, rows: Rows) -> NDArray[np.bool_]:
    """Whether every seed had the fact's passage on the desk, by its id: editions keep the ids of what they amend."""
    gold = route.runs[0].questions["passages"].to_numpy()[rows]
    shown = [
        [not set(passages).isdisjoint(id for id, _ in found) for passages, found in zip(gold, desk, strict=True)]
        for desk in (run.arrays["passages"][rows] for run in route.runs)
    ]
    return np.asarray(np.array(shown, dtype=bool).all(axis=0))
