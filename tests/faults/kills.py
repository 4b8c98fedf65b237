"""Kills the lab where it hurts, and looks whether it noticed: `python -m tests.faults.kills 200` (`make faults`).

A run is started, killed (SIGKILL) in the middle of one of its writes or at a random moment, started again by the same
words, killed again, and so on until it ends. Then its answers, weights and index must be those of a run that nobody
killed, bit for bit, and every artifact whole. Runs are forked from one process that has imported everything, so that a
kill costs seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PIPELINES = ("rag", "lora", "cpt")
WORDS = (
    *("limit=3", "training.tokens=6000", "training.checkpoint_seconds=0", "corpus.book.acts=6"),
    *("corpus.reworded_copies=1", "general.closed_book=3", "general.reading=6", "general.paragraphs=2"),
)
WRITES = ("fsync", "rename", "replace", "mkdir")  # What everything that is kept goes through.
UNLIMITED = 1 << 30


@dataclass
class Tally:
    """kills: by where they struck. runs: that ended. faults: what was wrong, in words."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    faults: list[str] = field(default_factory=list)


def kill_pipeline(pipeline: str, kills: int, seed: int, root: Path, tally: Tally) -> None:
    """Kill runs of a pipeline so many times in all, and compare each that ended with one that nobody killed."""
    draw = random.Random(f"{pipeline}/{seed}")
    whole = root / f"{pipeline}-whole"
    writes, seconds = _run(pipeline, whole, Kill())
    expected = digests(whole)
    left, attempt = kills, 0
    while left > 0:
        attempt += 1
        folder = root / f"{pipeline}-{attempt}"
        ended = False
        while not ended:
            kill = Kill()
            if left > 0:
                # A run that goes on has less to write: the same draw may then let it end.
                in_write = draw.random() < 0.5
                kill = (
                    Kill(at_write=draw.randrange(max(1, writes // 2)))
                    if in_write
                    else Kill(after=draw.uniform(0, seconds))
                )
            try:
                _run(pipeline, folder, kill)
                ended = True
            except KilledError as killed:
                tally.kills[str(killed)] += 1
                left -= 1
            except FailedError as failed:
                tally.faults.append(f"{pipeline}, run {attempt}: {failed}")
                break
        if ended:
            tally.runs += 1
            found = digests(folder)
            tally.faults += [f"{pipeline}, run {attempt}: {fault}" for fault in differences(expected, found)]
        shutil.rmtree(folder)
    shutil.rmtree(whole)


@dataclass(frozen=True)
class Kill:
    """at_write: the number of the write in which to strike. after: seconds. Neither lets a run end."""

    at_write: int = UNLIMITED
    after: float | None = None


class KilledError(Exception):
    """Where it struck."""


class FailedError(Exception):
    """The run ended by itself, and not well."""


def _run(pipeline: str, folder: Path, kill: Kill) -> tuple[int, float]:
    """Run a pipeline in a child; returns the number of its writes and its seconds."""
    folder.mkdir(exist_ok=True)
    words = [f"pipeline={pipeline}", f"artifacts={folder / 'artifacts'}", f"hydra.run.dir={folder / 'run'}", *WORDS]
    shutil.rmtree(folder / "run", ignore_errors=True)
    note = folder / "note.json"
    note.unlink(missing_ok=True)
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(words, folder / "log.txt", note, kill.at_write)
    status = os.waitpid(child, 0)[1] if kill.after is None else _wait(child, kill.after)
    seconds = time.monotonic() - begun
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        raise KilledError("at a random moment" if kill.after is not None else "in a write")
    if os.waitstatus_to_exitcode(status) != 0:
        raise FailedError((folder / "log.txt").read_text()[-2000:])
    return json.loads(note.read_text()), seconds


def _wait(child: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _child(words: list[str], log: Path, note: Path, at_write: int) -> None:
    """Become the lab. Never returns."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    count = 0

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def struck(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count > at_write:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*given, **named)

        return struck

    for name in WRITES:
        setattr(os, name, counted(getattr(os, name)))
    import safetensors.torch

    save = safetensors.torch.save_file

    def torn(tensors: Any, filename: Any, *more: Any, **named: Any) -> None:
        """Half of the file is there when the blow falls."""
        nonlocal count
        save(tensors, filename, *more, **named)
        count += 1
        if count > at_write:
            os.truncate(filename, os.path.getsize(filename) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    import lab.adapt.checkpoint
    from lab.__main__ import command_line

    lab.adapt.checkpoint.save_file = torn
    code = 1
    try:
        sys.argv = ["lab", *words]
        code = command_line()
        note.write_text(json.dumps(count))
    except BaseException as error:
        print(repr(error))
    finally:
        sys.stdout.flush()
        os._exit(code)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all that must be the same: answers (but for their times), weights, indexes; of every artifact."""
    found = {}
    for manifest in sorted((folder / "artifacts").glob("*/[0-9a-f]*/manifest.json")):
        told = json.loads(manifest.read_text())
        for name, file in told["files"].items():
            path = manifest.parent / name
            if hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
                found[f"{manifest.parent.name}/{name}"] = "not whole"
            elif name.endswith((".safetensors", ".faiss")):
                found[f"{manifest.parent.name}/{name}"] = file["sha256"]
    rows = [json.loads(line) for line in (folder / "run" / "answers.jsonl").read_text().splitlines()]
    untimed = [{name: row[name] for name in row if not name.endswith("seconds")} for row in rows]
    found["answers"] = hashlib.sha256(json.dumps(untimed).encode()).hexdigest()
    left = [path.name for path in (folder / "artifacts").glob("*/.states-*")]
    return {**found, "states left": ", ".join(left)}


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is not as in the run that nobody killed."""
    return [
        f"{name}: {found.get(name, 'missing')[:16]} and not {expected.get(name, 'nothing')[:16]}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]


def prepare() -> None:
    """Import all that a run imports, once, before it is forked; with one thread, which a fork leaves whole."""
    import torch

    torch.set_num_threads(1)
    import faiss  # noqa: F401
    import sentence_transformers  # noqa: F401

    import lab.__main__
    import lab.adapt.lora
    import lab.adapt.weights
    import lab.context.retrieved
    import lab.run  # noqa: F401


def main() -> int:
    """Exit code: 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    prepare()
    tally = Tally()
    with tempfile.TemporaryDirectory() as root:
        for number, pipeline in enumerate(PIPELINES):
            share = chosen.kills // len(PIPELINES) + (number < chosen.kills % len(PIPELINES))
            kill_pipeline(pipeline, share, chosen.seed, Path(root), tally)
            print(f"{pipeline}: {dict(tally.kills)}, {tally.runs} runs ended, {len(tally.faults)} faults", flush=True)
    for fault in tally.faults:
        print(fault)
    return int(bool(tally.faults))


if __name__ == "__main__":
    sys.exit(main())
