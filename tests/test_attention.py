"""Whoever computes the scores, a token of a packed row sees the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import Qwen3Config, Qwen3ForCausalLM

from lab.attention import BLOCK, SPARSE, as_it_is, attending, can_skip, computed_share, mask, visible
from lab.loss import labelled_only
from lab.packing import Piece, pack

CUDA = torch.cuda.is_available()


def model(layers: int = 2, **more: Any) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=64, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
            intermediate_size=64, vocab_size=90, initializer_range=0.3, **more,
        )
    )  # fmt: skip


def packed(width: int = 3 * BLOCK) -> dict[str, torch.Tensor]:
    """Two rows: pieces with branches, longer and shorter than a block, and padding."""
    first = [Piece(list(range(30)), [(list(range(20)), 5), (list(range(40)), 9)]), Piece(list(range(80)), [])]
    second = [Piece(list(range(60)), [(list(range(n, 60)), 20) for n in range(4)])]
    made = pack([first, second], width, 0)
    labels = made.labels.roll(1, dims=1)
    return {
        "input_ids": made.ids, "position_ids": made.positions, "piece": made.piece, "branch": made.branch,
        "labels": labels,
    }  # fmt: skip


def test_every_form_of_the_mask_shows_what_a_loop_over_all_pairs_finds():
    some = packed()
    piece, branch = some["piece"], some["branch"]
    rows, width = piece.shape
    wanted = torch.zeros(rows, width, width, dtype=torch.bool)
    for row in range(rows):
        for one in range(width):
            for other in range(one + 1):
                same = piece[row, one] == piece[row, other]
                wanted[row, one, other] = same and branch[row, other] in (0, branch[row, one])
    assert torch.equal(visible(piece, branch)[:, 0], wanted)
    assert torch.equal(mask("sdpa", piece, branch)[:, 0], wanted)
    assert torch.equal(mask("eager", piece, branch)[:, 0] == 0, wanted)
    blocks: Any = mask(SPARSE, piece, branch)
    at = torch.arange(width)
    for row in range(rows):
        assert torch.equal(blocks.mask_mod(torch.tensor(row), 0, at[:, None], at[None, :]), wanted[row])
    needed = wanted.view(rows, 3, BLOCK, 3, BLOCK).any(4).any(2)
    sparse = model()
    with attending(sparse, SPARSE):
        assert computed_share(sparse, piece, branch) == pytest.approx(needed.float().mean().item())
    assert computed_share(sparse, piece, branch) == 1


def test_the_loss_is_the_same_whoever_attends():
    """Forward only: torch has no gradient of sparse attention on a CPU."""
    found = {}
    for attention in (None, "eager", SPARSE):
        one = model().eval()
        with labelled_only(one, {"input_ids": packed()["input_ids"]}), attending(one, attention), torch.no_grad():
            found[attention] = one(**packed()).loss.item()
        assert one.config._attn_implementation == "sdpa"
    assert found["eager"] == pytest.approx(found[None], rel=1e-5)
    assert found[SPARSE] == pytest.approx(found[None], rel=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", SPARSE])
def test_the_code_compiled_for_one_layer_serves_them_all(attention, monkeypatch):
    """Ten layers, of which dynamo would give up after eight if each had code of its own."""
    made = CompileCounterWithBackend("eager")

    def cheaply(module: Any, **how: Any) -> None:
        module._compiled_call_impl = torch.compile(module._call_impl, backend=made, **how)

    monkeypatch.setattr(torch.nn.Module, "compile", cheaply)
    one = model(layers=10)
    example = {"input_ids": packed()["input_ids"]}
    # Sparse attention has no gradient on a CPU.
    with labelled_only(one, example, True), attending(one, attention), torch.set_grad_enabled(attention == "sdpa"):
        for _ in range(2):
            one(**packed())
    assert made.frame_count == 1


def test_where_nothing_is_compiled_nothing_attends_sparsely():
    one = model()
    with attending(one, SPARSE):
        with as_it_is(one):
            assert one.config._attn_implementation == "sdpa"
        assert one.config._attn_implementation == SPARSE


def test_only_what_may_be_skipped_is():
    assert can_skip(model(), 4 * BLOCK)
    assert not can_skip(model(), 4 * BLOCK + 8)
    assert not can_skip(model(attention_dropout=0.1), 4 * BLOCK)
    assert not can_skip(model(attn_implementation="eager"), 4 * BLOCK)


@pytest.mark.skipif(not CUDA, reason="torch has no gradient of sparse attention on a CPU")
def test_gradients_are_the_same_whoever_attends():
    """In float32, compiled and not: what a GPU trains with."""
    found = {}
    for attention, compiled in ((None, False), (SPARSE, False), (SPARSE, True), (None, True)):
        one = model().cuda()
        given = {name: value.cuda() for name, value in packed().items()}
        with labelled_only(one, {"input_ids": given["input_ids"]}, compiled), attending(one, attention):
            loss = one(**given).loss
            loss.backward()
        found[attention, compiled] = [loss.detach(), *(weight.grad for weight in one.parameters())]
    usual = found.pop((None, False))
    for other in found.values():
        for mine, theirs in zip(usual, other, strict=True):
            assert (mine - theirs).norm() <= 2e-3 * mine.norm()  # Triton multiplies float32 in tf32.
