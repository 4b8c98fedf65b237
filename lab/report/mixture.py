"""A large run's losses, foretold from small ones: laws of tokens and general share.

    python -m lab.report.mixture SMALL_RUNS --at 1400000 0.25
    python -m lab.report.mixture SMALL_RUNS --predict LARGE_RUNS

Finished runs of continued pretraining that differ in tokens, share and seed alone; of each the losses before and after.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.optimize import least_squares

from lab.records import LabError
from lab.report.find import find_runs, flat
from lab.report.load import Run, load, read_manifest
from lab.report.wording import count

Floats = NDArray[np.float64]
# A law: (its parameters, tokens in units of the middle budget, general share, loss before training) -> loss.
Form = Callable[[Floats, Floats, Floats, float], Floats]

SIDES = ("domain", "general")
TRAINING = "adaptation.training."
VARIED = ("tokens", "general_share")
LEAST_BUDGETS, LEAST_SHARES = 3, 2
NO_SHARE = 0.01  # stands in a power of the share for none (as Que et al. 2024 add a small number)
STARTS = 8
USUAL_ERROR = 0.05  # relative errors beyond it count less: one run that went astray should not bend the law
SMALLEST = 1e-9
WIDTH = 132  # columns, where the output is no terminal


@dataclass(frozen=True)
class Point:
    """One mixture as trained; the mean over its seeds. tokens: the budget. share: of it general text, 0..1.

    before, after: (domain, general) loss, natural log a token.
    """

    tokens: float
    share: float
    before: tuple[float, float]
    after: tuple[float, float]
    seeds: int = 1


@dataclass(frozen=True)
class Law:
    """A form with few parameters. ranges: (name, least, most) of each, between which fits start; those whose least is
    above 0 stay positive."""

    name: str
    formula: str
    form: Form
    ranges: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Fitted:
    """A law with its parameters. unit: tokens that count as 1. error: root mean square of the relative errors on
    budgets that were left out of the fit, one at a time; before: the loss at 0 tokens."""

    law: Law
    parameters: Floats
    unit: float
    before: float
    error: float

    def at(self, tokens: float, share: float) -> float:
        """The loss foretold."""
        one = _values(self.law, self.parameters, np.array([tokens / self.unit]), np.array([share]), self.before)
        return float(one[0])


# Of the domain's loss: private tokens P = D (1 - s) alone count, or tokens D and share s each in its own way.
DOMAIN = (
    Law(
        "power of private tokens",
        "E + (L0 - E) (1 + D (1 - s) / P)^-b",
        lambda p, d, s, before: p[0] + (before - p[0]) * (1 + d * (1 - s) / p[1]) ** -p[2],
        (("E", 1e-3, 1.0), ("P", 1e-3, 1.0), ("b", 0.2, 2.0)),
    ),
    Law(
        "the same, to nothing",
        "L0 (1 + D (1 - s) / P)^-b",
        lambda p, d, s, before: before * (1 + d * (1 - s) / p[0]) ** -p[1],
        (("P", 1e-3, 1.0), ("b", 0.2, 2.0)),
    ),
    Law(
        "powers of tokens and private share",
        "E + B D^-b (1 - s)^-a",
        lambda p, d, s, before: p[0] + p[1] * d ** -p[2] * (1 - s) ** -p[3],
        (("E", 1e-3, 1.0), ("B", 0.05, 5.0), ("b", 0.2, 2.0), ("a", 0.1, 2.0)),
    ),
    Law(
        "power of tokens, exponential in the share",
        "E + B D^-b exp(t s)",
        lambda p, d, s, before: p[0] + p[1] * d ** -p[2] * np.exp(p[3] * s),
        (("E", 1e-3, 1.0), ("B", 0.05, 5.0), ("b", 0.2, 2.0), ("t", 0.1, 3.0)),
    ),
)
# Of the general loss: what it rises by, which replayed tokens undo.
GENERAL = (
    Law(
        "powers of tokens and share",
        "L0 + A D^a (s + 0.01)^-c",
        lambda p, d, s, before: before + p[0] * d ** p[1] * (s + NO_SHARE) ** -p[2],
        (("A", 0.01, 2.0), ("a", -1.0, 1.0), ("c", 0.05, 2.0)),
    ),
    Law(
        "power of tokens, exponential in the share",
        "L0 + A D^a exp(-t s)",
        lambda p, d, s, before: before + p[0] * d ** p[1] * np.exp(-p[2] * s),
        (("A", 0.05, 5.0), ("a", -1.0, 1.0), ("t", 0.2, 10.0)),
    ),
    Law(
        "learned again from general tokens",
        "L0 + A (1 + D s / R)^-c",
        lambda p, d, s, before: before + p[0] * (1 + d * s / p[1]) ** -p[2],
        (("A", 0.1, 10.0), ("R", 1e-3, 1.0), ("c", 0.1, 2.0)),
    ),
    Law(
        "lost to private tokens, learned again from general ones",
        "L0 + A (D (1 - s))^a (1 + D s / R)^-c",
        lambda p, d, s, before: before + p[0] * (d * (1 - s)) ** p[1] * (1 + d * s / p[2]) ** -p[3],
        (("A", 0.1, 10.0), ("a", -0.5, 1.0), ("R", 1e-3, 1.0), ("c", 0.1, 2.0)),
    ),
)
LAWS = dict(zip(SIDES, (DOMAIN, GENERAL), strict=True))


def points_of(paths: Sequence[str | Path]) -> list[Point]:
    """The mixtures of the finished runs of continued pretraining at or below the paths, by tokens and share.

    Of several runs of one mixture and seed (another context, or the same again) the newest counts: they are one
    training. Raises LabError where there is none, a run has no losses, or they differ in more than tokens and share.
    """
    found: dict[tuple[float, float, int], Run] = {}
    settings: dict[str, object] = {}
    for folder in sorted(find_runs(paths), key=lambda folder: (folder / "manifest.json").stat().st_mtime_ns):
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


def fit(points: Sequence[Point], side: str) -> list[Fitted]:
    """Every law of a side ("domain" or "general") fitted to the points, the best on left-out budgets first.

    Least squares of the difference of logarithms, softened beyond 5 % (as Hoffmann et al. 2022 use Huber's loss), from
    many starts. Each budget of tokens is left out in turn and foretold from the others, since a budget is what is to
    be foretold. After Ye et al. 2024 (exponential in the share), Que et al. 2024 (D-CPT law) and Gu et al. 2024 (CMR,
    powers of tokens and share), cut down to what a dozen runs can tell; the model's size, which theirs have, is fixed.
    Raises LabError for fewer than three budgets, two shares, or two points more than a law has parameters.
    """
    budgets, shares = {point.tokens for point in points}, {point.share for point in points}
    needed = 2 + max(len(law.ranges) for law in LAWS[side])
    if len(budgets) < LEAST_BUDGETS or len(shares) < LEAST_SHARES or len(points) < needed:
        raise LabError(
            f"{len(points)} mixture(s) of {len(budgets)} budget(s) and {len(shares)} share(s) are too few for a law: "
            f"at least {needed} of {LEAST_BUDGETS} budgets and {LEAST_SHARES} shares are needed; train more with "
            "training.tokens=... training.general_share=..."
        )
    unit = float(np.median(sorted(budgets)))
    before = float(np.mean([point.before[SIDES.index(side)] for point in points]))
    fitted = []
    for law in LAWS[side]:
        errors: list[float] = []
        for budget in budgets:
            rest = [point for point in points if point.tokens != budget]
            own = Fitted(law, _parameters(law, rest, side, unit, before), unit, before, np.nan)
            left_out = [point for point in points if point.tokens == budget]
            errors += [own.at(point.tokens, point.share) / _loss(point, side) - 1 for point in left_out]
        error = float(np.sqrt(np.mean(np.square(errors))))
        fitted.append(Fitted(law, _parameters(law, points, side, unit, before), unit, before, error))
    return sorted(fitted, key=lambda one: one.error)


def _parameters(law: Law, points: Sequence[Point], side: str, unit: float, before: float) -> Floats:
    tokens = np.array([point.tokens / unit for point in points])
    shares = np.array([point.share for point in points])
    goal = np.log([_loss(point, side) for point in points])
    low, high = (np.array([row[column] for row in law.ranges]) for column in (1, 2))
    positive = low > 0
    ends = [np.where(positive, np.log(np.where(positive, end, 1.0)), end) for end in (low, high)]

    def natural(free: Floats) -> Floats:
        return np.where(positive, np.exp(np.clip(free, -30, 30)), free)

    def errors(free: Floats) -> Floats:
        return np.log(_values(law, natural(free), tokens, shares, before)) - goal

    random = np.random.default_rng(0)
    starts = ends[0] + (ends[1] - ends[0]) * random.random((STARTS, len(low)))
    found = [least_squares(errors, start, loss="soft_l1", f_scale=USUAL_ERROR, max_nfev=200) for start in starts]
    return natural(min(found, key=lambda one: one.cost).x)


def _values(law: Law, parameters: Floats, tokens: Floats, shares: Floats, before: float) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(np.clip(law.form(parameters, tokens, shares, before), SMALLEST, 1e9), nan=1e9)


def _loss(point: Point, side: str) -> float:
    return point.after[SIDES.index(side)]


def carried_on(points: Sequence[Point], side: str, tokens: float, share: float) -> float:
    """What one would say without a law: the loss at the largest budget below, between shares by straight lines."""
    return _along_share(points, side, _budgets(points, tokens)[-1], share)


def straight_on(points: Sequence[Point], side: str, tokens: float, share: float) -> float:
    """The line through the two largest budgets below, loss and tokens as logarithms; between shares as above."""
    one, two = _budgets(points, tokens)[-2:]
    first, second = (np.log(_along_share(points, side, budget, share)) for budget in (one, two))
    slope = (second - first) / np.log(two / one)
    return float(np.exp(second + slope * np.log(tokens / two)))


def _budgets(points: Sequence[Point], tokens: float) -> list[float]:
    budgets = sorted({point.tokens for point in points})
    below = [budget for budget in budgets if budget < tokens]
    return below if len(below) > 1 else budgets[:2]


def _along_share(points: Sequence[Point], side: str, tokens: float, share: float) -> float:
    row = sorted((point.share, _loss(point, side)) for point in points if point.tokens == tokens)
    return float(np.interp(share, [one for one, _ in row], [loss for _, loss in row]))


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
            loss, truth = fitted[0].at(tokens, share), None if point is None else _loss(point, side)
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
    try:
        for tokens, share in chosen.at:
            if tokens < 1 or not 0 <= share < 1:
                raise LabError(
                    f"--at {tokens:g} {share:g}: tokens of at least 1 and a share from 0 to below 1 are needed"
                )
        points = points_of(chosen.runs)
        measured = points_of(chosen.predict) if chosen.predict else []
        known = {(point.tokens, point.share) for point in points}
        for point in measured:
            if (point.tokens, point.share) in known:
                raise LabError(
                    f"--predict: {point.tokens:.0f} tokens with a share of {point.share:g} are in the fit too, and "
                    "what was seen cannot be foretold; name other runs"
                )
        console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)
        for table in report(points, measured, [(tokens, share) for tokens, share in chosen.at]):
            console.print(table)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
