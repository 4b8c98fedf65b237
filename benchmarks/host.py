"""What the processor does while questions are answered: `python benchmarks/host.py`. No network, no extras.

The embedded base sits the statute exam as in a run, with the batches of a CPU or of a GPU, and every second of the
processor belongs to the innermost part that is at work. What is not the model's own call is what a GPU's host does too;
of the calls it is their number that tells, since each takes a host 10 to 20 ms however few rows it has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import lab.model
import lab.run
from lab.base import BaseModel
from lab.context.bm25 import Bm25
from lab.context.closed import ClosedBook
from lab.context.gold import Gold
from lab.context.retrieved import Retrieved
from lab.exam.evidence import match_evidence
from lab.framing import Frame
from lab.judge.grading import grade
from lab.ledger import Ledger
from lab.model import ANSWER_TOKENS, AnswerEnd, LanguageModel
from lab.runtime import quiet_libraries
from lab.store import Store
from lab.student import Student
from lab.workspace import Workspace
from lab.worlds.embedded import StatuteCorpus, StatuteExam
from lab.worlds.statutes import StatuteBook

CONTEXTS: dict[str, Any] = {"closed-book": ClosedBook(), "gold": Gold(), "retrieved": Retrieved(Bm25(), k=3)}
MODEL, REST = "model", "records, store, progress"


class Clock:
    """Seconds of the processor, and calls, of parts that lie in each other: each without those inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._open: list[str] = []
        self._since = time.process_time()

    def _tick(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._tick()
        self._open.append(name)
        self.calls[name] += 1
        yield
        self._tick()
        self._open.pop()

    def watch(self, owner: Any, function: str, name: str) -> None:
        """From now on a module's or a class's function is a part."""
        plain: Callable[..., Any] = getattr(owner, function)

        @wraps(plain)  # Its signature too, which tells what a model takes.
        def timed(*args: Any, **named: Any) -> Any:
            with self.part(name):
                return plain(*args, **named)

        setattr(owner, function, timed)


def watched(model: LanguageModel, clock: Clock) -> None:
    clock.watch(type(model.model), "forward", MODEL)
    clock.watch(type(model.model), "generate", "transformers' generate")
    clock.watch(Frame, "encode", "tokens of prompts")
    clock.watch(AnswerEnd, "__call__", "ends of answers")
    clock.watch(lab.model, "plan", "plan of batches")
    clock.watch(lab.model, "inputs", "tables of prompts")
    clock.watch(lab.model, "continuation_log_probabilities", "scoring's tables and losses")
    clock.watch(LanguageModel, "generate", "texts of answers")
    clock.watch(LanguageModel, "split", "tokens of references")
    clock.watch(LanguageModel, "work", "operations counted")
    clock.watch(Student, "read", "retrieval, words of prompts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--acts", type=int, default=40, help="of the statute book; 480 ask 7,440 questions")
    parser.add_argument("--questions", type=int, help="at most so many of them, evenly spread")
    parser.add_argument("--choices", type=int, default=0, help="ask with so many choices")
    parser.add_argument("--batches", choices=sorted(ANSWER_TOKENS), default="cuda", help="as large as this device's")
    args = parser.parse_args()
    quiet_libraries()

    model, clock = BaseModel().load("cpu"), Clock()
    if args.batches == "cuda":
        model.max_batch_tokens, model.max_answer_tokens = 8192, ANSWER_TOKENS["cuda"]
    watched(model, clock)
    book = StatuteBook(acts=args.acts)
    corpus = StatuteCorpus(book).load()
    exam = match_evidence(StatuteExam(book, args.choices).load(), corpus)
    if args.questions:
        exam = lab.run.spread(exam, args.questions)
    found: dict[str, tuple[dict[str, float], Counter[str]]] = {}
    for name, context in CONTEXTS.items():
        clock.seconds, clock.calls = defaultdict(float), Counter()
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace(Store(Path(folder)), Ledger(), seed=0, device=args.batches)
            student = Student(model, context.prepare(corpus, workspace))
            with workspace.progress, clock.part(REST):
                answers = lab.run._sit(student, exam, workspace, "answering")
        with clock.part("grading"):
            for question, answer in zip(exam, answers, strict=True):
                grade(question, answer)
        found[name] = clock.seconds, clock.calls
    rows = sorted({part for seconds, _ in found.values() for part in seconds} - {MODEL},
                  key=lambda part: -max(seconds[part] for seconds, _ in found.values()))  # fmt: skip
    print(f"| {len(exam):,} questions, microseconds of the host a question | " + " | ".join(found) + " |")
    print("|---|" + "---|" * len(found))
    for part in rows:
        print(f"| {part} | " + " | ".join(f"{s[part] / len(exam) * 1e6:.0f}" for s, _ in found.values()) + " |")
    hosts = [sum(s.values()) - s[MODEL] for s, _ in found.values()]
    print("| all of these | " + " | ".join(f"{host / len(exam) * 1e6:.0f}" for host in hosts) + " |")
    print(
        "| the model here, on a CPU | "
        + " | ".join(f"{s[MODEL] / len(exam) * 1e6:,.0f}" for s, _ in found.values())
        + " |"
    )
    print("| calls of the model a thousand questions | "
          + " | ".join(f"{calls[MODEL] / len(exam) * 1000:.0f}" for _, calls in found.values()) + " |")  # fmt: skip


if __name__ == "__main__":
    main()
