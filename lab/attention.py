"""Which token of packed rows sees which, told in the form that a model's attention takes."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

SPARSE = "flex_attention"  # Computes no block of scores that the mask hides as a whole; the others compute them all.
BLOCK = 128  # Tokens, of that attention's blocks.
SKIPPED_FROM = 2048  # Tokens in a row: at 1,024 an H100 gained nothing by it, and dense work grows with the width.


def visible(piece: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
    """Whether a token (third) sees another (fourth): bool, (rows, 1, width, width). See `lab.packing.Batch`."""
    same = piece[:, :, None] == piece[:, None, :]
    shown = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    causal = torch.ones(piece.shape[1:] * 2, dtype=torch.bool, device=piece.device).tril()
    return (same & shown & causal)[:, None]


def mask(attention: str, piece: torch.Tensor, branch: torch.Tensor) -> torch.Tensor | BlockMask:
    """The same for an attention by its name in transformers."""
    if attention == SPARSE:

        def sees(row: Any, head: Any, asking: Any, asked: Any) -> Any:
            same = piece[row, asking] == piece[row, asked]
            shown = (branch[row, asked] == 0) | (branch[row, asking] == branch[row, asked])
            return same & shown & (asking >= asked)

        rows, width = piece.shape
        return _maker(piece.is_cuda)(sees, rows, None, width, width, device=str(piece.device), BLOCK_SIZE=BLOCK)
    seen = visible(piece, branch)
    if attention == "eager":
        # The one implementation that adds a mask to its scores: as 1 and 0, true and false would hide nothing.
        return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, torch.finfo(torch.float32).min)
    return seen


@cache
def _maker(on_board: bool) -> Any:
    # Else the whole mask is written out before its blocks are counted.
    return torch.compile(create_block_mask) if on_board else create_block_mask


def can_skip(model: Any, width: int) -> bool:
    """Whether a model, whose attention is its own choice, may take `SPARSE` for rows of this width."""
    causal = inner(model)
    return (
        bool(getattr(causal, "_supports_flex_attn", False))
        and causal.config._attn_implementation == "sdpa"
        and not getattr(causal.config.get_text_config(), "attention_dropout", 0)
        and width >= SKIPPED_FROM
        and width % BLOCK == 0
    )


@contextmanager
def attending(model: Any, attention: str | None) -> Iterator[None]:
    """While it lasts, the model attends by this implementation; None changes nothing."""
    causal = inner(model)
    usual = causal.config._attn_implementation
    if attention in (None, usual):
        yield
        return
    causal.set_attn_implementation(attention)
    try:
        yield
    finally:
        causal.set_attn_implementation(usual)


@contextmanager
def as_it_is(model: Any) -> Iterator[None]:
    """While it lasts, nothing is compiled, nor attended by what only compiled code does well."""
    sparse = inner(model).config._attn_implementation == SPARSE
    with torch.compiler.set_stance("force_eager"), attending(model, "sdpa" if sparse else None):
        yield


def computed_share(model: Any, piece: torch.Tensor, branch: torch.Tensor) -> float:
    """Of all scores of these rows, those that the model's attention computes."""
    if inner(model).config._attn_implementation != SPARSE:
        return 1.0
    blocks: Any = mask(SPARSE, piece, branch)
    return 1 - blocks.sparsity() / 100


def inner(model: Any) -> Any:
    """The transformers model itself, adapters or none around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def can_compile() -> bool:
    """Whether torch may compile (its TORCH_COMPILE_DISABLE=1 forbids it), and has what it takes: a C++ compiler and
    Python's headers.
    """
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return False
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.is_file()


def compile_layers(decoder: torch.nn.Module) -> None:
    """Compile the layers of a decoder for inputs of one shape: the first one's code serves them all."""
    for layer in layers(decoder):
        layer.compile(dynamic=False)


def layers(decoder: torch.nn.Module) -> list[torch.nn.Module]:
    """Those that follow one another in lists of one kind, as every transformers model has them."""
    from accelerate.utils.other import is_repeated_blocks  # Not at once: who makes rows only has no use for it.

    lists: list[Any] = [module for module in decoder.modules() if is_repeated_blocks(module)]
    return [layer for layers in lists for layer in layers]
