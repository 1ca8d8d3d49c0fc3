"""A stock Locust master with our locustfile and simulated nodes: what it takes, and how far behind it is."""

from __future__ import annotations

import json
import math
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import SCENARIOS, Failed, need_locust
from loadgen.distributed.messages import INTERVAL_NS
from loadgen.units import NS_PER_S

ROOT = Path(__file__).parents[2]
_INTERVAL_S = INTERVAL_NS / NS_PER_S
# What comes first is no steady state: Locust's own tables are of the last ten seconds.
_SETTLE_S = 12.0
_LOOK_S = 2.0  # a browser's, at our page and at Locust's
_PATIENCE_S = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
# Their rate is of the whole fleet: as many notifications as the recorded node has.
_PER_S = 3000.0


def measure(recording: Path, nodes: int, users: int, seconds: float) -> dict[str, float]:
    """Let so many nodes report for so long.

    Raises:
        Failed: the master or the nodes did not do what they were started for.
        PeerMissing: Locust is not there.
    """
    need_locust()
    with tempfile.TemporaryDirectory() as name, _running(Path(name), recording, nodes, users) as (master, made, web):
        folder = Path(name)
        watched = _Watched(master.pid, web, folder / "results")
        watched.until_all_there(nodes)
        figures = watched.watch(seconds)
        told = time.monotonic()
        master.terminate()
        out, _ = made.communicate(timeout=_PATIENCE_S)
        master.wait(_PATIENCE_S)
        figures["ended_s"] = time.monotonic() - told
        said = json.loads(out)
        result = json.loads(watched.result_path.read_text("utf-8"))
        figures |= _sizes(watched.result_path.parent, result, said)
    return figures


def _sizes(folder: Path, result: dict[str, Any], said: dict[str, Any]) -> dict[str, float]:
    counted = result["counters"]
    differ = {name: n for name, n in said["counters"].items() if n and counted.get(name) != n}
    return {
        "result_bytes": (folder / "result.json").stat().st_size,
        "plan_bytes": (folder / "plan.json").stat().st_size,
        "page_bytes": (folder / "report.html").stat().st_size,
        "sessions": counted["sessions.established"],
        "received": counted["notify.received"],
        "tags": len({line.split(",")[0] for line in (folder / "histograms.hlog").open() if line.startswith("Tag=")}),
        "counters_wrong": len([name for name in differ if not name.startswith(("clock.", "notify.unacknowledged"))]),
        "stats_bytes": said["octets"]["stats"] / said["messages"]["stats"],
        "beat_p50_s": said["beat_p50_s"],
        "beat_p99_s": said["beat_p99_s"],
        "beat_max_s": said["beat_max_s"],
    }


@contextmanager
def _running(folder: Path, recording: Path, nodes: int, users: int) -> Iterator[tuple[Any, Any, int]]:
    """The master, the nodes, and the web UI's port."""
    port, web = _free_port(), _free_port()
    _allow_descriptors(8 * nodes)
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "scenarios" / "locustfile.py"), "--autostart"]
    command += ["--master", "--expect-workers", str(nodes), "-u", str(users), "-r", str(users)]
    command += ["--web-host", "127.0.0.1", "--web-port", str(web)]
    command += ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
    command += ["--scenario", str(SCENARIOS / "nodes.toml"), "--notify-rate", str(_PER_S * nodes / users)]
    command += ["--results", str(folder / "results")]
    with (folder / "master.log").open("w") as log:
        master = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    simulated = [sys.executable, "-m", "benchmarks.nodes.simulated", str(recording), str(port), str(nodes)]
    made = subprocess.Popen(simulated, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        yield master, made, web
    except (Failed, subprocess.TimeoutExpired, OSError) as error:
        raise Failed(f"{error}: {(folder / 'master.log').read_text()[-2000:]}") from error
    finally:
        for process in (made, master):
            process.kill()
            process.wait()


class _Watched:
    """A master, looked at while it works."""

    def __init__(self, pid: int, web: int, results: Path) -> None:
        self._pid, self._web, self._results = pid, web, results
        self._page_s: list[float] = []
        self._table_s: list[float] = []
        self._view_s: list[float] = []
        self._result_s: list[float] = []

    def until_all_there(self, nodes: int) -> None:
        """Until every node's users are there, and the stage that counts has begun."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            try:
                stats = json.loads(self._get("/stats/requests"))
            except (OSError, urllib.error.URLError):
                stats = {}
            if stats.get("state") == "running" and len(stats["workers"]) == nodes:
                time.sleep(_SETTLE_S)
                return
            time.sleep(0.5)
        raise Failed("the master does not come to run all users")

    def watch(self, seconds: float) -> dict[str, float]:
        """For so long, with one browser."""
        over = threading.Event()
        browser = threading.Thread(target=self._browse, args=(over,))
        begun, cpu_s, octets = time.monotonic(), self._cpu_s(), self._log_bytes()
        memory = [self._rss_bytes()]
        browser.start()
        while (left_s := begun + seconds - time.monotonic()) > 0:
            time.sleep(min(left_s, _INTERVAL_S))
            memory.append(self._rss_bytes())
            self._result_s.append(time.time() - self._result_until_s())
        over.set()
        browser.join()
        took_s = time.monotonic() - begun
        quarter = max(1, len(memory) // 4)
        return {
            "cores": (self._cpu_s() - cpu_s) / took_s,
            "seconds": took_s,
            "rss_bytes": memory[-1],
            "rss_grown_bytes": sum(memory[-quarter:]) / quarter - sum(memory[:quarter]) / quarter,
            "log_bytes_per_h": (self._log_bytes() - octets) / took_s * 3600,
            "page_max_s": max(self._page_s, default=math.inf),
            "table_max_s": max(self._table_s, default=math.inf),
            "view_old_max_s": max(self._view_s, default=math.inf),
            "result_old_max_s": max(self._result_s),
        }

    @property
    def result_path(self) -> Path:
        (found,) = self._results.glob("*/result.json")
        return found

    def _browse(self, over: threading.Event) -> None:
        """What a browser asks that shows our page, and one that shows Locust's."""
        since = ""
        while not over.wait(_LOOK_S):
            begun = time.monotonic()
            view = json.loads(self._get(f"/loadgen/live.json?since={since}"))
            self._page_s.append(time.monotonic() - begun)
            since = view["version"]
            # By the clock of this machine, which is the master's.
            self._view_s.append(time.monotonic() - float(since.partition(".")[2]))
            begun = time.monotonic()
            self._get("/stats/requests")
            self._table_s.append(time.monotonic() - begun)

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._web}{path}", timeout=_PATIENCE_S) as answer:
            return bytes(answer.read())

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _rss_bytes(self) -> int:
        return int(Path(f"/proc/{self._pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize()

    def _log_bytes(self) -> int:
        return (self.result_path.parent / "histograms.hlog").stat().st_size

    def _result_until_s(self) -> float:
        """Until when result.json knows what was done (unix time)."""
        return self.result_path.stat().st_mtime


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    recording, nodes, users, seconds = sys.argv[1:]
    for name, value in measure(Path(recording), int(nodes), int(users), float(seconds)).items():
        print(f"{name:20} {value:,.4g}" if abs(value) < 100 else f"{name:20} {value:,.0f}")
