"""The ledger counts every second once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import lab.ledger
from lab import meter
from lab.ledger import Entry, Ledger
from lab.records import read_jsonl
from lab.store import JSON, Store


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
        *("phase", "seconds", "cpu_seconds", "joules", "reused", "detail"),
        *("tokens", "padded_tokens", "replayed_tokens", "flops", "flops_formula"),
        *("bytes", "peak_rss_bytes", "peak_cuda_bytes"),
    }
    assert rows[0]["joules"] is None  # nothing here reports them, so nothing is said


def test_peak_memory_is_in_bytes() -> None:
    # In a fresh process, because this one may have held any amount before; that must not show in the fresh one.
    code = """if True:
        from lab.meter import peak_rss_bytes
        before = peak_rss_bytes()
        block = b"x" * (64 * 2**20)
        print(before, peak_rss_bytes())
    """
    home = Path(lab.ledger.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 2**20 < before < 2**29
    assert 48 * 2**20 <= after - before <= 96 * 2**20


class Board:
    """A board of which torch tells the peak since it was last reset, and NVML the energy so far in millijoules."""

    def __init__(self) -> None:
        self.held = self.peak = self.millijoules = 0

    def use(self, held: int, millijoules: int) -> None:
        self.held, self.peak = held, max(self.peak, held)
        self.millijoules += millijoules

    def max_memory_allocated(self) -> int:
        return self.peak

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.held

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:  # noqa: N802
        return self.millijoules


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    made = Board()
    monkeypatch.setattr(meter, "_cuda", made)
    monkeypatch.setattr(meter, "_board", lambda: (made, None))
    return made


def test_a_board_is_billed_phase_by_phase(board: Board) -> None:
    board.use(100, 7_000)  # before anything is measured
    ledger = Ledger()
    with ledger.phase("training"):
        board.use(900, 1_000)
        board.use(200, 0)
        with ledger.phase("saving"):
            board.use(300, 2_000)
        board.use(400, 4_000)
    with ledger.phase("answering"):
        board.use(50, 500)
    rows = {row.phase: row for row in ledger.rows()}
    assert {name: row.joules for name, row in rows.items()} == {"training": 5.0, "saving": 2.0, "answering": 0.5}
    # A phase begins with what is held already; what came before it is another's.
    assert {name: row.peak_cuda_bytes for name, row in rows.items()} == {
        "training": 900,
        "saving": 300,
        "answering": 400,
    }
    assert (ledger.total().joules, ledger.total().peak_cuda_bytes) == (7.5, 900)


def test_an_artifact_keeps_what_it_took(board: Board, tmp_path: Path) -> None:
    def build(folder: Path) -> dict[str, JSON]:
        board.use(800, 3_000)
        (folder / "weights").write_text("w")
        return {"tokens": 5, "padded_tokens": 2, "flops": 1e9, "passes": 3}

    first, again = Ledger(), Ledger()
    with first.phase("training") as entry:
        entry.add(Store(tmp_path).artifact("weights", {}, build).cost)
    again.add_reused("training", Store(tmp_path).artifact("weights", {}, build).cost)
    made, kept = first.rows()[0], again.rows()[0]
    for name in ("tokens", "padded_tokens", "flops", "joules", "peak_cuda_bytes", "bytes", "detail"):
        assert getattr(made, name) == getattr(kept, name), name
    assert (kept.joules, kept.peak_cuda_bytes, kept.reused, kept.detail) == (3.0, 800, True, {"passes": 3})
    assert 0 < kept.seconds <= made.seconds
    assert kept.peak_rss_bytes > 0


def test_what_is_not_known_is_no_part_of_a_sum() -> None:
    ledger = Ledger()
    ledger.add_reused("training", {"flops": 3.0, "tokens": 1})
    ledger.add_bill(Entry("practice questions", tokens=2))
    assert (ledger.total().flops, ledger.total().tokens, ledger.total().joules) == (3.0, 3, None)
