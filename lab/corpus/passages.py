"""Documents cut into passages: by heading, article and sentence, in any language, with exact offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from lab.records import Document, LabError, Passage

# Characters of a title, a heading or an article's mark. It is told with every passage below it, so a line of millions
# would be too; a longer line is text.
MOST_TITLE = 300
# ATX headings only; a line of `===` or `---` under a text is too often a rule or a table.
HEADING_MARK = re.compile(r" {0,3}(#{1,6})[ \t]+")
FENCE = re.compile(r" {0,3}(```|~~~)[`~]*[^`]*$")
PARAGRAPH_END = re.compile(r"\n[ \t\r]*\n")
# Full stops of scripts that put no space after them end a sentence anywhere, the others only before white space.
# The look-behind and the possessive `++` keep a long run of dots from being tried again from each of its dots.
SENTENCE_END = re.compile(r"""[。！？｡．।؟]+[”’」』）》"']*|(?<![.!?…])[.!?…]++[”’»"')\]]*+(?=\s)""")  # noqa: RUF001
SPACE = re.compile(r"\s+")
# Scripts that set no spaces between words, and the marks that belong to the letters before them.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff"
)
JOINED = "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
# Eight letters: on English books this counts within 6 % of what a word-piece vocabulary of 30,000 makes of them.
TOKEN = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[\w{JOINED}]){{1,8}}|\S")
# An article begins a line. `第三条的规定` or `Section 3 of the Act` there is a reference that a line break put there.
CHINESE_NUMBER = "[零〇一二三四五六七八九十百千两\\d]+"
ARTICLE = re.compile(
    rf"""^[^\S\n]*(?:\*\*|__)?(
        第[ \u3000]*{CHINESE_NUMBER}[ \u3000]*[条條](?:之{CHINESE_NUMBER})?
        (?![的第规規之至到和与及或、,;。\uff0c\uff1b]|所[列称指规述]|中[的规所\u201c])
        |(?:(?i:article|section|art\.|sec\.)[ \xa0]|§)[ \xa0]*(?:\d+[A-Za-z]?(?:[.-]\d+)*|[IVXLC]+)
        (?=(?:\*\*|__|[.:)\uff1a](?!\S)|[ \t]*$|[ \t]+[-\u2013\u2014(\[“"]|[ \t]+[^\W\d_a-z]))
    )""",
    re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True)
class Heading:
    """A Markdown heading line: level 1 to 6, its text without marks, offsets of its line in characters."""

    level: int
    text: str
    start: int
    end: int


def headings(text: str) -> Iterator[Heading]:
    """All headings of a text in order; lines inside fenced code are none, nor are those of more than `MOST_TITLE`."""
    fence = None
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        mark = FENCE.match(line)
        if mark and fence in (None, mark[1]):
            fence = mark[1] if fence is None else None
        found = HEADING_MARK.match(line) if fence is None else None
        if found:
            words = line[found.end() :].strip()
            bare = words.rstrip("#")  # closing marks count as such only after white space: "C#" keeps its own
            if not bare or bare[-1].isspace():
                words = bare.rstrip()
            if 0 < len(words) <= MOST_TITLE:
                yield Heading(len(found[1]), words, start, end)
        start = end + 1


def count_tokens(text: str) -> int:
    """How many tokens a text has by the lab's own count, which needs no model and no spaces between words.

    One for each character of a script that sets no spaces (Han, kana, Thai, Lao, Burmese, Khmer), one for every eight
    letters or digits begun of any other word, one for each other mark; none for white space.
    """
    return sum(1 for _ in TOKEN.finditer(text))


def count_sections(text: str) -> int:
    """How many headings and articles a text has: about as many passages as it makes at the least."""
    return sum(1 for _ in headings(text)) + sum(1 for _ in ARTICLE.finditer(text))


def split(document: Document, max_tokens: int = 384, overlap_tokens: int = 0) -> list[Passage]:
    """Cut a document into passages of at most `max_tokens` tokens each, as `count_tokens` counts them.

    One section under one heading is one passage where it fits, and one article in it (`第N条`, `Article N`,
    `Section N`, `§ N` at the beginning of a line) is always a passage of its own. A longer one is cut at the last
    paragraph end in the second half of the room, else at the last sentence end, line end or white space, in this
    order, else after any token. A further piece then begins up to `overlap_tokens` before that cut, at a sentence
    where one begins there, else at a word.

    A heading's line is not in the text of its passage but in its title, `document title > heading > heading below it`.
    An article's mark begins its text, and ends the title of all of its pieces. A heading with nothing under it becomes
    a passage of its own, so that nothing is lost, unless it is the document's title.

    Ids are `<document id>#<n>` with n from 1. `passage.text == document.text[passage.start:passage.end]`, without
    white space at either end. A document of white space only has no passage. LabError for a size below 1, or an
    overlap above half of it. Takes time in proportion to the text.
    """
    check_sizes(max_tokens, overlap_tokens)
    text = document.text
    found: list[Passage] = []
    for title, start, end in _sections(document):
        for mark, first, last in _articles(text, start, end):
            name = f"{title} > {mark}" if mark else title
            for begin, stop in _pieces(text, first, last, max_tokens, overlap_tokens):
                id = f"{document.id}#{len(found) + 1}"
                found.append(Passage(id, document.id, name, text[begin:stop], begin, stop))
    return found


