"""Records on disk: the same in order as a tuple would be, and not in memory."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from lab.adapt.mixture import domain_texts
from lab.corpus.changes import changes
from lab.corpus.corpus import Corpus
from lab.corpus.folder import FolderCorpus
from lab.corpus.rows import JsonlCorpus
from lab.corpus.shelf import Index, Shelf, View
from lab.records import DiskError, Document, Passage
from tests.faults.limits import files_of_at_most

TEXTS = ("", "a", "第三条\n费用", "\0", "é e\u0301 \U0001f600 \uffff", "'; DROP TABLE records; --", "x" * 3_000_000)
DOCUMENTS = tuple(Document(f"d{number}", f"t{text[:5]}", text) for number, text in enumerate(TEXTS))
LETTERS = 20_000  # of a document below


def test_what_is_put_there_comes_back_in_order() -> None:
    shelf = Shelf(Document, DOCUMENTS)
    assert (len(shelf), tuple(shelf), tuple(shelf[::-2])) == (len(DOCUMENTS), DOCUMENTS, DOCUMENTS[::-2])
    assert [shelf[place] for place in (3, 0, -1)] == [DOCUMENTS[place] for place in (3, 0, -1)]
    assert tuple(shelf[2:][1:3]) == DOCUMENTS[3:5]
    assert list(reversed(shelf)) == list(reversed(DOCUMENTS))
    passage = Passage("p", "d", "t", "text", 2**40, 2**40 + 4)
    assert list(Shelf(Passage, [passage])) == [passage]
    with pytest.raises(IndexError):
        shelf[len(DOCUMENTS)]


def test_an_empty_one_is_false_as_an_empty_tuple_is() -> None:
    assert not Shelf(Document)
    assert list(Shelf(Document)) == []
    assert not Shelf(Document, DOCUMENTS)[:0]


def test_it_is_read_while_it_is_written() -> None:
    shelf = Shelf(Document)
    for number, document in enumerate(DOCUMENTS):
        shelf.append(document)
        assert shelf[number // 2] == DOCUMENTS[number // 2]
        assert len(list(shelf)) == number + 1
    first, second = iter(shelf), iter(shelf)  # Each goes its own way.
    assert [next(first), next(second), next(first)] == [DOCUMENTS[0], DOCUMENTS[0], DOCUMENTS[1]]


def test_a_view_makes_what_is_asked_for_and_nothing_else() -> None:
    made: list[int] = []
    view = View(range(100), lambda number: made.append(number) or number * number)  # type: ignore[func-returns-value]
    assert view[7] == 49
    assert list(view[10:14:2]) == [100, 144]
    assert made == [7, 10, 12]
    assert list(view) == [number * number for number in range(100)]


def test_numbers_are_found_by_keys() -> None:
    index = Index()
    for number in range(50, 0, -1):
        index.add([b"odd" if number % 2 else b"even", f"{number}"], number)
        index.add([b"odd" if number % 2 else b"even"], number)  # Again is no more.
    assert index.find([b"odd"], 3) == [1, 3, 5]
    assert index.find([b"odd", b"even", "17"], 4) == [1, 2, 3, 4]
    assert index.find(["50"]) == [50]
    assert index.find([b"50"], 9) == index.find([], 9) == []  # Bytes are no text.


def rows(path: Path, count: int, letters: int = 100) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = f"{number:07} " * (letters // 8) + f"No. {number} "
            file.write(json.dumps({"id": f"d{number}", "title": f"T{number}", "text": text}) + "\n")
    return path


def test_a_corpus_on_disk_has_the_digests_of_one_in_memory(tmp_path: Path) -> None:
    for name in ("b", "a", "a-b", "c/d", "A"):  # `a-b.md` stands before `a.md`, but `a` before `a-b`.
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.md").write_text(f"# Title {name}\n\nThe fee of {name} is {len(name)} crowns.\n")
    corpus = FolderCorpus(str(tmp_path)).load()
    assert [document.id for document in corpus.documents] == ["A", "a", "a-b", "b", "c/d"]
    held = Corpus("held", tuple(corpus.documents), tuple(corpus.passages))
    assert (corpus.digest, corpus.passages_digest) == (held.digest, held.passages_digest)
    for place, passage in enumerate(held.passages):
        assert corpus.passage(passage.id) == held.passage(passage.id) == passage
        assert corpus.place(passage.id) == place
    assert not corpus.has("a")


def test_what_changed_is_the_same_on_disk_as_in_memory(tmp_path: Path) -> None:
    old = JsonlCorpus(str(rows(tmp_path / "old.jsonl", 20)), deduplicate=None).load()
    documents = [d if place % 3 else dataclasses.replace(d, text=d.text + "!") for place, d in enumerate(old.documents)]
    told = "".join(json.dumps(dataclasses.asdict(document)) + "\n" for document in documents[1:])
    (tmp_path / "new.jsonl").write_text(told)
    new = JsonlCorpus(str(tmp_path / "new.jsonl"), deduplicate=None).load()
    found = changes(old, new)
    assert found.changed is not None
    assert found.unchanged is not None
    assert [d.id for d in found.changed.documents] == [f"d{number}" for number in range(3, 20, 3)]
    assert [p.document_id for p in found.unchanged.passages] == [f"d{n}" for n in range(20) if n % 3]
    assert found.deleted == ("d0",)


def used(path: Path) -> tuple[int, int, int]:
    """Letters of a corpus, and bytes that Python holds after and during what goes through all of it."""
    tracemalloc.start()
    corpus = JsonlCorpus(str(path), max_tokens=LETTERS, deduplicate=1).load()
    assert corpus.digest
    assert changes(corpus, corpus).changed is None
    assert len(domain_texts(corpus, ["documents"])) == len(corpus.documents)
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return sum(len(document.text) for document in corpus.documents), kept, peak


def test_no_text_of_a_corpus_stays_in_memory(tmp_path: Path) -> None:
    """Of further documents, a tenth of their texts at most is held afterwards, and a fifth on the way: ids."""
    used(rows(tmp_path / "few.jsonl", 2, LETTERS))  # What it imports is no part of it.
    less, more = (used(rows(tmp_path / "rows.jsonl", count, LETTERS)) for count in (10, 60))
    letters, kept, peak = (b - a for a, b in zip(less, more, strict=True))
    assert letters > 500_000
    assert kept < 0.1 * letters
    assert peak < 0.2 * letters


WRITES = """
import os
from lab.corpus.shelf import Shelf
from lab.records import Document
shelf = Shelf(Document, (Document(f"{number}", "t", "x" * 100_000) for number in range(100)))
print(sum(os.path.samefile(os.path.dirname(os.readlink(file)), os.environ["TMPDIR"])
    for file in map("/proc/self/fd/{}".format, os.listdir("/proc/self/fd")) if "etilqs" in os.path.realpath(file)))
print(len(os.listdir(os.environ["TMPDIR"])), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_nothing_in_the_folder_for_temporary_files(tmp_path: Path) -> None:
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", WRITES], env=place, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (-9, ["1", "0"]), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_its_mend() -> None:
    with files_of_at_most(1_000_000), pytest.raises(DiskError, match=r"temporary files .*TMPDIR=DIR"):
        Shelf(Document, (Document(f"{number}", "t", "x" * 100_000) for number in range(100)))
