"""Rows as documents: a .jsonl file, or a data set of the `datasets` library. Faulty rows are told, never dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.corpus.cleaning import MAX_TEXT_BYTES, RefusedError, decode
from lab.corpus.corpus import Corpus, Quarantined
from lab.corpus.duplicates import check_threshold
from lab.corpus.folder import all_documents
from lab.corpus.ingest import Source, bills_of, corpus_of, gather, refuse_nothing
from lab.corpus.passages import check_sizes
from lab.exam.jsonl import parse_json
from lab.exam.questions import text_fault
from lab.ledger import PRACTICE_BILL, REWORDED_BILL
from lab.records import LabError, readable


@dataclass(frozen=True)
class JsonlCorpus:
    """A .jsonl file as a corpus: one document a line, with `text` and, where it has them, `id` and `title`.

    Without an id a document is called `line-<n>`, without a title as its id. All other fields are left alone. For the
    other values see `lab.corpus.folder.FolderCorpus`.
    """

    path: str
    max_tokens: int = 384
    overlap_tokens: int = 0
    deduplicate: float | None = 0.99
    reworded: str | None = None
    practice: str | None = None

    def __post_init__(self) -> None:
        check_sizes(self.max_tokens, self.overlap_tokens)
        check_threshold(self.deduplicate)

    def load(self) -> Corpus:
        """Its documents in the file's order, cut into passages; faulty lines are quarantined with all their faults."""
        path = Path(self.path)
        with readable(path):
            if not path.is_file():
                raise LabError(f"corpus.path={path}: no such file; give a .jsonl file with one document a line")
        gathered = gather(_lines(path), "rows", self.deduplicate)
        refuse_nothing(self.path, gathered, 'write one JSON object a line, as {"id": "a", "title": "A", "text": "..."}')
        return corpus_of(
            path.stem,
            gathered,
            self.max_tokens,
            self.overlap_tokens,
            all_documents(self.reworded) if self.reworded else (),
            self.practice,
            bills_of({PRACTICE_BILL: self.practice, REWORDED_BILL: self.reworded}),
        )


