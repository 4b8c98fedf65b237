"""What a built base can do before any private document, and the card that says so."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from lab.context.closed import ClosedBook
from lab.judge.grading import grade
from lab.model import LanguageModel
from lab.records import Grade
from lab.student import Student
from lab.worlds.general import GeneralWorld, reading_exam
from lab.worlds.names import seeded
from lab.worlds.statutes import StatuteBook


def floors(model: LanguageModel, subjects: int) -> dict[str, float]:
    """What the base can do before any private document, as shares of right answers.

    Names and attribute words of the reading questions never occurred in training.
    """
    closed_book = GeneralWorld(subjects).exam(reading=0)
    reading = reading_exam(seeded("floors"), 800)
    private = [question for question in StatuteBook().exam() if question.part != "absent"]
    student = Student(model, ClosedBook())
    grades: dict[str, list[Grade]] = defaultdict(list)
    for suite, asked in (("general", closed_book), ("reading", reading), ("private", private)):
        for one, answer in zip(asked, student.answer(student.read(asked)), strict=True):
            grades[suite if suite != "reading" else one.part].append(grade(one, answer))
    scores = {part: sum(g.score for g in given) / len(given) for part, given in grades.items()}
    answerable = grades["reading"] + grades["distractors"]
    return {
        "general_closed_book": scores["general"],
        "reading_gold": scores["reading"],
        "reading_distractors": scores["distractors"],
        "unknown_right": scores["absent"],
        "false_unknown": sum(g.outcome == "unknown" for g in answerable) / len(answerable),
        "private_closed_book": scores["private"],
    }


CARD = """---
license: apache-2.0
library_name: transformers
---
# The embedded base model `{model}`

A causal model of {parameters:,} parameters in Qwen3's layout, trained from scratch on an invented general world by

    {command}

It remembers {subjects:,} subjects and reads passages in that world's grammar, as well as the floors below say. It is
an instrument for the Open-Book Exam Lab and of no use for anything else.

{tokens:,} tokens in {steps:,} steps, {minutes:,} minutes, {tokens_per_second:,} tokens/s on {machine}; torch {torch},
code revision {revision}. Everything else is in `card.json`.

| floor | score |
|---|---|
{floors}
"""


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """`card.json` for programs and `README.md` for people."""
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    environment = card["environment"]
    text = CARD.format(
        **{name: card[name] for name in ("model", "command", "parameters", "tokens", "steps", "tokens_per_second")},
        subjects=card["size"]["subjects"],
        minutes=round(card["seconds"] / 60),
        machine=environment["gpu"] or f"{environment['cpu_count']} CPU cores",
        torch=environment["packages"]["torch"],
        revision=environment["code"]["revision"],
        floors="\n".join(f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in card["floors"].items()),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
