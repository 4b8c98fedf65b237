"""Gold text to gold passages, by content: nobody needs to know the ids of passages to write an exam."""

from __future__ import annotations

import dataclasses
import logging
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, islice
from typing import TypeAlias

from lab.corpus.corpus import Corpus
from lab.records import LabError, Question

log = logging.getLogger(__name__)

# In letters and digits. Less than the first says too little to be told from a phrase that occurs anywhere.
LEAST, LEAST_PASSAGE = 6, 12
ANCHOR, ANCHORS_TRIED = 16, 8
MOST_PLACES = 5  # a text that stands in more documents is no evidence for one of them
Span: TypeAlias = tuple[int, int, str]  # start and end in the plain form, passage id
LEAST_COVERED = 0.5  # of evidence that is pieced together from passages
NAMED = 10  # ids shown in a message
SOUGHT_AT_ONCE = 4096  # Passages sought in the evidence: they are in memory, and so is the index of them.


def match_evidence(questions: Sequence[Question], corpus: Corpus) -> list[Question]:
    """The questions, with the passages that their evidence stands in as gold passages.

    Texts are compared as their letters and digits (NFKD, casefolded), so line breaks, punctuation, accents and width
    do not count, in any language. Evidence that stands in a document gets the passages that hold all of it; where none
    does, as with an article cut into several, the fewest that hold it together. Evidence that stands in no document
    gets the passages that stand in it, where they make up half of it or more. A question that names passages keeps
    them; where the corpus is partial, those of them that it has. What cannot be matched is counted in the log.

    LabError for passage ids that a corpus that is not partial does not have, all at once.
    """
    named = {id for one in questions for id in one.passages}
    known = {id for id in named if corpus.has(id)}
    if corpus.partial:
        questions = _without_unknown(questions, known, corpus.name)
    _refuse_unknown(questions, known, corpus.name)
    texts = list(dict.fromkeys(text for one in questions if not one.passages for text in one.evidence))
    if not texts:
        return list(questions)
    places = dict(zip(texts, _places(texts, corpus), strict=True))
    matched = []
    for one in questions:
        found = dict.fromkeys(id for text in one.evidence for id in places.get(text, ()))
        matched.append(one if one.passages else dataclasses.replace(one, passages=tuple(found)))
    asked = [one for one in questions if one.evidence and not one.passages]
    lost = [one.id for one in asked if not all(places[text] for text in one.evidence)]
    log.info("evidence: %d of %d questions matched to passages of %s", len(asked) - len(lost), len(asked), corpus.name)
    if lost:
        log.warning(
            "evidence: not all of it stands in %s (once, and with %d letters or more) for %d question(s), which have "
            "fewer gold passages or none: %s",
            *(corpus.name, LEAST, len(lost), _listed(lost)),
        )
    return matched


def _without_unknown(questions: Sequence[Question], known: set[str], name: str) -> list[Question]:
    """The questions, each with those of its passages that are known."""
    kept = [dataclasses.replace(one, passages=tuple(id for id in one.passages if id in known)) for one in questions]
    fewer = sum(before.passages != after.passages for before, after in zip(questions, kept, strict=True))
    log.info("exam: of %d questions a gold passage was left out of %s on purpose", fewer, name)
    return kept


def _refuse_unknown(questions: Sequence[Question], known: set[str], name: str) -> None:
    strange = [f"{one.id}: {id}" for one in questions for id in one.passages if id not in known]
    if strange:
        raise LabError(
            f"exam: {len(strange)} gold passage(s) are not in the corpus {name}: {_listed(strange)}; mend the ids, or "
            "give their text as evidence instead"
        )


