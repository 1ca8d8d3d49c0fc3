"""Units of the command line, and exact statistics of a log for the line of truth."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
_UNITS_NS = {"us": 1_000, "ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S}
_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}

# One anchor for the whole process, so that wall-clock times of it never go back.
TO_UNIX_NS = time.time_ns() - time.monotonic_ns()


def duration_ns(text: str) -> int:
    """An option's "5ms" or "1s", in ns.

    Raises:
        ValueError: it is neither.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m)", text)
    if found is None:
        raise ValueError(text)
    return round(float(found[1]) * _UNITS_NS[found[2]])


def offset_ns(text: str) -> int:
    """The same, perhaps below 0: "-2s"."""
    return -duration_ns(text[1:]) if text.startswith("-") else duration_ns(text)


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The smallest value that at least so many percent of the values do not exceed (nearest rank)."""
    return ordered[max(1, math.ceil(math.nextafter(percent / 100 * len(ordered), 0))) - 1]


def summary(values: Iterable[int]) -> dict[str, float] | None:
    """Exact statistics, every value looked at; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    ends = {"count": len(ordered), "min": ordered[0], "mean": sum(ordered) / len(ordered), "max": ordered[-1]}
    return ends | {name: percentile(ordered, percent) for name, percent in _PERCENTILES.items()}
