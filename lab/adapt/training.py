"""The one way to train that every adaptation shares: mixture, packing, transformers.Trainer, losses on the way."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from lab.adapt.mixture import Mixture, Replay, domain_texts, mix, split
from lab.base import Base
from lab.corpus.corpus import Corpus
from lab.framing import Frame
from lab.ledger import PRACTICE_BILL, REWORDED_BILL
from lab.packing import Piece, encode, pack, rows
from lab.records import LabError, TrainingText, read_jsonl, write_jsonl
from lab.runtime import seed_everything, versions
from lab.store import JSON, Artifact, digest
from lab.workspace import Workspace

log = logging.getLogger(__name__)

# The lab's default learning rates are the embedded base's. Above this many parameters they would wreck a model.
SMALL_PARAMETERS, LARGE_RATE = 20_000_000, 1e-3
EVALUATION_TEXTS = 48  # Of each side; their losses are a look at the way, not a result.
KEY_TEXTS = 64  # Replay texts that go into the artifact's key: enough to see that their source has changed.
SEEN = "texts.jsonl"
CURVE = (
    *("domain_loss", "general_loss"),
    *("domain_bits_per_byte", "general_bits_per_byte"),
    *("exam_score", "general_score"),
)
TRAINING_FORM = 2  # To be raised when training is done in another way: kept weights are then trained again.


@dataclass(frozen=True)
class Training:
    """What weights are trained on, and how.

    texts: kinds of private text, of `documents`, `reworded` and `practice`. tokens: the whole budget, real tokens;
    `general_share` of it is general text from `replay`. learning_rate: the peak, reached after `warmup_share` of the
    steps from zero, then a cosine to zero: re-warmed and decayed (Ibrahim et al. 2024). device_rows rows of row_tokens
    tokens make a step. evaluations: how often losses on private and general text are taken on the way.
    """

    texts: tuple[str, ...]
    tokens: int
    learning_rate: float
    general_share: float
    replay: Replay | None
    warmup_share: float = 0.1
    device_rows: int = 4
    row_tokens: int = 512
    evaluations: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))  # A list, as a configuration gives it, is no JSON.
        for name, least in (("tokens", 1), ("device_rows", 1), ("row_tokens", 8), ("evaluations", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise LabError(f"{name}={value}: a whole number of at least {least} is needed")
        for name, value, above in (
            ("general_share", self.general_share, 1.0),
            ("warmup_share", self.warmup_share, 0.99),
        ):
            if not isinstance(value, int | float) or not 0 <= value <= above:
                raise LabError(f"{name}={value}: a share from 0 to {above:g} is needed")
        if not isinstance(self.learning_rate, int | float) or not 0 < self.learning_rate < math.inf:
            raise LabError(f"learning_rate={self.learning_rate}: a number above 0 is needed, such as 1e-3")
        if self.general_share and self.replay is None:
            raise LabError(
                f"general_share={self.general_share}: there is no replay text; set replay, or the share to 0"
            )

    def artifact(
        self,
        kind: str,
        settings: Mapping[str, JSON],
        base: Base,
        corpus: Corpus,
        workspace: Workspace,
        attach: Callable[[Any], Any],
    ) -> Artifact:
        """Trained weights, made now or kept from before, and their row in the ledger.

        kind, settings: what the adaptation adds to the key. attach: makes the model to train of the base's, and is the
        place to freeze or to add an adapter. Errors: LabError where an exam question stands in a training text, the
        loss is no number any more, or the mixture cannot be made.
        """
        weights = base.weights()
        domain = domain_texts(corpus, self.texts)

        def build(folder: Path) -> Mapping[str, JSON]:
            # Master weights in float32 whatever the base answers in: bfloat16 swallows small steps.
            attention = "eager" if weights.attention == "eager" else "auto"  # Others cannot see branches apart.
            start = dataclasses.replace(weights, dtype="float32", attention=attention).load(workspace.device)
            torch.manual_seed(workspace.seed)
            return self._train(attach(start.model), start.tokenizer, start.frame, domain, folder, workspace)

        with workspace.ledger.phase("training") as entry:
            key: dict[str, JSON] = {
                **settings,
                "form": TRAINING_FORM,
                "training": digest({**dataclasses.asdict(self), "replay": self._replay_digest()}),
                "domain": digest([dataclasses.asdict(text) for text in domain]),
                "base": base.digest,
                "seed": workspace.seed,
                "device": workspace.device,
                "versions": {name: versions()[name] for name in ("torch", "transformers", "peft", "accelerate")},
            }
            artifact = workspace.store.artifact(kind, key, build)
            if artifact.reused:
                # Another exam may be asked now than when these weights were trained.
                workspace.refuse_leaks((row["source"], row["text"]) for row in read_jsonl(artifact.path / SEEN))
                workspace.ledger.add_reused("training", artifact.cost)
            else:
                names = ("tokens", "bytes")
                entry.tokens, entry.bytes = (artifact.cost[name] for name in names)
                entry.detail = {name: value for name, value in artifact.cost.items() if name not in (*names, "seconds")}
        paid = {"practice": PRACTICE_BILL, "reworded": REWORDED_BILL}
        for bill in corpus.bills:
            if bill.phase in [paid.get(kind) for kind in self.texts]:
                workspace.ledger.add_bill(bill)
        return artifact

    def _replay_digest(self) -> str | None:
        if self.replay is None:
            return None
        return digest([dataclasses.asdict(text) for text in itertools.islice(self.replay.texts(0), KEY_TEXTS)])

    def _train(
        self,
        model: Any,
        tokenizer: Any,
        frame: Frame,
        domain: Sequence[TrainingText],
        folder: Path,
        workspace: Workspace,
    ) -> Mapping[str, JSON]:
        """Train and save into `folder`: the weights, the tokenizer, and every text that they saw."""
        seen = {text.plain: text.source for text in domain}

        def replayed(seed: int) -> Iterator[tuple[str, Piece]]:
            for text in self.replay.texts(seed) if self.replay else ():
                seen[text.plain] = f"replay {text.source}"
                for piece in split(encode(tokenizer, [text], frame)[0], self.row_tokens):
                    yield text.source, piece

        pieces = [
            (text.source, part)
            for text, piece in zip(domain, encode(tokenizer, domain, frame), strict=True)
            for part in split(piece, self.row_tokens)
        ]
        mixture = mix(
            pieces, replayed(workspace.seed), self.tokens, self.general_share, Random(f"mixture/{workspace.seed}")
        )
        workspace.refuse_leaks((source, text) for text, source in seen.items())
        looked_at = {"domain": [piece for _, piece in pieces[:EVALUATION_TEXTS]]}
        if self.replay:  # Of a seed of its own: general text that is not trained on.
            others = itertools.islice(replayed(workspace.seed + 1), EVALUATION_TEXTS)
            looked_at["general"] = [piece for _, piece in others]
        losses = self._fit(model, tokenizer, mixture, looked_at, workspace)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_jsonl(folder / SEEN, ({"source": source, "text": text} for text, source in seen.items()))
        replay_tokens = sum(count for source, count in mixture.tokens.items() if source.startswith("replay "))
        return {
            "tokens": self.tokens,
            "tokens_by_source": mixture.tokens,
            "general_share": replay_tokens / self.tokens,
            "passes": mixture.passes,
            "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "losses": losses,
        }

    def _fit(
        self,
        model: Any,
        tokenizer: Any,
        mixture: Mixture,
        looked_at: Mapping[str, list[Piece]],
        workspace: Workspace,
    ) -> list[dict[str, JSON]]:
        """Train on the whole mixture once, in its order; returns the losses on the way."""
        parameters = sum(p.numel() for p in model.parameters())
        if parameters > SMALL_PARAMETERS and self.learning_rate > LARGE_RATE:
            log.warning(
                "learning_rate=%g suits the embedded base; for a model of %.0f M parameters try 1e-5 to 1e-4 where all "
                "weights change, 1e-4 to 1e-3 for LoRA (training.learning_rate)",
                *(self.learning_rate, parameters / 1e6),
            )
        packed = list(rows(mixture.pieces, self.row_tokens))
        steps = math.ceil(len(packed) / self.device_rows)

        # The one implementation that adds a mask to its scores: as 1 and 0, true and false would hide nothing.
        adds_mask = model.config._attn_implementation == "eager"

        def collate(batch: list[list[Piece]]) -> dict[str, torch.Tensor]:
            made = pack(batch, self.row_tokens, tokenizer.pad_token_id)
            # Models shift labels themselves; these stand one place early.
            labels = made.labels.roll(1, dims=1)
            labels[:, 0] = -100
            mask = made.mask
            if adds_mask:
                mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
            return {
                "input_ids": made.ids, "position_ids": made.positions, "attention_mask": mask, "labels": labels
            }  # fmt: skip

        with TemporaryDirectory() as unused, workspace.progress.step("training", steps) as advance:
            arguments = TrainingArguments(
                output_dir=unused,
                per_device_train_batch_size=self.device_rows,
                per_device_eval_batch_size=self.device_rows,
                num_train_epochs=1,
                train_sampling_strategy="sequential",  # The mixture's order is the order.
                learning_rate=self.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=math.ceil(self.warmup_share * steps),
                weight_decay=0.0,
                adam_beta2=0.95,
                eval_strategy="steps",
                eval_steps=max(1, math.ceil(steps / self.evaluations)),
                eval_on_start=True,
                prediction_loss_only=True,
                save_strategy="no",
                logging_strategy="no",
                remove_unused_columns=False,
                label_names=["labels"],
                seed=workspace.seed,
                use_cpu=workspace.device == "cpu",
                bf16=workspace.device == "cuda",
                dataloader_pin_memory=workspace.device == "cuda",
                disable_tqdm=True,
                report_to="none",
            )
            watch = _Watch([sum(map(len, row)) for row in packed], self.device_rows, tuple(looked_at), advance)
            trainer = _FiniteTrainer(
                model=model,
                args=arguments,
                train_dataset=packed,  # A list is a map-style data set.
                eval_dataset={name: list(rows(pieces, self.row_tokens)) for name, pieces in looked_at.items()},
                data_collator=collate,
                callbacks=[watch],
            )
            trainer.remove_callback(PrinterCallback)
            seed_everything(workspace.seed)
            trainer.train()
        return list(watch.losses.values())


class _FiniteTrainer(Trainer):
    """Stops where the loss is no number: every later step would only spread it."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        found = super().compute_loss(*args, **kwargs)
        loss = found[0] if isinstance(found, tuple) else found
        if not torch.isfinite(loss):
            raise LabError(
                f"the training loss is {loss.item()} after {self.state.global_step} steps; nothing was kept: lower the "
                "learning rate (training.learning_rate)"
            )
        return found


class _Watch(TrainerCallback):
    """Notes the losses of each evaluation, and shows them with the steps."""

    def __init__(
        self, row_tokens: Sequence[int], device_rows: int, names: tuple[str, ...], advance: Callable[..., None]
    ) -> None:
        self._names = names
        self._seen = [0, *itertools.accumulate(row_tokens)]
        self._device_rows = device_rows
        self._advance = advance
        self.losses: dict[int, dict[str, JSON]] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._advance(1)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        tokens = self._seen[min(state.global_step * self._device_rows, len(self._seen) - 1)]
        row = self.losses.setdefault(state.global_step, {"tokens": tokens, **dict.fromkeys(CURVE)})
        for name in self._names:  # One call each, in this order.
            if f"eval_{name}_loss" in metrics:
                row[f"{name}_loss"] = metrics[f"eval_{name}_loss"]
        if f"eval_{self._names[-1]}_loss" in metrics:
            self._advance(0, "loss " + ", ".join(f"{name} {row[f'{name}_loss']:.3f}" for name in self._names))
