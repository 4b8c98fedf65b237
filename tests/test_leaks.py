"""The leak guard: every way in which a question may stand in a text, what is no leak, and a plain search beside it."""

from __future__ import annotations

import re
from random import Random

import pytest

from lab.exam.leaks import LeakGuard, tokenise
from lab.exam.near import one_slip, shingles
from lab.exam.prompts import prompt
from lab.records import LabError, Question
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import StatuteBook

FEE = Question("fee", "What is the mooring fee of Quenmar?", ("40 florins",))
LONG = Question(
    "long",
    "Under the harbour rules of 1911, which officer must a captain see before the tide turns, and what must he pay?",
    ("the warden",),
)
CHINESE = Question("chinese", "哪个法院受理港口费用的上诉\uff1f", ("港口法院",))
SHORT = Question("short", "Notice period?", ("30 days",))
READING = Question(
    "reading",
    "Who keeps the western gate of Belfell?",
    ("Norby",),
    given=("The gate is old.", "The Belfell Act, section 2: as for the keeper of the western gate, Norby holds it."),
)
EXAM = [FEE, LONG, CHINESE, SHORT, READING]
PROSE = "The harbour lies in the north.\nIts {} is known to all who come by sea, and the gate is old."


def found(text: str, exam: list[Question] = EXAM) -> list[tuple[str, str]]:
    return [(leak.question, leak.how) for leak in LeakGuard(exam).find([("text", text)])]


@pytest.mark.parametrize("question", [FEE, LONG, CHINESE, READING], ids=lambda q: q.id)
def test_a_question_is_found_wherever_it_is_pasted(question):
    for text in (
        question.question,
        PROSE.format(question.question),
        prompt(question.question, ["- Act: The fee is low.\n"]) + " unknown",
        f'{{"question": "{question.question}", "answer": "x"}}',
        question.question.upper().replace(" ", "  "),
        re.sub(r"\W+", " ", question.question),
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in question.question),  # full-width forms
    ):
        assert found(text) == [(question.id, "exact")], text


def test_a_question_broken_over_lines_is_found_where_it_begins():
    for question in (FEE, CHINESE):
        for place in range(2, len(question.question) - 2):
            if question is CHINESE or question.question[place] == " ":
                text = f"first\n> {question.question[:place]}\n> {question.question[place:]}\nlast"
                (leak,) = LeakGuard(EXAM).find([("wrapped", text)])
                assert (leak.text, leak.question, leak.how) == ("wrapped", question.id, "exact")
                assert leak.line == f"> {question.question[:place]}".strip()


def slip(random: Random, text: str) -> str:
    """One character changed, missing or added, or two swapped; spaces and the end mark stay."""
    place = random.choice([i for i in range(len(text) - 2) if text[i : i + 2].isalnum()])
    letter = random.choice("aeiourst")
    return random.choice(
        (
            text[:place] + letter + text[place + 1 :],
            text[:place] + text[place + 1 :],
            text[:place] + letter + text[place:],
            text[:place] + text[place + 1] + text[place] + text[place + 2 :],
        )
    )


def test_one_slip_anywhere_is_found_in_any_question():
    random = Random(0)
    exam = [*StatuteBook(acts=12).exam(), FEE, LONG, CHINESE]
    texts = [(q.id, f"An act.\nQuestion: {slip(random, q.question)} Answer: unknown") for q in exam]
    texts += [(q.id, q.question.replace("What is", form)) for q in exam for form in ("What's", "What\u2019s", "Whats")]
    leaks = LeakGuard(exam).find(texts)
    assert {(id, id) for id, _ in texts} <= {(leak.text, leak.question) for leak in leaks}
    assert "near-duplicate" in {leak.how for leak in leaks}


def test_long_questions_may_differ_by_more():
    text = LONG.question.replace("turns", "turned").replace("1911", "1912")
    assert found(text) == [("long", "near-duplicate")]
    assert not found(text.replace("harbour rules", "port bylaws").replace("officer", "warden"))


def test_thirteen_tokens_of_a_long_question_are_found_in_other_text():
    words = LONG.question.split()
    for start in range(len(words) - 12):
        assert found(f"It says {' '.join(words[start : start + 13])} by all means and so on.") == [("long", "13-gram")]
        assert not found(f"It says {' '.join(words[start : start + 12])} by all means and so on.")


