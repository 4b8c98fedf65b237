"""A folder of Markdown and plain text files as documents. What cannot be read is reported, never dropped in silence."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from lab.corpus.corpus import Corpus
from lab.corpus.passages import check_sizes, headings, split
from lab.exam.jsonl import load_questions
from lab.records import Document, LabError, TrainingText

log = logging.getLogger(__name__)

SUFFIXES = (".md", ".txt")


def load_documents(path: Path) -> tuple[tuple[Document, ...], list[tuple[str, str]]]:
    """Every .md and .txt file below a folder, sorted by path, and what was left out.

    A document's id is its relative path without suffix, with `/`; its title is the first Markdown heading, else the
    file's stem. Text is UTF-8, a byte order mark is taken off, line ends become `\\n`. Names that begin with a dot are
    not looked at. Links to files are followed inside the folder only, links to folders never.

    Returns (documents, left out); each left out is (relative path, reason). LabError where the folder is missing or
    holds no document.
    """
    if not path.is_dir():
        raise LabError(f"{path}: no such folder; give the folder that holds the documents")
    root = path.resolve()
    documents: dict[str, Document] = {}
    origin: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    files, unread = _walk(root)
    left_out.extend(unread)
    for file in files:
        name = _shown(file.relative_to(root))
        text, reason = _read(file, root)
        if reason is not None:
            left_out.append((name, reason))
            continue
        id = file.relative_to(root).with_suffix("").as_posix()
        if id in documents:
            left_out.append((name, f"its id {id!r} is taken by {origin[id]}; rename one of them"))
            continue
        first = next(headings(text), None)
        documents[id] = Document(id=id, title=first.text if first else file.stem, text=text)
        origin[id] = name
    if not documents:
        reasons = f"; left out: {left_out[0][0]} ({left_out[0][1]})" if left_out else ""
        raise LabError(f"{path}: no document in it; put UTF-8 .md or .txt files there{reasons}")
    return tuple(documents[id] for id in sorted(documents)), sorted(left_out)


def _walk(root: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """All files below a folder, sorted, and the folders that could not be entered."""
    files: list[Path] = []
    unread: list[tuple[str, str]] = []

    def refused(error: OSError) -> None:
        unread.append((_shown(Path(error.filename).relative_to(root)), f"folder cannot be read: {error.strerror}"))

    for folder, folders, names in os.walk(root, onerror=refused):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(folder)
        unread.extend(
            (_shown((here / name).relative_to(root)), "a link to a folder is not followed; copy the folder")
            for name in folders
            if (here / name).is_symlink()
        )
        files.extend(here / name for name in names if not name.startswith("."))
    return sorted(files, key=lambda file: file.relative_to(root).as_posix()), unread


def _read(file: Path, root: Path) -> tuple[str, str | None]:
    """(text, None), or ("", the reason why the file is left out)."""
    relative = file.relative_to(root)
    if _shown(relative) != str(relative):
        return "", "its name is not UTF-8; rename it"
    if file.suffix.lower() not in SUFFIXES:
        return "", f"not one of {', '.join(SUFFIXES)}; convert it"
    try:
        # Resolved first: opening a pipe would wait for ever, opening a link would read what is not in the folder.
        target = file.resolve(strict=True)
        if not target.is_relative_to(root):
            return "", "a link that points outside the folder; copy the file"
        if not stat.S_ISREG(target.stat().st_mode):
            return "", "not a plain file"
        text = target.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 (byte {error.start}); save it as UTF-8"
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        return "", f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        return "", "holds a NUL byte, so it is not text"
    if not text.strip():
        return "", "empty"
    return text, None


def _shown(path: Path) -> str:
    """A path as text that can be printed and written, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "replace")


@dataclass(frozen=True)
class FolderCorpus:
    """A folder of documents as a corpus.

    max_tokens, overlap_tokens: of a passage, see `lab.corpus.passages.split`. reworded: a folder of the same documents
    in other words, to train on. practice: a .jsonl file of questions to train on, in the exam's format; never exam
    questions.
    """

    path: str
    max_tokens: int = 384
    overlap_tokens: int = 0
    reworded: str | None = None
    practice: str | None = None

    def __post_init__(self) -> None:
        check_sizes(self.max_tokens, self.overlap_tokens)

    def load(self) -> Corpus:
        """Its documents, cut into passages; each file that was left out is named in the log with its reason."""
        documents = _documents(self.path)
        return Corpus(
            name=Path(self.path).name,
            documents=documents,
            passages=tuple(
                passage for document in documents for passage in split(document, self.max_tokens, self.overlap_tokens)
            ),
            reworded=_documents(self.reworded) if self.reworded else (),
            practice=tuple(load_questions(Path(self.practice))) if self.practice else (),
        )


@dataclass(frozen=True)
class FolderReplay:
    """A folder of general documents to replay. It should be like what the base was pretrained on."""

    path: str

    def texts(self, seed: int) -> Iterator[TrainingText]:
        """The documents again and again, each time in another order."""
        documents, random = _documents(self.path), Random(f"replay/{seed}")
        while True:
            for document in random.sample(documents, len(documents)):
                yield TrainingText("text", document.text)


def _documents(path: str) -> tuple[Document, ...]:
    documents, left_out = load_documents(Path(path))
    for name, reason in left_out:
        log.warning("%s: left out %s: %s", path, name, reason)
    return documents
