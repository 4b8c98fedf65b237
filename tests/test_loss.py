"""The loss of labelled tokens alone, beside the model's own loss over everything, for loss and gradients alike."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import lab.loss
from lab.loss import labelled_loss, labelled_only

SHAPE: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 64, "vocab_size": 50, "initializer_range": 0.5,
}  # fmt: skip
BATCH = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(0))


def made(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=50, initializer_range=0.5)).eval()
    config, model = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "tied": (Qwen3Config, Qwen3ForCausalLM),
        "capped": (Gemma2Config, Gemma2ForCausalLM),
    }[kind]
    return model(config(**SHAPE, tie_word_embeddings=kind != "llama")).eval()


def batch() -> dict[str, torch.Tensor]:
    """Of three rows: one all labelled, one whose end is, one that has nothing to learn."""
    labels = BATCH.clone()
    labels[1, :15] = -100
    labels[2] = -100
    return {"input_ids": BATCH, "labels": labels}


def taught(model: Any) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    loss = model(**batch()).loss
    loss.backward()
    return loss.item(), [p.grad.clone() for p in model.parameters() if p.requires_grad and p.grad is not None]


@pytest.mark.parametrize("at_once", [10_000, 3], ids=["at once", "in parts"])
@pytest.mark.parametrize("adapted", ["all weights", "lora", "lora on the output too"])
@pytest.mark.parametrize("kind", ["llama", "tied", "capped", "gpt2"])
def test_loss_and_gradients_are_the_model_s_own(kind, adapted, at_once, monkeypatch):
    monkeypatch.setattr("lab.loss.MOST_LOGITS", at_once * 50)
    model = made(kind)
    if adapted != "all weights":
        inner = ["c_attn", "c_fc"] if kind == "gpt2" else ["q_proj", "down_proj"]
        targets = inner if adapted == "lora" else [*inner, "lm_head"]
        model = get_peft_model(model, LoraConfig(r=2, target_modules=targets, init_lora_weights=False)).eval()
    loss, gradients = taught(model)
    with labelled_only(model, {"input_ids": BATCH[:1]}):
        mine, my_gradients = taught(model)
    assert mine == pytest.approx(loss, rel=1e-5)
    assert len(gradients) == len(my_gradients) > 0
    for one, other in zip(gradients, my_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5 * one.abs().max())
    assert taught(model)[0] == loss  # And afterwards all is as it was.


@pytest.mark.parametrize(("kind", "rows"), [("llama", 19 + 5), ("capped", 60)])
def test_only_what_is_labelled_passes_the_output_where_nothing_comes_after_it(kind, rows):
    """Places that predict a label: 19 of the first row, 5 of the second. A model that caps its logits makes all."""
    model, passed = made(kind), []
    model.lm_head.register_forward_hook(lambda module, given, told: passed.append(told.numel() // 50))
    with labelled_only(model, {"input_ids": BATCH[:1]}):
        passed.clear()
        model(**batch())
        assert passed == [rows]
        assert model(input_ids=BATCH).logits.shape == (3, 20, 50)  # Who gives no labels gets all logits.


def test_no_part_of_the_logits_is_larger_than_allowed(monkeypatch):
    """What is kept for the gradient too: a large vocabulary must not be held for all tokens at once."""
    monkeypatch.setattr("lab.loss.MOST_LOGITS", 4 * 1000)
    weight, kept = torch.randn(1000, 8, requires_grad=True), []
    hidden, labels = torch.randn(2, 40, 8, requires_grad=True), torch.randint(0, 1000, (2, 40))

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel() if tensor is not weight and tensor.data_ptr() != weight.data_ptr() else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = labelled_loss(lambda states: states @ weight.T, hidden, labels, 1000)
    assert max(kept) <= hidden.numel() < 4 * 1000
    loss.backward()
    usual = torch.nn.functional.cross_entropy((hidden[:, :-1] @ weight.T).flatten(0, 1), labels[:, 1:].flatten())
    assert loss.item() == pytest.approx(usual.item(), rel=1e-5)
    wanted = torch.autograd.grad(usual, weight)[0]
    assert weight.grad is not None
    assert torch.allclose(weight.grad, wanted, atol=1e-6)


def test_by_hand_and_shared_among_the_parts_of_a_step():
    """Even logits over four words cost ln 4 a token; parts of a step are divided by the labels of the whole step."""
    hidden, labels = torch.zeros(1, 4, 2), torch.tensor([[0, 1, -100, 3]])
    assert labelled_loss(lambda states: states @ torch.zeros(2, 4), hidden, labels, 4) == pytest.approx(math.log(4))
    part = labelled_loss(lambda states: states @ torch.zeros(2, 4), hidden, labels, 4, count=torch.tensor(8))
    assert part == pytest.approx(2 * math.log(4) / 8)
    nothing = torch.full((1, 4), -100)
    assert labelled_loss(lambda states: states @ torch.zeros(2, 4), hidden, nothing, 4, count=torch.tensor(0)) == 0


def test_a_model_whose_output_is_no_layer_of_its_own_keeps_its_logits():
    model = made("llama")
    model.get_output_embeddings = lambda: None
    assert not lab.loss._bare(model, model.base_model, None, {"input_ids": BATCH[:1]})
    loss, _ = taught(model)
    with labelled_only(model, {"input_ids": BATCH[:1]}):
        assert taught(model)[0] == pytest.approx(loss, rel=1e-5)
