"""What makes a comparison doubtful: controls that are not as expected, broken answers, a training that did not take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.judge.statistics import Difference, holm
from lab.report.compare import base_of, paired
from lab.report.scores import SCORE, Route, Rows
from lab.report.table import ALPHA
from lab.report.wording import percent, points

# What the controls are expected to do on an exam about a corpus that the base has never seen.
CLOSED_BOOK_AT_MOST, RANDOM_AT_MOST, GOLD_AT_LEAST, FORMAT_ERRORS_AT_MOST = 0.05, 0.10, 0.90, 0.05
GENERAL_AT_LEAST = 0.30


def leaks(routes: Sequence[Route]) -> list[str]:
    """One sentence for each route that was let at exam questions (`allow_leak=true`)."""
    told = []
    for route in routes:
        leaked = sorted({question for run in route.runs for question in run.manifest["leaked"]})
        if leaked:
            more = f" and {len(leaked) - 3} more" if len(leaked) > 3 else ""
            told.append(
                f"{route.label} was let at {len(leaked)} exam question(s), in its corpus or its training text: "
                f"{', '.join(leaked[:3])}{more}. Its scores are too high by what that taught it."
            )
    return told


def warnings(routes: Sequence[Route], reference: str) -> list[str]:
    """One sentence for each thing that makes the comparison doubtful; empty where all is as expected."""
    return list(_warnings(routes, reference))


def _warnings(routes: Sequence[Route], reference: str) -> Iterator[str]:
    by_name = {route.pipeline: route for route in routes}
    if reference not in by_name:
        yield f"{reference} is not among the runs, so no differences are given: run it, or name another reference."
    for route in routes:
        known, guessed = _answerable(route), _chance(route)
        if route.is_base and known > CLOSED_BOOK_AT_MOST + guessed:
            yield (
                f"{route.label} gets {percent(known)} % of the answerable questions right, "
                f"expected at most {100 * (CLOSED_BOOK_AT_MOST + guessed):.0f}: "
                "the base may already know this corpus, or the exam leaks."
            )
        if (route.adaptation, route.context) == ("none", "random") and known > RANDOM_AT_MOST + guessed:
            yield (
                f"{route.label} gets {percent(known)} % of the answerable questions right, "
                f"expected at most {100 * (RANDOM_AT_MOST + guessed):.0f}: "
                "questions may be answered without their passage, or a small corpus puts the gold one among the random."
            )
        if route.is_ceiling and "recall" in route.parts("exam"):
            read = float(route.matrix(SCORE, route.choose("exam", "recall")).mean())
            if read < GOLD_AT_LEAST:
                yield (
                    f"{route.label} gets {percent(read)} % on recall, expected at least 90: "
                    "the model cannot read well enough, which holds back every open-book route."
                )
        broken = float(route.outcomes("format_error", route.choose("exam")).mean())
        if broken > FORMAT_ERRORS_AT_MOST:
            yield f"{percent(broken)} % of the answers of {route.label} are format errors: look at them first."
    yield from _little_to_forget(routes)
    yield from _untaken(routes)
    ceiling = next((r for r in routes if r.is_ceiling), None)
    if ceiling is not None and reference in by_name and reference != ceiling.pipeline:
        ahead = paired(by_name[reference], ceiling, "exam")
        if ahead.low > 0:
            yield f"{reference} is {_points(ahead)} ahead of {ceiling.pipeline}, its ceiling: check the gold passages."


def _little_to_forget(routes: Sequence[Route]) -> Iterator[str]:
    """Where the base fails at the general suite, a route that fails too has not shown that it forgot nothing."""
    base = base_of(routes)
    if base is None or not len(asked := base.choose("general")):
        return
    known = float(base.matrix(SCORE, asked).mean())
    if known < GENERAL_AT_LEAST:
        yield (
            f"{base.label} gets {percent(known)} % of the general suite, so there is little to forget: ask what this "
            "base knows (general=files), or its losses cannot be seen."
        )


def _untaken(routes: Sequence[Route]) -> Iterator[str]:
    """Adapted routes that without a book know no more of the corpus than the base did."""
    base = base_of(routes)
    learned = [route for route in routes if route.by_weights]
    if base is None or not learned or "recall" not in base.parts("exam"):
        return
    found = [paired(route, base, "exam", "recall") for route in learned]
    for route, gain, p in zip(learned, found, holm([difference.p for difference in found]), strict=True):
        if p >= ALPHA or gain.estimate < 0:
            allowed = f", allowing for {len(found)} comparisons" if len(found) > 1 else ""
            yield (
                f"{route.label} does not beat {base.pipeline} on recall beyond chance{allowed} ({_points(gain)}): "
                "the training did not take."
            )


def _answerable(route: Route) -> float:
    """Score over answerable questions: one who always abstains knows nothing, and scores on the others.

    Long answers are left out: any text in the language of the reference shares some of it.
    """
    chosen = _asked(route)
    return float(route.matrix(SCORE, chosen).mean()) if len(chosen) else 0.0


def _chance(route: Route) -> float:
    """What guessing scores on the same questions: 0 but for choices."""
    chosen = _asked(route)
    return float(route.matrix("chance", chosen).mean()) if len(chosen) else 0.0


def _asked(route: Route) -> Rows:
    chosen = route.choose("exam", answerable=True)
    return chosen[route.runs[0].arrays["kind"][chosen] != "long"]


def _points(difference: Difference) -> str:
    return points(difference.estimate, difference.low, difference.high)
