"""Intervals and paired tests that know that questions on one document are not independent.

One method throughout. The standard error is a cluster bootstrap's (Efron and Tibshirani 1993; Cameron, Gelbach and
Miller 2008): documents are drawn with replacement, all their questions with them, and each resample's mean is
sum of values / number of questions. One document fewer is drawn than there are, because that makes the variance
unbiased, where drawing all of them is (G - 1) / G too small (Rao and Wu 1988). Student's t with G - 1 degrees of
freedom then takes the place of the normal, instead of percentiles: with few clusters percentiles are too narrow, and
a p-value counted from 2,000 resamples cannot fall below 0.001, which Holm's correction would lift above 0.05.

Several training seeds: values of shape (seeds, questions). Seeds are resampled too, crossed with the documents. That
counts three times what is chance of a single seed on a single document: as it varies with the seed, with the document,
and with both (Owen 2007). The last is taken off again; what is left is the variance over documents plus that over
seeds, still somewhat cautious, and the degrees of freedom are Welch and Satterthwaite's for that sum. One seed says
nothing about other seeds; the interval is then over documents alone.

Coverage of nominal 95 % intervals, simulated with right or wrong answers, 16 questions a document unless said
otherwise, 1,500 repetitions (+-1 point), plain percentiles in brackets:
- Paired difference of 0.08 near 0.5: 40 documents 95 (94), 10 documents 95 (89); one question each 95 (94) and 95 (89).
- No difference, scores near 0.04 or 0.96: 40 documents 95 (94), 10 documents 96 (90); 40 questions in all 98 (97).
- Score interval, intraclass correlation 0.1, 40 documents: 0.5 95 (94), 0.9 96 (95), 0.97 93 (89).
- The same, correlation 0.33: 95 (94), 94 (92), 88 (83). The weak spot: an extreme score made by one or two documents.

Two arms with seeds of their own on 40 documents, 4,000 repetitions (+-0.4 points), by the standard deviation of a
seed's effect on the score, which is 0.00 to 0.02 in the embedded cpt and lora. In % of cases, A against A finds a
difference, and the interval covers a true one of 0.08; in brackets, before the last was taken off (1,500):

    seeds 0.00                  0.01                  0.02                  0.03      0.04                  0.06
    3     1.2, 98.7 (0.2, 99.8) 1.8, 98.4 (0.1, 99.8) 3.6, 97.0 (1.2, 99.3) 5.0, 95.5 5.4, 94.3 (2.7, 95.9) 6.6, 93.1
    5     1.1, 99.1 (0.1, 99.9) 1.2, 98.7 (0.1, 99.9) 2.2, 97.7 (0.5, 99.6) 3.5, 96.8 4.2, 95.9 (2.9, 97.9) 5.7, 95.4

Where seeds hardly differ it is cautious: nobody can know from three that others would not. Taking off both of what is
counted too often covers as well, but with so few degrees of freedom that it finds less. Two seeds that differ by 0.04
are covered in 91, by 0.06 in 88 (2,000 repetitions): two are too few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lab.records import Question

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, in the values' unit."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A paired difference of means, its confidence interval, and the two-sided p-value against no difference."""

    estimate: float
    low: float
    high: float
    p: float


def clusters_of(questions: Sequence[Question]) -> list[str]:
    """Each question's cluster: its first document, else the text given with it, else the question itself."""
    return [
        f"document {question.documents[0]}"
        if question.documents
        else "\n".join(("given", *question.given))
        if question.given
        else f"question {question.id}"
        for question in questions
    ]


