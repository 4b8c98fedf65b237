"""Laws of a training's losses: what tokens and the share of general text make of them, fitted to small runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from lab.records import LabError

Floats = NDArray[np.float64]
# A law: (its parameters, tokens in units of the middle budget, general share, loss before training) -> loss.
Form = Callable[[Floats, Floats, Floats, float], Floats]

SIDES = ("domain", "general")
LEAST_BUDGETS, LEAST_SHARES = 3, 2
NO_SHARE = 0.01  # stands in a power of the share for none (as Que et al. 2024 add a small number)
STARTS = 8
USUAL_ERROR = 0.05  # relative errors beyond it count less: one run that went astray should not bend the law
SMALLEST = 1e-9


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
            errors += [own.at(point.tokens, point.share) / loss_of(point, side) - 1 for point in left_out]
        error = float(np.sqrt(np.mean(np.square(errors))))
        fitted.append(Fitted(law, _parameters(law, points, side, unit, before), unit, before, error))
    return sorted(fitted, key=lambda one: one.error)


def _parameters(law: Law, points: Sequence[Point], side: str, unit: float, before: float) -> Floats:
    tokens = np.array([point.tokens / unit for point in points])
    shares = np.array([point.share for point in points])
    goal = np.log([loss_of(point, side) for point in points])
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


def loss_of(point: Point, side: str) -> float:
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
    row = sorted((point.share, loss_of(point, side)) for point in points if point.tokens == tokens)
    return float(np.interp(share, [one for one, _ in row], [loss for _, loss in row]))
