"""How costs grow: `python benchmarks/scaling.py corpus`, `exam` or `model`, `--help` for sizes. No network, no extras.

Each size in a process of its own; processor seconds of each step, and the exponent of a power law through them (least
squares of logarithms, with its standard error; at least three sizes). 1 is as long for each document or question,
however many there are. Steps of less than a hundredth of a second are left out of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy

SIZES = {"corpus": [1000, 3000, 10_000, 30_000], "exam": [300, 1000, 3000, 10_000], "model": [1, 4, 12, 30]}
LONG = {"corpus": [100_000, 1_000_000], "exam": [100_000], "model": [125, 350, 1000]}
ASKED, LEAST_SECONDS = 100, 0.01


class Clock:
    """Processor seconds of named steps."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.steps[name] = time.process_time() - start


def peak() -> float:
    """Of this process's memory until now, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def told(draw: Random, words: int) -> str:
    """Words as a language has them: few of them often, and new ones for ever."""
    return " ".join(f"w{int(draw.paretovariate(0.7)) % 10**6}" for _ in range(words))


class Hashed:
    """In the place of `Embedder`: a unit vector drawn from the text's hash."""

    def key(self) -> dict[str, Any]:
        return {"hashed": 384}

    def count_tokens(self, texts: Sequence[str]) -> tuple[list[int], list[bool]]:
        return [1] * len(texts), [False] * len(texts)

    def encode_questions(self, texts: Sequence[str]) -> numpy.ndarray:
        seeds = (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts)
        made = [numpy.random.default_rng(seed).standard_normal(384, dtype=numpy.float32) for seed in seeds]
        return numpy.stack([one / numpy.linalg.norm(one) for one in made])

    def encode_passages(self, texts: Sequence[str], progress: Callable[[int], None]) -> numpy.ndarray:
        progress(len(texts))
        return self.encode_questions(texts)

    def work(self, texts: Sequence[str]) -> dict[str, Any]:
        return {"padded_tokens": 0, "flops": 0.0, "flops_formula": 0.0}


def corpus(size: int, folder: Path, clock: Clock) -> None:
    """So many documents of a passage each, from a file of rows to the answer of a search."""
    from lab.context.bm25 import Bm25
    from lab.context.dense import Dense
    from lab.corpus.passages import split
    from lab.corpus.rows import JsonlCorpus
    from lab.ledger import Ledger
    from lab.store import Store
    from lab.workspace import Workspace

    draw = Random(size)
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(size):
            file.write(json.dumps({"id": f"d{number}", "title": f"Title {number}", "text": told(draw, 80)}) + "\n")
    workspace = Workspace(Store(folder / "store"), Ledger(), seed=0, device="cpu")
    with clock("ingest with passages"):
        made = JsonlCorpus(str(folder / "rows.jsonl")).load()
    clock.steps["peak MB by then"] = peak()
    with clock("of it, passages"):
        assert sum(len(split(document)) for document in made.documents) == len(made.passages)
    asked = [told(draw, 8) for _ in range(ASKED)]
    with clock("BM25 built"):
        words = Bm25().prepare(made, workspace)
    with clock(f"BM25, {ASKED} questions"):
        words.rank(asked, 10)
    with patch("lab.context.dense.Embedder", lambda *settings: Hashed()):
        with clock("vectors (stub) and index built"):
            dense = Dense().prepare(made, workspace)
        with clock("index from the store"):
            Dense().prepare(made, workspace)
    with clock(f"vectors, {ASKED} questions"):
        dense.rank(asked, 10)


