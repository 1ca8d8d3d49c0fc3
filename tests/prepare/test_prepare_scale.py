"""docs/scale.md says what the forecast says: its numbers are reckoned anew, and those of one million sessions."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from loadgen.distributed.users import ENDPOINTS_PER_WORKER, first_endpoint
from loadgen.errors import InputError
from loadgen.prepare import limits
from loadgen.prepare.forecast import Forecast, forecast
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schema import MOST_OF_A_FLEET

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MILLION = 1_000_000
LINUX_PORTS = (32_768, 60_999)


class Host(NamedTuple):
    """The page's. Attributes: share: of its cores, and of its memory, that are used."""

    cores: int = 16
    memory_bytes: int = 64 * GIB
    descriptors: int = 20_000
    share: tuple[float, float] = (0.5, 0.8)


HOST = Host()


@pytest.fixture(autouse=True)
def _linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_port_range", lambda: LINUX_PORTS)


def expect(folder: Path, use: Use, wlcs: int, mses: int, load: str = "rate = 1", workers: int = 1) -> Forecast:
    path = folder / "s.toml"
    path.write_text(
        f'name = "s"\n[wlc]\ncount = {wlcs}\nlisten = "127.0.0.1:0"\nstep = "port"\nstations = 50\nreadings = 4\n'
        f'[mse]\ncount = {mses}\n[tls]\nversion = "1.2"\nkey = "p256"\n'
        f'[load]\n{load}\nstages = [{{ hold = "10s" }}]\n',
        "utf-8",
    )
    scenario, profile = load_scenario(path)
    targets = [("192.0.2.1", 16113)] if use is Use.TARGET_WLC else []
    return forecast(make_plan(scenario, profile, use=use, targets=targets), profile, workers)


