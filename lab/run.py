"""One experiment as one readable function: prepare a student, let it sit the exam, grade, write the run folder."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import torch

from lab import ranks
from lab.base import Base
from lab.code import digest_code
from lab.corpus.corpus import Corpus
from lab.corpus.shelf import View
from lab.exam.evidence import match_evidence
from lab.exam.leaks import LeakGuard
from lab.exam.suite import GeneralSuite
from lab.judge.grading import grade
from lab.ledger import Ledger
from lab.meter import plus, watch
from lab.pipeline import Pipeline
from lab.progress import Progress, step
from lab.quiz import SmallQuiz, spread
from lab.records import Answer, LabError, Question, read_jsonl, write_jsonl
from lab.report import load, metrics
from lab.runtime import choose_device, environment, seed_everything, versions
from lab.store import JSON, Artifact, Store, digest, digest_file, disk_error
from lab.student import Sheet, Student, Wait
from lab.tracking import NONE, Tracker
from lab.verify import holds
from lab.workspace import Workspace

log = logging.getLogger(__name__)

# Answers that are kept together. A batch ends with its portion, and a GPU wants large ones.
PORTION = {"cpu": 256, "cuda": 1024}
ASKED_ALONE = 20  # Questions that are asked one by one, as users ask them.
WATCHED_TEXTS = 48  # Whose loss is taken while weights are trained.


class Loads(Protocol):
    """Anything that brings a corpus, an exam or a general suite."""

    def load(self) -> Any: ...


@dataclass(frozen=True)
class Experiment:
    """All that a run depends on.

    name, adaptation, context: what the route and its two axes are called. limit: ask at most so many questions of each
    part, None asks all. answer_tokens: the longest answer, in tokens of the model. allow_leak: whether a route may be
    trained on exam questions, or look things up among them; the run then says which. arm, overrides: what the run is
    called in an experiment, and the words that made it; noted, and of no other effect. tracker: who else is told of
    curves and metrics, see `lab.tracking`; of no effect on any result.
    """

    name: str
    adaptation: str
    context: str
    pipeline: Pipeline
    model: Base
    corpus: Loads
    exam: Loads
    general: Loads
    seed: int
    device: str
    artifacts: Path
    folder: Path
    reference: str
    limit: int | None = None
    answer_tokens: int = 32
    allow_leak: bool = False
    arm: str | None = None
    overrides: tuple[str, ...] = ()
    tracker: str = NONE

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int):
            raise LabError(f"seed={self.seed}: a whole number is needed")
        if self.limit is not None and (not isinstance(self.limit, int) or self.limit < 1):
            raise LabError(f"limit={self.limit}: a whole number of at least 1, or null for all questions, is needed")
        if not isinstance(self.answer_tokens, int) or self.answer_tokens < 1:
            raise LabError(f"answer_tokens={self.answer_tokens}: a whole number of at least 1 is needed")


def run(experiment: Experiment) -> Path:
    """Carry out one experiment and return its folder. The manifest is written first as unfinished and last as whole.

    DiskError where something cannot be written.
    """
    with Progress(experiment.name) as progress:
        try:
            return _run(experiment, progress)
        except Exception as error:
            mended = disk_error(error, experiment.folder, "hydra.run.dir=DIR, hydra.sweep.dir=DIR")
            if mended is not None:
                raise mended from error
            raise


def _run(experiment: Experiment, progress: Progress) -> Path:
    seed_everything(experiment.seed)
    device = choose_device(experiment.device)
    ranks.join(device)
    watch(device)
    tracker = Tracker(experiment.tracker, experiment.folder)
    # First what takes no time, so that a slip in a question is told before a large corpus is read.
    whole = experiment.exam.load()
    asked = _limited(whole, experiment.limit)
    if not asked:
        raise LabError("the exam has no questions; give at least one")
    general: GeneralSuite = experiment.general.load()
    ledger = Ledger()
    with step("ingest"), ledger.phase("ingest"):
        corpus: Corpus = experiment.corpus.load()
    with step("matching evidence"):
        exam = match_evidence(asked, corpus)
    with step("model digest"):  # Of every byte of its weights.
        model_digest = experiment.model.digest
    general_questions = _limited(general.questions, experiment.limit)
    manifest: dict[str, Any] = {
        "pipeline": experiment.name,
        "adaptation": experiment.adaptation,
        "context": experiment.context,
        "settings": dataclasses.asdict(experiment.pipeline),
        "seed": experiment.seed,
        "reference": experiment.reference,
        "arm": experiment.arm,
        "overrides": list(experiment.overrides),
        "parameters": None,
        "facts": corpus.facts,
        "exam_size": len(exam),
        "answer_tokens": experiment.answer_tokens,
        "digests": {
            "corpus": corpus.digest,
            "exam": digest([question.row for question in asked]),  # before any corpus is looked at
            "general": digest([[question.row for question in general_questions], list(general.texts)]),
            "model": model_digest,
        },
        "environment": {**environment(), "device": device},
        "leaked": [],
        "finished": False,
    }
    if ranks.told(holds(experiment.folder, manifest)):  # Where the first does not train, no other may wait for it.
        log.info("%s was finished before, with the same digests, and is kept: %s", experiment.name, experiment.folder)
        return experiment.folder
    _write_json(experiment.folder / "manifest.json", manifest)
    write_jsonl(experiment.folder / "quarantine.jsonl", corpus.quarantined)

    # Of the whole exam, so that it is the same under every limit.
    quiz = SmallQuiz(whole, general.questions, experiment.answer_tokens)
    guard = LeakGuard([*exam, *general_questions], experiment.allow_leak)
    # An index must not hold it either.
    guard.check(View(corpus.documents, lambda document: (document.id, document.text)))
    workspace = Workspace(
        Store(experiment.artifacts),
        ledger,
        experiment.seed,
        device,
        refuse_leaks=guard.check,
        progress=progress,
        general_texts=general.texts[:WATCHED_TEXTS],
        quiz=quiz,
        reporting=tracker.reporting,
    )
    with progress.step("preparing"), tracker.here():
        if ranks.rank():  # It takes part in trainings, and in nothing else.
            experiment.pipeline.adaptation.adapt(experiment.model, corpus, workspace)
            return experiment.folder
        student = experiment.pipeline.prepare(experiment.model, corpus, workspace)
    student.max_new_tokens = experiment.answer_tokens
    waits = _wait(student, exam[:1], workspace, first=True)
    exam_answers = _sit(student, exam, workspace, "answering")
    waits += _wait(student, spread(exam, ASKED_ALONE), workspace)
    general_answers = _sit(student, general_questions, workspace, "general")
    with progress.step("bits per byte"), ledger.phase("general") as entry:
        measured = student.model.bits_per_byte(general.texts) if general.texts else []
        entry.tokens = student.model.count_tokens(general.texts) if measured else 0
    manifest |= {"parameters": student.model.parameters, "leaked": sorted(guard.leaked), "finished": True}
    manifest["artifacts"] = workspace.store.used
    del student
    _release()

    suites = (("exam", exam, exam_answers), ("general", general_questions, general_answers))
    write_jsonl(
        experiment.folder / "questions.jsonl",
        ({"suite": suite, **question.row} for suite, asked, _ in suites for question in asked),
    )
    write_jsonl(
        experiment.folder / "answers.jsonl",
        (
            {"suite": suite, **dataclasses.asdict(answer), "grade": dataclasses.asdict(grade(question, answer))}
            for suite, asked, answers in suites
            for question, answer in zip(asked, answers, strict=True)
        ),
    )
    write_jsonl(experiment.folder / "waits.jsonl", waits)
    write_jsonl(
        experiment.folder / "texts.jsonl",
        (
            {"text_id": f"general-text-{number:04}", "bits": bits, "bytes": size}
            for number, (bits, size) in enumerate(measured, 1)
        ),
    )
    write_jsonl(experiment.folder / "passages.jsonl", _passages(corpus, suites))
    write_jsonl(experiment.folder / "training.jsonl", _curve(ledger, workspace))
    ledger.write(experiment.folder / "costs.jsonl")
    manifest["files"] = {path.name: digest_file(path) for path in sorted(experiment.folder.glob("*.jsonl"))}
    _write_json(experiment.folder / "manifest.json", manifest)
    finished = load(experiment.folder)
    _write_json(experiment.folder / "metrics.json", metrics(finished))
    with tracker.here():
        tracker.tell(finished)
    return experiment.folder


def _limited(questions: Sequence[Question], limit: int | None) -> list[Question]:
    """The first `limit` questions of each part, where the corpus was updated of each part and status."""
    taken: Counter[tuple[str, str | None]] = Counter()
    kept = []
    for question in questions:
        taken[question.part, question.status] += 1
        if limit is None or taken[question.part, question.status] <= limit:
            kept.append(question)
    return kept


def _sit(student: Student, questions: list[Question], workspace: Workspace, phase: str) -> list[Answer]:
    """The answers, made now or kept from before; none where nothing is asked.

    Kept ones are of the very same weights, prompts, reference answers and versions, and keep the seconds they took. A
    served model is always asked: nobody can tell whether its weights are still the same.
    """
    if not questions:
        return []
    shown = workspace.progress.step(phase, len(questions), "questions")
    with shown as advance, workspace.ledger.phase(phase) as entry:
        sheet = student.read(questions)
        if not student.model.keeps:
            answers = student.answer(sheet, advance)
            entry.add(_work(student, sheet, answers))
            return answers
        parts = [_kept_answers(student, part, workspace, advance) for part in sheet.portions(PORTION[workspace.device])]
        made = [part.cost for part in parts if not part.reused]
        if made:
            entry.add(reduce(plus, made))
    taken = [part.cost for part in parts if part.reused]
    if taken:
        workspace.ledger.add_reused(phase, reduce(plus, taken))
    rows = (row for part in parts for row in read_jsonl(part.path / "answers.jsonl"))
    lists = ("passages", "choices")
    return [Answer(**{**row, **{name: tuple(map(tuple, row[name])) for name in lists}}) for row in rows]


def _kept_answers(student: Student, sheet: Sheet, workspace: Workspace, advance: Callable[..., None]) -> Artifact:
    """The answers to a sheet, or to a portion of one: who is stopped goes on after the last whole portion."""
    key: dict[str, JSON] = {
        "model": student.model.digest,
        "prompts": digest(list(sheet.prompts)),
        "questions": digest([[question.id, question.answers, question.choices] for question in sheet.questions]),
        "passages": digest([[(found.passage.id, found.score) for found in some] for some in sheet.passages]),
        "code": digest_code("lab.student", "lab.base"),
        "max_new_tokens": student.max_new_tokens,
        "several_lines": sheet.several_lines,
        "dtype": student.model.dtype,
        "device": workspace.device,
        "versions": {name: versions()[name] for name in ("torch", "transformers")},
    }

    def build(folder: Path) -> dict[str, JSON]:
        answers = student.answer(sheet, advance)
        write_jsonl(folder / "answers.jsonl", answers)
        return _work(student, sheet, answers)

    return workspace.store.artifact("answers", key, build)


def _passages(
    corpus: Corpus, suites: Sequence[tuple[str, Sequence[Question], Sequence[Answer]]]
) -> Iterator[dict[str, str]]:
    """What lay on the desk and what should have, so that a reader of the run needs no corpus to see it."""
    shown = {id for _, _, answers in suites for answer in answers for id, _ in answer.passages}
    gold = {id for _, asked, _ in suites for question in asked for id in question.passages}
    places = sorted(corpus.place(id) for id in shown | gold if corpus.has(id))
    found = (corpus.passages[place] for place in places)
    return ({"id": p.id, "title": p.title, "text": p.text} for p in found)


def _curve(ledger: Ledger, workspace: Workspace) -> list[dict[str, Any]]:
    """What was measured while weights were trained; kept ones may have been measured on other texts and questions."""
    rows = []
    for entry in ledger.rows():
        other = workspace.others(entry.detail.pop("measured_on", {}))
        rows += [{**row, **other} for row in entry.detail.pop("losses", ())]
    return rows


def _wait(student: Student, questions: Sequence[Question], workspace: Workspace, first: bool = False) -> list[Wait]:
    """How long questions take that are asked alone: the exam itself is asked in batches."""
    with workspace.progress.step("waiting", len(questions), "questions"), workspace.ledger.phase("waiting"):
        return student.alone(questions, first)


def _work(student: Student, sheet: Sheet, answers: Sequence[Answer]) -> dict[str, JSON]:
    """Tokens of the answers, what filled up their batches, and the operations that they took."""
    tokens = [(answer.prompt_tokens, answer.answer_tokens) for answer in answers]
    return {"tokens": sum(map(sum, tokens)), **student.model.work(sheet.prompts, tokens, student.max_new_tokens)}


def _release() -> None:
    """Free the memory of one route before the next starts in the same process."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _write_json(path: Path, value: dict[str, Any]) -> None:
    """Written aside and renamed, so that a reader never meets half a file."""
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(path)
