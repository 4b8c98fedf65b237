"""The report as a command: what it says beside its results, and comparing folders by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal
from test_report import small_run

from lab.progress import PLAIN, speak
from lab.records import LabError
from lab.report import compare, gather, load
from lab.report.__main__ import main


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab.report", *map(str, words)], capture_output=True, text=True)


def test_more_and_less_change_what_is_said_on_the_way_and_not_the_result(tmp_path: Path) -> None:
    for name in ("rag", "gold"):
        small_run(tmp_path / name, name, ["q1"])
    quiet, plain, verbose = command(tmp_path, "-q"), command(tmp_path), command("-v", tmp_path)
    assert quiet.stdout == plain.stdout == verbose.stdout
    assert "Exam score" in plain.stdout
    assert quiet.stderr == plain.stderr == ""  # Nobody waited for any of it.
    said = [re.sub(r"[\d.]+ s, \S+ ", "", line) for line in verbose.stderr.splitlines()]
    assert said[:2] == ["report: opening, runs/s", "report: comparing, runs/s"]


def test_verbose_shows_where_a_mistake_arose(tmp_path: Path) -> None:
    try:
        assert main([str(tmp_path / "none"), "-q"]) == 2
        with pytest.raises(LabError, match="no such folder"):
            main([str(tmp_path / "none"), "-v"])
    finally:
        speak(PLAIN)


def test_runs_of_a_time_to_come_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Which of two runs is newer is known by the clock alone; after it was set back that may be wrong."""
    before, since = [small_run(tmp_path / name, "rag", ["q1"]) for name in ("before", "since")]
    tomorrow = time.time() + 24 * 3600
    os.utime(before / "manifest.json", (tomorrow, tomorrow))
    runs, notes = gather([tmp_path])
    assert f"{before} is of a time to come: was the clock set back?" in caplog.text
    assert [run.folder for run in runs] == [before]
    assert str(since) in notes[0]
    caplog.clear()
    os.utime(before / "manifest.json", (tomorrow - 48 * 3600, tomorrow - 48 * 3600))
    assert [run.folder for run in gather([tmp_path])[0]] == [since]
    assert not caplog.text


def test_folders_are_compared_as_their_runs_are(tmp_path: Path) -> None:
    folders = [small_run(tmp_path / "runs" / name, name, ["q1", "g1"]) for name in ("rag", "gold")]
    runs = [load(folder) for folder in folders]
    for given in (folders, [str(tmp_path)], [runs[0], folders[1]]):
        assert_frame_equal(compare(given), compare(runs))
