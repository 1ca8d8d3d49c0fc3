"""The native turn beside Python's way and beside C: both ends in one process, CPU time of either for a notification."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import processes
from benchmarks.cases import Case, Figures, Measure, Measured, Row, client_pem, median, ratios, shown_ratio

_PEER = Path(__file__).parent / "peers" / "lockstep.c"
# What loadgen agrees on with itself.
_SUITE = "ECDHE-ECDSA-AES256-GCM-SHA384"


class _Shape(NamedTuple):
    """WLCs, how many of them send in a round, rounds, and notifications in a write.

    Attributes:
        times, of_c: what is asked of us, sending and receiving: to be so much cheaper than Python is, and no more than
            so much dearer than C.
    """

    wlcs: int
    each: int
    rounds: int
    burst: int
    times: tuple[float, float]
    of_c: tuple[float, float]

    @property
    def words(self) -> list[str]:
        return [str(each) for each in self[:4]]


SHAPES = {
    "bursts of 128": _Shape(100, 10, 1500, 128, (3.0, 4.0), (1.3, 1.2)),
    "one per write, 30 per turn": _Shape(1000, 30, 1500, 1, (1.6, 2.4), (1.25, 1.3)),
    "one per write, 3 per turn": _Shape(1000, 3, 6000, 1, (2.0, 4.0), (1.7, 1.8)),
}
_SIDES = (("sending", "send_us"), ("receiving", "receive_us"))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _variants(folder: Path) -> dict[str, Measure]:
    pem = client_pem(folder, "p256")

    def peer(shape: _Shape) -> Figures:
        made = processes.compiled(_PEER, folder, "ssl", "crypto")
        done = processes.run([str(made), str(pem), _SUITE, *shape.words], processes.GENERATOR_CORE)
        found: Figures = json.loads(done.stdout)
        return found

    def ours(shape: _Shape, switch: str) -> Figures:
        return processes.script("benchmarks.lockstep", *shape.words, LOADGEN_NATIVE=switch)

    found: dict[str, Measure] = {}
    for name, shape in SHAPES.items():
        found[f"native, {name}"] = lambda shape=shape: ours(shape, "1")  # type: ignore[misc]
        found[f"python, {name}"] = lambda shape=shape: ours(shape, "0")  # type: ignore[misc]
        found[f"C, {name}"] = lambda shape=shape: peer(shape)  # type: ignore[misc]
    return found


def _rows(measured: Measured) -> list[Row]:
    rows = []
    for name, shape in SHAPES.items():
        for index, (side, figure) in enumerate(_SIDES):
            what, ours = f"{side}, {name}", measured[f"native, {name}"]
            if python := measured.get(f"python, {name}"):
                least, times = shape.times[index], ratios(python, ours, figure)
                met = statistics.median(times) >= least
                rows.append(_row(what, ours, "Python's way", python, figure, times, f">= {least}", met))
            if peer := measured.get(f"C, {name}"):
                most, times = shape.of_c[index], ratios(ours, peer, figure)
                met = statistics.median(times) <= most
                rows.append(_row(what, ours, "C", peer, figure, times, f"<= {most}", met))
    return rows


def _row(
    what: str,
    ours: Sequence[Figures],
    peer: str,
    theirs: Sequence[Figures],
    figure: str,
    times: Sequence[float],
    target: str,
    met: bool,
) -> Row:
    shown, peers = (f"{median(measured, figure):.3f} µs" for measured in (ours, theirs))
    return Row(what, shown, peer, peers, shown_ratio(times), target, met)


CASE = Case("native", 5, _folder, _variants, _rows)
