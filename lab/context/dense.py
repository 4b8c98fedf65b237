"""Dense search: the passages whose vectors lie nearest to the question's, in a FAISS index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss

from lab.code import digest_code
from lab.context.base import best_first, check_passages, passage_form
from lab.context.embedder import Embedder, check_precision
from lab.context.vectors import CLOCKS, WORK, encode
from lab.corpus.corpus import Corpus
from lab.corpus.shelf import View
from lab.records import LabError, Passage
from lab.runtime import versions
from lab.store import JSON, digest_text
from lab.workspace import Workspace

# How hard an index that is not exact looks: a graph follows so many candidates, an inverted file opens so many lists.
GRAPH_CANDIDATES = 128
LISTS_SHARE = 4


@dataclass(frozen=True)
class Dense:
    """The passages nearest to the question by cosine.

    embedder: a sentence-transformers model folder; None is the installed all-MiniLM-L6-v2. index: a factory string of
    FAISS. `Flat` is exact, and the best choice up to about a million passages; `HNSW32` (Malkov and Yashunin 2018) or
    `IVF1024,Flat` (Jégou et al. 2011) find most of the same passages, sooner, in more. backend: `torch`, or `openvino`
    (an extra), which encodes in less time on a CPU, to the same vectors but for the seventh digit. precision:
    `float32`; `bfloat16`, for a GPU or a CPU that has it; `int8`, with openvino. What each gains and loses:
    benchmarks/README.md.
    """

    embedder: str | None = None
    index: str = "Flat"
    backend: str = "torch"
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.embedder is not None and not (isinstance(self.embedder, str) and self.embedder):
            raise LabError(
                f"context.retriever.embedder={self.embedder!r}: the path of a model folder, or null, is needed"
            )
        check_precision(self.backend, self.precision)
        try:
            faiss.index_factory(64, self.index, faiss.METRIC_INNER_PRODUCT)
        except (RuntimeError, TypeError, NotImplementedError):
            raise LabError(
                f"context.retriever.index={self.index!r}: not an index that FAISS can make; "
                "give Flat, HNSW32 or IVF1024,Flat (with your own number)"
            ) from None

    def prepare(self, corpus: Corpus, workspace: Workspace) -> DenseRanker:
        """Encode the passages and build the index, or take it from the store, where nothing is encoded.

        Passages that any corpus had before are not encoded again. Billed to the phase `indexing`: tokens encoded,
        bytes kept. What earlier runs paid for, the whole index or single vectors, is a row of its own.
        """
        return self._prepare(corpus, workspace, None)

    def update(self, before: Corpus, corpus: Corpus, workspace: Workspace) -> DenseRanker:
        """The same where there is an index of the corpus before. Billed to `updating`: what the new passages take."""
        return self._prepare(corpus, workspace, before)

    def _prepare(self, corpus: Corpus, workspace: Workspace, before: Corpus | None) -> DenseRanker:
        check_passages(corpus)
        phase = "updating" if before else "indexing"
        embedder = Embedder(self.embedder, workspace.device, self.backend, self.precision)

        def build(folder: Path) -> dict[str, JSON]:
            forms = View(corpus.passages, passage_form)
            new: Sequence[int] = range(len(forms))
            if before:
                old = {digest_text(passage_form(passage)) for passage in before.passages}
                new = [place for place, form in enumerate(forms) if digest_text(form) not in old]
            anew = View(new, forms.__getitem__)
            billed = encode(anew or forms, embedder, workspace)
            made = encode(forms, embedder, workspace) if before else billed  # What did not change is kept already.
            index = faiss.index_factory(made.vectors.shape[1], self.index, faiss.METRIC_INNER_PRODUCT)
            if not index.is_trained:
                lists = faiss.extract_index_ivf(index).nlist
                if len(made.vectors) < lists:
                    raise LabError(
                        f"context.retriever.index={self.index}: {lists} lists for {len(made.vectors)} passages; "
                        "give fewer lists, or Flat"
                    )
                index.train(made.vectors)
            index.add(made.vectors)
            noted = {
                **{name: value for name, value in billed.cost.items() if name != "bytes"},
                "passages": len(corpus.passages),
                "passages_cut": made.cut,
                "passages_encoded": billed.encoded,
                "vector_bytes": billed.cost["bytes"],
                "before": billed.before if anew else dict.fromkeys(("tokens", *WORK, *CLOCKS), 0),
            }
            del billed, made  # The index has the vectors now.
            # Written by Python, a part at a time: faiss reports a full disk as an error of its own.
            with (folder / "index.faiss").open("wb") as file:
                faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
            return noted

        with workspace.ledger.phase(phase) as entry:
            key: dict[str, JSON] = {
                **({"before": before.passages_digest} if before else {}),
                "passages": corpus.passages_digest,
                "code": digest_code(__name__),
                "encoder": embedder.key(),
                "index": self.index,
                "versions": {"faiss-cpu": versions()["faiss-cpu"]},
            }
            artifact = workspace.store.artifact("index", key, build)
            # The store has just verified the SHA-256: faiss reads many damaged files without an error.
            index = faiss.read_index(str(artifact.path / "index.faiss"))
            cost, paid = dict(artifact.cost), artifact.cost["before"]
            cost["bytes"] += cost.pop("vector_bytes")
            del cost["before"]
            if not artifact.reused:
                entry.add(cost)
        if artifact.reused:
            whole = {name: _sum(cost.get(name), paid.get(name)) for name in ("tokens", *WORK, *CLOCKS)}
            workspace.ledger.add_reused(phase, {**cost, **whole})
        elif paid["tokens"]:
            workspace.ledger.add_reused(phase, paid)
        return DenseRanker(index, corpus.passages, embedder)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


class DenseRanker:
    """Searches an index. Its first call loads the encoder, which is released together with the ranker."""

    def __init__(self, index: faiss.Index, passages: Sequence[Passage], embedder: Embedder) -> None:
        self._index = index
        self._passages = passages
        self._embedder = embedder
        lists = faiss.try_extract_index_ivf(index)
        if lists is not None:
            lists.nprobe = max(1, lists.nlist // LISTS_SHARE)
        if isinstance(index, faiss.IndexHNSW):
            index.hnsw.efSearch = GRAPH_CANDIDATES

    def rank(self, questions: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
        """The nearest passages by cosine. An index that is not exact may find fewer than it was asked for."""
        if not questions:
            return []
        scores, places = self._index.search(self._embedder.encode_questions(questions), min(count, len(self._passages)))
        return [
            [(self._passages[place].id, score) for place, score in best_first(found, count)]
            for found in (
                [(place, score) for place, score in zip(*row, strict=True) if place >= 0]
                for row in zip(places.tolist(), scores.tolist(), strict=True)
            )
        ]
