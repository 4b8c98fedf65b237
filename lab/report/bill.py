"""What a route costs in money: to prepare, for each update, for a thousand questions and for a month.

Time is priced as that of the machine on which the run was made, by the hour that it took: a machine that stands idle
between questions costs more. Nothing is known of what an owner of a served model asks for it, so that is no number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lab.records import LabError
from lab.report.load import Run
from lab.report.scores import Route, prepared

PRICES = Path(__file__).resolve().parents[2] / "conf" / "prices"
DAYS_PER_MONTH = 365 / 12
JOULES_PER_KILOWATT_HOUR = 3.6e6
COLUMNS = [
    *("pipeline", "seed", "device"),
    *("prepare_cost", "update_cost", "cost_per_thousand", "storage_cost", "monthly_cost"),
    *("tuning_cost", "tuning_runs"),
    *("currency", "months_ahead"),
]


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


@dataclass(frozen=True)
class Prices:
    """What things cost, in `currency`.

    gpu_hour: a board with the machine around it. cpu_hour: one core. gb_month: 10^9 bytes kept for a month.
    kilowatt_hour: of the energy that the board reports; 0 where the hours have it in them. human_hour,
    human_hours_per_update: of people who clean documents, at first and for each update. months_ahead: how far prices
    are projected: in trend_months training falls to the share training_falls_to of its price, answering (and whatever
    else a model reads or writes without learning) to answering_falls_to. That is an assumption, and no measurement.
    """

    currency: str
    gpu_hour: float
    cpu_hour: float
    gb_month: float
    kilowatt_hour: float
    human_hour: float
    human_hours_per_update: float
    months_ahead: float
    trend_months: float
    training_falls_to: float
    answering_falls_to: float

    def __post_init__(self) -> None:
        if not isinstance(self.currency, str) or not self.currency:
            raise LabError("prices: currency: a name is needed, such as EUR")
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name != "currency" and not _is_amount(value):
                shown = value if isinstance(value, str | int | float) else type(value).__name__
                raise LabError(f"prices: {item.name}={shown}: a number of at least 0 is needed")
        for name in ("trend_months", "training_falls_to", "answering_falls_to"):
            if getattr(self, name) == 0:
                raise LabError(f"prices: {name}=0: a number above 0 is needed")

    @property
    def training_share(self) -> float:
        """What training costs of its price today: a quarter after 18 months, by the default."""
        return float(self.training_falls_to ** (self.months_ahead / self.trend_months))

    @property
    def answering_share(self) -> float:
        """What answering costs of its price today: a tenth after 18 months, by the default."""
        return float(self.answering_falls_to ** (self.months_ahead / self.trend_months))


@dataclass(frozen=True)
class Use:
    """How much is asked, and how often the corpus changes."""

    questions_per_day: float
    updates_per_month: float

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not _is_amount(value):
                raise LabError(f"{item.name}={value}: a number of at least 0 is needed")


USE = Use(questions_per_day=1000, updates_per_month=1)  # where nobody says how much is asked


def read_prices(name_or_path: str | Path) -> Prices:
    """Prices of a name in conf/prices, or of a file. LabError where there is none, or a price is missing or none."""
    path = Path(name_or_path)
    if path.suffix != ".yaml":
        path = PRICES / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PRICES.glob("*.yaml")))
        raise LabError(f"prices={name_or_path}: no such prices; choose {known}, or give the path of a .yaml file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LabError(f"{path}: not YAML ({' '.join(str(error).split())}); mend it") from None
    names = {item.name for item in dataclasses.fields(Prices)}
    given = set(values) if isinstance(values, dict) else set()
    for told, odd in (("there is no", names - given), ("unknown is", given - names)):
        if odd:
            raise LabError(f"{path}: {told} {', '.join(sorted(map(str, odd)))}; {PRICES / 'default.yaml'} has them all")
    return Prices(**values)


def bill(routes: Sequence[Route], prices: Prices, use: Use, tuning: Sequence[Run] = ()) -> pd.DataFrame:
    """One row a route, money in prices.currency, and NaN where it is not known (another system's, a served model's):

    - pipeline, seed: the route; seed is "all" where several are pooled, and the row then their mean.
    - device: "GPU", or "2 cores": what the time is priced as. "" where that is not known.
    - prepare_cost: of every phase before the exam, what was reused with what it took when it was made. Energy is in it
      where the board told it.
    - update_cost: of a new state of the corpus. It repeats the whole preparation, an upper bound: of an index only the
      changed passages are encoded again, and weights may be trained on (`lab.report.upkeep` measures both). 0 for the
      base closed-book, which reads no corpus.
    - cost_per_thousand: of a thousand questions like the exam's, asked in batches as the exam is.
    - storage_cost: a month of what preparation keeps on disk; the base itself is not in it.
    - monthly_cost: storage, updates and questions at this use. Neither the first preparation nor tuning is in it.
    - tuning_cost, tuning_runs: of all that the runs of `tuning` with the route's own name did, exam included, and how
      many they were. It is paid once, and in none of the other figures.
    - currency, months_ahead: of the prices.
    """
    rows = []
    for route in routes:
        known = [_run_costs(run, prices) for run in route.runs]
        prepare, answer, storage = (float(np.mean([costs[place] for costs in known])) for place in range(3))
        update = 0.0 if route.is_base else prepare
        questions = use.questions_per_day * DAYS_PER_MONTH
        monthly = storage + use.updates_per_month * update + questions * answer
        tried = [run for run in tuning if _name(run.pipeline) == _name(route.pipeline)]
        tuned = float(sum(_machine(run, run.costs, prices) for run in tried))
        costs = (prepare, update, 1000 * answer, storage, monthly, tuned, len(tried))
        device = _device(route.runs[0])
        rows.append((route.pipeline, route.seed, device, *costs, prices.currency, prices.months_ahead))
    return pd.DataFrame(rows, columns=COLUMNS)


def _run_costs(run: Run, prices: Prices) -> tuple[float, float, float]:
    """Of one run: to prepare, for one question, for a month of storage."""
    if run.costs.empty or run.manifest["parameters"] is None:  # Another system's, or a served model's.
        return math.nan, math.nan, math.nan
    phases = prepared(run)
    sat = run.costs[run.costs["phase"] == "answering"]
    asked = run.arrays["suite"] == "exam"
    seconds = float((run.arrays["seconds"] + run.arrays["retrieval_seconds"])[asked].astype(float).mean())
    # The phase scores known answers beside asking; the board draws as much in a second of either.
    watts = sat["joules"].sum() / sat["seconds"].sum() if sat["seconds"].sum() else 0.0
    answer = prices.answering_share * (seconds / 3600 * _hour(run, prices) + _energy(watts * seconds, prices))
    people = prices.human_hour * prices.human_hours_per_update
    return _machine(run, phases, prices) + people, answer, float(prices.gb_month * phases["bytes"].sum() / 1e9)


def _machine(run: Run, phases: pd.DataFrame, prices: Prices) -> float:
    """Of some rows of a run's ledger: the machine's hours, and the energy that is known."""
    hour = _hour(run, prices)
    return sum(
        _share(phase, run, prices) * (seconds / 3600 * hour + _energy(joules, prices))
        for phase, seconds, joules in zip(phases["phase"], phases["seconds"], phases["joules"].fillna(0), strict=True)
    )


def _energy(joules: float, prices: Prices) -> float:
    return joules / JOULES_PER_KILOWATT_HOUR * prices.kilowatt_hour


def _name(pipeline: str) -> str:
    """Without the settings that tell variants apart."""
    return pipeline.split(" ")[0]


def _share(phase: str, run: Run, prices: Prices) -> float:
    """What of today's price a phase costs; reading documents in is no model's work, so no trend is claimed for it."""
    trains = phase == "training" or (phase == "updating" and run.manifest["adaptation"] != "none")
    return 1.0 if phase == "ingest" else prices.training_share if trains else prices.answering_share


def _device(run: Run) -> str:
    """What a run's time is priced as; "" where its folder does not tell."""
    environment = run.manifest.get("environment", {})  # Another system's answers bring none.
    # Folders of earlier versions do not say the device: a run took the GPU where there was one.
    device = environment.get("device", "cuda" if environment.get("gpu") else "cpu")
    cores = environment.get("threads")
    return "GPU" if device == "cuda" else f"{cores} core{'s' * (cores > 1)}" if cores else ""


def _hour(run: Run, prices: Prices) -> float:
    device = _device(run)
    return prices.gpu_hour if device == "GPU" else prices.cpu_hour * int(device.split()[0]) if device else math.nan