def _places(texts: Sequence[str], corpus: Corpus) -> list[tuple[str, ...]]:
    """Ids of the passages of each text, none where it cannot be matched."""
    needles = [plain(text) for text in texts]
    found: list[tuple[str, ...]] = [()] * len(texts)
    missing = []
    hits = find_all(needles, (plain(document.text) for document in corpus.documents), LEAST)
    standing = [dict(reversed(some)) for some in hits]  # the first place in each document
    spans = _spans(corpus, {index for one in standing if len(one) <= MOST_PLACES for index in one})
    for number, by_document in enumerate(standing):
        if not by_document:
            missing.append(number)
        elif len(by_document) <= MOST_PLACES:
            found[number] = tuple(
                id
                for index, start in sorted(by_document.items())
                for id in _cover(spans[index], start, start + len(needles[number]))
            )
    if missing:
        inside: dict[int, list[Span]] = defaultdict(list)
        passages = iter(corpus.passages)
        while some := [(passage.id, plain(passage.text)) for passage in islice(passages, SOUGHT_AT_ONCE)]:
            pieces = find_all([piece for _, piece in some], [needles[n] for n in missing])
            for (id, piece), places in zip(some, pieces, strict=True):
                for index, start in places:
                    inside[index].append((start, start + len(piece), id))
        for index, held in inside.items():
            covered = len({place for start, end, _ in held for place in range(start, end)})
            if covered >= LEAST_COVERED * len(needles[missing[index]]):
                found[missing[index]] = tuple(dict.fromkeys(id for _, _, id in sorted(held)))
    return found


def find_all(needles: Sequence[str], texts: Iterable[str], least: int = LEAST_PASSAGE) -> list[list[tuple[int, int]]]:
    """Where each needle stands: (number of the text, offset), in order. Needles shorter than `least` stand nowhere.

    One pass over the texts whatever the number of needles: each is looked up by one stretch of it, of a few tried the
    one that the fewest share. Of a text that repeats a needle, every place.
    """
    indexes: list[tuple[int, dict[str, list[tuple[int, int]]]]] = []  # By width: stretch -> (needle, its offset in it)
    for width in (least, ANCHOR):
        fits = range(least, ANCHOR) if width == least else range(ANCHOR, sys.maxsize)
        wanted = [n for n, needle in enumerate(needles) if len(needle) in fits]
        index: dict[str, list[tuple[int, int]]] = defaultdict(list)
        shared = Counter(needles[n][at : at + width] for n in wanted for at in _offsets(needles[n], width))
        for n in wanted:
            at = min(_offsets(needles[n], width), key=lambda at, n=n: shared[needles[n][at : at + width]])  # type: ignore[misc]
            index[needles[n][at : at + width]].append((n, at))
        if index:
            indexes.append((width, index))
    found: list[list[tuple[int, int]]] = [[] for _ in needles]
    for number, text in enumerate(texts) if indexes else ():
        for width, index in indexes:
            for place in range(len(text) - width + 1):
                for n, at in index.get(text[place : place + width], ()):
                    if place >= at and text.startswith(needles[n], place - at):
                        found[n].append((number, place - at))
    return found


def plain(text: str) -> str:
    """The letters and digits of a text, without case, accents and width."""
    return "".join(map(_PLAIN.__getitem__, text))


class _Plain(dict[str, str]):
    """Each character's own letters and digits, worked out once."""

    def __missing__(self, character: str) -> str:
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
        self[character] = "".join(c for c in folded if c.isalnum())
        return self[character]


_PLAIN = _Plain()


def _spans(corpus: Corpus, wanted: Collection[int]) -> dict[int, list[Span]]:
    """Where in the plain form of each wanted document, by its number, each of its passages begins and ends."""
    numbers = {corpus.documents[number].id: number for number in wanted}
    spans: dict[int, list[Span]] = {number: [] for number in wanted}
    places: list[int] = []
    before = None
    for passage in corpus.passages:
        number = numbers.get(passage.document_id)
        if number is None:
            continue
        if number != before:
            text = corpus.documents[number].text
            places = list(accumulate((len(_PLAIN[character]) for character in text), initial=0))
            before = number
        spans[number].append((places[passage.start], places[passage.end], passage.id))
    return spans


def _cover(spans: Sequence[Span], first: int, last: int) -> list[str]:
    """Ids of the passages that hold all from first to last; where there is none, of the fewest that do together."""
    whole = [id for start, end, id in spans if start <= first and last <= end]
    chosen: list[str] = []
    reached = first
    while not whole and reached < last:
        going = [span for span in spans if span[0] < last and span[1] > reached]
        if not going:
            break
        # Of those that go on from here, the one that reaches furthest; what no passage holds is stepped over.
        touching = [span for span in going if span[0] <= reached]
        best = max(touching, key=lambda span: span[1]) if touching else min(going)
        chosen.append(best[2])
        reached = best[1]
    return whole or chosen


def _offsets(needle: str, width: int) -> list[int]:
    free = len(needle) - width
    return sorted({free * step // (ANCHORS_TRIED - 1) for step in range(ANCHORS_TRIED)})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
