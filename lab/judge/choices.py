"""Multiple choice: the letter that a free answer gives, and the choice that a model holds likeliest."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Sequence

from lab.judge.words import contains, exact_match, normalise
from lab.records import LabError

LETTERS = string.ascii_uppercase

# A letter by itself: "B", "(B)", "**B**", "B.". Symbols that may belong to a name (C++) do not count as wrapping.
_ALONE = re.compile(r"[\s\"'(\[*_]*([A-Za-z])[\s\"')\]*_.:,;!。、]*")
_LETTER = r"[\s\"'(\[*_]*([A-Z])(?![A-Za-z0-9'+#])"
# Said in so many words that it is the answer; only letters so given count where there are any.
_SAID = (
    re.compile(
        r"\banswers?\b[^.:\n]{0,40}?(?:\bis\b|\bare\b|\bbe\b|[:=])\s*(?:the )?(?:option\b|choice\b|letter\b)?"
        + _LETTER,
        re.IGNORECASE,
    ),
    re.compile(r"\b([A-Z])[\"')\]*_]* is (?:the )?(?:correct|right|best)\b"),
    re.compile(r"答案\s*(?:应该|应当|应)?\s*(?:[是为為选選]|:)*\s*(?:选项)?" + _LETTER),
)
_CHOSEN = (
    re.compile(
        r"\b(?:option|choice|letter|choose|pick|select|go with|i say|i think(?: it is| it's)?|it is|it's)\b"
        r"(?: is| would be|:)?" + _LETTER,
        re.IGNORECASE,
    ),
    re.compile(r"(?:选择|選擇|选项|選項|选|選)\s*" + _LETTER),
)
_SAID_LOW = re.compile(r"\banswer(?: is|:)[\s\"'(\[*_]*([a-z])[\s\"')\]*_.]*$", re.IGNORECASE)
_OPENING = re.compile(r"[\s\"'(\[*_]*([A-Z])[\"')\]*_]*(?:[.:)\]、,。]|\s*\n)\s*(.*)", re.DOTALL)
_BEFORE_TEXT = re.compile(r"[\s\"'(\[*_]*([A-Z])\b[\W_]*(.+)", re.DOTALL)
# A further letter beside the first one: "A or B", "A, B", "A和B", or one at the beginning of a line.
_FURTHER = re.compile(
    r"(?:\b(?:or|and|nor)\s+|[,、/&或和及与與]\s*|\n\s*)(?:option |choice )?[\"'(\[*_]*([A-Z])(?![A-Za-z0-9'+#])"
)


def letter_of(text: str, choices: Sequence[str]) -> str | None:
    """The letter that a free answer gives, or None where it gives none, or more than one.

    By the first of these that applies: the letter alone ("b", "(B)"); the text of one choice and nothing else; a
    letter said to be the answer ("The answer is B", "答案:B"), of several the same each time; a letter before its
    choice's text, or before a point, bracket or line end ("B. Paris"); a letter said to be chosen ("option B", "选B");
    the full text of one choice among other words, and of no other choice. An "A" in running text is an article.
    """
    # One space for many: the patterns try a run of white space in all the ways to share it out.
    lines = unicodedata.normalize("NFKC", text).splitlines()
    answer = "\n".join(" ".join(line.split()) for line in lines if line.strip())
    letters = LETTERS[: len(choices)]
    alone = _ALONE.fullmatch(answer)
    if alone and alone[1].upper() in letters:
        return alone[1].upper()
    lettered = list(zip(letters, choices, strict=True))
    same = [letter for letter, choice in lettered if exact_match(answer, choice)]
    if same:
        return same[0] if len(same) == 1 else None
    for found in (_stated(answer, _SAID), _said_low(answer), _opening(answer, choices), _stated(answer, _CHOSEN)):
        if found:
            return found.pop() if len(found) == 1 and found <= set(letters) else None
    held = [letter for letter, choice in lettered if contains(answer, choice)]
    return held[0] if len(held) == 1 else None


def likeliest(scores: Sequence[float]) -> str:
    """The letter of the highest score, the first of equal ones."""
    return LETTERS[max(range(len(scores)), key=scores.__getitem__)]


def by_log_probability(
    question_id: str, choices: Sequence[str], log_probabilities: Sequence[tuple[float, float]]
) -> tuple[str, str, str]:
    """The likeliest choice: by its letter, by its text, and by its text per character (`acc_norm` of lm-eval).

    log_probabilities: (of the letter, of the text) a choice. Raises LabError where they do not fit the choices or one
    is not a number.
    """
    if len(log_probabilities) != len(choices) or any(math.isnan(value) for pair in log_probabilities for value in pair):
        raise LabError(f"question {question_id}: no log-probability for each choice; check the model, run again")
    letter, text = zip(*log_probabilities, strict=True)
    normalised = [value / len(choice) for value, choice in zip(text, choices, strict=True)]
    return likeliest(letter), likeliest(text), likeliest(normalised)


def _stated(answer: str, patterns: Sequence[re.Pattern[str]]) -> set[str]:
    """All letters that the patterns give, and those joined to one of them."""
    found = set()
    for pattern in patterns:
        for match in pattern.finditer(answer):
            if match[1].isupper():  # patterns that ignore case would take the article "a"
                further = _FURTHER.match(answer, _skip_blank(answer, match.end()))
                found |= {match[1], *([further[1]] if further else [])}
    return found


def _skip_blank(answer: str, place: int) -> int:
    while place < len(answer) and answer[place] in " )]\"'*_":
        place += 1
    return place


def _said_low(answer: str) -> set[str]:
    match = _SAID_LOW.search(answer)
    return {match[1].upper()} if match else set()


def _opening(answer: str, choices: Sequence[str]) -> set[str]:
    letters = LETTERS[: len(choices)]
    whole = _BEFORE_TEXT.fullmatch(answer)
    if whole and whole[1] in letters and normalise(whole[2]) == normalise(choices[letters.index(whole[1])]):
        return {whole[1]}
    match = _OPENING.fullmatch(answer)
    if not match:
        return set()
    # From the letter on, as the comma behind it may join a second one.
    further = _FURTHER.findall(answer, match.end(1))
    return {match[1], *(letter for letter in further if letter in letters)}
