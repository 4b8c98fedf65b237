"""A tracker beside the run folder: TensorBoard or trackio, both on this machine. No result depends on one.

While weights are trained the Trainer reports to it by itself, by step: loss, learning rate, gradient norm, and each
look at the way. When the run is done it gets the curve over the tokens trained on, of kept weights too, which were not
trained in this run, and the run's metrics.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from lab.records import LabError
from lab.report import Run, metrics

NONE, TENSORBOARD, TRACKIO = "none", "tensorboard", "trackio"
TRACKERS = (NONE, TENSORBOARD, TRACKIO)
PROJECT = "open-book-exam-lab"
LOGGED_SHARE = 0.01  # Of a training's steps, from one report to the next.
FOLDER = "TENSORBOARD_LOGGING_DIR"
# They would send what is reported to a server. Nothing leaves the machine because a shell was set up for other work.
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID")


@dataclass(frozen=True)
class Tracker:
    """name: one of `TRACKERS`; LabError for another, and where its package is not installed. folder: the run's.

    TensorBoard's files go to `tensorboard` in the run folder, so that `tensorboard --logdir runs` shows all runs.
    trackio keeps all runs in a place of its own; `trackio show --project open-book-exam-lab` shows them.
    """

    name: str
    folder: Path

    def __post_init__(self) -> None:
        if self.name not in TRACKERS:
            raise LabError(f"tracker={self.name}: choose of {', '.join(TRACKERS)}")
        if self.name != NONE and find_spec(self.name) is None:
            raise LabError(
                f"tracker={self.name}: {self.name} is not installed; pip install 'open-book-exam-lab[{self.name}]', or "
                "tracker=none"
            )

    @property
    def run(self) -> str:
        """What the run is called among others: its folder and the one above."""
        return "/".join(self.folder.resolve().parts[-2:])

    @property
    def reporting(self) -> dict[str, Any]:
        """How a Trainer reports to it, as words of `TrainingArguments`."""
        if self.name == NONE:
            return {"report_to": "none", "logging_strategy": "no"}
        own = {"project": PROJECT, "trackio_static_space_id": False} if self.name == TRACKIO else {}
        every = {"logging_strategy": "steps", "logging_steps": LOGGED_SHARE}
        return {"report_to": self.name, "run_name": self.run, **every, **own}

    @contextmanager
    def here(self) -> Iterator[None]:
        """The environment in which the tracker writes into the run folder and to no other machine."""
        before = {name: os.environ.pop(name, None) for name in (FOLDER, *ELSEWHERE)}
        os.environ[FOLDER] = str(self.folder / TENSORBOARD)
        try:
            yield
        finally:
            del os.environ[FOLDER]
            os.environ.update({name: value for name, value in before.items() if value is not None})

    def tell(self, run: Run) -> None:
        """Write the finished run's training curve, tokens along the x axis, and its metrics as a table."""
        curve = [
            (int(row.pop("tokens")), {f"curve/{name}": value for name, value in row.items() if pd.notna(value)})
            for row in run.training.to_dict("records")
        ]
        rows = [
            {"suite": suite, "part": part, "metric": metric, **leaf}
            for suite, parts in metrics(run).items()
            for part, found in parts.items()
            for metric, leaf in found.items()
        ]
        table = pd.DataFrame(rows)
        whole = table[table["part"] == "all"]
        figures = {f"{row.suite}/{row.metric}": row.value for row in whole.itertuples()}
        if self.name == TENSORBOARD:
            _to_tensorboard(self.folder / TENSORBOARD, curve, figures, table)
        if self.name == TRACKIO:
            _to_trackio(self.run, curve, figures, table)


def _to_tensorboard(
    folder: Path, curve: list[tuple[int, dict[str, float]]], figures: dict[str, float], table: pd.DataFrame
) -> None:
    from torch.utils.tensorboard import SummaryWriter  # Late, as trackio below: only who asks for one has one.

    with SummaryWriter(str(folder)) as writer:
        for tokens, values in curve:
            for name, value in values.items():
                writer.add_scalar(name, value, tokens)
        for name, value in figures.items():
            writer.add_scalar(name, value)
        written = table.map(lambda value: f"{value:.6g}" if isinstance(value, float) else str(value))
        lines = [list(table.columns), ["---"] * len(table.columns), *written.to_numpy().tolist()]
        writer.add_text("metrics", "\n".join(f"| {' | '.join(line)} |" for line in lines))


def _to_trackio(
    name: str, curve: list[tuple[int, dict[str, float]]], figures: dict[str, float], table: pd.DataFrame
) -> None:
    import trackio

    trackio.init(project=PROJECT, name=name, resume="allow")
    try:
        for tokens, values in curve:
            trackio.log({**values, "curve/tokens": tokens})
        trackio.log({**figures, "table": trackio.Table(dataframe=table)})
    finally:
        trackio.finish()
