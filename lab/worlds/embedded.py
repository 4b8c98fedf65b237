"""The embedded worlds as a corpus, an exam and a general suite: what a run uses where the user brings none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.corpus.corpus import Corpus
from lab.corpus.passages import split
from lab.exam.suite import GeneralSuite
from lab.records import Question, TrainingText
from lab.worlds.general import GeneralWorld
from lab.worlds.lessons import LEVELS, lesson
from lab.worlds.names import seeded
from lab.worlds.statutes import StatuteBook


@dataclass(frozen=True)
class StatuteCorpus:
    """The private statute book. reworded_copies: further tellings of each act, for routes that train on them."""

    book: StatuteBook
    reworded_copies: int = 0

    def load(self) -> Corpus:
        """Its acts, a passage a section, with practice questions and reworded copies apart."""
        documents = tuple(self.book.documents())
        return Corpus(
            name="statutes",
            documents=documents,
            passages=tuple(passage for document in documents for passage in split(document)),
            practice=tuple(self.book.practice()),
            reworded=tuple(self.book.reworded(self.reworded_copies)),
            facts=sum(len(section.facts) for section in self.book.book),
        )


@dataclass(frozen=True)
class StatuteExam:
    """The exam on the statute book."""

    book: StatuteBook

    def load(self) -> list[Question]:
        """At least 600 questions for a book of 120 sections, in proportion for others."""
        return self.book.exam()


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

    def texts(self, seed: int) -> Iterator[TrainingText]:
        """Texts without end."""
        random = seeded("replay", seed)
        while True:
            yield lesson(self.world, random, len(LEVELS) - 1, styles=("practice",))
