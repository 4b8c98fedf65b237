"""Content-addressed artifacts: written aside, renamed into place, the manifest with SHA-256 written last.

An artifact is a folder `root/kind/<first 16 hex of the key's digest>`. It is believed only if its `manifest.json`
names the same key and every file in it has the size and SHA-256 that the manifest says; anything else is rebuilt.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from filelock import FileLock

from lab.meter import plus, read, used_since
from lab.records import DiskError, LabError

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"

MANIFEST = "manifest.json"
# What a killed builder left is only removed when no file in it changed for this long: it may belong to a live one.
LEFTOVER_SECONDS = 7 * 24 * 3600
LEFTOVERS = (".building-*", ".broken-*", ".states-*")

# What can be wrong with a disk or a folder, and the mend.
MENDS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on files (ulimit -f)",
    errno.EIO: "look after the disk",
    errno.EROFS: "make it writable",
    errno.EACCES: "mend its permissions",
    errno.EPERM: "mend its permissions",
    errno.ENOTDIR: "move the file away that is in its place",
    errno.EEXIST: "move the file away that is in its place",
}
WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # Nothing else can fail so.

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """A whole, verified artifact.

    path: its folder. digest: SHA-256 over its file names and their SHA-256, so equal content has an equal digest.
    reused: whether an earlier build was taken. cost: what making it took: seconds (wall), bytes (of its files), and
    whatever the builder returned.
    """

    path: Path
    digest: str
    reused: bool
    cost: dict[str, Any]


def canonical(value: JSON) -> str:
    """JSON text that does not depend on the order of keys. NaN and infinity raise ValueError: they are no JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: JSON | Iterator[Any]) -> str:
    """SHA-256 of the value's canonical JSON, 64 hex digits. An iterator counts as the list of what it gives (iterators
    too), of which no two are held at a time.
    """
    made = hashlib.sha256()
    for part in _parts(value):
        made.update(part.encode("ascii"))
    return made.hexdigest()


def _parts(value: JSON | Iterator[Any]) -> Iterator[str]:
    if not isinstance(value, Iterator):
        yield canonical(value)
        return
    yield "["
    for place, one in enumerate(value):
        if place:
            yield ","
        yield from _parts(one)
    yield "]"


def digest_text(text: str) -> bytes:
    """SHA-256 of a text's UTF-8, 32 bytes: what it is known again by where the text itself is not held."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits. OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The folder that prepared things are kept in, between runs and between processes.

    used: what `artifact` has handed out so far: kind, key (long lists in it as their digest), digest, reused.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.used: list[dict[str, JSON]] = []

    def artifact(
        self, kind: str, key: Mapping[str, JSON], build: Callable[[Path], Mapping[str, JSON] | None]
    ) -> Artifact:
        """The artifact of this key: a verified earlier one, or a new one that `build` writes into the given folder.

        key: everything that the content depends on. build: gets an empty folder and returns what to note as cost
        beside time, memory and bytes, such as tokens; "earlier" of it is what a killed process had used over the same
        work. When it raises, nothing is kept. Errors: DiskError where the disk is full or the folder cannot be written.
        """
        found = self._artifact(kind, key, build)
        short = {name: digest(value) if isinstance(value, list | tuple) else value for name, value in key.items()}
        self.used.append({"kind": kind, "key": short, "digest": found.digest, "reused": found.reused})
        return found

    def _artifact(
        self, kind: str, key: Mapping[str, JSON], build: Callable[[Path], Mapping[str, JSON] | None]
    ) -> Artifact:
        target = self.root / kind / digest(dict(key))[:16]
        aside: Path | None = None
        try:
            if target.exists():
                spoilt = problem(target, key)
                if spoilt is None:
                    log.debug("kept before, taken again: %s", target)
                    # Of a builder that was stopped when it had just put the artifact in its place.
                    shutil.rmtree(self.states(kind, key), ignore_errors=True)
                    return _read(target, reused=True)
                log.warning("%s is not whole (%s); it is built again", target, spoilt)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _alone(target):
                if problem(target, key) is None:  # built while this process waited
                    return _read(target, reused=True)
                _remove_leftovers(target.parent)
                # Aside means in the same folder: a rename is atomic only within one file system.
                aside = target.parent / f".building-{target.name}-{os.getpid()}-{secrets.token_hex(4)}"
                aside.mkdir()
                start = read()
                noted = build(aside)
                seal(aside, key, {**(noted or {}), **_with_earlier(used_since(start), noted)})
                made = _publish(aside, target, key)
                shutil.rmtree(self.states(kind, key), ignore_errors=True)
                return made
        except BaseException as error:
            if aside is not None:
                shutil.rmtree(aside, ignore_errors=True)
            mended = disk_error(error, self.root, "artifacts=DIR")
            if mended is not None:
                raise mended from error
            raise

    def states(self, kind: str, key: Mapping[str, JSON]) -> Path:
        """Where states on the way to an artifact belong, see `lab.states`; taken away when it is made."""
        return self.root / kind / f".states-{digest(dict(key))[:16]}"

    def kept(self, kind: str, part: Mapping[str, JSON]) -> Iterator[Artifact]:
        """Every whole artifact of a kind whose key has these values; one that is damaged is passed over."""
        wanted = canonical(dict(part))
        for folder in sorted((self.root / kind).glob("[0-9a-f]" * 16)):
            try:
                key = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["key"]
                same = canonical({name: key[name] for name in part}) == wanted
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if same and problem(folder, key) is None:
                yield _read(folder, reused=True)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One builder of an artifact at a time: a second would do the same work. The system frees the lock of a dead one.

    The file is taken away before it is let go. Who waits for it then goes on, and who comes in between builds too:
    what is lost is work, never an artifact.
    """
    file = target.parent / f".{target.name}.lock"
    with FileLock(file):
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def _files(folder: Path) -> list[str]:
    """Names of all files below a folder but its manifest, sorted, with `/`. ValueError for a link or special file."""
    names = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{path.name} is not a plain file")
        if path.is_file() and path != folder / MANIFEST:
            names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def _sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def seal(folder: Path, key: Mapping[str, JSON], cost: Mapping[str, JSON]) -> None:
    """Make a folder whole: its bytes are on the disk, and then its manifest, which names them all, is written."""
    names = _files(folder)
    for name in names:
        _sync(folder / name)
    for path in folder.rglob("*"):
        if path.is_dir():
            _sync(path)
    sizes = {name: (folder / name).stat().st_size for name in names}
    files = {name: {"sha256": digest_file(folder / name), "bytes": sizes[name]} for name in names}
    manifest = {"key": dict(key), "files": files, "cost": {**cost, "bytes": sum(sizes.values())}}
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, sort_keys=True, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)


