"""The store believes whole artifacts only, whatever happened to their makers."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import lab.store
from lab.records import LabError
from lab.states import KEPT, States
from lab.store import LEFTOVER_SECONDS, MANIFEST, Store, canonical, digest, digest_file, noted_in

KEY = {"corpus": "abc", "size": 3}


def write(text: str) -> Callable[[Path], dict[str, int]]:
    def build(folder: Path) -> dict[str, int]:
        (folder / "sub").mkdir()
        (folder / "a.txt").write_text(text, encoding="utf-8")
        (folder / "sub" / "b.txt").write_text(text * 2, encoding="utf-8")
        return {"tokens": 7}

    return build


def never(folder: Path) -> None:
    raise AssertionError("built although a whole artifact is there")


def run_python(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    home = Path(lab.store.__file__).parents[1]
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=home, stdout=subprocess.PIPE)


def test_made_once_then_reused(tmp_path: Path) -> None:
    made = Store(tmp_path).artifact("index", KEY, write("hello"))
    again = Store(tmp_path).artifact("index", KEY, never)
    assert (made.reused, again.reused) == (False, True)
    assert made.path == again.path == tmp_path / "index" / digest(KEY)[:16]
    content = {name: digest_file(made.path / name) for name in ("a.txt", "sub/b.txt")}
    assert made.digest == again.digest == digest(content)
    assert made.cost == again.cost
    assert noted_in(made.path) == made.cost
    assert made.cost["tokens"] == 7
    assert made.cost["bytes"] == 15
    assert made.cost["seconds"] > 0
    manifest = json.loads((made.path / MANIFEST).read_text())
    assert manifest["files"]["sub/b.txt"] == {"bytes": 10, "sha256": digest_file(made.path / "sub" / "b.txt")}
    assert os.listdir(tmp_path / "index") == [made.path.name]


def test_what_a_killed_builder_had_used_is_added(tmp_path: Path) -> None:
    earlier = {"seconds": 1000.0, "peak_rss_bytes": 1 << 60}
    store = Store(tmp_path)
    store.states("index", KEY).mkdir(parents=True)
    cost = store.artifact("index", KEY, lambda folder: {"earlier": earlier, "tokens": 7}).cost
    assert not store.states("index", KEY).exists()  # nobody will go on from there
    assert 1000 < cost["seconds"] < 1060
    assert (cost["peak_rss_bytes"], cost["tokens"]) == (1 << 60, 7)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_all_is_on_the_disk_before_the_manifest_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    folder = Store(tmp_path).artifact("index", KEY, write("hello")).path
    files, (manifest, whole, parent) = synced[:-3], synced[-3:]
    assert sorted(files) == ["a.txt", "b.txt", "sub"]
    assert (manifest, parent) == (MANIFEST, "index")
    assert whole.startswith(f".building-{folder.name}")


def test_a_store_knows_what_it_has_handed_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = [store.artifact("index", {"name": "n", "rows": [1, 2]}, write("x")) for _ in range(2)]
    assert store.used == [
        {"kind": "index", "key": {"name": "n", "rows": digest([1, 2])}, "digest": made[0].digest, "reused": reused}
        for reused in (False, True)
    ]


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, "é"]}) == digest({"b": [1, "é"], "a": 1})
    # The SHA-256 of the two bytes {}, as any tool computes it; and the text that every kept artifact was named by.
    assert canonical({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"\\u00e9"]}'
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    with pytest.raises(ValueError, match="JSON compliant"):
        digest(float("nan"))


def test_an_iterator_has_the_digest_of_its_list() -> None:
    for value in ([], [1], [{"b": 2, "a": "é"}, None, [1, 2]]):
        assert digest(iter(value)) == digest(value)
    assert digest(iter((iter(()), iter([1, {"a": 2}]), [3], map(str, (4, 5))))) == digest(
        [[], [1, {"a": 2}], [3], ["4", "5"]]
    )


def test_key_order_reuses_and_one_changed_value_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.artifact("index", {"a": 1, "b": 2}, write("x"))
    assert store.artifact("index", {"b": 2, "a": 1}, never).path == first.path
    other = store.artifact("index", {"a": 1, "b": 3}, write("x"))
    assert not other.reused
    assert other.path != first.path
    assert other.digest == first.digest  # equal content


def test_kept_are_all_whole_artifacts_whose_key_has_these_values(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert list(store.kept("index", {"corpus": "abc"})) == []
    key_of = {name: {"corpus": "abc", "name": name} for name in "abcdef"}
    in_order = sorted(key_of.values(), key=digest)
    # Those that cannot be read come first: the others are found all the same.
    keys = dict(zip(("damaged", "garbled", "listed", "whole", "a", "b"), in_order, strict=True))
    made = {name: store.artifact("index", key, write(name)) for name, key in keys.items()}
    made["another"] = store.artifact("index", {"corpus": "abd", "name": "another"}, write("x"))
    store.artifact("index", {"name": "no corpus"}, write("x"))
    store.artifact("vectors", keys["whole"], write("another kind"))
    spoil_a_bit(made["damaged"].path)
    spoil_manifest(made["garbled"].path)
    spoil_with_a_list(made["listed"].path)
    (tmp_path / "index" / ".building-x").mkdir()
    found = list(store.kept("index", {"corpus": "abc"}))
    whole = [made[name] for name in ("whole", "a", "b")]
    assert [(one.path, one.digest, one.cost) for one in found] == [(one.path, one.digest, one.cost) for one in whole]
    assert all(one.reused for one in found)
    assert made["another"].path in {one.path for one in store.kept("index", {})}


def spoil_a_bit(folder: Path) -> None:
    data = bytearray((folder / "a.txt").read_bytes())
    data[0] ^= 1
    (folder / "a.txt").write_bytes(data)


def spoil_by_cutting(folder: Path) -> None:
    os.truncate(folder / "sub" / "b.txt", 1)


def spoil_by_removing(folder: Path) -> None:
    (folder / "a.txt").unlink()


def spoil_by_adding(folder: Path) -> None:
    (folder / "c.txt").write_text("stranger")


def spoil_manifest(folder: Path) -> None:
    os.truncate(folder / MANIFEST, 20)


def spoil_by_losing_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def spoil_key(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "key": {"corpus": "other"}}))


def spoil_with_a_list(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]")


def spoil_with_a_link(folder: Path) -> None:
    (folder / "a.txt").rename(folder.parent / "elsewhere.txt")
    (folder / "a.txt").symlink_to(folder.parent / "elsewhere.txt")


def spoil_by_pointing_outside(folder: Path) -> None:
    outside = folder.parent / "outside.txt"
    outside.write_text("outside")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["../outside.txt"] = {"sha256": digest_file(outside), "bytes": 7}
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_a_bit, r"a\.txt differs from its SHA-256"),
        (spoil_by_cutting, r"sub/b\.txt differs from its SHA-256"),
        (spoil_by_removing, "its files are not those of its manifest"),
        (spoil_by_adding, "its files are not those of its manifest"),
        (spoil_manifest, "JSONDecodeError: .+"),
        (spoil_by_losing_the_manifest, "FileNotFoundError: .+"),
        (spoil_key, "its manifest names another key"),
        (spoil_with_a_list, "TypeError: .+"),
        (spoil_with_a_link, r"ValueError: a\.txt is not a plain file"),
        (spoil_by_pointing_outside, "its files are not those of its manifest"),
    ],
)
def test_what_is_not_whole_is_built_again_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], reason: str
) -> None:
    store = Store(tmp_path)
    good = store.artifact("index", KEY, write("hello"))
    spoil(good.path)
    again = store.artifact("index", KEY, write("hello"))
    assert not again.reused
    assert again.digest == good.digest
    assert re.fullmatch(
        rf"{re.escape(str(good.path))} is not whole \({reason}\); it is built again", caplog.messages[0]
    )
    assert store.artifact("index", KEY, never).reused
    assert not list((tmp_path / "index").glob(".*"))


def test_a_file_in_the_place_of_an_artifact_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "index" / digest(KEY)[:16]
    target.parent.mkdir()
    target.write_text("in the way")
    assert not Store(tmp_path).artifact("index", KEY, write("x")).reused
    assert Store(tmp_path).artifact("index", KEY, never).reused


@pytest.mark.parametrize("error", [ValueError("broken input"), KeyboardInterrupt(), SystemExit(1)])
def test_a_failed_builder_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def build(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        Store(tmp_path).artifact("index", KEY, build)
    assert os.listdir(tmp_path / "index") == []
    assert not Store(tmp_path).artifact("index", KEY, write("x")).reused


def test_a_builder_killed_in_mid_write_is_ignored_and_removed_when_old(tmp_path: Path) -> None:
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        from lab.store import Store
        def build(folder):
            (folder / "a.txt").write_text("half a fi")
            os.kill(os.getpid(), signal.SIGKILL)
        Store(Path(sys.argv[1])).artifact("index", {"corpus": "abc", "size": 3}, build)
    """
    with run_python(code, str(tmp_path)) as killed:
        assert killed.wait(30) == -9
    (leftover,) = (path for path in (tmp_path / "index").iterdir() if path.is_dir())
    assert leftover.name.startswith(".building-")
    store = Store(tmp_path)
    assert not store.artifact("index", KEY, write("hello")).reused
    assert leftover.exists()  # young: its builder might be alive
    old = time.time() - LEFTOVER_SECONDS - 60
    os.utime(leftover, (old, old))
    store.artifact("index", {"other": 1}, write("hello"))
    assert leftover.exists()  # a file in it has just been written to
    for path in [*leftover.rglob("*"), leftover]:
        os.utime(path, (old, old))
    store.artifact("index", {"other": 2}, write("hello"))
    assert not leftover.exists()


