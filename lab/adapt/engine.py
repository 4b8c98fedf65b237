"""How fast a device is made to train: chosen from the device and from how much there is to do, and said in one line."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from lab import ranks
from lab.attention import SPARSE, can_compile

log = logging.getLogger(__name__)

# Operations from which compiling pays. On two CPU cores it takes a quarter of a minute and gains a tenth, with LoRA a
# sixth (benchmarks/README.md), so that it pays after some minutes.
COMPILED_FROM = {"cuda": 5e16, "cpu": 3e13}
WORKERS = 2


@dataclass(frozen=True)
class Engine:
    """mixed: products in bfloat16, weights and optimizer in float32. compiled: the decoder's layers are, and every row
    is of one width. workers: processes that make batches beside the training. attention: None is the model's own.
    """

    mixed: bool
    compiled: bool
    workers: int
    attention: str | None = None

    def arguments(self) -> dict[str, Any]:
        """In the Trainer's words."""
        ahead = {"dataloader_prefetch_factor": 4} if self.workers else {}
        return {"bf16": self.mixed, "dataloader_num_workers": self.workers, **ahead}

    def __str__(self) -> str:
        made = [
            "bfloat16 products" if self.mixed else "float32",
            *(["compiled"] if self.compiled else []),
            *(["no attention to what is hidden"] if self.attention else []),
            f"{self.workers} processes making batches" if self.workers else "batches made in between",
        ]
        return ", ".join([*made, "fused AdamW"])


def choose(device: str, operations: float, can_skip: bool) -> Engine:
    """The engine for so many floating-point operations on `cpu` or `cuda`. can_skip: whether the model may take an
    attention that skips what the packing hides; only compiled and on a GPU does it gain.

    Shards are not compiled; under DeepSpeed, which would make the weights themselves bfloat16, products are in float32.
    """
    gpu = device == "cuda"
    compiled = operations > COMPILED_FROM[device] and not ranks.sharded()
    if compiled and not can_compile():
        log.info("it would pay to compile this training: that takes a C++ compiler and Python's headers (python3-dev)")
        compiled = False
    return Engine(
        mixed=gpu and not ranks.zero(),
        compiled=compiled,
        workers=WORKERS if gpu else 0,
        attention=SPARSE if gpu and compiled and can_skip else None,
    )
