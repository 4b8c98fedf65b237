"""One answer, one grade: exact match, token F1, contains, and an outcome that keeps ignorance apart from error.

English is normalised as in SQuAD (Rajpurkar et al. 2016: case, punctuation and articles do not count), with two
departures: a point between digits stays (3.5 is not 35), and a text of nothing but articles or punctuation stays (a
choice "A" is an answer). Han characters and kana are one token each, so Chinese needs no word segmenter.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from lab.records import Grade, LabError, Question

UNKNOWN = "unknown"

_CJK = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")
_BESIDE_CJK = re.compile(rf"\s*([{_CJK}])\s*")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_POINT_OUTSIDE_NUMBER = re.compile(r"(?<!\d)\.|\.(?!\d)")
_ASCII_SYMBOLS = frozenset("$+<=>^`|~")  # SQuAD strips these too, though Unicode calls them symbols

_CLAUSE_END = re.compile(r"[.,;:!?。、\n]")  # NFKC has already turned the full-width forms of the rest into ASCII
# Matched against a whole normalised clause.
_ABSTENTION = re.compile(
    r"(?:.+ (?:is|are) |is |answer )?(?:unknown|not (?:known|stated|mentioned|specified|answerable))"
    r"|(?:i )?(?:do not|dont|cannot) (?:know|say|tell|answer)(?: answer)?|(?:i have )?no idea|no answer|unanswerable"
    r"|(?:i am |im )?not sure|(?:passages?|text|document) (?:does|do) not say"
    r"|我?不(?:知道|清楚)|(?:.+是)?未知|不[详詳]|未提及|[没沒]有提到|[无無]法(?:回答|[确確]定)"
)

# The prompt's own furniture: a line of the answer that opens with it is an echo, not an answer.
_SCAFFOLD = re.compile(
    r"^\s*(?:question|answer|passages?)\s*:|^\s*answer in a few words|^\s*-\s[^:\n]+:\s", re.IGNORECASE | re.MULTILINE
)
_RUN_ON_FACTOR, _RUN_ON_SLACK = 4, 20


def normalise(text: str) -> str:
    """The form in which two answers are the same: NFKC, casefolded, without punctuation, articles and spare spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    pointless = _POINT_OUTSIDE_NUMBER.sub("", folded)
    bare = "".join(c for c in pointless if c == "." or not _is_punctuation(c))
    for candidate in (_ARTICLE.sub(" ", bare), bare, folded):
        if candidate.strip():
            return _BESIDE_CJK.sub(r"\1", " ".join(candidate.split()))
    return ""


def tokens(text: str) -> list[str]:
    """Tokens of the normalised text: a Han character or kana each, any other stretch without spaces as one."""
    return _TOKEN.findall(normalise(text))


def exact_match(answer: str, reference: str) -> float:
    """1.0 where both normalise to the same text, else 0.0. An empty answer matches nothing."""
    return float(normalise(answer) == normalise(reference) != "")


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of token precision and recall, counted as bags (SQuAD), in 0..1; by character for CJK text."""
    mine, gold = tokens(answer), tokens(reference)
    shared = (Counter(mine) & Counter(gold)).total()
    return 2 * shared / (len(mine) + len(gold)) if shared else 0.0


def contains(answer: str, reference: str) -> float:
    """1.0 where the reference's tokens stand in the answer, whole, adjoining and in order; else 0.0."""
    mine, gold = tokens(answer), tokens(reference)
    starts = range(len(mine) - len(gold) + 1) if gold else range(0)
    return float(any(mine[start : start + len(gold)] == gold for start in starts))


def is_unknown(text: str) -> bool:
    """Whether the answer abstains: its opening clause is a known form ("unknown", "I do not know", "不知道").

    The clause decides, so "Unknown. The act does not say." abstains, and so does an abstention that goes on to guess.
    """
    return any(_ABSTENTION.fullmatch(normalise(form)) is not None for form in (text, _opening_clause(text)))


def unanswerable(question: Question) -> bool:
    """Whether the right answer is to abstain: the first accepted answer is "unknown"."""
    return normalise(_accepted(question)[0]) == UNKNOWN


def is_format_error(text: str, accepted: tuple[str, ...]) -> bool:
    """Whether the text has no answer's shape, whatever it says.

    That is: no letter or digit in it; a line that echoes the prompt (opens with "Question:", "Answer:", "Passages:",
    the instruction, or a passage's "- title: "); or a run-on, longer than 4 times the longest accepted answer
    plus 20 tokens (a full sentence passes, a paragraph or a loop does not). A wrong answer has an answer's shape.
    """
    limit = _RUN_ON_FACTOR * max(len(tokens(answer)) for answer in accepted) + _RUN_ON_SLACK
    blank = not any(character.isalnum() for character in text)
    echo = _SCAFFOLD.search(unicodedata.normalize("NFKC", text)) is not None
    return blank or echo or len(tokens(text)) > limit


def grade(question: Question, answer_text: str) -> Grade:
    """Grade one answer; each score is the best over the accepted answers.

    The outcome goes by exact match with any accepted answer: the gold answer among further words has contains 1 and
    exact_match 0, and is `wrong`. First right answers and abstentions are taken out, and only then the format is
    judged, so neither is ever a format error. Where abstaining is right, any form of it scores 1 on all three
    scores, and all else 0, as in SQuAD 2.0 (Rajpurkar et al. 2018). Raises LabError for a question without answers.
    """
    accepted = _accepted(question)
    absent = unanswerable(question)
    exact = max(exact_match(answer_text, form) for form in accepted)
    abstained = is_unknown(answer_text)
    if absent:
        score = float(exact == 1.0 or abstained)
        scores = (score, score, score)
    else:
        f1 = max(token_f1(answer_text, form) for form in accepted)
        scores = (exact, f1, max(contains(answer_text, form) for form in accepted))
    if scores[0] == 1.0:
        outcome = "unknown_right" if absent else "right"
    elif abstained:
        outcome = "unknown"
    else:
        outcome = "format_error" if is_format_error(answer_text, accepted) else "wrong"
    return Grade(question.id, *scores, outcome)


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P") or character in _ASCII_SYMBOLS


def _accepted(question: Question) -> tuple[str, ...]:
    if not question.answers:
        raise LabError(f"question {question.id} has no accepted answer; give it one, or 'unknown'")
    return question.answers


def _opening_clause(text: str) -> str:
    return _CLAUSE_END.split(unicodedata.normalize("NFKC", text).strip(), maxsplit=1)[0]
