"""Documents in, passages out: nothing dropped in silence, offsets exact, no language assumed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from lab.corpus.corpus import Corpus
from lab.corpus.folder import load_documents
from lab.corpus.passages import count_tokens, split
from lab.records import Document, LabError, Passage, Question
from lab.worlds.statutes import StatuteBook

ACT = """# The Belcar Harbour Act

## Section 1. Belcar

The keelage of Belcar is 45 crowns. Belcar has a quay.

## Section 2. Corvin

The keelage of Corvin is 12 crowns.
"""


def read(folder: Path) -> tuple[tuple[Document, ...], list[tuple[str, str]]]:
    gathered = load_documents(folder)
    return tuple(gathered.documents), [(row.id, row.reason) for row in gathered.quarantined]


def document(text: str, title: str = "Doc") -> Document:
    return Document(id="d", title=title, text=text)


def check(source: Document, passages: list[Passage], size: int) -> None:
    """What must hold of every way to cut any text."""
    assert [p.id for p in passages] == [f"{source.id}#{n}" for n in range(1, len(passages) + 1)]
    end = 0
    for passage in passages:
        assert passage.document_id == source.id
        assert passage.text == source.text[passage.start : passage.end]
        assert passage.text == passage.text.strip() != ""
        assert count_tokens(passage.text) <= size
        assert passage.start >= end
        end = passage.end


def test_sections_of_an_act_are_its_passages() -> None:
    act = Document(id="acts/belcar", title="The Belcar Harbour Act", text=ACT)
    passages = split(act)
    check(act, passages, 1000)
    assert [p.id for p in passages] == ["acts/belcar#1", "acts/belcar#2"]
    assert [p.title for p in passages] == [
        "The Belcar Harbour Act > Section 1. Belcar",
        "The Belcar Harbour Act > Section 2. Corvin",
    ]
    assert [p.text for p in passages] == [
        "The keelage of Belcar is 45 crowns. Belcar has a quay.",
        "The keelage of Corvin is 12 crowns.",
    ]


def test_titles_carry_the_path_of_headings() -> None:
    passages = split(document("intro\n# A\n## B ##\nb\n### C#\nc\n## D\nd\n# E\ne"))
    assert [(p.title, p.text) for p in passages] == [
        ("Doc", "intro"),
        ("Doc > A > B", "b"),
        ("Doc > A > B > C#", "c"),
        ("Doc > A > D", "d"),
        ("Doc > E", "e"),
    ]


def test_headings_with_nothing_under_them_are_not_lost() -> None:
    assert [p.text for p in split(document("# Doc\n\n## The fee is 45\n## Rest\nx"))] == ["## The fee is 45", "x"]
    assert [p.text for p in split(document("# Doc\n"))] == ["# Doc"]
    assert split(document(" \n\t\n")) == []


def test_a_mark_that_is_no_heading() -> None:
    text = "#hash\n```\n# a comment\n```\n    # indented\n# \nend\n# Real\nbody"
    assert [(p.title, p.text) for p in split(document(text))] == [
        ("Doc", "#hash\n```\n# a comment\n```\n    # indented\n# \nend"),
        ("Doc > Real", "body"),
    ]


def test_long_sections_end_at_sentences() -> None:
    source = document("One is short. Two asks? Three is 3.5 long! Four ends.")
    passages = split(source, max_tokens=10)
    check(source, passages, 10)
    assert [p.text for p in passages] == ["One is short. Two asks?", "Three is 3.5 long! Four ends."]
    # A stop that is the last character to fit counts.
    assert [p.text for p in split(document("A. B c. Dd"), 5)] == ["A. B c.", "Dd"]


def test_chinese_sentences_end_without_a_space() -> None:
    source = document(
        "第一条规定费用为四十五元。第二条规定期限!是三十天?“他说:不行。”第四条适用于港口!完".translate(
            {ord("!"): "\uff01", ord("?"): "\uff1f", ord(":"): "\uff1a"}
        )
    )
    passages = split(source, max_tokens=14)
    check(source, passages, 14)
    assert [p.text for p in passages] == [
        "第一条规定费用为四十五元。",
        "第二条规定期限\uff01是三十天\uff1f",
        "“他说\uff1a不行。”",
        "第四条适用于港口\uff01完",
    ]


def test_paragraphs_come_before_sentences_and_lines_before_words() -> None:
    assert [p.text for p in split(document("A one. B two.\n\nC three. D four."), 9)] == [
        "A one. B two.",
        "C three. D four.",
    ]
    assert [p.text for p in split(document("apples 3\npears 4\nplums 5"), 5)] == ["apples 3\npears 4", "plums 5"]
    assert [p.text for p in split(document("no stop at all"), 3)] == ["no stop at", "all"]
    assert [p.text for p in split(document("abcdefghij"), 1)] == ["abcdefgh", "ij"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \n\u3000", 0),
        ("The keelage is 45 crowns.", 6),
        ("international", 2),
        ("第三条规定", 5),
        ("\u304b\u306a\u30ab\u30ca", 4),
        ("costs 3.5 \u20ac", 5),
        ("\u0e20\u0e32\u0e29\u0e32", 4),
        ("e\u0301te\u0301", 1),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", 1),
    ],
)
def test_tokens_are_counted_without_a_model(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


LAW = """# 港口法

