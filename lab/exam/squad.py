"""An exam in SQuAD's layout (Rajpurkar et al. 2016, 2018; CMRC 2018 by Cui et al. 2019 has the same)."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.exam.jsonl import parse_json
from lab.exam.questions import Placed, build_questions, check_path, raise_faults, text_fault
from lab.records import LabError, Question, readable

log = logging.getLogger(__name__)

NAMED = 10  # ids shown in a message


@dataclass(frozen=True)
class SquadExam:
    """`{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text"}]}]}]}]}`.

    A question's paragraph is its evidence, its article its document. `is_impossible` (version 2.0) makes the right
    answer "unknown".
    """

    path: str

    def __post_init__(self) -> None:
        check_path("exam.path", self.path)

    def load(self) -> list[Question]:
        """The questions in the file's order. LabError names every fault at once."""
        return load_squad(Path(self.path))


@dataclass(frozen=True)
class Paragraph:
    """A paragraph and the article that it stands in; ids are the file's own, else made of title and number."""

    id: str
    article: str
    title: str
    text: str


def load_squad(path: Path) -> list[Question]:
    """Read and check a file; LabError with all of its faults, each with place, field and mend.

    Questions without a wording, which published files have (CMRC 2018 trial: two), are left out and named in the log.
    """
    rows = list(_rows(*_read(path)))
    asked = [(place, row) for place, row in rows if isinstance(row, str) or not _is_blank(row["question"])]
    empty = [row["id"] for _, row in rows if isinstance(row, dict) and _is_blank(row["question"])]
    if empty:
        more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
        names = ", ".join(f"{id!r:.40}".strip("'") for id in empty[:NAMED])
        log.warning(
            "%s: left out %d of %d questions, which have no wording: %s%s", path, len(empty), len(rows), names, more
        )
    return build_questions(path, asked)


def load_paragraphs(path: Path) -> list[Paragraph]:
    """The paragraphs alone, as a corpus; LabError as `load_squad`."""
    return [paragraph for paragraph, _ in _read(path)[0]]


def _read(path: Path) -> tuple[list[tuple[Paragraph, str]], list[list[Any]]]:
    """Paragraphs with their places, and the `qas` of each. LabError where the frame is not SQuAD's."""
    with readable(path):
        if not path.is_file():
            raise LabError(f"{path}: no such file; give a .json file in SQuAD's layout")
        data = path.read_bytes()
    try:
        content = parse_json(data.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        raise LabError(f"{path}: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise LabError(f'{path}: no list "data" in it; it is not in SQuAD\'s layout, exam=jsonl may be what you need')
    faults: list[str] = []
    found: list[tuple[Paragraph, str]] = []
    questions: list[list[Any]] = []
    taken: dict[str, str] = {}
    for number, article in enumerate(content["data"]):
        place = f"data[{number}]"
        if not isinstance(article, dict) or not isinstance(article.get("paragraphs"), list):
            faults.append(f"{place}, paragraphs: a list is needed")
            continue
        title = article.get("title", "")
        if title != "" and (fault := text_fault(title)):
            faults.append(f"{place}, title: {fault}")
            continue
        name = str(article.get("id") or title or f"article-{number + 1}")
        if fault := text_fault(name):
            faults.append(f"{place}, id: {fault}")
        if name in taken:
            faults.append(
                f"{place}, {'id' if article.get('id') else 'title'}: {name!r} stands at {taken[name]} already"
            )
        taken[name] = place
        for count, paragraph in enumerate(article["paragraphs"]):
            here = f"{place}.paragraphs[{count}]"
            fault = text_fault(paragraph.get("context")) if isinstance(paragraph, dict) else "an object is needed"
            if fault:
                faults.append(f"{here}, context: {fault}")
            elif fault := text_fault(str(paragraph.get("id") or name)):
                faults.append(f"{here}, id: {fault}")
            elif not isinstance(paragraph.get("qas", []), list):
                faults.append(f"{here}, qas: a list is needed")
            else:
                text = paragraph["context"]
                found.append((Paragraph(str(paragraph.get("id") or f"{name}#{count + 1}"), name, title, text), here))
                questions.append(paragraph.get("qas", []))
    ids: dict[str, str] = {}
    for one, here in found:
        if one.id in ids:
            faults.append(f"{here}, id: {one.id!r} stands at {ids[one.id]} already; ids must differ")
        ids[one.id] = here
    raise_faults(path, faults)
    return found, questions


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _rows(paragraphs: list[tuple[Paragraph, str]], questions: list[list[Any]]) -> Iterator[Placed]:
    for (paragraph, place), asked in zip(paragraphs, questions, strict=True):
        for number, one in enumerate(asked):
            here = f"{place}.qas[{number}]"
            if not isinstance(one, dict):
                yield here, "an object is needed"
                continue
            texts = _texts(one)
            if isinstance(texts, str):
                yield here, texts
                continue
            row = {"id": one.get("id"), "question": one.get("question"), "answers": texts}
            yield here, {**row, "documents": [paragraph.article], "evidence": [paragraph.text]}


def _texts(one: dict[str, Any]) -> list[Any] | str:
    """The accepted answers, each once; or what is wrong."""
    impossible, answers = one.get("is_impossible", False), one.get("answers", [])
    if not isinstance(impossible, bool):
        return f"is_impossible: {impossible!r}; true or false is needed"
    if impossible:
        return ["unknown"]
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        return 'answers: a list of {"text": ...} is needed'
    if not answers:
        return "answers: empty; give one, or is_impossible: true where the paragraph does not say"
    texts = [answer.get("text") for answer in answers]
    return list(dict.fromkeys(texts)) if all(isinstance(text, str) for text in texts) else texts
