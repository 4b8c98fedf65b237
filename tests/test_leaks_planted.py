"""Exam questions planted on purpose, word for word and reworded: the guard names them, and training does not start.

What is a leak, and what is none. The statute exam asks for facts that the acts state and that practice asks for too, in
wordings that the exam never uses: "State the fee of Quenmar." is lawful practice beside the exam's "What is the fee of
Quenmar?". So neither a fact nor the names in it make a leak; asking for it as the exam does makes one. A question is
reworded, and leaks, where one sentence

- holds every word of it, in any order and with a few more between (a person who retells a question keeps its words), or
- ends with a question mark and holds all of its words but auxiliaries, articles and prepositions ("What would the fee
  for Quenmar be?") or, if it asks by no other word, its question word ("The fee of Quenmar?").

An imperative ("Give the fee of Quenmar.") is word for word what lawful practice looks like. No rule over words can tell
the two apart, so it is no leak; the rewordings below hold it all the same, since it is what a person would write, and
it is counted as missed.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from lab.__main__ import command_line
from lab.exam.leaks import LeakGuard
from lab.exam.prompts import ask
from lab.exam.rewording import digits
from lab.records import Question, write_jsonl
from lab.worlds.__main__ import write_worlds
from lab.worlds.embedded import WorldReplay
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import EXAM_PARTS, StatuteBook
from lab.worlds.wording import EXAM

# Ten ways to reword each of the exam's forms, by what changes. {a} {b} attributes, {s} subject, {v} value, {n} its
# number in words, {q} the question itself, {Q} and {q/} see `reworded`. Written before the guard was mended.
REWORDINGS: dict[str, dict[str, str]] = {
    "asked politely": {
        "recall": "Please tell me what the {a} of {s} is, and why.",
        "reverse": "I would like to know which one has {v} as its {a}.",
        "two_hop": "Could you tell me what the {b} of the {a} of {s} is?",
        "money": "Do you happen to know how much money {s} must hand over?",
        "time": "I wonder how long {s} may wait.",
        "place": "Please find out where {s} can complain, if anywhere.",
        "who": "Can anybody tell me who looks after {s}?",
    },
    "clauses in another order": {
        "recall": "The {a} of {s} is what?",
        "reverse": "As its {a}, which one has {v}?",
        "two_hop": "Of the {a} of {s}, what is the {b}?",
        "money": "{s} must hand over how much money?",
        "time": "{s} may wait how long?",
        "place": "{s} can complain where?",
        "who": "{s}: who looks after it?",
    },
    "chatter before and after": dict.fromkeys(EXAM, "Good morning, a quick one for you - {q} Thanks in advance!"),
    "case and marks": dict.fromkeys(EXAM, ">> {Q} <<"),
    "number in words": {"reverse": "Which one has {n} as its {a}?"},
    "split over lines": dict.fromkeys(EXAM, "{q/}"),
    "filler words": {
        "recall": "What exactly is the so-called {a} of this {s}?",
        "reverse": "Which one, pray, really has {v} as its own {a}?",
        "two_hop": "What then is the actual {b} of the said {a} of {s}?",
        "money": "How much money, all in all, must {s} really hand over?",
        "time": "How long, at the very most, may {s} still wait?",
        "place": "Where, if at all, can {s} ever complain?",
        "who": "Who nowadays really looks after {s}?",
    },
    "imperative": {
        "recall": "Give the {a} of {s}.",
        "reverse": "Give the one with {v} as its {a}.",
        "two_hop": "Give the {b} of the {a} of {s}.",
        "money": "Give the sum of money that {s} must hand over.",
        "time": "Give the time that {s} may wait.",
        "place": "Give the place where {s} can complain.",
        "who": "Give the name of the one who looks after {s}.",
    },
    "other small words": {
        "recall": "What would the {a} for {s} be?",
        "reverse": "Which is the one that has {v} for an {a}?",
        "two_hop": "What's the {b} at the {a} of {s}?",
        "money": "How much money does {s} have to hand over?",
        "time": "How long is {s} allowed to wait?",
        "place": "Where is {s} able to complain?",
        "who": "Who is it that looks after {s}?",
    },
    "telegraphic": {
        "recall": "{a} of {s}?",
        "reverse": "one with {v} as {a}?",
        "two_hop": "{b} of {a} of {s}?",
        "money": "how much money {s} hand over?",
        "time": "how long {s} wait?",
        "place": "where {s} complain?",
        "who": "who looks after {s}?",
    },
}
# A second set, written when the guard's rule was fixed: rewordings that keep fewer of the question's own words.
AFTERWARDS: dict[str, dict[str, str]] = {
    "possessive or passive": {
        "recall": "What is {s}'s {a}?",
        "reverse": "Whose {a} is {v}?",
        "two_hop": "What is the {b} of {s}'s {a}?",
        "money": "How much money must be handed over by {s}?",
        "time": "What is {s}'s longest wait?",
        "place": "Where can a complaint of {s} go?",
        "who": "By whom is {s} looked after?",
    },
    "synonyms": {
        "recall": "Which {a} does {s} have?",
        "reverse": "Who or what got {v} for {a}?",
        "two_hop": "Which {b} does the {a} of {s} have?",
        "money": "How much cash has {s} to pay?",
        "time": "How many days can {s} hold out?",
        "place": "Where may {s} lodge a complaint?",
        "who": "Who takes care of {s}?",
    },
    "notes for the exam": {
        "recall": "Exam: what is the {a}? (for {s})",
        "reverse": "Exam: which one has {v}? (as its {a})",
        "two_hop": "Exam: what is the {b}? (of the {a} of {s})",
        "money": "Exam, {s}: how much money must it hand over?",
        "time": "Exam, {s}: how long may it wait?",
        "place": "Exam, {s}: where can it complain?",
        "who": "Exam, {s}: who looks after it?",
    },
    "reported": {
        "recall": "They asked me what the {a} of {s} was.",
        "reverse": "They asked me which one had {v} as its {a}.",
        "two_hop": "They asked me what the {b} of the {a} of {s} was.",
        "money": "They asked me how much money {s} had to hand over.",
        "time": "They asked me how long {s} could wait.",
        "place": "They asked me where {s} could complain.",
        "who": "They asked me who looked after {s}.",
    },
    "one slip and a prefix": {
        "recall": "So then what's teh {a} of {s}?",
        "reverse": "So wich one has {v} as its {a}?",
        "two_hop": "So then what's teh {b} of the {a} of {s}?",
        "money": "So how mcuh money must {s} hand over?",
        "time": "So how lnog may {s} wait?",
        "place": "So wehre can {s} complain?",
        "who": "So who lokos after {s}?",
    },
}
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
BELOW_TWENTY = """
one two three four five six seven eight nine
ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
"""
UNITS = ("", *BELOW_TWENTY.split())
PLANTED, EACH_KIND = 50, 5


def in_words(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    below = UNITS[rest] if rest < 20 else "-".join(filter(None, (TENS[rest // 10], UNITS[rest % 10])))
    return " and ".join(filter(None, (f"{UNITS[hundreds]} hundred" if hundreds else "", below)))


def taken_apart(question: str) -> tuple[str, dict[str, str]]:
    """The form of an exam question, and the words in its places. Two hops first: they look like one of more words."""
    for form in ("two_hop", *EXAM):
        (template,) = EXAM[form]
        pattern = re.sub(r"\\{(\w)\\}", r"(?P<\1>[\\w ]+)", re.escape(template))
        if found := re.fullmatch(pattern, question):
            return form, found.groupdict()
    raise AssertionError(question)


def reworded(question: str, templates: dict[str, str]) -> str | None:
    """The question in other words, None where these do not apply to it. templates: of a kind, by the exam's form."""
    form, words = taken_apart(question)
    template = templates.get(form)
    number = re.match(r"\d+", words.get("v", ""))
    if template is None or ("{n}" in template and number is None):
        return None
    if number:
        words["n"] = words["v"].replace(number.group(), in_words(int(number.group())))
    middle = question.index(" ", len(question) // 2)
    words |= {"q": question, "q/": f"{question[:middle]}\n{question[middle + 1 :]}"}
    words["Q"] = question.upper().replace(" ", "  ").replace("?", " ??")
    return re.sub(r"\{([\w/]+)\}", lambda place: words[place.group(1)], template)


@cache
def plants(seed: int) -> tuple[list[tuple[Question, str]], list[tuple[Question, str, str]]]:
    """Of the exam of a book: 50 questions as they are, and 50 others reworded, five of each kind, with the kind."""
    random = Random(f"plants/{seed}")
    exam = StatuteBook(seed=seed).exam()
    random.shuffle(exam)
    other = []
    for kind in sorted(REWORDINGS, key=lambda kind: len(REWORDINGS[kind])):  # Those that fit few questions first.
        asked = {q.id: reworded(q.question, REWORDINGS[kind]) for q in exam}
        fitting = [q for q in exam if asked[q.id] and all(q is not taken for taken, _, _ in other)]
        by_part: Counter[str] = Counter()
        turns = []
        for question in fitting:  # One of each part in turn.
            by_part[question.part] += 1
            turns.append((by_part[question.part], question))
        turns.sort(key=lambda turn: turn[0])
        other += [(question, str(asked[question.id]), kind) for _, question in turns[:EACH_KIND]]
    taken = {question.id for question, _, _ in other}
    return [(q, q.question) for q in exam if q.id not in taken][:PLANTED], other


def named(guard: LeakGuard, planted: list[tuple[Question, str]]) -> set[str]:
    """Ids of the questions that are found where they were planted, each with its answer in a text of its own."""
    texts = [(question.id, f"# An act\n\nNo fee is due.\n{text} {question.answers[0]}\n") for question, text in planted]
    return {leak.question for leak in guard.find(texts) if leak.question == leak.text}


def whole_exam(seed: int) -> list[Question]:
    return StatuteBook(seed=seed).exam() + GeneralWorld().exam()


@pytest.mark.parametrize("seed", range(3))
def test_planted_questions_are_found(seed: int) -> None:
    verbatim, other = plants(seed)
    assert (len(verbatim), len(other)) == (PLANTED, PLANTED)
    assert Counter(kind for _, _, kind in other) == dict.fromkeys(REWORDINGS, EACH_KIND)
    assert {q.part for q, _, _ in other} == {q.part for q, _ in verbatim} == set(EXAM_PARTS)
    guard = LeakGuard(whole_exam(seed))
    assert len(named(guard, verbatim)) == PLANTED
    found = named(guard, [(question, text) for question, text, _ in other])
    assert len(found) >= 45
    # Nothing but what no rule over words can tell from practice.
    assert {kind for question, _, kind in other if question.id not in found} == {"imperative"}


def test_planted_among_each_other_no_other_question_is_named() -> None:
    """Questions and answers one after the other, as practice has them: nothing is read over from one to the next."""
    verbatim, _ = plants(0)
    text = "".join(f"{ask(question.question)} {question.answers[0]}\n" for question, _ in verbatim)
    leaks = LeakGuard(whole_exam(0)).find([("practice", text)])
    assert {leak.question for leak in leaks if leak.how == "exact"} == {question.id for question, _ in verbatim}
    assert "reworded" not in {leak.how for leak in leaks}


def test_of_rewordings_written_afterwards_a_quarter_is_found() -> None:
    """No bound that the guard was made for: it shows where it ends. Found are 830 of 3,100, by kind as below."""
    exam = StatuteBook().exam()
    guard = LeakGuard(exam)
    share = {
        kind: len(named(guard, [(q, str(reworded(q.question, templates))) for q in exam])) / len(exam)
        for kind, templates in AFTERWARDS.items()
    }
    assert share == pytest.approx(
        {
            "possessive or passive": 0.58,
            "synonyms": 0.0,
            "notes for the exam": 0.56,
            "reported": 0.0,
            "one slip and a prefix": 0.19,
        },
        abs=0.01,
    )


@pytest.mark.parametrize("seed", range(3))
def test_lawful_texts_of_several_books_raise_no_alarm(seed: int) -> None:
    book, replay = StatuteBook(seed=seed), WorldReplay(GeneralWorld()).texts(seed)
    practice = [(question.id, f"{ask(question.question)} {question.answers[0]}\n") for question in book.practice()]
    texts = [(document.id, document.text) for document in book.documents() + book.reworded(10)]
    texts += [("practice", "".join(text for _, text in practice)), *practice]
    texts += [(f"replay {number}", text.plain) for number, text in enumerate(islice(replay, 300))]
    assert LeakGuard(whole_exam(seed)).find(texts) == []


DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared material is not there")
def test_real_passages_and_other_questions_raise_hardly_an_alarm() -> None:
    """3,219 Chinese reading questions beside their own 848 passages and each other: none. Of 1,068 English choice
    questions beside each other two, which are about nothing."""
    articles = json.loads((DATA / "reading_zh" / "cmrc2018_dev.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    chinese = [Question(asked["id"], asked["question"], ("",)) for p in paragraphs for asked in p["qas"]]
    texts = [(str(number), paragraph["context"]) for number, paragraph in enumerate(paragraphs)]
    texts += [(question.id, question.question) for question in chinese]
    assert not [k for k in LeakGuard(chinese).find(texts) if k.how == "reworded" and k.text != k.question]
    english = [
        Question(f"{file.stem} {number}", row[0], ("",))
        for file in sorted((DATA / "choice_en").glob("*.csv"))
        for number, row in enumerate(csv.reader(file.open(encoding="utf-8")))
    ]
    leaks = LeakGuard(english).find((question.id, question.question) for question in english)
    asked = {question.id: question.question for question in english}
    assert {asked[k.question] for k in leaks if k.how == "reworded" and k.text != k.question} == {
        "Which of the following is/are true?",
        "Which one of the following statements is correct?",
    }


QUENMAR = Question("fee", "What is the mooring fee of Quenmar?", ("40 florins",))
GATE = Question("gate", "Which one has 704 florins as its gate toll?", ("Belfell",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("They wonder what, to be exact, the mooring\n> fee of Quenmar is.", True),
        ("What would the mooring fee for Quenmar be?", True),
        ("What would the mooring fee for Quenmar be.", False),  # it does not ask, and has not every word
        ("What ship pays the mooring fee at Quenmar?", False),  # asks something else of it
        ("What is the fee of Quenmar?", False),
        ("mooring fee at Quenmar?", True),
        ("Is the mooring fee of Quenmar due?", False),
        ("Mooring fee of Quenmar: 40 florins", False),
        ("State the mooring fee of Quenmar.", False),
        ("What Quenmar has as mooring fee is 40 florins.", False),
        ("What is it? The mooring fee of Quenmar.", False),  # over two sentences
        ("# The mooring fee\n\nof Quenmar is what", False),
        ("Answer: Quenmar\nQuestion: What is the mooring fee of Belfell?\nAnswer:", False),
        ("What is the sum that is due, as they say, of all who come to the quay of Quenmar as a mooring fee?", False),
        ("Name which one has seven hundred and four florins as its gate toll", True),
        ("Name which one has seven hundred and five florins as its gate toll", False),
    ],
)
def test_where_a_rewording_begins_and_ends(text: str, expected: bool) -> None:
    assert bool(LeakGuard([QUENMAR, GATE]).find([("text", text)])) is expected


def test_of_two_questions_in_one_sentence_the_longer_is_meant() -> None:
    two_hops = Question("hops", "What is the seat of the mooring fee of Quenmar?", ("x",))
    (leak,) = LeakGuard([QUENMAR, two_hops]).find([("t", "Tell me what the seat of the mooring fee of Quenmar is.")])
    assert (leak.question, leak.how) == ("hops", "reworded")


def test_numbers_in_words_by_hand() -> None:
    for number in range(1, 1000):
        expected = [str(number)] if number > 1 else ["one"]
        assert digits(in_words(number).replace("-", " ").split()) == expected
    words = "in one year twenty three thousand and five hundred and six of seven thousand"
    assert digits(words.split()) == ["in", "one", "year", "23506", "of", "7000"]
    assert digits(["ninety", "days", "\u7b2c", "one", "hundred"]) == ["90", "days", "\u7b2c", "100"]


@pytest.fixture
def planted(tmp_path: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], set[str], str]:
    """The embedded world as files, with an exam of the 100 planted questions; half of either kind stand among practice,
    half in one text to replay. Returns their ids, those of the imperatives, and the command's arguments."""
    monkeypatch.chdir(tmp_path)
    write_worlds(tmp_path / "world", acts=40, sections=3, copies=1, seed=0, version=0)
    verbatim, other = plants(0)
    texts = [*verbatim, *((question, text) for question, text, _ in other)]
    write_jsonl(tmp_path / "exam.jsonl", (question for question, _ in texts))
    write_jsonl(
        tmp_path / "practice.jsonl",
        ({"id": f"leak-{q.id}", "question": text, "answers": list(q.answers)} for q, text in texts[::2]),
    )
    (tmp_path / "replay").mkdir()
    replayed = "\n\n".join(f"{text} {question.answers[0]}" for question, text in texts[1::2])
    (tmp_path / "replay" / "notes.md").write_text(replayed, encoding="utf-8")
    arguments = (
        "pipeline=cpt corpus=folder corpus.path=world/documents corpus.practice=practice.jsonl exam=jsonl "
        "exam.path=exam.jsonl general=none replay=folder replay.path=replay training.texts=[practice] "
        "training.tokens=6000 training.general_share=0.3 answer_tokens=2 "
        f"+pipeline.adaptation.training.evaluations=1 model.path={random_model}"
    )
    return [q.id for q, _ in texts], {q.id for q, _, kind in other if kind == "imperative"}, arguments


def lab(monkeypatch: pytest.MonkeyPatch, arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lab", *arguments.split()])
    return command_line()


def test_training_is_refused_and_where_it_is_allowed_the_report_is_red(
    planted: tuple[list[str], set[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ids, imperatives, arguments = planted
    assert lab(monkeypatch, arguments) == 2
    error = capsys.readouterr().err
    told = set(re.findall(r"exam-\w+-\d{4}", error))
    assert set(ids) - imperatives <= told, error
    assert f"{len(told)} exam question(s)" in error
    assert not list((tmp_path / "artifacts").rglob("*.safetensors"))

    monkeypatch.setenv("FORCE_COLOR", "1")
    assert lab(monkeypatch, f"{arguments} allow_leak=true") == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    red = re.search("\x1b\\[1;31m(Leak: [^\x1b]*)", out)
    assert red is not None
    assert f"cpt was let at {len(told)} exam question(s)" in red.group(1)
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("manifest.json")]
    (finished,) = [manifest for manifest in manifests if manifest["finished"]]
    assert set(finished["leaked"]) == told
