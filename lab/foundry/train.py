"""Train a base model on lessons made as it goes; a killed training goes on from its newest whole state."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from lab.adapt.checkpoint import learning, moments, restore_moments, restore_weights, save_moments, save_weights
from lab.attention import can_compile, compile_layers
from lab.curriculum import train_tokenizer
from lab.foundry.lessons import Lessons, loaded, probe_batch
from lab.foundry.model import Size, answer_scores, first_right, new_model, optimizers
from lab.packing import Batch
from lab.records import LabError
from lab.states import States
from lab.stopping import deferred
from lab.store import JSON
from lab.worlds.general import GeneralWorld
from lab.worlds.lessons import LEVELS

PASSED = 0.9  # Share of a probe's answers that ends a level.
LEVEL_SHARE = 0.2  # The most of all tokens that a level takes, the last one excepted.
DECAY_SHARE = 0.4  # The last part of the tokens, over which the learning rates fall to zero.
WARM_UP_STEPS = 50
KEEP_SECONDS = 60.0
# What is kept of the way beside the end, by share of the tokens: `model.stage=` takes one instead of the end.
STAGES = {"third": 1 / 3, "before_decay": 1 - DECAY_SHARE}


@dataclass
class Reached:
    """How far a training is. level_from: tokens seen when the level began. seconds: of all sittings."""

    tokens: int = 0
    steps: int = 0
    level: int = 0
    level_from: int = 0
    seconds: float = 0.0
    loss: float = 0.0


def train(
    size: Size, seed: int, device: str, states: States, stages: Path
) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast, Reached]:
    """Train one model, from the newest of the states on if there is one; with its tokenizer and what it took.

    stages: a folder for what is kept of the way. LabError where the loss is no number any more; KeyboardInterrupt after
    a step that was under way when it came, with its state kept.
    """
    torch.manual_seed(seed)
    world = GeneralWorld(size.subjects)
    tokenizer = train_tokenizer(world, size.vocabulary, seed)
    model, reached = new_model(size, tokenizer), Reached()
    torch.nn.Module.to(model, device)  # Its own `to` is wrapped in a way that type checkers cannot read.
    chosen = optimizers(model)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in chosen]
    if state := states.newest():
        restore_weights(state.path, model)
        for number, optimizer in enumerate(chosen):
            restore_moments(state.path, optimizer, str(number))
        reached = Reached(**state.noted["reached"])
        print(f"goes on after {reached.tokens:,} tokens, kept in {state.path}", flush=True)
    if can_compile():
        compile_layers(model.model)
    begun = time.perf_counter() - reached.seconds
    saved = time.perf_counter()

    def keep(folder: Path) -> Mapping[str, JSON]:
        save_weights(folder, learning(model))
        for number, optimizer in enumerate(chosen):
            save_moments(folder, moments(optimizer), str(number))
        return {"reached": asdict(reached)}

    with deferred() as stop:
        while reached.tokens < size.tokens:
            done = reached.steps % size.probe_every
            segment = range(reached.steps - done, reached.steps - done + size.probe_every)
            for batch in loaded(Lessons(tokenizer, world, size, seed, reached.level, segment, done), device):
                _set_rates(chosen, peaks, size, reached)
                loss = _step(model, batch.to(device), chosen, device, reached.steps)
                before = reached.tokens
                reached.tokens, reached.steps = before + batch.tokens, reached.steps + 1
                reached.seconds = time.perf_counter() - begun
                reached.loss = loss if reached.steps == 1 else 0.97 * reached.loss + 0.03 * loss
                for stage, share in STAGES.items():
                    if before < share * size.tokens <= reached.tokens:
                        save(model, tokenizer, stages / stage, reached)
                if reached.steps % size.probe_every == 0:
                    asked = probe_batch(tokenizer, world, size, seed, reached.level, reached.steps)
                    _end_level(model, asked.to(device), size, reached)
                if stop.asked or time.perf_counter() - saved > KEEP_SECONDS:
                    states.save(reached.steps, keep)
                    saved = time.perf_counter()
                if stop.asked:
                    stop.now()
                if reached.tokens >= size.tokens:
                    break
    return model, tokenizer, reached


def _set_rates(chosen: list[torch.optim.Optimizer], peaks: list[list[float]], size: Size, reached: Reached) -> None:
    rate = min(1.0, (reached.steps + 1) / WARM_UP_STEPS, (1 - reached.tokens / size.tokens) / DECAY_SHARE)
    for optimizer, own in zip(chosen, peaks, strict=True):
        for group, peak in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = peak * rate


def _step(model: Qwen3ForCausalLM, batch: Batch, chosen: list[torch.optim.Optimizer], device: str, steps: int) -> float:
    """One step of all optimizers, at the rates that they have; returns the loss."""
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        loss = answer_scores(model, batch)[0].mean()
    value = loss.item()
    if not math.isfinite(value):
        raise LabError(f"the loss is {value} after {steps} steps; lower the learning rates")
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in chosen:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return value


def _end_level(model: Qwen3ForCausalLM, asked: Batch, size: Size, reached: Reached) -> None:
    """Tell how far the training is, and go on to the next level where the probe is passed or the share is spent."""
    with torch.no_grad():
        right = first_right(model, asked)
    speed = reached.tokens / reached.seconds
    print(
        f"{reached.tokens / 1e6:7.2f} of {size.tokens / 1e6:.0f} M tokens, {speed:,.0f} tokens/s, "
        f"{(size.tokens - reached.tokens) / speed / 60:.0f} min left, level {reached.level}, loss {reached.loss:.3f}, "
        f"probe {right:.3f}",
        flush=True,
    )
    spent = reached.tokens - reached.level_from > LEVEL_SHARE * size.tokens
    if (right > PASSED or spent) and reached.level < len(LEVELS) - 1:
        reached.level, reached.level_from = reached.level + 1, reached.tokens


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, reached: Reached) -> None:
    """A model folder with how far it was; in float16, which is loaded as float32 all the same."""
    copy = Qwen3ForCausalLM(model.config)  # The one in memory goes on in float32, compiled.
    copy.load_state_dict(model.state_dict())
    copy.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "state.json").write_text(json.dumps(asdict(reached)) + "\n")
