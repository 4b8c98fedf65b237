"""A large run's losses, foretold from small ones by the laws of `lab.report.laws`.

    python -m lab.report.mixture SMALL_RUNS --at 1400000 0.25
    python -m lab.report.mixture SMALL_RUNS --predict LARGE_RUNS

Finished runs of continued pretraining that differ in tokens, share and seed alone; of each the losses before and after.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from lab.records import LabError, told
from lab.report.find import by_age, find_runs, flat
from lab.report.laws import SIDES, Point, carried_on, fit, loss_of, straight_on
from lab.report.load import Run, load, read_manifest
from lab.report.table import plain_console
from lab.report.wording import count

TRAINING = "adaptation.training."
VARIED = ("tokens", "general_share")


def points_of(paths: Sequence[str | Path]) -> list[Point]:
    """The mixtures of the finished runs of continued pretraining at or below the paths, by tokens and share.

    Of several runs of one mixture and seed (another context, or the same again) the newest counts: they are one
    training. Raises LabError where there is none, a run has no losses, or they differ in more than tokens and share.
    """
    found: dict[tuple[float, float, int], Run] = {}
    settings: dict[str, object] = {}
    for folder in sorted(find_runs(paths), key=by_age):
        manifest = read_manifest(folder)
        if not manifest["finished"] or manifest["adaptation"] != "cpt":
            continue
        run = load(folder)
        training = run.training.dropna(subset=[f"{side}_loss" for side in SIDES])
        if len(training) < 2:
            raise LabError(f"{folder}: no domain and general loss before and after its training; train with a replay")
        own = {name: value for name, value in flat(manifest["settings"]).items() if name.startswith(TRAINING)}
        share = own.pop(f"{TRAINING}general_share")
        own.pop(f"{TRAINING}tokens")
        own |= {name: manifest["digests"][name] for name in ("model", "corpus")}
        settings = settings or own
        differing = sorted(name for name in {*own, *settings} if own.get(name) != settings.get(name))
        if differing:
            raise LabError(
                f"{folder}: differs from the others in {', '.join(differing)}; a law is of runs that differ in "
                f"{' and '.join(VARIED)} alone: name those"
            )
        found[float(training["tokens"].iloc[-1]), float(share), run.seed] = run
    if not found:
        names = ", ".join(map(str, paths))
        raise LabError(
            f"{names}: no finished run of continued pretraining; make some with `python -m lab pipeline=cpt`"
        )
    mixtures: dict[tuple[float, float], list[Run]] = defaultdict(list)
    for (tokens, share, _), run in sorted(found.items(), key=lambda item: item[0]):
        mixtures[tokens, share].append(run)
    return [
        Point(tokens, share, _mean_losses(runs, 0), _mean_losses(runs, -1), len(runs))
        for (tokens, share), runs in mixtures.items()
    ]


def _mean_losses(runs: Sequence[Run], place: int) -> tuple[float, float]:
    domain, general = (
        float(np.mean([run.training[f"{side}_loss"].dropna().iloc[place] for run in runs])) for side in SIDES
    )
    return domain, general


def report(points: Sequence[Point], measured: Sequence[Point], asked: Sequence[tuple[float, float]]) -> list[Table]:
    """Tables: the laws of both sides, and what the best of each foretells. asked: (tokens, share) not measured."""
    budgets = [count(end(point.tokens for point in points)) for end in (min, max)]
    laws = _table(
        f"Laws of {len(points)} mixtures, {budgets[0]} to {budgets[1]} tokens (the middle budget is D = 1), with the "
        "error on budgets left out.",
        ("loss", "law", "error", "formula", "fitted"),
    )
    told = _table(
        "Foretold by the best law of each, and without a law: the largest budget's loss carried on, or the line "
        "through the last two.",
        ("loss", "tokens", "share", "foretold", "measured", "error", "%", "carried on", "%", "straight on", "%"),
    )
    wanted: list[tuple[float, float, Point | None]] = [(p.tokens, p.share, p) for p in measured]
    wanted += [(tokens, share, None) for tokens, share in asked]
    for side in SIDES:
        fitted = fit(points, side)
        for one in fitted:
            values = zip(one.law.ranges, one.parameters, strict=True)
            written = ", ".join([f"L0 {one.before:.3g}", *(f"{row[0]} {value:.3g}" for row, value in values)])
            mark = " <-" if one is fitted[0] else ""
            laws.add_row(side, one.law.name + mark, f"{100 * one.error:.1f} %", one.law.formula, written)
        errors: list[list[float]] = []
        for tokens, share, point in wanted:
            guesses = [guess(points, side, tokens, share) for guess in (carried_on, straight_on)]
            loss, truth = fitted[0].at(tokens, share), None if point is None else loss_of(point, side)
            cells = [side, count(tokens), f"{share:g}", f"{loss:.4f}", "-" if truth is None else f"{truth:.4f}"]
            cells.append("-" if truth is None else f"{loss - truth:+.4f}")
            off = [None if truth is None else 100 * (one / truth - 1) for one in (loss, *guesses)]
            wrong = ["-" if one is None else f"{one:+.1f}" for one in off]
            told.add_row(*cells, wrong[0], f"{guesses[0]:.4f}", wrong[1], f"{guesses[1]:.4f}", wrong[2])
            errors += [[abs(one) for one in off if one is not None]] if truth is not None else []
        if errors:
            means = [f"{value:.1f}" for value in np.mean(errors, axis=0)]
            told.add_row(side, "mean", "", "", "", "", means[0], "", means[1], "", means[2])
    return [laws, told] if wanted else [laws]


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
    for head in heads:
        left = head in ("loss", "law", "formula", "fitted")
        table.add_column(Text(head), justify="left" if left else "right", overflow="fold")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for a mistake that the user can mend, 130."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.report.mixture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders of runs, to fit")
    parser.add_argument(
        "--predict", nargs="+", type=Path, metavar="RUNS", default=[], help="runs to foretell and compare with"
    )
    parser.add_argument(
        "--at",
        nargs=2,
        type=float,
        action="append",
        metavar=("TOKENS", "SHARE"),
        default=[],
        help="a mixture to foretell that no run has yet; may be given again",
    )
    chosen = parser.parse_args(arguments)
    return told(lambda: _show(chosen))


def _show(chosen: argparse.Namespace) -> None:
    for tokens, share in chosen.at:
        if tokens < 1 or not 0 <= share < 1:
            raise LabError(f"--at {tokens:g} {share:g}: tokens of at least 1 and a share from 0 to below 1 are needed")
    points = points_of(chosen.runs)
    measured = points_of(chosen.predict) if chosen.predict else []
    known = {(point.tokens, point.share) for point in points}
    for point in measured:
        if (point.tokens, point.share) in known:
            raise LabError(
                f"--predict: {point.tokens:.0f} tokens with a share of {point.share:g} are in the fit too, and "
                "what was seen cannot be foretold; name other runs"
            )
    for table in report(points, measured, [(tokens, share) for tokens, share in chosen.at]):
        plain_console().print(table)


if __name__ == "__main__":
    sys.exit(main())
