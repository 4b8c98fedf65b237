"""Malformed documents and exam files, each with its outcome: kept, quarantined with a reason, or one clear mistake.

All are read under limits of memory and processor time, and what was kept can be written, as a run writes it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from documents import CATALOGUE, GOOD_PDF, PAGE, docx, pdf

from lab.corpus.corpus import Corpus
from lab.corpus.folder import FolderCorpus
from lab.corpus.rows import JsonlCorpus
from lab.corpus.squad import SquadCorpus
from lab.exam.csv_choice import load_choices
from lab.exam.evidence import match_evidence
from lab.exam.jsonl import load_questions
from lab.exam.squad import load_squad
from lab.exam.suite import FilesSuite
from lab.grade import read_answers
from lab.records import LabError, Question, write_jsonl

PDF_WORDS = "The keelage is 45 crowns."
LONGEST_LINE = 600  # characters of a message's line


@contextmanager
def bounded(seconds: float, mebibytes: int = 1024) -> Iterator[None]:
    """What is done inside may take so much more memory, and so much time of this process and of its children."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = sum(os.times()[:4])
    resource.setrlimit(resource.RLIMIT_AS, (held + (mebibytes << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    assert sum(os.times()[:4]) - before < seconds


def written(folder: Path, corpus: Corpus) -> None:
    """As a run would."""
    assert len(corpus.digest) == 64
    folder.mkdir()
    write_jsonl(folder / "passages.jsonl", corpus.passages)
    write_jsonl(folder / "quarantine.jsonl", corpus.quarantined)


def locked(password: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        from pypdf import PdfReader, PdfWriter

        clear = path.with_suffix(".clear")
        clear.write_bytes(GOOD_PDF)
        writer = PdfWriter(clone_from=PdfReader(clear))
        writer.encrypt(user_password=password, owner_password="y", algorithm="AES-256")
        writer.write(path)
        clear.unlink()

    return make


def zipped(path: Path, **parts: str) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in parts.items():
            packed.writestr(name, text)


def lying_zip(path: Path) -> None:
    """It says that it unpacks to less than it does."""
    docx(path, "<w:p/>" * 10_000)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        size = packed.getinfo("word/document.xml").file_size
    assert data.count(size.to_bytes(4, "little")) == 2
    path.write_bytes(data.replace(size.to_bytes(4, "little"), (64).to_bytes(4, "little")))


def deep_folders(path: Path) -> None:
    path.mkdir()
    here = os.open(path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    with open(os.open("end.md", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w") as file:
        file.write("at the end")
    os.close(here)


def unreadable(path: Path) -> None:
    path.write_text("secret")
    path.chmod(0)


FORKS = [b"<</Type/Pages/Kids[%d 0 R %d 0 R]/Count 1>>" % (n + 1, n + 1) for n in range(2, 42)]
ONE_PAGE = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
TEXT = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"
GROW = "".join(f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in pairwise("abcdefghij"))
WORDS = "the quay fee is forty crowns a day and "
ROOT = os.geteuid() == 0  # who may read everything

# name: (bytes, or what makes it; "kept: words that stand in the text", or the kind and the beginning of the reason).
DOCUMENTS: dict[str, tuple[Any, str]] = {
    # PDF
    "locked.pdf": (locked("x"), "encrypted: encrypted; take its password off"),
    "open.pdf": (locked(""), f"kept: {PDF_WORDS}"),
    "tree.pdf": (pdf(CATALOGUE, b"<</Type/Pages/Kids[2 0 R]/Count 9>>", *PAGE), "damaged: cannot be read (PdfReadErr"),
    "forks.pdf": (pdf(CATALOGUE, *FORKS, b"<</Type/Page/MediaBox[0 0 9 9]>>"), "damaged: cannot be read (LimitReached"),
    "xref.pdf": (pdf(CATALOGUE, ONE_PAGE, *PAGE, trailer=b"/Prev TABLE"), f"kept: {PDF_WORDS}"),
    "scan.pdf": (pdf(CATALOGUE, ONE_PAGE, b"<</Type/Page>>"), "no text: no text on its 1 page(s): a scan?"),
    "torn.pdf": (GOOD_PDF[:100], "damaged: cannot be read ("),
    "empty.pdf": (b"", "empty: empty"),
    "no-pages.pdf": (pdf(CATALOGUE, b"<</Type/Pages/Kids[]/Count 0>>"), "no text: no text on its 0 page(s)"),
    "head.pdf": (b"%PDF-1.7\n", "damaged: cannot be read ("),
    "words.pdf": (b"# Not a PDF\n", "damaged: cannot be read ("),
    # Word
    "bomb.docx": (lambda path: docx(path, "", filler=258), "zip bomb: unpacks to 257 MiB, more than 256"),
    "lying.docx": (lying_zip, "damaged: cannot be read (BadZipFile"),
    "outside.docx": (
        lambda path: docx(path, TEXT.format("&a;"), '<!DOCTYPE x [<!ENTITY a SYSTEM "/etc/passwd">]>'),
        "empty: empty",
    ),
    "laughs.docx": (
        lambda path: docx(path, TEXT.format("&j;"), f'<!DOCTYPE x [<!ENTITY a "aaaa">{GROW}]>'),
        "damaged: cannot be read (ExpatError",
    ),
    "torn.docx": (b"PK\x03\x04", "damaged: cannot be read (BadZipFile"),
    "empty.docx": (lambda path: zipped(path), "damaged: cannot be read ("),
    "no-document.docx": (lambda path: zipped(path, **{"word/styles.xml": "<x/>"}), "damaged: cannot be read ("),
    "open-tag.docx": (lambda path: docx(path, "<w:p><w:r>"), "damaged: cannot be read (ExpatError"),
    "words.docx": (b"not a zip", "damaged: cannot be read (BadZipFile"),
    # HTML
    "white.html": (b"<p> \n", "empty: empty"),
    "open-tags.html": (b"<p>One <b>two <i>three<table><tr><td>four <a href='", "kept: three"),
    "line.html": (f"<p>{WORDS * 130_000}end".encode(), "kept: a day and end"),
    "nul.html": (b"<p>a\0b", "NUL: holds a NUL byte (byte 4)"),
    "deep.html": (b"<div>" * 100_000 + b"x", "damaged: nested too deeply"),
    "half-letter.html": (b"<title>a&#xD800;b</title><p>c&#xDFFF;d", "kept: c\ufffdd"),
    "wide.html": ("<p>四十五".encode("utf-16"), "kept: 四十五"),
    "title.html": (f"<title>{WORDS * 5000}</title><p>x".encode(), "long title: its title has 194999 characters; shor"),
    "title-of-lines.html": (b"<title>a\n\x07b</title><p>of lines", "kept: of lines"),
    # CSV
    "nul.csv": (b"a,b\n\0,1\n", "NUL: holds a NUL byte (byte 4)"),
    "ragged.csv": (b"port,fee\nBelcar\nCorvin,12,late,more\n", "kept: port: Corvin\nfee: 12\ncolumn 3: late\ncol"),
    "open-quote.csv": (b'port,fee\nBelcar,"45\nCorvin,12\n', "kept: fee: 45\nCorvin,12"),
    "tabs.csv": (b"port\tfee\nBelcar\t45\n", "kept: port: Belcar\nfee: 45"),
    "pipes.csv": (b"port|fee\nBelcar|45\n", "kept: port: Belcar\nfee: 45"),
    "long-field.csv": (f"port,fee\nBelcar,{'4' * 200_000}5\n".encode(), "kept: 45"),
    "wide-table.csv": ("port,fee\n港,45\n".encode("utf-16"), "kept: port: 港\nfee: 45"),
    "lone-cr.csv": (b"port,fee\rBelcar,45\r", "kept: port: Belcar\nfee: 45"),
    "head.csv": (b"port,fee\n", "kept: port\nfee"),
    "twice.csv": (b"fee,fee\n45,46\n", "kept: fee: 45\nfee: 46"),
    # JSON
    "deep.json": (b"[" * 200_000, "damaged: nested too deeply"),
    "digits.json": (b"1" * 5000, f"kept: {'1' * 5000}"),
    "prices.json": (b'{"fee": 45.50, "toll": 1e400, "tax": NaN}', "kept: fee: 45.50\ntoll: 1e400\ntax: NaN"),
    "doubled.json": (b'{"fee": "45", "fee": "46"}', "kept: fee: 45\nfee: 46"),
    "half-fee.json": (b'{"fee": "\\ud83d"}', "kept: fee: \ufffd"),
    "bom.json": (b'\xef\xbb\xbf{"fee": "bom"}', "kept: fee: bom"),
    "torn.json": (b'{"fee": ', "damaged: not JSON (Expecting value: line 1 column 9"),
    "bad.jsonl": (b'{"a": 1}\n{"a"\n', "damaged: 1 fault(s): line 2: not JSON"),
    "lone-cr.jsonl": (b'{"a": 1}\r{"a": 2}\r', "damaged: 1 fault(s): line 1: not JSON (Extra data"),
    "doubled-line.jsonl": (b'{"fee": "47", "fee": "48"}\n', "kept: fee: 47\nfee: 48"),
    # text
    "nul.md": (b"a\0b", "NUL: holds a NUL byte (byte 1)"),
    "white.md": (b" \n", "empty: empty"),
    "mark.md": (b"\xef\xbb\xbf", "empty: empty"),
    "latin.txt": ("café".encode("latin-1"), "encoding: not UTF-8 (byte 3) and too short to tell its encoding; save it"),
    "headings.md": (b"# a\n" * 200_000, "too many headings: has more than 100000"),
    "long-heading.md": (f"# {'x' * 2_000_000}\nSection 1 A\n".encode() * 3, "kept: Section 1 A"),
    "long-number.md": (f"Section {'1' * 4_000_000}: {WORDS * 20_000}".encode(), "kept: forty crowns"),
    "line.txt": (b"x" * (9 << 20), "too large: larger than 8 MiB; split it"),
    "line.json": (b" " * (9 << 20), "too large: larger than 8 MiB; split it"),
    "picture.md": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "NUL: holds a NUL byte"),
    "archive.txt": (b"PK\x03\x04" + bytes(range(128, 256)), "encoding: not UTF-8"),
    # names and kinds of files
    "picture.png": (b"\x89PNG", "not supported: not one of .md, .txt, .html"),
    "noextension": (b"words", "not supported: not one of .md, .txt, .html"),
    "xref.txt": (b"the same name", "duplicate id: its id 'xref' is taken by xref.pdf; rename one of them"),
    "two\nlines.md": (b"a name of two lines", "kept: a name of two lines"),
    "two\nlines.xls": (b"x", "not supported: not one of .md"),
    "caf\udce9.md": (b"x", "name: its name is not UTF-8; rename it"),
    f"{'n' * 252}.md": (b"a long name", "kept: a long name"),
    "deep": (deep_folders, "kept: at the end"),
    "gone.md": (lambda path: path.symlink_to("nothing.md"), "unreadable: cannot be read: No such file or dir"),
    "loop.md": (lambda path: path.symlink_to(path), "unreadable: cannot be read: "),
    "up": (lambda path: path.symlink_to(".."), "link: a link to a folder is not followed; copy the folder"),
    "escape.txt": (lambda path: path.symlink_to("/etc/passwd"), "link: a link that points outside the folder"),
    "escape.html": (lambda path: path.symlink_to("/etc/passwd"), "link: a link that points outside the folder"),
    "kind.json": (lambda path: path.symlink_to("ragged.csv"), "link: a link to a file of another kind (ragged.csv)"),
    "pipe.md": (os.mkfifo, "not a file: not a plain file; take it away"),
    "pipe.pdf": (os.mkfifo, "not a file: not a plain file; take it away"),
    "rights.md": (unreadable, "kept: secret" if ROOT else "unreadable: cannot be read: Permission denied; mend it or"),
}  # fmt: skip


@pytest.fixture(scope="module")
def read() -> Corpus:
    """All of them in one folder, beside a good one."""
    # Not pytest's: it takes old ones away in Python, which calls itself for each folder in a folder.
    root = Path(tempfile.mkdtemp(prefix="malformed-"))
    home = root / "home"
    home.mkdir()
    (home / "good.md").write_text("good")
    try:
        for name, (content, _) in DOCUMENTS.items():
            if isinstance(content, bytes):
                (home / name).write_bytes(content)
            else:
                content(home / name)
        with bounded(seconds=120):
            corpus = FolderCorpus(str(home), deduplicate=None).load()
            written(root / "run", corpus)
    finally:
        subprocess.run(["rm", "-rf", root], check=True)
    return corpus


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document(read: Corpus, name: str) -> None:
    shown = os.fsencode(name).decode("utf-8", "replace")
    told = [f"{row.kind}: {row.reason}" for row in read.quarantined if row.id == shown]
    begins = {shown.rpartition(".")[0], shown}
    told += [f"kept: {one.text}" for one in read.documents if not told and one.id.split("/")[0] in begins]
    kind, _, words = DOCUMENTS[name][1].partition(": ")
    assert len(told) == 1
    assert told[0].startswith(f"{kind}: ")
    assert words in told[0] if kind == "kept" else told[0].startswith(f"{kind}: {words}")
    assert kind == "kept" or len(told[0]) < LONGEST_LINE


def test_no_document_is_dropped_and_no_secret_read(read: Corpus) -> None:
    assert len(read.documents) + len(read.quarantined) == len(DOCUMENTS) + 1
    assert "good" in {one.text for one in read.documents}
    assert "root:" not in json.dumps([one.text for one in read.documents])
    assert len(DOCUMENTS) + len(FILES) >= 60


def asked(**more: Any) -> str:
    return json.dumps({"id": "a", "question": "Who?", "answer": "Ada", **more})


def squad(*asked: Any, **article: Any) -> bytes:
    paragraph = {"context": "Ada wrote.", "qas": list(asked)}
    return json.dumps({"data": [{"title": "T", "paragraphs": [paragraph], **article}]}).encode()


ADA = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
FINE = asked().encode()
LOADERS: dict[str, Callable[[Path], Any]] = {
    "rows.jsonl": lambda path: JsonlCorpus(str(path), deduplicate=None).load(),
    "exam.jsonl": load_questions,
    "exam.json": load_squad,
    "corpus.json": lambda path: SquadCorpus(str(path)).load(),
    "exam.csv": load_choices,
    "csv": load_choices,  # a folder
    "texts.md": lambda path: FilesSuite((), [str(path)]).load(),
    "texts": lambda path: FilesSuite((), [str(path)]).load(),  # a folder
    "answers.jsonl": lambda path: read_answers(path, [Question("a", "Who?", ("Ada",))]),
}


def broken(path: Path) -> None:
    """A file whose reading fails, for root too."""
    path.symlink_to("/proc/self/mem")


def inside(name: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def folder(path: Path) -> None:
        path.mkdir()
        make(path / name)

    return folder


# (loader, bytes or what makes it, "kept: words of what came of it", or what the message says)
FILES: list[tuple[str, Any, str]] = [
    # documents by rows
    ("rows.jsonl", b'{"text": "one"}\n{"text": "lost", "text": "two"}\n', "left out line-2: line 2: 'text'"),
    ("rows.jsonl", b'{"text": "one", "n": NaN}', "kept: one"),
    ("rows.jsonl", b'{"text": "one", "n": ' + b"1" * 5000 + b"}", "line 1: a number of 5000 digits; write it as a"),
    ("rows.jsonl", b'{"text": "one", "id": "\\ud800"}', "line 1, id: holds half a character"),
    ("rows.jsonl", b'{"text": "one", "title": "\\udfff"}', "line 1, title: holds half a character"),
    ("rows.jsonl", b'{"text": "one", "id": "a\\u0000b"}', "line 1, id: holds a NUL"),
    ("rows.jsonl", b'{"text": "one\\u2028two", "id": "a\\nb"}', "kept: one\u2028two"),
    ("rows.jsonl", json.dumps({"text": "one", "title": "t" * 400}).encode(), "its title has 400 characters; shorten"),
    ("rows.jsonl", b'{"text": "one"}\r{"text": "two"}\r', "line 1: not JSON (Extra data"),
    ("rows.jsonl", '{"text": "one"}\n'.encode("utf-16"), "line 1: damaged UTF-16"),
    ("rows.jsonl", b"\x1f\x8b\x08\0\0\0", "line 1: holds a NUL byte"),
    ("rows.jsonl", b"", "no document in it; write one JSON object a line"),
    ("rows.jsonl", os.mkfifo, "no such file; give a .jsonl file"),
    ("rows.jsonl", Path.mkdir, "no such file; give a .jsonl file"),
    ("rows.jsonl", broken, "cannot be read (Input/output error); mend it"),
    # questions by rows; line by line: test_exam
    ("exam.jsonl", b"", "no question in it; give at least one"),
    ("exam.jsonl", FINE + b"\r" + FINE, "line 1: not JSON (Extra data"),
    ("exam.jsonl", asked().encode("utf-16"), "line 1: not UTF-8 (byte 1); save the file as UTF-8"),
    ("exam.jsonl", FINE + b"\n\n" + FINE[:30], "line 3: not JSON ("),
    ("exam.jsonl", asked(question="Wh\0o?").encode(), "line 1, question: holds a NUL, so it is not text; take it out"),
    ("exam.jsonl", asked(alternatives=0)[:-2].encode() + b"1" * 5000 + b"}", "a number of 5000 digits; write it as"),
    ("exam.jsonl", b"{%s}" % b", ".join(b'"%d": 1' % (n % 200_000) for n in range(200_001)), "line 1: '0' stands"),
    ("exam.jsonl", asked(choices=["x", "y"], answer="z" * 100_000).encode(), "is no letter (A to B), index or text of"),
    ("exam.jsonl", asked(practised="x" * 100_000).encode(), "true, false or nothing is needed"),
    ("exam.jsonl", asked(evidence="This stands nowhere.").encode(), "kept: Who?"),
    ("exam.jsonl", asked(id="two\nlines\u2028").encode(), "kept: Who?"),
    ("exam.jsonl", b"[" * 1_000_000, "line 1: nested too deeply; mend or delete it"),
    ("exam.jsonl", b"\0" * 1000, "line 1: not JSON"),
    ("exam.jsonl", os.mkfifo, "no such file; give a .jsonl file"),
    ("exam.jsonl", broken, "cannot be read (Input/output error); mend it"),
    ("e" * 300 + ".jsonl", None, "cannot be read (File name too long); mend it, its name"),
    # SQuAD; place by place: test_exam
    ("exam.json", squad({**ADA, "answers": [{"text": "Ada", "answer_start": 9999}]}), "kept: Who?"),
    ("exam.json", squad({**ADA, "answers": [{"answer_start": 0}]}), "qas[0], answers[0]: missing; a text is needed"),
    ("exam.json", squad({**ADA, "answers": [], "is_impossible": True}), "kept: Who? unknown"),
    ("exam.json", squad({**ADA, "is_impossible": "no"}), "qas[0]: is_impossible: 'no'; true or false is needed"),
    ("exam.json", squad(*[{**ADA, "id": f"{n}", "question": ""} for n in range(20_000)], ADA), "kept: Who? Ada"),
    ("exam.json", squad(ADA, title="\ud800"), "data[0], title: holds half a character"),
    ("corpus.json", squad(ADA, id="\ud800"), "data[0], id: holds half a character"),
    ("corpus.json", squad(ADA, paragraphs=[{"context": "a\0b"}]), "paragraphs[0], context: holds a NUL"),
    ("corpus.json", squad(ADA, paragraphs=[{"context": "a", "id": "\ud800"}]), "paragraphs[0], id: holds half a char"),
    ("corpus.json", squad(ADA)[:-3], "not JSON (Expecting"),
    ("corpus.json", squad(ADA).replace(b'"title"', b'"title": "S", "title"'), "'title' stands twice in one object"),
    ("corpus.json", broken, "cannot be read (Input/output error); mend it"),
    # choices; row by row: test_exam
    ("exam.csv", b"", "no question in it; give at least one"),
    ("exam.csv", b"q;x;y;A\n", "line 1: 1 columns; question, at least two choices and the letter are needed"),
    ("exam.csv", "q,x,y,A\n".encode("utf-16"), "file: not UTF-8 (byte 1); save it as UTF-8"),
    ("exam.csv", b"q,x,y,A\n" * 5000 + b"caf\xe9,x,y,A\n", "file: not UTF-8 (byte 40004); save it as UTF-8"),
    ("exam.csv", b"q" * 200_000 + b",x,y,A\n", "line 1: not CSV (field larger than field limit (131072)); mend the"),
    ("exam.csv", b"q,x,\0y,A\n", "line 1, choices[1]: holds a NUL"),
    ("exam.csv", b"q,x,y,A\rr,x,y,B\r", "kept: q A r B"),
    ("exam.csv", b"q, , ,A\n", "line 1, choices[0]: empty"),
    ("exam.csv", os.mkfifo, "no .csv file there; give one in MMLU's layout"),
    ("csv", inside("a.CSV", lambda path: path.write_text("q,x,y,A\n")), "kept: q A"),
    ("csv", inside("a.csv", os.mkfifo), "no .csv file there; give one in MMLU's layout"),
    ("csv", inside("a.csv", broken), "cannot be read (Input/output error); mend it"),
    # general texts
    ("texts.md", b"caf\xe9", "not UTF-8; save it as UTF-8"),
    ("texts", inside("a.MD", lambda path: path.write_text("words")), "kept: words"),
    ("texts", inside("a.md", os.mkfifo), "no .md or .txt file there; name one"),
    ("texts", inside("a.md", broken), "cannot be read (Input/output error); mend it"),
    ("texts", inside("a.md", lambda path: path.symlink_to("gone.md")), "no .md or .txt file there; name one"),
    ("texts", inside("a.md", Path.mkdir), "no .md or .txt file there; name one"),
    # answers of another system; line by line: test_grade
    ("answers.jsonl", asked(seconds=1)[:-1].encode() + b"0" * 400 + b"}", "line 1, a number of 401 digits; write"),
    ("answers.jsonl", asked(passages=[["p", 1]])[:-3].encode() + b"0" * 299 + b"]]}", "kept: a"),
    ("answers.jsonl", b'{"id": "a", "answer": "x", "passages": [["p", 1e999]]}', "line 1, passages: a list of ids, or"),
    ("answers.jsonl", broken, "cannot be read (Input/output error); mend it"),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(FILES)), ids=lambda place: f"{place}-{FILES[place][0][:16]}")
def test_a_file(tmp_path: Path, place: int) -> None:
    name, content, expected = FILES[place]
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content(path)
    with bounded(seconds=10):
        told = outcome(LOADERS.get(name, load_questions), path)
    assert expected in told
    assert told.startswith("kept: ") == expected.startswith(("kept: ", "left out "))
    if not expected.startswith(("kept: ", "left out ")):
        assert path.name[:100] in told
        assert max(map(len, told.splitlines())) < LONGEST_LINE


def outcome(load: Callable[[Path], Any], path: Path) -> str:
    """In one text: what was kept, and what is told of the rest."""
    try:
        made = load(path)
    except LabError as error:
        return str(error)
    if isinstance(made, Corpus):
        written(path.parent / "run", made)
        left_out = "".join(f"; left out {row.id}: {row.reason}" for row in made.quarantined)
        return f"kept: {' '.join(one.text for one in made.documents)}{left_out}"
    if isinstance(made, list):
        write_jsonl(path.parent / "questions.jsonl", made)
        assert load_questions(path.parent / "questions.jsonl") == made
        return f"kept: {' '.join(f'{one.question} {one.answers[0]}' for one in made)}"
    return f"kept: {' '.join(made.texts if hasattr(made, 'texts') else made.rows)}"


def test_evidence_that_stands_nowhere_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "good.md").write_text("A document of some length, about the harbour.")
    asked = [Question("lost", "Who?", ("Ada",), evidence=("This stands nowhere.",))]
    assert match_evidence(asked, FolderCorpus(str(tmp_path)).load()) == asked
    assert "have fewer gold passages or none: lost" in caplog.text