2020年1月1日通过

## 第一章 总则

第一条 为了港口,制定本法。

第二条　违反本法
第三条的规定的,不罚。

## 第二章 收费

第九十九条之一 费用为四十五元。
第一百条【期限】期限是三十天。
第一百零一条中国公民适用本法。
"""


def test_every_article_of_a_statute_is_a_passage() -> None:
    source = Document("law", "港口法", LAW)
    passages = split(source)
    check(source, passages, 384)
    assert [(p.title, p.text) for p in passages] == [
        ("港口法", "2020年1月1日通过"),
        ("港口法 > 第一章 总则 > 第一条", "第一条 为了港口,制定本法。"),
        ("港口法 > 第一章 总则 > 第二条", "第二条　违反本法\n第三条的规定的,不罚。"),
        ("港口法 > 第二章 收费 > 第九十九条之一", "第九十九条之一 费用为四十五元。"),
        ("港口法 > 第二章 收费 > 第一百条", "第一百条【期限】期限是三十天。"),
        ("港口法 > 第二章 收费 > 第一百零一条", "第一百零一条中国公民适用本法。"),
    ]


def test_articles_of_spaced_scripts() -> None:
    text = (
        "Preamble\nArticle 1\nPeace.\nARTICLE IV. War as in\nSection 4 of the Act.\n  **Section 2.3** Fees\n"
        "§ 5a Frist\nSection 6, above, holds.\nSection 12: Rest"
    )
    assert [p.text for p in split(document(text))] == [
        "Preamble",
        "Article 1\nPeace.",
        "ARTICLE IV. War as in\nSection 4 of the Act.",
        "**Section 2.3** Fees",
        "§ 5a Frist\nSection 6, above, holds.",
        "Section 12: Rest",
    ]


def test_every_piece_of_a_long_article_names_it() -> None:
    source = document("第一条 " + "甲乙丙丁。" * 5 + "\n第二条 戊。")
    assert [(p.title, p.text) for p in split(source, 15)] == [
        ("Doc > 第一条", "第一条 甲乙丙丁。甲乙丙丁。"),
        ("Doc > 第一条", "甲乙丙丁。甲乙丙丁。甲乙丙丁。"),
        ("Doc > 第二条", "第二条 戊。"),
    ]


def test_overlap_repeats_whole_sentences_where_it_can() -> None:
    source = document("A one. B two. C three. D four.")
    assert [p.text for p in split(source, 6, 3)] == ["A one. B two.", "B two. C three.", "C three. D four."]
    assert [p.text for p in split(document("a b c d e f g"), 4, 1)] == ["a b c d", "d e f g"]
    assert [p.text for p in split(document("甲乙丙丁戊己庚"), 4, 1)] == ["甲乙丙丁", "丁戊己庚"]


# The embedded exam's committed results rest on these very passages.
@pytest.mark.parametrize(
    ("acts", "digest"),
    [
        (40, "ada7fcbc97bf0e592e2e3777d5d82c0b59fa500548fd402eb3c418b1c375ac2a"),
        (6, "785796cbbc0f6d0d2086e138cefd3248953a8e0e1731266b04b75a9e671bc1d2"),
    ],
)
def test_the_embedded_statute_book_is_cut_as_ever(acts: int, digest: str) -> None:
    book = StatuteBook(acts=acts, sections=3 if acts == 40 else 2)
    rows = [dataclasses.astuple(passage) for source in book.documents() for passage in split(source)]
    assert hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest() == digest


def test_long_lines_take_no_long_time() -> None:
    long = ("# a" + " " * 200_000 + "b", "." * 200_000, "`" * 200_000, "\n" * 200_000 + "x", "# #" * 70_000)
    for text in (*long, "x" * 200_000, "第" * 200_000, "第一" * 100_000, "Section 1" * 20_000, "\n第一条" * 50_000):
        source = document(text)
        check(source, split(source), 384)
        split(source, 384, 100)


@pytest.mark.parametrize("overlap", [-1, True, 5, "1"])
def test_a_wrong_overlap_is_named(overlap: object) -> None:
    with pytest.raises(LabError, match="overlap_tokens"):
        split(document("x"), 8, overlap)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -1, True, 2.5, "9"])
def test_a_wrong_size_is_named(size: object) -> None:
    with pytest.raises(LabError, match="max_tokens"):
        split(document("x"), size)  # type: ignore[arg-type]


def test_a_folder_is_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("plain")
    (tmp_path / "c.MD").write_bytes("\ufeffintro\r\n# Das Gesetz\r\nText".encode())
    (tmp_path / "a.md").write_text("# 港口法\n\n文", encoding="utf-8")
    (tmp_path / ".hidden.md").write_text("no")
    documents, left_out = read(tmp_path)
    assert [(d.id, d.title) for d in documents] == [("a", "港口法"), ("b/two", "two"), ("c", "Das Gesetz")]
    assert documents[2].text == "intro\n# Das Gesetz\nText"
    assert left_out == []


def test_links_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    home = tmp_path / "home"
    home.mkdir()
    (home / "real.md").write_text("real")
    (home / "alias.md").symlink_to("real.md")
    (home / "escape.md").symlink_to(outside / "secret.md")
    (home / "folder").symlink_to(outside)
    (home / "up").symlink_to("..")
    documents, left_out = read(home)
    assert [(d.id, d.text) for d in documents] == [("alias", "real"), ("real", "real")]
    assert [name for name, _ in left_out] == ["escape.md", "folder", "up"]
    assert "outside" in dict(left_out)["escape.md"]


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="nowhere: no such folder; give"):
        load_documents(tmp_path / "nowhere")
    with pytest.raises(LabError, match=r"no document in it; put \.md"):
        load_documents(tmp_path)
    (tmp_path / "empty.md").write_text("")
    with pytest.raises(LabError, match=r"left out: empty\.md"):
        load_documents(tmp_path)


def belcar() -> Corpus:
    act = Document(id="act", title="The Belcar Harbour Act", text=ACT)
    return Corpus("port", (act,), tuple(split(act)))


def test_the_digest_is_of_the_content() -> None:
    corpus = belcar()
    assert corpus.digest == dataclasses.replace(belcar(), name="other").digest
    practised = dataclasses.replace(corpus, practice=(Question("q", "How much?", ("45",)),))
    assert practised.digest != corpus.digest
    assert practised.passages_digest == corpus.passages_digest
    changed = Document("act", "The Belcar Harbour Act", ACT.replace("45", "46"))
    other = Corpus("port", (changed,), tuple(split(changed)))
    assert other.digest != corpus.digest
    assert other.passages_digest != corpus.passages_digest


def test_passages_are_found_by_id() -> None:
    assert belcar().passage("act#2").text == "The keelage of Corvin is 12 crowns."
    with pytest.raises(LabError, match="no passage 'act#9'"):
        belcar().passage("act#9")


def test_a_corpus_that_does_not_hold_together_is_refused() -> None:
    corpus = belcar()
    with pytest.raises(LabError, match="no documents"):
        Corpus("none", (), ())
    with pytest.raises(LabError, match="two documents have the id 'act'"):
        dataclasses.replace(corpus, documents=corpus.documents * 2)
    with pytest.raises(LabError, match="two passages have the id 'act#1'"):
        dataclasses.replace(corpus, passages=corpus.passages * 2)
    with pytest.raises(LabError, match="unknown document"):
        dataclasses.replace(corpus, passages=(dataclasses.replace(corpus.passages[0], document_id="x"),))
    with pytest.raises(LabError, match="not the text at its offsets"):
        dataclasses.replace(corpus, passages=(dataclasses.replace(corpus.passages[0], text="forged"),))
