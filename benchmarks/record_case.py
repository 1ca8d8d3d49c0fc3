"""What `loadgen record` adds between an MSE and a WLC, beside socat: that takes TLS, gives TLS, and records nothing."""

from __future__ import annotations

import shutil
import statistics
from contextlib import nullcontext

from benchmarks import processes
from benchmarks.cases import Case, Figures, Measure, Measured, Row, median, ratios, shown_ratio
from benchmarks.relayed import PER_S

_OURS, _DIRECT, _SOCAT = "loadgen record", "direct", "socat"
_MOST_ADDED_S = 1e-3


def _variants(_: None) -> dict[str, Measure]:
    def relayed(kind: str) -> Figures:
        if kind == "socat" and shutil.which("socat") is None:
            raise processes.PeerMissing("socat is not on PATH; the package `socat` brings it (apt-get install socat)")
        return processes.script("benchmarks.relayed", kind)

    return {
        _OURS: lambda: relayed("record"),
        _DIRECT: lambda: relayed("direct"),
        _SOCAT: lambda: relayed("socat"),
    }


def _added(measured: Measured, name: str, figure: str) -> list[float]:
    """Beyond the way without anybody in the middle, round by round."""
    return [a[figure] - b[figure] for a, b in zip(measured[name], measured[_DIRECT], strict=False)]


def _rows(measured: Measured) -> list[Row]:
    rows = []
    for figure, shown in (("p50_s", "p50"), ("p99_s", "p99")):
        ours = _added(measured, _OURS, figure)
        theirs = _added(measured, _SOCAT, figure) if _SOCAT in measured else []
        quotients = [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]
        is_target = figure == "p99_s"
        rows.append(
            Row(
                f"added to a message's way, {shown} at {PER_S:,} messages/s",
                _shown(ours),
                _SOCAT if theirs else "",
                _shown(theirs) if theirs else "",
                shown_ratio(quotients) if quotients else "",
                "< 1 ms" if is_target else "",
                statistics.median(ours) < _MOST_ADDED_S if is_target else None,
                f"without anybody between {median(measured[_DIRECT], figure) * 1e6:,.0f} µs",
            )
        )
    theirs = measured.get(_SOCAT, ())
    rows.append(
        Row(
            "messages passed on per CPU-second",
            f"{median(measured[_OURS], 'per_cpu_s'):,.0f}",
            _SOCAT if theirs else "",
            f"{median(theirs, 'per_cpu_s'):,.0f}" if theirs else "",
            shown_ratio(ratios(measured[_OURS], theirs, "per_cpu_s")) if theirs else "",
            "",
            None,
            "recorded, too; socat records nothing",
        )
    )
    return rows


def _shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e6:,.0f} µs (best {min(seconds) * 1e6:,.0f})"


CASE = Case("record", 5, nullcontext, _variants, _rows)
