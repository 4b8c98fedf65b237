"""A statute book that changes: what one update makes of its sections.

An update repeals whole acts, gives facts of the sections that are left new values, and adds acts of new names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Protocol

from lab.records import LabError
from lab.worlds import names
from lab.worlds.names import Attribute
from lab.worlds.wording import Fact, Section

AMENDED_FACTS = 2  # of an amended section, that get a new value; the others stay, in a document that changes
TRIES = 10_000


@dataclass(frozen=True)
class Update:
    """amended: the share of sections in which facts change. repealed, added: how many acts go and come."""

    amended: float = 0.1
    repealed: int = 4
    added: int = 4

    def __post_init__(self) -> None:
        if not isinstance(self.amended, int | float) or not 0 <= self.amended <= 1:
            raise LabError(f"update.amended={self.amended}: a share from 0 to 1 is needed")
        for name in ("repealed", "added"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise LabError(f"update.{name}={value}: a whole number of at least 0 is needed")


@dataclass(frozen=True)
class Edition:
    """A book as it stands. titles: the names of its acts by number, those of repealed ones too: no name comes again."""

    sections: tuple[Section, ...]
    titles: Mapping[int, str]

    @property
    def acts(self) -> list[int]:
        """The numbers of the acts that stand."""
        return sorted({section.act for section in self.sections})

    @property
    def by_act(self) -> dict[int, list[Section]]:
        """Its sections by the number of their act."""
        return {act: [section for section in self.sections if section.act == act] for act in self.acts}

    @cached_property
    def values(self) -> dict[tuple[str, str], str]:
        """What is told, by subject and attribute word."""
        return {(fact.subject, fact.attribute.word): fact.value for one in self.sections for fact in one.facts}


class Draw(Protocol):
    """Where facts come from: the book itself, which draws later ones as it drew its first.

    others: subjects that a fact may name. reserved: names that no value of its own may bear. taken: (attribute, value)
    of other facts; those of a section drawn are added.
    """

    def value(self, random: Random, kind: str, others: list[str], reserved: set[str]) -> str: ...

    def section(
        self,
        random: Random,
        act: int,
        number: int,
        subject: str,
        others: list[str],
        taken: set[tuple[Attribute, str]],
        reserved: set[str],
    ) -> Section: ...


def revise(editions: Sequence[Edition], update: Update, size: int, random: Random, draw: Draw) -> Edition:
    """The edition after the given ones, the first of which is the book as it was made.

    size: sections of a new act. A fact never gets a value that it had before, and no two facts of an edition share
    attribute and value. LabError where no value is left.
    """
    before = editions[-1]
    gone = set(random.sample(before.acts, update.repealed))
    sections = [section for section in before.sections if section.act not in gone]
    used = _used_names(editions)
    taken: set[tuple[Attribute, str]] = {(fact.attribute, fact.value) for one in sections for fact in one.facts}
    for place in sorted(random.sample(range(len(sections)), round(update.amended * len(sections)))):
        section = sections[place]
        others = [other.subject for other in sections if other.act != section.act]
        chosen = random.sample(section.facts, min(AMENDED_FACTS, len(section.facts)))
        renewed = {}
        for fact in chosen:
            had = {edition.values.get((fact.subject, fact.attribute.word)) for edition in editions}
            for _ in range(TRIES):
                value = draw.value(random, fact.attribute.kind, others, used)
                if value not in had and (fact.attribute, value) not in taken:
                    break
            else:
                raise LabError(f"update: no value is left for the {fact.attribute.word} of {fact.subject}; update less")
            taken.add((fact.attribute, value))
            renewed[fact] = Fact(fact.subject, fact.attribute, value)
        sections[place] = replace(section, facts=tuple(renewed.get(fact, fact) for fact in section.facts))
    titles = dict(before.titles)
    for act in range(max(titles) + 1, max(titles) + 1 + update.added):
        own = {fact.value.split()[0] for section in sections for fact in section.facts}
        titles[act], *subjects = new = _new_names(random, size + 1, used | own)
        used.update(new)
        others = [section.subject for section in sections]
        for number, subject in enumerate(subjects, 1):
            sections.append(draw.section(random, act, number, subject, others, taken, used))
    return Edition(tuple(sections), titles)


def _used_names(editions: Sequence[Edition]) -> set[str]:
    """Names of acts and subjects of all editions, those of repealed acts too."""
    subjects = {section.subject for edition in editions for section in edition.sections}
    return subjects | set(editions[-1].titles.values())


def _new_names(random: Random, count: int, used: set[str]) -> list[str]:
    """Different names that nobody bears yet."""
    found: list[str] = []
    while len(found) < count:
        name = names.name(random, "private")
        if name not in used and name not in found:
            found.append(name)
    return found
