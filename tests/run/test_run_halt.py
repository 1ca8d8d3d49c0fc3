"""What we end ourselves is no failure: of no session that was being set up when the run ended, nor of the target."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import test_drive_tls_mse as mses
import test_drive_tls_wlc as wlcs
import trio
from drive_samples import equipped
from test_run_users import Led, source

from loadgen.drive.phase import Phase
from loadgen.drive.tls import Shard
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_dial import MseLink
from loadgen.drive.tls_handshakes import HandshakeMseShard, HandshakeWlcShard
from loadgen.loads import LoadKind
from loadgen.measure.books import imbalances
from loadgen.measure.progress import Snapshot
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.nmsp.session import State
from loadgen.prepare.job import make_job
from loadgen.results.figures import make_counters
from loadgen.run.supervisor import Supervisor
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schema import StageTable
from loadgen.transport.tls import EndOfStream
from loadgen.units import Duration

Make = Callable[..., Any]
SETTING_UP = (Phase.CONNECTING, Phase.HANDSHAKING, Phase.SETTING_UP)


@pytest.fixture
def opened() -> Iterator[list[Any]]:
    """What a test has opened, and is closed behind it."""
    made: list[Any] = []
    yield made
    for it in made:
        (it.shut if isinstance(it, Shard) else it.close)()


def failures(counters: Counter[str]) -> dict[str, int]:
    bad = ("sessions.failed", "sessions.lost", "handshakes.failed", "accept.fail", "accept.reject")
    return {name: count for name, count in counters.items() if count and (name in bad or name.startswith("errors."))}


def being_set_up(fleet: mses.Fleet, opened: list[Any]) -> list[MseLink]:
    """One more link in each phase before a session is up."""
    links = []
    for phase in SETTING_UP:
        sock = socket.socket()
        opened.append(sock)
        link = MseLink(sock, fleet.clock(), 0)
        if phase is not Phase.CONNECTING:
            link.tunnel = mses.FakeTunnel()  # type: ignore[assignment]
        fleet.shard.add(link, mses.NEVER_NS, 0)
        if phase is Phase.SETTING_UP:
            fleet.shard.on_tunnel(link, 0)
        link.phase = phase
        links.append(link)
    return links


# -- MSEs --------------------------------------------------------------------------------------------------------------

make = mses.make


def test_sessions_that_do_not_come_up_in_time_are_withdrawn(opened: list[Any], make: Make) -> None:
    fleet = make(use=Use.TARGET_WLC)
    links = being_set_up(fleet, opened)
    fleet.shard.halt()
    fleet.shard.turn([])
    assert not fleet.shard.halted.is_set()  # they have a moment
    assert {link.phase for link in links} == set(SETTING_UP)
    fleet.clock.advance(3)
    fleet.shard.turn([])
    assert fleet.shard.halted.is_set()
    assert {link.phase for link in links} == {Phase.CLOSED}
    assert fleet.recorder.counters["sessions.withdrawn"] == len(links)
    assert fleet.shard.active == mses.LINKS  # the others stay until they are told to finish
    fleet.shard.finish()
    fleet.shard.turn([])
    assert fleet.recorder.counters["sessions.closed"] == mses.LINKS
    assert not failures(fleet.recorder.counters)


def test_wlcs_of_ours_end_first_and_what_they_break_off_is_no_failure(opened: list[Any], make: Make) -> None:
    """A session that is up at their end, and not yet at ours, must not be cut off: what was sent would be lost."""
    fleet = make()
    connecting, handshaking, coming = links = being_set_up(fleet, opened)
    fleet.shard.fault(being_set_up(fleet, opened)[0], "refused")
    assert failures(fleet.recorder.counters) == {"errors.tcp.refused": 1, "sessions.failed": 1}
    fleet.recorder.counters.clear()
    fleet.shard.halt()
    fleet.clock.advance(3)
    fleet.shard.turn([])
    assert fleet.shard.halted.is_set()
    assert {link.phase for link in links} == set(SETTING_UP)
    fleet.shard.fault(connecting, "refused")
    fleet.shard.fault(handshaking, "reset")
    assert coming.tunnel is not None
    coming.tunnel.incoming.append(EndOfStream(orderly=False))  # type: ignore[attr-defined]
    fleet.shard.turn([(coming.fd, select.EPOLLIN)])
    assert {link.phase for link in links} == {Phase.CLOSED}
    assert fleet.recorder.counters["sessions.withdrawn"] == len(links)
    fleet.shard.fault(being_set_up(fleet, opened)[1], "alert_unknown_ca")
    fleet.shard.fault(fleet.links[0], "reset")
    assert failures(fleet.recorder.counters) == {
        "errors.tls.alert_unknown_ca": 1,
        "errors.stream.reset": 1,
        "sessions.failed": 1,
        "sessions.lost": 1,
    }


def test_whoever_is_not_set_up_when_all_wlcs_have_ended_is_withdrawn(opened: list[Any], make: Make) -> None:
    fleet = make()
    links = being_set_up(fleet, opened)
    fleet.shard.finish()
    fleet.shard.turn([])
    assert {link.phase for link in links} == set(SETTING_UP)
    fleet.clock.advance(3)
    fleet.shard.turn([])
    assert fleet.recorder.counters["sessions.withdrawn"] == len(links)
    assert not failures(fleet.recorder.counters)


def test_whoever_has_nothing_under_way_has_halted_at_once(make: Make) -> None:
    fleet = make()
    fleet.shard.halt()
    fleet.shard.halt()
    fleet.shard.turn([])
    assert fleet.shard.halted.is_set()


def test_a_target_that_fails_meanwhile_has_failed(opened: list[Any], make: Make) -> None:
    """Until we give a session up, what becomes of it is its own doing."""
    fleet = make(use=Use.TARGET_WLC)
    links = being_set_up(fleet, opened)
    fleet.shard.halt()
    fleet.shard.turn([])
    fleet.shard.fault(links[1], "alert_unknown_ca")
    fleet.shard.fault(links[2], "closed")
    assert failures(fleet.recorder.counters) == {
        "errors.tls.alert_unknown_ca": 1,
        "errors.session.closed": 1,
        "sessions.failed": 2,
    }


def test_nobody_is_dialed_any_more(make: Make) -> None:
    fleet = make()
    fleet.shard.start_dialing(fleet.clock() + 3600 * 10**9)
    assert fleet.shard.pending() == mses.LINKS
    fleet.shard.halt()
    assert fleet.shard.pending() == 0
    fleet.clock.advance(2 * 3600)  # all of them are due
    fleet.shard.turn([])
    assert fleet.recorder.counters["sessions.attempted"] == 0


@pytest.mark.parametrize("use", [Use.TARGET_WLC, Use.BOTH])
def test_users_that_go_while_they_are_dialed_have_not_failed(opened: list[Any], make: Make, use: Use) -> None:
    """WLCs of ours close what has come up all the same; nobody waits for it."""
    fleet = make(use=use, sessions_per_user=1)
    links = being_set_up(fleet, opened)
    fleet.shard.mses.dialed = len(links)
    fleet.shard.muster(0, fleet.clock(), 0)
    ours = use is Use.BOTH
    assert {link.phase for link in links} == (set(SETTING_UP) if ours else {Phase.CLOSED})
    assert fleet.recorder.counters["sessions.withdrawn"] == (0 if ours else len(links))
    assert fleet.shard.pending() == 0
    assert not failures(fleet.recorder.counters)


# -- WLCs --------------------------------------------------------------------------------------------------------------


def accepted(fleet: wlcs.Fleet, opened: list[Any], phase: Phase, number: int = 0) -> WlcLink:
    """A link that a WLC has accepted, and that is not up yet."""
    sock = socket.socket()
    opened.append(sock)
    now = fleet.clock()
    link = WlcLink(sock, now, number)
    link.tunnel = wlcs.FakeTunnel()  # type: ignore[assignment]
    fleet.shard.add(link, 1 << 62, 0)
    if phase is Phase.SETTING_UP:
        fleet.shard.on_tunnel(link, now)
        assert link.endpoint is not None
        link.endpoint.last_heard_ns = now
    link.phase = phase
    return link


def test_a_stranger_that_gives_up_at_the_end_has_given_up(tmp_path: Path, opened: list[Any]) -> None:
    fleet = wlcs.Fleet(tmp_path / "w.toml", use=Use.SERVE_WLC, mses=1)
    opened += [fleet.shard, *fleet.sockets]
    fleet.shard.halt()
    fleet.shard.fault(accepted(fleet, opened, Phase.HANDSHAKING), "closed")
    assert failures(fleet.recorder.counters) == {"errors.accept.closed": 1, "sessions.failed": 1, "accept.fail": 1}


@pytest.mark.parametrize(("use", "withdrawn"), [(Use.BOTH, 0), (Use.SERVE_WLC, 2)])
def test_wlcs_that_finish_withdraw_what_is_being_set_up(
    tmp_path: Path, opened: list[Any], use: Use, withdrawn: int
) -> None:
    """A session is counted by one side."""
    fleet = wlcs.Fleet(tmp_path / "w.toml", use=use, mses=1)
    opened += [fleet.shard, *fleet.sockets]
    for phase in (Phase.HANDSHAKING, Phase.SETTING_UP):
        accepted(fleet, opened, phase)
    fleet.shard.finish()
    fleet.shard.end_load()
    fleet.shard.close_when_over(fleet.clock())
    assert fleet.recorder.counters["sessions.withdrawn"] == withdrawn
    assert fleet.recorder.counters["accept.withdrawn"] == 1
    assert not failures(fleet.recorder.counters)


def test_a_session_of_a_user_that_went_is_closed_when_it_comes_up_all_the_same(
    tmp_path: Path, opened: list[Any]
) -> None:
    fleet = wlcs.Fleet(tmp_path / "w.toml", mses=1)
    opened += [fleet.shard, *fleet.sockets]
    late = accepted(fleet, opened, Phase.SETTING_UP, number=1)
    fleet.shard.muster(1, fleet.clock(), 0)
    assert late.phase is Phase.SETTING_UP  # our own MSE ends it, when it is told
    assert late.endpoint is not None
    late.endpoint.granted, late.endpoint.session.state = 1, State.ACTIVE
    fleet.shard.activate(late, fleet.clock())
    fleet.shard.on_turn(fleet.clock())
    assert late.phase is Phase.CLOSING
    assert not failures(fleet.recorder.counters)


# -- handshakes --------------------------------------------------------------------------------------------------------


def test_handshakes_that_are_under_way_at_the_end_are_withdrawn(tmp_path: Path, opened: list[Any]) -> None:
    path = tmp_path / "h.toml"
    path.write_text('name = "h"\n[load]\nkind = "handshake"\nconcurrency = 3\nrate = 10\n', "utf-8")
    scenario, profile = load_scenario(path)
    plan = make_plan(scenario, profile)
    mse = HandshakeMseShard(equipped(Role.MSE, plan, profile, Recorder()), [("127.0.0.1", 1)], [])
    listener = socket.socket()
    wlc = HandshakeWlcShard(equipped(Role.WLC, plan, profile, Recorder()), [listener], [])
    opened += [mse, wlc, listener]
    now = time.monotonic_ns()
    mse.start_load(now + 10**15, plan.load.stages)
    pairs: list[tuple[Shard, MseLink | WlcLink]] = []
    for phase in (Phase.HANDSHAKING, Phase.SETTING_UP):
        sockets = socket.socket(), socket.socket()
        opened += sockets
        pairs += [(mse, MseLink(sockets[0], now, 0)), (wlc, WlcLink(sockets[1], now, 0))]
        for shard, link in pairs[-2:]:
            link.tunnel = wlcs.FakeTunnel()  # type: ignore[assignment]
            shard.add(link, 1 << 62, 0)
            link.phase = phase
    mse.halt()
    wlc.halt()
    mse.on_turn(mse.load.stop_at_ns)
    assert not mse.halted.is_set()
    wlc.fault(pairs[3][1], "alert_unknown_ca")
    assert failures(wlc.recorder.counters) == {"errors.close.alert_unknown_ca": 1}
    wlc.recorder.counters.clear()
    mse.on_turn(mse.load.stop_at_ns + 60 * 10**9)
    assert mse.halted.is_set()
    assert not mse.links
    wlc.fault(pairs[1][1], "closed")
    assert mse.recorder.counters["handshakes.withdrawn"] == 2
    assert wlc.recorder.counters["accept.withdrawn"] == 1
    assert not failures(mse.recorder.counters) | failures(wlc.recorder.counters)


def test_handshakes_of_somebody_else_that_went_on_for_long_are_unfinished(tmp_path: Path, opened: list[Any]) -> None:
    path = tmp_path / "handshakes.toml"
    path.write_text('name = "h"\n[load]\nkind = "handshake"\nconcurrency = 3\n', "utf-8")
    scenario, profile = load_scenario(path)
    listener = socket.socket()
    plan = make_plan(scenario, profile, use=Use.SERVE_WLC)
    wlc = HandshakeWlcShard(equipped(Role.WLC, plan, profile, Recorder()), [listener], [])
    opened += [wlc, listener]
    now = 10**15
    wlc.clock = lambda: now
    for age_ns in (10**9, 10**9 + 1, 10**10):
        sock = socket.socket()
        opened.append(sock)
        link = WlcLink(sock, now - age_ns, 0)
        link.tunnel = wlcs.FakeTunnel()  # type: ignore[assignment]
        wlc.add(link, 1 << 62, 0)
        wlc.withdraw(link, now)
    counters = wlc.recorder.counters
    assert (counters["handshakes.withdrawn"], counters["handshakes.unfinished"]) == (3, 2)


# -- whole runs --------------------------------------------------------------------------------------------------------


def booked(counters: Counter[str], kind: LoadKind = LoadKind.NOTIFY) -> dict[str, int]:
    return make_counters(counters, kind, wlc=True, mse=True, complete=True, over=True)


def test_a_run_of_users_that_ends_while_they_are_dialed() -> None:
    """Dialed every thirty milliseconds; the WLCs finish first, because a load is on."""
    led = Led(source(users=100))

    async def lead() -> None:
        await led.begin()
        await led.supervisor.muster(100, 3 * 10**9)
        await led.until(lambda: led.count("sessions.attempted") > 0)

    counters = led.run(lead).merger.counters()
    assert 0 < counters["sessions.attempted"] < 100
    assert not failures(counters)
    assert not imbalances(booked(counters))
    assert counters["notify.sent"] == counters["notify.received"]


@pytest.mark.parametrize("kind", ["notify", "handshake"])
def test_a_run_that_is_interrupted_while_it_dials(kind: str) -> None:
    made = source(users=60)
    stages = (StageTable(hold=Duration(20 * 10**9)),)
    many = 20 if kind == "handshake" else made.scenario.load.concurrency
    load = msgspec.structs.replace(made.scenario.load, kind=kind, concurrency=many, stages=stages)
    mse = msgspec.structs.replace(made.scenario.mse, connect_per_s=10)
    scenario = msgspec.structs.replace(made.scenario, load=load, mse=mse)
    job = make_job(made._replace(scenario=scenario, sessions_per_user=0), datetime.now(UTC))
    supervisors: list[Supervisor] = []

    def watch(snapshot: Snapshot) -> None:
        if snapshot.counters.get("sessions.attempted" if kind == "notify" else "handshakes.attempted"):
            supervisors[0].fleet.interrupted = True
            supervisors[0].fleet.stop()

    supervisors.append(Supervisor(job.plan, job.profile.document, job.keys, job.workers, watch, lambda _: None))
    record = trio.run(supervisors[0].run)
    counters = record.merger.counters()
    assert record.interrupted
    assert not failures(counters)
    assert not imbalances(booked(counters, LoadKind(kind)))
    assert kind == "handshake" or 0 < counters["sessions.attempted"] < 60
