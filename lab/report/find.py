"""Which run folders belong to a comparison: the newest of each route, told apart by name, settings and seed."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.progress import step
from lab.records import FAILURE, Failure, LabError, read_jsonl
from lab.report.load import EXTERNAL, MANIFEST, Run, load, read_manifest

log = logging.getLogger(__name__)

AXES = ("adaptation", "context")


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """Run folders (folders with a `manifest.json`) among the paths and at any depth below them, each once, sorted.

    Raises LabError for a path that is not a folder, and where there is no run at all.
    """
    folders = [Path(path) for path in paths]
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise LabError(f"{folder}: no such folder; name a run folder, or a folder of runs")
        found.update(manifest.parent for manifest in folder.rglob(MANIFEST))
    if not found:
        names = ", ".join(str(folder) for folder in folders)
        raise LabError(f"no run in {names}: no {MANIFEST} there or below; make one with `python -m lab pipeline=rag`")
    return sorted(found)


def gather(paths: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    """The runs to be compared among the paths: the newest finished one of each pipeline, its settings and seed.

    Pipelines of one name and several settings are told apart by what differs: `rag context.k=1`. Returns the runs and
    one sentence for each folder left out. Raises LabError where no run is finished.
    """
    finished, notes = [], []
    for folder in find_runs(paths):
        if read_manifest(folder)["finished"]:
            finished.append(folder)
        else:
            notes.append(f"{folder} is left out: the run did not finish.")
    if not finished:
        raise LabError(f"no finished run: {' '.join(notes)} Run it again.")
    ahead = [folder for folder in finished if by_age(folder)[0] > time.time_ns()]
    if ahead:
        log.warning("%s is of a time to come: was the clock set back? What was run since may pass for older.", ahead[0])
    newest: dict[tuple[str, str, int], Run] = {}
    for run in _opened(sorted(finished, key=by_age)):
        key = (run.pipeline, json.dumps([run.manifest[name] for name in (*AXES, "settings")], sort_keys=True), run.seed)
        older = newest.pop(key, None)
        if older is not None:
            notes.append(f"{older.folder} is left out: {run.folder} is newer, with the same pipeline and seed.")
        newest[key] = run
    return _told_apart(list(newest.values())), notes


def failures(paths: Iterable[str | Path]) -> list[Failure]:
    """The routes at or below the paths that came to no result, as their folders tell."""
    files = sorted({file for path in paths for file in Path(path).rglob(FAILURE)})
    return [Failure(**row) for file in files for row in read_jsonl(file)]


def _opened(folders: Sequence[Path]) -> Iterator[Run]:
    with step("opening", len(folders), "runs") as advance:
        for folder in folders:
            yield load(folder)
            advance(1)


def _told_apart(runs: list[Run]) -> list[Run]:
    """The runs; to names of pipelines that occur in several forms is added what differs: an axis, or its settings."""
    named = []
    for run in runs:
        same = [other for other in runs if other.pipeline == run.pipeline]
        axes = [axis for axis in AXES if any(other.manifest[axis] != run.manifest[axis] for other in same)]
        # Of another context nearly all settings have other names: its own name says it.
        alike = [
            flat(other.manifest["settings"])
            for other in same
            if all(other.manifest[axis] == run.manifest[axis] for axis in axes)
        ]
        own = {axis: run.manifest[axis] for axis in axes}
        own |= {
            name: value
            for name, value in flat(run.manifest["settings"]).items()
            if any(other.get(name) != value for other in alike)
        }
        by_arm = {(other.manifest["arm"], json.dumps(other.manifest["settings"], sort_keys=True)) for other in same}
        if None not in dict(by_arm) and 1 < len(dict(by_arm)) == len(by_arm):  # An experiment's own names are shorter.
            own = {"arm": run.manifest["arm"]}
        label = " ".join([run.pipeline, *(f"{name}={value}" for name, value in own.items())])
        named.append(dataclasses.replace(run, manifest={**run.manifest, "pipeline": label}))
    return named


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with dotted names: {"context": {"k": 3}} is {"context.k": 3}."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inner = flat(value) if isinstance(value, Mapping) else {"": value}
        found |= {f"{name}.{rest}".rstrip("."): one for rest, one in inner.items()}
    return found


def latest(path: str | Path) -> list[Run]:
    """The newest run below a folder, with all others that may be compared with it, as `gather` picks them.

    A run of the lab's own goes before newer answers of other systems, which do not tell what they were prepared from.
    """
    manifests = {folder: read_manifest(folder) for folder in sorted(find_runs([path]), key=by_age)}
    finished = [folder for folder, manifest in manifests.items() if manifest["finished"]]
    if not finished:
        raise LabError(f"{path}: no finished run there or below; run one with `python -m lab pipeline=rag`")
    own = [folder for folder in finished if manifests[folder]["adaptation"] != EXTERNAL]
    newest = load((own or finished)[-1])
    same = [folder for folder in finished if not newest.differs_from(load(folder))]
    return gather(same)[0]


def newest_adapted(path: str | Path) -> Path:
    """The folder of the newest finished run below `path` whose weights were adapted: its multirun, where it has one.

    Raises LabError where there is none.
    """
    for folder in sorted(find_runs([path]), key=by_age, reverse=True):
        manifest = read_manifest(folder)
        if manifest["finished"] and manifest["adaptation"] not in ("none", EXTERNAL):
            # The folder of a run on its own stands directly below `path`.
            return folder if folder.parent == Path(path) else folder.parent
    raise LabError(f"{path}: no finished run of an adapted route; make one with `python -m lab pipeline=lora`")


def newest_experiment(path: str | Path, name: str) -> Path:
    """The newest folder of an experiment of arms below `path`. LabError where there is none."""
    found = sorted(folder for folder in Path(path).glob(f"*-{name}") if folder.is_dir())
    if not found:
        raise LabError(f"{path}: no runs of {name} there; make them with `python -m lab experiment={name}`")
    return found[-1]  # Their names begin with the time.


def by_age(folder: Path) -> tuple[int, str]:
    """Sorts the newest last; folders written in the same instant go by name."""
    return (folder / MANIFEST).stat().st_mtime_ns, str(folder)
