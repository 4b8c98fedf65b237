"""The bill for a terminal: what each route costs, what a user waits, and where two routes cost the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.report.bill import Prices, Use
from lab.report.break_even import QUESTIONS_PER_DAY, meeting
from lab.report.compare import paired
from lab.report.scores import Route
from lab.report.table import head_of, label_of, plain_table, route_rows_of
from lab.report.wording import count, listed, money, points, seconds, times_a_month

MONEY = {
    "prepare_cost": "prepare",
    "update_cost": "an\nupdate",
    "cost_per_thousand": "1,000\nquestions",
    "storage_cost": "storage\na month",
    "monthly_cost": "a\nmonth",
    "tuning_cost": "tuning,\nonce",
}
WAITS = {
    "wait_first_seconds": "s, the\nfirst",
    "wait_median_seconds": "s,\nmedian",
    "wait_p95_seconds": "s, 95th\npercentile",
    "wait_median_retrieval_seconds": "search\nin it",
    "answer_tokens_per_question": "answer\ntokens",
}
NAMED = 4  # routes that a sentence names one by one
TOLD_APART = 1.25  # times the cost of a question from which on a break-even is told


def print_bill(
    bills: pd.DataFrame, frame: pd.DataFrame, routes: Sequence[Route], prices: Prices, use: Use, console: Console
) -> None:
    """Print what each route costs and what a user waits, and what the figures rest on; nothing where nothing is known.

    bills: of `bill`. frame: of `compare`.
    """
    if bills["monthly_cost"].isna().all():
        return
    console.print(_table(bills, frame, routes, prices, use))
    for line in _notes(bills, prices):
        console.print(Text(line))


def _table(bills: pd.DataFrame, frame: pd.DataFrame, routes: Sequence[Route], prices: Prices, use: Use) -> Table:
    asked = f"{count(use.questions_per_day)} questions a day, {times_a_month(use.updates_per_month, 'update')}"
    table = plain_table(f"Costs in {prices.currency}, at {asked}. What a user waits who asks alone.")
    costs = {name: title for name, title in MONEY.items() if name != "tuning_cost" or bills["tuning_runs"].any()}
    for title in ("priced as", *costs.values(), *WAITS.values()):
        table.add_column(head_of(title), justify="right")
    by_route = bills.set_index("pipeline")
    for route in routes:
        rows = route_rows_of(frame, route)
        known = rows[rows["suite"] == "cost"].set_index("metric")["value"]
        cells = [by_route.loc[route.pipeline, "device"] or "-"]
        cells += [_amount(by_route.loc[route.pipeline, name]) for name in costs]
        cells += [seconds(round(known[name], 4)) if name in known.index else "-" for name in WAITS]
        table.add_row(Text(label_of(route)), *(Text(cell) for cell in cells))
    return table


def _amount(value: float) -> str:
    return "-" if math.isnan(value) else money(value)


def _notes(bills: pd.DataFrame, prices: Prices) -> Iterator[str]:
    unit = prices.currency
    yield (
        f"Prices are assumptions, yours with --prices FILE: a GPU hour {money(prices.gpu_hour)} {unit}, a core's hour "
        f"{money(prices.cpu_hour)}, a GB kept for a month {money(prices.gb_month)}; people clean documents for "
        f"{prices.human_hours_per_update:g} hours an update. Machines are paid while they work, questions asked in "
        "batches; an update is taken to repeat the whole preparation."
    )
    if prices.months_ahead:
        yield (
            f"Projected {prices.months_ahead:g} months ahead, which nobody has measured: training falls to "
            f"{prices.training_falls_to:g}, answering to {prices.answering_falls_to:g} of its price in every "
            f"{prices.trend_months:g} months."
        )
    if bills["tuning_runs"].any():
        tried = bills[bills["tuning_runs"] > 0]
        runs = listed([f"{row.pipeline} {row.tuning_runs}" for row in tried.itertuples()])
        yield f"Tuning, once and in no other figure, by runs: {runs}."


def told_break_even(
    bills: pd.DataFrame, routes: Sequence[Route], reference: str, prices: Prices, use: Use
) -> list[str]:
    """One sentence: from how many questions a day on each route that one might choose costs less than the reference.

    bills: of `bill`. The exam's difference stands beside it: cheaper is not better. Empty without the reference, or
    without such a route whose cost is known. Not told of routes whose questions cost within a quarter of the same.
    """
    base = next((route for route in routes if route.pipeline == reference), None)
    each = bills.set_index("pipeline")["cost_per_thousand"]
    rivals = [r for r in routes if not r.is_control and r is not base and math.isfinite(each[r.pipeline])]
    if base is None or not rivals or not math.isfinite(each[base.pipeline]):
        return []
    # Seconds vary from run to run: where a question costs nearly the same, who is cheaper is chance.
    apart = [r for r in rivals if abs(math.log(each[r.pipeline] / each[base.pipeline])) > math.log(TOLD_APART)]
    met = [(route, meeting(base, route, prices, use.updates_per_month)) for route in apart]
    found = [(route, at) for route, at in met if at is not None and at <= QUESTIONS_PER_DAY[-1]]
    start = f"Break-even with {base.label} at {times_a_month(use.updates_per_month, 'update')}, by these prices"
    if not found:
        return [f"{start}: none up to {count(QUESTIONS_PER_DAY[-1])} questions a day."]
    said = []
    for route, at in found[:NAMED]:
        score = paired(route, base, "exam")
        side = "above" if each[route.pipeline] < each[base.pipeline] else "below"
        told = points(score.estimate, score.low, score.high)
        said.append(f"{route.label} costs less {side} {count(at)} questions a day, at {told} on the exam")
    more = f"; {len(found) - NAMED} more in break_even.csv" if len(found) > NAMED else ""
    return [f"{start}: {'; '.join(said)}{more}."]
