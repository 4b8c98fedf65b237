"""The one prompt of the lab: every route shows the same words, and differs in its passages alone."""

from __future__ import annotations

from collections.abc import Sequence

INSTRUCTION = "Answer in a few words, or say unknown.\n"


def passage_line(title: str, text: str) -> str:
    """One passage as the prompt shows it; a blank title shows the text alone."""
    return f"- {title}: {text}\n" if title else f"- {text}\n"


def prefix(lines: Sequence[str]) -> str:
    """All that comes before the question: the instruction, then the passages, best first."""
    return INSTRUCTION + "".join(lines)


def ask(question: str) -> str:
    """The question and the place of its answer. No space after the colon: tokenizers put it before the next word."""
    return f"Question: {question}\nAnswer:"


def prompt(question: str, lines: Sequence[str]) -> str:
    """What the student reads; its answer begins with a space and ends with the end-of-text token or a newline."""
    return prefix(lines) + ask(question)
