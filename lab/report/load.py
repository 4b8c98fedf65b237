"""A run folder in, data frames out. Opens without torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.judge.grading import kind, unanswerable
from lab.judge.retrieval import retrieval_scores
from lab.judge.stale import gives_stale
from lab.judge.statistics import clusters_of
from lab.ledger import Entry
from lab.records import Answer, Grade, LabError, Question, read_jsonl

MANIFEST = "manifest.json"
EXTERNAL = "external"  # the adaptation and context of a route that is none of the lab's
MANIFEST_KEYS = (
    "pipeline",
    "adaptation",
    "context",
    "settings",
    "seed",
    "reference",
    "arm",
    "overrides",
    "parameters",
    "facts",
    "exam_size",
    "digests",
    "leaked",
    "finished",
)
# Runs that differ in one of these sat another exam, or prepared for it from other texts. Null is not known, as the
# corpus of another system is not.
COMPARABLE_DIGESTS = ("corpus", "exam", "general")

QUESTION_COLUMNS = ("question_id", *(f.name for f in dataclasses.fields(Question) if f.name != "id"))
GRADE_COLUMNS = tuple(f.name for f in dataclasses.fields(Grade) if f.name != "question_id")
ANSWER_FIELDS = tuple(f.name for f in dataclasses.fields(Answer))
COST_COLUMNS = tuple(f.name for f in dataclasses.fields(Entry))
# Folders of earlier versions do not have these; what they do not tell is not known.
LATER_COSTS = ("replayed_tokens", "padded_tokens", "flops", "flops_formula", "peak_cuda_bytes", "joules")
QUESTION_LISTS = ("answers", "passages", "documents", "given", "choices", "evidence", "stale")
LATER = {"status": None, "stale": ()}  # what older runs do not tell of their questions, and its default
DERIVED = ("cluster", "answerable", "kind", "chance")
NUMBERS = (
    *("prompt_tokens", "answer_tokens", "seconds", "retrieval_seconds", "log_probability"),
    *(name for name in GRADE_COLUMNS if name != "outcome"),
)
TEXT_COLUMNS = ("text_id", "bits", "bytes")
WAIT_COLUMNS = ("question_id", "first", "seconds", "retrieval_seconds")
PASSAGE_COLUMNS = ("id", "title", "text")
TRAINING_COLUMNS = (
    "tokens",
    *("domain_loss", "general_loss"),
    *("domain_bits_per_byte", "general_bits_per_byte"),
    *("exam_score", "general_score"),
)


@dataclass(frozen=True, eq=False)  # frames have no plain ==
class Run:
    """One route's run, as its folder tells it.

    manifest: `manifest.json`. The frames, one row a line of their files:

    - questions: suite ("exam" or "general"), question_id, question, answers (accepted, the first is the reference),
      part, passages (ids of the gold ones), documents, practised (True, False or None), given, choices and evidence
      (texts), status and stale (of a corpus that changes: what became of the fact, and texts that were right once),
      cluster (what intervals are clustered by), answerable (False where the right answer is "unknown"), kind
      ("short", "long" or "choice": what the score is), chance (of guessing it right: 0 but for choices).
    - answers: in the order of questions; suite, question_id, text, passages (of (id, score), best first),
      prompt_digest, prompt_tokens, answer_tokens, seconds, retrieval_seconds, log_probability (natural log), choices,
      error (why there is no answer, None where there is one), those of `lab.records.Grade` (scores in 0..1), and of the
      question: part, practised, status, alternatives, cluster, answerable, kind, chance; stale_given (1.0 where the
      answer was right in an earlier edition, else 0.0). Numbers that are not known, or do not apply, are NaN.
    - texts: text_id, bits, bytes of the held-out general text.
    - costs: the columns of `lab.ledger.Entry`; what is not known is NaN, as in folders of earlier versions.
    - training: one row an evaluation while the weights were adapted, empty where they were not: tokens seen so far,
      domain_loss and general_loss (natural log a token, on private and on general text), domain_bits_per_byte and
      general_bits_per_byte of the same texts, exam_score and general_score (0..1, closed-book, on a fixed small sample
      of either suite); NaN where not measured.
    - waits: exam questions asked one by one, as users ask them: question_id, first (whether of all, with what is loaded
      at first use), seconds, retrieval_seconds apart. Empty in folders of earlier versions and of other systems.

    Beside the route and its digests the manifest tells: arm (its name in an experiment, or None), overrides (the words
    of the command line, as `name=value`), parameters (of the model that answered) and facts (told by the corpus); the
    last two are None where not known.
    """

    folder: Path
    manifest: dict[str, Any]
    questions: pd.DataFrame
    answers: pd.DataFrame
    texts: pd.DataFrame
    costs: pd.DataFrame
    training: pd.DataFrame
    waits: pd.DataFrame

    @property
    def pipeline(self) -> str:
        """The route's name."""
        return str(self.manifest["pipeline"])

    @property
    def seed(self) -> int:
        """The seed of everything that is drawn by chance in the run."""
        return int(self.manifest["seed"])

    @cached_property
    def overrides(self) -> dict[str, str]:
        """The words of the command line that made the run: {"training.general_share": "0.25"}."""
        return dict(word.lstrip("+").split("=", 1) for word in self.manifest["overrides"] if "=" in word)

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns of answers as arrays: a comparison slices them thousands of times, and pandas is slow at that."""
        return {str(name): self.answers[name].to_numpy(dtype=_dtype(self.answers[name])) for name in self.answers}

    @cached_property
    def retrieval(self) -> pd.DataFrame:
        """Retrieval scores of the exam questions that have gold passages, in order; columns of `retrieval_scores`."""
        # A prompt may show the best passage last: the scores, not the places in it, say how they were ranked.
        shown = self.arrays["passages"][self.arrays["suite"] == "exam"].tolist()
        if self.manifest["context"] == EXTERNAL:  # Of another system the order counts; scores may be missing.
            return retrieval_scores(self.exam, shown)
        return retrieval_scores(self.exam, [sorted(passages, key=lambda found: -found[1]) for passages in shown])

    @cached_property
    def passages(self) -> pd.DataFrame:
        """Passages that were shown or are gold: id, title, text. Empty where only the ids are known, as of another
        system's answers. Read at first use, as most readers need none."""
        path = self.folder / "passages.jsonl"
        return _frame(path, PASSAGE_COLUMNS) if path.is_file() else pd.DataFrame(columns=list(PASSAGE_COLUMNS))

    @cached_property
    def exam(self) -> list[Question]:
        """The exam's questions as records, in order; in the same order as the answers with suite "exam"."""
        rows = self.questions[self.questions["suite"] == "exam"].rename(columns={"question_id": "id"})
        return [Question(**row) for row in rows[[f.name for f in dataclasses.fields(Question)]].to_dict("records")]

    def differs_from(self, other: Run) -> list[str]:
        """What keeps the two from being compared: names of digests, exam_size, questions or texts; else empty."""
        ours, theirs = self.manifest["digests"], other.manifest["digests"]
        known = [name for name in COMPARABLE_DIGESTS if None not in (ours[name], theirs[name])]
        names = [name for name in known if ours[name] != theirs[name]]
        if self.manifest["exam_size"] != other.manifest["exam_size"]:
            names.append("exam_size")
        suites = ("exam", "general") if "general" in known else ("exam",)
        if not names and any(self._asked(suite) != other._asked(suite) for suite in suites):
            names.append("questions")
        if not names and "general" in known and not self.texts["text_id"].equals(other.texts["text_id"]):
            names.append("texts")
        return names

    def _asked(self, suite: str) -> list[str]:
        return self.arrays["question_id"][self.arrays["suite"] == suite].tolist()