def interval(
    values: ArrayLike,
    clusters: Sequence[str],
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
    bounded: bool = True,
) -> Interval:
    """Mean over questions with its confidence interval.

    values: (questions,) or (seeds, questions). clusters: one a question. bounded: the values are scores in 0..1, and
    the interval is Wilson's (1927) with the effective number of questions that the clustered standard error implies,
    n = mean (1 - mean) / error^2, and t for the normal quantile (compared by Franco, Little, Louis and Slud 2019): it
    stays in 0..1 and does better than mean +- t x error near the ends. Where the error is 0 (all right, all wrong)
    n is the number of questions, which assumes them independent. Otherwise (bits per byte) the interval is
    mean +- t x error.

    One cluster alone gives 0..1, or all numbers. Raises ValueError for shapes that do not fit, no questions, values
    that are not finite, or scores outside 0..1.
    """
    scores = _matrix(values, clusters)
    if bounded and (scores.min() < 0 or scores.max() > 1):
        raise ValueError("scores in 0..1 are needed; bounded=False for other values")
    mean, error, freedom = _mean_error_freedom(scores, clusters, seed, resamples)
    t = _t_quantile((1 + level) / 2, freedom)
    if not bounded:
        return Interval(mean, mean - t * error, mean + t * error)
    if np.isinf(error):
        return Interval(mean, 0.0, 1.0)
    effective_n = mean * (1 - mean) / error**2 if error else scores.shape[1]
    ratio = t**2 / effective_n
    centre = (mean + ratio / 2) / (1 + ratio)
    half = np.sqrt(ratio * mean * (1 - mean) + ratio**2 / 4) / (1 + ratio)
    # Rounding may put an end just beyond the mean or the scale.
    return Interval(mean, float(np.clip(centre - half, 0.0, mean)), float(np.clip(centre + half, mean, 1.0)))


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[str],
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Difference:
    """Mean of a - b over the same questions: estimate +- t x error, p = 2 P(T > |estimate| / error).

    a, b: (questions,) or (seeds, questions), with the same number of seeds, or one for either. Interval and p agree:
    p < 1 - level where, and only where, the interval does not cover 0. Where a - b is the same everywhere the
    interval has no width, and p is 1 (no difference) or 0. One cluster alone gives an infinite interval and p = 1.
    Raises ValueError as `interval` does.
    """
    mean, error, freedom = _mean_error_freedom(_paired(a, b, clusters), clusters, seed, resamples)
    return _difference(mean, error, freedom, level)


