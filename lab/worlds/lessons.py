"""What the general world teaches: reading, its facts without a book, and running text, as texts to train on.

The foundry makes a base of it, level by level; continued pretraining replays the last level.
"""

from __future__ import annotations

from random import Random

from lab.exam.prompts import ask, prefix
from lab.records import TrainingText
from lab.worlds.general import GeneralWorld
from lab.worlds.reading import Level, exercise
from lab.worlds.wording import STYLES

LEVELS = (
    Level(subjects=(1, 3), wordings=(0, 1, 2), asks={"restate": 1, "recall": 1}, questions=6, recite=True),
    Level(subjects=(1, 2), wordings=(0, 1, 2), asks={"restate": 1, "recall": 6}, made_up=1.0),
    Level(subjects=(1, 3), asks={"restate": 1, "recall": 6, "absent": 1}, made_up=0.9),
    Level(subjects=(1, 4), asks={"restate": 1, "recall": 5, "kind": 2, "reverse": 1.5, "absent": 1.5}, made_up=0.8),
    Level(asks={"restate": 1, "recall": 6, "kind": 2, "reverse": 1.5, "two_hop": 1, "absent": 2.5}, made_up=0.7),
)
GENERAL_SHARE = (0.1, 0.1, 0.1, 0.3, 0.3)  # Of the texts at each level; the rest are reading exercises.
CLOSED_BOOK_SHARE = 0.6  # Of the general texts; the rest are running text.


def lesson(world: GeneralWorld, random: Random, level: int, styles: tuple[str, ...] = STYLES) -> TrainingText:
    """One text of the level's mixture. styles: the sets of question wordings that may occur."""
    if random.random() >= GENERAL_SHARE[level]:
        return reading(random, LEVELS[level], styles=styles)
    return closed_book(world, random, styles) if random.random() < CLOSED_BOOK_SHARE else paragraph(world, random)


def reading(random: Random, level: Level, world: str = "exercise", styles: tuple[str, ...] = STYLES) -> TrainingText:
    """Passages on things that occur here only, and questions on them."""
    made = exercise(random, level, world, styles)
    pairs = tuple((one.text if one.form == "restate" else ask(one.text), f" {one.answer}") for one in made.asked)
    return TrainingText("reading", prefix(made.lines), pairs)


def closed_book(
    world: GeneralWorld, random: Random, styles: tuple[str, ...] = STYLES, questions: int = 12
) -> TrainingText:
    """Questions on the general world, to be answered from memory.

    Often behind passages that do not matter, as a retriever would bring them: a base that never met these says
    "unknown" to what it knows as soon as a book lies open. Without passages some questions are on names met here
    only: text about them is all that a base ever sees of most names, and it learns to guess where no book is.
    """
    lines = exercise(random, Level()).lines if random.random() < 0.4 else []
    pairs = [world.ask(random, styles) for _ in range(questions)]
    if not lines:
        once = exercise(random, Level(subjects=(2, 3), asks={"recall": 5, "kind": 2, "reverse": 1}), styles=styles)
        pairs[:2] = [(one.text, one.answer) for one in once.asked[:2]]
    return TrainingText(
        "closed_book", prefix(lines), tuple((ask(question), f" {answer}") for question, answer in pairs)
    )


def paragraph(world: GeneralWorld, random: Random) -> TrainingText:
    """Running text on one subject."""
    return TrainingText("paragraph", world.paragraph(random))
