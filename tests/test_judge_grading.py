"""Grades against hand-made cases, and scripted students whose scores are known beforehand."""

import math
import time
from random import Random
from typing import Any

import pytest

from lab.judge.choices import letter_of
from lab.judge.grading import grade as grade_answer
from lab.judge.grading import is_format_error, is_unknown, kind
from lab.judge.stale import CURRENT, NEITHER, OLD, gives_stale, side
from lab.judge.words import contains, exact_match, longest_common_subsequence, normalise, rouge_l, token_f1
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


WORD_SCORES = ("exact_match", "token_f1", "contains", "rouge_l")
LONG = Question("q7", "Recite it.", (" ".join(f"word{n}" for n in range(41)),))
CHOICE = Question("q8", "Capital of England?", ("B",), choices=("Paris", "London", "Rome", "New York"))


def test_what_a_question_is_decides_its_score() -> None:
    assert [kind(question) for question in (QUESTION, ABSENT, LONG, CHOICE)] == ["short", "short", "long", "choice"]
    # The shortest accepted answer decides, and 40 tokens are still short; Chinese counts by character.
    assert kind(Question("q", "?", (LONG.answers[0], "x"))) == "short"
    assert [kind(Question("q", "?", ("法" * n,))) for n in (40, 41)] == ["short", "long"]


def test_a_perfect_student_scores_exactly_one_on_each_kind() -> None:
    for question, text in ((QUESTION, "40 crowns"), (ABSENT, "unknown"), (LONG, LONG.answers[0]), (CHOICE, "B")):
        assert grade(question, text).score == 1.0
    likely = grade(CHOICE, " B", choices=((-2.0, -9.0), (-1.0, -3.0), (-2.0, -9.0), (-3.0, -9.0)))
    assert (likely.score, likely.outcome) == (1.0, "right")
    assert (likely.choice_letter, likely.choice_text, likely.choice_text_normalised) == (1.0, 1.0, 1.0)


def test_a_long_answer_is_right_in_part() -> None:
    half = " ".join(LONG.answers[0].split()[:20])
    result = grade(LONG, half)
    assert (result.score, result.rouge_l, result.exact_match) == (pytest.approx(2 * 20 / 61), result.score, 0.0)
    assert result.outcome == "partial"
    assert grade(LONG, LONG.answers[0]).outcome == "right"
    assert grade(LONG, "nothing of it").outcome == "wrong"
    assert grade(LONG, "unknown").outcome == "unknown"
    assert grade(LONG, "word1 " * 300).outcome == "format_error"


def test_choices_by_log_probability_by_hand() -> None:
    # By letter A; by text C (-4); per character London -5 / 6, Rome -4 / 4, New York -8 / 8, Paris -6 / 5: London.
    scored = grade(CHOICE, "A", choices=((-0.5, -6.0), (-1.0, -5.0), (-1.5, -4.0), (-2.0, -8.0)))
    assert (scored.choice_letter, scored.choice_text, scored.choice_text_normalised) == (0.0, 0.0, 1.0)
    assert (scored.score, scored.outcome, scored.exact_match) == (0.0, "wrong", None)
    by_letter = grade(CHOICE, "A", choices=((-2.0, -1.0), (-1.0, -5.0), (-1.5, -4.0), (-2.0, -8.0)))
    assert (by_letter.choice_letter, by_letter.choice_text, by_letter.choice_text_normalised) == (1.0, 0.0, 0.0)
    unscored = grade(CHOICE, "B")
    assert (unscored.choice_letter, unscored.choice_text, unscored.choice_text_normalised) == (None, None, None)
    for broken in (((-1.0, -1.0),), ((-1.0, math.nan),) * 4):
        with pytest.raises(LabError, match="q8"):
            grade(CHOICE, "B", choices=broken)


def test_several_letters_may_be_right() -> None:
    both = Question("q", "?", ("A", "C"), choices=("x", "y", "z"))
    assert [grade(both, letter).score for letter in "ABC"] == [1.0, 0.0, 1.0]


def test_no_letter_is_a_format_error_and_ignorance_is_not() -> None:
    outcomes = {"A or B": "format_error", "": "format_error", "unknown": "unknown", "I do not know.": "unknown"}
    assert {text: grade(CHOICE, text).outcome for text in outcomes} == outcomes


def test_an_answer_that_there_is_none_of_failed() -> None:
    for question in (QUESTION, ABSENT, LONG, CHOICE):
        result = grade(question, question.answers[0], error="HTTP 500")
        assert (result.question_id, result.score, result.outcome) == (question.id, 0.0, "failed")
        assert grade(question, question.answers[0]).question_id == question.id
    # Of words all scores are 0; of a choice there are none.
    words = [getattr(grade(QUESTION, "x", error="HTTP 500"), name) for name in WORD_SCORES]
    assert words == [0.0] * 4


