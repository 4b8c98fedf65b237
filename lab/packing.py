"""Packed training batches: many texts in a row of tokens, none of which sees another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, TypeAlias

import numpy
import torch

from lab.framing import PLAIN, Frame, as_words
from lab.records import TrainingText

Tokens: TypeAlias = "Sequence[int] | numpy.ndarray"  # Their ids.

TEXTS_AT_ONCE = 256  # A call of the tokenizer costs as much as a dozen texts.


@dataclass
class Piece:
    """Tokens to train on: a prefix, then branches that each see the prefix and themselves only.

    branches: (tokens, how many of them are the prompt, which carries no loss). A prefix alone carries loss throughout.
    source: what it was made of, see `lab.records.TrainingText`.
    """

    prefix: Tokens
    branches: list[tuple[Tokens, int]]
    source: str = ""

    def __len__(self) -> int:
        return len(self.prefix) + sum(len(tokens) for tokens, _ in self.branches)


@dataclass
class Batch:
    """Rows of packed pieces; every tensor is (rows, row_tokens). piece: which of its row a token is of, -1 padding;
    branch: which branch of that piece, 0 its prefix. tokens: how many are no padding.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    piece: torch.Tensor
    branch: torch.Tensor
    tokens: int

    def to(self, device: str) -> Batch:
        parts = (self.ids, self.positions, self.labels, self.piece, self.branch)
        ids, positions, labels, piece, branch = (part.to(device) for part in parts)
        return Batch(ids, positions, labels, piece, branch, self.tokens)


def encode(tokenizer: Any, texts: Sequence[TrainingText], frame: Frame = PLAIN) -> list[Piece]:
    """The texts as tokens, one piece each; running text and answers end with a token that says so.

    A text with pairs has the very tokens of the exam's prompts, in the frame that they stand in: what its prompts
    share is the prefix, up to the end of the text. Running text stands in no frame.
    """
    running = iter(as_words(tokenizer, [text.text for text in texts if not text.pairs]))
    prompts = [text.text + prompt for text in texts for prompt, _ in text.pairs]
    answers = [answer for text in texts for _, answer in text.pairs]
    both = frame.encode(tokenizer, 2 * prompts, [""] * len(prompts) + answers)  # What they share is encoded once.
    asked, whole = both[: len(prompts)], both[len(prompts) :]
    tails = [frame.tail(tokenizer, *parts) for parts in zip(asked, whole, answers, strict=True)]
    end = tokenizer.eos_token_id if frame.end is None else frame.end
    pairs = zip(asked, tails, strict=True)
    opened = iter(frame.open(tokenizer, [text.text for text in texts if text.pairs]))
    pieces = []
    for text in texts:
        if not text.pairs:
            pieces.append(Piece([*next(running), tokenizer.eos_token_id], [], text.source))
            continue
        own = list(islice(pairs, len(text.pairs)))
        alike = takewhile(lambda ids: len(set(ids)) == 1, zip(next(opened), *(ids for ids, _ in own), strict=False))
        shared = sum(1 for _ in alike)
        branches: list[tuple[Tokens, int]] = [([*ids[shared:], *tail, end], len(ids) - shared) for ids, tail in own]
        pieces.append(Piece(own[0][0][:shared], branches, text.source))
    return pieces


def encoded(
    tokenizer: Any, texts: Iterable[TrainingText], frame: Frame = PLAIN, at_once: int = TEXTS_AT_ONCE
) -> Iterator[tuple[TrainingText, Piece]]:
    """Each text with its piece. at_once: texts that are encoded together in the end, so that more may be taken than are
    asked for.
    """
    left, count = iter(texts), 1
    while some := list(islice(left, count)):
        count = min(2 * count, at_once)  # Who wants one text need not wait for many.
        yield from zip(some, encode(tokenizer, some, frame), strict=True)


def rows(pieces: Iterable[Piece], row_tokens: int) -> Iterator[list[Piece]]:
    """Rows of at most `row_tokens` tokens. The longest waiting piece that fits goes next: rows end nearly full.

    A piece longer than a row is passed over: waiting for ever, such pieces would take all the places.
    """
    fitting_a_row = (piece for piece in pieces if len(piece) <= row_tokens)
    waiting = list(islice(fitting_a_row, 8))
    while waiting:
        row, room = [], row_tokens
        while fitting := [place for place, piece in enumerate(waiting) if len(piece) <= room]:
            place = max(fitting, key=lambda place: len(waiting[place]))
            row.append(waiting[place])
            room -= len(waiting[place])
            waiting[place : place + 1] = islice(fitting_a_row, 1)
        yield row


def batches(pieces: Iterator[Piece], rows_per_batch: int, row_tokens: int, pad: int) -> Iterator[Batch]:
    """Batches of packed rows, without end where the pieces have none."""
    packed = rows(pieces, row_tokens)
    while batch := list(islice(packed, rows_per_batch)):
        yield pack(batch, row_tokens, pad)


def pack(packed: list[list[Piece]], row_tokens: int, pad: int) -> Batch:
    """One batch, a row a list. A token sees its own piece's prefix and its own branch, nothing else."""
    shape = len(packed), row_tokens
    # Filled by numpy, which takes a few tokens at a time in a fiftieth of the time.
    ids, positions, labels = numpy.full(shape, pad), numpy.zeros(shape, numpy.int64), numpy.full(shape, -100)
    piece_of, branch_of = numpy.full(shape, -1), numpy.zeros(shape, numpy.int64)
    total = 0
    for row, pieces in enumerate(packed):
        at = 0
        for number, piece in enumerate(pieces):
            start, size = at, len(piece.prefix)
            ids[row, at : at + size] = piece.prefix
            positions[row, at : at + size] = numpy.arange(size)
            if not piece.branches:
                labels[row, at : at + size - 1] = piece.prefix[1:]
            at += size
            for branch, (tokens, prompt) in enumerate(piece.branches, 1):
                end = at + len(tokens)
                ids[row, at:end] = tokens
                positions[row, at:end] = numpy.arange(size, size + len(tokens))
                branch_of[row, at:end] = branch
                labels[row, at + prompt - 1 : end - 1] = tokens[prompt:]
                at = end
            piece_of[row, start:at] = number
        total += at
    tensor = torch.from_numpy
    return Batch(tensor(ids), tensor(positions), tensor(labels), tensor(piece_of), tensor(branch_of), total)
