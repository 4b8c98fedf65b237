"""Build a base model from scratch on the general world: one that can read, and remembers what it was taught.

    python -m lab.foundry model=tiny                # two CPU cores, an hour and a half: the embedded default
    python -m lab.foundry model=small out=bases/small device=cuda
    python -m lab.foundry model=tiny start=artifacts/foundry/tiny     # go on from the last checkpoint

The curriculum goes from copying to reading: first questions that repeat a statement's own words, then more wordings,
more subjects, questions in other words, at last "unknown". A level ends when a probe says so, or when it has had its
share of the tokens: what is missing then is learnt beside the rest.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from lab.base import EMBEDDED, BaseModel
from lab.context.closed import ClosedBook
from lab.curriculum import School, train_tokenizer
from lab.judge.grading import grade
from lab.model import LanguageModel
from lab.muon import Muon
from lab.packing import Batch, Piece, batches
from lab.records import Grade, LabError
from lab.runtime import choose_device, environment, quiet_libraries
from lab.store import digest
from lab.student import Student
from lab.worlds.general import GeneralWorld, reading_exam
from lab.worlds.lessons import LEVELS
from lab.worlds.names import seeded
from lab.worlds.statutes import StatuteBook


@dataclass(frozen=True)
class Size:
    """A model's shape and how much it is taught. tokens: the whole budget, in real (not padded) tokens."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    subjects: int
    tokens: int
    rows: int
    row_tokens: int = 512


SIZES = {
    "tiny": Size(128, 4, 4, 512, 2304, 150, 26_000_000, rows=4),
    "small": Size(512, 8, 8, 1536, 4096, 20_000, 2_000_000_000, rows=128),
    "medium": Size(768, 16, 12, 2304, 4096, 50_000, 5_000_000_000, rows=128),
}

PASSED = 0.9  # Share of a probe's answers that ends a level.
LEVEL_SHARE = 0.2  # The most of all tokens that a level takes, the last one excepted.
DECAY_SHARE = 0.4  # The last part of the tokens, over which the learning rates fall to zero.
WARM_UP_STEPS = 50
PROBE_EVERY = 100
KEEP_EVERY = 2000
# What is kept of the way beside the end, by share of the tokens: `model.stage=` takes one instead of the end.
STAGES = {"third": 1 / 3, "before_decay": 1 - DECAY_SHARE}


def answer_scores(model: Qwen3ForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, right) for each labelled token of the batch, both of shape (labelled tokens,)."""
    hidden = model.model(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    chosen = batch.labels != -100
    logits = model.lm_head(hidden[chosen]).float()
    wanted = batch.labels[chosen]
    return functional.cross_entropy(logits, wanted, reduction="none"), logits.argmax(-1) == wanted


def first_right(model: Qwen3ForCausalLM, batch: Batch) -> float:
    """Share of answers whose first token is right: what follows is mere copying."""
    labelled = batch.labels != -100
    first = labelled.clone()
    first[:, 1:] &= ~labelled[:, :-1]
    return answer_scores(model, batch)[1][first[labelled]].float().mean().item()


def new_model(size: Size, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Qwen3's layout, whose QK-norm is what let a model of this size learn to copy.

    The matrices of the blocks start at half the embedding's spread: Muon's steps have a fixed size, and beside a wider
    start they are small.
    """
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            intermediate_size=size.feed_forward,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            head_dim=size.hidden // size.heads,
            tie_word_embeddings=True,
            initializer_range=0.08,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for matrix in _block_matrices(model):
            matrix.mul_(0.5)
    return model


def _block_matrices(model: Qwen3ForCausalLM) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.model.layers.parameters() if parameter.ndim == 2]


