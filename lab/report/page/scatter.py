"""A point a route with its name, both intervals and a front: drawn for a given width, so that no letter is scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from markupsafe import Markup

from lab.report.page import svg
from lab.report.page.svg import LETTER, Look, Scale

LEFT, RIGHT, TOP, BOTTOM = 46, 16, 34, 46  # pixels around the plot
LINE = 15  # pixels of a line of text
# Where a name may stand beside its mark: to the right and above before the others, nearest first.
DIRECTIONS = ((1, 0), (1, -1), (1, 1), (-1, 0), (-1, -1), (-1, 1), (0, -1), (0, 1))
DISTANCES = (9, 16, 26, 40, 56, 74)

Ends = tuple[float, float, float]  # estimate, low, high
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Point:
    """A route's place with its intervals; said: what it tells under the pointer. on_front: joined by the front."""

    label: str
    look: Look
    x: Ends
    y: Ends
    said: str
    on_front: bool


@dataclass(frozen=True)
class Axis:
    """title: with its unit. log: of positive values. zero: whether 0 has to be on it, with a line."""

    title: str
    log: bool = False
    zero: bool = False


def scatter(points: Sequence[Point], x: Axis, y: Axis, width: float, height: float, said: str) -> Markup:
    """The drawing, so many pixels wide and high. Less of x is better, and more of y, so the front climbs from the left.

    said: what it shows, in words.
    """
    across = _scale(x, [end for point in points for end in point.x], LEFT, width - RIGHT)
    up = _scale(y, [end for point in points for end in point.y], height - BOTTOM, TOP)
    placed = [(across(point.x[0]), up(point.y[0])) for point in points]
    front = sorted(place for place, point in zip(placed, points, strict=True) if point.on_front)
    parts = [*_grid(across, up, x, y), *([svg.path(list(_steps(front)), "front")] if len(front) > 1 else [])]
    bars: list[Box] = []
    for point, (left, top) in zip(points, placed, strict=True):
        ends = [across(end) for end in point.x[1:]], sorted(up(end) for end in point.y[1:])
        bars += [(ends[0][0], top - 2, ends[0][1], top + 2), (left - 2, ends[1][0], left + 2, ends[1][1])]
        parts += [svg.line(*(ends[0][0], top, ends[0][1], top), f"bar {point.look.colour}")]
        parts += [svg.line(*(left, ends[1][0], left, ends[1][1]), f"bar {point.look.colour}")]
    parts += [svg.mark(*place, point.look, point.said) for place, point in zip(placed, points, strict=True)]
    parts += _names(points, placed, bars, (LEFT, TOP - 12, width, height - BOTTOM))
    parts.append(svg.text(width - RIGHT, 14, "↖ better", "quiet", "end"))
    return svg.drawing(width, height, parts, said)


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    if axis.log:
        return Scale(min(values) / 1.6, max(values) * 1.6, start, end, log=True)
    return Scale(*svg.around([*values, 0.0] if axis.zero else values), start, end)


def _grid(across: Scale, up: Scale, x: Axis, y: Axis) -> Iterator[Markup]:
    """Lines, what they stand for, and what the axes are; the vertical one's title lies above it, to be read at once."""
    for value in across.ticks(6):
        at, kind = across(value), "axis" if x.zero and value == 0 else "grid"
        yield svg.line(at, up.start, at, up.end, kind)
        yield svg.text(at, up.start + 17, svg.figure(value), "quiet", "middle")
    for value in up.ticks(6):
        at, kind = up(value), "axis" if y.zero and value == 0 else "grid"
        yield svg.line(across.start, at, across.end, at, kind)
        yield svg.text(across.start - 8, at + 4, svg.figure(value), "quiet", "end")
    yield svg.text(2, 14, y.title, "title")
    yield svg.text(across.end, up.start + 38, x.title, "title", "end")


def _steps(places: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Across, then up: between two on the front, what can be had is the lower one."""
    for number, (x, y) in enumerate(places):
        if number:
            yield x, places[number - 1][1]
        yield x, y


def _names(
    points: Sequence[Point], places: Sequence[tuple[float, float]], bars: Sequence[Box], frame: Box
) -> Iterator[Markup]:
    """Each name beside its mark, where it covers the least of the bars, and near; left out where there is no room.

    Those on the front choose first, and controls last.
    """
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    choosing = sorted(zip(points, places, strict=True), key=lambda one: (not one[0].on_front, one[0].look.hollow))
    for point, (x, y) in choosing:
        size = LETTER * len(point.label)
        found: list[tuple[float, Box, float]] = []
        for distance, (right, down) in product(DISTANCES, DIRECTIONS):
            left = x + {1: float(distance), 0: -size / 2, -1: -distance - size}[right]
            top = y + {1: 0.7 * distance, 0: -0.5 * LINE, -1: -0.7 * distance - LINE}[down]
            here = (left, top, left + size, top + LINE)
            inside = here[0] >= frame[0] and here[1] >= frame[1] and here[2] <= frame[2] and here[3] <= frame[3]
            if inside and not any(_meet(here, other) for other in taken):
                found.append((5 * sum(_meet(here, bar) for bar in bars) + distance / 10, here, distance))
        if not found:
            continue
        _, here, far = min(found, key=lambda one: one[0])
        taken.append(here)
        if far > DISTANCES[1]:
            near = min(max(x, here[0]), here[2]), min(max(y, here[1]), here[3])
            yield svg.line(x, y, *near, "leader")
        yield svg.text(here[0], here[1] + LINE - 4, point.label, "name")


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
