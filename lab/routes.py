"""Several routes in a process of their own: one that takes its process down takes no other with it.

The parent forks before anything heavy is loaded, so this costs no time, and never touches torch or a GPU. The child
tells it what the routes come to; where it is killed, a new child goes on with those that are left.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from lab.records import FAILURE, Failure, write_jsonl

COMMAND = "command.json"  # The words of a command in the folder of its routes, while not all have come to their end.
PARENT_DIED = 1  # PR_SET_PDEATHSIG of Linux's <sys/prctl.h>.


@dataclass
class Routes:
    """What became of the routes of one command.

    folder: where they belong. words: of the command. again: whether it was stopped before its end. begun: how many.
    finished: folders. failed: those without a result. listener: who is told of every change.
    """

    folder: Path
    words: Sequence[str] = ()
    again: bool = False
    begun: int = 0
    finished: list[Path] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    under_way: tuple[str, int, str] | None = None
    listener: TextIO | None = None
    _held: TextIO | None = None

    @classmethod
    def of(cls, words: Sequence[str]) -> Routes:
        """Those of a command: where the same words were stopped before their end, in the folder that was left, else in
        a new one.
        """
        runs = Path("runs")
        for note in sorted(runs.glob(f"*/{COMMAND}")):
            held = _hold(note) if _words(note) == list(words) else None
            if held is not None:
                return cls(note.parent, words, again=True, _held=held)
        name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        while any(runs.glob(f"{name}*")):  # Begun in the same second.
            name += "-2"
        return cls(runs / name, words)

    def open(self) -> None:
        """Note the words in the folder, until `close`, and keep others of the same words out of it."""
        note = self.folder / COMMAND
        if self._held is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps(list(self.words)), encoding="utf-8")
            self._held = _hold(note)

    def close(self) -> None:
        """All came to their end: the same words are another command."""
        (self.folder / COMMAND).unlink(missing_ok=True)
        self.let_go()

    def let_go(self) -> None:
        """Others of the same words may go on in the folder, as they may when this process has ended."""
        if self._held is not None:
            self._held.close()

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


def _hold(note: Path) -> TextIO | None:
    """The note for this process and its children alone, until they end; None where somebody else has it."""
    try:
        file = note.open(encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    return file


def _words(note: Path) -> Any:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def outlived(work: Callable[[Routes], int], routes: Routes) -> int:
    """Do the work of a command in a child, and in another one where that is killed. Returns its exit code."""
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
