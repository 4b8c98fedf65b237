"""Continued pretraining: all weights, on the private text mixed with general text."""

from __future__ import annotations

from dataclasses import dataclass

from lab.adapt.training import Training
from lab.corpus.corpus import Corpus
from lab.model import BaseModel, LanguageModel
from lab.workspace import Workspace


@dataclass(frozen=True)
class ContinuedPretraining:
    """Goes to law school: every weight may change."""

    training: Training

    def adapt(self, base: BaseModel, corpus: Corpus, workspace: Workspace) -> LanguageModel:
        """The base with all of its weights trained on."""
        artifact = self.training.artifact("cpt", {}, base, corpus, workspace, attach=lambda model: model)
        return BaseModel(str(artifact.path), base.dtype).load(workspace.device)
