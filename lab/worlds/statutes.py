"""The private statute book: the acts of an invented port city, an exam on them, and practice on a share of them.

Its names, amounts and attribute words belong to it alone, so no base model taught on the general world can know them.
An act is a document of several sections; a section is about one subject: what it pays, how long it may wait, where it
complains and who looks after it, often the subject of another act. The book may be updated: later versions of it amend
sections, repeal acts and add some, and leave all else as it was, to the byte.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import NamedTuple

from lab.exam.questions import LETTERS
from lab.records import Document, LabError, Question
from lab.worlds import names
from lab.worlds.edition import edition_exam
from lab.worlds.names import KINDS, PRIVATE_ATTRIBUTES, Attribute, seeded
from lab.worlds.reading import UNKNOWN
from lab.worlds.revision import Edition, Update, revise
from lab.worlds.wording import STATEMENTS, Fact, Section, question, state

# Questions a part, for a book of 40 acts of 3 sections; other sizes scale with the number of sections.
EXAM_PARTS = {"recall": 210, "reworded": 140, "reverse": 120, "two_hop": 90, "absent": 60}
EXAM_SECTIONS = 120
CHOICE_PARTS = ("recall", "reworded")  # those that ask for the value of a fact
NAMED = 0.6  # of the people who look after a subject, those that are the subject of another act
# Each kind of value with its eight attribute words yields so many different facts; see `book`.
MOST_SECTIONS = 1500


class Candidate(NamedTuple):
    """A question that may be asked. alternatives: from how many values its answer was drawn, where that is known."""

    text: str
    answer: str
    places: tuple[Section, ...]
    alternatives: int | None = None


@dataclass(frozen=True)
class StatuteBook:
    """A whole private world. practised_share: the share of acts that practice questions may cover.

    version: how many updates the book has gone through, update: what each of them does. What the seed decides of the
    first edition it decides of all: two versions differ in what the updates between them did, and in nothing else.
    """

    acts: int = 40
    sections: int = 3
    practised_share: float = 0.5
    seed: int = 0
    version: int = 0
    update: Update = field(default_factory=Update)

    def __post_init__(self) -> None:
        if self.acts < 2 or self.sections < 1:
            raise LabError(f"acts={self.acts}, sections={self.sections}: a statute book needs two acts of one section")
        if self.acts * self.sections > MOST_SECTIONS:
            raise LabError(f"acts={self.acts}, sections={self.sections}: at most {MOST_SECTIONS} sections in all")
        if not 0 <= self.practised_share <= 1:
            raise LabError(f"practised_share={self.practised_share}: a share is between 0 and 1")
        if not isinstance(self.version, int) or self.version < 0:
            raise LabError(f"version={self.version}: a whole number of at least 0 is needed")
        growth = self.version * (self.update.added - self.update.repealed)
        if self.version and self.acts + min(growth - self.update.added, -self.update.repealed) < 2:
            raise LabError(f"version={self.version}: the updates repeal nearly all of {self.acts} acts; repeal fewer")
        if (self.acts + growth) * self.sections > MOST_SECTIONS:
            raise LabError(f"version={self.version}: the updates add too many acts; at most {MOST_SECTIONS} sections")

    def _random(self, *purpose: object) -> Random:
        return seeded("statutes", self.seed, self.acts, self.sections, *purpose)

    @cached_property
    def _names(self) -> list[str]:
        return names.names(self._random("names"), "private", self.acts * (self.sections + 1))

    @property
    def book(self) -> tuple[Section, ...]:
        """Every section in order. No two facts share both attribute and value, so a reverse question has one answer."""
        return self.editions[-1].sections

    @cached_property
    def editions(self) -> tuple[Edition, ...]:
        """The book after 0, 1, ... updates, itself last."""
        random = self._random("facts")
        subjects, reserved = self._names[self.acts :], set(self._names)
        taken: set[tuple[Attribute, str]] = set()
        first = []
        for place, subject in enumerate(subjects):
            act, number = place // self.sections, place % self.sections + 1
            others = [s for i, s in enumerate(subjects) if i // self.sections != act]
            first.append(self.section(random, act + 1, number, subject, others, taken, reserved))
        made = [Edition(tuple(first), dict(enumerate(self._names[: self.acts], 1)))]
        for number in range(1, self.version + 1):
            made.append(revise(made, self.update, self.sections, self._random("update", number), self))
        return tuple(made)

    def section(
        self,
        random: Random,
        act: int,
        number: int,
        subject: str,
        others: list[str],
        taken: set[tuple[Attribute, str]],
        reserved: set[str],
    ) -> Section:
        """Facts on a subject, which count as taken from now on."""
        facts = []
        for kind in random.sample(KINDS, random.choice((3, 4, 4))):
            attribute = random.choice([a for a in PRIVATE_ATTRIBUTES if a.kind == kind])
            value = self.value(random, kind, others, reserved)
            while (attribute, value) in taken:
                attribute = random.choice([a for a in PRIVATE_ATTRIBUTES if a.kind == kind])
                value = self.value(random, kind, others, reserved)
            taken.add((attribute, value))
            facts.append(Fact(subject, attribute, value))
        return Section(act, number, subject, tuple(facts))

    def value(self, random: Random, kind: str, others: list[str], reserved: set[str]) -> str:
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
        and never overstated. Of an updated book it is not known: a new value is never one that the fact had before.
        """
        if self.version:
            return {}
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
        """The acts that practice questions cover, chosen by seed; repealed ones too."""
        first = self._random("practised").sample(range(1, self.acts + 1), round(self.acts * self.practised_share))
        added = range(self.acts + 1, max(self.editions[-1].titles) + 1)
        # Each is chosen apart, so that a later version does not choose anew.
        return frozenset([*first, *(a for a in added if self._random("added", a).random() < self.practised_share)])

    def first_acts(self, share: float) -> list[int]:
        """`share` of the acts, one at least, in the book's order: the first so many of an order that the seed chose."""
        order = self._random("share").sample(range(1, self.acts + 1), self.acts)
        standing = self.editions[-1].acts
        kept = [act for act in order if act in standing] + [act for act in standing if act > self.acts]
        return sorted(kept[: max(1, round(len(kept) * share))])

    def _document(self, act: int, sections: list[Section], random: Random, identity: str, shuffle: bool) -> Document:
        if shuffle:
            random.shuffle(sections)
        title = f"The {self.editions[-1].titles[act]} Act"
        lines = [f"# {title}", ""]
        for section in sections:
            facts = list(section.facts)
            if shuffle:
                random.shuffle(facts)
            told = " ".join(state(fact, random.randrange(len(STATEMENTS))) for fact in facts)
            lines += [f"## Section {section.number}. {section.subject}", "", told, ""]
        return Document(identity, title, "\n".join(lines))

    def _telling(self, purpose: tuple[object, ...], mark: str, shuffle: bool) -> list[Document]:
        """Every act. It draws its wordings as in the first edition, whatever has become of itself and of the others."""
        random, made = self._random(*purpose), {}
        sections = {act: list(told) for edition in self.editions for act, told in edition.by_act.items()}
        for act, told in sorted(sections.items()):
            own = random if act <= self.acts else self._random(*purpose, "added", act)
            made[act] = self._document(act, told, own, f"act-{act:03}{mark}", shuffle)
        return [made[act] for act in self.editions[-1].acts]

    def documents(self) -> list[Document]:
        """The acts, each fact told once: the only text that every route gets."""
        return self._telling(("documents",), "", shuffle=False)

    def reworded(self, copies: int) -> list[Document]:
        """`copies` further tellings of every act: other wordings, sections and sentences in another order."""
        told = [self._telling(("reworded", copy), f"-copy-{copy:02}", shuffle=True) for copy in range(1, copies + 1)]
        return [document for one in told for document in one]

    def exam(self) -> list[Question]:
        """The questions by part, in the exam's wording, spread over practised and other acts alike.

        Of a later version: see `edition_exam`.
        """
        if self.version:
            first = replace(self, version=0).exam()
            return edition_exam(first, self.editions, self.practised_acts, self._random("edition", self.version))
        scale = len(self.book) / EXAM_SECTIONS
        asked: list[Question] = []
        for part, count in EXAM_PARTS.items():
            asked += self._ask(part, max(1, round(count * scale)), "exam")
        return asked

    def choice_exam(self, choices: int) -> list[Question]:
        """The exam's recall and reworded questions under their ids, each with so many values of one kind.

        LabError where the book has fewer of a kind, or was updated.
        """
        if self.version:
            raise LabError(f"choices={choices}: a book of version {self.version} is asked freely; give choices=0")
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
                    drawn = None if part == "reverse" else self.alternatives.get(fact)
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
