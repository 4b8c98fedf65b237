"""Building and asking an index of many vectors: `python benchmarks/index.py`, `--help` for sizes. No network.

The lab's own path (`Dense.prepare`, `DenseRanker.rank`) from texts to passages, with an encoder that looks its vectors
up: unit vectors of 384 dimensions around a thousand centres, drawn with a seed; a question is a passage, moved. Beside
it `sentence_transformers.util.semantic_search` on the same vectors, in turns, and what indexes that are not exact find
of the exact ten.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy
import torch
from sentence_transformers.util import semantic_search

from lab.context.dense import Dense, DenseRanker
from lab.corpus.corpus import Corpus
from lab.ledger import Ledger
from lab.records import Document, Passage
from lab.store import Store
from lab.workspace import Workspace

DIMENSION, CENTRES, TOP = 384, 1000, 10


def drawn(count: int, questions: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Vectors of passages and of questions, float32, of length one."""
    draw = numpy.random.default_rng(0)
    centres = draw.standard_normal((CENTRES, DIMENSION), dtype=numpy.float32)
    vectors = draw.standard_normal((count, DIMENSION), dtype=numpy.float32)
    for first in range(0, count, 10_000):
        part = vectors[first : first + 10_000]
        part += centres[draw.integers(CENTRES, size=len(part))]
        part /= numpy.linalg.norm(part, axis=1, keepdims=True)
    asked = vectors[draw.integers(count, size=questions)]
    asked = asked + 0.03 * draw.standard_normal(asked.shape, dtype=numpy.float32)
    return vectors, asked / numpy.linalg.norm(asked, axis=1, keepdims=True)


class Known:
    """In the place of `Embedder`: the vector of the text "17" is the one with that number."""

    def __init__(self, vectors: numpy.ndarray, asked: numpy.ndarray) -> None:
        self._vectors = vectors
        self._asked = asked

    def key(self) -> dict[str, Any]:
        return {"known": len(self._vectors)}

    def count_tokens(self, texts: Sequence[str]) -> tuple[list[int], list[bool]]:
        return [1] * len(texts), [False] * len(texts)

    def encode_passages(self, texts: Sequence[str], progress: Callable[[int], None]) -> numpy.ndarray:
        progress(len(texts))
        return self._vectors[[int(text) for text in texts]]

    def encode_questions(self, texts: Sequence[str]) -> numpy.ndarray:
        return self._asked[[int(text) for text in texts]]

    def work(self, texts: Sequence[str]) -> dict[str, Any]:
        return {"padded_tokens": 0, "flops": 0.0, "flops_formula": 0.0}


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """(seconds, seconds of the processor, what was made)"""
    start, before = time.perf_counter(), time.process_time()
    made = work()
    return time.perf_counter() - start, time.process_time() - before, made


def peak() -> float:
    """GB of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def built(corpus: Corpus, known: Known, index: str) -> DenseRanker:
    with tempfile.TemporaryDirectory() as folder, patch("lab.context.dense.Embedder", lambda *settings: known):
        return Dense(index=index).prepare(corpus, Workspace(Store(Path(folder)), Ledger(), seed=0, device="cpu"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="of searching, in turns")
    parser.add_argument("--indexes", nargs="*", default=["HNSW32", "IVF1024,Flat"], help="beside Flat")
    args = parser.parse_args()

    vectors, asked = drawn(args.passages, args.questions)
    width = len(str(args.passages))
    texts = [f"{number:0{width}}" for number in range(args.passages)]
    passages = tuple(Passage(t, "all", "", t, i * width, (i + 1) * width) for i, t in enumerate(texts))
    corpus = Corpus("drawn", (Document("all", "", "".join(texts)),), passages)
    questions = [str(number) for number in range(args.questions)]
    known = Known(vectors, asked)
    print(f"{args.passages} passages, {args.questions} questions, {torch.get_num_threads()} threads, "
          f"{peak():.2f} GB with vectors and corpus, before anything is built")  # fmt: skip
    print("| index | built, s | CPU | questions/s | by CPU | recall@10 | peak GB |\n|---|---|---|---|---|---|---|")

    def show(name: str, build: tuple[float, float], spent: list[tuple[float, float]], recall: float) -> None:
        rates = [f"{args.questions / statistics.median(pair[clock] for pair in spent):.0f}" for clock in (0, 1)]
        times = [f"{seconds:.1f}" for seconds in build]
        print(f"| {name} | {' | '.join(times + rates)} | {recall:.3f} | {peak():.2f} |", flush=True)

    *build, ranker = timed(lambda: built(corpus, known, "Flat"))
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(args.rounds):
        *seconds, found = timed(lambda: ranker.rank(questions, TOP))
        ours.append(tuple(seconds))
        *seconds, other = timed(lambda: semantic_search(torch.from_numpy(asked), torch.from_numpy(vectors), top_k=TOP))
        theirs.append(tuple(seconds))
    exact = [{id for id, _ in some} for some in found]
    for some, others in zip(found, other, strict=True):  # Equal scores may come in either order.
        numpy.testing.assert_allclose([score for _, score in some], [hit["score"] for hit in others], atol=1e-5)
    same = sum(ids == {texts[hit["corpus_id"]] for hit in others} for ids, others in zip(exact, other, strict=True))
    show("Flat", build, ours, 1.0)
    show("semantic_search", [0, 0], theirs, same / len(exact))
    ratios = [statistics.median(t[clock] / o[clock] for t, o in zip(theirs, ours, strict=True)) for clock in (0, 1)]
    print(f"Flat {ratios[0]:.2f} times as fast, {ratios[1]:.2f} by CPU seconds; the same ten: {same} of {len(exact)}")
    del ranker
    for index in args.indexes:
        *build, ranker = timed(lambda: built(corpus, known, index))  # noqa: B023
        *seconds, found = timed(lambda: ranker.rank(questions, TOP))  # noqa: B023
        hits = sum(len(ids & {id for id, _ in some}) for ids, some in zip(exact, found, strict=True))
        show(index, build, [tuple(seconds)], hits / (TOP * len(exact)))


if __name__ == "__main__":
    main()
