"""The one axis of a pipeline that this room is: how passages for a question are found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from lab.corpus.corpus import Corpus
from lab.records import LabError, Passage, Question, ScoredPassage
from lab.workspace import Workspace


class Reader(Protocol):
    """Finds passages for questions. It reads a question's id, wording and gold ids, never its answers."""

    def passages(self, questions: Sequence[Question]) -> list[list[ScoredPassage]]:
        """One list a question, in order, as the prompt shows it; the better a passage, the higher its score."""
        ...


class Context(Protocol):
    """A way to find passages. Constructors are cheap and check their values; `prepare` does the work."""

    def prepare(self, corpus: Corpus, workspace: Workspace) -> Reader:
        """Read the corpus, never the exam. Heavy results are kept in the workspace's store and reused."""
        ...


class Ranker(Protocol):
    """A search that is ready to be asked."""

    def rank(self, questions: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
        """For each question at most `count` (passage id, score), best first, no id twice, ties in a fixed order.

        Give all questions at once: a batch is an order of magnitude faster than single calls.
        """
        ...


class Retriever(Protocol):
    """A way to search. One file and one YAML make a new one; `Retrieved` does the rest with any of them."""

    def prepare(self, corpus: Corpus, workspace: Workspace) -> Ranker:
        """Index the corpus, or take the index from the store. Billed to the phase `indexing`."""
        ...


def passage_form(passage: Passage) -> str:
    """A passage as models read it. The title names the act and the section, which the text often does not."""
    return f"{passage.title}\n{passage.text}"


def best_first(found: Iterable[tuple[int, float]], count: int) -> list[tuple[int, float]]:
    """The `count` best (place, score). Six digits are above the noise of float32; a tie goes to the earlier place."""
    order = sorted((-round(score, 6), place) for place, score in found)
    return [(place, -negative) for negative, place in order[:count]]


def check_whole(name: str, value: int) -> None:
    """LabError unless the value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise LabError(f"{name}={value!r}: a whole number of at least 1 is needed")


def check_k(k: int) -> None:
    """LabError unless k, the number of passages a question, is a whole number of at least 1."""
    check_whole("context.k", k)


def check_passages(corpus: Corpus) -> None:
    """LabError where the corpus has no passage to find."""
    if not corpus.passages:
        raise LabError(f"corpus {corpus.name}: no passages to look things up in; split its documents first")
