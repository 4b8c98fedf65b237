"""Retrieved passages: dense search over an exact FAISS index. With the base model this is RAG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss

from lab.context.base import check_k, check_passages
from lab.context.embedder import Embedder
from lab.corpus.corpus import Corpus
from lab.records import LabError, Passage, Question, ScoredPassage, read_jsonl, write_jsonl
from lab.runtime import versions
from lab.store import JSON
from lab.workspace import Workspace

# Part of the index's key: it must change whenever `_form` does.
PASSAGE_FORM = "title\\ntext"


def _form(passage: Passage) -> str:
    """A passage as it is encoded. The title names the act and the section, which the text often does not."""
    return f"{passage.title}\n{passage.text}"


@dataclass(frozen=True)
class Retrieved:
    """The k passages nearest to the question by cosine.

    embedder: a sentence-transformers model folder; None is the installed all-MiniLM-L6-v2.
    """

    k: int = 3
    embedder: str | None = None

    def __post_init__(self) -> None:
        check_k(self.k)
        if self.embedder is not None and not (isinstance(self.embedder, str) and self.embedder):
            raise LabError(f"context.embedder={self.embedder!r}: the path of a model folder, or null, is needed")

    def prepare(self, corpus: Corpus, workspace: Workspace) -> RetrievedReader:
        """Encode the passages and build the index, or take it from the store, where nothing is encoded.

        Billed to the phase `indexing`: tokens encoded, bytes kept; a reused index adds a row with what it cost once.
        """
        check_passages(corpus)
        embedder = Embedder(self.embedder, workspace.device)

        def build(folder: Path) -> dict[str, JSON]:
            texts = [_form(passage) for passage in corpus.passages]
            vectors = embedder.encode_passages(texts)
            index = faiss.IndexFlatIP(vectors.shape[1])
            index.add(vectors)
            # Written by Python: faiss reports a full disk as an error of its own.
            (folder / "index.faiss").write_bytes(faiss.serialize_index(index).data)
            write_jsonl(folder / "passages.jsonl", ({"id": passage.id} for passage in corpus.passages))
            tokens, cut = embedder.count_tokens(texts)
            return {"tokens": tokens, "passages": len(texts), "passages_cut": cut}

        with workspace.ledger.phase("indexing") as entry:
            key: dict[str, JSON] = {
                "passages": corpus.passages_digest,
                "form": PASSAGE_FORM,
                "embedder": embedder.digest(),
                "index": "IndexFlatIP",
                "versions": {name: versions()[name] for name in ("faiss-cpu", "sentence-transformers", "transformers")},
            }
            artifact = workspace.store.artifact("index", key, build)
            # The store has just verified the SHA-256: faiss reads many damaged files without an error.
            index = faiss.read_index(str(artifact.path / "index.faiss"))
            found = [corpus.passage(row["id"]) for row in read_jsonl(artifact.path / "passages.jsonl")]
            if not artifact.reused:
                entry.tokens, entry.bytes = artifact.cost["tokens"], artifact.cost["bytes"]
                entry.detail = {name: artifact.cost[name] for name in ("passages", "passages_cut")}
        if artifact.reused:
            workspace.ledger.add_reused("indexing", artifact.cost)
        return RetrievedReader(index, found, embedder, self.k)


class RetrievedReader:
    """Searches an index. Its first call loads the encoder, which is released together with the reader."""

    def __init__(self, index: faiss.Index, passages: list[Passage], embedder: Embedder, k: int) -> None:
        self._index = index
        self._passages = passages
        self._embedder = embedder
        self._k = min(k, len(passages))

    def passages(self, questions: Sequence[Question]) -> list[list[ScoredPassage]]:
        """The k nearest passages a question (all, where there are fewer), by cosine, the nearest first.

        Give all questions at once: a batch is an order of magnitude faster than single calls.
        """
        if not questions:
            return []
        # Sorted and single: a batch's padding moves the last digits, so the order of questions must not choose it.
        texts = sorted({question.question for question in questions})
        scores, places = self._index.search(self._embedder.encode_questions(texts), self._k)
        found = {text: self._rank(*row) for text, *row in zip(texts, scores.tolist(), places.tolist(), strict=True)}
        return [list(found[question.question]) for question in questions]

    def _rank(self, scores: list[float], places: list[int]) -> list[ScoredPassage]:
        # Six digits are above the noise of float32, so equal passages tie, and a tie goes to the earlier one.
        order = sorted((-round(score, 6), place) for score, place in zip(scores, places, strict=True))
        return [ScoredPassage(self._passages[place], -negative) for negative, place in order]
