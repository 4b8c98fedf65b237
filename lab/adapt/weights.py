"""Training the weights themselves: continued pretraining, full or partly frozen fine-tuning, and from scratch."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from lab.adapt.training import Continuation, Training
from lab.base import Base
from lab.code import digest_code
from lab.corpus.corpus import Corpus
from lab.model import LanguageModel
from lab.records import LabError
from lab.store import JSON, Artifact
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
        return self.load(base, self.train(base, corpus, workspace), workspace)

    def train(self, base: Base, corpus: Corpus, workspace: Workspace, after: Continuation | None = None) -> Artifact:
        """The trained checkpoint, made now or kept; after: what it goes on from, with the corpus what changed."""
        if base.weights().quantize:
            raise LabError(
                "model.quantize: this pipeline changes the weights themselves, and quantised ones cannot; "
                "give model.quantize=null, or pipeline=lora"
            )
        start = base.weights().moved(after.weights.path) if after else base
        attach = dataclasses.replace(self, start="base")._attach if after else self._attach
        settings: dict[str, JSON] = {"part": self.part, "start": self.start, "code": digest_code(__name__)}
        return self.training.artifact("weights", settings, start, corpus, workspace, attach, after=after)

    def load(self, base: Base, artifact: Artifact, workspace: Workspace) -> LanguageModel:
        """The model of a checkpoint."""
        log.info("the trained checkpoint, to be served or used elsewhere: %s", artifact.path)
        return base.weights().moved(artifact.path).load(workspace.device)

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
        # In every decoder of transformers the blocks are its one list, and what follows it is the last norm.
        parts = list(model.get_decoder().children())
        at = next(place for place, part in enumerate(parts) if isinstance(part, torch.nn.ModuleList))
        count, blocks = int(self.part.partition(":")[2]), parts[at]
        if count > len(blocks):
            raise LabError(f"part={self.part}: the model has {len(blocks)} blocks; lower it")
        return [*blocks[-count:], *parts[at + 1 :]]
