"""Runs on a corpus that was updated, by edition: routes of one edition sat the same exam, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lab.records import LabError
from lab.report.compare import base_of, routes_of
from lab.report.find import find_runs, gather
from lab.report.load import EXTERNAL, read_manifest
from lab.report.scores import Route, Rows

VERSION = "corpus.book.version"
CHANGED, UNCHANGED, NEW, DELETED = "changed", "unchanged", "new", "deleted"
# How a route was brought up to date.
REBUILT, REPLACED, RETRAINED, CONTINUED = "rebuilt", "replaced", "retrained", "continued"
NEVER, MIXED, NOTHING = "never", "in part", "nothing"


@dataclass(frozen=True, eq=False)  # routes hold frames, which have no plain ==
class Edition:
    """updates: how many made it of the first. routes: those that sat its exam, in the order of the table."""

    updates: int
    routes: tuple[Route, ...]

    @property
    def base(self) -> Route | None:
        """The base closed-book, which saw no edition."""
        return base_of(self.routes)

    def route(self, adaptation: str, context: str) -> Route | None:
        """The route of these two axes, None where there is none."""
        return next((one for one in self.routes if (one.adaptation, one.context) == (adaptation, context)), None)

    def control(self, route: Route) -> Route | None:
        """What a route's residual answers are set against: the same, made of this edition alone, or else the base."""
        names = (route.adaptation.removesuffix("_continued").removesuffix("_outdated"), current(route.context))
        found = self.route(*names)
        return found if found is not None and found is not route else self.base if route is not self.base else None


def editions(paths: Sequence[str | Path]) -> tuple[list[Edition], list[str]]:
    """The editions that runs at or below the paths sat the exams of, fewest updates first, and what was left out.

    Raises LabError where no finished run is of a corpus that was updated.
    """
    by_exam: dict[str, list[Path]] = {}
    notes: list[str] = []
    for folder in find_runs(paths):
        manifest = read_manifest(folder)
        if not manifest["finished"]:
            notes.append(f"{folder} is left out: the run did not finish.")
        elif manifest["adaptation"] != EXTERNAL:
            by_exam.setdefault(str(manifest["digests"]["exam"]), []).append(folder)
    found = []
    for folders in by_exam.values():
        runs, left_out = gather(folders)
        if not any(status in set(runs[0].arrays["status"].tolist()) for status in (CHANGED, NEW, DELETED)):
            notes.append(f"{len(runs)} run(s) are left out: their corpus was not updated.")
            continue
        notes += left_out
        found.append(Edition(int(runs[0].overrides.get(VERSION, 1)), tuple(routes_of(runs))))
    if not found:
        raise LabError(
            f"{', '.join(map(str, paths))}: no finished run of a corpus that was updated; make them with "
            "`python -m lab experiment=upkeep`"
        )
    return sorted(found, key=lambda edition: edition.updates), notes


def current(context: str) -> str:
    """The context that looks things up in the newest passages, however they came into its index."""
    return {"updated": "retrieved", "outdated": "retrieved"}.get(context, context)


def way(route: Route) -> str:
    """How the route was brought up to date, by its weights first."""
    old = (route.adaptation.endswith("_outdated"), route.context == "outdated")
    if any(old):
        return MIXED if route.is_trained and route.retrieves and old != (True, True) else NEVER
    if route.adaptation.endswith("_continued"):
        return CONTINUED
    if route.is_trained:
        return RETRAINED
    return NOTHING if not route.retrieves else REPLACED if route.context == "updated" else REBUILT


def asked(route: Route, status: str) -> Rows:
    """Exam questions on facts of a status, as row numbers; only of the parts in which every status is asked."""
    arrays = route.runs[0].arrays
    exam = arrays["suite"] == "exam"
    parts = set(arrays["part"][exam & np.isin(arrays["status"].astype(str), (CHANGED, NEW, DELETED))].tolist())
    return np.flatnonzero(exam & (arrays["status"] == status) & np.isin(arrays["part"].astype(str), list(parts)))
