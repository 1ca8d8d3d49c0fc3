"""`python -m benchmarks.soak`: 5,000 Locust users on two local workers for five minutes, and what must be true of them.

A stock master, our locustfile. Prints a Markdown table; exit code 1 if something is not as it must be.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

import click

from benchmarks.descendants import descendants

ROOT = Path(__file__).parents[1]
_STAMP = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3})\]")
_SPAWNED_S, _STOPPED_S = 60.0, 10.0
_LEAST_SEEN = 0.999  # of what was due


@click.command()
@click.option("--users", default=5000, show_default=True)
@click.option("--spawn-rate", default=250, show_default=True)
@click.option("--notify-rate", default=6.0, show_default=True, help="Of each user, per second.")
@click.option("--minutes", default=5.0, show_default=True, help="From when all users are there.")
def main(users: int, spawn_rate: int, notify_rate: float, minutes: float) -> None:
    """Run it, and say how it was."""
    with tempfile.TemporaryDirectory() as folder:
        checks = _run(Path(folder), users, spawn_rate, notify_rate, minutes)
    click.echo("| what | must be | was |  |\n| --- | --- | --- | --- |")
    for what, bound, found, met in checks:
        click.echo(f"| {what} | {bound} | {found} | {'ok' if met else '**MISS**'} |")
    sys.exit(0 if all(met for *_, met in checks) else 1)


def _run(folder: Path, users: int, rate: int, per_s: float, minutes: float) -> list[tuple[str, str, str, bool]]:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "scenarios" / "locustfile.py"), "--headless"]
    command += ["-u", str(users), "-r", str(rate), "--local-workers", "2", "--notify-rate", str(per_s)]
    command += ["--stations", "10", "--results", str(folder), "--only-summary", "-t", f"{int(minutes * 60) + 600}s"]
    lines: list[str] = []
    spawned = threading.Event()

    def listen() -> None:
        assert master.stdout is not None
        for line in master.stdout:
            lines.append(line)
            if "All users spawned" in line or "report waittime is expired" in line:
                spawned.set()
        spawned.set()

    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as master:
        listener = threading.Thread(target=listen)
        listener.start()
        spawned.wait(600)
        pids = list(descendants(master.pid))
        time.sleep(minutes * 60)
        told = time.monotonic()
        master.send_signal(signal.SIGINT)
        code = master.wait(120)
        stopped_s = time.monotonic() - told
        listener.join()
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    text = "".join(lines)
    began, all_there = _time_of(lines, "Sending spawn jobs"), _time_of(lines, "All users spawned")
    spawned_s = (all_there - began).total_seconds() if began and all_there else float("inf")
    missing = text.count("setting state to missing")
    (path,) = folder.glob("*/result.json")
    result = json.loads(path.read_text("utf-8"))
    counters, rates, verdict = result["counters"], result["rates"], result["verdict"]
    established, bad = counters["sessions.established"], counters["sessions.lost"] + counters["sessions.failed"]
    offered = users * per_s
    seen = rates.get("notify.received_per_s", 0.0)
    return [
        ("users spawned in", f"<= {_SPAWNED_S:.0f} s", f"{spawned_s:.1f} s", spawned_s <= _SPAWNED_S),
        ("workers marked missing", "0", str(missing), not missing),
        ("sessions established", f"{users:,}", f"{established:,}", established == users),
        ("sessions lost or failed", "0", str(bad), not bad),
        ("notifications/s received", f"{offered:,.0f}", f"{seen:,.0f}", seen >= offered * _LEAST_SEEN),
        ("notifications lost", "0", str(counters["notify.lost"]), not counters["notify.lost"]),
        ("notify.latency p99", "", f"{result['metrics']['notify.latency']['p99'] / 1e6:.1f} ms", True),
        ("generator", "not INVALID", verdict["generator"], verdict["generator"] != "INVALID"),
        ("stopped and ended in", f"<= {_STOPPED_S:.0f} s", f"{stopped_s:.1f} s", stopped_s <= _STOPPED_S),
        ("processes left behind", "0", str(len(left)), not left),
        ("exit code", "0", str(code), code == 0),
    ]


def _time_of(lines: list[str], words: str) -> datetime | None:
    line = next((line for line in lines if words in line), "")
    stamp = _STAMP.match(line)
    return datetime.strptime(stamp.group(1), "%Y-%m-%d %H:%M:%S,%f") if stamp else None  # noqa: DTZ007 - a difference


if __name__ == "__main__":
    main()
