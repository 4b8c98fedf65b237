"""Orthogonal subspace fine-tuning: the directions that a matrix uses most are frozen, and the others learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peft import OSFConfig, get_peft_model

from lab import ranks
from lab.adapt.training import Training
from lab.base import Base
from lab.code import digest_code
from lab.corpus.corpus import Corpus
from lab.model import LanguageModel
from lab.records import LabError
from lab.store import JSON
from lab.workspace import Workspace


@dataclass(frozen=True)
class OrthogonalSubspace:
    """A method made to forget little (Nayak et al. 2025: Sculpting Subspaces), as peft offers it.

    kept: the share of each linear layer's singular directions, the largest first, that stay as they are; gradients are
    projected so that the others leave them alone. What is kept on disk is whole weights.
    """

    training: Training
    kept: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.kept, int | float) or not 0 < self.kept < 1:
            raise LabError(f"kept={self.kept}: a share between 0 and 1 is needed")

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> LanguageModel:
        """The base with the smaller singular directions trained. LabError where they are split over processes."""
        if ranks.sharded():  # It runs, and learns something else.
            raise LabError("pipeline=osf: gradients are projected by whole matrices, and FSDP splits them; use ddp.yml")
        settings: dict[str, JSON] = {"kept": self.kept, "code": digest_code(__name__)}
        artifact = self.training.artifact(
            "osf", settings, base, corpus, workspace, self._attach, lambda model: model.merge_and_unload()
        )
        return base.weights().moved(artifact.path).load(workspace.device)

    def _attach(self, model: Any) -> Any:
        return get_peft_model(model, OSFConfig(effective_rank=self.kept, target_modules="all-linear"))
