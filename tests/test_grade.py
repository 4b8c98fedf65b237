"""Answers of other systems: in the same table as the lab's own, with nothing guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_report import SMALL_EXAM, small_run, value

from lab.grade import main, read_answers
from lab.judge.statistics import paired_difference
from lab.records import LabError, Question, write_jsonl
from lab.report import compare, gather, load, metrics
from lab.report.compare import routes_of
from lab.report.verdict import verdict
from lab.store import digest

MIXED = [
    Question("s", "How much?", ("40 crowns",), "short"),
    Question("l", "Recite it.", (" ".join(f"word{n}" for n in range(50)),), "long"),
    Question("c", "Capital?", ("B",), "choice", choices=("Paris", "London")),
]


def write(path: Path, *lines: str | dict[str, Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_answers_stand_in_the_table_of_the_labs_own_routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, right in {"rag": ["q1", "g1"], "closed_book": ["g1", "g2"], "gold": ["q1", "q2", "q3"]}.items():
        small_run(tmp_path / "runs" / name, name, right)
    rows = [
        {"id": q.id, "answer": q.answers[0], "passages": ["x", ["a-1", 0.5]], "seconds": 2, "tokens": [100, 4]}
        for q in SMALL_EXAM
    ]
    answers = write(tmp_path / "their system.jsonl", *rows[:3])
    assert main([str(tmp_path / "runs"), str(answers), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "1 no answer given: q4" in out
    assert "their_system: 1 of 4 questions have no answer and score 0: q4." in out
    assert "Answers of other systems: their_system. Their corpus" in out
    assert "nan" not in out

    runs, _ = gather([tmp_path / "out", tmp_path / "runs"])
    frame = compare(runs)
    row = value(frame, "their_system", "exam", "all", "score")
    by_hand = paired_difference([1, 1, 1, 0], [1, 0, 0, 0], ["a", "a", "b", "b"])
    assert (row["value"], row["difference"], row["difference_low"]) == (0.75, 0.5, pytest.approx(by_hand.low))
    assert value(frame, "their_system", "exam", "all", "failed")["value"] == 0.25
    # Found at rank 2 of its own list; two others have another gold passage.
    assert value(frame, "their_system", "retrieval", "all", "mrr")["value"] == pytest.approx(1 / 6)
    theirs = frame[frame["pipeline"] == "their_system"]
    assert set(theirs["suite"]) == {"exam", "retrieval"}  # no cost is made up: one answer's seconds are not known
    assert any("their_system" in sentence for sentence in verdict(frame, routes_of(runs), "rag"))
    assert json.dumps(metrics(load(tmp_path / "out" / "their_system")), allow_nan=False)


def test_the_digest_of_an_exam_file_is_that_of_a_run_on_it(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "exam.jsonl", SMALL_EXAM)
    answers = write(tmp_path / "theirs.jsonl", *({"id": q.id, "answer": "x", "seconds": 1} for q in SMALL_EXAM))
    assert main([str(tmp_path / "exam.jsonl"), str(answers), "--out", str(tmp_path / "out")]) == 0
    graded = load(tmp_path / "out" / "theirs")
    own = digest([question.row for question in SMALL_EXAM])
    same = load(
        small_run(tmp_path / "a", "rag", [], digests={"corpus": "c", "exam": own, "general": "g", "model": "m"})
    )
    other = load(small_run(tmp_path / "b", "rag", []))
    third = load(
        small_run(tmp_path / "c", "gold", [], digests={"corpus": "x", "exam": own, "general": "g", "model": "m"})
    )
    assert graded.differs_from(same) == []
    assert graded.differs_from(other) == ["exam"]
    with pytest.raises(LabError, match="differ in corpus"):  # each may be compared with the graded one, but not both
        compare([graded, same, third])
    row = value(compare([graded, same]), "theirs", "cost", "all", "seconds_per_question")
    assert row["value"] == 1.0


def test_each_kind_is_graded_as_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "exam.jsonl", MIXED)
    perfect = {"s": "40 crowns", "l": MIXED[1].answers[0], "c": "The answer is B."}
    one = write(tmp_path / "perfect.jsonl", *({"id": id, "answer": text} for id, text in perfect.items()))
    half = " ".join(MIXED[1].answers[0].split()[:25])
    other = {"s": "41 crowns", "l": half, "c": "A or B"}
    two = write(tmp_path / "half.jsonl", *({"id": id, "answer": text} for id, text in other.items()))
    assert main([str(tmp_path / "exam.jsonl"), str(one), str(two), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "Exam score: exact match, ROUGE-L and letter of the answer in %" in out
    runs, _ = gather([tmp_path / "out"])
    frame = compare(runs, "perfect")
    assert value(frame, "perfect", "exam", "all", "score")["value"] == 1.0
    assert value(frame, "half", "exam", "long", "score")["value"] == pytest.approx(2 * 25 / 75)
    assert value(frame, "half", "exam", "choice", "format_error")["value"] == 1.0
    assert value(frame, "half", "exam", "all", "rouge_l")["n"] == 2  # not of the choice


def test_what_is_odd_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "exam.jsonl", [Question(f"q{n}", "?", ("yes",)) for n in range(6)])
    answers = write(
        tmp_path / "theirs.jsonl",
        {"id": "q0", "answer": "yes"},
        '{"id": "q1", "answer": NaN}',
        {"id": "q2", "answer": None, "seconds": None},
        {"id": "q3", "answer": ""},
        {"id": "q0", "answer": "yes"},
        {"id": "q9", "answer": "yes"},
        "",
    )
    assert main([str(tmp_path / "exam.jsonl"), str(answers), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for said in (
        "2 answer is null or not a number: q1, q2",
        "1 given twice, the same each time; counted once: q0",
        "1 not in the exam; left out: q9",
        "2 no answer given: q4, q5",
    ):
        assert said in out
    run = load(tmp_path / "out" / "theirs")
    outcomes = dict(zip(run.answers["question_id"], run.answers["outcome"], strict=True))
    assert outcomes == {
        "q0": "right",
        **dict.fromkeys(("q1", "q2", "q4", "q5"), "failed"),
        "q3": "format_error",  # an empty answer is one
    }
    assert run.manifest["odd"]["no answer given"] == ["q4", "q5"]


def test_all_faults_of_answers_are_told_at_once(tmp_path: Path) -> None:
    exam = [Question(f"q{n}", "?", ("yes",)) for n in range(9)]
    answers = write(
        tmp_path / "theirs.jsonl",
        {"id": "q0", "answer": "yes"},
        {"id": "q0", "answer": "no"},
        "{",
        {"id": 1, "answer": "x"},
        {"id": "q1"},
        {"id": "q2", "answer": 42},
        {"id": "q3", "answer": "x", "passages": [["a"]]},
        {"id": "q4", "answer": "x", "passages": ["a", ["a", 1]]},
        '{"id": "q5", "answer": "x", "passages": [["a", NaN]], "seconds": -1, "tokens": "9"}',
        '{"id": "q6", "answer": "x", "seconds": Infinity}',
        '{"id": "q7", "answer": "\\ud800"}',
    )
    with pytest.raises(LabError) as error:
        read_answers(answers, exam)
    for said in (
        "line 2, id: 'q0' is answered differently on line 1",
        "line 3, not JSON",
        "line 4, id: 1",
        "line 5, answer: missing",
        "line 6, answer: 42",
        "line 7, passages: a list",
        "line 8, passages: one stands twice",
        "line 9, passages",
        "line 9, seconds: -1",
        "line 9, tokens: '9'",
        "line 10, seconds: inf",
        "line 11, answer: holds half a character",
    ):
        assert said in str(error.value)


def test_mistakes_are_one_line_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exam = tmp_path / "exam.jsonl"
    write_jsonl(exam, SMALL_EXAM)
    fine = write(tmp_path / "fine.jsonl", {"id": "q1", "answer": "x"})
    other = write(tmp_path / "other.jsonl", {"id": "elsewhere", "answer": "x"})
    taken = write(tmp_path / "rag.jsonl", {"id": "q1", "answer": "x"})
    (tmp_path / "more").mkdir()
    same = write(tmp_path / "more" / "fine.jsonl", {"id": "q1", "answer": "x"})
    for files, said in (
        ([fine, other], "none of its 1 answer(s)"),
        ([taken], "rag is the name of one of the lab's routes"),
        ([fine, same], "two files are called fine"),
        ([tmp_path / "nowhere.jsonl"], "no such file"),
    ):
        assert main([str(exam), *map(str, files), "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    write(tmp_path / "full" / "x", "x")
    assert main([str(exam), str(fine), "--out", str(tmp_path / "full")]) == 2
    assert "is not empty" in capsys.readouterr().err
