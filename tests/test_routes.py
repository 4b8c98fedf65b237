"""Routes that fail in every way a route can, the process's own end included: the others end well."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.records import Failure
from lab.report.find import failures, find_runs
from lab.routes import Routes
from tests.faults.disk import SMALL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
KINDS = {2: "out of memory", 5: "diverged", 8: "fault", 11: "overdue", 14: "killed"}
FAILING = """
import contextlib, os, signal, sys, time
import torch
import lab.run
from lab.__main__ import command_line
from lab.records import DivergedError
from lab.routes import Routes, outlived

whole = lab.run.run

def failing(experiment):
    if experiment.seed == 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    if experiment.seed == 5:
        raise DivergedError("the training loss is nan after 7 steps")
    if experiment.seed == 8:
        raise RuntimeError("no such operator")
    if experiment.seed == 11:
        signal.setitimer(signal.ITIMER_REAL, 0.2)  # So that the test need not wait for the limit.
        while True:  # It hangs, and swallows what code may swallow.
            with contextlib.suppress(Exception):
                time.sleep(0.01)
    if experiment.seed == 14:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(experiment)

lab.run.run = failing
sys.exit(outlived(command_line, Routes.of(sys.argv[1:])))
"""


def test_of_twenty_routes_five_fail_in_five_ways_and_fifteen_count(random_model: Path, tmp_path: Path) -> None:
    seeds = ",".join(map(str, range(20)))
    words = ("-m", "pipeline=closed_book", f"seed={seeds}", "limit_seconds=600", f"model.path={random_model}", *SMALL)
    done = subprocess.run(
        [sys.executable, "-c", FAILING, "-q", *words],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "lab: 5 of 20 routes failed; see above"
    (sweep,) = (tmp_path / "runs").iterdir()  # One folder, though it took two processes.
    assert {failure.seed: failure.kind for failure in failures([sweep])} == KINDS
    finished = [run for run in find_runs([sweep]) if json.loads((run / "manifest.json").read_text())["finished"]]
    assert len(finished) == 15
    assert "15 seeds" in done.stdout
    table = done.stdout[done.stdout.index("Failed, and in no figure above") :]
    for kind, reason in (
        ("out of memory", "CUDA out of memory. Tried to allocate 2 GiB"),
        ("diverged", "the training loss is nan after 7 steps"),
        ("fault", "RuntimeError: no such operator"),
        ("overdue", "600 s"),
        ("killed", "SIGKILL"),
    ):
        assert any(kind in line and reason in line for line in table.splitlines()), kind
    with (sweep / "comparison.csv").open() as file:
        assert {int(row["seed"]) for row in csv.DictReader(file) if row["seed"] != "all"} == set(range(20)) - set(KINDS)


def in_a_child(tmp_path: Path, work: str) -> subprocess.Popen[str]:
    code = f"import os, signal, sys, time\nfrom pathlib import Path\nfrom lab.routes import Routes, outlived\n{work}"
    return subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


def test_a_process_that_is_killed_between_routes_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    with in_a_child(tmp_path, "sys.exit(outlived(lambda routes: os.kill(os.getpid(), 9), Routes(Path())))") as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 137
    assert told == "lab: SIGKILL\n"


WAITING = """
def work(routes):
    try:
        print(os.getpid(), flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        return 130
sys.exit(outlived(work, Routes(Path())))
"""


def test_what_the_parent_is_told_by_a_signal_the_child_is_told(tmp_path: Path) -> None:
    with in_a_child(tmp_path, f"signal.signal(signal.SIGINT, signal.default_int_handler)\n{WAITING}") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "stopped\n"
        assert process.wait(60) == 130


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells no child of its parent's end")
def test_a_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    with in_a_child(tmp_path, WAITING) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        assert process.stdout.read() == ""  # To its end: nobody holds it any more.
    given_up = time.monotonic() + 60
    while time.monotonic() < given_up and Path(f"/proc/{child}/status").exists():
        if "State:\tZ" in Path(f"/proc/{child}/status").read_text():
            break  # Dead, and nobody has asked for it.
    assert time.monotonic() < given_up


def test_what_became_of_routes_is_the_same_on_either_side_of_the_pipe(tmp_path: Path) -> None:
    with (tmp_path / "told").open("w") as listener:
        child = Routes(tmp_path, listener=listener)
        child.begin("rag", 0, tmp_path / "0")
        child.finish(tmp_path / "0")
        child.begin("lora", 1, tmp_path / "1")
        child.fail(Failure("lora", 1, "disk", "full"), tmp_path / "nowhere")
        child.begin("cpt", 2, tmp_path / "2")
    parent = Routes(tmp_path)
    for line in (tmp_path / "told").read_text().splitlines():
        parent.take(*json.loads(line))
    assert (parent.begun, parent.finished, parent.failed) == (3, child.finished, child.failed)
    assert parent.under_way == child.under_way == ("cpt", 2, str(tmp_path / "2"))


def test_the_same_words_go_on_in_the_folder_that_they_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["-m", "seed=0,1"]
    first = Routes.of(words)
    first.open()
    assert not first.again
    beside = Routes.of(words)  # The first is at work still.
    assert beside.folder != first.folder
    first.let_go()
    assert Routes.of(["-m", "seed=0,1,2"]).folder != first.folder
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "command.json").write_text('["-m", "se')
    after = Routes.of(words)
    assert (after.folder, after.again) == (first.folder, True)
    after.close()
    assert Routes.of(words).folder not in (first.folder, beside.folder.parent / "torn")


def test_a_killed_process_holds_no_folder(tmp_path: Path) -> None:
    code = "routes = Routes.of(['-m'])\nroutes.open()\nos.kill(os.getpid(), signal.SIGKILL)"
    with in_a_child(tmp_path, code) as process:
        assert process.wait(60) == -9
    with in_a_child(tmp_path, "print(Routes.of(['-m']).again)") as process:
        assert process.communicate()[0] == "True\n"
