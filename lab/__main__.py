"""The command line: `python -m lab pipeline=rag`. The only module that imports hydra.

Configuration ends here: what goes on to `lab.run` are objects and values.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from lab.arms import arms_of, folder_of
from lab.progress import PLAIN, Progress, flags, speak, step, verbose
from lab.records import LabError
from lab.report import show
from lab.runtime import quiet_libraries

CONF = Path(__file__).resolve().parent.parent / "conf"

finished: list[Path] = []
reference = "rag"
level = PLAIN

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
# Mistakes that a person can mend: told in one line, without a traceback.
TOLD = (LabError, HydraException, OmegaConfBaseException, OSError)


class Stopped(BaseException):
    """Carries an error past hydra, which would add a line of its own and then go on with the next route."""

    def __init__(self, error: Exception) -> None:
        self.error = error


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> None:
    """One route sits the exam; in a multirun hydra calls this once a route."""
    try:
        _run(config)
    except TOLD as error:
        raise Stopped(error) from error


def _run(config: DictConfig) -> None:
    global reference
    speak(level)  # Again: hydra has just set up the log.
    with Progress("lab"), step("starting"):
        from lab.run import Experiment, run  # Late: `--help` and `--cfg job` need no torch.

        quiet_libraries()
    settings = HydraConfig.get()
    choices = settings.runtime.choices
    reference = config.reference
    parts = {name: build(config[name], name) for name in ("pipeline", "model", "corpus", "exam", "general")}
    finished.append(
        run(
            Experiment(
                name=choices["pipeline"],
                adaptation=choices["adapt@pipeline.adaptation"],
                context=choices["context@pipeline.context"],
                seed=config.seed,
                device=config.device,
                artifacts=Path(config.artifacts),
                folder=Path(settings.runtime.output_dir),
                reference=config.reference,
                arm=config.arm,
                tracker=config.tracker,
                overrides=tuple(settings.overrides.task),
                limit=config.limit,
                allow_leak=config.allow_leak,
                answer_tokens=config.answer_tokens,
                **parts,
            )
        )
    )


def build(config: DictConfig, name: str) -> Any:
    """Make an object of a configuration; only the lab's own classes may be named in it."""
    try:
        container = OmegaConf.to_container(config, resolve=True)
    except InterpolationKeyError:
        raise LabError(
            f"{name}={HydraConfig.get().runtime.choices[name]} belongs to the embedded corpus; "
            f"with your own give {name}=jsonl {name}.path=FILE"
        ) from None
    for target in _targets(container):
        if not str(target).startswith("lab."):
            raise LabError(f"{name}: _target_={target} is not part of the lab; name a class below `lab.`")
    return hydra.utils.instantiate(config)


def _targets(value: Any) -> list[Any]:
    if isinstance(value, dict):
        own = [value["_target_"]] if "_target_" in value else []
        return own + [target for part in value.values() for target in _targets(part)]
    return [target for part in value for target in _targets(part)] if isinstance(value, list) else []


def _one_line(error: BaseException) -> str:
    """What a person needs of an error: hydra and omegaconf add where in their own code it happened."""
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK:
        where = error.filename or "the run folder"
        return (
            f"{error.strerror}: {where}; free some space, or name other folders with "
            "artifacts=DIR hydra.run.dir=DIR hydra.sweep.dir=DIR"
        )
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, LabError | TypeError):
        return str(error.__cause__)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error.__cause__, Exception) and not lines:
        return _one_line(error.__cause__)
    return " ".join(lines[:6])


def command_line() -> int:
    """Exit codes: 0 done, 1 where arms of an experiment failed, 2 a mistake the user can mend, 130 interrupted."""
    global level
    finished.clear()
    speak(PLAIN)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Errors come here instead of being printed with hydra's traceback.
    try:
        words, level = flags(sys.argv[1:])
        sys.argv = [sys.argv[0], *words]
        speak(level)
        arms = arms_of(sys.argv[1:], CONF) if any(word.startswith("experiment=") for word in sys.argv) else None
        if arms:
            return arms.run(folder_of(arms.experiment), level)
        try:
            main()
        except Stopped as stopped:
            raise stopped.error from stopped.error.__cause__  # `from None` would take its reason off it.
        if finished:
            runs = [Path(os.path.relpath(folder)) for folder in finished]
            show(runs, reference, csv=(runs[0].parent if len(runs) > 1 else runs[0]) / "comparison.csv")
    except TOLD as error:
        # Some of hydra's own errors are OSErrors too, without a number.
        if verbose() or (isinstance(error, OSError) and error.errno not in (*DISK, None)):
            raise
        print(f"lab: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if verbose():
            raise
        print("lab: interrupted; prepared artifacts are kept and reused, unfinished runs are ignored", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(command_line())
