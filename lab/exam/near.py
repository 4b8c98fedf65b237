"""Exam questions nearly word for word: which segments of a text hold one but for a few characters."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import takewhile

from lab.exam.segments import SegmentedText

SHINGLE = 5  # characters
LEAST_JACCARD = 0.8
ROUNDING = 1e-9  # 0.8 has no exact binary form
# A slip changes at most three characters of either text (see `one_slip`), so at most 4 + 3 of its shingles.
SLIP_CHARACTERS = 3
SLIP_SHINGLES = SHINGLE - 1 + SLIP_CHARACTERS


class Near:
    """The questions of an exam, to be found in texts that hold nearly the same.

    A segment of a text, or several that follow each other, is nearly the question where its set of character 5-grams
    (shingles, of the tokens joined by a space) has Jaccard similarity of 0.8 or more with the question's, or where it
    is one slip away.

    All such are found, and few pairs are compared for it. Put the shingles in any one order, and the first that a
    question and a segment share has before it only such as they do not share: few, where they are alike. So a question
    is looked up under its first shingles only (prefix filtering, Bayardo et al. 2007) and by a segment's first only,
    and those that either has before the one they met by are counted together (positional filtering, Xiao et al. 2008).
    Those that would bring few pairs together come first in the order, and first of all those that only one side knows.
    """

    def __init__(self, questions: Iterable[tuple[int, str]]) -> None:
        """questions: (number, tokens joined by a space)."""
        self._all = [_Asked(number, string) for number, string in questions]
        count = Counter(shingle for one in self._all for shingle in one.shingles)
        self._count = {shingle: count[shingle] for shingle in sorted(count)}

    def index(self, texts: Iterable[SegmentedText]) -> Index:
        """The questions, each under its first shingles, in an order that is good for these texts."""
        count: Counter[str] = Counter()
        for read in texts:
            count.update(filter(self._count.__contains__, shingles(read.string)))
        # Of a shingle's pairs of question and segment there are as many as the product.
        by_pairs = sorted(self._count, key=lambda shingle: count.get(shingle, 0) * self._count[shingle])
        return Index(self._all, {shingle: place for place, shingle in enumerate(by_pairs)})


class Index:
    """Questions by their first shingles in one order. order: of every shingle of any question."""

    def __init__(self, questions: Sequence[_Asked], order: dict[str, int]) -> None:
        self._questions = questions
        self._order = order
        # By shingle, for each question: the most shingles that a segment may have before it, times how many questions
        # there are, plus the question's place among them. As single numbers they are no work for the garbage collector.
        self._entries: dict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(questions):
            for shingle, most in zip(sorted(one.shingles, key=order.__getitem__), one.most_before, strict=False):
                self._entries[shingle].append(most * len(questions) + place)
        for found in self._entries.values():
            found.sort(reverse=True)
        self._most = max((found[0] for found in self._entries.values()), default=-1) // max(1, len(questions))

    def find(self, read: SegmentedText, passed_over: Iterable[int]) -> Iterator[tuple[int, int]]:
        """(question's number, the first of the segments that are nearly it), each question once.

        passed_over: numbers of questions that need not be found.
        """
        done = set(passed_over)
        for segment, met in self._candidates(read):
            sought = [one for one in map(self._questions.__getitem__, met) if one.number not in done]
            if not sought:
                continue
            # The same subject is spoken of often: most candidates fall to one look at all that stands around.
            longest = max(one.longest for one in sought)
            around = set(shingles(read.around(segment, longest)))
            sought = [one for one in sought if len(one.shingles & around) >= one.needed]
            if not sought:
                continue
            for first, string in read.runs(segment, longest):
                its = frozenset(shingles(string))
                for one in sought:
                    if len(string) <= one.longest and one.number not in done and one.is_like(string, its):
                        done.add(one.number)
                        yield one.number, first

    def _candidates(self, read: SegmentedText) -> Iterator[tuple[int, set[int]]]:
        """By segment, the places of the questions that may be nearly it, or it and segments around it."""
        for segment, (start, end) in enumerate(zip(read.starts, read.ends, strict=True)):
            # What begins in the segment and ends in the next is not of every run of segments through it.
            begun = shingles(read.string[start : end + SHINGLE])
            whole = set(begun[: max(0, end - start - SHINGLE + 1)])
            own = sorted(self._order[shingle] for shingle in whole if shingle in self._order)
            strange = len(whole) - len(own)
            if strange > self._most:
                continue
            met: set[int] = set()
            for shingle in whole.union(begun) & self._entries.keys():
                before = strange + bisect_left(own, self._order[shingle])
                viable = takewhile((before * len(self._questions)).__le__, self._entries[shingle])
                met.update(entry % len(self._questions) for entry in viable)
            if met:
                yield segment, met


class _Asked:
    """A question as near-duplicates of it are sought.

    needed: the fewest shingles that a near-duplicate shares. longest: the most characters of a run of segments that is
    looked at; a longer one could be like the question only by saying the same again and again. most_before: of a
    near-duplicate without the first 0, 1, ... shingles of the question, how many it may have that the question has not.
    """

    def __init__(self, number: int, string: str) -> None:
        self.number = number
        self.shingles = frozenset(shingles(string))
        by_jaccard = math.ceil(LEAST_JACCARD * len(self.shingles) - ROUNDING)
        self.needed = max(1, min(by_jaccard, len(self.shingles) - SLIP_SHINGLES))
        self.longest = 3 * len(string) // 2
        self.most_before = _most_before(len(self.shingles))
        self._string = string

    def is_like(self, string: str, its: frozenset[str]) -> bool:
        """Whether `string`, with its shingles, is a near-duplicate."""
        shared = len(self.shingles & its)
        if shared < self.needed:
            return False
        union = len(self.shingles) + len(its) - shared
        return shared >= LEAST_JACCARD * union - ROUNDING or one_slip(self._string, string)


@cache
def _most_before(size: int) -> list[int]:
    by_jaccard = (math.floor((size - before + ROUNDING) / LEAST_JACCARD) - size for before in range(size))
    found = [max(most, SLIP_SHINGLES) if before <= SLIP_SHINGLES else most for before, most in enumerate(by_jaccard)]
    return [most for most in found if most >= 0]


def shingles(string: str) -> list[str]:
    """Every stretch of 5 characters, in order."""
    return [string[place : place + SHINGLE] for place in range(len(string) - SHINGLE + 1)]


def one_slip(question: str, other: str) -> bool:
    """Whether two strings differ in one place by one character changed, missing or added, or two swapped.

    Most misspellings are one such slip (Damerau 1964). Spaces at that place do not count, so `what s` (from `What's`)
    and `whats` are one slip from `what is`, and so is a Chinese text with a character left out.
    """
    shorter = min(len(question), len(other))
    head = 0
    while head < shorter and question[head] == other[head]:
        head += 1
    tail = 0
    while tail < shorter - head and question[-1 - tail] == other[-1 - tail]:
        tail += 1
    old, new = question[head : len(question) - tail], other[head : len(other) - tail]
    if max(len(old), len(new)) > SLIP_CHARACTERS:
        return False
    old, new = old.replace(" ", ""), new.replace(" ", "")
    return max(len(old), len(new)) <= 1 or (len(old) == 2 and old == new[::-1])
