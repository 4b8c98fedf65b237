"""Run folders in, data frames out. Opens without torch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from lab.judge.grading import unanswerable
from lab.judge.retrieval import retrieval_scores
from lab.judge.statistics import clusters_of
from lab.ledger import Entry
from lab.records import Answer, Grade, LabError, Question, read_jsonl

MANIFEST = "manifest.json"
MANIFEST_KEYS = (
    "pipeline",
    "adaptation",
    "context",
    "settings",
    "seed",
    "reference",
    "exam_size",
    "digests",
    "finished",
)
# Runs that differ in one of these sat another exam, or prepared for it from other texts.
COMPARABLE_DIGESTS = ("corpus", "exam", "general")

QUESTION_COLUMNS = ("question_id", *(f.name for f in dataclasses.fields(Question) if f.name != "id"))
GRADE_COLUMNS = tuple(f.name for f in dataclasses.fields(Grade) if f.name != "question_id")
ANSWER_COLUMNS = (*(f.name for f in dataclasses.fields(Answer)), *GRADE_COLUMNS)
COST_COLUMNS = tuple(f.name for f in dataclasses.fields(Entry))
TEXT_COLUMNS = ("text_id", "bits", "bytes")


@dataclass(frozen=True, eq=False)  # frames have no plain ==
class Run:
    """One route's run, as its folder tells it.

    manifest: `manifest.json`. The frames, one row a line of their files:

    - questions: suite ("exam" or "general"), question_id, question, answers (accepted, the first is the reference),
      part, passages (ids of the gold ones), documents, practised (True, False or None), given (texts), cluster (what
      intervals are clustered by), answerable (False where the right answer is "unknown").
    - answers: in the order of questions; suite, question_id, text, passages (of (id, score), best first),
      prompt_digest, prompt_tokens, answer_tokens, seconds, retrieval_seconds, log_probability (natural log),
      exact_match, token_f1, contains (0..1), outcome, and of the question: part, practised, cluster, answerable.
    - texts: text_id, bits, bytes of the held-out general text.
    - costs: phase, seconds, cpu_seconds, tokens, bytes, peak_rss_bytes, reused, detail.
    """

    folder: Path
    manifest: dict[str, Any]
    questions: pd.DataFrame
    answers: pd.DataFrame
    texts: pd.DataFrame
    costs: pd.DataFrame

    @property
    def pipeline(self) -> str:
        """The route's name."""
        return str(self.manifest["pipeline"])

    @property
    def seed(self) -> int:
        """The seed of everything that is drawn by chance in the run."""
        return int(self.manifest["seed"])

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns of answers as arrays: a comparison slices them thousands of times, and pandas is slow at that."""
        return {str(name): self.answers[name].to_numpy(dtype=_dtype(self.answers[name])) for name in self.answers}

    @cached_property
    def retrieval(self) -> pd.DataFrame:
        """Retrieval scores of the exam questions that have gold passages, in order; columns of `retrieval_scores`."""
        return retrieval_scores(self.exam, self.arrays["passages"][self.arrays["suite"] == "exam"].tolist())

    @cached_property
    def exam(self) -> list[Question]:
        """The exam's questions as records, in order; in the same order as the answers with suite "exam"."""
        rows = self.questions[self.questions["suite"] == "exam"].rename(columns={"question_id": "id"})
        return [Question(**row) for row in rows[[f.name for f in dataclasses.fields(Question)]].to_dict("records")]

    def differs_from(self, other: Run) -> list[str]:
        """What keeps the two from being compared: names of digests, exam_size, questions or texts; else empty."""
        ours, theirs = self.manifest["digests"], other.manifest["digests"]
        names = [name for name in COMPARABLE_DIGESTS if ours[name] != theirs[name]]
        if self.manifest["exam_size"] != other.manifest["exam_size"]:
            names.append("exam_size")
        asked = ["suite", "question_id"]
        if not names and not self.questions[asked].equals(other.questions[asked]):
            names.append("questions")
        if not names and not self.texts["text_id"].equals(other.texts["text_id"]):
            names.append("texts")
        return names


def load(run_dir: str | Path) -> Run:
    """Read one run folder.

    Raises LabError, naming the folder and the mend, where a file or a column is missing, the run did not finish,
    answers and questions do not belong together, or a log-probability is not a finite number.
    """
    folder = Path(run_dir)
    manifest = _manifest(folder)
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
        costs=_frame(folder / "costs.jsonl", COST_COLUMNS),
    )


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """Run folders (folders with a `manifest.json`) among the paths and at any depth below them, each once, sorted.

    Raises LabError for a path that is not a folder, and where there is no run at all.
    """
    folders = [Path(path) for path in paths]
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise LabError(f"{folder}: no such folder; name a run folder, or a folder of runs")
        found.update(manifest.parent for manifest in folder.rglob(MANIFEST))
    if not found:
        names = ", ".join(str(folder) for folder in folders)
        raise LabError(f"no run in {names}: no {MANIFEST} there or below; make one with `python -m lab pipeline=rag`")
    return sorted(found)


