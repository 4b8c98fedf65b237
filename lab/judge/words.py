"""What two texts share: exact match, token F1, contains, ROUGE-L, in one normal form for all languages.

English is normalised as in SQuAD (Rajpurkar et al. 2016: case, punctuation and articles do not count), with two
departures: a point between digits stays (3.5 is not 35), and a text of nothing but articles or punctuation stays (a
choice "A" is an answer). Han characters and kana are one token each, so Chinese needs no word segmenter.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache

_CJK = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")
_BESIDE_CJK = re.compile(rf"\s*([{_CJK}])\s*")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_POINT_OUTSIDE_NUMBER = re.compile(r"(?<!\d)\.|\.(?!\d)")
_ASCII_SYMBOLS = frozenset("$+<=>^`|~")  # SQuAD strips these too, though Unicode calls them symbols
_ROUGE_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")


@lru_cache(maxsize=4096)  # A grade asks for that of the same answer ten times over.
def normalise(text: str) -> str:
    """The form in which two answers are the same: NFKC, casefolded, without punctuation, articles and spare spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    pointless = _POINT_OUTSIDE_NUMBER.sub("", folded)
    # Composed again, as what stood between a letter and its accent may be gone.
    bare = unicodedata.normalize("NFKC", "".join(c for c in pointless if c == "." or not _is_punctuation(c)))
    for candidate in (_ARTICLE.sub(" ", bare), bare, folded):
        if candidate.strip():
            return _BESIDE_CJK.sub(r"\1", " ".join(candidate.split()))
    return ""


def tokens(text: str) -> list[str]:
    """Tokens of the normalised text: a Han character or kana each, any other stretch without spaces as one."""
    return _TOKEN.findall(normalise(text))


def exact_match(answer: str, reference: str) -> float:
    """1.0 where both normalise to the same text, else 0.0. An empty answer matches nothing."""
    return float(normalise(answer) == normalise(reference) != "")


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of token precision and recall, counted as bags (SQuAD), in 0..1; by character for CJK text."""
    mine, gold = tokens(answer), tokens(reference)
    shared = (Counter(mine) & Counter(gold)).total()
    return 2 * shared / (len(mine) + len(gold)) if shared else 0.0


def contains(answer: str, reference: str) -> float:
    """1.0 where the reference's tokens stand in the answer, whole, adjoining and in order; else 0.0."""
    mine, gold = tokens(answer), tokens(reference)
    starts = range(len(mine) - len(gold) + 1) if gold else range(0)
    return float(any(mine[start : start + len(gold)] == gold for start in starts))


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L's F-measure (Lin 2004, beta 1), in 0..1; by character for CJK text.

    With the longest common subsequence of l tokens, precision l / |answer| and recall l / |reference|, it is
    2 l / (|answer| + |reference|). Tokens are as in the usual package, runs of letters and digits in any case, with the
    articles that other scores leave out, and without stemming.
    """
    mine, gold = rouge_tokens(answer), rouge_tokens(reference)
    shared = longest_common_subsequence(mine, gold)
    return 2 * shared / (len(mine) + len(gold)) if shared else 0.0


def rouge_tokens(text: str) -> list[str]:
    """Runs of letters and digits, NFKC and casefolded; a Han character or kana each."""
    return _ROUGE_TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, by bit vectors (Hyyrö 2004): one step of whole-number arithmetic a token of `first`."""
    places: dict[str, int] = defaultdict(int)
    for number, token in enumerate(second):
        places[token] |= 1 << number
    full = (1 << len(second)) - 1
    open_rows = full  # a 0 at a place says that the subsequence grows there
    for token in first:
        hits = open_rows & places.get(token, 0)
        open_rows = ((open_rows + hits) | (open_rows - hits)) & full
    return len(second) - open_rows.bit_count()


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P") or character in _ASCII_SYMBOLS
