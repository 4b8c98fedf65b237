"""Weights and a corpus that changes: trained on by what changed, or left as they are.

Retraining from the base needs nothing of its own: it is any adaptation, on the corpus as it stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lab.adapt import Adaptation
from lab.adapt.lora import LowRankAdaptation
from lab.adapt.mixture import domain_texts
from lab.adapt.training import Continuation, Training
from lab.adapt.weights import WeightTraining
from lab.base import Base
from lab.corpus.changes import Earlier, changes, earlier_corpora
from lab.corpus.corpus import Corpus
from lab.model import LanguageModel, Model
from lab.records import LabError, TrainingText
from lab.workspace import Workspace


@dataclass(frozen=True)
class Continued:
    """Goes on from the weights of the corpus before, on the documents that an update changed or added, and on replay.

    first: how the weights were adapted to the oldest corpus; each later one is a link of a chain, and an artifact of
    its own, billed under `updating`. update: what each link trains on, of the kinds of text that the changes have.
    rehearsal_share: of a link's private tokens, those from documents that did not change: what is not told again is
    forgotten. A document that is gone is not trained away: nothing tells of it any more, that is all.
    """

    first: WeightTraining | LowRankAdaptation
    update: Training
    earlier: Earlier
    rehearsal_share: float

    def __post_init__(self) -> None:
        if not isinstance(self.rehearsal_share, int | float) or not 0 <= self.rehearsal_share <= 0.95:
            raise LabError(f"rehearsal_share={self.rehearsal_share}: a share from 0 to 0.95 is needed")

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> LanguageModel:
        """The base, adapted to the oldest corpus and then to each update. LabError where there was none."""
        corpora = [*earlier_corpora(self.earlier), corpus]
        weights = self.first.train(base, corpora[0], workspace)
        for number, (old, new) in enumerate(pairwise(corpora), 1):
            found = changes(old, new)
            if found.changed is None:
                continue  # Documents only went.
            kinds = _kinds(self.update, found.changed)
            link = dataclasses.replace(self.first, training=dataclasses.replace(self.update, texts=kinds))
            rehearsed = self._rehearsed(found.unchanged)
            share = self.rehearsal_share if rehearsed else 0.0
            weights = link.train(base, found.changed, workspace, Continuation(weights, number, rehearsed, share))
        return self.first.load(base, weights, workspace)

    def _rehearsed(self, unchanged: Corpus | None) -> Sequence[TrainingText]:
        if unchanged is None or not self.rehearsal_share:
            return ()
        return domain_texts(unchanged, _kinds(self.update, unchanged), self.update.wordings)


@dataclass(frozen=True)
class Outdated:
    """Weights that were adapted to the oldest corpus and never updated."""

    adaptation: Adaptation
    earlier: Earlier

    def adapt(self, base: Base, corpus: Corpus, workspace: Workspace) -> Model:
        """The base, adapted to a corpus that is not the one at hand. LabError where it never changed."""
        return self.adaptation.adapt(base, earlier_corpora(self.earlier)[0], workspace)


def _kinds(training: Training, corpus: Corpus) -> tuple[str, ...]:
    """Those kinds of text that the corpus has: a small update may have touched no document that practice covers."""
    has = {"documents": True, "reworded": bool(corpus.reworded), "practice": bool(corpus.practice)}
    return tuple(kind for kind in training.texts if has.get(kind, True))
