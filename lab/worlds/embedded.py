"""The embedded worlds as a corpus, an exam and a general suite: what a run uses where the user brings none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from lab.code import digest_code
from lab.corpus.corpus import Corpus
from lab.corpus.passages import split
from lab.exam.questions import LETTERS
from lab.exam.suite import GeneralSuite
from lab.records import Document, LabError, Question, TrainingText
from lab.store import digest
from lab.worlds.general import GeneralWorld
from lab.worlds.lessons import LEVELS, lesson
from lab.worlds.names import seeded
from lab.worlds.statutes import StatuteBook

SIBLING = 1000  # added to a book's seed: another book, which tells none of its facts


@dataclass(frozen=True)
class StatuteCorpus:
    """The private statute book. reworded_copies: further tellings of each act, for routes that train on them.

    share: of the acts, a thin corpus below 1; chosen by the book's seed, a smaller share among those of a larger one.
    wrong: take another book instead, of which no exam question asks. Practice and copies are of the acts that are left.
    """

    book: StatuteBook
    reworded_copies: int = 0
    share: float = 1.0
    wrong: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise LabError(f"corpus.share={self.share}: a share of the acts above 0, at most 1, is needed")

    def load(self) -> Corpus:
        """The acts, a passage a section, with practice questions and reworded copies apart."""
        book = dataclasses.replace(self.book, seed=self.book.seed + SIBLING) if self.wrong else self.book
        kept = {f"act-{act:03}" for act in book.first_acts(self.share)}
        documents = [document for document in book.documents() if document.id in kept]
        reworded = [copy for copy in book.reworded(self.reworded_copies) if copy.id.split("-copy-")[0] in kept]
        practice = [question for question in book.practice() if kept.issuperset(question.documents)]
        if self.wrong:  # Under its own ids: the exam's name acts of the other book.
            documents, reworded = [_renamed(one) for one in documents], [_renamed(one) for one in reworded]
            practice = [_renamed_question(question) for question in practice]
        return Corpus(
            name="statutes",
            documents=tuple(documents),
            passages=tuple(passage for document in documents for passage in split(document)),
            practice=tuple(practice),
            reworded=tuple(reworded),
            facts=sum(len(section.facts) for section in book.book if section.document in kept),
            partial=self.wrong or len(kept) < len(book.editions[-1].acts),
        )


@dataclass(frozen=True)
class EarlierEditions:
    """The statute book before its updates, for routes that do not begin from nothing."""

    corpus: StatuteCorpus

    def __post_init__(self) -> None:
        if not isinstance(self.corpus, StatuteCorpus):
            raise LabError("earlier: only the embedded statute book knows its earlier editions (corpus=statutes)")

    def load(self) -> list[Corpus]:
        """Versions 0, 1, ..., the one at hand left out."""
        book = self.corpus.book
        editions = [dataclasses.replace(book, version=number) for number in range(book.version)]
        return [dataclasses.replace(self.corpus, book=edition).load() for edition in editions]


def _renamed(document: Document) -> Document:
    return dataclasses.replace(document, id=f"other-{document.id}")


def _renamed_question(question: Question) -> Question:
    passages, documents = (tuple(f"other-{id}" for id in ids) for ids in (question.passages, question.documents))
    return dataclasses.replace(question, passages=passages, documents=documents)


@dataclass(frozen=True)
class StatuteExam:
    """The exam on the statute book, whatever of it the corpus holds.

    choices: 0 asks freely. Otherwise recall and reworded questions have so many choices, under the same ids: the right
    value and others of its kind from the same book, drawn and shuffled by the book's seed; other parts are left out.
    """

    book: StatuteBook
    choices: int = 0

    def __post_init__(self) -> None:
        if self.choices != 0 and not 2 <= self.choices <= len(LETTERS):
            raise LabError(f"exam.choices={self.choices}: 0, or 2 to {len(LETTERS)}, is needed")

    def load(self) -> list[Question]:
        """At least 600 questions for a book of 120 sections, in proportion for others; with choices those of two parts.

        LabError where the book has too few values of a kind for so many choices.
        """
        return self.book.choice_exam(self.choices) if self.choices else self.book.exam()


@dataclass(frozen=True)
class GeneralWorldSuite:
    """What the base knew before: questions a route is asked besides the exam, and held-out general text."""

    world: GeneralWorld
    closed_book: int = 150
    reading: int = 200
    paragraphs: int = 100

    def load(self) -> GeneralSuite:
        """Closed-book facts, reading of unseen passages, and paragraphs for bits per byte."""
        return GeneralSuite(
            tuple(self.world.exam(self.closed_book, self.reading)),
            tuple(self.world.held_out_text(self.paragraphs)),
        )


@dataclass(frozen=True)
class WorldReplay:
    """General text from the base's own source: the mixture that the foundry ended with.

    Its questions are in the practice wording alone: the general suite's questions are never rehearsed.
    """

    world: GeneralWorld

    @property
    def digest(self) -> str:
        """SHA-256 over the world's settings and the code that makes texts of them."""
        return digest([dataclasses.asdict(self.world), digest_code(__name__)])

    def texts(self, seed: int) -> Iterator[TrainingText]:
        """Texts without end."""
        random = seeded("replay", seed)
        while True:
            yield lesson(self.world, random, len(LEVELS) - 1, styles=("practice",))
