"""Peers that leave or never come, workers that die, runs that are cut off, ways that lose: what a verdict says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.calibration.figures import Figure, below, between, count, exactly, holds
from benchmarks.calibration.programs import Run, counterpart, loadgen
from benchmarks.counterparts.lossy import lossy_traffic
from loadgen.errors import ExitCode

# Two WLCs, 400/s together, for 8 s.
_SERVING = """
name = "endings"
[wlc]
count = 2
listen = "127.0.0.1:0"
step = "port"
authenticate = false
[load]
rate = 400
stages = [{ hold = "8s" }]
"""
_ASKED = 3200
_BOTH = _SERVING.replace("8s", "60s")
# Segments are lost with 40/s in each of 25 sessions: a loss waits for its timer, and costs nothing but that one.
_MANY = _SERVING.replace("count = 2", "count = 25").replace("rate = 400", "rate = 1000")
_LOSS = 20


def _verdict(run: Run, code: ExitCode, limited_by: str) -> list[Figure]:
    verdict: dict[str, Any] = run.result["verdict"]
    return [
        exactly("exit code", int(code), verdict["exit_code"]),
        exactly("limited by", limited_by, verdict["limited_by"]),
        holds(
            "that everything was done",
            "said" if code is ExitCode.PASSED else "not said",
            "said" if "everything" in verdict["limit_reason"] else "not said",
            met=("everything" in verdict["limit_reason"]) == (code is ExitCode.PASSED),
        ),
    ]


def _served(folder: Path, dialed: int, *planted: str) -> tuple[Run, dict[str, Any]]:
    """Our WLCs, of which a planted MSE dials some."""
    with loadgen(folder, _SERVING, "--serve", "wlc") as running:
        wlcs = [word for address in running.addresses()[:dialed] for word in ("--wlc", address)]
        with counterpart(folder, "mse", *wlcs, *planted) as mse:
            return running.end(), mse.truth()


def _missing(named: str, dialed: int, *planted: str) -> Callable[[Path], list[Figure]]:
    def figures(folder: Path) -> list[Figure]:
        run, truth = _served(folder, dialed, *planted)
        sent = run.counter("notify.sent")
        reasons = [reason for reason in run.result["verdict"]["reasons"] if "sessions were missing" in reason]
        return [
            *_verdict(run, ExitCode.INCONCLUSIVE, "target"),
            # Whoever leaves may leave unread what is under way.
            between("notify.sent, by the receiver", truth["notifications"], truth["notifications"] + 40, sent, count),
            between("notify.sent of 3,200", 0.45 * _ASKED, 0.55 * _ASKED, sent, count),
            holds(
                "who was missing", f"... {named}", "; ".join(reasons), met=any(named in reason for reason in reasons)
            ),
        ]

    return figures


def _all_there(folder: Path) -> list[Figure]:
    run, truth = _served(folder, 2)
    return [
        *_verdict(run, ExitCode.PASSED, "scenario"),
        exactly("notify.sent, by the schedule", _ASKED, run.counter("notify.sent")),
        exactly("notify.sent, by the receiver", truth["notifications"], run.counter("notify.sent")),
    ]


def _target_leaves(folder: Path) -> list[Figure]:
    """A planted WLC that closes after 4 s of the 8 that our MSE is to stay."""
    options = ("--rate", "100", "--duration", "4s", "--start-after", "1s")
    with (
        counterpart(folder, "wlc", *options) as wlc,
        loadgen(folder, _SERVING, "--target", f"wlc={wlc.address}") as running,
    ):
        run = running.end()
        truth = wlc.truth(stop=True)
    reasons = "; ".join(run.result["verdict"]["reasons"])
    return [
        *_verdict(run, ExitCode.INCONCLUSIVE, "target"),
        exactly("notify.received, by the sender", truth["sent"], run.counter("notify.received")),
        holds("how long it was", "... of 8.0 s", reasons, met=" of 8.0 s" in reasons),
        holds("who was missing", "... it left after", reasons, met=f"{wlc.address}: it left after" in reasons),
    ]


def _nobody(folder: Path) -> list[Figure]:
    with loadgen(folder, _SERVING, "--serve", "wlc", "--wait-for-target", "1s") as running:
        return _verdict(running.end(ExitCode.UNREACHABLE), ExitCode.UNREACHABLE, "nobody")


def _interrupted(folder: Path) -> list[Figure]:
    with loadgen(folder, _SERVING, "--serve", "wlc") as running:
        running.addresses()
        running.interrupt()
        return _verdict(running.end(ExitCode.INTERRUPTED), ExitCode.INTERRUPTED, "interruption")


def _killed(number: int) -> Callable[[Path], list[Figure]]:
    def figures(folder: Path) -> list[Figure]:
        with loadgen(folder, _BOTH) as running:
            running.until_it_flows()
            running.kill_worker(number)
            return _verdict(running.end(ExitCode.WORKER_DIED), ExitCode.WORKER_DIED, "worker")

    return figures


def _lossy(folder: Path) -> list[Figure]:
    with loadgen(folder, _MANY, "--serve", "wlc") as running:
        wlcs = [word for address in running.addresses() for word in ("--wlc", address)]
        with counterpart(folder, "mse", *wlcs, "--lose-segments", str(_LOSS)):
            run = running.end()
    return [
        exactly("limited by", "network", run.result["verdict"]["limited_by"]),
        between("segments sent again", 0.7 / _LOSS, 2 / _LOSS, _again(run), "{:.1%}".format),
    ]


def _again(run: Run) -> float:
    return run.counter("tcp.segments_retransmitted") / run.counter("tcp.segments_sent")


def _others_lose(folder: Path) -> list[Figure]:
    with lossy_traffic(_LOSS):
        run, _ = _served(folder, 2)
    return [
        *_verdict(run, ExitCode.PASSED, "scenario"),
        # Not none: a machine without time acknowledges late, and what is late is sent again.
        below("our segments sent again", 0.01, _again(run), "{:.2%}".format),
        holds(
            "this machine's segments sent again",
            "> 0",
            f"{run.result['machine']['retransmitted']:.2%}",
            met=run.result["machine"]["retransmitted"] > 0,
        ),
    ]


# Name, and what makes its figures in a folder of its own.
CASES: list[tuple[str, Callable[[Path], list[Figure]]]] = [
    ("ends-as-asked", _all_there),
    ("ends-left-at-half-time", _missing("MSE 127.0.0.1 left after 3.", 2, "--leave-after", "4s")),
    ("ends-dials-one-of-two", _missing("no session came up", 1)),
    ("ends-target-leaves", _target_leaves),
    ("ends-nobody", _nobody),
    ("ends-interrupted", _interrupted),
    ("ends-wlc-killed", _killed(0)),
    ("ends-mse-killed", _killed(1)),
    ("ends-way-loses", _lossy),
    ("ends-others-lose", _others_lose),
]
