"""A disk that is full, broken or read-only while a run writes: one line, nothing lost, and the same words go on.

`python -m tests.faults.disk` does the same for every place that a run writes.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from lab.records import LabError
from lab.report import load
from lab.report.find import failures
from tests.faults.disk import ROUTE, Disk, fault, sit, whole
from tests.faults.kills import differences, digests
from tests.faults.limits import files_of_at_most

pytestmark = pytest.mark.slow

FULL, BROKEN, READ_ONLY = errno.ENOSPC, errno.EIO, errno.EROFS
PLACES = (  # In the order of a run, which after each goes on with what was whole before it.
    ("mkdir run", READ_ONLY),
    ("write run/log.txt", FULL),
    ("write run/.hydra/config.yaml", FULL),
    ("write run/manifest.part", BROKEN),
    ("save artifacts/weights/.states-/.building-/moments.safetensors", FULL),
    ("write artifacts/weights/.building-/texts.jsonl", FULL),
    ("fsync artifacts/weights", BROKEN),  # Its weights are in their place, and nobody was told.
    ("save artifacts/vectors/.building-/vectors.safetensors", FULL),
    ("write artifacts/index/.building-/index.faiss", READ_ONLY),
    ("write artifacts/answers/.building-/answers.jsonl", FULL),
    ("write run/answers.jsonl", FULL),
    ("write run/costs.jsonl", FULL),
    ("replace run/metrics.part", BROKEN),
    ("write run/comparison.csv", FULL),
)


@pytest.fixture(scope="module")
def route(random_model: Path) -> tuple[str, ...]:
    return (*ROUTE, f"model.path={random_model}")


@pytest.fixture(scope="module")
def finished(route: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on a whole disk."""
    root = tmp_path_factory.mktemp("whole")
    code, _, told = sit(root, words=route)
    assert (code, told) == (0, "")
    return root


@pytest.fixture(scope="module")
def expected(finished: Path) -> dict[str, str]:
    return digests(finished)


def test_wherever_the_disk_fails_the_same_words_go_on(route, expected, tmp_path):
    for place, error in PLACES:
        assert fault(tmp_path, Disk(tmp_path, error, place.__eq__), route) is None, place
        if not place.startswith(("replace run/metrics", "write run/comparison")):  # All but the report was there.
            with pytest.raises(LabError):
                load(tmp_path / "run")
    assert sit(tmp_path, words=route)[0] == 0
    assert differences(expected, digests(tmp_path)) == []


def test_where_the_system_itself_refuses_to_write(route, expected, tmp_path):
    """With real half-written files: of hydra's, of a state, which Rust writes, of weights, and of the exam's."""
    weights = 5_000_000
    for limit in (2_000, 40_000, weights):
        with files_of_at_most(limit):
            code, _, told = sit(tmp_path, words=route)
        assert code == 2, told
        assert f"cannot be written ({os.strerror(errno.EFBIG)}); raise the limit" in told.splitlines()[-1]
        whole(tmp_path)
    assert sit(tmp_path, words=route)[0] == 0
    assert differences(expected, digests(tmp_path)) == []


def test_files_that_went_bad_on_the_disk_are_made_again(route, finished, expected, tmp_path):
    shutil.copytree(finished / "artifacts", tmp_path / "artifacts")
    spoilt = sorted(whole(tmp_path))
    for number, name in enumerate(spoilt):
        file = max((path for path in (tmp_path / name).iterdir()), key=lambda path: path.stat().st_size)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data[:-7] if number % 2 else data)
    assert {name.split("/")[1] for name in spoilt} == {"weights", "vectors", "index", "answers"}
    code, _, told = sit(tmp_path, words=route)
    assert code == 0, told
    # The same weights made again are the same model: their answers need no second making.
    assert [name for name in spoilt if f"{tmp_path / name} is not whole" not in told] == []
    assert differences(expected, digests(tmp_path)) == []


@pytest.mark.parametrize("name", ["artifacts", "run"])
def test_a_file_in_the_place_of_a_folder_is_named(name, route, tmp_path):
    (tmp_path / name).write_text("in the way")
    code, _, told = sit(tmp_path, words=route)
    assert code == 2
    assert len(told.splitlines()) == 1
    assert str(tmp_path / name) in told
    assert "move the file away" in told
    assert f"{name if name == 'artifacts' else 'hydra.run.dir'}=DIR" in told


SEVERAL = ("-m", "pipeline=closed_book,rag,gold", "reference=closed_book")


def test_artifacts_that_cannot_be_kept_fail_their_route_alone(random_model, tmp_path):
    words = (*SEVERAL, f"model.path={random_model}")
    full, freed = "save artifacts/vectors/.building-/vectors.safetensors", "write run/1-rag/failure.jsonl"
    disk = Disk(tmp_path, FULL, full.__eq__, freed.__eq__)
    code, out, told = sit(tmp_path, disk, words)
    assert code == 1
    assert told.splitlines()[-1] == "lab: 1 of 3 routes failed; see above"
    (failure,) = failures([tmp_path])
    assert (failure.pipeline, failure.kind) == ("rag", "disk")
    assert "No space left on device" in failure.reason
    assert "Failed, and in no figure above" in out


def test_a_route_that_cannot_even_note_its_failure_stands_in_the_table(random_model, tmp_path):
    words = (*SEVERAL, f"model.path={random_model}")
    disk = Disk(tmp_path, FULL, "write run/1-rag/answers.jsonl".__eq__)
    code, out, told = sit(tmp_path, disk, words)
    assert code == 2
    last = told.splitlines()[-1]
    assert last.startswith("lab: ")
    assert "No space left on device" in last
    assert "Traceback" not in told
    assert failures([tmp_path]) == []
    table = out[out.index("Failed, and in no figure above") :]
    assert "rag" in table
    assert "disk" in table
    assert sit(tmp_path, words=words)[0] == 0
