"""How many prompts are answered at a time: what they begin with alike is read once, and an answer stops at its end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from transformers import DynamicCache, StoppingCriteria
from transformers.cache_utils import DynamicLayer

from lab.scoring import forward, padded

FAMILY_ROWS = 64  # At most: the search for families looks so far ahead, and a beginning read anew so rarely is cheap.
WORTH_TOKENS = 64  # A family that saves fewer is left alone: reading beginnings apart costs a call of the model.


@dataclass(frozen=True)
class Batch:
    """Prompts answered together. families: (how many tokens its prompts begin with alike, the prompts' numbers)."""

    families: Sequence[tuple[int, Sequence[int]]]

    @property
    def rows(self) -> list[int]:
        return [number for _, some in self.families for number in some]

    def widths(self, lengths: Sequence[int]) -> tuple[int, int]:
        """Columns of the beginnings, and of what comes after them."""
        shared = max(shared for shared, _ in self.families)
        return shared, max(lengths[number] - shared for shared, some in self.families for number in some)


def plan(prompts: Sequence[list[int]], room: int, max_batch_tokens: int, share: bool) -> list[Batch]:
    """Batches of prompts, given as token ids, widest first: each pads little, and what does not fit fails at once.

    room: tokens that each answer may take. max_batch_tokens bounds rows times width, answers included; a batch has at
    least one prompt. share: whether beginnings may be read apart; those that have none worth it are in batches of their
    own.
    """
    lengths = [len(ids) for ids in prompts]
    families = _families(prompts, room, max_batch_tokens) if share else [(0, [i]) for i in range(len(prompts))]

    def width(family: tuple[int, Sequence[int]]) -> int:
        return max(lengths[number] for number in family[1]) - family[0]

    made: list[list[tuple[int, Sequence[int]]]] = []
    beginnings = rows = 0  # Of the batch that is being filled: columns of its beginnings, and rows.
    families.sort(key=lambda family: (family[0] == 0, -width(family), -family[0]))
    for family in families:
        # The first of a batch has the most columns of its own, any one may have the most that are shared.
        if made and (made[-1][0][0] > 0) == (family[0] > 0):
            beginnings, rows = max(beginnings, family[0]), rows + len(family[1])
            if (beginnings + width(made[-1][0]) + room) * rows <= max_batch_tokens:
                made[-1].append(family)
                continue
        made.append([family])
        beginnings, rows = family[0], len(family[1])
    return [Batch(some) for some in made]


def _families(prompts: Sequence[list[int]], room: int, max_batch_tokens: int) -> list[tuple[int, list[int]]]:
    """Prompts with a common beginning, so that the fewest tokens are computed, padding included.

    Among neighbours in the order of their tokens, by dynamic programming over where a family ends.
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    common = [_common(prompts[one], prompts[other]) for one, other in pairwise(order)]
    cost = [0]
    ends: list[tuple[int, int]] = []  # Of the best families up to here: (where the last begins, what it shares).
    for end in range(1, len(order) + 1):
        longest = len(prompts[order[end - 1]])
        best = (cost[end - 1] + longest, end - 1, 0)
        shared = longest - 1
        for start in range(end - 2, max(-1, end - 1 - FAMILY_ROWS), -1):
            rows, shared = end - start, min(shared, common[start], len(prompts[order[start]]) - 1)
            longest = max(longest, len(prompts[order[start]]))
            if FAMILY_ROWS * shared < WORTH_TOKENS or (longest + room) * rows > max_batch_tokens:
                break
            if (rows - 1) * shared >= WORTH_TOKENS:
                best = min(best, (cost[start] + shared + rows * (longest - shared), start, shared))
        cost.append(best[0])
        ends.append(best[1:])
    families = []
    end = len(order)
    while end:
        start, shared = ends[end - 1]
        families.append((shared, order[start:end]))
        end = start
    return families


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    differing = (place for place, (mine, yours) in enumerate(zip(one, other, strict=False)) if mine != yours)
    return next(differing, min(len(one), len(other)))


def can_share(model: Any) -> bool:
    """Whether padding may stand between a beginning and what follows it.

    So it is where places are told to the model and every layer sees all that came before. A window that slides counts
    columns, padding too; a state that runs on reads it.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    ids = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    kept = model(input_ids=ids, use_cache=True).get("past_key_values")
    return isinstance(kept, DynamicCache) and all(type(layer) is DynamicLayer for layer in kept.layers)


def inputs(model: Any, prompts: Sequence[list[int]], batch: Batch, pad: int) -> dict[str, Any]:
    """What `generate` takes: prompts padded on the left, their beginnings read, and padding between the two."""
    cut = [(shared, prompts[number]) for shared, some in batch.families for number in some]
    ids, seen = padded([some[shared:] for shared, some in cut], model.device, left=True, fill=pad)
    heads = [prompts[some[0]][:shared] for shared, some in batch.families]
    if not any(heads):
        return {"input_ids": ids, "attention_mask": seen}
    head_ids, head_seen = padded(heads, model.device, left=True, fill=pad)
    positions = (head_seen.cumsum(-1) - 1).clamp(min=0)
    read = forward(model, head_ids, head_seen, positions, use_cache=True, logits_to_keep=1)
    owners = [number for number, (_, some) in enumerate(batch.families) for _ in some]
    owner = torch.tensor(owners, device=model.device)
    read.past_key_values.reorder_cache(owner)  # Beam search's own: takes rows by number, some of them several times.
    return {
        "input_ids": torch.cat([head_ids[owner], ids], dim=1),
        "attention_mask": torch.cat([head_seen[owner], seen], dim=1),
        "past_key_values": read.past_key_values,
    }


class AnswerEnd(StoppingCriteria):
    """Stops a row where its answer's mark is complete; lengths: how many tokens that took, by row.

    text: of token ids. mark: see `Frame.mark`. A mark before the answer's first word ends nothing,
    which is why this is not transformers' `stop_strings`.
    """

    def __init__(self, text: Callable[[Sequence[int]], str], width: int, mark: str) -> None:
        self.lengths: dict[int, int] = {}
        self._text = text
        self._width = width
        self._mark = mark
        self._completes = cache(lambda token: mark[-1] in text([token]))

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        for row, ids in enumerate(input_ids[:, self._width :].tolist()):
            if row not in self.lengths and self._completes(ids[-1]) and self._mark in self._text(ids).lstrip():
                self.lengths[row] = len(ids)
        return torch.tensor([row in self.lengths for row in range(len(input_ids))], device=input_ids.device)