def exam(size: int, folder: Path, clock: Clock) -> None:
    """So many questions, each on a document of its own: grades, leak guard, evidence, intervals, a run's folder."""
    from lab.corpus.corpus import Corpus
    from lab.corpus.passages import split
    from lab.exam.evidence import match_evidence
    from lab.exam.leaks import LeakGuard
    from lab.judge.grading import grade
    from lab.judge.statistics import clusters_of, interval, paired_difference
    from lab.ledger import Entry
    from lab.records import Answer, Document, Question, write_jsonl
    from lab.report import compare, gather, show

    draw = Random(size)
    documents = [Document(f"d{number}", f"Title {number}", told(draw, 80)) for number in range(size)]
    passages = [passage for document in documents for passage in split(document)]
    questions = [
        Question(
            f"q{number}", f"What does {told(draw, 6)} say of it?", (told(draw, 3),), part=f"part {number % 4}",
            documents=(one.id,), evidence=(one.text[40:160],),
        )
        for number, one in enumerate(documents)
    ]  # fmt: skip
    with clock("leak guard made"):
        guard = LeakGuard(questions)
    with clock("leak guard reads the corpus"):
        guard.find((one.id, one.text) for one in documents)
    others = [(f"p{number}", f"What does {told(draw, 6)} tell of it?") for number in range(size)]
    with clock("leak guard reads as many questions"):
        guard.find(others)
    with clock("evidence matched"):
        questions = match_evidence(questions, Corpus("c", tuple(documents), tuple(passages)))
    assert all(question.passages for question in questions)
    answers = [
        Answer(one.id, draw.choice([one.answers[0], "unknown", told(draw, 3)]), (), "", 20, 3, 0.01, 0.0, -1.0)
        for one in questions
    ]
    with clock("grading"):
        grades = [grade(question, answer) for question, answer in zip(questions, answers, strict=True)]
    scores, clusters = [one.score for one in grades], clusters_of(questions)
    with clock("interval"):
        interval(scores, clusters)
    with clock("paired difference"):
        paired_difference(scores, scores[::-1], clusters)
    for seed in (0, 1):
        at = folder / str(seed)
        at.mkdir()
        rows = [{"suite": "exam", **dataclasses.asdict(a), "grade": dataclasses.asdict(g)}
                for a, g in zip(answers, grades, strict=True)]  # fmt: skip
        write_jsonl(at / "questions.jsonl", [{"suite": "exam", **dataclasses.asdict(one)} for one in questions])
        write_jsonl(at / "answers.jsonl", rows)
        write_jsonl(at / "texts.jsonl", [])
        write_jsonl(at / "costs.jsonl", [Entry("answering", 9.0)])
        manifest = {
            **{"pipeline": "rag", "adaptation": "none", "context": "retrieved", "settings": {}, "seed": seed},
            **{"reference": "rag", "arm": None, "overrides": [], "parameters": 1, "facts": None, "exam_size": size},
            **{"digests": {"corpus": "c", "exam": "e", "general": "g", "model": "m"}, "leaked": [], "finished": True},
        }
        (at / "manifest.json").write_text(json.dumps(manifest))
    with clock("report opened"):
        runs, _ = gather([str(folder)])
    with clock("report compared"):
        compare(runs)
    with clock("page and all that is shown"), redirect_stdout(sys.stderr):
        show([folder])


def model(size: int, folder: Path, clock: Clock) -> None:
    """A random model of about so many million parameters: 64 prompts answered and scored, a step of training."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from lab.base import EMBEDDED, BaseModel
    from lab.model import LanguageModel

    tokenizer = BaseModel(str(EMBEDDED)).load("cpu").tokenizer
    layers = 4 if size < 100 else 16
    hidden = max(1, round((size * 1e6 / layers / 12) ** 0.5 / 64)) * 64
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=hidden * 8 // 3, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, tie_word_embeddings=True, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = LlamaForCausalLM(config).to(device)
    found = LanguageModel(network, tokenizer, "random")
    clock.steps["parameters"] = found.parameters
    prompts = [f"Question: what is the fee of the {number} Act, and who pays it?\nAnswer:" for number in range(64)]
    found.generate(prompts[:2], 2)
    with clock("64 prompts answered, 8 tokens"):
        found.generate(prompts, 8)
    with clock("64 prompts scored"):
        found.log_probabilities(prompts, [[" 45 crowns", " unknown"]] * 64)
    ids = torch.randint(0, len(tokenizer), (4, 512), device=device)
    with clock("forward and backward, 2,048 tokens"):
        network(input_ids=ids, labels=ids, use_cache=False).loss.backward()


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> str:
    """Slope of log seconds over log size, with its standard error."""
    kept = [(size, value) for size, value in zip(sizes, seconds, strict=True) if value >= LEAST_SECONDS]
    if len(kept) < 3:
        return "too short"
    x, y = numpy.log(numpy.array(kept, dtype=float)).T
    design = numpy.stack([x, numpy.ones_like(x)], axis=1)
    (slope, level), *_ = numpy.linalg.lstsq(design, y, rcond=None)
    rest = y - slope * x - level
    error = (rest @ rest / (len(x) - 2) / ((x - x.mean()) ** 2).sum()) ** 0.5
    return f"{slope:.2f} ± {error:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=SIZES)
    parser.add_argument("--sizes", type=int, nargs="+", help="documents, questions, or millions of parameters")
    parser.add_argument("--long", action="store_true", help="larger ones on top: hours, for models minutes")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = args.sizes or SIZES[args.what] + (LONG[args.what] if args.long else [])
    if args.one:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            {"corpus": corpus, "exam": exam, "model": model}[args.what](sizes[0], Path(folder), clock)
        print(json.dumps({**clock.steps, "peak MB": peak()}))
        return
    rows: list[dict[str, float]] = []
    for size in sizes:
        command = [sys.executable, __file__, args.what, "--one", "--sizes", str(size)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    at = [row.get("parameters", size) for row, size in zip(rows, sizes, strict=True)]
    print(f"| processor seconds | {' | '.join(f'{size:,.0f}' for size in at)} | exponent |")
    print("|---" * (len(sizes) + 2) + "|")
    for name in rows[0]:
        values = [row[name] for row in rows]
        told_exponent = "" if name == "parameters" or "MB" in name else exponent(at, values)
        print(f"| {name} | {' | '.join(f'{value:,.2f}' for value in values)} | {told_exponent} |")
    for name in (name for name in rows[0] if "MB" in name and args.what != "model"):
        slope = numpy.polyfit(at, [row[name] for row in rows], 1)[0]
        print(f"{name}: {slope * 1024:,.2f} kB for each")


if __name__ == "__main__":
    main()
