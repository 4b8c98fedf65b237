"""Random passages: as much text on the desk as a search would bring, but no search. The control of every comparison."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lab.context.base import check_k, check_passages
from lab.corpus.corpus import Corpus
from lab.records import Passage, Question, ScoredPassage
from lab.store import digest
from lab.workspace import Workspace


@dataclass(frozen=True)
class RandomPassages:
    """k passages a question, drawn without replacement from the whole corpus; the gold one may be among them."""

    k: int = 3

    def __post_init__(self) -> None:
        check_k(self.k)

    def prepare(self, corpus: Corpus, workspace: Workspace) -> RandomReader:
        """Nothing to prepare. LabError where the corpus has no passages."""
        check_passages(corpus)
        return RandomReader(corpus, self.k, workspace.seed)


class RandomReader:
    """Draws by the seed and the question's id alone, so neither order nor number of the calls matters."""

    def __init__(self, corpus: Corpus, k: int, seed: int) -> None:
        self._corpus = corpus
        self._k = min(k, len(corpus.passages))
        self._seed = seed

    def passages(self, questions: Sequence[Question]) -> list[list[ScoredPassage]]:
        """k passages a question (all, where the corpus has fewer), score 0.0: the draw prefers none."""
        return [[ScoredPassage(passage, 0.0) for passage in self._draw(question)] for question in questions]

    def _draw(self, question: Question) -> list[Passage]:
        generator = random.Random(int(digest([self._seed, question.id]), 16))
        return generator.sample(self._corpus.passages, self._k)
