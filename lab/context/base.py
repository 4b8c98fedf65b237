"""The one axis of a pipeline that this room is: how passages for a question are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lab.corpus.corpus import Corpus
from lab.records import LabError, Question, ScoredPassage
from lab.workspace import Workspace


class Reader(Protocol):
    """Finds passages for questions. It reads a question's id, wording and gold ids, never its answers."""

    def passages(self, questions: Sequence[Question]) -> list[list[ScoredPassage]]:
        """One list a question, in order, the best passage first; it goes into the prompt in this order."""
        ...


class Context(Protocol):
    """A way to find passages. Constructors are cheap and check their values; `prepare` does the work."""

    def prepare(self, corpus: Corpus, workspace: Workspace) -> Reader:
        """Read the corpus, never the exam. Heavy results are kept in the workspace's store and reused."""
        ...


def check_k(k: int) -> None:
    """LabError unless k, the number of passages a question, is a whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise LabError(f"context.k={k!r}: a whole number of at least 1 is needed")


def check_passages(corpus: Corpus) -> None:
    """LabError where the corpus has no passage to find."""
    if not corpus.passages:
        raise LabError(f"corpus {corpus.name}: no passages to look things up in; split its documents first")
