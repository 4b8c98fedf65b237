"""One route's own scores, a row each: exam, retrieval, general suite, capacity, cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lab.judge.capacity import stored_bits
from lab.judge.retrieval import MEASURES
from lab.judge.statistics import Interval, interval
from lab.report.load import EXTERNAL, Run

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]  # row numbers of the answers frame

# Phases in which the student sits; every other one prepares it, so that no cost is left out. "waiting" asks alone.
SITTING = ("answering", "general", "waiting")
# Scores in 0..1, each over the questions that it applies to; the first is the one that counts.
SCORE = "score"
SCORES = (
    *(SCORE, "exact_match", "token_f1", "contains", "rouge_l"),
    *("choice_letter", "choice_text", "choice_text_normalised"),
)
GENERAL_SCORES = (SCORE, "exact_match", "rouge_l", *SCORES[-3:])
# Costs of preparation: metric, and the column of the ledger that it sums.
PREPARED = (
    ("prepare_seconds", "seconds"),
    ("prepare_tokens", "tokens"),
    ("prepare_flops", "flops"),
    ("prepare_joules", "joules"),
    ("bytes_on_disk", "bytes"),
)
RECALL = "recall"  # the part that asks for a value as the corpus tells it
# Rates of outcomes, with the questions that they are a share of: answerable ones, the others, or all (None).
OUTCOME_RATES = {
    "unknown_right": ("unknown_right", False),
    "unknown_wrong": ("unknown", True),
    "format_error": ("format_error", None),
    "failed": ("failed", None),
    "wrong": ("wrong", None),
}


@dataclass(frozen=True, eq=False)  # frames have no plain ==
class Route:
    """A pipeline's runs, one a training seed, over the same questions."""

    pipeline: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """The pipeline's name as readers see it, settings without their path: "cpt general_share=0.5"."""
        name, *settings = self.pipeline.split(" ")
        return " ".join([name, *(re.sub(r"^[\w.]*\.(?=\w+=)", "", setting) for setting in settings)])

    @property
    def adaptation(self) -> str:
        """What was done to the weights."""
        return str(self.runs[0].manifest["adaptation"])

    @property
    def context(self) -> str:
        """Where the passages in the prompt come from."""
        return str(self.runs[0].manifest["context"])

    @property
    def is_base(self) -> bool:
        """The base as it is, with nothing to read: what it knows already."""
        return (self.adaptation, self.context) == ("none", "none")

    @property
    def is_ceiling(self) -> bool:
        """The base as it is, handed the gold passages: what it can read."""
        return (self.adaptation, self.context) == ("none", "gold")

    @property
    def by_weights(self) -> bool:
        """Adapted, with nothing to read: what it knows of the corpus is in its weights."""
        return self.is_trained and self.context == "none"

    @property
    def is_control(self) -> bool:
        """Measures the exam and the base; nobody would ship it. Gold or random passages control an adaptation too."""
        return self.is_base or self.context in ("gold", "random")

    @property
    def is_external(self) -> bool:
        """Another system's answers, graded here: nothing else is known of it."""
        return self.adaptation == EXTERNAL

    @property
    def is_trained(self) -> bool:
        """Whether the lab adapted its weights."""
        return self.adaptation not in ("none", EXTERNAL)

    @property
    def seed(self) -> str:
        """The seed as a row says it: "all" where the row pools several."""
        return "all" if len(self.runs) > 1 else str(self.runs[0].seed)

    def matrix(self, column: str, chosen: Rows) -> Floats:
        """A numeric column of `Run.arrays` at the chosen rows, (seeds, questions)."""
        return np.stack([run.arrays[column][chosen].astype(float) for run in self.runs])

    def texts(self, column: str) -> Floats:
        """A numeric column of the held-out texts, (seeds, texts)."""
        return np.stack([run.texts[column].to_numpy(dtype=float) for run in self.runs])

    def outcomes(self, outcome: str, chosen: Rows) -> Floats:
        """1.0 where the chosen rows have the outcome, else 0.0, (seeds, questions)."""
        return np.stack([(run.arrays["outcome"][chosen] == outcome).astype(float) for run in self.runs])

    def choose(self, suite: str, part: str = "all", practised: str = "all", answerable: bool | None = None) -> Rows:
        """Which answer rows belong to a slice, as row numbers. practised: "all", "yes" or "no"."""
        arrays = self.runs[0].arrays  # questions, parts and clusters are the same for all seeds
        mask = arrays["suite"] == suite
        if part != "all":
            mask &= arrays["part"] == part
        if practised != "all":
            mask &= arrays["practised"] == (practised == "yes")
        if answerable is not None:
            mask &= arrays["answerable"] == answerable
        return np.flatnonzero(mask)

    def known(self, column: str, chosen: Rows) -> Rows:
        """Those of the chosen rows where a numeric column has a value in every run."""
        return chosen[~np.isnan(self.matrix(column, chosen)).any(axis=0)]

    def clusters(self, chosen: Rows) -> list[str]:
        """The chosen rows' clusters."""
        return self.runs[0].arrays["cluster"][chosen].tolist()

    def parts(self, suite: str) -> list[str]:
        """ "all", then the suite's parts in the order in which they are asked; empty for a suite without questions.

        A question whose own part is "all" (a record's default) belongs to no other.
        """
        named = self.runs[0].arrays["part"][self.choose(suite)].tolist()
        return list(dict.fromkeys(["all", *named])) if named else []

    @property
    def retrieves(self) -> bool:
        """Whether any exam question was given passages."""
        return any(map(len, chain.from_iterable(run.arrays["passages"][self.choose("exam")] for run in self.runs)))


