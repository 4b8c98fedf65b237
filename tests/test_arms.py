"""Arms of an experiment: which words each gets, how many run at once, what is said of those that fail."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lab.arms import Arms, arms_of
from lab.records import LabError
from lab.report.find import failures

CONF = Path(__file__).parent.parent / "conf"
# Stands in for the lab: writes down when it ran and with which words, and fails where it is told to.
STUB = """
import json, pathlib, sys, time
words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
begun = time.time()
try:
    time.sleep(float(words.get("sleep", 0.4)))
except KeyboardInterrupt:
    pathlib.Path(words["arm"] + ".interrupted").touch()
    sys.exit(130)
told = {"words": sys.argv[1:], "begun": begun, "ended": time.time()}
pathlib.Path(words["arm"] + ".json").write_text(json.dumps(told))
if "fail" in words:
    sys.exit("the disk is full")
"""


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A folder whose `lab` is the stub; gathers what the report was asked."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__main__.py").write_text(STUB)
    monkeypatch.chdir(tmp_path)
    asked: list[list[str]] = []
    monkeypatch.setitem(sys.modules, "lab.report.stub", SimpleNamespace(main=lambda words: asked.append(words) or 0))
    return asked


def arms(jobs: int = 2, **words: str) -> Arms:
    return Arms("known", {name: told.split() for name, told in words.items()}, ["lab.report.stub", "--x", "a"], jobs)


def test_every_arm_runs_with_its_words_and_the_report_sees_them_all(reported, tmp_path):
    assert arms(one="pipeline=rag", two="pipeline=cpt seed=0,1", three="").run(Path("runs/x")) == 0
    assert reported == [["runs/x", "--x", "a"]]
    told = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two", "three")}
    shared = ["-m", "experiment=known"]
    assert told["two"]["words"] == [*shared, "pipeline=cpt", "seed=0,1", "arm=two", "hydra.sweep.dir=runs/x/two"]
    assert told["three"]["words"] == [*shared, "arm=three", "hydra.sweep.dir=runs/x/three"]


def test_a_report_may_name_the_arms_it_takes(reported):
    Arms("law", {"small": []}, ["lab.report.stub", "{root}/small", "--predict", "{root}/large"], 1).run(Path("r"))
    assert reported == [["r/small", "--predict", "r/large"]]


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_more_run_at_once_than_told(reported, tmp_path, jobs):
    arms(jobs, **dict.fromkeys("abcd", "sleep=0.5")).run(Path("runs"))
    spans = [json.loads((tmp_path / f"{name}.json").read_text()) for name in "abcd"]
    at_once = [sum(other["begun"] <= one["begun"] < other["ended"] for other in spans) for one in spans]
    assert max(at_once) <= jobs


def test_an_arm_that_fails_is_named_and_the_others_count(reported, capsys):
    assert arms(good="", bad="fail=1").run(Path("runs")) == 1
    assert len(reported) == 1
    said = capsys.readouterr().err
    assert "bad, " in said
    assert "failed: the disk is full" in said
    assert "not all arms ran: bad" in said
    with pytest.raises(LabError, match="every arm failed"):
        arms(bad="fail=1").run(Path("others"))
    assert len(reported) == 1


@pytest.fixture
def interruptible():
    """What a shell starts in the background ignores Ctrl-C, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_stops_every_arm(reported, interruptible, tmp_path, monkeypatch):
    real, given_up = time.sleep, time.monotonic() + 60

    def interrupt(seconds: float) -> None:
        if len(list(tmp_path.glob("*.started"))) == 2 or time.monotonic() > given_up:
            raise KeyboardInterrupt
        real(seconds)

    # It says that it has started where an interrupt already finds its handler.
    (tmp_path / "lab" / "__main__.py").write_text(
        STUB.replace("try:\n", 'try:\n    pathlib.Path(words["arm"] + ".started").touch()\n', 1)
    )
    monkeypatch.setattr("lab.arms.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        arms(one="sleep=60", two="sleep=60").run(Path("runs"))
    assert {path.name for path in tmp_path.glob("*.interrupted")} == {"one.interrupted", "two.interrupted"}


def test_words_of_the_command_line_replace_those_of_an_arm(tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "two.yaml").write_text("arms:\n  a: pipeline=cpt seed=0,1,2\n  b: pipeline=rag\nreport: m --x y\n")
    (folder / "plain.yaml").write_text("limit: 3\n")
    found = arms_of(["experiment=two", "seed=7", "jobs=3", "limit=5"], tmp_path)
    assert found == Arms("two", {
        "a": ["pipeline=cpt", "seed=7", "limit=5"], "b": ["pipeline=rag", "seed=7", "limit=5"],
    }, ["m", "--x", "y"], 3)  # fmt: skip
    for ordinary in (
        ["pipeline=rag"],
        ["experiment=plain"],
        ["experiment=missing"],
        ["experiment=two", "arm=a", "-m"],
        ["experiment=two", "--cfg", "job"],
    ):
        assert arms_of(ordinary, tmp_path) is None
    with pytest.raises(LabError, match="jobs=few: auto, or a whole number"):
        arms_of(["experiment=two", "jobs=few"], tmp_path)


REPORTS = {
    file.stem: report.split()
    for file in sorted((CONF / "experiment").glob("*.yaml"))
    if (report := OmegaConf.load(file).get("report"))
}


@pytest.mark.parametrize("experiment", REPORTS)
def test_the_report_of_every_experiment_takes_its_words(experiment, tmp_path, capsys):
    assert Arms(experiment, {}, REPORTS[experiment], 1).run(tmp_path / "nothing") == 2  # Its folder is empty.
    said = capsys.readouterr().err
    assert "no run" in said or "no such folder" in said


def experiments() -> list[tuple[str, str, str]]:
    """(experiment, arm, words) of every arm that is shipped."""
    found = []
    for file in sorted((CONF / "experiment").glob("*.yaml")):
        settings = OmegaConf.to_container(OmegaConf.load(file))
        found += [(file.stem, arm, words) for arm, words in (settings.get("arms") or {}).items()]
    return found


@pytest.mark.parametrize(("experiment", "arm", "words"), experiments())
def test_the_words_of_every_arm_are_known(experiment, arm, words):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        chosen = [word.split(",")[0] if "[" not in word else word for word in words.split()]
        config = compose("config", overrides=[f"experiment={experiment}", *chosen, f"arm={arm}"])
    assert config.arm == arm


def test_an_arm_that_is_killed_is_a_failure_with_its_signal(reported, tmp_path, capsys):
    (tmp_path / "lab" / "__main__.py").write_text(
        STUB + "import os\nif 'kill' in words:\n    os.kill(os.getpid(), 9)\n"
    )
    assert arms(good="", bad="kill=1").run(Path("runs")) == 1
    assert [(failure.pipeline, failure.kind) for failure in failures(["runs"])] == [("bad", "killed")]
    assert "SIGKILL" in failures(["runs"])[0].reason
    assert len(reported) == 1
