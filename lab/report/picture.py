"""The comparison in one picture: what each route gained in the private exam against what it lost in general ability."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from lab.records import LabError
from lab.report.compare import base_of
from lab.report.looks import ADAPTATIONS, CONTEXTS, looks
from lab.report.plane import front_of, plane
from lab.report.plots import COLOURS, MARKERS
from lab.report.scores import Route

Ends = tuple[float, float, float]  # estimate, low, high
# Where a label may stand beside its point, nearest first, in pixels; to the right and above before the others.
DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
DISTANCES = (8, 16, 30, 44, 60)
FRONT: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": (0, (5, 4))}
MARKER = 7  # pixels to each side of a point that a label keeps off


def gained_and_lost(routes: Sequence[Route], forgotten: pd.DataFrame) -> Figure:
    """Exam score gained over general score lost, in points against the base closed-book; 900 x 650 pixels.

    forgotten: of `forgetting`. One labelled point a route with both 95 % intervals, placed by `plane`; colour is the
    adaptation, marker the context, and dashed steps join the Pareto front. Raises LabError where there is no base, no
    other route or no general suite.
    """
    base, placed = base_of(routes), plane(routes, forgotten)
    if base is None or placed.empty:
        raise LabError("it needs the base closed-book, another route and a general suite")
    named = {route.pipeline: route for route in routes}
    others = [named[pipeline] for pipeline in placed["pipeline"]]
    points: list[tuple[Ends, Ends]] = []
    for _, row in placed.iterrows():
        losses, gains = (tuple(row[[axis, f"{axis}_low", f"{axis}_high"]]) for axis in ("lost", "gained"))
        points.append((_hundredfold(losses), _hundredfold(gains)))

    # A figure with a canvas of its own is saved without a screen, and leaves alone what a notebook draws on.
    figure = Figure(figsize=(9, 6.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(0, color="grey", linewidth=0.8, zorder=1)
    axes.axvline(0, color="grey", linewidth=0.8, zorder=1)
    colours = looks(ADAPTATIONS, [route.adaptation for route in others], COLOURS)
    markers = looks(CONTEXTS, [route.context for route in others], MARKERS)
    for route, (x, y) in zip(others, points, strict=True):
        look = {"color": colours[route.adaptation], "marker": markers[route.context], "markersize": 8}
        axes.errorbar(x[0], y[0], _arms(y), _arms(x), elinewidth=1.2, capsize=3, **look)  # type: ignore[arg-type]
    front = front_of(placed)
    if len(front) > 1:
        axes.plot(100 * front["lost"], 100 * front["gained"], drawstyle="steps-post", zorder=1.5, **FRONT)
    axes.margins(0.1)
    axes.grid(alpha=0.25)
    axes.text(0.01, 0.985, "\N{NORTH WEST ARROW} better", transform=axes.transAxes, va="top", color="grey", fontsize=9)
    axes.set_xlabel(f"general score lost against {base.pipeline}, points (further left is better)")
    axes.set_ylabel(f"exam score gained against {base.pipeline}, points (higher is better)")
    seeds = sorted({len(route.runs) for route in routes})
    number = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''}"
    over = "documents alone" if seeds[-1] == 1 else "documents and seeds"
    axes.set_title(
        "Gained in the private exam, lost in general ability\n"
        f"bars: 95 % intervals over {over}, {number} a route, paired with {base.pipeline}",
        fontsize=11,
    )
    shown = [Line2D([], [], color=colour, linewidth=6, label=f"adaptation: {name}") for name, colour in colours.items()]
    shown += [Line2D([], [], color="black", marker=m, ls="", label=f"context: {name}") for name, m in markers.items()]
    if len(front) > 1:
        shown.append(Line2D([], [], label="Pareto front, by point estimates", **FRONT))
    figure.legend(handles=shown, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.draw_without_rendering()  # so that places in pixels are known
    _label(axes, [route.label.replace(" ", "\n") for route in others], points)
    return figure


def _hundredfold(ends: tuple[float, ...]) -> Ends:
    """Shares as points; an interval without ends is drawn without length."""
    known = ends if np.isfinite(np.asarray(ends, dtype=float)).all() else (ends[0],) * 3
    return 100 * known[0], 100 * known[1], 100 * known[2]


def _arms(ends: Ends) -> list[list[float]]:
    """Lengths of an error bar below and above the estimate; rounding may put an end just beyond it."""
    return [[max(0.0, ends[0] - ends[1])], [max(0.0, ends[2] - ends[0])]]


def _label(axes: Axes, names: Sequence[str], points: Sequence[tuple[Ends, Ends]]) -> None:
    """Write each name beside its point, where it covers the least of what is there already, and near."""
    frame = axes.get_window_extent()
    pixels = [
        axes.transData.transform([(x[i], y[j]) for i, j in ((0, 0), (1, 0), (2, 0), (0, 1), (0, 2))]) for x, y in points
    ]
    markers = [Bbox.from_extents(*(p[0] - MARKER), *(p[0] + MARKER)) for p in pixels]
    bars = [Bbox.from_extents(*(p[i] - 2), *(p[j] + 2)) for p in pixels for i, j in ((1, 2), (3, 4))]
    labels = [text.get_window_extent() for text in axes.texts]
    for name, p in zip(names, pixels, strict=True):
        text = axes.annotate(
            name,
            xy=p[0],
            xycoords="figure pixels",
            xytext=(0, 0),
            textcoords="offset pixels",
            fontsize=10,
            linespacing=0.95,
            zorder=5,
            arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 5},
        )
        text.set_in_layout(False)
        size = text.get_window_extent()
        found: list[tuple[float, tuple[float, float], Bbox]] = []
        for distance, (right, up) in product(DISTANCES, DIRECTIONS):
            # From the point to the label's lower left corner.
            left = {1: distance, 0: -size.width / 2, -1: -distance - size.width}[right]
            below = {1: distance, 0: -size.height / 2, -1: -distance - size.height}[up]
            box = Bbox.from_bounds(p[0][0] + left, p[0][1] + below, size.width, size.height)
            inside = frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1
            covered = 20 * box.count_overlaps(labels) + 20 * box.count_overlaps(markers) + 6 * box.count_overlaps(bars)
            found.append((covered + distance / 10 + (0 if inside else 100), (left, below), box))
        _, offset, box = min(found, key=lambda place: place[0])
        text.set_position(offset)
        labels.append(box)
