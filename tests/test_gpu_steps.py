"""The steps for a GPU, with other commands in their place: what is done is not done twice, what is not goes on."""

from __future__ import annotations

import json
import runpy
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """The script with a GPU, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Great Card")
    board = SimpleNamespace(name="Great Card", total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: board)
    return runpy.run_path(str(SCRIPT))["main"].__globals__


def ask(steps, monkeypatch, *words) -> int:
    monkeypatch.setattr("sys.argv", ["gpu.py", *words])
    return steps["main"]()


def test_what_is_done_is_not_done_twice_and_what_failed_is(steps, monkeypatch, tmp_path):
    once = "open('made', 'a').write('x')"
    fails = "import os, sys; print('no luck'); sys.exit(not os.path.exists('mended'))"
    steps["STEPS"] = {"one": [["-c", once], ["-c", fails]], "two": [["-c", once]]}
    assert ask(steps, monkeypatch, "one", "two") == 1
    assert "no luck" in (tmp_path / "results/Great-Card/one-1.txt").read_text()
    (tmp_path / "mended").touch()
    assert ask(steps, monkeypatch, "one", "two") == 0
    assert (tmp_path / "made").read_text() == "xx"  # Once in each step.


def test_a_step_that_takes_too_long_is_asked_to_stop(steps, monkeypatch):
    steps["STEPS"] = {"long": [["-c", "import time; time.sleep(60)"]]}
    steps["SECONDS"] = 0.5
    begun = time.monotonic()
    assert ask(steps, monkeypatch, "long") == 1
    assert time.monotonic() - begun < 30


def test_small_files_are_collected_under_the_card_s_name(steps, monkeypatch, tmp_path):
    run = tmp_path / "runs/gpu/exam-0/0-rag"
    run.mkdir(parents=True)
    for name in ("manifest.json", "metrics.json", "answers.jsonl"):
        (run / name).write_text("{}")
    assert ask(steps, monkeypatch, "collect") == 0
    results = tmp_path / "results/Great-Card"
    assert {path.name for path in (results / "runs/exam-0/0-rag").iterdir()} == {"manifest.json", "metrics.json"}
    assert json.loads((results / "gpu.json").read_text())["name"] == "Great Card"


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert ask(runpy.run_path(str(SCRIPT))["main"].__globals__, monkeypatch) == 2
    assert "no CUDA device" in capsys.readouterr().out
