"""The report against figures worked out by hand, on run folders that are made up here."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest

from lab.judge.grading import grade
from lab.judge.statistics import interval, paired_difference
from lab.ledger import Entry
from lab.records import Answer, LabError, Question, write_jsonl
from lab.report import compare, find_runs, gather, latest, load, metrics, show
from lab.report.__main__ import main
from lab.report.compare import routes_of
from lab.report.scores import ratio_interval
from lab.report.verdict import verdict
from lab.report.warnings import warnings
from lab.report.wording import count, listed, seconds, size, span

matplotlib.use("Agg")

CSV_HEADER = (
    "pipeline,seed,suite,part,practised,metric,n,value,low,high,"
    "reference,difference,difference_low,difference_high,p_holm"
)
AXES = {
    "closed_book": ("none", "none"),
    "random": ("none", "random"),
    "rag": ("none", "retrieved"),
    "gold": ("none", "gold"),
    "cpt": ("cpt", "none"),
    "cpt_rag": ("cpt", "retrieved"),
    "cpt_gold": ("cpt", "gold"),
    "lora": ("lora", "none"),
    "lora_rag": ("lora", "retrieved"),
    "lora_gold": ("lora", "gold"),
}
# Two documents, four questions: one practised act, one not, one question that the corpus does not answer.
SMALL_EXAM = [
    Question("q1", "Who pays?", ("Ada",), "recall", ("a-1",), ("a",), True),
    Question("q2", "How much?", ("12 crowns",), "recall", ("a-2",), ("a",), True),
    Question("q3", "Where to appeal?", ("harbour court",), "reverse", ("b-1",), ("b",), False),
    Question("q4", "What colour?", ("unknown",), "absent", (), ("b",), False),
]
SMALL_GENERAL = [
    Question("g1", "Capital?", ("Oro",), "closed_book", (), ("Oro",)),
    Question("g2", "River?", ("Lim",), "closed_book", (), ("Lim",)),
]
Ranker = Callable[[Question], Sequence[tuple[str, float]]]


def nothing(question: Question) -> Sequence[tuple[str, float]]:
    """A closed-book reader."""
    return ()


def make_run(
    folder: Path,
    pipeline: str,
    exam: Sequence[Question],
    general: Sequence[Question],
    answers: dict[str, str],
    rank: Ranker = nothing,
    texts: Sequence[tuple[float, int]] = ((8.0, 4), (2.0, 1)),
    costs: Sequence[Entry] = (),
    seed: int = 0,
    **manifest: Any,
) -> Path:
    """Write the folder of a scripted student: `answers` by question id, "wrong" where it names none."""
    folder.mkdir(parents=True)
    adaptation, context = AXES[pipeline]
    asked = [("exam", question) for question in exam] + [("general", question) for question in general]
    rows = []
    for suite, question in asked:
        text = answers.get(question.id, "wrong")
        passages = tuple(rank(question)) if suite == "exam" else ()
        answer = Answer(question.id, text, passages, "d", 100, 3, 0.5, 0.25, -2.0)
        rows.append(
            {"suite": suite, **dataclasses.asdict(answer), "grade": dataclasses.asdict(grade(question, answer))}
        )
    write_jsonl(folder / "questions.jsonl", [{"suite": suite, **dataclasses.asdict(q)} for suite, q in asked])
    write_jsonl(folder / "answers.jsonl", rows)
    write_jsonl(
        folder / "texts.jsonl", [{"text_id": f"t{n}", "bits": b, "bytes": size} for n, (b, size) in enumerate(texts)]
    )
    write_jsonl(folder / "costs.jsonl", [*costs, Entry("answering", seconds=9.0, tokens=9), Entry("general")])
    digests = {"corpus": "c", "exam": "e", "general": "g", "model": "m"}
    known = {"pipeline": pipeline, "adaptation": adaptation, "context": context, "seed": seed, "reference": "rag"}
    known |= {"settings": {}}
    known |= {"arm": None, "overrides": [], "parameters": 1_000, "facts": 100}
    known |= {"exam_size": len(exam), "digests": digests, "environment": {}, "leaked": [], "finished": True, **manifest}
    (folder / "manifest.json").write_text(json.dumps(known))
    return folder


def small_run(folder: Path, pipeline: str, right: Sequence[str], **more: Any) -> Path:
    """A run of the small exam with these question ids right."""
    given = {q.id: q.answers[0] for q in [*SMALL_EXAM, *SMALL_GENERAL] if q.id in right}
    return make_run(folder, pipeline, SMALL_EXAM, SMALL_GENERAL, given, **more)


def large_exam(documents: int = 40, each: int = 15) -> list[Question]:
    """Questions of three parts in turn on many documents."""
    return [
        Question(
            f"e{d}-{n}", "?", ("yes",), ("recall", "reverse", "two_hop")[n % 3], (f"p{d}-{n}",), (f"d{d}",), d % 2 == 0
        )
        for d in range(documents)
        for n in range(each)
    ]


GENERAL = [Question(f"g{n}", "?", ("yes",), "closed_book", (), (f"s{n}",)) for n in range(60)]


def large_run(
    folder: Path, pipeline: str, chance: float, random_seed: int = 0, general: float = 0.9, **more: Any
) -> Path:
    """A run of the large exam by a student that is right by chance, with a ranking where its context has one."""
    random = np.random.default_rng(random_seed)
    exam = more.pop("exam", large_exam())
    given = {q.id: "yes" for q in exam if random.random() < chance}
    given |= {q.id: "yes" for q in GENERAL if random.random() < general}
    found = AXES[pipeline][1]

    def rank(question: Question) -> Sequence[tuple[str, float]]:
        place = {"gold": 0, "retrieved": int(random.integers(5)), "random": 9, "none": 9}[found]
        order = [f"x{n}" for n in range(5)]
        order[place : place + 1] = [question.passages[0]] if place < 5 else []
        return () if found == "none" else [(name, 1.0) for name in order]

    return make_run(folder, pipeline, exam, GENERAL, given, rank, **more)


def value(frame: pd.DataFrame, pipeline: str, suite: str, part: str, metric: str, practised: str = "all") -> pd.Series:
    """The one row of a figure."""
    keys = {"pipeline": pipeline, "suite": suite, "part": part, "metric": metric, "practised": practised}
    rows = frame[np.logical_and.reduce([frame[name] == key for name, key in keys.items()])]
    assert len(rows) == 1, keys
    return rows.iloc[0]


def test_every_figure_of_a_small_exam(tmp_path: Path) -> None:
    ranking = {"q1": ["a-1", "b-1"], "q2": ["b-1", "a-2"], "q3": ["a-1", "a-2", "x", "b-1"], "q4": ["a-1"]}
    costs = [Entry("indexing", 2.0, 2.0, 50, 700, reused=True), Entry("training", 4.0, 4.0, 30, 300)]
    rag = small_run(
        tmp_path / "rag",
        "rag",
        ["q1", "q2", "q4", "g1"],
        rank=lambda question: [(name, 1.0) for name in ranking[question.id]],
        costs=costs,
    )
    closed = small_run(tmp_path / "closed", "closed_book", ["q1", "g1", "g2"])
    frame = compare([load(rag), load(closed)])

    assert value(frame, "rag", "exam", "all", "exact_match")["value"] == 0.75
    assert value(frame, "rag", "exam", "recall", "exact_match")["value"] == 1.0
    assert value(frame, "rag", "exam", "reverse", "exact_match")["value"] == 0.0
    assert value(frame, "rag", "exam", "all", "exact_match", "yes")["value"] == 1.0
    assert value(frame, "rag", "exam", "all", "exact_match", "no")["value"] == 0.5
    assert value(frame, "rag", "exam", "all", "log_probability")["value"] == -2.0
    # A share of the questions that it can happen to: one has no answer in the corpus, three have.
    right = value(frame, "rag", "exam", "all", "unknown_right")
    assert (right["value"], right["n"]) == (1.0, 1)
    assert value(frame, "rag", "exam", "all", "unknown_wrong")["n"] == 3
    assert value(frame, "rag", "exam", "all", "wrong")["value"] == 0.25

    # q1 at rank 1, q2 at 2, q3 at 4; q4 has no gold passage.
    for metric, by_hand in {
        "recall@1": 1 / 3,
        "recall@3": 2 / 3,
        "recall@5": 1.0,
        "mrr": (1 + 1 / 2 + 1 / 4) / 3,
        "ndcg@10": (1 + 1 / math.log2(3) + 1 / math.log2(5)) / 3,
    }.items():
        assert value(frame, "rag", "retrieval", "all", metric)["value"] == pytest.approx(by_hand)
    assert value(frame, "rag", "retrieval", "all", "mrr")["n"] == 3
    assert frame[(frame["pipeline"] == "closed_book") & (frame["suite"] == "retrieval")].empty

    # 10 bits over 5 bytes; the mean of the two texts' own ratios would be the same here, so see the test below.
    assert value(frame, "rag", "general", "text", "bits_per_byte")["value"] == 2.0
    cost = {
        row["metric"]: row["value"] for _, row in frame[frame["suite"] == "cost"].iterrows() if row["pipeline"] == "rag"
    }
    assert cost == {
        "prepare_seconds": 6.0,
        "prepare_tokens": 80.0,
        "bytes_on_disk": 1000.0,
        "seconds_per_question": 0.75,
        "retrieval_seconds_per_question": 0.25,
        "prompt_tokens_per_question": 100.0,
        "answer_tokens_per_question": 3.0,
    }

    row = value(frame, "closed_book", "exam", "all", "score")
    by_hand = paired_difference([1, 0, 0, 0], [1, 1, 0, 1], ["a", "a", "b", "b"])
    assert (row["reference"], row["difference"]) == ("rag", -0.5)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((by_hand.low, by_hand.high))
    assert row["p_holm"] == pytest.approx(by_hand.p)
    assert value(frame, "closed_book", "general", "all", "score")["difference"] == 0.5
    assert frame.loc[frame["pipeline"] == "rag", "difference"].isna().all()
    assert set(frame.loc[frame["difference"].notna(), "metric"]) == {"score"}


def test_bits_per_byte_is_a_ratio_of_sums_with_an_interval_that_holds() -> None:
    found = ratio_interval([8.0, 3.0], [4.0, 1.0], ["t1", "t2"])
    assert found.estimate == 11 / 5
    random = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        sizes = random.integers(50, 500, 60)
        bits = sizes * random.normal(2.0, 0.3, 60)
        found = ratio_interval(bits, sizes, [str(n) for n in range(60)])
        held += found.low <= 2.0 <= found.high
    assert 0.91 <= held / 300 <= 0.99


def test_holm_is_over_the_routes_of_one_part(tmp_path: Path) -> None:
    folders = [
        large_run(tmp_path / name, name, chance, number)
        for number, (name, chance) in enumerate({"closed_book": 0.7, "random": 0.74, "rag": 0.8, "cpt": 0.79}.items())
    ]
    runs = [load(folder) for folder in folders]
    frame = compare(runs)
    by_name = {run.pipeline: run.answers[run.answers["suite"] == "exam"] for run in runs}
    chosen = {name: rows[rows["part"] == "reverse"] for name, rows in by_name.items()}
    p = {
        name: paired_difference(rows["exact_match"], chosen["rag"]["exact_match"], rows["cluster"].tolist()).p
        for name, rows in chosen.items()
        if name != "rag"
    }
    smallest = min(p, key=lambda name: p[name])
    assert value(frame, smallest, "exam", "reverse", "score")["p_holm"] == pytest.approx(min(1.0, 3 * p[smallest]))


def test_the_csv_has_exactly_the_named_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_run(tmp_path / "0", "rag", ["q1"])
    show([tmp_path])
    lines = (tmp_path / "comparison.csv").read_text().splitlines()
    assert lines[0] == CSV_HEADER
    assert str(tmp_path / "comparison.csv") in capsys.readouterr().out.replace("\n", "")


def test_seeds_are_pooled_as_a_level(tmp_path: Path) -> None:
    folders = [large_run(tmp_path / f"cpt{seed}", "cpt", 0.6, seed, seed=seed) for seed in range(3)]
    rag = large_run(tmp_path / "rag", "rag", 0.5, 9)
    runs = [load(folder) for folder in [*folders, rag]]
    frame = compare(runs)
    rows = frame[(frame["pipeline"] == "cpt") & (frame["metric"] == "score") & (frame["suite"] == "exam")]
    rows = rows[(rows["part"] == "all") & (rows["practised"] == "all")].set_index("seed")
    assert list(rows.index) == ["all", "0", "1", "2"]
    scores = np.stack([r.answers.loc[r.answers["suite"] == "exam", "exact_match"] for r in runs[:3]])
    clusters = [f"document {document}" for question in large_exam() for document in question.documents]
    by_hand = interval(scores, clusters)
    assert rows.loc["all", ["value", "low", "high"]].tolist() == pytest.approx(
        [by_hand.estimate, by_hand.low, by_hand.high]
    )
    # One seed of the reference stands against all three.
    assert rows["difference"].notna().tolist() == [True, False, False, False]


def test_no_winner_is_named_when_the_interval_covers_zero(tmp_path: Path) -> None:
    for number, (name, chance) in enumerate({"closed_book": 0.02, "rag": 0.80, "cpt_rag": 0.81, "gold": 0.97}.items()):
        large_run(tmp_path / name, name, chance, number)
    runs, _ = gather([tmp_path])
    routes = routes_of(runs)
    first = verdict(compare(runs), routes, "rag")[0]
    assert first.startswith("No winner:")
    assert "within chance" in first
    assert " leads" not in first


def test_a_clear_winner_is_named_and_gold_is_never_one(tmp_path: Path) -> None:
    for number, (name, chance) in enumerate({"closed_book": 0.02, "rag": 0.7, "cpt_rag": 0.85, "gold": 0.97}.items()):
        large_run(tmp_path / name, name, chance, number)
    runs, _ = gather([tmp_path])
    frame, routes = compare(runs), routes_of(runs)
    first, second, third, front = verdict(frame, routes, "rag")
    assert re.match(r"cpt_rag \(.*\) leads, beyond chance", first)
    share = float(re.search(r"rag closes ([\d.]+) %", second)[1])  # type: ignore[index]
    score = {name: value(frame, name, "exam", "all", "exact_match")["value"] for name in ("closed_book", "rag", "gold")}
    by_hand = (score["rag"] - score["closed_book"]) / (score["gold"] - score["closed_book"])
    assert share == pytest.approx(100 * by_hand, abs=0.06)
    assert "behind gold on" in second
    assert "against closed_book" in third
    assert front.startswith("Pareto front by point estimates (gained, lost, in points): ")
    assert "gold" not in front
    assert warnings(routes, "rag") == []


def test_one_document_allows_no_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exam = large_exam(documents=1)
    for name, chance in {"closed_book": 0.0, "rag": 0.9, "cpt": 0.2, "gold": 1.0}.items():
        large_run(tmp_path / name, name, chance, exam=exam, texts=[(5.0, 2)])
    show([tmp_path])
    shown = capsys.readouterr().out
    assert "No winner" in shown
    assert "nan" not in shown
    assert "inf" not in shown.replace("information", "")


def test_metrics_are_plain_and_free_of_nan(tmp_path: Path) -> None:
    folder = large_run(tmp_path / "rag", "rag", 0.9, exam=large_exam(documents=1), texts=[(5.0, 2)])
    found = json.loads(json.dumps(metrics(load(folder)), allow_nan=False))
    assert found["exam"]["all"]["exact_match"] == {**found["exam"]["all"]["exact_match"], "n": 15, "low": 0, "high": 1}
    assert found["general"]["text"]["bits_per_byte"] == {"value": 2.5, "low": None, "high": None, "n": 1}
    assert found["retrieval"]["recall"]["recall@3"]["n"] == 5
    assert found["cost"]["all"]["prepare_seconds"]["low"] is None


def test_controls_that_disagree_with_expectation_are_named(tmp_path: Path) -> None:
    for name, chance in {"closed_book": 0.3, "random": 0.3, "rag": 0.5, "gold": 0.6}.items():
        large_run(tmp_path / name, name, chance)
    runs, _ = gather([tmp_path])
    said = "\n".join(warnings(routes_of(runs), "rag"))
    assert "the base may already know this corpus, or the exam leaks" in said
    assert "random gets" in said
    assert "gold gets" in said


def test_a_base_that_knows_little_of_the_general_suite_is_named(tmp_path: Path) -> None:
    for name, general in {"knows": 0.9, "guesses": 0.1}.items():
        runs = [load(large_run(tmp_path / name, "closed_book", 0.0, general=general))]
        told = [line for line in warnings(routes_of(runs), "closed_book") if "little to forget" in line]
        assert len(told) == (name == "guesses")


def test_abstaining_closed_book_is_no_leak(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "c", "closed_book", SMALL_EXAM, SMALL_GENERAL, {q.id: "unknown" for q in SMALL_EXAM})
    runs = [load(folder)]
    assert not [line for line in warnings(routes_of(runs), "rag") if "leaks" in line]


def test_a_missing_reference_leaves_differences_empty_and_is_said(tmp_path: Path) -> None:
    runs = [load(small_run(tmp_path / name, name, ["q1"])) for name in ("closed_book", "gold")]
    frame = compare(runs)
    assert frame["difference"].isna().all()
    assert frame["reference"].isna().all()
    assert any("rag is not among the runs" in line for line in warnings(routes_of(runs), "rag"))
    assert len(verdict(frame, routes_of(runs), "rag")) == 3


@pytest.mark.parametrize("name", ["corpus", "exam", "general"])
def test_runs_over_other_texts_are_not_compared(tmp_path: Path, name: str) -> None:
    digests = {"corpus": "c", "exam": "e", "general": "g", "model": "m", name: "another"}
    one = load(small_run(tmp_path / "one", "rag", []))
    two = load(small_run(tmp_path / "two", "gold", [], digests=digests))
    with pytest.raises(LabError, match=f"{re.escape(str(one.folder))} and .*two.* {name};"):
        compare([one, two])


def test_runs_over_a_part_of_the_exam_are_not_compared(tmp_path: Path) -> None:
    one = load(small_run(tmp_path / "one", "rag", []))
    two = load(make_run(tmp_path / "two", "gold", SMALL_EXAM[:3], SMALL_GENERAL, {}))
    with pytest.raises(LabError, match="exam_size"):
        compare([one, two])


def test_an_unfinished_run_is_refused_and_left_out_beside_finished_ones(tmp_path: Path) -> None:
    broken = small_run(tmp_path / "runs" / "1", "gold", [], finished=False)
    with pytest.raises(LabError, match="did not finish"):
        load(broken)
    with pytest.raises(LabError, match="no finished run"):
        gather([tmp_path])
    small_run(tmp_path / "runs" / "0", "rag", [])
    runs, notes = gather([tmp_path])
    assert [run.pipeline for run in runs] == ["rag"]
    assert notes == [f"{broken} is left out: the run did not finish."]


def test_the_newest_of_a_pipeline_and_seed_counts(tmp_path: Path) -> None:
    old, new = small_run(tmp_path / "b", "rag", []), small_run(tmp_path / "a", "rag", ["q1"])
    other = small_run(tmp_path / "c", "gold", [], digests={"corpus": "x", "exam": "e", "general": "g", "model": "m"})
    for age, folder in enumerate([new, other, old]):
        os.utime(folder / "manifest.json", (10**9 - 100 * age, 10**9 - 100 * age))
    runs, notes = gather([old, new])
    assert [run.folder for run in runs] == [new]
    assert notes == [f"{old} is left out: {new} is newer, with the same pipeline and seed."]
    assert [run.folder for run in latest(tmp_path)] == [new]
    with pytest.raises(LabError, match="both rag, seed 0"):
        compare([load(old), load(new)])


def test_one_pipeline_with_several_settings_is_told_apart(tmp_path: Path) -> None:
    for k in (1, 3):
        small_run(tmp_path / f"rag-{k}", "rag", [], settings={"context": {"k": k, "embedder": None}})
    small_run(tmp_path / "gold", "gold", [], settings={"context": {}})
    runs, notes = gather([tmp_path])
    assert {run.pipeline for run in runs} == {"rag context.k=1", "rag context.k=3", "gold"}
    assert notes == []


def test_one_pipeline_in_two_contexts_is_told_apart_by_them_and_by_what_differs_within(tmp_path: Path) -> None:
    for name, context, k in (("a", "retrieved", 3), ("b", "bm25", 3), ("c", "bm25", 5)):
        retriever = {"index": "Flat"} if context == "retrieved" else {"k1": 1.5}
        settings = {"context": {"k": k, "retriever": retriever}}
        small_run(tmp_path / name, "rag", ["q1"], context=context, settings=settings)
    runs, notes = gather([tmp_path])
    assert not notes
    assert {run.pipeline for run in runs} == {
        "rag context=retrieved", "rag context=bm25 context.k=3", "rag context=bm25 context.k=5"
    }  # fmt: skip


def test_runs_are_found_below_a_multirun(tmp_path: Path) -> None:
    folders = [small_run(tmp_path / "multirun" / str(n), name, []) for n, name in enumerate(("rag", "gold"))]
    assert find_runs([tmp_path, folders[0]]) == folders
    with pytest.raises(LabError, match="no such folder"):
        find_runs([tmp_path / "nowhere"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LabError, match="no run in"):
        find_runs([empty])


@pytest.mark.parametrize("name", ["questions", "answers", "texts", "costs"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = small_run(tmp_path / "run", "rag", [])
    (folder / f"{name}.jsonl").unlink()
    with pytest.raises(LabError, match=rf"run: {name}\.jsonl is missing; run it again"):
        load(folder)


def test_an_answer_too_few_is_named(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run", "rag", [])
    lines = (folder / "answers.jsonl").read_text().splitlines(keepends=True)
    (folder / "answers.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(LabError, match="5 answers do not fit 6 questions"):
        load(folder)


def test_a_log_probability_that_is_no_number_is_named(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run", "rag", [])
    text = (folder / "answers.jsonl").read_text()
    (folder / "answers.jsonl").write_text(text.replace("-2.0", "NaN", 1))
    with pytest.raises(LabError, match="line 1: log_probability is not finite"):
        load(folder)


def test_a_users_own_exam_without_parts_practice_or_general_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exam = [Question(f"q{n}", "?", ("yes",)) for n in range(20)]
    for name, right in {"closed_book": 0, "rag": 15, "gold": 19}.items():
        make_run(tmp_path / name, name, exam, [], {f"q{n}": "yes" for n in range(right)}, texts=[])
    show([tmp_path])
    shown = capsys.readouterr().out
    assert "rag (75.0 %" in shown
    assert "a change is not known" in shown
    assert "the ceiling is +20.0 points" in shown


def test_markup_in_names_and_answers_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exam = [dataclasses.replace(question, part="[bold]") for question in SMALL_EXAM]
    answers = {"q1": "[/red]<script>alert(1)</script>", "q2": "[/]"}
    for name in ("rag", "gold"):
        make_run(tmp_path / name, name, exam, SMALL_GENERAL, answers, lambda question: [("[/blue]", 1.0)])
    assert main([str(tmp_path)]) == 0
    assert "[bold]" in capsys.readouterr().out


def test_the_table_fits_132_columns_and_is_plain_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = ("recall", "reworded", "reverse", "two_hop", "absent")
    exam = [dataclasses.replace(q, part=parts[n % 5]) for n, q in enumerate(large_exam())]
    routes = {"closed_book": 0.02, "random": 0.05, "rag": 0.8, "gold": 0.97, "cpt_rag": 0.85}
    for number, (name, chance) in enumerate(routes.items()):
        costs = [Entry("indexing", 1234.5, tokens=1_234_567, bytes=123_456_789, reused=True)]
        large_run(tmp_path / name, name, chance, number, exam=exam, costs=costs)
    show([tmp_path])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert max(len(line) for line in shown.splitlines() if not line.startswith("Written")) <= 132
    for word in ("closed_book", "two_hop", "1234 r", "1.23M r", "123 MB", "recall@3", "Smallest difference"):
        assert word in shown


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nowhere" in error
    run = small_run(tmp_path / "run", "rag", [])
    assert main([str(run), "--csv", str(tmp_path / "no" / "folder.csv")]) == 2


def test_the_report_opens_without_torch() -> None:
    code = "import lab.report, lab.report.__main__, lab.report.plots, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_figures_are_worded_for_readers() -> None:
    assert [seconds(x) for x in (0, 0.0123, 3.44, 1240.4)] == ["0", "0.012", "3.4", "1240"]
    assert [count(x) for x in (310.4, 12345, 999_501, 1_234_567)] == ["310", "12.3k", "1M", "1.23M"]
    assert [size(x) for x in (512, 186_765, 999_900, 1_400_000)] == ["512 B", "187 kB", "1 MB", "1.4 MB"]
    assert span(0.9, 0.954) == "90..95"
    assert span(-math.inf, math.inf) == "no interval"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_a_prompt_with_the_best_passage_last_is_ranked_by_scores(tmp_path: Path) -> None:
    def first(question: Question) -> Sequence[tuple[str, float]]:
        return [(question.passages[0] if question.passages else "y", 0.9), ("x", 0.5)]

    one = small_run(tmp_path / "first", "rag", [], rank=first)
    two = small_run(tmp_path / "last", "rag", [], rank=lambda question: first(question)[::-1])
    assert load(one).retrieval["recall@1"].tolist() == [1.0, 1.0, 1.0]
    assert load(two).retrieval.equals(load(one).retrieval)
