"""How much of the corpus the weights hold: bits of fact knowledge, and bits a parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lab.judge.statistics import Interval, interval
from lab.records import LabError

ROUNDING = 1e-3  # in nats: a sum over tokens in float32 may end this far above 0


@dataclass(frozen=True)
class StoredBits:
    """What `stored_bits` finds, each with its 95 % interval clustered by document.

    bits_per_fact: learned. offered_bits_per_fact: what knowing a fact for certain would be. share: the first over the
    second. bits_per_parameter, offered_bits_per_parameter: the same two times facts over parameters.
    """

    bits_per_fact: Interval
    offered_bits_per_fact: Interval
    share: Interval
    bits_per_parameter: Interval
    offered_bits_per_parameter: Interval


def stored_bits(
    log_probabilities: ArrayLike, alternatives: ArrayLike, clusters: Sequence[str], facts: int, parameters: int
) -> StoredBits:
    """Bits of fact knowledge in the weights, after Allen-Zhu and Li (2024), "Physics of Language Models: Part 3.3".

    A fact drawn from V equally likely values offers log2(V) bits, and the weights hold log2(V) + log2 p(answer |
    question) of them: all where they are certain, none where they guess among the V. The mean over the facts asked,
    times `facts`, over `parameters`, is the bits a parameter. It is theirs for the values of their biographies,
    N log2(V / e^loss) / P, where the loss (nats, summed over the value's tokens, averaged over facts) is the mean of
    -ln p here.

    It differs from theirs in three ways. They take the loss on sentences of the training text, here a question is asked
    in a wording of the exam's, so that only what can be got out by asking counts. They add the bits of the subjects'
    names, here the question gives the subject. They train from nothing on these facts alone, here the parameters
    also hold what the base knew. All three make ours smaller: it is a lower bound of what the weights hold.

    The mean is cut off at 0, and not each fact: a model that knows nothing is above V's chance on some facts and below
    on others, and would get bits for its luck if only the misses were forgiven. Below 0 the mean says that the
    answer is less likely than a guess among the V, as where the model would rather say "unknown": no knowledge, and
    not less than none. A model that is certain of some facts and as certain of the wrong answer to others may end there
    too, with many right answers: a loss counts certain mistakes against it, as an exam does not.

    log_probabilities: natural log of the whole answer given the question, (questions,) or (seeds, questions).
    alternatives: V of each question, (questions,). clusters: one a question. facts: in the whole corpus, of which the
    questions are taken to be a fair sample. Raises LabError for V below 1, a log-probability above 0, or facts or
    parameters that are not positive, and ValueError as `interval` does.
    """
    values, drawn_from = np.atleast_2d(np.asarray(log_probabilities, dtype=float)), np.asarray(alternatives, float)
    for name, number in (("facts", facts), ("parameters", parameters)):
        if number <= 0:
            raise LabError(f"{name}={number}: a positive number is needed to share out bits")
    if (drawn_from < 1).any():
        raise LabError(f"alternatives={drawn_from.min():g}: an answer is drawn from at least one value")
    if (values > ROUNDING).any():
        raise LabError(f"log_probability={values.max():g}: above 0; it is a natural logarithm of a probability")
    offered = np.log2(drawn_from)
    learned = offered + values / math.log(2)
    bits = _from_zero(interval(learned, clusters, bounded=False))
    offer = interval(offered, clusters, bounded=False)
    # A ratio of means, its error to first order (Cochran 1977, section 2.11); V = 1 throughout offers nothing.
    whole = offered.mean()
    ratio = learned.mean() / whole if whole else 0.0
    residuals = ratio + (learned - ratio * offered) / whole if whole else np.zeros_like(learned)
    share = _from_zero(interval(residuals, clusters, bounded=False))
    return StoredBits(bits, offer, share, _times(bits, facts / parameters), _times(offer, facts / parameters))


def _from_zero(found: Interval) -> Interval:
    return Interval(*(max(0.0, end) for end in (found.estimate, found.low, found.high)))


def _times(found: Interval, factor: float) -> Interval:
    return Interval(found.estimate * factor, found.low * factor, found.high * factor)
