"""What each phase cost: seconds, CPU seconds, tokens and bytes, one row a phase, whole and counted once."""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.records import write_jsonl

# Phases of writing what weights are trained on beside the documents, and only such routes pay for.
PRACTICE_BILL, REWORDED_BILL = "practice questions", "practice reworded"


@dataclass
class Entry:
    """One row of the ledger.

    seconds: wall clock. cpu_seconds: of all threads of this process. tokens: read or written by a model. bytes: kept
    on disk. peak_rss_bytes: the process's highest resident memory up to the end of the phase (it never falls).
    reused: nothing was done in this run, the row says what it took when it was made. detail: anything else, as JSON.
    """

    phase: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    tokens: int = 0
    bytes: int = 0
    peak_rss_bytes: int = 0
    reused: bool = False
    detail: dict[str, Any] = field(default_factory=dict)


def peak_rss_bytes() -> int:
    """The highest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Preferred on Linux: getrusage starts a program at the peak of the process that launched it.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


class Ledger:
    """The bill of one run. Not for use from several threads at once."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        # Seconds and CPU seconds that phases inside each open phase have taken, the innermost last.
        self._inner: list[list[float]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[Entry]:
        """Measure a phase; the caller adds tokens, bytes and detail to the entry.

        A phase opened inside another is taken off the outer one, so seconds are counted once and the rows add up to
        the time spent. The row is kept when the phase raises: it was paid for all the same.
        """
        entry = Entry(name)
        self._entries.append(entry)
        self._inner.append([0.0, 0.0])
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield entry
        finally:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            inner_wall, inner_cpu = self._inner.pop()
            entry.seconds, entry.cpu_seconds = wall - inner_wall, cpu - inner_cpu
            entry.peak_rss_bytes = peak_rss_bytes()
            if self._inner:
                self._inner[-1][0] += wall
                self._inner[-1][1] += cpu

    def add_reused(self, phase: str, cost: Mapping[str, Any]) -> None:
        """Note an artifact that an earlier run made, with the cost it had then; unknown names go to detail."""
        names = {item.name for item in dataclasses.fields(Entry)} - {"phase", "reused", "detail"}
        known = {name: value for name, value in cost.items() if name in names}
        detail = {name: value for name, value in cost.items() if name not in names}
        self._entries.append(Entry(phase, **known, reused=True, detail=detail))

    def add_bill(self, entry: Entry) -> None:
        """Note what was paid for outside of any run, such as writing practice questions."""
        self._entries.append(dataclasses.replace(entry, reused=True))

    def rows(self) -> list[Entry]:
        """All rows in the order in which their phases began."""
        return list(self._entries)

    def total(self, phase: str | None = None, *, reused: bool = True) -> Entry:
        """The sum over one phase or all of them; memory is the highest, detail is empty.

        reused=False leaves out what earlier runs paid for, so the seconds are those of this run.
        """
        rows = [row for row in self._entries if phase in (None, row.phase) and (reused or not row.reused)]
        return Entry(
            phase="total" if phase is None else phase,
            seconds=sum(row.seconds for row in rows),
            cpu_seconds=sum(row.cpu_seconds for row in rows),
            tokens=sum(row.tokens for row in rows),
            bytes=sum(row.bytes for row in rows),
            peak_rss_bytes=max((row.peak_rss_bytes for row in rows), default=0),
            reused=bool(rows) and all(row.reused for row in rows),
        )

    def write(self, path: Path) -> None:
        """Write `costs.jsonl`: one row a line."""
        write_jsonl(path, self._entries)
