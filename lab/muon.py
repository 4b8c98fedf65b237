"""Muon, matrices of one shape at a time: in bfloat16 on a GPU as torch.optim.Muon, in float32 on a CPU.

torch's own takes one matrix after another, and on CPUs without bfloat16 units it took a quarter of the foundry's time.
The step is the same (a test compares them).
Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch


def orthogonalised(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Each of the (count, rows, columns) matrices with its singular values brought near 1, by Newton-Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x.bfloat16() if x.is_cuda else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled by sqrt(max(1, rows / columns)). For matrices only."""

    def __init__(self, matrices: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step on every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape[matrix.shape].append((matrix, matrix.grad))
            for shape, pairs in by_shape.items():
                updates = []
                for matrix, gradient in pairs:
                    average = self.state[matrix].setdefault("average", torch.zeros_like(matrix))
                    average.lerp_(gradient, 1 - group["momentum"])
                    updates.append(gradient.lerp(average, group["momentum"]))
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for (matrix, _), update in zip(pairs, orthogonalised(torch.stack(updates)), strict=True):
                    matrix.sub_(update, alpha=scale)
