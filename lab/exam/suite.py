"""The general suite: what every route is asked besides the exam, to see what it forgot."""

from __future__ import annotations

from dataclasses import dataclass

from lab.records import Question


@dataclass(frozen=True)
class GeneralSuite:
    """questions: sat like the exam. texts: held-out general text, measured in bits per byte."""

    questions: tuple[Question, ...]
    texts: tuple[str, ...]
