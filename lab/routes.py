"""Several routes in a process of their own: one that takes its process down takes no other with it.

The parent forks before anything heavy is loaded, so this costs no time, and never touches torch or a GPU. The child
tells it what the routes come to; where it is killed, a new child goes on with those that are left.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from lab.records import FAILURE, Failure, write_jsonl

PARENT_DIED = 1  # PR_SET_PDEATHSIG of Linux's <sys/prctl.h>.


@dataclass
class Routes:
    """What became of the routes of one command.

    folder: where they belong. begun: how many. finished: folders. failed: those without a result. listener: who is
    told of every change.
    """

    folder: Path = field(default_factory=lambda: Path("runs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    begun: int = 0
    finished: list[Path] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    under_way: tuple[str, int, str] | None = None
    listener: TextIO | None = None

    def begin(self, pipeline: str, seed: int, folder: Path) -> None:
        """The next route begins."""
        self._tell("begun", [pipeline, seed, str(folder)])

    def finish(self, folder: Path) -> None:
        """It came to its end."""
        self._tell("finished", str(folder))

    def fail(self, failure: Failure, folder: Path) -> None:
        """It did not. Its folder is told where that can be written: a full disk may be what it failed of."""
        self._tell("failed", dataclasses.asdict(failure))
        with contextlib.suppress(OSError):
            write_jsonl(folder / FAILURE, [failure])

    def take(self, event: str, told: Any) -> None:
        """Note a change."""
        if event == "begun":
            self.begun, self.under_way = self.begun + 1, tuple(told)
            return
        self.under_way = None
        if event == "finished":
            self.finished.append(Path(told))
        else:
            self.failed.append(Failure(**told))

    def _tell(self, event: str, told: Any) -> None:
        self.take(event, told)
        if self.listener is not None:
            print(json.dumps([event, told]), file=self.listener, flush=True)


def outlived(work: Callable[[Routes], int]) -> int:
    """Do the work of a command in a child, and in another one where that is killed. Returns its exit code."""
    routes = Routes()
    while True:
        status = _in_child(work, routes)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
        name = signal.Signals(os.WTERMSIG(status)).name
        if routes.under_way is None:
            print(f"lab: {name}", file=sys.stderr)
            return 128 + os.WTERMSIG(status)
        pipeline, seed, folder = routes.under_way
        routes.fail(Failure(pipeline, seed, "killed", f"{name}, as by a system without memory left"), Path(folder))
        print(f"{pipeline} failed (killed): {name}; those that are left go on", file=sys.stderr)


def _in_child(work: Callable[[Routes], int], routes: Routes) -> int:
    """Fork; the child never returns. Returns how it ended, as `os.waitpid` tells it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # No thread of this process holds a lock that is needed.
        child = os.fork()
    if child == 0:
        os.close(reader)
        os.setpgid(0, 0)  # Ctrl-C comes to the parent alone, which hands it on once.
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGKILL)
        routes.listener = os.fdopen(writer, "w")
        sys.exit(work(routes))
    os.close(writer)
    with _handed_on(child), os.fdopen(reader) as lines:
        for line in lines:
            routes.take(*json.loads(line))
        return os.waitpid(child, 0)[1]


@contextmanager
def _handed_on(child: int) -> Iterator[None]:
    """What this process is told by signals, its child is told."""

    def on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)
        if number == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)

    before = {
        number: signal.signal(number, on)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGCONT)
        if signal.getsignal(number) != signal.SIG_IGN  # As of what a shell starts in the background.
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
