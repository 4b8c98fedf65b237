"""Grades against hand-made cases, and scripted students whose scores are known beforehand."""

from typing import Any

import pytest

from lab.judge.grading import grade as grade_answer
from lab.judge.grading import is_unknown
from lab.judge.words import contains, exact_match, normalise, token_f1
from lab.records import Answer, Grade, LabError, Question

QUESTION = Question("q1", "How much is the quay fee?", ("40 crowns", "forty crowns"))
ABSENT = Question("q2", "Who painted the lighthouse?", ("unknown",))
EXAM = [
    QUESTION,
    ABSENT,
    Question("q3", "哪个法院受理上诉", ("港口法院",)),
    Question("q4", "Which court hears the appeal?", ("The Tidal Court",)),
    Question("q5", "Which choice?", ("A",)),
    Question("q6", "What is the rate?", ("3.5 %",)),
]


def grade(question: Question, text: str, **more: Any) -> Grade:
    """The grade of a text handed in."""
    return grade_answer(question, Answer(question.id, text, (), "d", 1, 1, 0.0, 0.0, None, **more))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" The Tidal-Court!\n", "tidalcourt"),
        ("an  Owl,   a lamp", "owl lamp"),
        ("\uff14\uff10 Crowns", "40 crowns"),  # full-width digits
        ("1,000 crowns.", "1000 crowns"),
        ("3.5 %", "3.5"),
        ("U.S.", "us"),
        ("A", "a"),
        ("...", "..."),
        ("港口 法院。", "港口法院"),
        ("罚款 30 天", "罚款30天"),
        ("", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_normalise_is_idempotent() -> None:
    for text in ("The  A-team's 3.5 %", "港口 法院 (30天)", "the the", "㎒ A"):
        assert normalise(normalise(text)) == normalise(text)


def test_numbers_that_differ_by_a_point_differ() -> None:
    assert exact_match("3.5", "35") == 0.0


def test_empty_answer_matches_nothing() -> None:
    assert exact_match("", "") == token_f1("", "") == contains("x", "") == 0.0


def test_token_f1_by_hand() -> None:
    # Precision 2/4, recall 2/3: 2 * (1/2 * 2/3) / (1/2 + 2/3) = 4/7. Articles do not count.
    assert token_f1("the old grey harbour court", "grey harbour authority") == pytest.approx(4 / 7)
    # A repeated token counts as often as both have it: precision 1/3, recall 1/1.
    assert token_f1("fee fee fee", "fee") == pytest.approx(0.5)
    # By character: four of five, and four of four.
    assert token_f1("在港口法院", "港口法院") == pytest.approx(2 * 4 / 9)


def test_contains_wants_whole_adjoining_tokens() -> None:
    assert contains("It is 40 crowns a day", "40 crowns") == 1.0
    assert contains("It is 140 crowns", "40 crowns") == 0.0
    assert contains("40 silver crowns", "40 crowns") == 0.0
    assert contains("由港口法院受理", "港口法院") == 1.0
    assert contains("30天", "3") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "unknown",
        " Unknown. The act does not say.",
        "The answer is unknown.",
        "The quay fee is not stated.",
        "I do not know the answer",
        "I don't know",
        "I don\u2019t know, the passages are silent",
        "不知道。",
        "我 不知道\uff0c条例没有写",
    ],
)
def test_abstentions(text: str) -> None:
    assert is_unknown(text)
    assert grade(QUESTION, text).outcome == "unknown"
    assert grade(ABSENT, text).outcome == "unknown_right"


@pytest.mark.parametrize("text", ["", "Unknown Soldier Square", "40 crowns", "the unknown painter", "no"])
def test_not_abstentions(text: str) -> None:
    assert not is_unknown(text)


def test_all_correct_student_scores_exactly_one() -> None:
    for question in EXAM:
        for form in question.answers:
            result = grade(question, f" {form}.\n")
            assert (result.exact_match, result.token_f1, result.contains) == (1.0, 1.0, 1.0)
            assert result.outcome == ("unknown_right" if question is ABSENT else "right")


def test_always_unknown_student_is_right_only_where_the_corpus_is_silent() -> None:
    results = [grade(question, "unknown") for question in EXAM]
    assert [result.exact_match for result in results] == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert [result.outcome for result in results] == ["unknown", "unknown_right"] + ["unknown"] * 4


def test_an_answer_that_looks_like_abstaining_can_be_right() -> None:
    assert grade(Question("q", "Which town?", ("Unknown, Texas",)), "unknown, texas").outcome == "right"


def test_gold_among_further_words_is_wrong_but_contained() -> None:
    result = grade(QUESTION, "The fee is 40 crowns")
    assert (result.exact_match, result.contains, result.outcome) == (0.0, 1.0, "wrong")
    assert result.token_f1 == pytest.approx(2 * 2 / (4 + 2))


def test_an_invented_answer_scores_nothing_where_the_corpus_is_silent() -> None:
    result = grade(ABSENT, "an unknown painter from Brill")
    assert (result.exact_match, result.token_f1, result.contains, result.outcome) == (0.0, 0.0, 0.0, "wrong")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "?!",
        "Question: How much is the quay fee?",
        "Passages: the quay fee is 40 crowns",
        "41 crowns\nQuestion: And the toll?",
        "Answer in a few words, or say unknown.",
        "- Quay Act: The fee is 40 crowns.",
        "crowns " * 40,
        "港口法院" * 20,
    ],
)
def test_format_errors(text: str) -> None:
    assert grade(QUESTION, text).outcome == "format_error"


@pytest.mark.parametrize(
    "text", ["41 crowns", "The question is how much, and the quay act says it is 41 crowns for each ship", "- 41", "no"]
)
def test_a_wrong_answer_has_an_answers_shape(text: str) -> None:
    assert grade(QUESTION, text).outcome == "wrong"


def test_a_question_without_answers_is_named() -> None:
    with pytest.raises(LabError, match="q9"):
        grade(Question("q9", "?", ()), "x")
