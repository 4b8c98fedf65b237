"""LoRA's layers, trained by fewer passes over what flows through them: peft's own sums in another order.

Beside its layer, an adapter of rank r reads what comes in and is added to what goes out, by products so thin that they
take as long as memory takes to hand the activations over. Added into the weights first, as W + s·B·A, it takes nothing
forward, nor in the gradient that goes on down. What is left thin is its own gradient: s·dyᵀ·(x·Aᵀ) of B and
s·(dy·B)ᵀ·x of A, where that of W would take a whole product.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch.nn.functional import linear

from lab.flops import Summed


class _Product(torch.autograd.Function):
    """x·(W + s·B·A)ᵀ with gradients of x, A and B: summed up in A's type, multiplied in x's."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, a: Any, b: Any, scaling: float) -> Any:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scaling = scaling
        return linear(x, _whole(x, weight, a, b, scaling))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, a, b = ctx.saved_tensors
        (gradient,) = gradients
        # Made again: kept, they would be the base once more. The lowest layer hands nothing down.
        down = gradient @ _whole(x, weight, a, b, ctx.scaling) if ctx.needs_input_grad[0] else None
        out, came = gradient.flatten(0, -2), x.flatten(0, -2)
        of_b = out.T @ (came @ a.to(x.dtype).T)
        of_a = (out @ b.to(x.dtype)).T @ came
        return down, None, ctx.scaling * of_a.to(a.dtype), ctx.scaling * of_b.to(b.dtype), None


def _whole(x: Any, weight: Any, a: Any, b: Any, scaling: float) -> Any:
    with torch.autocast(x.device.type, enabled=False):
        return torch.addmm(weight.to(a.dtype), b, a, alpha=scaling).to(x.dtype)


class Thin(Linear, Summed):
    """peft's layer while its one adapter is trained; put out or merged it is peft's own."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.disable_adapters or self.merged:
            return super().forward(x, *args, **kwargs)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        (name,) = self.active_adapters
        base: Any = self.base_layer
        a, b = self.lora_A[name].weight, self.lora_B[name].weight
        made: torch.Tensor = _Product.apply(x, base.weight, a, b, self.scaling[name])
        return made if base.bias is None else made + base.bias.to(made.dtype)


def thin(model: Any) -> Any:
    """The same model, whose adapters are trained so where that comes to the same: plain LoRA with nothing dropped out,
    beside a plain linear layer. Others (DoRA, of embeddings, beside 4 or 8 bits) stay as peft has them.
    """
    for module in model.modules():
        # A class of its own for every layer alike: compiled code serves them all.
        if type(module) is Linear and type(module.base_layer) is torch.nn.Linear and not module.lora_variant:
            (dropout,) = module.lora_dropout.values()
            if isinstance(dropout, torch.nn.Identity):
                module.__class__ = Thin
    return model
