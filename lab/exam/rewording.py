"""Exam questions in other words: what a sentence must hold of a question to ask the same."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

# A window of tokens that is longer than this many times the question says more than the question in other words.
LONGEST = 2
# Fewer words beside the small ones say too little to be told from another question.
LEAST_OWN, LEAST_TELEGRAPHIC = 3, 2


def _words(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


QUESTION_WORDS = frozenset(_words("what which who whom whose when where why how"))
# English words that another may stand for, or none. A note in catchwords ("fee of Quenmar?") has none but the first.
LINKS = frozenset(_words("a an the of for in on at by to with from as and or"))
SMALL_WORDS = LINKS | frozenset(
    _words(
        "am is are was were be been being has have had having do does did done can could may might must shall should "
        "will would able allowed ought need it its this that these those there he she they them his her their i me my "
        "you your we us our one ones so then if s"
    )
)

_UNITS = _words("one two three four five six seven eight nine")
_TEENS = _words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_VALUES = {
    **{word: value for value, word in enumerate((*_UNITS, *_TEENS), 1)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
}
_BELOW_100 = rf"(?:(?:{'|'.join(_TENS)})(?: (?:{'|'.join(_UNITS)}))?|{'|'.join((*_TEENS, *_UNITS))})"
_BELOW_1000 = rf"(?:(?:{'|'.join(_UNITS)}) hundred(?: (?:and )?{_BELOW_100})?|{_BELOW_100})"
_NUMBER = re.compile(rf"\b(?:{_BELOW_1000} thousand(?: (?:and )?{_BELOW_1000})?|{_BELOW_1000})\b")


def digits(tokens: Sequence[str]) -> list[str]:
    """The tokens with English numbers below a million in digits: `four hundred and six` is `406`. `one` stays."""

    def written(found: re.Match[str]) -> str:
        return found.group() if found.group() == "one" else str(_value(found.group()))

    return _NUMBER.sub(written, " ".join(tokens)).split(" ")


def _value(words: str) -> int:
    total = part = 0
    for word in words.split():
        if word == "hundred":
            part *= 100
        elif word == "thousand":
            total, part = 1000 * part, 0
        else:
            part += _VALUES.get(word, 0)  # `and` adds nothing
    return total + part


class _Asked:
    """A question as rewordings of it are sought: its words, and those of them that none may stand for."""

    def __init__(self, number: int, tokens: list[str]) -> None:
        self.number = number
        self.words = frozenset(tokens)
        self.own = self.words - SMALL_WORDS  # with its question words
        self.content = self.own - QUESTION_WORDS or self.own or self.words
        self.longest = LONGEST * len(tokens)

    def stands_in(self, tokens: Sequence[str], line: frozenset[str], asks: bool) -> bool:
        """Whether the sentence asks it; line: the words of the sentence's last line. asks: a question mark ends it."""
        if _window(tokens, self.words, self.longest):
            return True
        if not asks:
            return False
        if len(self.own) >= LEAST_OWN and _window(tokens, self.own, self.longest, self.words | SMALL_WORDS):
            return True
        return len(self.content) >= LEAST_TELEGRAPHIC and self.content <= line <= self.words | LINKS


class Rewordings:
    """The questions of an exam, to be found in sentences that ask the same in other words.

    A sentence asks a question where it

    - holds every word of it, in any order, within a window of at most twice as many words; or
    - ends with a question mark and holds, in such a window, all of its words but small ones (articles, auxiliaries,
      pronouns, common prepositions), at least 3, and beside them small words only; or
    - ends with a question mark, and its last line is the question in catchwords: all of its words but small ones and
      the question word, at least 2, and beside them nothing but more of its words, articles and prepositions.

    Small words and question words are English; of a question in another language every word is needed. Of two
    questions found in one sentence the one whose words are all among the other's is left out.

    Tokens are those of `lab.exam.leaks.tokenise`; English numbers count as their digits.
    """

    def __init__(self, questions: Iterable[tuple[int, list[str]]]) -> None:
        self._all = [_Asked(number, digits(tokens)) for number, tokens in questions]
        self._keys = frozenset(word for one in self._all for word in one.content)

    def index(self, texts: Iterable[Sequence[str]]) -> dict[str, list[_Asked]]:
        """The questions, each under that word it cannot do without which is rarest in the texts (of tokens)."""
        count: Counter[str] = Counter()
        for tokens in texts:
            count.update(filter(self._keys.__contains__, tokens))
        by_word: dict[str, list[_Asked]] = defaultdict(list)
        for one in self._all:
            by_word[min(one.content, key=lambda word: (count[word], word))].append(one)
        return by_word

    @staticmethod
    def find(tokens: Sequence[str], line: Sequence[str], asks: bool, index: dict[str, list[_Asked]]) -> list[int]:
        """Numbers of the questions that the sentence asks. line: the tokens of its last line."""
        words, last = frozenset(tokens), frozenset(line)
        near = [one for word in words & index.keys() for one in index[word] if one.content <= words]
        asked = [one for one in near if one.stands_in(tokens, last, asks)]
        return [one.number for one in asked if not any(one.words < other.words for other in asked)]


def _window(tokens: Sequence[str], needed: frozenset[str], longest: int, allowed: frozenset[str] | None = None) -> bool:
    """Whether all needed words stand within `longest` tokens, with none but allowed ones among them."""
    seen: Counter[str] = Counter()
    start = 0
    for end, token in enumerate(tokens):
        if allowed is not None and token not in allowed:
            seen.clear()
            start = end + 1
            continue
        if token not in needed:
            continue
        seen[token] += 1
        while tokens[start] not in needed or seen[tokens[start]] > 1:  # the last of each needed word is kept
            if tokens[start] in needed:
                seen[tokens[start]] -= 1
            start += 1
        if len(seen) == len(needed) and end + 1 - start <= longest:
            return True
    return False
