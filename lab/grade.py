"""`python -m lab.grade EXAM ANSWERS.jsonl [MORE ...]`: answers of other systems, graded like the lab's own.

Each file of answers becomes a run folder, so the same table and the same paired tests take it in. Nothing is guessed:
what is missing is a failed answer, and what cannot be understood is an error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.exam.jsonl import placed_rows
from lab.exam.questions import raise_faults, text_fault
from lab.exam.suite import load_exam
from lab.judge.grading import grade
from lab.records import Answer, LabError, Question, readable, told, write_jsonl
from lab.report import latest, show
from lab.report.compare import FIRST
from lab.report.load import EXTERNAL, MANIFEST
from lab.store import digest

NAMED = 10  # ids that a message names


@dataclass
class Sheet:
    """What a file of answers holds: rows by question id, and the ids of what was odd about it, by kind."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    odd: dict[str, list[str]] = field(default_factory=dict)

    def note(self, what: str, id: str) -> None:
        """Remember an oddity."""
        self.odd.setdefault(what, []).append(id)


NO_NUMBER = "answer is null or not a number"
MISSING = "no answer given"
DOUBLED = "given twice, the same each time; counted once"
UNKNOWN = "not in the exam; left out"


def read_answers(path: Path, exam: Sequence[Question]) -> Sheet:
    """The answers of a file, checked against the exam.

    A line holds `id`, `answer`, and optionally `passages` (ids, or [id, score], best first), `seconds` and `tokens` (of
    the prompt, or [of the prompt, of the answer]). LabError with all faults, each with line, field and mend; two
    different answers to one question are one, and so is a file that answers no question of the exam.
    """
    with readable(path):
        if not path.is_file():
            raise LabError(f"{path}: no such file; give a .jsonl file with one answer a line")
    asked = {question.id for question in exam}
    sheet, faults, first = Sheet(), list[str](), dict[str, tuple[str, dict[str, Any]]]()
    for place, row in placed_rows(path, numbers=True):
        found = [row] if isinstance(row, str) else _faults(row)
        if isinstance(row, str) or found:
            faults += [f"{place}, {fault}" for fault in found]
            continue
        id = row["id"]
        if id in first:
            earlier, other = first[id]
            if _same(row) == _same(other):
                sheet.note(DOUBLED, id)
            else:
                faults.append(f"{place}, id: {id!r} is answered differently on {earlier}; take one of them out")
            continue
        first[id] = (place, row)
        if id not in asked:
            sheet.note(UNKNOWN, id)
        else:
            sheet.rows[id] = row
            if not isinstance(row["answer"], str):
                sheet.note(NO_NUMBER, id)
    if not sheet.rows and not faults:
        faults = [f"file, id: none of its {len(first)} answer(s) is to a question of this exam; check the ids"]
    raise_faults(path, faults)
    for question in exam:
        if question.id not in sheet.rows:
            sheet.note(MISSING, question.id)
    return sheet