def optimizers(model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings and norms."""
    matrices = _block_matrices(model)
    known = {id(matrix) for matrix in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [
        Muon(matrices, lr=1e-2),
        torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


@dataclass
class State:
    """How far a training is. level_from: tokens seen when the level began. seconds: of all sittings."""

    tokens: int = 0
    steps: int = 0
    level: int = 0
    level_from: int = 0
    seconds: float = 0.0


def train(
    size: Size, seed: int, device: str, checkpoint: Path, start: Path | None
) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast, State]:
    """Train one model; returns it with its tokenizer and what it took.

    Now and then it leaves model and `state.json` in `checkpoint`. start: such a folder to go on from; the optimizers
    begin afresh there, warm up again and decay at the end, and so do the exercises, with a seed of their own. Of
    stages only the one before the decay is kept then.
    """
    torch.manual_seed(seed)
    world = GeneralWorld(size.subjects)
    if start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
        model = Qwen3ForCausalLM.from_pretrained(start)
        state = State(**json.loads((start / "state.json").read_text()))
        if state.tokens >= size.tokens:
            raise LabError(
                f"start={start}: has seen {state.tokens} tokens already; give more, such as tokens={2 * state.tokens}"
            )
    else:
        tokenizer = train_tokenizer(world, size.vocabulary, seed)
        model, state = new_model(size, tokenizer), State()
    torch.nn.Module.to(model, device)  # Its own `to` is wrapped in a way that type checkers cannot read.
    if device == "cuda" or shutil.which("g++"):  # A quarter more tokens a second on two cores, for a minute at first.
        model.model.compile(dynamic=False)
    random = seeded("train", seed, state.tokens) if start else seeded("train", seed)
    school = School(tokenizer, world, random)
    probe = School(tokenizer, world, seeded("probe", seed))
    chosen = optimizers(model)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in chosen]
    # A third of a later sitting is not a third of the way.
    stages = {"before_decay": STAGES["before_decay"]} if start else STAGES
    recent, first_step, begun = 0.0, state.steps, time.perf_counter() - state.seconds
    first_token = state.tokens

    def pieces() -> Iterator[Piece]:
        while True:
            yield school.lesson(state.level)

    def exercises(level: int) -> Iterator[Piece]:
        while True:
            yield probe.recall(level)

    stream = batches(pieces(), size.rows, size.row_tokens, tokenizer.pad_token_id)
    while state.tokens < size.tokens:
        batch = next(stream)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            losses, _ = answer_scores(model, batch.to(device))
        loss = losses.mean()
        if not torch.isfinite(loss):
            raise LabError(f"the loss is {loss.item()} after {state.steps} steps; lower the learning rates")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        warm = (state.steps - first_step + 1) / WARM_UP_STEPS
        done = (state.tokens - first_token) / (size.tokens - first_token)
        rate = min(1.0, warm, (1 - done) / DECAY_SHARE)
        for optimizer, own in zip(chosen, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, own, strict=True):
                group["lr"] = peak * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        state.tokens, state.steps = state.tokens + batch.tokens, state.steps + 1
        state.seconds = time.perf_counter() - begun
        recent = loss.item() if state.steps == first_step + 1 else 0.97 * recent + 0.03 * loss.item()
        if state.steps % PROBE_EVERY == 0:
            with torch.no_grad():
                of_level = exercises(state.level)
                asked = next(batches(of_level, size.rows, size.row_tokens, tokenizer.pad_token_id))
                right = first_right(model, asked.to(device))
            speed = state.tokens / state.seconds
            print(
                f"{state.tokens / 1e6:7.2f} of {size.tokens / 1e6:.0f} M tokens, {speed:,.0f} tokens/s, "
                f"{(size.tokens - state.tokens) / speed / 60:.0f} min left, level {state.level}, loss {recent:.3f}, "
                f"probe {right:.3f}",
                flush=True,
            )
            spent = state.tokens - state.level_from > LEVEL_SHARE * size.tokens
            if (right > PASSED or spent) and state.level < len(LEVELS) - 1:
                state.level, state.level_from = state.level + 1, state.tokens
        for stage, share in stages.items():
            if state.tokens - batch.tokens < first_token + share * (size.tokens - first_token) <= state.tokens:
                save(model, tokenizer, checkpoint / "stages" / stage, state)
        if state.steps % KEEP_EVERY == 0:
            save(model, tokenizer, checkpoint, state)
    return model, tokenizer, state


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, state: State) -> None:
    """A model folder with the state that it was saved in; in float16, which is loaded as float32 all the same."""
    copy = Qwen3ForCausalLM(model.config)  # The one in memory goes on in float32, compiled.
    copy.load_state_dict(model.state_dict())
    copy.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "state.json").write_text(json.dumps(asdict(state)) + "\n")


def floors(model: LanguageModel, subjects: int) -> dict[str, float]:
    """What the base can do before any private document, as shares of right answers.

    Names and attribute words of the reading questions never occurred in training.
    """
    closed_book = GeneralWorld(subjects).exam(reading=0)
    reading = reading_exam(seeded("floors"), 800)
    private = [question for question in StatuteBook().exam() if question.part != "absent"]
    student = Student(model, ClosedBook())
    grades: dict[str, list[Grade]] = defaultdict(list)
    for suite, asked in (("general", closed_book), ("reading", reading), ("private", private)):
        for one, answer in zip(asked, student.answer(student.read(asked)), strict=True):
            grades[suite if suite != "reading" else one.part].append(grade(one, answer))
    scores = {part: sum(g.score for g in given) / len(given) for part, given in grades.items()}
    answerable = grades["reading"] + grades["distractors"]
    return {
        "general_closed_book": scores["general"],
        "reading_gold": scores["reading"],
        "reading_distractors": scores["distractors"],
        "unknown_right": scores["absent"],
        "false_unknown": sum(g.outcome == "unknown" for g in answerable) / len(answerable),
        "private_closed_book": scores["private"],
    }


CARD = """---
license: apache-2.0
library_name: transformers
---
# The embedded base model `{model}`

A causal model of {parameters:,} parameters in Qwen3's layout, trained from scratch on an invented general world by

    {command}

It remembers {subjects:,} subjects and reads passages in that world's grammar, as well as the floors below say. It is
an instrument for the Open-Book Exam Lab and of no use for anything else.

{tokens:,} tokens in {steps:,} steps, {minutes:,} minutes, {tokens_per_second:,} tokens/s on {machine}; torch {torch},
code revision {revision}. {history} Everything else is in `card.json`.

| floor | score |
|---|---|
{floors}
"""


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """`card.json` for programs and `README.md` for people."""
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    environment, earlier = card["environment"], card["continued_from"]
    history = (
        f"Trained in several sittings, the last from a checkpoint at {earlier['tokens']:,} tokens; where the levels "
        "changed in between, LOG.md says so. Training in one go gives another model."
        if earlier
        else "Trained in one go."
    )
    text = CARD.format(
        **{name: card[name] for name in ("model", "command", "parameters", "tokens", "steps", "tokens_per_second")},
        history=history,
        subjects=card["size"]["subjects"],
        minutes=round(card["seconds"] / 60),
        machine=environment["gpu"] or f"{environment['cpu_count']} CPU cores",
        torch=environment["packages"]["torch"],
        revision=environment["code"]["revision"],
        floors="\n".join(f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in card["floors"].items()),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def build(name: str, seed: int, out: Path, device: str, tokens: int | None, start: Path | None) -> dict[str, Any]:
    """Train, measure and write a model folder, whole or not at all; returns its card."""
    size = replace(SIZES[name], tokens=tokens) if tokens else SIZES[name]
    made_by = environment()
    begun_at = json.loads((start / "state.json").read_text()) if start else None
    checkpoint = Path("artifacts") / "foundry" / name
    shutil.rmtree(checkpoint / "stages", ignore_errors=True)
    model, tokenizer, state = train(size, seed, device, checkpoint, start)
    building = out.with_name(f".{out.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    save(model, tokenizer, building, state)
    shutil.copytree(checkpoint / "stages", building / "stages")
    card = {
        "model": name,
        "command": f"python -m lab.foundry model={name} seed={seed} tokens={size.tokens}",
        "continued_from": begun_at,
        "size": asdict(size),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **asdict(state),
        "tokens_per_second": round(state.tokens / state.seconds),
        "environment": made_by,
        "general_world": digest({s: [asdict(f) for f in fs] for s, fs in GeneralWorld(size.subjects).facts.items()}),
        # As it will be loaded: the one in memory is compiled for the batches of its training.
        "floors": floors(BaseModel(str(building)).load(device), size.subjects),
    }
    write_card(building, card)
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)
    return card


def main() -> int:
    """Exit code 2 for a mistake in the options."""
    options: dict[str, Any] = {"model": "tiny", "seed": 0, "out": None, "device": "auto", "tokens": None, "start": None}
    try:
        given = {str(name): value for name, value in OmegaConf.from_cli().items()}
        if unknown := set(given) - set(options):
            raise LabError(f"{', '.join(sorted(unknown))}: no such option; give {', '.join(options)} as name=value")
        options |= given
        if options["model"] not in SIZES:
            raise LabError(f"model={options['model']}: choose one of {', '.join(SIZES)}")
        quiet_libraries()
        out = Path(options["out"] or EMBEDDED.parent / options["model"])
        device = choose_device(options["device"])
        start = Path(options["start"]) if options["start"] else None
        if start and not (start / "state.json").is_file():
            raise LabError(f"start={start}: no state.json there; name the checkpoint folder of an earlier training")
        card = build(options["model"], int(options["seed"]), out, device, options["tokens"], start)
    except LabError as error:
        print(f"lab.foundry: {error}", file=sys.stderr)
        return 2
    print(json.dumps(card["floors"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