def ratio_interval(above: ArrayLike, below: ArrayLike, clusters: Sequence[str]) -> Interval:
    """sum(above) / sum(below) with its cluster interval, by the delta method.

    above, below: (units,) or (seeds, units). The mean of ratio + (above - ratio x below) / mean(below) is the ratio,
    and its standard error is the ratio's to first order (Cochran 1977, section 2.11). sum(below) must not be 0.
    """
    return interval(ratio_values(above, below), clusters, bounded=False)


def ratio_values(above: ArrayLike, below: ArrayLike) -> Floats:
    """Values, one a unit, whose mean is sum(above) / sum(below), for intervals and tests as in `ratio_interval`."""
    top, bottom = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    ratio = top.sum() / bottom.sum()
    return np.asarray(ratio + (top - ratio * bottom) / bottom.mean())


def route_rows(route: Route) -> list[dict[str, Any]]:
    """Rows of the route's own scores: suite, part, practised, metric, n, value, low, high.

    n: questions (texts, ledger rows) that the value is over. low, high: 95 % interval, None for costs.
    """
    return [*_exam(route), *_retrieval(route), *_general(route), *_capacity(route), *_costs(route)]


def metrics(run: Run) -> dict[str, dict[str, dict[str, dict[str, float | int | None]]]]:
    """A run's own part of the comparison: suite -> part -> metric -> {value, low, high, n}.

    Fit for JSON: an end that does not exist (a cost has no interval) or is infinite (one cluster) is None.
    """
    tree: dict[str, dict[str, dict[str, dict[str, float | int | None]]]] = {}
    for row in route_rows(Route(run.pipeline, (run,))):
        if row["practised"] == "all":
            ends = {
                end: row[end] if row[end] is not None and math.isfinite(row[end]) else None for end in ("low", "high")
            }
            leaf = {"value": row["value"], **ends, "n": row["n"]}
            tree.setdefault(row["suite"], {}).setdefault(row["part"], {})[row["metric"]] = leaf
    return tree


def _row(suite: str, part: str, practised: str, metric: str, n: int, found: Interval | float) -> dict[str, Any]:
    ends = (found.estimate, found.low, found.high) if isinstance(found, Interval) else (float(found), None, None)
    named = {"suite": suite, "part": part, "practised": practised, "metric": metric, "n": n}
    return {**named, "value": ends[0], "low": ends[1], "high": ends[2]}


def _exam(route: Route) -> Iterator[dict[str, Any]]:
    for part in route.parts("exam"):
        for practised in ("all", "yes", "no"):
            chosen = route.choose("exam", part, practised)
            if not len(chosen):
                continue
            for metric in (*SCORES, "log_probability"):
                asked = route.known(metric, chosen)
                if len(asked):
                    found = interval(route.matrix(metric, asked), route.clusters(asked), bounded=metric in SCORES)
                    yield _row("exam", part, practised, metric, len(asked), found)
            for metric, (outcome, answerable) in OUTCOME_RATES.items():
                asked = route.choose("exam", part, practised, answerable)
                if len(asked):
                    found = interval(route.outcomes(outcome, asked), route.clusters(asked))
                    yield _row("exam", part, practised, metric, len(asked), found)


def _retrieval(route: Route) -> Iterator[dict[str, Any]]:
    if not route.retrieves:
        return
    tables = [run.retrieval for run in route.runs]
    # Rows of the answers that have gold passages; the scores are in the same order.
    ids, known = route.runs[0].arrays["question_id"], set(tables[0]["question_id"])
    scored = np.array([row for row in route.choose("exam") if ids[row] in known], dtype=np.intp)
    values = {metric: np.stack([table[metric].to_numpy(dtype=float) for table in tables]) for metric in MEASURES}
    for part in route.parts("exam"):
        for practised in ("all", "yes", "no"):
            chosen = np.flatnonzero(np.isin(scored, route.choose("exam", part, practised)))
            if len(chosen):
                clusters = route.clusters(scored[chosen])
                for metric in MEASURES:
                    found = interval(values[metric][:, chosen], clusters)
                    yield _row("retrieval", part, practised, metric, len(chosen), found)


