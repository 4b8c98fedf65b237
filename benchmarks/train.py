"""Training speed beside the usual ways: `python benchmarks/train.py` on two CPU cores, `--help` for GPUs and parts.

The same weights, sequences, labels (answers only) and AdamW at one constant rate for all; turns are taken in every
round, each on a fresh copy. A token counts where it is real: no padding, nothing twice. The extra `benchmarks` brings
trl; without it that row is left out and said so.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Qwen3Config,
    Qwen3ForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from lab.adapt import fit as lab_fit
from lab.adapt.blocks import Rows
from lab.adapt.lora import LowRankAdaptation
from lab.adapt.recipe import Recipe
from lab.adapt.training import Training
from lab.attention import SPARSE, as_it_is, compile_layers, mask
from lab.base import EMBEDDED
from lab.exam.prompts import prefix
from lab.flops import matrices
from lab.ledger import Ledger
from lab.packing import Piece, pack, rows
from lab.runtime import quiet_libraries
from lab.states import States
from lab.store import Store
from lab.workspace import Workspace
from lab.worlds.general import GeneralWorld
from lab.worlds.lessons import LEVELS, closed_book, reading

RATE, WARM_STEPS, WAITED_EVERY = 3e-4, 3, 5
RANK = 16  # Of adapters.
LEAST_TOKENS = 20_000  # Of a turn: in fewer, long and short questions come too unevenly to compare its labels.
BATCH, LARGE_BATCH = 8, 64  # Sequences in a batch of a Trainer that nobody has set, and of one that somebody has.
# (hidden, layers, heads, feed-forward); random weights, since speed needs no trained ones.
SHAPES = {"125m": (768, 12, 12, 3072), "350m": (1024, 24, 16, 4096), "1b": (2048, 18, 16, 8192)}


@dataclass
class Sequence:
    """One prompt with its answer. asked: tokens of the prompt."""

    ids: list[int]
    asked: int

    @property
    def labels(self) -> list[int]:
        return [-100] * self.asked + self.ids[self.asked :]


@dataclass(frozen=True)
class Step:
    """What all but the Trainer learn from in one step: rows of so many tokens. at_once: of them, by SFTTrainer."""

    rows: int
    row_tokens: int
    at_once: int


class Enough(Exception):  # noqa: N818
    """The time of a turn is over."""


@dataclass
class Turn:
    """The clock of one turn. It stands still while the validation loss is taken, and the first steps do not count."""

    seconds: float
    validate: Callable[[Any], float]
    looks: int
    steps: int = 0
    tokens: int = 0
    labelled: int = 0
    spent: float = 0.0
    waited: float = 0.0
    first_step: float = 0.0
    curve: list[tuple[float, float]] = field(default_factory=list)
    _since: float = field(default_factory=time.perf_counter)
    _ended: float = field(default_factory=time.perf_counter)

    def got(self) -> None:
        """When a step has its batch."""
        self.waited += time.perf_counter() - self._ended

    def step(self, model: Any, tokens: int, labelled: int) -> None:
        """After each step, with what it learnt from. A GPU runs behind, and is waited for now and then alone."""
        self.steps += 1
        measured = self.steps - WARM_STEPS
        if measured > 0:
            self.tokens, self.labelled = self.tokens + tokens, self.labelled + labelled
        if model.device.type == "cpu" or measured <= 0 or measured % WAITED_EVERY == 0:
            self._look_at_the_clock(model)
        self._ended = time.perf_counter()

    def _look_at_the_clock(self, model: Any) -> None:
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        taken = time.perf_counter() - self._since
        self.first_step = self.first_step or taken
        if self.steps > WARM_STEPS:
            self.spent += taken
            if self.spent > len(self.curve) * self.seconds / self.looks:
                with as_it_is(model):  # Else it would be compiled for every length.
                    self.curve.append((self.spent, self.validate(model)))
        else:
            self.waited = 0.0
        if self.spent > self.seconds:
            raise Enough
        self._since = time.perf_counter()


def sequences(tokenizer: Any, filled: float, count: int) -> list[Sequence]:
    """Closed-book and reading questions, mixed so that batches of eight, padded to their longest, are `filled`."""
    world, draw = GeneralWorld(subjects=150), Random(0)

    def made(text: Any) -> Iterator[Sequence]:
        for prompt, answer in text.pairs:
            asked = tokenizer(text.text + prompt)["input_ids"]
            yield Sequence([*asked, *tokenizer(answer)["input_ids"], tokenizer.eos_token_id], len(asked))

    def short() -> Iterator[Sequence]:
        while True:
            text = closed_book(world, draw)
            if text.text == prefix([]):  # No passages before it.
                yield from made(text)

    def long() -> Iterator[Sequence]:
        while True:
            yield next(made(reading(draw, LEVELS[-1])))

    shorts, longs = list(islice(short(), count)), list(islice(long(), count))
    best = min((abs(fill(mixed(shorts, longs, share)) - filled), share) for share in (x / 50 for x in range(1, 50)))[1]
    return mixed(shorts, longs, best)


def mixed(shorts: list[Sequence], longs: list[Sequence], share: float) -> list[Sequence]:
    """One order, whatever the share of long ones."""
    draw = Random(1)
    return [long if draw.random() < share else short for short, long in zip(shorts, longs, strict=True)]


def fill(some: list[Sequence]) -> float:
    """Real tokens among those of batches of eight in their order, each padded to its longest."""
    groups = [some[i : i + BATCH] for i in range(0, len(some), BATCH)]
    return sum(len(s.ids) for s in some) / sum(len(group) * max(len(s.ids) for s in group) for group in groups)


class Clock(TrainerCallback):
    """Tells the turn of every step of a Trainer whose batches went through `counting`."""

    def __init__(self, turn: Turn, seen: dict[str, int]) -> None:
        self.turn, self.seen = turn, seen

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.turn.got()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        # A batch is fetched while the one before it is learnt from: an epoch's last step fetches none.
        tokens, labelled = self.seen.pop("tokens", 0), self.seen.pop("labelled", 0)
        self.turn.step(model, tokens, labelled)


def counting(collate: Callable[..., dict[str, Any]], pad: int, seen: dict[str, int]) -> Callable[..., Any]:
    """The same batches, whose real tokens are counted."""

    def made(batch: Any, *more: Any) -> dict[str, Any]:
        out = collate(batch, *more)
        real = out.get("attention_mask", out["input_ids"] != pad)
        real = out["input_ids"] != pad if real.dim() > 2 else real
        seen["tokens"] = seen.get("tokens", 0) + int(real.sum())
        seen["labelled"] = seen.get("labelled", 0) + int((out["labels"] != -100).sum())
        return out

    return made


def lab(model: Any, tokenizer: Any, data: list[Sequence], turn: Turn, device: str, step: Step) -> None:
    """The way every adaptation of the lab trains: `lab.adapt.fit`, here as if for a long while."""
    pieces = (Piece([], [(one.ids, one.asked)]) for one in cycle(data))
    some = list(islice(rows(pieces, step.row_tokens), 1000)) * (24 if device == "cpu" else 60)
    answers = [sum(len(ids) - asked for piece in row for ids, asked in piece.branches) for row in some]

    class Looks:
        rows: list[Any] = []  # noqa: RUF012
        seconds = 0.0

        def look(self, model: Any, tokens: int, advance: Any) -> None: ...

    class Steps(lab_fit.Way):
        def begin_step(self) -> None:
            turn.got()

        def end_step(self, optimizer: Any, scheduler: Any) -> None:
            own = slice(self.done * step.rows, (self.done + 1) * step.rows)
            self.done += 1
            turn.step(model, self._tokens(self.done) - self._tokens(self.done - 1), sum(answers[own]))

        def look(self) -> None: ...

    recipe = Recipe(RATE, "constant_from_end", 0.0, step.rows, step.row_tokens, 1, 3600.0)
    with TemporaryDirectory() as folder, Rows(Path(folder)) as packed:
        for row in some:
            packed.append(row)
        workspace = Workspace(Store(Path(folder)), Ledger(), 0, device)
        lab_fit.Way, kept = Steps, lab_fit.Way  # type: ignore
        try:
            lab_fit.fit(model, tokenizer, packed, recipe, Looks(), [], States(Path(folder), {}), workspace)  # type: ignore
        finally:
            lab_fit.Way = kept  # type: ignore


def lab_lora(model: Any, tokenizer: Any, data: list[Sequence], turn: Turn, device: str, step: Step) -> None:
    """The same with adapters beside every layer."""
    training = Training(("documents",), 1, RATE, 0.0, None)
    lab(LowRankAdaptation(training, rank=RANK)._attach(model), tokenizer, data, turn, device, step)


def lab_dense(*given: Any) -> None:
    """The same on a GPU with the whole mask told to the usual attention."""
    lab_fit.can_skip, kept = lambda model, width: False, lab_fit.can_skip  # type: ignore
    try:
        lab(*given)
    finally:
        lab_fit.can_skip = kept  # type: ignore


def trainer(model: Any, tokenizer: Any, data: list[Sequence], turn: Turn, device: str, step: Step, **more: Any) -> None:
    """transformers.Trainer as it is when nothing is set but what all share."""
    items = [{"input_ids": one.ids, "labels": one.labels, "attention_mask": [1] * len(one.ids)} for one in data]
    seen: dict[str, int] = {}
    collate = counting(DataCollatorForSeq2Seq(tokenizer), tokenizer.pad_token_id, seen)
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, **shared(device), num_train_epochs=1000, **more)
        Trainer(model, arguments, collate, items, callbacks=[Clock(turn, seen)]).train()  # type: ignore[arg-type]


def large_trainer(*given: Any) -> None:
    """The same as somebody sets it who has a GPU: more sequences a step, of about one length."""
    trainer(*given, per_device_train_batch_size=LARGE_BATCH, train_sampling_strategy="group_by_length")


def sft(model: Any, tokenizer: Any, data: list[Sequence], turn: Turn, device: str, step: Step) -> None:
    """trl's SFTTrainer with packing, as many tokens a step as the lab's."""
    from trl import SFTConfig, SFTTrainer

    asked = [[int(place >= one.asked) for place in range(len(one.ids))] for one in data]
    items = Dataset.from_dict({"input_ids": [one.ids for one in data], "completion_mask": asked})
    seen: dict[str, int] = {}
    with TemporaryDirectory() as folder:
        arguments = SFTConfig(
            folder, **shared(device), num_train_epochs=1000, packing=True, max_length=step.row_tokens,
            completion_only_loss=True,  # Unset, it learns the prompts too, as its items are tokens already.
            gradient_checkpointing=False,  # Set, it computes a third more for memory that nobody is short of here.
            per_device_train_batch_size=step.at_once, gradient_accumulation_steps=step.rows // step.at_once,
        )  # fmt: skip
        made = SFTTrainer(model, arguments, train_dataset=items, processing_class=tokenizer)
        made.add_callback(Clock(turn, seen))
        made.data_collator = counting(made.data_collator, tokenizer.pad_token_id, seen)
        made.train()


def loop(model: Any, tokenizer: Any, data: list[Sequence], turn: Turn, device: str, step: Step) -> None:
    """By hand: rows packed beforehand, compiled, the output at labelled places, fused AdamW, no Trainer; on a GPU an
    attention that skips what is hidden, and layers compiled one by one as in the lab.
    """
    pieces = (Piece([], [(one.ids, one.asked)]) for one in cycle(data))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    packed = cycle(list(islice(rows(pieces, step.row_tokens), 1000)))
    made = [pack(list(islice(packed, step.rows)), step.row_tokens, tokenizer.pad_token_id) for _ in range(40)]
    model.train()
    if device == "cpu":
        model.model.compile(dynamic=False)
    else:
        model.set_attn_implementation(SPARSE)
        compile_layers(model.model)
    for batch in cycle(made):
        on = batch.to(device)
        turn.got()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            seen = mask(model.config._attn_implementation, on.piece, on.branch)
            hidden = model.model(
                input_ids=on.ids, attention_mask=seen, position_ids=on.positions, use_cache=False
            ).last_hidden_state
            chosen = on.labels != -100
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]).float(), on.labels[chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        turn.step(model, batch.tokens, int((batch.labels != -100).sum()))


def shared(device: str) -> dict[str, Any]:
    """What no contender is given an advantage by, in a Trainer's words."""
    return {
        "learning_rate": RATE, "lr_scheduler_type": "constant", "weight_decay": 0.0, "adam_beta2": 0.95,
        "save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True,
        "use_cpu": device == "cpu", "bf16": device == "cuda", "seed": 0,
    }  # fmt: skip


