"""A run folder as frames: every value as it stands in the files, whichever way they are read."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_report import SMALL_EXAM, SMALL_GENERAL, make_run, small_run

from lab.records import Question, read_jsonl
from lab.report import load
from lab.report.load import GRADE_COLUMNS, NUMBERS

ODD = [
    *SMALL_EXAM,
    Question("q5", "Which?", ("B",), "choice", choices=("Oro", "Lim", "Ada"), alternatives=3),
    Question("q6", "With a text?", ("Oro", "the Oro"), given=("One.", "Two."), evidence=("Oro flows.",)),
]


def same(value: Any, told: Any) -> bool:
    """Whether a cell says what the file says; None and NaN are not the same, nor are 1 and "1"."""
    if isinstance(told, list):
        return isinstance(value, tuple) and len(value) == len(told) and all(map(same, value, told))
    if told is None:
        return value is None
    return type(value) is type(told) and value == told


def odd_run(folder: Path) -> Path:
    """A run with whatever may be unknown unknown somewhere, its answers in another order than its questions."""
    run = make_run(folder, "rag", ODD, SMALL_GENERAL, {"q1": "Ada", "q5": "B"}, lambda q: [("a-1", 1), ("b-1", 0.5)])
    rows = list(read_jsonl(run / "answers.jsonl"))
    rows[0] |= {"log_probability": None, "error": "the server failed"}
    rows[1] |= {"seconds": None, "prompt_tokens": None, "choices": [[-1.0, -2.0]]}
    (run / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in reversed(rows)))
    return run


def test_every_cell_is_what_its_line_says(tmp_path: Path) -> None:
    folder = odd_run(tmp_path / "run")
    run = load(folder)
    asked = list(read_jsonl(folder / "questions.jsonl"))
    for (_, cells), told in zip(run.questions.iterrows(), asked, strict=True):
        told["question_id"] = told.pop("id")
        for name, value in told.items():
            assert same(cells[name], value), (name, cells[name], value)

    given = {(row["suite"], row["question_id"]): row for row in read_jsonl(folder / "answers.jsonl")}
    assert list(zip(run.answers["suite"], run.answers["question_id"], strict=True)) == [
        (row["suite"], row["question_id"]) for row in asked
    ]
    for _, cells in run.answers.iterrows():
        row = given[cells["suite"], cells["question_id"]]
        grade = row.pop("grade")
        for name, value in {**row, **{name: grade[name] for name in GRADE_COLUMNS}}.items():
            if name in NUMBERS:
                assert math.isnan(cells[name]) if value is None else cells[name] == value, name
            elif name == "passages":
                assert cells[name] == tuple((passage, float(score)) for passage, score in value)
            elif name in ("choices", "error"):
                assert cells[name] == value or (value is None and pd.isna(cells[name])), name
            else:
                assert same(cells[name], value), name
    assert all(run.answers[name].dtype == float for name in (*NUMBERS, "alternatives", "chance"))
    assert run.answers["chance"].tolist() == pytest.approx([0, 0, 0, 0, 1 / 3, 0, 0, 0])
    assert run.answers["answerable"].tolist() == [True, True, True, False, True, True, True, True]


def test_runs_that_ask_the_same_have_frames_of_their_own(tmp_path: Path) -> None:
    one, other = (load(small_run(tmp_path / name, name, ["q1"])) for name in ("rag", "gold"))
    one.questions.loc[0, "question"] = "changed"
    assert other.questions.loc[0, "question"] == load(one.folder).questions.loc[0, "question"] == "Who pays?"


def test_a_question_that_was_mended_is_read_again(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "rag", "rag", [])
    load(folder)
    rows = [{**row, "question": row["question"].upper()} for row in read_jsonl(folder / "questions.jsonl")]
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert load(folder).questions["question"].tolist() == [
        question.question.upper() for question in (*SMALL_EXAM, *SMALL_GENERAL)
    ]
    assert [dataclasses.asdict(q)["id"] for q in load(folder).exam] == ["q1", "q2", "q3", "q4"]
