"""Foreign formats to Markdown. Runs in a child process with limits: `python -m lab.corpus.formats`, see sandbox.py.

A line on standard input is a file's path as JSON; the answer is one line, `{"text", "title", "encoding"}` or `{"kind",
"reason"}`. Imports nothing heavy before a file asks for it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from lab.corpus.cleaning import MAX_TEXT_BYTES, RefusedError, decode

MEMORY_BYTES = 1 << 30
# Of a PDF or Word file as it lies, and of a Word file unpacked.
MAX_FILE_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 256 << 20
EXTRA = "pip install 'open-book-exam-lab[docs]'"


def convert(path: Path) -> dict[str, str]:
    """The file as `text`, with `title` where it names one and `encoding` where it is not UTF-8.

    RefusedError for whatever cannot be read; other errors of the libraries are damaged files too.
    """
    try:
        made = FORMATS[path.suffix.lower()](path)
    except ModuleNotFoundError as error:
        raise RefusedError("missing extra", f"{path.suffix.lower()} needs {error.name}: {EXTRA}") from None
    if len(made["text"].encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise RefusedError(
            "too large", f"holds more than {MAX_TEXT_BYTES >> 20} MiB of text; split it into several files"
        )
    return made


def _html(path: Path) -> dict[str, str]:
    text, encoding = decode(_read(path, MAX_TEXT_BYTES))
    title, body = _markdown(text)
    return {"text": body, "title": title, "encoding": encoding}


def _markdown(html: str) -> tuple[str, str]:
    """(title, Markdown) of a page: headings kept, links and pictures reduced to their words."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    page = BeautifulSoup(html, "html.parser")
    title = page.title.get_text(" ", strip=True) if page.title else ""
    for unseen in page.find_all(["head", "script", "style", "noscript", "template", "svg", "title"]):
        unseen.decompose()
    converter = MarkdownConverter(
        heading_style="ATX", strip=["a", "img"], escape_asterisks=False, escape_underscores=False, escape_misc=False
    )
    return title, converter.convert_soup(page)


def _pdf(path: Path) -> dict[str, str]:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    try:
        reader = PdfReader(io.BytesIO(_read(path, MAX_FILE_BYTES)))
        # Many files are encrypted under an empty password, which only forbids printing or the like.
        if reader.is_encrypted and not reader.decrypt(""):
            raise RefusedError("encrypted", "encrypted; take its password off")
        pages = [page.extract_text() for page in reader.pages]
    except DependencyError as error:
        raise RefusedError("missing extra", f"{error}: {EXTRA}") from None
    text = "\n\n".join(pages)
    if not text.strip():
        raise RefusedError("no text", f"no text on its {len(pages)} page(s): a scan? run text recognition on it")
    return {"text": text, "title": "", "encoding": ""}


def _docx(path: Path) -> dict[str, str]:
    import mammoth

    data = io.BytesIO(_read(path, MAX_FILE_BYTES))
    with zipfile.ZipFile(data) as packed:
        unpacked = sum(part.file_size for part in packed.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise RefusedError(
                "zip bomb", f"unpacks to {unpacked >> 20} MiB, more than {MAX_UNPACKED_BYTES >> 20}; save it anew"
            )
    no_picture = mammoth.images.img_element(lambda image: {})
    made = mammoth.convert_to_html(data, convert_image=no_picture, external_file_access=False)
    return {"text": _markdown(made.value)[1], "title": "", "encoding": ""}


def _csv(path: Path) -> dict[str, str]:
    text, encoding = decode(_read(path, MAX_TEXT_BYTES))
    try:
        dialect: Any = csv.Sniffer().sniff(text[:8192], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    usual = csv.field_size_limit(MAX_TEXT_BYTES)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), dialect) if any(cell.strip() for cell in row)]
    finally:
        csv.field_size_limit(usual)  # It is the whole process's.
    if len(rows) == 1:
        return {"text": "\n".join(rows[0]), "title": "", "encoding": encoding}
    told = (
        "\n".join(
            f"{names[place].strip() if place < len(names) else f'column {place + 1}'}: {cell.strip()}"
            for place, cell in enumerate(row)
            if cell.strip()
        )
        for names in rows[:1]
        for row in rows[1:]
    )
    return {"text": "\n\n".join(told), "title": "", "encoding": encoding}


def _json(path: Path) -> dict[str, str]:
    text, encoding = decode(_read(path, MAX_TEXT_BYTES))
    try:
        value = _values(text)
    except json.JSONDecodeError as error:
        raise RefusedError("damaged", f"not JSON ({error}); mend it") from None
    items = value if isinstance(value, list) else [value]
    return {"text": "\n\n".join("\n".join(_told(item, "")) for item in items), "title": "", "encoding": encoding}


def _jsonl(path: Path) -> dict[str, str]:
    text, encoding = decode(_read(path, MAX_TEXT_BYTES))
    told: list[str] = []
    faults: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            told.append("\n".join(_told(_values(line), "")))
        except json.JSONDecodeError as error:
            faults.append(f"line {number}: not JSON ({error})")
    if faults:
        raise RefusedError(
            "damaged", f"{len(faults)} fault(s): {'; '.join(faults[:5])}; mend them, or use corpus=jsonl"
        )
    return {"text": "\n\n".join(told), "title": "", "encoding": encoding}


class _Object(tuple[tuple[str, Any], ...]):
    """A JSON object's pairs: a name that stands twice keeps both of its values."""


def _values(text: str) -> Any:
    """JSON with its numbers as they are written: 45.50 is not 45.5 to who looks for a price, and none is too long."""
    return json.loads(text, object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str)


def _told(value: Any, name: str) -> Iterator[str]:
    """A JSON value as lines of `name: text`; names of what it lies in stand before its own."""
    if isinstance(value, _Object):
        for key, part in value:
            yield from _told(part, f"{name} {key}".strip())
    elif isinstance(value, list):
        for part in value:
            yield from _told(part, name)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        yield f"{name}: {text}" if name else text


FORMATS: dict[str, Callable[[Path], dict[str, str]]] = {
    ".html": _html,
    ".pdf": _pdf,
    ".docx": _docx,
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _jsonl,
}


def _read(path: Path, most: int) -> bytes:
    """All bytes of a file. RefusedError where there are more than `most`."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise RefusedError("too large", f"larger than {most >> 20} MiB; split it into several files")
    return data


def _answer(line: str) -> dict[str, str]:
    try:
        return convert(Path(json.loads(line)))
    except RefusedError as refused:
        return {"kind": refused.kind, "reason": refused.reason}
    except MemoryError:
        return {"kind": "too much memory", "reason": f"needs more than {MEMORY_BYTES >> 30} GiB to be read; convert it"}
    except RecursionError:
        return {"kind": "damaged", "reason": "nested too deeply, or in itself; convert it"}
    except Exception as error:  # Whatever a library raises on a damaged file: one file must not stop the others.
        words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return {"kind": "damaged", "reason": f"cannot be read ({words}); convert it"}


def main() -> None:
    """Answer every line of standard input. Memory is limited, and nothing can be written to any file."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Whatever a library prints must not get between the answers.
    answers: IO[str] = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
