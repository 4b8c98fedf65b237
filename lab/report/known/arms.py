"""Run folders by the arm of an experiment that they belong to: what `gather` does by settings, done by name.

Arms differ in their corpora on purpose (a thin one, a wrong one), which a comparison of routes refuses. What must be
the same is checked here: the base, and the exam but for the arm that sits it as multiple choice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.records import LabError
from lab.report.find import by_age, find_runs
from lab.report.load import Run, load, read_manifest
from lab.report.scores import Route

# An arm and a pipeline in it.
Key = tuple[str, str]
# Sits the same questions in another form.
CHOICE = "choice"


@dataclass(frozen=True, eq=False)  # routes hold frames, which have no plain ==
class Arms:
    """routes: by arm and pipeline, a run a seed. notes: a sentence for each folder that was left out."""

    routes: Mapping[Key, Route]
    notes: tuple[str, ...] = ()

    def route(self, arm: str, pipeline: str) -> Route:
        """The runs of an arm's pipeline. KeyError where there are none: ask `missing` first."""
        return self.routes[arm, pipeline]

    def missing(self, needed: Iterable[Key]) -> list[str]:
        """Those of the arms that have no run, as "arm (pipeline)"."""
        return [f"{arm} ({pipeline})" for arm, pipeline in needed if (arm, pipeline) not in self.routes]


def gather_arms(paths: Sequence[str | Path], wanted: Collection[Key]) -> Arms:
    """The newest finished run of each wanted arm, pipeline and seed among the paths and below them.

    Raises LabError where no run is of a wanted arm, or two of them are of different bases or exams.
    """
    newest: dict[tuple[str, str, int], Path] = {}
    notes = []
    for folder in sorted(find_runs(paths), key=by_age):
        manifest = read_manifest(folder)
        key = (manifest["arm"], manifest["pipeline"])
        if key not in wanted:
            continue
        if not manifest["finished"]:
            notes.append(f"{folder} is left out: the run did not finish.")
            continue
        older = newest.get((*key, manifest["seed"]))
        if older is not None:
            notes.append(f"{older} is left out: {folder} is newer, of the same arm, pipeline and seed.")
        newest[*key, manifest["seed"]] = folder
    if not newest:
        raise LabError(
            f"{', '.join(map(str, paths))}: no finished run of an arm of the known answers; make them with "
            "`python -m lab experiment=known_answers`"
        )
    runs: dict[Key, list[Run]] = {}
    for (arm, pipeline, _), folder in sorted(newest.items()):
        runs.setdefault((arm, pipeline), []).append(load(folder))
    _check(runs)
    return Arms({key: Route(key[1], tuple(of_seeds)) for key, of_seeds in runs.items()}, tuple(notes))


def _check(runs: Mapping[Key, Sequence[Run]]) -> None:
    """LabError where runs cannot be set against each other."""
    first: dict[tuple[str, str], Run] = {}
    for (arm, _), of_seeds in runs.items():
        for run in of_seeds:
            for what in ("model", "general", "exam"):
                form = arm if what == "exam" and arm == CHOICE else ""
                before = first.setdefault((what, form), run)
                if before.manifest["digests"][what] != run.manifest["digests"][what]:
                    raise LabError(
                        f"{before.folder} and {run.folder} differ in their {what}; name the folder of one experiment"
                    )
