"""Laws of a mixture on losses that follow a known law, and the command on run folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_report import small_run

from lab.records import LabError, write_jsonl
from lab.report.laws import DOMAIN, GENERAL, SIDES, Fitted, Point, carried_on, fit, straight_on
from lab.report.mixture import main, points_of

BEFORE = (10.0, 0.2)
BUDGETS, SHARES = (87_500, 175_000, 350_000), (0.05, 0.1, 0.25, 0.5)


def domain(tokens: float, share: float) -> float:
    return 0.15 + (BEFORE[0] - 0.15) * (1 + tokens * (1 - share) / 9_000) ** -1.1


def general(tokens: float, share: float) -> float:
    return BEFORE[1] + 3.0 * (1 + tokens * share / 700) ** -0.5


TRUE: dict[str, Callable[[float, float], float]] = {"domain": domain, "general": general}


def mixtures(noise: float = 0.0, budgets: tuple[int, ...] = BUDGETS) -> list[Point]:
    random = np.random.default_rng(0)
    return [
        Point(
            tokens, share, BEFORE, tuple(law(tokens, share) * np.exp(random.normal(0, noise)) for law in TRUE.values())
        )
        for tokens in budgets
        for share in SHARES
    ]


@pytest.fixture(scope="module")
def clean() -> dict[str, list[Fitted]]:
    return {side: fit(mixtures(), side) for side in SIDES}


def test_a_law_that_made_the_losses_is_found_with_its_parameters(clean: dict[str, list[Fitted]]) -> None:
    best = clean["domain"][0]
    assert best.law is DOMAIN[0]
    assert best.parameters * [1, best.unit, 1] == pytest.approx([0.15, 9_000, 1.1], rel=0.01)
    # The fourth law holds the third in it, with a = 0: either may come first, and the third's parameters are told.
    third = next(one for one in clean["general"] if one.law is GENERAL[2])
    assert third.parameters * [1, third.unit, 1] == pytest.approx([3.0, 700, 0.5], rel=0.01)
    assert clean["general"][0].law in GENERAL[2:]
    for side in SIDES:
        errors = [one.error for one in clean[side]]
        assert errors == sorted(errors)
        assert errors[0] < 0.001
        assert clean[side][0].at(1_400_000, 0.25) == pytest.approx(TRUE[side](1_400_000, 0.25), rel=0.002)


def test_a_large_run_is_foretold_within_the_noise_and_better_than_without_a_law() -> None:
    points = mixtures(noise=0.02)
    for side in SIDES:
        best = fit(points, side)[0]
        truth = np.array([TRUE[side](1_400_000, share) for share in SHARES])
        off = [
            np.abs(np.array([guess(share) for share in SHARES]) / truth - 1).mean()
            for guess in (
                lambda share, best=best: best.at(1_400_000, share),
                lambda share, side=side: carried_on(points, side, 1_400_000, share),
                lambda share, side=side: straight_on(points, side, 1_400_000, share),
            )
        ]
        assert off[0] < 0.06
        assert off[0] < min(off[1:])


def test_what_one_would_say_without_a_law_by_hand() -> None:
    points = [
        Point(t, s, (9, 9), (loss, 1.0)) for t, s, loss in ((100, 0.1, 8), (100, 0.3, 4), (200, 0.1, 4), (200, 0.3, 2))
    ]
    assert carried_on(points, "domain", 400, 0.2) == pytest.approx(3.0)
    assert straight_on(points, "domain", 400, 0.1) == pytest.approx(2.0)  # halves with each doubling
    assert straight_on(points, "domain", 800, 0.3) == pytest.approx(0.5)


@pytest.mark.parametrize("budgets", [BUDGETS[:1], BUDGETS[:2]])
def test_too_few_runs_are_refused(budgets: tuple[int, ...]) -> None:
    with pytest.raises(LabError, match=r"too few for a law: at least \d of 3 budgets"):
        fit(mixtures(budgets=budgets), "domain")


def cpt_run(folder: Path, tokens: int, share: float, seed: int = 0, name: str = "cpt", rate: float = 5e-3) -> Path:
    training = {"texts": ["documents"], "tokens": tokens, "general_share": share, "learning_rate": rate}
    small_run(folder, name, [], seed=seed, settings={"adaptation": {"training": training}, "context": {}})
    spread = 1 + 0.1 * (seed - 1)
    losses = (BEFORE, (5.0, 0.9), tuple(law(tokens, share) * spread for law in TRUE.values()))
    rows = [
        {"tokens": at, "domain_loss": d, "general_loss": g}
        for at, (d, g) in zip((0, tokens // 2, tokens), losses, strict=True)
    ]
    blank = dict.fromkeys(("domain_bits_per_byte", "general_bits_per_byte", "exam_score", "general_score"))
    write_jsonl(folder / "training.jsonl", [{**row, **blank} for row in rows])
    return folder


def test_runs_are_found_by_their_settings_and_seeds_are_averaged(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        cpt_run(tmp_path / f"a{seed}", 1000, 0.25, seed)
    cpt_run(tmp_path / "b", 500, 0.25, 1)
    cpt_run(tmp_path / "open", 1000, 0.25, 0, "cpt_rag")  # the same training, with another context
    small_run(tmp_path / "rag", "rag", [])
    small_run(tmp_path / "half", "cpt", [], finished=False)
    small, large = points_of([tmp_path])
    assert (small.tokens, small.share, small.seeds) == (500, 0.25, 1)
    assert (large.tokens, large.share, large.seeds) == (1000, 0.25, 3)
    assert large.before == pytest.approx(BEFORE)
    assert large.after == pytest.approx((domain(1000, 0.25), general(1000, 0.25)))
    cpt_run(tmp_path / "c", 2000, 0.25, 0, rate=1e-3)
    with pytest.raises(LabError, match=r"differs from the others in adaptation.training.learning_rate"):
        points_of([tmp_path])
    with pytest.raises(LabError, match="no finished run of continued pretraining"):
        points_of([tmp_path / "rag"])


def test_the_command_foretells_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tokens in BUDGETS:
        for share in SHARES:
            cpt_run(tmp_path / "small" / f"{tokens}-{share}", tokens, share, 1)
    cpt_run(tmp_path / "large" / "one", 1_400_000, 0.25, 1)
    small, large = str(tmp_path / "small"), str(tmp_path / "large")
    assert main([small, "--predict", large, "--at", "2800000", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "power of private tokens <-" in out
    (told,) = [line.split() for line in out.splitlines() if line.split()[:3] == ["domain", "1.4M", "0.25"]]
    assert float(told[3]) == pytest.approx(domain(1_400_000, 0.25), abs=0.002)
    assert float(told[4]) == pytest.approx(domain(1_400_000, 0.25), abs=0.0001)
    (asked,) = [line.split() for line in out.splitlines() if line.split()[:2] == ["general", "2.8M"]]
    assert float(asked[3]) == pytest.approx(general(2_800_000, 0.5), rel=0.01)
    assert asked[4] == "-"
    for wrong, named in ((["--predict", small], "foretold"), (["--at", "0", "0.5"], "--at 0 0.5"), ([], "")):
        paths = [small] if wrong else [large]
        assert main([*paths, *wrong]) == 2
        assert named in capsys.readouterr().err
