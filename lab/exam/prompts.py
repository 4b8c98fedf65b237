"""The one prompt of the lab: every route shows the same words, and differs in its passages alone."""

from __future__ import annotations

from collections.abc import Sequence

from lab.exam.questions import LETTERS

INSTRUCTION = "Answer in a few words, or say unknown.\n"
CHOICE_INSTRUCTION = "Answer with the letter of the right choice.\n"


def passage_line(title: str, text: str) -> str:
    """One passage as the prompt shows it; a blank title shows the text alone."""
    return f"- {title}: {text}\n" if title else f"- {text}\n"


def prefix(lines: Sequence[str], choices: Sequence[str] = ()) -> str:
    """All that comes before the question: the instruction, then the passages, best first."""
    return (CHOICE_INSTRUCTION if choices else INSTRUCTION) + "".join(lines)


def ask(question: str, choices: Sequence[str] = ()) -> str:
    """The question, its choices with their letters, and the place of its answer.

    No space after the colon: tokenizers put it before the next word.
    """
    lettered = "".join(f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, choices, strict=False))
    return f"Question: {question}\n{lettered}Answer:"


def prompt(question: str, lines: Sequence[str], choices: Sequence[str] = ()) -> str:
    """What the student reads; its answer begins with a space and ends with the end-of-text token or a newline."""
    return prefix(lines, choices) + ask(question, choices)
