"""What each phase of a route took: the ledger of its runs, one row a phase."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lab.ledger import PEAKS, SUMS
from lab.report.scores import Route

COLUMNS = ["pipeline", "seed", "phase", *SUMS, *PEAKS, "reused", "flops_note"]


def phases(routes: Sequence[Route]) -> pd.DataFrame:
    """One row for each route and phase, in the order in which they began:

    - pipeline, seed: the route; seed is "all" where several are pooled, and the row then their mean.
    - phase: ingest, indexing, training, answering (with the scoring of known answers), general (the general suite),
      waiting (questions asked alone); and what was written to train on: practice questions, practice reworded, replay
      writing.
    - seconds to joules: sums of the columns of `lab.ledger.Entry`; peak_rss_bytes, peak_cuda_bytes: the highest. NaN is
      not known.
    - reused: whether any of it was made by an earlier run, and shows what it took then.
    - flops_note: why operations counted and the rule differ by more than 15 %, where they do; of the first seed, as
      those of others say the same with nearly its figures.
    """
    rows = []
    for route in routes:
        costs = pd.concat([run.costs for run in route.runs])
        for phase, some in costs.groupby("phase", sort=False):
            sums = {name: some[name].astype(float).sum(min_count=1) / len(route.runs) for name in SUMS}
            peaks = {name: some[name].astype(float).max() for name in PEAKS}
            note = next((note for detail in some["detail"] if (note := detail.get("flops_note"))), "")
            row = {"pipeline": route.pipeline, "seed": route.seed, "phase": phase, **sums, **peaks}
            rows.append({**row, "reused": bool(some["reused"].any()), "flops_note": note})
    return pd.DataFrame(rows, columns=COLUMNS)
