"""Runs -> tables, sentences, warnings, tidy files beside each other, the picture `comparison.png`, `report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from lab.progress import Progress, step
from lab.records import Failure, LabError
from lab.report.bill import USE, Prices, Use, bill, read_prices
from lab.report.bill_table import print_bill, told_break_even
from lab.report.break_even import break_even
from lab.report.compare import compare, routes_of
from lab.report.find import failures, find_runs, gather
from lab.report.forgetting import forgetting
from lab.report.interference import interference
from lab.report.load import load, read_manifest
from lab.report.phases import phases
from lab.report.phases_table import print_phases
from lab.report.plane import plane
from lab.report.provenance import print_unlike
from lab.report.table import plain_console, print_failures, print_table
from lab.report.verdict import verdict
from lab.report.warnings import leaks, warnings

PAGE = "report.html"


def show(
    paths: Sequence[str | Path],
    reference: str = "rag",
    csv: str | Path | None = None,
    prices: Prices | None = None,
    use: Use = USE,
    tuning: Sequence[str | Path] = (),
    failed: Sequence[Failure] = (),
) -> None:
    """Print the comparison of the runs at or below the paths, and write it as CSV, Parquet, a picture and a page.

    reference: the pipeline that differences are taken against. csv: where to; `comparison.csv` in the first path if
    None. `comparison.parquet`, `forgetting.csv`, `plane.csv`, `interference.csv`, `costs.csv` (of `bill`),
    `break_even.csv`, `phases.csv`, `comparison.png` and `report.html`, one page of all of it with every question, go
    beside it; where they cannot be made, older ones are taken away. prices: those of conf/prices/default.yaml if None.
    tuning: runs, or folders of them, in which settings were chosen: their cost is told beside the route's. failed:
    routes without a result, beside those that folders at the paths tell of. Of several runs of one pipeline and seed
    the newest counts, and what is left out is said. Raises LabError where there is no finished run, or the runs cannot
    be compared.
    """
    # Late: matplotlib takes a second that no other command should pay, and so does the page's template engine.
    from lab.report.page import build
    from lab.report.picture import gained_and_lost

    target = Path(csv) if csv is not None else Path(paths[0]) / "comparison.csv"
    with Progress("report"):  # Over before anything is printed, which a live display would take to itself.
        runs, notes = gather(paths)
        frame, routes = compare(runs, reference), routes_of(runs)
        with step("forgetting and interference"):
            forgotten, interfered = forgetting(routes), interference(routes)
        with step("costs"):
            prices = prices or read_prices("default")
            tried = (
                [load(folder) for folder in find_runs(tuning) if read_manifest(folder)["finished"]] if tuning else []
            )
            bills = bill(routes, prices, use, tried)
            worked = phases(routes)
            met = break_even([route for route in routes if not route.is_control], prices)
    console = plain_console()
    print_unlike(runs, console)
    print_table(frame, forgotten, interfered, routes, reference, console)
    print_failures([*failures(paths), *failed], console)
    print_phases(worked, routes, console)
    print_bill(bills, frame, routes, prices, use, console)
    console.print()
    for sentence in [*verdict(frame, routes, reference), *told_break_even(bills, routes, reference, prices, use)]:
        console.print(Text(sentence))
    for leak in leaks(routes):
        console.print(Text(f"Leak: {leak}", style="bold red"))
    for warning in warnings(routes, reference):
        console.print(Text(f"Warning: {warning}", style="yellow"))
    tables = {"forgetting": forgotten, "plane": plane(routes, forgotten), "interference": interfered}
    tables |= {"costs": bills, "break_even": met, "phases": worked}
    beside = {target.with_name(f"{name}.csv"): table for name, table in tables.items()}
    parquet, picture, page = (target.with_name(name) for name in ("comparison.parquet", "comparison.png", PAGE))
    written = [target, parquet]
    # Which they are is said here alone: the page may be handed on, and tells of no folder.
    left_out = (
        [f"{len(notes)} run folder(s) left out: unfinished, or older than one of the same route."] if notes else []
    )
    try:
        frame.to_csv(target, index=False, float_format="%.6g")
        frame.to_parquet(parquet, index=False)
        for path in (*beside, picture, page):
            path.unlink(missing_ok=True)  # one of an earlier report would pass for this one's
        for path, table in beside.items():
            if not table.empty:
                table.to_csv(path, index=False, float_format="%.6g")
                written.append(path)
        try:
            gained_and_lost(routes, forgotten).savefig(picture)
            written.append(picture)
        except LabError as error:
            notes.append(f"No picture: {error}.")
        page.write_text(build(frame, forgotten, routes, reference, prices, use, left_out), encoding="utf-8")
        written.append(page)
    except OSError as error:
        raise LabError(
            f"{target}: cannot be written ({error}); mend that, or name another place: lab.report RUNS --csv PATH"
        ) from None
    for note in notes:
        console.print(Text(f"Note: {note}"))
    for path in written:
        console.print(Text(f"Written: {path}"), soft_wrap=True)
