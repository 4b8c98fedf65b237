"""A text as the leak guard reads it: tokens, the segments they stand in, and sentences, in any script."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator

from lab.exam.rewording import digits

LINE_CHARACTERS = 200
LINE_MARKS = " \t>-*#"  # Markdown's, before the first word of a line

# Han characters, kana and Hangul: written without spaces, or with endings that stick to the word.
_CJK = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_ONE_CJK = re.compile(f"[{_CJK}]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")  # left in words by word processors and web pages
# Line breaks, sentence ends, colons (`Question: ...`) and quotation marks.
_SEGMENT = re.compile('[^\n\r\u2028\u2029.?!\u3002\uff0e\uff61\uff1f\uff01:\uff1a"\u201c\u201d\u300c\u300d]+')
QUESTION_MARKS = ("?", "\uff1f")
# A sentence goes on over colons, quotation marks and line breaks, but not into a line that begins with a capital.
_SENTENCE_END = re.compile("[.?!\u3002\uff0e\uff61\uff1f\uff01]|\\n[^\\S\\n]*\\n")


class SegmentedText:
    """A training text as tokens, and as the segments they stand in; segments without a token are left out.

    starts, ends: of each segment in `string`, in characters. token_starts, token_ends: in `tokens`. marks: the
    character that ends it, empty at the end of the text. ends_sentence: how the sentence ends with it: empty where it
    goes on.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._places: list[int] = []
        self.tokens: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.token_starts: list[int] = []
        self.token_ends: list[int] = []
        self.marks: list[str] = []
        self.ends_sentence: list[str] = []
        strings: list[str] = []
        at = ended = 0
        for segment in _SEGMENT.finditer(text):
            tokens = tokenise(segment.group())
            if not tokens:
                continue
            if strings:
                self._end_sentence(text[ended : segment.start()], segment.group().lstrip(LINE_MARKS)[:1])
            ended = segment.end()
            string = " ".join(tokens)
            strings.append(string)
            self._places.append(segment.start())
            self.starts.append(at)
            self.ends.append(at + len(string))
            at += len(string) + 1
            self.token_starts.append(len(self.tokens))
            self.tokens += tokens
            self.token_ends.append(len(self.tokens))
            self.marks.append(text[segment.end() : segment.end() + 1])
        self._end_sentence(text[ended:] + "\n\n", "")
        self.string = " ".join(strings)

    def _end_sentence(self, gap: str, following: str) -> None:
        end = _SENTENCE_END.search(gap)
        new_line = "\n" if following.isupper() and "\n" in gap else ""
        self.ends_sentence.append(end.group() if end else new_line)

    def sentences(self) -> Iterator[tuple[int, list[str], list[str], bool]]:
        """Each sentence: its first segment, its tokens and those of its last segment with numbers in digits, and
        whether a question mark ends it."""
        first = 0
        for last, (start, stop, end) in enumerate(
            zip(self.token_starts, self.token_ends, self.ends_sentence, strict=False)
        ):
            if end:
                tokens = self.tokens[self.token_starts[first] : stop]
                yield first, digits(tokens), digits(self.tokens[start:stop]), end in QUESTION_MARKS
                first = last + 1

    def segment_of_token(self, token: int) -> int:
        return bisect_right(self.token_starts, token) - 1

    def line(self, segment: int) -> str:
        """The line in which a segment begins; of a long line what follows from there."""
        place = self._places[segment]
        begin = self._text.rfind("\n", 0, place) + 1
        end = self._text.find("\n", place)
        line = self._text[begin : end if end >= 0 else None].strip()
        if len(line) <= LINE_CHARACTERS:
            return line
        return self._text[place : end if end >= 0 else None].strip()[:LINE_CHARACTERS]

    def around(self, segment: int, longest: int) -> str:
        """A stretch that every run of at most `longest` characters through `segment` stands in."""
        return self.string[max(0, self.ends[segment] - longest) : self.starts[segment] + longest]

    def runs(self, segment: int, longest: int) -> Iterator[tuple[int, str]]:
        """Every run of segments of at most `longest` characters through `segment`, and the segment it begins with."""
        for first in range(segment, -1, -1):
            if self.ends[segment] - self.starts[first] > longest:
                break
            for last in range(segment, len(self.ends)):
                if self.ends[last] - self.starts[first] > longest:
                    break
                yield first, self.string[self.starts[first] : self.ends[last]]


def tokenise(text: str) -> list[str]:
    """NFKC, casefolded, without punctuation: words, and each Han character, kana or Hangul syllable by itself."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold())


def half_words(token: str) -> int:
    """How much of a word a token is, in halves: two CJK characters count as one."""
    return 1 if _ONE_CJK.match(token) else 2
