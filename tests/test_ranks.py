"""Two processes that train together learn what one learns, leave one run folder, and end together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lab import ranks
from lab.__main__ import command_line
from lab.base import EMBEDDED
from lab.records import LabError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch"),
    *("--config_file", str(ROOT / "conf" / "accelerate" / "ddp.yml"), "-m", "lab"),
]
# Nine rows and four a step: the last step of the two has one row between them.
WORDS = [
    *("-m", "pipeline=cpt,lora", "device=cpu", "corpus.book.acts=4", "corpus.book.sections=2", "limit=1"),
    *("general.closed_book=1", "general.reading=1", "general.paragraphs=1"),
    *("training.texts=[documents]", "training.tokens=4300", "training.device_rows=4"),
]


def launched(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`accelerate launch -m lab` as two processes, in a folder that is made where there is none."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*LAUNCH, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=500
    )


def alone(folder: Path, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as one process, which takes a step's rows in so many parts."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", str(parts))
    monkeypatch.setattr(sys, "argv", ["lab", *WORDS])
    assert command_line() == 0


def trained(folder: Path, kind: str) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The weights of the one training of this kind, and its curve."""
    (file,) = (folder / "artifacts" / kind).glob("*/*.safetensors")
    return load_file(file), json.loads((file.parent / "manifest.json").read_text())["cost"]["losses"]


def test_two_processes_learn_what_one_learns(tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    done = launched(tmp_path / "two", *WORDS, "hydra.sweep.dir=runs/one")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Exam score") == 1
    alone(tmp_path / "parts", 2, monkeypatch)
    alone(tmp_path / "whole", 1, monkeypatch)
    torch.set_num_threads(threads)
    for kind in ("weights", "lora"):
        two, curve = trained(tmp_path / "two", kind)
        # In parts of as many rows as each of the two takes, the same sums are made: to the bit.
        parts, curve_of_parts = trained(tmp_path / "parts", kind)
        assert curve == curve_of_parts
        assert all(torch.equal(two[name], parts[name]) for name in parts)
        # In one part sums round otherwise.
        whole, curve_of_whole = trained(tmp_path / "whole", kind)
        began = load_file(EMBEDDED / "model.safetensors") if kind == "weights" else {}
        for name, weight in whole.items():  # Of an adapter, lora_B began at zero; lora_A is taken as a whole.
            move = (weight - began.get(name, torch.zeros_like(weight)).float()).norm()
            assert (weight - two[name]).norm() <= 1e-5 * move + 1e-7, name
        for row, row_of_whole in zip(curve, curve_of_whole, strict=True):
            assert row["domain_loss"] == pytest.approx(row_of_whole["domain_loss"], rel=1e-5)
    again = launched(tmp_path / "two", *WORDS, "hydra.sweep.dir=runs/one")  # Neither trains, nor waits for the other.
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("was finished before") == 2
    (sweep,) = (tmp_path / "two" / "runs").iterdir()
    assert len(list(sweep.rglob("manifest.json"))) == len(list(sweep.rglob("log.txt"))) == 2


def test_a_mistake_ends_them_all_and_is_told_once(tmp_path):
    done = launched(tmp_path / "two", "pipeline=rga")
    assert done.returncode != 0
    assert done.stderr.count("lab: ") == 1, done.stderr
    assert "rga" in done.stderr


@pytest.mark.parametrize("how", ["FSDP", "DEEPSPEED"])
def test_weights_that_are_split_over_processes_are_refused(how, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{how}", "true")
    with pytest.raises(LabError, match=how):
        ranks.join("cpu")
