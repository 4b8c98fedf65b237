"""What the numbers say, in three sentences that claim no more than the intervals allow, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from lab.judge.statistics import Difference, holm
from lab.report.compare import paired, paired_values
from lab.report.scores import Route, ratio_interval
from lab.report.table import ALPHA, route_rows_of
from lab.report.wording import count, listed, percent, points, seconds, span

# What the controls are expected to do on an exam about a corpus that the base has never seen.
CLOSED_BOOK_AT_MOST, RANDOM_AT_MOST, GOLD_AT_LEAST, FORMAT_ERRORS_AT_MOST = 0.05, 0.10, 0.90, 0.05
COSTS = {
    "prepare_seconds": ("seconds to prepare", seconds),
    "prepare_tokens": ("tokens to prepare", count),
    "seconds_per_question": ("seconds a question", seconds),
    "prompt_tokens_per_question": ("prompt tokens a question", count),
}


def verdict(frame: pd.DataFrame, routes: Sequence[Route], reference: str) -> list[str]:
    """Three sentences: who leads; how much of the gap from floor to ceiling the reference closes; what it cost.

    "Beyond chance" is p < 0.05 after Holm over the comparisons that the sentence rests on.
    """
    return [_lead(frame, routes, reference), _gap(frame, routes, reference), _price(frame, routes)]


def warnings(frame: pd.DataFrame, routes: Sequence[Route], reference: str) -> list[str]:
    """One sentence for each thing that makes the comparison doubtful; empty where all is as expected."""
    return list(_warnings(frame, routes, reference))


def _is_floor(route: Route) -> bool:
    """The base as it is, with no passages or random ones."""
    return route.adaptation == "none" and route.context in ("none", "random")


def _score(frame: pd.DataFrame, route: Route) -> float:
    return float(_value(frame, route, "exam", "exact_match")["value"])


def _value(frame: pd.DataFrame, route: Route, suite: str, metric: str) -> pd.Series:
    rows = route_rows_of(frame, route)
    return rows[(rows["suite"] == suite) & (rows["part"] == "all") & (rows["metric"] == metric)].iloc[0]


def _named(frame: pd.DataFrame, route: Route) -> str:
    row = _value(frame, route, "exam", "exact_match")
    return f"{route.pipeline} ({percent(row['value'])} %, {span(row['low'], row['high'], 1)})"


def _points(difference: Difference) -> str:
    return points(difference.estimate, difference.low, difference.high)


def _lead(frame: pd.DataFrame, routes: Sequence[Route], reference: str) -> str:
    contenders = [route for route in routes if not route.is_control]
    # One contender alone is measured against what needs no preparation at all.
    rivals = contenders if len(contenders) > 1 else [*contenders, *(route for route in routes if _is_floor(route))]
    if not contenders:
        return "Only controls were run, so there is no route to choose: run rag or another one beside them."
    if len(rivals) == 1:
        return f"{_named(frame, rivals[0])} was run alone, so nothing can be said of a lead."
    ranked = sorted(rivals, key=lambda route: -_score(frame, route))
    leader, others = ranked[0], ranked[1:]
    found = [paired(leader, other, "exam") for other in others]
    adjusted = holm([difference.p for difference in found])
    compared = zip(others, found, adjusted, strict=True)
    doubtful = [f"{other.pipeline}, {_points(lead)}" for other, lead, p in compared if p >= ALPHA]
    if doubtful:
        allowed = f", allowing for {len(others)} comparisons" if len(others) > 1 else ""
        return (
            f"No winner: {_named(frame, leader)} scores highest, but its lead over {listed(doubtful)}, "
            f"is within chance{allowed}."
        )
    kind = "floor" if _is_floor(others[0]) else "next best"
    lead = f"{_points(found[0])} over {_named(frame, others[0])}, the {kind}"
    names = [other.pipeline for other in others]
    further = ""
    if reference in names[1:]:
        further = f", and {_points(found[names.index(reference)])} over the reference {reference}"
    return f"{_named(frame, leader)} leads, beyond chance: {lead}{further}."


def _gap(frame: pd.DataFrame, routes: Sequence[Route], reference: str) -> str:
    route = next((route for route in routes if route.pipeline == reference), None)
    floors = [r for r in routes if _is_floor(r) and r.pipeline != reference]
    ceilings = [r for r in routes if r.is_ceiling and r.pipeline != reference]
    if route is None or not floors or not ceilings:
        return (
            f"How much of the gap {reference} closes is not known: that needs {reference}, a floor and gold together."
        )
    floor, ceiling = max(floors, key=lambda r: _score(frame, r)), ceilings[0]
    ends = " and ".join(f"{end.pipeline} ({percent(_score(frame, end))} %)" for end in (floor, ceiling))
    gap = paired(ceiling, floor, "exam")
    if not gap.low > 0:
        return f"The gap between {ends}, {_points(gap)}, is within chance, so no share of it is stated for {reference}."
    # Averaged over seeds: the share's interval is over documents.
    ours, floor_values = (v.mean(axis=0) for v in paired_values(route, floor, "exam"))
    top, bottom = (v.mean(axis=0) for v in paired_values(ceiling, floor, "exam"))
    share = ratio_interval(ours - floor_values, top - bottom, route.clusters(route.choose("exam")))
    closed = f"{percent(share.estimate)} % ({span(share.low, share.high)}) of the gap between {ends}"
    return f"{reference} closes {closed}; {_losses(frame, ceiling, route)}."


def _losses(frame: pd.DataFrame, ceiling: Route, route: Route) -> str:
    """Where the ceiling is ahead of the reference: the frame's own differences, the greatest first."""
    rows = route_rows_of(frame, ceiling)
    parts = rows[(rows["suite"] == "exam") & (rows["metric"] == "exact_match") & (rows["part"] != "all")]
    lost = parts[(parts["p_holm"] < ALPHA) & (parts["difference"] > 0)].sort_values("difference", ascending=False)
    if parts.empty:  # an exam that is not split
        return f"the ceiling is {_points(paired(ceiling, route, 'exam'))} ahead"
    if lost.empty:
        return f"on no part is it behind {ceiling.pipeline} beyond chance"
    each = [f"{row.part} ({100 * row.difference:.1f} points)" for row in lost.itertuples()]
    return f"beyond chance it is behind {ceiling.pipeline} on {listed(each)}"


