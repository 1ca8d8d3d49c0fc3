"""Planted limits, and whether `loadgen capacity` finds them: again and again, from a start that does not lead there.

Holds are half as long as the command's own, and the confirmation is as long as it: what a kernel's buffers take before
a reader's limit shows is less of a long load, and the confirmation decides. So a search takes one to two minutes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.calibration.figures import Figure, count, holds, within
from benchmarks.calibration.programs import counterpart, searching

SHARE = 0.05
_SEARCH = """
[capacity]
warmup = "1s"
hold = "2s"
confirm = "12s"
cooldown = "200ms"
"""
_AT_TARGET = (
    """
name = "limits"
[tls]
trust = "any"
[mse]
connect_per_s = 500
[load]
rate = 10
"""
    + _SEARCH
)
_SERVING = (
    """
name = "limits"
[wlc]
count = 1
listen = "127.0.0.1:{port}"
authenticate = false
[load]
rate = 100
"""
    + _SEARCH
)
Found = dict[str, Any]


def _figures(planted: float, found: Found, broke: str) -> list[Figure]:
    reason = next(iter(found["broke"]), found["advice"])
    return [
        # Without a limit, the outcome says why.
        within("limit", planted, found["limit"], SHARE, count)
        if found["limit"] is not None
        else holds("limit", f"{planted:,} ± {SHARE:.0%}", found["outcome"], met=False),
        holds("what broke first", f"... {broke}", reason, met=broke in reason and found["outcome"] == "limit found"),
    ]


def _at_wlc(
    planted: int, option: str, dimension: str, start: int, broke: str, *others: str
) -> Callable[[Path], list[Figure]]:
    """Args: others: what is planted besides, and is not to be taken for a limit."""

    def figures(folder: Path) -> list[Figure]:
        with counterpart(folder, "wlc", option, str(planted), *others) as wlc:
            words = ("--target", f"wlc={wlc.address}", "--dimension", dimension, "--start", str(start))
            with searching(folder, _AT_TARGET, *words) as search:
                return _figures(planted, search.end(), broke)

    return figures


def _at_mse(planted: int) -> Callable[[Path], list[Figure]]:
    def figures(folder: Path) -> list[Figure]:
        # The MSE dials again and again the address that it was given: the kernel may not choose another one.
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        words = ("--serve", "wlc", "--dimension", "notify.per_s", "--start", "700")
        with searching(folder, _SERVING.format(port=port), *words) as search:
            search.until_ready()
            limits = ["--receive-buffer", "8192", "--max-notifications-per-s", str(planted)]
            with counterpart(folder, "mse", "--wlc", f"127.0.0.1:{port}", *limits):
                return _figures(planted, search.end(), "notifications/s achieved")

    return figures


_HANDSHAKES = ("--max-handshakes-per-s", "handshake.per_s", 30, "handshakes/s achieved")

# Name, and a try of it in a folder of its own.
LIMITS = [
    (
        "limits-handshakes",
        _at_wlc(200, *_HANDSHAKES),
    ),
    (
        "limits-tail",
        _at_wlc(120, *_HANDSHAKES, "--handshake-delay", "250ms", "--handshake-every", "50"),
    ),
    ("limits-strays", _at_wlc(120, *_HANDSHAKES, "--close-every", "2000")),
    ("limits-notifications", _at_mse(5000)),
    ("limits-sessions", _at_wlc(300, "--max-sessions", "sessions", 70, "sessions.failed: ")),
]
