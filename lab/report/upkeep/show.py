"""Upkeep on the terminal and as CSV."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from lab.records import LabError, told
from lab.report.bill import Prices, read_prices
from lab.report.provenance import print_unlike
from lab.report.table import plain_console
from lab.report.upkeep.conflicts import WINNERS, conflicts_of
from lab.report.upkeep.editions import CHANGED, DELETED, NEW, UNCHANGED, editions
from lab.report.upkeep.frame import upkeep_of
from lab.report.upkeep.sentences import against_anew
from lab.report.wording import count, percent, seconds, span

FILE = "upkeep.csv"
CONFLICTS = "conflicts.csv"
TEXTS = ("route", "updated")
# What the columns mean, where they do not say it.
READING = (
    "Facts that stayed, changed, came and went since the first edition, asked in the same parts of the exam; low..high "
    "are 95 % intervals, the last column of each table is in points.",
    "Stale: an old value on a changed fact. Residual: the deleted value of a fact that is gone, where unknown is "
    "right; more than by a route that never saw it, over the same questions.",
    "Below, * is beyond chance (p < 0.05, not corrected for how many are told).",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for a mistake that the user can mend, 130."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.report.upkeep",
        description="Routes after updates of their corpus: what an update costs, what they know then, and what they "
        "still say that is not so any more.",
        epilog="Example: python -m lab experiment=upkeep, then python -m lab.report.upkeep runs/FOLDER",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="folders of the experiment's runs")
    parser.add_argument("--prices", default="default", help="a name in conf/prices, or a file (default: default)")
    parser.add_argument("--csv", type=Path, metavar="PATH", help=f"where to (default: {FILE} in the first RUNS)")
    chosen = parser.parse_args(arguments)
    return told(lambda: show(chosen.runs, read_prices(chosen.prices), chosen.csv or chosen.runs[0] / FILE))


def show(paths: Sequence[Path], prices: Prices, target: Path) -> None:
    """Print the tables of each number of updates and write the frames: `conflicts.csv` goes beside the target."""
    found, notes = editions(paths)
    updated, fought = upkeep_of(found, prices), conflicts_of(found)
    console = plain_console()
    print_unlike((run for edition in found for route in edition.routes for run in route.runs), console)
    for updates, rows in updated.groupby("updates"):
        times = "one update" if updates == 1 else f"{updates} updates"
        console.print(_table(rows, f"After {times}. Score in %; an update's cost is of one."))
        console.print(_left(rows, f"After {times}: what is not so any more and is said still, in %."))
    if not fought.empty:
        console.print(_conflicts(fought))
    for line in (*READING, *against_anew(found, updated)):
        console.print(Text(line))
    written = {target: updated, target.with_name(CONFLICTS): fought}
    try:
        for path, table in written.items():
            table.to_csv(path, index=False, float_format="%.6g")
    except OSError as error:
        raise LabError(f"{target}: cannot be written ({error}); name another place with --csv") from None
    for note in notes:
        console.print(Text(f"Note: {note}"))
    for path in written:
        console.print(Text(f"Written: {path}"), soft_wrap=True)


def _table(rows: pd.DataFrame, title: str) -> Table:
    names = (UNCHANGED, CHANGED, NEW, "general")
    table = _new(title, "route", "updated", "seconds", "tokens", str(rows["currency"].iloc[0]))
    _heads(table, rows, names)
    table.add_column("general, change", justify="right")
    for row in rows.to_dict("records"):
        costs = (seconds(row["update_seconds"]), count(row["update_tokens"]), f"{row['update_cost']:.2g}")
        told_costs = ["-"] * 3 if math.isnan(row["update_seconds"]) else costs
        change = _points(row, "general_change")
        table.add_row(row["pipeline"], row["way"], *told_costs, *(_share(row, name) for name in names), change)
    return table


def _left(rows: pd.DataFrame, title: str) -> Table:
    names = ("stale", "residual", DELETED)
    table = _new(title, "route", "updated")
    _heads(table, rows, names, {"stale": "stale answers", "residual": "residual answers", DELETED: "rightly unknown"})
    table.add_column("residual, more than", justify="right")
    for row in rows.to_dict("records"):
        control = row["residual_control"]
        more = f"{_points(row, 'residual_more')} ({control})" if isinstance(control, str) else "-"
        table.add_row(row["pipeline"], row["way"], *(_share(row, name) for name in names), more)
    return table


def _conflicts(rows: pd.DataFrame) -> Table:
    table = _new("Weights of one edition, passages of another: whose value of a changed fact is given, in %.")
    for head in ("route", "updates", "passage says", "weights learnt", "among"):
        table.add_column(head)
    for head in (*WINNERS, "n"):
        table.add_column(head, justify="right")
    for row in rows.to_dict("records"):
        said = (row["pipeline"], str(row["updates"]), row["passages"], row["weights_learnt"], row["among"])
        table.add_row(*said, *(_share(row, name) for name in WINNERS), str(row["n"]))
    return table


def _new(title: str, *texts: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in texts:
        table.add_column(name, justify="left" if name in TEXTS else "right", no_wrap=name in TEXTS)
    return table


def _heads(table: Table, rows: pd.DataFrame, names: Sequence[str], heads: dict[str, str] | None = None) -> None:
    for name in names:
        table.add_column(f"{(heads or {}).get(name, name)}\nn={rows[f'{name}_n'].iloc[0]}", justify="right")


def _share(row: dict[str, float], name: str) -> str:
    if math.isnan(row[name]):
        return "-"
    return f"{percent(row[name])}  {span(row[f'{name}_low'], row[f'{name}_high'])}"


def _points(row: dict[str, float], name: str) -> str:
    if math.isnan(row[name]):
        return "-"
    return f"{100 * row[name]:+.1f}  {span(row[f'{name}_low'], row[f'{name}_high'], signed=True)}"
