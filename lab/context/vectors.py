"""Vectors of passages, kept by content: a text that an encoder has read once is never read by it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from safetensors.numpy import load_file, save_file

from lab.context.embedder import Embedder
from lab.store import JSON, Artifact
from lab.workspace import Workspace

# So many texts are written at a time: what a stopped encoding has finished is kept.
CHUNK = 4096


@dataclass(frozen=True)
class Encoded:
    """vectors: float32, (texts, dimension). tokens: that the encoder reads of them. cut: texts longer than it reads.

    fresh_tokens, encoded, bytes: of the texts that were encoded now. old_seconds: what the others took when they were.
    """

    vectors: numpy.ndarray
    tokens: int
    cut: int
    fresh_tokens: int
    encoded: int
    bytes: int
    old_seconds: float


def encode(texts: Sequence[str], embedder: Embedder, workspace: Workspace) -> Encoded:
    """Vectors of the texts, in order: kept ones are taken, the others are encoded and kept.

    A vector belongs to the SHA-256 of its text, the digest of the encoder and the versions of its libraries, and to
    nothing else: neither ids nor the rest of the corpus. Equal texts are encoded once.
    """
    owner: dict[str, JSON] = {
        "embedder": embedder.digest(),
        "versions": embedder.libraries(),
    }
    by_name = {_name(text): text for text in texts}
    known: dict[str, tuple[numpy.ndarray, int, bool]] = {}
    old_seconds = 0.0
    for artifact in workspace.store.kept("vectors", owner):
        rows = [row for row in _rows(artifact) if row[0] in by_name and row[0] not in known]
        known.update(rows)
        old_seconds += artifact.cost["seconds"] * len(rows) / artifact.cost["texts"]
    missing = [name for name in by_name if name not in known]
    size = 0
    if missing:
        with workspace.progress.step("encoding", len(missing), "passages") as advance:
            for first in range(0, len(missing), CHUNK):
                names = missing[first : first + CHUNK]
                artifact = _encode({name: by_name[name] for name in names}, embedder, workspace, owner, advance)
                known.update(_rows(artifact))
                size += artifact.cost["bytes"]
    found = [known[_name(text)] for text in texts]
    return Encoded(
        vectors=numpy.stack([vector for vector, _, _ in found]),
        tokens=sum(tokens for _, tokens, _ in found),
        cut=sum(cut for _, _, cut in found),
        fresh_tokens=sum(known[name][1] for name in missing),
        encoded=len(missing),
        bytes=size,
        old_seconds=old_seconds,
    )


def _name(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _encode(
    texts: dict[str, str],
    embedder: Embedder,
    workspace: Workspace,
    owner: dict[str, JSON],
    advance: Callable[[int], None],
) -> Artifact:
    def build(folder: Path) -> dict[str, JSON]:
        tokens, cut = embedder.count_tokens(list(texts.values()))
        arrays = {
            "vectors": embedder.encode_passages(list(texts.values()), advance),
            "names": numpy.frombuffer(bytes.fromhex("".join(texts)), dtype=numpy.uint8).reshape(-1, 32),
            "tokens": numpy.array(tokens, dtype=numpy.int32),
            "cut": numpy.array(cut, dtype=numpy.uint8),
        }
        save_file(arrays, folder / "vectors.safetensors")
        return {"texts": len(texts), "tokens": sum(tokens)}

    return workspace.store.artifact("vectors", {**owner, "texts": list(texts)}, build)


def _rows(artifact: Artifact) -> Iterator[tuple[str, tuple[numpy.ndarray, int, bool]]]:
    arrays = load_file(artifact.path / "vectors.safetensors")
    for name, vector, tokens, cut in zip(
        arrays["names"], arrays["vectors"], arrays["tokens"].tolist(), arrays["cut"].tolist(), strict=True
    ):
        yield name.tobytes().hex(), (vector, tokens, bool(cut))
