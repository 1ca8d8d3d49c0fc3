"""What a stock master takes for 200 nodes, and whether it keeps up: `make bench CASE=nodes`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks import processes
from benchmarks.cases import Case, Measure, Measured, Row
from benchmarks.nodes import master
from benchmarks.nodes.recording import USERS, record

NODES = 200
_WATCHED_S = 60.0
_INTERVALS = 20
# An hour of fewer nodes: what grows with time does so by the interval, and not by the node.
_HOURLY_NODES, _HOUR, _SELDOM = 2, 1200, 40
# One that keeps up answers heartbeats in that time: three that it does not hear make a worker "missing".
_KEEPS_UP_S = 1.0
_MOST_CORES, _MOST_LOG, _MOST_GROWTH = 0.5, 200e6, 0.1
_MB = 1e6


@contextmanager
def _recorded() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.msgpack"
        path.write_bytes(msgspec.msgpack.encode(record()))
        yield path


def _variants(recording: Path) -> dict[str, Measure]:
    def alone(*numbers: int) -> Measure:
        return lambda: processes.script("benchmarks.nodes.hour", str(recording), *map(str, numbers))

    return {
        "over ZeroMQ": lambda: master.measure(recording, NODES, NODES * USERS, _WATCHED_S),
        "without waiting": alone(NODES, _INTERVALS),
        "an hour": alone(_HOURLY_NODES, _HOUR, _SELDOM),
    }


def _rows(measured: Measured) -> list[Row]:
    found = []
    if over := measured.get("over ZeroMQ"):
        found += _over_zeromq(over[-1])
    alone = measured["without waiting"][-1]
    parts = ", ".join(
        f"{name.removeprefix('cpu ').removesuffix(', ms')} {ms:.0f}"
        for name, ms in alone.items()
        if name.startswith("cpu ")
    )
    cores = alone["cores"]
    label = f"the same work on {_INTERVALS} intervals of {NODES} nodes, without waiting for them"
    found.append(_row(label, f"{cores:.2f} cores", "≤ 0.5", cores <= _MOST_CORES, f"ms of CPU in 3,000: {parts}"))
    size = alone["log_bytes_per_h"]
    note = f"result.json {alone['result_bytes'] / _MB:.1f} MB"
    found.append(_row("interval log of an hour", f"{size / _MB:.0f} MB", "≤ 200 MB", size <= _MOST_LOG, note))
    if hour := measured.get("an hour"):
        quarters = [hour[-1][f"rss_quarter_{number}_bytes"] for number in range(1, 5)]
        figures = f"{' → '.join(f'{size / _MB:.0f}' for size in quarters)} MB"
        label = f"resident memory in the quarters of an hour of {_HOURLY_NODES} nodes, without waiting"
        note = f"{alone['rss_bytes'] / _MB:.0f} MB after {_INTERVALS} intervals of {NODES} nodes"
        # Until half of an hour is over, its timeline has fewer rows than it may have.
        met = quarters[3] <= quarters[1] * (1 + _MOST_GROWTH)
        found.append(_row(label, figures, "flat: last ≤ 10 % above second", met, note))
    return found


def _over_zeromq(figures: dict[str, float]) -> list[Row]:
    keeps_up = figures["beat_p99_s"] <= _KEEPS_UP_S
    cores, nodes = figures["cores"], f"{NODES} nodes, {figures['sessions']:,.0f} sessions"
    note = f"a report has {figures['stats_bytes'] / 1e3:.0f} kB; ended in {figures['ended_s']:.0f} s"
    if not keeps_up:
        note += "; it did not keep up, so this is what the machine had for it"
    late = f"heartbeats answered in {figures['beat_p50_s'] * 1e3:.0f} ms, p99 {figures['beat_p99_s'] * 1e3:,.0f} ms"
    ages = f"our page {figures['page_max_s']:.1f} s, of figures {figures['view_old_max_s']:.1f} s old"
    ages += f"; Locust's {figures['table_max_s']:.1f} s; result.json {figures['result_old_max_s']:.1f} s old"
    wrong = figures["counters_wrong"]
    return [
        _row(f"a master's CPU, {nodes}", f"{cores:.2f} cores", "≤ 0.5", keeps_up and cores <= _MOST_CORES, note),
        _row("how far it is behind", late, "p99 ≤ 1 s", keeps_up, f"at most: {ages}"),
        _row("counters of the result that are not what nodes told", f"{wrong:.0f}", "0", not wrong),
    ]


def _row(measure: str, ours: str, target: str, met: bool, note: str = "") -> Row:
    return Row(measure, ours, "", "", "", target, met, note)


CASE = Case("nodes", 1, _recorded, _variants, _rows)
