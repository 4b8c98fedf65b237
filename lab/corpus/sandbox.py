"""Foreign files are read by a child process, which is killed where it takes too long and cannot harm where it fails."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import lab
from lab.corpus.cleaning import MAX_TEXT_BYTES, RefusedError

SECONDS = 30.0
# An answer is ASCII: a character of three bytes is six there.
MAX_ANSWER_BYTES = 2 * MAX_TEXT_BYTES + 65536


class Sandbox:
    """Converts files one after another in one child, started when first needed and again after any failure.

    seconds: of wall time for each file. The child's memory is limited to 1 GiB (address space), it can write no file,
    and it knows neither the caller's environment nor its folder.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._served = 0
        self._empty: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._empty is not None:
            self._empty.cleanup()

    def convert(self, path: Path) -> dict[str, str]:
        """What `lab.corpus.formats.convert` makes of a file. RefusedError where it makes nothing, or takes too long."""
        until = time.monotonic() + self._seconds  # Both tries together, where it takes two.
        while True:
            fresh = self._child is None
            child = self._child or self._start()
            try:
                answer = self._ask(child, path, until)
            except RefusedError:
                self._stop()
                raise
            if answer is not None and answer.get("kind") != "too much memory":
                break
            # What earlier files left behind may have been too much: a fresh child decides.
            died = self._stop()
            if fresh:
                raise RefusedError(
                    answer["kind"] if answer else "damaged",
                    answer["reason"] if answer else f"its reader died ({died}); convert it",
                )
        if "reason" in answer:
            raise RefusedError(answer["kind"], answer["reason"])
        return answer

    def _ask(self, child: subprocess.Popen[bytes], path: Path, until: float) -> dict[str, str] | None:
        """The child's answer, None where it died. RefusedError where it answers too late or too much."""
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(str(path)).encode("ascii") + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            return None
        parts: list[bytes] = []
        size = 0
        with selectors.DefaultSelector() as ready:
            ready.register(child.stdout, selectors.EVENT_READ)
            while not parts or not parts[-1].endswith(b"\n"):
                if not ready.select(max(0.0, until - time.monotonic())):
                    raise RefusedError("too slow", f"takes more than {self._seconds:g} s to be read; convert it")
                part = os.read(child.stdout.fileno(), 1 << 20)
                if not part:
                    return None
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    raise RefusedError("too large", "holds too much text; split it into several files")
        answer: dict[str, str] = json.loads(b"".join(parts))
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        if self._empty is None:
            self._empty = tempfile.TemporaryDirectory(prefix="lab-sandbox-")
        environment: dict[str, Any] = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(Path(lab.__file__).resolve().parent.parent),
            "PYTHONHASHSEED": "0",
        }
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", "lab.corpus.formats"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._empty.name,
            env=environment,
            start_new_session=True,
        )
        return self._child

    def _stop(self) -> str:
        """Kill the child with whatever it started; what it had ended with, in words."""
        child, self._child = self._child, None
        if child is None:
            return ""
        ended = child.poll()
        if ended is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # What it was not alive to be asked goes with it.
                    pipe.close()
        return "killed" if ended is None else f"signal {-ended}" if ended < 0 else f"exit code {ended}"
