"""The comparison as tables for a terminal: rows are routes, scores in percent with their intervals below them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.judge.statistics import smallest_detectable_difference
from lab.records import Failure
from lab.report.compare import base_of, paired, paired_values
from lab.report.interference import WHOLE
from lab.report.scores import SCORE, SITTING, Route
from lab.report.wording import count, listed, percent, points, rise, seconds, size, span

WIDTH = 132  # columns, where the output is no terminal
ALPHA = 0.05
PRACTICE = {"yes": "prac-\ntised", "no": "unprac-\ntised"}
COST_HEADS = ("general", "change", "prepare\nseconds", "prepare\ntokens", "s per\nanswer", "prompt\ntokens", "disk")
# How each is written, and whether it says that it was reused.
COSTS = {
    "prepare_seconds": (seconds, True),
    "prepare_tokens": (count, True),
    "seconds_per_question": (seconds, False),
    "prompt_tokens_per_question": (count, False),
    "bytes_on_disk": (size, False),
}
KINDS = {"short": "exact match", "long": "ROUGE-L", "choice": "letter of the answer"}
OVER = {"exam": "exam", "general": "general questions that bring their text"}
HEADS = {SCORE: "score", "unknown_right": "unknown, rightly", "unknown_wrong": "unknown, wrongly"}
NAMED = 5  # ids of failed answers that a note names


def plain_console() -> Console:
    """Where tables go. A pipe has no width of its own, and rich would take 80 columns."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)


def print_table(
    frame: pd.DataFrame,
    forgotten: pd.DataFrame,
    interfered: pd.DataFrame,
    routes: Sequence[Route],
    reference: str,
    console: Console,
) -> None:
    """Print scores and costs, recall@3, what was forgotten, how the adapted read, and how much this exam can tell.

    frame: of `compare`. forgotten: of `forgetting`. interfered: of `interference`. What there is none of is left out.
    Names from the data are shown as they are, never read as markup.
    """
    console.print(_scores(frame, routes))
    retrieval = frame[(frame["suite"] == "retrieval") & (frame["metric"] == "recall@3")]
    if not retrieval.empty:
        console.print(_recall(retrieval, routes))
    base = base_of(routes)
    if base is not None and not forgotten.empty:
        console.print(_forgotten(forgotten, routes, base))
    if not interfered.empty:
        console.print(_interfered(interfered, routes))
    for line in notes(frame, forgotten, routes, reference):
        console.print(Text(line))


def route_rows_of(frame: pd.DataFrame, route: Route, practised: str = "all") -> pd.DataFrame:
    """The route's own rows: pooled over seeds, or its only seed's; not split by practice, or of one side ("yes")."""
    mine = (frame["pipeline"] == route.pipeline) & (frame["seed"] == route.seed) & (frame["practised"] == practised)
    return frame[mine]


def print_failures(failures: Sequence[Failure], console: Console) -> None:
    """Print which routes came to no result, and why."""
    if failures:
        table = Table(title="Failed, and in no figure above", title_justify="left", box=box.SIMPLE, expand=False)
        for head in ("route", "seed", "kind", "reason"):
            table.add_column(head, overflow="fold")
        for failure in failures:
            table.add_row(failure.pipeline, str(failure.seed), failure.kind, failure.reason)
        console.print(table)


def _scores(frame: pd.DataFrame, routes: Sequence[Route]) -> Table:
    parts = routes[0].parts("exam")
    base = base_of(routes)
    # Both sides or neither: one alone says nothing of practice.
    sides = list(PRACTICE) if set(PRACTICE) <= set(frame.loc[frame["suite"] == "exam", "practised"]) else []
    title = f"Exam score: {_what_counts(routes[0])} in %, all and by part. General score in %. Costs."
    table = plain_table(title)
    for head in (*parts, *(PRACTICE[side] for side in sides), *COST_HEADS):
        table.add_column(head_of(head), justify="right")
    key = ["suite", "part", "metric"]
    for route in routes:
        rows = route_rows_of(frame, route).set_index(key)
        cells = [_score(rows.loc[("exam", part, SCORE)]) for part in parts]
        for side in sides:
            cells.append(_score(route_rows_of(frame, route, side).set_index(key).loc[("exam", "all", SCORE)]))
        general = ("general", "all", SCORE)
        cells.append(_score(rows.loc[general], star=False) if general in rows.index else "-")
        cells.append(_change(route, base) if base is not None and general in rows.index else "-")
        cost = {metric: row["value"] for (suite, _, metric), row in rows.iterrows() if suite == "cost"}
        again = " r" if reused(route) else ""
        for metric, (written, mark) in COSTS.items():
            cells.append(written(cost[metric]) + (again if mark else "") if metric in cost else "-")
        table.add_row(Text(_name(route)), *(Text(cell) for cell in cells))
    return table


