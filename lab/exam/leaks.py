"""The leak guard: it proves that no exam question, nor its wording, stands in a text that weights are trained on.

A fact that stands in the corpus is the point of the lab; a question that stands there is a leak.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import length_hint

from lab.exam.near import SHINGLE, SLIP_SHINGLES, Near
from lab.exam.rewording import Rewordings
from lab.exam.segments import QUESTION_MARKS, SegmentedText, half_words, tokenise
from lab.progress import step
from lab.records import LabError, Question
from lab.store import digest_text

log = logging.getLogger(__name__)

EXACT, GRAM, NEAR, REWORDED = "exact", "13-gram", "near-duplicate", "reworded"

GRAM_WORDS = 13
# Below either, a question says too little to be told from a heading or a phrase.
LEAST_WORDS, LEAST_CHARACTERS = 4, SLIP_SHINGLES + SHINGLE
TAIL_TOKENS = 4
# Texts are read so many characters at a time, and for each batch the questions are put in another order: at least so
# many times the exam's characters keep that a part of the reading.
BATCH_CHARACTERS, BATCH_EXAMS = 2_000_000, 4

LEAKS_SHOWN, LEAKS_NAMED = 5, 200

_COLONS = (":", "\uff1a")


@dataclass(frozen=True)
class Leak:
    """One question that stands in one text.

    text: the id given with the text. line: where it begins, as it stands there, at most 200 characters. question: its
    id. how: `exact`, `13-gram`, `near-duplicate` or `reworded`.
    """

    text: str
    line: str
    question: str
    how: str


class LeakGuard:
    """Holds an exam shut: refuses training text that holds one of its questions.

    Text and questions are compared as tokens: NFKC, casefolded, without punctuation; words, and each Han character,
    kana or Hangul syllable by itself. A question leaks, from the strongest to the weakest,

    - `exact`: where its tokens stand one after the other, across line breaks too;
    - `13-gram`: where any 13 of its words stand so (Brown et al. 2020, GPT-3, appendix C); two CJK characters count as
      a word, since 13 characters in a row are no more than a term and what is said of it;
    - `near-duplicate`: where a segment of the text, or several that follow each other, is nearly the question: its
      set of character 5-grams (of the tokens joined by a space) has Jaccard similarity of 0.8 or more with the
      question's, or it is one slip away (see `one_slip`), which in a short question touches too many of its 5-grams.
      Segments end at line breaks, sentence ends, colons and quotation marks. The same question with another
      number or name may fall under it: the wording of the exam is to stay out of training, not its facts alone.
    - `reworded`: where a sentence asks it in other words, see `Rewordings`. A statement or an imperative on the same
      words (`State the fee of Quenmar.`) does not leak: that is what documents and practice are made of.

    A question of fewer than 4 words or 12 characters may be part of any sentence: it leaks where it stands alone as
    whole segments, with its question mark if it has one, and what is merely like it does not. The `given` texts of a
    question count for exact and 13-gram from 13 words on: shorter ones, and texts like them, are mere statements.

    allow: whether `check` notes what it finds instead of refusing it. leaked: ids of the questions that it noted.

    Near-duplicates are found without comparing all pairs, and without missing any: see `lab.exam.near`.
    """

    def __init__(self, questions: Sequence[Question], allow: bool = False) -> None:
        self.allow = allow
        self.leaked: set[str] = set()
        self._ids = [question.id for question in questions]
        self._short: dict[tuple[str, ...], list[tuple[int, bool]]] = defaultdict(list)
        # By last tokens, as most questions begin alike, the lengths of those that end so; by all tokens, their numbers.
        self._lengths: dict[tuple[str, ...], set[int]] = defaultdict(set)
        self._whole: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._grams: dict[tuple[str, ...], set[int]] = defaultdict(set)
        long: list[tuple[int, list[str]]] = []
        for number, question in enumerate(questions):
            tokens = tokenise(question.question)
            string = " ".join(tokens)
            if sum(map(half_words, tokens)) < 2 * LEAST_WORDS or len(string) < LEAST_CHARACTERS:
                asks = question.question.rstrip().endswith(QUESTION_MARKS)
                self._short[tuple(tokens)].append((number, asks))
            else:
                self._index(tokens, number)
                long.append((number, tokens))
            for given in map(tokenise, question.given):
                if sum(map(half_words, given)) >= 2 * GRAM_WORDS:
                    self._index(given, number)
        self._short_lengths = sorted({len(tokens) for tokens in self._short} - {0})
        self._near = Near((number, " ".join(tokens)) for number, tokens in long)
        self._rewordings = Rewordings(long)
        exam_characters = sum(len(question.question) for question in questions)
        self._batch_characters = max(BATCH_CHARACTERS, BATCH_EXAMS * exam_characters)

    def _index(self, tokens: list[str], number: int) -> None:
        self._lengths[tuple(tokens[-TAIL_TOKENS:])].add(len(tokens))
        self._whole[tuple(tokens)].append(number)
        for _, gram in _stretches(tokens):
            self._grams[gram].add(number)

    def find(self, texts: Iterable[tuple[str, str]]) -> list[Leak]:
        """All leaks in `texts` (id, text), by text and then in the exam's order; per text and question the strongest.

        A text that occurs again under another id is examined, and reported, once.
        """
        leaks: list[Leak] = []
        with step("leak guard", length_hint(texts) or None, "texts") as advance:
            for batch in _batches(_once(texts), self._batch_characters):
                near = self._near.index(read for _, read in batch)
                reworded = self._rewordings.index(read.tokens for _, read in batch)
                for identity, read in batch:
                    found: dict[int, tuple[str, int]] = {}  # question's number -> how, and in which segment it begins
                    self._exact(read, found)
                    self._thirteen(read, found)
                    for number, segment in near.find(read, found):
                        found[number] = (NEAR, segment)
                    for segment, tokens, line, asks in read.sentences():
                        for number in self._rewordings.find(tokens, line, asks, reworded):
                            found.setdefault(number, (REWORDED, segment))
                    leaks += [
                        Leak(identity, read.line(segment), self._ids[number], how)
                        for number, (how, segment) in sorted(found.items())
                    ]
                    advance(1)
        return leaks

    def check(self, texts: Iterable[tuple[str, str]]) -> None:
        """LabError with all leaking questions, the first few places, and the mend; nothing where the exam is shut.

        Where leaks are allowed, the same is a warning in the log, and the questions are noted.
        """
        leaks = self.find(texts)
        if not leaks:
            return
        shown = [f"{leak.text}: question {leak.question} ({leak.how}) in {leak.line!r}" for leak in leaks[:LEAKS_SHOWN]]
        questions = {leak.question for leak in leaks}
        if len(leaks) > LEAKS_SHOWN:
            names = list(dict.fromkeys(leak.question for leak in leaks[LEAKS_SHOWN:]))
            unnamed = f" and {len(names) - LEAKS_NAMED} others" if len(names) > LEAKS_NAMED else ""
            shown.append(f"and {len(leaks) - LEAKS_SHOWN} more, of {', '.join(names[:LEAKS_NAMED])}{unnamed}")
        told = (
            f"{len(questions)} exam question(s) stand in the corpus or the training text, at {len(leaks)} place(s); "
            "take these lines out of the text, reword or drop these questions, or say allow_leak=true, and every "
            "report will say so\n  " + "\n  ".join(shown)
        )
        if not self.allow:
            raise LabError(told)
        log.warning("allowed: %s", told)
        self.leaked |= questions

    def _exact(self, read: SegmentedText, found: dict[int, tuple[str, int]]) -> None:
        tokens = read.tokens
        for end, tail in enumerate(_grams(tokens, TAIL_TOKENS), TAIL_TOKENS):
            for start in (end - length for length in self._lengths.get(tail, ()) if length <= end):
                for number in self._whole.get(tuple(tokens[start:end]), ()):
                    found.setdefault(number, (EXACT, read.segment_of_token(start)))
        if not self._short_lengths:
            return
        mark_after = dict(zip(read.token_ends, read.marks, strict=True))
        for segment, start in enumerate(read.token_starts):
            for length in self._short_lengths:
                mark = mark_after.get(start + length)
                if mark is None or mark in _COLONS:  # `Notice period: 30 days` states a fact.
                    continue
                for number, asks in self._short.get(tuple(tokens[start : start + length]), ()):
                    if not asks or mark in QUESTION_MARKS:
                        found.setdefault(number, (EXACT, segment))

    def _thirteen(self, read: SegmentedText, found: dict[int, tuple[str, int]]) -> None:
        if not self._grams:
            return
        for start, gram in _stretches(read.tokens):
            for number in self._grams.get(gram, ()):
                found.setdefault(number, (GRAM, read.segment_of_token(start)))


def _once(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Of (id, text) the first of each text."""
    seen: set[bytes] = set()
    for identity, text in texts:
        name = digest_text(text)
        if name not in seen:
            seen.add(name)
            yield identity, text


def _batches(texts: Iterable[tuple[str, str]], most: int) -> Iterator[list[tuple[str, SegmentedText]]]:
    """(id, text) of texts, about `most` characters at a time: tokens take far more memory than the text."""
    batch: list[tuple[str, SegmentedText]] = []
    characters = 0
    for identity, text in texts:
        batch.append((identity, SegmentedText(text)))
        characters += len(text)
        if characters >= most:
            yield batch
            batch, characters = [], 0
    yield batch


def _stretches(tokens: list[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """From each token the fewest that make 13 words, and the place of the first."""
    end = halves = 0
    for start in range(len(tokens)):
        while halves < 2 * GRAM_WORDS and end < len(tokens):
            halves += half_words(tokens[end])
            end += 1
        if halves < 2 * GRAM_WORDS:
            return
        yield start, tuple(tokens[start:end])
        halves -= half_words(tokens[start])


def _grams(tokens: list[str], length: int) -> Iterable[tuple[str, ...]]:
    """Every `length` tokens that follow each other, in order."""
    return zip(*(tokens[start:] for start in range(length)), strict=False)
