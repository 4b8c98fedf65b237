"""The private statute book: the acts of an invented port city, an exam on them, and practice on a share of them.

Its names, amounts and attribute words belong to it alone, so no base model taught on the general world can know them.
An act is a document of several sections; a section is about one subject: what it pays, how long it may wait, where it
complains and who looks after it, often the subject of another act.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import NamedTuple

from lab.exam.questions import LETTERS
from lab.records import Document, LabError, Question
from lab.worlds import names
from lab.worlds.names import KINDS, PRIVATE_ATTRIBUTES, Attribute, seeded
from lab.worlds.reading import UNKNOWN
from lab.worlds.wording import STATEMENTS, Fact, question, state

# Questions a part, for a book of 40 acts of 3 sections; other sizes scale with the number of sections.
EXAM_PARTS = {"recall": 210, "reworded": 140, "reverse": 120, "two_hop": 90, "absent": 60}
EXAM_SECTIONS = 120
CHOICE_PARTS = ("recall", "reworded")  # those that ask for the value of a fact
NAMED = 0.6  # of the people who look after a subject, those that are the subject of another act
# Each kind of value with its eight attribute words yields so many different facts; see `book`.
MOST_SECTIONS = 1500


@dataclass(frozen=True)
class Section:
    """act, number: its place, both from 1. passage: the id of the passage that it becomes."""

    act: int
    number: int
    subject: str
    facts: tuple[Fact, ...]

    @property
    def document(self) -> str:
        return f"act-{self.act:03}"

    @property
    def passage(self) -> str:
        return f"{self.document}#{self.number}"


class Candidate(NamedTuple):
    """A question that may be asked. alternatives: from how many values its answer was drawn, where that is known."""

    text: str
    answer: str
    places: tuple[Section, ...]
    alternatives: int | None = None


@dataclass(frozen=True)
class StatuteBook:
    """A whole private world. practised_share: the share of acts that practice questions may cover."""

    acts: int = 40
    sections: int = 3
    practised_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.acts < 2 or self.sections < 1:
            raise LabError(f"acts={self.acts}, sections={self.sections}: a statute book needs two acts of one section")
        if self.acts * self.sections > MOST_SECTIONS:
            raise LabError(f"acts={self.acts}, sections={self.sections}: at most {MOST_SECTIONS} sections in all")
        if not 0 <= self.practised_share <= 1:
            raise LabError(f"practised_share={self.practised_share}: a share is between 0 and 1")

    def _random(self, *purpose: object) -> Random:
        return seeded("statutes", self.seed, self.acts, self.sections, *purpose)

    @cached_property
    def _names(self) -> list[str]:
        return names.names(self._random("names"), "private", self.acts * (self.sections + 1))

    @cached_property
    def book(self) -> tuple[Section, ...]:
        """Every section in order. No two facts share both attribute and value, so a reverse question has one answer."""
        random = self._random("facts")
        subjects = self._names[self.acts :]
        taken: set[tuple[Attribute, str]] = set()
        reserved = set(self._names)
        made = []
        for place, subject in enumerate(subjects):
            act = place // self.sections
            others = [s for i, s in enumerate(subjects) if i // self.sections != act]
            facts = []
            for kind in random.sample(KINDS, random.choice((3, 4, 4))):
                attribute = random.choice([a for a in PRIVATE_ATTRIBUTES if a.kind == kind])
                value = self._value(random, kind, others, reserved)
                while (attribute, value) in taken:
                    attribute = random.choice([a for a in PRIVATE_ATTRIBUTES if a.kind == kind])
                    value = self._value(random, kind, others, reserved)
                taken.add((attribute, value))
                facts.append(Fact(subject, attribute, value))
            made.append(Section(act + 1, place % self.sections + 1, subject, tuple(facts)))
        return tuple(made)

    def _value(self, random: Random, kind: str, others: list[str], reserved: set[str]) -> str:
        if kind == "who" and random.random() < NAMED:
            return random.choice(others)
        while (value := self._own_value(random, kind)).split()[0] in reserved:
            pass  # A place or person of its own must not carry the name of an act or a subject.
        return value

    def _own_value(self, random: Random, kind: str) -> str:
        return names.value(random, kind, "private", "gems", self._longest_days)

    @property
    def _longest_days(self) -> int:
        # Two digits of days are too few for a large book, where every fact is to be told from every other.
        return 99 if self.acts * self.sections <= EXAM_SECTIONS else 999

    @cached_property
    def alternatives(self) -> dict[Fact, int]:
        """From how many equally likely values each fact's was drawn, those of the facts before it left out.

        As no two facts share attribute and value, a fact's value is any but those that earlier facts of its attribute
        have, so the logarithms of these numbers add up to what the whole book holds. Who looks after a subject is the
        subject of another act in 0.6 of all facts, and else a name of the person's own: counted is the number of those
        of its sort. Which sort it is is left out, so what is stored of such a fact is understated by 0.7 to 1.3 bits,
        and never overstated.
        """
        reserved = set(self._names)
        drawn = {kind: names.alternatives(kind, "private", self._longest_days, reserved) for kind in KINDS}
        drawn["another subject"] = (self.acts - 1) * self.sections
        earlier: Counter[Attribute] = Counter()
        found = {}
        for fact in (fact for section in self.book for fact in section.facts):
            sort = "another subject" if fact.value in reserved else fact.attribute.kind
            found[fact] = max(1, int(drawn[sort]) - earlier[fact.attribute])
            earlier[fact.attribute] += 1
        return found

    @cached_property
    def practised_acts(self) -> frozenset[int]:
        """The acts that practice questions cover, chosen by seed."""
        return frozenset(
            self._random("practised").sample(range(1, self.acts + 1), round(self.acts * self.practised_share))
        )

    def first_acts(self, share: float) -> list[int]:
        """`share` of the acts, one at least, in the book's order: the first so many of an order that the seed chose."""
        order = self._random("share").sample(range(1, self.acts + 1), self.acts)
        return sorted(order[: max(1, round(self.acts * share))])

    def _document(self, act: int, random: Random, identity: str, shuffle: bool) -> Document:
        sections = [section for section in self.book if section.act == act]
        if shuffle:
            random.shuffle(sections)
        title = f"The {self._names[act - 1]} Act"
        lines = [f"# {title}", ""]
        for section in sections:
            facts = list(section.facts)
            if shuffle:
                random.shuffle(facts)
            told = " ".join(state(fact, random.randrange(len(STATEMENTS))) for fact in facts)
            lines += [f"## Section {section.number}. {section.subject}", "", told, ""]
        return Document(identity, title, "\n".join(lines))

    def documents(self) -> list[Document]:
        """The acts, each fact told once: the only text that every route gets."""
        random = self._random("documents")
        return [self._document(act, random, f"act-{act:03}", shuffle=False) for act in range(1, self.acts + 1)]

    def reworded(self, copies: int) -> list[Document]:
        """`copies` further tellings of every act: other wordings, sections and sentences in another order."""
        made = []
        for copy in range(1, copies + 1):
            random = self._random("reworded", copy)
            made += [
                self._document(act, random, f"act-{act:03}-copy-{copy:02}", shuffle=True)
                for act in range(1, self.acts + 1)
            ]
        return made

    def exam(self) -> list[Question]:
        """The questions by part, in the exam's wording, spread over practised and other acts alike."""
        scale = len(self.book) / EXAM_SECTIONS
        asked: list[Question] = []
        for part, count in EXAM_PARTS.items():
            asked += self._ask(part, max(1, round(count * scale)), "exam")
        return asked

    def choice_exam(self, choices: int) -> list[Question]:
        """The exam's recall and reworded questions under their ids, each with so many values of one kind.

        LabError where the book has fewer of a kind.
        """
        values: dict[str, list[str]] = {kind: [] for kind in KINDS}
        kind_of = {}
        for fact in self.alternatives:
            values[fact.attribute.kind].append(fact.value)
            kind_of[fact.subject, fact.value] = fact.attribute.kind
        home = {section.passage: section.subject for section in self.book}
        asked = []
        for one in (asked_freely for asked_freely in self.exam() if asked_freely.part in CHOICE_PARTS):
            right = one.answers[0]
            kind = kind_of[home[one.passages[0]], right]
            others = sorted({value for value in values[kind] if value != right})
            if len(others) < choices - 1:
                raise LabError(
                    f"choices={choices}: this book has {len(others) + 1} values of the kind {kind}; give more acts, or "
                    "fewer choices"
                )
            random = self._random("choices", one.id)
            shown = [right, *random.sample(others, choices - 1)]
            random.shuffle(shown)
            letter = LETTERS[shown.index(right)]
            asked.append(replace(one, answers=(letter,), choices=tuple(shown), alternatives=None))
        return asked

    def practice(self, per_act: int = 20) -> list[Question]:
        """About `per_act` questions on each practised act, in the practice wording; every part in the exam's ratio."""
        total = per_act * len(self.practised_acts)
        asked: list[Question] = []
        for part, count in EXAM_PARTS.items():
            asked += self._ask(part, round(total * count / sum(EXAM_PARTS.values())), "practice")
        return asked

    def _ask(self, part: str, count: int, style: str) -> list[Question]:
        random = self._random(style, part)
        sections = [s for s in self.book if style == "exam" or s.act in self.practised_acts]
        home = {section.subject: section for section in sections}
        candidates: list[Candidate] = []
        for section in sections:
            for fact in section.facts:
                if part in ("recall", "reworded", "reverse"):
                    form = fact.attribute.kind if part == "reworded" else part
                    answer = fact.subject if part == "reverse" else fact.value
                    drawn = None if part == "reverse" else self.alternatives[fact]
                    candidates.append(Candidate(question(form, fact, random, style), answer, (section,), drawn))
                elif part == "two_hop" and fact.value in home:
                    end_section = home[fact.value]
                    for end in end_section.facts:
                        text = question(part, fact, random, style, end.attribute)
                        candidates.append(Candidate(text, end.value, (section, end_section)))
            if part == "absent":
                told = {fact.attribute for fact in section.facts}
                for attribute in PRIVATE_ATTRIBUTES:
                    if attribute not in told:
                        missing = Fact(section.subject, attribute, "")
                        candidates.append(Candidate(question("recall", missing, random, style), UNKNOWN, (section,)))
        by_text: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            by_text[candidate.text].append(candidate)
        unique = [same[0] for same in by_text.values() if len({one.answer for one in same}) == 1]
        random.shuffle(unique)
        return [
            Question(
                id=f"{style}-{part}-{number:04}",
                question=one.text,
                answers=(one.answer,),
                part=part,
                passages=tuple(section.passage for section in one.places),
                documents=tuple(section.document for section in one.places),
                practised=all(section.act in self.practised_acts for section in one.places),
                alternatives=one.alternatives,
            )
            for number, one in enumerate(unique[:count], 1)
        ]

    def amended(self, share: float) -> tuple[list[Document], list[tuple[Fact, Fact]]]:
        """A later version: in `share` of the sections one fact has a new value.

        Returns the acts that changed, whole, under their old ids, and (old, new) for each fact that changed.
        """
        random = self._random("amended", share)
        chosen = set(random.sample(range(len(self.book)), round(share * len(self.book))))
        changes: list[tuple[Fact, Fact]] = []
        sections = list(self.book)
        for place in sorted(chosen):
            section = sections[place]
            old = random.choice(section.facts)
            new = old
            while new.value == old.value:
                new = Fact(old.subject, old.attribute, self._own_value(random, old.attribute.kind))
            facts = tuple(new if fact == old else fact for fact in section.facts)
            sections[place] = Section(section.act, section.number, section.subject, facts)
            changes.append((old, new))
        later = StatuteBook(self.acts, self.sections, self.practised_share, self.seed)
        later.__dict__["book"] = tuple(sections)  # Fills the cached property: all else follows from it.
        touched = {sections[place].document for place in chosen}
        return [document for document in later.documents() if document.id in touched], changes
