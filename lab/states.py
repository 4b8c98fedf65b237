"""Whole states on the way to an artifact: work that was killed goes on from the newest of them."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.store import JSON, noted_in, problem, seal

KEPT = 2  # The newest, and the one before it, should the newest be spoilt.

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """step: how far the work was. path: what it wrote then. noted: what it told beside that."""

    step: int
    path: Path
    noted: dict[str, Any]


@dataclass(frozen=True)
class States:
    """The states of one artifact, in a folder of their own beside it, each as whole as an artifact is.

    key: the artifact's, so that no other work can go on from them. Only who builds the artifact may use them.
    """

    folder: Path
    key: Mapping[str, JSON]

    def save(self, step: int, write: Callable[[Path], Mapping[str, JSON]]) -> None:
        """Keep the state after so many steps: `write` fills an empty folder and tells what to note. All but the two
        newest are taken away once this one is whole.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".building-{os.getpid()}-{secrets.token_hex(4)}"
        aside.mkdir()
        try:
            seal(aside, self._key(step), dict(write(aside)))
            target = self.folder / f"{step:010}"
            shutil.rmtree(target, ignore_errors=True)  # One that was not whole, or the work would not be here again.
            aside.rename(target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        for old in self._all()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> State | None:
        """The newest state that is whole; one that is not is passed over, and said. None where there is none."""
        for path in reversed(self._all()):
            spoilt = problem(path, self._key(int(path.name)))
            if spoilt is None:
                return State(int(path.name), path, noted_in(path))
            log.warning("%s is not whole (%s); the state before it is taken", path, spoilt)
        return None

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("[0-9]" * 10))

    def _key(self, step: int) -> dict[str, JSON]:
        return {"step": step, "of": dict(self.key)}
