"""What every preparation step is given beside the corpus: where to keep things, whom to bill, the seed, the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.ledger import Ledger
from lab.progress import Progress
from lab.store import JSON, Store, digest


def _no_exam(texts: Iterable[tuple[str, str]]) -> None:
    """Where no exam is to be kept shut, any text may be trained on."""


class Quiz(Protocol):
    """A few questions that a model on its way is asked; nothing is learnt of them. digests: by score, of its questions
    and all else that it depends on beside the model.
    """

    digests: Mapping[str, str]

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

    @property
    def measured_on(self) -> dict[str, JSON]:
        """By figure of a training's curve, the digest of what it is measured on beside the model and the corpus: of
        kept weights those figures count that were measured on the same.
        """
        general = digest(list(self.general_texts))
        quiz = self.quiz.digests if self.quiz else {}
        return {"general_loss": general, "general_bits_per_byte": general, **quiz}

    def others(self, measured_on: Mapping[str, JSON]) -> dict[str, None]:
        """None for each figure that was measured on something else than here."""
        return {name: None for name, of in self.measured_on.items() if measured_on.get(name) != of}
