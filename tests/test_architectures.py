"""Every route with chat models of three makers, from the weights to the run folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import chat_models
import pytest

from lab.adapt.lora import LowRankAdaptation
from lab.adapt.none import NoAdaptation
from lab.adapt.training import Training
from lab.adapt.weights import WeightTraining
from lab.base import BaseModel
from lab.context.closed import ClosedBook
from lab.context.gold import Gold
from lab.context.random_passages import RandomPassages
from lab.context.retrieved import Retrieved
from lab.pipeline import Pipeline
from lab.records import TrainingText
from lab.report import load
from lab.run import Experiment, run
from lab.worlds.embedded import GeneralWorldSuite, StatuteCorpus, StatuteExam
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import StatuteBook


@dataclass(frozen=True)
class ShortReplay:
    """General text that is soon read."""

    digest = "short"

    def texts(self, seed: int) -> Iterator[TrainingText]:
        return cycle([TrainingText("text", "The river is long."), TrainingText("text", "河流很长。")])


BOOK = StatuteBook(acts=2, sections=1)
GENERAL = GeneralWorldSuite(GeneralWorld(subjects=10), closed_book=2, reading=2, paragraphs=2)
TRAINING = Training(["documents", "practice"], 2000, 2e-3, 0.2, ShortReplay(), device_rows=2, evaluations=1)
ADAPTATIONS = {
    "none": NoAdaptation(),
    "lora": LowRankAdaptation(TRAINING, rank=4),
    "cpt": WeightTraining(TRAINING),
}
CONTEXTS = {"none": ClosedBook(), "random": RandomPassages(k=1), "retrieved": Retrieved(k=1), "gold": Gold()}
ROUTES = [
    (adaptation, context)
    for adaptation in ADAPTATIONS
    for context in CONTEXTS
    if (adaptation, context) not in (("lora", "random"), ("cpt", "random"))
]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.mark.slow
@pytest.mark.parametrize("kind", chat_models.KINDS)
def test_every_route_runs_on_every_architecture(kind, artifacts, tmp_path):
    base = BaseModel(str(chat_models.write(tmp_path / kind, kind)))
    for adaptation, context in ROUTES:
        folder = tmp_path / f"{adaptation}_{context}"
        folder.mkdir()
        run(
            Experiment(
                name=folder.name,
                adaptation=adaptation,
                context=context,
                pipeline=Pipeline(ADAPTATIONS[adaptation], CONTEXTS[context]),
                model=base,
                corpus=StatuteCorpus(BOOK),
                exam=StatuteExam(BOOK),
                general=GENERAL,
                seed=0,
                device="cpu",
                artifacts=artifacts,
                folder=folder,
                reference="none_retrieved",
                limit=1,
                answer_tokens=4,
            )
        )
        made = load(folder)
        assert made.answers["answer_tokens"].between(1, 4).all()
        assert (made.answers["log_probability"] < 0).all()
        assert made.texts["bits"].gt(0).all()
        assert (made.answers["passages"].map(len)[made.answers["suite"] == "exam"] > 0).any() == (context != "none")
        losses = made.training["domain_loss"]
        assert len(losses) == 0 if adaptation == "none" else losses.iloc[-1] < losses.iloc[0]
