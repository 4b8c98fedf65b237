"""Retrieved passages: what a search finds, and which of it goes into the prompt. With the base model this is RAG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lab.context.base import Ranker, Retriever, check_k, check_passages, check_whole
from lab.context.dense import Dense
from lab.context.reranker import Reranker
from lab.corpus.corpus import Corpus
from lab.corpus.passages import count_tokens
from lab.progress import step
from lab.records import LabError, Question, ScoredPassage
from lab.workspace import Workspace

ORDERS = ("best_first", "best_last")


@dataclass(frozen=True)
class Retrieved:
    """The k best passages of a search, or fewer where something below leaves fewer.

    reranker: a cross-encoder's folder, which reads question and passage together and ranks anew. per_document: the
    most passages of one document. max_tokens: the most tokens of all passages together, titles included, as
    `lab.corpus.passages.count_tokens` counts them, so that all students see the same; a passage that has no room
    left is passed over for the next one that has. candidates: how many the search ranks where these three choose among
    them. order: `best_first`, or `best_last`, which puts the best next to the question.
    """

    retriever: Retriever = field(default_factory=Dense)
    k: int = 3
    reranker: str | None = None
    per_document: int | None = None
    max_tokens: int | None = None
    candidates: int = 50
    order: str = "best_first"

    def __post_init__(self) -> None:
        check_k(self.k)
        check_whole("context.candidates", self.candidates)
        for name, value in (("per_document", self.per_document), ("max_tokens", self.max_tokens)):
            if value is not None:
                check_whole(f"context.{name}", value)
        if self.order not in ORDERS:
            raise LabError(f"context.order={self.order!r}: choose {' or '.join(ORDERS)}")
        if self.reranker is not None and not (isinstance(self.reranker, str) and self.reranker):
            raise LabError(f"context.reranker={self.reranker!r}: the path of a model folder, or null, is needed")

    def prepare(self, corpus: Corpus, workspace: Workspace) -> RetrievedReader:
        """Prepare the search. LabError where the corpus has no passages."""
        check_passages(corpus)
        reranker = Reranker(self.reranker, workspace.device) if self.reranker else None
        return RetrievedReader(corpus, self.retriever.prepare(corpus, workspace), reranker, self)


class RetrievedReader:
    """Asks the search, then chooses."""

    def __init__(self, corpus: Corpus, ranker: Ranker, reranker: Reranker | None, settings: Retrieved) -> None:
        self._corpus = corpus
        self._ranker = ranker
        self._reranker = reranker
        self._settings = settings

    def passages(self, questions: Sequence[Question]) -> list[list[ScoredPassage]]:
        """The chosen passages of each question. The score is the search's own, or the reranker's where there is one."""
        settings = self._settings
        # Sorted and single: a batch's padding moves the last digits, so the order of questions must not choose it.
        texts = sorted({question.question for question in questions})
        chooses = self._reranker or settings.per_document or settings.max_tokens
        count = max(settings.k, settings.candidates) if chooses else settings.k
        with step("searching"):
            ranked = [
                [ScoredPassage(self._corpus.passage(id), score) for id, score in found]
                for found in self._ranker.rank(texts, count)
            ]
        if self._reranker:
            ranked = self._reranker.rank(texts, ranked)
        chosen = {text: self._choose(found) for text, found in zip(texts, ranked, strict=True)}
        return [list(chosen[question.question]) for question in questions]

    def _choose(self, found: Iterable[ScoredPassage]) -> list[ScoredPassage]:
        settings = self._settings
        kept: list[ScoredPassage] = []
        of_document: dict[str, int] = {}
        tokens = 0
        for scored in found:
            passage = scored.passage
            size = count_tokens(passage.title) + count_tokens(passage.text) if settings.max_tokens else 0
            taken = of_document.get(passage.document_id, 0)
            if settings.per_document is not None and taken >= settings.per_document:
                continue
            if settings.max_tokens is not None and tokens + size > settings.max_tokens:
                continue
            kept.append(scored)
            of_document[passage.document_id] = taken + 1
            tokens += size
            if len(kept) == settings.k:
                break
        return kept if settings.order == "best_first" else kept[::-1]
