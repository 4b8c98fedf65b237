"""Weights that FSDP2 has split over the processes: put together to be kept, and split to be gone on from."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor, distribute_tensor

from lab import ranks


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor; where it is split every process must ask, and rank 0 gets it, in the CPU's memory."""
    if not isinstance(tensor, DTensor):
        return tensor
    full = tensor.full_tensor()
    return full.new_empty(0) if ranks.rank() else full.cpu()


def split(tensor: torch.Tensor, as_is: torch.Tensor) -> torch.Tensor:
    """This process's part of a whole tensor that every process has, where `as_is`, of the same shape, is split."""
    if not isinstance(as_is, DTensor) or tensor.shape != as_is.shape:
        return tensor
    tensor = tensor.to(as_is.device)
    return distribute_tensor(tensor, as_is.device_mesh, as_is.placements, src_data_rank=None)  # Nothing is sent.


def whole_weights(model: Any) -> dict[str, Any]:
    """A split model's weights by name, which every process must ask for and rank 0 gets, in the CPU's memory."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
