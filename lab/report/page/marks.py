"""How a route stands on the page: its mark, and what it is in words."""

from __future__ import annotations

from collections.abc import Sequence

from lab.report.looks import ADAPTATIONS, CONTEXTS, looks
from lab.report.page.svg import COLOURS, SHAPES, Look
from lab.report.scores import Route

DESKS = {"none": "no book", "retrieved": "retrieved passages", "gold": "the gold passage", "random": "random passages"}


def marks(routes: Sequence[Route]) -> dict[str, Look]:
    """Each route's look, by pipeline: colour by adaptation, shape by context, controls hollow."""
    colours = looks(ADAPTATIONS, [route.adaptation for route in routes], [f"c{n}" for n in range(COLOURS)])
    shapes = looks(CONTEXTS, [route.context for route in routes], list(SHAPES))
    return {r.pipeline: Look(colours[r.adaptation], shapes[r.context], r.is_control) for r in routes}


def words(route: Route) -> str:
    """What was done to the weights and what lies on the desk: "cpt weights, retrieved passages"."""
    if route.is_external:
        return "another system"
    weights = "base weights" if route.adaptation == "none" else f"{route.adaptation} weights"
    return f"{weights}, {DESKS.get(route.context, route.context)}"
