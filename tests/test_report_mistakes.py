"""Where wrong answers come from, on a book of three pages that is made up here: each kind by one answer at least."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from test_report import SMALL_EXAM, SMALL_GENERAL, make_run, small_run

from lab.records import Question, read_jsonl, write_jsonl
from lab.report import load
from lab.report.mistakes import COLUMNS, mistake_shares, mistakes

PAGES = {
    "a-1": "In Alocott the fee is 12 crowns. The warden of Alocott is Ada Lovelace.",
    "b-1": "In Borham the fee is 30 crowns. The warden of Borham is Blaise Pascal.",
    "c-1": "In Calder the fee is 55 crowns.",
}
# The kind, the question and what is answered to it; a-1 is the gold page, and a-1 and b-1 lie on the desk.
CASES = [
    ("abstained", "What is the fee of Alocott?", "12 crowns", "I do not know."),
    ("format", "What is the fee of Alocott?", "12 crowns", "..."),
    ("part", "Who is the warden of Alocott?", "Ada Lovelace", "the ADA"),
    ("more", "What is the fee of Alocott?", "12 crowns", "It is 12 crowns a day"),
    ("question", "What is the fee of Alocott?", "12 crowns", "Fee, Alocott"),
    ("gold line", "What is the fee of Alocott?", "12 crowns", "Ada Lovelace"),
    ("shown", "What is the fee of Alocott?", "12 crowns", "30 crowns"),
    ("elsewhere", "What is the fee of Alocott?", "12 crowns", "55 crowns"),  # a page of another question
    ("elsewhere", "What is the fee of Alocott?", "12 crowns", "Grace Hopper"),  # another question's answer
    ("nowhere", "What is the fee of Alocott?", "12 crowns", "3 crowns"),  # stands in "30 crowns", but is no word of it
]


def book_run(folder: Path, cases: list[tuple[str, str, str, str]], pages: dict[str, str] = PAGES) -> Path:
    exam = [
        Question(f"q{n}", asked, (right,), "recall", ("a-1",), ("a",)) for n, (_, asked, right, _) in enumerate(cases)
    ]
    exam += [
        Question("other-1", "What is the fee of Calder?", ("55 crowns",), "recall", ("c-1",), ("c",)),
        Question("other-2", "Who wrote it?", ("Grace Hopper",), "recall", (), ("c",)),
    ]
    answers = {f"q{n}": given for n, (*_, given) in enumerate(cases)} | {q.id: q.answers[0] for q in exam[-2:]}
    run = make_run(folder, "rag", exam, [], answers, lambda question: [("a-1", 0.9), ("b-1", 0.5)])
    write_jsonl(run / "passages.jsonl", [{"id": id, "title": id, "text": text} for id, text in pages.items()])
    return run


def kinds(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame["question_id"], frame["kind"], strict=True))


def test_each_kind_of_wrong_answer(tmp_path: Path) -> None:
    frame = mistakes(load(book_run(tmp_path / "run", CASES)))
    assert list(frame.columns) == COLUMNS
    assert kinds(frame) == {f"q{n}": kind for n, (kind, *_) in enumerate(CASES)}
    assert frame["gold_shown"].tolist() == [True] * len(CASES)
    first = frame.iloc[0]
    assert (first["right"], first["given"], first["outcome"]) == ("12 crowns", "I do not know.", "unknown")


def test_a_text_given_to_many_questions_is_a_favourite_unless_it_lies_on_the_desk(tmp_path: Path) -> None:
    said = [("Roskin Court", 5), ("Garzor", 4), ("Blaise Pascal", 6)]
    cases = [("", "What is the fee of Alocott?", "12 crowns", text) for text, times in said for _ in range(times)]
    frame = mistakes(load(book_run(tmp_path / "run", cases)))
    told = frame.groupby("given")[["kind", "times"]].first()
    assert told["kind"].to_dict() == {"Roskin Court": "favourite", "Garzor": "nowhere", "Blaise Pascal": "shown"}
    assert told["times"].to_dict() == dict(said)


def test_right_answers_are_no_mistakes_and_what_the_book_does_not_say_is_told_by_its_source(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", "rag", ["q1", "q2", "q3"], rank=lambda question: [("b-1", 1.0)])
    write_jsonl(run / "passages.jsonl", [{"id": "b-1", "title": "b", "text": "The wall is wrong."}])
    (row,) = mistakes(load(run)).to_dict("records")  # "wrong" is the answer to a question that the book leaves open
    assert (row["question_id"], row["right"], row["kind"], row["gold_shown"]) == ("q4", "unknown", "shown", None)


def test_gold_that_was_not_shown_is_said(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", "rag", ["q4"], rank=lambda question: [("a-1", 1.0)])
    frame = mistakes(load(run)).set_index("question_id")
    assert frame["gold_shown"].to_dict() == {"q1": True, "q2": False, "q3": False}
    assert set(frame["kind"]) == {"nowhere"}  # without the pages' texts


@pytest.mark.parametrize(("outcome", "kind"), [("failed", "failed"), ("partial", "part")])
def test_what_the_grade_says_goes_first(tmp_path: Path, outcome: str, kind: str) -> None:
    run = small_run(tmp_path / "run", "rag", ["q2", "q3", "q4"])
    rows = list(read_jsonl(run / "answers.jsonl"))
    rows[0]["grade"]["outcome"] = outcome
    (run / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert kinds(mistakes(load(run))) == {"q1": kind}


def test_a_wrong_letter_is_another_choice(tmp_path: Path) -> None:
    exam = [Question("q1", "Which river?", ("B",), choices=("Oro", "Lim"))]
    run = make_run(tmp_path / "run", "closed_book", exam, [], {"q1": "A"})
    assert kinds(mistakes(load(run))) == {"q1": "choice"}


def test_shares_are_of_all_questions_and_the_mean_over_seeds(tmp_path: Path) -> None:
    folders = [
        small_run(tmp_path / "cpt-0", "cpt", ["q1", "q2", "q3", "q4"]),
        small_run(tmp_path / "cpt-1", "cpt", ["q2"], seed=1),
        make_run(tmp_path / "rag", "rag", SMALL_EXAM, SMALL_GENERAL, {"q1": "unknown", "q2": "12", "q4": "unknown"}),
    ]
    table = mistake_shares([load(folder) for folder in folders])
    assert table.to_dict("index") == {
        "rag": {"abstained": 0.25, "part": 0.25, "nowhere": 0.25},
        "cpt": {"abstained": 0.0, "part": 0.0, "nowhere": 3 / 8},
    }
    assert list(table.index) == ["rag", "cpt"]