@pytest.mark.parametrize("letter", ["B"])
@pytest.mark.parametrize(
    "text",
    [
        *("B", "b", " B.\n", "(B)", "**B**", "[B]", "\uff22", "\uff08B\uff09", '"B"', "B\nQuestion: Which?"),
        *("B. London", "B) London", "B London", "B: London", "B. Paris", "B, because it is large", "B。伦敦是首都"),
        *("The answer is B", "The answer is (B).", "The correct answer is option B", "Answer: **B**", "answer: b"),
        *("The answer to the question is B", "B is correct", "(B) is the right answer", "The answer is B, not A"),
        *("Option A is wrong. Option C is wrong. The answer is B.", "A. Paris\nB. London\nAnswer: B"),
        *("答案:B", "答案\uff1aB", "答案是B。", "正确答案为 B", "故选B", "选项B", "选择 B"),
        *("The correct choice is B", "I would go with B", "I think it's B", "the letter B"),
        *("London", "london.", "It is London, of course", "The answer is London."),
    ],
)
def test_the_letter_of_a_free_answer(text: str, letter: str) -> None:
    assert letter_of(text, CHOICE.choices) == letter


@pytest.mark.parametrize(
    "text",
    [
        *("A or B", "A, B", "A and B", "A/B", "A和B", "A、B", "B or C", "A. Paris or B. London"),
        *("The answer is A or B", "The answers are A and C", "The answer is (A) or (B)", "答案是A或B"),
        *("The answer is A. No, the answer is B.", "A. Paris\nB. London\nC. Rome\nD. New York", "London or Paris"),
        *("E", "The answer is E", "", "...", "I do not know", "A city in England", "The answer is a city", "C++"),
        *("Bath", "The answer is not B", "答案是伦敦", "I am sure"),
    ],
)
def test_no_letter_is_guessed(text: str) -> None:
    assert letter_of(text, CHOICE.choices) is None


@pytest.mark.parametrize("start", ["A", "答案", "The answer is", "option", ""])
@pytest.mark.parametrize("run", ["\n", " ", "\u3000", "*", "("])
def test_an_answer_of_one_sign_takes_no_long_time(start: str, run: str) -> None:
    text = start + run * 30_000 + "z"
    before = time.process_time()
    assert letter_of(text, ("Paris", "London")) in (None, "A")
    assert not is_unknown(text)
    is_format_error(text, ("Paris",))
    assert time.process_time() - before < 3


def test_letters_in_the_choices_themselves() -> None:
    assert letter_of("B", ("O", "A", "B", "AB")) == "B"  # asked for the letter, so a lone letter is one
    assert letter_of("AB", ("O", "A", "B", "AB")) == "D"
    assert letter_of("B. Vitamins A and C", ("Iron", "Vitamins A and C")) == "B"
    assert letter_of("B. Vitamins A and C", ("Iron", "Vitamins A and C", "Zinc", "Salt")) == "B"
    assert letter_of("Paris", ("Paris", "paris!", "Rome")) is None  # two choices that are the same
    assert letter_of("Paris, France", ("Paris", "Paris, France")) == "B"
    assert letter_of("It is in Paris, France", ("Paris", "Paris, France")) is None  # both stand in it


def test_rouge_l_by_hand() -> None:
    # Lin 2004: "police killed the gunman" against "police kill the gunman" shares police, the, gunman: 3 of 4 and 4.
    assert rouge_l("police kill the gunman", "Police killed the gunman.") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(0.5)
    # 港口法院受理 (6) and 由港口的法院审理 (8) share 港口法院理: 2 * 5 / 14.
    assert rouge_l("由港口的法院审理", "港口法院受理") == pytest.approx(10 / 14)
    assert rouge_l("", "x") == rouge_l("x", "") == rouge_l("y", "x") == 0.0
    # Figures of the package rouge-score 0.1.2 (rougeL, no stemmer).
    assert rouge_l("The quick brown fox jumps over the lazy dog", "A fox jumped over the dog") == pytest.approx(8 / 15)


def test_the_common_subsequence_is_that_of_the_table() -> None:
    random = Random(1)
    for _ in range(200):
        first, second = (random.choices("abc", k=random.randrange(0, 90)) for _ in range(2))
        row = [0] * (len(second) + 1)
        for a in first:  # the textbook's table, row by row
            before = row
            row = [0]
            for place, b in enumerate(second, 1):
                row.append(before[place - 1] + 1 if a == b else max(before[place], row[-1]))
        assert longest_common_subsequence(first, second) == row[-1]


def test_which_edition_an_answer_follows() -> None:
    said = ["the new fee", "New fee", "old fee.", "older fee", "another", ""]
    assert [side(text, ("x", "new fee"), ("old fee", "older fee")) for text in said] == [
        CURRENT,
        CURRENT,
        OLD,
        OLD,
        NEITHER,
        NEITHER,
    ]
    assert side("old fee", ("old fee",), ("old fee",)) == CURRENT
    assert [gives_stale(text, ("old fee", "older fee")) for text in said] == [False, False, True, True, False, False]
