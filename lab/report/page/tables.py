"""What the page's tables hold, cell by cell; how they look is page.html's and page.css's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from lab.report.page import svg
from lab.report.page.marks import marks, words
from lab.report.page.svg import Scale
from lab.report.scores import SCORE, Route
from lab.report.table import ALPHA, COSTS, reused, route_rows_of
from lab.report.wording import percent, span

STRIP = (180, 26)  # pixels of a score drawn in the table
COST_HEADS = (("prepare", "seconds"), ("prepare", "tokens"), ("answer", "seconds"), ("prompt", "tokens"), ("disk", ""))


@dataclass(frozen=True)
class Cell:
    """said: the figure. ends: its interval, below it. star: beyond chance."""

    said: str
    ends: str = ""
    star: bool = False


@dataclass(frozen=True)
class Row:
    """A route in the table. drawn: its score with the interval. cells: in the order of the heads."""

    label: str
    words: str
    mark: Markup
    drawn: Markup
    is_control: bool
    is_reference: bool
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """caption: what the figures are. heads: of the cells, each with its unit. rows: routes, or names with cells."""

    caption: str
    heads: list[tuple[str, str]]
    rows: list[Row]


@dataclass(frozen=True)
class Plain:
    """A table of words: a picture's figures for who cannot see it, or wants them exactly."""

    caption: str
    heads: list[str]
    rows: list[list[str]]


NOTHING = Cell("-")


def score_table(frame: pd.DataFrame, forgotten: pd.DataFrame, routes: Sequence[Route], reference: str) -> Table:
    """Scores and costs of every route, as on the terminal: percent, points against the reference, seconds, tokens."""
    looks = marks(routes)
    lost = forgotten[(forgotten["part"] == "all") & (forgotten["metric"] == SCORE)].set_index("pipeline")
    of_reference = next((_score(frame, route)["value"] for route in routes if route.pipeline == reference), None)
    rows = []
    for route in routes:
        mine = route_rows_of(frame, route).set_index(["suite", "part", "metric"])
        exam = mine.loc[("exam", "all", SCORE)]
        general = ("general", "all", SCORE)
        cells = [
            Cell(percent(exam["value"]), span(exam["low"], exam["high"])),
            _against(exam),
            _percent(mine.loc[general]) if general in mine.index else NOTHING,
            _change(lost.loc[route.pipeline]) if route.pipeline in lost.index else NOTHING,
            *_costs(mine, route),
        ]
        seeds = f", {len(route.runs)} seeds" if len(route.runs) > 1 else ""
        look = looks[route.pipeline]
        strip = svg.drawing(*STRIP, list(_strip(exam, look, of_reference)), kind="strip")
        own = svg.drawing(16, 16, [svg.mark(8, 8, look)], kind="glyph")
        is_reference = route.pipeline == reference
        rows.append(Row(route.label, words(route) + seeds, own, strip, route.is_control, is_reference, cells))
    heads = [("exam", "%"), (f"against {reference}", "points"), ("general", "%"), ("change", "points"), *COST_HEADS]
    return Table("Every route on the same questions", heads, rows)


def part_table(frame: pd.DataFrame, routes: Sequence[Route], suite: str, metric: str) -> Plain:
    """Figures in percent by part of a suite, routes down, with their intervals; * beyond chance."""
    rows = frame[(frame["suite"] == suite) & (frame["metric"] == metric)]
    parts = list(dict.fromkeys(rows["part"]))
    table = []
    for route in routes:
        mine = route_rows_of(rows, route).set_index("part")
        if not mine.empty:
            table.append([route.label, *(_written(mine.loc[part]) if part in mine.index else "-" for part in parts)])
    sizes = rows.drop_duplicates("part").set_index("part")["n"]
    return Plain(f"{metric} in %, with 95 % intervals", ["route", *(f"{p} (n = {sizes[p]})" for p in parts)], table)


def _score(frame: pd.DataFrame, route: Route) -> pd.Series:
    return route_rows_of(frame, route).set_index(["suite", "part", "metric"]).loc[("exam", "all", SCORE)]


def _written(row: pd.Series) -> str:
    star = "*" if row["p_holm"] < ALPHA else ""
    return f"{percent(row['value'])}{star} ({span(row['low'], row['high'])})"


def _percent(row: pd.Series) -> Cell:
    return Cell(percent(row["value"]), span(row["low"], row["high"]))


def _against(row: pd.Series) -> Cell:
    """Points above the reference with their interval; nothing for the reference itself."""
    if pd.isna(row["difference"]):
        return NOTHING
    ends = span(row["difference_low"], row["difference_high"], signed=True)
    return Cell(f"{100 * row['difference']:+.1f}", ends, bool(row["p_holm"] < ALPHA))


def _change(lost: pd.Series) -> Cell:
    """What `forgetting` calls lost, as a change: the other way round."""
    change, low, high = (0.0 - lost[name] for name in ("forgotten", "high", "low"))  # 0 - 0 has no minus before it
    return Cell(f"{100 * change:+.1f}", span(low, high, signed=True), bool(lost["p_holm"] < ALPHA))


def _costs(mine: pd.DataFrame, route: Route) -> Iterator[Cell]:
    again = reused(route)
    for metric, (written, mark) in COSTS.items():
        key = ("cost", "all", metric)
        if key not in mine.index:
            yield NOTHING
            continue
        yield Cell(written(mine.loc[key, "value"]), "reused" if mark and again else "")


def _strip(row: pd.Series, look: svg.Look, reference: float | None) -> Iterator[Markup]:
    """One score on a scale from 0 to 100 %, its interval, and where the reference stands."""
    width, height = STRIP
    x, y = Scale(0, 1, 8, width - 8), height / 2
    yield svg.line(x(0), y, x(1), y, "rule")
    for at in (0, 0.5, 1):
        yield svg.line(x(at), y - 3, x(at), y + 3, "rule")
    if reference is not None:
        yield svg.line(x(reference), 0, x(reference), height, "reference")
    yield svg.line(x(row["low"]), y, x(row["high"]), y, f"bar {look.colour}")
    yield svg.mark(x(row["value"]), y, look)
