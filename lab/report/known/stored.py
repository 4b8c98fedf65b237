"""K10: how many bits of fact knowledge the weights hold a parameter, and whether they were offered enough to tell."""

from __future__ import annotations

import math

import numpy as np

from lab.judge.statistics import Interval, interval
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
    """Bits a parameter of the cpt arm, after Allen-Zhu and Li (2024): facts x mean of (log2 V + log2 p) / parameters.

    V: from how many equally likely values an answer was drawn. p: of the right answer, asked closed-book in the recall
    questions, which stand for all facts of the corpus. What the base knows besides is not counted.
    """
    route = arms.route(*CPT)
    rows, seeds = ASKED.rows(route), seeds_of([route])
    offered = np.log2(route.runs[0].questions["alternatives"].to_numpy(dtype=float)[rows])
    facts, parameters = (route.runs[0].manifest[name] for name in ("facts", "parameters"))
    if not len(rows) or np.isnan(offered).any() or None in (facts, parameters):
        return Finding((), too_small="from how many values answers were drawn, facts or parameters are not known")
    learned = offered + known_values(route, "log_probability", rows) / math.log(2)
    each = interval(learned, route.clusters(rows), bounded=False)
    whole = facts / parameters
    found = Interval(each.estimate * whole, each.low * whole, each.high * whole)
    exposures = _exposures(route)
    expected = _expected(exposures)
    mean = float(offered.mean())
    near = f"within a factor {NEAR:g} of {expected:.2g}"
    claim = Claim(
        f"{near} bits a parameter",
        (plain("bits stored a parameter", NUMBER, found, len(rows), seeds),),
        holds=0.0 if expected / NEAR < found.low and found.high < expected * NEAR else 1.0,
        fails=0.0 if found.high < expected / NEAR or found.low > expected * NEAR else 1.0,
        expected=near,
    )
    listed = [plain("bits learned a fact", NUMBER, each, len(rows), seeds)]
    for name, value in (
        ("bits offered a fact", mean),
        ("bits offered a parameter", mean * whole),
        ("exposures a fact", exposures),
    ):
        listed.append(plain(name, NUMBER, Interval(value, value, value), len(rows), seeds))
    return Finding((claim,), tuple(listed), _too_small(mean, facts, parameters, exposures))


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
