"""Floating-point operations: counted by torch on one step and multiplied, beside a rule of thumb that should agree.

The rule (Kaplan et al. 2020) takes two operations a token for each weight that multiplies: 2·N·T to read or to write T
tokens, as much again for the gradient that goes on down, and as much for that of the weights that learn. So it is
6·N·T where all of N weights learn, near 4·N·T where adapters do, and in general (4·N + 2·learning)·T. N are the
matrices: embeddings and norms multiply nothing, and an output tied to the embeddings does. Adapters that are summed up
with their layer's weights (`lab.low_rank`) multiply for their own gradient alone, twice for each of their weights. The
rule leaves attention out, whose work grows with the length of a row; where the two differ by more than `AGREE` the row
says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from lab.store import JSON

AGREE = 0.15
WEIGHTS_TIMES = ("mm", "addmm", "_scaled_mm")  # Operators by which weights multiply; the others counted are attention.


class Summed(torch.nn.Module):
    """Marks a layer whose learning weights, an adapter's, are summed up with the others before they multiply."""


@dataclass(frozen=True)
class Matrices:
    """How many weights of a model multiply. body: all but the output. head: the output. learning: those of the body
    that are trained; head_learning: those of the output. beside: of adapters that are summed up with their layer's
    weights, in none of the others.
    """

    body: int
    head: int
    learning: int
    head_learning: int
    beside: int = 0

    def reading(self, tokens: int, predicted: int) -> float:
        """2·N·T: operations for so many tokens, of which the output is taken for `predicted` ones alone."""
        return 2.0 * (self.body * tokens + self.head * predicted)

    def training(self, tokens: int, predicted: int) -> float:
        """(4·N + 2·learning + 4·beside)·T, of which the output is taken for the `predicted` ones alone."""
        head = 4.0 * self.head + 2.0 * self.head_learning
        return (4.0 * self.body + 2.0 * self.learning + 4.0 * self.beside) * tokens + head * predicted


@dataclass(frozen=True)
class Flops:
    """counted: by torch; attention: of them, what no weight had a part in. formula: by the rule, for the same work."""

    counted: float
    attention: float
    formula: float

    def times(self, factor: float) -> Flops:
        """So many times the work."""
        return Flops(self.counted * factor, self.attention * factor, self.formula * factor)

    def attending(self, share: float) -> Flops:
        """The same with this share of its attention: what a mask hides as a whole may not be computed."""
        return Flops(self.counted - self.attention * (1 - share), self.attention * share, self.formula)

    def cost(self) -> dict[str, JSON]:
        """As a row of the ledger has it, with the reason where the two differ by more than 15 %."""
        cost: dict[str, JSON] = {"flops": self.counted, "flops_formula": self.formula}
        return {**cost, "flops_note": note} if (note := self._note()) else cost

    def _note(self) -> str:
        if _agree(self.counted, self.formula):
            return ""
        share = 100 * self.attention / self.counted if self.counted else 0
        if _agree(self.counted - self.attention, self.formula):
            return f"attention is {share:.0f} % of what was counted, and the formula has none of it"
        return (
            f"counted are {self.counted / self.formula:.2f} times the formula, {share:.0f} % of them attention: some "
            "weights may take no part (frozen ones below all that learn, unasked experts), or operators have no rule"
        )


def _agree(counted: float, formula: float) -> bool:
    return abs(counted - formula) <= AGREE * formula


def matrices(model: Any) -> Matrices:
    """Of a transformers model, adapters included."""
    tables = {
        id(weight)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for weight in module.parameters(recurse=False)
    }
    output = model.get_output_embeddings()
    head = getattr(output, "weight", None) if output is not None else None
    summed = [module for module in model.modules() if isinstance(module, Summed)]
    beside = {id(weight): weight.numel() for layer in summed for weight in layer.parameters() if weight.requires_grad}
    found = {id(weight): weight for weight in model.parameters() if weight.dim() > 1}
    body = [weight for key, weight in found.items() if key not in tables | beside.keys() and weight is not head]
    return Matrices(
        sum(weight.numel() for weight in body),
        0 if head is None else head.numel(),
        sum(weight.numel() for weight in body if weight.requires_grad),
        head.numel() if head is not None and head.requires_grad else 0,
        sum(beside.values()),
    )


def _attention(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """Scores and their weighted sum, of whole rows: what a mask hides is computed all the same, or nearly so."""
    return int(2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def _attention_gradient(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """The scores again, then a product for each gradient: of the weights, of values, queries and keys."""
    return int(2 * prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1]))


# The counter does not know a CPU's attention, and older ones stumble over heads that share keys.
ATTENTION = {
    getattr(torch.ops.aten, f"_scaled_dot_product_{kind}{end}"): formula
    for kind in ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu")
    for end, formula in (("", _attention), ("_backward", _attention_gradient))
}


class Counter:
    """Counts what is done inside it: `with counter: ...`; then `counted` and, of it, `attention`."""

    def __init__(self) -> None:
        self._mode = FlopCounterMode(display=False, custom_mapping=ATTENTION)

    def __enter__(self) -> Counter:
        self._mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._mode.__exit__(*error)

    def flops(self, formula: float) -> Flops:
        """What was counted, beside the rule for the same work."""
        by_operator = self._mode.get_flop_counts().get("Global", {})
        counted = float(sum(by_operator.values()))
        weights = sum(n for operator, n in by_operator.items() if str(operator).rpartition(".")[2] in WEIGHTS_TIMES)
        return Flops(counted, counted - weights, formula)
