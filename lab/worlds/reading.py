"""Reading exercises: passages on made-up things that occur once and never again, with questions on them.

The only way to answer is to read, so they teach (and measure) reading apart from remembering. An exercise is a prefix
(instruction and passages) with many questions on it, each answered as if it stood alone after the prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from lab.exam.prompts import passage_line
from lab.worlds import names
from lab.worlds.names import KINDS, Attribute
from lab.worlds.wording import STATEMENTS, STYLES, Fact, question, state

UNKNOWN = "unknown"
CURRENCIES = ("crowns", "marks", "pounds", "shillings")


@dataclass(frozen=True)
class Level:
    """How hard an exercise is.

    subjects: fewest and most passages (one subject each). wordings: which of the statements occur. asks: relative
    frequency of each form of question; `restate` repeats a statement's own words up to the value. recite: whole
    passages are to be copied too, the densest signal there is for learning to copy at all. made_up: share of the
    attribute words that are made up. A word that training knows gives away the kind of its value, and so mostly the
    value; only a made-up one has to be found in the passage.
    """

    subjects: tuple[int, int] = (1, 4)
    facts: tuple[int, int] = (3, 4)
    wordings: tuple[int, ...] = tuple(range(len(STATEMENTS)))
    asks: dict[str, float] = field(
        default_factory=lambda: {"recall": 4, "kind": 2.5, "reverse": 2, "two_hop": 1, "absent": 2}
    )
    questions: int = 12
    recite: bool = False
    made_up: float = 0.5


@dataclass(frozen=True)
class Asked:
    """One question of an exercise. form: `restate`, `recall`, `kind`, `reverse`, `two_hop` or `absent`."""

    form: str
    text: str
    answer: str
    subject: str


@dataclass(frozen=True)
class Exercise:
    """passages: texts, title first, by subject, in prompt order."""

    passages: dict[str, str]
    asked: tuple[Asked, ...]

    @property
    def lines(self) -> list[str]:
        """The passages as a prompt shows them."""
        return [passage_line("", text) for text in self.passages.values()]


def exercise(random: Random, level: Level, world: str = "exercise", styles: tuple[str, ...] = STYLES) -> Exercise:
    """Make one. `world` owns its names and made-up words: `exercise` in training, `probe` for what it never saw.

    styles: the sets of question wordings to ask in.
    """
    while not (made := _exercise(random, level, world, styles)).asked:
        pass  # Its facts left no question of the forms wanted, such as no bridge for two hops.
    return made


def _exercise(random: Random, level: Level, world: str, styles: tuple[str, ...]) -> Exercise:
    subjects = names.names(random, world, random.randint(*level.subjects) + 2)
    absent_subject, title = subjects.pop(), subjects.pop()
    # Passages share their attributes, so that finding the word alone, or the subject alone, is not enough.
    shared = {
        kind: [_attribute(random, kind, world, level.made_up) for _ in range(random.choice((1, 2)))] for kind in KINDS
    }
    currency = random.choice(CURRENCIES) if random.random() < 0.8 else names.made_up_word(random, world) + "s"
    facts: dict[str, list[Fact]] = {}
    for subject in subjects:
        kinds = random.sample(KINDS, random.randint(*level.facts))
        others = [other for other in subjects if other != subject]
        facts[subject] = []
        for kind in kinds:
            value = names.value(random, kind, world if kind in ("place", "who") else None, currency)
            # Some answers are themselves subjects of another passage: the bridge of a two-hop question.
            if kind == "who" and others and random.random() < 0.6:
                value = random.choice(others)
            facts[subject].append(Fact(subject, random.choice(shared[kind]), value))
    passages = {}
    for number, subject in enumerate(subjects, 1):
        sentences = [state(fact, random.choice(level.wordings)) for fact in facts[subject]]
        passages[subject] = f"The {title} Act > Section {number}. {subject}: {' '.join(sentences)}"
    forms, weights = zip(*level.asks.items(), strict=True)
    asked = []
    for form in random.choices(forms, weights, k=level.questions):
        one = _ask(random, form, facts, shared, absent_subject, level, styles)
        if one:
            asked.append(one)
    return Exercise(passages, tuple(asked))


def _attribute(random: Random, kind: str, world: str, made_up: float) -> Attribute:
    if world == "probe" or random.random() < made_up:
        return Attribute(names.made_up_word(random, world), kind)
    return random.choice([known for known in names.GENERAL_ATTRIBUTES if known.kind == kind])


def _ask(
    random: Random,
    form: str,
    facts: dict[str, list[Fact]],
    shared: dict[str, list[Attribute]],
    absent_subject: str,
    level: Level,
    styles: tuple[str, ...],
) -> Asked | None:
    fact = random.choice([fact for known in facts.values() for fact in known])
    style = random.choice(styles)
    if form == "restate":
        # Up to the value all must be said already.
        complete = [wording for wording in level.wordings if STATEMENTS[wording].endswith("{v}.")]
        told = state(fact, random.choice(complete))
        return Asked(form, told[: told.index(f" {fact.value}")], fact.value, fact.subject)
    if form == "recall":
        return Asked(form, question(form, fact, random, style), fact.value, fact.subject)
    if form == "kind":
        return Asked(form, question(fact.attribute.kind, fact, random, style), fact.value, fact.subject)
    if form == "reverse":
        same = [f for known in facts.values() for f in known if (f.attribute, f.value) == (fact.attribute, fact.value)]
        return None if len(same) > 1 else Asked(form, question(form, fact, random, style), fact.subject, fact.subject)
    if form == "two_hop":
        bridges = [fact for known in facts.values() for fact in known if fact.value in facts]
        if not bridges:
            return None
        bridge = random.choice(bridges)
        end = random.choice(facts[bridge.value])
        return Asked(form, question(form, bridge, random, style, end.attribute), end.value, bridge.subject)
    subject = random.choice([absent_subject, *facts])
    told_of = {fact.attribute for fact in facts.get(subject, ())}
    untold = [known for many in shared.values() for known in many if known not in told_of]
    if not untold:
        return None
    missing = Fact(subject, random.choice(untold), "")
    kinds_told = {attribute.kind for attribute in told_of}
    by_kind = missing.attribute.kind not in kinds_told and random.random() < 0.3
    return Asked(
        form, question(missing.attribute.kind if by_kind else "recall", missing, random, style), UNKNOWN, subject
    )