@dataclass(frozen=True)
class HubCorpus:
    """A data set as a corpus: a name on the hub, a folder of data files, or a folder that `save_to_disk` wrote.

    text, title, id: names of its columns; title and id may be None. subset: of the data set, where it has several.
    split: which part of it. limit: at most so many rows, from its beginning; None takes all. streaming: read row by
    row instead of downloading the whole first. For the other values see `lab.corpus.folder.FolderCorpus`.
    """

    path: str
    text: str = "text"
    title: str | None = None
    id: str | None = None
    subset: str | None = None
    split: str = "train"
    limit: int | None = None
    streaming: bool = False
    max_tokens: int = 384
    overlap_tokens: int = 0
    deduplicate: float | None = 0.99
    reworded: str | None = None
    practice: str | None = None

    def __post_init__(self) -> None:
        check_sizes(self.max_tokens, self.overlap_tokens)
        check_threshold(self.deduplicate)
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise LabError(f"corpus.limit={self.limit!r}: a whole number of at least 1, or null for all, is needed")

    def load(self) -> Corpus:
        """Its documents in the data set's order, cut into passages; faulty rows are quarantined."""
        rows = self._rows()
        columns = [name for name in (self.text, self.title, self.id) if name is not None]
        known = rows.column_names
        missing = [name for name in columns if known is not None and name not in known]
        if missing:
            named = ", ".join(repr(name) for name in missing)
            raise LabError(
                f"corpus.path={self.path}: no column {named}; it has {', '.join(known)}: "
                "name yours with corpus.text=, corpus.title= and corpus.id="
            )
        if known is not None:
            rows = rows.select_columns(columns)  # Pictures or sound beside the text are then never decoded.
        if self.limit is not None:
            rows = rows.take(self.limit)
        gathered = gather(self._sources(rows), "rows", self.deduplicate)
        refuse_nothing(self.path, gathered, f"its column {self.text!r} must hold text")
        return corpus_of(
            Path(self.path).name,
            gathered,
            self.max_tokens,
            self.overlap_tokens,
            all_documents(self.reworded) if self.reworded else (),
            self.practice,
            bills_of({PRACTICE_BILL: self.practice, REWORDED_BILL: self.reworded}),
        )

    def _rows(self) -> Any:
        import datasets

        try:
            if (Path(self.path) / "dataset_dict.json").is_file() or (Path(self.path) / "state.json").is_file():
                saved = datasets.load_from_disk(self.path)
                if isinstance(saved, datasets.Dataset):
                    return saved
                if self.split not in saved:
                    raise ValueError(f"no split {self.split!r}; it has {', '.join(saved)}")
                return saved[self.split]
            return datasets.load_dataset(self.path, self.subset, split=self.split, streaming=self.streaming)
        except Exception as error:  # A builder chosen by whatever lies there may raise anything.
            raise LabError(
                f"corpus.path={self.path}: no data set can be read there ({_words(error)}); give a folder with data "
                "files, a folder that save_to_disk wrote, or a name on the hub; corpus.subset= and corpus.split= choose"
            ) from None

    def _read(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows; LabError where the data set breaks off, whose rest cannot be accounted for."""
        from datasets.exceptions import DatasetsError

        try:
            yield from rows
        except (OSError, ValueError, DatasetsError) as error:
            raise LabError(f"corpus.path={self.path}: breaks off ({_words(error)}); mend its files") from None

    def _sources(self, rows: Iterable[dict[str, Any]]) -> Iterator[Source | Quarantined]:
        for number, row in enumerate(self._read(rows), 1):
            # Under the common names, so that a fault is told as in a file.
            known = {"text": row.get(self.text)}
            if self.title is not None:
                known["title"] = row.get(self.title)
            if self.id is not None:
                value = row.get(self.id)
                known["id"] = str(value) if type(value) is int else value
            yield _source(known, "row", number, "")


def _words(error: Exception) -> str:
    """An error in one line; the library wraps what it met in errors that say nothing of it."""
    return " ".join(str(error.__cause__ or error).split())


def _lines(path: Path) -> Iterator[Source | Quarantined]:
    """The lines of a file; one that is too long is passed over without being held."""
    most = 2 * MAX_TEXT_BYTES  # Letters may be written as \\uXXXX, six bytes for three.
    with readable(path), path.open("rb") as file:
        number = 0
        while line := file.readline(most + 1):
            number += 1
            if len(line) > most:
                while line and not line.endswith(b"\n"):
                    line = file.readline(most)
                reason = f"line {number}: longer than {most >> 20} MiB; split it into several documents"
                yield Quarantined(f"line-{number}", "too large", reason)
            elif line.strip():
                yield _line(line, number)


def _line(line: bytes, number: int) -> Source | Quarantined:
    try:
        text, encoding = decode(line)
        row = parse_json(text, numbers=True)
    except RefusedError as refused:
        return Quarantined(f"line-{number}", refused.kind, f"line {number}: {refused.reason}")
    except ValueError as error:
        return Quarantined(f"line-{number}", "not JSON", f"line {number}: {error}")
    if not isinstance(row, dict):
        return Quarantined(f"line-{number}", "bad row", f"line {number}: a JSON object is needed, one a line")
    return _source(row, "line", number, encoding)


def _source(row: dict[str, Any], unit: str, number: int, encoding: str) -> Source | Quarantined:
    """A row as a document, or all of its faults."""
    name = f"{unit}-{number}"
    faults = []
    if not isinstance(row.get("text"), str):
        faults.append(f"{unit} {number}, text: a text is needed")
    elif "\0" in row["text"]:
        faults.append(f"{unit} {number}, text: holds a NUL, so it is not text; take it out")
    for field in ("id", "title"):
        value = row.get(field)
        if value is not None and not (isinstance(value, str) and value.strip()):
            faults.append(f"{unit} {number}, {field}: a text is needed, or nothing")
        elif value is not None and (fault := text_fault(value)):
            faults.append(f"{unit} {number}, {field}: {fault}")
    if faults:
        return Quarantined(name, "bad row", "; ".join(faults))
    id = row.get("id") or name
    return Source(id, name, row.get("title") or id, row["text"], encoding)