def unpaired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters_a: Sequence[str],
    clusters_b: Sequence[str],
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Difference:
    """Mean of a minus mean of b, which are over different questions: the two errors are taken as independent.

    a: (questions_a,) or (seeds, questions_a); b alike. error^2 is the sum of both squares, with Welch and
    Satterthwaite's degrees of freedom (Welch 1947). Documents that occur on both sides, or training seeds that made
    both, usually move both means together; the interval is then wider than it need be, not too narrow. Raises
    ValueError as `interval` does.
    """
    first = _mean_error_freedom(_matrix(a, clusters_a), clusters_a, seed, resamples)
    second = _mean_error_freedom(_matrix(b, clusters_b), clusters_b, seed, resamples)
    mean, error = first[0] - second[0], float(np.hypot(first[1], second[1]))
    known = 0 < error < np.inf
    freedom = error**4 / sum(e**4 / f for _, e, f in (first, second)) if known else 1.0
    return _difference(mean, error, freedom, level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979), in the order given.

    The i-th smallest of m is multiplied by m - i + 1; none is below one before it, none above 1.
    Raises ValueError for a p-value outside 0..1.
    """
    p = np.asarray(p_values, dtype=float)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("p-values lie in 0..1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted.tolist()


def smallest_detectable_difference(
    values_a: ArrayLike,
    values_b: ArrayLike,
    clusters: Sequence[str],
    power: float = 0.8,
    alpha: float = 0.05,
    seed: int = 0,
    resamples: int = 2000,
) -> float:
    """The true difference that this exam would find with the given power: (t(1 - alpha / 2) + t(power)) x error.

    The error is that of the observed paired difference (Bloom 1995); it is in the values' unit, and 0 where the two
    never differ, which then says nothing. With Holm over m comparisons, alpha / m is the cautious choice. Infinite
    with one cluster. Raises ValueError as `interval` does.
    """
    _, error, freedom = _mean_error_freedom(_paired(values_a, values_b, clusters), clusters, seed, resamples)
    return (_t_quantile(1 - alpha / 2, freedom) + _t_quantile(power, freedom)) * error


def _t_quantile(probability: float, freedom: float) -> float:
    # scipy.stats.t gives the same, a hundred times more slowly, and a report asks thousands of times.
    return float(special.stdtrit(freedom, probability))


def _difference(mean: float, error: float, freedom: float, level: float) -> Difference:
    half = _t_quantile((1 + level) / 2, freedom) * error
    p = float(2 * special.stdtr(freedom, -abs(mean) / error)) if error else float(mean == 0)
    return Difference(mean, mean - half, mean + half, p)


def _matrix(values: ArrayLike, clusters: Sequence[str]) -> Floats:
    """Values as (seeds, questions), checked."""
    matrix = np.atleast_2d(np.asarray(values, dtype=float))
    if matrix.ndim != 2 or matrix.shape[1] != len(clusters):
        raise ValueError(f"values of shape {matrix.shape} for {len(clusters)} questions")
    if matrix.size == 0 or not np.isfinite(matrix).all():
        raise ValueError("finite values for at least one question are needed")
    return matrix


def _paired(a: ArrayLike, b: ArrayLike, clusters: Sequence[str]) -> Floats:
    first, second = _matrix(a, clusters), _matrix(b, clusters)
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        raise ValueError(f"{len(first)} seeds against {len(second)}: give as many for both, or one for either")
    difference = first - second
    # 0.1 + 0.2 against 0.3 is no difference; left in, such dust on every question would be a certain one.
    return np.where(np.abs(difference) < 1e-12, 0.0, difference)


def _mean_error_freedom(
    values: Floats, clusters: Sequence[str], seed: int, resamples: int
) -> tuple[float, float, float]:
    """Mean of values (seeds, questions), its bootstrap standard error, and the degrees of freedom of that error.

    Kept by content: a report asks for half of them twice, as exact match is the score of a short answer.
    """
    return _kept(np.ascontiguousarray(values).tobytes(), len(values), tuple(clusters), seed, resamples)


@lru_cache(maxsize=1 << 12)
def _kept(
    content: bytes, seeds: int, clusters: tuple[str, ...], seed: int, resamples: int
) -> tuple[float, float, float]:
    return _estimated(np.frombuffer(content).reshape(seeds, -1), clusters, seed, resamples)


def _estimated(values: Floats, clusters: tuple[str, ...], seed: int, resamples: int) -> tuple[float, float, float]:
    seeds, mean = len(values), float(values.mean())
    codes, sizes = _groups(clusters)
    groups = len(sizes)
    if groups < 2:
        return mean, np.inf, 1.0
    sums = np.stack([np.bincount(codes, weights=row) for row in values])
    # Centring first keeps a constant's error at 0 but for rounding, which the last lines then cut off.
    spread = (_weights(groups, resamples, seed) @ (sums - mean * sizes).T) / _drawn(clusters, resamples, seed)
    by_group = ((sums.mean(axis=0) - mean * sizes) ** 2).sum() * groups / (groups - 1) / sizes.sum() ** 2
    over_documents = float(spread.mean(axis=1).var())
    if seeds == 1:
        error, freedom = np.sqrt(over_documents), groups - 1.0
    else:
        shares = _weights(seeds, resamples, seed + 1) / (seeds - 1)
        by_seed = values.mean(axis=1).var(ddof=1) / seeds
        # What is left of a document's sum in a seed when the document's mean and the seed's are taken off.
        rest = sums - sums.mean(axis=0) - np.outer(values.mean(axis=1) - mean, sizes)
        by_both = (rest**2).sum() * groups / (groups - 1) / sizes.sum() ** 2 / seeds / (seeds - 1)
        crossed = float((spread * shares).sum(axis=1).var()) - by_both
        error = np.sqrt(max(over_documents, crossed))
        total = by_group + by_seed
        freedom = total**2 / (by_seed**2 / (seeds - 1) + by_group**2 / (groups - 1)) if total else groups - 1.0
    rounding = 1e-12 * max(1.0, float(np.abs(values).max()))
    return mean, float(error) if error > rounding else 0.0, float(freedom)


@lru_cache(maxsize=128)
def _groups(clusters: tuple[str, ...]) -> tuple[NDArray[np.intp], Floats]:
    """Each question's group, (questions,), and each group's questions, (groups,)."""
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    return codes, np.bincount(codes).astype(float)


@lru_cache(maxsize=128)
def _drawn(clusters: tuple[str, ...], resamples: int, seed: int) -> Floats:
    """How many questions each resample draws, (resamples, 1)."""
    sizes = _groups(clusters)[1]
    return np.asarray((_weights(len(sizes), resamples, seed) @ sizes)[:, None])


@lru_cache(maxsize=32)
def _weights(units: int, resamples: int, seed: int) -> Floats:
    """How often each resample draws each unit, (resamples, units); units - 1 draws. Kept, as all routes share it."""
    draw = np.random.default_rng((seed, units))
    counts = np.empty((resamples, units))
    for row in counts:  # One at a time: the draws of all would take as much memory again, twice.
        row[:] = np.bincount(draw.integers(units, size=units - 1), minlength=units)
    counts.setflags(write=False)
    return counts