def load(run_dir: str | Path) -> Run:
    """Read one run folder.

    Raises LabError, naming the folder and the mend, where a file or a column is missing, the run did not finish,
    answers and questions do not belong together, or a log-probability is not a finite number.
    """
    folder = Path(run_dir)
    manifest = read_manifest(folder)
    if not manifest["finished"]:
        raise LabError(f"{folder}: the run did not finish; run it again, or delete the folder")
    for name in COMPARABLE_DIGESTS:
        if name not in manifest["digests"]:
            raise LabError(f"{folder / MANIFEST}: no digest of the {name}; run it again")
    questions = _questions(folder)
    return Run(
        folder=folder,
        manifest=manifest,
        questions=questions,
        answers=_answers(folder, questions),
        texts=_frame(folder / "texts.jsonl", TEXT_COLUMNS),
        costs=_costs(folder / "costs.jsonl"),
        training=_training(folder / "training.jsonl"),
        waits=_waits(folder / "waits.jsonl"),
    )


def _dtype(column: pd.Series) -> type:
    return float if pd.api.types.is_float_dtype(column) else object


def read_manifest(folder: Path) -> dict[str, Any]:
    """A run's `manifest.json`; raises LabError, naming the mend, where it is missing or not that of a run."""
    path = folder / MANIFEST
    if not path.is_file():
        raise LabError(f"{folder}: no {MANIFEST}, so this is no run folder; name one, or a folder of runs")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path}: not JSON ({error}); run it again, or delete the folder") from None
    missing = [key for key in MANIFEST_KEYS if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise LabError(f"{path}: not the manifest of a run, no {', '.join(missing)}; run it again, or name another")
    return manifest


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    if not path.is_file():
        raise LabError(f"{path.parent}: {path.name} is missing; run it again, or delete the folder")
    rows = list(read_jsonl(path))
    needed = frozenset(columns)
    for number, row in enumerate(rows, 1):
        if not needed <= row.keys():
            missing = ", ".join(column for column in columns if column not in row)
            raise LabError(f"{path}, line {number}: no {missing}; run it again with this version")
    return rows


def _frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(_rows(path, columns), columns=list(columns))


def _costs(path: Path) -> pd.DataFrame:
    rows = _rows(path, [name for name in COST_COLUMNS if name not in LATER_COSTS])
    return pd.DataFrame(rows, columns=list(COST_COLUMNS)).astype(dict.fromkeys(LATER_COSTS, float))


def _training(path: Path) -> pd.DataFrame:
    rows = _rows(path, TRAINING_COLUMNS) if path.is_file() else []  # only routes that train write one
    return pd.DataFrame(rows, columns=list(TRAINING_COLUMNS)).astype(float)


def _waits(path: Path) -> pd.DataFrame:
    rows = _rows(path, WAIT_COLUMNS) if path.is_file() else []
    return pd.DataFrame(rows, columns=list(WAIT_COLUMNS)).astype({"seconds": float, "retrieval_seconds": float})


@dataclass(frozen=True)
class _Content:
    """A file by what stands in it, so that what is made of it can be kept for others with the same content."""

    digest: str
    path: Path = dataclasses.field(compare=False)


def _questions(folder: Path) -> pd.DataFrame:
    path = folder / "questions.jsonl"
    if not path.is_file():
        raise LabError(f"{folder}: {path.name} is missing; run it again, or delete the folder")
    # A frame of the run's own, which shares the other's memory until one of them is written to.
    return _asked(_Content(hashlib.sha256(path.read_bytes()).hexdigest(), path)).copy(deep=False)


@lru_cache(maxsize=8)  # All runs of a comparison ask the same.
def _asked(content: _Content) -> pd.DataFrame:
    path, names = content.path, [f.name for f in dataclasses.fields(Question)]
    told = [name for name in names if name not in LATER]
    rows = [{**LATER, **row} for row in _rows(path, ("suite", *told))]
    if not any(row["suite"] == "exam" for row in rows):
        raise LabError(f"{path}: no exam question; run it again with an exam")
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in ("suite", *names)}
    columns |= {name: [tuple(row[name]) for row in rows] for name in QUESTION_LISTS}
    questions = [Question(*values) for values in zip(*(columns[name] for name in names), strict=True)]
    columns["question_id"] = columns.pop("id")
    columns["cluster"] = clusters_of(questions)
    columns["answerable"] = [not unanswerable(question) for question in questions]
    columns["kind"] = [kind(question) for question in questions]
    columns["chance"] = [len(q.answers) / len(q.choices) if q.choices else 0.0 for q in questions]
    # None must stay None: a float column would turn it into NaN, which is neither practised nor unpractised.
    objects = {name: pd.Series(columns[name], dtype=object) for name in ("practised", "alternatives", "status")}
    return pd.DataFrame(columns | objects, columns=["suite", *QUESTION_COLUMNS, *DERIVED])