def _recall(rows: pd.DataFrame, routes: Sequence[Route]) -> Table:
    """recall@3 by part, of the routes that show passages; routes with one and the same retrieval share a row."""
    parts = list(dict.fromkeys(rows["part"]))
    table = plain_table("Retrieval: recall@3 in %, all and by part.")
    for part in parts:
        table.add_column(head_of(part), justify="right")
    shared: dict[tuple[str, ...], list[str]] = {}
    for route in routes:
        mine = route_rows_of(rows, route).set_index("part")
        if not mine.empty:
            cells = tuple(
                _score(mine.loc[part], star=False).replace("\n", "  ") if part in mine.index else "-" for part in parts
            )
            shared.setdefault(cells, []).append(label_of(route))
    for cells, names in shared.items():
        table.add_row(Text(",\n".join(names)), *(Text(cell) for cell in cells))
    return table


def _forgotten(forgotten: pd.DataFrame, routes: Sequence[Route], base: Route) -> Table:
    """Points lost by part of the general suite, and the rise of bits per byte, each with its interval."""
    table = plain_table(f"General ability, by part: points lost against {base.pipeline} (+ is lost, - is gained).")
    columns = list(dict.fromkeys(zip(forgotten["part"], forgotten["metric"], strict=True)))
    for part, metric in columns:
        table.add_column(head_of(part if metric == SCORE else "bits per byte, rise"), justify="right")
    rows = forgotten.set_index(["pipeline", "part", "metric"])
    for route in routes:
        if route is base or route.is_external:
            continue
        cells = []
        for column in columns:
            row = rows.loc[(route.pipeline, *column)]
            if column[1] == "bits_per_byte":
                star = "*" if row["p_holm"] < ALPHA else ""
                cells.append(rise(row["forgotten"], row["low"], row["high"], star))
            else:
                cells.append(_points_cell(row, "forgotten"))
        table.add_row(Text(label_of(route)), *(Text(cell) for cell in cells))
    return table


def _interfered(interfered: pd.DataFrame, routes: Sequence[Route]) -> Table:
    """Points that reading and abstaining changed by, each with its interval; by part they are in the CSV."""
    table = plain_table(
        "Reading and abstaining: adapted weights against the base in the same context, points (+ is more)."
    )
    for head in ("against", "over"):
        table.add_column(head_of(head))
    for head in HEADS.values():
        table.add_column(head_of(head), justify="right")
    rows = interfered[interfered["part"].isin(WHOLE.values())].set_index(["pipeline", "metric"])
    labels = {route.pipeline: label_of(route) for route in routes}
    for pipeline in dict.fromkeys(interfered["pipeline"]):
        mine = rows.loc[pipeline]
        cells = [_points_cell(mine.loc[metric], "change") if metric in mine.index else "-" for metric in HEADS]
        suite, against = mine["suite"].iloc[0], mine["against"].iloc[0]
        table.add_row(*(Text(cell) for cell in (labels[pipeline], labels[against], OVER[suite], *cells)))
    return table


def _points_cell(row: pd.Series, column: str) -> str:
    """A difference in points, its star and its interval: "-4.0*  -7..-1"."""
    star = "*" if row["p_holm"] < ALPHA else ""
    return f"{100 * row[column]:+.1f}{star}  {span(row['low'], row['high'], signed=True)}"


def notes(frame: pd.DataFrame, forgotten: pd.DataFrame, routes: Sequence[Route], reference: str) -> Iterator[str]:
    """What has to be said below the tables: how many questions, what a mark means, how much this exam can tell."""
    exam = routes[0].runs[0].exam
    documents = {document for question in exam for document in question.documents}
    about = f"on {len(documents)} documents, clustered by document" if documents else "that name no document"
    yield (
        f"{len(exam)} questions {about}; "
        f"{max(len(route.choose('general')) for route in routes)} general questions. low..high are 95 % intervals."
    )
    if frame["p_holm"].lt(ALPHA).any():
        yield f"* differs from {reference} beyond chance (p < {ALPHA}, Holm across the routes within the column)."
    base = base_of(routes)
    if base is not None and len(routes) > 1:
        yield f"change: general score minus that of {base.pipeline}, in points, with its interval."
    if base is not None and not forgotten.empty:
        yield (
            f"Points lost: score of {base.pipeline} minus the route's; * beyond chance, as above. A route with the "
            "base's own weights forgets nothing: what it loses, its passages cost."
        )
    yield from _stored(frame, routes)
    yield from _failed(routes)
    external = [route.label for route in routes if route.is_external]
    if external:
        yield (
            f"Answers of other systems: {listed(external)}. Their corpus, model, preparation and general ability are "
            "not known: that they learned from the same documents as the others is taken on trust."
        )
    yield from _seeds(routes)
    if any(reused(route) for route in routes):
        yield "r: reused, at least in part; what is shown is what it cost when it was made."
    yield _detectable(routes, reference, "exam", "this exam")
    if base is not None and len(base.choose("general")) and not forgotten.empty:
        sat = [route for route in routes if not route.is_external]
        yield _detectable(sat, base.pipeline, "general", "the general suite")


