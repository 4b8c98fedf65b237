"""Documents that repeat an earlier one, word for word or nearly so."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import numpy

from lab.corpus.cleaning import RefusedError
from lab.corpus.shelf import Index, Shelf
from lab.records import Document, LabError
from lab.store import digest_text

if TYPE_CHECKING:
    from datasketch import MinHash

# Characters, not words, so that no script needs spaces: eight are two English words or four Chinese ones.
SHINGLE = 8
PERMUTATIONS = 64
# Shingles sketched at a time: their permutations then stay in a core's cache, three times as fast as all at once.
BLOCK = 2048
# Candidates that are compared with one document, the earliest first. A corpus of thousands of forms that differ in a
# line would else take quadratic time; what is missed is indexed.
MOST_CANDIDATES = 32
SPACES = numpy.array([code for code in range(0x3001) if chr(code).isspace()], dtype=numpy.uint32)


def check_threshold(threshold: float | None) -> None:
    """LabError unless it is None or a number above 0 and at most 1."""
    if threshold is None:
        return
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise LabError(
            f"deduplicate={threshold!r}: the Jaccard similarity from which a document repeats another, above 0 and at "
            "most 1 (word for word), or null to keep all, is needed"
        )


def signs(text: str) -> numpy.ndarray:
    """The code points of a text in order, uint64, white space left out."""
    codes = numpy.frombuffer(text.encode("utf-32-le", "replace"), dtype=numpy.uint32)
    return codes[~numpy.isin(codes, SPACES)].astype(numpy.uint64)


def shingles(codes: numpy.ndarray) -> numpy.ndarray:
    """Hashes (uint64, sorted, each once) of all stretches of eight code points, of all where fewer."""
    count = max(1, len(codes) - SHINGLE + 1)
    hashes = numpy.zeros(count, dtype=numpy.uint64)
    for place in range(min(SHINGLE, len(codes))):
        hashes *= numpy.uint64(0x9E3779B97F4A7C15)  # An odd number without a pattern in its bits; overflow is meant.
        hashes += codes[place : place + count]
    hashes ^= hashes >> numpy.uint64(29)
    hashes *= numpy.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> numpy.uint64(32)
    hashes.sort()  # numpy.unique goes by a hash table, ten times as slow here.
    return hashes[numpy.append(True, hashes[1:] != hashes[:-1])]


def jaccard(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Shared shingles divided by all of both, in 0..1."""
    shared = len(numpy.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


class Duplicates:
    """Puts documents on a shelf, and refuses those that repeat one of them.

    documents: the shelf, empty at first.
    threshold: the Jaccard similarity of character shingles from which a document is a repetition, where the lengths
    are as much alike; 1 asks for the same text. Candidates come from MinHash with locality-sensitive hashing (Broder
    1997; Indyk and Motwani 1998) and are then compared in full, so none is refused by chance; of those at the
    threshold one in a hundred may be missed.
    """

    def __init__(self, threshold: float, documents: Shelf[Document]) -> None:
        check_threshold(threshold)
        self._threshold = threshold
        self._documents = documents
        self._index = Index()

    def add(self, document: Document) -> None:
        """Put a document on the shelf. RefusedError, and not put there, where it repeats one."""
        keys = [digest_text(document.text.strip())]
        for place in self._index.find(keys):
            raise RefusedError("duplicate", f"repeats {self._documents[place].id} word for word")
        if self._threshold < 1:
            codes = signs(document.text)
            own = shingles(codes)
            near = _bands(own, self._threshold)
            for place in self._index.find(near, MOST_CANDIDATES):
                earlier = self._documents[place]
                others = signs(earlier.text)
                # Sets do not count: `0xffff` and `0xffffffff` hold the same stretches, but are not as long.
                if min(len(codes), len(others)) < self._threshold * max(len(codes), len(others)):
                    continue
                alike = jaccard(own, shingles(others))
                if alike >= self._threshold:
                    raise RefusedError("near-duplicate", f"repeats {earlier.id} but for little (Jaccard {alike:.4f})")
            keys += near
        self._index.add(keys, len(self._documents))
        self._documents.append(document)


def bands(threshold: float) -> tuple[int, int]:
    """(bands, rows): as many rows a band as let 99 of 100 pairs at the threshold share a band."""
    for rows in (32, 16, 8, 4, 2):
        count = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** count >= 0.99:
            return count, rows
    return PERMUTATIONS, 1


def _bands(hashes: numpy.ndarray, threshold: float) -> list[bytes]:
    """A key of eight bytes for each band of the sketch."""
    count, rows = bands(threshold)
    parts = _sketch(hashes).hashvalues[: count * rows].reshape(count, rows)
    return [
        hashlib.blake2b(part.tobytes(), digest_size=8, person=str(band).encode()).digest()
        for band, part in enumerate(parts)
    ]


def _sketch(hashes: numpy.ndarray) -> MinHash:
    sketch = _blank().copy()
    for start in range(0, len(hashes), BLOCK):
        sketch.update_batch(hashes[start : start + BLOCK].tolist())
    return sketch


@functools.cache
def _blank() -> MinHash:
    """A sketch of nothing: to draw its permutations takes as long as a page of text does."""
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS, hashfunc=int, scheme="affine64")
