"""The bill against one worked out by hand, and where two routes cost the same."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from test_report import small_run

from lab.judge.statistics import paired_difference
from lab.ledger import Entry
from lab.records import LabError, write_jsonl
from lab.report import compare, load, routes_of
from lab.report.bill import DAYS_PER_MONTH, PRICES, Prices, Use, bill, read_prices
from lab.report.break_even import QUESTIONS_PER_DAY, UPDATES_PER_MONTH, break_even, meeting
from lab.report.scores import Route

DEFAULT = read_prices("default")
BY_HAND = dataclasses.replace(
    DEFAULT, gpu_hour=3.6, cpu_hour=0.36, gb_month=0.5, human_hour=40, human_hours_per_update=0.25
)
CPU, GPU = {"threads": 2, "device": "cpu"}, {"threads": 16, "device": "cuda"}
RAG = [
    Entry("ingest", seconds=10),
    Entry("indexing", seconds=1),  # looked for, and found kept
    Entry("indexing", seconds=89, bytes=2 * 10**9, reused=True),
]
CPT = [Entry("ingest", seconds=10), Entry("training", seconds=990, bytes=4 * 10**9)]


def routes(root: Path, **environments: dict[str, Any]) -> list[Route]:
    """rag and cpt, on the machines given: every answer took 0.75 s, search included."""
    for name, right, costs in (("rag", ["q1", "q2", "q3"], RAG), ("cpt", ["q1"], CPT)):
        small_run(root / name, name, right, costs=costs, environment=environments.get(name, CPU))
    return routes_of([load(root / name) for name in ("rag", "cpt")])


def test_a_bill_by_hand(tmp_path: Path) -> None:
    rag, cpt = (row for _, row in bill(routes(tmp_path, cpt=GPU), BY_HAND, Use(1000, 2)).iterrows())
    # Two cores are 0.72 an hour, 0.0002 a second; a board is 0.001 a second. A quarter of an hour's cleaning is 10.
    assert (rag["device"], cpt["device"]) == ("2 cores", "GPU")
    assert rag["prepare_cost"] == pytest.approx(10 + 100 * 0.0002)
    assert cpt["prepare_cost"] == pytest.approx(10 + 1000 * 0.001)
    assert rag["cost_per_thousand"] == pytest.approx(750 * 0.0002)
    assert cpt["cost_per_thousand"] == pytest.approx(750 * 0.001)
    assert (rag["storage_cost"], cpt["storage_cost"]) == pytest.approx((1.0, 2.0))
    assert rag["monthly_cost"] == pytest.approx(1.0 + 2 * 10.02 + DAYS_PER_MONTH * 0.15)
    assert cpt["monthly_cost"] == pytest.approx(2.0 + 2 * 11.0 + DAYS_PER_MONTH * 0.75)
    assert rag["update_cost"] == rag["prepare_cost"]
    assert set(bill(routes(tmp_path / "again"), BY_HAND, Use(1, 1))["currency"]) == {"USD"}


def test_eighteen_months_ahead_training_is_a_quarter_and_answering_a_tenth(tmp_path: Path) -> None:
    machines = dataclasses.replace(BY_HAND, human_hour=0)
    ahead = dataclasses.replace(machines, months_ahead=18)
    rag, cpt = (row for _, row in bill(routes(tmp_path), ahead, Use(0, 0)).iterrows())
    # Reading documents in stays what it is; an index is written by a model that answers, so to say.
    assert rag["prepare_cost"] == pytest.approx((10 + 90 / 10) * 0.0002)
    assert cpt["prepare_cost"] == pytest.approx((10 + 990 / 4) * 0.0002)
    assert rag["cost_per_thousand"] == pytest.approx(750 * 0.0002 / 10)
    twice = dataclasses.replace(ahead, months_ahead=36)
    assert (twice.training_share, twice.answering_share) == pytest.approx((1 / 16, 1 / 100))
    assert (machines.training_share, machines.answering_share) == (1.0, 1.0)


def test_several_seeds_are_averaged_and_the_base_needs_no_update(tmp_path: Path) -> None:
    for seed, seconds in enumerate((100, 300)):
        costs = [Entry("training", seconds=seconds)]
        small_run(tmp_path / f"cpt{seed}", "cpt", ["q1"], seed=seed, costs=costs, environment=CPU)
    small_run(tmp_path / "base", "closed_book", [], costs=RAG[:1], environment=CPU)
    found = bill(routes_of([load(folder) for folder in tmp_path.iterdir()]), BY_HAND, Use(0, 1)).set_index("pipeline")
    assert found.loc["cpt", "prepare_cost"] == pytest.approx(10 + 200 * 0.0002)
    assert found.loc["cpt", "seed"] == "all"
    assert found.loc["closed_book", "update_cost"] == 0


def test_what_is_not_known_is_no_number(tmp_path: Path) -> None:
    small_run(tmp_path / "served", "rag", ["q1"], costs=RAG, environment=CPU, parameters=None)
    small_run(tmp_path / "nowhere", "cpt", ["q1"], costs=CPT)  # a machine of which nothing is told
    known = routes_of([load(tmp_path / name) for name in ("served", "nowhere")])
    found = bill(known, BY_HAND, Use(1, 1))
    assert found["monthly_cost"].isna().all()
    assert found["cost_per_thousand"].isna().all()
    assert break_even(known, BY_HAND).empty
    assert meeting(*known, BY_HAND, 1) is None


def test_break_even_is_where_both_months_cost_the_same(tmp_path: Path) -> None:
    rag, cpt = routes(tmp_path, rag=GPU)
    # A month of rag: 1 and 22.81 for 1000 questions a day; of cpt: 2, 4.56 a thousand and, an update, a little more.
    met = meeting(rag, cpt, BY_HAND, 0)
    assert met == pytest.approx(1 / (DAYS_PER_MONTH * 0.75 * (0.001 - 0.0002)))
    for use, cheaper in ((Use(met * 0.9, 0), 0), (Use(met * 1.1, 0), 1)):
        assert bill([rag, cpt], BY_HAND, use)["monthly_cost"].argmin() == cheaper
    assert meeting(cpt, rag, BY_HAND, 0) == pytest.approx(met)
    # On the same machine both take the same time a question, so one stays the cheaper however much is asked.
    assert meeting(*routes(tmp_path / "same"), BY_HAND, 1) is None


def test_the_surface_has_the_bills_and_the_score_difference(tmp_path: Path) -> None:
    pair = routes(tmp_path)
    found = break_even(pair, BY_HAND)
    assert len(found) == len(QUESTIONS_PER_DAY) * len(UPDATES_PER_MONTH)
    assert set(zip(found["pipeline"], found["other"], strict=True)) == {("rag", "cpt")}
    for row in found.sample(5, random_state=0).itertuples():
        rag, cpt = bill(pair, BY_HAND, Use(row.questions_per_day, row.updates_per_month))["monthly_cost"]
        assert (row.monthly_cost, row.other_monthly_cost) == pytest.approx((rag, cpt))
    by_hand = paired_difference([1, 1, 1, 0], [1, 0, 0, 0], ["a", "a", "b", "b"])
    row = found.iloc[0]
    assert (row["difference"], row["difference_low"]) == pytest.approx((by_hand.estimate, by_hand.low))
    assert row["difference_high"] == pytest.approx(by_hand.high)


def test_prices_are_read_by_name_and_by_path(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text((PRICES / "default.yaml").read_text().replace("USD", "CNY"))
    assert read_prices(mine) == dataclasses.replace(DEFAULT, currency="CNY")
    assert read_prices(str(mine)).currency == "CNY"
    assert DEFAULT.months_ahead == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [("gpu_hour: 1", "there is no .*cpu_hour"), ("- 1", "there is no"), ("a: [", "not YAML")],
)
def test_prices_that_cannot_be_read_name_the_mend(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(LabError, match=told):
        read_prices(tmp_path / "odd.yaml")


def test_values_are_checked() -> None:
    with pytest.raises(LabError, match="choose default"):
        read_prices("nobody")
    values = dataclasses.asdict(DEFAULT)
    for name, odd in (("gpu_hour", -1), ("cpu_hour", "much"), ("trend_months", 0), ("gb_month", math.nan)):
        with pytest.raises(LabError, match=name):
            Prices(**{**values, name: odd})
    with pytest.raises(LabError, match="currency"):
        Prices(**{**values, "currency": ""})
    with pytest.raises(LabError, match="questions_per_day"):
        Use(-1, 0)


def test_what_a_user_waits_is_of_questions_asked_alone(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "rag", "rag", ["q1"], environment=CPU, costs=RAG)
    seconds = [0.5, 0.1, 0.2, 0.3, 0.9]
    rows = [{"question_id": "q1", "first": True, "seconds": 5.0, "retrieval_seconds": 2.0}]
    rows += [{"question_id": "q2", "first": False, "seconds": s, "retrieval_seconds": 0.1} for s in seconds]
    write_jsonl(folder / "waits.jsonl", rows)
    frame = compare([load(folder)])
    cost = frame[frame["suite"] == "cost"].set_index("metric")
    assert cost.loc["wait_first_seconds", "value"] == 7.0
    assert cost.loc["wait_median_seconds", "value"] == pytest.approx(0.4)
    # Of five in order the last two stand at 75 and 100 %: four fifths of the way between them.
    assert cost.loc["wait_p95_seconds", "value"] == pytest.approx(0.6 + 0.8 * 0.4)
    assert cost.loc["wait_p95_seconds", "n"] == 5
    assert cost.loc["wait_median_retrieval_seconds", "value"] == pytest.approx(0.1)
    assert "wait_first_seconds" not in set(compare([load(small_run(tmp_path / "old", "cpt", []))])["metric"])


def test_operations_are_summed_where_every_model_tells_them(tmp_path: Path) -> None:
    known = [Entry("ingest", seconds=1), Entry("training", tokens=5, flops=2e9), Entry("indexing", tokens=1, flops=1e9)]
    silent = [*known, Entry("practice questions", tokens=7)]  # written elsewhere, by a model that nobody counted
    for name, costs, found in (("cpt", known, [3e9]), ("lora", silent, []), ("rag", RAG, [])):
        frame = compare([load(small_run(tmp_path / name, name, ["q1"], costs=costs))])
        assert frame.loc[frame["metric"] == "prepare_flops", "value"].tolist() == found, name
        assert "prepare_joules" not in set(frame["metric"])