def check_sizes(max_tokens: int, overlap_tokens: int) -> None:
    """LabError unless both are whole numbers, the size at least 1, the overlap from 0 to half of the size."""
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        raise LabError(f"max_tokens={max_tokens!r}: a whole number of at least 1 is needed")
    whole = isinstance(overlap_tokens, int) and not isinstance(overlap_tokens, bool)
    if not whole or not 0 <= overlap_tokens <= max_tokens // 2:
        raise LabError(f"overlap_tokens={overlap_tokens!r}: a whole number from 0 to half of max_tokens is needed")


def _sections(document: Document) -> Iterator[tuple[str, int, int]]:
    """(title, start, end) of every stretch that becomes a passage or several."""
    text = document.text
    marks = list(headings(text))
    whole = _trim(text, 0, len(text))
    before = _trim(text, 0, marks[0].start if marks else len(text))
    if before[0] < before[1]:
        yield document.title, *before
    path: list[Heading] = []
    for index, mark in enumerate(marks):
        following = marks[index + 1] if index + 1 < len(marks) else None
        path = [*(heading for heading in path if heading.level < mark.level), mark]
        names = [heading.text for heading in path]
        if names[0] == document.title:
            del names[0]
        title = " > ".join([document.title, *names])
        start, end = _trim(text, mark.end, following.start if following else len(text))
        if start < end:
            yield title, start, end
            continue
        is_parent = following is not None and following.level > mark.level
        is_title = index == 0 and mark.text == document.title and _trim(text, mark.start, mark.end) != whole
        if not is_parent and not is_title:
            yield title, *_trim(text, mark.start, mark.end)


def _articles(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """(mark, start, end) of what stands before the first article of text[start:end], mark "", and of every article."""
    # From the beginning of the line: the section is trimmed, and its first line may be indented.
    marks = list(ARTICLE.finditer(text, text.rfind("\n", 0, start) + 1, end))
    named = ((" ".join(mark[1].split()), mark.start()) for mark in marks)
    edges = [("", start), *((name, place) for name, place in named if len(name) <= MOST_TITLE), ("", end)]
    for (mark, first), (_, last) in pairwise(edges):
        first, last = _trim(text, first, last)
        if first < last:
            yield mark, first, last


def _pieces(text: str, start: int, end: int, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Cut text[start:end], which is trimmed, into trimmed stretches of at most `size` tokens."""
    covered = start
    while (limit := _reach(text, start, end, size)) < end:
        cut = _cut(text, start, covered, limit)
        first, last = _trim(text, start, cut)
        yield first, last
        covered, _ = _trim(text, cut, end)
        start = _resume(text, first, last, overlap) if overlap else covered
    yield start, end


def _reach(text: str, start: int, end: int, size: int) -> int:
    """The end of the last token that still fits a passage which begins at `start`; `end` where all of them do."""
    if end - start <= size:  # No token is shorter than a character.
        return end
    last = next(islice(TOKEN.finditer(text, start, end), size - 1, None), None)
    return last.end() if last else end


def _cut(text: str, start: int, covered: int, limit: int) -> int:
    """Where to end a passage that begins at `start` and must end at `limit` at the latest; always after `covered`."""
    paragraphs = [found.start() for found in PARAGRAPH_END.finditer(text, (start + limit) // 2, limit + 1)]
    if paragraphs and paragraphs[-1] > covered:
        return paragraphs[-1]
    # One character more than fits is searched: a full stop counts only if white space follows it.
    sentences = [found.end() for found in SENTENCE_END.finditer(text, covered, limit + 1) if found.end() <= limit]
    if sentences:
        return sentences[-1]
    line_end = text.rfind("\n", covered + 1, limit + 1)
    if line_end != -1:
        return line_end
    for place in range(limit, covered, -1):
        if text[place].isspace():
            return place
    return limit


def _resume(text: str, start: int, end: int, overlap: int) -> int:
    """Where the next piece begins, so that it repeats at most `overlap` tokens, and half, of text[start:end]."""
    tokens = [token.start() for token in TOKEN.finditer(text, start, end)]
    earliest = tokens[-max(1, min(overlap, len(tokens) // 2))]
    for edge in (SENTENCE_END, SPACE):
        for found in edge.finditer(text, max(start, earliest - 2), end):
            place, _ = _trim(text, found.end(), end)
            if earliest <= place < end:
                return place
    return earliest


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Move both offsets over white space, as `str.strip` would; an empty stretch ends where it starts."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
