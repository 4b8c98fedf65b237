"""From rows to questions: every loader brings its rows here, and all faults of a file are told at once."""

from __future__ import annotations

import logging
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from lab.records import STATUSES, LabError, Question

log = logging.getLogger(__name__)

LETTERS = string.ascii_uppercase
FAULTS_SHOWN = 1000  # a file of another kind has a fault on every line; nobody reads further than this
FAULT_SHOWN = 300  # characters of one: it may quote what stands there

# Of a row, as `exam=jsonl` documents them. Each list may also be a single text.
LISTS = ("answers", "passages", "documents", "given", "evidence", "stale")
FIELDS = ("id", "question", "answer", "choices", "part", "practised", "alternatives", "status", *LISTS)

# Where a row stands ("line 3"), and the row, or why it could not be read.
Placed: TypeAlias = tuple[str, "dict[str, Any] | str"]


def build_questions(path: Path, rows: Iterable[Placed]) -> list[Question]:
    """The questions of a file, in order; LabError with all of its faults, each with place, field and mend.

    Fields that are not read are counted in the log, so a misspelt one does not pass in silence.
    """
    questions: list[Question] = []
    faults: list[str] = []
    unread: Counter[str] = Counter()
    first_place: dict[str, str] = {}
    for place, row in rows:
        if isinstance(row, str):
            faults.append(f"{place}: {row}")
            continue
        unread.update(name for name in row if name not in FIELDS)
        found = row_faults(row)
        identity = row.get("id")
        if isinstance(identity, str) and identity in first_place:
            found.append(f"id: {identity!r} stands on {first_place[identity]} already; ids must differ")
        elif isinstance(identity, str):
            first_place[identity] = place
        if found:
            faults += [f"{place}, {fault}" for fault in found]
        else:
            questions.append(_question(row))
    if not questions and not faults:
        faults = ["no question in it; give at least one"]
    raise_faults(path, faults)
    for name, times in unread.items():
        log.warning("%s: the field %r of %d question(s) is not read; known are %s", path, name, times, _listed(FIELDS))
    return questions


def raise_faults(path: Path, faults: Sequence[str]) -> None:
    """LabError with all faults of a file, one a line, a long one without its middle; nothing where there is none."""
    if not faults:
        return
    shown = ["\n".join(map(_shortened, fault.split("\n"))) for fault in faults[:FAULTS_SHOWN]]
    if len(faults) > FAULTS_SHOWN:
        shown.append(f"and {len(faults) - FAULTS_SHOWN} more")
    raise LabError(f"{path}: {len(faults)} fault(s)\n  " + "\n  ".join(shown))


def _shortened(line: str) -> str:
    half = FAULT_SHOWN // 2  # Its beginning says where, its end what to do.
    return line if len(line) <= FAULT_SHOWN else f"{line[:half]} ... {line[-half:]}"


def check_path(name: str, path: object) -> None:
    """LabError unless the value is a text that can name a file."""
    if not isinstance(path, str) or not path.strip():
        raise LabError(f"{name}={path!r}: the path of a file is needed")


