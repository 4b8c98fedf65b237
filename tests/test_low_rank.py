"""Adapters in another order of their sums learn what peft's own learn."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import Qwen3Config, Qwen3ForCausalLM

from lab.flops import Counter, matrices
from lab.loss import labelled_only
from lab.low_rank import Thin, thin

NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def base(layers: int) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=64, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
            intermediate_size=96, vocab_size=90, initializer_range=0.3, attention_bias=True,
        )
    )  # fmt: skip


def pair(layers: int = 2, **settings: Any) -> tuple[PeftModel, PeftModel]:
    """The same adapters, none of them zero, as peft has them and as they are trained."""
    torch.manual_seed(1)
    config = LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": NAMES, "init_lora_weights": False, **settings})
    plain: Any = get_peft_model(base(layers), config)
    return plain, thin(copy.deepcopy(plain))


def learnt(model: PeftModel, mixed: bool = False) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of 3 rows of 20 tokens, and every gradient."""
    ids = torch.randint(0, 90, (3, 20), generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True, "r": 16}], ids=["lora", "rslora"])
def test_loss_and_gradients_are_pefts_own(settings: dict[str, Any]) -> None:
    plain, other = (model.double() for model in pair(**settings))
    assert sum(type(module) is Thin for module in other.modules()) == 2 * len(NAMES)
    (loss, gradients), (own_loss, own) = learnt(plain), learnt(other)
    assert own_loss == pytest.approx(loss, rel=1e-12)
    assert gradients.keys() == own.keys()
    assert len(own) == 2 * 2 * len(NAMES)
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, rtol=1e-10, atol=1e-12)


def test_what_comes_in_is_handed_on_only_where_something_learns_below() -> None:
    plain, other = (model.double() for model in pair(target_modules=[*NAMES, "embed_tokens"]))
    assert sum(isinstance(module, Thin) for module in other.modules()) == 2 * len(NAMES)
    wanted, own = learnt(plain)[1], learnt(other)[1]
    below = [name for name in wanted if "embed_tokens" in name]
    assert len(below) == 2
    assert all(torch.allclose(own[name], wanted[name]) for name in below)
    layer = Linear(torch.nn.Linear(8, 8), "default", LoraConfig(), r=2, init_lora_weights=False)
    (alone,) = [module for module in thin(torch.nn.Sequential(layer)).modules() if isinstance(module, Thin)]
    with Counter() as counter:
        alone(torch.randn(5, 8)).sum().backward()
    # Forward, then both halves of both gradients, 5 x 8 by rank 2; W + B·A twice would be once more.
    assert counter.flops(0).counted == 2 * 5 * 8 * 8 + 4 * 2 * 5 * 8 * 2 + 2 * 8 * 2 * 8


def test_bfloat16_is_as_near_as_pefts_own() -> None:
    exact = learnt(pair()[0].double())[1]
    off = []
    for model in pair():
        gradients = learnt(model, mixed=True)[1]
        assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
        off.append(sum(float((gradients[name] - exact[name]).norm() / exact[name].norm()) for name in exact))
    assert off[1] < 1.2 * off[0] < 0.5 * len(exact)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_dropout": 0.1}], ids=["dora", "dropout"])
def test_what_would_not_come_to_the_same_stays(settings: dict[str, Any]) -> None:
    assert not any(isinstance(module, Thin) for module in pair(**settings)[1].modules())


def test_put_out_or_merged_a_layer_is_pefts_own() -> None:
    plain, other = pair()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        for model in (plain, other):
            model.eval().merge_adapter()
        torch.testing.assert_close(other(input_ids=ids).logits, plain(input_ids=ids).logits)
        for model in (plain, other):
            model.unmerge_adapter()
        with plain.disable_adapter(), other.disable_adapter():
            torch.testing.assert_close(other(input_ids=ids).logits, plain(input_ids=ids).logits)


def test_merged_it_is_the_model_that_was_trained() -> None:
    other = pair()[1].eval()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        before = other(input_ids=ids).logits
        torch.testing.assert_close(other.merge_and_unload()(input_ids=ids).logits, before, rtol=1e-5, atol=1e-5)


def test_operations_are_as_the_rule_has_them() -> None:
    other = pair()[1]
    found = matrices(other)
    weights = [p.numel() for p in other.parameters() if p.requires_grad]
    assert found.beside == sum(weights)
    assert not found.learning
    tokens = 3 * 20
    with Counter() as counter:
        learnt(other)
    flops = counter.flops(found.training(tokens, tokens))
    unneeded = 2 * tokens * 64 * (64 + 32 + 32)  # The lowest queries, keys and values hand no gradient down.
    assert flops.counted - flops.attention - summing(other) == flops.formula - unneeded


def summing(model: PeftModel) -> int:
    """W + B·A: once forward, and once more where a gradient is handed down."""
    layers = [module for module in model.modules() if isinstance(module, Thin)]
    once = [2 * 4 * layer.in_features * layer.out_features for layer in layers]
    return 2 * sum(once) - sum(once[:3])


def test_one_compiled_code_serves_all_layers_but_the_lowest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is handed what learns nothing."""
    made = CompileCounterWithBackend("aot_eager")

    def cheaply(module: Any, **how: Any) -> None:
        module._compiled_call_impl = torch.compile(module._call_impl, backend=made, **how)

    monkeypatch.setattr(torch.nn.Module, "compile", cheaply)
    plain, other = pair(layers=6)
    ids = torch.arange(20)[None]
    with labelled_only(other, {"input_ids": ids}, compiled=True):
        own_loss, own = learnt(other)
    loss, gradients = learnt(plain)
    assert made.frame_count == 2
    assert own_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, rtol=1e-3, atol=1e-4)
