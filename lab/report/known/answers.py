"""The known answers K1 to K9: what is claimed, by whom, with which figures, on which arms, and what decides it here.

The figures of the publications are second-hand notes; their direction is what is checked. K10 is in `stored`.
Every contrast is over the same questions, and where knowledge is meant, over those that the corpus answers: one who
learns nothing abstains rightly on the others. Unpractised documents are those that no practice question is about.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lab.report.known.arms import CHOICE, Arms, Key
from lab.report.known.claims import Finding, any_of, one, opposed
from lab.report.known.measures import (
    Asked,
    Measure,
    contrast,
    less,
    level,
    risen,
    same_questions,
    share_saved,
    unknown,
    unpaired,
)
from lab.report.known.stored import stored

EXAM, GENERAL = Asked(), Asked(suite="general")
ANSWERABLE = Asked(answerable=True)
UNPRACTISED = Asked(practised="no", answerable=True)
RECALL, REVERSE = Asked(parts=("recall",), practised="no"), Asked(parts=("reverse",), practised="no")
CHOSEN = Asked(parts=("recall", "reworded"))

SMALL = 0.05  # "barely", "no better": fewer points than this
REVERSE_AT_MOST = 0.15
BASE = ("floor", "closed_book")
RAG = ("floor", "rag")
CPT = ("cpt", "cpt")
LORA = ("lora", "lora")
# Tellings of each document, by arm.
WORDINGS = {1: "wordings_1", 2: "wordings_2", 5: "wordings_5", 10: "cpt", 25: "wordings_25"}
SHARES = {0.0: "share_0", 0.05: "share_05", 0.25: "cpt", 0.5: "share_50"}


@dataclass(frozen=True)
class Known:
    """One known answer. needed: the arms, each with its pipeline. check: what they show."""

    name: str
    claim: str
    source: str
    needed: tuple[Key, ...]
    check: Callable[[Arms], Finding]


def _k1(arms: Arms) -> Finding:
    base, raw, cpt = arms.route(*BASE), arms.route("raw", "cpt"), arms.route(*CPT)
    single = arms.route("wordings_1", "cpt")
    return Finding(
        (
            one(less("raw - closed_book, answerable", raw, base, ANSWERABLE, bound=SMALL, above=False)),
            one(less("10 wordings - 1, unpractised documents", cpt, single, UNPRACTISED, bound=0)),
        ),
        (
            level("closed_book, answerable", base, ANSWERABLE),
            level("raw, answerable", raw, ANSWERABLE),
            level("1 wording, unpractised documents", single, UNPRACTISED),
            level("10 wordings, unpractised documents", cpt, UNPRACTISED),
        ),
    )


def _k2(arms: Arms) -> Finding:
    routes = {count: arms.route(arm, "cpt") for count, arm in WORDINGS.items()}
    doublings = {count: math.log2(count) for count in routes}
    mean = sum(doublings.values()) / len(doublings)
    spread = sum((value - mean) ** 2 for value in doublings.values())
    slope = [((doublings[count] - mean) / spread, route) for count, route in routes.items()]
    early, late = 1 / doublings[10], 1 / (doublings[25] - doublings[10])
    bend = [(early, routes[1]), (-early - late, routes[10]), (late, routes[25])]
    return Finding(
        (one(contrast("slope a doubling of wordings, unpractised documents", slope, UNPRACTISED, bound=0)),),
        (
            contrast("10 to 25 less 1 to 10, a doubling (flattening: below 0)", bend, UNPRACTISED),
            *(
                level(f"{count} wording{'s' * (count > 1)}, unpractised documents", r, UNPRACTISED)
                for count, r in routes.items()
            ),
        ),
    )


def _k3(arms: Arms) -> Finding:
    rag, cpt, lora = arms.route(*RAG), arms.route(*CPT), arms.route(*LORA)
    return Finding(
        (one(less("rag - cpt", rag, cpt, EXAM, bound=0)), one(less("rag - lora", rag, lora, EXAM, bound=0))),
        (
            less("cpt_rag - rag (it can be above 0)", arms.route("cpt", "cpt_rag"), rag, EXAM),
            *(level(name, route, EXAM) for name, route in (("rag", rag), ("cpt", cpt), ("lora", lora))),
        ),
    )


def _k4(arms: Arms) -> Finding:
    # Against both single routes and not against the better one, which chance would help to choose.
    rag = arms.route(*RAG)
    measures, listed = [], []
    for arm in ("cpt", "lora"):
        joined, single = arms.route(arm, f"{arm}_rag"), arms.route(arm, arm)
        measures += [
            less(f"{arm}_rag - {name}", joined, other, EXAM, bound=0, above=False)
            for name, other in ((arm, single), ("rag", rag))
        ]
        listed.append(level(f"{arm}_rag", joined, EXAM))
    return Finding((any_of("an adapted reader with passages is below one of its two routes", measures),), tuple(listed))


def _k5(arms: Arms) -> Finding:
    base = arms.route(*BASE)
    name = "part of that rise which share 0.05 removes"
    routes = {share: arms.route(arm, "cpt") for share, arm in SHARES.items()}
    listed = [risen(f"bits a byte risen at share {share:g}", routes[share], base) for share in list(SHARES)[1:]]
    listed += [less(f"general score lost at share {share:g}", base, route, GENERAL) for share, route in routes.items()]
    listed += [level(f"exam at share {share:g}", route, EXAM) for share, route in routes.items()]
    rise = risen("bits a byte of general text risen at share 0", routes[0.0], base, bound=0)
    saved = share_saved(name, routes[0.05], routes[0.0], base, bound=0.5)
    if rise.low <= 0:  # There may be nothing to remove a part of.
        saved = unknown(name, saved.unit, saved.seeds, saved.bound, saved.above)
    return Finding(
        (
            one(rise),
            one(saved),
            one(less("exam at share 0.05 - at 0.5", routes[0.05], routes[0.5], EXAM, bound=0)),
        ),
        tuple(listed),
    )


def _k6(arms: Arms) -> Finding:
    base, cpt, low = arms.route(*BASE), arms.route(*CPT), arms.route("lora_low", "lora")
    lora = arms.route(*LORA)
    return Finding(
        (
            one(less("exam: cpt - lora_low", cpt, low, EXAM, bound=0)),
            one(less("general score lost: cpt - lora_low", low, cpt, GENERAL, bound=0)),
        ),
        (
            less("exam: cpt - lora", cpt, lora, EXAM),
            less("general score lost: cpt - lora", lora, cpt, GENERAL),
            *(
                less(f"general score lost: {name}", base, route, GENERAL)
                for name, route in (("cpt", cpt), ("lora_low", low), ("lora", lora))
            ),
        ),
    )


def _k7(arms: Arms) -> Finding:
    base, rag = arms.route(*BASE), arms.route(*RAG)
    thin, wrong = arms.route("thin", "rag"), arms.route("wrong", "rag")
    passages = {k: arms.route(f"k_{k}", "rag") for k in (1, 5, 10)}
    fewer = [less(f"k={k} - k=10", route, passages[10], EXAM, bound=0) for k, route in ((1, passages[1]), (3, rag))]
    return Finding(
        (
            one(less("wrong corpus - closed_book, answerable", wrong, base, ANSWERABLE, bound=SMALL, above=False)),
            one(less("thin corpus - whole", thin, rag, EXAM, bound=0, above=False)),
            any_of("fewer passages beat ten", fewer),
        ),
        (
            level("k=3, whole corpus", rag, EXAM),
            level("thin corpus", thin, EXAM),
            *(level(f"k={k}", route, EXAM) for k, route in passages.items()),
        ),
    )


def _k8(arms: Arms) -> Finding:
    # Unpractised documents alone: practice asks reverse questions, so on its acts a fact is stored both ways.
    cpt, gold = arms.route(*CPT), arms.route("cpt", "cpt_gold")
    return Finding(
        (
            one(unpaired("cpt: recall - reverse, unpractised documents", cpt, RECALL, REVERSE, bound=0)),
            one(level("cpt: reverse, unpractised documents", cpt, REVERSE, bound=REVERSE_AT_MOST, above=False)),
            one(less("reverse: cpt_gold - cpt, unpractised documents", gold, cpt, REVERSE, bound=0)),
        ),
        (
            level("cpt: recall, unpractised documents", cpt, RECALL),
            level("cpt_gold: reverse, unpractised documents", gold, REVERSE),
        ),
    )


def _k9(arms: Arms) -> Finding:
    free = {"closed_book": arms.route(*BASE), "cpt": arms.route(*CPT), "lora": arms.route(*LORA)}
    chosen = {name: arms.route("choice", name) for name in free}
    same_questions([*free.values(), *chosen.values()], CHOSEN)
    pairs: list[tuple[Measure, Measure]] = []
    for first, second in (("cpt", "closed_book"), ("lora", "closed_book"), ("cpt", "lora")):
        by_choice = less(f"{first} - {second}, by choice", chosen[first], chosen[second], CHOSEN, column="choice_text")
        pairs.append((by_choice, less(f"{first} - {second}, by free answer", free[first], free[second], CHOSEN)))
    return Finding((opposed("choice and free answer disagree in sign", pairs),))


ANSWERS = (
    Known(
        "K1",
        "CPT on the raw text of a small corpus, each fact told once, barely helps closed-book; more wordings do",
        "EntiGraph (2024), QuALITY: base 39.49, raw CPT 38.15. Physics of Language Models 3.1: one wording 9.7 % on "
        "held-out people, five with permuted sentences 96.6 %",
        (BASE, ("raw", "cpt"), CPT, ("wordings_1", "cpt")),
        _k1,
    ),
    Known(
        "K2",
        "Closed-book accuracy rises with the number of wordings a fact, about log-linearly, then flattens",
        "EntiGraph: 39.49 to 56.22. Ovadia et al. (2024): monotone in paraphrases. arXiv 2508.06178: 14.9 to 28.6 at "
        "40 paraphrases, flattening",
        tuple((arm, "cpt") for arm in WORDINGS.values()),
        _k2,
    ),
    Known(
        "K3",
        "RAG beats weights on the same corpus, and CPT with RAG can beat RAG",
        "Ovadia et al., Mistral-7B on news: base .481, RAG .875, tuned .504 to .588. EntiGraph: RAG 60.35, CPT + RAG "
        "62.60",
        (RAG, CPT, LORA, ("cpt", "cpt_rag")),
        _k3,
    ),
    Known(
        "K4",
        "Tuned without context and then given context, a model can fall below the better single route",
        "RAFT (2024), Hugging Face docs: domain tuning + RAG 42.6, without context 61.1. Ovadia et al.: tuned + RAG "
        ".810, RAG .875",
        (RAG, CPT, ("cpt", "cpt_rag"), LORA, ("lora", "lora_rag")),
        _k4,
    ),
    Known(
        "K5",
        "A little replay removes most forgetting; half replay costs adaptation",
        "Ibrahim et al. (2024), 405M: general loss 2.44, 2.27, 2.26, 2.23, 2.21, 2.16 at 0, .5, 1, 5, 10, 50 % replay, "
        "new-domain loss 2.50, 2.50, 2.50, 2.51, 2.51, 2.54; German: 3.56 to 2.24, and 1.11 to 1.22",
        (BASE, *((arm, "cpt") for arm in SHARES.values())),
        _k5,
    ),
    Known(
        "K6",
        "Full training learns more and forgets more; low-rank adapters learn less and forget less",
        "LoRA Learns Less and Forgets Less (2024), code CPT: full .263, the best LoRA at 20B tokens like full at 4B; "
        "retention .545 full, .617 LoRA r = 256",
        (BASE, CPT, LORA, ("lora_low", "lora")),
        _k6,
    ),
    Known(
        "K7",
        "RAG over a thin or wrong corpus is no better than no RAG, and more passages can hurt a small reader",
        "arXiv 2508.06178: top-1 31.7, top-5 18.4",
        (BASE, RAG, ("thin", "rag"), ("wrong", "rag"), *((f"k_{k}", "rag") for k in (1, 5, 10))),
        _k7,
    ),
    Known(
        "K8",
        "The reversal curse: a fact stored as 'A is B' is not found from B by the weights; open-book it is",
        "Physics of Language Models 3.2; Berglund et al. (2023)",
        (CPT, ("cpt", "cpt_gold")),
        _k8,
    ),
    Known(
        "K9",
        "Multiple choice by log-probability and free answers can disagree in sign",
        "A 2026 study of Qwen3-8B on MedMCQA: by choice tuned 62.9, base 56.8; by free answer .396, .454",
        (BASE, CPT, LORA, *((CHOICE, name) for name in ("closed_book", "cpt", "lora"))),
        _k9,
    ),
    Known(
        "K10",
        "Knowledge capacity is near 2 bits a parameter at about 1,000 exposures a fact, near 1 at 100",
        "Physics of Language Models 3.3",
        (CPT,),
        stored,
    ),
)
