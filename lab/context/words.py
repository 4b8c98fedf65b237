"""Text into words for BM25: words where a script sets spaces, pairs of characters where it does not."""

from __future__ import annotations

import re
import unicodedata

from lab.corpus.passages import JOINED, UNSPACED

DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}  # noqa: RUF001
UNITS = {"十": 10, "百": 100, "千": 1000}
# `第一百二十条` and `第 120 条` name the same article. The character after the number says what is counted.
ORDINAL = re.compile(rf"第\s*(\d{{1,9}}|[{''.join(DIGITS)}{''.join(UNITS)}]{{1,12}})\s*([{UNSPACED}]?)")
WORD = re.compile(rf"(第\d+[{UNSPACED}]?)|([{UNSPACED}]+)|(?:(?![_{UNSPACED}])[\w{JOINED}])+")


def words(text: str) -> list[str]:
    """The words of a text, in order, repeats kept; case and the width of characters do not count.

    A script without spaces (Han, kana, Thai ...) gives each pair of neighbouring characters, which finds words without
    a dictionary; a character that stands alone gives itself. A Chinese ordinal is one word, its number in digits:
    `第一百二十条` is `第120条`.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    # Set apart by spaces, so that no pair is made across its ends.
    text = ORDINAL.sub(lambda found: f" 第{number(found[1])}{found[2]} ", text)
    made: list[str] = []
    for found in WORD.finditer(text):
        run = found[2]
        if run is None or len(run) == 1:
            made.append(found[0])
        else:
            made += [run[place : place + 2] for place in range(len(run) - 1)]
    return made


def number(text: str) -> int:
    """The value of a Chinese number below ten thousand, or of digits: 一百二十, 一二〇 and 120 are 120."""
    if not UNITS.keys() & set(text):
        return int("".join(str(DIGITS.get(digit, digit)) for digit in text))
    total = digit = 0
    for mark in text:
        if mark in UNITS:
            total += (digit or 1) * UNITS[mark]
            digit = 0
        else:
            digit = DIGITS[mark]
    return total + digit
