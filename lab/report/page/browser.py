"""The question browser's data: every question with its passages and every route's answer, each text once."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from typing import Any

from markupsafe import Markup

from lab.report.load import Run
from lab.report.scores import Route

OUTCOMES = {
    "right": "right",
    "unknown_right": "rightly unknown",
    "partial": "right in part",
    "wrong": "wrong",
    "unknown": "wrongly unknown",
    "format_error": "not an answer",
    "failed": "no answer",
}
QUESTION = ("question", "part", "answers", "given", "choices", "practised")


class Pool:
    """Values by number, each kept once: a page says the same passage hundreds of times."""

    def __init__(self) -> None:
        self._places: dict[Hashable, int] = {}

    def __call__(self, value: Hashable) -> int:
        return self._places.setdefault(value, len(self._places))

    @property
    def values(self) -> list[Any]:
        return list(self._places)


def browser_data(routes: Sequence[Route]) -> dict[str, Any]:
    """All that the browser shows, plain values; what is shared stands once and is named by its place:

    - questions: id, suite, those of QUESTION, gold (passages); routes: label, and runs, one a seed.
    - Of a run, in the order of questions: answers (texts), outcomes, scores (0..1), desks; -1 and None where the route
      was not asked. desks: each a list of [passage, score] as the prompt showed them.
    - passages: [id, title, text]; title and text are None where no run of these tells them.
    """
    runs = [run for route in routes for run in route.runs]
    asked: dict[tuple[str, str], dict[str, Any]] = {}  # of all, as a route of another system sat the exam alone
    for run in runs:
        if not asked.keys() >= set(_keys(run)):
            asked |= {(row["suite"], row["question_id"]): row for row in run.questions.to_dict("records")}
    texts, passages, desks = Pool(), Pool(), Pool()
    told = {row["id"]: (row["title"], row["text"]) for run in runs for row in run.passages.to_dict("records")}
    questions = [
        {
            "id": id,
            "suite": suite,
            **{name: row[name] for name in QUESTION},
            "gold": list(map(passages, row["passages"])),
        }
        for (suite, id), row in asked.items()
    ]
    shown = [
        {"label": route.label, "runs": [_answers(run, list(asked), texts, passages, desks) for run in route.runs]}
        for route in routes
    ]
    return {
        "outcomes": list(OUTCOMES.items()),
        "questions": questions,
        "routes": shown,
        "texts": texts.values,
        "desks": desks.values,
        "passages": [[id, *told.get(id, (None, None))] for id in passages.values],
    }


def _keys(run: Run) -> list[tuple[str, str]]:
    return list(zip(run.arrays["suite"].tolist(), run.arrays["question_id"].tolist(), strict=True))


def _answers(run: Run, asked: Sequence[tuple[str, str]], texts: Pool, passages: Pool, desks: Pool) -> dict[str, Any]:
    places, names = {key: place for place, key in enumerate(_keys(run))}, list(OUTCOMES)
    columns = [run.arrays[name].tolist() for name in ("outcome", "text", "error", "score", "passages")]
    found: dict[str, Any] = {"seed": run.seed, "answers": [], "outcomes": [], "scores": [], "desks": []}
    for key in asked:
        answer: tuple[int, int, float | None, int] = (-1, -1, None, -1)
        if key in places:
            outcome, text, error, score, shown = (column[places[key]] for column in columns)
            desk = tuple((passages(id), _digits(number)) for id, number in shown)
            said = error if outcome == "failed" else text
            answer = (texts(said), names.index(outcome), _digits(score), desks(desk))
        for name, value in zip(("answers", "outcomes", "scores", "desks"), answer, strict=True):
            found[name].append(value)
    return found


def _digits(value: float) -> float | None:
    """Three digits after the point, none where there are none; None for what is no number."""
    return None if not math.isfinite(value) else int(value) if value == int(value) else round(value, 3)


def as_json(data: Any) -> Markup:
    """JSON to stand in a script element: without "<" no text in it can end the element or begin another."""
    return Markup(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))
