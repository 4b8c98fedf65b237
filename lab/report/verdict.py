"""What the numbers say, in three to six sentences that claim no more than the intervals allow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from lab.judge.statistics import Difference, holm, unpaired_difference
from lab.report.compare import base_of, paired, paired_values
from lab.report.plane import front_of, plane
from lab.report.scores import SCORE, Route, ratio_interval
from lab.report.table import ALPHA, route_rows_of
from lab.report.wording import count, listed, percent, points, seconds, span

COSTS = {
    "prepare_seconds": ("seconds to prepare", seconds),
    "prepare_tokens": ("tokens to prepare", count),
    "seconds_per_question": ("seconds a question", seconds),
    "prompt_tokens_per_question": ("prompt tokens a question", count),
}

NAMED = 5  # routes on the front that are told one by one


def verdict(frame: pd.DataFrame, routes: Sequence[Route], reference: str) -> list[str]:
    """Who leads; how much of the gap from floor to ceiling the reference closes; what it cost, in ability and effort.

    Of two routes or more that one might choose, also which are on the Pareto front of gained against lost. Where
    weights were adapted also what they hold without a book: of practised documents against the others, and asked
    in reverse. "Beyond chance" is p < 0.05 after Holm over the comparisons that the sentence rests on; in the last it
    is the frame's own, over all routes.
    """
    said = [_lead(frame, routes, reference), _gap(frame, routes, reference), _price(frame, routes)]
    learned = [route for route in routes if route.by_weights]
    return [*said, *_front(routes), *_practised(learned), *_reverse(frame, learned, routes, reference)]


def _is_floor(route: Route) -> bool:
    """The base as it is, with no passages or random ones."""
    return route.adaptation == "none" and route.context in ("none", "random")


def _score(frame: pd.DataFrame, route: Route) -> float:
    return float(_value(frame, route, "exam", SCORE)["value"])


def _value(frame: pd.DataFrame, route: Route, suite: str, metric: str, part: str = "all") -> pd.Series:
    rows = route_rows_of(frame, route)
    return rows[(rows["suite"] == suite) & (rows["part"] == part) & (rows["metric"] == metric)].iloc[0]


def _named(frame: pd.DataFrame, route: Route) -> str:
    row = _value(frame, route, "exam", SCORE)
    return f"{route.label} ({percent(row['value'])} %, {span(row['low'], row['high'], 1)})"


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
    doubtful = [(other.label, lead) for other, lead, p in compared if p >= ALPHA]
    if doubtful:
        allowed = f", allowing for {len(others)} comparisons" if len(others) > 1 else ""
        return (
            f"No winner: {_named(frame, leader)} scores highest, but its lead, {_each(doubtful, 2, 'over ')}, "
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
    parts = rows[(rows["suite"] == "exam") & (rows["metric"] == SCORE) & (rows["part"] != "all")]
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
    base = base_of(routes)
    others = [r for r in shown if base is not None and r.pipeline != base.pipeline and not r.is_external]
    if base is None or not others or not len(base.choose("general")):
        return "a change is not known, as it needs the base closed-book and a general suite"
    found = [paired(route, base, "general") for route in others]
    adjusted = holm([difference.p for difference in found])
    return f"against {base.pipeline}, {_by_chance([r.label for r in others], found, adjusted)}"


def _front(routes: Sequence[Route]) -> list[str]:
    """The Pareto front of `plane`, and which neighbours on it chance alone may have told apart."""
    placed = plane(routes)
    if (~placed["control"].astype(bool)).sum() < 2:
        return []
    by_name = {route.pipeline: route for route in routes}
    front = front_of(placed)
    on_it = [by_name[pipeline] for pipeline in front["pipeline"]]
    places = zip(on_it, front["gained"], front["lost"], strict=True)
    named = [f"{route.label} ({100 * gained:+.1f}, {_plain(lost)})" for route, gained, lost in places]
    said = listed(named) if len(named) <= NAMED else f"{len(named)} routes, from {named[0]} to {named[-1]}"
    alone = " alone" if len(named) == 1 else ""
    return [f"Pareto front by point estimates (gained, lost, in points): {said}{alone}{_neighbours(on_it)}."]


def _neighbours(front: Sequence[Route]) -> str:
    """Which routes next to each other on the front differ within chance in what they gain, or in what they lose."""
    pairs = list(pairwise(front))
    found = [paired(one, other, suite) for one, other in pairs for suite in ("exam", "general")]
    doubtful = [p >= ALPHA for p in holm([difference.p for difference in found])] if pairs else []
    told = []
    for (one, other), gain, loss in zip(pairs, doubtful[::2], doubtful[1::2], strict=True):
        if gain or loss:
            both = "gain and lose" if gain and loss else "gain" if gain else "lose"
            told.append(f"{one.label} and {other.label} in what they {both}")
    if not told:
        return "; neighbours on it differ beyond chance in both" if pairs else ""
    if len(told) > 3:
        return f"; {len(told)} of {len(pairs)} neighbours on it are within chance of each other in one of the two"
    return f"; within chance of each other are {'; '.join(told)}"


def _plain(share: float) -> str:
    """A share in percent with one decimal, without a sign for what rounds to nothing."""
    return f"{round(100 * share, 1) + 0.0:.1f}"


def _practised(learned: Sequence[Route]) -> list[str]:
    """Practised documents against the others for routes by weights alone; empty where the exam does not split."""
    sides = [[route.choose("exam", "all", side) for side in ("yes", "no")] for route in learned]
    if not learned or not all(len(chosen) for chosen in sides[0]):
        return []
    found = []
    for route, (yes, no) in zip(learned, sides, strict=True):
        ours, others = (route.matrix(SCORE, chosen) for chosen in (yes, no))
        found.append(unpaired_difference(ours, others, route.clusters(yes), route.clusters(no)))
    told = _by_chance([r.label for r in learned], found, holm([difference.p for difference in found]))
    return [f"By weights alone, practised documents against the others (not paired: other questions): {told}."]


def _reverse(frame: pd.DataFrame, learned: Sequence[Route], routes: Sequence[Route], reference: str) -> list[str]:
    """The part "reverse": the open-book reference against the weights; empty without the part or the reference."""
    score = {r.pipeline: _value(frame, r, "exam", SCORE, "reverse") for r in routes if "reverse" in r.parts("exam")}
    against = [route for route in learned if route.pipeline != reference]
    if not against or reference not in score:
        return []
    book = score[reference]
    rows = [score[route.pipeline] for route in against]
    found = [Difference(r["difference"], r["difference_low"], r["difference_high"], r["p_holm"]) for r in rows]
    told = _by_chance([r.label for r in against], found, [difference.p for difference in found])
    ceilings = [f" ({r.pipeline}: {percent(score[r.pipeline]['value'])} %)" for r in routes if r.is_ceiling]
    return [
        f"In reverse (the subject asked from a value), {reference} gets {percent(book['value'])} % "
        f"({span(book['low'], book['high'])}){''.join(ceilings[:1])}; against it, by weights alone, {told}."
    ]


def _by_chance(names: Sequence[str], found: Sequence[Difference], adjusted: Sequence[float]) -> str:
    """ "a +3.0 points (+1.0..+5.0), beyond chance; b ..., within chance": a range of the estimates where many."""
    marked = list(zip(names, found, adjusted, strict=True))
    beyond = [(name, difference) for name, difference, p in marked if p < ALPHA]
    within = [(name, difference) for name, difference, p in marked if p >= ALPHA]
    said = [f"{_each(beyond, 5)}, beyond chance"] if beyond else []
    return "; ".join([*said, *([f"{_each(within, 2)}, within chance"] if within else [])])


def _each(named: Sequence[tuple[str, Difference]], at_most: int, before: str = "") -> str:
    """Each with its difference and interval, or all names with the range of the differences where more than at_most."""
    if len(named) <= at_most:
        return listed([f"{before}{name} {_points(difference)}" for name, difference in named])
    ends = sorted(difference.estimate for _, difference in named)
    return f"{before}{listed([name for name, _ in named])} {100 * ends[0]:+.1f} to {100 * ends[-1]:+.1f} points"


def _cost(frame: pd.DataFrame, shown: Sequence[Route]) -> str:
    """Every route in full where there are two at most, else the cheapest and the dearest of each figure."""
    shown = [route for route in shown if not route.is_external]
    if not shown:
        return "not known"
    values = {r.label: {m: float(_value(frame, r, "cost", m)["value"]) for m in COSTS} for r in shown}
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
        ends = [written(values[name][metric]) for name in (cheap, dear)]
        range_ = f"{ends[0]} ({cheap}) to {ends[1]} ({dear})" if ends[0] != ends[1] else f"{ends[0]} for each"
        said.append(f"{words} {range_}")
    return ", ".join(said)
