"""One picture of the page with all that has to stand beside it: how it is read, its bars, its figures as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from lab.report.page.scatter import Ends, Point
from lab.report.page.tables import Plain
from lab.report.scores import SCORE, Route
from lab.report.table import route_rows_of
from lab.report.wording import listed

NAMED = 5  # routes on a front that are told one by one
DESK, PHONE = (560, 440), (350, 400)  # pixels of a scatter plot on either


@dataclass(frozen=True)
class Figure:
    """id, short, title: in a link, in the menu, above the picture. lead: how to read it. note: bars, units, how many
    questions. table: the same in figures. panels: drawings side by side. pair: one, for a desk and a phone.
    key: classes of page.css, and what they stand for.
    """

    id: str
    short: str
    title: str
    lead: str
    note: str
    table: Plain
    panels: Sequence[Markup] = ()
    pair: Sequence[Markup] = ()
    key: Sequence[tuple[str, str]] = ()


def seeds_told(routes: Sequence[Route]) -> str:
    """What the bars are: "95 % intervals over documents and seeds, 1 to 3 seeds a route"."""
    several = sorted({len(route.runs) for route in routes})
    number = f"{several[0]} to {several[-1]}" if len(several) > 1 else str(several[0])
    over = "documents" if several[-1] == 1 else "documents and seeds"
    return f"95 % intervals over {over}, {number} seed{'s' if several[-1] > 1 else ''} a route"


def asked_told(routes: Sequence[Route]) -> str:
    """How many questions: "n = 620 exam questions and 350 general ones"."""
    general = max(len(route.choose("general")) for route in routes)
    return f"n = {len(routes[0].choose('exam'))} exam questions" + (f" and {general} general ones" if general else "")


def marks_told(points: Sequence[Point]) -> str:
    """Who is on the front, and what to do about marks without a name where so many stand that some may have none."""
    front = [point.label for point in points if point.on_front]
    named = listed(front) if len(front) <= NAMED else f"{len(front)} routes"
    told = f"Pareto front by point estimates{', dashed' if len(front) > 1 else ''}: {named or 'nobody'}; controls, "
    told += "hollow, are left out."
    crowded = " A mark without room for its name tells it under the pointer and in the table."
    return told + (crowded if len(points) > 12 else "")


def exam_row(frame: pd.DataFrame, route: Route) -> pd.Series:
    """The route's row of the whole exam's score."""
    rows = route_rows_of(frame, route)
    return rows[(rows["suite"] == "exam") & (rows["part"] == "all") & (rows["metric"] == SCORE)].iloc[0]


def ends_of(estimate: float, low: float, high: float) -> Ends:
    """An interval without ends is drawn without length."""
    known = math.isfinite(low) and math.isfinite(high)
    return (estimate, min(low, estimate), max(high, estimate)) if known else (estimate,) * 3
