"""Shows what long work is doing: how far it is, how fast, how long still.

A live display on a terminal; elsewhere plain lines, one a step and one now and then on the way. A `Progress` belongs to
a command; code that is handed none shows its part by `step`, in the display of the command that is at work.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from lab.records import LabError

log = logging.getLogger(__name__)

QUIET, PLAIN, VERBOSE = -1, 0, 1
LINE_SECONDS = 30.0  # Between two plain lines on the way of one step.
WIDE = 100  # Characters of a terminal from which on there is room for a bar beside the figures.
WAIT_SECONDS = 5.0  # What a user notices: a part of a step that took less has no line of its own.

_level = PLAIN
_open: list[Progress] = []


def flags(words: Sequence[str]) -> tuple[list[str], int]:
    """The words of a command line without `-q` and `-v`, wherever they stood, and what they ask for.

    LabError where both are given.
    """
    if {"-q", "-v"} <= set(words):
        raise LabError("-q, -v: one asks for less and the other for more; give one of them")
    level = QUIET if "-q" in words else VERBOSE if "-v" in words else PLAIN
    return [word for word in words if word not in ("-q", "-v")], level


def add_flags(parser: argparse.ArgumentParser) -> None:
    """`-q` and `-v` for a command of argparse, as `level`, for `speak`."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument("-q", dest="level", action="store_const", const=QUIET, help="only results and errors")
    either.add_argument("-v", dest="level", action="store_const", const=VERBOSE, help="more, and where a mistake arose")
    parser.set_defaults(level=PLAIN)


def speak(level: int) -> None:
    """How much this process says beside its results from now on; again after logging was set up anew.

    QUIET: warnings and errors; a log file still gets all. VERBOSE: every step, and what is taken from the artifacts.
    """
    global _level
    _level = level
    logging.getLogger("lab").setLevel(logging.DEBUG if level == VERBOSE else logging.NOTSET)
    for handler in _console_handlers():
        handler.setLevel(logging.WARNING if level == QUIET else logging.NOTSET)


def verbose() -> bool:
    """Whether a mistake is to be shown with the place where it arose."""
    return _level == VERBOSE


@contextmanager
def step(what: str, total: int | None = None, unit: str = "") -> Iterator[Callable[..., None]]:
    """A part of whatever step is at work, shown while it lasts; where no command is at work nothing is shown.

    Yields what to call with the number of units just done. Elsewhere than on a terminal only a part that took longer
    than `WAIT_SECONDS` has a line.
    """
    if not _open:
        yield lambda done, note="": None
        return
    with _open[-1].step(what, total, unit, part=True) as advance:
        yield advance


class Progress:
    """The steps of one route, or of one command. name: shown before each of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        console = Console(stderr=True)
        self._live = console.is_terminal and _level != QUIET
        self._bars = RichProgress(
            TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            *([BarColumn(bar_width=16)] if console.width >= WIDE else []),
            _HowFar(),
            _HowFast(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._live,
            expand=True,
        )
        self._depth = 0
        self._moved: list[tuple[logging.StreamHandler[Any], Any]] = []

    def __enter__(self) -> Progress:
        _open.append(self)
        handlers = _console_handlers() if self._live else []
        self._moved = [(handler, handler.stream) for handler in handlers]
        self._bars.start()
        for handler in handlers:
            handler.setStream(sys.stderr)  # Now rich's own, which writes above the bars and not through them.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handler, stream in self._moved:
            handler.setStream(stream)
        self._bars.stop()
        _open.remove(self)

    @contextmanager
    def step(
        self, what: str, total: int | None = None, unit: str = "", part: bool = False
    ) -> Iterator[Callable[..., None]]:
        """One step of `total` units; yields what to call with the number of units just done.

        A note given beside it stands after the step's name on a terminal, and is a line of its own elsewhere. part: of
        another step; it leaves the display when it is done, and hardly a line elsewhere.
        """
        start = told = time.perf_counter()
        name = f"{self._name}: {what}"
        finished, reached = False, 0
        shown = f"{'  ' * self._depth}{what}" if self._depth else name
        task = self._bars.add_task(shown, total=total, unit=unit)
        self._depth += 1

        def advance(done: int, note: str = "") -> None:
            nonlocal reached, told
            reached += done
            self._bars.advance(task, done)
            if note:
                self._bars.update(task, description=f"{shown} ({note})")
            now = time.perf_counter()
            if not self._live and (note or now - told > LINE_SECONDS):
                told = now
                log.info("%s", ", ".join([name, *_rate(reached, total, unit, now - start), *([note] if note else [])]))

        try:
            yield advance
            finished = True
        finally:
            seconds = time.perf_counter() - start
            self._depth -= 1
            self._end(task, part, finished, total if total is not None else reached or 1)
            if finished and not self._live:
                least = WAIT_SECONDS if part else 0.0
                pace = [f"{_short(reached / seconds)} {unit}/s"] if reached and unit and seconds else []
                line = ", ".join([name, f"{seconds:.1f} s", *pace])
                log.log(logging.INFO if seconds >= least else logging.DEBUG, "%s", line)

    def _end(self, task: TaskID, part: bool, finished: bool, reached: int) -> None:
        if part and self._live:
            self._bars.remove_task(task)
        elif finished:
            self._bars.update(task, total=reached, completed=reached)
        else:
            self._bars.stop_task(task)


class _HowFar(ProgressColumn):
    """How many units of how many."""

    def render(self, task: Task) -> Text:
        if not task.fields["unit"]:
            return Text("")
        total = f"/{task.total:,.0f}" if task.total is not None else ""
        return Text(f"{task.completed:,.0f}{total}", style="progress.download")


class _HowFast(ProgressColumn):
    """Units a second, of late while it runs and over all when it is done."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{_short(speed)} {task.fields['unit']}/s" if speed and task.fields["unit"] else "", "cyan")


def _rate(reached: int, total: int | None, unit: str, seconds: float) -> list[str]:
    """How far, how fast and how long still, as far as it can be told."""
    if not unit or not reached:
        return [f"{seconds:.0f} s"]
    far = f"{reached:,} of {total:,} {unit}" if total is not None else f"{reached:,} {unit}"
    left = [f"{_time((total - reached) * seconds / reached)} left"] if total is not None else []
    return [far, f"{_short(reached / seconds)} {unit}/s", *left]


def _short(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _console_handlers() -> list[logging.StreamHandler[Any]]:
    """Handlers of the log that write to this process's stderr; `-q` and the bars concern no others."""
    streams = (sys.stderr, sys.__stderr__)
    return [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in streams
    ]
