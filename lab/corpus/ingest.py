"""What came in, made into a corpus: cleaned, without repetitions, cut into passages, and nothing dropped in silence."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.corpus.cleaning import MAX_TEXT_BYTES, RefusedError, clean
from lab.corpus.corpus import Corpus, Quarantined
from lab.corpus.duplicates import Duplicates
from lab.corpus.passages import MOST_TITLE, count_sections, headings, split
from lab.corpus.shelf import Shelf
from lab.exam.jsonl import load_questions
from lab.ledger import Entry
from lab.progress import step
from lab.records import Document, LabError, Passage, read_jsonl

log = logging.getLogger(__name__)

# Headings and articles of one document: each becomes a passage, and a file of nothing else would fill the memory.
MOST_SECTIONS = 100_000


@dataclass(frozen=True)
class Source:
    """One document as it was found.

    name: what a person finds it by. title: used where the text has no heading. encoding: "" for UTF-8.
    """

    id: str
    name: str
    title: str
    text: str
    encoding: str = ""


@dataclass(frozen=True)
class Gathered:
    """Documents, those that were not taken, and one line that accounts for both."""

    documents: Sequence[Document]
    quarantined: tuple[Quarantined, ...]
    summary: str


def gather(
    sources: Iterable[Source | Quarantined], unit: str, deduplicate: float | None = None, total: int | None = None
) -> Gathered:
    """Clean every document and set aside what is empty, too large, of a taken id, or (`deduplicate`) a repetition.

    unit: what one of the sources is called in the summary, `files` or `rows`. total: how many there are, where known.
    """
    documents = Shelf(Document)
    names: dict[str, str] = {}
    quarantined: list[Quarantined] = []
    encodings: Counter[str] = Counter()
    duplicates = None if deduplicate is None else Duplicates(deduplicate, documents)
    with step("reading", total, unit) as advance:
        for source in sources:
            advance(1)
            if isinstance(source, Quarantined):
                quarantined.append(source)
                continue
            try:
                document = _document(source)
                if document.id in names:
                    taken = f"its id {document.id!r} is taken by {names[document.id]}; rename one of them"
                    raise RefusedError("duplicate id", taken)
                if duplicates is None:
                    documents.append(document)
                else:
                    duplicates.add(document)
            except RefusedError as refused:
                quarantined.append(Quarantined(source.name, refused.kind, refused.reason))
                continue
            names[document.id] = source.name
            if source.encoding:
                encodings[source.encoding] += 1
    kinds = Counter(row.kind for row in quarantined)
    parts = [
        f"ingest: {len(documents) + len(quarantined)} {unit}, {len(documents)} documents indexed, "
        f"{len(quarantined)} quarantined" + (f" ({_counted(kinds)})" if kinds else ""),
        *(f"{count} read as {encoding}" for encoding, count in sorted(encodings.items())),
        *(["see quarantine.jsonl"] if quarantined else []),
    ]
    return Gathered(documents, tuple(quarantined), "; ".join(parts))


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _document(source: Source) -> Document:
    text = clean(source.text)
    if not text.strip():
        raise RefusedError("empty", "empty")
    if len(text) > MAX_TEXT_BYTES or len(text.encode("utf-8")) > MAX_TEXT_BYTES:
        raise RefusedError("too large", f"larger than {MAX_TEXT_BYTES >> 20} MiB; split it into several documents")
    if len(text) > 3 * MOST_SECTIONS and count_sections(text) > MOST_SECTIONS:
        raise RefusedError(
            "too many headings", f"has more than {MOST_SECTIONS} headings or articles; split it into several documents"
        )
    first = next(headings(text), None)
    title = first.text if first else " ".join(clean(source.title).split())
    if len(title) > MOST_TITLE:  # It stands over every passage.
        raise RefusedError("long title", f"its title has {len(title)} characters; shorten it to {MOST_TITLE}")
    return Document(id=source.id, title=title, text=text)


def refuse_nothing(path: str, gathered: Gathered, wanted: str) -> None:
    """LabError where no document was taken; it names the first that were not."""
    if not gathered.documents:
        reasons = [f"{row.id} ({row.reason})" for row in gathered.quarantined[:3]]
        left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
        raise LabError(f"{path}: no document in it; {wanted}{left_out}")


def corpus_of(
    name: str,
    gathered: Gathered,
    max_tokens: int,
    overlap_tokens: int,
    reworded: Sequence[Document],
    practice: str | None,
    bills: tuple[Entry, ...] = (),
) -> Corpus:
    """The corpus of what was gathered; its summary goes to the log. practice: a file of questions, if any."""
    log.info("%s", gathered.summary)

    def cut() -> Iterator[Passage]:
        with step("cutting into passages", len(gathered.documents), "documents") as advance:
            for document in gathered.documents:
                yield from split(document, max_tokens, overlap_tokens)
                advance(1)

    return Corpus(
        name=name,
        documents=gathered.documents,
        passages=Shelf(Passage, cut()),
        reworded=reworded,
        practice=tuple(load_questions(Path(practice))) if practice else (),
        quarantined=gathered.quarantined,
        bills=bills,
    )


def bills_of(written: Mapping[str, str | None]) -> tuple[Entry, ...]:
    """What `lab.practice` says that writing took, in a costs.jsonl beside what it wrote; nothing where there is none.

    written: the path, if any, of what each phase of the bill wrote.
    """
    found = []
    for phase, path in written.items():
        bill = Path(path).parent / "costs.jsonl" if path else None
        if bill is not None and bill.is_file():
            found += [Entry(**row) for row in read_jsonl(bill) if row.get("phase") == phase]
    return tuple(found)
