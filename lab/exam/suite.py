"""The general suite: what every route is asked besides the exam, to see what it forgot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.exam.csv_choice import load_choices
from lab.exam.jsonl import load_questions
from lab.exam.squad import load_squad
from lab.records import LabError, Question, readable

TEXT_SUFFIXES = (".md", ".txt")


@dataclass(frozen=True)
class GeneralSuite:
    """questions: sat like the exam. texts: held-out general text, measured in bits per byte."""

    questions: tuple[Question, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class FilesSuite:
    """A general suite of the user's own files; none at all makes an empty suite.

    exams: .jsonl, SQuAD .json, MMLU .csv files, or folders of .csv; each is a part named by its file. The corpus
    does not hold them, so a question's evidence is given with it, by every route. texts: .md and
    .txt files, or folders of them, held out from everything. stretch_characters: the length that a text is cut into,
    at line ends where there are any. stretches: at most so many of them, spread evenly over all.
    """

    exams: Sequence[str] = ()
    texts: Sequence[str] = ()
    stretch_characters: int = 2000
    stretches: int = 200

    def __post_init__(self) -> None:
        for name in ("exams", "texts"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(path, str) and path.strip() for path in value):
                raise LabError(f"general.{name}={value!r}: a list of paths is needed, such as [a.jsonl,b.csv]")
        for name in ("stretch_characters", "stretches"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise LabError(f"general.{name}={value!r}: a whole number of at least 1 is needed")

    def load(self) -> GeneralSuite:
        """Questions with ids `file/id`, and stretches of text. LabError names what cannot be read."""
        questions: list[Question] = []
        taken: dict[str, str] = {}
        for path in self.exams:
            stem = Path(path).stem
            if stem in taken:
                raise LabError(f"general.exams: {taken[stem]} and {path} are both called {stem}; rename one")
            taken[stem] = path
            folder = Path(path).is_dir()
            questions += [
                dataclasses.replace(
                    one,
                    id=f"{stem}/{one.id}",
                    part=one.part if folder else stem,
                    given=one.given or one.evidence,
                    passages=(),
                    evidence=(),
                )
                for one in load_exam(Path(path))
            ]
        cut = [piece for path in self.texts for text in _texts(Path(path)) for piece in self._cut(text)]
        if len(cut) > self.stretches:
            cut = [cut[number * len(cut) // self.stretches] for number in range(self.stretches)]
        return GeneralSuite(tuple(questions), tuple(cut))

    def _cut(self, text: str) -> list[str]:
        """Stretches in order, without white space at their ends; together they are all of the text."""
        found = []
        while text := text.strip():
            end = len(text) if len(text) <= self.stretch_characters else self.stretch_characters
            line_end = text.rfind("\n", self.stretch_characters // 2, end) if end < len(text) else -1
            end = line_end if line_end > 0 else end
            found.append(text[:end].rstrip())
            text = text[end:]
        return found


def load_exam(path: Path) -> list[Question]:
    """The questions of any exam file, its layout told by its suffix; a folder holds .csv files."""
    if path.is_dir() or path.suffix == ".csv":
        return load_choices(path)
    if path.suffix == ".json":
        return load_squad(path)
    if path.suffix == ".jsonl":
        return load_questions(path)
    raise LabError(f"{path}: not an exam; give .jsonl, SQuAD's .json, MMLU's .csv or a folder of .csv")


def _texts(path: Path) -> list[str]:
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in found if file == path or (file.suffix.lower() in TEXT_SUFFIXES and not file.is_dir())]
    if not files:
        raise LabError(f"general.texts: {path}: no {' or '.join(TEXT_SUFFIXES)} file there; name one, or a folder")
    return [_text(file) for file in files]


def _text(file: Path) -> str:
    with readable(file):
        if not file.is_file():  # Opening a pipe would wait for ever.
            raise LabError(f"general.texts: {file}: no {' or '.join(TEXT_SUFFIXES)} file there; name one, or a folder")
        try:
            return file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise LabError(f"general.texts: {file}: not UTF-8; save it as UTF-8") from None
