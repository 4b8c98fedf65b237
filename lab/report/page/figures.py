"""What each picture of the page shows, and its figures as a table for who cannot see it or wants them exactly."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lab.report.bill import Prices
from lab.report.compare import base_of
from lab.report.page.figure import DESK, PHONE, Figure, asked_told, ends_of, marks_told, seeds_told
from lab.report.page.marks import marks
from lab.report.page.money import quality_against_cost, where_cheaper
from lab.report.page.panels import Curve, Dot, curves, dots
from lab.report.page.scatter import Axis, Point, scatter
from lab.report.page.svg import Look
from lab.report.page.tables import Plain, part_table
from lab.report.plane import plane
from lab.report.scores import SCORE, Route
from lab.report.table import route_rows_of
from lab.report.wording import percent, points, span

MEASURES = ("recall@1", "recall@3", "recall@5", "mrr", "ndcg@10")
# Of each measure on the way: its title and unit.
CURVES = {
    "domain_bits_per_byte": ("Private text", "bits per byte"),
    "general_bits_per_byte": ("General text", "bits per byte"),
    "exam_score": ("Exam, a small sample", "%, closed-book"),
    "general_score": ("General suite, a small sample", "%, closed-book"),
}


def figures(
    frame: pd.DataFrame, forgotten: pd.DataFrame, routes: Sequence[Route], reference: str, prices: Prices
) -> list[Figure]:
    """Every picture that these runs allow, in the order of the page."""
    made = (
        _plane(routes, forgotten),
        quality_against_cost(frame, routes, prices),
        where_cheaper(routes, reference, prices),
        _parts(frame, routes, reference),
        _curves(routes),
        _retrieval(frame, routes),
    )
    return [figure for figure in made if figure is not None]


def _plane(routes: Sequence[Route], forgotten: pd.DataFrame) -> Figure | None:
    placed, base = plane(routes, forgotten), base_of(routes)
    if placed.empty or base is None:
        return None
    looks, labels = marks(routes), {route.pipeline: route.label for route in routes}
    drawn, rows = [], []
    for row in placed.to_dict("records"):
        gain, loss = (ends_of(100 * row[a], 100 * row[f"{a}_low"], 100 * row[f"{a}_high"]) for a in ("gained", "lost"))
        label = labels[row["pipeline"]]
        told = [points(row[axis], row[f"{axis}_low"], row[f"{axis}_high"]) for axis in ("gained", "lost")]
        said = f"{label}: gained {told[0]}, lost {told[1]}"
        drawn.append(Point(label, looks[row["pipeline"]], loss, gain, said, bool(row["front"])))
        rows.append([label, *told, "yes" if row["front"] else "control" if row["control"] else "no"])
    axes = Axis("general score lost, points", zero=True), Axis("exam score gained, points", zero=True)
    said = "Gained against lost. " + "; ".join(point.said for point in drawn)
    return Figure(
        "plane",
        "Forgetting",
        "What was learnt, and what it pushed out",
        f"Exam score gained over general score lost, both against {base.label}. Up is better, and left is better.",
        f"Bars: {seeds_told(routes)}, paired by question; {asked_told(routes)}. {marks_told(drawn)}",
        Plain(f"Points against {base.label}", ["route", "gained", "lost", "on the front"], rows),
        pair=[scatter(drawn, *axes, *size, said) for size in (DESK, PHONE)],
    )


def _parts(frame: pd.DataFrame, routes: Sequence[Route], reference: str) -> Figure:
    asked = [(part, "all") for part in routes[0].parts("exam")]
    rows = frame[(frame["suite"] == "exam") & (frame["metric"] == SCORE)]
    sides = [side for side in ("yes", "no") if (rows["practised"] == side).any()]
    asked += [("all", side) for side in sides] if len(sides) == 2 else []
    looks, drawn = marks(routes), []
    for part, side in asked:
        mine = rows[rows["part"] == part]
        found = [(route, route_rows_of(mine, route, side).iloc[0]) for route in routes]
        title = {"yes": "practised", "no": "not practised"}.get(side, "all parts" if part == "all" else part)
        own = next((float(row["value"]) for route, row in found if route.pipeline == reference), None)
        under = f"score in %, n = {found[0][1]['n']}"
        drawn.append(dots(title, under, [_dot(route.label, looks[route.pipeline], row) for route, row in found], own))
    return Figure(
        "parts",
        "Parts",
        "Score by part of the exam",
        f"The same routes on each kind of question. The dashed line is {reference}.",
        f"Bars: {seeds_told(routes)}.",
        part_table(frame, routes, "exam", SCORE),
        panels=drawn,
    )


def _retrieval(frame: pd.DataFrame, routes: Sequence[Route]) -> Figure | None:
    """A row a search: routes that were shown the same share it."""
    rows = frame[(frame["suite"] == "retrieval") & (frame["practised"] == "all")]
    looks = marks(routes)
    shared: dict[tuple[float, ...], list[Route]] = {}
    for route in routes:
        mine = route_rows_of(rows, route)
        if not mine.empty:
            shared.setdefault(tuple(mine["value"].round(9)), []).append(route)
    if not shared:
        return None
    firsts = [same[0] for same in shared.values()]
    drawn = []
    for part, metric in [("all", m) for m in MEASURES] + [(p, "recall@3") for p in dict.fromkeys(rows["part"])][1:]:
        mine = rows[(rows["part"] == part) & (rows["metric"] == metric)]
        found = [(r, of.iloc[0]) for r in firsts if not (of := route_rows_of(mine, r)).empty]
        named = metric if part == "all" else f"{metric}, {part}"
        cells = [_dot(route.label, looks[route.pipeline], row) for route, row in found]
        drawn.append(dots(named, f"in %, n = {found[0][1]['n']} questions with gold passages", cells))
    same = [f"{s[0].label} stands for {', '.join(r.label for r in s[1:])} too" for s in shared.values() if len(s) > 1]
    return Figure(
        "retrieval",
        "Retrieval",
        "Whether the right passage was found",
        "How much of the gold passages lay on the desk, and how high, whatever the reader then made of it.",
        f"Bars: {seeds_told(routes)}. " + (f"With the same figures: {'; '.join(same)}." if same else ""),
        part_table(frame, routes, "retrieval", "recall@3"),
        panels=drawn,
    )


def _curves(routes: Sequence[Route]) -> Figure | None:
    looks = marks(routes)
    shared: dict[bytes, list[Route]] = {}
    for route in routes:
        if any(not run.training.empty for run in route.runs):
            key = b"".join(run.training.to_numpy().tobytes() for run in route.runs)
            shared.setdefault(key, []).append(route)
    drawn, rows = [], []
    for measure, (title, unit) in CURVES.items():
        lines = [line for same in shared.values() if (line := _curve(same[0], looks[same[0].pipeline], measure))]
        if lines:
            drawn.append(curves(title, unit, "tokens trained on", lines))
            rows += [
                [line.label, f"{title}, {unit}", *(f"{training[place][1]:.4g}" for place in (0, -1))]
                for line in lines
                for training in line.trainings
            ]
    if not drawn:
        return None
    same = [f"{', '.join(r.label for r in s)} share one training" for s in shared.values() if len(s) > 1]
    return Figure(
        "curves",
        "Training",
        "While weights were trained",
        "How private text and the exam were learnt, and what became of general text and ability.",
        "A line a training, so several of one route show what a seed changes; the samples are small, and no interval "
        "is known for them. " + (f"{'; '.join(same)}." if same else ""),
        Plain("First and last of each training", ["route", "measure", "first", "last"], rows),
        panels=drawn,
    )


def _curve(route: Route, look: Look, measure: str) -> Curve | None:
    factor = 100 if measure.endswith("score") else 1
    trainings = []
    for run in route.runs:
        known = run.training.dropna(subset=[measure])
        if not known.empty:
            trainings.append(list(zip(known["tokens"], factor * known[measure], strict=True)))
    return Curve(route.label, look, trainings) if trainings else None


def _dot(label: str, look: Look, row: pd.Series) -> Dot:
    ends = ends_of(row["value"], row["low"], row["high"])
    said = f"{label} {percent(row['value'])} % ({span(row['low'], row['high'])})"
    return Dot(label, look, *ends, said)
