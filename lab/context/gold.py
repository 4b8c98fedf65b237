"""The gold passages: what a perfect search would find. The ceiling of every comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.corpus.corpus import Corpus
from lab.records import LabError, Question, ScoredPassage
from lab.workspace import Workspace


@dataclass(frozen=True)
class Gold:
    """Each question's own gold passages."""

    def prepare(self, corpus: Corpus, workspace: Workspace) -> GoldReader:
        """Nothing to prepare: the questions bring the ids. LabError where the corpus lacks some of them on purpose."""
        if corpus.partial:
            raise LabError(
                f"context=gold: the corpus {corpus.name} leaves out documents that the exam asks about, so it has no "
                "ceiling; take the whole corpus (corpus.share=1 corpus.wrong=false), or another context"
            )
        return GoldReader(corpus)


class GoldReader:
    """Looks up the ids that a question names."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def passages(self, questions: Sequence[Question]) -> list[list[ScoredPassage]]:
        """The gold passages in the question's order, score 1.0; none for a question that names none.

        LabError for an id that is not in the corpus.
        """
        return [[self._look_up(question, id) for id in question.passages] for question in questions]

    def _look_up(self, question: Question, id: str) -> ScoredPassage:
        try:
            return ScoredPassage(self._corpus.passage(id), 1.0)
        except LabError as error:
            raise LabError(f"question {question.id!r}: {error}") from None
