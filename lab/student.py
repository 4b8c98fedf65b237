"""A language model and a reader sit an exam."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.context import Reader
from lab.exam.prompts import passage_line, prompt
from lab.model import LanguageModel
from lab.records import Answer, Question, ScoredPassage


@dataclass
class Student:
    """max_new_tokens: the longest answer it may give, in tokens of its own tokenizer."""

    model: LanguageModel
    reader: Reader
    max_new_tokens: int = 32

    def warm_up(self, question: Question) -> None:
        """Load what is loaded at first use, so that it is not billed to the first question."""
        self.reader.passages([question])

    def answer(
        self, questions: Sequence[Question], progress: Callable[[int], None] = lambda done: None
    ) -> list[Answer]:
        """One answer a question, in order.

        Seconds are of the batch, shared equally among its questions: retrieval apart, scoring the reference answer
        (which no user would wait for) not counted.
        """
        start = time.perf_counter()
        found = self.reader.passages(questions)
        retrieval_seconds = (time.perf_counter() - start) / max(1, len(questions))
        prompts = [_prompt(question, passages) for question, passages in zip(questions, found, strict=True)]
        start = time.perf_counter()
        generations = self.model.generate(prompts, self.max_new_tokens, progress)
        seconds = (time.perf_counter() - start) / max(1, len(questions))
        references = self.model.log_probabilities(prompts, [f" {question.answers[0]}" for question in questions])
        return [
            Answer(
                question_id=question.id,
                text=made.text,
                passages=tuple((scored.passage.id, scored.score) for scored in passages),
                prompt_digest=hashlib.sha256(text.encode()).hexdigest()[:16],
                prompt_tokens=made.prompt_tokens,
                answer_tokens=made.answer_tokens,
                seconds=seconds,
                retrieval_seconds=retrieval_seconds,
                log_probability=reference,
            )
            for question, passages, text, made, reference in zip(
                questions, found, prompts, generations, references, strict=True
            )
        ]


def _prompt(question: Question, passages: Sequence[ScoredPassage]) -> str:
    # What belongs to the question itself stands nearest to it, after whatever the reader found.
    lines = [passage_line(scored.passage.title, scored.passage.text) for scored in passages]
    given = [passage_line("", text) for text in question.given]
    return prompt(question.question, lines + given)
