"""Intervals and tests against brute force, textbook formulas, and simulated exams whose truth is known."""

import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from lab.judge import statistics
from lab.judge.statistics import (
    _estimated,
    _kept,
    clusters_of,
    holm,
    interval,
    paired_difference,
    smallest_detectable_difference,
    unpaired_difference,
)
from lab.records import Question

DOCUMENTS, QUESTIONS_EACH = 40, 16
CLUSTERS = [f"d{number}" for number in np.repeat(np.arange(DOCUMENTS), QUESTIONS_EACH)]


@pytest.fixture(autouse=True)
def _computed_anew() -> None:
    """No test takes what another has computed, not even in a process that was forked after it."""
    _kept.cache_clear()


def simulated_pair(random: np.random.Generator, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Two routes' right and wrong answers; b is right with a chance that its document shares, a with `effect` more."""
    chance = np.clip(0.5 + random.normal(0, 0.2, DOCUMENTS), 0, 1 - effect).repeat(QUESTIONS_EACH)
    # Each route has its own luck with a document too, so that differences are clustered.
    luck = random.uniform(-0.15, 0.15, (2, DOCUMENTS)).repeat(QUESTIONS_EACH, axis=1)
    luck *= np.minimum(chance, 1 - effect - chance) / 0.5  # chances stay in 0..1, so the effect is exact
    draws = random.random((2, DOCUMENTS * QUESTIONS_EACH))
    return (draws[0] < chance + effect + luck[0]).astype(float), (draws[1] < chance + luck[1]).astype(float)


def test_a_against_a_finds_a_difference_in_five_percent() -> None:
    random = np.random.default_rng(7)
    results = [paired_difference(*simulated_pair(random, 0.0), CLUSTERS, n, resamples=1000) for n in range(1000)]
    found = [result.p < 0.05 for result in results]
    assert found == [not result.low <= 0 <= result.high for result in results]
    assert 0.035 <= np.mean(found) <= 0.065


def test_intervals_cover_a_known_effect() -> None:
    random = np.random.default_rng(8)
    results = [paired_difference(*simulated_pair(random, 0.08), CLUSTERS, n, resamples=1000) for n in range(1000)]
    assert 0.93 <= np.mean([result.low <= 0.08 <= result.high for result in results]) <= 0.97


def test_intervals_of_a_score_near_the_end_cover_it() -> None:
    random = np.random.default_rng(9)
    # Mean 0.95 and intraclass correlation 1 / (8.55 + 0.45 + 1) = 0.1; percentiles cover 92 to 93 %.
    chances = random.beta(8.55, 0.45, (1000, DOCUMENTS)).repeat(QUESTIONS_EACH, axis=1)
    answers = (random.random(chances.shape) < chances).astype(float)
    results = [interval(row, CLUSTERS, seed=n, resamples=1000) for n, row in enumerate(answers)]
    assert 0.925 <= np.mean([result.low <= 0.95 <= result.high for result in results]) <= 0.97


def test_error_is_that_of_a_bootstrap_written_as_loops() -> None:
    random = np.random.default_rng(1)
    sizes = random.integers(1, 9, 12)
    clusters = [f"d{group}" for group, size in enumerate(sizes) for _ in range(size)]
    values = random.normal(size=12).repeat(sizes) + random.normal(size=sizes.sum())
    by_document = [values[[c == f"d{group}" for c in clusters]] for group in range(12)]
    means = [np.concatenate([by_document[i] for i in random.integers(12, size=11)]).mean() for _ in range(4000)]
    result = interval(values, clusters, resamples=4000, bounded=False)
    assert result.estimate == pytest.approx(values.mean())
    assert (result.high - result.low) / 2 == pytest.approx(stats.t.ppf(0.975, 11) * np.std(means), rel=0.05)


def test_one_question_a_document_is_the_paired_t_test() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(0.3, 1, 30), random.normal(0, 1, 30)
    textbook = stats.ttest_rel(a, b)
    result = paired_difference(a, b, [str(n) for n in range(30)], resamples=100_000)
    low, high = textbook.confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.004)
    assert result.p == pytest.approx(textbook.pvalue, rel=0.05)


