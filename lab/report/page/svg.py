"""Small drawings as SVG text. Colours are classes of page.css, so that light and dark need no second drawing.

Everything returns `Markup`: its `format` escapes what is put in, so a route's name cannot become a tag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lab.report.wording import count

# Around 0, within 6 units to each side; so that a drawing also reads without colour.
SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z",
    "square": "M-4.5-4.5h9v9h-9Z",
    "triangle": "M0-5.5 5.5 4.5h-11Z",
    "diamond": "M0-6 6 0 0 6-6 0Z",
    "down": "M0 5.5 5.5-4.5h-11Z",
    "plus": "M-2-5.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5v-4h3.5Z",
    "cross": "M-5-2.5-2.5-5 0-2.5 2.5-5 5-2.5 2.5 0 5 2.5 2.5 5 0 2.5-2.5 5-5 2.5-2.5 0Z",
    "star": "M0-6 1.5-2 6-2 2.4.7 3.7 5 0 2.4-3.7 5-2.4.7-6-2-1.5-2Z",
}
COLOURS = 8  # classes c0 to c7 of page.css
LETTER = 6.4  # pixels of a letter at the size of labels, on the wide side


@dataclass(frozen=True)
class Look:
    """colour: a class. shape: one of SHAPES. hollow: drawn as an outline, as a control is."""

    colour: str
    shape: str
    hollow: bool = False


@dataclass(frozen=True)
class Scale:
    """From values to pixels: low stands at start, high at end (which may be less). log: of positive values."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About so many round values within the scale: steps of 1, 2 or 5, on a logarithmic one decades or these."""
        if self.log:
            first, last = math.ceil(round(math.log10(self.low), 9)), math.floor(round(math.log10(self.high), 9))
            if last - first < 2:
                fine = [digit * 10.0**power for power in range(first - 1, last + 1) for digit in (1, 2, 5)]
                return [value for value in fine if self.low <= value <= self.high]
            step = max(1, math.ceil((last - first) / count))
            return [10.0**power for power in range(first, last + 1, step)]
        raw = (self.high - self.low) / count
        unit = 10.0 ** math.floor(math.log10(raw))
        width = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
        first, last = math.ceil(self.low / width - 1e-9), math.floor(self.high / width + 1e-9)
        return [number * width + 0.0 for number in range(first, last + 1)]


def around(values: Sequence[float], pad: float = 0.06) -> tuple[float, float]:
    """Ends of a scale that holds the values with some air; never of no length."""
    low, high = min(values), max(values)
    air = pad * (high - low) or max(1e-9, abs(high)) * pad or 1.0
    return low - air, high + air


def figure(value: float) -> str:
    """A number on an axis: "0.01", "50", "20k"."""
    return f"{value:.6g}" if abs(value) < 1e4 else count(value)


def text(x: float, y: float, said: str, kind: str = "", anchor: str = "start") -> Markup:
    """A line of text; kind: a class."""
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(x, y, kind, anchor, said)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line."""
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(x1, y1, x2, y2, kind)


def path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A line through points."""
    return Markup('<path d="M{}" class="{}"/>').format(" ".join(f"{x:.1f} {y:.1f}" for x, y in points), kind)


def box(x: float, y: float, width: float, height: float, kind: str, said: str = "") -> Markup:
    """A rectangle; said: what it tells under the pointer."""
    shape = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}">{}</rect>')
    return shape.format(x, y, width, height, kind, Markup("<title>{}</title>").format(said) if said else "")


def mark(x: float, y: float, look: Look, said: str = "", size: float = 1) -> Markup:
    """A route's mark; said: what it tells under the pointer. size: in times the usual one."""
    kind = f"mark {look.colour}{' hollow' if look.hollow else ''}"
    title = Markup("<title>{}</title>").format(said) if said else ""
    small = "" if size == 1 else f" scale({size:g})"
    return Markup('<path d="{}" transform="translate({:.1f} {:.1f}){}" class="{}">{}</path>').format(
        SHAPES[look.shape], x, y, small, kind, title
    )


def group(parts: Sequence[Markup]) -> Markup:
    """Parts one after another."""
    return Markup("").join(parts)


def drawing(width: float, height: float, parts: Sequence[Markup], said: str = "", kind: str = "") -> Markup:
    """A whole drawing. said: what it shows, in words, for who cannot see it; without, it is decoration."""
    told = Markup('role="img" aria-label="{}"').format(said) if said else Markup('aria-hidden="true"')
    return Markup('<svg viewBox="0 0 {:g} {:g}" width="{:g}" height="{:g}" class="{}" {}>{}</svg>').format(
        width, height, width, height, kind, told, group(parts)
    )
