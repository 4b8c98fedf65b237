"""How a route is drawn: colour says what was done to the weights, shape what lies on the desk, in every picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

# These keep colour and shape from one picture to the next; others take what is left.
ADAPTATIONS, CONTEXTS = ("none", "lora", "cpt"), ("none", "retrieved", "gold", "random")


def looks(first: Sequence[str], drawn: Sequence[str], choices: Sequence[str]) -> dict[str, str]:
    """A colour or shape for each name that is drawn, from the start again where there are more names than looks."""
    return {name: look for name, look in zip(dict.fromkeys([*first, *drawn]), cycle(choices)) if name in drawn}
