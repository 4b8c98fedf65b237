"""Two searches in one: by meaning and by words, joined by their ranks, weighed by what the corpus itself tells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy

from lab.context.base import Ranker, Retriever
from lab.context.bm25 import Bm25
from lab.context.dense import Dense
from lab.corpus.corpus import Corpus
from lab.corpus.passages import SENTENCE_END
from lab.records import Document, LabError, Passage
from lab.store import digest
from lab.workspace import Workspace

log = logging.getLogger(__name__)

SMOOTHING = 60  # The constant of Cormack, Clarke and Büttcher (2009).
DEPTH = 100  # How many of each half are joined at least.
SENTENCES = 200  # Questions that the corpus asks itself.
FEWEST = 30  # Below this it says too little, and both halves count the same.
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 1.0)


@dataclass(frozen=True)
class Hybrid:
    """Reciprocal rank fusion of a dense and a lexical search (Cormack, Clarke and Büttcher 2009), weighted.

    share: of the dense half in the weight, 0 to 1; 0.5 is the plain rule. None learns it from the corpus, never from
    an exam: a sentence is taken out of each of 200 passages, and whoever finds the rest of its passage by it (the
    inverse cloze task of Lee, Chang and Toutanova 2019) is worth listening to. The better half goes alone unless a
    mixture beats it there by more than one standard error. An encoder that cannot read the corpus (an English one on
    Chinese text) then does no harm, and does not have to encode it.
    """

    dense: Retriever = field(default_factory=Dense)
    lexical: Retriever = field(default_factory=Bm25)
    share: float | None = None

    def __post_init__(self) -> None:
        if self.share is not None and not (isinstance(self.share, int | float) and 0 <= self.share <= 1):
            raise LabError(f"context.retriever.share={self.share!r}: a number from 0 to 1, or null, is needed")

    def prepare(self, corpus: Corpus, workspace: Workspace) -> HybridRanker:
        """Learn the share where none is given, then prepare each half that has one."""
        share = self.share
        if share is None:
            with workspace.ledger.phase("indexing") as entry:
                share, entry.detail = self._learn(corpus, workspace)
            log.info("hybrid: the dense half has %.2f of the weight: %s", share, entry.detail)
        halves = [(self.dense, share), (self.lexical, 1 - share)]
        return HybridRanker([(half.prepare(corpus, workspace), weight) for half, weight in halves if weight > 0])

    def _learn(self, corpus: Corpus, workspace: Workspace) -> tuple[float, dict[str, float]]:
        """(share, what it rests on)."""
        asked = _cloze(corpus)
        if len(asked) < FEWEST:
            return 0.5, {"sentences": len(asked)}
        rests = [rest for _, rest in asked]
        documents = [Document(rest.document_id, rest.title, rest.text) for rest in rests]
        cloze = Corpus(f"{corpus.name}, a sentence taken out", tuple(documents), tuple(rests))
        sentences = [sentence for sentence, _ in asked]
        dense, lexical = (half.prepare(cloze, workspace).rank(sentences, DEPTH) for half in (self.dense, self.lexical))
        ranks = {
            share: numpy.array(
                [
                    _reciprocal(rest.id, fuse([(one, share), (two, 1 - share)]))
                    for rest, one, two in zip(rests, dense, lexical, strict=True)
                ]
            )
            for share in SHARES
        }
        alone = max((0.0, 1.0), key=lambda share: ranks[share].mean())
        mixed = max(SHARES, key=lambda share: ranks[share].mean())
        gain = ranks[mixed] - ranks[alone]
        chosen = mixed if gain.mean() > gain.std(ddof=1) / len(gain) ** 0.5 else alone
        means = {f"mrr_{name}": float(ranks[share].mean()) for name, share in (("dense", 1.0), ("lexical", 0.0))}
        return chosen, {"dense_share": chosen, "sentences": len(asked), **means, "mrr": float(ranks[chosen].mean())}


class HybridRanker:
    """Asks each half and joins what they found."""

    def __init__(self, halves: list[tuple[Ranker, float]]) -> None:
        self._halves = halves

    def rank(self, questions: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
        """The best by the sum of weight / (60 + rank); a half alone keeps the scores that it gives."""
        if len(self._halves) == 1:
            return self._halves[0][0].rank(questions, count)
        found = [ranker.rank(questions, max(count, DEPTH)) for ranker, _ in self._halves]
        weights = [weight for _, weight in self._halves]
        return [fuse(list(zip(lists, weights, strict=True)))[:count] for lists in zip(*found, strict=True)]


def fuse(rankings: Sequence[tuple[Sequence[tuple[str, float]], float]]) -> list[tuple[str, float]]:
    """(id, sum of weight / (60 + rank)) of everything found, best first; a tie goes to the first ranking's order.

    rankings: each a list of (id, score), best first, whose scores do not matter, and its weight.
    """
    scores: dict[str, float] = {}
    for ranking, weight in rankings:
        for rank, (id, _) in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0.0) + weight / (SMOOTHING + rank)
    return sorted(((id, score) for id, score in scores.items() if score > 0), key=lambda found: -found[1])


def _reciprocal(id: str, ranking: Sequence[tuple[str, float]]) -> float:
    return next((1 / rank for rank, (found, _) in enumerate(ranking, 1) if found == id), 0.0)


def _cloze(corpus: Corpus) -> list[tuple[str, Passage]]:
    """(a sentence, the passage without it) for up to 200 passages of several sentences, chosen by digest alone."""
    drawn = sorted((digest([passage.id, passage.text]), place) for place, passage in enumerate(corpus.passages))
    made: list[tuple[str, Passage]] = []
    for draw, place in drawn:
        passage = corpus.passages[place]
        ends = [found.end() for found in SENTENCE_END.finditer(passage.text)]
        edges = [0, *ends, len(passage.text)]
        spans = [(a, b) for a, b in pairwise(edges) if passage.text[a:b].strip()]
        if len(spans) < 2:
            continue
        start, end = spans[int(draw, 16) % len(spans)]
        rest = (passage.text[:start] + passage.text[end:]).strip()
        made.append(
            (passage.text[start:end].strip(), Passage(passage.id, passage.id, passage.title, rest, 0, len(rest)))
        )
        if len(made) == SENTENCES:
            break
    return made
