"""From measures to a verdict, by rule: nobody reads a figure and decides.

An answer is made of claims, all of which must hold. Each has two p-values, that it holds and that its opposite does:

- of one measure, those of its interval against its bound;
- `any_of` several: it holds where one does, allowing for all of them (Holm); its opposite where all measures are on the
  other side, which needs no allowance (an intersection of tests has the level of each, Berger 1982).

The answer is *reproduced* where every claim holds at 5 %, an intersection again; *not reproduced* where the opposite of
one of them holds, allowing for their number (Holm); and else nobody can tell at this size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.judge.statistics import holm
from lab.report.known.measures import Measure

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
CANNOT_TELL, NOT_RUN = "cannot tell at this size", "not run"
ALPHA = 0.05
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Claim:
    """measures: what it rests on. holds, fails: p-values that it is so, and that it is the other way round.

    expected: of measures that have no bound of their own.
    """

    name: str
    measures: tuple[Measure, ...]
    holds: float
    fails: float
    expected: str = ""


@dataclass(frozen=True)
class Finding:
    """What was found on one answer. listed: figures that decide nothing. too_small: why nothing can be told, if so."""

    claims: tuple[Claim, ...]
    listed: tuple[Measure, ...] = ()
    too_small: str | None = None


def one(measure: Measure) -> Claim:
    """The claim that a measure is on its expected side."""
    return Claim(measure.name, (measure,), measure.holds, measure.fails)


def any_of(name: str, measures: Sequence[Measure]) -> Claim:
    """The claim that at least one of the measures is on its expected side."""
    adjusted = holm([measure.p for measure in measures])
    holding = [p for p, measure in zip(adjusted, measures, strict=True) if measure.holds < 1]
    return Claim(name, tuple(measures), min(holding, default=1.0), max(measure.fails for measure in measures))


def opposed(name: str, pairs: Sequence[tuple[Measure, Measure]]) -> Claim:
    """The claim that in at least one pair of differences one is above 0 and the other below it.

    A pair is opposed, or agrees, with the larger p of its two. The opposite of the claim is that every pair agrees.
    """
    opposite = [max(a.p, b.p) if (_sign(a), _sign(b)) in ((1, -1), (-1, 1)) else 1.0 for a, b in pairs]
    agree = [max(a.p, b.p) if _sign(a) == _sign(b) != 0 else 1.0 for a, b in pairs]
    measures = tuple(measure for pair in pairs for measure in pair)
    return Claim(name, measures, min(holm(opposite)), max(agree), expected="opposite signs")


def decide(finding: Finding) -> tuple[str, str]:
    """The verdict, and why."""
    if finding.too_small:
        return CANNOT_TELL, finding.too_small
    few = sorted({m.seeds for claim in finding.claims for m in claim.measures if 0 < m.seeds < LEAST_SEEDS})
    if few:
        had = "one training seed" if few[0] == 1 else f"{few[0]} training seeds"
        return CANNOT_TELL, f"{had} of an adapted arm; {LEAST_SEEDS} are needed, or a seed may pass for an effect"
    against = [
        claim.name
        for claim, p in zip(finding.claims, holm([c.fails for c in finding.claims]), strict=True)
        if p < ALPHA
    ]
    if against:
        return NOT_REPRODUCED, f"the interval says the opposite of: {'; '.join(against)}"
    still_open = [claim.name for claim in finding.claims if claim.holds >= ALPHA]
    if still_open:
        return CANNOT_TELL, f"within chance: {'; '.join(still_open)}"
    return REPRODUCED, "every interval lies where it was expected"


def _sign(difference: Measure) -> int:
    return (difference.low > 0) - (difference.high < 0)
