"""What a comparison of two builds leaves behind."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

import msgspec

from loadgen.results.document import Document


class Decision(StrEnum):
    """The answer for one metric, or for all."""

    PASS = "pass"  # noqa: S105 - no password
    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"


class Gate(StrEnum):
    """How a metric is decided."""

    EXACT = "exact"  # no noise: any change for the worse is a regression
    MARGIN = "margin"  # next to no noise: a change for the worse beyond a fixed margin is a regression
    PAIRED = "paired"  # noisy: decided over whole runs, against the noise floor
    REPORT = "report"  # shown, never decides


class MetricComparison(msgspec.Struct, frozen=True):
    """One metric, baseline against new.

    Attributes:
        unit: "ns", "1/s", "bytes", "s", "" for plain counts.
        baseline, new: medians over the runs; None where it was not measured.
        baseline_runs, new_runs: one figure per valid run, in the order of the runs.
        change: new / baseline - 1; None without both or with a baseline of 0.
        interval: 95 % confidence interval of `change`, over whole runs; None with one run a side.
        noise: half width of what the A/A control (or the spread of the baseline's runs) shows for no change at all.
        reason: why it was decided so, in a sentence.
    """

    metric: str
    unit: str
    better: Literal["lower", "higher"]
    gate: Gate
    baseline: float | None
    new: float | None
    baseline_runs: tuple[float, ...]
    new_runs: tuple[float, ...]
    change: float | None
    interval: tuple[float, float] | None
    noise: float | None
    decision: Decision
    reason: str


class Comparison(Document, frozen=True, tag="comparison"):
    """result.json of `loadgen ab`, and what `loadgen compare` prints.

    Attributes:
        baseline, new: how the two sides were named: targets, or results.
        order: in which the runs were made, e.g. "AA ABBAABBA"; empty for saved results.
        decision: a regression of any metric; else inconclusive if any that decides is; else pass.
        reasons: what stands out, over all metrics.
    """

    VERSION: ClassVar[int] = 1

    scenario: str
    plan_digest: str
    profile: str
    started: str
    environment: dict[str, str]
    baseline: str
    new: str
    order: str
    metrics: tuple[MetricComparison, ...]
    decision: Decision
    reasons: tuple[str, ...]
    exit_code: int
