"""Shared scoring against the plain way: every continuation and every window in a forward of its own."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import AutoModelForCausalLM as Causal
from transformers import (
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen3Config,
    Qwen3NextConfig,
)

from lab import scoring
from lab.scoring import (
    batches,
    continuation_log_probabilities,
    rolling_windows,
    sequence_log_probabilities,
)

SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "initializer_range": 0.5,
}  # fmt: skip
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "qwen3": Qwen3Config(**SIZES),
    # Windows shorter than the prompts, and logits that are capped after the output layer.
    "mistral": MistralConfig(**SIZES, sliding_window=6),
    "gemma2": Gemma2Config(**SIZES, sliding_window=6, final_logit_softcapping=2.0),
    "gemma3": Gemma3TextConfig(**SIZES, sliding_window=6, layer_types=["sliding_attention"] * 2 + ["full_attention"]),
    # Learned positions, positions as a slope over the mask, and layers that keep a state instead of keys.
    "gpt2": GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.5),
    "bloom": BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.5),
    "mamba": MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=8),
    "qwen3_next": Qwen3NextConfig(
        **SIZES, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8,
        num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16, shared_expert_intermediate_size=16,
        layer_types=["linear_attention", "linear_attention", "full_attention"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    torch.manual_seed(1)
    return Causal.from_config(CONFIGS[request.param]).eval()


def tokens(draw: random.Random, least: int, most: int) -> list[int]:
    return [draw.randrange(3, 97) for _ in range(draw.randint(least, most))]


def alone(model, head: list[int], tail: list[int]) -> float:
    with torch.no_grad():
        logs = model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
    return sum(logs[len(head) - 1 + place, token].item() for place, token in enumerate(tail))


@pytest.mark.parametrize("max_batch_tokens", [1, 300, 10_000])
def test_continuations_score_as_they_do_one_at_a_time(model, max_batch_tokens):
    draw = random.Random(0)
    heads = [tokens(draw, 1, 30) for _ in range(7)]
    tails = [[tokens(draw, 1, 9) for _ in range(count)] for count in (4, 1, 5, 2, 4, 1, 3)]
    tails[1] = [[5]]  # A batch of its own needs no second run.
    found = continuation_log_probabilities(model, heads, tails, max_batch_tokens)
    for head, some, scores in zip(heads, tails, found, strict=True):
        assert scores == pytest.approx([alone(model, head, tail) for tail in some], abs=1e-4, rel=0)


def test_sequences_score_as_they_do_one_at_a_time(model):
    draw = random.Random(0)
    sequences = [tokens(draw, 2, 40) for _ in range(6)]
    skip = [draw.randrange(1, len(ids)) for ids in sequences]
    found = sequence_log_probabilities(model, sequences, skip, 100)
    expected = [alone(model, ids[:at], ids[at:]) for ids, at in zip(sequences, skip, strict=True)]
    assert found == pytest.approx(expected, abs=2e-4, rel=0)


def test_a_prompt_is_run_once_for_all_of_its_continuations(monkeypatch):
    run = []
    monkeypatch.setattr(
        scoring, "forward", lambda model, ids, *rest, **options: run.append(ids.numel()) or model(ids, **options)
    )
    model = Causal.from_config(CONFIGS["llama"]).eval()
    continuation_log_probabilities(model, [[5] * 40] * 2, [[[6] * 3, [7] * 4, [8], [9] * 2]] * 2, 10_000)
    assert run == [2 * 40, 2 * 3 * 3]  # Three longer ones each, without the last token, padded to the longest.


def test_tails_keep_a_budget_of_their_own(monkeypatch):
    run = []
    monkeypatch.setattr(
        scoring, "forward", lambda model, ids, *rest, **options: run.append(ids.shape) or model(ids, **options)
    )
    model = Causal.from_config(CONFIGS["llama"]).eval()
    continuation_log_probabilities(model, [[5] * 20] * 8, [[[6] * 5]] * 8, 200, logits_weight=1)
    assert run == [(8, 20), (8, 4)]
    run.clear()  # 8 times 5 tokens count as 400 now, more than 8 times the 25 of a row.
    continuation_log_probabilities(model, [[5] * 20] * 8, [[[6] * 5]] * 8, 200, logits_weight=10)
    assert run == [(4, 20), (4, 4)] * 2


def test_batches_hold_every_index_once_and_keep_the_budget():
    draw = random.Random(0)
    lengths = [draw.randint(1, 50) for _ in range(200)]
    rows = [draw.randint(1, 5) for _ in range(200)]
    made = list(batches(lengths, 300, rows))
    assert sorted(i for batch in made for i in batch) == list(range(200))
    for batch in made:
        assert sum(rows[i] for i in batch) * max(lengths[i] for i in batch) <= 300
    # Sorted by length, little of a batch is padding.
    assert sum(map(sum, ([lengths[i] for i in b] for b in made))) > 0.8 * sum(
        len(b) * max(lengths[i] for i in b) for b in made
    )


@pytest.mark.parametrize("length", [2, 5, 6, 7, 11, 12, 23])
def test_rolling_windows_score_every_token_once(length):
    ids, window, scored = list(range(length)), 5, []
    made = list(rolling_windows(ids, window))
    for sequence, skip in made:
        assert len(sequence) - 1 == min(window, length - 1)  # What the model reads.
        scored += sequence[skip:]
    assert scored == ids[1:]


def test_rolling_windows_are_those_of_a_loop_by_hand():
    # 12 tokens to score after the start, 5 read at a time: 5, 5 and the last 2 with three more of what came before.
    assert list(rolling_windows(list(range(13)), 5)) == [
        ([0, 1, 2, 3, 4, 5], 1),
        ([5, 6, 7, 8, 9, 10], 1),
        ([7, 8, 9, 10, 11, 12], 4),
    ]