CONTENDERS = {
    "lab": lab, "lab, dense mask": lab_dense, "lab, LoRA": lab_lora, "loop by hand": loop,
    "Trainer": trainer, "Trainer, set": large_trainer, "SFTTrainer": sft,
}  # fmt: skip


def base(shape: str, vocabulary: int, device: str) -> tuple[Any, Any]:
    """Random weights in the embedded base's layout, or a larger one, and its tokenizer."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    if shape == "tiny":
        return Qwen3ForCausalLM(AutoConfig.from_pretrained(EMBEDDED)).to(device, torch.float32), tokenizer
    hidden, layers, heads, wide = SHAPES[shape]
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, head_dim=hidden // heads, intermediate_size=wide, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device(device):
        return Qwen3ForCausalLM(config), tokenizer


def matrix_rate(device: str) -> float:
    """Operations a second of a large matrix product in the type that training multiplies in, best of 10."""
    size, kind = (8192, torch.bfloat16) if device == "cuda" else (1536, torch.float32)
    one, other = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for _ in range(12):
        begun = time.perf_counter()
        one @ other
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best


def attention_work(config: Any, data: list[Sequence]) -> float:
    """Operations of attention a real token, forward and backward: four a pair that sees, head and size, three times."""
    pairs = sum(len(one.ids) * (len(one.ids) + 1) / 2 for one in data) / sum(len(one.ids) for one in data)
    return 12 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * pairs


@torch.no_grad()
def validation_loss(model: Any, held: list[Sequence]) -> float:
    """Nats an answer's token, each sequence alone, with nothing compiled."""
    training, total = model.training, 0.0
    model.eval()
    for one in held:
        logits = model(torch.tensor([one.ids], device=model.device), use_cache=False).logits[0, :-1].float()
        wanted = torch.tensor(one.labels[1:], device=model.device)
        total += torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
    model.train(training)
    return total / sum(len(one.ids) - one.asked for one in held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", choices=["tiny", *SHAPES])
    parser.add_argument("--vocabulary", type=int, default=32_000, help="of models with random weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--filled", type=float, default=0.3, help="share of real tokens in padded batches of eight")
    parser.add_argument("--seconds", type=float, default=20, help="of each turn, after its first steps")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="of a step; 4 on a CPU, 32 on a GPU")
    parser.add_argument("--row-tokens", type=int, help="512 on a CPU, 1024 on a GPU")
    parser.add_argument("--sft-rows", type=int, default=1, help="that SFTTrainer takes at a time")
    parser.add_argument("--looks", type=int, default=4, help="validation losses in a turn")
    parser.add_argument("--only", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS))
    given = parser.parse_args()
    quiet_libraries()
    torch.backends.cuda.enable_cudnn_sdp(False)  # As in the lab; it plans anew for every width that a Trainer pads to.
    gpu = given.device == "cuda"
    step = Step(given.rows or (32 if gpu else 4), given.row_tokens or (1024 if gpu else 512), given.sft_rows)
    if not gpu:  # A CPU is dense anyway, and more sequences a step do not help it.
        given.only = [name for name in given.only if name not in ("lab, dense mask", "Trainer, set")]
    if "SFTTrainer" in given.only and find_spec("trl") is None:
        given.only.remove("SFTTrainer")
        print("SFTTrainer is left out: pip install trl")
    model, tokenizer = base(given.model, given.vocabulary, given.device)
    data = sequences(tokenizer, given.filled, 2000)
    held, data = data[:48], data[48:]
    size = sum(p.numel() for p in model.parameters())
    print(
        f"{size:,} parameters on {given.device}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"{len(data):,} sequences, {fill(data):.1%} filled where padded; {step.rows} rows of {step.row_tokens} a step"
    )
    labelled = sum(len(one.ids) - one.asked for one in data) / sum(len(one.ids) for one in data)
    rates: list[float] = []
    turns: dict[str, list[Turn]] = {name: [] for name in given.only}
    peaks: dict[str, float] = {}
    try:
        for number in range(given.rounds):
            for name in given.only[number % len(given.only) :] + given.only[: number % len(given.only)]:
                rates.append(matrix_rate(given.device))
                gc.collect()  # A Trainer is a ring of references.
                if gpu:
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                    before = torch.cuda.memory_allocated()
                mine = copy.deepcopy(model)
                turn = Turn(given.seconds, lambda model: validation_loss(model, held), given.looks)
                try:
                    CONTENDERS[name](mine, tokenizer, data, turn, given.device, step)
                except Enough:
                    pass
                except Exception as error:  # The others are measured all the same.
                    print(f"round {number + 1}, {name}: {type(error).__name__}: {error}"[:2000], flush=True)
                    continue
                if gpu:
                    peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**30
                turns[name].append(turn)
                share = turn.labelled / turn.tokens
                if turn.tokens < LEAST_TOKENS:
                    print(f"round {number + 1}, {name}: too few tokens to see whether labels are on answers only")
                elif not 0.8 < share / labelled < 1.25:
                    raise SystemExit(f"{name} learns {share:.1%} of the tokens, where {labelled:.1%} are answers")
                print(
                    f"round {number + 1}, {name}: {turn.tokens / turn.spent:,.0f} tokens/s in {turn.steps} steps, "
                    f"the first after {turn.first_step:.1f} s; matrix product {rates[-1] / 1e12:.3f} TFLOP/s",
                    flush=True,
                )
                del mine
    finally:  # What was measured until somebody stopped it.
        table({name: some for name, some in turns.items() if some}, peaks, rates, model, data)


