"""Answers that were right once: the old value of a fact that has changed, or the value of one that is gone.

Of a changed fact such an answer is stale: the route gives it though it was updated. Of a deleted fact it is residual:
what is left of it in the weights, to be set against a model that never saw it, which may hit a value by chance too.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab.judge.words import exact_match

CURRENT, OLD, NEITHER = "current", "old", "neither"


def gives_stale(text: str, stale: Sequence[str]) -> bool:
    """Whether an answer is, by exact match, one of those that were right in an earlier edition."""
    return any(exact_match(text, old) for old in stale)


def side(text: str, answers: Sequence[str], stale: Sequence[str]) -> str:
    """Which edition an answer follows where two disagree: `current`, `old`, or `neither` of them."""
    if any(exact_match(text, form) for form in answers):
        return CURRENT
    return OLD if gives_stale(text, stale) else NEITHER
