"""The ledger counts every second once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import lab.ledger
from lab.ledger import Ledger
from lab.records import read_jsonl


def test_phases_add_up_to_the_total() -> None:
    ledger = Ledger()
    started = time.perf_counter()
    for name, tokens in (("indexing", 3), ("training", 5), ("indexing", 7)):
        with ledger.phase(name) as entry:
            time.sleep(0.01)
            entry.tokens = tokens
            entry.bytes = 10
    whole = time.perf_counter() - started
    total = ledger.total()
    parts = [ledger.total(name) for name in ("indexing", "training")]
    assert total.seconds == pytest.approx(sum(part.seconds for part in parts))
    assert total.cpu_seconds == pytest.approx(sum(part.cpu_seconds for part in parts))
    assert (total.tokens, total.bytes) == (15, 30)
    assert parts[0].tokens == 10
    assert 0.03 <= total.seconds <= whole


def test_a_phase_inside_another_is_counted_once() -> None:
    ledger = Ledger()
    started = time.perf_counter()
    with ledger.phase("prepare"):
        time.sleep(0.01)
        for _ in range(2):
            with ledger.phase("training"):
                time.sleep(0.02)
                with ledger.phase("saving"):
                    time.sleep(0.03)
    whole = time.perf_counter() - started
    assert ledger.total("prepare").seconds >= 0.01
    assert ledger.total("training").seconds >= 0.04
    assert ledger.total("saving").seconds >= 0.06
    assert 0.11 <= ledger.total().seconds <= whole


def test_cpu_seconds_are_of_work_not_of_waiting() -> None:
    ledger = Ledger()
    with ledger.phase("waiting"):
        time.sleep(0.2)
    with ledger.phase("working"):
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
    assert ledger.total("waiting").cpu_seconds < 0.1
    assert ledger.total("working").cpu_seconds >= 0.05


def test_a_phase_that_raises_is_paid_for() -> None:
    ledger = Ledger()

    def fail() -> None:
        with ledger.phase("training"):
            time.sleep(0.01)
            raise ValueError("nan loss")

    with pytest.raises(ValueError, match="nan"):
        fail()
    assert ledger.total("training").seconds >= 0.01
    with ledger.phase("next"):
        pass
    assert [row.phase for row in ledger.rows()] == ["training", "next"]


def test_reused_rows_show_what_they_cost_once() -> None:
    ledger = Ledger()
    with ledger.phase("indexing"):
        pass
    ledger.add_reused("indexing", {"seconds": 100.0, "tokens": 9, "bytes": 4, "passages": 2})
    row = ledger.rows()[1]
    assert row.reused
    assert (row.seconds, row.tokens, row.bytes, row.detail) == (100.0, 9, 4, {"passages": 2})
    assert ledger.total("indexing").seconds >= 100.0
    assert ledger.total("indexing", reused=False).seconds < 1.0
    assert ledger.total("nothing") == ledger.total("nothing", reused=False)
    assert ledger.total("nothing").seconds == 0.0


def test_rows_are_written_as_json_lines(tmp_path: Path) -> None:
    ledger = Ledger()
    with ledger.phase("indexing") as entry:
        entry.detail["passages"] = 3
    ledger.add_reused("training", {"seconds": 2.0})
    ledger.write(tmp_path / "costs.jsonl")
    rows = list(read_jsonl(tmp_path / "costs.jsonl"))
    assert [(row["phase"], row["reused"]) for row in rows] == [("indexing", False), ("training", True)]
    assert rows[0]["detail"] == {"passages": 3}
    assert set(rows[0]) == {
        "phase",
        "seconds",
        "cpu_seconds",
        "tokens",
        "bytes",
        "peak_rss_bytes",
        "reused",
        "detail",
    }


def test_peak_memory_is_in_bytes() -> None:
    # In a fresh process, because this one may have held any amount before; that must not show in the fresh one.
    code = """if True:
        from lab.ledger import peak_rss_bytes
        before = peak_rss_bytes()
        block = b"x" * (64 * 2**20)
        print(before, peak_rss_bytes())
    """
    home = Path(lab.ledger.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 2**20 < before < 2**29
    assert 48 * 2**20 <= after - before <= 96 * 2**20
