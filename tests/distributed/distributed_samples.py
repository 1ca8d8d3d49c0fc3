"""What the tests of this folder share: intervals and reports as workers make them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from loadgen.distributed.arguments import Chosen, choose
from loadgen.distributed.messages import Ending, NodeReport, WorkerInterval
from loadgen.measure.histogram import Bins, Histogram
from loadgen.measure.recorder import Interval
from loadgen.results.health import MachineHealth, WorkerHealth

MS = 1_000_000
EPOCH_NS = 1_800_000_000 * 10**9
RUN = "a-run"
SCENARIO = """
name = "sample"
[wlc]
stations = 5
[load]
rate = 10
"""


def histogram(values_ns: Sequence[int]) -> Histogram:
    bins = Bins()
    bins.add(np.array(values_ns, np.int64))
    made = bins.take()
    assert made is not None
    return made


def interval(index: int, metrics: dict[str, Sequence[int]] | None = None, **counters: int) -> Interval:
    """Args: metrics: values in ns by tag; counters: names with "__" for a dot."""
    encoded = {tag: histogram(values).encode() for tag, values in (metrics or {}).items()}
    return Interval(index, {name.replace("__", "."): count for name, count in counters.items()}, encoded)


def health(worker: str, **values: Any) -> WorkerHealth:
    rest: dict[str, Any] = {
        "cpu_s": 1.0,
        "wall_s": 10.0,
        "rss_bytes": 1,
        "longest_stall_ns": 0,
        "longest_gc_pause_ns": 0,
    }
    return WorkerHealth(worker=worker, **{**rest, "load_cpu_s": 1.0, "load_wall_s": 10.0, **values})


def report(
    *parts: WorkerInterval,
    run: str = RUN,
    active: int = 1,
    hold: bool = True,
    of: Sequence[WorkerHealth] = (),
    ending: Ending | None = None,
    users: int = 0,
    wanted: int = 0,
) -> bytes:
    load_ns = EPOCH_NS + 10**9
    made = NodeReport(run, parts, active, load_ns, load_ns + 2 * 10**9 if hold else 0, tuple(of), ending, users, wanted)
    return msgspec.msgpack.encode(made)


def ending(*of: WorkerHealth, deaths: tuple[str, ...] = (), end_ns: int = EPOCH_NS + 9 * 10**9) -> Ending:
    return Ending(of, MachineHealth(), deaths, not deaths, 0.5, end_ns)


def chosen(folder: Path, text: str = SCENARIO, **options: str) -> Chosen:
    path = folder / "sample.toml"
    path.write_text(text, "utf-8")
    return choose({"scenario": str(path), **options}, path)