def cells(*first: str) -> list[str]:
    """The row of a table that begins with these cells."""
    start = "| " + " | ".join(first) + " |"
    (line,) = (line for line in PAGE.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def told(pattern: str) -> str:
    found = re.findall(pattern.replace(" ", r"\s+"), PAGE)
    assert len(set(found)) == 1, f"{pattern}: {found}"
    return str(found[0])


def cores_of(folder: Path, per_s: float, burst: int = 1) -> float:
    """Of a million sessions at such a rate each, one side."""
    few = expect(folder, Use.SERVE_WLC, 100, 1, f"rate = {per_s * 100}\nburst = {burst}")
    return few.effort.cpus_needed * MILLION / 100


def memory_of_sessions(folder: Path, use: Use, mses: int, more: int) -> float:
    """Bytes of a million sessions, without the processes."""
    few, many = (
        (expect(folder, use, 1, mses), expect(folder, use, 1, mses + more))
        if use is Use.TARGET_WLC
        else (expect(folder, use, 1, mses), expect(folder, use, 1 + more, mses))
    )
    return (many.memory_bytes - few.memory_bytes) / (many.sessions - few.sessions) * MILLION


def sessions_of_a_worker(folder: Path) -> int:
    few, many = (expect(folder, Use.TARGET_WLC, 1, mses) for mses in (1000, 3000))
    assert many.descriptors - few.descriptors == 2000
    return HOST.descriptors - (few.descriptors - few.sessions)


def hosts(folder: Path, per_s: float) -> tuple[int, int, int]:
    """For CPU, for memory, for descriptors."""
    cpu = math.ceil(cores_of(folder, per_s) / (HOST.cores * HOST.share[0]))
    process = (
        expect(folder, Use.TARGET_WLC, 1, 1, workers=2).memory_bytes - expect(folder, Use.TARGET_WLC, 1, 1).memory_bytes
    )
    sessions = max(
        memory_of_sessions(folder, Use.TARGET_WLC, 1000, 1000), memory_of_sessions(folder, Use.SERVE_WLC, 4, 1000)
    )
    memory = math.ceil(sessions / (HOST.memory_bytes * HOST.share[1] - (1 + HOST.cores) * process))
    return cpu, memory, math.ceil(MILLION / (HOST.cores * sessions_of_a_worker(folder)))


def test_the_models_constants(tmp_path: Path) -> None:
    handshakes = 'kind = "handshake"\nconcurrency = 8'
    path = tmp_path / "s.toml"
    for key, label in (("p256", "P-256"), ("rsa-2048", "RSA-2048")):
        expect(tmp_path, Use.BOTH, 1, 1, handshakes)
        path.write_text(path.read_text("utf-8").replace('key = "p256"', f'key = "{key}"'), "utf-8")
        scenario, profile = load_scenario(path)
        plan = make_plan(scenario, profile, use=Use.TARGET_WLC, targets=[("192.0.2.1", 16113)])
        per_s = forecast(plan, profile, 1).effort.handshakes_per_s
        assert cells("CPU", f"handshake, {label}")[2] == f"{1e6 / per_s:.0f} µs"
    alone = cores_of(tmp_path, 1)
    thousand = cores_of(tmp_path, 1, burst=1000)
    notification = (thousand - alone / 1000) * 1000 / 999  # µs, of what is a write and a notification
    assert cells("CPU", "write, or read")[2] == f"{alone - notification:.0f} µs"
    assert cells("CPU", "notification")[2] == f"{notification:.2f} µs"
    assert (
        cells("memory", "session")[2]
        == f"{memory_of_sessions(tmp_path, Use.TARGET_WLC, 1000, 1000) / MILLION / KIB:.0f} KiB"
    )
    one, two = (expect(tmp_path, Use.TARGET_WLC, 1, 1, workers=workers) for workers in (1, 2))
    assert cells("memory", "process")[2] == f"{(two.memory_bytes - one.memory_bytes) / MIB:.0f} MiB"
    each = memory_of_sessions(tmp_path, Use.SERVE_WLC, 1, 1000) - memory_of_sessions(tmp_path, Use.TARGET_WLC, 1, 1000)
    assert cells("memory", "WLC of ours, with 50 stations of 4 readings")[2] == f"{each / MILLION / KIB:.0f} KiB"
    assert cells("descriptors", "process")[2] == f"{HOST.descriptors - sessions_of_a_worker(tmp_path)}"
    served = expect(tmp_path, Use.SERVE_WLC, 1, 1)
    assert served.bytes_per_s is not None
    assert served.network_bytes_per_s is not None
    assert cells("bytes", "notification of the reference profile, 4 readings")[2] == f"{served.bytes_per_s:.0f} B"
    beside = served.network_bytes_per_s - served.bytes_per_s
    assert cells("bytes", "write, beside it: TLS, TCP, IP")[2] == f"{beside:.0f} B"


@pytest.mark.parametrize("per_s", [0.1, 1, 10])
def test_one_million_sessions(tmp_path: Path, per_s: float) -> None:
    few = expect(tmp_path, Use.SERVE_WLC, 100, 1, f"rate = {per_s * 100}")
    assert few.network_bytes_per_s is not None
    network = few.network_bytes_per_s * MILLION / 100 * 8 / 1e9
    needed = hosts(tmp_path, per_s)
    row = cells(f"{per_s:g}")
    assert row[1] == f"{per_s * MILLION:,.0f}/s"
    assert row[2] == f"{cores_of(tmp_path, per_s):.1f}"
    assert row[3:7] == [*map(str, needed), str(max(needed))]
    assert row[7] == f"{network:.1f} Gbit/s"
    assert float(row[8].removesuffix(" Gbit/s")) == pytest.approx(network / max(needed), rel=0.15)


def test_what_is_said_of_it(tmp_path: Path) -> None:
    most, each = max(hosts(tmp_path, 1)), sessions_of_a_worker(tmp_path)
    assert told(r"16 workers of ([\d,]+) sessions") == f"{each:,}"
    assert told(r"sessions are ([\d,]+) a host") == f"{16 * each:,}"
    assert told(r"are ([\d.]+) cores instead of") == f"{cores_of(tmp_path, 10, burst=10):.1f}"
    assert math.ceil(cores_of(tmp_path, 10, burst=10) / 8) <= most
    dialed = memory_of_sessions(tmp_path, Use.TARGET_WLC, 1000, 1000)
    served = memory_of_sessions(tmp_path, Use.SERVE_WLC, 4, 1000)
    assert told(r"([\d.]+) GiB for the sessions of MSEs") == f"{dialed / GIB:.1f}"
    assert told(r"four sessions each ([\d.]+) GiB") == f"{served / GIB:.1f}"
    ports = LINUX_PORTS[1] - LINUX_PORTS[0] + 1
    assert expect(tmp_path, Use.TARGET_WLC, 1, 1000).local_port_limit == ports
    assert told(r"one source address has ([\d,]+) for") == f"{ports:,}"
    assert told(r"address take (\d+) source addresses") == str(math.ceil(MILLION / ports))
    per_s = most * HOST.cores * HOST.share[0] / 520e-6
    assert told(r"dial ([\d,]+) sessions/s") == f"{per_s:,.0f}"
    assert told(r"is up after (\d+) s") == f"{MILLION / per_s:.0f}"


def test_what_one_master_leads() -> None:
    assert told(r"leads at most ([\d,]+) sessions") == f"{MOST_OF_A_FLEET:,}"
    assert told(r"sessions and (\d+) nodes") == str((1 << 24) // ENDPOINTS_PER_WORKER)
    first_endpoint(255)
    with pytest.raises(InputError):
        first_endpoint(256)
    node = float(
        cells("CPU of the master", "node that reports 35 histograms, each with some hundred values, every 3 s")[2][:-3]
    )
    shown = int(cells("CPU of the master", "what is written and shown, of 200 nodes")[2].split(" ")[0]) / 100
    cores = {nodes: nodes * node / 3000 + shown for nodes in (50, 64, 200, 256)}
    assert told(r"of 64 nodes takes (\d+\.\d+) cores") == f"{cores[64]:.2f}"
    assert told(r"of 256 nodes would take (\d+\.\d+)") == f"{cores[256]:.2f}"
    assert (
        cells("a master of 50 nodes that report 35 histograms each, with a browser at its pages")[1]
        == f"{cores[50]:.2f} cores"
    )
    assert cells("the same work for 200 nodes, without waiting for them")[1] == f"{cores[200]:.2f} cores"
