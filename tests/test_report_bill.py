"""The bill against one worked out by hand, and where two routes cost the same."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_report import small_run

from lab.judge.statistics import paired_difference
from lab.ledger import Entry
from lab.records import LabError, write_jsonl
from lab.report import compare, load, phases, routes_of
from lab.report.__main__ import main
from lab.report.bill import DAYS_PER_MONTH, PRICES, Prices, Use, bill, read_prices
from lab.report.break_even import QUESTIONS_PER_DAY, UPDATES_PER_MONTH, break_even, meeting
from lab.report.scores import Route
from lab.report.wording import money

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
    rag, cpt = (row for _, row in bill(routes(tmp_path / "two"), ahead, Use(0, 0)).iterrows())
    # Reading documents in stays what it is; an index is written by a model that answers, so to say.
    assert rag["prepare_cost"] == pytest.approx((10 + 90 / 10) * 0.0002)
    assert cpt["prepare_cost"] == pytest.approx((10 + 990 / 4) * 0.0002)
    assert rag["cost_per_thousand"] == pytest.approx(750 * 0.0002 / 10)
    # An update of weights is training, one of an index is not.
    link = [Entry("updating", seconds=100)]
    for name, part in (("lora", 4), ("lora_rag", 4), ("random", 10)):
        route = routes_of([load(small_run(tmp_path / name, name, [], costs=link, environment=CPU))])
        assert bill(route, ahead, Use(0, 0))["prepare_cost"][0] == pytest.approx(100 / part * 0.0002)
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


def test_energy_is_paid_where_the_board_tells_it(tmp_path: Path) -> None:
    costs = [Entry("ingest", seconds=10), Entry("training", seconds=100, joules=7.2e6)]
    sat = Entry("answering", seconds=50, joules=18_000)  # 360 watts
    folder = small_run(tmp_path / "cpt", "cpt", ["q1"], costs=costs, environment=GPU)
    rows = [*costs, sat]
    write_jsonl(folder / "costs.jsonl", rows)
    route = routes_of([load(folder)])
    own = dataclasses.replace(BY_HAND, gpu_hour=0, human_hour=0, kilowatt_hour=0.3)
    row = bill(route, own, Use(0, 0)).iloc[0]
    assert row["prepare_cost"] == pytest.approx(2 * 0.3)  # two kilowatt-hours
    assert row["cost_per_thousand"] == pytest.approx(750 * 360 / 3.6e6 * 0.3)


def test_tuning_is_billed_apart_to_the_route_of_its_name(tmp_path: Path) -> None:
    for number, seconds in enumerate((600, 400)):
        costs = [Entry("training", seconds=seconds)]  # and 9 seconds of answering, which small_run adds
        small_run(tmp_path / "tuning" / str(number), "cpt", ["q1"], seed=number, costs=costs, environment=GPU)
    tried = [load(folder) for folder in sorted((tmp_path / "tuning").iterdir())]
    pair = routes(tmp_path)
    found = bill(pair, BY_HAND, Use(1, 1), tried).set_index("pipeline")
    assert found["tuning_runs"].to_dict() == {"rag": 0, "cpt": 2}
    assert found.loc["cpt", "tuning_cost"] == pytest.approx((1000 + 2 * 9) * 0.001)
    assert found.loc["rag", "tuning_cost"] == 0
    without = bill(pair, BY_HAND, Use(1, 1)).set_index("pipeline")
    for name in ("prepare_cost", "monthly_cost"):
        assert found.loc["cpt", name] == without.loc["cpt", name]


def test_phases_add_up_to_the_ledger(tmp_path: Path) -> None:
    for seed, seconds in enumerate((100, 300)):
        costs = [
            Entry("training", 1.0, 1.0),  # looked for, and found kept
            Entry("training", seconds, 7.0, 70, 5, 900, True, {"flops_note": "why"}, 20, 30, 4e9, 3e9),
        ]
        small_run(tmp_path / str(seed), "cpt", ["q1"], seed=seed, costs=costs, environment=CPU)
    runs = [load(tmp_path / str(seed)) for seed in range(2)]
    found = phases(routes_of(runs)).set_index("phase")
    assert list(found.index) == ["training", "answering", "general"]
    row = found.loc["training"]
    assert (row["seconds"], row["cpu_seconds"], row["tokens"], row["bytes"]) == (201, 8, 70, 5)
    assert (row["replayed_tokens"], row["padded_tokens"], row["flops"], row["flops_formula"]) == (20, 30, 4e9, 3e9)
    assert (row["peak_rss_bytes"], row["reused"], row["flops_note"], row["seed"]) == (900, True, "why", "all")
    assert math.isnan(row["joules"])
    assert not found.loc["answering", "reused"]
    for name in ("seconds", "cpu_seconds", "tokens", "bytes"):
        assert found[name].sum() == pytest.approx(sum(run.costs[name].sum() for run in runs) / 2), name


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments, "-q"]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_command_prints_the_bill_and_where_two_routes_meet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rag, cpt = routes(tmp_path / "runs", rag=GPU)
    (tmp_path / "mine.yaml").write_text(json.dumps(dataclasses.asdict(BY_HAND)))
    own = ["--prices", str(tmp_path / "mine.yaml"), "--updates-a-month", "0"]
    out = said(capsys, str(tmp_path / "runs"), *own, "--questions-a-day", "2000")
    assert "Costs in USD, at 2000 questions a day, 0 updates a month." in out
    assert "a GPU hour 3.6 USD, a core's hour 0.36, a GB kept for a month 0.50" in out
    met = meeting(rag, cpt, BY_HAND, 0)
    assert met is not None
    assert f"Break-even with rag at 0 updates a month, by these prices: cpt costs less above {met:.0f} questions" in out
    assert "at -50.0 points" in out
    assert "Projected" not in out
    assert "tuning" not in out
    costs = pd.read_csv(tmp_path / "runs" / "costs.csv").set_index("pipeline")
    by_hand = bill([rag, cpt], BY_HAND, Use(2000, 0)).set_index("pipeline")
    assert costs["monthly_cost"].tolist() == pytest.approx(by_hand["monthly_cost"].tolist(), rel=1e-5)
    assert len(pd.read_csv(tmp_path / "runs" / "break_even.csv")) == len(QUESTIONS_PER_DAY) * len(UPDATES_PER_MONTH)
    assert set(pd.read_csv(tmp_path / "runs" / "phases.csv")["phase"]) >= {"ingest", "training", "answering"}

    small_run(tmp_path / "tuning", "cpt", ["q1"], costs=CPT, environment=GPU)
    ahead = said(capsys, str(tmp_path / "runs"), *own, "--months-ahead", "36", "--tuning", str(tmp_path / "tuning"))
    assert "Projected 36 months ahead, which nobody has measured: training falls to 0.25, answering to 0.1" in ahead
    assert "Tuning, once and in no other figure, by runs: cpt 1." in ahead
    assert main([str(tmp_path / "runs"), "--updates-a-month", "-1"]) == 2
    assert "updates_per_month=-1" in capsys.readouterr().err


def test_amounts_are_written_without_exponents() -> None:
    assert [money(value) for value in (0, 0.0000234, 0.1, 4.54, 9.96, 12_400)] == [
        *("0", "0.000023", "0.10", "4.5", "10", "12,400")
    ]


def test_the_work_of_an_artifact_stands_once_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Entry("training", 100, 90, 700, 5, 9 * 10**8, False, {"flops_note": "attention is 31 %"}, 100, 200, 4e9, 3e9)
    kept = dataclasses.replace(made, seconds=99.9, reused=True)
    for name, costs in (("cpt", [made]), ("cpt_rag", [Entry("training", 0.2), kept]), ("closed_book", [])):
        small_run(tmp_path / name, name, ["q1"], costs=costs, environment=CPU)
    rows = said(capsys, str(tmp_path)).split("The work of preparation.")[1].split("Costs in")[0]
    assert "cpt, training 100 90 700 100 200 4 3 900 MB - 5 B - cpt_rag" in rows
    assert "cpt and cpt_rag, training: attention is 31 %." in rows
    assert "Joules: not readable" in rows
