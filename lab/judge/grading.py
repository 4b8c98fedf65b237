"""One answer, one grade: a score by what the question is, and an outcome that keeps ignorance apart from error."""

from __future__ import annotations

import re
import unicodedata

from lab.judge.choices import by_log_probability, letter_of
from lab.judge.words import contains, exact_match, normalise, rouge_l, token_f1, tokens
from lab.records import Answer, Grade, LabError, Question

UNKNOWN = "unknown"
SHORT, LONG, CHOICE = "short", "long", "choice"
LONG_TOKENS = 40  # a reference with more is hardly ever met word for word

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
    r"^[^\S\n]*+(?:(?:question|answer|passages?)\s*:|answer (?:in a few words|with the letter)|-\s[^:\n]+:\s)",
    re.IGNORECASE | re.MULTILINE,
)
_RUN_ON_FACTOR, _RUN_ON_SLACK = 4, 20


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


def kind(question: Question) -> str:
    """What a question is, which decides its score.

    `choice` (it has choices) scores the letter of the free answer, `long` (its shortest accepted answer has more than
    40 tokens) ROUGE-L, `short` exact match.
    """
    if question.choices:
        return CHOICE
    return LONG if min(len(tokens(form)) for form in _accepted(question)) > LONG_TOKENS else SHORT


def grade(question: Question, answer: Answer) -> Grade:
    """Grade one answer; each score is the best over the accepted answers.

    The outcome goes by exact match with any accepted answer: the gold answer among further words has contains 1 and
    exact_match 0, and is `wrong` (a long one that shares anything is `partial`). First right answers and abstentions
    are taken out, and only then the format is judged, so neither is ever a format error. Where abstaining is right,
    any form of it scores 1 on all scores, and all else 0, as in SQuAD 2.0 (Rajpurkar et al. 2018). For a choice the
    outcome goes by the letter; without one it is a format error. An answer with an error is `failed` and scores 0.

    Raises LabError for a question without answers, and for log-probabilities that do not fit the choices.
    """
    if question.choices:
        return _grade_choice(question, answer)
    accepted = _accepted(question)
    if answer.error is not None:
        return Grade(question.id, 0.0, "failed", 0.0, 0.0, 0.0, 0.0)
    absent = unanswerable(question)
    exact = max(exact_match(answer.text, form) for form in accepted)
    abstained = is_unknown(answer.text)
    if absent:
        exact = f1 = contained = rouge = float(exact == 1.0 or abstained)
    else:
        f1, contained, rouge = (
            max(score(answer.text, form) for form in accepted) for score in (token_f1, contains, rouge_l)
        )
    is_long = kind(question) == LONG
    if exact == 1.0:
        outcome = "unknown_right" if absent else "right"
    elif abstained:
        outcome = "unknown"
    elif is_format_error(answer.text, accepted):
        outcome = "format_error"
    else:
        outcome = "partial" if is_long and rouge > 0 else "wrong"
    return Grade(question.id, rouge if is_long else exact, outcome, exact, f1, contained, rouge)


def _grade_choice(question: Question, answer: Answer) -> Grade:
    right = _accepted(question)
    if answer.error is not None:
        return Grade(question.id, 0.0, "failed")
    letter = letter_of(answer.text, question.choices)
    if letter is not None:
        outcome = "right" if letter in right else "wrong"
    else:
        outcome = "unknown" if is_unknown(answer.text) else "format_error"
    likely: list[float | None] = [None, None, None]
    if answer.choices:
        likely = [float(one in right) for one in by_log_probability(question.id, question.choices, answer.choices)]
    return Grade(
        question.id,
        float(letter in right),
        outcome,
        choice_letter=likely[0],
        choice_text=likely[1],
        choice_text_normalised=likely[2],
    )


def _accepted(question: Question) -> tuple[str, ...]:
    if not question.answers:
        raise LabError(f"question {question.id} has no accepted answer; give it one, or 'unknown'")
    return question.answers


def _opening_clause(text: str) -> str:
    return _CLAUSE_END.split(unicodedata.normalize("NFKC", text).strip(), maxsplit=1)[0]
