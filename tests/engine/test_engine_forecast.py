"""What a plan will ask for, against arithmetic done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from loadgen.engine import forecast as module
from loadgen.engine.forecast import Forecast, forecast
from loadgen.engine.limits import check_memory, descriptors_needed
from loadgen.errors import InputError
from loadgen.report.forecast import forecast_table
from loadgen.scenario.load import load_scenario
from loadgen.scenario.plan import Use, make_plan

MIB = 1 << 20


def expect(path: Path, text: str, use: Use = Use.BOTH, workers: int = 1) -> Forecast:
    path.write_text(f'name = "f"\n{text}', "utf-8")
    scenario, profile = load_scenario(path)
    targets = [("127.0.0.1", 16113)] if use is Use.TARGET_WLC else []
    return forecast(make_plan(scenario, profile, use=use, targets=targets), profile, workers)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "memory_available_bytes", lambda: 1234)
    return tmp_path / "f.toml"


NOTIFY = """
[wlc]
count = 10
readings = [2, 4]
[mse]
count = 3
connect_per_s = 15
[load]
rate = 100
burst = 5
stages = [{ ramp = "10s" }, { warmup = "2s" }, { hold = "60s" }, { hold = "3s", rate = 50 }]
"""


def test_notifications_are_counted_on_the_wire(path: Path) -> None:
    """Each WLC tells each of its MSEs: 100/s by the scenario are 300/s."""
    found = expect(path, NOTIFY)
    assert (found.wlcs, found.mses, found.sessions, found.most_sessions_of_a_wlc) == (10, 3, 30, 3)
    assert [(s.name, s.counted, s.length_s) for s in found.stages] == [
        ("ramp", False, 10), ("warmup", False, 2), ("hold-3", True, 60), ("hold-4", True, 3)
    ]  # fmt: skip
    assert [s.start_per_s for s in found.stages] == pytest.approx([0, 300, 300, 150])
    assert [s.end_per_s for s in found.stages] == pytest.approx([300, 300, 300, 150])
    assert found.load_s == 75
    assert found.connect_s == 2
    assert found.total == (500 + 200 + 6000 + 150) * 3
    assert found.memory_available_bytes == 1234


def test_bytes_are_of_the_average_notification_at_the_peak(path: Path) -> None:
    found = expect(path, NOTIFY)
    low, high = (expect(path, NOTIFY.replace("[2, 4]", str(n))).notification_bytes for n in (2, 4))
    assert low is not None
    assert high is not None
    assert low < high
    assert found.notification_bytes == (low + high) / 2
    assert found.bytes_per_s == pytest.approx(300 * found.notification_bytes)
    # 81 bytes of TLS, TCP and IP for each write of five.
    assert found.network_bytes_per_s == pytest.approx(300 * (found.notification_bytes + 81 / 5))


@pytest.mark.parametrize("use", [Use.TARGET_WLC, Use.SERVE_MSE])
def test_of_somebody_elses_notifications_nothing_is_known(path: Path, use: Use) -> None:
    found = expect(path, NOTIFY.replace("count = 10", 'listen = "127.0.0.1:16113"\ncount = 1'), use)
    assert found.bytes_per_s is found.network_bytes_per_s is found.notification_bytes is found.total is None
    assert {(stage.start_per_s, stage.end_per_s) for stage in found.stages} == {(0, 0)}
    assert [stage.length_s for stage in found.stages] == [10, 2, 60, 3]
    console = Console(width=120)
    with console.capture() as shown:
        console.print(forecast_table(found))
    assert "60.0 s, whatever the peer does" in shown.get()
    assert "notifications/s" not in shown.get()
    assert found.connect_s == pytest.approx(3 / 15)


def test_who_is_dialed_does_not_dial(path: Path) -> None:
    assert expect(path, NOTIFY, Use.SERVE_WLC).connect_s == 0


def test_wlcs_with_different_numbers_of_sessions(path: Path) -> None:
    text = "[wlc]\ncount = 3\n[mse]\ncount = 2\nassign = [{ mse = 0, wlc = [0, 1, 2] }, { mse = 1, wlc = [0] }]\n"
    found = expect(path, text + '[load]\nrate = 30\nstages = [{ hold = "1s" }]\n')
    assert (found.sessions, found.most_sessions_of_a_wlc) == (4, 2)
    assert found.total == 40


def test_handshakes(path: Path) -> None:
    text = '[wlc]\ncount = 4\n[load]\nkind = "handshake"\nconcurrency = 7\nstages = [{ hold = "10s" }]\n'
    found = expect(path, text)
    assert found.total is None  # as fast as it goes
    assert found.connect_s == 0
    assert found.bytes_per_s is None
    paced = expect(path, text.replace("concurrency = 7", "rate = 25\nconcurrency = 7"))
    assert paced.total == 250
    assert [(s.start_per_s, s.end_per_s) for s in paced.stages] == [(25, 25)]


def test_memory_grows_with_what_is_played(path: Path) -> None:
    def memory(changes: dict[str, str] | None = None, use: Use = Use.BOTH, workers: int = 1) -> int:
        text = NOTIFY
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        return expect(path, text, use, workers).memory_bytes

    base = memory()
    assert base > 3 * 64 * MIB  # a supervisor and two workers
    assert memory(workers=2) - base == 2 * 72 * MIB
    assert base - memory(use=Use.SERVE_MSE) > 72 * MIB
    # 27 more sessions at both sides, at 32 KiB each.
    assert memory({"count = 3": "count = 6"}) - base == 2 * 30 * 32 * 1024
    assert memory({"readings": "stations = 1000\nreadings"}) - base > 10 * 1000 * 64
    assert memory({"count = 10": "count = 100"}) > base


def test_descriptors_are_of_the_fullest_process(path: Path) -> None:
    found = expect(path, NOTIFY)
    scenario, profile = load_scenario(path)
    assert found.descriptors == descriptors_needed(make_plan(scenario, profile), 1) > 30
    many = NOTIFY.replace("count = 3", "count = 100")
    assert expect(path, many, workers=5).descriptors < expect(path, many).descriptors
    assert found.descriptor_limit > 0


def test_a_plan_beyond_the_memory_is_refused() -> None:
    check_memory(10 * MIB, 10 * MIB)
    check_memory(10 * MIB, 0)  # nobody knows
    with pytest.raises(InputError, match=r"memory: expected at least 11 MiB.*found 10 MiB"):
        check_memory(11 * MIB, 10 * MIB)
