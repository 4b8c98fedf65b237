"""What runs side by side do not share is said on top, in one line each, and nothing is said of what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_report import small_run

from lab.report import load
from lab.report.provenance import unlike
from lab.report.show import show
from lab.report.sweep import main

CODE = {"revision": "a" * 40, "dirty": False, "digest": "1" * 64}
OTHER_CODE = {"revision": "b" * 40, "dirty": False, "digest": "2" * 64}
PACKAGES = {"torch": "2.13.0", "peft": "0.21.2", "openvino": None, "pandas": "3.0"}
HERE = {
    "code": CODE,
    "packages": PACKAGES,
    "device": "cpu",
    "gpu": None,
    "cpu_count": 2,
    "threads": 2,
    "machine": "x86",
}
OLDER = {"revision": "a" * 40, "dirty": True}  # as before the digest


def said(root: Path, **environments: dict[str, Any]) -> list[str]:
    """What is said of runs by name, `rag_1` being seed 1 of rag; what an environment does not name is as `HERE`."""
    runs = []
    for name, other in environments.items():
        route, _, seed = name.partition("_")
        folder = small_run(root / name, route, ["q1"], seed=int(seed or 0), environment={**HERE, **other})
        runs.append(load(folder))
    return unlike(runs)


def test_nothing_is_said_of_runs_that_are_alike_or_do_not_tell(tmp_path: Path) -> None:
    assert said(tmp_path / "alike", rag={}, gold={}) == []
    # What reports are made with is no part of a run.
    assert said(tmp_path / "pandas", rag={}, gold={"packages": {**PACKAGES, "pandas": "2.9"}}) == []
    runs = [
        load(small_run(tmp_path / name, name, [], environment=told)) for name, told in (("rag", HERE), ("gold", {}))
    ]
    assert unlike(runs) == []


def test_code_counts_by_what_it_does(tmp_path: Path) -> None:
    (line,) = said(tmp_path / "two", rag={}, lora={"code": OTHER_CODE}, gold={})
    assert line.startswith("The runs were made by different code: aaaaaaa (rag, gold), bbbbbbb (lora).")
    # A commit that changed no code, and a dirty tree whose code is the same.
    same = {"revision": "b" * 40, "dirty": True, "digest": CODE["digest"]}
    assert said(tmp_path / "same", rag={}, lora={"code": same}) == []
    dirty = {**OTHER_CODE, "revision": CODE["revision"], "dirty": True}
    (line,) = said(tmp_path / "dirty", rag={}, lora={"code": dirty})
    assert "aaaaaaa (rag), aaaaaaa with changes (lora)" in line
    changed = [{**dirty, "digest": digit * 64} for digit in "34"]
    (line,) = said(tmp_path / "changed", rag={"code": changed[0]}, lora={"code": changed[1]})
    assert "aaaaaaa with changes, code 33333333 (rag), aaaaaaa with changes, code 44444444 (lora)" in line
    installed = {"revision": None, "dirty": None, "digest": "5" * 64}
    (line,) = said(tmp_path / "installed", rag={}, lora={"code": installed})
    assert "aaaaaaa (rag), no revision (lora)" in line


def test_older_runs_tell_their_revision_alone(tmp_path: Path) -> None:
    (line,) = said(tmp_path / "one", rag={"code": OLDER}, gold={"code": OLDER})
    assert line == "The runs were made by code with changes that were not committed, which need not have been the same."
    assert said(tmp_path / "clean", rag={"code": {**OLDER, "dirty": False}}, gold={"code": CODE}) == []
    (line,) = said(tmp_path / "two", rag={"code": OLDER}, gold={"code": OTHER_CODE})
    assert "aaaaaaa with changes (rag), bbbbbbb (gold)" in line


def test_libraries_are_told_in_one_line(tmp_path: Path) -> None:
    other = {"packages": {**PACKAGES, "torch": "2.11.0", "openvino": "2026.1"}}
    (line,) = said(tmp_path, rag={}, lora=other, rag_1=other)
    assert "torch 2.11.0 (lora, rag seed 1), 2.13.0 (rag seed 0)" in line
    assert "openvino 2026.1 (lora, rag seed 1), not installed (rag seed 0)" in line
    assert "peft" not in line


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"device": "cuda", "gpu": "NVIDIA H100"}, "NVIDIA H100 (lora)"),
        ({"threads": 1}, "1 threads of 2 cores, x86 (lora)"),
        ({"machine": "arm64"}, "2 threads of 2 cores, arm64 (lora)"),
        ({"gpu": "NVIDIA H100"}, ""),  # there, and not used
    ],
)
def test_machines_are_told_by_what_did_the_work(tmp_path: Path, other: dict[str, Any], named: str) -> None:
    lines = said(tmp_path, rag={}, gold={}, lora=other)
    assert len(lines) == bool(named)
    assert all(f"2 threads of 2 cores, x86 (rag, gold), {named}." in line for line in lines)


def test_another_base_and_many_runs_are_told_shortly(tmp_path: Path) -> None:
    digests = {"corpus": "c", "exam": "e", "general": "g", "model": "m" * 64}
    runs = [load(small_run(tmp_path / "other", "gold", [], digests=digests, environment=HERE))]
    for name in ("closed_book", "random", "rag", "lora", "cpt", "cpt_rag"):
        usual = {**digests, "model": "n" * 64}
        runs.append(load(small_run(tmp_path / name, name, [], digests=usual, environment=HERE)))
    (line,) = unlike(runs)
    assert "nnnnnnnn (closed_book, random, rag, lora and 2 more), mmmmmmmm (gold)" in line


CHANGED = {**HERE, "code": OTHER_CODE, "threads": 1}


def test_it_stands_above_the_table_and_on_the_page_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, told in (("rag", HERE), ("gold", HERE), ("lora", CHANGED)):
        small_run(tmp_path / name, name, ["q1"], environment=told)
    show([tmp_path])
    shown = " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "report.html").read_text()
    for words in ("by different code", "on different machines"):
        assert shown.index(f"Warning: The runs were made {words}") < shown.index("Exam score")
        assert shown.count(words) == page.count(words) == 1
        assert page.index(words) < page.index('class="said"')


def test_it_stands_above_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for share, told in (("0.1", HERE), ("0.2", CHANGED)):
        small_run(tmp_path / share, "cpt", ["q1"], environment=told, overrides=[f"training.general_share={share}"])
    assert main([str(tmp_path), "--x", "training.general_share"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.index("Warning: The runs were made by different code") < shown.index("Over training.general_share")
