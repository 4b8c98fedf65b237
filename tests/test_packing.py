"""Packed rows, token by token, as done by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from lab.attention import visible
from lab.framing import Frame
from lab.packing import Piece, batches, encode, encoded, pack, rows
from lab.records import TrainingText

NO_LOSS = -100


def lengths(*of: int) -> list[Piece]:
    return [Piece([number] * size, []) for number, size in enumerate(of)]


def test_a_row_by_hand() -> None:
    asked = Piece([1, 2, 3], [([4, 5, 6], 1), ([7, 8], 1)])
    batch = pack([[asked, Piece([9, 10], [])], [Piece([11], [])]], row_tokens=11, pad=0)
    assert batch.ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0], [11] + [0] * 10]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 5, 3, 4, 0, 1, 0], [0] * 11]
    # At each place the token that comes next: nothing of a beginning, nothing of a prompt, nothing across texts.
    none = NO_LOSS
    assert batch.labels.tolist() == [[none, none, none, 5, 6, none, 8, none, 10, none, none], [none] * 11]
    mask = visible(batch.piece, batch.branch)
    sees = [{other for other in range(11) if mask[0, 0, place, other]} for place in range(11)]
    beginning, first = {0, 1, 2}, {0, 1, 2, 3, 4, 5}
    assert sees[:6] == [{0}, {0, 1}, beginning, beginning | {3}, beginning | {3, 4}, first]
    assert sees[6:] == [beginning | {6}, beginning | {6, 7}, {8}, {8, 9}, {10}]
    assert mask.shape == (2, 1, 11, 11)
    assert batch.tokens == 11
    moved = batch.to("cpu")
    assert [moved.ids.tolist(), moved.positions.tolist(), moved.tokens] == [
        batch.ids.tolist(),
        batch.positions.tolist(),
        11,
    ]
    assert moved.labels.tolist() == batch.labels.tolist()
    assert visible(moved.piece, moved.branch).tolist() == visible(batch.piece, batch.branch).tolist()


def test_the_longest_of_eight_that_fits_goes_next() -> None:
    sizes = [[len(piece) for piece in row] for row in rows(lengths(3, 5, 9, 4, 2, 8), 8)]
    assert sizes == [[8], [5, 3], [4, 2]]  # nine tokens fit no row
    # The ninth is not yet waiting when the first goes.
    assert [[len(piece) for piece in row] for row in rows(lengths(*[1] * 8, 2), 2)][:2] == [[1, 1], [2]]
    assert [[len(piece) for piece in row] for row in rows(lengths(*[1] * 7, 2), 2)][:1] == [[2]]


def test_batches_hold_so_many_rows_and_end_with_the_pieces() -> None:
    made = list(batches(iter(lengths(2, 2, 1)), rows_per_batch=2, row_tokens=2, pad=9))
    assert [batch.ids.tolist() for batch in made] == [[[0, 0], [1, 1]], [[2, 9]]]


class Letters:
    """One token a letter, but `1` and a blank after it are one: an answer may change how its prompt ends."""

    eos_token_id = 0
    is_fast = False
    added_tokens_decoder: ClassVar[dict[int, Any]] = {}

    def __call__(self, texts: Sequence[str], **options: bool) -> dict[str, list[list[int]]]:
        read = re.compile("1 |.", re.DOTALL)
        return {"input_ids": [[ord(part[0]) + 1000 * (len(part) - 1) for part in read.findall(text)] for text in texts]}


def test_texts_become_pieces_letter_by_letter() -> None:
    def ids(text: str) -> list[int]:
        return [ord(letter) for letter in text]

    texts = [
        TrainingText("documents", "One."),
        TrainingText("practice", "Ab.", (("c1", " x"), ("cde", " yz"))),
        TrainingText("documents", "Two."),
        TrainingText("practice", "E.", (("f", " g"),)),
    ]
    assert encode(Letters(), texts) == [
        Piece([*ids("One."), 0], [], "documents"),
        # What the prompts share beyond the text's end is not its beginning.
        Piece(ids("Ab."), [([*ids("c1 x"), 0], 2), ([*ids("cde yz"), 0], 3)], "practice"),
        Piece([*ids("Two."), 0], [], "documents"),
        Piece(ids("E."), [([*ids("f g"), 0], 1)], "practice"),
    ]
    told, pieces = zip(*encoded(Letters(), iter(texts * 200), at_once=7), strict=True)
    assert list(told) == texts * 200
    assert list(pieces) == encode(Letters(), texts) * 200
    framed = encode(Letters(), texts, Frame("<", ">", end=7))
    assert framed[0] == Piece([*ids("One."), 0], [], "documents")
    assert framed[1] == Piece(ids("<Ab."), [([*ids("c1>x"), 7], 3), ([*ids("cde>yz"), 7], 4)], "practice")
