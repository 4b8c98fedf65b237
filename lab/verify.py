"""`python -m lab.verify RUNS`: does a run folder still say what it said? Files, grades and metrics are made again.

A run's manifest names the SHA-256 of every file that the run wrote before it. Every answer is graded anew, and the
metrics are computed anew from the answers. What differs is named; nothing is changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.judge.grading import grade
from lab.records import Answer, LabError, Question, told
from lab.report import find_runs, load, metrics
from lab.report.load import GRADE_COLUMNS, MANIFEST, Run, read_manifest
from lab.store import digest_file

NAMED = 3  # differences of one kind that are told one by one
FOUND_OUT = ("parameters", "leaked", "finished")  # What a manifest tells only when its run is done.
CLOSE = 1e-9  # relative: another machine adds up in another order


def differences(folder: Path) -> list[str]:
    """What differs between a run folder and what its manifest, answers and questions make of it; empty if nothing does.

    A damaged file of the run is told alone, since grades and metrics made of it would only repeat it. LabError where
    the folder is no finished run.
    """
    if broken := list(_files(folder)):
        return broken
    run = load(folder)
    return [*_shortened(_grades(run)), *_shortened(_metrics(run))]


def holds(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether the folder holds a finished run of this manifest in which nothing differs: it need not be made again."""
    try:
        before = read_manifest(folder)
        known = {name: value for name, value in manifest.items() if name not in FOUND_OUT}
        same = json.loads(json.dumps(known)) == {name: before[name] for name in known}
        return same and not differences(folder)
    except (LabError, OSError, KeyError):
        return False


def _files(folder: Path) -> Iterator[str]:
    for name, expected in _sealed(folder).items():
        path = folder / Path(name).name
        if not path.is_file():
            yield f"{name} is missing"
        elif digest_file(path) != expected:
            yield f"{name} is not the file that the run wrote: its SHA-256 differs"


def _sealed(folder: Path) -> dict[str, Any]:
    """SHA-256 by file name, as the manifest has it; empty for a run of an earlier version, which named none."""
    files = read_manifest(folder).get("files", {})
    if not isinstance(files, dict):
        raise LabError(f"{folder / MANIFEST}: files is no list of names with their SHA-256; run it again")
    return files


def _grades(run: Run) -> Iterator[str]:
    questions = run.questions.rename(columns={"question_id": "id"})[[f.name for f in dataclasses.fields(Question)]]
    names = [field.name for field in dataclasses.fields(Answer)]
    rows = run.answers.astype(object).where(run.answers.notna(), None)
    for question, row in zip(questions.to_dict("records"), rows.to_dict("records"), strict=True):
        anew = dataclasses.asdict(grade(Question(**question), Answer(**{name: row[name] for name in names})))
        for name in GRADE_COLUMNS:
            if not _equal(row[name], anew[name]):
                yield f"answers.jsonl, {row['question_id']}: {name} is {row[name]}, graded anew {anew[name]}"


def _metrics(run: Run) -> Iterator[str]:
    path = run.folder / "metrics.json"
    if not path.is_file():
        yield "metrics.json is missing"
        return
    try:
        before = _leaves(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError):
        yield "metrics.json is no JSON"
        return
    now = _leaves(metrics(run))
    for name in [*before, *(name for name in now if name not in before)]:
        if not _equal(before.get(name), now.get(name)):
            yield f"metrics.json, {name}: {before.get(name)}, computed anew {now.get(name)}"


def _leaves(tree: Any, above: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {above: tree}
    return {
        name: leaf
        for key, branch in tree.items()
        for name, leaf in _leaves(branch, f"{above} / {key}" if above else key).items()
    }


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(one == other)


def _shortened(found: Iterator[str]) -> list[str]:
    told_all = list(found)
    more = len(told_all) - NAMED
    return told_all[:NAMED] + ([f"... and {more} more of this kind"] if more > 0 else [])


def verify(paths: Sequence[Path]) -> dict[Path, list[str]]:
    """Print one line for each run at or below the paths, and what differs below it; the differences by folder."""
    found: dict[Path, list[str]] = {}
    for folder in find_runs(paths):
        try:
            found[folder] = differences(folder)
        except LabError as error:
            found[folder] = [str(error)]
        # Nobody may take for checked what could not be: without names, only what hangs together was looked at.
        whole = "as it says" if found[folder] or _sealed(folder) else "as it says; its manifest names no files to check"
        print(f"{folder}: {'DIFFERS' if found[folder] else whole}")
        for line in found[folder]:
            print(f"  {line}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit codes: 0 all as they say, 1 something differs, 2 a mistake that can be mended."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.verify",
        description="Check run folders: the SHA-256 of their files, every grade, every metric, all made again.",
        epilog="Example: python -m lab.verify runs",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders of runs")
    chosen = parser.parse_args(arguments)
    found: dict[Path, list[str]] = {}
    return told(lambda: found.update(verify(chosen.runs))) or int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