def test_a_clock_that_was_set_back_takes_nothing_away(tmp_path: Path) -> None:
    """All that was written has a time to come, the last of it the earliest."""
    store = Store(tmp_path)
    kept = store.artifact("index", KEY, write("hello"))
    states = States(store.states("index", {"k": 1}), {"k": 1})
    for step in (9, 10, 11):
        states.save(step, lambda folder: {"bytes": (folder / "a.txt").write_text("state")})
        for path in tmp_path.rglob("*"):
            os.utime(path, (time.time() + (12 - step) * 24 * 3600,) * 2)
    newest = states.newest()
    assert newest is not None
    assert newest.step == 11
    assert len(list(states.folder.iterdir())) == KEPT
    assert store.artifact("index", KEY, never).path == kept.path
    store.artifact("index", {"other": 1}, write("hello"))  # It looks for what is left over and old.
    assert states.newest() == newest


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from pathlib import Path
        from lab.store import Store
        root, me = Path(sys.argv[1]), sys.argv[2]
        def build(folder):
            (root / f"{me}.started").touch()
            time.sleep(1)
            (folder / "a.txt").write_text("same" * 1000)
        artifact = Store(root).artifact("index", {"k": 1}, build)
        print(artifact.reused, artifact.digest)
    """
    with run_python(code, str(tmp_path), "1") as one, run_python(code, str(tmp_path), "2") as two:
        said = [process.communicate(timeout=30)[0].split() for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0)
    assert sorted(words[0] for words in said) == [b"False", b"True"]
    assert said[0][1] == said[1][1]
    assert len(list(tmp_path.glob("*.started"))) == 1
    assert len([path for path in (tmp_path / "index").iterdir() if path.is_dir()]) == 1
    assert Store(tmp_path).artifact("index", {"k": 1}, never).reused


def test_the_lock_of_a_killed_builder_holds_nobody_up(tmp_path: Path) -> None:
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        from lab.store import Store
        Store(Path(sys.argv[1])).artifact("index", {"k": 1}, lambda folder: os.kill(os.getpid(), signal.SIGKILL))
    """
    with run_python(code, str(tmp_path)) as killed:
        assert killed.wait(30) == -9
    assert list((tmp_path / "index").glob(".*.lock"))
    assert not Store(tmp_path).artifact("index", {"k": 1}, write("hello")).reused


