"""The command line: `python -m lab pipeline=rag`. The only module that imports hydra.

Configuration ends here: what goes on to `lab.run` are objects and values.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from lab import ranks
from lab.arms import arms_of
from lab.progress import PLAIN, QUIET, Progress, flags, speak, step, verbose
from lab.records import FAILURE, Failure, LabError
from lab.report import Prices, show
from lab.report.find import failures
from lab.report.load import MANIFEST, read_manifest
from lab.routes import Routes, outlived
from lab.runtime import quiet_libraries
from lab.secret import refuse_secrets
from lab.stopping import Overdue, Terminated, exit_code, install, within
from lab.store import disk_error

log = logging.getLogger("lab")

CONF = Path(__file__).resolve().parent.parent / "conf"

routes = Routes(Path("runs"))
errors: list[BaseException] = []
reference = "rag"
arm: str | None = None
prices: Prices | None = None
level = PLAIN

CHOICE = "artifacts=DIR, hydra.run.dir=DIR, hydra.sweep.dir=DIR"
# Mistakes that a person can mend: told in one line, without a traceback.
TOLD = (LabError, HydraException, OmegaConfBaseException, OSError)


class Stopped(BaseException):
    """Carries an error past hydra, which would add a line of its own and then go on with the next route."""

    def __init__(self, error: Exception) -> None:
        self.error = error


OmegaConf.register_new_resolver("lab.folder", lambda: str(routes.folder))  # One folder, whichever process goes on.


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> None:
    """One route sits the exam; in a multirun hydra calls this once a route."""
    global reference, prices, arm
    reference, prices, arm = config.reference, Prices(**config.prices), config.arm
    settings = HydraConfig.get()
    if _several() and not _elsewhere():
        if settings.job.num < routes.begun:
            return  # An earlier process of this command had it.
        if Path(settings.sweep.dir) == routes.folder:  # Who names another folder finds it again by its name.
            routes.open()
        routes.begin(settings.runtime.choices["pipeline"], config.seed, Path(settings.runtime.output_dir))
    try:
        with within(_seconds(config.limit_seconds)):
            _run(config)
    except TOLD as error:
        # Of several routes those that can go on do; a configuration that cannot be read stops them all.
        unreadable = isinstance(error, HydraException | OmegaConfBaseException) and not _elsewhere()
        if not _goes_on() or unreadable:
            raise Stopped(error) from error
        _note_failure(config, error)
    except (Exception, Overdue) as error:
        if not _goes_on():
            if isinstance(error, Overdue):  # Told in one line, as any limit that the user set.
                raise Stopped(LabError(str(error))) from error
            raise
        _note_failure(config, error)


def _several() -> bool:
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def _elsewhere() -> bool:
    """Whether a launcher such as joblib or Slurm has this route run in a process that tells by its folder alone."""
    return not HydraConfig.get().launcher._target_.endswith(".BasicLauncher")


def _goes_on() -> bool:
    """Whether other routes are run where one has failed. Ranks would not agree on where they are in the next one."""
    return _several() and ranks.count() == 1


def _seconds(limit: Any) -> float | None:
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit <= 0):
        raise LabError(f"limit_seconds={limit}: a number above 0, or null, is needed")
    return limit


def _note_failure(config: DictConfig, error: BaseException) -> None:
    """Say what became of a route, in the log and in its folder, where the report finds it."""
    settings = HydraConfig.get()
    name, folder = settings.runtime.choices["pipeline"], Path(settings.runtime.output_dir)
    failure = Failure.of(error, name, config.seed)
    errors.append(error)
    routes.fail(failure, folder)
    trace = error if failure.kind == "fault" else None  # The code's own: where it arose is of use.
    log.error("%s failed (%s): %s", name, failure.kind, failure.reason, exc_info=trace)


def _collect(sweep: Path) -> None:
    """What became of routes that ran in other processes, from their folders; one that tells nothing was killed."""
    global reference, prices, arm
    told = [(OmegaConf.load(file).hydra, file.parent) for file in sweep.rglob(".hydra/hydra.yaml")]
    for settings, hidden in sorted(told, key=lambda one: int(one[0].job.num)):
        folder, config = hidden.parent, OmegaConf.load(hidden / "config.yaml")
        reference, prices, arm = config.reference, Prices(**config.prices), config.arm
        routes.begin(settings.runtime.choices["pipeline"], config.seed, folder)
        if (folder / MANIFEST).is_file() and read_manifest(folder)["finished"]:
            routes.finish(folder)
            continue
        killed = Failure(
            settings.runtime.choices["pipeline"], config.seed, "killed", f"its job ended early; see {sweep}"
        )
        failure = next(iter(failures([folder])), killed)
        routes.fail(failure, folder)
        if failure.kind in ("mistake", "diverged"):
            errors.append(LabError(failure.reason))


def _run(config: DictConfig) -> None:
    speak(level)  # Again: hydra has just set up the log.
    with Progress("lab"), step("starting"):
        from lab.run import Experiment, run  # Late: `--help` and `--cfg job` need no torch.

        quiet_libraries()
    settings = HydraConfig.get()
    choices = settings.runtime.choices
    (Path(settings.runtime.output_dir) / FAILURE).unlink(missing_ok=True)  # Of an earlier time in the same folder.
    parts = {name: build(config[name], name) for name in ("pipeline", "model", "corpus", "exam", "general")}
    routes.finish(
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


def _launched() -> bool:
    """Whether the command line has a multirun's routes run in processes of their own."""
    return any(word.startswith("hydra/launcher=") for word in sys.argv)


