"""The general world: what the base model knows before it meets any private document.

People, towns and companies with facts, told in many wordings and asked without a book. All of it follows from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random

from lab.records import Question
from lab.worlds import names
from lab.worlds.names import GENERAL_ATTRIBUTES, KINDS, seeded
from lab.worlds.reading import UNKNOWN, Level, exercise
from lab.worlds.wording import STATEMENTS, STYLES, Fact, question, state

CLASSES = ("person", "town", "company")


@dataclass(frozen=True)
class GeneralWorld:
    """subjects: how many. facts_per_subject: one of each kind of value at most, so four is the most."""

    subjects: int = 150
    facts_per_subject: int = 4
    seed: int = 0

    @cached_property
    def facts(self) -> dict[str, tuple[Fact, ...]]:
        """Every fact, by subject. A third of the attribute words belongs to each class of subject."""
        random = seeded("general", self.seed, self.subjects)
        known: dict[str, tuple[Fact, ...]] = {}
        for number, subject in enumerate(names.names(random, "general", self.subjects)):
            own = [a for i, a in enumerate(GENERAL_ATTRIBUTES) if i % len(CLASSES) == number % len(CLASSES)]
            kinds = random.sample(KINDS, self.facts_per_subject)
            known[subject] = tuple(
                Fact(
                    subject,
                    random.choice([a for a in own if a.kind == kind]),
                    names.value(random, kind, "general", "crowns"),
                )
                for kind in kinds
            )
        return known

    @cached_property
    def _subjects(self) -> tuple[str, ...]:
        return tuple(self.facts)

    def paragraph(self, random: Random) -> str:
        """Running text on one subject: its facts in any order, each in any wording."""
        number = random.randrange(len(self._subjects))
        subject = self._subjects[number]
        told = [state(fact, random.randrange(len(STATEMENTS))) for fact in self.facts[subject]]
        random.shuffle(told)
        return f"Here is the {CLASSES[number % len(CLASSES)]} {subject}. " + " ".join(told)

    def ask(self, random: Random, styles: tuple[str, ...] = STYLES) -> tuple[str, str]:
        """A question without a book and its answer. styles: the sets of question wordings to ask in."""
        fact = random.choice(self.facts[random.choice(self._subjects)])
        style = random.choice(styles)
        form = random.choices(("recall", "kind", "reverse"), (5, 2, 1))[0]
        if form == "reverse":
            return question(form, fact, random, style), fact.subject
        return question(fact.attribute.kind if form == "kind" else form, fact, random, style), fact.value

    def held_out_text(self, paragraphs: int = 100) -> list[str]:
        """Paragraphs on known facts in orders and wordings of their own, for bits per byte."""
        random = seeded("general held out", self.seed)
        return [self.paragraph(random) for _ in range(paragraphs)]

    def exam(self, closed_book: int = 150, reading: int = 200) -> list[Question]:
        """The general suite: `closed_book` questions on known facts; `reading` ones on passages never seen by anybody.

        Reading splits into `reading` (the gold passage alone), `distractors` (with two other passages) and
        `absent` (three passages that do not say). Names and attribute words are of the `probe` world.
        """
        random = seeded("general exam", self.seed)
        facts = [fact for known in self.facts.values() for fact in known]
        asked = [
            Question(
                id=f"general-{number:04}",
                question=question("recall", fact, random, "exam"),
                answers=(fact.value,),
                part="closed_book",
                documents=(fact.subject,),
            )
            for number, fact in enumerate(random.sample(facts, min(closed_book, len(facts))), 1)
        ]
        return asked + reading_exam(random, reading)


def reading_exam(random: Random, count: int, forms: tuple[str, ...] = ("recall", "kind")) -> list[Question]:
    """`count` questions, each with the passages it is to be read from: half `reading`, a quarter each of the others."""
    questions: list[Question] = []
    level = Level(subjects=(3, 3), facts=(3, 4), asks={"recall": 3, "kind": 1, "absent": 2}, questions=8)
    parts = ["reading", "reading", "distractors", "absent"]
    while len(questions) < count:
        made = exercise(random, level, "probe", styles=("exam",))
        part = parts[len(questions) % 4]
        fitting = [a for a in made.asked if (a.answer == UNKNOWN if part == "absent" else a.form in forms)]
        if not fitting:
            continue
        asked = fitting[0]
        lines = [made.passages[asked.subject]] if part == "reading" else list(made.passages.values())
        number = len(questions) + 1
        questions.append(
            Question(
                id=f"{part}-{number:04}",
                question=asked.text,
                answers=(asked.answer,),
                part=part,
                documents=(f"exercise-{number:04}",),
                given=tuple(lines),
            )
        )
    return questions
