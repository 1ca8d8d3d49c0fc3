"""`loadgen run` and Locust with our workers: the same scenario on the same cores, in turn; what either shows of it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.cases import Case, Figures, Measure, Measured, Row, median, ratios, shown_ratio, spread

_ROOT = Path(__file__).parents[1]
_WLCS = 500
_HOLD_S = 15
_EVEN_PER_S, _MUCH_PER_S = 20_000, 40_000
_SCENARIO = f"""
name = "side-by-side"
[wlc]
count = {_WLCS}
listen = "127.0.1.1:0"
step = "port"
stations = 10
[mse]
connect_per_s = 1000
[load]
rate = 1
stages = [{{ hold = "{_HOLD_S}s" }}]
"""


@contextmanager
def _scenario() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "side-by-side.toml"
        path.write_text(_SCENARIO, "utf-8")
        yield path


def _variants(path: Path) -> dict[str, Measure]:
    processes.need_locust()
    return {
        f"Locust, {workers} worker(s), {per_s}": lambda per_s=per_s, workers=workers: _locust(path, per_s, workers)
        for per_s in (_EVEN_PER_S, _MUCH_PER_S)
        for workers in (1, 2)
    } | {f"loadgen run, {per_s}": lambda per_s=per_s: _run(path, per_s) for per_s in (_EVEN_PER_S, _MUCH_PER_S)}


def _run(path: Path, per_s: int) -> Figures:
    words = ["loadgen", "run", str(path), "--workers", "1", "--set", f"load.rate={per_s}", "--json", "--quiet"]
    with tempfile.TemporaryDirectory() as results:
        done = _python(*words, "--results", results, codes=(0, 4))
    return _figures(json.loads(done.stdout))


def _locust(path: Path, per_s: int, workers: int) -> Figures:
    """What Locust's table shows, and what its master has merged."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["locust", "-f", str(_ROOT / "scenarios" / "locustfile.py"), "--headless", "--only-summary"]
        words += ["-u", str(_WLCS), "-r", str(_WLCS), "-t", f"{_HOLD_S + 5}s", "--scenario", str(path)]
        words += ["--notify-rate", str(per_s / _WLCS), "--local-workers", str(workers)]
        words += ["--results", f"{folder}/results", "--csv", f"{folder}/out", "--csv-full-history"]
        _python(*words, codes=(0,))
        (result,) = Path(folder).glob("results/*/result.json")
        figures = _figures(json.loads(result.read_text("utf-8")))
        with Path(folder, "out_stats_history.csv").open(encoding="utf-8", newline="") as lines:
            shown = [float(row["Requests/s"]) for row in csv.DictReader(lines) if row["Name"] == "measurement notify"]
    return {**figures, "shown": max(shown)}


def _figures(result: dict[str, Any]) -> Figures:
    return {
        "per_s": result["rates"]["notify.received_per_s"],
        "p99": result["metrics"]["notify.latency"]["p99"] / 1e6,
    }


def _python(*words: str, codes: tuple[int, ...]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    if done.returncode not in codes:
        raise processes.Failed(f"{words[0]}: exit code {done.returncode}: {done.stderr[-500:]}")
    return done


def _rows(measured: Measured) -> list[Row]:
    found = []
    for per_s in (_EVEN_PER_S, _MUCH_PER_S):
        run = measured[f"loadgen run, {per_s}"]
        for workers in (1, 2):
            locust = measured[f"Locust, {workers} worker(s), {per_s}"]
            where = f"{workers} worker(s), {_WLCS} sessions, {per_s:,}/s offered"
            shares = [a["shown"] / b["per_s"] for a, b in zip(locust, run, strict=False)]
            tails = ratios(locust, run, "p99")
            found.append(
                Row(
                    f"notifications/s in Locust's table, {where}",
                    spread(locust, "shown"),
                    "loadgen run",
                    f"{median(run, 'per_s'):,.0f}",
                    shown_ratio(shares),
                    "≥ 0.5",
                    min(shares) >= 0.5,
                )
            )
            found.append(
                Row(
                    f"p99 of notify.latency, {where}",
                    f"{median(locust, 'p99'):.2f} ms",
                    "loadgen run",
                    f"{median(run, 'p99'):.2f} ms",
                    shown_ratio(tails),
                    "≤ 1.1",
                    sorted(tails)[len(tails) // 2] <= 1.1,
                )
            )
    return found


CASE = Case("locust", 3, _scenario, _variants, _rows)