def _answers(folder: Path, questions: pd.DataFrame) -> pd.DataFrame:
    path = folder / "answers.jsonl"
    rows = _rows(path, ("suite", *ANSWER_FIELDS, "grade"))
    graded = frozenset(GRADE_COLUMNS)
    for number, row in enumerate(rows, 1):
        if not graded <= row["grade"].keys():
            ungraded = ", ".join(name for name in GRADE_COLUMNS if name not in row["grade"])
            raise LabError(f"{path}, line {number}: no {ungraded} in the grade; run it again")
        if row["log_probability"] is not None and not math.isfinite(row["log_probability"]):
            raise LabError(f"{path}, line {number}: log_probability is not finite; check the model, run it again")
    answers = {(row["suite"], row["question_id"]): row for row in rows}
    asked = list(zip(questions["suite"].tolist(), questions["question_id"].tolist(), strict=True))
    if len(rows) != len(asked) or answers.keys() != set(asked):
        raise LabError(f"{path}: {len(rows)} answers do not fit {len(asked)} questions one to one; run it again")
    ordered = [answers[key] for key in asked]
    # By column: pandas takes far longer to make a frame of rows, and a report opens many.
    columns: dict[str, Any] = {name: [row[name] for row in ordered] for name in ("suite", *ANSWER_FIELDS)}
    columns |= {name: [row["grade"][name] for row in ordered] for name in GRADE_COLUMNS}
    columns |= {name: np.array(columns[name], dtype=float) for name in NUMBERS}  # None, which is not known, is NaN
    columns["passages"] = [tuple((str(passage), float(score)) for passage, score in row["passages"]) for row in ordered]
    columns |= {name: questions[name] for name in ("part", "practised", "status", *DERIVED)}
    pairs = zip(columns["text"], questions["stale"], strict=True)
    columns["stale_given"] = [float(gives_stale(text, stale)) if stale else math.nan for text, stale in pairs]
    return pd.DataFrame({**columns, "alternatives": questions["alternatives"].astype(float)})
