"""What makes training fast changes nothing that is learnt."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lab.adapt.engine import COMPILED_FROM, Engine, choose
from lab.adapt.training import Training
from lab.adapt.weights import WeightTraining
from lab.attention import SPARSE, can_compile
from lab.base import BaseModel
from lab.corpus.corpus import Corpus
from lab.ledger import Ledger
from lab.records import LabError
from lab.store import Store
from lab.workspace import Workspace
from lab.worlds.embedded import WorldReplay
from lab.worlds.general import GeneralWorld


def weights(base: BaseModel, corpus: Corpus, root: Path) -> dict[str, torch.Tensor]:
    """After a few steps, the rows of which are mostly not full."""
    training = Training(
        ("documents",), 2000, 1e-3, 0.3, WorldReplay(GeneralWorld(subjects=10)),
        device_rows=2, row_tokens=384, evaluations=1,
    )  # fmt: skip
    workspace = Workspace(Store(root), Ledger(), 0, "cpu")
    return load_file(WeightTraining(training).train(base, corpus, workspace).path / "model.safetensors")


@pytest.mark.parametrize(
    ("engine", "apart"),
    # Rows are of one width when compiled, so sums round otherwise.
    [
        (Engine(False, False, 1), 0.0),
        (Engine(False, True, 0), 1e-5),
    ],
    ids=["batches made beside", "compiled"],
)
def test_the_same_is_learnt(engine, apart, random_model, small_corpus, tmp_path, monkeypatch, caplog):
    base, compiled = BaseModel(str(random_model)), []
    usual = weights(base, small_corpus, tmp_path / "usual")

    def cheaply(module: Any, **how: Any) -> None:
        """Traced as ever, and not made machine code of, which would take a minute."""
        compiled.append(type(module).__name__)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager", **how)

    monkeypatch.setattr(torch.nn.Module, "compile", cheaply)
    monkeypatch.setattr("lab.adapt.fit.choose", lambda *asked: engine)
    with caplog.at_level(logging.INFO):
        other = weights(base, small_corpus, tmp_path / "other")
    assert f"training on cpu: {engine}" in caplog.text
    assert set(compiled) == ({"Qwen3DecoderLayer"} if engine.compiled else set())
    assert max(float((usual[name] - other[name]).abs().max()) for name in usual) <= apart


def test_only_where_there_is_much_to_do_is_anything_compiled(monkeypatch):
    monkeypatch.setattr("lab.adapt.engine.can_compile", lambda: True)
    much = {device: 2 * operations for device, operations in COMPILED_FROM.items()}
    assert choose("cpu", much["cpu"] / 4, True) == Engine(mixed=False, compiled=False, workers=0)
    assert choose("cpu", much["cpu"], True) == Engine(mixed=False, compiled=True, workers=0)
    assert choose("cuda", much["cuda"] / 4, True) == Engine(mixed=True, compiled=False, workers=2)
    assert choose("cuda", much["cuda"], False) == Engine(mixed=True, compiled=True, workers=2)
    assert choose("cuda", much["cuda"], True).attention == SPARSE
    assert "bfloat16" in str(choose("cuda", 0, True))


def test_a_compiler_and_python_s_headers_make_compiling_possible(monkeypatch, tmp_path):
    compiler, headers = tmp_path / "g++", tmp_path / "include"
    headers.mkdir()
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(headers))
    assert not can_compile()
    compiler.touch(mode=0o755)
    assert not can_compile()
    (headers / "Python.h").touch()
    assert can_compile()
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    assert not can_compile()


def test_what_cannot_be_compiled_is_told_with_its_mend(random_model, small_corpus, tmp_path, monkeypatch):
    def broken(graph: Any, example: Any) -> None:
        raise ValueError("no compiler\nhere")

    def refused(module: Any, **how: Any) -> None:
        module._compiled_call_impl = torch.compile(module._call_impl, backend=broken, **how)

    monkeypatch.setattr(torch.nn.Module, "compile", refused)
    monkeypatch.setattr("lab.adapt.fit.choose", lambda *asked: Engine(False, True, 0))
    with pytest.raises(LabError, match=r"cannot be compiled here \(.*no compiler here.*\); .*TORCH_COMPILE_DISABLE=1"):
        weights(BaseModel(str(random_model)), small_corpus, tmp_path)


def test_without_a_compiler_nothing_is_compiled_and_the_log_says_what_is_missing(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CXX", str(tmp_path / "g++"))
    with caplog.at_level(logging.INFO):
        assert not choose("cpu", 1e30, True).compiled
    assert "takes a C++ compiler" in caplog.text
