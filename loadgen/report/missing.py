"""What a result lacks because of the wire profile's layout, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.results.missing import grouped


def missing_lines(missing: Mapping[str, str]) -> list[str]:
    """One for each reason, with the figures that are missing because of it; those of subservices as one."""
    lines = []
    for why, names in grouped(missing).items():
        shown = dict.fromkeys("service.*.latency" if name.startswith("service.") else name for name in names)
        lines.append(f"not measured, as {why}: {', '.join(shown)}")
    return lines
