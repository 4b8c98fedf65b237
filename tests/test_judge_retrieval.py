"""Retrieval scores against sums done by hand."""

from math import log2

import numpy as np
import pytest

from lab.judge.retrieval import MEASURES, retrieval_scores
from lab.records import Question


def asked(name: str, *passages: str) -> Question:
    return Question(name, "?", ("x",), passages=passages)


def ranked(*passages: str) -> list[tuple[str, float]]:
    return [(passage, 0.9) for passage in passages]


def test_one_and_two_gold_passages_by_hand() -> None:
    table = retrieval_scores(
        [asked("one", "g"), asked("two", "g", "h"), asked("far", "g")],
        [ranked("x", "g", "y"), ranked("g", "x", "y", "h"), ranked(*"abcdefghij")],
    )
    assert list(table.columns) == ["question_id", *MEASURES]
    assert list(table.question_id) == ["one", "two", "far"]
    expected = [
        [0, 1, 1, 1 / 2, 1 / log2(3)],
        [1 / 2, 1 / 2, 1, 1, (1 + 1 / log2(5)) / (1 + 1 / log2(3))],
        [0, 0, 0, 1 / 7, 1 / log2(8)],
    ]
    assert table[list(MEASURES)].to_numpy() == pytest.approx(np.array(expected))


def test_order_counts_even_where_scores_tie_or_fall_the_wrong_way() -> None:
    questions = [asked("a", "g"), asked("b", "g")]
    table = retrieval_scores(questions, [[("g", 0.5), ("x", 0.5)], [("g", 0.1), ("x", 0.9)]])
    assert (table[list(MEASURES)].to_numpy() == 1.0).all()
    table = retrieval_scores(questions, [[("a", 0.5), ("g", 0.5)], [("z", 0.5), ("g", 0.5)]])
    assert list(table["recall@1"]) == [0.0, 0.0]
    assert list(table.mrr) == [0.5, 0.5]


def test_nothing_found_scores_zero_and_no_gold_is_left_out() -> None:
    table = retrieval_scores([asked("none"), asked("miss", "g"), asked("empty", "g")], [ranked("x"), ranked("x"), []])
    assert list(table.question_id) == ["miss", "empty"]
    assert (table[list(MEASURES)].to_numpy() == 0.0).all()


def test_no_question_with_gold_gives_an_empty_table() -> None:
    table = retrieval_scores([asked("none")], [ranked("x")])
    assert len(table) == 0
    assert list(table.columns) == ["question_id", *MEASURES]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="rankings"):
        retrieval_scores([asked("a", "g")], [])
    with pytest.raises(ValueError, match="twice"):
        retrieval_scores([asked("a", "g")], [ranked("x", "x")])
    with pytest.raises(ValueError, match=r"^a question id occurs twice$"):
        retrieval_scores([asked("a", "g"), asked("a", "h")], [ranked("x"), ranked("x")])
