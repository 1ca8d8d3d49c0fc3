"""The hot path with the reference profile and with a very different one: `python -m benchmarks.profiles`.

The other one is the worked example of docs/wire-profile.md: little-endian, everything at another place, elements whose
heads are constants. Prints JSON: ns per notification for each piece of work and profile, and their ratio, which is the
median over rounds in which both had their turn.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from loadgen.nmsp.bulk import NotifyReceiver, NotifyRing, Stations
from loadgen.nmsp.profile import WireProfile, load_profile, reference_profile

OTHER = Path(__file__).parents[1] / "docs" / "wire-profile" / "tern.toml"
READINGS = 4
_ROUNDS = 60
_TURN_NS = 4_000_000
_BATCH = 64
_LINKS = 100
_DUE_NS = 1_795_000_000_000_000_000

# A call that returns how many notifications it was, and that number.
Work = tuple[Callable[[], int], int]


def _ring(profile: WireProfile, batch: int) -> NotifyRing:
    rng = np.random.default_rng(1)
    readings = np.zeros((100, READINGS), profile.reading.dtype)
    for name, value in profile.reading.constants.items():
        readings[name] = value
    macs = rng.integers(0, 256, (100, 6), np.uint8)
    return NotifyRing(profile, Stations(macs, np.full(100, READINGS), readings, 0), batch)


def _receiver(profile: WireProfile, each: int) -> tuple[NotifyReceiver, list[int], list[int]]:
    """A receive buffer with what `_LINKS` links brought, `each` notifications from each, and where that is."""
    ring = _ring(profile, each)
    size = each * profile.notify_bytes(READINGS)
    receiver = NotifyReceiver(profile, _LINKS * size)
    starts = [link * size for link in range(_LINKS)]
    for start in starts:
        view, _ = ring.patch(0, each, 0, _DUE_NS, _DUE_NS)
        receiver.view[start : start + size] = view
    return receiver, starts, [start + size for start in starts]


def work(profile: WireProfile) -> dict[str, Work]:
    """Pieces of work by name."""
    many, one = _ring(profile, _BATCH), _ring(profile, 1)
    bursts, singles = _receiver(profile, _BATCH), _receiver(profile, 1)
    wanted = [True] * _LINKS

    def sweep(brought: tuple[NotifyReceiver, list[int], list[int]]) -> int:
        receiver, starts, ends = brought
        receiver.reset()
        receiver.sweep_untrusted(starts, ends, wanted)
        return receiver.columns().notifications

    def scan() -> int:
        receiver, starts, ends = singles
        receiver.reset()
        for start, end in zip(starts, ends, strict=True):
            receiver.scan_untrusted(start, end)
        return receiver.columns().notifications

    return {
        f"patch {_BATCH}": (lambda: many.patch(0, _BATCH, 7, _DUE_NS, _DUE_NS)[1], _BATCH),
        "patch one": (lambda: one.patch(0, 1, 7, _DUE_NS, _DUE_NS)[1], 1),
        f"sweep {_BATCH} a link": (lambda: sweep(bursts), _BATCH * _LINKS),
        "sweep one a link": (lambda: sweep(singles), _LINKS),
        "scan one a link": (scan, _LINKS),
    }


def _cost_ns(piece: Work, calls: int) -> float:
    call, notifications = piece
    started = time.process_time_ns()
    for _ in range(calls):
        call()
    return (time.process_time_ns() - started) / calls / notifications


def _calls(piece: Work) -> int:
    """How many calls take a turn."""
    for _ in range(20):
        piece[0]()
    return max(1, int(_TURN_NS / (_cost_ns(piece, 20) * piece[1] + 1)))


def measure() -> dict[str, float]:
    """For each piece of work NAME: "NAME reference_ns", "NAME other_ns", "NAME ratio"."""
    profiles = work(reference_profile()), work(load_profile(OTHER))
    figures: dict[str, float] = {}
    for name in profiles[0]:
        pieces = [pieces[name] for pieces in profiles]
        calls = [_calls(piece) for piece in pieces]
        costs: list[list[float]] = [[], []]
        for turn in range(_ROUNDS):
            for which in (0, 1) if turn % 2 else (1, 0):
                costs[which].append(_cost_ns(pieces[which], calls[which]))
        figures[f"{name} reference_ns"], figures[f"{name} other_ns"] = map(median, costs)
        figures[f"{name} ratio"] = median(other / reference for reference, other in zip(*costs, strict=True))
    return figures


if __name__ == "__main__":
    print(json.dumps(measure()))
