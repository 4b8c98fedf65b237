"""The mixture: what a training sees, in order, with private and general text at an exact share of a fixed budget."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Protocol

from lab.corpus.corpus import Corpus
from lab.corpus.shelf import View
from lab.exam.prompts import ask, prefix
from lab.packing import Piece, Tokens
from lab.records import LabError, TrainingText

QUESTIONS_A_TEXT = 12  # Practice questions that share one instruction: each still sees only itself.


class Replay(Protocol):
    """Where general text comes from. digest: of all that the texts depend on beside the seed."""

    @property
    def digest(self) -> str: ...

    def texts(self, seed: int) -> Iterator[TrainingText]:
        """Texts without end, in an order that the seed decides."""
        ...


def domain_texts(corpus: Corpus, kinds: Sequence[str], wordings: int | None = None) -> Sequence[TrainingText]:
    """The corpus as texts to train on, read when asked for. kinds: any of `documents`, `reworded`, `practice`.

    wordings: how many tellings of each document, the document itself included; the reworded copies are taken in their
    order, None takes all. LabError where a kind is unknown, or the corpus has none of it or not as many wordings.
    """
    copies = len(corpus.reworded) if wordings is None else (wordings - 1) * len(corpus.documents)
    if "reworded" in kinds and copies > len(corpus.reworded):
        raise LabError(
            f"wordings={wordings}: {copies} reworded copies are needed, and the corpus {corpus.name} has "
            f"{len(corpus.reworded)}; give it more (of the statutes: corpus.reworded_copies), or lower it"
        )
    if copies == 0 and wordings is not None:
        kinds = [kind for kind in kinds if kind != "reworded"]
    every: dict[str, Sequence[TrainingText]] = {
        "documents": View(corpus.documents, lambda document: TrainingText("documents", document.text)),
        "reworded": View(corpus.reworded[:copies], lambda document: TrainingText("reworded", document.text)),
        "practice": _practice(corpus) if "practice" in kinds else (),
    }
    for kind in kinds:
        if kind not in every:
            raise LabError(f"texts: {kind!r} is no kind of training text; choose of {', '.join(every)}")
        if not every[kind]:
            raise LabError(
                f"texts: the corpus {corpus.name} has no {kind}; leave it out (texts=[documents]) or give it some"
            )
    if not kinds:
        raise LabError("texts: nothing to train on; name at least one of documents, reworded, practice")
    return _joined([every[kind] for kind in kinds])


def _joined(parts: Sequence[Sequence[TrainingText]]) -> Sequence[TrainingText]:
    starts = [0, *accumulate(map(len, parts))]

    def text(place: int) -> TrainingText:
        part = bisect_right(starts, place) - 1
        return parts[part][place - starts[part]]

    return View(range(starts[-1]), text)


def _practice(corpus: Corpus) -> list[TrainingText]:
    pairs = [(ask(question.question), f" {question.answers[0]}") for question in corpus.practice]
    groups = [pairs[at : at + QUESTIONS_A_TEXT] for at in range(0, len(pairs), QUESTIONS_A_TEXT)]
    return [TrainingText("practice", prefix([]), tuple(group)) for group in groups]


@dataclass(frozen=True)
class Mixture:
    """Pieces in training order, to be gone through once. tokens: by source, of those taken so far. passes: how often
    they go through the domain's texts.
    """

    pieces: Iterator[Piece]
    tokens: Counter[str]
    passes: float


def mix(
    domain: Sequence[Piece],
    replay: Iterable[Piece],
    tokens: int,
    general_share: float,
    random: Random,
    rehearsed: Sequence[Piece] = (),
    rehearsal_share: float = 0.0,
) -> Mixture:
    """`tokens` tokens, of which `general_share` are replay, to the token: replay replaces, it does not add.

    domain: gone through again and again in new orders. replay: taken as they come.
    rehearsed: as domain; of what is not replay, `rehearsal_share` comes from it, to the token.
    The share holds all along and not only in the end: at each moment the side that is further behind comes next.
    LabError where the domain's share of the budget is less than one pass over it.
    """
    budget = {"replay": round(tokens * general_share)}
    budget["rehearsed"] = round((tokens - budget["replay"]) * rehearsal_share)
    budget["domain"] = tokens - budget["replay"] - budget["rehearsed"]
    one_pass = sum(map(len, domain))
    if budget["domain"] < one_pass:
        needed = one_pass / (1 - general_share) / (1 - rehearsal_share) if general_share < 1 else float("inf")
        raise LabError(
            f"tokens={tokens}, general_share={general_share}: {budget['domain']} tokens are left for the private text, "
            f"and one pass over it takes {one_pass}; give at least tokens={needed:.0f}, or fewer texts"
        )
    streams = {"domain": _passes(domain, random), "replay": iter(replay), "rehearsed": _passes(rehearsed, random)}
    by_source: Counter[str] = Counter()

    def mixed() -> Iterator[Piece]:
        done = dict.fromkeys(streams, 0)
        while behind := [side for side in streams if done[side] < budget[side]]:
            side = min(behind, key=lambda side: done[side] / budget[side])
            piece = cut(next(streams[side]), budget[side] - done[side])
            done[side] += len(piece)
            by_source[piece.source if side == "domain" else f"{side} {piece.source}"] += len(piece)
            yield piece

    return Mixture(mixed(), by_source, budget["domain"] / one_pass)


def _passes(domain: Sequence[Piece], random: Random) -> Iterator[Piece]:
    while True:
        for number in random.sample(range(len(domain)), len(domain)):
            yield domain[number]


def cut(piece: Piece, tokens: int) -> Piece:
    """The first `tokens` tokens of a piece; a piece that fits is returned as it is."""
    if len(piece) <= tokens:
        return piece
    if not piece.branches:
        return Piece(piece.prefix[:tokens], [], piece.source)
    room = tokens - len(piece.prefix)
    # An empty branch keeps the beginning without loss, as it was.
    branches: list[tuple[Tokens, int]] = []
    for branch, prompt in piece.branches:
        kept = branch[: max(0, room)]
        room -= len(kept)
        branches.append((kept, min(prompt, len(kept))))
        if len(kept) < len(branch):
            break
    return Piece(piece.prefix[:tokens], branches, piece.source)


def split(piece: Piece, tokens: int) -> list[Piece]:
    """Pieces of at most `tokens` tokens that hold all of it: long text in stretches, many questions in groups.

    LabError where a single question does not fit.
    """
    if len(piece) <= tokens:
        return [piece]
    if not piece.branches:
        return [Piece(piece.prefix[at : at + tokens], [], piece.source) for at in range(0, len(piece), tokens)]
    made = [Piece(piece.prefix, [], piece.source)]
    for branch in piece.branches:
        if len(piece.prefix) + len(branch[0]) > tokens:
            raise LabError(
                f"row_tokens={tokens}: a question of {len(piece.prefix) + len(branch[0])} tokens does not fit a row; "
                "raise pipeline.adaptation.training.row_tokens"
            )
        if len(made[-1]) + len(branch[0]) > tokens:
            made.append(Piece(piece.prefix, [], piece.source))
        made[-1].branches.append(branch)
    return made