def gather(paths: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    """The runs to be compared among the paths: the newest finished one of each pipeline, its settings and seed.

    Pipelines of one name and several settings are told apart by what differs: `rag context.k=1`. Returns the runs and
    one sentence for each folder left out. Raises LabError where no run is finished.
    """
    finished, notes = [], []
    for folder in find_runs(paths):
        if _manifest(folder)["finished"]:
            finished.append(folder)
        else:
            notes.append(f"{folder} is left out: the run did not finish.")
    if not finished:
        raise LabError(f"no finished run: {' '.join(notes)} Run it again.")
    newest: dict[tuple[str, str, int], Run] = {}
    for run in (load(folder) for folder in sorted(finished, key=_age)):
        key = (run.pipeline, json.dumps(run.manifest["settings"], sort_keys=True), run.seed)
        older = newest.pop(key, None)
        if older is not None:
            notes.append(f"{older.folder} is left out: {run.folder} is newer, with the same pipeline and seed.")
        newest[key] = run
    return _told_apart(list(newest.values())), notes


def _told_apart(runs: list[Run]) -> list[Run]:
    """The runs, with the settings that differ added to the names of pipelines that occur with several settings."""
    named = []
    for run in runs:
        same = [flat(other.manifest["settings"]) for other in runs if other.pipeline == run.pipeline]
        own = flat(run.manifest["settings"])
        differing = [name for name in own if any(other.get(name) != own[name] for other in same)]
        label = " ".join([run.pipeline, *(f"{name}={own[name]}" for name in differing)])
        named.append(dataclasses.replace(run, manifest={**run.manifest, "pipeline": label}))
    return named


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with dotted names: {"context": {"k": 3}} is {"context.k": 3}."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inner = flat(value) if isinstance(value, Mapping) else {"": value}
        found |= {f"{name}.{rest}".rstrip("."): one for rest, one in inner.items()}
    return found


def latest(path: str | Path) -> list[Run]:
    """The newest run below a folder, with all others that may be compared with it, as `gather` picks them."""
    manifests = {folder: _manifest(folder) for folder in sorted(find_runs([path]), key=_age)}
    finished = [folder for folder, manifest in manifests.items() if manifest["finished"]]
    if not finished:
        raise LabError(f"{path}: no finished run there or below; run one with `python -m lab pipeline=rag`")
    newest = load(finished[-1])
    same = [folder for folder in finished if not newest.differs_from(load(folder))]
    return gather(same)[0]


def _dtype(column: pd.Series) -> type:
    return float if pd.api.types.is_float_dtype(column) else object


def _age(folder: Path) -> tuple[int, str]:
    """Sorts the newest last; folders written in the same instant go by name."""
    return (folder / MANIFEST).stat().st_mtime_ns, str(folder)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise LabError(f"{folder}: no {MANIFEST}, so this is no run folder; name one, or a folder of runs")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabError(f"{path}: not JSON ({error}); run it again, or delete the folder") from None
    missing = [key for key in MANIFEST_KEYS if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise LabError(f"{path}: not the manifest of a run, no {', '.join(missing)}; run it again, or name another")
    return manifest


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    if not path.is_file():
        raise LabError(f"{path.parent}: {path.name} is missing; run it again, or delete the folder")
    rows = list(read_jsonl(path))
    for number, row in enumerate(rows, 1):
        missing = [column for column in columns if column not in row]
        if missing:
            raise LabError(f"{path}, line {number}: no {', '.join(missing)}; run it again with this version")
    return rows


def _frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(_rows(path, columns), columns=list(columns))


def _questions(folder: Path) -> pd.DataFrame:
    path = folder / "questions.jsonl"
    rows = []
    for row in _rows(path, ("suite", *(f.name for f in dataclasses.fields(Question)))):
        lists = {name: tuple(row[name]) for name in ("answers", "passages", "documents", "given")}
        question = Question(**{f.name: lists.get(f.name, row[f.name]) for f in dataclasses.fields(Question)})
        derived = {"cluster": clusters_of([question])[0], "answerable": not unanswerable(question)}
        rows.append({**row, **lists, "question_id": question.id, **derived})
    if not any(row["suite"] == "exam" for row in rows):
        raise LabError(f"{path}: no exam question; run it again with an exam")
    frame = pd.DataFrame(rows, columns=["suite", *QUESTION_COLUMNS, "cluster", "answerable"])
    # None must stay None: a float column would turn it into NaN, which is neither practised nor unpractised.
    frame["practised"] = pd.Series([row["practised"] for row in rows], dtype=object)
    return frame


def _answers(folder: Path, questions: pd.DataFrame) -> pd.DataFrame:
    path = folder / "answers.jsonl"
    answers: dict[tuple[str, str], dict[str, Any]] = {}
    rows = _rows(path, ("suite", *(f.name for f in dataclasses.fields(Answer)), "grade"))
    for number, row in enumerate(rows, 1):
        ungraded = [name for name in GRADE_COLUMNS if name not in row["grade"]]
        if ungraded:
            raise LabError(f"{path}, line {number}: no {', '.join(ungraded)} in the grade; run it again")
        if not math.isfinite(row["log_probability"]):
            raise LabError(f"{path}, line {number}: log_probability is not finite; check the model, run it again")
        ranking = tuple((str(passage), float(score)) for passage, score in row["passages"])
        grade = {name: row["grade"][name] for name in GRADE_COLUMNS}
        answers[row["suite"], row["question_id"]] = {**row, **grade, "passages": ranking}
    asked = list(zip(questions["suite"], questions["question_id"], strict=True))
    if len(rows) != len(asked) or set(answers) != set(asked):
        raise LabError(f"{path}: {len(rows)} answers do not fit {len(asked)} questions one to one; run it again")
    frame = pd.DataFrame([answers[key] for key in asked], columns=["suite", *ANSWER_COLUMNS])
    for column in ("part", "practised", "cluster", "answerable"):
        frame[column] = questions[column]
    return frame
