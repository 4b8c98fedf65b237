"""The one way to train that every adaptation shares: packed rows, transformers.Trainer, a schedule."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch._dynamo.exc import TorchDynamoException
from transformers import Trainer

from lab.adapt.engine import choose
from lab.adapt.recipe import Recipe
from lab.adapt.watch import Watch
from lab.adapt.way import Way
from lab.attention import as_it_is, attending, can_skip, computed_share
from lab.flops import Counter, Flops, matrices
from lab.loss import labelled_only
from lab.packing import Piece, pack
from lab.records import LabError
from lab.runtime import seed_everything
from lab.states import States
from lab.stopping import deferred
from lab.store import JSON
from lab.workspace import Workspace

log = logging.getLogger(__name__)

EVEN = 8  # Tokens; tensor cores take bfloat16 in eights.


def fit(
    model: Any,
    tokenizer: Any,
    packed: Sequence[list[Piece]],
    recipe: Recipe,
    watch: Watch,
    before: Sequence[list[Piece]],
    states: States,
    workspace: Workspace,
) -> dict[str, JSON]:
    """Train on all rows once, in their order, from the newest of the states on if there is one.

    before: rows whose gradients fill the optimizer's moments first. A batch that does not fit the memory is taken in
    smaller parts whose gradients are summed. Returns padded_tokens, flops and flops_formula, all of it, and where the
    training went on from a state what had been used before that (`earlier`). LabError where the loss is no number any
    more; KeyboardInterrupt after a step that was under way when it came.
    """
    way = Way(model, packed, recipe, watch, states, workspace)
    real = way.seen[-1]
    engine = choose(workspace.device, matrices(model).training(real, real), can_skip(model, recipe.row_tokens))
    log.info("training on %s: %s", workspace.device, engine)
    width = recipe.row_tokens if engine.compiled else None

    def collate(batch: list[list[Piece]]) -> dict[str, torch.Tensor]:
        return inputs(batch, tokenizer.pad_token_id, width)

    example = {"input_ids": collate([packed[0]])["input_ids"].to(model.device)}
    shown = workspace.progress.step("training", real, "tokens")
    attends, taught = attending(model, engine.attention), labelled_only(model, example, engine.compiled)
    with TemporaryDirectory() as unused, shown as advance, deferred() as stop, taught, attends:
        way.begin(advance, stop)
        seed_everything(workspace.seed)
        while True:
            trainer = way.trainer(collate, unused, engine)
            try:
                if before and way.done == 0:
                    _gather_moments(trainer, model, map(collate, _batches(iter(before), recipe.device_rows)))
                if not way.finished:  # It may have been killed after its last step.
                    trainer.train()
                    trainer.check()
                break
            except TorchDynamoException as error:
                why = " ".join(str(error).split())[:300]
                raise LabError(
                    f"this training cannot be compiled here ({why}); mend the compiler, or train without it "
                    "(TORCH_COMPILE_DISABLE=1)"
                ) from error
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                way.halve(trainer, error)
        first = list(islice(packed, way.at_once))
        flops = _step_flops(model, collate(first))
    taken = sum(len(batch) * (width or _width(batch)) for batch in _batches(iter(packed), way.at_once))
    taken += -len(packed) % recipe.device_rows * (width or 0)  # What is compiled is filled up to whole steps.
    counted = len(first) * (width or _width(first))
    flops = flops.times(taken / counted * (1 + len(before) / len(packed)))
    earlier: dict[str, JSON] = {"earlier": way.earlier} if way.earlier else {}
    return {"padded_tokens": taken - real, **flops.cost(), **earlier}


def inputs(batch: list[list[Piece]], pad: int, width: int | None = None) -> dict[str, torch.Tensor]:
    """A batch of packed rows, as a model that is taught by `lab.loss.labelled_only` takes it. width: of the rows, None
    as their fullest needs.
    """
    made = pack(batch, width or _width(batch), pad)
    # Models shift labels themselves; these stand one place early.
    labels = made.labels.roll(1, dims=1)
    labels[:, 0] = -100
    return {
        "input_ids": made.ids, "position_ids": made.positions, "piece": made.piece, "branch": made.branch,
        "labels": labels,
    }  # fmt: skip


def _width(batch: list[list[Piece]]) -> int:
    """Of a batch of rows in tokens: its fullest row, and on to where matrix units like it. No row needs more."""
    return max(1, -(-max(sum(map(len, row)) for row in batch) // EVEN)) * EVEN


def _step_flops(model: Any, batch: dict[str, torch.Tensor]) -> Flops:
    """Of one more step's gradients, once all is trained: under the counter some operators round otherwise."""
    model.train()
    given = {name: value.to(model.device) for name, value in batch.items()}
    computed = computed_share(model, given["piece"], given["branch"])
    mixed = torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda")
    with Counter() as counter, mixed, as_it_is(model):  # What is compiled is not counted.
        model(**given).loss.backward()
    model.zero_grad()
    predicted = int((batch["labels"] != -100).sum())
    counted = counter.flops(matrices(model).training(batch["input_ids"].numel(), predicted))
    return counted.attending(computed)


def _batches(packed: Iterator[list[Piece]], size: int) -> Iterator[list[list[Piece]]]:
    return iter(lambda: list(islice(packed, size)), [])


def _gather_moments(trainer: Trainer, model: Any, batches: Iterable[dict[str, torch.Tensor]]) -> None:
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
