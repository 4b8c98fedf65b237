"""Answering speed beside the usual ways: `python benchmarks/answer.py`, `--help` for parts. No network, no extras.

The embedded base answers exam prompts of three kinds, mixed: closed-book (about 25 tokens), with three retrieved
passages (190) and reading with one to four (25 to 220). The same greedy `generate` of transformers in float32 for all:
one prompt at a time; 32 at a time in the order in which they come, padded; and as the lab does it. Turns are taken in
every round. Both usual ways go on to the end-of-text token or `--tokens`, and the lab's cut is then made at the line
break, so that all three give answers that can be compared.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch

from lab.base import EMBEDDED, BaseModel
from lab.context.bm25 import Bm25
from lab.context.closed import ClosedBook
from lab.context.retrieved import Retrieved
from lab.flops import matrices
from lab.ledger import Ledger
from lab.model import GREEDY, LanguageModel
from lab.records import Question
from lab.runtime import quiet_libraries
from lab.store import Store
from lab.student import Student
from lab.workspace import Workspace
from lab.worlds.embedded import StatuteCorpus, StatuteExam
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import StatuteBook

ROWS = 32


def prompts(model: LanguageModel, count: int) -> dict[str, list[str]]:
    """So many prompts of each kind, drawn with a seed, as a student writes them."""
    book, draw = StatuteBook(), Random(0)
    corpus, exam = StatuteCorpus(book).load(), StatuteExam(book).load()
    reading = GeneralWorld(subjects=150).exam(0, count)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Store(Path(folder)), Ledger(), seed=0, device="cpu")
        closed = Student(model, ClosedBook().prepare(corpus, workspace))
        found = Student(model, Retrieved(Bm25(), k=3).prepare(corpus, workspace))

        def some(student: Student, questions: Sequence[Question]) -> list[str]:
            return list(student.read(draw.sample(questions, min(count, len(questions)))).prompts)

        return {"closed": some(closed, exam), "retrieved": some(found, exam), "reading": some(closed, reading)}


def usual(model: LanguageModel, asked: Sequence[str], rows: int, tokens: int) -> tuple[list[str], int]:
    """(answers, padded tokens) by transformers' `generate`, so many prompts at a time as they come."""
    made, padding = [], 0
    model.tokenizer.padding_side = "left"
    for first in range(0, len(asked), rows):
        given = model.tokenizer(list(asked[first : first + rows]), padding=True, return_tensors="pt").to(model.device)
        given.pop("token_type_ids", None)
        with torch.inference_mode():
            output = model.model.generate(
                **given, max_new_tokens=tokens, eos_token_id=model.tokenizer.eos_token_id,
                pad_token_id=model.tokenizer.pad_token_id, **GREEDY,
            )  # fmt: skip
        told = output[:, given["input_ids"].shape[1] :]
        padding += int((given["attention_mask"] == 0).sum()) + int((told == model.tokenizer.pad_token_id).sum())
        texts = model.tokenizer.batch_decode(told, skip_special_tokens=True)
        made += [model.frame.first_part(text.strip(), several_lines=False) for text in texts]
    return made, padding


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """(seconds, seconds of the processor, what was made)"""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    made = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - start, sum(after[:2]) - sum(before[:2]), made


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def saved(model: LanguageModel, asked: Sequence[str], tokens: int) -> int:
    """Prompt tokens that the lab did not read, since another prompt of the batch begins with the same."""
    families = [family for batch in model._plan(model.encode(asked), tokens) for family in batch.families]
    return sum(shared * (len(some) - 1) for shared, some in families)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="after a warm-up on a few prompts")
    parser.add_argument("--tokens", type=int, default=32, help="the longest answer")
    parser.add_argument("--kinds", nargs="+", default=["mixed", "closed", "retrieved", "reading"])
    parser.add_argument("--model", default=str(EMBEDDED))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="bfloat16 tells how often answers then differ")
    parser.add_argument("--cudnn", action="store_true", help="let a GPU attend by cuDNN, which plans for each shape")
    args = parser.parse_args()
    quiet_libraries()

    model = BaseModel(args.model, dtype=args.dtype).load(args.device)
    torch.backends.cuda.enable_cudnn_sdp(args.cudnn)
    kinds = prompts(model, -(-args.prompts // 3))
    mixed = [prompt for some in kinds.values() for prompt in some]
    Random(1).shuffle(mixed)
    kinds["mixed"] = mixed[: args.prompts]
    print(f"{model.parameters / 1e6:.1f} M parameters, {model.dtype}, {args.device}, {torch.get_num_threads()} threads,"
          f" {args.rounds} rounds; prompts/s: median (least to most)")  # fmt: skip
    print(
        "| prompts | way | prompts/s | by CPU seconds | one by one, times | by CPU | tokens | padded | shared | other |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    ways: dict[str, Callable[[list[str]], Any]] = {
        "one by one": lambda asked: usual(model, asked, 1, args.tokens),
        f"{ROWS} as they come": lambda asked: usual(model, asked, ROWS, args.tokens),
        "lab": lambda asked: model.generate(asked, args.tokens),
    }
    for kind in args.kinds:
        asked = kinds[kind]
        spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        made: dict[str, Any] = {}
        for number in range(args.rounds + 1):
            for way, answer in ways.items():
                *seconds, made[way] = timed(lambda: answer(asked if number else asked[:ROWS]))  # noqa: B023
                if number:
                    spent[way].append(tuple(seconds))
        told = made["lab"]
        counts = [(one.prompt_tokens, one.answer_tokens) for one in told]
        padded = model.work(asked, counts, args.tokens)["padded_tokens"]
        made["lab"] = [one.text for one in told], padded
        alone = made["one by one"][0]
        for way, (answers, padding) in made.items():
            rates = [spread([len(asked) / pair[clock] for pair in spent[way]]) for clock in (0, 1)]
            pairs = list(zip(spent["one by one"], spent[way], strict=True))
            ratios = [f"{statistics.median(one[clock] / other[clock] for one, other in pairs):.2f}" for clock in (0, 1)]
            differing = [place for place, text in enumerate(answers) if text != alone[place]]
            shared = saved(model, asked, args.tokens) if way == "lab" else 0
            cells = [
                f"{len(asked)} {kind}",
                way,
                *rates,
                *ratios,
                sum(map(sum, counts)),
                padding,
                shared,
                len(differing),
            ]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
            for place in differing[:3] if args.dtype == "float32" else ():
                print(f"  {asked[place]!r}: {alone[place]!r}, {answers[place]!r}")
        found = matrices(model.model)
        print(f"  2·N a token: {found.reading(sum(one for one, _ in counts), len(asked)) / len(asked) / 1e9:.3f} "
              f"GFLOP a prompt without sharing")  # fmt: skip


if __name__ == "__main__":
    main()