def _what_counts(route: Route) -> str:
    """What the score is: of the exam's kinds of question, each, the most frequent first."""
    kinds = Counter(route.runs[0].arrays["kind"][route.choose("exam")].tolist())
    return listed([KINDS[kind] for kind, _ in kinds.most_common()])


def _stored(frame: pd.DataFrame, routes: Sequence[Route]) -> Iterator[str]:
    """What weights hold of the corpus, where questions tell from how many values they were drawn."""
    told, offered = [], ""
    for route in routes:
        rows = route_rows_of(frame, route)
        found = rows[rows["suite"] == "capacity"].set_index("metric")
        if not found.empty:
            fact, offer = found.loc["bits_per_fact"], found.loc["offered_bits_per_fact", "value"]
            each = found.loc["bits_per_parameter", "value"]
            ends = f" ({fact['low']:.1f}..{fact['high']:.1f})" if np.isfinite(fact["high"]) else ""
            told.append(f"{route.label} {fact['value']:.1f}{ends}, {each:.2g} a parameter")
            offered = f"{offer:.1f} ({found.loc['offered_bits_per_parameter', 'value']:.2g} a parameter)"
    if told:
        yield f"Bits a fact that the weights hold of {offered} that recall questions ask for: {'; '.join(told)}."


def _failed(routes: Sequence[Route]) -> Iterator[str]:
    """Answers that there are none of, which score 0 without being wrong."""
    for route in routes:
        chosen = route.choose("exam")
        rows = np.flatnonzero(route.outcomes("failed", chosen).any(axis=0))
        if len(rows):
            names = route.runs[0].arrays["question_id"][chosen][rows].tolist()
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield (
                f"{route.label}: {len(names)} of {len(chosen)} questions have no answer and score 0: "
                f"{', '.join(names[:NAMED])}{more}."
            )


def _seeds(routes: Sequence[Route]) -> Iterator[str]:
    if any(len(route.runs) > 1 for route in routes):
        yield "Of several seeds the mean is shown; its interval allows for the seeds as well as for the documents."
    adapted = [route for route in routes if route.is_trained]
    single = [route.label for route in adapted if len(route.runs) == 1]
    if single:
        names = "every adapted route" if len(single) == len(adapted) else listed(single)
        yield f"One training seed only, for {names}: the interval does not show how much another seed would change."


def _detectable(routes: Sequence[Route], reference: str, suite: str, named: str) -> str:
    """How small a difference from the reference a suite can find, cautiously: alpha shared by the comparisons."""
    base = next((route for route in routes if route.pipeline == reference), None)
    others = [route for route in routes if route.pipeline != reference]
    if base is None or not others:
        return (
            f"The smallest difference that {named} can detect is not known: it needs the reference and another route."
        )
    clusters = base.clusters(base.choose(suite))
    found = [
        smallest_detectable_difference(*paired_values(route, base, suite), clusters, alpha=ALPHA / len(others))
        for route in others
    ]
    known = sorted(value for value in found if 0 < value < float("inf"))
    if not known:
        return f"The smallest difference that {named} can detect is not known: no pair of routes shows a spread."
    ends = (
        percent(known[0]) if percent(known[0]) == percent(known[-1]) else f"{percent(known[0])} to {percent(known[-1])}"
    )
    return (
        f"Smallest difference from {reference} that {named} can detect (80 % power, 5 % level shared by "
        f"{len(others)} comparisons): {ends} points, depending on the route."
    )


def plain_table(title: str) -> Table:
    """An empty table with a column for the route."""
    # The box parts columns by one space, so cells need no padding of their own: 14 columns fit into 120.
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
    table.add_column(head_of("route"), overflow="fold")
    return table


def head_of(text: str) -> Text:
    """A column's title, which breaks rather than vanishes."""
    return Text(text, overflow="fold")


def label_of(route: Route) -> str:
    """The name; below it the settings that tell a variant from others, as columns are scarce."""
    return route.label.replace(" ", "\n").replace("=", "\n= ")


def _name(route: Route) -> str:
    return label_of(route) if len(route.runs) == 1 else f"{label_of(route)}\n{len(route.runs)} seeds"


def _score(row: pd.Series, star: bool = True) -> str:
    beyond = star and row["p_holm"] < ALPHA  # NaN, for no comparison, is not below it
    return f"{percent(row['value'])}{'*' if beyond else ''}\n{span(row['low'], row['high'])}"


def _change(route: Route, base: Route) -> str:
    if route.pipeline == base.pipeline:
        return "-"
    found = paired(route, base, "general")
    first = points(found.estimate, found.low, found.high).split(" ")[0]
    return f"{first}\n{span(found.low, found.high, signed=True)}"


def reused(route: Route) -> bool:
    """Whether anything that prepares it was made in an earlier run."""
    ledgers = (run.costs[~run.costs["phase"].isin(SITTING)] for run in route.runs)
    return any(bool(ledger["reused"].any()) for ledger in ledgers)
