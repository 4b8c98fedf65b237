"""Pictures of a comparison. Colours are Okabe and Ito's (2008), which the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lab.records import LabError
from lab.report.load import Run
from lab.report.scores import SCORE

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # so that the plot also reads without colour

# Of each measure in training: what its private column begins with, its unit, the titles of both panels.
CURVES = {
    "loss": ("domain", "loss (nats a token)", ("Loss on private text", "Loss on general text")),
    "bits_per_byte": ("domain", "bits per byte", ("Bits per byte of private text", "Bits per byte of general text")),
    "score": ("exam", "score (%)", ("Sample of the exam, closed-book", "Sample of the general suite")),
}


def score_by_part(frame: pd.DataFrame) -> Axes:
    """Exam score by part in percent with 95 % intervals, a colour and a marker for each route.

    frame: of `compare`. Rows pooled over seeds are drawn where there are any. Returns the axes.
    """
    exam = (frame["suite"] == "exam") & (frame["metric"] == SCORE) & (frame["practised"] == "all")
    rows = frame[exam]
    parts, routes = list(dict.fromkeys(rows["part"])), list(dict.fromkeys(rows["pipeline"]))
    _, axes = plt.subplots(figsize=(2 + 1.4 * len(parts), 4.5), layout="constrained")
    for number, route in enumerate(routes):
        mine = rows[rows["pipeline"] == route]
        pooled = mine[mine["seed"] == ("all" if (mine["seed"] == "all").any() else mine["seed"].iloc[0])]
        scores = 100 * pooled.set_index("part").loc[parts, ["value", "low", "high"]].to_numpy()
        place = np.arange(len(parts)) + 0.7 * ((number + 0.5) / len(routes) - 0.5)
        errors = np.abs(scores[:, 1:] - scores[:, :1]).T
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.errorbar(place, scores[:, 0], errors, fmt=marker, color=colour, capsize=3, label=route)
    sizes = rows.drop_duplicates("part").set_index("part")["n"]
    axes.set_xticks(range(len(parts)), [f"{part}\nn = {sizes[part]}" for part in parts])
    axes.set_ylim(-3, 103)
    axes.set_ylabel("score (%)")
    axes.set_title(f"Exam score by part, 95 % intervals, n = {sizes['all']} questions")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(ncols=min(len(routes), 4), loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    return axes


def training_curves(runs: Sequence[Run], column: str = "loss") -> NDArray[np.object_]:
    """What was measured while weights were adapted, over the tokens trained on, a line a run. Returns the two axes.

    column: `loss`, `bits_per_byte` (the same texts as compression) or `score` (closed-book, of a small sample); of what
    is private on the left, of what is general on the right. Runs whose weights were not adapted have no line; seeds of
    one pipeline share its colour.
    """
    if column not in CURVES:
        raise LabError(f"column={column}: not measured in training; give {' or '.join(CURVES)}")
    private, unit, titles = CURVES[column]
    trained = [run for run in runs if not run.training.empty]
    names = list(dict.fromkeys(run.pipeline for run in trained))
    _, both = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", sharex=True)
    for axes, measure, title in zip(both, (f"{private}_{column}", f"general_{column}"), titles, strict=True):
        for run in trained:
            number = names.index(run.pipeline)
            measured = run.training.dropna(subset=[measure])
            first = next(other for other in trained if other.pipeline == run.pipeline)
            axes.plot(
                measured["tokens"],
                measured[measure] * (100 if column == "score" else 1),
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=4,
                label=run.pipeline if run is first else None,
            )
        axes.set_title(title)
        axes.set_xlabel("tokens trained on")
        axes.set_ylabel(unit)
        axes.grid(alpha=0.3)
    if trained:
        both[0].legend(frameon=False)
    return both
