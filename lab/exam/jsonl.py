"""An exam from a file: one JSON object a line, as `python -m lab.worlds` writes it."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.exam.questions import Placed, build_questions, check_path
from lab.records import LabError, Question, readable

MOST_DIGITS = 300  # of a whole number: more are no float, and Python reads no more than 4,300


@dataclass(frozen=True)
class JsonlExam:
    """Fields of a line, of which a list may also be a single text:

    - `id`, `question`, and either `answers` (accepted forms, the reference first; `unknown` where the corpus does not
      say), or `choices` with `answer`: the letter, the index from 0 or the text of the right one (`answers` for
      several right ones);
    - optionally `passages` (gold passage ids) or `evidence` (gold text, which is matched to passages by content),
      `part` (the kind of question), `documents` (the first clusters the bootstrap), `practised`, `given` (shown by
      every route), `alternatives` (from how many equally likely values the answer was drawn);
    - of documents that have changed, `status` (`unchanged`, `changed`, `new` or `deleted` since the first edition) and
      `stale` (what was right in an earlier one).
    """

    path: str

    def __post_init__(self) -> None:
        check_path("exam.path", self.path)

    def load(self) -> list[Question]:
        """The questions in the file's order. LabError names every faulty line at once."""
        return load_questions(Path(self.path))


def load_questions(path: Path) -> list[Question]:
    """Read and check a question file; LabError with all of its faults, each with line, field and mend."""
    with readable(path):
        if not path.is_file():
            raise LabError(f"exam.path={path}: no such file; give a .jsonl file with one question a line")
    return build_questions(path, placed_rows(path))


def placed_rows(path: Path, numbers: bool = False) -> Iterator[Placed]:
    """Each line that is not blank, as ("line 3", its JSON object) or ("line 3", why it is none).

    numbers: whether NaN and infinity, which Python writes and JSON has not, are read as such.
    """
    with readable(path), path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
            if line.strip():
                yield f"line {number}", _row(line, numbers)


def parse_json(raw: bytes | str, numbers: bool = False) -> Any:
    """Strict JSON: ValueError, worded for the user, for other bytes than UTF-8, NaN, infinity and a doubled name.

    numbers: NaN and infinity are read.
    """
    try:
        return json.loads(
            raw if isinstance(raw, str) else raw.decode("utf-8"),
            parse_constant=float if numbers else _no_number,
            parse_int=_whole_number,
            object_pairs_hook=_named_once,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error}); mend or delete it") from None
    except RecursionError:
        raise ValueError("nested too deeply; mend or delete it") from None


def _row(line: bytes, numbers: bool) -> dict[str, Any] | str:
    try:
        row = parse_json(line, numbers)
    except ValueError as error:
        return str(error)
    return row if isinstance(row, dict) else "a JSON object is needed, one a line"


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON; write null, a number or a text")


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits; write it as a text")
    return int(digits)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice!r} stands twice in one object; take one out")
    return row
