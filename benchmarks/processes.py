"""Fresh processes for every measurement: loadgen itself, openssl, Locust, and small scripts; each pinned to a core."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.descendants import worker_pids

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
# Two cores: what is measured on one, its counterpart on the other.
_CORES = sorted(os.sched_getaffinity(0))
GENERATOR_CORE, COUNTERPART_CORE = _CORES[0], _CORES[-1]
_TIMEOUT_S = 240.0
_LONG_S = 1800.0
_CONNECTIONS = re.compile(rb"^(\d+) connections in", re.MULTILINE)


class PeerMissing(Exception):
    """What a comparison needs is not installed; the message says which package brings it."""


class Failed(Exception):
    """A process did not do what it was started for."""


class Timed(NamedTuple):
    """How a process ended; its CPU time is user and system, its children's included."""

    stdout: bytes
    cpu_s: float


def openssl() -> str:
    """Raises: PeerMissing."""
    path = shutil.which("openssl")
    if path is None:
        raise PeerMissing("openssl is not on PATH; the package `openssl` brings it (apt-get install openssl)")
    return path


def need_locust() -> None:
    """Raises: PeerMissing."""
    if importlib.util.find_spec("locust") is None:
        raise PeerMissing("locust is not installed; the extra `bench` brings it (pip install -e '.[bench]')")


def run(command: Sequence[str], core: int, *, codes: Sequence[int] = (0,), env: dict[str, str] | None = None) -> Timed:
    """Run a command on one core to its end.

    Raises:
        Failed: it ended with another exit code than `codes`, or not in time.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _start(command, core, out, err, env)
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode not in codes:
            raise Failed(f"{' '.join(command[:6])} ...: exit code {process.returncode}: {err.read()[-500:]!r}")
        return Timed(out.read(), usage.ru_utime + usage.ru_stime)


def _start(command: Sequence[str], core: int, out: Any, err: Any, env: dict[str, str] | None = None) -> Any:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env={**os.environ, **(env or {})},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def script(module: str, *arguments: str, **env: str) -> dict[str, Any]:
    """Run one of our own small scripts on the generator's core; it prints JSON. Args: env: beside what there is."""
    command = [sys.executable, "-m", module, *arguments]
    found: dict[str, Any] = json.loads(run(command, GENERATOR_CORE, env={**os.environ, **env}).stdout)
    return found


def compiled(source: Path, folder: Path, *libraries: str) -> Path:
    """A peer that is written in C.

    Raises:
        PeerMissing: there is no compiler, or what the peer needs.
    """
    made = folder / source.stem
    command = ["cc", "-std=c11", "-O2", str(source), "-o", str(made), *(f"-l{name}" for name in libraries)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerMissing(f"{source.name}: no C compiler ({error})") from error
    if done.returncode:
        raise PeerMissing(f"{source.name}: {done.stderr.strip().splitlines()[0]}")
    return made


# -- loadgen -------------------------------------------------------------------------------------------------------

# A saturated generator (4) is what most of these measurements want.
_GOOD_CODES = (0, 4)


def loadgen_alone(scenario: str, target: str, *options: str) -> dict[str, Any]:
    """result.json of a run that plays the MSEs only, all of it on the generator's core."""
    command = _loadgen(scenario, "--target", f"wlc={target}", *options)
    result: dict[str, Any] = json.loads(run(command, GENERATOR_CORE, codes=_GOOD_CODES).stdout)
    return result


def loadgen_both(scenario: str, *options: str) -> dict[str, Any]:
    """result.json of a run of both sides: the MSE worker on the generator's core, the WLC worker on the other."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _start(_loadgen(scenario, *options), GENERATOR_CORE, out, err)
        try:
            wlc, mse = _workers(process, ("wlc-0", "mse-0"))
            os.sched_setaffinity(wlc, {COUNTERPART_CORE})
            os.sched_setaffinity(mse, {GENERATOR_CORE})
            code = process.wait(_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        if code not in _GOOD_CODES:
            raise Failed(f"loadgen run {scenario}: exit code {code}: {err.read()[-500:]!r}")
        result: dict[str, Any] = json.loads(out.read())
        return result


def loadgen_run(scenario: str, *options: str) -> dict[str, Any]:
    """result.json of a run of both sides, with as many workers as it takes, wherever they run."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["run", str(SCENARIOS / f"{scenario}.toml"), "--results", folder, "--json", "--quiet", *options]
        done = subprocess.run([sys.executable, "-m", "loadgen", *arguments], capture_output=True, timeout=_LONG_S)
        if done.returncode not in (*_GOOD_CODES, 5):
            raise Failed(f"loadgen run {scenario}: exit code {done.returncode}: {done.stderr[-500:]!r}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result


def _loadgen(scenario: str, *options: str) -> list[str]:
    results = str(Path(tempfile.gettempdir()) / "loadgen-bench")
    base = [sys.executable, "-m", "loadgen", "run", str(SCENARIOS / f"{scenario}.toml"), "--workers", "1"]
    return [*base, "--results", results, "--json", "--quiet", *options]


def _workers(process: Any, names: Sequence[str]) -> list[int]:
    """Worker processes of a supervisor, once all of them are there."""
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline and process.poll() is None:
        found = [pid for name in names for pid in worker_pids(process.pid, name)]
        if len(found) == len(names):
            return found
        time.sleep(0.02)
    raise Failed(f"loadgen did not start its workers {', '.join(names)}")


@contextmanager
def loadgen_wlc(scenario: str, *options: str) -> Iterator[None]:
    """Our WLCs as a server on the counterpart's core, until the block ends."""
    command = [word for word in _loadgen(scenario, "--serve", "wlc", *options) if word != "--quiet"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _start(command, COUNTERPART_CORE, out, err)
        try:
            _wait_for(process, err, b"ready: ")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: Any, log: Any, word: bytes) -> None:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        if word in log.read():
            return
        time.sleep(0.05)
    log.seek(0)
    raise Failed(f"the server did not start: {log.read()[-500:]!r}")


# -- peers ---------------------------------------------------------------------------------------------------------


def s_time(address: str, pem: Path, seconds: int, *options: str) -> tuple[int, float]:
    """How many full handshakes `openssl s_time` did, and its CPU time (s)."""
    command = [openssl(), "s_time", "-connect", address, "-new", "-tls1_2", "-time", str(seconds)]
    timed = run([*command, "-cert", str(pem), "-key", str(pem), *options], GENERATOR_CORE)
    found = _CONNECTIONS.search(timed.stdout)
    if found is None or not int(found[1]):
        raise Failed(f"openssl s_time made no connection: {timed.stdout[-300:]!r}")
    return int(found[1]), timed.cpu_s


def locust(targets: Sequence[str], pem: Path, users: int, seconds: int) -> dict[str, Any]:
    """What the Locust user saw: see its docstring."""
    need_locust()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "figures.json"
        env = {
            "NMSP_TARGETS": ",".join(targets),
            "NMSP_CERT": str(pem),
            "NMSP_KEY": str(pem),
            "NMSP_OUTPUT": str(output),
        }
        command = [sys.executable, "-m", "locust", "-f", str(HERE / "peers" / "locust_user.py"), "--headless"]
        command += ["--only-summary", "-u", str(users), "-r", str(users), "-t", f"{seconds}s"]
        run(command, GENERATOR_CORE, codes=(0, 1), env=env)
        figures: dict[str, Any] = json.loads(output.read_text("utf-8"))
        return figures
