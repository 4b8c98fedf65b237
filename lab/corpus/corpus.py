"""The corpus: the one private text that every route learns from or looks things up in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lab.corpus.shelf import Index
from lab.ledger import Entry
from lab.records import Document, LabError, Passage, Question
from lab.store import digest


@dataclass(frozen=True)
class Quarantined:
    """A document that was not taken. id: what it was found by. kind: words to count by. reason: with the mend."""

    id: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Corpus:
    """Documents with their passages, and what was made from them.

    documents, passages, reworded: may lie on disk (`lab.corpus.shelf`): go through them, or ask for one by its number.
    practice: questions for tuning, on a named part of the facts, never exam questions. reworded: copies of documents
    in other words, for training. quarantined: what came in and was not taken. bills: what writing practice and reworded
    copies took, where it is known. facts: how many the documents tell, where the world that made them knows. partial:
    whether documents that an exam asks about were left out on purpose: gold passages that are missing are then let
    pass. None of these four is part of the content, so of no digest. LabError where there is no document, an id is
    taken twice, or a passage is not the stretch of its document that it says it is.
    """

    name: str
    documents: Sequence[Document]
    passages: Sequence[Passage]
    practice: tuple[Question, ...] = ()
    reworded: Sequence[Document] = ()
    quarantined: tuple[Quarantined, ...] = ()
    bills: tuple[Entry, ...] = ()
    facts: int | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        if not self.documents:
            raise LabError(f"corpus {self.name}: no documents; give it at least one")
        documents = self._by_id("document", self.documents)
        self._passages_by_id  # noqa: B018 - made now, and refused where an id is taken twice
        self._by_id("practice question", self.practice)
        self._by_id("reworded document", self.reworded)
        document = self.documents[0]
        for passage in self.passages:
            if passage.document_id != document.id:
                found = documents.find([passage.document_id])
                if not found:
                    raise LabError(f"corpus {self.name}: passage {passage.id!r} is of an unknown document; mend its id")
                document = self.documents[found[0]]
            if document.text[passage.start : passage.end] != passage.text:
                raise LabError(
                    f"corpus {self.name}: passage {passage.id!r} is not the text at its offsets; split again"
                )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all content; the name is not part of it."""
        practice = (question.row for question in self.practice)
        return digest(iter((_rows(self.documents), _rows(self.passages), practice, _rows(self.reworded))))

    @cached_property
    def passages_digest(self) -> str:
        """SHA-256 over the passages alone: what an index depends on. Other practice leaves it as it is."""
        return digest(_rows(self.passages))

    def passage(self, id: str) -> Passage:
        """The passage of this id. LabError where there is none."""
        return self.passages[self.place(id)]

    def place(self, id: str) -> int:
        """The number of the passage of this id, from 0 in the order of `passages`. LabError where there is none."""
        found = self._passages_by_id.find([id])
        if not found:
            raise LabError(f"corpus {self.name}: no passage {id!r}; mend the id or split the documents again")
        return found[0]

    def has(self, id: str) -> bool:
        """Whether there is a passage of this id."""
        return bool(self._passages_by_id.find([id]))

    @cached_property
    def _passages_by_id(self) -> Index:
        return self._by_id("passage", self.passages)

    def _by_id(self, what: str, records: Iterable[Document | Passage | Question]) -> Index:
        index = Index()
        for place, record in enumerate(records):
            if index.find([record.id]):
                raise LabError(f"corpus {self.name}: two {what}s have the id {record.id!r}; ids must differ")
            index.add([record.id], place)
        return index


def _rows(records: Iterable[Document | Passage]) -> Iterator[dict[str, Any]]:
    return map(dataclasses.asdict, records)
