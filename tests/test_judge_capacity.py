"""Bits of fact knowledge against hand calculation, simulated guessers and learners, and Monte Carlo coverage."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report import SMALL_EXAM, make_run, value

from lab.judge.capacity import stored_bits
from lab.judge.statistics import interval
from lab.records import LabError, Question
from lab.report import compare, load, show

LN2 = math.log(2)


def test_by_hand() -> None:
    # Certain of the first; the second known to one of two among 16 values: 4 + 3 of 8 bits.
    found = stored_bits([0.0, -LN2], [16, 16], ["a", "b"], facts=100, parameters=50)
    assert found.bits_per_fact.estimate == pytest.approx(3.5)
    assert found.offered_bits_per_fact.estimate == 4.0
    assert found.share.estimate == pytest.approx(7 / 8)
    assert found.bits_per_parameter.estimate == pytest.approx(7.0)
    assert found.offered_bits_per_parameter.estimate == 8.0
    by_hand = interval([4.0, 3.0], ["a", "b"], bounded=False)
    assert found.bits_per_fact.high == pytest.approx(by_hand.high)
    assert found.bits_per_fact.low == max(0.0, by_hand.low)
    assert found.bits_per_parameter.high == pytest.approx(2 * by_hand.high)


def test_the_ends_of_an_interval_are_shared_out_too() -> None:
    found = stored_bits([0.0, -LN2 / 8, -LN2 / 8, 0.0], [16] * 4, list("abcd"), facts=100, parameters=50)
    bits, shared_out = found.bits_per_fact, found.bits_per_parameter
    assert 0 < bits.low < bits.high
    assert (shared_out.low, shared_out.high) == pytest.approx((2 * bits.low, 2 * bits.high))


def test_it_is_the_papers_form_of_the_loss() -> None:
    """N log2(V / e^loss) / P, the loss in nats averaged over facts."""
    random = np.random.default_rng(0)
    logs = -random.exponential(2.0, 300)
    found = stored_bits(logs, np.full(300, 400), [str(n) for n in range(300)], facts=5000, parameters=20_000)
    assert found.bits_per_parameter.estimate == pytest.approx(5000 * math.log2(400 / math.exp(-logs.mean())) / 20_000)


def test_a_guesser_stores_nothing_though_some_of_its_guesses_are_lucky() -> None:
    random = np.random.default_rng(1)
    values, facts = 50, 400
    beliefs = random.dirichlet(np.full(values, 0.3), facts)  # sure of itself, and without a clue
    truth = random.integers(values, size=facts)
    logs = np.log(beliefs[np.arange(facts), truth])
    clusters = [str(n) for n in range(facts)]
    found = stored_bits(logs, np.full(facts, values), clusters, facts, 1000)
    assert found.bits_per_fact == type(found.bits_per_fact)(0.0, 0.0, 0.0)
    assert found.share.estimate == 0.0
    lucky = np.maximum(0.0, math.log2(values) + logs / LN2).mean()
    assert lucky > 0.3  # what cutting off each fact would have made up


def test_questions_of_other_sizes_weigh_by_what_they_offer() -> None:
    # 1 of 1 bit and 0 of 9 bits: a tenth is known, and not half.
    found = stored_bits([0.0, -9 * LN2], [2, 512], ["a", "b"], 10, 10)
    assert found.share.estimate == pytest.approx(0.1)
    assert found.offered_bits_per_fact.estimate == 5.0


def test_seeds_and_clusters_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    by_document = np.repeat(-random.exponential(2.0, 20), 10)
    alone = stored_bits(by_document, np.full(200, 256), [str(n) for n in range(200)], 200, 1000).bits_per_fact
    clusters = [str(n // 10) for n in range(200)]
    clustered = stored_bits(by_document, np.full(200, 256), clusters, 200, 1000).bits_per_fact
    seeds = np.stack([by_document + shift for shift in (-2.0, -1.0, 0.0)])
    seeded = stored_bits(seeds, np.full(200, 256), clusters, 200, 1000).bits_per_fact
    widths = [found.high - found.low for found in (alone, clustered, seeded)]
    assert widths == sorted(widths)
    assert widths[1] > 2 * widths[0]
    assert seeded.estimate == pytest.approx(clustered.estimate - 1 / LN2)


def test_the_intervals_of_bits_and_share_hold() -> None:
    random = np.random.default_rng(3)
    held = np.zeros(2)
    for _ in range(300):
        sizes = random.choice([16, 256], 120)
        known = random.random(120) < 0.7  # a fact is known for certain, or to half its bits
        logs = np.where(known, 0.0, -0.5 * np.log(sizes))
        found = stored_bits(logs, sizes, [str(n) for n in range(120)], 120, 1000)
        held += [
            found.bits_per_fact.low <= 6 * 0.85 <= found.bits_per_fact.high,
            found.share.low <= 0.85 <= found.share.high,
        ]
    assert np.all((held / 300 > 0.91) & (held / 300 < 0.99))


def test_nothing_offered_is_nothing_learned() -> None:
    found = stored_bits([0.0, 0.0], [1, 1], ["a", "b"], 10, 10)
    assert (found.bits_per_fact.estimate, found.share.estimate) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("logs", "alternatives", "facts", "parameters", "named"),
    [
        ([-1.0], [0], 1, 1, "alternatives=0"),
        ([0.5], [4], 1, 1, "log_probability=0.5"),
        ([-1.0], [4], 0, 1, "facts=0"),
        ([-1.0], [4], 1, 0, "parameters=0"),
    ],
)
def test_what_cannot_be_is_named(logs: Any, alternatives: Any, facts: int, parameters: int, named: str) -> None:
    with pytest.raises(LabError, match=named):
        stored_bits(logs, alternatives, ["a"], facts, parameters)


# Recall of two documents; one question does not say from how many values it was drawn, one has no answer.
EXAM = [
    Question("q1", "?", ("Ada",), "recall", (), ("a",), alternatives=16),
    Question("q2", "?", ("Bo",), "recall", (), ("b",), alternatives=64),
    Question("q3", "?", ("Cy",), "recall", (), ("b",)),
    Question("q4", "?", ("unknown",), "recall", (), ("b",), alternatives=16),
    Question("q5", "?", ("Di",), "reverse", (), ("b",), alternatives=16),
]


def likely(folder: Path, nats: float | None) -> Path:
    """Give the folder's reference answers this log-probability."""
    path = folder / "answers.jsonl"
    rows = [{**json.loads(line), "log_probability": nats} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_comparison_tells_it_of_closed_book_routes(tmp_path: Path, capsys: Any) -> None:
    for name, nats in {"closed_book": -99.0, "cpt": -LN2, "cpt_rag": 0.0, "rag": 0.0}.items():
        likely(make_run(tmp_path / name, name, EXAM, [], {}, texts=[], facts=300, parameters=600), nats)
    frame = compare([load(tmp_path / name) for name in ("closed_book", "cpt", "cpt_rag", "rag")])
    rows = frame[frame["suite"] == "capacity"]
    assert set(rows["pipeline"]) == {"closed_book", "cpt"}
    assert set(rows["part"]) == {"recall"}
    assert (rows["n"] == 2).all()  # q1 and q2
    found = {m: value(frame, "cpt", "capacity", "recall", m)["value"] for m in rows["metric"].unique()}
    assert found == pytest.approx(
        {"bits_per_fact": 4.0, "offered_bits_per_fact": 5.0}
        | {"bits_per_parameter": 2.0, "offered_bits_per_parameter": 2.5}
    )
    assert value(frame, "closed_book", "capacity", "recall", "bits_per_fact")["value"] == 0.0
    show([tmp_path])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Bits a fact that the weights hold of 5.0 (2.5 a parameter)" in shown
    assert "cpt 4.0 (" in shown


@pytest.mark.parametrize("unknown", ["facts", "parameters", "log_probability", "alternatives"])
def test_what_is_not_known_has_no_row(tmp_path: Path, capsys: Any, unknown: str) -> None:
    exam = SMALL_EXAM if unknown == "alternatives" else EXAM
    more = {unknown: None} if unknown in ("facts", "parameters") else {}
    make_run(tmp_path / "cpt", "cpt", exam, [], {}, texts=[], **more)
    likely(tmp_path / "cpt", None if unknown == "log_probability" else -1.0)
    frame = compare([load(tmp_path / "cpt")])
    assert frame[frame["suite"] == "capacity"].empty
    show([tmp_path])
    assert "Bits a fact" not in capsys.readouterr().out
