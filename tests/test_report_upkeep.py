"""The upkeep report against figures worked out by hand, on run folders that are made up here."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from test_report import AXES, make_run

from lab.judge.statistics import interval, paired_difference
from lab.ledger import Entry
from lab.records import Question
from lab.report import load
from lab.report.bill import read_prices
from lab.report.upkeep import conflicts, main, upkeep
from lab.report.wording import points

AXES |= {
    "cpt_continued": ("cpt_continued", "none"),
    "cpt_outdated": ("cpt_outdated", "none"),
    "outdated_weights": ("cpt_outdated", "retrieved"),
    "outdated_index": ("cpt", "outdated"),
    "rag_updated": ("none", "updated"),
    "rag_outdated": ("none", "outdated"),
}


def asked(id: str, status: str, answer: str, stale: tuple[str, ...] = (), part: str = "recall") -> Question:
    gold = () if status == "deleted" else (f"{id}-passage",)
    return Question(id, f"{id}?", (answer,), part, gold, (f"document-{id}",), status=status, stale=stale)


# Two documents of each status; one question of a part in which only what stayed is asked.
EXAM = [
    asked("u1", "unchanged", "Ada"),
    asked("u2", "unchanged", "Bo"),
    asked("u3", "unchanged", "Cy", part="reverse"),
    asked("c1", "changed", "9 gems", ("1 gems",)),
    asked("c2", "changed", "8 gems", ("2 gems", "3 gems")),
    asked("c3", "changed", "7 gems", ("4 gems",)),
    asked("n1", "new", "Di"),
    asked("n2", "new", "Ed"),
    asked("d1", "deleted", "unknown", ("5 gems",)),
    asked("d2", "deleted", "unknown", ("6 gems",)),
]
GENERAL = [Question(f"g{n}", "?", ("yes",), "closed_book", (), (f"s{n}",)) for n in range(4)]
NOW = {question.id: question.answers[0] for question in EXAM}
ONCE = {question.id: question.stale[0] if question.stale else question.answers[0] for question in EXAM}


def run(folder: Path, pipeline: str, answers: dict[str, str], general: int = 4, updates: int = 1, **more) -> Path:
    answers = {**answers, **{f"g{n}": "yes" for n in range(general)}}
    words = [f"corpus.book.version={updates}"]
    digests = {"corpus": f"c{updates}", "exam": f"e{updates}", "general": "g", "model": "m"}
    environment = {"device": "cpu", "threads": 2}
    more = {"overrides": words, "digests": digests, "environment": environment, **more}

    def shown(question: Question):
        return [(passage, 1.0) for passage in question.passages] if AXES[pipeline][1] != "none" else []

    return make_run(folder / pipeline, pipeline, EXAM, GENERAL, answers, rank=shown, **more)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    trained = Entry("training", seconds=80.0, tokens=8000, reused=True)
    run(folder, "closed_book", {"d1": "unknown"}, costs=[Entry("ingest", seconds=1.0)])
    run(folder, "rag", NOW, 3, costs=[Entry("indexing", seconds=6.0, tokens=600), Entry("ingest", seconds=1.0)])
    steps = [Entry("indexing", seconds=5.0, tokens=500), Entry("updating", seconds=2.0, tokens=60)]
    run(folder, "rag_updated", NOW, 3, costs=steps)
    run(folder, "rag_outdated", ONCE, 3, costs=[Entry("indexing", seconds=5.0, tokens=500)])
    run(folder, "cpt", {**NOW, "u1": "no", "c3": "no"}, 2, costs=[trained, Entry("updating", seconds=1.0)])
    continued = {**NOW, "u2": "no", "c2": "3 gems", "c3": "no", "d1": "5 gems", "n2": "no"}
    run(folder, "cpt_continued", continued, 1, costs=[trained, Entry("updating", seconds=20.0, tokens=1500)])
    run(folder, "cpt_outdated", {**ONCE, "c1": "no"}, 2, costs=[trained])
    # The weights win on c2, the passage on c1 and c3.
    run(folder, "outdated_weights", {**NOW, "c2": "2 gems"}, 2, costs=[trained])
    run(folder, "outdated_index", {**ONCE, "c3": "4 gems", "c2": "8 gems", "c1": "unknown"}, 2, costs=[trained])
    return folder


def row(frame: pd.DataFrame, pipeline: str) -> dict:
    (found,) = frame[frame["pipeline"] == pipeline].to_dict("records")
    return found


def test_shares_are_of_facts_by_what_became_of_them(root):
    frame = upkeep([root])
    assert frame["updates"].eq(1).all()
    one = row(frame, "cpt_continued")
    assert (one["way"], one["seeds"]) == ("continued", 1)
    # u3 is of a part that no changed fact is asked in.
    assert (one["unchanged"], one["unchanged_n"]) == (0.5, 2)
    assert (one["changed"], one["changed_n"]) == (pytest.approx(1 / 3), 3)
    assert (one["new"], one["new_n"]) == (0.5, 2)
    assert (one["deleted"], one["deleted_n"]) == (0.5, 2)
    assert (one["stale"], one["stale_n"]) == (pytest.approx(1 / 3), 3)
    assert (one["residual"], one["residual_n"]) == (0.5, 2)
    assert (one["general"], one["general_n"]) == (0.25, 4)
    assert one["general_change"] == pytest.approx(-0.75)
    found = interval([1.0, 0.0, 0.0], ["a", "b", "c"])
    assert (one["changed_low"], one["changed_high"]) == (found.low, found.high)
    for perfect in ("rag", "rag_updated"):
        best = row(frame, perfect)
        assert [best[name] for name in ("unchanged", "changed", "new", "deleted")] == [1] * 4
        assert best["stale"] == best["residual"] == 0
    worst = row(frame, "rag_outdated")
    assert [worst[name] for name in ("unchanged", "changed", "deleted", "stale", "residual")] == [1, 0, 0, 1, 1]


def test_residual_answers_stand_beside_those_of_a_route_that_never_saw_the_fact(root):
    frame = upkeep([root])
    controls = {name: row(frame, name)["residual_control"] for name in frame["pipeline"]}
    assert controls["cpt_continued"] == controls["cpt_outdated"] == "cpt"
    assert controls["rag_updated"] == controls["rag_outdated"] == "rag"
    assert controls["cpt"] == controls["rag"] == "closed_book"
    assert pd.isna(controls["closed_book"])
    one = row(frame, "cpt_continued")
    found = paired_difference([1.0, 0.0], [0.0, 0.0], ["a", "b"])
    assert (one["residual_more"], one["residual_more_low"]) == (0.5, pytest.approx(found.low))
    assert row(frame, "rag_outdated")["residual_more"] == 1.0


def test_an_update_costs_what_is_done_for_it(root):
    frame = upkeep([root])
    found = {name: row(frame, name) for name in frame["pipeline"]}
    costs = {name: (one["update_seconds"], one["update_tokens"]) for name, one in found.items()}
    assert costs["cpt_continued"] == (20.0, 1500)
    assert costs["cpt"] == (81.0, 8000)  # all of it again
    assert costs["rag"] == (7.0, 600)
    assert costs["rag_updated"] == (2.0, 60)
    assert costs["closed_book"] == costs["cpt_outdated"] == costs["rag_outdated"] == (0.0, 0.0)
    assert all(math.isnan(one) for name in ("outdated_weights", "outdated_index") for one in costs[name])
    # Two cores at the default price.
    price = 2 * read_prices("default").cpu_hour / 3600
    assert row(frame, "cpt_continued")["update_cost"] == pytest.approx(20 * price)
    assert row(frame, "rag_updated")["update_cost"] == pytest.approx(2 * price)
    assert set(frame["currency"]) == {"USD"}


def test_several_updates_are_a_row_of_their_own_and_cost_their_mean(root, tmp_path):
    links = [Entry("training", seconds=80.0), *[Entry("updating", seconds=10.0 + n, tokens=100) for n in range(4)]]
    run(root / "four", "cpt_continued", NOW, 1, updates=4, costs=links)
    frame = upkeep([root])
    (late,) = frame[frame["updates"] == 4].to_dict("records")
    assert (late["update_seconds"], late["update_tokens"]) == (11.5, 100)
    assert pd.isna(late["residual_control"])
    assert len(frame[frame["updates"] == 1]) == 9


def test_who_wins_is_told_where_the_passage_was_shown_and_of_these_where_the_weights_know(root):
    frame = conflicts([root])
    assert list(frame["pipeline"]) == ["outdated_index"] * 2 + ["outdated_weights"] * 2
    old_weights = frame[(frame["pipeline"] == "outdated_weights")].set_index("among")
    assert set(old_weights["passages"]) == {"current"}
    assert set(old_weights["weights_learnt"]) == {"old"}
    every = old_weights.loc["all"]
    assert [every[name] for name in ("passage", "weights", "neither", "n")] == pytest.approx([2 / 3, 1 / 3, 0, 3])
    # cpt_outdated by heart: c1 is not known, c2 and c3 are, by their old values.
    known = old_weights.loc["known by the weights"]
    assert [known[name] for name in ("passage", "weights", "neither", "n")] == [0.5, 0.5, 0, 2]
    old_index = frame[(frame["pipeline"] == "outdated_index")].set_index("among")
    assert set(old_index["passages"]) == {"old"}
    every = old_index.loc["all"]
    assert [every[name] for name in ("passage", "weights", "neither", "n")] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 3])
    known = old_index.loc["known by the weights"]  # cpt by heart: c1 and c2
    assert [known[name] for name in ("passage", "weights", "neither", "n")] == [0, 0.5, 0.5, 2]


def test_a_passage_that_was_not_found_takes_no_side(root):
    def other(question: Question):
        return [("elsewhere", 1.0)]

    folder = root / "again"
    make_run(
        folder, "outdated_weights", EXAM, GENERAL, NOW, rank=other, overrides=["corpus.book.version=2"],
        digests={"corpus": "c2", "exam": "e2", "general": "g", "model": "m"},
    )  # fmt: skip
    frame = conflicts([folder])
    assert frame["n"].tolist() == [0]
    assert frame["passage"].isna().all()


def test_it_is_printed_and_written(root, capsys):
    assert main([str(root)]) == 0
    said = capsys.readouterr().out
    assert "After one update" in said
    for words in ("continued", "retrained", "replaced", "never", "stale answers", "known by the weights"):
        assert words in said
    # cpt has u2, c1, c2 and both new ones right, cpt_continued u1, c1 and one new one.
    found = paired_difference([1, 0, 0], [1, 1, 0], ["a", "b", "c"])
    assert f"changed {points(found.estimate, found.low, found.high)}, new -50.0 points" in " ".join(said.split())
    assert "an update takes 0.25 of its seconds and 0.19 of its tokens." in " ".join(said.split())
    assert "After one update, rag_updated against rag, made anew: unchanged +0.0 points (+0.0..+0.0)," in said
    assert pd.read_csv(root / "upkeep.csv")["pipeline"].tolist() == upkeep([root])["pipeline"].tolist()
    assert len(pd.read_csv(root / "conflicts.csv")) == 4
    assert main([str(root), "--prices", "nowhere"]) == 2


def test_runs_whose_corpus_never_changed_are_none_of_it(tmp_path, root, capsys):
    plain = [Question(q.id, q.question, q.answers, q.part, q.passages, q.documents) for q in EXAM]
    make_run(tmp_path / "plain" / "rag", "rag", plain, GENERAL, NOW)
    assert load(tmp_path / "plain" / "rag").answers["stale_given"].isna().all()
    assert main([str(tmp_path / "plain")]) == 2
    assert "experiment=upkeep" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert "not updated" in capsys.readouterr().out


def test_a_run_of_before_there_were_editions_is_read_as_it_is(tmp_path):
    folder = make_run(tmp_path / "rag", "rag", EXAM, GENERAL, NOW)
    told = (folder / "questions.jsonl").read_text().splitlines()
    old = [{k: v for k, v in json.loads(line).items() if k not in ("status", "stale")} for line in told]
    (folder / "questions.jsonl").write_text("\n".join(json.dumps(one) for one in old) + "\n")
    run = load(folder)
    assert set(run.questions["status"]) == {None}
    assert [question.stale for question in run.exam] == [()] * len(EXAM)
