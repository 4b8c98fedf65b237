"""Experiments of several arms: each arm is a multirun of its own, in a process of its own, as many at once as fit.

An experiment's YAML names its arms and the words of each, and the report that is made of all their runs:

    arms:
      raw: pipeline=cpt training.texts=[documents] seed=0,1,2
      wrong: pipeline=rag corpus.wrong=true
    report: lab.report.known

A report that does not take all runs alike names them: `lab.report.mixture {root}/small --predict {root}/large`. Words
given on the command line replace those of every arm. A route that two arms share is trained once: artifacts are kept
by content.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from lab.progress import PLAIN, QUIET, VERBOSE
from lab.records import FAILURE, Failure, LabError, write_jsonl
from lab.stopping import Terminated


@dataclass(frozen=True)
class Arms:
    """words: of each arm. report: a module of `lab.report` with its words. jobs: how many arms at once."""

    experiment: str
    words: dict[str, list[str]]
    report: list[str]
    jobs: int

    def run(self, root: Path, level: int = PLAIN) -> int:
        """Run all arms below `root` and print the report. Exit code: 0, or 1 where an arm failed.

        level: how much they and this say, see `lab.progress.speak`; an arm that fails is always told.
        """
        root.mkdir(parents=True, exist_ok=True)
        waiting, running = list(self.words), dict[str, tuple[subprocess.Popen[bytes], float]]()
        failed: list[str] = []
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        quiet = level == QUIET
        if not quiet:
            console.print(f"{self.experiment}: {len(waiting)} arms, {self.jobs} at once, in {root}")
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
            tasks: dict[str, TaskID] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < self.jobs:
                        arm = waiting.pop(0)
                        running[arm] = (self._start(arm, root, level), time.monotonic())
                        tasks[arm] = bars.add_task(arm, total=None)
                        if not quiet:
                            console.print(f"  {arm}: {' '.join(self.words[arm])}")
                    time.sleep(0.2)
                    for arm, (process, begun) in list(running.items()):
                        if process.poll() is None:
                            bars.update(tasks[arm], description=f"{arm} | {_last_line(_log(root, arm))[:90]}")
                            continue
                        del running[arm]
                        bars.remove_task(tasks[arm])
                        done = len(self.words) - len(waiting) - len(running)
                        how = "done" if process.returncode == 0 else f"failed: {_last_line(_log(root, arm))}"
                        failed += [arm] * (process.returncode != 0)
                        if process.returncode < 0:  # It could not say so itself.
                            reason = f"{signal.Signals(-process.returncode).name}; see {_log(root, arm).name}"
                            (root / arm).mkdir(exist_ok=True)
                            write_jsonl(root / arm / FAILURE, [Failure(arm, 0, "killed", reason)])
                        if not quiet or process.returncode:
                            seconds = time.monotonic() - begun
                            console.print(f"  [{done}/{len(self.words)}] {arm}, {seconds:.0f} s: {how}")
            except BaseException as error:
                for process, _ in running.values():
                    process.send_signal(signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
                for process, _ in running.values():
                    process.wait()
                raise
        if failed and len(failed) == len(self.words):
            raise LabError(f"every arm failed; see {root}/*.log")
        module, *words = (word.replace("{root}", str(root)) for word in self.report)
        paths = [] if words != self.report[1:] else [str(root)]
        code = int(importlib.import_module(module).main([*paths, *words]))
        if failed:
            print(f"lab: not all arms ran: {', '.join(failed)}; see {root}/*.log", file=sys.stderr)
        return code or int(bool(failed))

    def _start(self, arm: str, root: Path, level: int) -> subprocess.Popen[bytes]:
        threads = max(1, (os.cpu_count() or 1) // self.jobs)  # Two that share a core wait for one another.
        flag = {QUIET: ["-q"], VERBOSE: ["-v"]}.get(level, [])
        command = [sys.executable, "-m", "lab", *flag, "-m", f"experiment={self.experiment}", *self.words[arm]]
        (root / arm / FAILURE).unlink(missing_ok=True)  # Of an earlier time in the same folder.
        with _log(root, arm).open("wb") as log:
            return subprocess.Popen(
                [*command, f"arm={arm}", f"hydra.sweep.dir={root / arm}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"OMP_NUM_THREADS": str(threads), **os.environ},
            )


def arms_of(arguments: Sequence[str], conf: Path) -> Arms | None:
    """The arms that a command line asks for, None where it asks for an ordinary run, or is one of an arm.

    LabError where the number of jobs is no number.
    """
    given = {word.split("=", 1)[0]: word for word in arguments if "=" in word and not word.startswith("-")}
    flags = [word for word in arguments if word.startswith("-")]
    if "experiment" not in given or "arm" in given or set(flags) - {"-m", "--multirun"}:
        return None
    name = given["experiment"].split("=", 1)[1]
    file = conf / "experiment" / f"{name}.yaml"
    if not file.is_file():
        return None  # Hydra says what there is.
    settings: Any = OmegaConf.to_container(OmegaConf.load(file))
    if not settings.get("arms"):
        return None
    own = {key: word for key, word in given.items() if key not in ("experiment", "jobs")}
    words = {}
    for arm, told in settings["arms"].items():
        kept = {word.split("=", 1)[0]: word for word in str(told).split()}
        words[str(arm)] = list({**kept, **own}.values())
    return Arms(name, words, str(settings["report"]).split(), _jobs(given.get("jobs", "jobs=auto"), len(words)))


def _jobs(word: str, arms: int) -> int:
    value = word.split("=", 1)[1]
    if value == "auto":
        import torch  # Late: it takes seconds, and `--help` needs none.

        # One GPU is best used by one arm, and a CPU by an arm a core.
        return 1 if torch.cuda.is_available() else max(1, min(arms, os.cpu_count() or 1))
    if not value.isdecimal() or int(value) < 1:
        raise LabError(f"{word}: auto, or a whole number of at least 1, is needed")
    return int(value)


def _log(root: Path, arm: str) -> Path:
    return root / f"{arm}.log"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"nothing said yet, see {log}"
