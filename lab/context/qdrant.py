"""Dense search on a Qdrant server: the first step beyond one machine, and an index that is changed in place."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lab.context.base import best_first, check_passages, passage_form
from lab.context.embedder import Embedder
from lab.context.vectors import encode
from lab.corpus.corpus import Corpus
from lab.corpus.shelf import View
from lab.records import LabError, Passage
from lab.store import digest
from lab.workspace import Workspace

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

KEY = "QDRANT_API_KEY"
POINTS = uuid.UUID("5b1f2c0e-6c1b-5d0e-9a53-3b1f6a7f9c11")  # Any fixed one: the same passage is the same point.
BATCH = 256


@dataclass(frozen=True)
class Qdrant:
    """The passages nearest to the question by cosine, in a collection of a Qdrant server.

    url: of the server; `:memory:` is the client's own, for tests. Its key is read from the environment variable
    QDRANT_API_KEY. collection: the beginning of its name; the encoder's digest is the end, so that vectors of two
    encoders never meet. It belongs to one corpus: `prepare` makes it equal to the corpus that it is given, and removes
    what is not in it. embedder: as for `Dense`. exact: look at every vector; false lets the server's graph do it.

    A point's id is made of the passage's id. Beside its vector it holds that id and a digest, and no text.
    """

    url: str = "http://localhost:6333"
    collection: str = "open-book-exam-lab"
    embedder: str | None = None
    exact: bool = True

    def __post_init__(self) -> None:
        if self.url != ":memory:" and not str(self.url).startswith(("http://", "https://")):
            raise LabError(
                f"context.retriever.url={self.url!r}: a server's address, http://... or https://..., is needed"
            )
        if not (isinstance(self.collection, str) and self.collection):
            raise LabError(f"context.retriever.collection={self.collection!r}: a name is needed")

    def prepare(self, corpus: Corpus, workspace: Workspace) -> QdrantRanker:
        """Add, replace and remove points until the collection holds the corpus; nothing else of it is touched.

        Billed to the phase `indexing`, with the numbers of points written and removed.
        """
        check_passages(corpus)
        embedder = Embedder(self.embedder, workspace.device)
        name = f"{self.collection}-{embedder.digest()[:12]}"
        client = connect(self.url)
        with workspace.ledger.phase("indexing") as entry, answers(self.url):
            kept = _kept(client, name)
            digests = {point(passage.id): _digest(passage, embedder) for passage in corpus.passages}
            gone = [id for id in kept if id not in digests]
            new = [place for place, (id, made) in enumerate(digests.items()) if kept.get(id) != made]
            for first in range(0, len(gone), BATCH):
                client.delete(name, points_selector=[*gone[first : first + BATCH]], wait=True)
            if new:
                fresh = View(new, corpus.passages.__getitem__)
                made = encode(View(fresh, passage_form), embedder, workspace)
                _create(client, name, made.vectors.shape[1])
                for first in range(0, len(new), BATCH):
                    payloads = [(passage.id, digests[point(passage.id)]) for passage in fresh[first : first + BATCH]]
                    _write(client, name, made.vectors[first : first + BATCH].tolist(), payloads)
                entry.add(made.cost)
            entry.detail = {"passages": len(digests), "points_written": len(new), "points_removed": len(gone)}
        return QdrantRanker(client, name, corpus, embedder, self)


class QdrantRanker:
    """Asks the server."""

    def __init__(self, client: QdrantClient, name: str, corpus: Corpus, embedder: Embedder, settings: Qdrant) -> None:
        self._client = client
        self._name = name
        self._corpus = corpus
        self._embedder = embedder
        self._settings = settings

    def rank(self, questions: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
        """The nearest passages by cosine. LabError where the server does not answer."""
        from qdrant_client import models

        if not questions:
            return []
        asked = [
            models.QueryRequest(
                query=vector, limit=count, with_payload=True, params=models.SearchParams(exact=self._settings.exact)
            )
            for vector in self._embedder.encode_questions(questions).tolist()
        ]
        ranked: list[list[tuple[str, float]]] = []
        with answers(self._settings.url):
            for first in range(0, len(asked), BATCH):
                for answer in self._client.query_batch_points(self._name, requests=asked[first : first + BATCH]):
                    found = [
                        (self._corpus.place(hit.payload["passage"]), hit.score) for hit in answer.points if hit.payload
                    ]
                    best = best_first(found, count)
                    ranked.append([(self._corpus.passages[place].id, score) for place, score in best])
        return ranked


def connect(url: str) -> QdrantClient:
    """A client of the server, or of the client's own store in memory. LabError where the package is missing."""
    try:
        from qdrant_client import QdrantClient
    except ImportError:
        raise LabError("context=qdrant needs the package qdrant-client; pip install '.[qdrant]'") from None
    if url == ":memory:":
        return QdrantClient(":memory:")
    key = os.environ.get(KEY)
    if key and not url.startswith("https://") and urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1"):
        raise LabError(f"context.retriever.url={url}: the key would travel unencrypted; give an https:// address")
    return QdrantClient(url=url, api_key=key, check_compatibility=False)


@contextmanager
def answers(url: str) -> Iterator[None]:
    """LabError where a server does not answer, or refuses."""
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    try:
        yield
    except ResponseHandlingException as error:
        raise LabError(
            f"context.retriever.url={url}: no Qdrant server answers ({error}); start it or mend it"
        ) from None
    except UnexpectedResponse as error:
        reason = f"{error.status_code} {error.reason_phrase}"
        raise LabError(f"context.retriever.url={url}: the server refuses ({reason}); is {KEY} set?") from None


def point(passage_id: str) -> str:
    """The id of a passage's point: a UUID that depends on the passage's id alone."""
    return str(uuid.uuid5(POINTS, passage_id))


def _digest(passage: Passage, embedder: Embedder) -> str:
    return digest([embedder.key(), passage_form(passage)])


def _kept(client: QdrantClient, name: str) -> dict[str, str]:
    """Digest of each point's passage, by the point's id."""
    if not client.collection_exists(name):
        return {}
    kept: dict[str, str] = {}
    following = None
    while True:
        rows, following = client.scroll(name, limit=4096, offset=following, with_payload=["digest"])
        kept.update((str(row.id), (row.payload or {}).get("digest", "")) for row in rows)
        if following is None:
            return kept


def _create(client: QdrantClient, name: str, dimension: int) -> None:
    from qdrant_client import models

    if not client.collection_exists(name):
        client.create_collection(name, models.VectorParams(size=dimension, distance=models.Distance.COSINE))


def _write(client: QdrantClient, name: str, vectors: list[list[float]], passages: list[tuple[str, str]]) -> None:
    """passages: (id, digest) of each."""
    from qdrant_client import models

    ids: list[models.ExtendedPointId] = [point(id) for id, _ in passages]
    payloads = [{"passage": id, "digest": made} for id, made in passages]
    client.upsert(name, points=models.Batch(ids=ids, vectors=vectors, payloads=payloads), wait=True)
