"""Vectors of passages, kept by content: a text that an encoder has read once is never read by it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import load_file, save_file

from lab.context.embedder import Embedder
from lab.store import JSON, Artifact, digest_text
from lab.workspace import Workspace

# What an artifact of vectors tells of its making, as the ledger names it.
WORK = ("padded_tokens", "flops", "flops_formula")
CLOCKS = ("seconds", "cpu_seconds", "joules")
# What a stopped encoding has finished is kept: so many texts are written at a time, or a share of those that are kept
# already, since each writing waits for the disk, but at most so many: they are in memory. By count and not by time: who
# goes on cuts as who was not stopped.
CHUNK, KEPT_SHARE, MOST = 4096, 1 / 8, 32_768


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
    corpus. Equal texts are encoded once. Of `texts`, which may lie on disk, a part is held at a time.
    """
    owner = embedder.key()
    first: dict[bytes, int] = {}  # By a text's name, its first place.
    known = (first.setdefault(digest_text(text), place) for place, text in enumerate(texts))
    places = numpy.fromiter(known, dtype=numpy.int64, count=len(texts))
    rows = _Rows(first, len(texts))
    notes: dict[str, JSON] = {}
    cost, before = Shares((*WORK, "bytes")), Shares((*WORK, *CLOCKS))
    for artifact in workspace.store.kept("vectors", owner):
        before.add(artifact, rows.take(artifact))
    missing = [place for place in first.values() if not rows.known[place]]
    if missing:
        with workspace.progress.step("encoding", len(missing), "passages") as advance:
            done = 0
            while done < len(missing):
                kept = len(first) - len(missing) + done
                some = missing[done : done + min(max(CHUNK, int(kept * KEPT_SHARE)), MOST)]
                artifact = _encode([texts[place] for place in some], embedder, workspace, owner, advance)
                cost.add(artifact, rows.take(artifact))
                notes |= {name: value for name, value in artifact.cost.items() if name == "flops_note"}
                done += len(some)
    rows.repeat(places)
    fresh = int(rows.tokens[missing].sum())
    return Encoded(
        vectors=rows.vectors,
        cut=int(rows.cut.sum()),
        encoded=len(missing),
        cost={"tokens": fresh, **cost.sums, **notes},
        before={"tokens": int(rows.tokens.sum()) - fresh, **before.sums},
    )


class _Rows:
    """What is known of each text, at its place: vectors (float32), tokens, cut; known: whether anything is."""

    def __init__(self, places: Mapping[bytes, int], texts: int) -> None:
        """places: of texts by their names."""
        self._places = places
        self.vectors = numpy.empty((texts, 0), dtype=numpy.float32)  # As wide as they are found to be.
        self.tokens = numpy.zeros(texts, dtype=numpy.int64)
        self.cut = numpy.zeros(texts, dtype=bool)
        self.known = numpy.zeros(texts, dtype=bool)

    def take(self, artifact: Artifact) -> int:
        """Note what an artifact has that is not known yet. Returns how many texts that are."""
        arrays = load_file(artifact.path / "vectors.safetensors")
        names = arrays["names"].tobytes()
        size = hashlib.sha256().digest_size
        at = numpy.array([self._places.get(names[row : row + size], -1) for row in range(0, len(names), size)])
        taken = numpy.flatnonzero((at >= 0) & ~self.known[at])
        at = at[taken]
        if not self.known.any():
            self.vectors = numpy.empty((len(self.known), arrays["vectors"].shape[1]), dtype=numpy.float32)
        for name, of in (("vectors", self.vectors), ("tokens", self.tokens), ("cut", self.cut)):
            of[at] = arrays[name][taken]
        self.known[at] = True
        return len(taken)

    def repeat(self, places: numpy.ndarray) -> None:
        """Give each text what is known at the place that is told for it."""
        others = numpy.flatnonzero(places != numpy.arange(len(places)))
        for of in (self.vectors, self.tokens, self.cut):
            of[others] = of[places[others]]


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


def _encode(
    texts: list[str], embedder: Embedder, workspace: Workspace, owner: dict[str, JSON], advance: Callable[[int], None]
) -> Artifact:
    names = b"".join(map(digest_text, texts))

    def build(folder: Path) -> dict[str, JSON]:
        tokens, cut = embedder.count_tokens(texts)
        arrays = {
            "vectors": embedder.encode_passages(texts, advance),
            "names": numpy.frombuffer(names, dtype=numpy.uint8).reshape(len(texts), -1),
            "tokens": numpy.array(tokens, dtype=numpy.int32),
            "cut": numpy.array(cut, dtype=numpy.uint8),
        }
        save_file(arrays, folder / "vectors.safetensors")
        return {"texts": len(texts), "tokens": sum(tokens), **embedder.work(texts)}

    return workspace.store.artifact("vectors", {**owner, "texts": hashlib.sha256(names).hexdigest()}, build)