def test_a_chinese_question_may_share_a_phrase_with_its_source_but_not_twenty_six_characters():
    asked = "根据港口管理条例的规定在旺季靠泊三天以上的外国船舶应当向哪一个部门缴纳停泊费用和清洁费用"
    guard = LeakGuard([Question("zh", asked, ("港务局",))])
    for start in range(len(asked) - 25):
        (leak,) = guard.find([("t", f"甲乙丙{asked[start : start + 26]}丁戊己")])
        assert leak.how == "13-gram"
        assert not guard.find([("t", f"甲乙丙{asked[start : start + 25]}丁戊己")])


def test_what_is_allowed_is_noted(caplog):
    guard = LeakGuard([FEE, LONG], allow=True)
    guard.check([("t", f"A text. {FEE.question} Another.")])
    assert guard.leaked == {FEE.id}
    assert "allow_leak=true" in caplog.text
    guard.check([("u", "Nothing of the kind.")])
    assert guard.leaked == {FEE.id}


def test_given_texts_count_when_they_are_long_enough():
    assert found(f"Once more. {READING.given[1]}") == [("reading", "exact")]
    assert (
        found("So: as for the keeper of the western gate, Norby holds it. The Belfell Act, section 2 as for the") == []
    )
    assert found(" ".join(READING.given[1].split()[1:]) + " No more.") == [("reading", "13-gram")]
    assert not found(READING.given[0])


def test_a_short_question_leaks_only_where_it_stands_alone_as_a_question():
    for text in ("Notice period?", "He asked.\n- notice  period? 30 days", "Question: Notice period?\nAnswer:"):
        assert found(text) == [("short", "exact")], text
    for text in ("## Notice period\nThirty days.", "Notice period: 30 days", "What of the notice period?", "Notice"):
        assert not found(text), text
    assert found("谁管港口\uff1f", [Question("q", "谁管港口\uff1f", ("x",))])
    assert not found("不知谁管港口的船。", [Question("q", "谁管港口\uff1f", ("x",))])
    assert not found("anything", [Question("q", "???", ("x",))])


def test_a_question_of_several_sentences_is_compared_with_as_many():
    asked = "The quay was built in 1911. A storm took it at 3.5 bells. Who paid?"
    assert found(f"Before. {asked.replace('storm', 'strom')} After.", [Question("q", asked, ("x",))])


def test_facts_and_other_questions_are_no_leak():
    for text in (
        "The mooring fee of Quenmar is 40 florins. It is the mooring fee of Quenmar that is high.",
        "State the mooring fee of Quenmar.",
        "What is the harbour rule of Quenmar?",
        "What is the mooring fee of Belfell?",
        "港口费用的上诉由港口法院受理。",
        "",
    ):
        assert not found(text), text


def test_the_embedded_world_is_clean_and_any_of_its_questions_would_be_found():
    book = StatuteBook()
    exam = book.exam() + GeneralWorld().exam()
    practice = book.practice()
    texts = [(document.id, document.text) for document in book.documents() + book.reworded(20)]
    texts += [(question.id, f"{question.question}") for question in practice]
    texts += [(f"{q.id} asked", prompt(q.question, []) + f" {q.answers[0]}\n") for q in practice]
    guard = LeakGuard(exam)
    guard.check(texts)
    pasted = [(q.id, f"{texts[number % 40][1]}\n{q.question}\n") for number, q in enumerate(exam[::9])]
    leaks = {(leak.text, leak.question) for leak in guard.find(pasted) if leak.how == "exact"}
    assert leaks >= {(q.id, q.id) for q in exam[::9]}


def test_questions_that_are_nearly_the_same_are_both_found():
    twin = Question("twin", FEE.question.replace("Quenmar", "Quenmars"), ("x",))
    same = Question("same", FEE.question, ("x",))
    assert found(FEE.question, [FEE, twin, same]) == [("fee", "exact"), ("twin", "near-duplicate"), ("same", "exact")]


def test_a_pair_is_reported_once_and_a_repeated_text_examined_once():
    text = f"{FEE.question}\n{FEE.question.replace('mooring', 'morring')}\n{LONG.question}"
    leaks = LeakGuard(EXAM).find([("one", text), ("two", text), ("three", f"{text}!")])
    assert [(leak.text, leak.question, leak.how) for leak in leaks] == [
        ("one", "fee", "exact"),
        ("one", "long", "exact"),
        ("three", "fee", "exact"),
        ("three", "long", "exact"),
    ]


def test_the_error_names_text_line_question_way_and_mend():
    guard = LeakGuard(EXAM)
    guard.check([("clean", "The harbour lies in the north.")])
    with pytest.raises(LabError) as raised:
        guard.check([("act-007", f"# Title\nAs is asked, {FEE.question} Nobody knows.\nEnd.")])
    message = str(raised.value)
    assert "1 exam question(s)" in message
    assert (
        "act-007: question fee (exact) in 'As is asked, What is the mooring fee of Quenmar? Nobody knows.'" in message
    )
    assert "take these lines out" in message
    with pytest.raises(LabError, match=r"at 9 place\(s\)[\s\S]*and 4 more"):
        guard.check([(f"act-{n}", f"{n}. {FEE.question}") for n in range(9)])


