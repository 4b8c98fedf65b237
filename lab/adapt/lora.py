"""LoRA: the base stays as it is, and small matrices beside its linear layers learn (Hu et al. 2021)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from lab.adapt.training import Training
from lab.base import Base
from lab.corpus.corpus import Corpus
from lab.model import LanguageModel
from lab.records import LabError
from lab.store import JSON, digest
from lab.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LowRankAdaptation:
    """Adapters on all linear layers but the output.

    rank: of each adapter; alpha is twice the rank. merged: whether the exam is sat with the adapters added into the
    weights, which answers faster, or beside them. checkpoint: a folder to write the merged model to, None writes none.
    """

    training: Training
    rank: int
    dropout: float = 0.0
    merged: bool = True
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or self.rank < 1:
            raise LabError(f"rank={self.rank}: a whole number of at least 1 is needed")
        if not 0 <= self.dropout < 1:
            raise LabError(f"dropout={self.dropout}: a share from 0 to below 1 is needed")
        if self.checkpoint is not None and not self.merged:
            raise LabError(f"checkpoint={self.checkpoint}: only merged weights make a checkpoint; give merged=true")

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> LanguageModel:
        """The base with trained adapters."""
        settings: dict[str, JSON] = {"rank": self.rank, "dropout": self.dropout}
        artifact = self.training.artifact("lora", settings, base, corpus, workspace, self._attach)
        loaded = base.weights().load(workspace.device)
        adapted = PeftModel.from_pretrained(loaded.model, str(artifact.path))
        # Unmerged, the adapters sit inside the base's own layers: the model around them is the same.
        model: Any = adapted.merge_and_unload() if self.merged else adapted.get_base_model()
        together: JSON = [loaded.digest, artifact.digest, self.merged]  # Merged weights round otherwise.
        if self.checkpoint is not None:
            model.save_pretrained(self.checkpoint)
            loaded.tokenizer.save_pretrained(self.checkpoint)
            log.info("the merged checkpoint, to be served or used elsewhere: %s", self.checkpoint)
        return LanguageModel(model, loaded.tokenizer, digest(together), frame=loaded.frame)

    def _attach(self, model: Any) -> Any:
        output = model.get_output_embeddings()
        layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not output]
        narrowest = min(min(layer.in_features, layer.out_features) for layer in layers)
        if self.rank > narrowest:
            raise LabError(
                f"rank={self.rank}: the narrowest layer is {narrowest} wide, so a higher rank adds nothing; lower it"
            )
        return get_peft_model(
            model,
            LoraConfig(
                r=self.rank,
                lora_alpha=2 * self.rank,
                lora_dropout=self.dropout,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
        )
