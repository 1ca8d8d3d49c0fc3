"""From a command to its first session: `loadgen run scenarios/quick.toml`, beside Python with the libraries that it
cannot do without.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks import processes
from benchmarks.cases import Case, Figures, Measure, Measured, Row, median, ratios, shown_ratio
from benchmarks.descendants import descendants

_ROOT = Path(__file__).parents[1]
_OURS, _LIBRARIES, _PYTHON = "loadgen run", "Python with its libraries", "Python"
_IMPORTS = "import click, msgspec, numpy, trio, OpenSSL.SSL"
_TIMEOUT_S = 60.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _run() -> Figures:
    read, write = os.pipe()
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "benchmarks.until_up", str(write), "run", "scenarios/quick.toml"]
        began_ns = time.monotonic_ns()
        process = subprocess.Popen(
            [*command, "--results", results],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[write],
        )
        os.close(write)
        try:
            said = os.read(read, 64) if select.select([read], [], [], _TIMEOUT_S)[0] else b""
            cpu_s = sum(map(_cpu_s, [process.pid, *descendants(process.pid)]))
        finally:
            os.close(read)
            process.kill()  # its keeper ends the others
            process.wait()
    if not said:
        raise processes.Failed("loadgen run scenarios/quick.toml: no session came up")
    return {"wall_ms": (int(said.split()[0]) - began_ns) / 1e6, "cpu_ms": cpu_s * 1e3}


def _cpu_s(pid: int) -> float:
    """Of a process, by its threads, and of its children that have ended."""
    try:
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        running = sum(int(each.read_text("ascii").split()[0]) for each in threads) / 1e9
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:  # it has ended since
        return 0.0
    return running + (int(fields[13]) + int(fields[14])) * _TICK_S


def _python(code: str) -> Figures:
    began_ns = time.monotonic_ns()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return {"wall_ms": (time.monotonic_ns() - began_ns) / 1e6, "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3}


def _variants(_: None) -> dict[str, Measure]:
    return {_OURS: _run, _LIBRARIES: lambda: _python(_IMPORTS), _PYTHON: lambda: _python("pass")}


def _rows(measured: Measured) -> list[Row]:
    return [
        Row(
            f"from `loadgen run scenarios/quick.toml` to its first session, {what}",
            f"{median(measured[_OURS], figure):,.0f} ms (best {min(each[figure] for each in measured[_OURS]):,.0f})",
            _LIBRARIES,
            f"{median(measured[_LIBRARIES], figure):,.0f} ms",
            shown_ratio(ratios(measured[_OURS], measured[_LIBRARIES], figure)),
            "",
            None,
            f"Python alone: {median(measured[_PYTHON], figure):,.0f} ms",
        )
        for what, figure in (("wall", "wall_ms"), ("CPU of all processes", "cpu_ms"))
    ]


CASE = Case("start", 10, nullcontext, _variants, _rows)
