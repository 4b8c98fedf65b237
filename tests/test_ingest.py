"""Any file in, nothing dropped in silence: a hostile one is told with its reason and costs neither run nor memory."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from documents import ARTICLE, GOOD_PDF, HEADING, docx

from lab.corpus.cleaning import MAX_TEXT_BYTES, RefusedError, clean, decode
from lab.corpus.corpus import Corpus
from lab.corpus.duplicates import Duplicates, jaccard, shingles, signs
from lab.corpus.folder import FolderCorpus, FolderReplay, load_documents
from lab.corpus.formats import convert
from lab.corpus.ingest import Gathered
from lab.corpus.passages import count_tokens
from lab.corpus.rows import HubCorpus, JsonlCorpus
from lab.corpus.sandbox import Sandbox
from lab.corpus.shelf import Shelf
from lab.records import Document, LabError

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real test material is not there")

CHINESE = "# 港口法\n\n第一条 为了规范港口的使用,制定本法。\n\n第二条 费用为四十五元。\n"
FRENCH = "Le café du port est situé à côté de l'école où les élèves étudient la navigation.\n"
GERMAN = "Die Gebühr für „Häfen“ beträgt fünf Euro."


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    """One good file of every kind, gathered once."""
    folder = tmp_path_factory.mktemp("formats")
    (folder / "a.md").write_text(CHINESE, encoding="utf-8")
    (folder / "b.txt").write_text("plain")
    page = "<title>Port</title><script>no()</script><h1>A_b</h1><p>One <a href=x>two</a>.<p>&eacute;"
    (folder / "c.html").write_text(page)
    (folder / "d.pdf").write_bytes(GOOD_PDF)
    docx(folder / "e.docx", HEADING + ARTICLE)
    (folder / "f.csv").write_text('port;fee\nBelcar;"45\ncrowns"\nCorvin;12;late\n')
    (folder / "g.json").write_text('[{"port": {"name": "Belcar", "fees": [45, 46]}}, {"open": true, "until": null}]')
    (folder / "h.jsonl").write_text('{"port": "Belcar"}\n\n{"port": "\\u6e2f"}\n')
    (folder / "i.html").write_bytes(f"<h2>Les élèves</h2><p>{FRENCH}".encode("latin-1"))
    return load_documents(folder)


def test_every_format_is_read(formats: Gathered) -> None:
    assert formats.quarantined == ()
    texts = {document.id: (document.title, document.text.strip()) for document in formats.documents}
    assert texts == {
        "a": ("港口法", CHINESE.strip()),
        "b": ("b", "plain"),
        "c": ("A_b", "# A_b\n\nOne two.\n\né"),
        "d": ("d", "The keelage is 45 crowns."),
        "e": ("港口法", "# 港口法\n\n第一条 费用为四十五元。"),
        "f": ("f", "port: Belcar\nfee: 45\ncrowns\n\nport: Corvin\nfee: 12\ncolumn 3: late"),
        "g": ("g", "port name: Belcar\nport fees: 45\nport fees: 46\n\nopen: true\nuntil: null"),
        "h": ("h", "port: Belcar\n\nport: 港"),
        "i": ("Les élèves", f"## Les élèves\n\n{FRENCH.strip()}"),
    }
    assert formats.summary == "ingest: 9 files, 9 documents indexed, 0 quarantined; 1 read as Latin-1"


def test_a_reader_that_hangs_is_killed_and_the_next_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(GOOD_PDF)
    with Sandbox(seconds=30) as sandbox:
        assert sandbox.convert(tmp_path / "a.pdf")["text"] == "The keelage is 45 crowns."
        assert sandbox._child is not None
        hung = sandbox._child
        os.kill(hung.pid, signal.SIGSTOP)
        sandbox._seconds = 0.3
        before = time.monotonic()
        with pytest.raises(RefusedError, match=r"takes more than 0\.3 s"):
            sandbox.convert(tmp_path / "a.pdf")
        assert time.monotonic() - before < 5
        assert hung.returncode == -signal.SIGKILL
        sandbox._seconds = 30
        assert sandbox.convert(tmp_path / "a.pdf")["text"] == "The keelage is 45 crowns."
        # A reader that an earlier file killed is no fault of the next one.
        os.kill(sandbox._child.pid, signal.SIGKILL)
        sandbox._child.wait()  # Dead for sure, so that it cannot even be asked.
        assert sandbox.convert(tmp_path / "a.pdf")["text"] == "The keelage is 45 crowns."


HOSTILE_READERS = {
    "memory": ("bytearray(2 << 30)", "too much memory", "needs more than 1 GiB"),
    "writing": (f"open({{out!r}}, 'w').write('x' * {1 << 20})", "damaged", "File too large"),
    "printing": ("print('{}', flush=True) or {'text': 'a', 'title': '', 'encoding': ''}", None, "a"),
    "too much text": (f"{{'text': 'x' * {MAX_TEXT_BYTES + 1}}}", "too large", "more than 8 MiB of text"),
}


@pytest.mark.parametrize("case", HOSTILE_READERS)
def test_what_a_reader_can_do_is_limited(tmp_path: Path, case: str) -> None:
    """As if a library were taken over by its file: the limits hold against code that runs in the child."""
    body, kind, words = HOSTILE_READERS[case]
    out = tmp_path / "out.txt"
    code = "import lab.corpus.formats as f; f.FORMATS['.html'] = lambda path: " + body.replace(
        "{out!r}", repr(str(out))
    )
    child = subprocess.run(
        [sys.executable, "-c", code + "; f.main()"],
        input=json.dumps(str(tmp_path / "x.html")) + "\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    (line,) = child.stdout.splitlines()
    answer = json.loads(line)
    assert answer.get("kind") == kind
    assert words in answer.get("reason", answer.get("text"))
    assert not out.exists() or out.stat().st_size == 0


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pdf").write_bytes(GOOD_PDF)
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(RefusedError, match=r"\.pdf needs pypdf: pip install 'open-book-exam-lab\[docs\]'"):
        convert(tmp_path / "a.pdf")


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        (CHINESE.encode("utf-8-sig"), CHINESE, ""),
        (CHINESE.encode("utf-16"), CHINESE, "UTF-16"),
        (CHINESE.encode("gb18030"), CHINESE, "GB18030"),
        ("港口使用费为四十五元整。".encode("gb18030"), "港口使用费为四十五元整。", "GB18030"),
        (FRENCH.encode("latin-1"), FRENCH, "Latin-1"),
        (GERMAN.encode("cp1252"), GERMAN, "Latin-1"),
        (("English words. " * 200 + "One café.").encode("latin-1"), "English words. " * 200 + "One café.", "Latin-1"),
    ],
)  # fmt: skip
def test_encodings_are_detected_and_said(data: bytes, text: str, encoding: str) -> None:
    assert decode(data) == (text, encoding)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("港口".encode("gb18030"), "too short to tell"),
        (CHINESE.encode()[:60] + b"\xff" + CHINESE.encode()[60:], r"byte 60\), but most of it is: damaged"),
        (CHINESE.encode()[:-2] + b"\xe6", "but most of it is: damaged"),
        ("港湾の使用料は四十五円とする。ただし、この限りでない。".encode("shift_jis"), "it looks like shift_jis"),
        ("Федеральный закон устанавливает порядок сборов.".encode("cp1251"), "it looks like cp1251"),
        (bytes(range(128, 256)) * 2, "not UTF-8"),
        (b"\xff\xfea", "damaged UTF-16"),
    ],
)
def test_what_is_no_certain_text_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        decode(data)


def test_texts_are_cleaned_without_touching_a_sign() -> None:
    assert clean("a\r\nb\rc\x0cd\x0be\x00f\x07g\x85h\ufeffi\x1cj\td") == "a\nb\nc\nd\nefg\x85hi j\td"
    assert clean("e\u0301 \ud800") == "\u00e9 \ufffd"
    assert clean("\uff14\uff15\u5143 \u2460 \ufb01") == "\uff14\uff15\u5143 \u2460 \ufb01"  # composed, not folded


def brute_jaccard(one: str, other: str) -> float:
    def cut(text: str) -> set[str]:
        text = "".join(text.split())
        return {text[place : place + 8] for place in range(max(1, len(text) - 7))}

    return len(cut(one) & cut(other)) / len(cut(one) | cut(other))


def test_jaccard_is_that_of_the_sets() -> None:
    generator = random.Random(3)
    for _ in range(50):
        one = "".join(generator.choices("ab港口 \n\u3000", k=generator.randint(1, 300)))
        other = one[: generator.randint(1, len(one))] + "".join(generator.choices("ab港口 ", k=30))
        assert jaccard(shingles(signs(one)), shingles(signs(other))) == pytest.approx(brute_jaccard(one, other))


@pytest.mark.parametrize("threshold", [0.99, 0.9, 0.7])
def test_near_duplicates_are_found_from_the_threshold_on_and_not_below(threshold: float) -> None:
    generator = random.Random(7)
    missed = found = 0
    for number in range(40):
        text = "".join(generator.choices("的一是不了人我在有他这为之大来以个中上们", k=3000))
        edits = generator.randint(0, round(3000 * (1 - threshold) / 6))
        other = list(text)
        for place in generator.sample(range(3000), edits):
            other[place] = "港"
        alike = brute_jaccard(text, "".join(other))
        known = Duplicates(threshold, Shelf(Document))
        known.add(Document("first", "t", text))
        try:
            known.add(Document(f"d{number}", "t", "".join(other)))
            refused = False
        except RefusedError:
            refused = True
        assert alike >= threshold or not refused
        found += refused
        missed += alike >= threshold and not refused
    assert found >= 10
    assert missed <= 1


def test_repetitions_are_quarantined_with_what_they_repeat(tmp_path: Path) -> None:
    law = "".join(f"第{n}条 费用为{n * 7}元,期限为{n * 3}天。\n" for n in range(1, 400))
    (tmp_path / "a.md").write_text(law, encoding="utf-8")
    (tmp_path / "b.md").write_text("\n" + law, encoding="utf-8")
    (tmp_path / "c.md").write_text(law.replace("费用为700元", "费用为701元"), encoding="utf-8")
    (tmp_path / "d.md").write_text(law.replace("天", "日"), encoding="utf-8")
    path = str(tmp_path)

    def kept(corpus: Corpus) -> list[str]:
        return [document.id for document in corpus.documents]

    corpus = FolderCorpus(path).load()
    assert kept(corpus) == ["a", "d"]
    assert [(row.id, row.kind) for row in corpus.quarantined] == [("b.md", "duplicate"), ("c.md", "near-duplicate")]
    assert corpus.quarantined[0].reason == "repeats a word for word"
    assert corpus.quarantined[1].reason.startswith("repeats a but for little (Jaccard 0.99")
    assert kept(FolderCorpus(path, deduplicate=1).load()) == ["a", "c", "d"]
    assert kept(FolderCorpus(path, deduplicate=None).load()) == ["a", "b", "c", "d"]
    assert len(FolderCorpus(path, deduplicate=None, reworded=path).load().reworded) == 4
    assert next(FolderReplay(path).texts(0)).source == "text"
    assert dataclasses.replace(corpus, quarantined=()).digest == corpus.digest
    for wrong in (0, 1.5, True, "x"):
        with pytest.raises(LabError, match="deduplicate="):
            FolderCorpus(path, deduplicate=wrong)  # type: ignore[arg-type]


def test_the_log_accounts_for_every_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.md").write_text(CHINESE, encoding="gb18030")
    (tmp_path / "b.md").write_text(CHINESE, encoding="utf-8")
    (tmp_path / "c.md").write_text(" ")
    with caplog.at_level(logging.INFO):
        FolderCorpus(str(tmp_path)).load()
    assert caplog.messages == [
        "ingest: 3 files, 1 documents indexed, 2 quarantined (1 duplicate, 1 empty); 1 read as GB18030; "
        "see quarantine.jsonl"
    ]


def test_a_jsonl_corpus_names_every_fault_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "port.jsonl"
    rows = [
        b'\xef\xbb\xbf{"id": "a", "title": "A", "text": "one"}',
        b'{"text": "two"}',
        b"",
        b'{"id": 7, "title": "", "text": null}',
        b"{bad",
        b"[1]",
        b'{"id": "a", "text": "three"}',
        b'{"id": "n", "text": "a\\u0000b"}',
        b'{"id": "s", "text": "half \\ud800 pair"}',
        b'{"id": "e", "text": " "}',
        json.dumps({"id": "g", "text": CHINESE}, ensure_ascii=False).encode("gb18030"),
        b'{"id": "l", "text": "' + b"x" * (2 * MAX_TEXT_BYTES) + b'"}',
        b"[" * 100_000,
        b'{"id": "z", "text": "last"}',
    ]
    file.write_bytes(b"\n".join(rows))
    corpus = JsonlCorpus(str(file)).load()
    assert corpus.name == "port"
    assert [(d.id, d.title) for d in corpus.documents] == [
        ("a", "A"), ("line-2", "line-2"), ("s", "s"), ("g", "港口法"), ("z", "z"),
    ]  # fmt: skip
    assert corpus.documents[2].text == "half \ufffd pair"
    told = {row.id: row.reason for row in corpus.quarantined}
    assert told["line-4"] == (
        "line 4, text: a text is needed; line 4, id: a text is needed, or nothing; "
        "line 4, title: a text is needed, or nothing"
    )
    starts = {
        "line-5": "line 5: not JSON",
        "line-6": "line 6: a JSON object is needed",
        "line-7": "its id 'a' is taken by line-1",
        "line-8": "line 8, text: holds a NUL",
        "line-10": "empty",
        "line-12": "line 12: longer than 16 MiB",
        "line-13": "line 13: nested too deeply",
    }
    assert set(told) == {"line-4", *starts}
    assert all(told[name].startswith(start) for name, start in starts.items())
    with pytest.raises(LabError, match="no such file"):
        JsonlCorpus(str(tmp_path / "none.jsonl")).load()
    (tmp_path / "bad.jsonl").write_text('{"text": 1}\n')
    with pytest.raises(LabError, match=r"left out: line-1 \(line 1, text: a text is needed"):
        JsonlCorpus(str(tmp_path / "bad.jsonl")).load()


def test_a_data_set_is_a_corpus(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = Dataset.from_dict(
        {"body": ["one", "two", None, " ", "five"], "key": [1, 2, 3, 4, 5], "name": ["A", None, "C", "D", "E"]}
    )
    rows.save_to_disk(str(tmp_path / "saved"))
    DatasetDict({"train": rows, "test": rows.take(1)}).save_to_disk(str(tmp_path / "splits"))
    (tmp_path / "files").mkdir()
    rows.to_parquet(str(tmp_path / "files" / "train.parquet"))
    for folder, streaming in (("saved", False), ("splits", False), ("files", False), ("files", True)):
        path = str(tmp_path / folder)
        corpus = HubCorpus(path, text="body", title="name", id="key", streaming=streaming).load()
        assert [(d.id, d.title, d.text) for d in corpus.documents] == [
            ("1", "A", "one"),
            ("2", "2", "two"),
            ("5", "E", "five"),
        ]
        assert [(row.id, row.reason) for row in corpus.quarantined] == [
            ("row-3", "row 3, text: a text is needed"),
            ("row-4", "empty"),
        ]
        limited = HubCorpus(path, text="body", limit=2, streaming=streaming).load()
        assert [d.id for d in limited.documents] == ["row-1", "row-2"]
        with pytest.raises(LabError, match=r"no column 'text'; it has body, key, name: name yours"):
            HubCorpus(path, streaming=streaming).load()
    assert len(HubCorpus(str(tmp_path / "splits"), text="body", split="test").load().documents) == 1
    with pytest.raises(LabError, match="no split 'dev'; it has train, test"):
        HubCorpus(str(tmp_path / "splits"), split="dev").load()
    with pytest.raises(LabError, match="no data set can be read there"):
        HubCorpus(str(tmp_path / "nowhere")).load()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "train.jsonl").write_text('{"text": "a"}\n{"text"\n')
    for streaming in (False, True):
        with pytest.raises(LabError, match=r"torn: .*JSON parse error"):
            HubCorpus(str(tmp_path / "torn"), streaming=streaming).load()
    with pytest.raises(LabError, match="limit=0"):
        HubCorpus("x", limit=0)


@real
def test_naughty_strings_are_documents_like_any_other(tmp_path: Path) -> None:
    strings = json.loads((DATA / "hostile" / "blns.json").read_text(encoding="utf-8"))
    file = tmp_path / "blns.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in strings), encoding="utf-8")
    corpus = JsonlCorpus(str(file)).load()
    assert len(corpus.documents) + len(corpus.quarantined) == len(strings)
    # As near-duplicates only those that differ in white space alone: `<img \\x47src` and `<img\\x47src`.
    assert {row.kind for row in corpus.quarantined} == {"empty", "duplicate", "near-duplicate"}
    assert len({"".join(clean(text).split()) for text in strings} - {""}) == len(corpus.documents)
    for number, text in enumerate(strings[:50]):
        (tmp_path / f"{number}.md").write_text(text, encoding="utf-8")
    gathered = load_documents(tmp_path)
    assert len(gathered.documents) + len(gathered.quarantined) == 51  # and the .jsonl file itself


@real
def test_all_statutes_are_accounted_for_and_their_articles_are_passages() -> None:
    folder = DATA / "law_zh" / "statutes"
    corpus = FolderCorpus(str(folder), max_tokens=1500).load()
    files = sorted(folder.rglob("*.md"))
    assert len(files) == len(corpus.documents) + len(corpus.quarantined) == 359
    # Three laws stand in two folders word for word, one but for its preamble; versions of two dates are all kept.
    assert [(row.id.split("/")[1], row.kind) for row in corpus.quarantined] == [
        ("职业病防治法(2018-12-29).md", "duplicate"),
        ("反电信网络诈骗法(2022-09-02).md", "duplicate"),
        ("居民身份证法(2011-10-29).md", "duplicate"),
        ("广告法(2021-04-29).md", "near-duplicate"),
    ]
    everything = FolderCorpus(str(folder), max_tokens=1500, deduplicate=None).load()
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("第")]
    marks = [line.split(" ")[0] for line in lines if line.split(" ")[0].endswith("条") or "条之" in line.split(" ")[0]]
    articles = [p for p in everything.passages if p.title.split(" > ")[-1] == p.text.split(" ")[0]]
    assert len(articles) == len(marks) == 24_886
    assert max(count_tokens(passage.text) for passage in everything.passages) <= 1500


@real
def test_books_are_cut_whole_and_in_order() -> None:
    corpus = FolderCorpus(str(DATA / "general_en")).load()
    assert len(corpus.documents) == 10
    texts = {document.id: document.text for document in corpus.documents}
    ends: dict[str, int] = {}
    for passage in corpus.passages:
        text, end = texts[passage.document_id], ends.get(passage.document_id, 0)
        between = text[end : passage.start].strip()
        assert all(line.lstrip().startswith("#") for line in between.splitlines() if line.strip())
        assert count_tokens(passage.text) <= 384
        ends[passage.document_id] = passage.end
    assert all(not texts[id][end:].strip() for id, end in ends.items())
