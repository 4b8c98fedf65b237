"""What every adaptation trains on and keeps: the mixture, the key of the weights made, their row in the ledger."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch

from lab import ranks
from lab.adapt.blocks import Pieces, Rows
from lab.adapt.fit import fit
from lab.adapt.mixture import Replay, domain_texts, mix, split
from lab.adapt.recipe import SCHEDULES, Recipe
from lab.adapt.replay import SelfReplay
from lab.adapt.seen import Seen, refuse_leaks
from lab.adapt.shards import whole_weights
from lab.adapt.watch import Watch
from lab.attention import can_compile
from lab.base import Base
from lab.corpus.corpus import Corpus
from lab.framing import Frame
from lab.ledger import PRACTICE_BILL, REWORDED_BILL
from lab.model import LanguageModel
from lab.packing import Piece, encoded, rows
from lab.records import LabError, TrainingText
from lab.runtime import versions
from lab.states import States
from lab.store import JSON, Artifact, digest
from lab.workspace import Workspace

log = logging.getLogger(__name__)

KEPT_STEPS = 64  # Enough for both moments: 0.95^64 is 0.04, 0.9^64 a thousandth.

# The lab's default learning rates are the embedded base's. Above this many parameters they would wreck a model.
SMALL_PARAMETERS, LARGE_RATE = 20_000_000, 1e-3
WATCHED_DOCUMENTS = 48  # Whose loss is taken on the way: a look at the way, not a result.
# What weights do not depend on, or what is told by the texts themselves.
OUTSIDE = ("texts", "wordings", "replay", "checkpoint_seconds")
OPTIMIZERS = ("fresh", "kept")
SEEDS_APART = 100_000  # between the general text of one link of a chain and that of the next


@dataclass(frozen=True)
class Continuation:
    """What a training goes on from: the weights before, and private text that did not change since.

    link: which update this is, from 1: each replays other general text. rehearsal_share: of the private tokens, those
    from `rehearsed`.
    """

    weights: Artifact
    link: int
    rehearsed: Sequence[TrainingText] = ()
    rehearsal_share: float = 0.0


@dataclass(frozen=True)
class Training:
    """What weights are trained on, and how.

    texts: kinds of private text, of `documents`, `reworded` and `practice`. wordings: tellings of each document, the
    document itself included; None takes all there are. tokens: the whole budget, real tokens, or instead of it passes:
    how often the private text is gone through; general text replaces private text in the one and comes on top of it in
    the other. general_share: the share of all tokens that is general text from `replay`.

    learning_rate: the peak. schedule: `rewarm_cosine`, from zero up to it in `warmup_share` of the steps and down to
    zero by a cosine (Ibrahim et al. 2024); `constant_from_end`, at one rate throughout and without a warm-up, as where
    the base's own training ended (Parmar et al. 2024: Reuse, Don't Retrain); `warmup_stable_decay`, level until the
    last part and then straight down to zero (Hu et al. 2024: MiniCPM). optimizer: `fresh` begins with no moments;
    `kept` with those that the base's own text leaves behind, gathered from `replay` in steps that change no weight,
    since hardly any base comes with its optimizer.

    device_rows rows of row_tokens tokens make a step. evaluations: how often the way is looked at, the start not
    counted. checkpoint_seconds: how often, at most, all that a killed training goes on from is written.
    """

    texts: tuple[str, ...]
    tokens: int | None
    learning_rate: float
    general_share: float
    replay: Replay | SelfReplay | None
    wordings: int | None = None
    passes: float | None = None
    schedule: str = "rewarm_cosine"
    optimizer: str = "fresh"
    warmup_share: float = 0.1
    device_rows: int = 4
    row_tokens: int = 512
    evaluations: int = 8
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))  # A list, as a configuration gives it, is no JSON.
        for name, least in (("device_rows", 1), ("row_tokens", 8), ("evaluations", 1)):
            _check_whole(name, getattr(self, name), least)
        for name in ("tokens", "wordings"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), 1)
        if (self.tokens is None) == (self.passes is None):
            raise LabError(f"tokens={self.tokens}, passes={self.passes}: give one of the two, and null for the other")
        if self.passes is not None and (not isinstance(self.passes, int | float) or not 1 <= self.passes < math.inf):
            raise LabError(f"passes={self.passes}: a number of at least 1 is needed")
        for name, share, above in (
            ("general_share", self.general_share, 0.99 if self.tokens is None else 1.0),
            ("warmup_share", self.warmup_share, 0.99),
        ):
            if not isinstance(share, int | float) or not 0 <= share <= above:
                raise LabError(f"{name}={share}: a share from 0 to {above:g} is needed")
        if not isinstance(self.learning_rate, int | float) or not 0 < self.learning_rate < math.inf:
            raise LabError(f"learning_rate={self.learning_rate}: a number above 0 is needed, such as 1e-3")
        for name, value, known in (("schedule", self.schedule, SCHEDULES), ("optimizer", self.optimizer, OPTIMIZERS)):
            if value not in known:
                raise LabError(f"{name}={value}: choose of {', '.join(known)}")
        if self.general_share and self.replay is None:
            raise LabError(
                f"general_share={self.general_share}: there is no replay text; set replay, or the share to 0"
            )
        if self.optimizer == "kept" and self.replay is None:
            raise LabError("optimizer=kept: the base's moments are gathered from replay text; set replay, or fresh")

    def artifact(
        self,
        kind: str,
        settings: Mapping[str, JSON],
        base: Base,
        corpus: Corpus,
        workspace: Workspace,
        attach: Callable[[Any], Any],
        finish: Callable[[Any], Any] = lambda model: model,
        after: Continuation | None = None,
    ) -> Artifact:
        """Trained weights, made now or kept from before, and their row in the ledger.

        kind, settings: what the adaptation adds to the key, its code with it. attach: makes the model to train of
        the base's, and is the place to freeze or to add an adapter. finish: makes what is saved of what was trained.
        after: what it goes on from, where that is not the base: it is then billed under `updating`. Errors: LabError
        where an exam question stands in a training text, the loss is no number any more, or the mixture cannot be made.
        """
        weights = base.weights()
        if (ranks.sharded() or ranks.zero()) and (weights.quantize or self.optimizer == "kept"):
            what = f"model.quantize={weights.quantize}" if weights.quantize else "training.optimizer=kept"
            raise LabError(
                f"{what}: needs whole weights and moments, which are split here; leave it out, or launch with ddp.yml"
            )
        domain = domain_texts(corpus, self.texts, self.wordings)
        watched = [document.text for document in corpus.documents[:WATCHED_DOCUMENTS]]
        replay = self._replay(base, workspace)

        phase = "updating" if after else "training"
        if after:
            digests = [digest(dataclasses.asdict(text)) for text in after.rehearsed]
            settings = {**settings, "link": after.link, "rehearsed": digests, "share": after.rehearsal_share}
        key: dict[str, JSON] = {
            **settings,
            "training": digest(self._settings()),
            "replay": replay.digest if replay else None,
            "domain": digest(map(dataclasses.asdict, domain)),
            "watched": digest(watched),
            "base": base.digest,
            "seed": workspace.seed,
            "device": workspace.device,
            "compiler": can_compile(),  # What is compiled rounds otherwise.
            "versions": {name: versions()[name] for name in ("torch", "transformers", "peft", "accelerate")},
        }
        states = States(workspace.store.states(kind, key), key)

        def begin(device: str) -> tuple[LanguageModel, Any]:
            # Master weights in float32 whatever the base answers in: bfloat16 swallows small steps.
            attention = "eager" if weights.attention == "eager" else "auto"  # Others cannot see branches apart.
            start = dataclasses.replace(weights, dtype="float32", attention=attention).load(device)
            # Adapters write down what they are of: by its name, since the folder is another on every machine.
            start.model.name_or_path = start.model.config.name_or_path = weights.name
            torch.manual_seed(workspace.seed)
            return start, attach(start.model)

        def build(folder: Path) -> Mapping[str, JSON]:
            start, model = begin(workspace.device)
            self._question(model)
            watch = Watch(start.tokenizer, start.frame, watched, workspace)
            cost = self._train(
                model, start.tokenizer, start.frame, domain, replay, watch, folder, states, workspace, after
            )
            joined = whole_weights(model) if ranks.sharded() else {}
            if ranks.rank() == 0:
                if joined:  # What is split cannot be finished, so a whole one of its kind takes its weights.
                    _, model = begin("cpu")
                    model.load_state_dict(joined)
                finish(model).save_pretrained(folder)
                start.tokenizer.save_pretrained(folder)
            return cost

        with workspace.ledger.phase(phase) as entry:
            artifact = ranks.artifact(workspace.store, kind, key, build)
            if artifact.reused:
                # Another exam may be asked now than when these weights were trained.
                refuse_leaks(artifact.path, workspace)
                workspace.ledger.add_reused(phase, artifact.cost)
            else:
                entry.add(artifact.cost)
                if "earlier" in artifact.cost:
                    workspace.ledger.add_reused(phase, artifact.cost["earlier"])
        paid = {"practice": PRACTICE_BILL, "reworded": REWORDED_BILL}
        for bill in corpus.bills:
            if bill.phase in [paid.get(kind) for kind in self.texts]:
                workspace.ledger.add_bill(bill)
        return artifact

    def _settings(self) -> dict[str, JSON]:
        """What of the settings weights depend on: the texts themselves are part of the key, however they were named."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if name not in OUTSIDE}

    def _replay(self, base: Base, workspace: Workspace) -> Replay | None:
        if self.general_share == 0 and self.optimizer == "fresh":
            return None  # It has no part in these weights, so another source must not train them again.
        return self.replay.written(base, workspace) if isinstance(self.replay, SelfReplay) else self.replay

    def _question(self, model: Any) -> None:
        parameters = sum(p.numel() for p in model.parameters())
        if parameters > SMALL_PARAMETERS and self.learning_rate > LARGE_RATE:
            log.warning(
                "learning_rate=%g suits the embedded base; for a model of %.0f M parameters try 1e-5 to 1e-4 where all "
                "weights change, 1e-4 to 1e-3 for LoRA (training.learning_rate)",
                *(self.learning_rate, parameters / 1e6),
            )

    def _train(
        self,
        model: Any,
        tokenizer: Any,
        frame: Frame,
        domain: Sequence[TrainingText],
        replay: Replay | None,
        watch: Watch,
        folder: Path,
        states: States,
        workspace: Workspace,
        after: Continuation | None,
    ) -> Mapping[str, JSON]:
        """Train `model`, and note in `folder` every text that it saw. Returns what it took."""
        rehearsed, share = (after.rehearsed, after.rehearsal_share) if after else ((), 0.0)
        seed = workspace.seed + SEEDS_APART * (after.link if after else 0)

        def cut(texts: Iterable[TrainingText], side: str = "") -> Iterator[Piece]:
            for text, piece in encoded(tokenizer, texts, frame):
                seen.note(side + text.source, text.plain)
                yield from split(piece, self.row_tokens)

        def replayed(seed: int) -> Iterator[Piece]:
            return cut(replay.texts(seed) if replay else (), "replay ")

        with (
            Seen(folder) as seen,
            Pieces(folder) as private,
            Pieces(folder) as kept,
            Rows(folder) as packed,
            Rows(folder) as before,
        ):
            for texts, pieces in ((domain, private), (rehearsed, kept)):
                for piece in cut(texts):
                    pieces.append(piece)
            one_pass = sum(map(len, private))
            tokens = self.tokens or round((self.passes or 1) * one_pass / (1 - self.general_share) / (1 - share))
            random = Random(f"mixture/{seed}")
            mixture = mix(private, replayed(seed), tokens, self.general_share, random, kept, share)
            with workspace.progress.step("packing", tokens, "tokens") as advance:
                for row in rows(mixture.pieces, self.row_tokens):
                    packed.append(row)
                    advance(sum(map(len, row)))
            if self.optimizer == "kept":
                # Its moments are those of general text that is not trained on, of a seed of its own.
                for row in islice(rows(replayed(seed + 1), self.row_tokens), KEPT_STEPS * self.device_rows):
                    before.append(row)
            refuse_leaks(folder, workspace)
            fitted = fit(model, tokenizer, packed, self._recipe(), watch, before, states, workspace)
        general = sum(count for source, count in mixture.tokens.items() if source.startswith("replay "))
        return {
            "tokens": tokens,
            "replayed_tokens": general,
            **fitted,
            "tokens_by_source": mixture.tokens,
            "general_share": general / tokens,
            "passes": mixture.passes,
            "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "watching_seconds": watch.seconds,
            "measured_on": workspace.measured_on,
            "losses": watch.rows,
        }

    def _recipe(self) -> Recipe:
        shared = [field.name for field in dataclasses.fields(Recipe)]
        return Recipe(**{name: getattr(self, name) for name in shared})


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise LabError(f"{name}={value}: a whole number of at least {least} is needed")
