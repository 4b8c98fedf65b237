"""The report where questions are of several kinds, answers failed, or a model does not tell its probabilities."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report import SMALL_EXAM, large_exam, large_run, make_run, small_run, value

from lab.judge.grading import grade
from lab.records import Answer, LabError, Question
from lab.report import compare, gather, load, show
from lab.report.compare import routes_of
from lab.report.warnings import warnings


def rewrite(folder: Path, change: Any) -> None:
    """Change every row of answers.jsonl."""
    path = folder / "answers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(change(row)) + "\n" for row in rows))


def test_where_all_answers_are_short_the_score_is_exact_match(tmp_path: Path, capsys: Any) -> None:
    large_run(tmp_path / "rag", "rag", 0.6)
    frame = compare([load(tmp_path / "rag")])
    keys = ["suite", "part", "practised", "n", "value", "low", "high"]
    score, exact = (frame.loc[frame["metric"] == name, keys].to_numpy() for name in ("score", "exact_match"))
    assert np.array_equal(score, exact)
    show([tmp_path])
    assert "Exam score: exact match in %, all and by part. General score in %. Costs." in capsys.readouterr().out


def test_a_model_that_does_not_tell_probabilities_has_no_such_row(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "rag", "rag", ["q1"])
    rewrite(folder, lambda row: {**row, "log_probability": None if row["question_id"] == "q1" else -3.0})
    row = value(compare([load(folder)]), "rag", "exam", "all", "log_probability")
    assert (row["value"], row["n"]) == (-3.0, 3)
    rewrite(folder, lambda row: {**row, "log_probability": None})
    frame = compare([load(folder)])
    assert frame[frame["metric"] == "log_probability"].empty
    assert value(frame, "rag", "exam", "all", "score")["value"] == 0.25


def test_failed_answers_are_named_and_are_not_wrong(tmp_path: Path, capsys: Any) -> None:
    folder = small_run(tmp_path / "rag", "rag", ["q1", "q2"])
    asked = {question.id: question for question in SMALL_EXAM}

    def fail(row: dict[str, Any]) -> dict[str, Any]:
        if row["question_id"] != "q2":
            return row
        failed = Answer("q2", "", (), "d", 0, 0, 0.5, 0.25, None, error="HTTP 500")
        return {**row, **dataclasses.asdict(failed), "grade": dataclasses.asdict(grade(asked["q2"], failed))}

    rewrite(folder, fail)
    frame = compare([load(folder)])
    rates = {name: value(frame, "rag", "exam", "all", name)["value"] for name in ("score", "failed", "wrong")}
    assert rates == {"score": 0.25, "failed": 0.25, "wrong": 0.5}
    show([tmp_path])
    assert "rag: 1 of 4 questions have no answer and score 0: q2." in capsys.readouterr().out


def test_guessing_a_letter_is_no_leak(tmp_path: Path) -> None:
    exam = [Question(f"q{n}", "?", ("B",), choices=("w", "x", "y", "z")) for n in range(40)]
    for name, right in {"closed_book": 11, "random": 20}.items():
        make_run(tmp_path / name, name, exam, [], {f"q{n}": "B" for n in range(right)}, texts=[])
    said = warnings(routes_of(gather([tmp_path])[0]), "rag")
    assert not any("leaks" in sentence for sentence in said)
    assert any("random gets 50.0 % of the answerable questions right, expected at most 35" in line for line in said)


def test_choice_scores_by_log_probability_have_rows(tmp_path: Path) -> None:
    exam = [Question(f"q{n}", "?", ("A",), choices=("yes", "no, not")) for n in range(4)]
    folder = make_run(tmp_path / "rag", "rag", exam, [], {"q0": "A", "q1": "B"}, texts=[])

    def likely(row: dict[str, Any]) -> dict[str, Any]:
        answer = Answer(
            row["question_id"], row["text"], (), "d", 1, 1, 0, 0, None, choices=((-2.0, -1.0), (-1.0, -2.0))
        )
        question = next(question for question in exam if question.id == row["question_id"])
        return {**row, "choices": answer.choices, "grade": dataclasses.asdict(grade(question, answer))}

    rewrite(folder, likely)
    frame = compare([load(folder)])
    # q0 right, q1 wrong, "wrong" has no letter; by letter B, by text A (-1), per character B (-1 / 3 against -2 / 7).
    found = {
        name: value(frame, "rag", "exam", "all", name)["value"]
        for name in ("score", "format_error", "choice_letter", "choice_text", "choice_text_normalised")
    }
    assert found == {
        **{"score": 0.25, "format_error": 0.5, "choice_letter": 0.0, "choice_text": 1.0},
        "choice_text_normalised": 0.0,
    }
    assert "token_f1" not in set(frame["metric"])


def test_a_run_from_before_says_run_it_again(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "old", "rag", [])
    names = ("score", "rouge_l")
    rewrite(folder, lambda row: {**row, "grade": {k: v for k, v in row["grade"].items() if k not in names}})
    with pytest.raises(LabError, match="no score, rouge_l in the grade; run it again"):
        load(folder)


def test_long_answers_are_headed_rouge_l(tmp_path: Path, capsys: Any) -> None:
    long = " ".join(f"word{n}" for n in range(60))
    exam = [dataclasses.replace(question, answers=(long,)) for question in large_exam(4, 3)]
    make_run(tmp_path / "rag", "rag", exam, [], {exam[0].id: long}, texts=[])
    show([tmp_path])
    assert "Exam score: ROUGE-L in %" in capsys.readouterr().out
