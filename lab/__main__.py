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
from omegaconf.errors import OmegaConfBaseException

from lab.records import LabError
from lab.report import show
from lab.runtime import quiet_libraries

CONF = Path(__file__).resolve().parent.parent / "conf"

finished: list[Path] = []
reference = "rag"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> None:
    """One route sits the exam; in a multirun hydra calls this once a route."""
    global reference
    from lab.run import Experiment, run  # Late: `--help` and `--cfg job` need no torch.

    quiet_libraries()
    settings = HydraConfig.get()
    reference = config.reference
    parts = {name: build(config[name], name) for name in ("pipeline", "model", "corpus", "exam", "general")}
    finished.append(
        run(
            Experiment(
                name=settings.runtime.choices["pipeline"],
                adaptation=settings.runtime.choices["adapt@pipeline.adaptation"],
                context=settings.runtime.choices["context@pipeline.context"],
                seed=config.seed,
                device=config.device,
                artifacts=Path(config.artifacts),
                folder=Path(settings.runtime.output_dir),
                reference=config.reference,
                limit=config.limit,
                **parts,
            )
        )
    )


def build(config: DictConfig, name: str) -> Any:
    """Make an object of a configuration; only the lab's own classes may be named in it."""
    for target in _targets(OmegaConf.to_container(config, resolve=True)):
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
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, LabError | TypeError):
        return str(error.__cause__)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error.__cause__, Exception) and not lines:
        return _one_line(error.__cause__)
    return " ".join(lines[:6])


def command_line() -> int:
    """Exit codes: 0 done, 2 a mistake the user can mend, 130 interrupted."""
    verbose = "-v" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "-v"]
    finished.clear()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Errors come here instead of being printed with hydra's traceback.
    try:
        main()
        if finished:
            runs = [Path(os.path.relpath(folder)) for folder in finished]
            show(runs, reference, csv=(runs[0].parent if len(runs) > 1 else runs[0]) / "comparison.csv")
    except (LabError, HydraException, OmegaConfBaseException) as error:
        if verbose:
            raise
        print(f"lab: {_one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        if verbose or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        print(
            f"lab: {error.strerror}: {error.filename or 'the run folder'}; "
            "free some space, or name other folders with artifacts=DIR hydra.run.dir=DIR hydra.sweep.dir=DIR",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        if verbose:
            raise
        print(
            "lab: interrupted; prepared artifacts are kept and will be reused, unfinished runs are ignored",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(command_line())
