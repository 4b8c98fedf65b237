"""How far a training is: what a killed one goes on from, and what does not fit the memory at once."""

from __future__ import annotations

import logging
import math
import time
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from accelerate.utils.memory import clear_device_cache
from torch.utils.data import Dataset, Subset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from lab import ranks
from lab.adapt.checkpoint import finite, learning, moments, restore_chance, restore_moments, restore_weights, write
from lab.adapt.engine import Engine
from lab.adapt.recipe import Recipe
from lab.adapt.watch import Watch
from lab.attention import as_it_is
from lab.meter import plus, read, used_since
from lab.packing import Piece
from lab.records import DivergedError, LabError, MemoryFullError
from lab.states import State, States
from lab.stopping import Stop
from lab.store import JSON
from lab.workspace import Workspace

log = logging.getLogger(__name__)

SAVING_SHARE = 20  # A state is written once so many times as long as writing one takes has passed.


class Way:
    """How far a training is, and what it goes on from: after a kill a state, after a full memory itself.

    done: steps. at_once: rows that one process takes through the model at a time. seen: tokens after so many rows.
    earlier: what processes before this one had used.
    """

    def __init__(
        self,
        model: Any,
        packed: Sequence[list[Piece]],
        recipe: Recipe,
        watch: Watch,
        states: States,
        workspace: Workspace,
    ) -> None:
        self._model, self._packed, self._recipe = model, packed, recipe
        self._watch, self._states, self._workspace = watch, states, workspace
        self.steps = math.ceil(len(packed) / recipe.device_rows)
        self.seen = array("q", accumulate((sum(map(len, row)) for row in packed), initial=0))
        self.done, self.at_once = 0, recipe.device_rows // (ranks.count() * ranks.parts())
        if self.at_once * ranks.count() * ranks.parts() != recipe.device_rows:
            raise LabError(
                f"training.device_rows={recipe.device_rows}: {ranks.count()} processes share the rows of a step, in "
                f"{ranks.parts()} part(s) each; give a multiple"
            )
        self._recomputing = False
        self.stepping = False  # Whether the weights are being changed: nobody can tell which of them have been.
        self.earlier: dict[str, Any] = {}
        self._state: State | None = None
        self._memory: tuple[Any, Any] | None = None
        self._start = read()
        self._saved, self._save_seconds = time.perf_counter(), 0.0
        # Looks at evenly spaced steps, the first and the last among them.
        looks = recipe.evaluations
        self._looks = {math.ceil(self.steps * number / looks) for number in range(looks + 1)}

    def begin(self, advance: Callable[..., None], stop: Stop) -> None:
        """Take the newest state up, where there is one."""
        self._advance, self._stop = advance, stop
        if ranks.zero():
            log.warning("DeepSpeed splits moments in a way of its own: nothing is kept of this training before its end")
            return
        self._state = self._states.newest()
        if self._state is None:
            return
        noted = self._state.noted
        self.done, self.earlier = self._state.step, noted["used"]
        restore_weights(self._state.path, self._model)
        hidden = self._workspace.others(noted["measured_on"])
        self._watch.rows = [{**row, **hidden} for row in noted["losses"]]
        self._watch.seconds = noted["watching_seconds"]
        self._advance(self._tokens(self.done))
        log.info("training goes on after step %d of %d, kept in %s", self.done, self.steps, self._state.path)

    @property
    def finished(self) -> bool:
        """Whether no row is left."""
        return self.done == self.steps

    def trainer(self, collate: Callable[..., Any], unused: str, engine: Engine) -> _Trainer:
        """A trainer of the rows that are left, with the whole schedule. unused: a folder, which it asks for."""
        recipe, workspace = self._recipe, self._workspace
        on_cpu = workspace.device == "cpu"
        trainer = _Trainer(
            self,
            model=self._model,
            args=TrainingArguments(
                output_dir=unused,
                per_device_train_batch_size=self.at_once,
                gradient_accumulation_steps=recipe.device_rows // (self.at_once * ranks.count()),
                num_train_epochs=1,
                train_sampling_strategy="sequential",  # The mixture's order is the order.
                learning_rate=recipe.learning_rate,
                **recipe.arguments(self.steps),
                weight_decay=0.0,
                adam_beta2=0.95,
                save_strategy="no",
                remove_unused_columns=False,
                label_names=["labels"],
                seed=workspace.seed,
                use_cpu=on_cpu and not ranks.zero(),  # As in `ranks.join`.
                ddp_backend="gloo" if on_cpu and ranks.zero() else None,
                **engine.arguments(),
                ddp_find_unused_parameters=False,
                dataloader_pin_memory=workspace.device == "cuda",
                logging_nan_inf_filter=False,  # It would wait for every loss; such a loss ends the training.
                disable_tqdm=True,
                **workspace.reporting,
            ),
            train_dataset=self._left(engine),
            data_collator=collate,
            callbacks=[_Steps(self)],
        )
        trainer.remove_callback(PrinterCallback)
        self._report = trainer.report
        return trainer

    def _left(self, engine: Engine) -> Dataset[list[Piece]]:
        """The rows that are left. The last step is filled up with rows of nothing, which no loss counts: of several
        processes each is given as many, or the first rows would be taken again; what is compiled is so for one shape.
        """
        packed: Any = self._packed  # What has a length and items is a map-style data set.
        left = Subset(packed, range(self.done * self._recipe.device_rows, len(packed)))
        filled_up = ranks.count() > 1 or engine.compiled
        nothing: Any = [[]] * (-len(left) % self._recipe.device_rows if filled_up else 0)
        return left + nothing

    def fill(self, optimizer: Any, scheduler: Any = None) -> None:
        """Give a fresh optimizer, or the schedule over it, what the steps that are done had made of them."""
        if self._memory is not None:
            kept = self._memory[1]
            if scheduler is None:
                optimizer.load_state_dict(self._memory[0])
        elif self._state is not None:
            kept = self._state.noted["schedule"]
            if scheduler is None:
                restore_moments(self._state.path, optimizer)
        else:
            return
        if scheduler is not None:
            scheduler.load_state_dict(kept)
            for group, rate in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
                group["lr"] = rate

    def halve(self, trainer: Trainer, error: Exception) -> None:
        """Take a step's rows in smaller parts from now on; one row a part, make its inner results again for the
        gradient instead of keeping them. MemoryFullError where that cannot help either.
        """
        smaller = [rows for rows in range(1, self.at_once // 2 + 1) if self._recipe.device_rows % rows == 0]
        alone = ranks.count() == 1  # Else the others are in the midst of a step, and wait for this one's share.
        if self.stepping or not alone or not (smaller or self._can_recompute()):
            mend = "take another device, or train less of the weights"
            if not alone:
                mend = "give accelerate launch more --gradient_accumulation_steps, or " + mend
            raise MemoryFullError(
                f"the memory of {self._workspace.device} is too small to train this model with rows of "
                f"{self._recipe.row_tokens} tokens; {mend}"
            ) from error
        if smaller:
            self.at_once = smaller[-1]
        else:
            self._recomputing = True
            self._model.gradient_checkpointing_enable({"use_reentrant": False})
        if self.done and trainer.optimizer is not None and trainer.lr_scheduler is not None:
            self._memory = trainer.optimizer.state_dict(), trainer.lr_scheduler.state_dict()
        self._model.zero_grad()
        clear_device_cache(garbage_collection=True)
        times = self._recipe.device_rows // self.at_once
        made = "" if smaller else ", and inner results made twice"
        log.warning("a step does not fit the memory; taken as %d times %d rows%s", times, self.at_once, made)

    def _can_recompute(self) -> bool:
        return self._model.supports_gradient_checkpointing and not self._recomputing

    def begin_step(self) -> None:
        """Before each step: after a kill the first one draws what it would have drawn."""
        if self._state is not None and self._memory is None and self.done == self._state.step:
            restore_chance(self._state.noted["chance"])

    def end_step(self, optimizer: Any, scheduler: Any) -> None:
        """After each step: it is shown, looked at, and kept when it is time or somebody asked to stop."""
        self.done += 1
        self._advance(self._tokens(self.done) - self._tokens(self.done - 1))
        self.look()
        due = max(self._recipe.checkpoint_seconds, SAVING_SHARE * self._save_seconds)
        asked, time_to_save = ranks.agreed(self._stop.asked, time.perf_counter() - self._saved > due)
        if (asked or time_to_save) and not ranks.zero():
            self._save(optimizer, scheduler)
        if asked:
            ranks.told(None)  # Whose process ends first has the launcher end the others: by then the state is whole.
            self._stop.asked = asked
            self._stop.now()

    def look(self) -> None:
        """Measure the model if it is time to and it has not been done."""
        tokens, rows = self._tokens(self.done), self._watch.rows
        if self.done in self._looks and (not rows or rows[-1]["tokens"] != tokens):
            with as_it_is(self._model):  # Else every length would be compiled.
                self._watch.look(self._model, tokens, self._advance)
            self._report({f"eval_{name}": seen for name, seen in self._watch.rows[-1].items() if seen is not None})

    def lost(self) -> str:
        """What is left of a training whose loss is no number any more."""
        newest = self._states.newest()
        return f"the weights after {newest.step} steps are kept in {newest.path}" if newest else "nothing was kept"

    def _save(self, optimizer: Any, scheduler: Any) -> None:
        began = time.perf_counter()
        weights, of_optimizer = learning(self._model), moments(optimizer)  # Every rank gives its shards.
        if ranks.rank() or not finite(weights):
            return  # The next step will say so; until then the state before is the good one.
        used = used_since(self._start)
        noted: dict[str, JSON] = {
            "used": plus(used, self.earlier) if self.earlier else used,
            "losses": self._watch.rows,
            "watching_seconds": self._watch.seconds,
            "measured_on": self._workspace.measured_on,
        }
        self._states.save(self.done, lambda folder: {**write(folder, weights, of_optimizer, scheduler), **noted})
        self._saved = time.perf_counter()
        self._save_seconds = self._saved - began

    def _tokens(self, step: int) -> int:
        return self.seen[min(step * self._recipe.device_rows, len(self._packed))]


class _Trainer(Trainer):
    """Goes on with what `way` has, and stops where the loss is no number: every later step would only spread it."""

    def __init__(self, way: Way, **settings: Any) -> None:
        self._way = way
        self._newest: tuple[torch.Tensor, int] | None = None  # The last loss, and the steps before it.
        super().__init__(**settings)

    def create_accelerator_and_postprocess(self) -> None:
        if ranks.sharded() and self.args.use_cpu:
            # What accelerate does with shards runs anywhere, but it makes them for GPUs only.
            PartialState().distributed_type = DistributedType.MULTI_GPU
        super().create_accelerator_and_postprocess()

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        fresh = self.lr_scheduler is None
        if fresh:
            self._way.fill(self.optimizer)  # No earlier: the weights in it may have been replaced by their shards.
        scheduler = super().create_scheduler(self._way.steps, optimizer)
        if fresh:
            self._way.fill(self.optimizer, scheduler)
        return scheduler

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss: Any = super().compute_loss(model, inputs, *args, **kwargs)
        before, self._newest = self._newest, (loss.detach(), self._way.done)
        # A GPU is asked a step later, when it has the answer: else it would wait for the next step to be told.
        self.check(self._newest if loss.device.type == "cpu" else before)
        return loss

    def check(self, asked: tuple[torch.Tensor, int] | None = None) -> None:
        """DivergedError where a loss is no number, by default the last one."""
        loss, steps = asked or self._newest or (torch.zeros(()), 0)
        if not torch.isfinite(loss):
            raise DivergedError(
                f"the training loss is {loss.item()} after {steps} steps; {self._way.lost()}: lower the learning rate "
                "(training.learning_rate)"
            )

    def report(self, look: dict[str, Any]) -> None:
        """Log a look beside the step's own loss, which logging anything takes for logged."""
        due = self.control.should_log
        self.log(look)
        self.control.should_log = due


class _Steps(TrainerCallback):
    """Tells the way of every step."""

    def __init__(self, way: Way) -> None:
        self._way = way

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._way.look()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._way.begin_step()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._way.stepping = True

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._way.stepping = False

    def on_step_end(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, lr_scheduler: Any = None, **kwargs: Any
    ) -> None:
        self._way.end_step(optimizer, lr_scheduler)
