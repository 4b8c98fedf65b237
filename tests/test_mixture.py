"""The mixture: exact shares, whole passes, nothing lost when long texts are cut."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from lab.adapt.mixture import QUESTIONS_A_TEXT, cut, domain_texts, mix, split
from lab.exam.prompts import prefix
from lab.packing import Piece, rows
from lab.records import LabError
from lab.worlds.embedded import StatuteCorpus, WorldReplay
from lab.worlds.general import GeneralWorld
from lab.worlds.wording import PRACTICE


def texts(count: int, longest: int, first: int = 0) -> list[Piece]:
    """Pieces of numbered tokens, so that each can be known again."""
    random, made, at = Random(count), [], first
    for _ in range(count):
        size = random.randint(1, longest)
        made.append(Piece(list(range(at, at + size)), [], "documents"))
        at += size
    return made


def endless(longest: int):
    random = Random(longest)
    while True:
        yield Piece([-1] * random.randint(1, longest), [], "general")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("tokens", [4_000, 4_001])
def test_the_share_is_exact_to_the_token(share, tokens):
    mixture = mix(texts(20, 30), endless(40), tokens, share, Random(0))
    pieces = list(mixture.pieces)
    general = sum(piece.prefix.count(-1) for piece in pieces)
    assert general == round(tokens * share)
    assert sum(map(len, pieces)) == tokens == mixture.tokens.total()
    assert mixture.tokens["replay general"] == general


def test_the_share_holds_all_along():
    mixture = mix(texts(20, 30), endless(40), 4_000, 0.3, Random(0))
    general = private = 0
    for piece in mixture.pieces:
        general, private = general + piece.prefix.count(-1), private + len(piece) - piece.prefix.count(-1)
        assert abs(0.3 * private - 0.7 * general) <= 40  # never further off than one text


def test_every_pass_goes_through_all_texts_in_another_order():
    domain = texts(30, 20)
    size = sum(map(len, domain))
    mixture = mix(domain, (), 3 * size, 0.0, Random(0))
    assert mixture.passes == 3
    pieces = list(mixture.pieces)
    passes = [pieces[at : at + 30] for at in (0, 30, 60)]
    for one in passes:
        assert sorted(piece.prefix for piece in one) == sorted(piece.prefix for piece in domain)
    assert passes[0] != passes[1] != passes[2]
    assert list(mix(domain, (), 3 * size, 0.0, Random(0)).pieces) == pieces
    assert list(mix(domain, (), 3 * size, 0.0, Random(1)).pieces) != pieces


def test_a_mixture_takes_pieces_as_they_are_asked_for():
    taken = []
    general = (taken.append(number) or Piece([number] * 10, [], "general") for number in range(100))
    mixture = mix(texts(20, 30), general, 1_000, 0.5, Random(0))
    assert mixture.tokens == {}
    first = next(mixture.pieces)
    assert (mixture.tokens.total(), len(taken)) == (len(first), first.source == "general")
    assert mixture.tokens.total() + sum(map(len, mixture.pieces)) == mixture.tokens.total() == 1_000
    assert len(taken) == 50


def test_a_budget_below_one_pass_names_what_is_needed():
    domain = [Piece([0] * 100, [], "documents")]
    with pytest.raises(LabError, match="at least tokens=200"):
        mix(domain, endless(5), 150, 0.5, Random(0))
    assert mix(domain, endless(5), 200, 0.5, Random(0)).passes == 1
    with pytest.raises(LabError, match="0 tokens are left for the private text"):
        mix(domain, endless(5), 150, 1.0, Random(0))


def test_rehearsal_is_exact_to_the_token_and_changes_nothing_where_there_is_none():
    def pieces(name: str, lengths: list[int]) -> list[Piece]:
        return [Piece(list(range(length)), [], name) for length in lengths]

    new, old, general = pieces("new", [7, 5]), pieces("old", [4, 6, 3]), pieces("g", [5] * 100)
    mixed = mix(new, general, 100, 0.2, Random(0), old, 0.25)
    assert sum(map(len, mixed.pieces)) == 100
    assert mixed.tokens == {"new": 60, "rehearsed old": 20, "replay g": 20}
    assert mixed.passes == 5
    plain = mix(new, general, 100, 0.2, Random(0))
    assert list(mix(new, general, 100, 0.2, Random(0), old, 0.0).pieces) == list(plain.pieces)
    assert plain.tokens == {"new": 80, "replay g": 20}
    with pytest.raises(LabError, match="give at least tokens=20"):
        mix(new, general, 19, 0.2, Random(0), old, 0.25)


def test_cut_keeps_the_first_tokens_and_what_carries_loss():
    piece = Piece([1, 2, 3], [([4, 5, 6, 7], 2), ([8, 9], 1)], "practice")
    assert cut(piece, 9) == piece
    assert cut(piece, 8) == Piece([1, 2, 3], [([4, 5, 6, 7], 2), ([8], 1)], "practice")
    assert cut(piece, 4) == Piece([1, 2, 3], [([4], 1)], "practice")
    assert cut(piece, 2) == Piece([1, 2], [([], 0)], "practice")  # a beginning had no loss and gets none
    assert cut(Piece([1, 2, 3], [], "documents"), 2) == Piece([1, 2], [], "documents")
    for tokens in range(10):
        assert len(cut(piece, tokens)) == tokens


def test_split_loses_nothing():
    text = Piece(list(range(100)), [], "documents")
    assert [t for part in split(text, 30) for t in part.prefix] == text.prefix
    asked = Piece([0] * 10, [([i] * 8, 3) for i in range(7)], "practice")
    parts = split(asked, 30)
    assert {(part.source, of.source) for of in (text, asked) for part in split(of, 30)} == {
        ("documents", "documents"), ("practice", "practice"),
    }  # fmt: skip
    assert [branch for part in parts for branch in part.branches] == asked.branches
    assert all(part.prefix == asked.prefix and len(part) <= 30 for part in parts)
    assert [len(part) for part in split(asked, 34)] == [34, 34, 18]  # a row may be full to the last token
    assert [len(part) for part in split(asked, 18)] == [18] * 7
    with pytest.raises(LabError, match=r"^row_tokens=17: a question of 18 tokens .*; raise pipeline\.\S+row_tokens$"):
        split(asked, 17)


def test_rows_hold_every_piece_once():
    pieces = texts(200, 60)
    packed = list(rows(pieces, 64))
    assert all(sum(map(len, row)) <= 64 for row in packed)
    assert Counter(t for row in packed for p in row for t in p.prefix) == Counter(t for p in pieces for t in p.prefix)
    assert sum(map(len, pieces)) / (64 * len(packed)) > 0.9


def test_private_texts_are_the_corpus_and_what_was_made_of_it(book):
    corpus = StatuteCorpus(book, reworded_copies=2).load()
    assert [t.text for t in domain_texts(corpus, ["documents"])] == [d.text for d in corpus.documents]
    made = Counter(text.source for text in domain_texts(corpus, ["documents", "reworded", "practice"]))
    assert made["documents"] == 6
    assert made["reworded"] == 12
    practice = domain_texts(corpus, ["practice"])
    assert sum(len(text.pairs) for text in practice) == len(corpus.practice)
    assert max(len(text.pairs) for text in practice) <= QUESTIONS_A_TEXT
    assert {(text.source, text.text) for text in practice} == {("practice", prefix([]))}


def test_wordings_count_the_document_itself(book):
    corpus = StatuteCorpus(book, reworded_copies=3).load()
    kinds = ["documents", "reworded"]
    for wordings in (1, 2, 4):
        texts = list(domain_texts(corpus, kinds, wordings))
        assert len(texts) == wordings * len(corpus.documents)
        assert list(domain_texts(corpus, kinds, 4)[: len(texts)]) == texts  # Fewer are a part of more.
    assert list(domain_texts(corpus, kinds)) == list(domain_texts(corpus, kinds, 4))
    with pytest.raises(LabError, match=r"wordings=5: \d+ reworded copies are needed"):
        domain_texts(corpus, kinds, 5)
    told = [text.text for text in domain_texts(corpus, ["reworded"], 2)]
    assert told == [document.text for document in corpus.reworded[: len(corpus.documents)]]


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        (["practise"], "'practise' is no kind"),
        (["reworded"], "has no reworded"),
        ([], "^texts: nothing to train on; name at least one of"),
    ],
)
def test_what_the_corpus_lacks_is_named(small_corpus, kinds, named):
    with pytest.raises(LabError, match=named):
        domain_texts(small_corpus, kinds)


def test_replay_never_rehearses_the_general_exam():
    world = GeneralWorld()
    asked = {question.question for question in world.exam()}
    stream = WorldReplay(world).texts(0)
    prompts = [prompt for _ in range(300) for prompt, _ in next(stream).pairs]
    assert len(prompts) > 1000
    assert not [p for p in prompts if p.removeprefix("Question: ").removesuffix("\nAnswer:") in asked]
    starts = tuple(template.split(" {")[0] for forms in PRACTICE.values() for template in forms)
    assert [p for p in prompts if p.startswith("Question: ")] == [
        p for p in prompts if p.startswith(tuple(f"Question: {start}" for start in starts))
    ]
