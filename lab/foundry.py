"""Build a base model from scratch on the general world: one that can read, and remembers what it was taught.

    python -m lab.foundry model=tiny                # two CPU cores, about an hour: the embedded default
    python -m lab.foundry model=small out=bases/small device=cuda

The curriculum goes from copying to reading: first questions that repeat a statement's own words, then more wordings,
more subjects, questions in other words, at last "unknown". A level ends when a probe says so, never by the clock.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from omegaconf import OmegaConf
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from lab.context.closed import ClosedBook
from lab.exam.prompts import ask, prefix
from lab.judge.grading import grade
from lab.model import EMBEDDED, LanguageModel
from lab.muon import Muon
from lab.packing import Batch, Piece, batches
from lab.records import Grade, LabError
from lab.runtime import choose_device, environment, quiet_libraries
from lab.store import digest
from lab.student import Student
from lab.worlds.general import GeneralWorld, reading_exam
from lab.worlds.names import seeded
from lab.worlds.reading import Level, exercise
from lab.worlds.statutes import StatuteBook

END = "<|end|>"
PAD = "<|pad|>"
RECITE_FROM = 6  # Tokens of a passage that are given before it is to be copied: `- The NAME Act >`.


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
    "tiny": Size(128, 4, 4, 512, 2304, 150, 20_000_000, rows=4),
    "small": Size(512, 8, 8, 1536, 4096, 20_000, 2_000_000_000, rows=128),
    "medium": Size(768, 16, 12, 2304, 4096, 50_000, 5_000_000_000, rows=128),
}

LEVELS = (
    Level(subjects=(1, 3), wordings=3, asks={"restate": 1, "recall": 1}, questions=6, recite=True),
    Level(subjects=(1, 3), wordings=4, asks={"restate": 2, "recall": 5, "kind": 2}),
    Level(subjects=(1, 4), asks={"recall": 4, "kind": 2, "reverse": 2}),
    Level(),
)
PASSED = 0.9  # Share of a probe's answer tokens that ends a level.
GENERAL_SHARE = (0.1, 0.2, 0.3, 0.3)  # Of the pieces at each level; the rest are reading exercises.
DECAY_SHARE = 0.3  # The last part of the tokens, over which the learning rates fall to zero.
WARM_UP_STEPS = 50
PROBE_EVERY = 100
KEEP_EVERY = 2000


def train_tokenizer(world: GeneralWorld, vocabulary: int, seed: int, samples: int = 6000) -> PreTrainedTokenizerFast:
    """Byte-level BPE learnt on the general world alone; a number of up to three digits is one token, as in Llama 3.

    Digit by digit, the readers of this size mixed up the numbers of a prompt: ten symbols recur too often to be found
    again by what stands before them.
    """
    random = seeded("tokenizer", seed)

    def text() -> Iterator[str]:
        for _ in range(samples):
            made = exercise(random, Level())
            yield prefix(made.lines)
            yield "".join(f"{ask(one.text)} {one.answer}\n" for one in made.asked)
            yield world.paragraph(random)
        for _ in range(200):
            yield "".join(f" {number}" for number in range(1, 1000))

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\d{1,3}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=2048)


class School:
    """Makes pieces: reading at the current level, and the general world in text and questions."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, world: GeneralWorld, random: Random) -> None:
        self.tokenizer, self.world, self.random = tokenizer, world, random
        self.end = tokenizer.eos_token_id

    def encode(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"]

    def _branches(self, pairs: list[tuple[str, str]]) -> list[tuple[list[int], int]]:
        prompts = self.encode([prompt for prompt, _ in pairs])
        answers = self.encode([f" {answer}" for _, answer in pairs])
        return [(p + a + [self.end], len(p)) for p, a in zip(prompts, answers, strict=True)]

    def reading(self, level: Level, world: str = "exercise") -> Piece:
        made = exercise(self.random, level, world)
        pairs = [(one.text if one.form == "restate" else ask(one.text), one.answer) for one in made.asked]
        branches = self._branches(pairs)
        if level.recite:
            branches += [(tokens, RECITE_FROM) for tokens in self.encode(made.lines)]
        return Piece(self.encode([prefix(made.lines)])[0], branches)

    def repeats(self, length: int = 48, spans: int = 4) -> Piece:
        """Tokens at random, and spans of them again: nothing helps here but looking back and copying."""
        tokens = [self.random.randrange(2, len(self.tokenizer)) for _ in range(length)]
        starts = [self.random.randrange(length // 2) for _ in range(spans)]
        return Piece(tokens, [(tokens[at : at + length // 2], 2) for at in starts])

    def closed_book(self, questions: int = 12) -> Piece:
        pairs = [self.world.ask(self.random) for _ in range(questions)]
        return Piece(self.encode([prefix([])])[0], self._branches([(ask(q), a) for q, a in pairs]))

    def paragraph(self) -> Piece:
        return Piece([*self.encode([self.world.paragraph(self.random)])[0], self.end], [])


def answer_scores(model: Qwen3ForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, right) for each labelled token of the batch, both of shape (labelled tokens,)."""
    hidden = model.model(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    chosen = batch.labels != -100
    logits = model.lm_head(hidden[chosen]).float()
    wanted = batch.labels[chosen]
    return functional.cross_entropy(logits, wanted, reduction="none"), logits.argmax(-1) == wanted


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


def train(
    size: Size, seed: int, device: str, report: Callable[[str], None], keep: Callable[[Qwen3ForCausalLM], object]
) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast, dict[str, Any]]:
    """Train one model; returns it with its tokenizer and what it took (tokens, steps, seconds).

    report gets a line at each probe; keep gets the model now and then, so that a long run leaves something.
    """
    torch.manual_seed(seed)
    world = GeneralWorld(size.subjects)
    tokenizer = train_tokenizer(world, size.vocabulary, seed)
    random = seeded("train", seed)
    school = School(tokenizer, world, random)
    probe = School(tokenizer, world, seeded("probe", seed))
    model = new_model(size, tokenizer)
    torch.nn.Module.to(model, device)  # Its own `to` is wrapped in a way that type checkers cannot read.
    chosen = optimizers(model)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in chosen]
    level, seen, steps, recent = 0, 0, 0, 0.0
    start = time.perf_counter()

    def pieces() -> Iterator[Piece]:
        while True:
            if random.random() >= GENERAL_SHARE[level]:
                yield school.reading(LEVELS[level])
            else:
                yield school.closed_book() if random.random() < 0.6 else school.paragraph()

    def exercises(of: Level) -> Iterator[Piece]:
        while True:
            yield probe.reading(of, "probe")

    stream = batches(pieces(), size.rows, size.row_tokens, tokenizer.pad_token_id)
    while seen < size.tokens:
        batch = next(stream)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            losses, _ = answer_scores(model, batch.to(device))
        loss = losses.mean()
        if not torch.isfinite(loss):
            raise LabError(f"the loss is {loss.item()} after {steps} steps; lower the learning rates")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = min(1.0, (steps + 1) / WARM_UP_STEPS, (1 - seen / size.tokens) / DECAY_SHARE)
        for optimizer, own in zip(chosen, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, own, strict=True):
                group["lr"] = peak * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen, steps = seen + batch.tokens, steps + 1
        recent = loss.item() if steps == 1 else 0.97 * recent + 0.03 * loss.item()
        if steps % PROBE_EVERY == 0:
            with torch.inference_mode():
                asked = next(batches(exercises(LEVELS[level]), 8, size.row_tokens, tokenizer.pad_token_id))
                right = answer_scores(model, asked.to(device))[1].float().mean().item()
            seconds = time.perf_counter() - start
            report(
                f"{seen / 1e6:7.2f} of {size.tokens / 1e6:.0f} M tokens, {seen / seconds:,.0f} tokens/s, "
                f"{(size.tokens - seen) * seconds / seen / 60:.0f} min left, level {level}, loss {recent:.3f}, "
                f"probe {right:.3f}"
            )
            if steps % KEEP_EVERY == 0:
                keep(model)
            if right > PASSED and level < len(LEVELS) - 1:
                level += 1
    return model, tokenizer, {"tokens": seen, "steps": steps, "seconds": round(time.perf_counter() - start)}


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
        for one, answer in zip(asked, student.answer(asked), strict=True):
            grades[suite if suite != "reading" else one.part].append(grade(one, answer.text))
    scores = {part: sum(g.exact_match for g in given) / len(given) for part, given in grades.items()}
    answerable = grades["reading"] + grades["distractors"]
    return {
        "general_closed_book": scores["general"],
        "reading_gold": scores["reading"],
        "reading_distractors": scores["distractors"],
        "unknown_right": scores["absent"],
        "false_unknown": sum(g.outcome == "unknown" for g in answerable) / len(answerable),
        "private_closed_book": scores["private"],
    }


def main() -> None:
    """Train, save, measure and write the card."""
    options: dict[str, Any] = {"model": "tiny", "seed": 0, "out": None, "device": "auto", "tokens": None}
    given = {str(name): value for name, value in OmegaConf.from_cli().items()}
    if unknown := set(given) - set(options):
        raise LabError(f"{', '.join(sorted(unknown))}: not an option; there are {', '.join(options)}, as name=value")
    options |= given
    if options["model"] not in SIZES:
        raise LabError(f"model={options['model']}: choose one of {', '.join(SIZES)}")
    quiet_libraries()
    size = SIZES[options["model"]]
    if options["tokens"]:
        size = replace(size, tokens=int(options["tokens"]))
    out = Path(options["out"] or EMBEDDED.parent / options["model"])
    device = choose_device(options["device"])
    model, tokenizer, took = train(
        size,
        options["seed"],
        device,
        report=lambda line: print(line, flush=True),
        keep=lambda model: model.save_pretrained(out),
    )
    # One dtype on disk whatever it was trained in: float32 is what two CPU cores are fastest in.
    model.float().save_pretrained(out)
    tokenizer.save_pretrained(out)
    card = {
        "command": f"python -m lab.foundry model={options['model']} seed={options['seed']} tokens={size.tokens}",
        "size": asdict(size),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **took,
        "tokens_per_second": round(took["tokens"] / took["seconds"]),
        "environment": environment(),
        "general_world_digest": digest(
            {s: [asdict(f) for f in fs] for s, fs in GeneralWorld(size.subjects).facts.items()}
        ),
        "floors": floors(LanguageModel(model, tokenizer), size.subjects),
    }
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(card["floors"], indent=2))


if __name__ == "__main__":
    main()
