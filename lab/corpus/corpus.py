"""The corpus: the one private text that every route learns from or looks things up in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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

    practice: questions for tuning, on a named part of the facts, never exam questions. reworded: copies of documents
    in other words, for training. quarantined: what came in and was not taken. bills: what writing practice and reworded
    copies took, where it is known. facts: how many the documents tell, where the world that made them knows. partial:
    whether documents that an exam asks about were left out on purpose: gold passages that are missing are then let
    pass. None of these four is part of the content, so of no digest. LabError where there is no document, an id is
    taken twice, or a passage is not the stretch of its document that it says it is.
    """

    name: str
    documents: tuple[Document, ...]
    passages: tuple[Passage, ...]
    practice: tuple[Question, ...] = ()
    reworded: tuple[Document, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    bills: tuple[Entry, ...] = ()
    facts: int | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        if not self.documents:
            raise LabError(f"corpus {self.name}: no documents; give it at least one")
        for what, ids in (
            ("document", [document.id for document in self.documents]),
            ("passage", [passage.id for passage in self.passages]),
            ("practice question", [question.id for question in self.practice]),
            ("reworded document", [document.id for document in self.reworded]),
        ):
            twice = _first_repeated(ids)
            if twice is not None:
                raise LabError(f"corpus {self.name}: two {what}s have the id {twice!r}; ids must differ")
        texts = {document.id: document.text for document in self.documents}
        for passage in self.passages:
            if passage.document_id not in texts:
                raise LabError(f"corpus {self.name}: passage {passage.id!r} is of an unknown document; mend its id")
            if texts[passage.document_id][passage.start : passage.end] != passage.text:
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
        found = self._by_id.get(id)
        if found is None:
            raise LabError(f"corpus {self.name}: no passage {id!r}; mend the id or split the documents again")
        return found

    @cached_property
    def _by_id(self) -> dict[str, Passage]:
        return {passage.id: passage for passage in self.passages}


def _rows(records: Iterable[Document | Passage]) -> Iterator[dict[str, Any]]:
    return map(dataclasses.asdict, records)


def _first_repeated(ids: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            return id
        seen.add(id)
    return None
