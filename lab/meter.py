"""What this process has used so far: time, memory, and the energy of its board where that can be read."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import logging
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_cuda: Any = None  # torch.cuda, where a board is in use


@dataclass(frozen=True)
class Reading:
    """seconds: wall clock. cpu_seconds: of all threads of this process. joules: of the whole board since its driver was
    loaded, None where nothing tells.
    """

    seconds: float
    cpu_seconds: float
    joules: float | None

    def __sub__(self, earlier: Reading) -> Reading:
        joules = None if self.joules is None or earlier.joules is None else self.joules - earlier.joules
        return Reading(self.seconds - earlier.seconds, self.cpu_seconds - earlier.cpu_seconds, joules)


def watch(device: str) -> None:
    """Which device this process works on from now on, `cpu` or `cuda`: only a board in use is measured."""
    global _cuda
    _cuda = None
    if device == "cuda":
        import torch

        _cuda = torch.cuda


def read() -> Reading:
    """The clocks now. Only differences of two readings mean anything."""
    board = _board() if _cuda else None
    joules = board[0].nvmlDeviceGetTotalEnergyConsumption(board[1]) / 1000 if board else None
    return Reading(time.perf_counter(), time.process_time(), joules)


def used_since(start: Reading) -> dict[str, Any]:
    """What has been used since a reading, in the names of `lab.ledger.Entry`, as JSON."""
    peaks = {"peak_rss_bytes": peak_rss_bytes(), "peak_cuda_bytes": peak_cuda_bytes()}
    return {**dataclasses.asdict(read() - start), **peaks}


def plus(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What two pieces of one work used together: sums, the higher peak, None where either does not know, words of one
    of them.
    """
    made: dict[str, Any] = {}
    for name in {**one, **other}:
        known = [value for value in (one.get(name), other.get(name)) if value is not None]
        if any(isinstance(value, str) for value in known):
            made[name] = known[0]
        else:
            made[name] = None if len(known) < 2 else max(known) if name.startswith("peak_") else sum(known)
    return made


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


def peak_cuda_bytes() -> int | None:
    """The most that torch has held on the board since `forget_cuda_peak`, in bytes; None where none is in use."""
    return int(_cuda.max_memory_allocated()) if _cuda else None


def forget_cuda_peak() -> None:
    """Begin anew with `peak_cuda_bytes`."""
    if _cuda:
        _cuda.reset_peak_memory_stats()


@functools.cache
def _board() -> tuple[Any, Any] | None:
    """NVML and its handle of the board that torch uses; None, said once, where its energy cannot be read."""
    if importlib.util.find_spec("pynvml") is None:
        log.info("joules are not readable: pip install 'open-book-exam-lab[gpu]'")
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        # By its own name: torch counts only the boards that this process may see.
        uuid = f"GPU-{_cuda.get_device_properties(_cuda.current_device()).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        log.info("joules are not readable: the board or its driver does not report them (%s)", error)
        return None
    return pynvml, handle
