"""Routes side by side: one tidy frame with differences against a reference over the same questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from lab.judge.statistics import Difference, holm, paired_difference
from lab.progress import step
from lab.records import LabError
from lab.report.find import gather
from lab.report.load import Run
from lab.report.scores import SCORE, Floats, Route, route_rows

SCORE_COLUMNS = ["pipeline", "seed", "suite", "part", "practised", "metric", "n", "value", "low", "high"]
DIFFERENCE_COLUMNS = ["reference", "difference", "difference_low", "difference_high", "p_holm"]
COLUMNS = [*SCORE_COLUMNS, *DIFFERENCE_COLUMNS]
# Floor, control, reference, ceiling; then each adaptation closed-book, open-book and with gold; others go by name.
FIRST = (
    *("closed_book", "random", "rag", "gold"),
    *("lora", "lora_rag", "lora_gold"),
    *("cpt", "cpt_rag", "cpt_gold"),
)
COMPARED_SUITES = ("exam", "general")


@threadpool_limits.wrap(limits=1, user_api="blas")  # Thousands of small products: threads would wait for each other.
def compare(runs: Sequence[Run] | Sequence[str | Path], reference: str = "rag") -> pd.DataFrame:
    """One tidy frame over all runs, one row a figure, with exactly these columns; of paths as `gather` takes them.

    - pipeline, seed: the route. Of several seeds each has its rows, and "all" the pooled ones; seed is a string.
    - suite, part, practised, metric: `exam` (score, which is exact_match, rouge_l or the letter of a choice by what
      each question is; exact_match, token_f1, contains, rouge_l, choice_letter, choice_text, choice_text_normalised and
      log_probability over the questions that they apply to; and the rates unknown_right among questions that the corpus
      does not answer, unknown_wrong among those that it does, wrong, format_error, failed), `retrieval` (recall@k, mrr,
      ndcg@10; routes with passages), `general` (score, exact_match, rouge_l and the choice scores, and bits_per_byte of
      the part "text"), `capacity` (bits_per_fact, offered_bits_per_fact, bits_per_parameter and
      offered_bits_per_parameter of the part "recall", as `stored_bits` tells; closed-book routes, where questions say
      from how many values they were drawn), `cost` (prepare_seconds, prepare_tokens, prepare_flops, prepare_joules,
      bytes_on_disk; of exam questions in batches seconds_per_question, retrieval_seconds_per_question within it,
      prompt_tokens_per_question, answer_tokens_per_question; of exam questions asked one by one wait_first_seconds,
      wait_median_seconds, wait_p95_seconds and, within these, wait_median_retrieval_seconds). part and practised
      ("yes", "no") are "all" where not split. What is not known has no row.
    - n: questions, texts or ledger rows. value, low, high: the mean and its 95 % interval; scores in 0..1, costs
      without interval. A pooled cost is the mean over seeds.
    - reference, difference, difference_low, difference_high, p_holm: score minus the reference's over the same
      questions, of exam and general by part, and of the whole exam also by practice (practised "yes" and "no"); p
      adjusted by Holm across the routes within one such row. Only on a route's pooled row (or its only seed's), and
      empty for the reference itself and where it was not run.

    Raises LabError for runs over different corpora or exams, and for two runs of one pipeline and seed.
    """
    paths = [path for path in runs if not isinstance(path, Run)]
    routes = routes_of([*(run for run in runs if isinstance(run, Run)), *(gather(paths)[0] if paths else ())])
    rows: list[dict[str, Any]] = []
    with step("comparing", sum(len(route.runs) for route in routes), "runs") as advance:
        differences = _differences(routes, reference)
        for route in routes:
            for row in route_rows(route):
                key = (route.pipeline, row["suite"], row["part"], row["practised"])
                difference = differences.get(key, {}) if row["metric"] == SCORE else {}
                rows.append({"pipeline": route.pipeline, "seed": route.seed, **row, **difference})
            for run in route.runs if len(route.runs) > 1 else ():
                own = route_rows(Route(route.pipeline, (run,)))
                rows += [{"pipeline": route.pipeline, "seed": str(run.seed), **row} for row in own]
            advance(len(route.runs))
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    numbers = ["low", "high", *DIFFERENCE_COLUMNS[1:]]
    return frame.astype({**dict.fromkeys(numbers, float), "reference": object})


def routes_of(runs: Iterable[Run]) -> list[Route]:
    """Runs gathered by pipeline, in the order of the table. Raises LabError as `compare` does."""
    ordered = sorted(runs, key=lambda run: (_place(run.pipeline), run.pipeline, run.seed))
    if not ordered:
        raise LabError("no run to compare; name at least one run folder")
    for first, other in combinations(ordered, 2):  # all, as with digests that are not known one may fit two that differ
        differing = first.differs_from(other)
        if differing:
            raise LabError(
                f"{first.folder} and {other.folder} cannot be compared: they differ in {', '.join(differing)}; "
                "run both with the same corpus and exam, or name them apart"
            )
    routes = [Route(name, tuple(group)) for name, group in groupby(ordered, key=lambda run: run.pipeline)]
    for route in routes:
        for one, two in zip(route.runs, route.runs[1:], strict=False):
            if one.seed == two.seed:
                raise LabError(f"{one.folder} and {two.folder} are both {route.pipeline}, seed {one.seed}; name one")
    return routes


def base_of(routes: Sequence[Route]) -> Route | None:
    """The base as it is, closed-book: what losses and gains are measured against; None where it was not run."""
    return next((route for route in routes if route.is_base), None)


def paired(route: Route, other: Route, suite: str, part: str = "all", practised: str = "all") -> Difference:
    """Score of the route minus the other's over the same questions of a suite's part.

    With several seeds on both sides, only seeds that both have are used, each paired with its own.
    """
    chosen = route.choose(suite, part, practised)
    return paired_difference(*paired_values(route, other, suite, part, practised), route.clusters(chosen))


def paired_values(
    route: Route, other: Route, suite: str, part: str = "all", practised: str = "all"
) -> tuple[Floats, Floats]:
    """Scores of both routes over the same questions, each (seeds, questions); seeds as in `paired`."""
    route, other = shared_seeds(route, other)
    chosen = route.choose(suite, part, practised)
    return route.matrix(SCORE, chosen), other.matrix(SCORE, chosen)


def shared_seeds(route: Route, other: Route) -> tuple[Route, Route]:
    """Both with the seeds that both have; as they are where either has one seed, which then stands against all.

    Raises LabError where they have several and share none.
    """
    if 1 in (len(route.runs), len(other.runs)):
        return route, other
    common = {run.seed for run in route.runs} & {run.seed for run in other.runs}
    if not common:
        raise LabError(f"{route.pipeline} and {other.pipeline} share no seed; run both with the same seeds")
    first, second = (Route(r.pipeline, tuple(run for run in r.runs if run.seed in common)) for r in (route, other))
    return first, second


def _place(pipeline: str) -> tuple[int, list[str | float]]:
    """Variants of a pipeline ("rag context.k=10") stand where it stands, by their settings, numbers by size."""
    name = pipeline.split(" ")[0]
    pieces = re.split(r"(\d+(?:\.\d+)?)", pipeline)  # text and numbers in turn
    ordered = [float(piece) if number % 2 else piece for number, piece in enumerate(pieces)]
    return FIRST.index(name) if name in FIRST else len(FIRST), ordered


def _differences(routes: Sequence[Route], reference: str) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """The last five columns by (pipeline, suite, part, practised); empty without the reference."""
    base = next((route for route in routes if route.pipeline == reference), None)
    others = [route for route in routes if route.pipeline != reference]
    filled: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    if base is None or not others:
        return filled
    slices = [(suite, part, "all") for suite in COMPARED_SUITES for part in base.parts(suite)]
    slices += [("exam", "all", practised) for practised in ("yes", "no") if len(base.choose("exam", "all", practised))]
    for asked in slices:
        sat = [route for route in others if len(route.choose(*asked))]
        found = [paired(route, base, *asked) for route in sat]
        adjusted = holm([difference.p for difference in found])
        for route, d, p in zip(sat, found, adjusted, strict=True):
            values = (reference, d.estimate, d.low, d.high, p)
            filled[route.pipeline, *asked] = dict(zip(DIFFERENCE_COLUMNS, values, strict=True))
    return filled
