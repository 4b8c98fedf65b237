"""Ctrl-C and SIGTERM: work that can keep its state ends its step first; all other work stops at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lab import ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A launcher passes on to its processes what their terminal has sent to all: within this time that is one signal.
PASSED_ON_SECONDS = 2.0


class Terminated(KeyboardInterrupt):
    """SIGTERM: somebody else stopped the work, as a cluster does whose time is up."""


class Overdue(BaseException):
    """Work took longer than it was given."""


class Stop:
    """asked: the signal that came while a step was under way, 0 where none did."""

    def __init__(self) -> None:
        self.asked = 0

    def now(self) -> None:
        """Stop: what `asked` stands for is raised."""
        raise _raised(self.asked)


def install() -> None:
    """From now on SIGTERM stops this process as Ctrl-C does, so that what has to be put away is."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _raise)


@contextmanager
def deferred() -> Iterator[Stop]:
    """A first signal is only noted, and whoever is at work stops at its own time; a second one stops at once."""
    stop, first = Stop(), 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not stop.asked:
            stop.asked, first = number, time.monotonic()
        elif ranks.count() == 1 or time.monotonic() - first > PASSED_ON_SECONDS:
            _raise(number, frame)

    if threading.current_thread() is not threading.main_thread():  # Signals come to the main thread alone.
        yield stop
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.asked:
        stop.now()


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Overdue is raised where the work takes longer, at its next line of Python; None gives it all the time."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise Overdue(f"it took more than {seconds:g} s (limit_seconds)")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def exit_code(error: KeyboardInterrupt) -> int:
    """As a shell tells it: 128 and the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


def _raise(number: int, frame: FrameType | None) -> None:
    raise _raised(number)


def _raised(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