def test_copies_of_a_question_add_no_evidence() -> None:
    random = np.random.default_rng(3)
    values, clusters = (random.random(20) < 0.6).astype(float), [str(n) for n in range(20)]
    assert interval(values.repeat(9), np.repeat(clusters, 9).tolist()) == interval(values, clusters)


def test_order_of_questions_does_not_count() -> None:
    random = np.random.default_rng(4)
    a, b = simulated_pair(random, 0.05)
    order = random.permutation(len(a))
    mixed = paired_difference(a[order], b[order], [CLUSTERS[i] for i in order])
    straight = paired_difference(a, b, CLUSTERS)
    assert [mixed.low, mixed.high, mixed.p] == pytest.approx([straight.low, straight.high, straight.p])


def test_score_interval_is_wilsons_where_questions_are_independent() -> None:
    values, clusters = np.repeat([1.0, 0.0], [90, 10]), [str(n) for n in range(100)]
    expected = stats.binomtest(90, 100).proportion_ci(method="wilson")
    result = interval(values, clusters, resamples=50_000)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), abs=0.002)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_all_alike_still_leaves_room_for_chance(score: float) -> None:
    expected = stats.binomtest(int(score) * 640, 640).proportion_ci(method="wilson")
    result = interval(np.full(640, score), CLUSTERS)
    assert result.estimate == score
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), abs=0.001)


def test_routes_that_never_differ() -> None:
    same = np.full(640, 0.7)
    result = paired_difference(same, same, CLUSTERS)
    assert (result.estimate, result.low, result.high, result.p) == (0.0, 0.0, 0.0, 1.0)
    assert paired_difference(np.full(640, 0.1 + 0.2), np.full(640, 0.3), CLUSTERS).p == 1.0
    result = paired_difference(np.ones(640), np.zeros(640), CLUSTERS)
    assert (result.estimate, result.low, result.high, result.p) == (1.0, 1.0, 1.0, 0.0)


def test_one_document_names_no_winner() -> None:
    result = paired_difference(np.ones(9), np.zeros(9), ["only"] * 9)
    assert (result.estimate, result.low, result.high, result.p) == (1.0, -np.inf, np.inf, 1.0)
    alone = interval(np.ones(9), ["only"] * 9)
    assert (alone.low, alone.high) == (0.0, 1.0)


def test_seeds_that_agree_add_nothing_and_seeds_that_differ_widen() -> None:
    random = np.random.default_rng(5)
    a, b = simulated_pair(random, 0.1)
    alone = paired_difference(a, b, CLUSTERS)
    copies = paired_difference(np.stack([a, a, a]), b, CLUSTERS)
    assert [copies.estimate, copies.low, copies.high] == pytest.approx([alone.estimate, alone.low, alone.high])
    apart = paired_difference(np.stack([a - 0.1, a, a + 0.1]), b, CLUSTERS)
    assert apart.estimate == pytest.approx(alone.estimate)
    assert apart.high - apart.low > 3 * (alone.high - alone.low)


