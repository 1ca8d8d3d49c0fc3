"""How much of what was measured is our own: what we read late looks as if the other side had been slow."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.measure.histogram import MetricSummary
from loadgen.units import NS_PER_MS, format_duration

# A figure of which that much is ours is rather ours than the other side's.
_SHARE = 0.5
# Less than that is nobody's concern. A median moves only when all is read late; the rest, with what a shared machine
# does now and then.
_FLOORS_NS = {"p50": NS_PER_MS, "p90": 5 * NS_PER_MS, "p99": 5 * NS_PER_MS}
# A machine that has no time left.
_BUSY = 0.95


# Of what these tell, the time that messages waited here is a part: metrics by their beginning, and that time.
_PARTS = (
    (("notify.", "echo.", "request."), ("generator.read_lag",)),
    (("handshake.",), ("generator.handshake_lag", "generator.accept_lag")),
)
# What ends with an answer or a message that we have read. In this order: where one is told of, the others are not.
_ENDINGS = (".service", ".latency", ".tls", ".tls_resumed", ".session")


def own_shares(metrics: Mapping[str, MetricSummary], busy: float) -> list[str]:
    """Every figure that is rather ours, and how much of it: the lowest and the highest percentile of one metric of its
    kind.

    Args:
        busy: share of the machine's CPU time that was used, by whomever.
    """
    machine = f", on a machine that was {busy:.0%} busy" if busy > _BUSY else ""
    found: dict[str, str] = {}
    for ending in _ENDINGS:
        for name in metrics:
            kind = name.removesuffix(ending)
            if name.endswith(ending) and kind not in found and (said := _said(name, metrics)):
                found[kind] = said + machine
    return list(found.values())


def _said(name: str, metrics: Mapping[str, MetricSummary]) -> str:
    """What there is to say of one metric; empty if nothing is."""
    lags = next((lags for kinds, lags in _PARTS if name.startswith(kinds)), ())
    said, also = "", ""
    for statistic, floor_ns in _FLOORS_NS.items():
        figure_ns = getattr(metrics[name], statistic)
        parts = [getattr(metrics[lag], statistic) for lag in lags if lag in metrics]
        own_ns = sum(part for part in parts if part is not None)
        if figure_ns is not None and own_ns > max(floor_ns, figure_ns * _SHARE):
            share = min(1.0, own_ns / figure_ns) if figure_ns else 1.0  # what was cut off at 0 is all ours
            figure = format_duration(figure_ns)
            if said:
                also = f"; of its {statistic} ({figure}) it is {share:.0%}"
            else:
                own = format_duration(own_ns)
                said = f"{share:.0%} of the {statistic} of {name} ({figure}) is ours: "
                said += f"what came waited {own} to be read here"
    return said + also
