"""A disk that fails from some writing on: full, read-only or broken.

`python -m tests.faults.disk` (`make faults`) lets it fail at each writing of a run in turn, and the same words go on
every time: what they end with must be what a run on a whole disk ends with, bit for bit.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

import lab.adapt.checkpoint
import lab.context.vectors
from lab.__main__ import command_line
from lab.store import MANIFEST, problem
from tests.faults.kills import differences, digests

SMALL = (
    *("corpus.book.acts=6", "corpus.book.sections=2", "corpus.reworded_copies=0", "limit=1", "answer_tokens=4"),
    *("general.closed_book=1", "general.reading=1", "general.paragraphs=1"),
)
ROUTE = (  # That writes whatever a run can write.
    *("pipeline=cpt_rag", "training.texts=[documents]", "training.tokens=2500", "training.general_share=0"),
    *("training.device_rows=2", "training.checkpoint_seconds=0", "+pipeline.adaptation.training.evaluations=1"),
)
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
RANDOM = re.compile(r"(?<=[.-])[0-9a-f-]{8,}|(?<=\.building-)[0-9a-f-]+|[0-9a-f]{16}")


class Disk:
    """Below `root`, whatever is written from the place on that `strikes` fails with the number `error`, as the system
    tells it.

    strikes: gets each writing, as `mkdir artifacts/index`, without what differs from run to run. heals: the same; from
    there on all is well again. writings: all that were tried.
    """

    def __init__(
        self, root: Path, error: int, strikes: Callable[[str], bool], heals: Callable[[str], bool] = lambda _: False
    ) -> None:
        self.root, self.error, self.strikes, self.heals = root, error, strikes, heals
        self.fails = False
        self.writings: list[str] = []

    def struck(self, what: str, path: Any) -> bool:
        """Note a writing, and tell whether it fails."""
        if isinstance(path, int):
            return False
        place = Path(os.path.abspath(os.fsdecode(path)))
        if self.root not in place.parents:
            return False
        writing = f"{what} {RANDOM.sub('', str(place.relative_to(self.root)))}"
        self.writings.append(writing)
        self.fails = (self.fails and not self.heals(writing)) or self.strikes(writing)
        return self.fails

    def words(self, *path: Any) -> OSError:
        """The system's error."""
        return OSError(self.error, os.strerror(self.error), *map(os.fsdecode, path))

    def put_under(self, patch: pytest.MonkeyPatch) -> None:
        disk, real_open, real_fsync = self, io.open, os.fsync

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                raise disk.words()

        def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+") or isinstance(file, int) or not disk.struck("write", file):
                return real_open(file, mode, *more, **named)
            mode_of_raw = mode.replace("b", "").replace("t", "")
            raw = io.BufferedWriter(Raw(file, mode_of_raw, opener=named.get("opener")))
            return raw if "b" in mode else io.TextIOWrapper(raw, encoding="utf-8")

        def fsync(handle: int) -> None:
            if disk.struck("fsync", os.readlink(f"/proc/self/fd/{handle}")):
                raise disk.words()
            real_fsync(handle)

        def on_path(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
            def struck(path: Any, *more: Any, **named: Any) -> Any:
                if disk.struck(name, path):
                    raise disk.words(path)
                return work(path, *more, **named)

            return struck

        def saved(work: Callable[..., Any]) -> Callable[..., Any]:
            """Of a library in another language."""

            def struck(tensors: Any, path: Any, *more: Any, **named: Any) -> None:
                work(tensors, path, *more, **named)
                if disk.struck("save", path):
                    os.truncate(path, os.path.getsize(path) // 2)
                    raise SafetensorError(
                        f"Error while serializing: I/O error: {disk.words().strerror} (os error {disk.error})"
                    )

            return struck

        patch.setattr(builtins, "open", opened)
        patch.setattr(io, "open", opened)
        patch.setattr(os, "fsync", fsync)
        for name in ("mkdir", "rename", "replace"):
            patch.setattr(os, name, on_path(name, getattr(os, name)))
        for module in (lab.adapt.checkpoint, lab.context.vectors):
            patch.setattr(module, "save_file", saved(module.save_file))


def sit(root: Path, disk: Disk | None = None, words: Sequence[str] = ROUTE) -> tuple[int, str, str]:
    """`python -m lab -q` below `root`, in this process, on that disk. Returns its exit code, stdout and stderr."""
    out, told = io.StringIO(), io.StringIO()
    folders = (f"artifacts={root / 'artifacts'}", f"hydra.run.dir={root / 'run'}", f"hydra.sweep.dir={root / 'run'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lab", "-q", *words, *SMALL, *folders])
        patch.setattr("lab.adapt.way.SAVING_SHARE", 0)  # A state after every step.
        if disk is not None:
            disk.put_under(patch)
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(out):
            code = command_line()
    return code, out.getvalue(), told.getvalue()


def whole(root: Path) -> set[str]:
    """Artifacts and states that may be believed. ValueError where one lies in its place that is not whole."""
    found = set()
    for manifest in (root / "artifacts").rglob(MANIFEST):
        if ".building-" in str(manifest):
            continue
        spoilt = problem(manifest.parent, json.loads(manifest.read_text(encoding="utf-8"))["key"])
        if spoilt is not None:
            raise ValueError(f"{manifest.parent}: {spoilt}")
        found.add(str(manifest.parent.relative_to(root)))
    return found


def fault(root: Path, disk: Disk, words: Sequence[str] = ROUTE) -> str | None:
    """What is wrong with a run on a disk that fails, None where nothing is."""
    before = {name for name in whole(root) if ".states-" not in name}
    code, _, told = sit(root, disk, words)
    lines = told.splitlines()
    if not disk.fails:
        return "it was not written there"
    if code != 2 or not lines or not lines[-1].startswith("lab: ") or os.strerror(disk.error) not in lines[-1]:
        return f"exit code {code}, {told}"
    if [line for line in lines[:-1] if "is not whole" not in line]:
        return f"more than a line: {told}"
    if not before <= whole(root):
        return f"lost: {before - whole(root)}"
    return None


def main() -> int:
    """Exit code: 0 where nothing was wrong."""
    route = (*sys.argv[1:], *ROUTE)
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        good, bad = Path(folder) / "good", Path(folder) / "bad"
        disk = Disk(good, 0, lambda writing: False)
        code, _, told = sit(good, disk, route)
        if code != 0:
            raise SystemExit(told)
        places = list(dict.fromkeys(disk.writings))
        for number, place in enumerate(places):
            found = fault(bad, Disk(bad, ERRORS[number % len(ERRORS)], place.__eq__), route)
            faults += [f"{place}: {found}"] if found else []
        code, _, told = sit(bad, words=route)
        faults += [told] if code != 0 else differences(digests(good), digests(bad))
    print(f"the disk failed at {len(places)} places: {len(faults)} faults")
    for found in faults:
        print(found)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
