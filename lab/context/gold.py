"""The gold passages: what a perfect search would find. The ceiling of every comparison."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lab.context.base import check_k
from lab.corpus.corpus import Corpus
from lab.records import LabError, Question, ScoredPassage
from lab.store import digest
from lab.workspace import Workspace


@dataclass(frozen=True)
class Gold:
    """Each question's own gold passages.

    k: filled up to so many passages by others that are drawn without replacement, all in an order of chance: what is
    lost then is the reader's, not the search's. None shows the gold ones alone, and no k leaves one of them out.
    """

    k: int | None = None

    def __post_init__(self) -> None:
        if self.k is not None:
            check_k(self.k)

    def prepare(self, corpus: Corpus, workspace: Workspace) -> GoldReader:
        """Nothing to prepare: the questions bring the ids. LabError where the corpus lacks some of them on purpose."""
        if corpus.partial:
            raise LabError(
                f"context=gold: the corpus {corpus.name} leaves out documents that the exam asks about, so it has no "
                "ceiling; take the whole corpus (corpus.share=1 corpus.wrong=false), or another context"
            )
        return GoldReader(corpus, self.k or 0, workspace.seed)


class GoldReader:
    """Looks up the ids that a question names. What else it draws depends on the seed and the question's id alone."""

    def __init__(self, corpus: Corpus, k: int = 0, seed: int = 0) -> None:
        self._corpus = corpus
        self._k = k
        self._seed = seed

    def passages(self, questions: Sequence[Question]) -> list[list[ScoredPassage]]:
        """The gold passages in the question's order, score 1.0; none for a question that names none.

        With k these and others, score 0.0, in an order of chance. LabError for an id that is not in the corpus.
        """
        return [self._desk(question) for question in questions]

    def _desk(self, question: Question) -> list[ScoredPassage]:
        gold = [self._look_up(question, id) for id in question.passages]
        generator = random.Random(int(digest([self._seed, question.id]), 16))
        # Of so many, enough are left when those that are gold are taken out.
        drawn = generator.sample(self._corpus.passages, min(self._k, len(self._corpus.passages)))
        others = [passage for passage in drawn if passage.id not in question.passages][: max(0, self._k - len(gold))]
        if not others:
            return gold
        desk = gold + [ScoredPassage(passage, 0.0) for passage in others]
        generator.shuffle(desk)
        return desk

    def _look_up(self, question: Question, id: str) -> ScoredPassage:
        try:
            return ScoredPassage(self._corpus.passage(id), 1.0)
        except LabError as error:
            raise LabError(f"question {question.id!r}: {error}") from None
