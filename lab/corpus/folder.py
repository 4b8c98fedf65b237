"""A folder of files as documents: text, pages, PDF, Word, tables, JSON. What cannot be read is told, never dropped."""

from __future__ import annotations

import itertools
import logging
import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from lab.corpus.cleaning import MAX_TEXT_BYTES, RefusedError, decode
from lab.corpus.corpus import Corpus, Quarantined
from lab.corpus.duplicates import check_threshold
from lab.corpus.formats import FORMATS
from lab.corpus.ingest import Gathered, Source, bills_of, corpus_of, gather, refuse_nothing
from lab.corpus.passages import check_sizes
from lab.corpus.sandbox import Sandbox
from lab.corpus.shelf import View
from lab.ledger import PRACTICE_BILL, REWORDED_BILL
from lab.records import Document, LabError, TrainingText
from lab.store import digest

log = logging.getLogger(__name__)

TEXT = (".md", ".txt")
SUFFIXES = (*TEXT, *FORMATS)


def load_documents(path: Path, deduplicate: float | None = None) -> Gathered:
    """Every file below a folder, as documents sorted by id, and what was not taken, sorted by name.

    .md and .txt are read as they are; .html, .pdf, .docx, .csv, .json and .jsonl are made Markdown by a child process
    with limits of memory and time. A file is one document: a row of a table is a paragraph of it. A document's id is
    its relative path without suffix, with `/`; its title is the first Markdown heading, else an HTML page's own, else
    the file's stem. Names that begin with a dot are not looked at. Links to files are followed inside the folder only,
    links to folders never. deduplicate: see `lab.corpus.duplicates.Duplicates`; None keeps repetitions.

    LabError where the folder is missing or holds no document.
    """
    if not path.is_dir():
        raise LabError(f"{path}: no such folder; give the folder that holds the documents")
    root = path.resolve()
    files, unread = _walk(root)
    with Sandbox() as sandbox:
        sources = itertools.chain(unread, _sources(files, root, sandbox))
        gathered = gather(sources, "files", deduplicate, len(files) + len(unread))
    refuse_nothing(str(path), gathered, f"put {', '.join(SUFFIXES)} files there")
    ids = [document.id for document in gathered.documents]
    order = array("q", sorted(range(len(ids)), key=ids.__getitem__))
    return Gathered(
        View(order, gathered.documents.__getitem__),
        tuple(sorted(gathered.quarantined, key=lambda row: row.id)),
        gathered.summary,
    )


def _sources(files: Sequence[Path], root: Path, sandbox: Sandbox) -> Iterator[Source | Quarantined]:
    for file in files:
        name = _shown(file.relative_to(root))
        try:
            made = _read(file, root, sandbox)
        except RefusedError as refused:
            yield Quarantined(name, refused.kind, refused.reason)
            continue
        id = file.relative_to(root).with_suffix("").as_posix()
        yield Source(id, name, made["title"] or file.stem, made["text"], made["encoding"])


def _walk(root: Path) -> tuple[list[Path], list[Quarantined]]:
    """All files below a folder, sorted, and the folders that could not be entered."""
    files: list[Path] = []
    unread: list[Quarantined] = []

    waiting = [root]  # Not os.walk, which before Python 3.12 calls itself for each folder in a folder.
    while waiting:
        here = waiting.pop()
        try:
            found = [here / name for name in os.listdir(here)]
        except OSError as error:
            reason = f"folder cannot be read: {error.strerror}; mend its rights, or its name"
            unread.append(Quarantined(_shown(here.relative_to(root)), "unreadable", reason))
            continue
        for path in found:
            if path.name.startswith("."):
                continue
            is_folder = os.path.isdir(path)  # Path.is_dir raises for a link to itself.
            if is_folder and path.is_symlink():
                reason = "a link to a folder is not followed; copy the folder"
                unread.append(Quarantined(_shown(path.relative_to(root)), "link", reason))
            elif is_folder:
                waiting.append(path)
            else:
                files.append(path)
    return sorted(files, key=lambda file: file.relative_to(root).as_posix()), unread


def _read(file: Path, root: Path, sandbox: Sandbox) -> dict[str, str]:
    """`text`, `title` and `encoding` of a file. RefusedError with the reason why it is not taken."""
    relative = file.relative_to(root)
    if _shown(relative) != str(relative):
        raise RefusedError("name", "its name is not UTF-8; rename it")
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise RefusedError("not supported", f"not one of {', '.join(SUFFIXES)}; convert it")
    try:
        # Resolved first: opening a pipe would wait for ever, opening a link would read what is not in the folder.
        target = file.resolve(strict=True)
        if not target.is_relative_to(root):
            raise RefusedError("link", "a link that points outside the folder; copy the file")
        state = target.stat()
        if not stat.S_ISREG(state.st_mode):
            raise RefusedError("not a file", "not a plain file; take it away")
        if not state.st_size:
            raise RefusedError("empty", "empty")
        if suffix in FORMATS:
            if target.suffix.lower() != suffix:
                raise RefusedError("link", f"a link to a file of another kind ({target.name}); copy the file")
            return sandbox.convert(target)
        with target.open("rb") as opened:
            text, encoding = decode(opened.read(MAX_TEXT_BYTES + 1))
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        why = error.strerror if isinstance(error, OSError) else error
        raise RefusedError("unreadable", f"cannot be read: {why}; mend it or its rights") from None
    return {"text": text, "title": "", "encoding": encoding}


def _shown(path: Path) -> str:
    """A path as text that can be printed and written, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "replace")


@dataclass(frozen=True)
class FolderCorpus:
    """A folder of documents as a corpus.

    max_tokens, overlap_tokens: of a passage, see `lab.corpus.passages.split`. deduplicate: the Jaccard similarity from
    which a document is set aside as a repetition, 1 for the same text alone, None keeps all. reworded: a folder of the
    same documents in other words, to train on. practice: a .jsonl file of questions to train on, in the exam's format;
    never exam questions.
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
        """Its documents, cut into passages, with what was quarantined."""
        return corpus_of(
            Path(self.path).name,
            load_documents(Path(self.path), self.deduplicate),
            self.max_tokens,
            self.overlap_tokens,
            all_documents(self.reworded) if self.reworded else (),
            self.practice,
            bills_of({PRACTICE_BILL: self.practice, REWORDED_BILL: self.reworded}),
        )


@dataclass(frozen=True)
class FolderReplay:
    """A folder of general documents to replay. It should be like what the base was pretrained on."""

    path: str

    @property
    def digest(self) -> str:
        """SHA-256 over all documents."""
        return digest(document.text for document in all_documents(self.path))

    def texts(self, seed: int) -> Iterator[TrainingText]:
        """The documents again and again, each time in another order."""
        documents, random = all_documents(self.path), Random(f"replay/{seed}")
        while True:
            for place in random.sample(range(len(documents)), len(documents)):
                yield TrainingText("text", documents[place].text)


def all_documents(path: str) -> Sequence[Document]:
    """The documents of a folder beside the corpus, repetitions too; what was left out is named in the log."""
    gathered = load_documents(Path(path))
    for row in gathered.quarantined:
        log.warning("%s: left out %s: %s", path, row.id, row.reason)
    return gathered.documents
