"""Work that is stopped, killed or out of memory goes on where it was: the weights are those of one that was not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file

from lab import stopping
from lab.adapt.checkpoint import chance, restore_chance
from lab.adapt.lora import LowRankAdaptation
from lab.adapt.none import NoAdaptation
from lab.adapt.training import Training
from lab.adapt.way import Way, _Trainer
from lab.adapt.weights import WeightTraining
from lab.base import BaseModel
from lab.context.gold import Gold
from lab.corpus.corpus import Corpus
from lab.ledger import Ledger
from lab.pipeline import Pipeline
from lab.records import LabError, read_jsonl
from lab.run import PORTION, Experiment, run
from lab.states import States
from lab.stopping import Terminated, deferred, exit_code
from lab.store import Store
from lab.student import Sheet, Student
from lab.workspace import Workspace
from lab.worlds.embedded import GeneralWorldSuite, StatuteCorpus, StatuteExam, WorldReplay
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import StatuteBook

REPLAY = WorldReplay(GeneralWorld(subjects=10))


class Killed(BaseException):
    """As SIGKILL does, it lets nothing be put away but what was written before."""


def training(**changes: Any) -> Training:
    usual: dict[str, Any] = {
        "texts": ["documents"], "tokens": 3000, "learning_rate": 1e-3, "general_share": 0.3, "replay": REPLAY,
        "device_rows": 2, "row_tokens": 320, "evaluations": 2, "checkpoint_seconds": 0.0,
    }  # fmt: skip
    return Training(**{**usual, **changes})


KINDS: dict[str, Callable[..., Any]] = {
    "cpt": lambda **changes: WeightTraining(training(**changes)),
    # With dropout the draw of every step counts.
    "lora": lambda **changes: LowRankAdaptation(training(**changes), rank=4, dropout=0.3),
    "kept moments": lambda **changes: WeightTraining(training(optimizer="kept", **changes)),
}


@pytest.fixture(scope="module")
def base(random_model: Path) -> BaseModel:
    return BaseModel(str(random_model))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.adapt.way.SAVING_SHARE", 0)
    monkeypatch.setattr("lab.adapt.training.KEPT_STEPS", 3)


def desk(root: Path) -> Workspace:
    return Workspace(Store(root), Ledger(), 0, "cpu")


def weights(root: Path) -> dict[str, torch.Tensor]:
    (file,) = [path for path in root.rglob("*.safetensors") if ".states-" not in str(path)]
    return load_file(file)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def kill_after(monkeypatch: pytest.MonkeyPatch, *steps: int) -> list[int]:
    """Every process is killed after its share of steps; the steps done are told."""
    done, waiting = [], list(steps)
    end_step = Way.end_step

    def ended(way: Way, *more: Any) -> None:
        end_step(way, *more)
        done.append(way.done)
        if waiting and way.done == waiting[0]:
            waiting.pop(0)
            raise Killed

    monkeypatch.setattr(Way, "end_step", ended)
    return done


@pytest.mark.parametrize("kind", KINDS)
def test_killed_three_times_the_weights_are_the_same_to_the_bit(
    kind: str, base: BaseModel, small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    KINDS[kind]().adapt(base, small_corpus, desk(tmp_path / "whole"))
    done = kill_after(monkeypatch, 1, 2, 4)
    for _ in range(3):
        with pytest.raises(Killed):
            KINDS[kind]().adapt(base, small_corpus, desk(tmp_path / "killed"))
    last = desk(tmp_path / "killed")
    KINDS[kind]().adapt(base, small_corpus, last)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert done == list(range(1, done[-1] + 1))  # Each step once: a state was written after every one.
    assert done[-1] >= 5
    assert not list((tmp_path / "killed").rglob(".states-*"))
    # What the killed ones had used is on the bill, and the curve is whole.
    now, earlier = last.ledger.rows()
    assert earlier.reused
    assert earlier.seconds > 0
    curve = [row["tokens"] for row in now.detail["losses"]]
    assert curve == sorted(set(curve))
    assert (len(curve), curve[0], curve[-1]) == (3, 0, 3000)


@pytest.mark.parametrize("kind", ["cpt", "lora"])
def test_killed_after_its_last_step_nothing_is_trained_again(
    kind: str, base: BaseModel, small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = kill_after(monkeypatch)
    KINDS[kind]().adapt(base, small_corpus, desk(tmp_path / "whole"))
    last = done[-1]
    monkeypatch.undo()
    monkeypatch.setattr("lab.adapt.way.SAVING_SHARE", 0)
    done = kill_after(monkeypatch, last)
    with pytest.raises(Killed):
        KINDS[kind]().adapt(base, small_corpus, desk(tmp_path / "killed"))
    KINDS[kind]().adapt(base, small_corpus, desk(tmp_path / "killed"))
    assert done == list(range(1, last + 1))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


@pytest.mark.parametrize("spoil", ["flipped", "cut", "unfinished"])
def test_a_spoilt_state_is_passed_over_for_the_one_before(
    spoil: str,
    base: BaseModel,
    small_corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    KINDS["cpt"]().adapt(base, small_corpus, desk(tmp_path / "whole"))
    done = kill_after(monkeypatch, 4)
    with pytest.raises(Killed):
        KINDS["cpt"]().adapt(base, small_corpus, desk(tmp_path / "killed"))
    newest = max(tmp_path.rglob(".states-*/00*"))
    file = newest / "moments.safetensors"
    data = bytearray(file.read_bytes())
    if spoil == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif spoil == "cut":
        file.write_bytes(data[:-7])
    else:
        (newest / "manifest.json").unlink()
    KINDS["cpt"]().adapt(base, small_corpus, desk(tmp_path / "killed"))
    assert "is not whole" in caplog.text
    assert done[:6] == [1, 2, 3, 4, 4, 5]  # One step again.
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_states_of_another_training_are_not_gone_on_from(
    base: BaseModel, small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = kill_after(monkeypatch, 3)
    with pytest.raises(Killed):
        KINDS["cpt"]().adapt(base, small_corpus, desk(tmp_path))
    KINDS["cpt"](learning_rate=2e-3).adapt(base, small_corpus, desk(tmp_path))
    assert done[:4] == [1, 2, 3, 1]
    (states,) = tmp_path.rglob(".states-*")
    fresh = States(states, {"another": "key"})
    assert fresh.newest() is None


def test_a_state_that_could_not_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    states = States(tmp_path / "states", {"key": 1})
    states.save(1, lambda folder: {"at": (folder / "a").write_text("whole")})

    def half(folder: Path) -> dict[str, int]:
        (folder / "a").write_text("ha")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        states.save(2, half)
    newest = states.newest()
    assert newest is not None
    assert (newest.step, newest.noted["at"], (newest.path / "a").read_text()) == (1, 5, "whole")
    assert [path.name for path in states.folder.iterdir()] == [newest.path.name]


def test_what_does_not_fit_the_memory_is_taken_in_parts_and_learns_the_same(
    base: BaseModel,
    small_corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rate = {"device_rows": 4, "learning_rate": 1e-4, "tokens": 8000}
    KINDS["cpt"](**rate).adapt(base, small_corpus, desk(tmp_path / "whole"))
    taken: list[int] = []
    loss = _Trainer.compute_loss

    def small(trainer: Any, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        taken.append(len(inputs["input_ids"]))
        if len(inputs["input_ids"]) > 1 and len(taken) > 2:  # Two steps fit, and the third does not.
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return loss(trainer, model, inputs, *more, **named)

    monkeypatch.setattr(_Trainer, "compute_loss", small)
    KINDS["cpt"](**rate).adapt(base, small_corpus, desk(tmp_path / "parts"))
    assert taken[:5] == [4, 4, 4, 2, 1]
    assert set(taken[5:]) == {1}
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    start = base.load("cpu").model.state_dict()
    moved = max(float((one[name] - start[name]).abs().max()) for name in one)
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    assert apart < 0.02 * moved  # Sums in another order, and AdamW makes much of little where a gradient is near zero.
    assert "4 times 1 rows" in caplog.text


@pytest.mark.parametrize("kind", ["cpt", "lora"])
def test_a_row_that_does_not_fit_is_made_twice_and_learns_the_same(
    kind: str,
    base: BaseModel,
    small_corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The fewer numbers are kept for the gradient, the less memory: counted, since nothing here is ever full."""
    settings = {"device_rows": 1, "tokens": 3000}
    KINDS[kind](**settings).adapt(base, small_corpus, desk(tmp_path / "whole"))
    loss, kept = _Trainer.compute_loss, []

    def full(trainer: Any, model: Any, *more: Any, **named: Any) -> Any:
        held: list[int] = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            held.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found = loss(trainer, model, *more, **named)
        kept.append(sum(held))
        if len(kept) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return found

    monkeypatch.setattr(_Trainer, "compute_loss", full)
    KINDS[kind](**settings).adapt(base, small_corpus, desk(tmp_path / "twice"))
    assert max(kept[1:]) < kept[0] / 3
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "twice")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert "inner results made twice" in caplog.text


