"""Training the weights themselves: continued pretraining, full or partly frozen fine-tuning, and from scratch."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForCausalLM

from lab.adapt.training import Training
from lab.base import Base
from lab.corpus.corpus import Corpus
from lab.model import LanguageModel
from lab.records import LabError
from lab.workspace import Workspace

log = logging.getLogger(__name__)

STARTS = ("base", "random")


@dataclass(frozen=True)
class WeightTraining:
    """Goes to law school: weights change, and what is kept is a whole checkpoint.

    part: which of them. `all`; `embeddings`, where they are tied the output too; or `top:2`, the last two blocks with
    the norm after them. start: `base`, or `random` for the base's architecture and tokenizer with none of its
    knowledge: retraining from scratch, as BloombergGPT was (Wu et al. 2023).
    """

    training: Training
    part: str = "all"
    start: str = "base"

    def __post_init__(self) -> None:
        kind, _, count = str(self.part).partition(":")
        if not (self.part in ("all", "embeddings") or (kind == "top" and count.isdecimal() and int(count) > 0)):
            raise LabError(f"part={self.part}: choose all, embeddings, or top:N for the last N blocks")
        if self.start not in STARTS:
            raise LabError(f"start={self.start}: choose of {', '.join(STARTS)}")

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> LanguageModel:
        """The base with its weights trained on."""
        if base.weights().quantize:
            raise LabError(
                "model.quantize: this pipeline changes the weights themselves, and quantised ones cannot; "
                "give model.quantize=null, or pipeline=lora"
            )
        settings = {"part": self.part, "start": self.start}
        artifact = self.training.artifact("weights", settings, base, corpus, workspace, self._attach)
        log.info("the trained checkpoint, to be served or used elsewhere: %s", artifact.path)
        trained = dataclasses.replace(base.weights(), path=str(artifact.path), stage=None)
        return trained.load(workspace.device)

    def _attach(self, model: Any) -> Any:
        if self.start == "random":
            model = AutoModelForCausalLM.from_config(model.config, dtype=model.dtype).to(model.device)
        if self.part != "all":
            model.requires_grad_(False)
            for module in self._trained(model):
                module.requires_grad_(True)
        return model

    def _trained(self, model: Any) -> list[Any]:
        if self.part == "embeddings":
            return [model.get_input_embeddings()]
        count, layers = int(self.part.partition(":")[2]), model.config.get_text_config().num_hidden_layers
        if count > layers:
            raise LabError(f"part={self.part}: the model has {layers} blocks; lower it")
        decoder = model.get_decoder()
        return [*decoder.layers[-count:], *([decoder.norm] if hasattr(decoder, "norm") else [])]
