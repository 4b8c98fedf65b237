"""Closed book: nothing on the desk. The floor of every comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.corpus.corpus import Corpus
from lab.records import Question, ScoredPassage
from lab.workspace import Workspace


@dataclass(frozen=True)
class ClosedBook:
    """No passages for any question. It is its own reader."""

    def prepare(self, corpus: Corpus, workspace: Workspace) -> ClosedBook:
        """Nothing to prepare."""
        return self

    def passages(self, questions: Sequence[Question]) -> list[list[ScoredPassage]]:
        """An empty list a question."""
        return [[] for _ in questions]
