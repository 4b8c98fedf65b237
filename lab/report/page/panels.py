"""Small drawings that stand side by side on a desk and below each other on a phone: scores, curves, surfaces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from lab.report.page import svg
from lab.report.page.svg import LETTER, Look, Scale

WIDTH = 350  # pixels of a panel: that of a phone
ROW = 20


@dataclass(frozen=True)
class Dot:
    """A route's figure in 0..1 with its interval; said: what it tells under the pointer."""

    label: str
    look: Look
    value: float
    low: float
    high: float
    said: str


def dots(title: str, under: str, rows: Sequence[Dot], reference: float | None = None) -> Markup:
    """Figures from 0 to 100 %, a row a route, each with its interval; dashed where the reference stands."""
    left = min(190.0, 18 + LETTER * max(len(row.label) for row in rows))
    x, top = Scale(0, 1, left + 14, WIDTH - 14), 44
    bottom = top + ROW * len(rows)
    parts = [svg.text(0, 14, title, "title"), svg.text(0, 31, under, "quiet")]
    for at in (0, 0.25, 0.5, 0.75, 1):
        parts.append(svg.line(x(at), top, x(at), bottom, "grid"))
        parts.append(svg.text(x(at), bottom + 16, f"{100 * at:.0f}", "quiet", "middle"))
    if reference is not None:
        parts.append(svg.line(x(reference), top, x(reference), bottom, "reference"))
    for number, row in enumerate(rows):
        y = top + ROW * (number + 0.5)
        parts.append(svg.text(left, y + 4, shortened(row.label, left), "name", "end"))
        parts.append(svg.line(x(row.low), y, x(row.high), y, f"bar {row.look.colour}"))
        parts.append(svg.mark(x(row.value), y, row.look, row.said))
    told = "; ".join(row.said for row in rows)
    return svg.drawing(WIDTH, bottom + 24, parts, f"{title}, {under}: {told}")


@dataclass(frozen=True)
class Curve:
    """What was measured on the way: points (x, y) of each training, by seed."""

    label: str
    look: Look
    trainings: Sequence[Sequence[tuple[float, float]]]


def curves(title: str, under: str, x_title: str, lines: Sequence[Curve]) -> Markup:
    """A line a training; the name of each route stands where its first one ends."""
    points = [point for curve in lines for training in curve.trainings for point in training]
    right = 14 + LETTER * max(len(curve.label) for curve in lines)
    height, top, left = 220, 44, 40
    x = Scale(*svg.around([0.0, *(point[0] for point in points)], 0.0), left, WIDTH - min(right, 120))
    y = Scale(*svg.around([point[1] for point in points]), height - 40, top)
    parts = [svg.text(0, 14, title, "title"), svg.text(0, 31, under, "quiet")]
    for value in y.ticks(4):
        parts.append(svg.line(x.start, y(value), x.end, y(value), "grid"))
        parts.append(svg.text(x.start - 6, y(value) + 4, svg.figure(value), "quiet", "end"))
    for value in x.ticks(3):
        parts.append(svg.text(x(value), height - 22, svg.figure(value), "quiet", "middle"))
    parts.append(svg.text(x.start, height - 4, x_title, "quiet"))
    ends = _apart([y(curve.trainings[0][-1][1]) for curve in lines], 14)
    for curve, end in zip(lines, ends, strict=True):
        for training in curve.trainings:
            parts.append(svg.path([(x(a), y(b)) for a, b in training], f"curve {curve.look.colour}"))
            said = [f"{curve.label}: {svg.figure(b)} after {svg.figure(a)}" for a, b in training]
            parts += [svg.mark(x(a), y(b), curve.look, s, 0.55) for (a, b), s in zip(training, said, strict=True)]
        last = max(point[0] for point in curve.trainings[0])
        parts.append(svg.text(x(last) + 9, end + 4, shortened(curve.label, WIDTH - x(last) - 9), "name"))
    told = "; ".join(
        f"{c.label} from {svg.figure(c.trainings[0][0][1])} to {svg.figure(c.trainings[0][-1][1])}" for c in lines
    )
    return svg.drawing(WIDTH, height, parts, f"{title}, {under}: {told}")


def surface(
    title: str, under: str, columns: Sequence[float], rows: Sequence[float], ratios: Sequence[Sequence[float]], of: str
) -> Markup:
    """A grid whose cells say which of two is cheaper, and by how much: log10 of the other's cost over ours, row by row.

    of: the name of the first, which is cheaper where the ratio is above 0.
    """
    left, top = 40, 44
    wide, high = (WIDTH - left - 6) / len(columns), 19
    bottom = top + high * len(rows)
    parts = [svg.text(0, 14, shortened(title, WIDTH), "title"), svg.text(0, 31, under, "quiet")]
    for number, (updates, line) in enumerate(zip(rows, ratios, strict=True)):
        y = bottom - high * (number + 1)
        parts.append(svg.text(left - 6, y + 13, f"{updates:g}", "quiet", "end"))
        for place, ratio in enumerate(line):
            folds = 10 ** abs(ratio)
            said = f"{columns[place]:g} questions a day, {updates:g} updates a month: {of} costs "
            same, which = folds < 1.005, "less" if ratio > 0 else "more"
            said += "the same" if same else f"{folds:.2g} times {which}"
            kind = "even" if same else f"{which}{1 + (folds >= 2) + (folds >= 10)}"
            parts.append(svg.box(left + wide * place, y, wide - 1, high - 1, f"cell {kind}", said))
            if kind.startswith("more"):  # A sign, so that it also reads without colour.
                middle = left + wide * (place + 0.5)
                parts.append(svg.line(middle - 3, y + high / 2, middle + 3, y + high / 2, "sign"))
    for place, questions in enumerate(columns):
        if place % 2 == 0:
            middle = left + wide * (place + 0.5)
            parts.append(svg.text(middle, bottom + 15, svg.figure(questions), "quiet", "middle"))
    parts.append(svg.text(left, bottom + 32, "questions a day across, updates a month up", "quiet"))
    share = sum(ratio > math.log10(1.005) for line in ratios for ratio in line) / (len(columns) * len(rows))
    told = f"{title}, {under}: {of} is cheaper in {100 * share:.0f} % of the cells"
    return svg.drawing(WIDTH, bottom + 38, parts, told)


def shortened(label: str, width: float) -> str:
    """A label that fits so many pixels, its middle left out where it does not: both ends tell routes apart."""
    fitting = math.floor(width / LETTER)
    tail = fitting // 2
    return label if len(label) <= fitting else f"{label[: fitting - tail - 1]}…{label[-tail:]}"


def _apart(places: Sequence[float], least: float) -> list[float]:
    """The places moved down until each is so far from the one above it."""
    moved = list(places)
    order = sorted(range(len(places)), key=lambda number: places[number])
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved
