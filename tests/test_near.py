"""Near-duplicates of questions: what the index finds against a comparison of all pairs, close to both thresholds."""

from __future__ import annotations

from random import Random

import pytest

from lab.exam.near import LEAST_JACCARD, Near, one_slip, shingles
from lab.exam.segments import SegmentedText

ALIKE = "what does {} say of {} and {}", "what will {} tell of {} or {}", "what does {} say of {} or {}"


def edited(draw: Random, string: str) -> str:
    """Up to three characters of it changed, missing or added, at one place or at several."""
    for _ in range(draw.randrange(4)):
        place = draw.randrange(len(string))
        string = string[:place] + draw.choice(("", "x", "oa")) + string[place + draw.randrange(3) :]
    return " ".join(string.split())


def is_near(question: str, other: str) -> bool:
    wanted, its = set(shingles(question)), set(shingles(other))
    return len(wanted & its) >= LEAST_JACCARD * len(wanted | its) or one_slip(question, other)


@pytest.mark.parametrize("seed", range(4))
def test_all_pairs_and_no_others_are_found_whatever_is_rare(seed: int) -> None:
    draw = Random(seed)
    words = ("a", "an", "tar", "quay", "mooring", "aaaaaaaa")
    questions = [draw.choice(ALIKE).format(*draw.choices(words, k=3)) for _ in range(60)]
    texts = [edited(draw, draw.choice([draw.choice(ALIKE).format(*draw.choices(words, k=3)), *questions]))
             for _ in range(400)]  # fmt: skip
    near = Near(enumerate(questions))
    expected = {(n, m) for n, q in enumerate(questions) for m, text in enumerate(texts) if is_near(q, text)}
    assert 150 < len(expected) < 2_000  # of 24,000
    # The order is of the texts that are counted: of these, of few of them, of none.
    for counted in (texts, texts[::40], []):
        index = near.index(map(SegmentedText, counted))
        found = [(n, m) for m, text in enumerate(texts) for n, _ in index.find(SegmentedText(text), ())]
        assert len(found) == len(set(found))
        assert set(found) == expected
    passed_over = set(range(0, 60, 2))
    assert {n for text in texts for n, _ in index.find(SegmentedText(text), passed_over)} == {
        n for n, _ in expected - {(n, m) for n in passed_over for m in range(400)}
    }


def test_a_question_over_several_segments_is_found_where_it_begins() -> None:
    near = Near([(7, "the quay was built in 1911 a storm took it who paid")])
    text = SegmentedText("Before. The quay was built in 1911. A strom took it. Who paid? After.")
    assert list(near.index([text]).find(text, ())) == [(7, 1)]


def alone(question: str, text: str) -> list[tuple[int, int]]:
    """What is found of one question in one text: all that one side alone has then comes first in the order."""
    read = SegmentedText(text)
    return list(Near([(0, question)]).index([read]).find(read, ()))


def test_at_the_threshold_itself() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789äöüåéèêçñ"  # Each stretch of it stands there once.
    whole, part = letters[:44], letters[:36]  # 40 shingles, 32 of them: a Jaccard similarity of 0.8
    for question, text, found in ((whole, part, True), (part, whole, True), (whole, part[:-1], False)):
        assert alone(question, text) == ([(0, 0)] if found else []), (question, text)


def test_a_slip_that_touches_three_characters_at_any_place() -> None:
    question = "who has to pay the fee of it"
    for place, letter in enumerate(question[1:-1], 1):
        if letter == " ":  # Two letters swapped over a space: seven shingles are others on either side.
            swapped = question[: place - 1] + question[place + 1] + " " + question[place - 1] + question[place + 2 :]
            assert alone(question, swapped) == [(0, 0)], swapped


def test_segments_shorter_than_a_shingle() -> None:
    assert alone("who paid for it all and why not", "Who. Paid. For. It. All. And. Why. Nto.") == [(0, 0)]
