"""How much figures changed between two groups of runs, and how much of it is noise.

The unit of observation is a whole run: what happens within a run shares its processes, its connections and its minute
on that machine, so a million durations of one run are one observation.

All figures are compared as logarithms, so a change is a ratio and noise is a share. One linear fit per figure,

    log figure = level + drift * time + slot * (second of its pair) + warm * (control run) + change * (run of new)

with every run of the session in it. In ABBA order the new side is orthogonal to drift and slot, so both cancel in
`change`, which is the mean of the pairs' log ratios, and do not count as noise either. The A/A control pairs tell what
noise is, and no more: they come first, when the machine is not warm yet, so they are no part of the baseline's level.
Runs far off the fit are left out of it.

With six pairs a figure's own spread is known badly, and a dozen figures are judged at once. What a quantile bootstrap
makes of so few runs is too narrow, and t with every figure's own spread misses what it should find. So figures share
what they tell about noise: each spread is drawn towards that of the others, as far as they agree (the moderated t of
Smyth 2004, which is how thousands of genes are tested with three samples each).
tests/compare/test_compare_error_rates.py holds the rule to its rates of errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# In a comparison of equal builds: how often any of its noisy figures may be called a regression. About 1 in 60 is what
# is promised. Less is aimed at, because what figures share about noise is an estimate itself.
FALSE_ALARMS = 1 / 200
CONFIDENCE = 0.95
# The fit needs that many runs more than it has unknowns.
MIN_FREEDOM = 2

# Runs further from the fit than this, in standard deviations, do not count. Undisturbed ones: once in 2,000.
_FAR_OFF = 3.5
# Nor do those of which the median over all figures is further off than this.
_DISTURBED = 2.0
# Figures with less noise than this share of the smallest relevant change have no part in sharing: quiet and noisy ones
# have nothing in common. Less than _SILENT decides nothing, and is taken for that.
_QUIET = 0.5
_SILENT = 0.1
# A single noisy figure tells nothing about others.
_MIN_SHARED = 2
_MOST_FREEDOM = 60.0
# Turns a median of absolute residuals into a standard deviation.
_MAD = 1.4826

Matrix = NDArray[np.float64]


class Estimate(NamedTuple):
    """The change of one figure, new against baseline, as logarithms of ratios.

    Attributes:
        low, high: 95 % confidence interval.
        noise: what a change must exceed not to be noise, all figures of the comparison considered together.
        left_out: indexes of runs that were too far off.
    """

    change: float
    low: float
    high: float
    noise: float
    left_out: tuple[int, ...]


def session_design(new: Sequence[bool], control: Sequence[bool], position: Sequence[int]) -> Matrix:
    """Columns of the fit for alternating runs of one session.

    Args:
        new: which runs were of the new side.
        control: which runs were of A/A pairs.
        position: of each run in the session: pairs are (0, 1), (2, 3), ...
    """
    at = np.array(position)
    columns = [np.ones(len(at)), at % 2 - 0.5]
    if any(control):
        columns.append(np.array(control))
    # With two or three pairs, knowing what noise is matters more. Drift cancels in the change all the same.
    if len(at) - len(columns) - 2 > MIN_FREEDOM:
        columns.append(at / max(1, int(at.max())) - 0.5)
    return np.column_stack([*columns, np.array(new)]).astype(np.float64)


def groups_design(new: Sequence[bool]) -> Matrix:
    """Columns of the fit for two groups of saved results: nothing is known of their order."""
    return np.column_stack([np.ones(len(new)), np.array(new)]).astype(np.float64)


def estimate_changes(logs: Matrix, design: Matrix, relevant: NDArray[np.float64]) -> list[Estimate] | None:
    """The change of every figure.

    Args:
        logs: a row per run, a column per figure.
        design: a row per run; its last column marks the new side.
        relevant: the smallest relevant change of each figure, as a logarithm.

    Returns:
        None when there are too few runs to tell change from noise.
    """
    runs, figures = logs.shape
    if np.linalg.matrix_rank(design) < design.shape[1] or runs - design.shape[1] < MIN_FREEDOM:
        return None
    kept = _near(logs, design, relevant)
    change, spread, unit_error, freedom = np.empty((4, figures))
    for f in range(figures):
        rows = design[kept[:, f]]
        inverse = np.linalg.inv(rows.T @ rows)
        values = logs[kept[:, f], f]
        solution = inverse @ rows.T @ values
        freedom[f] = len(rows) - rows.shape[1]
        residuals = values - rows @ solution
        change[f], unit_error[f] = solution[-1], math.sqrt(inverse[-1, -1])
        spread[f] = math.sqrt(residuals @ residuals / freedom[f])
    shared, known = share_noise(spread / relevant, freedom)
    error = shared * relevant * unit_error
    estimates = []
    for f in range(figures):
        half = t_quantile((1 + CONFIDENCE) / 2, float(known[f])) * error[f]
        noise = t_quantile(1 - FALSE_ALARMS / figures, float(known[f])) * error[f]
        left_out = tuple(int(run) for run in np.flatnonzero(~kept[:, f]))
        at = float(change[f])
        estimates.append(Estimate(at, at - float(half), at + float(half), float(noise), left_out))
    return estimates


def share_noise(
    spread: NDArray[np.float64], freedom: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw each spread towards those of the other figures, as far as they agree.

    Args:
        spread: standard deviations, in units of the smallest relevant change.
        freedom: degrees of freedom of each.

    Returns:
        The spreads to use, and their degrees of freedom, with what the others' spreads are worth.
    """
    spread = np.maximum(spread, _SILENT)
    noisy = spread > _QUIET
    if np.count_nonzero(noisy) < _MIN_SHARED:
        return spread, freedom
    # By moments: mean and variance of log spread^2 give the two figures of the distribution that spreads come from.
    half = freedom[noisy] / 2
    excess = np.log(spread[noisy] ** 2) - np.array([_digamma(h) - math.log(h) for h in half])
    disagreement = float(excess.var(ddof=1) - np.mean([_trigamma(h) for h in half]))
    worth = min(_MOST_FREEDOM, 2 * _inverse_trigamma(disagreement))
    common = math.exp(float(excess.mean()) + _digamma(worth / 2) - math.log(worth / 2))
    shared = np.sqrt((worth * common + freedom * spread**2) / (worth + freedom))
    return np.where(noisy, shared, spread), np.where(noisy, np.minimum(_MOST_FREEDOM, worth + freedom), freedom)


