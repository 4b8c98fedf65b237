"""What each phase cost: time, tokens, operations, memory, disk, energy; one row a phase, whole and counted once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.meter import Reading, forget_cuda_peak, peak_cuda_bytes, peak_rss_bytes, read
from lab.records import write_jsonl

# Phases of writing what weights are trained on beside the documents, and only such routes pay for.
PRACTICE_BILL, REWORDED_BILL = "practice questions", "practice reworded"
# What adds up over rows, and what the highest counts of.
SUMS = (
    *("seconds", "cpu_seconds", "tokens", "padded_tokens", "replayed_tokens"),
    *("flops", "flops_formula", "bytes", "joules"),
)
PEAKS = ("peak_rss_bytes", "peak_cuda_bytes")
# What only the work itself can tell; the clocks of a phase tell the rest.
COUNTED = ("tokens", "padded_tokens", "replayed_tokens", "flops", "flops_formula", "bytes")


@dataclass
class Entry:
    """One row of the ledger. None is not known, or of no meaning in this phase; it is never a guess.

    seconds: wall clock. cpu_seconds: of all threads of this process. tokens: read or written by a model, real ones.
    replayed_tokens: those of them that are general text. padded_tokens: what fills up batches, beside them. flops:
    floating-point operations, counted on one step and multiplied. flops_formula: by the rule in `lab.flops`. bytes:
    kept on disk. peak_rss_bytes: the process's highest resident memory up to the end of the phase (it never falls).
    peak_cuda_bytes: the most that torch held on the board during the phase. joules: of the board. reused: nothing was
    done in this run, the row says what it took when it was made. detail: anything else, as JSON.
    """

    phase: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    tokens: int = 0
    bytes: int = 0
    peak_rss_bytes: int = 0
    reused: bool = False
    detail: dict[str, Any] = field(default_factory=dict)
    replayed_tokens: int | None = None
    padded_tokens: int | None = None
    flops: float | None = None
    flops_formula: float | None = None
    peak_cuda_bytes: int | None = None
    joules: float | None = None

    def add(self, cost: Mapping[str, Any]) -> None:
        """Take over what the work says of itself; a phase's clocks are its own, and unknown names go to detail."""
        for name, value in cost.items():
            if name in COUNTED:
                setattr(self, name, value)
            elif name not in NAMES:
                self.detail[name] = value


NAMES = tuple(item.name for item in dataclasses.fields(Entry))


class Ledger:
    """The bill of one run. Not for use from several threads at once."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        # The open phases, the innermost last, each with what phases inside it have taken.
        self._open: list[tuple[Entry, list[Reading]]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[Entry]:
        """Measure a phase; the caller adds tokens, bytes and detail to the entry.

        A phase opened inside another is taken off the outer one, so seconds are counted once and the rows add up to
        the time spent. The row is kept when the phase raises: it was paid for all the same.
        """
        entry = Entry(name)
        self._entries.append(entry)
        self._note_cuda_peak()
        self._open.append((entry, []))
        start = read()
        try:
            yield entry
        finally:
            whole = read() - start
            self._note_cuda_peak()
            own = whole
            for inner in self._open.pop()[1]:
                own -= inner
            entry.seconds, entry.cpu_seconds, entry.joules = own.seconds, own.cpu_seconds, own.joules
            entry.peak_rss_bytes = peak_rss_bytes()
            if self._open:
                self._open[-1][1].append(whole)

    def _note_cuda_peak(self) -> None:
        """Give the innermost open phase the peak so far, which is then forgotten: the next one is another phase's."""
        peak = peak_cuda_bytes()
        if self._open and peak is not None:
            entry = self._open[-1][0]
            entry.peak_cuda_bytes = max(peak, entry.peak_cuda_bytes or 0)
        forget_cuda_peak()

    def add_reused(self, phase: str, cost: Mapping[str, Any]) -> None:
        """Note an artifact that an earlier run made, with the cost it had then; unknown names go to detail."""
        known = {name: value for name, value in cost.items() if name in NAMES}
        detail = {name: value for name, value in cost.items() if name not in NAMES}
        self._entries.append(Entry(phase, **known, reused=True, detail=detail))

    def add_bill(self, entry: Entry) -> None:
        """Note what was paid for outside of any run, such as writing practice questions."""
        self._entries.append(dataclasses.replace(entry, reused=True))

    def rows(self) -> list[Entry]:
        """All rows in the order in which their phases began."""
        return list(self._entries)

    def total(self, phase: str | None = None, *, reused: bool = True) -> Entry:
        """The sum over one phase or all of them, of what is known; memory is the highest, detail is empty.

        reused=False leaves out what earlier runs paid for, so the seconds are those of this run.
        """
        rows = [row for row in self._entries if phase in (None, row.phase) and (reused or not row.reused)]
        made = Entry("total" if phase is None else phase, reused=bool(rows) and all(row.reused for row in rows))
        for names, join in ((SUMS, sum), (PEAKS, max)):
            for name in names:
                known = [value for row in rows if (value := getattr(row, name)) is not None]
                if known:
                    setattr(made, name, join(known))
        return made

    def write(self, path: Path) -> None:
        """Write `costs.jsonl`: one row a line."""
        write_jsonl(path, self._entries)
