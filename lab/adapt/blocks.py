"""Tokens to train on in files: what is prepared takes memory by the piece and the row, not by the token."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy

from lab.packing import Piece


class Pieces(Sequence[Piece]):
    """Pieces in a file without a name: nobody who is killed leaves one behind.

    All of a piece is int32: the number of its source, how many branches it has, the length of its prefix, of each
    branch the length and the prompt's, then the tokens. It is read and not mapped: mapped pages would count as this
    process's memory, and a disk that fails would end it by a signal. A process that was forked reads the same file.
    OSError where the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        """folder: on the disk that is to hold the file."""
        self._file: Any = TemporaryFile(dir=folder)  # noqa: SIM115 (closed when the block ends)
        self._ends = array("q", [0])
        self._sources: list[str] = []

    def append(self, piece: Piece) -> None:
        """Write a piece behind the others."""
        if piece.source not in self._sources:
            self._sources.append(piece.source)
        head = [self._sources.index(piece.source), len(piece.branches), len(piece.prefix)]
        head += [length for tokens, prompt in piece.branches for length in (len(tokens), prompt)]
        parts = [head, piece.prefix, *(tokens for tokens, _ in piece.branches)]
        written = numpy.concatenate(parts, dtype=numpy.int32, casting="unsafe")  # An empty list has no integers.
        self._file.write(written)
        self._file.flush()
        self._ends.append(self._ends[-1] + written.nbytes)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: Any) -> Any:
        number = range(len(self))[number]
        start, end = self._ends[number], self._ends[number + 1]
        read = numpy.frombuffer(os.pread(self._file.fileno(), end - start, start), numpy.int32)
        source, branches, prefix = read[:3].tolist()
        at = 3 + 2 * branches
        lengths = read[3:at].tolist()
        made = Piece(read[at : at + prefix], [], self._sources[source])
        at += prefix
        for length, prompt in zip(lengths[::2], lengths[1::2], strict=True):
            made.branches.append((read[at : at + length], prompt))
            at += length
        return made

    def __enter__(self) -> Pieces:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


class Rows(Sequence[list[Piece]]):
    """Packed rows in such a file, as the map-style data set that a Trainer takes."""

    def __init__(self, folder: Path) -> None:
        """folder: as of `Pieces`."""
        self._pieces = Pieces(folder)
        self._ends = array("q", [0])

    def append(self, row: list[Piece]) -> None:
        """Write a row behind the others."""
        for piece in row:
            self._pieces.append(piece)
        self._ends.append(len(self._pieces))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: Any) -> Any:
        number = range(len(self))[number]
        return [self._pieces[place] for place in range(self._ends[number], self._ends[number + 1])]

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *error: object) -> None:
        self._pieces.__exit__()
