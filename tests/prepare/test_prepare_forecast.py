"""What a plan will ask for, against arithmetic done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from loadgen.errors import InputError
from loadgen.prepare import costs, machine
from loadgen.prepare import forecast as module
from loadgen.prepare.forecast import Forecast, forecast
from loadgen.prepare.limits import check_memory, descriptors_needed
from loadgen.report.forecast import beyond_this_machine, forecast_table
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario

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
    of_stages = [line for line in shown.get().splitlines() if "s, whatever" in line]
    assert len(of_stages) == 4
    assert not any("notifications/s" in line for line in of_stages)
    assert found.connect_s == pytest.approx(3 / 15)


def test_who_is_dialed_does_not_dial(path: Path) -> None:
    assert expect(path, NOTIFY, Use.SERVE_WLC).connect_s == 0


def told(found: Forecast) -> str:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(forecast_table(found))
    return shown.get()


def test_rates_before_and_after_the_fan_out_are_shown(path: Path) -> None:
    found = expect(path, NOTIFY)
    assert [s.told_start_per_s for s in found.stages] == pytest.approx([0, 100, 100, 50])
    assert [s.told_end_per_s for s in found.stages] == pytest.approx([100, 100, 100, 50])
    assert "60.0 s, 300 notifications/s on the wire (100/s before the fan-out)" in told(found)
    assert "0 to 300 notifications/s on the wire (0 to 100/s before the fan-out)" in told(found)
    # One MSE: both are one.
    assert "fan-out" not in told(expect(path, NOTIFY.replace("[mse]\ncount = 3", "[mse]\ncount = 1")))


@pytest.fixture
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "cpus_available", lambda: 2.0)


@pytest.mark.usefixtures("two_cpus")
class TestCpus:
    """By hand: 12 us of a side for a write, 0.25 us for a notification in it, 520 us for a handshake."""

    def test_millions_are_more_than_two_cpus_can_do(self, path: Path) -> None:
        found = expect(path, "load = { wire_rate = 5_000_000 }")
        assert found.effort.cpus_needed == pytest.approx(2 * 5_000_000 * 12.25e-6)
        assert found.effort.on_time_per_s == pytest.approx(1 / 12.25e-6)
        assert found.effort.most_per_s == pytest.approx(1 / 0.25e-6)
        warning = beyond_this_machine(found)
        assert warning.startswith("5,000,000 notifications/s are due at the peak; by known costs 2 CPUs can do about ")
        assert "about 82,000/s on time and 4,000,000/s at all" in warning
        assert "saturated" in warning
        assert warning.split()[0] in told(found)
        assert "122 of 2 at the peak" in told(found)

    def test_what_goes_together_costs_less(self, path: Path) -> None:
        found = expect(path, "load = { wire_rate = 5_000_000, burst = 100 }")
        assert found.effort.on_time_per_s == pytest.approx(1 / (0.12e-6 + 0.25e-6))

    @pytest.mark.parametrize("rate", [1000, 80_000])
    def test_what_it_can_do_needs_no_word(self, path: Path, rate: int) -> None:
        found = expect(path, f"load = {{ wire_rate = {rate} }}")
        assert beyond_this_machine(found) == ""
        assert "by known costs about 82,000 notifications/s on time" in told(found)

    def test_a_side_alone_has_the_whole_machine_as_far_as_it_has_workers(self, path: Path) -> None:
        text = "wlc.count = 4\nload.wire_rate = 100_000"
        assert expect(path, text, Use.SERVE_WLC, 2).effort.on_time_per_s == pytest.approx(2 / 12.25e-6)
        assert expect(path, text, Use.SERVE_WLC, 1).effort.on_time_per_s == pytest.approx(1 / 12.25e-6)
        assert beyond_this_machine(expect(path, text, Use.SERVE_WLC, 2)) == ""
        assert beyond_this_machine(expect(path, text, Use.SERVE_WLC, 1)) != ""

    def test_what_the_peer_makes_is_not_ours_to_judge(self, path: Path) -> None:
        found = expect(path, "load.wire_rate = 5_000_000", Use.TARGET_WLC)
        assert (found.effort.cpus_needed, beyond_this_machine(found)) == (0, "")

    @pytest.mark.parametrize(("key", "per_s"), [("p256", 1 / 520e-6), ("rsa-2048", 1 / 775e-6)])
    def test_handshakes(self, path: Path, key: str, per_s: float) -> None:
        text = f'tls.key = "{key}"\nload.kind = "handshake"\n'
        assert expect(path, text).effort.on_time_per_s == pytest.approx(per_s)
        assert expect(path, text).effort.cpus_needed == 0  # as fast as it goes
        assert beyond_this_machine(expect(path, text + "load.rate = 500")) == ""
        assert "3,000 handshakes/s are due" in beyond_this_machine(expect(path, text + "load.rate = 3000"))

    def test_dialing_faster_than_handshakes_go(self, path: Path) -> None:
        text = "wlc.count = 20_000\nmse.connect_per_s = 10_000\nload.rate = 5\n"
        later = "10,000 sessions/s are to be dialed; by known costs it can do about 1,900/s"
        assert beyond_this_machine(expect(path, text)) == f"{later}, and the others will be late"
        assert beyond_this_machine(expect(path, text.replace("10_000", "1_000"))) == ""
        # A few sessions at once are no matter of seconds.
        assert beyond_this_machine(expect(path, text.replace("20_000", "200"))) == ""

    def test_datagrams_cost_more(self, path: Path) -> None:
        found = expect(path, 'transport = "dtls"\nload.wire_rate = 6_000\n')
        assert found.effort.on_time_per_s == pytest.approx(1 / 200.25e-6)
        assert "6,000 notifications/s are due" in beyond_this_machine(found)


def test_cpus_are_those_of_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_own_group", lambda: tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.cpus_available() == 8
    for text, cpus in (("max 100000\n", 8), ("250000 100000\n", 2.5), ("1600000 100000\n", 8)):
        (tmp_path / "cpu.max").write_text(text, "ascii")
        assert machine.cpus_available() == cpus


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