def _price(frame: pd.DataFrame, routes: Sequence[Route]) -> str:
    shown = [route for route in routes if not route.is_control] or list(routes)
    return f"General ability: {_kept(shown, routes)}. Cost: {_cost(frame, shown)}."


def _kept(shown: Sequence[Route], routes: Sequence[Route]) -> str:
    base = next((r for r in routes if r.is_base), None)
    others = [route for route in shown if base is not None and route.pipeline != base.pipeline]
    if base is None or not others or not len(base.choose("general")):
        return "a change is not known, as it needs the base closed-book and a general suite"
    found = [paired(route, base, "general") for route in others]
    marked = list(zip(others, found, holm([difference.p for difference in found]), strict=True))
    beyond = [f"{r.pipeline} {_points(d)}" for r, d, p in marked if p < ALPHA]
    within = [(f"{r.pipeline} {_points(d)}", r.pipeline, d) for r, d, p in marked if p >= ALPHA]
    said = [f"{listed(beyond)}, beyond chance"] if beyond else []
    if len(within) > 2:
        ends = sorted(d.estimate for _, _, d in within)
        between = f"{100 * ends[0]:+.1f} to {100 * ends[-1]:+.1f} points"
        said.append(f"{listed([name for _, name, _ in within])} {between}, within chance")
    elif within:
        said.append(f"{listed([full for full, _, _ in within])}, within chance")
    return f"against {base.pipeline}, {'; '.join(said)}"


def _cost(frame: pd.DataFrame, shown: Sequence[Route]) -> str:
    """Every route in full where there are two at most, else the cheapest and the dearest of each figure."""
    values = {r.pipeline: {m: float(_value(frame, r, "cost", m)["value"]) for m in COSTS} for r in shown}
    if len(values) <= 2:
        return "; ".join(
            f"{name} took {seconds(cost['prepare_seconds'])} s and {count(cost['prepare_tokens'])} tokens to prepare, "
            f"then {seconds(cost['seconds_per_question'])} s and {count(cost['prompt_tokens_per_question'])} prompt "
            "tokens a question"
            for name, cost in values.items()
        )
    said = []
    for metric, (words, written) in COSTS.items():
        cheap, *_, dear = sorted(values, key=lambda name, metric=metric: values[name][metric])  # type: ignore[misc]
        ends = " to ".join(f"{written(values[name][metric])} ({name})" for name in (cheap, dear))
        said.append(f"{words} {ends}")
    return ", ".join(said)


def _warnings(frame: pd.DataFrame, routes: Sequence[Route], reference: str) -> Iterator[str]:
    by_name = {route.pipeline: route for route in routes}
    if reference not in by_name:
        yield f"{reference} is not among the runs, so no differences are given: run it, or name another reference."
    if len({run.manifest["digests"].get("model") for route in routes for run in route.runs}) > 1:
        yield "The runs do not share one base model, so a difference may be the model's and not the route's."
    for route in routes:
        known = _answerable(route)
        if route.is_base and known > CLOSED_BOOK_AT_MOST:
            yield (
                f"{route.pipeline} gets {percent(known)} % of the answerable questions right, expected at most 5: "
                "the base may already know this corpus, or the exam leaks."
            )
        if (route.adaptation, route.context) == ("none", "random") and known > RANDOM_AT_MOST:
            yield (
                f"{route.pipeline} gets {percent(known)} % of the answerable questions right, expected at most 10: "
                "questions may be answered without their passage, or a small corpus puts the gold one among the random."
            )
        if route.is_ceiling and "recall" in route.parts("exam"):
            read = float(route.matrix("exact_match", route.choose("exam", "recall")).mean())
            if read < GOLD_AT_LEAST:
                yield (
                    f"{route.pipeline} gets {percent(read)} % on recall, expected at least 90: "
                    "the model cannot read well enough, which holds back every open-book route."
                )
        broken = float(route.outcomes("format_error", route.choose("exam")).mean())
        if broken > FORMAT_ERRORS_AT_MOST:
            yield f"{percent(broken)} % of the answers of {route.pipeline} are format errors: look at them first."
    ceiling = next((r for r in routes if r.is_ceiling), None)
    if ceiling is not None and reference in by_name and reference != ceiling.pipeline:
        ahead = paired(by_name[reference], ceiling, "exam")
        if ahead.low > 0:
            yield f"{reference} is {_points(ahead)} ahead of {ceiling.pipeline}, its ceiling: check the gold passages."


def _answerable(route: Route) -> float:
    """Exact match over answerable questions: one who always abstains knows nothing, and scores on the others."""
    chosen = route.choose("exam", answerable=True)
    return float(route.matrix("exact_match", chosen).mean()) if len(chosen) else 0.0
