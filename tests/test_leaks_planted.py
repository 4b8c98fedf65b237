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
from lab.records import Question, write_jsonl
from lab.worlds.__main__ import write_worlds
from lab.worlds.embedded import WorldReplay
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import StatuteBook
from lab.worlds.wording import EXAM

# Ten ways to reword each of the exam's forms, by what changes. {a} {b} attributes, {s} subject, {v} value, {n} the value
# with its number in words, {q} the question itself. Written as a person would, before the guard was looked at.
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
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
UNITS = ["", *"one two three four five six seven eight nine".split()]
PLANTED, EACH_KIND = 50, 5


def in_words(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    below = TEENS[rest - 10] if 10 <= rest < 20 else "-".join(filter(None, (TENS[rest // 10], UNITS[rest % 10])))
    return " and ".join(filter(None, (f"{UNITS[hundreds]} hundred" if hundreds else "", below)))


def taken_apart(question: str) -> tuple[str, dict[str, str]]:
    """The form of an exam question, and the words in its places. Two hops first: they look like one of more words."""
    for form in ("two_hop", *EXAM):
        (template,) = EXAM[form]
        pattern = re.sub(r"\\{(\w)\\}", r"(?P<\1>[\\w ]+)", re.escape(template))
        if found := re.fullmatch(pattern, question):
            return form, found.groupdict()
    raise AssertionError(question)


def reworded(question: str, kind: str) -> str | None:
    """The question in other words, None where this kind does not apply to it."""
    form, words = taken_apart(question)
    template = REWORDINGS[kind].get(form)
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
        fitting = [q for q in exam if reworded(q.question, kind) and all(q is not taken for taken, _, _ in other)]
        by_part: Counter[str] = Counter()
        for question in sorted(fitting, key=lambda q: by_part.update([q.part]) or by_part[q.part])[:EACH_KIND]:
            other.append((question, str(reworded(question.question, kind)), kind))
    taken = {question.id for question, _, _ in other}
    return [(q, q.question) for q in exam if q.id not in taken][:PLANTED], other


def found(guard: LeakGuard, planted: list[tuple[str, str]]) -> set[str]:
    """Ids of planted questions that are named in a text with their answer, each in a text of its own."""
    return {leak.question for leak in guard.find(planted) if leak.question == leak.text}
