"""Seeds, choices and the snapshot of the environment."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

import lab.runtime
from lab.code import digest_package
from lab.records import LabError
from lab.runtime import choose_device, choose_dtype, code_revision, environment, seed_everything


def test_seed_covers_all_generators() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(numpy.random.random()), torch.rand(1).item()

    seed_everything(3)
    first = draw()
    assert draw() != first
    seed_everything(3)
    assert draw() == first
    with pytest.raises(LabError, match="seed=-1"):
        seed_everything(-1)


def test_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(LabError, match="device=cpu"):
        choose_device("cuda")
    with pytest.raises(LabError, match="device=gpu"):
        choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"
    assert choose_dtype("auto", "cpu") is torch.float32
    assert choose_dtype("auto", "cuda") is torch.bfloat16
    assert choose_dtype("bfloat16", "cpu") is torch.bfloat16
    with pytest.raises(LabError, match="dtype=int8"):
        choose_dtype("int8", "cpu")


def test_environment_is_json_without_paths_or_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "very-secret-value")
    text = json.dumps(environment())
    assert "very-secret-value" not in text
    assert str(Path(lab.runtime.__file__).parents[1]) not in text
    assert str(Path.home()) not in text or str(Path.home()) == "/"
    assert json.loads(text)["packages"]["torch"] == torch.__version__


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_code_revision_is_that_of_this_code_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "runtime.py").write_text("")
    monkeypatch.setattr(lab.runtime, "__file__", str(tmp_path / "lab" / "runtime.py"))
    unknown = {"revision": None, "dirty": None, "digest": digest_package()}
    assert code_revision() == unknown
    git(tmp_path, "init")
    assert code_revision() == unknown  # no commit yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    clean = code_revision()
    assert (len(clean["revision"]), clean["dirty"]) == (40, False)
    (tmp_path / "lab" / "new.py").write_text("")
    assert code_revision() == {**clean, "dirty": True}
    # Installed into an environment that lies inside a checkout: not that checkout's revision.
    (tmp_path / "packages" / "lab").mkdir(parents=True)
    monkeypatch.setattr(lab.runtime, "__file__", str(tmp_path / "packages" / "lab" / "runtime.py"))
    assert code_revision() == unknown


def test_the_ground_floor_imports_no_torch() -> None:
    code = "import sys, lab.records, lab.store, lab.ledger, lab.runtime, lab.workspace; print('torch' in sys.modules)"
    home = Path(lab.runtime.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
