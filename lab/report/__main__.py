"""`python -m lab.report RUNS`: the comparison of run folders, printed and written as CSV."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.progress import add_flags, speak, verbose
from lab.records import told
from lab.report.bill import USE, Use, read_prices
from lab.report.show import show


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for a mistake that the user can mend, 130."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.report",
        description="Compare runs: a table with intervals, three sentences on what it says, and a tidy CSV.",
        epilog="Example: python -m lab.report runs --reference closed_book",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUNS",
        help="run folders, or folders of runs (a multirun's); the newest of each pipeline and seed counts",
    )
    parser.add_argument("--reference", default="rag", help="pipeline that differences are taken against (default: rag)")
    parser.add_argument(
        "--csv", type=Path, metavar="PATH", help="where to write the CSV (default: comparison.csv in the first RUNS)"
    )
    money = parser.add_argument_group("costs in money")
    money.add_argument(
        "--prices", default="default", metavar="NAME|PATH", help="of conf/prices, or a .yaml file (default: default)"
    )
    for flag, value, what in (
        ("--questions-a-day", USE.questions_per_day, "how much is asked"),
        ("--updates-a-month", USE.updates_per_month, "how often the corpus changes"),
    ):
        money.add_argument(flag, type=float, default=value, metavar="N", help=f"{what} (default: {value:g})")
    money.add_argument(
        "--months-ahead",
        type=float,
        metavar="N",
        help="project prices by the trend that the prices assume (default: 0)",
    )
    money.add_argument(
        "--tuning",
        nargs="+",
        type=Path,
        default=[],
        metavar="RUNS",
        help="runs in which settings were chosen: billed too",
    )
    add_flags(parser)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    speak(chosen.level)

    def work() -> None:
        prices = read_prices(chosen.prices)
        if chosen.months_ahead is not None:
            prices = dataclasses.replace(prices, months_ahead=chosen.months_ahead)
        use = Use(chosen.questions_a_day, chosen.updates_a_month)
        show(chosen.runs, chosen.reference, chosen.csv, prices, use, chosen.tuning)

    if verbose():
        work()  # A mistake keeps its traceback.
        return 0
    return told(work)


if __name__ == "__main__":
    sys.exit(main())
