"""What the encoder gains and loses in other precisions: texts a second, and nDCG@10 of exact dense search.

    OMP_NUM_THREADS=1 python benchmarks/encoder.py                 # needs the extra `openvino`
    python benchmarks/encoder.py --device cuda

Asked are the embedded exam, and, where `../shared/data` or `--data DIR` has them, English books (a sentence is taken
out of a passage, which is to be found by it) and CMRC 2018 dev. Speed is that of a batch job: the embedded passages and
whole acts, many times; seconds are the processor's, on a GPU the clock's. The encoders take turns.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
from retrieval import cmrc

from lab.context.base import passage_form
from lab.context.embedder import PRECISIONS, Embedder
from lab.corpus.folder import load_documents
from lab.corpus.passages import SENTENCE_END, split
from lab.judge.retrieval import retrieval_scores
from lab.records import LabError, Passage, Question
from lab.runtime import quiet_libraries
from lab.worlds.embedded import StatuteCorpus, StatuteExam
from lab.worlds.statutes import StatuteBook

PLAIN = ("torch", "float32")
PASSAGES = 1000  # Of the books; drawn by a fixed seed.


class Task(NamedTuple):
    """Passages, and questions that name those that answer them."""

    name: str
    passages: Sequence[Passage]
    questions: Sequence[Question]


def tasks(data: Path) -> Iterator[Task]:
    """The embedded exam, and those of the folder's that are there."""
    book = StatuteBook()
    yield Task("statutes", StatuteCorpus(book).load().passages, StatuteExam(book).load())
    if (data / "general_en").is_dir():
        yield books(data / "general_en")
    if (data / "reading_zh").is_dir():
        corpus, questions = cmrc(data, "dev")
        yield Task("CMRC dev", corpus.passages, questions)


def books(folder: Path) -> Task:
    """The inverse cloze task: the middle sentence of each passage asks for the rest of it."""
    every = [passage for document in load_documents(folder).documents for passage in split(document)]
    passages, questions = [], []
    for passage in random.Random(0).sample(every, PASSAGES):
        ends = [0, *(found.end() for found in SENTENCE_END.finditer(passage.text)), len(passage.text)]
        start, end = ends[(len(ends) - 1) // 2 :][:2]
        sentence, rest = passage.text[start:end].strip(), f"{passage.text[:start]} {passage.text[end:]}".strip()
        if not sentence or not rest:
            continue
        passages.append(Passage(passage.id, passage.document_id, passage.title, rest, 0, len(rest)))
        questions.append(Question(passage.id, sentence, ("",), passages=(passage.id,)))
    return Task("books", passages, questions)


def quality(encoder: Embedder, task: Task) -> dict[str, numpy.ndarray]:
    """nDCG@10 and recall@5 of each question, among all passages of the task."""
    passages = encoder.encode_passages([passage_form(passage) for passage in task.passages])
    scores = encoder.encode_questions([question.question for question in task.questions]) @ passages.T
    best = numpy.argsort(-scores, axis=1, kind="stable")[:, :10]
    found = [[(task.passages[place].id, float(row[place])) for place in places]
             for row, places in zip(scores, best, strict=True)]  # fmt: skip
    frame = retrieval_scores(task.questions, found)
    return {name: frame[name].to_numpy() for name in ("ndcg@10", "recall@5")}


def speed(encoders: dict[tuple[str, str], Embedder], options: argparse.Namespace) -> None:
    """Texts a second: the median of all rounds, the least and the most."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    corpus = StatuteCorpus(StatuteBook()).load()
    short = [passage_form(passage) for passage in corpus.passages]
    long = [document.text for document in corpus.documents]
    for name, texts in (("passages", short), ("whole acts", long)):
        texts = (texts * -(-options.texts // len(texts)))[: options.texts]
        tokens = statistics.mean(next(iter(encoders.values())).count_tokens(texts)[0])
        rates: dict[tuple[str, str], list[float]] = {which: [] for which in encoders}
        for turn in range(options.rounds + 1):
            for which in list(encoders)[:: 1 if turn % 2 else -1]:
                started = clock()
                encoders[which].encode_passages(texts)
                if turn:  # The first warms up.
                    rates[which].append(len(texts) / (clock() - started))
        print(f"{name}: {len(texts)} texts of {tokens:.0f} tokens, {options.rounds} rounds")
        plain = statistics.median(rates[PLAIN])
        for (backend, precision), some in rates.items():
            middle = statistics.median(some)
            print(
                f"  {backend:8} {precision:8} {middle:8.1f} texts/s ({min(some):.1f} to {max(some):.1f}), "
                f"{middle / plain:.2f} times"
            )


def main() -> int:
    """Exit code 0; an encoder that cannot be had here is told, and left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parent.parent.parent / "shared" / "data")
    parser.add_argument("--texts", type=int, help="to encode in each turn (120; 6000 on a GPU)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.texts = options.texts or (120 if options.device == "cpu" else 6000)
    quiet_libraries()
    encoders = {}
    for backend, precisions in PRECISIONS.items():
        for precision in precisions:
            started = time.process_time()
            try:
                encoder = Embedder(None, options.device, backend, precision)
                encoder.encode_passages(["a text"])
            except LabError as error:
                print(f"left out: {error}")
                continue
            encoders[backend, precision] = encoder
            print(f"{backend} {precision}: loaded in {time.process_time() - started:.1f} CPU s", flush=True)
    speed(encoders, options)
    for task in tasks(options.data):
        print(f"{task.name}: {len(task.passages)} passages", flush=True)
        for (backend, precision), encoder in encoders.items():
            scores = quality(encoder, task)
            if (backend, precision) == PLAIN:
                plain = scores
            lost = (plain["ndcg@10"] - scores["ndcg@10"]) / plain["ndcg@10"].mean()
            print(
                f"  {backend:8} {precision:8} nDCG@10 {scores['ndcg@10'].mean():.4f}, "
                f"lost {lost.mean():+.2%} ± {1.96 * lost.std(ddof=1) / len(lost) ** 0.5:.2%} of {len(lost)} questions, "
                f"recall@5 {scores['recall@5'].mean():.4f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