@lru_cache(maxsize=256)
def t_quantile(share: float, freedom: float) -> float:
    """Student's t: the value that `share` (of at least one half) of all values are below."""
    # With t = sqrt(freedom) * tan(angle) its density is cos(angle) ** (freedom - 1), which needs no special function.
    angles = np.linspace(0, math.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp(2 * share - 1, below / below[-1], angles))
    return math.sqrt(freedom) * math.tan(angle)


def _near(logs: Matrix, design: Matrix, relevant: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which runs count, figure by figure: those near a fit that single runs cannot draw to themselves."""
    runs, figures = logs.shape
    unknowns = design.shape[1]
    residuals = np.empty_like(logs)
    for f in range(figures):
        residuals[:, f] = logs[:, f] - design @ _least_absolute(logs[:, f], design)
    # As many residuals as there are unknowns are about 0 in such a fit, and tell nothing.
    sizes = np.sort(np.abs(residuals), axis=0)[unknowns - 1 :]
    spread = np.median(sizes, axis=0) * _MAD
    shared, _ = share_noise(spread / relevant, np.full(figures, max(1.0, 0.4 * (runs - unknowns))))
    distances = np.abs(residuals) / (shared * relevant)
    kept = distances <= _FAR_OFF
    # What disturbs a machine is seen in most figures of that run, if not in each as clearly.
    if figures >= _MIN_SHARED:
        kept[np.median(distances, axis=1) > _DISTURBED] = False
    for f in range(figures):
        rows = design[kept[:, f]]
        if len(rows) - unknowns < MIN_FREEDOM or np.linalg.matrix_rank(rows) < unknowns:
            kept[:, f] = True
    return kept


def _least_absolute(values: NDArray[np.float64], design: Matrix) -> NDArray[np.float64]:
    """The fit with the least sum of absolute residuals, by reweighted least squares."""
    weights = np.ones(len(values))
    smallest = 1e-3 * float(np.ptp(values)) + 1e-9
    for _ in range(8):
        weighted = design * weights[:, None]
        solution = np.linalg.solve(weighted.T @ design, weighted.T @ values)
        weights = 1 / np.maximum(np.abs(values - design @ solution), smallest)
    return np.asarray(solution)


@lru_cache(maxsize=256)
def _digamma(x: float) -> float:
    return (math.lgamma(x + 1e-4) - math.lgamma(x - 1e-4)) / 2e-4


@lru_cache(maxsize=256)
def _trigamma(x: float) -> float:
    step = 1e-3 * x
    return (math.lgamma(x + step) - 2 * math.lgamma(x) + math.lgamma(x - step)) / step**2


def _inverse_trigamma(value: float) -> float:
    """`x` with trigamma(x) = value, by halving; the upper end if there is none below."""
    low, high = 0.05, _MOST_FREEDOM / 2
    if value <= _trigamma(high):
        return high
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _trigamma(middle) > value else (low, middle)
    return low
