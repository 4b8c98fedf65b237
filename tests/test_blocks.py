"""Pieces and rows in files: what comes out is what went in, whoever reads it, and nothing is held or left behind."""

from __future__ import annotations

import multiprocessing
import tracemalloc
from pathlib import Path
from random import Random

import pytest
from torch.utils.data import DataLoader

from lab.adapt.blocks import Pieces, Rows
from lab.packing import Piece, pack
from tests.faults.limits import files_of_at_most

SOME = [
    Piece([1, 2, 3], [], "documents"),
    Piece([4, 70_000], [([5, 6, 7], 2), ([], 0), ([8], 0)], "practice"),
    Piece([], [([9, 10], 1)], "replay"),  # Of no beginning, as in a benchmark.
    Piece([2**31 - 1], [], "documents"),
]


def listed(piece: Piece) -> Piece:
    """The same with lists, which can be compared."""
    branches = [(list(map(int, tokens)), asked) for tokens, asked in piece.branches]
    return Piece(list(map(int, piece.prefix)), branches, piece.source)


def drawn(count: int) -> list[Piece]:
    """Pieces of every shape."""
    random = Random(0)

    def tokens(least: int = 0) -> list[int]:
        return [random.randrange(100_000) for _ in range(random.randint(least, 30))]

    def branches() -> list[tuple[list[int], int]]:
        made = [tokens() for _ in range(random.choice([0, 0, 1, 5]))]
        return [(ids, random.randint(0, len(ids))) for ids in made]

    return [Piece(tokens(1), branches(), random.choice(["a", "b", "c"])) for _ in range(count)]


def test_pieces_come_back_as_they_were_and_in_any_order(tmp_path):
    with Pieces(tmp_path) as kept:
        assert (len(kept), list(kept)) == (0, [])
        for number, piece in enumerate(SOME):
            kept.append(piece)
            assert listed(kept[number]) == piece  # Also while more are written.
        assert [listed(piece) for piece in kept] == SOME
        assert [listed(kept[number]) for number in (3, 0, 2)] == [SOME[3], SOME[0], SOME[2]]
        assert [len(piece) for piece in kept] == [len(piece) for piece in SOME]
        with pytest.raises(IndexError):
            kept[4]
        assert list(tmp_path.iterdir()) == []  # It has no name: who is killed leaves nothing.


def test_rows_come_back_and_make_the_same_batches(tmp_path):
    pieces = drawn(40)
    rows = [pieces[:3], [], pieces[3:4], pieces[4:]]
    with Rows(tmp_path) as kept:
        for row in rows:
            kept.append(row)
        assert [[listed(piece) for piece in row] for row in kept] == rows
        assert [listed(piece) for piece in kept[-1]] == rows[-1]
        with pytest.raises(IndexError):
            kept[4]
        one, other = (pack(some, 2000, pad=0) for some in (rows, list(kept)))
        for name in ("ids", "positions", "labels", "piece", "branch"):
            assert getattr(one, name).equal(getattr(other, name)), name
        assert one.tokens == other.tokens == sum(map(len, pieces))


def test_processes_of_a_loader_read_the_same_file(tmp_path):
    pieces = drawn(24)
    with Rows(tmp_path) as kept:
        for at in range(0, 24, 2):
            kept.append(pieces[at : at + 2])
        forked = multiprocessing.get_context("fork")
        loader = DataLoader(kept, batch_size=2, num_workers=2, collate_fn=list, multiprocessing_context=forked)
        assert [listed(piece) for batch in loader for row in batch for piece in row] == pieces


def test_memory_grows_with_pieces_and_not_with_tokens(tmp_path):
    texts, tokens = 2_000, list(range(100_000, 100_500))
    tracemalloc.start()
    with Rows(tmp_path) as kept:
        for number in range(texts):
            kept.append([Piece([number, *tokens], [])])
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 40 * texts  # A million tokens.
        assert list(map(int, kept[texts - 1][0].prefix)) == [texts - 1, *tokens]


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    def write(pieces: list[Piece]) -> None:
        with Pieces(tmp_path) as kept:
            for piece in pieces:
                kept.append(piece)

    with files_of_at_most(2_000), pytest.raises(OSError, match="File too large"):
        write(drawn(200))
    assert list(Path(tmp_path).iterdir()) == []