def _pinned_sweep() -> Path:
    """Where a multirun's folders belong; said on the command line, since other processes cannot ask this one."""
    given = [word.removeprefix("hydra.sweep.dir=") for word in sys.argv if word.startswith("hydra.sweep.dir=")]
    if not given:
        sys.argv.append(f"hydra.sweep.dir={routes.folder}")
    return Path(given[-1]) if given else routes.folder


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


def command_line(earlier: Routes | None = None) -> int:
    """Do what the command line says. earlier: what an earlier process did of it.

    Exit codes: 0 done, 1 where some of several routes or arms failed, 2 a mistake the user can mend, 130 and 143
    stopped by Ctrl-C and by SIGTERM. Of several processes only the first speaks and writes.
    """
    if not ranks.rank():
        return _command_line(earlier)
    with TemporaryDirectory() as unused:
        sys.argv = [word for word in sys.argv if word != "-v"]
        sys.argv += ["-q", f"hydra.run.dir={unused}", f"hydra.sweep.dir={unused}", "hydra.output_subdir=null"]
        logging.disable()
        try:
            return _command_line(earlier)
        except KeyboardInterrupt as error:  # While it let rank 0 speak.
            return exit_code(error)


def _command_line(earlier: Routes | None) -> int:
    global level, routes
    given = sys.argv[1:]
    install()
    routes.let_go()
    routes = earlier or Routes.of(given)
    errors.clear()
    speak(PLAIN)
    logging.raiseExceptions = False  # A log that cannot be written is no reason for a traceback at each of its lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Errors come here instead of being printed with hydra's traceback.
    try:
        refuse_secrets(given)
        words, level = flags(given)
        sys.argv = [sys.argv[0], *words]
        speak(level)
        if routes.again and not routes.begun and level != QUIET:
            print(f"going on in {routes.folder}, where the same words did not come to their end", file=sys.stderr)
        arms = arms_of(sys.argv[1:], CONF) if any(word.startswith("experiment=") for word in sys.argv) else None
        if arms and ranks.count() > 1:
            raise LabError(f"experiment={arms.experiment}: its arms are processes of their own; launch one of them")
        if arms:
            if not routes.again:
                routes.folder = routes.folder.with_name(f"{routes.folder.name}-{arms.experiment}")
            routes.open()
            code = arms.run(routes.folder, level)
            if code == 0:
                routes.close()
            return code
        cut_short: Exception | None = None
        sweep = _pinned_sweep() if _launched() else None
        try:
            main()
        except Stopped as stopped:
            raise stopped.error from stopped.error.__cause__  # `from None` would take its reason off it.
        except Exception as error:  # Between two routes hydra writes as well; what is finished counts all the same.
            if not routes.begun and sweep is None:
                raise
            cut_short = error
        if sweep is not None and not routes.begun:
            _collect(sweep)
            if not routes.begun and cut_short:
                raise cut_short
        if ranks.rank():
            return 0
        if routes.failed and not routes.finished:
            first = cut_short or next(iter(errors), None)
            if first is not None and (isinstance(first, LabError) or cut_short or verbose()):
                raise first
            print(f"lab: every route failed, the first of them: {routes.failed[0].reason}", file=sys.stderr)
            return 1
        if routes.finished and arm is None:  # The runs of an arm are reported with those of the others.
            runs = [Path(os.path.relpath(folder)) for folder in routes.finished]
            several = len(routes.finished) + len(routes.failed) > 1
            csv = (runs[0].parent if several else runs[0]) / "comparison.csv"
            show(runs, reference, csv, prices, failed=routes.failed)
        if routes.failed:
            of = len(routes.failed) + len(routes.finished)
            print(f"lab: {len(routes.failed)} of {of} routes failed; see above", file=sys.stderr)
        if cut_short:
            raise cut_short
        if routes.failed:
            return 1
        routes.close()
    except Exception as error:
        told = disk_error(error, None, CHOICE) or error
        # Some of hydra's own errors are OSErrors, without a number.
        if verbose() or not isinstance(told, TOLD) or (isinstance(told, OSError) and told.errno is not None):
            raise
        ranks.let_first_speak()
        print(f"lab: {_one_line(told)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        how = "terminated" if isinstance(error, Terminated) else "interrupted"
        if ranks.rank():
            return exit_code(error)
        print(
            f"lab: {how}; what was prepared, trained and answered so far is kept, and the unfinished run ignored. To "
            f"go on: python -m lab {shlex.join(given)}",
            file=sys.stderr,
        )
        return exit_code(error)
    return 0


if __name__ == "__main__":
    # Only several routes have others to lose: an experiment may be of several without a word that says so.
    several = any(word in ("-m", "--multirun") or word.startswith("experiment=") for word in sys.argv)
    alone = several and not _launched() and ranks.count() == 1
    sys.exit(outlived(command_line, Routes.of(sys.argv[1:])) if alone else command_line())
