"""A sweep as a picture: scores over one setting, a line for each value of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lab.report.plots import COLOURS, MARKERS

PANELS = {"exam": "Exam score", "general": "General score"}
RATIOS_FROM = 20.0  # a span from which on numbers stand by their ratio and not by their distance
DODGE, MARGIN = 0.008, 0.06  # of the width: between the bars of two lines at one x, and beside the outermost

LETTERS = 50  # of all words below an axis, that do not yet touch each other


def sweep_picture(frame: pd.DataFrame) -> Figure:
    """Exam score and general score over x, in percent with 95 % intervals; a line for each `by` and pipeline.

    frame: of `sweep`. Numbers stand by their distance, or by their ratio where they span 20 times or more, with 0 then
    a step to the left of the smallest; words stand side by side. A score that no run has leaves its panel empty.
    """
    figure = Figure(figsize=(11, 4.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)  # saved without a screen, and what a notebook draws on is left alone
    panels = figure.subplots(1, len(PANELS), sharex=True)
    ticks: list[float | str] = frame.attrs["values"]
    places = _places(ticks)
    left, right = places[ticks[0]], places[ticks[-1]]
    room = (right - left) or 1.0
    labels = [x if isinstance(x, str) else f"{x:g}" for x in ticks]
    slanted: dict[str, Any] = {"rotation": 25, "ha": "right"} if sum(map(len, labels)) > LETTERS else {}
    by_ratio = not any(isinstance(x, str) or x == places[x] for x in ticks)
    lines = list(frame.groupby(["by", "pipeline"], sort=False))
    meeting = frame["x"].duplicated().any()
    several = {name: frame[name].nunique() > 1 for name in ("by", "pipeline")}
    for axes, (column, title) in zip(panels, PANELS.items(), strict=True):
        for number, ((group, pipeline), mine) in enumerate(lines):
            known = mine[mine[column].notna()]
            scores = 100 * known[[column, f"{column}_low", f"{column}_high"]].to_numpy(dtype=float)
            shift = (number - (len(lines) - 1) / 2) * DODGE * room if meeting else 0.0
            named = [str(name) for name, told in ((group, several["by"]), (pipeline, several["pipeline"])) if told]
            axes.errorbar(
                *([places[x] + shift for x in known["x"]], scores[:, 0], np.abs(scores[:, 1:] - scores[:, :1]).T),
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[(number + number // len(COLOURS)) % len(MARKERS)],
                label=", ".join(named),
                **{"markersize": 6, "linewidth": 1.2, "elinewidth": 1.2, "capsize": 3},
            )
        axes.set_title(f"{title}, {_range('n', frame[f'{column}_n'])}", fontsize=11)
        axes.set_xlabel(f"{frame.attrs['x']} (spaced by ratio)" if by_ratio else frame.attrs["x"])
        axes.set_ylim(-3, 103)
        axes.set_xlim(left - MARGIN * room, right + MARGIN * room)
        axes.set_xticks([places[x] for x in ticks], labels, **slanted)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("score (%)")
    over = "documents and seeds" if frame["seeds"].max() > 1 else "documents alone"
    figure.suptitle(f"Bars: 95 % intervals over {over}; {_range('seeds', frame['seeds'])} a point", fontsize=11)
    if len(lines) > 1:
        handles, names = panels[0].get_legend_handles_labels()
        heading, columns = frame.attrs["by"] if several["by"] else None, min(len(lines), 5)
        figure.legend(handles, names, title=heading, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _range(name: str, numbers: pd.Series) -> str:
    """ "n = 600", or "n = 300 to 600" where points differ; "n = 0" where nothing was asked."""
    ends = sorted({int(number) for number in numbers if number}) or [0]
    return f"{name} = {ends[0]}" if len(ends) == 1 else f"{name} = {ends[0]} to {ends[-1]}"


def _places(values: Sequence[float | str]) -> dict[float | str, float]:
    """Where each value of x, in order, stands on the axis, in units of its own; see `sweep_picture`."""
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return {value: float(place) for place, value in enumerate(values)}
    positive = [value for value in numbers if value > 0]
    if numbers[0] < 0 or not positive or positive[-1] < RATIOS_FROM * positive[0]:
        return {value: value for value in numbers}
    places: dict[float | str, float] = {value: math.log10(value) for value in positive}
    if numbers[0] == 0:
        steps = [math.log10(high / low) for low, high in pairwise(positive)]
        places[0.0] = math.log10(positive[0]) - float(np.median(steps))
    return places
