"""What changed between two states of a corpus, by the ids and texts of its documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lab.corpus.corpus import Corpus
from lab.corpus.shelf import View
from lab.records import LabError
from lab.store import digest_text

Record = TypeVar("Record")


class Earlier(Protocol):
    """The states of a corpus before the one at hand."""

    def load(self) -> list[Corpus]:
        """Oldest first; none where the corpus never changed."""
        ...


def earlier_corpora(earlier: Earlier) -> list[Corpus]:
    """The states before the one at hand, oldest first. LabError where there is none."""
    found = earlier.load()
    if not found:
        raise LabError("there is no earlier corpus to begin with; give one that was updated (corpus.book.version=1)")
    return found


@dataclass(frozen=True)
class Changes:
    """What an update did to a corpus.

    changed, unchanged: the documents of the new state that the old one did not have like this, and those it had, each
    with its passages and with the practice and reworded copies that are made of it; None where there is no document.
    deleted: ids of documents that are gone.
    """

    changed: Corpus | None
    unchanged: Corpus | None
    deleted: tuple[str, ...]


def changes(old: Corpus, new: Corpus) -> Changes:
    """The new corpus, parted by what the old one held already.

    A reworded copy belongs to the changes where its own text is new. A practice question does where one of the
    documents that it names changed, or, where it names none, where it was not asked before.
    """
    before = {document.id: digest_text(document.text) for document in old.documents}
    changed = {document.id for document in new.documents if before.get(document.id) != digest_text(document.text)}
    copies = {copy.id: digest_text(copy.text) for copy in old.reworded}
    fresh = {copy.id for copy in new.reworded if copies.get(copy.id) != digest_text(copy.text)}
    asked = set(old.practice)
    touched = {one.id for one in new.practice if (set(one.documents) & changed if one.documents else one not in asked)}
    kept = {document.id for document in new.documents}
    return Changes(
        changed=_part(new, changed, fresh, touched),
        unchanged=_part(
            new,
            kept - changed,
            {copy.id for copy in new.reworded} - fresh,
            {one.id for one in new.practice} - touched,
        ),
        deleted=tuple(id for id in before if id not in kept),
    )


def _part(
    corpus: Corpus, documents: Collection[str], copies: Collection[str], practice: Collection[str]
) -> Corpus | None:
    if not documents:
        return None
    return dataclasses.replace(
        corpus,
        documents=_kept(corpus.documents, (document.id in documents for document in corpus.documents)),
        passages=_kept(corpus.passages, (passage.document_id in documents for passage in corpus.passages)),
        practice=tuple(question for question in corpus.practice if question.id in practice),
        reworded=_kept(corpus.reworded, (copy.id in copies for copy in corpus.reworded)),
        facts=None,
        bills=(),
        partial=True,
    )


def _kept(records: Sequence[Record], keep: Iterable[bool]) -> Sequence[Record]:
    return View([place for place, kept in enumerate(keep) if kept], records.__getitem__)
