"""What every preparation step is given beside the corpus: where to keep things, whom to bill, the seed, the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lab.ledger import Ledger
from lab.progress import Progress
from lab.store import Store


def _no_exam(texts: Iterable[tuple[str, str]]) -> None:
    """Where no exam is to be kept shut, any text may be trained on."""


@dataclass(frozen=True)
class Workspace:
    """store: prepared artifacts. ledger: what it cost. seed: of all chance. device: `cpu` or `cuda`.

    refuse_leaks: gets (id, text) of all that weights are about to see and raises LabError where an exam question
    stands in it; a preparation can ask it, and never learns the exam. progress: where long work shows how far it is.
    """

    store: Store
    ledger: Ledger
    seed: int
    device: str
    refuse_leaks: Callable[[Iterable[tuple[str, str]]], None] = _no_exam
    progress: Progress = field(default_factory=lambda: Progress("preparing"))