def write_run(folder: Path, name: str, exam: Sequence[Question], exam_digest: str, sheet: Sheet) -> None:
    """A run folder of graded answers. What only the other system knows is null: it is shown as not known."""
    folder.mkdir(parents=True)
    rows = []
    for question in exam:
        given = sheet.rows.get(question.id)
        failed = MISSING if given is None else None if isinstance(given["answer"], str) else NO_NUMBER
        text = "" if given is None or failed else given["answer"]
        passages = tuple(_passage(found) for found in (given or {}).get("passages") or ())
        answer = Answer(question.id, text, passages, "", 0, 0, 0.0, 0.0, None, error=failed)
        seconds, (prompt_tokens, answer_tokens) = _number((given or {}).get("seconds")), _tokens(given or {})
        costs = {"seconds": seconds, "prompt_tokens": prompt_tokens, "answer_tokens": answer_tokens}
        graded = dataclasses.asdict(grade(question, answer))
        rows.append({"suite": "exam", **dataclasses.asdict(answer), **costs, "grade": graded})
    write_jsonl(folder / "questions.jsonl", ({"suite": "exam", **question.row} for question in exam))
    write_jsonl(folder / "answers.jsonl", rows)
    for empty in ("texts.jsonl", "costs.jsonl"):
        write_jsonl(folder / empty, ())
    manifest = {
        "pipeline": name,
        "adaptation": EXTERNAL,
        "context": EXTERNAL,
        "settings": {},
        "seed": 0,
        "reference": name,
        "arm": None,
        "overrides": [],
        "parameters": None,
        "facts": None,
        "exam_size": len(exam),
        "leaked": [],  # what another system was shown is not known
        "digests": {"corpus": None, "exam": exam_digest, "general": None, "model": None},
        "odd": sheet.odd,
        "finished": True,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def grade_files(exam: Path, answers: Sequence[Path], out: Path, reference: str | None = None) -> None:
    """Grade each file, write its run folder below `out`, say what was odd, and print the comparison.

    exam: an exam file, or a run folder (or folder of runs), whose newest exam is taken and whose routes are compared
    with. reference: the route that differences are taken against; None for rag where it is among them, else the first.
    All files are read before anything is written. Raises LabError.
    """
    names = [_name(path) for path in answers]
    for name, path in zip(names, answers, strict=True):
        if names.count(name) > 1:
            raise LabError(f"{path}: two files are called {name}; rename one, the name stands in the table")
    if out.exists() and any(out.iterdir()):
        raise LabError(f"--out {out}: is not empty; name another folder")
    runs = latest(exam) if exam.is_dir() and any(exam.rglob(MANIFEST)) else []
    if runs:
        own = next((run for run in runs if run.manifest["adaptation"] != EXTERNAL), runs[0])
        questions, exam_digest = own.exam, str(own.manifest["digests"]["exam"])
    else:
        questions = load_exam(exam)
        exam_digest = digest([question.row for question in questions])
    sheets = [read_answers(path, questions) for path in answers]
    for name, path, sheet in zip(names, answers, sheets, strict=True):
        write_run(out / name, name, questions, exam_digest, sheet)
        for what, ids in sheet.odd.items():
            more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
            print(f"{path}: {len(ids)} {what}: {', '.join(ids[:NAMED])}{more}")
    routes = [run.pipeline for run in runs]
    chosen = reference or ("rag" if "rag" in routes else (routes or names)[0])
    show([out, *(run.folder for run in runs)], chosen)


def _name(path: Path) -> str:
    """What a file's route is called. Spaces would pass for settings, and the lab's own names for its routes."""
    name = "_".join(path.stem.split())
    if name in FIRST:
        raise LabError(f"{path}: {name} is the name of one of the lab's routes; rename the file")
    return name


def _faults(row: dict[str, Any]) -> list[str]:
    found = [f"id: {fault}"] if (fault := text_fault(row.get("id"))) else []
    if "answer" not in row:
        found.append("answer: missing; give the text, or null where there is none")
    elif not isinstance(row["answer"], str) and not _is_nothing(row["answer"]):
        found.append(f"answer: {row['answer']!r:.40}; a text is needed")
    elif isinstance(row["answer"], str) and row["answer"].strip() and (fault := text_fault(row["answer"])):
        found.append(f"answer: {fault}")  # an empty one is an answer, if a bad one
    passages = row.get("passages")
    if passages is not None and not (isinstance(passages, list) and all(map(_is_passage, passages))):
        found.append("passages: a list of ids, or of [id, score], is needed")
    elif passages and len({_passage(one)[0] for one in passages}) < len(passages):
        found.append("passages: one stands twice; name each once, best first")
    if not (_is_nothing(row.get("seconds")) or _is_amount(row["seconds"])):
        found.append(f"seconds: {row['seconds']!r:.40}; a number of at least 0 is needed")
    tokens = row.get("tokens")
    pair = tokens if isinstance(tokens, list) and len(tokens) == 2 else [tokens]
    if not all(_is_nothing(one) or _is_amount(one) for one in pair):
        found.append(f"tokens: {tokens!r:.40}; a number, or [of the prompt, of the answer], is needed")
    return found


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_passage(value: object) -> bool:
    if isinstance(value, list) and len(value) == 2:
        score = value[1]
        return isinstance(value[0], str) and isinstance(score, int | float) and math.isfinite(score)
    return isinstance(value, str)


def _passage(value: Any) -> tuple[str, float]:
    """(id, score); the order counts and the score does not, so none given is 0."""
    return (value, 0.0) if isinstance(value, str) else (value[0], float(value[1]))


def _number(value: Any) -> float | None:
    return None if _is_nothing(value) else float(value)


def _tokens(row: dict[str, Any]) -> tuple[float | None, float | None]:
    tokens = row.get("tokens")
    prompt, answer = tokens if isinstance(tokens, list) else (tokens, None)
    return _number(prompt), _number(answer)


def _same(row: dict[str, Any]) -> str:
    # As text, since NaN is not equal to itself.
    return json.dumps(row, sort_keys=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for a mistake that the user can mend, 130."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.grade",
        description="Grade answers of other systems, and compare them with each other and with the lab's routes.",
        epilog='A line: {"id": "q1", "answer": "40 crowns", "passages": ["a#1"], "seconds": 0.4, "tokens": 31}; '
        "the last three may be left out: passages are ids or [id, score], best first; tokens are the prompt's, or "
        "[the prompt's, the answer's].",
    )
    parser.add_argument(
        "exam",
        type=Path,
        metavar="EXAM",
        help="an exam (.jsonl, SQuAD's .json, MMLU's .csv), or a run folder or folder of runs, to be compared with",
    )
    parser.add_argument("answers", nargs="+", type=Path, metavar="ANSWERS", help=".jsonl files, a system each")
    parser.add_argument("--out", type=Path, help="where the run folders go (default: runs/graded-DATE)")
    parser.add_argument("--reference", help="route that differences are taken against (default: rag, or the first)")
    chosen = parser.parse_args(arguments)
    out = chosen.out or Path("runs") / f"graded-{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    return told(lambda: grade_files(chosen.exam, chosen.answers, out, chosen.reference))


if __name__ == "__main__":
    sys.exit(main())
