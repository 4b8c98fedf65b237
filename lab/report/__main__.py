"""`python -m lab.report RUNS`: the comparison of run folders, printed and written as CSV."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.progress import add_flags, speak, verbose
from lab.records import told
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
    add_flags(parser)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    speak(chosen.level)

    def work() -> None:
        show(chosen.runs, chosen.reference, chosen.csv)

    if verbose():
        work()  # A mistake keeps its traceback.
        return 0
    return told(work)


if __name__ == "__main__":
    sys.exit(main())
