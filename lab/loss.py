"""The loss of the labelled tokens alone: neither prompts nor padding pass the output layer, nor are all logits kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import CausalLMOutput

from lab.attention import compile_layers, inner, layers, mask

MOST_LOGITS = 2**25  # In float32 128 MB; what is beyond is made again for the gradient, a part at a time.
ON_BOARD = 8  # Times as many on a GPU, which is slow over small parts.


def labelled_loss(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    labels: torch.Tensor,
    vocabulary: int,
    count: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Cross-entropy in nats, summed over the labelled tokens and divided by `count`, or else by their number.

    head: hidden states to logits. hidden: (rows, width, size), of the decoder. labels: (rows, width); -100 is none, and
    as everywhere in transformers a token is predicted at the place before it. 0 where nothing is labelled.
    """
    chosen = labels[:, 1:] != -100
    states, wanted = hidden[:, :-1][chosen], labels[:, 1:][chosen]

    def part(some: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        return cross_entropy(head(some).float(), of, reduction="sum")

    at_once = max(1, MOST_LOGITS * (ON_BOARD if hidden.is_cuda else 1) // vocabulary)
    if len(wanted) <= at_once:
        total = part(states, wanted)
    else:
        parts = zip(states.split(at_once), wanted.split(at_once), strict=True)
        total = torch.stack([checkpoint(part, *one, use_reentrant=False) for one in parts]).sum()
    # The budget's last piece may be cut before its first answer; the mean over no token is no number.
    return total / torch.as_tensor(len(wanted) if count is None else count).clamp(min=1)


@contextmanager
def labelled_only(model: Any, example: dict[str, torch.Tensor], compiled: bool = False) -> Iterator[None]:
    """While it lasts, the model given labels tells their `labelled_loss` and no logits; without labels it is as ever.
    With labels it also takes `piece` and `branch` of packed rows, and makes of them the mask that its attention takes.

    The forward of the model itself is replaced, so that whatever is put around it (adapters, replicas, shards) still
    goes through its own. example: one small batch, to see whether the output layer alone stands between the decoder
    and the logits; where a model does more (Gemma 2 caps its logits, Granite scales them) all its logits are made.
    compiled: whether its layers are, for rows of one shape.
    """
    causal: Any = inner(model)
    decoder, head, usual = causal.base_model, causal.get_output_embeddings(), causal.forward
    bare = _bare(causal, decoder, head, example)
    vocabulary = causal.config.get_text_config().vocab_size

    def forward(*args: Any, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
        if labels is None:
            return usual(*args, **inputs)
        if "piece" in inputs:
            attention = causal.config._attn_implementation
            inputs["attention_mask"] = mask(attention, inputs.pop("piece"), inputs.pop("branch"))
        count = inputs.pop("num_items_in_batch", None)
        inputs["use_cache"] = False  # Nothing is read twice; and a layer that writes to a cache is compiled for itself.
        if bare:
            loss = labelled_loss(head, decoder(*args, **inputs).last_hidden_state, labels, vocabulary, count)
        else:
            loss = labelled_loss(lambda logits: logits, usual(*args, **inputs).logits, labels, vocabulary, count)
        return CausalLMOutput(loss=loss)

    causal.forward = forward
    if compiled:
        compile_layers(decoder)
    try:
        yield
    finally:
        for layer in layers(decoder):
            layer._compiled_call_impl = None
        del causal.forward  # The class's own is below it.


@torch.no_grad()
def _bare(causal: Any, decoder: Any, head: Any, example: dict[str, torch.Tensor]) -> bool:
    """Whether logits are what `head` makes of what `decoder` tells, untouched."""
    if head is None or decoder is causal:
        return False
    seen: dict[str, torch.Tensor] = {}
    watched = [
        decoder.register_forward_hook(lambda module, given, told: seen.update(hidden=told[0])),
        head.register_forward_hook(lambda module, given, told: seen.update(read=given[0], told=told)),
    ]
    try:
        logits = causal(**example, use_cache=False).logits
    finally:
        for hook in watched:
            hook.remove()
    return len(seen) == 3 and _same(seen["hidden"], seen["read"]) and _same(seen["told"], logits)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.data_ptr() == other.data_ptr()
