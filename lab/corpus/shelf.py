"""Records on disk instead of in memory, in order: of what is asked for, no more is held than one at a time.

SQLite keeps them, each `Shelf` and `Index` in a database of its own without a name: some 2 MB of it are in memory, the
rest in a file of TMPDIR (else /var/tmp) that has no name either, so the system frees it however the process ends. What
is kept can be read while more is added. A process that was forked must not read on.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar, overload

from lab.records import DiskError

Record = TypeVar("Record")
Source = TypeVar("Source")


class View(Sequence[Record], Generic[Source, Record]):
    """What `make` gives for each of a sequence, made anew whenever it is asked for."""

    def __init__(self, of: Sequence[Source], make: Callable[[Source], Record]) -> None:
        self._of = of
        self._make = make

    def __len__(self) -> int:
        return len(self._of)

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...

    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        return View(self._of[place], self._make) if isinstance(place, slice) else self._make(self._of[place])

    def __iter__(self) -> Iterator[Record]:
        return map(self._make, self._of)


class Shelf(Sequence[Record]):
    """Dataclasses of texts and whole numbers, written one after another and read in any order.

    DiskError where there is no room for them.
    """

    def __init__(self, kind: type[Record], records: Iterable[Record] = ()) -> None:
        self._kind = kind
        self._names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
        self._length = 0
        columns = ", ".join(f'"{name}"' for name in self._names)
        self._base = _database(self, f"CREATE TABLE records ({columns})")
        self._insert = f"INSERT INTO records VALUES ({', '.join('?' * len(self._names))})"
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        """Put one more behind the others."""
        with _on_disk():
            self._base.execute(self._insert, [getattr(record, name) for name in self._names])
        self._length += 1

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...

    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        places = range(self._length)[place]  # IndexError is its own.
        if isinstance(places, range):
            return View(places, self.__getitem__)
        with _on_disk():
            row = self._base.execute("SELECT * FROM records WHERE rowid = ?", (places + 1,)).fetchone()
        return self._kind(*row)

    def __iter__(self) -> Iterator[Record]:
        with _on_disk():
            for row in self._base.execute("SELECT * FROM records ORDER BY rowid"):
                yield self._kind(*row)


class Index:
    """Numbers by keys, several a key: what would take a hundred bytes for each in memory.

    Keys are texts, or bytes. DiskError where there is no room for them.
    """

    def __init__(self) -> None:
        self._base = _database(self, "CREATE TABLE numbers (key, number, PRIMARY KEY (key, number)) WITHOUT ROWID")

    def add(self, keys: Iterable[str | bytes], number: int) -> None:
        """Put a number under keys."""
        with _on_disk():
            self._base.executemany("INSERT OR IGNORE INTO numbers VALUES (?, ?)", ((key, number) for key in keys))

    def find(self, keys: Iterable[str | bytes], most: int = 1) -> list[int]:
        """The `most` smallest numbers under any of the keys, in order."""
        select = "SELECT number FROM numbers WHERE key = ? ORDER BY number LIMIT ?"
        with _on_disk():
            found = {number for key in keys for (number,) in self._base.execute(select, (key, most))}
        return sorted(found)[:most]


def _database(owner: object, table: str) -> sqlite3.Connection:
    """A database with one table, closed when its owner is no longer needed."""
    base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    weakref.finalize(owner, base.close)
    base.execute("PRAGMA journal_mode = OFF")
    base.execute(table)
    base.execute("BEGIN")  # And never an end: nobody goes on from it.
    return base


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:  # Reading may write too, what was added before.
        raise DiskError(
            f"the folder for temporary files cannot be written ({error}); free some space, or choose another folder "
            "(TMPDIR=DIR)"
        ) from error
