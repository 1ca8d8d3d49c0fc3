"""Tails and queues planted into handshakes: a tail is in no rate, and a queue goes at the pace of the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.calibration.figures import Figure, exactly, holds, per_s, within
from benchmarks.calibration.programs import counterpart, loadgen

# At 50/s, a hold of 4 s has 200: as short as a search's, so that one of them at its end weighs as much as it ever does.
_SHAKING = """
name = "rates"
[tls]
trust = "any"
[wlc]
count = 1
[mse]
count = 1
[load]
kind = "handshake"
rate = {rate}
stages = [{{ warmup = "1s" }}, {{ hold = "4s" }}]
"""


def _rate(offered: int, expected: float, share: float, *planted: str) -> Callable[[Path], list[Figure]]:
    def figures(folder: Path) -> list[Figure]:
        with (
            counterpart(folder, "wlc", *planted) as wlc,
            loadgen(folder, _SHAKING.format(rate=offered), "--target", f"wlc={wlc.address}") as running,
        ):
            run = running.end()
        found = run.result["rates"].get("handshake.completed_per_s", 0.0)
        return [
            # One that was late itself measured itself.
            holds("the generator's verdict", "not INVALID", run.verdict, met=run.verdict != "INVALID"),
            exactly("handshakes.completed", offered * 5, run.counter("handshakes.completed")),
            within("handshake.completed_per_s", expected, found, share, per_s),
        ]

    return figures


# Name, and what makes its figures in a folder of its own.
CASES: list[tuple[str, Callable[[Path], list[Figure]]]] = [
    ("rates-all-late", _rate(50, 50, 0.01, "--handshake-delay", "1s", "--handshake-every", "1")),
    ("rates-1-in-50-late", _rate(50, 50, 0.01, "--handshake-delay", "250ms", "--handshake-every", "50")),
    ("rates-1-in-200-late", _rate(50, 50, 0.01, "--handshake-delay", "1s", "--handshake-every", "200")),
    # Twice what it can do or a quarter more: as many are done in the end, and no more in a second.
    ("rates-queue", _rate(150, 120, 0.02, "--max-handshakes-per-s", "120")),
    ("rates-queue-twice", _rate(240, 120, 0.02, "--max-handshakes-per-s", "120")),
]
