"""Shows what a run is doing: a live bar on a terminal, one plain line a step elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

log = logging.getLogger(__name__)


class Progress:
    """The steps of one route. name: shown before each of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        console = Console(stderr=True)
        self._live = console.is_terminal
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._live,
        )

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    @contextmanager
    def step(self, what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """One step of `total` units; yields what to call with the number of units just done.

        A note given beside it stands after the step's name on a terminal, and is a line of its own elsewhere.
        """
        start = time.perf_counter()
        task = self._bars.add_task(f"{self._name}: {what}", total=total)

        def advance(done: int, note: str = "") -> None:
            self._bars.advance(task, done)
            if note:
                self._bars.update(task, description=f"{self._name}: {what} ({note})")
                if not self._live:
                    log.info("%s: %s, %s", self._name, what, note)

        yield advance
        self._bars.update(task, total=total or 1, completed=total or 1)
        if not self._live:
            log.info("%s: %s, %.1f s", self._name, what, time.perf_counter() - start)
