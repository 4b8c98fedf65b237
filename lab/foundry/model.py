"""A base model's sizes, its layout, the optimizers that suit it, and how right it answers in a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from lab.attention import mask
from lab.muon import Muon
from lab.packing import Batch


@dataclass(frozen=True)
class Size:
    """A model's shape and how much it is taught. tokens: the whole budget, in real (not padded) tokens. probe_every:
    steps, after which alone a level can end, so that those between are known beforehand.
    """

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    subjects: int
    tokens: int
    rows: int
    row_tokens: int = 512
    probe_every: int = 100


SIZES = {
    "tiny": Size(128, 4, 4, 512, 2304, 150, 26_000_000, rows=4),
    "small": Size(512, 8, 8, 1536, 4096, 20_000, 2_000_000_000, rows=32, probe_every=400),
    "medium": Size(768, 16, 12, 2304, 4096, 50_000, 5_000_000_000, rows=128, probe_every=400),
}


def answer_scores(model: Qwen3ForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, right) for each labelled token of the batch, both of shape (labelled tokens,)."""
    seen = mask(model.config._attn_implementation, batch.piece, batch.branch)
    hidden = model.model(
        input_ids=batch.ids, attention_mask=seen, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    chosen = batch.labels != -100
    logits = model.lm_head(hidden[chosen]).float()
    wanted = batch.labels[chosen]
    return functional.cross_entropy(logits, wanted, reduction="none"), logits.argmax(-1) == wanted


def first_right(model: Qwen3ForCausalLM, batch: Batch) -> float:
    """Share of answers whose first token is right: what follows is mere copying."""
    labelled = batch.labels != -100
    first = labelled.clone()
    first[:, 1:] &= ~labelled[:, :-1]
    return answer_scores(model, batch)[1][first[labelled]].float().mean().item()


def new_model(size: Size, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Qwen3's layout, whose QK-norm is what let a model of this size learn to copy.

    The matrices of the blocks start at half the embedding's spread: Muon's steps have a fixed size, and beside a wider
    start they are small.
    """
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            intermediate_size=size.feed_forward,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            head_dim=size.hidden // size.heads,
            tie_word_embeddings=True,
            initializer_range=0.08,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for matrix in _block_matrices(model):
            matrix.mul_(0.5)
    return model


def _block_matrices(model: Qwen3ForCausalLM) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.model.layers.parameters() if parameter.ndim == 2]


def optimizers(model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings and norms."""
    matrices = _block_matrices(model)
    known = {id(matrix) for matrix in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [
        Muon(matrices, lr=1e-2),
        torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]
