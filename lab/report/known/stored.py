"""K10: how many bits of fact knowledge the weights hold a parameter, and whether they were offered enough to tell."""

from __future__ import annotations

import math

import numpy as np

from lab.judge.capacity import stored_bits
from lab.judge.statistics import Interval
from lab.report.known.arms import Arms, Key
from lab.report.known.claims import Claim, Finding
from lab.report.known.measures import NUMBER, Asked, known_values, plain, seeds_of
from lab.report.scores import Route

CPT: Key = ("cpt", "cpt")
ASKED = Asked(parts=("recall",))
# Allen-Zhu and Li give bits a parameter at two numbers of exposures; between them it goes by the logarithm here.
FEW, MANY = (100, 1.0), (1000, 2.0)
NEAR = 2.0  # "near": within this factor
LEAST_OFFERED = 1.0  # bits a parameter


def stored(arms: Arms) -> Finding:
    """Bits a parameter of the cpt arm, as `stored_bits` has them of Allen-Zhu and Li (2024).

    By the recall questions, asked closed-book, which stand for all facts of the corpus.
    """
    route = arms.route(*CPT)
    rows, seeds = ASKED.rows(route), seeds_of([route])
    drawn_from = route.runs[0].questions["alternatives"].to_numpy(dtype=float)[rows]
    facts, parameters = (route.runs[0].manifest[name] for name in ("facts", "parameters"))
    if not len(rows) or np.isnan(drawn_from).any() or None in (facts, parameters):
        return Finding((), too_small="from how many values answers were drawn, facts or parameters are not known")
    values, clusters = known_values(route, "log_probability", rows), route.clusters(rows)
    found = stored_bits(values, drawn_from, clusters, facts, parameters)
    exposures = _exposures(route)
    expected = _expected(exposures)
    near, held = f"within a factor {NEAR:g} of {expected:.2g}", found.bits_per_parameter
    claim = Claim(
        f"{near} bits a parameter",
        (plain("bits stored a parameter", NUMBER, held, len(rows), seeds),),
        holds=0.0 if expected / NEAR < held.low and held.high < expected * NEAR else 1.0,
        fails=0.0 if held.high < expected / NEAR or held.low > expected * NEAR else 1.0,
        expected=near,
    )
    listed = (
        plain("bits learned a fact", NUMBER, found.bits_per_fact, len(rows), seeds),
        plain("bits offered a fact", NUMBER, found.offered_bits_per_fact, len(rows), seeds),
        plain("bits offered a parameter", NUMBER, found.offered_bits_per_parameter, len(rows), seeds),
        plain("exposures a fact", NUMBER, Interval(exposures, exposures, exposures), len(rows), seeds),
    )
    offered = found.offered_bits_per_fact.estimate
    return Finding((claim,), listed, _too_small(offered, facts, parameters, exposures))


def _too_small(each: float, facts: int, parameters: int, exposures: float) -> str | None:
    """Why the run cannot show a capacity, whatever it scored; None where it can."""
    offered = facts * each / parameters
    if offered < LEAST_OFFERED:
        needed = [math.ceil(bits * parameters / each) for bits in (LEAST_OFFERED, MANY[1])]
        return (
            f"{facts} facts of {each:.1f} bits offer {offered:.2g} bits to each of {parameters:,} parameters, which "
            f"are never full: {needed[0]:,} facts would offer {LEAST_OFFERED:g}, {needed[1]:,} facts {MANY[1]:g}"
        )
    if math.isnan(exposures):
        return "how often training told each fact is not known: give training.wordings as a number"
    if exposures < FEW[0]:
        return f"{exposures:.0f} exposures a fact, and the published figures begin at {FEW[0]}"
    return None


def _expected(exposures: float) -> float:
    """Bits a parameter that were published for so many exposures; the nearer end outside of what was."""
    (few, low), (many, high) = FEW, MANY
    return float(np.interp(math.log(max(exposures, 1.0)), (math.log(few), math.log(many)), (low, high)))


def _exposures(route: Route) -> float:
    """How often training told each fact: passes over the private text, times tellings in one; NaN where not known."""
    told = []
    for run in route.runs:
        wordings = run.manifest["settings"].get("adaptation", {}).get("training", {}).get("wordings")
        details = run.costs.loc[run.costs["phase"] == "training", "detail"].tolist()
        passes = [detail["passes"] for detail in details if "passes" in detail]
        told.append(passes[0] * wordings if passes and wordings else math.nan)
    return float(np.mean(told))
