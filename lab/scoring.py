"""Log-probabilities under a causal model, on tokens: continuations that share a prompt's work, and whole sequences."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lab.progress import step

LOSS_LOGITS = 2**22  # In float32, at most so many at a time but for one row's: a vocabulary may be large.


def batches(lengths: Sequence[int], max_batch_tokens: int, rows: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Indices by falling length: a batch pads little, and what does not fit in memory fails at once.

    rows: how many rows of the batch each index takes, one where not given. A batch has at least one index.
    """
    batch: list[int] = []
    used = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        needed = rows[index] if rows else 1
        if batch and (used + needed) * lengths[batch[0]] > max_batch_tokens:
            yield batch
            batch, used = [], 0
        batch.append(index)
        used += needed
    if batch:
        yield batch


@torch.no_grad()
def continuation_log_probabilities(
    model: Any,
    heads: Sequence[list[int]],
    tails: Sequence[Sequence[list[int]]],
    max_batch_tokens: int,
    logits_weight: float = 1.0,
) -> list[list[float]]:
    """Natural log-probability of each of a prompt's tails (its continuations), summed over the tail's tokens.

    heads, tails: token ids, none of them empty. A prompt is run once, and its keys and values are handed to all of its
    tails: all choices but one cost their own tokens only, and a tail of one token costs nothing. A cache does this, and
    not one row with a mask in the shape of a tree, because sliding windows and positions then stay the model's own
    business. max_batch_tokens bounds rows times width with every longer tail in a row of its own, prompt included,
    which is what the cache holds in the end. logits_weight: a tail's token counts as so many, since logits are made of
    it.
    """
    made: list[list[float]] = [[] for _ in heads]
    longest = [max(map(len, some), default=0) for some in tails]
    lengths = [max(len(head) + tail, int(tail * logits_weight)) for head, tail in zip(heads, longest, strict=True)]
    rows = [max(1, sum(len(tail) > 1 for tail in some)) for some in tails]
    with step("scoring known answers", len(heads), "questions") as advance:
        for batch in batches(lengths, max_batch_tokens, rows):
            scores = iter(_score(model, [heads[i] for i in batch], [tails[i] for i in batch]))
            for i in batch:
                made[i] = [next(scores) for _ in tails[i]]
            advance(len(batch))
    return made


def _score(model: Any, heads: list[list[int]], branches: list[Sequence[list[int]]]) -> list[float]:
    """The scores of one batch's continuations, one prompt after another."""
    # Padding goes to the left, as in generation: the last column is every prompt's end, and distances stay true.
    ids, seen = padded(heads, model.device, left=True)
    positions = (seen.cumsum(-1) - 1).clamp(min=0)
    output = forward(model, ids, seen, positions, use_cache=True, logits_to_keep=1)
    tails = [tail for some in branches for tail in some]
    owners = [row for row, some in enumerate(branches) for _ in some]
    if "past_key_values" not in output:  # A purely recurrent model keeps a state of its own kind: nothing is shared.
        whole = [heads[row] + tail for row, tail in zip(owners, tails, strict=True)]
        return sequence_log_probabilities(model, whole, [len(heads[row]) for row in owners], ids.shape[1])
    owner = torch.tensor(owners, device=model.device)
    first = torch.tensor([tail[0] for tail in tails], device=model.device)
    scores = output.logits[:, -1].float().log_softmax(-1)[owner, first]

    longer = [place for place, tail in enumerate(tails) if len(tail) > 1]
    if longer:
        rows = owner[longer]
        fed, real = padded([tails[place][:-1] for place in longer], model.device)
        wanted, _ = padded([tails[place][1:] for place in longer], model.device)
        positions = seen.sum(-1)[rows, None] + torch.arange(fed.shape[1], device=model.device)
        cache = output.past_key_values
        cache.reorder_cache(rows)  # Beam search's own: takes rows by number, some of them several times.
        mask = torch.cat([seen[rows], real], dim=1)
        logits = forward(model, fed, mask, positions, use_cache=True, past_key_values=cache).logits
        scores[longer] -= (_losses(logits, wanted) * real).sum(-1)
    return scores.tolist()


@torch.no_grad()
def sequence_log_probabilities(
    model: Any, sequences: Sequence[list[int]], skip: Sequence[int], max_batch_tokens: int
) -> list[float]:
    """Natural log-probability of each sequence of at least two tokens after its first `skip` (at least one)."""
    made = [0.0] * len(sequences)
    with step("scoring texts", sum(map(len, sequences)), "tokens") as advance:
        for batch in batches([len(ids) - 1 for ids in sequences], max_batch_tokens):
            ids, real = padded([sequences[i][:-1] for i in batch], model.device)  # The last is predicted, not read.
            wanted, _ = padded([sequences[i][1:] for i in batch], model.device)
            positions = torch.arange(ids.shape[1], device=model.device).expand_as(ids)
            scored = real * (positions >= torch.tensor([[skip[i] - 1] for i in batch], device=model.device))
            # Padding to the right is seen by nothing that comes before it: without a mask attention is faster.
            losses = _losses(forward(model, ids, None, positions, use_cache=False).logits, wanted)
            for i, value in zip(batch, (losses * scored).sum(-1).tolist(), strict=True):
                made[i] = -value
            advance(sum(len(sequences[i]) for i in batch))
    return made


def rolling_windows(ids: list[int], window: int) -> Iterator[tuple[list[int], int]]:
    """(sequence, how many of its tokens are context) so that every token of `ids` but the first is scored just once.

    No sequence gives the model more than `window` tokens to read. Windows follow each other end to end, each begins
    with the last token scored before it, and the last one reaches back to be full: the `loglikelihood_rolling` of
    lm-eval, so that figures can be compared.
    """
    for start in range(0, len(ids) - 1, window):
        end = min(start + window, len(ids) - 1)
        first = max(0, end - window)
        yield ids[first : end + 1], start + 1 - first


def forward(model: Any, ids: torch.Tensor, seen: torch.Tensor | None, positions: torch.Tensor, **options: Any) -> Any:
    """The model's own output for ids of shape (rows, columns); options that it does not know are left out."""
    # As generation does: models that find positions by themselves, and those that always give all logits, do not take
    # these. The whole model is run, not its body and its output layer: some cap or scale the logits after that.
    options["position_ids"] = positions
    taken = inspect.signature(model.forward).parameters
    for name in ("position_ids", "logits_to_keep"):
        if name not in taken:
            options.pop(name, None)
    return model(input_ids=ids, attention_mask=seen, **options)


def _losses(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Minus log-probability of each wanted token, (rows, width); some rows at a time, see `LOSS_LOGITS`."""
    rows = max(1, LOSS_LOGITS // logits[0].numel())
    parts = zip(logits.split(rows), wanted.split(rows), strict=True)
    found = [
        functional.cross_entropy(some.float().flatten(0, 1), ids.flatten(), reduction="none") for some, ids in parts
    ]
    return torch.cat(found).view_as(wanted)


def padded(
    rows: Sequence[list[int]], device: torch.device, left: bool = False, fill: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, seen), (rows, the longest's width) each: filled up with what nobody sees, and 1 where there is a token."""
    # By numpy: torch takes ten times as long over lists, and there are as many lists as questions.
    width = max(map(len, rows))
    ids = np.full((len(rows), width), fill, dtype=np.int64)
    seen = np.zeros_like(ids)
    for row, one in enumerate(rows):
        part = slice(width - len(one), None) if left else slice(len(one))
        ids[row, part], seen[row, part] = one, 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(seen).to(device)
