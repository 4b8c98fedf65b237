"""Passages of a corpus that changes: an index of which only what changed is replaced, or one that nobody updated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from lab.context.base import Context, Ranker, Reader
from lab.context.dense import Dense
from lab.corpus.changes import Earlier, earlier_corpora
from lab.corpus.corpus import Corpus
from lab.workspace import Workspace


@dataclass(frozen=True)
class Updated:
    """A dense search whose index goes from one state of the corpus to the next. A way to search, for `Retrieved`.

    Passages that the state before had are not encoded again, those that are gone are left out: what is found is what an
    index made from nothing finds. Each step is billed under `updating`, the first index under `indexing`.
    """

    retriever: Dense
    earlier: Earlier

    def prepare(self, corpus: Corpus, workspace: Workspace) -> Ranker:
        """The newest index. LabError where the corpus never changed, or a state of it has no passages."""
        corpora = [*earlier_corpora(self.earlier), corpus]
        self.retriever.prepare(corpora[0], workspace)
        for old, new in pairwise(corpora):
            ranker = self.retriever.update(old, new, workspace)
        return ranker


@dataclass(frozen=True)
class Outdated:
    """The oldest corpus on the desk, whatever has changed since."""

    context: Context
    earlier: Earlier

    def prepare(self, corpus: Corpus, workspace: Workspace) -> Reader:
        """Prepare for a corpus that is not the one at hand. LabError where it never changed."""
        return self.context.prepare(earlier_corpora(self.earlier)[0], workspace)
