"""Multiple choice from CSV in MMLU's layout (Hendrycks et al. 2021): question, choices, letter; no header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.exam.questions import Placed, build_questions, check_path, raise_faults
from lab.records import LabError, Question, readable


@dataclass(frozen=True)
class CsvChoiceExam:
    """A .csv file, or a folder of them. A question's id is `file-row`, its part the file's name without suffix."""

    path: str

    def __post_init__(self) -> None:
        check_path("exam.path", self.path)

    def load(self) -> list[Question]:
        """The questions in the files' order, files by name. LabError names every faulty row at once."""
        return load_choices(Path(self.path))


def load_choices(path: Path) -> list[Question]:
    """Read and check a file or every .csv file of a folder; LabError with all faults, each with row, field and mend."""
    with readable(path):
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv") if path.is_dir() else [path]
    if not files:
        raise LabError(f"{path}: no .csv file there; give one in MMLU's layout, or a folder of them")
    questions: list[Question] = []
    faults: list[str] = []
    for file in files:
        try:
            questions += build_questions(file, _rows(file))
        except LabError as error:  # so that the faults of all files are told together
            faults.append(str(error))
    if len(faults) == 1 and len(files) == 1:
        raise LabError(faults[0])
    raise_faults(path, faults)
    return questions


def _rows(file: Path) -> Iterator[Placed]:
    with readable(file):
        if not file.is_file():  # Opening a pipe would wait for ever.
            raise LabError(f"{file}: no .csv file there; give one in MMLU's layout, or a folder of them")
        data = file.read_bytes()
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        yield "file", f"not UTF-8 (byte {error.start + 1}); save it as UTF-8"
        return
    # The csv module does the line ends; strict, as a quotation mark left open would swallow the rest in silence.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield place, f"not CSV ({error}); mend the quotation marks from here on, or shorten what is too long"
            return
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            number += 1
            yield place, _row(cells, file.stem, number)


def _row(cells: list[str], part: str, number: int) -> dict[str, object] | str:
    if len(cells) < 4:
        return f"{len(cells)} columns; question, at least two choices and the letter are needed"
    question, *choices, letter = (cell.strip() for cell in cells)
    if number == 1 and letter.casefold() in ("answer", "label", "target"):
        return "answer: a header; the layout has none, delete this line"
    # The last column is a letter and nothing else, whatever the choices say.
    if len(letter) != 1 or not "A" <= letter.upper() < chr(ord("A") + len(choices)):
        return f"answer: {letter!r}; a letter from A to {chr(ord('A') + len(choices) - 1)} is needed"
    answer = ord(letter.upper()) - ord("A")
    return {"id": f"{part}-{number}", "question": question, "choices": choices, "answer": answer, "part": part}
