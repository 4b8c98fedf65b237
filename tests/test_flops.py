"""Operations counted against sums worked out by hand, and the rule of thumb against both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM

from lab.flops import Counter, Flops, Matrices, matrices

ROWS, TOKENS = 4, 64


class Linear(torch.nn.Module):
    """Two layers and nothing else: every operation is a weight's."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def language_model(**settings: Any) -> Qwen3ForCausalLM:
    """Wide for its rows, so that attention is little of it."""
    shape = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"num_key_value_heads": 1, "head_dim": 64, "vocab_size": 200, "tie_word_embeddings": True}
    return Qwen3ForCausalLM(Qwen3Config(**{**shape, **more, **settings}))


def step(model: Any, tokens: int = TOKENS) -> Flops:
    ids = torch.randint(0, 200, (ROWS, tokens))
    model.train()
    with Counter() as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return counter.flops(matrices(model).training(ids.numel(), ids.numel()))


def test_two_linear_layers_by_hand() -> None:
    model = Linear()
    x = torch.randn(10, 8, requires_grad=True)
    with Counter() as counter:
        model(x).sum().backward()
    # 10 rows through 8 x 16 and 16 x 4 weights: forward, gradient of the input, gradient of the weight.
    by_hand = 3 * 2 * 10 * (8 * 16 + 16 * 4)
    found = matrices(model)
    assert found == Matrices(body=128, head=64, learning=128, head_learning=64)
    flops = counter.flops(found.training(10, 10))
    assert flops == Flops(by_hand, 0.0, by_hand)
    assert flops.cost() == {"flops": by_hand, "flops_formula": by_hand}
    assert flops.times(3).counted == 3 * by_hand


def test_the_matrices_of_a_tied_model_by_hand() -> None:
    # Queries and output 128 x 128, keys and values 128 x 64, three of 128 x 512, in two blocks; output 200 x 128.
    body = 2 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 512)
    assert matrices(language_model()) == Matrices(body, 200 * 128, body, 200 * 128)
    untied = matrices(language_model(tie_word_embeddings=False))
    assert (untied.body, untied.head) == (body, 200 * 128)


def test_training_all_weights_is_six_operations_a_weight_and_token() -> None:
    model = language_model()
    found = matrices(model)
    flops = step(model)
    assert flops.formula == 6 * (found.body + found.head) * ROWS * TOKENS
    assert flops.counted == pytest.approx(flops.formula, rel=0.15)
    assert "flops_note" not in flops.cost()
    # What the rule leaves out, by hand: two products forward and five back, over whole rows, in two heads of 64.
    assert flops.attention == 2 * 7 * 2 * ROWS * 2 * TOKENS**2 * 64
    assert flops.counted - flops.attention == pytest.approx(flops.formula, rel=0.02)


def test_adapters_are_near_four_operations_a_weight_and_token() -> None:
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(language_model(), LoraConfig(r=2, target_modules=names, task_type="CAUSAL_LM"))
    found = matrices(model)
    assert found.learning == sum(p.numel() for p in model.parameters() if p.requires_grad) < 0.05 * found.body
    flops = step(model)
    four = 4 * (found.body + found.head) * ROWS * TOKENS
    assert flops.formula == four + 2 * found.learning * ROWS * TOKENS
    assert flops.counted == pytest.approx(four, rel=0.15)
    assert "flops_note" not in flops.cost()


def test_where_the_rule_does_not_hold_the_row_says_why() -> None:
    flops = step(language_model(), tokens=1024)
    assert flops.counted > 1.15 * flops.formula
    note = str(flops.cost()["flops_note"])
    assert note == f"attention is {100 * flops.attention / flops.counted:.0f} % of what was counted, " + (
        "and the formula has none of it"
    )
    frozen = language_model(num_hidden_layers=4)
    frozen.requires_grad_(False)
    frozen.model.norm.requires_grad_(True)  # nothing below it takes a gradient
    assert "frozen ones below" in str(step(frozen).cost()["flops_note"])


def test_reading_takes_the_output_only_where_it_is_asked() -> None:
    model = language_model().eval()
    found = matrices(model)
    prompt, answer = 30, 5
    with torch.inference_mode(), Counter() as counter:
        ids = torch.randint(2, 200, (1, prompt))
        model.generate(input_ids=ids, max_new_tokens=answer, min_new_tokens=answer, do_sample=False, pad_token_id=0)
    flops = counter.flops(found.reading(prompt + answer - 1, answer))
    assert flops.formula == 2 * (found.body * (prompt + answer - 1) + found.head * answer)
    assert flops.counted - flops.attention == flops.formula
    assert flops.counted == pytest.approx(flops.formula, rel=0.15)


def test_eager_attention_counts_as_attention() -> None:
    eager, fused = (step(language_model(attn_implementation=kind)) for kind in ("eager", "sdpa"))
    assert eager.counted - eager.attention == fused.counted - fused.attention
    assert eager.attention == 6 / 7 * fused.attention  # it keeps the scores that the other computes again
