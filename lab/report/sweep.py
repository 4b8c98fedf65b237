"""`python -m lab.report.sweep RUNS --x NAME`: scores over one setting of the runs, as a table, a CSV and a picture."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from lab.judge.statistics import Interval, interval, smallest_detectable_difference
from lab.records import LabError, told
from lab.report.compare import paired_values
from lab.report.find import by_age, find_runs, flat
from lab.report.load import Run, load, read_manifest
from lab.report.provenance import unlike
from lab.report.scores import RECALL, SCORE, Route, Rows, ratio_interval
from lab.report.sweep_plot import sweep_picture
from lab.report.table import plain_console
from lab.report.wording import listed, percent, span

# Columns of scores: (name, suite, part, practised).
SCORES = (
    ("exam", "exam", "all", "all"),
    ("recall", "exam", RECALL, "all"),
    ("unpractised", "exam", "all", "no"),
    ("general", "general", "all", "all"),
)
BITS = "bits_per_byte"
FIGURES = (*(name for name, *_ in SCORES), BITS)
COLUMNS = ["by", "x", "pipeline", "seeds", *(f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high", "_n"))]
MADE_FROM = ("corpus", "general", "model")
UNSAID = "default"  # `by` of a run whose words do not name it


def sweep(paths: Iterable[str | Path], x: str, by: str | None = None, default: str | None = None) -> pd.DataFrame:
    """One row for each value of `by`, of `x` and each pipeline among the finished runs at or below the paths.

    x, by: names of settings as the command line gave them (`training.general_share`, `replay`). default: x of a run
    that did not name it; without one such runs are left out. The corpus may differ from run to run, so nothing is
    paired and no difference is given; the exam may not. Columns:

    - by: as given, "default" where a run did not name it, empty where no `by` is asked for. x: a float where all are
      numbers, else the word. pipeline. seeds: how many are pooled; intervals allow for them as in `compare`.
    - exam, recall, unpractised, general, each with _low, _high (95 % interval) and _n (questions): score of the whole
      exam, of its part "recall", of what was not practised, and of the general suite, 0..1; in the route's own context.
    - bits_per_byte with the same: of held-out general text, _n in texts.

    What there is none of is NaN with n = 0. `frame.attrs` keeps "x", "by", "values" (of x, in order), "notes" (a
    sentence for each thing left out) and "detectable" (sorted: the smallest exam difference that could be detected
    between each two neighbours on one line, at 80 % power and the 5 % level). Of runs that differ in nothing the newest
    counts. Rows are in order of by, pipeline and x: numbers by size, then words as their runs were made. Raises
    LabError where no run is left, runs sat another exam, and where those of one point differ in a further setting.
    """
    points, notes = _points(paths, x, by, default)
    groups, values, names = (_ranks(list(column)) for column in zip(*points, strict=True))
    order = sorted(points, key=lambda point: (groups[point[0]], names[point[2]], values[point[1]]))
    numeric = all(_number(value) is not None for value in values)
    rows = [
        {"by": by_, "x": _number(at) if numeric else at, "pipeline": name, **_row(points[by_, at, name])}
        for by_, at, name in order
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.attrs = {"x": x, "by": by, "values": [_number(at) if numeric else at for at in values], "notes": notes}
    frame.attrs["unlike"] = unlike(run for route in points.values() for run in route.runs)
    frame.attrs["detectable"] = _detectable([(point[::2], points[point]) for point in order])
    return frame


def _detectable(ordered: Sequence[tuple[tuple[str, ...], Route]]) -> list[float]:
    """The smallest exam difference that can be detected between each two neighbours on one line, where it is known."""
    found = []
    for (line, route), (other_line, other) in itertools.pairwise(ordered):
        if line == other_line:
            clusters = route.clusters(route.choose("exam"))
            found.append(smallest_detectable_difference(*paired_values(route, other, "exam"), clusters))
    return sorted(value for value in found if 0 < value < math.inf)


def _points(
    paths: Iterable[str | Path], x: str, by: str | None, default: str | None
) -> tuple[dict[tuple[str, str, str], Route], list[str]]:
    """Routes by (by, x, pipeline), the oldest first, and what is said of runs left out."""
    found: dict[tuple[str, str, str], dict[int, Run]] = {}
    notes: list[str] = []
    without: Counter[str] = Counter()
    first: Run | None = None
    for folder in sorted(find_runs(paths), key=by_age):
        if not read_manifest(folder)["finished"]:
            notes.append(f"{folder} is left out: the run did not finish.")
            continue
        run = load(folder)
        value = run.overrides.get(x, default)
        if value is None:
            without[run.pipeline] += 1
            continue
        first = first or run
        if run.manifest["digests"]["exam"] != first.manifest["digests"]["exam"]:
            raise LabError(f"{first.folder} and {folder} sat different exams; name the runs of one exam only")
        point = ("" if by is None else run.overrides.get(by, UNSAID), _plain(value), run.pipeline)
        seeds = found.setdefault(point, {})
        for other in seeds.values():
            differing = _further(other, run, (x, by, "seed"))
            if differing:
                raise LabError(
                    f"{other.folder} and {folder} are both {run.pipeline} at {x}={value}, but differ in "
                    f"{listed(differing)}; give it as --by, or name the folders of one of them"
                )
        if run.seed in seeds:
            notes.append(f"{seeds[run.seed].folder} is left out: {folder} is newer, with the same settings and seed.")
        seeds[run.seed] = run
    if without:
        names = ", ".join(f"{name} ({count})" for name, count in without.items())
        notes.append(f"Left out, as {x} is not among their words: {names}. --default VALUE takes them in.")
    if not found:
        raise LabError(f"no finished run names {x}; give a setting as the command line has it. {' '.join(notes)}")
    return {point: Route(point[2], tuple(seeds.values())) for point, seeds in found.items()}, notes


def _further(one: Run, other: Run, known: tuple[str | None, ...]) -> list[str]:
    """What two runs of one point differ in beside known words: settings, or what they were made from.

    By the command line's words where these tell, as they are what --by takes.
    """
    settings = [flat(run.manifest["settings"]) for run in (one, other)]
    digests = [{name: run.manifest["digests"].get(name) for name in MADE_FROM} for run in (one, other)]
    words = [{name: word for name, word in run.overrides.items() if name not in known} for run in (one, other)]
    differing = _differing(*settings) or _differing(*digests)
    return differing and (_differing(*words) or differing)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    missing = object()
    return [name for name in {**one, **other} if one.get(name, missing) != other.get(name, missing)]


def _row(route: Route) -> dict[str, Any]:
    row: dict[str, Any] = {"seeds": len(route.runs)}
    for name, suite, part, practised in SCORES:
        chosen = route.choose(suite, part, practised)
        row |= _cells(name, len(chosen), _score(route, chosen) if len(chosen) else None)
    ids = route.runs[0].texts["text_id"].tolist()
    return row | _cells(BITS, len(ids), ratio_interval(route.texts("bits"), route.texts("bytes"), ids) if ids else None)


def _score(route: Route, chosen: Rows) -> Interval:
    return interval(route.matrix(SCORE, chosen), route.clusters(chosen))


def _cells(name: str, n: int, found: Interval | None) -> dict[str, float | int]:
    nothing = float("nan")
    ends = (found.estimate, found.low, found.high) if found is not None else (nothing,) * 3
    return {name: ends[0], f"{name}_low": ends[1], f"{name}_high": ends[2], f"{name}_n": n}


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _plain(word: str) -> str:
    """One spelling for one number, so that 0.10 and .1 are the same point."""
    number = _number(word)
    return word if number is None else f"{number:g}"


def _ranks(words: Sequence[str]) -> dict[str, int]:
    """The place of each distinct word: numbers by size, then the others as they come."""
    sizes = {word: math.inf if (number := _number(word)) is None else number for word in dict.fromkeys(words)}
    return {word: place for place, word in enumerate(sorted(sizes, key=sizes.__getitem__))}


def table(frame: pd.DataFrame) -> Table:
    """The frame for a terminal: scores in percent, bits per byte, each with its interval."""
    name = frame.attrs["x"]
    shown = Table(
        title=f"Over {name}: scores in %, bits per byte of general text, with 95 % intervals.",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    heads = ([frame.attrs["by"]] if frame.attrs["by"] else []) + ["route", name, "seeds"]
    for head in heads:
        shown.add_column(Text(head.rsplit(".", 1)[-1]), justify="right" if head in (name, "seeds") else "left")
    figures = [figure for figure in FIGURES if frame[figure].notna().any()]
    for figure in figures:
        n = sorted({int(number) for number in frame[f"{figure}_n"] if number})
        sizes = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
        shown.add_column(Text(f"{figure.replace('_', ' ')}\n{sizes}"), justify="right")
    for _, row in frame.iterrows():
        cells = ([row["by"]] if frame.attrs["by"] else []) + [row["pipeline"], _written(row["x"]), str(row["seeds"])]
        for figure in figures:
            value, low, high = (row[f"{figure}{end}"] for end in ("", "_low", "_high"))
            if pd.isna(value):
                cells.append("-")
            elif figure == BITS:
                cells.append(f"{value:.3f}  {low:.3f}..{high:.3f}")
            else:
                cells.append(f"{percent(value)}  {span(low, high)}")
        shown.add_row(*(Text(cell) for cell in cells))
    return shown


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for a mistake that the user can mend, 130."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.report.sweep",
        description="Scores over one setting of the runs: a table, sweep.csv and sweep.png.",
        epilog="Example: python -m lab.report.sweep runs/FOLDER --x training.general_share --by replay",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders of runs")
    parser.add_argument("--x", required=True, metavar="NAME", help="the setting, as the runs' command line had it")
    parser.add_argument("--by", metavar="NAME", help="another setting: a line of its own for each of its values")
    parser.add_argument("--default", metavar="VALUE", help="x of runs that did not name it (left out without)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write to (default: the first RUNS)")
    chosen = parser.parse_args(arguments)
    return told(lambda: _show(chosen))


def _show(chosen: argparse.Namespace) -> None:
    folder = chosen.out or chosen.runs[0]
    frame = sweep(chosen.runs, chosen.x, chosen.by, chosen.default)
    console = plain_console()
    for sentence in frame.attrs["unlike"]:
        console.print(Text(f"Warning: {sentence}", style="yellow"))
    console.print(table(frame))
    if known := frame.attrs["detectable"]:
        ends = " to ".join(dict.fromkeys(percent(value) for value in (known[0], known[-1])))
        console.print(f"Smallest exam difference of neighbours to be detected (80 % power, 5 % level): {ends} points.")
    for note in frame.attrs["notes"]:
        console.print(Text(f"Note: {note}"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / "sweep.csv", index=False, float_format="%.6g")
        sweep_picture(frame).savefig(folder / "sweep.png")
    except OSError as error:
        raise LabError(f"{folder}: cannot be written ({error}); name another place with --out") from None
    for name in ("sweep.csv", "sweep.png"):
        console.print(Text(f"Written: {folder / name}"), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
