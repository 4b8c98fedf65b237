"""Pictures of money: quality against what a month costs, and where one route becomes cheaper than another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from markupsafe import Markup

from lab.report.bill import Prices, Use, bill
from lab.report.break_even import break_even, meeting
from lab.report.page.figure import DESK, PHONE, Figure, ends_of, exam_row, marks_told, seeds_told
from lab.report.page.marks import marks
from lab.report.page.panels import surface
from lab.report.page.scatter import Axis, Point, scatter
from lab.report.page.tables import Plain
from lab.report.scores import Route
from lab.report.wording import percent, points, seconds, span

USE = Use(questions_per_day=1000, updates_per_month=1)  # where quality is held against cost; said beside the picture
DIFFERENCE = ("difference", "difference_low", "difference_high")
KEY = [
    *(
        ("less3", "costs less, over 10 times"),
        ("less2", "2 to 10 times"),
        ("less1", "up to 2 times"),
        ("even", "the same"),
    ),
    *(("more1", "costs more (dash), up to 2 times"), ("more2", "2 to 10 times"), ("more3", "over 10 times")),
]  # classes of page.css
UPDATES = (0, 1, 30)  # a month, of the table of break-even points
MANY = 8  # routes beyond which the table has the pairs with the reference alone


def quality_against_cost(frame: pd.DataFrame, routes: Sequence[Route], prices: Prices) -> Figure | None:
    bills = bill(routes, prices, USE).set_index("pipeline")
    looks = marks(routes)
    priced = [route for route in routes if bills.loc[route.pipeline, "monthly_cost"] > 0]  # NaN, not known, is not
    if len(priced) < 2:
        return None
    scores = {r.pipeline: exam_row(frame, r) for r in priced}
    cost = {r.pipeline: float(bills.loc[r.pipeline, "monthly_cost"]) for r in priced}
    chosen = [r.pipeline for r in priced if not r.is_control]
    front = {one for one in chosen if not any(_beats(other, one, cost, scores) for other in chosen)}
    drawn, rows = [], []
    for route in priced:
        row, paid = scores[route.pipeline], cost[route.pipeline]
        told = f"{percent(row['value'])} % ({span(row['low'], row['high'])})"
        score = ends_of(*(100 * row[end] for end in ("value", "low", "high")))
        said = f"{route.label}: {told} for {seconds(paid)} {prices.currency} a month"
        at = Point(route.label, looks[route.pipeline], (paid,) * 3, score, said, route.pipeline in front)
        drawn.append(at)
        each = (seconds(bills.loc[route.pipeline, name]) for name in ("prepare_cost", "update_cost"))
        thousand = seconds(bills.loc[route.pipeline, "cost_per_thousand"])
        on_it = "control" if route.is_control else "yes" if route.pipeline in front else "no"
        rows.append([route.label, told, *each, thousand, seconds(paid), on_it])
    axes = Axis(f"{prices.currency} a month, logarithmic", log=True), Axis("exam score, %")
    heads = [
        "route",
        "exam",
        *(f"{name}, {prices.currency}" for name in ("prepare", "an update", "a thousand questions")),
    ]
    use = f"{USE.questions_per_day:g} questions a day and {USE.updates_per_month:g} update a month"
    ahead = "" if prices.months_ahead == 0 else f", {prices.months_ahead:g} months ahead by an assumed trend"
    return Figure(
        "cost",
        "Cost",
        "What a score costs a month",
        f"Exam score over the cost of a month at {use}. Left is cheaper.",
        f"Bars: {seeds_told(routes)}; n = {len(routes[0].choose('exam'))} questions. A cost is one measurement and has "
        f"no interval; prices are assumptions{ahead}. {marks_told(drawn)}",
        Plain(f"Cost at {use}", [*heads, f"a month, {prices.currency}", "on the front"], rows),
        pair=[
            scatter(drawn, *axes, *size, "Score against cost. " + "; ".join(p.said for p in drawn))
            for size in (DESK, PHONE)
        ],
    )


def _beats(other: str, one: str, cost: dict[str, float], scores: dict[str, pd.Series]) -> bool:
    dearer, better = cost[other] - cost[one], scores[other]["value"] - scores[one]["value"]
    return bool(dearer <= 0 and better >= 0 and (dearer < 0 or better > 0))


def where_cheaper(routes: Sequence[Route], reference: str, prices: Prices) -> Figure | None:
    """The surface of every route against the reference; its table has every pair, where there are not too many."""
    chosen = [route for route in routes if not route.is_control or route.pipeline == reference]
    drawn, rows = [], list[list[str]]()
    for route, other in combinations(chosen, 2):
        with_reference = reference in (route.pipeline, other.pipeline)
        if not with_reference and len(chosen) > MANY:
            continue
        grid = break_even([route, other], prices)
        if grid.empty:
            continue
        if with_reference:
            drawn.append(_cells(grid, route, other, reference))
        met = (meeting(route, other, prices, updates) for updates in UPDATES)
        score = points(*(float(grid.iloc[0][name]) for name in DIFFERENCE))
        rows.append([f"{route.label}, {other.label}", score, *("-" if m is None else f"{m:.3g}" for m in met)])
    if not drawn:
        return None
    heads = ["pair", "score, first less second", *(f"at {updates} updates a month" for updates in UPDATES)]
    return Figure(
        "surface",
        "Break-even",
        "Where one becomes cheaper",
        "Each cell is a use: so many questions a day, so many updates of the corpus a month. Its colour says whether "
        f"the route costs less or more a month than {reference}, and how many times.",
        f"Beside each name its score less that of {reference} with the 95 % interval, n = "
        f"{len(routes[0].choose('exam'))} questions: cheaper and worse is no bargain. Prices are assumptions.",
        Plain(
            "Questions a day at which two routes cost the same a month, - where one is cheaper throughout", heads, rows
        ),
        panels=drawn,
        key=KEY,
    )


def _cells(grid: pd.DataFrame, route: Route, other: Route, reference: str) -> Markup:
    """One pair's surface, always the other route's months against the reference's."""
    cells = grid.pivot(index="updates_per_month", columns="questions_per_day")
    ratios = np.log10(cells["other_monthly_cost"].to_numpy() / cells["monthly_cost"].to_numpy())
    score = [float(grid.iloc[0][name]) for name in DIFFERENCE]
    if route.pipeline == reference:
        route, other, ratios, score = other, route, -ratios, [-score[0], -score[2], -score[1]]
    axes = list(cells["monthly_cost"].columns), list(cells.index)
    title = f"{route.label} against {other.label}"
    return surface(title, f"score {points(*score)}", *axes, ratios.tolist(), route.label)
