"""The exam on a later edition of the statute book: what stayed, what changed, what is new, and what is gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from random import Random

from lab.records import Question
from lab.worlds.names import Attribute
from lab.worlds.reading import UNKNOWN
from lab.worlds.revision import Edition
from lab.worlds.wording import Fact, Section, question

ASKED_ALIKE = ("recall", "reworded")  # how every fact that did not stay is asked
MOST_FACTS = 75  # of each status, chosen by the book's seed: more make an exam longer, not better


def edition_exam(
    first: Sequence[Question], editions: Sequence[Edition], practised: Container[int], random: Random
) -> list[Question]:
    """The exam on the last edition, measured against the first.

    first: the exam on the first edition; its questions whose answer still stands are `unchanged` and keep their ids.
    Of the facts that did not stay each is asked for in two wordings: one that stands in both editions with two values
    is `changed`, one that only the last has is `new`, one that only the first has is `deleted`, and "unknown" is right.
    `stale` are all values that it had in earlier editions. practised: acts that practice may cover.
    """
    answers = answers_in(editions[-1].sections)
    stand = [one for one in first if _stands(one, editions[-1], answers)]
    asked = [replace(one, status="unchanged", alternatives=None) for one in stand]
    earlier, now = editions[0].values, editions[-1].values
    homes = {section.subject: section for edition in editions for section in edition.sections}
    facts = {(fact.subject, fact.attribute.word): fact for one in homes.values() for fact in one.facts}
    found: dict[str, list[Fact]] = {"changed": [], "new": [], "deleted": []}
    for key in dict.fromkeys([*now, *earlier]):
        if earlier.get(key) != now.get(key):
            found["deleted" if key not in now else "new" if key not in earlier else "changed"].append(facts[key])
    for status, those in found.items():
        chosen = those if len(those) <= MOST_FACTS else random.sample(those, MOST_FACTS)
        for part in ASKED_ALIKE:
            for number, fact in enumerate(chosen, 1):
                home = homes[fact.subject]
                asked.append(_asked(f"{status}-{part}-{number:04}", part, status, fact, home, editions, practised))
    return asked


def _asked(
    id: str,
    part: str,
    status: str,
    fact: Fact,
    home: Section,
    editions: Sequence[Edition],
    practised: Container[int],
) -> Question:
    key = (fact.subject, fact.attribute.word)
    now = editions[-1].values.get(key)
    had = dict.fromkeys(edition.values[key] for edition in editions if key in edition.values)
    form = fact.attribute.kind if part == "reworded" else part
    return Question(
        id=id,
        question=_wording(form, fact),
        answers=(now or UNKNOWN,),
        part=part,
        passages=() if now is None else (home.passage,),
        documents=(home.document,),
        practised=home.act in practised,
        status=status,
        stale=tuple(value for value in had if value != now),
    )


def _stands(one: Question, now: Edition, answers: Mapping[str, set[str]]) -> bool:
    """Whether the sections that a question on the first edition is about stand, and its answer is still the one."""
    standing = {section.passage for section in now.sections}
    return standing.issuperset(one.passages) and answers.get(one.question, {UNKNOWN}) == set(one.answers)


def answers_in(sections: Sequence[Section]) -> dict[str, set[str]]:
    """What every question that these sections answer is answered with, in the exam's wording."""
    home = {section.subject: section for section in sections}
    found: dict[str, set[str]] = defaultdict(set)
    for fact in (fact for section in sections for fact in section.facts):
        for form in ("recall", fact.attribute.kind):
            found[_wording(form, fact)].add(fact.value)
        found[_wording("reverse", fact)].add(fact.subject)
        for end in home[fact.value].facts if fact.value in home else ():
            found[_wording("two_hop", fact, end.attribute)].add(end.value)
    return found


def _wording(form: str, fact: Fact, second: Attribute | None = None) -> str:
    return question(form, fact, Random(0), "exam", second)  # The exam has one wording of each form.