def _publish(aside: Path, target: Path, key: Mapping[str, JSON]) -> Artifact:
    """Rename a finished folder into place. Where another process was first, its artifact is taken if it is whole."""
    while True:
        try:
            # Renaming onto a folder that is not empty fails, so of two builders one wins.
            aside.rename(target)
            _sync(target.parent)
            return _read(target, reused=False)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        if problem(target, key) is None:
            shutil.rmtree(aside)
            return _read(target, reused=True)
        broken = target.parent / f".broken-{target.name}-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            target.rename(broken)
        except FileNotFoundError:
            continue  # another process has just moved it away
        if broken.is_dir():
            shutil.rmtree(broken)
        else:
            broken.unlink()


def problem(folder: Path, key: Mapping[str, JSON]) -> str | None:
    """What differs between an artifact and its manifest, None where nothing does."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if canonical(manifest["key"]) != canonical(dict(key)):
            return "its manifest names another key"
        # Only names that a walk of the folder found are opened, so no name in a manifest can point outside.
        if _files(folder) != sorted(manifest["files"]) or not isinstance(manifest["cost"], dict):
            return "its files are not those of its manifest"
        for name, file in manifest["files"].items():
            if (folder / name).stat().st_size != file["bytes"] or digest_file(folder / name) != file["sha256"]:
                return f"{name} differs from its SHA-256"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def noted_in(folder: Path) -> dict[str, Any]:
    """What the manifest of a whole folder notes beside its files."""
    noted: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["cost"]
    return noted


def _with_earlier(used: dict[str, Any], noted: Mapping[str, JSON] | None) -> dict[str, Any]:
    """What this process used, and what one that was killed over the same work had used, as `noted["earlier"]`."""
    earlier = (noted or {}).get("earlier")
    return plus(used, earlier) if isinstance(earlier, Mapping) else used


def _read(folder: Path, *, reused: bool) -> Artifact:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    content = digest({name: file["sha256"] for name, file in manifest["files"].items()})
    return Artifact(folder, content, reused, manifest["cost"])


def _remove_leftovers(parent: Path) -> None:
    """Remove what killed builders left, once it is old."""
    for leftover in [path for kind in LEFTOVERS for path in parent.glob(kind)]:
        try:
            newest = max(path.lstat().st_mtime for path in [leftover, *leftover.rglob("*")])
        except FileNotFoundError:
            continue  # its builder is alive and has just renamed it
        if time.time() - newest > LEFTOVER_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)


def disk_error(error: BaseException, folder: Path | None, choice: str) -> DiskError | None:
    """What to tell of an error that a disk made, with its mend; None for any other, and for one that is told already.

    folder: what was written to, None where that may be anything. choice: the words that name another one.
    """
    cause: BaseException | None = error
    while cause is not None and _number(cause) is None and not isinstance(cause, LabError):
        cause = cause.__cause__
    number = _number(cause)
    if number is None:
        return None
    named = getattr(cause, "filename", None)
    where = folder if named is None else Path(os.fsdecode(named))
    # Others are about this folder only if they name a path in it: somebody may have failed on his input.
    if number not in WRITING and folder is not None and where is not None:
        ours = where == folder or folder in where.parents or where in folder.parents
        if not ours or (named is None and number != errno.EIO):
            return None
    why = f"{where or 'the run folder'}: cannot be written ({os.strerror(number)})"
    return DiskError(f"{why}; {MENDS[number]}, or choose another folder ({choice})")


def _number(error: BaseException | None) -> int | None:
    """The system's number of what is wrong with a disk, None where it is another error."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in MENDS else None
    # Libraries that write from Rust or C++ (safetensors, tokenizers, faiss) raise their own types with its words.
    words = str(error) if isinstance(error, Exception) and not isinstance(error, LabError) else ""
    return next((number for number in (*WRITING, errno.EIO) if os.strerror(number) in words), None)
