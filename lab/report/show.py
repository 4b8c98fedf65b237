"""Runs -> the table, three sentences, warnings and `comparison.csv`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lab.records import LabError
from lab.report.compare import compare, routes_of
from lab.report.load import gather
from lab.report.table import WIDTH, print_table
from lab.report.verdict import verdict, warnings


def show(paths: Sequence[str | Path], reference: str = "rag", csv: str | Path | None = None) -> None:
    """Print the comparison of the runs at or below the paths and write it as CSV.

    reference: the pipeline that differences are taken against. csv: where to; `comparison.csv` in the first path if
    None. Of several runs of one pipeline and seed the newest counts, and what is left out is said. Raises LabError
    where there is no finished run, or the runs cannot be compared.
    """
    target = Path(csv) if csv is not None else Path(paths[0]) / "comparison.csv"
    runs, notes = gather(paths)
    frame, routes = compare(runs, reference), routes_of(runs)
    # A pipe has no width of its own, and rich would take 80 columns.
    console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)
    print_table(frame, routes, reference, console)
    console.print()
    for sentence in verdict(frame, routes, reference):
        console.print(Text(sentence))
    for warning in warnings(frame, routes, reference):
        console.print(Text(f"Warning: {warning}", style="yellow"))
    for note in notes:
        console.print(Text(f"Note: {note}"))
    try:
        frame.to_csv(target, index=False, float_format="%.6g")
    except OSError as error:
        raise LabError(f"{target}: cannot be written ({error}); name another place with --csv") from None
    console.print(Text(f"Written: {target}"), soft_wrap=True)