def simulated_arms(
    random: np.random.Generator, seeds: int, spread: float, effect: float
) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong answers of two arms of several trainings, each (seeds, questions).

    Each training is better or worse throughout by a normal effect of standard deviation `spread` (that of the embedded
    cpt and lora: 0.00 to 0.02), and has luck of its own with each document.
    """
    chance = np.clip(0.5 + random.normal(0, 0.15, DOCUMENTS), 0.25, 0.75 - effect).repeat(QUESTIONS_EACH)
    arms = []
    for better in (effect, 0.0):
        overall = np.clip(random.normal(0, spread, (seeds, 1)), -0.15, 0.15)
        luck = random.uniform(-0.1, 0.1, (seeds, DOCUMENTS)).repeat(QUESTIONS_EACH, axis=1)
        arms.append((random.random(luck.shape) < chance + better + overall + luck).astype(float))
    return arms[0], arms[1]


def found_and_covered(seeds: int, spread: float, cases: int) -> tuple[float, float]:
    """How often A against A differs, and how often a true effect of 0.08 is covered."""
    random = np.random.default_rng((seeds, cases))
    found = covered = 0
    for case in range(cases):
        found += paired_difference(*simulated_arms(random, seeds, spread, 0.0), CLUSTERS, case, resamples=1000).p < 0.05
        result = paired_difference(*simulated_arms(random, seeds, spread, 0.08), CLUSTERS, case, resamples=1000)
        covered += result.low <= 0.08 <= result.high
    return found / cases, covered / cases


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.03), (5, 0.05)])
def test_seeds_are_a_level_of_the_bootstrap(seeds: int, spread: float) -> None:
    """4,000 cases of 3 seeds: 5.0 % found, 95.5 % covered; of 5 seeds: 4.8 and 95.2."""
    found, covered = found_and_covered(seeds, spread, 1500)
    assert 0.035 <= found <= 0.065
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_seeds_that_hardly_differ_make_it_cautious_and_never_bold(spread: float) -> None:
    """4,000 cases of 3 seeds: 1.2 % found and 98.7 % covered at 0, 3.6 and 97.0 at 0.02. Not 5 and 95: from three
    seeds nobody can know that others would not differ more."""
    found, covered = found_and_covered(3, spread, 500)
    assert 0.004 <= found <= 0.055
    assert 0.945 <= covered <= 0.996


def test_the_error_over_seeds_is_that_over_documents_and_that_over_seeds() -> None:
    random = np.random.default_rng(12)
    values = random.normal(0, 0.6, (4, 1)) + random.normal(0, 1, 40) + random.normal(0, 1, (4, 40))
    pieces = (values.mean(axis=0).var(ddof=1) / 40, values.mean(axis=1).var(ddof=1) / 4)
    free = sum(pieces) ** 2 / (pieces[0] ** 2 / 39 + pieces[1] ** 2 / 3)
    result = interval(values, [f"d{n}" for n in range(40)], resamples=40_000, bounded=False)
    expected = stats.t.ppf(0.975, free) * np.sqrt(sum(pieces))
    assert (result.high - result.low) / 2 == pytest.approx(expected, rel=0.02)


def test_an_unpaired_difference_is_welchs_where_every_question_is_its_own_document() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(0.6, 0.1, 60), random.normal(0.5, 0.3, 25)
    names = [f"a{n}" for n in range(60)], [f"b{n}" for n in range(25)]
    welch = stats.ttest_ind(a, b, equal_var=False)
    for level in (0.95, 0.8):
        found, ends = unpaired_difference(a, b, *names, resamples=40_000, level=level), welch.confidence_interval(level)
        assert found.estimate == pytest.approx(a.mean() - b.mean())
        assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=0.002)
        assert found.p == pytest.approx(welch.pvalue, rel=0.05)
    assert unpaired_difference(a, b, *names, seed=1) != unpaired_difference(a, b, *names, seed=2)
    assert unpaired_difference([1, 1], [0, 0], ["x", "x"], ["y", "z"]).p == 1.0  # one document allows no claim
    assert unpaired_difference([1, 1], [0, 0], ["x", "y"], ["y", "z"]).p == 0.0


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04: times 4, 3, 2, 1 are .02 .03 .06 .04, and the last may not fall below .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    for no_chance in (float("nan"), -0.1, 1.1):
        with pytest.raises(ValueError, match=r"0\.\.1"):
            holm([0.1, no_chance])


def test_the_smallest_detectable_difference_is_found_as_often_as_promised() -> None:
    random = np.random.default_rng(11)
    effect = np.mean([smallest_detectable_difference(*simulated_pair(random, 0.1), CLUSTERS) for _ in range(50)])
    found = [paired_difference(*simulated_pair(random, effect), CLUSTERS, seed=n).p < 0.05 for n in range(500)]
    assert 0.74 <= np.mean(found) <= 0.86


def test_degrees_of_freedom_and_error_are_the_formulas() -> None:
    random = np.random.default_rng(14)
    values = random.normal(0, 1, (5, 1)) + random.normal(0, 3, (5, 12))  # the luck of a seed with a document is large
    documents, seeds = values.mean(axis=0).var(ddof=1) / 12, values.mean(axis=1).var(ddof=1) / 5
    _, error, freedom = _estimated(values, tuple("abcdefghijkl"), 0, 40_000)
    assert freedom == pytest.approx((documents + seeds) ** 2 / (documents**2 / 11 + seeds**2 / 4))
    assert error == pytest.approx(np.sqrt(documents + seeds), rel=0.015)


def test_the_smallest_detectable_difference_by_hand() -> None:
    a, b = simulated_pair(np.random.default_rng(13), 0.1)
    found = paired_difference(a, b, CLUSTERS)
    error = (found.high - found.low) / 2 / stats.t.ppf(0.975, DOCUMENTS - 1)
    for power, alpha in ((0.8, 0.05), (0.9, 0.01)):
        factor = stats.t.ppf(1 - alpha / 2, DOCUMENTS - 1) + stats.t.ppf(power, DOCUMENTS - 1)
        assert smallest_detectable_difference(a, b, CLUSTERS, power, alpha) == pytest.approx(factor * error)


def test_what_is_not_said_is_seed_0_and_2000_resamples() -> None:
    """As the documents of a run do not name them, kept figures would change with them."""
    a, b = simulated_pair(np.random.default_rng(6), 0.05)
    given = {"seed": 0, "resamples": 2000}
    assert interval(a, CLUSTERS) == interval(a, CLUSTERS, level=0.95, bounded=True, **given)
    assert paired_difference(a, b, CLUSTERS) == paired_difference(a, b, CLUSTERS, level=0.95, **given)
    both = (a, b, CLUSTERS, CLUSTERS)
    assert unpaired_difference(*both) == unpaired_difference(*both, level=0.95, **given)
    least = smallest_detectable_difference(a, b, CLUSTERS)
    assert least == smallest_detectable_difference(a, b, CLUSTERS, power=0.8, alpha=0.05, **given)


def test_same_seed_same_numbers() -> None:
    a, b = simulated_pair(np.random.default_rng(6), 0.05)
    assert paired_difference(a, b, CLUSTERS, seed=3) == paired_difference(a, b, CLUSTERS, seed=3)
    assert paired_difference(a, b, CLUSTERS, seed=3) != paired_difference(a, b, CLUSTERS, seed=4)


def test_a_whole_report_takes_under_two_seconds() -> None:
    clusters = [str(n) for n in range(640)]
    values = (np.random.default_rng(0).random((10, 6, 640)) < 0.6).astype(float)
    start = time.process_time()
    for route in values:
        for part, reference in zip(route, values[0], strict=True):
            interval(part, clusters)
            paired_difference(part, reference, clusters)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("values", "clusters"),
    [([0.5, np.nan], ["a", "b"]), ([0.5], ["a", "b"]), ([], []), ([1.5, 0.2], ["a", "b"])],
)
def test_wrong_values_are_refused(values: list[float], clusters: list[str]) -> None:
    with pytest.raises(ValueError, match="values"):
        interval(values, clusters)


def test_unequal_numbers_of_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds"):
        paired_difference(np.zeros((3, 2)), np.zeros((2, 2)), ["a", "b"])


def test_clusters_go_by_document_then_shared_text_then_question() -> None:
    questions = [
        Question("1", "?", ("x",), documents=("d", "e")),
        Question("2", "?", ("x",), documents=("d",)),
        Question("3", "?", ("x",), given=("a tale",)),
        Question("4", "?", ("x",), given=("a tale",)),
        Question("d", "?", ("x",)),
        Question("5", "?", ("x",)),
    ]
    names = clusters_of(questions)
    assert names[0] == names[1]
    assert names[2] == names[3]
    assert len(set(names)) == 4


def test_resamples_take_no_more_memory_than_their_counts():
    tracemalloc.start()
    counts = statistics._weights.__wrapped__(2000, 200, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (counts.sum(axis=1) == 1999).all()
    assert peak < 1.2 * counts.nbytes
