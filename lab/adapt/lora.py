"""LoRA and its kin: the base stays as it is, and small matrices beside its layers learn."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from lab import ranks
from lab.adapt.training import Continuation, Training
from lab.base import Base
from lab.code import digest_code
from lab.corpus.corpus import Corpus
from lab.low_rank import thin
from lab.model import LanguageModel
from lab.records import LabError
from lab.runtime import versions
from lab.store import JSON, Artifact, digest
from lab.workspace import Workspace

log = logging.getLogger(__name__)


VARIANTS = ("lora", "rslora", "dora", "pissa")
TARGETS = ("all-linear", "attention", "feed-forward")


@dataclass(frozen=True)
class LowRankAdaptation:
    """Adapters beside the base's layers.

    rank: of each adapter; alpha is twice the rank. targets: `all-linear` (but the output), `attention`,
    `feed-forward`, or names of modules. embeddings: whether an adapter stands beside the embeddings too; an output that
    is tied to them stays as it is. variant: `lora` (Hu et al. 2021); `rslora` divides alpha by the root of the rank
    (Kalajdzievski 2023); `dora` learns each column's length apart (Liu et al. 2024); `pissa` begins with the base's
    own first singular directions (Meng et al. 2024), and what is kept of it is whole weights.

    merged: whether the exam is sat with the adapters added into the weights, which answers faster, or beside them.
    checkpoint: a folder to write the merged model to, None writes none.
    """

    training: Training
    rank: int
    targets: str | tuple[str, ...] = "all-linear"
    embeddings: bool = False
    variant: str = "lora"
    dropout: float = 0.0
    merged: bool = True
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.targets, str):
            object.__setattr__(self, "targets", tuple(self.targets))
        elif self.targets not in TARGETS:
            raise LabError(f"targets={self.targets}: choose of {', '.join(TARGETS)}, or a list of names of modules")
        if not isinstance(self.rank, int) or self.rank < 1:
            raise LabError(f"rank={self.rank}: a whole number of at least 1 is needed")
        if self.variant not in VARIANTS:
            raise LabError(f"variant={self.variant}: choose of {', '.join(VARIANTS)}")
        if not 0 <= self.dropout < 1:
            raise LabError(f"dropout={self.dropout}: a share from 0 to below 1 is needed")
        if not self.merged and (self.variant == "pissa" or self.checkpoint is not None):
            what = f"checkpoint={self.checkpoint}" if self.checkpoint is not None else "variant=pissa"
            raise LabError(f"{what}: only merged weights make a checkpoint; give merged=true")

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> LanguageModel:
        """The base with trained adapters."""
        return self.load(base, self.train(base, corpus, workspace), workspace)

    def train(self, base: Base, corpus: Corpus, workspace: Workspace, after: Continuation | None = None) -> Artifact:
        """Trained adapters, made now or kept; after: those that it goes on from, with the corpus what changed.

        LabError where those are no adapters any more.
        """
        settings: dict[str, JSON] = {
            name: getattr(self, name) for name in ("rank", "targets", "embeddings", "variant", "dropout")
        }
        settings["code"] = digest_code(__name__)
        finish = (lambda model: model.merge_and_unload()) if self._is_whole else _in_order
        attach = self._attach
        if after:
            if self._is_whole:
                raise LabError("variant=pissa: it keeps whole weights and no adapters to go on from; take another")
            settings["before"] = after.weights.digest
            attach = partial(self._attach_again, after.weights.path)
        return self.training.artifact("lora", settings, base, corpus, workspace, attach, finish, after)

    @property
    def _is_whole(self) -> bool:
        """PiSSA takes what its adapters begin with off the base's weights, so they are of no use beside the base."""
        return self.variant == "pissa"

    def load(self, base: Base, artifact: Artifact, workspace: Workspace) -> LanguageModel:
        """The base with these adapters."""
        if self._is_whole:
            loaded = base.weights().moved(artifact.path).load(workspace.device)
            model: Any = loaded.model
        else:
            loaded = base.weights().load(workspace.device)
            log.info("the trained adapter, to be served beside its base: %s", artifact.path)
            self._untie(loaded.model)
            adapted = PeftModel.from_pretrained(loaded.model, str(artifact.path))
            # Unmerged, the adapters sit inside the base's own layers: the model around them is the same.
            model = adapted.merge_and_unload() if self.merged else adapted.get_base_model()
        # Merged weights round otherwise, and how they are merged is this code's and peft's.
        together: JSON = [loaded.digest, artifact.digest, self.merged, digest_code(__name__), versions()["peft"]]
        if self.checkpoint is not None and ranks.rank() == 0:
            model.save_pretrained(self.checkpoint)
            loaded.tokenizer.save_pretrained(self.checkpoint)
            log.info("the merged checkpoint, to be served or used elsewhere: %s", self.checkpoint)
        return LanguageModel(model, loaded.tokenizer, digest(together), frame=loaded.frame)

    def _attach_again(self, path: Path, model: Any) -> Any:
        self._untie(model)
        return thin(PeftModel.from_pretrained(model, str(path), is_trainable=True))

    def _attach(self, model: Any) -> Any:
        layers = self._layers(model)
        narrowest = min(min(layer.in_features, layer.out_features) for layer in layers.values())
        # By the end of their names, as whoever serves the adapter elsewhere expects them.
        names = sorted({name.rsplit(".", 1)[-1] for name in layers})
        if self.rank > narrowest:
            raise LabError(
                f"rank={self.rank}: the narrowest layer is {narrowest} wide, so a higher rank adds nothing; lower it"
            )
        self._untie(model)
        if self.embeddings:
            table = model.get_input_embeddings()
            names += [name.rsplit(".", 1)[-1] for name, module in model.named_modules() if module is table]
        settings = LoraConfig(
            r=self.rank,
            lora_alpha=2 * self.rank,
            lora_dropout=self.dropout,
            target_modules=names,
            use_rslora=self.variant == "rslora",
            use_dora=self.variant == "dora",
            init_lora_weights="pissa" if self.variant == "pissa" else True,
            task_type="CAUSAL_LM",
        )
        return thin(get_peft_model(model, settings))

    def _untie(self, model: Any) -> None:
        """Merged into a matrix that is the output as well, an adapter of the embeddings would change both."""
        output = model.get_output_embeddings()
        if self.embeddings and output.weight is model.get_input_embeddings().weight:
            output.weight = torch.nn.Parameter(output.weight.detach().clone(), requires_grad=False)
            model.config.tie_word_embeddings = False

    def _layers(self, model: Any) -> dict[str, torch.nn.Linear]:
        """The linear layers that get an adapter, by name. LabError where the targets name none."""
        output = model.get_output_embeddings()
        linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not output}
        # The architectures of transformers call their attention so, and what else is in a block feeds forward.
        wanted = {
            "all-linear": lambda name: True,
            "attention": lambda name: "attn" in name or "attention" in name,
            "feed-forward": lambda name: not ("attn" in name or "attention" in name),
        }.get(str(self.targets), lambda name: name.rsplit(".", 1)[-1] in self.targets)
        found = {name: layer for name, layer in linear.items() if wanted(name)}
        if not found:
            known = sorted({name.rsplit(".", 1)[-1] for name in linear})
            raise LabError(
                f"targets={self.targets}: the model has no such linear layers; it has {', '.join(known) or 'none'}"
            )
        return found


def _in_order(model: Any) -> Any:
    """The adapters, with the names of their layers in order: peft keeps and would write them as a set."""
    for settings in model.peft_config.values():
        settings.target_modules = sorted(settings.target_modules)
        settings.base_model_name_or_path = None  # Named, it would be looked for on the hub; peft writes the name later.
    return model
