"""What of a training's settings the way through it depends on, and its schedule in the Trainer's words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

STABLE_DECAY_SHARE = 0.2  # The last part of a warmup-stable-decay's steps, over which the rate falls.
SCHEDULES = ("rewarm_cosine", "constant_from_end", "warmup_stable_decay")


@dataclass(frozen=True)
class Recipe:
    """How to train; see `lab.adapt.training.Training`."""

    learning_rate: float
    schedule: str
    warmup_share: float
    device_rows: int
    row_tokens: int
    evaluations: int
    checkpoint_seconds: float

    def arguments(self, steps: int) -> dict[str, Any]:
        """The schedule over so many steps, in the Trainer's words."""
        warm = math.ceil(self.warmup_share * steps)
        if self.schedule == "constant_from_end":
            return {"lr_scheduler_type": "constant"}
        if self.schedule == "warmup_stable_decay":
            falling = {"num_decay_steps": math.ceil(STABLE_DECAY_SHARE * steps), "decay_type": "linear"}
            return {"lr_scheduler_type": self.schedule, "warmup_steps": warm, "lr_scheduler_kwargs": falling}
        return {"lr_scheduler_type": "cosine", "warmup_steps": warm}