def test_a_row_that_does_not_fit_is_told(
    base: BaseModel, small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr(_Trainer, "compute_loss", full)
    with pytest.raises(LabError, match=r"memory of cpu is too small .* rows of 320 tokens"):
        KINDS["cpt"]().adapt(base, small_corpus, desk(tmp_path))


def test_a_loss_that_is_lost_leaves_its_last_good_state(
    base: BaseModel, small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, steps = _Trainer.compute_loss, []

    def lost(trainer: Any, *given: Any, **named: Any) -> Any:
        steps.append(1)
        return loss(trainer, *given, **named) * (float("nan") if len(steps) > 3 else 1)

    monkeypatch.setattr(_Trainer, "compute_loss", lost)
    # The loss is asked whether it is a number inside the original; here it is spoilt after that, as weights may be.
    with pytest.raises(LabError, match=r"the weights after 3 steps are kept in .*0000000003"):
        KINDS["cpt"]().adapt(base, small_corpus, desk(tmp_path))
    kept = load_file(max(tmp_path.rglob(".states-*/00*")) / "weights.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in kept.values())


def test_chance_goes_on_where_it_was_through_json() -> None:
    kept = json.loads(json.dumps(chance()))
    drawn = [torch.rand(3).tolist(), numpy.random.rand(3).tolist(), random.random(), numpy.random.randn()]
    restore_chance(kept)
    assert drawn == [torch.rand(3).tolist(), numpy.random.rand(3).tolist(), random.random(), numpy.random.randn()]


@pytest.mark.parametrize(
    ("number", "kind", "code"), [(signal.SIGINT, KeyboardInterrupt, 130), (signal.SIGTERM, Terminated, 143)]
)
def test_a_signal_waits_for_the_step_and_a_second_does_not(
    number: int, kind: type[KeyboardInterrupt], code: int
) -> None:
    reached = []

    def once() -> None:
        with deferred() as stop:
            os.kill(os.getpid(), number)
            reached.append(stop.asked)
            stop.now()

    def twice() -> None:
        with deferred():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            reached.append(0)

    with pytest.raises(KeyboardInterrupt) as caught:
        once()
    assert reached == [number]
    assert type(caught.value) is kind
    assert exit_code(caught.value) == code
    with pytest.raises(KeyboardInterrupt):
        twice()
    assert reached == [number]


@pytest.mark.slow
def test_what_a_launcher_passes_on_is_no_second_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    clock = iter([10.0, 10.5, 13.0])
    monkeypatch.setattr(stopping.time, "monotonic", lambda: next(clock))
    reached = []

    def thrice() -> None:
        with deferred():
            for _ in range(3):
                signal.raise_signal(signal.SIGTERM)
                reached.append(True)

    with pytest.raises(Terminated):
        thrice()
    assert len(reached) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_how_to_go_on_and_goes_on(number: int, code: int, tmp_path: Path) -> None:
    words = [
        *("pipeline=cpt", "training.tokens=40000", "limit=2", "corpus.book.acts=6", "corpus.reworded_copies=1"),
        *("general.closed_book=2", "general.reading=4", "general.paragraphs=2", f"artifacts={tmp_path / 'artifacts'}"),
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    command = [sys.executable, "-m", "lab", *words]
    started = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stderr=subprocess.PIPE, text=True)
    assert started.stderr is not None
    for line in started.stderr:
        if "cpt: training" in line or "loss domain" in line:
            break
    started.send_signal(number)
    told = started.stderr.read()
    assert started.wait() == code
    assert "python -m lab pipeline=cpt" in told
    states = list((tmp_path / "artifacts").rglob(".states-*/00*"))
    assert states, "stopped in its training, it keeps where it was"
    again = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"training goes on after step {int(max(states).name)} of" in again.stderr
    assert not list((tmp_path / "artifacts").rglob(".states-*"))


def test_answers_go_on_after_the_last_whole_portion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PORTION, "cpu", 5)
    asked: list[int] = []
    answer = Student.answer

    def sit(folder: str, fails_at: int | None) -> list[dict[str, Any]]:
        asked.clear()

        def portion(student: Student, sheet: Sheet, *more: Any) -> list[Any]:
            if len(asked) == fails_at:
                raise Killed
            asked.append(len(sheet.questions))
            return answer(student, sheet, *more)

        monkeypatch.setattr(Student, "answer", portion)
        run(experiment(tmp_path, folder))
        rows = read_jsonl(tmp_path / folder / "answers.jsonl")
        return [{name: row[name] for name in ("question_id", "text", "log_probability", "passages")} for row in rows]

    with pytest.raises(Killed):
        sit("killed", fails_at=2)
    assert asked == [5, 5]
    again = sit("again", fails_at=None)
    shutil.rmtree(tmp_path / "artifacts")
    whole = sit("whole", fails_at=None)
    assert again == whole
    assert len(whole) > 20
    costs = {name: list(read_jsonl(tmp_path / name / "costs.jsonl")) for name in ("again", "whole")}
    answered = {name: sum(row["tokens"] for row in rows if row["phase"] == "answering") for name, rows in costs.items()}
    assert answered["again"] == answered["whole"]
    assert {row["reused"] for row in costs["again"] if row["phase"] == "answering"} == {True, False}


def experiment(root: Path, folder: str) -> Experiment:
    book, world = StatuteBook(acts=6, sections=2), GeneralWorld(subjects=10)
    (root / folder).mkdir()
    return Experiment(
        name="gold", adaptation="none", context="gold", pipeline=Pipeline(NoAdaptation(), Gold(1)),
        model=BaseModel(), corpus=StatuteCorpus(book), exam=StatuteExam(book),
        general=GeneralWorldSuite(world, closed_book=2, reading=4, paragraphs=2), seed=0, device="cpu",
        artifacts=root / "artifacts", folder=root / folder, reference="rag", answer_tokens=8,
    )  # fmt: skip
