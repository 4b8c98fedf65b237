"""The other axis of a pipeline: what is done to the weights before the exam."""

from __future__ import annotations

from typing import Protocol

from lab.base import Base
from lab.corpus.corpus import Corpus
from lab.model import Model
from lab.workspace import Workspace


class Adaptation(Protocol):
    """A way to put a corpus into weights. Constructors are cheap and check their values; `adapt` does the work."""

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> Model:
        """The model that sits the exam. It reads the corpus, never the exam; what it costs goes to the ledger."""
        ...