def row_faults(row: dict[str, Any]) -> list[str]:
    """What is wrong with a row, "field: what; mend" each; empty where it is a question."""
    found = [f"{name}: {fault}" for name in ("id", "question") if (fault := text_fault(row.get(name)))]
    for name in LISTS:
        found += [f"{name}{place}: {fault}" for place, fault in _list_faults(row.get(name, []))]
    if "part" in row and (fault := text_fault(row["part"])):
        found.append(f"part: {fault}")
    practised = row.get("practised")
    if practised is not None and not isinstance(practised, bool):
        found.append(f"practised: {practised!r}; true, false or nothing is needed")
    drawn = row.get("alternatives")
    if drawn is not None and (isinstance(drawn, bool) or not isinstance(drawn, int) or drawn < 1):
        found.append(f"alternatives: {drawn!r}; a whole number of at least 1, or nothing, is needed")
    if row.get("status") not in (None, *STATUSES):
        found.append(f"status: {row['status']!r}; {_listed(STATUSES, ' or ')}, or nothing, is needed")
    choices = row.get("choices", [])
    if not isinstance(choices, list):
        return [*found, "choices: a list of texts is needed"]
    given = [name for name in ("answers", "answer") if row.get(name) not in (None, [], ())]
    if len(given) == 2:
        return [*found, "answer: stands beside answers; give one of them"]
    if not given:
        mend = "a letter, index or text of a choice" if choices else "a list of at least one accepted text"
        return [*found, f"{'answer' if choices else 'answers'}: missing; {mend} is needed"]
    if not choices:
        fault = text_fault(row["answer"]) if given == ["answer"] else None
        return [*found, f"answer: {fault}"] if fault else found
    if len(choices) < 2 or len(choices) > len(LETTERS):
        found.append(f"choices: {len(choices)} of them; give 2 to {len(LETTERS)}")
    choice_faults = [f"choices[{n}]: {fault}" for n, choice in enumerate(choices) if (fault := text_fault(choice))]
    if choice_faults:
        return found + choice_faults
    # An index among `answers` is no text, but it is an answer.
    found = [fault for fault in found if not fault.startswith("answers")]
    for value in _answers(row):
        try:
            choice_letter(value, choices)
        except ValueError as error:
            found.append(f"{given[0]}: {error}")
    return found


def choice_letter(value: object, choices: Sequence[str]) -> str:
    """The letter that an answer means: a letter, the index of a choice (from 0), or the text of a choice.

    Raises ValueError, saying what is wrong and the mend, where it means none or two of them.
    """
    letters = LETTERS[: len(choices)]
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < len(choices):
            return letters[value]
        raise ValueError(f"index {value} of {len(choices)} choices; give 0 to {len(choices) - 1}, the first is 0")
    if not isinstance(value, str):
        raise ValueError(f"{value!r}; a letter, index or text of a choice is needed")
    plain = unicodedata.normalize("NFKC", value).strip()
    meant = {letters[n] for n, choice in enumerate(choices) if choice.strip() == value.strip()}
    if len(plain) == 1 and plain.upper() in letters:
        meant.add(plain.upper())
    if len(meant) == 1:
        return meant.pop()
    if meant:
        raise ValueError(f"{value!r} may be {_listed(sorted(meant), ' or ')}; give the index, the first choice is 0")
    raise ValueError(f"{value!r} is no letter (A to {letters[-1]}), index or text of the {len(choices)} choices")


def text_fault(value: object) -> str | None:
    """Why a value is no text that can be asked, written and read back; None where it is one."""
    if value is None:
        return "missing; a text is needed"
    if not isinstance(value, str):
        return f"{value!r:.40}; a text is needed"
    if not value.strip():
        return "empty; write a text or take the question out"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate); write the whole one"
    return "holds a NUL, so it is not text; take it out" if "\0" in value else None


def _list_faults(value: object) -> list[tuple[str, str]]:
    """(place in the list, fault) each."""
    if isinstance(value, str):
        return [("", fault)] if (fault := text_fault(value)) else []
    if value is None or not isinstance(value, list):
        return [("", f"{value!r:.40}; a text or a list of texts is needed")]
    return [(f"[{number}]", fault) for number, text in enumerate(value) if (fault := text_fault(text))]


def _question(row: dict[str, Any]) -> Question:
    """The question of a row without faults."""
    choices = tuple(row.get("choices", ()))
    answers = tuple(_answers(row))
    lists: dict[str, Any] = {name: _texts(row.get(name, ())) for name in LISTS if name != "answers"}
    return Question(
        id=row["id"],
        question=row["question"],
        answers=tuple(dict.fromkeys(choice_letter(value, choices) for value in answers)) if choices else answers,
        part=row.get("part", "all"),
        practised=row.get("practised"),
        alternatives=row.get("alternatives"),
        status=row.get("status"),
        choices=choices,
        **lists,
    )


def _answers(row: dict[str, Any]) -> list[Any]:
    value = row["answer"] if row.get("answer") is not None else row["answers"]
    return value if isinstance(value, list) else [value]


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _listed(names: Sequence[str], between: str = ", ") -> str:
    return between.join(names)
