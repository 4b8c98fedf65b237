"""What a route kept of the general ability that its base had."""

from __future__ import annotations

from collections.abc import Sequence

from lab.judge.statistics import Difference, clusters_of, paired_difference
from lab.records import Grade, Question


def general_change(
    questions: Sequence[Question], route: Sequence[Grade], base: Sequence[Grade], seed: int = 0
) -> dict[str, Difference]:
    """Exact match on the general suite, route minus base, by part and for "all"; below 0 is forgotten.

    questions: the general suite. route, base: one grade a question, in any order. Intervals are the paired cluster
    bootstrap's. Raises ValueError where a grade is missing, double, or of another question.
    """
    ours, theirs = _by_question(questions, route), _by_question(questions, base)
    parts = {part: [q for q in questions if q.part == part] for part in sorted({q.part for q in questions})}
    return {
        part: paired_difference(
            [ours[q.id] for q in chosen], [theirs[q.id] for q in chosen], clusters_of(chosen), seed=seed
        )
        for part, chosen in {**parts, "all": list(questions)}.items()
    }


def _by_question(questions: Sequence[Question], grades: Sequence[Grade]) -> dict[str, float]:
    if sorted(grade.question_id for grade in grades) != sorted(question.id for question in questions):
        raise ValueError("one grade for each question is needed")
    return {grade.question_id: grade.exact_match for grade in grades}
