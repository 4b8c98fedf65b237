"""Two processes that train together learn what one learns, leave one run folder, and end together.

On CPUs, with gloo: whole copies as conf/accelerate/ddp.yml has them, and weights split as fsdp2.yml does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from lab import ranks
from lab.__main__ import command_line
from lab.base import EMBEDDED
from lab.records import LabError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PATH = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}
# Nine rows and four a step: the last step of the two has one row between them.
WORDS = [
    *("-m", "pipeline=cpt,lora", "device=cpu", "corpus.book.acts=4", "corpus.book.sections=2", "limit=1"),
    *("general.closed_book=1", "general.reading=1", "general.paragraphs=1"),
    *("training.texts=[documents]", "training.tokens=4300", "training.device_rows=4", "+training.evaluations=1"),
]


def launch(how: str, *words: str) -> list[str]:
    """`accelerate launch -m lab` as two processes."""
    config = str(ROOT / "conf" / "accelerate" / f"{how}.yml")
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config, "-m", "lab", *words]


def launched(folder: Path, how: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Such a command's end, in a folder that is made where there is none."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        launch(how, *words), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=500
    )


def alone(folder: Path, parts: int) -> Path:
    """What one process makes, which takes a step's rows in so many parts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", str(parts))
        patched.setattr(sys, "argv", ["lab", *WORDS])
        assert command_line() == 0
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return alone(tmp_path_factory.mktemp("whole"), 1)


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    return alone(tmp_path_factory.mktemp("parts"), 2)


def trained(folder: Path, kind: str) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The weights of the one training of this kind, and its curve."""
    (file,) = (folder / "artifacts" / kind).glob("*/*.safetensors")
    return load_file(file), json.loads((file.parent / "manifest.json").read_text())["cost"]["losses"]


def assert_equal(one: Path, other: Path) -> None:
    """That both learnt the same, to the bit."""
    for kind in ("weights", "lora"):
        (weights, curve), (weights_of_other, curve_of_other) = trained(one, kind), trained(other, kind)
        assert curve == curve_of_other
        assert all(torch.equal(weights[name], weight) for name, weight in weights_of_other.items())


def assert_close(one: Path, other: Path) -> None:
    """That both learnt the same but for how sums are rounded: each step's gradient in another order of its terms."""
    for kind in ("weights", "lora"):
        (weights, curve), (weights_of_other, curve_of_other) = trained(one, kind), trained(other, kind)
        began = load_file(EMBEDDED / "model.safetensors") if kind == "weights" else {}
        assert weights.keys() == weights_of_other.keys()
        for (
            name,
            weight,
        ) in weights_of_other.items():  # Of an adapter, lora_B began at zero; lora_A is taken as a whole.
            move = (weight - began.get(name, torch.zeros_like(weight)).float()).norm()
            assert (weight - weights[name]).norm() <= 1e-5 * move + 1e-7, name
        for row, row_of_other in zip(curve, curve_of_other, strict=True):
            assert row["domain_loss"] == pytest.approx(row_of_other["domain_loss"], rel=1e-5)


def children(launcher: int) -> Iterator[tuple[int, psutil.Process]]:
    for child in psutil.Process(launcher).children(recursive=True):
        if "RANK" in child.environ():
            yield int(child.environ()["RANK"]), child


def ended(folder: Path, how: str, words: list[str], end: str) -> str:
    """Begin such a command, and end it amid its second training: what it said."""
    folder.mkdir()
    with subprocess.Popen(launch(how, *words), cwd=folder, env=ENVIRONMENT, text=True, stderr=PIPE) as begun:
        assert begun.stderr
        next(line for line in begun.stderr if "lora: training," in line)
        both = dict(children(begun.pid))
        if end == "stopped":  # As a cluster does it: all are told, and the launcher tells its own once more.
            for process in (*both.values(), begun):
                process.terminate()
        else:
            while not [*folder.glob("artifacts/lora/.states-*/0*")]:
                time.sleep(0.01)
            both[1].kill()
        _, told = begun.communicate(timeout=60)  # A launcher itself gives them 30 s.
    assert begun.returncode != 0
    assert both.keys() == {0, 1}
    assert not any(process.is_running() for process in both.values())
    return told


@pytest.mark.parametrize(("how", "end"), [("ddp", "stopped"), ("fsdp2", "killed")])
def test_two_processes_learn_what_one_learns_though_they_are_ended(how, end, tmp_path, parts, whole):
    folder, words = tmp_path / "two", [*WORDS, "hydra.sweep.dir=runs/one"]
    if end == "killed":
        words.append("training.checkpoint_seconds=0")
    told = ended(folder, how, words, end)
    (states,) = folder.glob("artifacts/lora/*")  # Nothing that was half written, nor called whole.
    assert states.name.startswith(".states-")
    if end == "stopped":
        assert told.count("lab: terminated") == 1, told
    done = launched(folder, how, *words, "-v")
    assert done.returncode == 0, done.stderr
    assert "training goes on after step" in done.stderr
    assert done.stderr.count("was finished before") == 1  # Neither trains that again, nor waits for the other.
    assert done.stdout.count("Exam score") == 1
    assert_close(folder, whole)
    if how == "ddp":
        assert_equal(folder, parts)  # In parts of as many rows as each of the two takes, the same sums are made.
    (sweep,) = (folder / "runs").iterdir()
    assert len(list(sweep.rglob("manifest.json"))) == len(list(sweep.rglob("log.txt"))) == 2


def test_a_mistake_ends_them_all_and_is_told_once(tmp_path):
    done = launched(tmp_path / "two", "ddp", "pipeline=rga")
    assert done.returncode != 0
    assert done.stderr.count("lab: ") == 1, done.stderr
    assert "rga" in done.stderr


def test_deepspeed_learns_what_one_process_learns(tmp_path, request):
    pytest.importorskip("deepspeed")
    done = launched(tmp_path / "two", "deepspeed", *WORDS)
    assert done.returncode == 0, done.stderr
    assert "of this training before its end" in done.stderr
    assert_close(tmp_path / "two", request.getfixturevalue("whole"))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "fsdp_version: 2"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"},
            "fsdp_cpu_ram_efficient_loading: false",
        ),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, "zero_stage: 2"),
    ],
)
def test_shards_that_cannot_be_put_together_are_refused(settings, named, monkeypatch):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LabError, match=named):
        ranks.join("cpu")
