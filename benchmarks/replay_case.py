"""What was recorded, played against the synthetic load of the same layout: notifications per CPU-second of the WLCs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import processes
from benchmarks.cases import Case, Figures, Measure, Measured, Row, median, notify_figures, shown_ratio
from loadgen.capture.events import How
from loadgen.capture.writing import TunnelWriter, file_header
from loadgen.nmsp.any_bulk import ring_of
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.ring import Timing
from loadgen.units import NS_PER_S
from loadgen.world.stations import make_stations

_LOAD_S = 4
_AT_LEAST = 0.5
_STATIONS, _READINGS = 128, 4
_BEGAN_NS = 1_795_000_000 * NS_PER_S


@contextmanager
def _captures() -> Iterator[dict[str, Path]]:
    """Ten periods of all stations: all of one at once, and one by one."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.pcapng" for name in ("bursts", "singles")}
        paths["bursts"].write_bytes(_capture(_STATIONS))
        paths["singles"].write_bytes(_capture(1))
        yield paths


def _capture(burst: int) -> bytes:
    profile = reference_profile()
    stations = make_stations(profile, 1, 0, _STATIONS, (_READINGS, _READINGS), 1)
    ring = ring_of(profile, stations)
    tunnel = TunnelWriter(("192.0.2.9", 40_000), ("192.0.2.1", 16_113))
    data = [file_header(application="benchmarks", interface="0", description="plaintext"), tunnel.open(_BEGAN_NS)]
    for number in range(10 * _STATIONS):
        at_ns = _BEGAN_NS + number // burst * burst * NS_PER_S // _STATIONS
        view, _ = ring.patch(number, 1, number, Timing(at_ns, at_ns))
        data.append(tunnel.data(False, at_ns, bytes(view)))
    data += [tunnel.close(of_client, at_ns, How.FIN) for of_client in (True, False)]
    return b"".join(data)


def _variants(paths: dict[str, Path]) -> dict[str, Measure]:
    def measure(scenario: str, *options: str) -> Figures:
        stages = f'load.stages=[{{hold="{_LOAD_S}s"}}]'
        return notify_figures(processes.loadgen_both(scenario, "--set", stages, *options))

    replayed = {name: partial(measure, "replay", "--set", f"load.capture={path}") for name, path in paths.items()}
    alone = ("--set", "load.burst=1", "--set", "load.rate=20000")
    slow = ("--set", f"load.capture={paths['singles']}", "--set", "load.rate=20000")
    return {
        "synthetic bursts": partial(measure, "notifications"),
        "bursts": replayed["bursts"],
        "synthetic singles": partial(measure, "notifications", *alone),
        "singles": partial(measure, "replay", *slow),
    }


def _rows(measured: Measured) -> list[Row]:
    return [
        _row("as fast as they go, bursts of 128", measured["bursts"], measured["synthetic bursts"]),
        _row("20,000/s, one at a time", measured["singles"], measured["synthetic singles"]),
    ]


def _row(what: str, ours: list[Figures], theirs: list[Figures]) -> Row:
    ratios = [other["wlc_cpu_ns"] / each["wlc_cpu_ns"] for each, other in zip(ours, theirs, strict=True)]
    costs = [median(figures, "wlc_cpu_ns") for figures in (ours, theirs)]
    return Row(
        f"notifications per CPU-second of the WLC worker, TLS: replayed, {what}",
        *(f"{1e9 / cost:,.0f} ({cost:,.0f} ns)" for cost in costs[:1]),
        "synthetic",
        f"{1e9 / costs[1]:,.0f} ({costs[1]:,.0f} ns)",
        shown_ratio(ratios),
        f"≥ {_AT_LEAST:g} x",
        float(np.median(ratios)) >= _AT_LEAST,
        f"{median(ours, 'per_write'):.0f} frames per write; lost {median(ours, 'lost'):.0f}",
    )


CASE = Case("replay", 3, _captures, _variants, _rows)
