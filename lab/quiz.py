"""A few exam and general questions, asked closed-book of a model while it is trained: a curve, not a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.code import digest_code
from lab.context.closed import ClosedBook
from lab.judge.grading import grade, unanswerable
from lab.model import Model
from lab.progress import step
from lab.records import Question
from lab.store import digest
from lab.student import Student

QUESTIONS = 48  # Of each suite: a standard error of at most 7 points, enough to see a curve.


class SmallQuiz:
    """Questions of either suite, evenly spread over it; of the exam those that have an answer in the corpus."""

    def __init__(self, exam: Sequence[Question], general: Sequence[Question], max_new_tokens: int) -> None:
        answerable = [question for question in exam if not unanswerable(question)]
        self._asked = {"exam_score": spread(answerable, QUESTIONS), "general_score": spread(general, QUESTIONS)}
        self._max_new_tokens = max_new_tokens
        self.digests: Mapping[str, str] = {
            name: digest([[one.row for one in asked], max_new_tokens, digest_code(__name__)])
            for name, asked in self._asked.items()
        }

    def scores(self, model: Model) -> dict[str, float | None]:
        """Mean score of each, None where nothing is asked."""
        student = Student(model, ClosedBook(), self._max_new_tokens)
        found: dict[str, float | None] = {}
        for name, asked in self._asked.items():
            with step("quiz", len(asked), "questions") as advance:
                answers = student.answer(student.read(asked), advance) if asked else []
            scores = [grade(one, answer).score for one, answer in zip(asked, answers, strict=True)]
            found[name] = sum(scores) / len(scores) if scores else None
        return found


def spread(questions: Sequence[Question], count: int) -> list[Question]:
    """So many questions, evenly spread over all of them; all where there are no more."""
    count = min(count, len(questions))
    return [questions[len(questions) * place // count] for place in range(count)]
