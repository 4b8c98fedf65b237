"""An exam from a file: one JSON object a line, as `python -m lab.worlds` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.records import LabError, Question, read_jsonl


@dataclass(frozen=True)
class JsonlExam:
    """Fields of a line: `id`, `question`, `answers` (accepted forms, reference first; `unknown` where the corpus does
    not say), and optionally `part`, `passages` (gold passage ids), `documents`, `practised`, `given`.
    """

    path: str

    def load(self) -> list[Question]:
        """The questions in the file's order. LabError names every faulty line at once."""
        return load_questions(Path(self.path))


def load_questions(path: Path) -> list[Question]:
    """Read and check a question file; LabError with all of its faults, each with line, field and mend."""
    if not path.is_file():
        raise LabError(f"exam.path={path}: no such file; give a .jsonl file with one question a line")
    questions: list[Question] = []
    faults: list[str] = []
    first_line: dict[str, int] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        found = _faults(row)
        identity = row.get("id")
        if isinstance(identity, str) and identity in first_line:
            found.append(f"id: {identity!r} stands on line {first_line[identity]} already; ids must differ")
        if found:
            faults += [f"line {number}, {fault}" for fault in found]
            continue
        first_line[row["id"]] = number
        lists = {name: tuple(row.get(name, ())) for name in ("answers", "passages", "documents", "given")}
        questions.append(
            Question(
                id=row["id"],
                question=row["question"],
                part=row.get("part", "all"),
                practised=row.get("practised"),
                **lists,
            )
        )
    if not questions and not faults:
        faults = ["no question in it; write one JSON object a line"]
    if faults:
        raise LabError(f"{path}: {len(faults)} fault(s)\n  " + "\n  ".join(faults))
    return questions


def _faults(row: dict[str, Any]) -> list[str]:
    found = []
    for name in ("id", "question"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            found.append(f"{name}: a text is needed")
    answers = row.get("answers")
    if not _texts(answers) or not answers:
        found.append("answers: a list of at least one accepted text is needed")
    for name in ("passages", "documents", "given"):
        if not _texts(row.get(name, [])):
            found.append(f"{name}: a list of texts is needed")
    if not isinstance(row.get("part", "all"), str):
        found.append("part: a text is needed")
    if row.get("practised") not in (None, True, False):
        found.append("practised: true, false or nothing")
    return found


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
