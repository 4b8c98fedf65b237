"""Searches against hand calculation and brute force: words, BM25, fusion, indexes, choosing, kept vectors, Qdrant."""

from __future__ import annotations

import dataclasses
import itertools
import math
import socket
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from lab import search
from lab.context import qdrant
from lab.context.base import passage_form
from lab.context.bm25 import Bm25
from lab.context.dense import Dense
from lab.context.embedder import Embedder
from lab.context.hybrid import Hybrid, fuse
from lab.context.retrieved import Retrieved
from lab.context.vectors import encode
from lab.context.words import number, words
from lab.corpus.corpus import Corpus
from lab.corpus.passages import count_tokens, split
from lab.ledger import Ledger
from lab.records import Document, LabError, Passage, Question, ScoredPassage
from lab.store import Store
from lab.workspace import Workspace


def corpus_of(*texts: str, title: str = "", documents: int | None = None) -> Corpus:
    """One passage a text; they are spread over so many documents, or each is one of its own."""
    groups = [list(range(i, len(texts), documents or len(texts))) for i in range(documents or len(texts))]
    made, passages = [], {}
    for name, group in zip(
        "abcdefghijklmnopqrstuvwxyz" if len(groups) <= 26 else map(str, range(10**6)), groups, strict=False
    ):
        text = "\n".join(texts[i] for i in group)
        made.append(Document(name, title, text))
        start = 0
        for i in group:
            passages[i] = Passage(f"{name}#{i}", name, title, texts[i], start, start + len(texts[i]))
            start += len(texts[i]) + 1
    return Corpus("toy", tuple(made), tuple(passages[i] for i in range(len(texts))))


