"""The two axes joined: what is done to the weights, and what lies on the desk at the exam."""

from __future__ import annotations

from dataclasses import dataclass

from lab.adapt import Adaptation
from lab.base import Base
from lab.context import Context
from lab.corpus.corpus import Corpus
from lab.student import Student
from lab.workspace import Workspace


@dataclass(frozen=True)
class Pipeline:
    """A point on the two axes. `rag` is (no adaptation, retrieved); `closed_book` is (no adaptation, no passages)."""

    adaptation: Adaptation
    context: Context

    def prepare(self, base: Base, corpus: Corpus, workspace: Workspace) -> Student:
        """Make a student of the corpus. The exam is not in the signature: it cannot leak."""
        model = self.adaptation.adapt(base, corpus, workspace)
        return Student(model, self.context.prepare(corpus, workspace))
