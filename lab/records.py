"""The nouns of the lab: what comes in, what a student hands in, and what the judge says of it.

Every record is a frozen dataclass of plain values, so it can be written as one JSON line and read back.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class LabError(Exception):
    """A mistake the user can mend. The message names the thing and the mend; it is shown without a traceback.

    kind: what a failed run is listed as.
    """

    kind = "mistake"


class DivergedError(LabError):
    """A training whose loss is no number any more."""

    kind = "diverged"


class MemoryFullError(LabError):
    """There is less memory than the work takes, however it is parted."""

    kind = "out of memory"


class DiskError(LabError):
    """A disk that is full, read-only or broken, where something was to be kept."""

    kind = "disk"


@dataclass(frozen=True)
class Document:
    """One text of the private corpus: the unit that intervals are clustered by."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Passage:
    """A stretch of a document that fits a prompt. `text == document.text[start:end]`, offsets in characters."""

    id: str
    document_id: str
    title: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class ScoredPassage:
    """A passage as a reader found it; the score is the reader's own (cosine for dense search, 1.0 for gold)."""

    passage: Passage
    score: float


# What became of a fact since the first edition of a corpus that changes.
STATUSES = ("unchanged", "changed", "new", "deleted")


@dataclass(frozen=True)
class Question:
    """One exam question.

    answers: accepted forms, the first is the reference. part: the kind of question, by which scores are split.
    passages: ids of the gold passages, empty where the corpus does not say. documents: ids of the documents the
    question is about, the first is its cluster for the bootstrap. practised: whether practice covered its act.
    given: texts that belong to the question itself (a reading exercise), shown by every route, closed-book too.
    choices: of a multiple-choice question, in the order of their letters A, B, ...; `answers` is then the right letter.
    evidence: gold text by its words, where ids are not known: it is matched to passages by content.
    alternatives: from how many equally likely values the answer was drawn, where the world that made it knows.
    status: of a corpus that changes, one of `STATUSES`. stale: what was right in an earlier edition and is not any
    more; of a deleted fact the right answer is "unknown".
    """

    id: str
    question: str
    answers: tuple[str, ...]
    part: str = "all"
    passages: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    practised: bool | None = None
    given: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    alternatives: int | None = None
    status: str | None = None
    stale: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        """Itself as JSON. What editions alone know is left out where there are none: their digests are older."""
        row = dataclasses.asdict(self)
        return row if self.status else {name: value for name, value in row.items() if name not in ("status", "stale")}


@dataclass(frozen=True)
class TrainingText:
    """What weights may be trained on: running text, or a beginning with questions on it.

    text: without pairs it carries loss throughout. With pairs it is a beginning without loss, which every
    (prompt, answer) sees beside itself and nothing else; only the answers carry loss. source: what it was made of.
    """

    source: str
    text: str
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def plain(self) -> str:
        """All of it as one text, to be searched."""
        return self.text + "".join(f"{prompt}{answer}\n" for prompt, answer in self.pairs)


@dataclass(frozen=True)
class Answer:
    """What a student handed in for one question, with what it took.

    passages: (passage id, score) in prompt order. log_probability: of the reference answer given the same prompt,
    natural log, summed over its tokens; None where the model does not tell. seconds: share of the batch's time;
    retrieval_seconds apart. choices: of each choice (log-probability of its letter, of its text) after the prompt;
    empty where there are none. error: why there is no answer (a server that failed), None where there is one.
    """

    question_id: str
    text: str
    passages: tuple[tuple[str, float], ...]
    prompt_digest: str
    prompt_tokens: int
    answer_tokens: int
    seconds: float
    retrieval_seconds: float
    log_probability: float | None
    choices: tuple[tuple[float, float], ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Grade:
    """What the judge says of one answer. Scores are in 0..1, and None where they do not apply to the question.

    score: the one that counts, by what the question is: exact_match of a short answer, rouge_l of a long one, for a
    choice whether the letter in the free answer is right. exact_match, token_f1, contains, rouge_l: of words.
    choice_letter, choice_text, choice_text_normalised: whether the right choice is the likeliest to the model by its
    letter, by its text, by its text per character. outcome is one of `right`, `partial` (a long answer in part),
    `wrong`, `unknown` (abstained where an answer exists), `unknown_right` (abstained where it should), `format_error`
    (empty or not an answer's shape, no letter of a choice), `failed` (there is no answer).
    """

    question_id: str
    score: float
    outcome: str
    exact_match: float | None = None
    token_f1: float | None = None
    contains: float | None = None
    rouge_l: float | None = None
    choice_letter: float | None = None
    choice_text: float | None = None
    choice_text_normalised: float | None = None


FAILURE = "failure.jsonl"  # in the folder of a run that failed while others went on


@dataclass(frozen=True)
class Failure:
    """A route that came to no result. kind: `mistake`, `diverged`, `out of memory`, `disk`, `overdue`, `killed`, or
    `fault` of the code's own. reason: in one line.
    """

    pipeline: str
    seed: int
    kind: str
    reason: str

    @classmethod
    def of(cls, error: BaseException, pipeline: str, seed: int) -> Failure:
        """What an error says of itself."""
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, LabError):
            return cls(pipeline, seed, error.kind, words)
        if isinstance(error, MemoryError) or " out of memory" in words:
            return cls(pipeline, seed, MemoryFullError.kind, words)
        if not isinstance(error, Exception):
            return cls(pipeline, seed, "overdue", words)
        return cls(pipeline, seed, "fault", f"{type(error).__name__}: {words}")


def told(work: Callable[[], object]) -> int:
    """Do a command's work; a mistake that the user can mend is told in one line. Exit codes: 0, 2 for it, 130."""
    try:
        work()
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """LabError where what is done inside meets a file that cannot be read: its rights, its disk, a name too long."""
    try:
        yield
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror}); mend it, its name or its rights") from None


def json_line(row: Any) -> str:
    """A dataclass or dict as one line of JSON."""
    value = dataclasses.asdict(row) if dataclasses.is_dataclass(row) and not isinstance(row, type) else row
    return json.dumps(value, ensure_ascii=False) + "\n"


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclasses or dicts, one JSON object a line, UTF-8."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(map(json_line, rows))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Read one JSON object a line; a broken line raises LabError with its file and number."""
    with readable(path), path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
                raise LabError(f"{path}, line {number}: not JSON ({error}); mend or delete the line") from None
            if not isinstance(row, dict):
                raise LabError(f"{path}, line {number}: a JSON object is needed, one a line")
            yield row