def test_a_long_line_is_shown_from_the_sentence_that_leaks():
    (leak,) = LeakGuard(EXAM).find([("text", "No fee is due. " * 90 + FEE.question + " Not known." * 90)])
    assert leak.line.startswith(FEE.question)
    assert len(leak.line) == 200


# A plain search beside it: all pairs, no index, its own tokens and segments (ASCII texts only).


def plain_tokens(text: str) -> list[str]:
    return re.sub("[^a-z]", " ", text.lower()).split()


def plain_runs(text: str) -> set[str]:
    segments = [plain_tokens(segment) for segment in re.split(r"[\n.?!:]", text)]
    ends = range(len(segments) + 1)
    return {" ".join(token for segment in segments[i:j] for token in segment) for i in ends for j in ends if i < j}


def plain_one_edit(a: str, b: str) -> bool:
    a, b = sorted((a.replace(" ", ""), b.replace(" ", "")), key=len)
    if len(a) == len(b):
        differ = [i for i in range(len(a)) if a[i] != b[i]]
        swapped = (
            len(differ) == 2
            and differ[1] == differ[0] + 1
            and a[differ[0]] + a[differ[1]] == b[differ[1]] + b[differ[0]]
        )
        return len(differ) <= 1 or swapped
    return len(a) + 1 == len(b) and any(b[:i] + b[i + 1 :] == a for i in range(len(b)))


def plain_near(question: str, run: str) -> bool:
    wanted, its = ({s[i : i + 5] for i in range(len(s) - 4)} for s in (question, run))
    return bool(its) and (len(wanted & its) >= 0.8 * len(wanted | its) or plain_one_edit(question, run))


def test_the_index_finds_what_a_plain_search_of_all_pairs_finds():
    random = Random(1)
    words = re.findall(r"\w+", "what which toll quay fee of the in has bell tower harbour keeper levy mooring")
    exam = [
        Question(str(n), " ".join(random.choices(words, k=random.randint(5, 12))).capitalize() + "?", ("x",))
        for n in range(25)
    ]
    texts = []
    for number in range(250):
        edited = random.choice(exam).question
        for _ in range(random.randint(0, 3)):
            edited = slip(random, edited)
        if random.random() < 0.5:  # A word left out, repeated or put elsewhere; a sentence end in its midst.
            parts = edited.split()
            parts[random.randrange(len(parts))] = random.choice(("", "the", random.choice(words) + "."))
            edited = " ".join(parts)
        around = [" ".join(random.choices(words, k=random.randint(1, 6))) for _ in range(2)]
        texts.append((str(number), random.choice((". ", "\n", ": ", " ")).join((around[0], edited, around[1]))))
    expected = {}
    for identity, text in texts:
        joined, runs = f" {' '.join(plain_tokens(text))} ", plain_runs(text)
        for question in exam:
            asked = " ".join(plain_tokens(question.question))
            if f" {asked} " in joined:
                expected[identity, question.id] = "exact"
            elif any(plain_near(asked, run) for run in runs):
                expected[identity, question.id] = "near-duplicate"
    leaks = {(k.text, k.question): k.how for k in LeakGuard(exam).find(texts) if k.how != "reworded"}
    assert leaks == expected
    assert min(list(expected.values()).count(how) for how in ("exact", "near-duplicate")) > 20


def test_tokens_and_shingles():
    assert tokenise("What\u2019s Quen\u00admar\u2019s FEE, in № 3.5\uff1f") == [
        "what",
        "s",
        "quenmar",
        "s",
        "fee",
        "in",
        "no",
        "3",
        "5",
    ]
    assert tokenise("第３条 act_2 カナ 한글") == ["第", "3", "条", "act", "2", "カ", "ナ", "한", "글"]
    assert shingles("abcdef") == ["abcde", "bcdef"]
    assert shingles("abc") == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("what s the fee", True),
        ("whats the fee", True),
        ("whatis the fee", True),
        ("what is teh fee", True),
        ("what is the fees", True),
        ("wat is the fee", True),
        ("wat is the fees", False),
        ("what is the toll", False),
        ("what is fee", False),
    ],
)
def test_one_slip_by_hand(other, expected):
    assert one_slip("what is the fee", other) == one_slip(other, "what is the fee") == expected
