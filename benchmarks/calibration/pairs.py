"""`loadgen ab` against planted differences, again and again: how often it is wrong, and how often it finds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.calibration.figures import Figure, holds
from benchmarks.calibration.programs import ROOT, Failed

_PATIENCE_S = 900.0

_NOTIFY = """
name = "calibration"
[wlc]
count = 1
[mse]
count = 1
[load]
rate = 1
stages = [{ warmup = "200ms" }, { hold = "1s" }]
"""

_HANDSHAKE = """
name = "calibration"
[wlc]
count = 1
[mse]
count = 1
[load]
kind = "handshake"
concurrency = 4
stages = [{ warmup = "200ms" }, { hold = "1s" }]
"""

_DECISIONS = {0: "pass", 1: "regression", 5: "inconclusive"}


def times(usual: int) -> int:
    """How many sessions to make: $TRIES, or as many as were promised."""
    return int(os.environ.get("TRIES", usual))


def equal(folder: Path) -> list[Figure]:
    """A against A, thirty times: one may be called a regression."""
    target = _wlc("--rate", "500", "--delay", "10ms")
    found = _sessions(folder, _NOTIFY, target, target, times(30))
    return [_figure("called a regression", "at most 1", found, met=found["regression"] <= 1)]


def slower(folder: Path) -> list[Figure]:
    """15 % less throughput: found 19 times of 20."""
    a, b = (_wlc("--max-handshakes-per-s", str(limit)) for limit in (200, 170))
    return [_mostly_found(_sessions(folder, _HANDSHAKE, a, b, times(20)))]


def later(folder: Path) -> list[Figure]:
    """30 % more latency: found 19 times of 20."""
    a, b = (_wlc("--rate", "500", "--delay", delay) for delay in ("10ms", "13ms"))
    return [_mostly_found(_sessions(folder, _NOTIFY, a, b, times(20)))]


def _mostly_found(found: Counter[str]) -> Figure:
    least = -(-found.total() * 19 // 20)
    return _figure("called a regression", f"at least {least}", found, met=found["regression"] >= least)


def _figure(name: str, expected: str, found: Counter[str], *, met: bool) -> Figure:
    shown = ", ".join(f"{count} {decision}" for decision, count in sorted(found.items()))
    return holds(f"{name}, of {found.total()} sessions", expected, shown, met=met)


def _wlc(*planted: str) -> str:
    return " ".join([sys.executable, "-m", "benchmarks.counterparts.wlc", "--duration", "120s", *planted])


def _sessions(folder: Path, scenario: str, a: str, b: str, count: int) -> Counter[str]:
    path = folder / "scenario.toml"
    path.write_text(scenario + '[tls]\ntrust = "any"\n', "utf-8")
    found: Counter[str] = Counter()
    for number in range(1, count + 1):
        decision, regressed = _session(path, folder / f"results-{number}", a, b)
        found[decision] += 1
        print(f"session {number} of {count}: {decision} {', '.join(regressed)}", file=sys.stderr, flush=True)
    return found


def _session(scenario: Path, results: Path, a: str, b: str) -> tuple[str, list[str]]:
    words = ["ab", str(scenario), "--a", a, "--b", b, "--results", str(results), "--format", "json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "loadgen", *words, "--workers", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    )
    if done.returncode not in _DECISIONS:
        raise Failed(f"loadgen ab: exit code {done.returncode}: {done.stderr[-2000:]}")
    metrics = json.loads(done.stdout)["metrics"]
    return _DECISIONS[done.returncode], [m["metric"] for m in metrics if m["decision"] == "regression"]


CASES: dict[str, Callable[[Path], list[Figure]]] = {
    "ab-equal": equal,
    "ab-throughput": slower,
    "ab-latency": later,
}
