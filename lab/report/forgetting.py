"""What each route lost of the base's general ability: part by part, and in bits per byte of held-out text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lab.judge.statistics import Difference, holm, paired_difference
from lab.report.compare import base_of, paired_values, shared_seeds
from lab.report.scores import SCORE, Route, ratio_values

COLUMNS = ["pipeline", "seed", "part", "metric", "n", "base", "value", "forgotten", "low", "high", "p_holm"]
TEXT = "text"  # the part that bits per byte stand under, as in `compare`


def forgetting(routes: Sequence[Route]) -> pd.DataFrame:
    """One tidy frame, a row for each route that is not the base itself and each part of the general suite:

    - pipeline, seed: the route; seed is "all" where several are pooled.
    - part, metric: score by part, "all" the whole suite; bits_per_byte of the part "text".
    - n: questions or texts. base, value: the mean of the base (closed-book) and of the route; over the seeds that
      both have, where both have several.
    - forgotten, low, high: what was lost with its 95 % interval, positive where the route is worse than the base:
      base - value for the score (0..1), value - base for bits per byte. Paired by question or text, clustered as
      `lab.judge.statistics` tells, seeds a level of their own.
    - p_holm: against nothing lost, adjusted by Holm across the routes within one part.

    Empty without the base, without another route, and without a general suite. A route that did not sit it (another
    system's) has no rows.
    """
    base = base_of(routes)
    others = [route for route in routes if route is not base and not route.is_external]
    if base is None or not others:
        return pd.DataFrame(columns=COLUMNS)
    asked = [(part, SCORE, [_points(base, route, part) for route in others]) for part in base.parts("general")]
    if not base.runs[0].texts.empty:
        asked.append((TEXT, "bits_per_byte", [_bits_per_byte(base, route) for route in others]))
    rows: list[dict[str, Any]] = []
    for part, metric, found in asked:
        adjusted = holm([difference.p for _, _, _, difference in found])
        for route, (n, before, after, lost), p in zip(others, found, adjusted, strict=True):
            values = (part, metric, n, before, after, lost.estimate, lost.low, lost.high, p)
            rows.append(dict(zip(COLUMNS, (route.pipeline, route.seed, *values), strict=True)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _points(base: Route, route: Route, part: str) -> tuple[int, float, float, Difference]:
    """Questions, the base's score, the route's, and the first minus the second."""
    before, after = paired_values(base, route, "general", part)
    clusters = base.clusters(base.choose("general", part))
    return len(clusters), float(before.mean()), float(after.mean()), paired_difference(before, after, clusters)


def _bits_per_byte(base: Route, route: Route) -> tuple[int, float, float, Difference]:
    """Texts, the base's bits per byte, the route's, and the second minus the first."""
    ids = base.runs[0].texts["text_id"].tolist()
    first, second = shared_seeds(base, route)
    before, after, sizes = first.texts("bits"), second.texts("bits"), first.texts("bytes").mean(axis=0)
    risen = ratio_values(after - before, np.broadcast_to(sizes, np.broadcast_shapes(before.shape, after.shape)))
    means = [float(bits.mean(axis=0).sum() / sizes.sum()) for bits in (before, after)]
    return len(ids), means[0], means[1], paired_difference(risen, np.zeros(len(ids)), ids)
