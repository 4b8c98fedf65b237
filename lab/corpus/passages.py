"""Documents cut into passages: by heading, then by sentence, in any language, with exact offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.records import Document, LabError, Passage

# ATX headings only; a line of `===` or `---` under a text is too often a rule or a table.
HEADING_MARK = re.compile(r" {0,3}(#{1,6})[ \t]+")
FENCE = re.compile(r" {0,3}(```|~~~)[`~]*[^`]*$")
PARAGRAPH_END = re.compile(r"\n[ \t\r]*\n")
# Full stops of scripts that put no space after them end a sentence anywhere, the others only before white space.
# The look-behind and the possessive `++` keep a long run of dots from being tried again from each of its dots.
SENTENCE_END = re.compile(r"""[。！？｡．।؟]+[”’」』）》"']*|(?<![.!?…])[.!?…]++[”’»"')\]]*+(?=\s)""")  # noqa: RUF001


@dataclass(frozen=True)
class Heading:
    """A Markdown heading line: level 1 to 6, its text without marks, offsets of its line in characters."""

    level: int
    text: str
    start: int
    end: int


def headings(text: str) -> Iterator[Heading]:
    """All headings of a text in order; lines inside fenced code are none."""
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
            if words:
                yield Heading(len(found[1]), words, start, end)
        start = end + 1


def split(document: Document, max_characters: int = 1000) -> list[Passage]:
    """Cut a document into passages of at most `max_characters` characters each.

    One section under one heading is one passage where it fits; a longer one is cut at the last paragraph end in the
    second half of the room, else at the last sentence end, line end or white space, in this order, else anywhere. A
    heading's line is not in the text of its passage but in its title, `document title > heading > heading below it`.
    A heading with nothing under it becomes a passage of its own, so that nothing is lost, unless it is the document's
    title.

    Ids are `<document id>#<n>` with n from 1. `passage.text == document.text[passage.start:passage.end]`, without
    white space at either end. A document of white space only has no passage. LabError for a size below 1.
    """
    if isinstance(max_characters, bool) or not isinstance(max_characters, int) or max_characters < 1:
        raise LabError(f"max_characters={max_characters!r}: a whole number of at least 1 is needed")
    text = document.text
    found: list[Passage] = []
    for title, start, end in _sections(document):
        for first, last in _pieces(text, start, end, max_characters):
            id = f"{document.id}#{len(found) + 1}"
            found.append(Passage(id, document.id, title, text[first:last], first, last))
    return found


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


def _pieces(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut text[start:end], which is trimmed, into trimmed stretches of at most `size` characters."""
    while end - start > size:
        cut = _cut(text, start, start + size)
        yield _trim(text, start, cut)
        start, _ = _trim(text, cut, end)
    yield start, end


def _cut(text: str, start: int, limit: int) -> int:
    """Where to end a passage that begins at `start` and must end at `limit` at the latest; always after `start`."""
    paragraphs = [found.start() for found in PARAGRAPH_END.finditer(text, (start + limit) // 2, limit + 1)]
    if paragraphs and paragraphs[-1] > start:
        return paragraphs[-1]
    # One character more than fits is searched: a full stop counts only if white space follows it.
    sentences = [found.end() for found in SENTENCE_END.finditer(text, start, limit + 1) if found.end() <= limit]
    if sentences:
        return sentences[-1]
    line_end = text.rfind("\n", start + 1, limit + 1)
    if line_end != -1:
        return line_end
    for place in range(limit, start, -1):
        if text[place].isspace():
            return place
    return limit


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Move both offsets over white space, as `str.strip` would; an empty stretch ends where it starts."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
