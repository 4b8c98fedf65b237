"""What every preparation step is given beside the corpus: where to keep things, whom to bill, the seed, the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.ledger import Ledger
from lab.progress import Progress
from lab.store import Store


def _no_exam(texts: Iterable[tuple[str, str]]) -> None:
    """Where no exam is to be kept shut, any text may be trained on."""


class Quiz(Protocol):
    """A few questions that a model on its way is asked. digest: of the questions; nothing is learnt of them."""

    digest: str

    def scores(self, model: Any) -> Mapping[str, float | None]:
        """exam_score and general_score in 0..1, closed-book; None where nothing is asked."""
        ...


@dataclass(frozen=True)
class Workspace:
    """store: prepared artifacts. ledger: what it cost. seed: of all chance. device: `cpu` or `cuda`.

    refuse_leaks: gets (id, text) of all that weights are about to see and raises LabError where an exam question
    stands in it; a preparation can ask it, and never learns the exam. progress: where long work shows how far it is.
    general_texts, quiz: what a training may be measured on while it goes on; neither changes it. reporting: to whom a
    Trainer reports on its way, as words of its `TrainingArguments`.
    """

    store: Store
    ledger: Ledger
    seed: int
    device: str
    refuse_leaks: Callable[[Iterable[tuple[str, str]]], None] = _no_exam
    progress: Progress = field(default_factory=lambda: Progress("preparing"))
    general_texts: Sequence[str] = ()
    quiz: Quiz | None = None
    reporting: Mapping[str, Any] = field(default_factory=lambda: {"report_to": "none", "logging_strategy": "no"})
