"""What an update does to weights and to an index: only what changed, and from where it stood."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from lab.adapt.lora import LowRankAdaptation
from lab.adapt.training import Training
from lab.adapt.updated import Continued, Outdated
from lab.adapt.weights import WeightTraining
from lab.base import BaseModel
from lab.context import updated as passages
from lab.context.dense import Dense
from lab.context.retrieved import Retrieved
from lab.corpus.changes import changes
from lab.corpus.corpus import Corpus
from lab.exam.leaks import LeakGuard
from lab.ledger import Ledger
from lab.records import LabError
from lab.store import Store
from lab.workspace import Workspace
from lab.worlds.embedded import EarlierEditions, StatuteCorpus, WorldReplay
from lab.worlds.general import GeneralWorld
from lab.worlds.revision import Update
from lab.worlds.statutes import StatuteBook

REPLAY = WorldReplay(GeneralWorld(subjects=10))
BOOK = StatuteBook(acts=6, sections=2, update=Update(amended=0.2, repealed=1, added=1))


def statutes(version: int, **changed) -> StatuteCorpus:
    return StatuteCorpus(dataclasses.replace(BOOK, version=version, **changed), reworded_copies=1)


def training(**changed) -> Training:
    usual = {
        "texts": ["documents", "practice"], "tokens": 6000, "learning_rate": 1e-3, "general_share": 0.3,
        "replay": REPLAY, "device_rows": 2, "row_tokens": 320, "evaluations": 1,
    }  # fmt: skip
    return Training(**{**usual, **changed})


def continued(version: int, first=None, share: float = 0.0, earlier=None, **changed) -> Continued:
    update = training(**{"tokens": None, "passes": 1, **changed})
    return Continued(first or WeightTraining(training()), update, earlier or EarlierEditions(statutes(version)), share)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def base(random_model) -> BaseModel:
    return BaseModel(str(random_model))


def desk(root: Path, seed: int = 0, **more) -> Workspace:
    return Workspace(Store(root), Ledger(), seed, "cpu", **more)


def test_changes_are_the_documents_whose_text_is_new_with_what_is_made_of_them():
    old, new = statutes(0).load(), statutes(1).load()
    found = changes(old, new)
    before = {document.id: document.text for document in old.documents}
    told_anew = {d.id for d in new.documents if before.get(d.id) != d.text}
    assert found.changed is not None
    assert found.unchanged is not None
    assert {d.id for d in found.changed.documents} == told_anew
    assert {copy.id.split("-copy-")[0] for copy in found.changed.reworded} == told_anew
    assert {p.document_id for p in found.changed.passages} == told_anew
    assert all(set(q.documents) & told_anew for q in found.changed.practice)
    assert found.deleted == tuple(before.keys() - {d.id for d in new.documents})
    for part in ("documents", "passages", "practice", "reworded"):
        both = [*getattr(found.changed, part), *getattr(found.unchanged, part)]
        assert Counter(one.id for one in both) == Counter(one.id for one in getattr(new, part))
    assert changes(new, new).changed is None
    same = changes(new, new).unchanged
    assert same is not None
    whole = {part: tuple(getattr(same, part)) for part in ("documents", "passages", "reworded")}
    assert dataclasses.replace(same, **whole) == dataclasses.replace(new, facts=None, partial=True)


def test_practice_that_names_no_document_belongs_to_the_changes_where_it_is_new():
    old = statutes(0).load()
    bare = [dataclasses.replace(q, documents=()) for q in old.practice[:3]]
    document = dataclasses.replace(old.documents[0], id="another")
    new = dataclasses.replace(old, documents=(*old.documents, document), practice=tuple(bare))
    found = changes(dataclasses.replace(old, practice=tuple(bare[:2])), new)
    assert found.changed is not None
    assert [q.id for q in found.changed.practice] == [bare[2].id]


def test_going_on_begins_at_the_kept_weights_and_is_billed_apart(base, root):
    corpus = statutes(1).load()
    workspace = desk(root)
    still = continued(1, learning_rate=1e-30).adapt(base, corpus, workspace)
    first = WeightTraining(training()).adapt(base, statutes(0).load(), desk(root))
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, still.model.state_dict()[name])
    phases = [(row.phase, row.reused) for row in workspace.ledger.rows()]
    assert phases == [("training", False), ("updating", False)]
    workspace = desk(root)
    moved = continued(1).adapt(base, corpus, workspace)
    assert [row.reused for row in workspace.ledger.rows() if row.tokens] == [True, False]
    row = workspace.ledger.rows()[-1]
    # Its first look is at the kept weights, on the documents that changed; and it learns these.
    changed = [d.text for d in changes(statutes(0).load(), corpus).changed.documents]
    bits = sum(bits for bits, _ in first.bits_per_byte(changed)) / sum(size for _, size in first.bits_per_byte(changed))
    assert row.detail["losses"][0]["domain_bits_per_byte"] == pytest.approx(bits, rel=1e-4)
    assert row.detail["losses"][-1]["domain_bits_per_byte"] < bits
    assert moved.digest != first.digest


@pytest.mark.parametrize("variant", ["lora", "dora"])
def test_adapters_go_on_from_adapters(variant, base, root):
    first = LowRankAdaptation(training(), rank=4, variant=variant)
    corpus = statutes(1).load()
    still = continued(1, first, learning_rate=1e-30).adapt(base, corpus, desk(root))
    before = first.adapt(base, statutes(0).load(), desk(root))
    for name, value in before.model.state_dict().items():
        assert torch.allclose(value, still.model.state_dict()[name], atol=1e-7)
    moved = continued(1, first, learning_rate=1e-2).adapt(base, corpus, desk(root))
    assert any(
        not torch.equal(value, moved.model.state_dict()[name]) for name, value in before.model.state_dict().items()
    )


def test_adapters_that_were_merged_cannot_go_on(base, root):
    first = LowRankAdaptation(training(), rank=4, variant="pissa")
    with pytest.raises(LabError, match="variant=pissa"):
        continued(1, first).adapt(base, statutes(1).load(), desk(root))


def test_a_link_trains_on_what_changed_on_replay_and_on_what_it_rehearses(base, root):
    corpus, before = statutes(1).load(), statutes(0).load()
    found = changes(before, corpus)
    seen: list[list[tuple[str, str]]] = []
    workspace = desk(root, refuse_leaks=lambda texts: seen.append(list(texts)))
    continued(1, share=0.4, texts=["documents"], passes=2).adapt(base, corpus, workspace)
    told = {text for source, text in seen[-1] if source == "documents"}
    assert told == {d.text for d in corpus.documents}  # those that changed, and the others rehearsed
    row = workspace.ledger.rows()[-1]
    sources = row.detail["tokens_by_source"]
    assert sum(sources.values()) == row.tokens
    private = sources["documents"] + sources["rehearsed documents"]
    assert sources["rehearsed documents"] == round(0.4 * private)
    assert row.detail["general_share"] == pytest.approx(0.3, abs=1e-3)
    assert row.detail["passes"] == pytest.approx(2, abs=0.01)
    workspace = desk(root, refuse_leaks=lambda texts: seen.append(list(texts)))
    continued(1, texts=["documents"]).adapt(base, corpus, workspace)
    assert "rehearsed documents" not in workspace.ledger.rows()[-1].detail["tokens_by_source"]
    assert {text for source, text in seen[-1] if source == "documents"} == {d.text for d in found.changed.documents}


class Given:
    """Corpora as they are."""

    def __init__(self, *corpora: Corpus) -> None:
        self._corpora = corpora

    def load(self) -> list[Corpus]:
        return list(self._corpora)


def test_a_chain_is_kept_link_by_link_and_depends_on_every_link(base, tmp_path):
    corpora = [statutes(number).load() for number in range(3)]
    adaptation = continued(2, earlier=Given(*corpora[:2]), texts=["documents"])
    whole = adaptation.adapt(base, corpora[2], desk(tmp_path))
    assert len(list((tmp_path / "weights").glob("[0-9a-f]*"))) == 3
    # One update less is a link of the same chain.
    workspace = desk(tmp_path)
    continued(1, earlier=Given(corpora[0]), texts=["documents"]).adapt(base, corpora[1], workspace)
    assert all(row.reused or row.tokens == 0 for row in workspace.ledger.rows())
    workspace = desk(tmp_path)
    assert adaptation.adapt(base, corpora[2], workspace).digest == whole.digest
    # A word in the oldest corpus, in a document that no update touches, makes another chain.
    kept = changes(corpora[0], corpora[1]).unchanged.documents[0].id
    other = [
        dataclasses.replace(
            one,
            passages=(),
            documents=tuple(dataclasses.replace(d, text=d.text + "!") if d.id == kept else d for d in one.documents),
        )
        for one in corpora
    ]
    workspace = desk(tmp_path)
    continued(2, earlier=Given(*other[:2]), texts=["documents"]).adapt(base, other[2], workspace)
    assert [row.reused for row in workspace.ledger.rows()] == [False, False, False]
    assert len(list((tmp_path / "weights").glob("[0-9a-f]*"))) == 6


def test_an_update_that_only_takes_away_trains_on_nothing(base, root):
    old = statutes(0).load()
    fewer = dataclasses.replace(
        old,
        documents=old.documents[1:],
        passages=tuple(p for p in old.passages if p.document_id != old.documents[0].id),
    )
    workspace = desk(root)
    after = continued(1, earlier=Given(old)).adapt(base, fewer, workspace)
    assert after.digest == WeightTraining(training()).adapt(base, old, desk(root)).digest
    assert "updating" not in {row.phase for row in workspace.ledger.rows()}


def test_the_leak_guard_sees_what_an_update_is_trained_on(base, root):
    corpus = statutes(1).load()
    leaked = dataclasses.replace(
        corpus.documents[-1], text=corpus.documents[-1].text + "\n" + BOOK.exam()[0].question + "\n", id="leak"
    )
    corpus = dataclasses.replace(corpus, documents=(*corpus.documents, leaked))
    guard = LeakGuard(BOOK.exam(), allow=False)
    with pytest.raises(LabError, match="leak"):
        continued(1, texts=["documents"], learning_rate=2e-3).adapt(base, corpus, desk(root, refuse_leaks=guard.check))


def test_without_an_update_there_is_nothing_to_go_on_from(base, root):
    for route in (continued(0), Outdated(WeightTraining(training()), EarlierEditions(statutes(0)))):
        with pytest.raises(LabError, match="no earlier corpus"):
            route.adapt(base, statutes(0).load(), desk(root))
    for route in (
        passages.Updated(Dense(), EarlierEditions(statutes(0))),
        passages.Outdated(Retrieved(), EarlierEditions(statutes(0))),
    ):
        with pytest.raises(LabError, match="no earlier corpus"):
            route.prepare(statutes(0).load(), desk(root))
    with pytest.raises(LabError, match="rehearsal_share"):
        continued(1, share=1.0)
    with pytest.raises(LabError, match="only the embedded statute book"):
        EarlierEditions(statutes(0).load())


def test_outdated_weights_are_those_of_the_first_edition(base, root):
    first = WeightTraining(training())
    old = Outdated(first, EarlierEditions(statutes(2))).adapt(base, statutes(2).load(), desk(root))
    assert old.digest == first.adapt(base, statutes(0).load(), desk(root)).digest


def test_an_updated_index_is_the_rebuilt_one_and_encodes_only_what_changed(tmp_path):
    corpora = [statutes(number).load() for number in range(3)]
    questions = [q.question for q in dataclasses.replace(BOOK, version=2).exam()]
    rebuilt = Dense().prepare(corpora[2], desk(tmp_path / "rebuilt"))
    workspace = desk(tmp_path / "updated")
    updated = passages.Updated(Dense(), EarlierEditions(statutes(2))).prepare(corpora[2], workspace)
    for one, other in zip(updated.rank(questions, 5), rebuilt.rank(questions, 5), strict=True):
        assert [id for id, _ in one] == [id for id, _ in other]
        # Encoded in other batches, whose padding moves the sixth digit.
        assert [score for _, score in one] == pytest.approx([score for _, score in other], abs=2e-6)
    rows = workspace.ledger.rows()
    assert [row.phase for row in rows] == ["indexing", "updating", "updating"]
    for (old, new), row in zip(pairwise(corpora), rows[1:], strict=True):
        texts = {(p.title, p.text) for p in old.passages}
        anew = {(p.title, p.text) for p in new.passages} - texts
        assert row.detail["passages_encoded"] == len(anew) < len(new.passages)
        assert 0 < row.tokens < rows[0].tokens


def test_what_an_index_update_cost_does_not_hang_on_who_came_first(tmp_path):
    corpus = statutes(1).load()
    alone, after = desk(tmp_path / "alone"), desk(tmp_path / "after")
    Dense().prepare(corpus, after)  # somebody has encoded the new passages already
    for workspace in (alone, after):
        passages.Updated(Dense(), EarlierEditions(statutes(1))).prepare(corpus, workspace)
    tokens = [workspace.ledger.total("updating").tokens for workspace in (alone, after)]
    assert tokens[0] == tokens[1] > 0
    again = desk(tmp_path / "alone")
    passages.Updated(Dense(), EarlierEditions(statutes(1))).prepare(corpus, again)
    assert again.ledger.total("updating").tokens == tokens[0]


def test_a_stale_index_shows_the_old_passages(tmp_path):
    old, new = statutes(0).load(), statutes(1).load()
    reader = passages.Outdated(Retrieved(k=1), EarlierEditions(statutes(1))).prepare(new, desk(tmp_path))
    asked = [q for q in dataclasses.replace(BOOK, version=1).exam() if q.status == "changed" and q.part == "recall"]
    shown = [found.passage for desk_ in reader.passages(asked) for found in desk_]
    assert all(passage == old.passage(passage.id) for passage in shown)
    right = [passage.id in question.passages for passage, question in zip(shown, asked, strict=True)]
    stale = [question.stale[0] in passage.text for passage, question in zip(shown, asked, strict=True)]
    assert right == stale
    assert any(right)
