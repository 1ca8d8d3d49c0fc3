"""How often the rule is wrong, by simulation: lognormal noise, drift, unequal slots, runs that something disturbed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from compare_samples import session
from numpy.typing import NDArray

from loadgen.compare.comparison import compare
from loadgen.compare.result import Comparison, Decision
from loadgen.compare.statistics import estimate_changes, session_design, t_quantile

RATE, LATENCY = "notify.received_per_s", "notify.latency.p99"
OUTLIERS = 0.02


def judged(seed: int, noise: float, effect: dict[str, float] | None = None) -> Comparison:
    baseline, new, control = session(seed, noise, effect, outliers=OUTLIERS)
    return compare(baseline, new, control, paired=True)


def regressions(result: Comparison) -> set[str]:
    return {metric.metric for metric in result.metrics if metric.decision is Decision.REGRESSION}


def worse(logs: NDArray[np.float64], design: NDArray[np.float64], relevant: NDArray[np.float64]) -> list[bool]:
    """Which figures are a regression, if all of them are better when lower."""
    estimates = estimate_changes(logs, design, relevant)
    assert estimates is not None
    return [e.change > max(e.noise, limit) for e, limit in zip(estimates, relevant, strict=True)]


def noises(low: float, high: float, count: int) -> list[float]:
    return [float(noise) for noise in np.linspace(low, high, count)]


def test_equal_builds_are_hardly_ever_called_different() -> None:
    """Eight times 30 comparisons of a build with itself, in each of which every noisy figure is judged."""
    wrong = [bool(regressions(judged(seed, noise))) for seed, noise in enumerate(noises(0.04, 0.12, 30) * 8)]
    assert sum(wrong) <= len(wrong) / 60


def test_a_rate_that_is_lower_by_fifteen_percent_is_found() -> None:
    """Five times 20 comparisons at a noise of 3 to 5 % (half of what p99 has)."""
    slower = {RATE: 0.85}
    found = [RATE in regressions(judged(seed, noise, slower)) for seed, noise in enumerate(noises(0.06, 0.10, 20) * 5)]
    assert sum(found) >= len(found) * 19 / 20


def test_a_p99_that_is_higher_by_thirty_percent_is_found() -> None:
    """Five times 20 comparisons at a noise of 8 to 10 %. `service` is a part of `latency`, so both have it."""
    slower = {LATENCY: 1.3, "notify.service.p99": 1.3}
    found = [bool(regressions(judged(seed, noise, slower))) for seed, noise in enumerate(noises(0.08, 0.10, 20) * 5)]
    assert sum(found) >= len(found) * 19 / 20


def test_error_rates_over_many_sessions() -> None:
    """The rule itself, with 18 figures that have nothing to do with each other: most can go wrong there."""
    rng = np.random.default_rng(7)
    relevant = np.log1p(np.array([0.05] * 3 + [0.10] * 15))
    sigma = np.array([0.04] * 3 + [0.04, 0.06, 0.09] * 5)
    new = np.array([False] * 4 + [False, True, True, False] * 3)
    design = session_design(list(new), [True] * 4 + [False] * 12, range(16))
    false, rate, latency = 0, 0, 0
    sessions = 240
    for _ in range(sessions):
        logs = rng.normal(size=(16, 18)) * sigma + 0.2 * np.linspace(0, 1, 16)[:, None]
        false += any(worse(logs, design, relevant))
        planted = logs.copy()
        planted[new, 0] -= math.log(0.85)
        planted[new, 5] += math.log(1.3)
        found = worse(planted, design, relevant)
        rate += found[0]
        latency += found[5]
    assert false / sessions <= 1 / 60
    assert rate / sessions >= 0.98
    assert latency / sessions >= 0.90


def test_intervals_cover_what_they_promise_and_a_quantile_bootstrap_would_not() -> None:
    """Why intervals are made of t and not of resampled pairs, at six pairs."""
    rng = np.random.default_rng(11)
    new = [False, True, True, False] * 3
    design = session_design(new, [False] * 12, range(12))
    sessions, figures = 150, 8
    ours = bootstrap = 0
    for _ in range(sessions):
        logs = rng.normal(size=(12, figures)) * 0.1
        estimates = estimate_changes(logs, design, np.full(figures, 0.1))
        assert estimates is not None
        ours += sum(estimate.low <= 0 <= estimate.high for estimate in estimates)
        ratios = (logs[1::2] - logs[::2]) * np.array([1, -1] * 3)[:, None]
        means = ratios[rng.integers(0, 6, (400, 6))].mean(axis=1)
        low, high = np.quantile(means, (0.025, 0.975), axis=0)
        bootstrap += int(((low <= 0) & (high >= 0)).sum())
    assert 0.93 <= ours / (sessions * figures) <= 0.97
    assert bootstrap / (sessions * figures) < 0.90


def test_drift_and_slots_cancel_exactly() -> None:
    """Without noise, what is left is the change, whatever the machine does meanwhile."""
    new = [False] * 4 + [False, True, True, False] * 3
    position = np.arange(16)
    machine = 0.5 * position / 16 + 0.2 * (position % 2) + 0.3 * (position < 4)
    design = session_design(new, [True] * 4 + [False] * 12, range(16))
    estimates = estimate_changes((machine + 0.1 * np.array(new))[:, None], design, np.array([0.1]))
    assert estimates is not None
    assert estimates[0].change == pytest.approx(0.1)


def test_one_disturbed_run_is_left_out() -> None:
    rng = np.random.default_rng(1)
    new = [False, True, True, False] * 3
    logs = rng.normal(size=(12, 6)) * 0.03
    logs[4] += 1.0
    estimates = estimate_changes(logs, session_design(new, [False] * 12, range(12)), np.full(6, 0.1))
    assert estimates is not None
    assert [estimate.left_out for estimate in estimates] == [(4,)] * 6
    assert all(abs(estimate.change) < 0.08 for estimate in estimates)


@pytest.mark.parametrize(
    ("share", "freedom", "value"),
    # of printed tables of Student's t
    [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.975, 10, 2.228), (0.95, 6, 1.943), (0.999, 5, 5.893), (0.5, 3, 0.0)],
)
def test_quantiles_of_t(share: float, freedom: float, value: float) -> None:
    assert t_quantile(share, freedom) == pytest.approx(value, abs=2e-3)


def test_too_few_runs_give_no_estimate() -> None:
    logs = np.zeros((4, 1))
    design = session_design([False, True, True, False], [False] * 4, range(4))
    assert estimate_changes(logs, design, np.array([0.1])) is None