def table(
    turns: dict[str, list[Turn]], peaks: dict[str, float], rates: list[float], model: Any, data: list[Sequence]
) -> None:
    """Print what was measured."""
    if not turns:
        return
    rate = max(rates)
    if model.device.type == "cuda":
        print(f"\n{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB")
    print(f"\nmatrix product: {rate / 1e12:.3f} TFLOP/s (best; median {statistics.median(rates) / 1e12:.3f})")
    reached = max(statistics.median(turn.curve[-1][1] for turn in some) for name, some in turns.items())
    print(f"\n| | real tokens/s | s to loss {reached:.2f} | share of matrix rate | first step | waiting | GiB |")
    print("|---|---|---|---|---|---|---|")
    found, heads = matrices(model), attention_work(model.config, data)
    for name, some in turns.items():
        speeds = [turn.tokens / turn.spent for turn in some]
        used = [(found.training(turn.tokens, turn.labelled) + heads * turn.tokens) / turn.spent / rate for turn in some]
        there = [next((at for at, loss in turn.curve if loss <= reached), None) for turn in some]
        met = [at for at in there if at is not None]
        memory = f"{peaks[name]:.2f}" if name in peaks else ""
        print(
            f"| {name} | {spread(speeds, ',.0f')} | {spread(met, '.1f') if len(met) == len(some) else 'not in all'} "
            f"| {'' if 'LoRA' in name else spread(used, '.3f')} | {spread([turn.first_step for turn in some], '.1f')} "
            f"| {max(turn.waited / turn.spent for turn in some):.1%} | {memory} |",
            flush=True,
        )


def spread(values: list[float], form: str) -> str:
    """Median (least to most)."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
