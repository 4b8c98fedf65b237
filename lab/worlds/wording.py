"""How facts are stated and asked: the grammar that the worlds share. Words are in `names`, facts in the worlds."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lab.worlds.names import Attribute


@dataclass(frozen=True)
class Fact:
    """`subject`'s `attribute` is `value`."""

    subject: str
    attribute: Attribute
    value: str


@dataclass(frozen=True)
class Section:
    """What an act tells of a subject. act, number: its place, both from 1. passage: the id of what it becomes."""

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


# No statement begins with a name: a name after a line break would be spelt without its leading space.
# In all of them the value follows its attribute: a causal reader of a million parameters does not learn to mark a value
# by a word that is still to come (LOG.md). In one the subject comes last.
STATEMENTS = (
    "The {a} of {s} is {v}.",
    "For {s}, the {a} is {v}.",
    "As for the {a} of {s}, it is {v}.",
    "At {s}, the {a} one finds is {v}.",
    "By rule, the {a} that {s} has is {v}.",
    "The {a} is {v} for {s}.",
    "What {s} has as {a} is {v}.",
    "In {s} the {a} must be {v}.",
)


# Questions by part. Two sets that never meet: the exam's, and those that practice is written with.
EXAM: dict[str, tuple[str, ...]] = {
    "recall": ("What is the {a} of {s}?",),
    "reverse": ("Which one has {v} as its {a}?",),
    "two_hop": ("What is the {b} of the {a} of {s}?",),
    "money": ("How much money must {s} hand over?",),
    "time": ("How long may {s} wait?",),
    "place": ("Where can {s} complain?",),
    "who": ("Who looks after {s}?",),
}
PRACTICE: dict[str, tuple[str, ...]] = {
    "recall": ("State the {a} of {s}.", "Tell me the {a} for {s}."),
    "reverse": ("Name the one whose {a} is {v}.",),
    "two_hop": ("State the {b} of the {a} of {s}.",),
    "money": ("What sum falls on {s}?", "What does {s} owe?"),
    "time": ("When is {s} too late?", "What delay may {s} take?"),
    "place": ("To which house may {s} turn?", "Which seat hears {s}?"),
    "who": ("Which person answers for {s}?", "Name the keeper over {s}."),
}
QUESTION_SETS = {"exam": EXAM, "practice": PRACTICE}
STYLES = tuple(QUESTION_SETS)


def state(fact: Fact, wording: int) -> str:
    """One sentence that tells `fact`."""
    return STATEMENTS[wording].format(a=fact.attribute.word, s=fact.subject, v=fact.value)


def question(form: str, fact: Fact, random: Random, style: str, second: Attribute | None = None) -> str:
    """A question on `fact`. form: a part of the exam, or a kind of value to ask in words that no statement uses."""
    template = random.choice(QUESTION_SETS[style][form])
    return template.format(a=fact.attribute.word, s=fact.subject, v=fact.value, b=second.word if second else "")