def test_whoever_was_first_with_a_spoilt_artifact_does_not_win(tmp_path: Path) -> None:
    """As where a file system knows no locks."""
    theirs = Store(tmp_path / "theirs").artifact("index", KEY, write("hello")).path
    spoil_a_bit(theirs)

    def build(folder: Path) -> None:
        theirs.rename(tmp_path / "index" / theirs.name)
        write("hello")(folder)

    assert not Store(tmp_path).artifact("index", KEY, build).reused
    assert Store(tmp_path).artifact("index", KEY, never).reused


def test_whoever_was_first_with_a_whole_artifact_wins(tmp_path: Path) -> None:
    theirs = Store(tmp_path / "theirs").artifact("index", KEY, write("hello"))

    def build(folder: Path) -> None:
        theirs.path.rename(tmp_path / "index" / theirs.path.name)
        write("other words")(folder)

    made = Store(tmp_path).artifact("index", KEY, build)
    assert (made.reused, made.digest, made.cost) == (True, theirs.digest, theirs.cost)
    assert os.listdir(tmp_path / "index") == [made.path.name]


def test_a_file_that_came_between_is_replaced(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (tmp_path / "index" / digest(KEY)[:16]).write_text("in the way")
        write("hello")(folder)

    made = Store(tmp_path).artifact("index", KEY, build)
    assert not made.reused
    assert os.listdir(tmp_path / "index") == [made.path.name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_met_by_the_builder(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        with open("/dev/full", "w") as file:
            file.write("x")

    with pytest.raises(LabError, match=r"No space left on device.*free some space") as raised:
        Store(tmp_path).artifact("index", KEY, build)
    assert str(tmp_path) in str(raised.value)
    assert os.listdir(tmp_path / "index") == []


@pytest.mark.parametrize(
    ("words", "mend"), [("No space left on device", "free some space"), ("Input/output error", "look after the disk")]
)
def test_a_full_or_broken_disk_met_by_a_library(words: str, mend: str, tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        raise RuntimeError(f"Error while serializing: I/O error: {words} (os error 5)")

    with pytest.raises(LabError, match=f"{words}.*{mend}"):
        Store(tmp_path).artifact("index", KEY, build)


def test_a_full_disk_met_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LabError, match="No space left on device"):
            Store(tmp_path).artifact("index", KEY, write("x"))
    assert os.listdir(tmp_path / "index") == []


def test_a_root_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("a file")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LabError, match="cannot be written"):
            Store(root).artifact("index", KEY, write("x"))

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(LabError, match="Read-only"):
        Store(tmp_path).artifact("index", KEY, write("x"))


def test_a_builder_that_cannot_read_its_own_input_is_not_blamed_on_the_store(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/else")

    with pytest.raises(PermissionError):
        Store(tmp_path).artifact("index", KEY, build)
