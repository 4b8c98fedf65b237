"""The known answers as a frame, as a table a block an answer, and as `known_answers.csv`."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from lab.records import LabError, told
from lab.report.known.answers import ANSWERS, Known
from lab.report.known.arms import Arms, gather_arms
from lab.report.known.claims import CANNOT_TELL, NOT_REPRODUCED, NOT_RUN, REPRODUCED, Finding, decide
from lab.report.known.measures import BITS, NUMBER, PERCENT, POINTS, Measure
from lab.report.provenance import print_unlike
from lab.report.table import plain_console
from lab.report.wording import percent, points, rise, span

FIGURES = ("estimate", "low", "high", "n", "seeds", "detectable")
COLUMNS = ["answer", "claim", "source", "expected", "measure", *FIGURES, "verdict", "why"]
STYLES = {REPRODUCED: "bold green", NOT_REPRODUCED: "bold red", CANNOT_TELL: "bold yellow", NOT_RUN: "bold"}
FILE = "known_answers.csv"


def known(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The known answers K1 to K10 as the runs among the paths and below them show them, one row a measure:

    - answer, claim, source: K1 ..., what is known, and who says so with which figures.
    - expected: what the measure has to be, in its own unit; empty where it is listed and decides nothing.
    - measure, estimate, low, high, n, seeds: ours, with its 95 % interval over n questions or texts and so many
      training seeds (0: nothing was adapted). Scores and their differences are shares, 0.05 for five points.
    - detectable: the smallest distance from the bound that would be found with 80 % power; empty where not known.
    - verdict, why: of the answer, the same in all its rows: `reproduced`, `not reproduced`, `cannot tell at this size`
      or, where arms are missing, `not run`.

    Raises LabError where no run is of an arm, or runs do not belong together.
    """
    return _frame(_answered(_gather(paths)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for a mistake that the user can mend, 130."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.report.known",
        description="What the literature knows, as these runs show it: a block an answer, and a CSV.",
        epilog="Example: python -m lab experiment=known_answers, then python -m lab.report.known runs/FOLDER",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="folders of the experiment's runs")
    parser.add_argument("--csv", type=Path, metavar="PATH", help=f"where to (default: {FILE} in the first RUNS)")
    chosen = parser.parse_args(arguments)
    return told(lambda: _show(chosen.runs, chosen.csv or chosen.runs[0] / FILE))


@dataclass(frozen=True)
class Answered:
    """A known answer with what the runs say of it."""

    answer: Known
    finding: Finding
    verdict: str
    why: str

    @property
    def rows(self) -> list[tuple[str, Measure]]:
        """(expected, measure): what decides, then what is listed."""
        deciding = [(claim, measure) for claim in self.finding.claims for measure in claim.measures]
        told = [(_expected(measure) or claim.expected, measure) for claim, measure in deciding]
        return told + [("", measure) for measure in self.finding.listed]


def _answered(arms: Arms) -> list[Answered]:
    found = []
    for answer in ANSWERS:
        missing = arms.missing(answer.needed)
        finding = Finding(()) if missing else answer.check(arms)
        verdict, why = (NOT_RUN, f"no run of {', '.join(missing)}") if missing else decide(finding)
        found.append(Answered(answer, finding, verdict, why))
    return found


def _gather(paths: Sequence[str | Path]) -> Arms:
    return gather_arms(paths, {key for answer in ANSWERS for key in answer.needed})


def _frame(answered: Sequence[Answered]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for one in answered:
        answer = {"answer": one.answer.name, "claim": one.answer.claim, "source": one.answer.source}
        told = {**answer, "verdict": one.verdict, "why": one.why}
        for expected, measure in one.rows:
            values = {name: getattr(measure, name) for name in FIGURES}
            rows.append({**told, "expected": expected, "measure": measure.name, **values})
        if not one.rows:
            rows.append(told)
    return pd.DataFrame(rows, columns=COLUMNS).astype({"n": "Int64", "seeds": "Int64"})


def _show(paths: Sequence[Path], target: Path) -> None:
    arms = _gather(paths)
    answered = _answered(arms)
    console = plain_console()
    print_unlike((run for route in arms.routes.values() for run in route.runs), console)
    for one in answered:
        console.print(Text(f"{one.answer.name}  {one.answer.claim}", style="bold"))
        console.print(Text(f"Published: {one.answer.source}", style="dim"))
        if one.rows:
            console.print(_table(one.rows))
        console.print(Text.assemble((f"{one.verdict}: ", STYLES[one.verdict]), one.why))
        console.print()
    verdicts = Counter(one.verdict for one in answered)
    console.print(Text(", ".join(f"{verdicts[name]} {name}" for name in STYLES if verdicts[name])))
    for note in arms.notes:
        console.print(Text(f"Note: {note}"))
    try:
        _frame(answered).to_csv(target, index=False, float_format="%.6g")
    except OSError as error:
        raise LabError(f"{target}: cannot be written ({error}); name another place with --csv") from None
    console.print(Text(f"Written: {target}"), soft_wrap=True)


def _table(rows: Sequence[tuple[str, Measure]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("measure", "expected", "ours, with its 95 % interval"):
        table.add_column(heading)
    for heading in ("detectable", "n", "seeds"):
        table.add_column(heading, justify="right")
    for expected, measure in rows:
        seeds = str(measure.seeds) if measure.seeds else "-"
        style = "" if expected else "dim"
        table.add_row(
            measure.name, expected, _figure(measure), _detectable(measure), str(measure.n), seeds, style=style
        )
    return table


def _expected(measure: Measure) -> str:
    if measure.bound is None:
        return ""
    side = "above" if measure.above else "below"
    factor, unit = {POINTS: (100, " points"), PERCENT: (100, " %")}.get(measure.unit, (1, ""))
    return f"{side} {factor * measure.bound:g}{unit if measure.bound else ''}"


def _detectable(measure: Measure) -> str:
    if not math.isfinite(measure.detectable):
        return "-"
    return percent(measure.detectable) if measure.unit in (POINTS, PERCENT) else f"{measure.detectable:.3f}"


def _figure(measure: Measure) -> str:
    if math.isnan(measure.estimate):
        return "not known"
    ends = (measure.estimate, measure.low, measure.high)
    if measure.unit == POINTS:
        return points(*ends)
    if measure.unit == PERCENT:
        return f"{percent(measure.estimate)} % ({span(measure.low, measure.high, 1)})"
    if measure.unit == BITS:
        return rise(*ends)
    assert measure.unit == NUMBER
    if measure.low == measure.high:
        return f"{measure.estimate:.3g}"
    ends_told = f"{measure.low:.3g}..{measure.high:.3g}" if math.isfinite(measure.low) else "no interval"
    return f"{measure.estimate:.3g} ({ends_told})"
