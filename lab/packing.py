"""Packed training batches: many texts in a row of tokens, none of which sees another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch


@dataclass
class Piece:
    """Tokens to train on: a prefix, then branches that each see the prefix and themselves only.

    branches: (tokens, how many of them are the prompt, which carries no loss). A prefix alone carries loss throughout.
    """

    prefix: list[int]
    branches: list[tuple[list[int], int]]

    def __len__(self) -> int:
        return len(self.prefix) + sum(len(tokens) for tokens, _ in self.branches)


@dataclass
class Batch:
    """Rows of packed pieces. ids, positions, labels: (rows, row_tokens); mask: (rows, 1, row_tokens, row_tokens)."""

    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    mask: torch.Tensor
    tokens: int

    def to(self, device: str) -> Batch:
        ids, positions, labels, mask = (t.to(device) for t in (self.ids, self.positions, self.labels, self.mask))
        return Batch(ids, positions, labels, mask, self.tokens)


def batches(pieces: Iterator[Piece], rows: int, row_tokens: int, pad: int) -> Iterator[Batch]:
    """Batches without end. The longest waiting piece that fits goes next: rows end nearly full, no piece is cut.

    A piece longer than a row is passed over: waiting for ever, such pieces would take all the places.
    """
    fitting_a_row = (piece for piece in pieces if len(piece) <= row_tokens)
    waiting = list(islice(fitting_a_row, 8))

    def fill(room: int) -> Iterator[Piece]:
        while fitting := [piece for piece in waiting if len(piece) <= room]:
            piece = max(fitting, key=len)
            waiting[waiting.index(piece)] = next(fitting_a_row)
            room -= len(piece)
            yield piece

    while True:
        yield pack([list(fill(row_tokens)) for _ in range(rows)], row_tokens, pad)


def pack(packed: list[list[Piece]], row_tokens: int, pad: int) -> Batch:
    """One batch, a row a list. A token sees its own piece's prefix and its own branch, nothing else."""
    rows = len(packed)
    ids = torch.full((rows, row_tokens), pad)
    positions = torch.zeros((rows, row_tokens), dtype=torch.long)
    labels = torch.full((rows, row_tokens), -100)
    piece_of = torch.full((rows, row_tokens), -1)
    branch_of = torch.zeros((rows, row_tokens), dtype=torch.long)
    total = 0
    for row, pieces in enumerate(packed):
        at = 0
        for number, piece in enumerate(pieces):
            start, size = at, len(piece.prefix)
            ids[row, at : at + size] = torch.tensor(piece.prefix)
            positions[row, at : at + size] = torch.arange(size)
            if not piece.branches:
                labels[row, at : at + size - 1] = torch.tensor(piece.prefix[1:])
            at += size
            for branch, (tokens, prompt) in enumerate(piece.branches, 1):
                end = at + len(tokens)
                ids[row, at:end] = torch.tensor(tokens)
                positions[row, at:end] = torch.arange(size, size + len(tokens))
                branch_of[row, at:end] = branch
                labels[row, at + prompt - 1 : end - 1] = torch.tensor(tokens[prompt:])
                at = end
            piece_of[row, start:at] = number
        total += at
    same_piece = piece_of[:, :, None] == piece_of[:, None, :]
    visible = (branch_of[:, None, :] == 0) | (branch_of[:, :, None] == branch_of[:, None, :])
    causal = torch.ones(row_tokens, row_tokens, dtype=torch.bool).tril()
    return Batch(ids, positions, labels, (same_piece & visible & causal)[:, None], total)