def space(folder: Path) -> Workspace:
    return Workspace(Store(folder), Ledger(), 0, "cpu")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An encoder without a model: a text's vector is drawn by its first characters. Gives the passages encoded."""
    seen: list[str] = []

    def vectors(texts: Any) -> numpy.ndarray:
        rows = [numpy.random.default_rng([ord(c) for c in text]).standard_normal(32) for text in texts]
        return numpy.array([row / numpy.linalg.norm(row) for row in rows], dtype=numpy.float32)

    def passages(self: Embedder, texts: Any, progress: Any = None) -> numpy.ndarray:
        seen.extend(texts)
        return vectors(texts)

    monkeypatch.setattr(Embedder, "encode_passages", passages)
    monkeypatch.setattr(Embedder, "encode_questions", lambda self, texts: vectors(texts))
    monkeypatch.setattr(Embedder, "count_tokens", lambda self, texts: ([len(t) for t in texts], [False for _ in texts]))
    monkeypatch.setattr(Embedder, "work", lambda self, texts: {"padded_tokens": len(texts), "flops": 1e6 * len(texts)})
    monkeypatch.setattr(Embedder, "digest", lambda self: "the encoder without a model")
    return seen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Ship's fee, snake_case", ["the", "ship", "s", "fee", "snake", "case"]),
        ("劳动合同法", ["劳动", "动合", "合同", "同法"]),
        ("用iPhone 12打", ["用", "iphone", "12", "打"]),
        ("ＡＢＣ", ["abc"]),  # noqa: RUF001
        ("公司法第一百二十条之一", ["公司", "司法", "第120条", "之一"]),
        ("第 120 条", ["第120条"]),
        ("第１２０条", ["第120条"]),
        ("第十章，第二十", ["第10章", "第20"]),  # noqa: RUF001
        ("Größe ÉTÉ हिन्दी", ["grösse", "été", "हिन्दी"]),
        ("", []),
        ("... — !", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_numbers() -> None:
    cases = {
        "一": 1,
        "十": 10,
        "十五": 15,
        "二十": 20,
        "一百零二": 102,
        "一百一十": 110,
        "一千二百六十": 1260,
        "一二〇": 120,
    }
    assert {text: number(text) for text in cases} == cases


def test_bm25_is_the_formula(tmp_path: Path) -> None:
    """Lucene's: idf = ln(1 + (N - n + 0.5) / (n + 0.5)), tf / (tf + k1 (1 - b + b length / mean length))."""
    texts = ("red ship red", "blue ship", "green boat on a long and quiet river", "red")
    corpus = corpus_of(*texts, title="port")
    weight, k1, b = 2, 1.2, 0.6
    bags = [words(f"{p.document_id} | {p.title}") * weight + words(p.text) for p in corpus.passages]
    mean = sum(map(len, bags)) / len(bags)

    def score(question: str, bag: list[str]) -> float:
        total = 0.0
        for word in words(question):
            n = sum(word in other for other in bags)
            if word in bag:
                idf = math.log(1 + (len(bags) - n + 0.5) / (n + 0.5))
                total += idf * bag.count(word) / (bag.count(word) + k1 * (1 - b + b * len(bag) / mean))
        return total

    ranker = Bm25(weight, k1, b).prepare(corpus, space(tmp_path))
    for question in ("red ship", "the quiet boat", "port", "red red blue", "d"):
        found = dict(ranker.rank([question], 4)[0])
        hand = {p.id: score(question, bag) for p, bag in zip(corpus.passages, bags, strict=True)}
        assert found == pytest.approx({id: value for id, value in hand.items() if value > 0}, abs=2e-6)
    assert ranker.rank(["nothing known", ""], 4) == [[], []]
    assert [id for id, _ in ranker.rank(["port"], 2)[0]] == ["d#3", "b#1"]


def test_bm25_ties_go_to_the_earlier_passage(tmp_path: Path) -> None:
    ranker = Bm25().prepare(corpus_of(*["same words"] * 9, documents=1), space(tmp_path))
    assert [id for id, _ in ranker.rank(["words"], 3)[0]] == ["a#0", "a#1", "a#2"]


def test_bm25_finds_an_article_by_either_numeral(tmp_path: Path) -> None:
    text = "# 公司法\n\n" + "\n\n".join(f"第{mark}条 董事会的职权由章程规定。" for mark in ("十九", "二十", "二十一"))
    document = Document("law/company", "公司法", text)
    ranker = Bm25().prepare(Corpus("law", (document,), tuple(split(document))), space(tmp_path))
    for question in ("公司法第二十条", "《公司法》第20条规定了什么？"):  # noqa: RUF001
        assert ranker.rank([question], 1)[0][0][0] == "law/company#2"


def test_bm25_with_no_word_at_all(tmp_path: Path) -> None:
    corpus = Corpus("dots", (Document("-", "!", "..."),), (Passage("-#1", "-", "!", "...", 0, 3),))
    with pytest.raises(LabError, match="corpus dots: no word"):
        Bm25().prepare(corpus, space(tmp_path))


def test_fusion_by_hand() -> None:
    one, two = [("a", 9.0), ("b", 8.0), ("c", 7.0)], [("c", 0.9), ("d", 0.8)]
    assert fuse([(one, 1.0), (two, 1.0)]) == [
        ("c", 1 / 63 + 1 / 61),
        ("a", 1 / 61),
        ("b", 1 / 62),
        ("d", 1 / 62),
    ]
    assert [id for id, _ in fuse([(one, 0.1), (two, 0.9)])] == ["c", "d", "a", "b"]
    assert [id for id, _ in fuse([(one, 1.0), (two, 0.0)])] == ["a", "b", "c"]


class Oracle:
    """A search that finds what its table says, whatever the corpus."""

    def __init__(self, right: float) -> None:
        self.right = right

    def prepare(self, corpus: Corpus, workspace: Workspace) -> Oracle:
        self.passages = corpus.passages
        return self

    def rank(self, questions: list[str], count: int) -> list[list[tuple[str, float]]]:
        ids = [passage.id for passage in self.passages]
        ranked = []
        for place, _ in enumerate(questions):  # The corpus asks about its own passages in their order.
            right = ids[place % len(ids)]
            others = [id for id in reversed(ids) if id != right]
            ranked.append([right, *others] if place % 10 < 10 * self.right else [*others, right])
        return [[(id, 1.0) for id in some[:count]] for some in ranked]


def test_hybrid_learns_whom_to_trust(tmp_path: Path) -> None:
    corpus = corpus_of(*[f"First sentence {n}. Second sentence {n}. Third." for n in range(50)])

    def share(dense: float, lexical: float) -> float:
        workspace = space(tmp_path)
        Hybrid(Oracle(dense), Oracle(lexical)).prepare(corpus, workspace)
        (row,) = workspace.ledger.rows()
        assert row.phase == "indexing"
        return row.detail["dense_share"]

    assert share(0.1, 0.9) == 0.0
    assert share(0.9, 0.1) == 1.0
    short = space(tmp_path)
    ranker = Hybrid(Oracle(0.1), Oracle(0.9)).prepare(corpus_of("One. Two.", "Only one"), short)
    assert len(ranker._halves) == 2  # Too few sentences to learn from: plain fusion.


def test_hybrid_mixes_halves_that_complete_each_other(tmp_path: Path) -> None:
    class Half(Oracle):
        def rank(self, questions: list[str], count: int) -> list[list[tuple[str, float]]]:
            ids = [passage.id for passage in self.passages]
            wrong = [[id for id in ids if id != right] for right in ids]
            # Each half puts one wrong passage, of its own, before the right one.
            return [[(some[self.place], 2.0), (right, 1.0)] for some, right in zip(wrong, ids, strict=True)]

    first, second = Half(1), Half(1)
    first.place, second.place = 0, -1  # type: ignore[attr-defined]
    workspace = space(tmp_path)
    corpus = corpus_of(*[f"First sentence {n}. Second sentence {n}. Third." for n in range(50)])
    Hybrid(first, second).prepare(corpus, workspace)
    (row,) = workspace.ledger.rows()
    assert 0 < row.detail["dense_share"] < 1
    assert row.detail["mrr"] > 0.9 > 0.6 > row.detail["mrr_dense"]


@pytest.mark.parametrize(("index", "least"), [("Flat", 1.0), ("HNSW32", 0.95), ("IVF8,Flat", 0.5)])
def test_an_index_against_a_plain_dot_product(tmp_path: Path, hashed: list[str], index: str, least: float) -> None:
    corpus = corpus_of(*[f"{n} passage" for n in range(500)])
    questions = [f"{n} question" for n in range(50)]
    found = Dense(index=index).prepare(corpus, space(tmp_path)).rank(questions, 10)
    embedder = Embedder(None, "cpu")
    vectors = embedder.encode_passages([passage_form(passage) for passage in corpus.passages])
    shared = []
    for scores, ranked in zip(embedder.encode_questions(questions) @ vectors.T, found, strict=True):
        best = [corpus.passages[place].id for place in numpy.argsort(-scores, kind="stable")[:10]]
        assert len({id for id, _ in ranked}) == len(ranked) <= 10
        by_id = {passage.id: score for passage, score in zip(corpus.passages, scores, strict=True)}
        assert [score for _, score in ranked] == pytest.approx([by_id[id] for id, _ in ranked], abs=2e-6)
        shared.append(len(set(best) & {id for id, _ in ranked}) / 10)
    assert sum(shared) / len(shared) >= least


def test_a_wrong_index_is_named(tmp_path: Path, hashed: list[str]) -> None:
    for index in ("Falt", "", None):
        with pytest.raises(LabError, match=r"context\.retriever\.index="):
            Dense(index=index)  # type: ignore[arg-type]
    with pytest.raises(LabError, match="64 lists for 3 passages"):
        Dense(index="IVF64,Flat").prepare(corpus_of("a", "b", "c"), space(tmp_path))


class Listed:
    """A search that finds all passages in the corpus's order."""

    def prepare(self, corpus: Corpus, workspace: Workspace) -> Listed:
        self.ids = [passage.id for passage in corpus.passages]
        return self

    def rank(self, questions: list[str], count: int) -> list[list[tuple[str, float]]]:
        return [[(id, 1.0 - place / 100) for place, id in enumerate(self.ids[:count])] for _ in questions]


def chosen(corpus: Corpus, folder: Path, **settings: Any) -> list[ScoredPassage]:
    reader = Retrieved(Listed(), **settings).prepare(corpus, space(folder))
    return reader.passages([Question("q", "what?", ("a",))])[0]


def test_cap_order_and_budget(tmp_path: Path) -> None:
    corpus = corpus_of("one", "two two", "three three three", "four", "five five", documents=2)  # a, b, a, b, a

    def ids(**settings: Any) -> list[str]:
        return [scored.passage.id for scored in chosen(corpus, tmp_path, **settings)]

    assert ids(k=3) == ["a#0", "b#1", "a#2"]
    assert ids(k=3, order="best_last") == ["a#2", "b#1", "a#0"]
    assert ids(k=4, per_document=1) == ["a#0", "b#1"]
    assert ids(k=3, per_document=2) == ["a#0", "b#1", "a#2"]
    assert ids(k=5, max_tokens=4) == ["a#0", "b#1", "b#3"]  # 1 + 2, three do not fit, 1
    assert ids(k=5, max_tokens=3, candidates=5) == ["a#0", "b#1"]
    assert ids(k=1, max_tokens=1, candidates=1) == ["a#0"]
    titled = corpus_of("one", "two", title="a long title")
    size = count_tokens("a long title") + 1
    assert len(chosen(titled, tmp_path, k=2, max_tokens=2 * size)) == 2
    assert len(chosen(titled, tmp_path, k=2, max_tokens=2 * size - 1)) == 1
    assert chosen(titled, tmp_path, k=2, max_tokens=size - 1) == []


@pytest.mark.parametrize(
    "wrong",
    [{"per_document": 0}, {"max_tokens": -1}, {"candidates": 0}, {"order": "random"}, {"reranker": ""}, {"k": 0}],
)
def test_a_wrong_value_is_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(LabError, match=rf"context\.{name}="):
        Retrieved(**wrong)


def test_wrong_values_of_searches_are_named() -> None:
    for make in (lambda: Bm25(heading_weight=0), lambda: Bm25(k1=-1), lambda: Bm25(b=2), lambda: Hybrid(share=2)):
        with pytest.raises(LabError, match=r"context\.retriever\."):
            make()


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random cross-encoder."""
    folder = tmp_path_factory.mktemp("cross") / "model"
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "what", "one", "two", "three", "boat", "ship"]
    model = Tokenizer(WordLevel({name: place for place, name in enumerate(vocabulary)}, unk_token="[UNK]"))
    model.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, num_labels=1, initializer_range=1.0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_reranker_ranks_the_candidates_anew(tmp_path: Path, cross_encoder: Path) -> None:
    from sentence_transformers import CrossEncoder

    corpus = corpus_of("one", "two", "three", "boat", "ship")
    found = chosen(corpus, tmp_path, k=3, reranker=str(cross_encoder), candidates=4)
    pairs = [("what?", passage_form(passage)) for passage in corpus.passages[:4]]
    model = CrossEncoder(str(cross_encoder), device="cpu", local_files_only=True)
    scores = [float(model.predict([pair], show_progress_bar=False)[0]) for pair in pairs]
    best = numpy.argsort(-numpy.array(scores), kind="stable")[:3]
    assert len(set(scores)) == 4
    assert list(best) != [0, 1, 2]
    assert [scored.passage.id for scored in found] == [corpus.passages[place].id for place in best]
    assert [scored.score for scored in found] == pytest.approx([scores[place] for place in best], abs=1e-5)


def test_a_wrong_reranker_is_named(tmp_path: Path, cross_encoder: Path) -> None:
    with pytest.raises(LabError, match=r"context\.reranker=.*no config\.json"):
        chosen(corpus_of("a"), tmp_path, reranker=str(tmp_path))
    config = BertConfig.from_pretrained(cross_encoder, num_labels=3)
    many = tmp_path / "many"
    BertForSequenceClassification(config).save_pretrained(many)
    PreTrainedTokenizerFast.from_pretrained(cross_encoder).save_pretrained(many)
    with pytest.raises(LabError, match="3 scores a pair"):
        chosen(corpus_of("a"), tmp_path, reranker=str(many))


def names(texts: list[str]) -> list[str]:
    return sorted(texts)


def test_only_what_changed_is_encoded(tmp_path: Path, hashed: list[str]) -> None:
    texts = [f"{n} passage" for n in range(200)]
    corpus = corpus_of(*texts)
    first = space(tmp_path)
    Dense().prepare(corpus, first)
    assert len(hashed) == 200
    hashed.clear()

    edited = [*texts[:50], "changed", *texts[51:120], *texts[121:], "added"]  # replaced, deleted, added: 1 %
    second = space(tmp_path)
    ranker = Dense().prepare(corpus_of(*edited), second)
    assert names(hashed) == ["\nadded", "\nchanged"]
    now, before = second.ledger.rows()
    assert (now.detail["passages_encoded"], now.tokens) == (2, len("\nadded\nchanged"))
    # Of the work of 200 texts, that of the 198 which are still there.
    assert (now.flops, now.padded_tokens) == (2e6, 2)
    assert (before.flops, before.padded_tokens) == pytest.approx((198e6, 198))
    assert (before.reused, before.tokens) == (
        True,
        sum(len(text) + 1 for text in [*texts[:50], *texts[51:120], *texts[121:]]),
    )
    fresh = Dense().prepare(corpus_of(*edited), space(tmp_path / "other"))
    assert ranker.rank(["7 question"], 20) == fresh.rank(["7 question"], 20)
    hashed.clear()

    Dense().prepare(corpus_of(*texts, title="new"), space(tmp_path))
    assert len(hashed) == 200  # The title is read with the text.
    hashed.clear()
    Dense(index="HNSW32").prepare(corpus_of(*reversed(texts)), space(tmp_path))
    assert hashed == []  # Neither ids, order nor the kind of index matter.


def test_vectors_belong_to_one_encoder(tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Dense().prepare(corpus_of("a", "a", "b"), space(tmp_path))
    assert names(hashed) == ["\na", "\nb"]
    monkeypatch.setattr(Embedder, "digest", lambda self: "another")
    Dense().prepare(corpus_of("a", "b"), space(tmp_path))
    assert names(hashed) == ["\na", "\na", "\nb", "\nb"]


def test_what_a_stopped_encoding_had_finished_is_kept(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.context.vectors.CHUNK", 4)
    whole, calls = Embedder.encode_passages, iter((True, True, False))

    def stop(self: Embedder, texts: Any, progress: Any) -> numpy.ndarray:
        if not next(calls):
            raise KeyboardInterrupt
        return whole(self, texts)

    texts = [f"{n}" for n in range(12)]
    monkeypatch.setattr(Embedder, "encode_passages", stop)
    with pytest.raises(KeyboardInterrupt):
        encode(texts, Embedder(None, "cpu"), space(tmp_path))
    assert len(list((tmp_path / "vectors").iterdir())) == 2
    hashed.clear()
    monkeypatch.setattr(Embedder, "encode_passages", whole)
    made = encode(texts, Embedder(None, "cpu"), space(tmp_path))
    assert hashed == texts[8:]
    assert (made.encoded, made.cost["tokens"], made.before["tokens"], made.vectors.shape) == (4, 6, 8, (12, 32))


def test_damaged_vectors_are_not_believed(tmp_path: Path, hashed: list[str]) -> None:
    embedder = Embedder(None, "cpu")
    good = encode(["a", "b"], embedder, space(tmp_path)).vectors
    (file,) = tmp_path.rglob("vectors.safetensors")
    data = bytearray(file.read_bytes())
    data[-9] ^= 1
    file.write_bytes(data)
    hashed.clear()
    again = encode(["a", "b"], embedder, space(tmp_path))
    assert hashed == ["a", "b"]
    assert (again.vectors == good).all()


def test_qdrant_ranks_as_the_flat_index(tmp_path: Path, hashed: list[str]) -> None:
    pytest.importorskip("qdrant_client")
    corpus, asked = corpus_of(*[f"{n} passage" for n in range(60)]), [f"{n} question" for n in range(9)]
    flat = Dense().prepare(corpus, space(tmp_path)).rank(asked, 7)
    found = qdrant.Qdrant(":memory:").prepare(corpus, space(tmp_path)).rank(asked, 7)
    assert [[id for id, _ in some] for some in found] == [[id for id, _ in some] for some in flat]
    for some, others in zip(found, flat, strict=True):
        assert [score for _, score in some] == pytest.approx([score for _, score in others], abs=1e-5)


def test_qdrant_is_changed_in_place(tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("qdrant_client").QdrantClient(":memory:")
    monkeypatch.setattr(qdrant, "connect", lambda url: client)
    server = qdrant.Qdrant("http://localhost:6333")
    texts = [f"{n} passage" for n in range(20)]
    server.prepare(corpus_of(*texts), space(tmp_path / "1"))
    for edited, changes, encoded in (
        (texts, (0, 0), []),
        ([*texts[:5], "changed", *texts[6:]], (1, 0), ["\nchanged"]),
        ([*texts[:5], "changed", *texts[6:18]], (0, 2), []),
        ([*texts[:5], "changed", *texts[6:18], "added"], (1, 0), ["\nadded"]),
    ):
        hashed.clear()
        workspace = space(tmp_path / "2" / str(len(edited)) / str(changes))  # No vector is kept: only the server knows.
        ranker = server.prepare(corpus_of(*edited), workspace)
        (row,) = workspace.ledger.rows()
        assert (row.detail["points_written"], row.detail["points_removed"]) == changes
        assert hashed == encoded
        fresh = Dense().prepare(corpus_of(*edited), space(tmp_path / "3")).rank(["q"], 30)
        assert [id for id, _ in ranker.rank(["q"], 30)[0]] == [id for id, _ in fresh[0]]
    rows, _ = client.scroll(client.get_collections().collections[0].name, limit=100)
    assert {tuple(sorted(row.payload)) for row in rows} == {("digest", "passage")}


def test_a_qdrant_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qdrant_client")
    with pytest.raises(LabError, match=r"context\.retriever\.url='ftp:"):
        qdrant.Qdrant("ftp://x")
    with pytest.raises(LabError, match="no Qdrant server answers"):
        qdrant.Qdrant("http://127.0.0.1:1").prepare(corpus_of("a"), space(tmp_path))
    monkeypatch.setenv(qdrant.KEY, "a secret key")
    with pytest.raises(LabError, match="would travel unencrypted") as raised:
        qdrant.Qdrant("http://example.org:6333").prepare(corpus_of("a"), space(tmp_path))
    assert "secret" not in str(raised.value)


def test_search_shows_passages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "fees.md").write_text("# Fees\n\n## Keelage\n\nA ship pays ten crowns.\n\n## Tonnage\n\nA boat pays two.\n")
    base = [str(docs), "What does a boat pay?", "--artifacts", str(tmp_path / "artifacts")]
    assert search.main([*base, "--retriever", "bm25", "-k", "1"]) == 0
    shown = capsys.readouterr().out
    assert "fees#2  Fees > Tonnage" in shown
    assert "A boat pays two." in shown
    assert "ship" not in shown
    assert search.main([str(docs), "zzz", *base[2:], "--retriever", "bm25"]) == 0
    assert "nothing found" in capsys.readouterr().out
    for wrong, message in ((["-k", "0"], "context.k=0"), (["--index", "Falt"], "context.retriever.index")):
        assert search.main([*base, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert search.main([str(tmp_path / "nowhere"), "?", "--retriever", "bm25"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_settings_are_plain_values() -> None:
    settings = dataclasses.asdict(Retrieved(Hybrid(), k=2))
    assert settings["retriever"]["lexical"] == {"heading_weight": 5, "k1": 1.5, "b": 0.75}


def without_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def has_bfloat16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


SECTIONS = [f"Section {n} of the act. " * (n % 7 + 1) for n in range(23)]


def test_openvino_gives_the_same_vectors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # It may bring absl's log handler, which keeps the stderr that it met, and later closes it.
    with capsys.disabled():
        pytest.importorskip("openvino")
    without_connections(monkeypatch)
    plain, fast = Embedder(None, "cpu"), Embedder(None, "cpu", "openvino")
    for one, two in ((plain.encode_passages, fast.encode_passages), (plain.encode_questions, fast.encode_questions)):
        assert numpy.abs(one(SECTIONS) - two(SECTIONS)).max() < 2e-6
    assert fast.encode_passages([]).size == 0
    assert plain.key() != fast.key()  # Neither takes the other's kept vectors.


# (texts that say what, questions that the text of the same place answers)
SAID = [
    "The harbour master lets no ship in after sunset.",
    "Bread is sold by weight; the baker who sells short pays a fine.",
    "A dog that bites is kept on a chain by its owner.",
    "Children begin school in the year in which they become six.",
    "Water is drawn from the town well without charge.",
    "Whoever finds a purse brings it to the watch.",
]
ASKED = [
    "When may ships come into the port?",
    "What happens to a baker whose loaves are too light?",
    "What must be done with an aggressive dog?",
    "At what age do pupils start school?",
    "How much does water from the well cost?",
    "What should one do with lost money that one finds?",
]


@pytest.mark.parametrize(
    ("backend", "precision", "least"),
    # Rounding errors add up as in a random walk, to an angle. bfloat16 rounds by .0011 (2^-9 over the root of 3), some
    # 50 times: .008, whose cosine is .99997. int8 divides a range of 6 deviations by 255 and rounds by .007, in 24
    # products on both sides: .047, cosine .9989. The bounds allow four times and twice the angle.
    [("torch", "bfloat16", 0.9995), ("openvino", "bfloat16", 0.9995), ("openvino", "int8", 0.995)],
)
def test_other_precisions_give_nearly_the_same_vectors(
    backend: str, precision: str, least: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        if backend == "openvino":
            pytest.importorskip("openvino")
            if precision == "bfloat16" and not has_bfloat16():
                pytest.skip("this CPU has no bfloat16")
    without_connections(monkeypatch)
    plain, other = Embedder(None, "cpu"), Embedder(None, "cpu", backend, precision)
    texts = [*SECTIONS, *SAID]
    vectors = other.encode_passages(texts)
    assert vectors.dtype == numpy.float32
    assert numpy.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)  # Rounded numbers would not be.
    cosines = (plain.encode_passages(texts) * vectors).sum(axis=1)
    assert least < cosines.min()
    assert cosines.min() < 1 - 1e-6  # It does compute in another precision.
    assert (other.encode_questions(ASKED) @ vectors[-len(SAID) :].T).argmax(axis=1).tolist() == [*range(len(SAID))]
    # A vector is its text's, whatever stands beside it in a batch.
    alone = numpy.concatenate([other.encode_passages([text]) for text in SAID])
    assert (alone * vectors[-len(SAID) :]).sum(axis=1).min() > 1 - (1 - least) / 10


def test_kept_vectors_of_one_precision_are_not_taken_for_another() -> None:
    told = ("cpu", "torch"), ("cpu", "openvino"), ("cpu", "torch", "bfloat16"), ("cuda", "torch", "bfloat16")
    keys = [Embedder(None, *how).key() for how in (*told, *(("cpu", "openvino", p) for p in ("bfloat16", "int8")))]
    assert all(one != other for one, other in itertools.combinations(keys, 2))
    assert Embedder(None, "cuda").key() == keys[0]  # float32 is the same anywhere, but for what scores are rounded by.


def test_a_cpu_without_bfloat16_refuses_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(LabError, match=r"precision=bfloat16: this CPU has none; choose float32 or int8"):
        Embedder(None, "cpu", "openvino", "bfloat16").encode_passages(["a text"])
    # int8 then computes all else in float32.
    assert Embedder(None, "cpu", "openvino", "int8").encode_passages(["a text"]).shape == (1, 384)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "onnx"}, r"context\.retriever\.backend='onnx': choose torch or openvino"),
        ({"precision": "int8"}, r"precision='int8': with backend=torch choose float32 or bfloat16"),
        ({"precision": "float16"}, r"precision='float16': with backend=torch choose float32 or bfloat16"),
        ({"backend": "openvino", "precision": None}, r"precision=None: with backend=openvino choose .* or int8"),
    ],
)
def test_backends_and_precisions_that_there_are_not_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LabError, match=message):
        Dense(**settings)


def test_openvino_is_for_a_cpu() -> None:
    with pytest.raises(LabError, match="openvino is for device=cpu; on cuda choose backend=torch"):
        Embedder(None, "cuda", "openvino", "int8")