def _general(route: Route) -> Iterator[dict[str, Any]]:
    for part in route.parts("general"):
        for metric in SCORES:
            chosen = route.known(metric, route.choose("general", part))
            if len(chosen) and metric in GENERAL_SCORES:
                found = interval(route.matrix(metric, chosen), route.clusters(chosen))
                yield _row("general", part, "all", metric, len(chosen), found)
    texts = route.runs[0].texts
    if not texts.empty:
        found = ratio_interval(route.texts("bits"), route.texts("bytes"), texts["text_id"].tolist())
        yield _row("general", "text", "all", "bits_per_byte", len(texts), found)


def _capacity(route: Route) -> Iterator[dict[str, Any]]:
    """What the weights hold, closed-book, over recall questions that tell from how many values they were drawn."""
    manifest = route.runs[0].manifest
    if not (route.by_weights or route.is_base) or None in (manifest["facts"], manifest["parameters"]):
        return
    asked = route.known("alternatives", route.choose("exam", RECALL, answerable=True))
    asked = route.known("log_probability", asked)
    if len(asked):
        alternatives = route.matrix("alternatives", asked)[0]
        found = stored_bits(
            *(route.matrix("log_probability", asked), alternatives, route.clusters(asked)),
            *(manifest["facts"], manifest["parameters"]),
        )
        for metric, bits in (
            ("bits_per_fact", found.bits_per_fact),
            ("offered_bits_per_fact", found.offered_bits_per_fact),
            ("bits_per_parameter", found.bits_per_parameter),
            ("offered_bits_per_parameter", found.offered_bits_per_parameter),
        ):
            yield _row("capacity", RECALL, "all", metric, len(asked), bits)


def _costs(route: Route) -> Iterator[dict[str, Any]]:
    """Means over seeds. Preparation is every phase but the sittings; a question's seconds include its search.

    What is not known of every answer, of every phase in which a model worked, or of a run without a ledger, has no row.
    """
    ledgers = [prepared(run) for run in route.runs if not run.costs.empty]
    rows = sum(len(ledger) for ledger in ledgers)
    for metric, column in PREPARED if ledgers else ():
        sums = [_summed(ledger, column) for ledger in ledgers]
        if not np.isnan(sums).any():
            yield _row("cost", "all", "all", metric, rows, float(np.mean(sums)))
    chosen = route.choose("exam")
    searches = route.matrix("retrieval_seconds", chosen)
    # Another system does not tell its search from the rest: its 0 is no measurement.
    apart = np.nan if route.runs[0].manifest["adaptation"] == EXTERNAL else 1.0
    for metric, values in (
        ("seconds_per_question", route.matrix("seconds", chosen) + searches),
        ("retrieval_seconds_per_question", apart * searches),
        ("prompt_tokens_per_question", route.matrix("prompt_tokens", chosen)),
        ("answer_tokens_per_question", route.matrix("answer_tokens", chosen)),
    ):
        if not np.isnan(values).any():
            yield _row("cost", "all", "all", metric, len(chosen), float(values.mean()))
    yield from _waits(route)


def prepared(run: Run) -> pd.DataFrame:
    """Rows of the ledger that are not the exam's."""
    return run.costs[~run.costs["phase"].isin(SITTING)]


def _summed(ledger: pd.DataFrame, column: str) -> float:
    """NaN where the column says nothing at all, or nothing of a phase in which a model worked."""
    values = ledger[column].astype(float)
    silent = values.isna() & (ledger["tokens"] > 0)
    return math.nan if silent.any() or (len(values) and values.isna().all()) else float(values.sum())


def _waits(route: Route) -> Iterator[dict[str, Any]]:
    """Of questions asked one by one, their search included: what a user waits, and what the very first one waits."""
    waits = pd.concat([run.waits for run in route.runs])
    whole = waits["seconds"] + waits["retrieval_seconds"]
    first = waits["first"].astype(bool)
    if first.any():
        yield _row("cost", "all", "all", "wait_first_seconds", int(first.sum()), float(whole[first].mean()))
    if not first.all():
        later, searches = whole[~first].to_numpy(), waits.loc[~first, "retrieval_seconds"].to_numpy()
        for metric, found in (
            ("wait_median_seconds", np.median(later)),
            ("wait_p95_seconds", np.percentile(later, 95)),
            ("wait_median_retrieval_seconds", np.median(searches)),
        ):
            yield _row("cost", "all", "all", metric, len(later), float(found))
