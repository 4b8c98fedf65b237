"""Wrong answers by where their words come from: a misread page, another page, the question itself, or nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from lab.judge.grading import CHOICE, is_unknown
from lab.judge.words import tokens
from lab.report.compare import routes_of
from lab.report.load import Run

# In the order in which they are tried: the first that fits is the kind.
KINDS = {
    "failed": "there is no answer",
    "abstained": 'said "unknown", though the corpus tells',
    "format": "no answer's shape",
    "choice": "another of the choices",
    "part": "a part of the right answer",
    "more": "the right answer, and more",
    "question": "words of the question, repeated",
    "gold line": "something else that stands in the right passage",
    "shown": "stands in another passage on the desk",
    "favourite": "given to many questions alike",
    "elsewhere": "stands in another passage, or answers another question",
    "nowhere": "none of these",
}
COLUMNS = ["question_id", "part", "question", "right", "given", "outcome", "kind", "gold_shown", "times"]
FAVOURITE_SHARE, FAVOURITE_LEAST = 0.02, 5  # Of all exam questions, and in all: from then on a text is a favourite.


def mistakes(run: Run) -> pd.DataFrame:
    """The exam's wrong answers of one run, in the order of its questions, one row each:

    - question_id, part, question, right (the first accepted answer), given (the text), outcome (of `Grade`).
    - kind: one of `KINDS`, the first that fits. Texts are compared as answers are graded: by whole words, without case,
      punctuation and articles. A gold passage counts whether or not it lay on the desk, since weights may have learnt
      it. A favourite is a text given wrongly to at least 2 % of the questions and 5 of them, and found in none of the
      passages shown: what weights say for want of anything better.
    - gold_shown: whether a gold passage was on the desk; None where the question has none.
    - times: how many of the run's wrong answers are the same text.

    Where a run keeps no texts of passages, as another system's answers do, kinds that need them do not occur.
    """
    page = {id: _words(text) for id, text in zip(run.passages["id"], run.passages["text"], strict=True)}
    questions = run.questions[run.questions["suite"] == "exam"]
    answers = run.answers[run.answers["suite"] == "exam"]
    wrong = ~answers["outcome"].isin(["right", "unknown_right"]).to_numpy()
    given = [_words(text) for text in answers["text"]]
    times = Counter(words for words, bad in zip(given, wrong, strict=True) if bad)
    least = max(FAVOURITE_LEAST, FAVOURITE_SHARE * len(answers))
    elsewhere = {*page.values(), *(_words(form) for forms in questions["answers"] for form in forms)}
    rows: list[dict[str, Any]] = []
    for words, bad, asked, answer in zip(
        given, wrong, questions.to_dict("records"), answers.to_dict("records"), strict=True
    ):
        if bad:
            shown = [id for id, _ in answer["passages"]]
            kind = _told_by_outcome(asked, answer, words) or _found(
                words, _texts(page, asked["passages"]), _texts(page, shown), times[words] >= least, elsewhere
            )
            gold = bool({*shown} & {*asked["passages"]}) if asked["passages"] else None
            values = (answer["text"], answer["outcome"], kind, gold, times[words])
            head = (asked["question_id"], asked["part"], asked["question"], asked["answers"][0])
            rows.append(dict(zip(COLUMNS, (*head, *values), strict=True)))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"gold_shown": object})


def mistake_shares(runs: Sequence[Run]) -> pd.DataFrame:
    """The share of exam questions that were answered wrongly in each way: a row a route, the mean over its seeds.

    Indexed by pipeline in the order of the table, a column for each of `KINDS` that occurs, in 0..1; a row adds up to
    the share of wrong answers. Raises LabError as `compare` does.
    """
    rows = {
        route.pipeline: pd.concat([mistakes(run) for run in route.runs])["kind"].value_counts()
        / (len(route.runs) * len(route.choose("exam")))
        for route in routes_of(runs)
    }
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(0.0)
    return table.reindex(columns=[kind for kind in KINDS if kind in table]).rename_axis("pipeline")


def _told_by_outcome(asked: Mapping[str, Any], answer: Mapping[str, Any], words: str) -> str | None:
    """The kind, where grade, accepted answers and question say it; else None."""
    if answer["outcome"] == "failed":
        return "failed"
    if is_unknown(answer["text"]):
        return "abstained"
    if answer["outcome"] == "format_error":
        return "format"
    if asked["kind"] == CHOICE:
        return "choice"
    accepted = [_words(form) for form in asked["answers"]]
    if answer["outcome"] == "partial" or any(words in form for form in accepted):
        return "part"
    if any(form in words for form in accepted):
        return "more"
    return "question" if set(words.split()) <= set(tokens(asked["question"])) else None


def _found(words: str, gold: Iterable[str], shown: Iterable[str], favourite: bool, elsewhere: Iterable[str]) -> str:
    """The kind by where the words stand."""
    if any(words in text for text in gold):
        return "gold line"
    if any(words in text for text in shown):
        return "shown"
    if favourite:
        return "favourite"
    return "elsewhere" if any(words in text for text in elsewhere) else "nowhere"


def _words(text: str) -> str:
    """Whole words with a space around each, so that one text standing in another is one string in another."""
    return f" {' '.join(tokens(text))} "


def _texts(page: Mapping[str, str], ids: Iterable[str]) -> list[str]:
    return [page[id] for id in ids if id in page]
