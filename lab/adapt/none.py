"""The weights as they are."""

from __future__ import annotations

from dataclasses import dataclass

from lab.base import Base
from lab.corpus.corpus import Corpus
from lab.model import Model
from lab.workspace import Workspace


@dataclass(frozen=True)
class NoAdaptation:
    """Leaves the base model untouched: the books on the desk, or nothing at all."""

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> Model:
        """The base model itself."""
        return base.load(workspace.device)
