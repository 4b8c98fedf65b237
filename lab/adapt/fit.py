"""The one way to train that every adaptation shares: packed rows, transformers.Trainer, a schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from lab.adapt.watch import Watch
from lab.flops import Counter, Flops, matrices
from lab.packing import Piece, pack, rows
from lab.records import LabError
from lab.runtime import seed_everything
from lab.store import JSON
from lab.workspace import Workspace

STABLE_DECAY_SHARE = 0.2  # The last part of a warmup-stable-decay's steps, over which the rate falls.
KEPT_STEPS = 64  # Enough for both moments: 0.95^64 is 0.04, 0.9^64 a thousandth.
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

    def arguments(self, steps: int) -> dict[str, Any]:
        """The schedule over so many steps, in the Trainer's words."""
        warm = math.ceil(self.warmup_share * steps)
        if self.schedule == "constant_from_end":
            return {"lr_scheduler_type": "constant"}
        if self.schedule == "warmup_stable_decay":
            falling = {"num_decay_steps": math.ceil(STABLE_DECAY_SHARE * steps), "decay_type": "linear"}
            return {"lr_scheduler_type": self.schedule, "warmup_steps": warm, "lr_scheduler_kwargs": falling}
        return {"lr_scheduler_type": "cosine", "warmup_steps": warm}


def fit(
    model: Any,
    tokenizer: Any,
    packed: list[list[Piece]],
    recipe: Recipe,
    watch: Watch,
    before: Iterator[Piece] | None,
    workspace: Workspace,
) -> dict[str, JSON]:
    """Train on all rows once, in their order. before: text whose gradients fill the optimizer's moments first.

    Returns padded_tokens, flops and flops_formula, all of it. LabError where the loss is no number any more.
    """
    steps = math.ceil(len(packed) / recipe.device_rows)
    seen = [0, *accumulate(sum(map(len, row)) for row in packed)]
    by_step = [seen[min(step * recipe.device_rows, len(packed))] for step in range(steps + 1)]

    def collate(batch: list[list[Piece]]) -> dict[str, torch.Tensor]:
        return inputs(model, batch, recipe.row_tokens, tokenizer.pad_token_id)

    with TemporaryDirectory() as unused, workspace.progress.step("training", seen[-1], "tokens") as advance:
        arguments = TrainingArguments(
            output_dir=unused,
            per_device_train_batch_size=recipe.device_rows,
            num_train_epochs=1,
            train_sampling_strategy="sequential",  # The mixture's order is the order.
            learning_rate=recipe.learning_rate,
            **recipe.arguments(steps),
            weight_decay=0.0,
            adam_beta2=0.95,
            save_strategy="no",
            remove_unused_columns=False,
            label_names=["labels"],
            seed=workspace.seed,
            use_cpu=workspace.device == "cpu",
            bf16=workspace.device == "cuda",
            dataloader_pin_memory=workspace.device == "cuda",
            disable_tqdm=True,
            **workspace.reporting,
        )
        trainer: _FiniteTrainer = _FiniteTrainer(
            model=model,
            args=arguments,
            train_dataset=packed,  # A list is a map-style data set.
            data_collator=collate,
            callbacks=[_Looks(watch, by_step, recipe.evaluations, advance, lambda look: trainer.report(look))],
        )
        trainer.remove_callback(PrinterCallback)
        seed_everything(workspace.seed)
        gathered = 0
        if before is not None:
            gathered = KEPT_STEPS * recipe.device_rows
            packed_before = islice(rows(before, recipe.row_tokens), gathered)
            batches = (collate(batch) for batch in iter(lambda: list(islice(packed_before, recipe.device_rows)), []))
            _gather_moments(trainer, model, batches)
        trainer.train()
        counted = packed[: recipe.device_rows]
        flops = _step_flops(trainer, model, collate(counted)).times((len(packed) + gathered) / len(counted))
    return {"padded_tokens": len(packed) * recipe.row_tokens - seen[-1], **flops.cost()}


def inputs(model: Any, batch: list[list[Piece]], row_tokens: int, pad: int) -> dict[str, torch.Tensor]:
    """A batch of packed rows as the model's forward takes it, whichever attention it has."""
    made = pack(batch, row_tokens, pad)
    # Models shift labels themselves; these stand one place early.
    labels = made.labels.roll(1, dims=1)
    labels[:, 0] = -100
    mask = made.mask
    if model.config._attn_implementation == "eager":
        # The one implementation that adds a mask to its scores: as 1 and 0, true and false would hide nothing.
        mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    return {"input_ids": made.ids, "position_ids": made.positions, "attention_mask": mask, "labels": labels}


def _step_flops(trainer: Trainer, model: Any, batch: dict[str, torch.Tensor]) -> Flops:
    """Of one more step's gradients, once all is trained: under the counter some operators round otherwise."""
    with Counter() as counter:
        trainer.training_step(model, batch)
    model.zero_grad()
    return counter.flops(matrices(model).training(batch["input_ids"].numel()))


def _gather_moments(trainer: Trainer, model: Any, batches: Iterator[dict[str, torch.Tensor]]) -> None:
    """Steps at rate zero: AdamW's moments become those of this text at these weights, and no weight moves."""
    optimizer = trainer.create_optimizer()
    peaks = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    model.train()
    for batch in batches:
        model(**{name: value.to(trainer.args.device) for name, value in batch.items()}).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), trainer.args.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak


class _FiniteTrainer(Trainer):
    """Stops where the loss is no number: every later step would only spread it."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if bool((inputs["labels"] == -100).all()):
            # The budget's last piece may be cut before its first answer; the mean over no token is no number.
            return model(**inputs).logits.sum() * 0.0
        loss: Any = super().compute_loss(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss):
            raise LabError(
                f"the training loss is {loss.item()} after {self.state.global_step} steps; nothing was kept: lower the "
                "learning rate (training.learning_rate)"
            )
        return loss

    def report(self, look: dict[str, Any]) -> None:
        """Log a look beside the step's own loss, which logging anything takes for logged."""
        due = self.control.should_log
        self.log(look)
        self.control.should_log = due


class _Looks(TrainerCallback):
    """Has the way looked at before the first step and at evenly spaced ones, the last among them."""

    def __init__(self, watch: Watch, tokens: list[int], evaluations: int, advance: Any, report: Any) -> None:
        steps = len(tokens) - 1
        self._watch = watch
        self._tokens = tokens  # Seen after so many steps.
        self._at = {math.ceil(steps * number / evaluations) for number in range(evaluations + 1)}
        self._advance = advance
        self._report = report

    def _look(self, step: int, model: Any) -> None:
        if step in self._at:
            self._watch.look(model, self._tokens[step], self._advance)
            self._report({f"eval_{name}": seen for name, seen in self._watch.rows[-1].items() if seen is not None})

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._look(0, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._advance(self._tokens[state.global_step] - self._tokens[state.global_step - 1])
        self._look(state.global_step, model)
