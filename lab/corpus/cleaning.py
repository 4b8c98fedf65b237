"""Bytes to clean text: which encoding it is, said where it is not UTF-8, and what is taken off."""

from __future__ import annotations

import codecs
import re
import unicodedata

# The longest text of one document, in UTF-8 bytes, about two Bibles: whatever a file holds, it then stays below 1 GiB.
MAX_TEXT_BYTES = 8 * 1024 * 1024
# Below this, one encoding's letters are as likely as another's.
MIN_TELLING_BYTES = 20
# Those that text is told apart from, beside the two that are taken.
TAKEN = {"gb18030": "GB18030", "cp1252": "Latin-1", "latin_1": "Latin-1"}
OTHERS = ("big5", "euc_jp", "euc_kr", "shift_jis", "cp1251")
CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]")
BREAKS = re.compile("\r\n?|[\x0b\x0c]")
SEPARATORS = re.compile("[\x1c-\x1f]")
SURROGATES = re.compile("[\ud800-\udfff]")


class RefusedError(Exception):
    """Why one document is not taken. kind: a word or two to count by. reason: what is wrong, and the mend."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def decode(data: bytes) -> tuple[str, str]:
    """(text, encoding): UTF-8 with or without a byte order mark, for which the encoding is "", else what it is read as.

    That is UTF-16 with a mark, GB18030 or Latin-1 (with Windows' additions), the last two as charset-normalizer tells
    them from other encodings. RefusedError where there is a NUL byte, where most of it is UTF-8 but a part is damaged,
    and where it is of another encoding or too short to tell.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise RefusedError("too large", f"larger than {MAX_TEXT_BYTES >> 20} MiB; split it into several documents")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16"), "UTF-16"
        except UnicodeDecodeError as error:
            raise RefusedError("encoding", f"damaged UTF-16 (byte {error.start}); save it as UTF-8") from None
    if b"\0" in data:
        raise RefusedError("NUL", f"holds a NUL byte (byte {data.index(0)}), so it is not text; convert it")
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        where = f"not UTF-8 (byte {error.start})"
    rough = data.decode("utf-8", "replace")
    damaged = rough.count("\ufffd")
    whole = len(rough) - len(rough.encode("ascii", "ignore")) - damaged
    if whole > damaged:
        raise RefusedError("encoding", f"{where}, but most of it is: damaged; save it as UTF-8 again")
    if len(data) < MIN_TELLING_BYTES:
        raise RefusedError("encoding", f"{where} and too short to tell its encoding; save it as UTF-8")
    found = _detect(data)
    if found not in TAKEN:
        looks = f"; it looks like {found}" if found else ""
        raise RefusedError("encoding", f"{where}{looks}; save it as UTF-8")
    try:
        return data.decode(found), TAKEN[found]
    except UnicodeDecodeError as error:
        raise RefusedError("encoding", f"{where}, nor {TAKEN[found]} (byte {error.start}); save it as UTF-8") from None


def _detect(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data, cp_isolation=[*TAKEN, *OTHERS]).best()
    return best.encoding if best else ""


def clean(text: str) -> str:
    """What every text goes through before anything else sees it; no letter, digit or sign is changed.

    Line ends (also form feed and vertical tab) become `\\n`. Other control characters and byte order marks are taken
    off, those that separate become a space, half surrogates the replacement character. Letters are composed (NFC).
    """
    text = SEPARATORS.sub(" ", CONTROLS.sub("", BREAKS.sub("\n", text)))
    return unicodedata.normalize("NFC", SURROGATES.sub("\ufffd", text))
