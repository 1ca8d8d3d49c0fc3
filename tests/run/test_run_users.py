"""Users: sessions that come and go while a load is on, with real processes on loopback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import trio

from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Interval
from loadgen.measure.stages import stage_of
from loadgen.prepare.job import Source, make_job
from loadgen.results.record import RunRecord
from loadgen.run.supervisor import Supervisor, Whole
from loadgen.scenario.plan import Use
from loadgen.scenario.reading import scenario_untrusted

_PER_S = 50.0  # of each WLC
_EPOCH_NS = 1_700_000_000 * 10**9
_PATIENCE_S = 30


def source(users: int, mses: int = 1, use: Use = Use.BOTH) -> Source:
    data = {
        "name": "users",
        "wlc": {"count": users, "listen": "127.0.0.1:0", "step": "port", "stations": 5, "authenticate": False},
        "mse": {"count": mses},
        "tls": {"trust": "any"},
        "load": {"rate": users * _PER_S, "stages": [{"hold": "3600s"}]},
    }
    scenario, profile = scenario_untrusted(data, Path("users.toml"))
    return Source(Path("users.toml"), scenario, profile, use, workers="1", sessions_per_user=mses)


class Led:
    """A run that a test leads."""

    def __init__(self, led: Source) -> None:
        job = make_job(led, datetime.now(UTC))
        self.plan = job.plan
        self.intervals: list[tuple[str, Interval]] = []
        self.addresses: list[tuple[str, int]] = []
        self.supervisor = Supervisor(
            job.plan,
            job.profile.document,
            job.keys,
            job.workers,
            lambda _: None,
            self.addresses.extend,
            part_of=Whole(_EPOCH_NS, 10**9, lambda name, interval, _cpu_s: self.intervals.append((name, interval))),
        )

    def count(self, name: str) -> int:
        return self.supervisor.merger.counters()[name]

    async def until(self, predicate: Callable[[], object]) -> None:
        with trio.fail_after(_PATIENCE_S):
            await self.supervisor.fleet.until(predicate)
        assert predicate()

    async def begin(self) -> None:
        stage = msgspec.structs.replace(self.plan.load.stages[0], name="ramp", counted=False)
        await self.supervisor.begin((stage,))

    def run(self, lead: Callable[[], Awaitable[None]]) -> RunRecord:
        async def leading(_: Supervisor) -> None:
            await lead()

        return trio.run(self.supervisor.run, leading)


def test_users_come_and_go_and_nothing_is_lost() -> None:
    led = Led(source(users=6, mses=2))

    async def lead() -> None:
        await led.begin()
        await led.supervisor.muster(2, 0)
        await led.until(lambda: led.supervisor.active() == 4)
        assert led.count("sessions.attempted") == 4
        await led.supervisor.muster(6, 0)
        await led.until(lambda: led.supervisor.active() == 12)
        await led.supervisor.muster(1, 0)
        await led.until(lambda: led.supervisor.active() == 2 and led.count("sessions.closed") >= 10)
        assert led.count("sessions.closed") == 10
        # The same users again, over new sessions.
        await led.supervisor.muster(3, 0)
        await led.until(lambda: led.supervisor.active() == 6 and led.count("sessions.established") == 16)
        received = led.count("notify.received")
        await led.until(lambda: led.count("notify.received") > received + 50)

    record = led.run(lead)
    counters = record.merger.counters()
    assert record.complete
    assert counters["sessions.established"] == counters["sessions.closed"] == 16
    assert not [name for name, count in counters.items() if name.startswith("errors.") and count]
    assert not counters["sessions.failed"] + counters["sessions.lost"]
    assert counters["notify.sent"] == counters["notify.received"] > 0
    assert not counters["notify.lost"] + counters["notify.duplicated"] + counters["notify.reordered"]
    assert counters["notify.due"] == counters["notify.sent"] + counters["notify.dropped"]


def test_who_is_not_there_owes_nothing() -> None:
    led = Led(source(users=50))

    async def lead() -> None:
        await led.begin()
        await led.supervisor.muster(1, 0)
        await led.until(lambda: led.count("notify.received") >= 100)

    record = led.run(lead)
    counters = record.merger.counters()
    # One WLC of fifty: 50/s, and not 2,500/s.
    assert counters["notify.due"] - counters["notify.sent"] <= 1
    assert counters["notify.dropped"] <= 1


def test_a_stage_begins_while_the_load_goes_on() -> None:
    led = Led(source(users=2))
    began: list[int] = []

    async def lead() -> None:
        await led.begin()
        await led.supervisor.muster(2, 0)
        await led.until(lambda: led.count("notify.received") >= 20)
        began.append(await led.supervisor.begin_stage("hold"))
        before = led.count("notify.received")
        await led.until(lambda: led.count("notify.received") >= before + 100)

    record = led.run(lead)
    whole = Merger()  # what a part of a run keeps are counters
    for name, interval in led.intervals:
        whole.add(name, interval)
    assert not record.merger.metrics({"ramp", "hold"})
    metrics = {stage: whole.metrics({stage}) for stage in ("ramp", "hold")}
    counts = {stage: metrics[stage]["notify.latency"].count for stage in metrics}
    assert all(counts.values())
    assert sum(counts.values()) == record.merger.counters()["notify.received"]
    # By due time, at both ends.
    assert {stage: metrics[stage]["notify.lag"].count for stage in metrics} == counts
    for stage, count in counts.items():
        assert sum(sum(waited.counts) for waited in whole.waits("received", stage)) == count
    assert began[0] > led.supervisor.to_unix_ns(led.supervisor.loads[-1].start_ns)


def test_a_part_of_a_run_keeps_no_intervals_and_counts_them_from_the_whole_runs_epoch() -> None:
    led = Led(source(users=1))

    async def lead() -> None:
        await led.begin()
        await led.supervisor.muster(1, 0)
        await led.until(lambda: led.count("notify.received") >= 10)

    record = led.run(lead)
    assert record.timeline.build(None).start_s == ()
    assert {name for name, _ in led.intervals} == {"wlc-0", "mse-0"}
    assert any(stage_of(tag)[1] == "notify.latency" for _, interval in led.intervals for tag in interval.histograms)
    # Interval 0 began when the whole run did, which is years ago here.
    assert min(interval.index for _, interval in led.intervals) > 80_000_000
    assert led.supervisor.epoch_unix_s == pytest.approx(_EPOCH_NS / 1e9)


def test_a_wlc_that_is_not_there_refuses_and_comes_back_at_the_same_address() -> None:
    led = Led(source(users=2, use=Use.SERVE_WLC))

    async def connects(number: int) -> bool:
        try:
            stream = await trio.open_tcp_stream(*led.addresses[number])
        except OSError:
            return False
        await stream.aclose()
        return True

    async def eventually(number: int, *, up: bool) -> None:
        with trio.fail_after(_PATIENCE_S):
            while await connects(number) is not up:
                await trio.lowlevel.checkpoint()

    async def lead() -> None:
        assert not await connects(0)
        await led.begin()
        await led.supervisor.muster(2, 0)
        await eventually(1, up=True)
        await led.supervisor.muster(1, 0)
        await eventually(1, up=False)
        assert await connects(0)
        await led.supervisor.muster(2, 0)
        await eventually(1, up=True)

    assert led.run(lead).complete


def test_numbers_of_two_plans_do_not_meet() -> None:
    plans = [make_job(source(users=3)._replace(first=first), datetime.now(UTC)).plan for first in (0, 65536)]
    macs = [{wlc.mac for wlc in plan.wlcs} | set(plan.mse_macs) for plan in plans]
    assert not macs[0] & macs[1]
    assert plans[0].digest == plans[1].digest
