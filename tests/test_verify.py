"""What a run folder says can be made again; whatever was changed in it afterwards is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_report import small_run

from lab.records import read_jsonl, write_jsonl
from lab.report import load, metrics
from lab.store import digest_file
from lab.verify import differences, main

SEALED = ("answers.jsonl", "questions.jsonl", "texts.jsonl", "costs.jsonl")


def finished(folder: Path, name: str = "rag") -> Path:
    """A run folder as a run leaves it: metrics of its answers, and a manifest that names its files."""
    run = small_run(folder, name, ["e1"])
    (run / "metrics.json").write_text(json.dumps(metrics(load(run))))
    return sealed(run)


def sealed(run: Path) -> Path:
    """The same with the SHA-256 of its files as they are now."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"] = {name: digest_file(run / name) for name in SEALED}
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def flip_a_grade(run: Path) -> None:
    rows = list(read_jsonl(run / "answers.jsonl"))
    rows[1]["grade"]["score"] = 1.0 - rows[1]["grade"]["score"]
    write_jsonl(run / "answers.jsonl", rows)


def flip_a_bit(run: Path) -> None:
    path = run / "texts.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def better_metrics(run: Path) -> None:
    tree = json.loads((run / "metrics.json").read_text())
    tree["exam"]["all"]["score"]["value"] += 0.01
    (run / "metrics.json").write_text(json.dumps(tree))


def test_a_run_that_nobody_touched_is_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = finished(tmp_path / "one"), finished(tmp_path / "other", "gold")
    assert differences(one) == differences(other) == []
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{one}: as it says", f"{other}: as it says"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (flip_a_bit, "texts.jsonl is not the file that the run wrote"),
        (lambda run: (run / "costs.jsonl").unlink(), "costs.jsonl is missing"),
        (better_metrics, "metrics.json, exam / all / score / value: "),
        (lambda run: (run / "metrics.json").write_text("{"), "metrics.json is no JSON"),
        (lambda run: (run / "metrics.json").unlink(), "metrics.json is missing"),
        (flip_a_grade, "answers.jsonl is not the file that the run wrote"),
    ],
)
def test_what_was_changed_is_named(
    change: Callable[[Path], None], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tmp_path / "run")
    change(run)
    assert any(line.startswith(told) for line in differences(run))
    assert main([str(run)]) == 1
    assert capsys.readouterr().out.startswith(f"{run}: DIFFERS\n  {told}")


def test_a_grade_is_not_believed_because_its_file_is_whole(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    flip_a_grade(run)
    found = differences(sealed(run))  # whoever changed it also wrote the SHA-256 anew
    assert found[0].startswith("answers.jsonl, ")
    assert "graded anew" in found[0]
    assert any(line.startswith("metrics.json, exam / all / score / value") for line in found)


def test_a_manifest_cannot_have_other_files_read(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (tmp_path / "secret").write_text("not of this run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"] = {"../secret": digest_file(tmp_path / "secret")}
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert differences(run) == ["../secret is missing"]


def test_a_manifest_without_files_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["files"]  # as runs of earlier versions, and as somebody who hides a change
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert main([str(run)]) == 0
    assert capsys.readouterr().out == f"{run}: as it says; its manifest names no files to check\n"
    (run / "manifest.json").write_text(json.dumps({**manifest, "files": ["answers.jsonl"]}))
    assert main([str(run)]) == 1
    assert "run it again" in capsys.readouterr().out


def test_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    unfinished = small_run(tmp_path / "unfinished", "rag", [], finished=False)
    assert main([str(unfinished)]) == 1
    assert "did not finish" in capsys.readouterr().out
