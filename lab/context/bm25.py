"""BM25: search by words, with the path and the headings of a passage searched beside its text."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bm25s
import numpy
from bm25s.tokenization import Tokenized

from lab.code import digest_code
from lab.context.base import best_first, check_passages, check_whole
from lab.context.words import words
from lab.corpus.corpus import Corpus
from lab.corpus.shelf import View
from lab.records import LabError, Passage
from lab.runtime import versions
from lab.store import JSON
from lab.workspace import Workspace


@dataclass(frozen=True)
class Bm25:
    """BM25 as Lucene counts it (Robertson and Zaragoza 2009; Kamphuis et al. 2020), over two fields.

    heading_weight: a word in the document's id (the path of its file) or in the passage's title counts as so many in
    its text. They are added before the score flattens, as BM25F does (Robertson, Zaragoza and Taylor 2004), so one
    word in both fields is not counted as two. k1: how late repeats of a word stop to count. b: how much long passages
    are held back, 0 to 1.
    """

    heading_weight: int = 5
    k1: float = 1.5
    b: float = 0.75

    def __post_init__(self) -> None:
        check_whole("context.retriever.heading_weight", self.heading_weight)
        if not (isinstance(self.k1, int | float) and self.k1 >= 0):
            raise LabError(f"context.retriever.k1={self.k1!r}: a number of at least 0 is needed")
        if not (isinstance(self.b, int | float) and 0 <= self.b <= 1):
            raise LabError(f"context.retriever.b={self.b!r}: a number from 0 to 1 is needed")

    def prepare(self, corpus: Corpus, workspace: Workspace) -> Bm25Ranker:
        """Count the words, or take the counts from the store. An edit counts all again: it takes seconds."""
        check_passages(corpus)

        def build(folder: Path) -> dict[str, JSON]:
            index = bm25s.BM25(k1=self.k1, b=self.b, method="lucene", csc_backend="scipy")
            # Words are numbered as they come, not as a set of this process happens to hold them, and kept as numbers.
            numbers: dict[str, int] = {}
            said, ends = array("i"), array("q", [0])
            for passage in corpus.passages:
                said.extend([numbers.setdefault(word, len(numbers)) for word in self._form(passage)])
                ends.append(len(said))
            if not numbers:
                raise LabError(f"corpus {corpus.name}: no word in it to search by; choose context=retrieved")
            bags = View(range(len(corpus.passages)), lambda place: said[ends[place] : ends[place + 1]])
            index.index(Tokenized(bags, numbers), show_progress=False)
            index.save(folder, show_progress=False)
            return {"passages": len(corpus.passages)}

        with workspace.ledger.phase("indexing") as entry:
            key: dict[str, JSON] = {
                "passages": corpus.passages_digest,
                "code": digest_code(__name__),
                "index": ["BM25", self.heading_weight, self.k1, self.b],
                "versions": {"bm25s": versions()["bm25s"]},
            }
            artifact = workspace.store.artifact("index", key, build)
            index = bm25s.BM25.load(artifact.path, show_progress=False)
            if not artifact.reused:
                entry.bytes = artifact.cost["bytes"]
                entry.detail = {"passages": artifact.cost["passages"]}
        if artifact.reused:
            workspace.ledger.add_reused("indexing", artifact.cost)
        return Bm25Ranker(index, corpus.passages)

    def _form(self, passage: Passage) -> list[str]:
        return words(f"{passage.document_id} | {passage.title}") * self.heading_weight + words(passage.text)


class Bm25Ranker:
    """Adds up what the words of a question are worth in each passage."""

    def __init__(self, index: bm25s.BM25, passages: Sequence[Passage]) -> None:
        self._index = index
        self._passages = passages

    def rank(self, questions: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
        """The best passages by BM25. One that shares no word with the question is not found at all."""
        return [self._rank(question, count) for question in questions]

    def _rank(self, question: str, count: int) -> list[tuple[str, float]]:
        known = [id for id in map(self._index.vocab_dict.get, words(question)) if id is not None]
        if not known:
            return []
        scores = self._index.get_scores_from_ids(known)
        # All that could be among the best after rounding, so that ties are not settled by numpy.
        least = numpy.partition(scores, -count)[-count] if count < len(scores) else 0.0
        places = numpy.flatnonzero((scores > 0) & (scores >= least - 1e-6))
        found = zip(places.tolist(), scores[places].tolist(), strict=True)
        return [(self._passages[place].id, score) for place, score in best_first(found, count)]
