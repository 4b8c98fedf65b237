"""Interference: adapted weights against the base in the same context, and the table of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from test_report import SMALL_EXAM, make_run, small_run

from lab.judge.statistics import holm, paired_difference
from lab.records import Question
from lab.report import gather, interference, load, routes_of, show

GENERAL = [
    Question("g1", "Capital?", ("Oro",), "closed_book", (), ("Oro",)),
    Question("r1", "What?", ("red",), "reading", (), ("x1",), given=("It is red.",)),
    Question("r2", "What?", ("blue",), "reading", (), ("x2",), given=("It is blue.",)),
    Question("a1", "What?", ("unknown",), "absent", (), ("x3",), given=("It is blue.",)),
]


def run(root: Path, name: str, right: str, abstained: str = "", seed: int = 0, **more: Any) -> None:
    """A run with these question ids right, and these answered by "unknown"."""
    answers = {q.id: q.answers[0] for q in [*SMALL_EXAM, *GENERAL] if q.id in right.split()}
    answers |= dict.fromkeys(abstained.split(), "unknown")
    make_run(root / f"{name}-{seed}", name, SMALL_EXAM, GENERAL, answers, seed=seed, **more)


def test_every_route_is_held_against_the_base_in_its_own_context(tmp_path: Path) -> None:
    run(tmp_path, "closed_book", "q1 q2 g1 r1 r2 a1")
    run(tmp_path, "rag", "q1 q2 q4")
    run(tmp_path, "gold", "q1 q2 q3 q4")
    run(tmp_path, "lora_gold", "q1", "q2 q3")
    run(tmp_path, "cpt_rag", "q1 q2 q3")
    run(tmp_path, "cpt", "r1", "r2")
    run(tmp_path, "lora", "r1 r2 a1", "g1")
    found = interference(routes_of(gather([tmp_path])[0]))
    assert list(found.columns) == [
        *("pipeline", "seed", "against", "suite", "part", "metric"),
        *("n", "before", "after", "change", "low", "high", "p_holm"),
    ]
    assert dict(zip(found["pipeline"], found["against"], strict=True)) == {
        "lora_gold": "gold", "cpt_rag": "rag", "lora": "closed_book", "cpt": "closed_book"
    }  # fmt: skip
    rows = found.set_index(["pipeline", "suite", "part", "metric"])[["n", "before", "after", "change"]]
    # Of the exam q4 alone has no answer in the corpus; the parts are recall (q1, q2), reverse (q3) and absent (q4).
    by_hand = {
        ("lora_gold", "exam", "all", "score"): (4, 1.0, 0.25, -0.75),
        ("lora_gold", "exam", "recall", "score"): (2, 1.0, 0.5, -0.5),
        ("lora_gold", "exam", "all", "unknown_right"): (1, 1.0, 0.0, -1.0),
        ("lora_gold", "exam", "all", "unknown_wrong"): (3, 0.0, 2 / 3, 2 / 3),
        ("cpt_rag", "exam", "all", "score"): (4, 0.75, 0.75, 0.0),
        ("cpt_rag", "exam", "reverse", "score"): (1, 0.0, 1.0, 1.0),
        ("cpt_rag", "exam", "all", "unknown_right"): (1, 1.0, 0.0, -1.0),
        # What was known without a text (g1) is forgetting's business.
        ("cpt", "general", "given", "score"): (3, 1.0, 1 / 3, -2 / 3),
        ("cpt", "general", "reading", "score"): (2, 1.0, 0.5, -0.5),
        ("cpt", "general", "given", "unknown_right"): (1, 1.0, 0.0, -1.0),
        ("cpt", "general", "given", "unknown_wrong"): (2, 0.0, 0.5, 0.5),
        ("lora", "general", "given", "score"): (3, 1.0, 1.0, 0.0),
        ("lora", "general", "given", "unknown_wrong"): (2, 0.0, 0.0, 0.0),
    }
    for key, figures in by_hand.items():
        assert tuple(rows.loc[key]) == pytest.approx(figures), key
    assert set(found[found["suite"] == "general"]["part"]) == {"given", "reading", "absent"}
    assert set(found[found["metric"] != "score"]["part"]) == {"all", "given"}
    assert set(zip(found["pipeline"], found["suite"], strict=True)) == {
        ("lora_gold", "exam"), ("cpt_rag", "exam"), ("cpt", "general"), ("lora", "general")
    }  # fmt: skip


def test_intervals_are_paired_and_holm_is_within_one_row(tmp_path: Path) -> None:
    run(tmp_path, "gold", "q1 q2 q3 q4")
    run(tmp_path, "lora_gold", "q1 q3 q4")
    run(tmp_path, "cpt_gold", "q1 q4")
    found = interference(routes_of(gather([tmp_path])[0])).set_index(["pipeline", "part", "metric"])
    clusters = ["a", "a", "b", "b"]
    one = paired_difference([1, 0, 1, 1], [1, 1, 1, 1], clusters)
    two = paired_difference([1, 0, 0, 1], [1, 1, 1, 1], clusters)
    row = found.loc[("lora_gold", "all", "score")]
    assert (row["low"], row["high"]) == pytest.approx((one.low, one.high))
    assert row["p_holm"] == pytest.approx(holm([one.p, two.p])[0])


def test_seeds_are_paired_with_their_own(tmp_path: Path) -> None:
    for seed, before, after in ((0, "q1 q2", "q1"), (1, "q3", "q3 q4"), (2, "q1 q2 q3 q4", "")):
        if seed < 2:
            run(tmp_path, "rag", before, seed=seed)
        run(tmp_path, "lora_rag", after, seed=seed)
    found = interference(routes_of(gather([tmp_path])[0])).set_index(["part", "metric"])
    row = found.loc[("all", "score")]
    assert (row["seed"], row["before"], row["after"]) == ("all", 3 / 8, 3 / 8)  # of seeds 0 and 1


def test_another_k_is_another_book(tmp_path: Path) -> None:
    for k in (1, 3):
        run(tmp_path / str(k), "rag", "q1", settings={"adaptation": {}, "context": {"k": k}})
    run(tmp_path / "3", "cpt_rag", "q1 q2", settings={"adaptation": {"rank": 8}, "context": {"k": 3}})
    run(tmp_path / "5", "lora_rag", "q1 q2", settings={"adaptation": {"rank": 8}, "context": {"k": 5}})
    found = interference(routes_of(gather([tmp_path])[0]))
    assert set(zip(found["pipeline"], found["against"], strict=True)) == {("cpt_rag", "rag context.k=3")}


def test_without_an_adapted_route_or_a_text_to_read_there_is_nothing(tmp_path: Path, capsys: Any) -> None:
    run(tmp_path / "1", "closed_book", "")
    run(tmp_path / "1", "rag", "")
    assert interference(routes_of(gather([tmp_path / "1"])[0])).empty
    (tmp_path / "1" / "interference.csv").write_text("old")
    show([tmp_path / "1"])
    assert "Reading and abstaining" not in capsys.readouterr().out
    assert not (tmp_path / "1" / "interference.csv").exists()
    made = [load(small_run(tmp_path / "2" / name, name, [])) for name in ("closed_book", "cpt")]
    assert interference(routes_of(made)).empty  # its general questions bring no text


@pytest.mark.filterwarnings("error")
def test_the_table_says_what_changed_and_fits(tmp_path: Path, capsys: Any) -> None:
    run(tmp_path, "closed_book", "q1 q2 g1 r1 r2 a1")
    run(tmp_path, "gold", "q1 q2 q3 q4")
    run(tmp_path, "lora_gold", "q1", "q2 q3")
    run(tmp_path, "cpt", "r1", "r2")
    show([tmp_path])
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines() if not line.startswith("Written")) <= 132
    table = shown[shown.index("Reading and abstaining") :].splitlines()
    gold = next(line for line in table if line.startswith(" lora_gold"))
    assert gold.split()[:4] == ["lora_gold", "gold", "exam", "-75.0"]
    cpt = next(line for line in table if line.startswith(" cpt"))
    assert "general questions that bring their text" in cpt
    assert "-66.7" in cpt
    assert (tmp_path / "interference.csv").read_text().startswith("pipeline,seed,against,suite,part,metric,n,before")


def test_a_route_whose_exam_has_no_unanswerable_question_has_a_dash(tmp_path: Path, capsys: Any) -> None:
    exam = [dataclasses.replace(q, answers=("yes",)) for q in SMALL_EXAM]
    for name in ("gold", "lora_gold"):
        make_run(tmp_path / name, name, exam, [], {"q1": "yes"}, texts=[])
    show([tmp_path])
    line = next(
        line for line in capsys.readouterr().out.split("Reading and abstaining")[1].splitlines() if "lora_gold" in line
    )
    assert line.split()[3:] == ["+0.0", "+0..+0", "-", "+0.0", "+0..+0"]
