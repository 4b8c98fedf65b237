"""A program that somebody else wrote, such as a chat template, run in a child that may take so long and so much."""

from __future__ import annotations

import multiprocessing
import resource
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from lab.records import LabError

SECONDS, MEMORY_BYTES = 3, 256 << 20


def bounded(work: Callable[[], str], what: str) -> str:
    """What `work` makes, a text; it may take 3 s and 256 MiB beyond what this process holds, and changes nothing here.

    LabError, naming `what`, where it takes more or raises.
    """
    context = multiprocessing.get_context("fork")  # What it works with is here and need not be sent.
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=_limited, args=(work, writer), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # The child starts no thread and takes no lock of ours.
        child.start()
    writer.close()
    try:
        made = reader.recv_bytes() if reader.poll(2 * SECONDS) else b""
    except (EOFError, OSError):  # It was killed for its time.
        made = b""
    finally:
        child.kill()
        child.join()
        reader.close()
    told = made[1:].decode()
    if made.startswith(b"+"):
        return told
    raise LabError(f"{what} fails ({told or f'it takes more than {SECONDS} s or {MEMORY_BYTES >> 20} MiB'})")


def _limited(work: Callable[[], str], writer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    status = Path("/proc/self/statm")
    if status.exists():
        held = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, held + MEMORY_BYTES))
    try:
        made = b"+" + work().encode()
    except MemoryError:
        made = b"-"
    except Exception as error:  # Whatever a foreign program raises is its answer.
        made = b"-" + (str(error).strip() or type(error).__name__).splitlines()[0].encode()
    writer.send_bytes(made)
