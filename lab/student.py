"""A language model and a reader sit an exam."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lab.context import Reader
from lab.exam.prompts import passage_line, prompt
from lab.exam.questions import LETTERS
from lab.model import Model
from lab.records import Answer, Question, ScoredPassage

# Of questions asked alone: more of them would take longer than they tell.
ALONE_SECONDS, ALONE_AT_LEAST = 30.0, 5


@dataclass(frozen=True)
class Sheet:
    """Questions with all that lies on the desk beside them. seconds: what finding the passages took, in all.
    several_lines: whether an answer may have several; the exam's own answers say how long one is meant to be.
    """

    questions: Sequence[Question]
    passages: Sequence[Sequence[ScoredPassage]]
    prompts: Sequence[str]
    seconds: float
    several_lines: bool

    def portions(self, size: int) -> Iterator[Sheet]:
        """The sheet in pieces of at most so many questions, in order."""
        count = len(self.questions)
        for first in range(0, count, size):
            part = slice(first, first + size)
            lists = (self.questions[part], self.passages[part], self.prompts[part])
            yield Sheet(*lists, self.seconds * len(lists[0]) / count, self.several_lines)


@dataclass(frozen=True)
class Wait:
    """How long one question took, asked alone as a user asks it. first: the first of all, which loads what is loaded at
    first use. retrieval_seconds apart from seconds.
    """

    question_id: str
    first: bool
    seconds: float
    retrieval_seconds: float


@dataclass
class Student:
    """max_new_tokens: the longest answer it may give, in tokens of its own tokenizer."""

    model: Model
    reader: Reader
    max_new_tokens: int = 32

    def alone(self, questions: Sequence[Question], first: bool = False) -> list[Wait]:
        """Ask one question after another, stopping early once `ALONE_SECONDS` are over; failed ones are left out."""
        waits: list[Wait] = []
        start = time.perf_counter()
        for number, question in enumerate(questions):
            if number >= ALONE_AT_LEAST and time.perf_counter() - start > ALONE_SECONDS:
                break
            sheet = self.read([question])
            asked = time.perf_counter()
            (made,) = self.model.generate(sheet.prompts, self.max_new_tokens)
            if made.error is None:
                waits.append(Wait(question.id, first, time.perf_counter() - asked, sheet.seconds))
        return waits

    def read(self, questions: Sequence[Question]) -> Sheet:
        """Find the passages and write the prompts."""
        start = time.perf_counter()
        found = self.reader.passages(questions)
        seconds = time.perf_counter() - start
        prompts = [_prompt(question, passages) for question, passages in zip(questions, found, strict=True)]
        several_lines = any("\n" in answer.strip() for question in questions for answer in question.answers)
        return Sheet(questions, found, prompts, seconds, several_lines)

    def answer(self, sheet: Sheet, progress: Callable[[int], None] = lambda done: None) -> list[Answer]:
        """One answer a question, in order.

        Seconds are of the batch, shared equally among its questions: retrieval apart, scoring the reference answer and
        the choices (which no user would wait for) not counted.
        """
        start = time.perf_counter()
        generations = self.model.generate(sheet.prompts, self.max_new_tokens, progress, sheet.several_lines)
        seconds = (time.perf_counter() - start) / max(1, len(sheet.questions))
        branches = [_branches(question) for question in sheet.questions]
        log_probabilities = self.model.log_probabilities(sheet.prompts, branches)
        return [
            Answer(
                question_id=question.id,
                text=made.text,
                passages=tuple((scored.passage.id, scored.score) for scored in passages),
                prompt_digest=hashlib.sha256(text.encode()).hexdigest()[:16],
                prompt_tokens=made.prompt_tokens,
                answer_tokens=made.answer_tokens,
                seconds=seconds,
                retrieval_seconds=sheet.seconds / len(sheet.questions),
                log_probability=reference,
                choices=_pairs(scores),
                error=made.error,
            )
            for question, passages, text, made, (reference, *scores) in zip(
                sheet.questions, sheet.passages, sheet.prompts, generations, log_probabilities, strict=True
            )
        ]


def _prompt(question: Question, passages: Sequence[ScoredPassage]) -> str:
    # What belongs to the question itself stands nearest to it, after whatever the reader found.
    lines = [passage_line(scored.passage.title, scored.passage.text) for scored in passages]
    given = [passage_line("", text) for text in question.given]
    return prompt(question.question, lines + given, question.choices)


def _branches(question: Question) -> list[str]:
    """What may follow the prompt and is scored: the reference answer, then each choice's letter and text."""
    lettered = zip(LETTERS, question.choices, strict=False)
    return [f" {form}" for form in (question.answers[0], *(form for pair in lettered for form in pair))]


def _pairs(scores: Sequence[float | None]) -> tuple[tuple[float, float], ...]:
    """(letter, text) of each choice; empty where the model does not tell."""
    told = [score for score in scores if score is not None]
    return tuple(zip(told[0::2], told[1::2], strict=True))
