"""Continued pretraining: all weights, on the private text mixed with general text."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

from lab.adapt.training import Training
from lab.base import Base
from lab.corpus.corpus import Corpus
from lab.model import LanguageModel
from lab.records import LabError
from lab.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContinuedPretraining:
    """Goes to law school: every weight may change."""

    training: Training

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> LanguageModel:
        """The base with all of its weights trained on."""
        if base.weights().quantize:
            raise LabError(
                "model.quantize: continued pretraining changes all weights, and quantised ones cannot; "
                "give model.quantize=null, or pipeline=lora"
            )
        artifact = self.training.artifact("cpt", {}, base, corpus, workspace, attach=lambda model: model)
        log.info("the trained checkpoint, to be served or used elsewhere: %s", artifact.path)
        return dataclasses.replace(base.weights(), path=str(artifact.path)).load(workspace.device)
