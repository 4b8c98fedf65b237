"""The paragraphs of a SQuAD file as a corpus, beside the exam of the same file (`exam=squad`)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from lab.corpus.corpus import Corpus
from lab.exam.questions import check_path
from lab.exam.squad import load_paragraphs
from lab.records import Document, Passage

BETWEEN = "\n\n"


@dataclass(frozen=True)
class SquadCorpus:
    """An article is a document, each of its paragraphs a passage with the file's own id."""

    path: str

    def __post_init__(self) -> None:
        check_path("corpus.path", self.path)

    def load(self) -> Corpus:
        """Its articles in the file's order. LabError names every fault at once."""
        documents: list[Document] = []
        passages: list[Passage] = []
        for article, group in groupby(load_paragraphs(Path(self.path)), key=lambda paragraph: paragraph.article):
            start, texts = 0, []
            for paragraph in group:
                end = start + len(paragraph.text)
                passages.append(Passage(paragraph.id, article, paragraph.title, paragraph.text, start, end))
                texts.append(paragraph.text)
                start = end + len(BETWEEN)
                title = paragraph.title
            documents.append(Document(article, title or article, BETWEEN.join(texts)))
        return Corpus(Path(self.path).stem, tuple(documents), tuple(passages))
