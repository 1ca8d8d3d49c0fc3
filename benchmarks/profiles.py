"""The hot path with the reference profile and with layouts that are unlike it: `python -m benchmarks.profiles`.

`tern` is the first worked example of docs/wire-profile.md: little-endian, everything at another place, elements whose
heads are constants, but a table all the same. The other layouts are those of `benchmarks/layouts`, which carry nothing
of ours: in fixed places; the same with the device's time and a CRC-32; elements in an order that varies, several
stations in a notification.

Prints JSON: for each piece of work and layout ns per station (which is a notification of one), and its ratio to the
reference profile's: the median over rounds in which all of them had their turn.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from loadgen.nmsp.any_bulk import Receiver, Ring, receiver_of, ring_of
from loadgen.nmsp.bulk import Stations
from loadgen.nmsp.profile import WireProfile, load_profile, reference_profile
from loadgen.nmsp.ring import Timing

LAYOUTS = Path(__file__).parent / "layouts"
TERN = "tern"
# What is compared with the reference profile, and its file.
OTHERS = {
    TERN: Path(__file__).parents[1] / "docs" / "wire-profile" / "tern.toml",
    **{name: LAYOUTS / f"{name}.toml" for name in ("fixed", "sealed", "elements")},
}
READINGS = 4
BATCH = 64
# Pieces of work, each with how many frames of a link come at once.
SENDING, RECEIVING = f"patch {BATCH}", f"sweep {BATCH} a link"
_REFERENCE = "reference"
_ROUNDS = 40
_TURN_NS = 4_000_000
_LINKS = 100
_STATIONS = 100
_DUE_NS = 1_795_000_000_000_000_000

# A call that returns how many stations were notified, and that number.
Work = tuple[Callable[[], int], int]


def _ring(profile: WireProfile, batch: int) -> Ring:
    rng = np.random.default_rng(1)
    readings = np.zeros((_STATIONS, READINGS), profile.reading.dtype)
    for name, value in profile.reading.constants.items():
        readings[name] = value
    macs = rng.integers(0, 256, (_STATIONS, 6), np.uint8)
    return ring_of(profile, Stations(macs, np.full(_STATIONS, READINGS), readings, 0), batch)


class _Brought:
    """A receive buffer with what `_LINKS` links brought, as many notifications from each as go into a write, and where
    that is.
    """

    def __init__(self, profile: WireProfile, each: int) -> None:
        ring = _ring(profile, each)
        writes = []
        for link in range(_LINKS):
            view, self.each = ring.patch(link, each, 0, Timing(_DUE_NS, _DUE_NS))
            writes.append(bytes(view))
        self.receiver: Receiver = receiver_of(profile, sum(map(len, writes)))
        self.ends = np.cumsum([len(write) for write in writes]).tolist()
        self.starts = [0, *self.ends[:-1]]
        self.receiver.view[:] = b"".join(writes)


def work(profile: WireProfile) -> dict[str, Work]:
    """Pieces of work by name."""
    many, one = _ring(profile, BATCH), _ring(profile, 1)
    bursts, singles = _Brought(profile, BATCH), _Brought(profile, 1)
    wanted, timing = [True] * _LINKS, Timing(_DUE_NS, _DUE_NS)
    each = profile.stations

    def sweep(brought: _Brought) -> int:
        receiver = brought.receiver
        receiver.reset()
        receiver.sweep_untrusted(brought.starts, brought.ends, wanted)
        return receiver.columns().notifications * each

    def scan() -> int:
        receiver = singles.receiver
        receiver.reset()
        for start, end in zip(singles.starts, singles.ends, strict=True):
            receiver.scan_untrusted(start, end)
        return receiver.columns().notifications * each

    batch = many.patch(0, BATCH, 7, timing)[1]  # of large frames not all go into a write
    return {
        SENDING: (lambda: many.patch(0, BATCH, 7, timing)[1] * each, batch * each),
        "patch one": (lambda: one.patch(0, 1, 7, timing)[1] * each, each),
        RECEIVING: (lambda: sweep(bursts), bursts.each * _LINKS * each),
        "sweep one a link": (lambda: sweep(singles), _LINKS * each),
        "scan one a link": (scan, _LINKS * each),
    }


def _cost_ns(piece: Work, calls: int) -> float:
    call, stations = piece
    started = time.process_time_ns()
    for _ in range(calls):
        call()
    return (time.process_time_ns() - started) / calls / stations


def _calls(piece: Work) -> int:
    """How many calls take a turn."""
    call, stations = piece
    for _ in range(20):
        if call() != stations:
            raise AssertionError("expected every station to be notified, and every notification to be found")
    return max(1, int(_TURN_NS / (_cost_ns(piece, 20) * stations + 1)))


def measure() -> dict[str, float]:
    """For each piece of work NAME and layout: "NAME, LAYOUT ns", and "NAME, LAYOUT ratio" of all but the reference."""
    profiles = {_REFERENCE: work(reference_profile())} | {name: work(load_profile(OTHERS[name])) for name in OTHERS}
    names = list(profiles)
    figures: dict[str, float] = {}
    for piece in profiles[_REFERENCE]:
        pieces = {name: profiles[name][piece] for name in names}
        calls = {name: _calls(pieces[name]) for name in names}
        costs: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(_ROUNDS):
            for name in names if turn % 2 else names[::-1]:
                costs[name].append(_cost_ns(pieces[name], calls[name]))
        for name in names:
            figures[f"{piece}, {name} ns"] = median(costs[name])
            if name != _REFERENCE:
                ratios = (other / reference for other, reference in zip(costs[name], costs[_REFERENCE], strict=True))
                figures[f"{piece}, {name} ratio"] = median(ratios)
    return figures


if __name__ == "__main__":
    print(json.dumps(measure()))
