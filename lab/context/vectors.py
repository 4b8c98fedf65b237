"""Vectors of passages, kept by content: a text that an encoder has read once is never read by it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import load_file, save_file

from lab.context.embedder import Embedder
from lab.store import JSON, Artifact
from lab.workspace import Workspace

# What an artifact of vectors tells of its making, as the ledger names it.
WORK = ("padded_tokens", "flops", "flops_formula")
CLOCKS = ("seconds", "cpu_seconds", "joules")
# So many texts are written at a time: what a stopped encoding has finished is kept.
CHUNK = 4096


@dataclass(frozen=True)
class Encoded:
    """vectors: float32, (texts, dimension). cut: texts longer than the encoder reads. encoded: how many it read now.

    cost: of those, as `lab.ledger.Entry` names it. before: what the others took when they were encoded, with the time.
    """

    vectors: numpy.ndarray
    cut: int
    encoded: int
    cost: dict[str, JSON]
    before: dict[str, JSON]


def encode(texts: Sequence[str], embedder: Embedder, workspace: Workspace) -> Encoded:
    """Vectors of the texts, in order: kept ones are taken, the others are encoded and kept.

    A vector belongs to the SHA-256 of its text and to the encoder, and to nothing else: neither ids nor the rest of the
    corpus. Equal texts are encoded once.
    """
    owner = embedder.key()
    by_name = {_name(text): text for text in texts}
    known: dict[str, tuple[numpy.ndarray, int, bool]] = {}
    notes: dict[str, JSON] = {}
    cost, before = Shares((*WORK, "bytes")), Shares((*WORK, *CLOCKS))
    for artifact in workspace.store.kept("vectors", owner):
        rows = [row for row in _rows(artifact) if row[0] in by_name and row[0] not in known]
        known.update(rows)
        before.add(artifact, len(rows))
    missing = [name for name in by_name if name not in known]
    if missing:
        with workspace.progress.step("encoding", len(missing), "passages") as advance:
            for first in range(0, len(missing), CHUNK):
                names = missing[first : first + CHUNK]
                artifact = _encode({name: by_name[name] for name in names}, embedder, workspace, owner, advance)
                known.update(_rows(artifact))
                cost.add(artifact, len(names))
                notes |= {name: value for name, value in artifact.cost.items() if name == "flops_note"}
    found = [known[_name(text)] for text in texts]
    fresh = sum(known[name][1] for name in missing)
    return Encoded(
        vectors=numpy.stack([vector for vector, _, _ in found]),
        cut=sum(cut for _, _, cut in found),
        encoded=len(missing),
        cost={"tokens": fresh, **cost.sums, **notes},
        before={"tokens": sum(tokens for _, tokens, _ in found) - fresh, **before.sums},
    )


class Shares:
    """Sums of what artifacts took, each for the texts that are taken of it. One that does not tell makes a sum None."""

    def __init__(self, names: Sequence[str]) -> None:
        self.sums: dict[str, Any] = dict.fromkeys(names, 0)

    def add(self, artifact: Artifact, texts: int) -> None:
        """So many texts of an artifact."""
        for name, sum_ in self.sums.items():
            part, of = artifact.cost.get(name), artifact.cost["texts"]
            if part is not None and texts < of:
                part = part * texts / of
            if texts:
                self.sums[name] = None if part is None or sum_ is None else sum_ + part


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
        return {"texts": len(texts), "tokens": sum(tokens), **embedder.work(list(texts.values()))}

    return workspace.store.artifact("vectors", {**owner, "texts": list(texts)}, build)


def _rows(artifact: Artifact) -> Iterator[tuple[str, tuple[numpy.ndarray, int, bool]]]:
    arrays = load_file(artifact.path / "vectors.safetensors")
    for name, vector, tokens, cut in zip(
        arrays["names"], arrays["vectors"], arrays["tokens"].tolist(), arrays["cut"].tolist(), strict=True
    ):
        yield name.tobytes().hex(), (vector, tokens, bool(cut))
