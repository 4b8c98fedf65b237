"""Routes that a launcher runs in other processes come to what they come to in this one, failures and table included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lab.__main__ import command_line
from lab.records import FAILURE, Failure, read_jsonl, write_jsonl
from lab.report import find_runs, load
from lab.report.find import failures
from tests.faults.disk import SMALL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "pipeline=closed_book,gold"],
    "submitit": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10", "pipeline=gold"],
}


def lab(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lab", "-m", *words, *SMALL]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def answers(folder: Path) -> dict[tuple[str, int], list[tuple[str, str]]]:
    """What each route of each seed answered, question by question."""
    runs = [load(run) for run in find_runs([folder / "runs"])]
    return {
        (run.pipeline, run.seed): [
            (row["question_id"], row["text"]) for row in read_jsonl(run.folder / "answers.jsonl")
        ]
        for run in runs
    }


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_routes_in_other_processes_come_to_the_same(launcher, random_model, tmp_path, monkeypatch, capsys):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher}_launcher")
    *launched, pipelines = LAUNCHERS[launcher]
    words = [pipelines, "seed=0,1", "reference=gold", f"model.path={random_model}"]
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["lab", "-m", *words, *SMALL])
    assert command_line() == 0
    usual = capsys.readouterr().out
    done = lab(tmp_path / "there", *launched, *words)
    assert done.returncode == 0, done.stderr
    assert answers(tmp_path / "there") == answers(tmp_path / "here")
    for line in ("Exam score", "2 seeds"):
        assert done.stdout.count(line) == usual.count(line) > 0, line
    assert "rag is not among the runs" not in done.stdout  # The reference is that of the command line.
    # Those that are alike to the last word were asked once, whichever of them was first.
    kept = [
        sorted(path.name for path in (tmp_path / place / "artifacts" / "answers").iterdir())
        for place in ("here", "there")
    ]
    assert kept[0] == kept[1]


def test_failures_in_other_processes_are_told_by_kind_and_the_others_count(random_model, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = lab(tmp_path, *LAUNCHERS["joblib"][:2], "pipeline=gold", "seed=0,-1", f"model.path={random_model}")
    assert done.returncode == 1, done.stderr
    assert "lab: 1 of 2 routes failed" in done.stderr
    assert [(failure.seed, failure.kind) for failure in failures([tmp_path / "runs"])] == [(-1, "mistake")]
    assert "seed=-1" in done.stdout


@pytest.mark.parametrize(("kinds", "code"), [(("mistake", "killed"), 2), (("killed", "mistake"), 2), (("killed",), 1)])
def test_where_every_route_failed_elsewhere_the_exit_code_is_that_of_here(kinds, code, tmp_path, monkeypatch, capsys):
    """As joblib and submitit leave them: a job that was killed tells nothing."""

    prices = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "prices" / "default.yaml"))

    def launched() -> None:
        for number, kind in enumerate(kinds):
            hidden = tmp_path / "sweep" / f"{number}-gold" / ".hydra"
            hidden.mkdir(parents=True)
            hydra = {"job": {"num": number}, "runtime": {"choices": {"pipeline": "gold"}}}
            (hidden / "hydra.yaml").write_text(json.dumps({"hydra": hydra}))
            (hidden / "config.yaml").write_text(
                json.dumps({"reference": "rag", "arm": None, "seed": 7, "prices": prices})
            )
            if kind != "killed":
                write_jsonl(hidden.parent / FAILURE, [Failure("gold", 7, kind, "seed=7: no luck")])

    monkeypatch.setattr("lab.__main__.main", launched)
    words = ["-m", "hydra/launcher=joblib", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    monkeypatch.setattr(sys, "argv", ["lab", *words])
    assert command_line() == code
    assert {failure.kind for failure in failures([tmp_path])} == set(kinds)
    said = capsys.readouterr().err
    assert "lab: seed=7: no luck" in said if code == 2 else "every route failed, the first of them: its job" in said
