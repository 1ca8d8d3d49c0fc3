"""Whose fault it is that a handshake is late: the peer's only while it holds as many as allowed, and we had time."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drive_samples import VirtualClock, equipped

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.drive.handshake_load import resumes
from loadgen.drive.phase import Phase
from loadgen.drive.tls_dial import DialingShard, MseLink
from loadgen.drive.tls_handshakes import HandshakeMseShard
from loadgen.measure.recorder import Recorder
from loadgen.measure.stages import AFTER
from loadgen.nmsp.messages import Role
from loadgen.results.asked import Asked, shortfalls
from loadgen.scenario.plan import make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport.tls import EndOfStream, TransportFault
from loadgen.units import NEVER_NS, NS_PER_S

SCENARIO = 'name = "h"\n[load]\nkind = "handshake"\nconcurrency = 3\nbacklog = "1m"\n'


class Dialed:
    """Stands for a link that is under way."""

    index = due_ns = 0
    stage = ""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> Iterator[HandshakeMseShard]:
    """One whose handshakes never end, 100 of which are due, while time stands still."""
    path = tmp_path / "h.toml"
    path.write_text(SCENARIO + "rate = 100\n", "utf-8")
    made = _shard(path, clock)

    def dial(number: int, started_ns: int) -> Dialed:
        link = Dialed()
        made.links[1000 + len(made.links)] = link  # type: ignore[assignment]
        return link

    monkeypatch.setattr(made, "dial", dial)
    made.start_load(clock() - NS_PER_S, made.plan.load.stages)
    yield made
    made.links.clear()
    made.shut()


def _shard(path: Path, clock: Nanoseconds = MONOTONIC) -> HandshakeMseShard:
    scenario, profile = load_scenario(path)
    plan = make_plan(scenario, profile)
    return HandshakeMseShard(equipped(Role.MSE, plan, profile, Recorder(), clock=clock), [("127.0.0.1", 1)], [])


def late_turn(shard: HandshakeMseShard, clock: VirtualClock) -> None:
    """A turn that has no time for what it has to do: a second goes by before it looks."""
    began_ns = clock()
    clock.advance(1)
    shard.on_turn(began_ns)


def test_what_waits_for_those_under_way_is_held_up(shard: HandshakeMseShard, clock: VirtualClock) -> None:
    shard.on_turn(clock())
    assert len(shard.links) == 3
    assert shard.load.held_up
    lag = shard.recorder.bins("generator.lag").take()
    assert lag is not None
    assert lag.count == 3
    shard.links.clear()
    shard.on_turn(clock())
    assert shard.recorder.bins("handshake.lag").take().count == 6  # type: ignore[union-attr]
    assert shard.recorder.bins("generator.lag").take() is None


def test_without_time_to_dial_nobody_else_is_to_blame(shard: HandshakeMseShard, clock: VirtualClock) -> None:
    shard.load.held_up = True
    late_turn(shard, clock)
    assert not shard.links
    assert not shard.load.held_up


def test_our_own_lateness_begins_when_the_peer_let_a_place_go(shard: HandshakeMseShard, clock: VirtualClock) -> None:
    """A hundred wait since a second; when all places are free again, the first turn has no time to dial."""
    shard.on_turn(clock())
    shard.recorder.bins("generator.lag").take()
    shard.links.clear()
    late_turn(shard, clock)
    assert not shard.links
    shard.on_turn(clock())
    assert len(shard.links) == 3
    own = shard.recorder.bins("generator.lag").take()
    assert own is not None
    assert own.count == 3
    assert own.max_ns == pytest.approx(NS_PER_S, rel=0.01)  # that turn's; and not the second before
    # What waited for a place while it was due is not dropped for us, either.
    shard.links.clear()
    shard.on_turn(clock() + 2 * 60 * NS_PER_S)
    assert shard.totals(clock())["handshakes.dropped"] > 0
    assert shard.totals(clock())["generator.shortfall"] < shard.totals(clock())["handshakes.dropped"]


def test_without_time_for_those_under_way_nobody_else_is_to_blame(
    shard: HandshakeMseShard, clock: VirtualClock
) -> None:
    shard.handshakes_wait = True
    shard.on_turn(clock())
    assert len(shard.links) == 3
    assert not shard.load.held_up


def test_as_fast_as_it_goes_rests_when_dialing_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h.toml"
    path.write_text(SCENARIO, "utf-8")
    shard = _shard(path, VirtualClock())
    now = shard.clock()

    def dial(number: int, started_ns: int) -> Dialed:
        raise TransportFault("no_local_port")

    monkeypatch.setattr(shard, "dial", dial)
    shard.start_load(now, shard.plan.load.stages)
    shard.on_turn(now)
    assert shard.recorder.counters["handshakes.attempted"] == shard.recorder.counters["errors.tcp.no_local_port"] == 1
    assert shard.next_wake_ns(now) > now + 5_000_000
    shard.on_turn(now)
    assert shard.recorder.counters["handshakes.attempted"] == 1
    shard.shut()


@pytest.mark.parametrize("orderly", [True, False])
@pytest.mark.parametrize(
    ("pace", "done_s", "share", "took_s"), [("", 1.5, 0.2 / 0.7, 0.2), ("", 0.9, 1, 0.1), ("rate = 100\n", 1.5, 0, 0)]
)
def test_as_fast_as_it_goes_a_stage_has_its_share_of_what_went_on_in_it(
    tmp_path: Path, *, orderly: bool, pace: str, done_s: float, share: float, took_s: float
) -> None:
    path = tmp_path / "h.toml"
    path.write_text(SCENARIO + pace, "utf-8")
    shard = _shard(path, lambda: int(done_s * NS_PER_S))
    shard.recorder.stages.add(["hold", AFTER], [0, 1_000_000_000])
    with socket.socket() as sock:
        link = MseLink(sock, 0, 0)
        link.stage, link.due_ns = "hold", 800_000_000
        shard.on_gone(link, Phase.SETTING_UP, orderly=orderly)
    waits = shard.recorder.take(0).waits
    found = {name: sum(waited.sums) / NS_PER_S for name, waited in waits.items()}
    assert found.get("hold/share first handshake", 0) == pytest.approx(share if orderly else 0)
    assert found.get("hold/first took handshake", 0) == pytest.approx(took_s)
    assert found.keys() <= {"hold/share first handshake", "hold/first took handshake"}
    shard.shut()


@pytest.mark.parametrize("sessions", [1, 2, 3, 20, 2000])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_every_pair_resumes_its_share(sessions: int, share: float) -> None:
    """Not half of the pairs always and the other half never, whatever their number."""
    turns = 40
    table = [[resumes(turn * sessions + pair, sessions, share) for pair in range(sessions)] for turn in range(turns)]
    for pair in range(sessions):
        assert abs(sum(row[pair] for row in table) - turns * share) <= 1
    for row in table:
        assert abs(sum(row) - sessions * share) <= 1


class Target:
    """Gives a ticket for every handshake or for none, and takes one in so many of those that it is offered."""

    def __init__(self, *, gives: bool, takes: int = 1) -> None:
        self.gives, self.takes = gives, takes
        self.offers = 0


class Resuming:
    """Stands for a client's tunnel at such a target."""

    broken = ""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.resumed = False

    def resume(self, ticket: object) -> None:
        assert ticket == "ticket"
        self.resumed = self._target.offers % self._target.takes == 0
        self._target.offers += 1

    def ticket(self) -> str | None:
        return "ticket" if self._target.gives else None

    def close_notify(self) -> bool:
        return True


def _shake(shard: HandshakeMseShard, index: int, *, done: bool = True) -> None:
    link = MseLink(socket.socket(), 0, index % len(shard.sessions))
    link.index = index
    link.tunnel = shard.new_tunnel(link)
    link.socket.close()
    if done:
        shard.on_tunnel(link, 0)


@pytest.fixture
def resuming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Target], HandshakeMseShard]:
    """With TLS 1.2: a handshake is done when our side of it is."""

    def make(added: str, target: Target) -> HandshakeMseShard:
        path = tmp_path / "h.toml"
        path.write_text(SCENARIO + added + '[tls]\nversion = "1.2"\n', "utf-8")
        shard = _shard(path)
        monkeypatch.setattr(DialingShard, "new_tunnel", lambda _self, _link: Resuming(target))
        monkeypatch.setattr(shard, "end", lambda _link, *, orderly: None)
        return shard

    return make


@pytest.mark.parametrize(
    ("target", "offered", "resumed", "grave"),
    [
        (Target(gives=True), 60, 60, None),
        (Target(gives=True, takes=2), 60, 30, True),
        (Target(gives=False), 0, 0, True),
    ],
    ids=["all", "half", "no tickets"],
)
def test_what_is_asked_to_resume_is_offered_as_far_as_it_can_be(
    resuming: Callable[[str, Target], HandshakeMseShard], target: Target, offered: int, resumed: int, grave: bool | None
) -> None:
    """Half of the handshakes of six sessions, but for the first of each: that is the target's to make possible."""
    shard = resuming("resumed = 0.5\n[mse]\ncount = 6\n", target)
    for index in range(6 + 120):
        _shake(shard, index)
    counters = shard.recorder.counters
    assert counters["handshakes.resumption_asked"] == 60
    assert counters["handshakes.resumption_offered"] == offered
    assert counters["handshakes.resumed"] == resumed
    short = shortfalls(Asked(), 0.0, counters, ())
    assert [shortfall.grave for shortfall in short] == ([] if grave is None else [grave])
    shard.shut()


def test_handshakes_that_begin_before_any_is_done_are_not_asked(
    resuming: Callable[[str, Target], HandshakeMseShard],
) -> None:
    shard = resuming("resumed = 1\n", Target(gives=True))
    for index in range(3):
        _shake(shard, index, done=False)
    assert shard.recorder.counters["handshakes.resumption_asked"] == 0
    _shake(shard, 3)
    _shake(shard, 4)
    assert shard.recorder.counters["handshakes.resumption_asked"] == shard.recorder.counters["handshakes.resumed"] == 1
    shard.shut()


class Hello:
    """Stands for a client's tunnel whose own side of the handshake is done."""

    resumed = refused = False
    broken = ""
    ends: TransportFault

    def waiting(self) -> None:
        """The kernel does not tell."""

    def read_into(self, view: memoryview) -> int:
        raise self.ends

    def segments(self) -> None:
        return None

    def close_notify(self) -> bool:
        return True

    def hang_up(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("resumed", [False, True])
def test_with_tls_1_3_only_who_was_let_in_has_the_times_of_a_handshake(tmp_path: Path, *, resumed: bool) -> None:
    """Two of three are refused after their own side was done; the third one's times end when TLS was done."""
    path = tmp_path / "h.toml"
    path.write_text(SCENARIO + f'rate = 100\nresumed = {int(resumed)}\n[tls]\nversion = "1.3"\n', "utf-8")
    shard = _shard(path)
    for index in range(3):
        link = MseLink(socket.socket(), 5_000, 0)
        link.tunnel = Hello()  # type: ignore[assignment]
        link.tunnel.resumed = resumed  # type: ignore[misc,union-attr]
        link.tunnel.ticket = lambda: None  # type: ignore[method-assign,union-attr]
        link.due_ns, link.tls_started_ns, link.phase = 2_000, 6_000, Phase.SETTING_UP
        shard.add(link, NEVER_NS, 0)
        shard.on_tunnel(link, 10_000)
        if index:
            shard.fault(link, "alert_unknown_ca")
        else:
            shard.on_end_of_stream(link, orderly=True)
        link.socket.close()
    counters = shard.recorder.counters
    assert (counters["handshakes.completed"], counters["handshakes.failed"]) == (1, 2)
    assert counters["errors.tls.alert_unknown_ca"] == 2
    of_tls = ("handshake.tls", "handshake.tls_resumed")[resumed]
    for metric, ns in ((of_tls, 4_000), ("handshake.service", 5_000), ("handshake.latency", 8_000)):
        histogram = shard.recorder.bins(metric).take()
        assert histogram is not None, metric
        assert histogram.count == 1, metric
        assert abs(histogram.summary().max - ns) <= ns / 1000, metric
    assert shard.recorder.bins(("handshake.tls_resumed", "handshake.tls")[resumed]).take() is None
    shard.shut()


@pytest.mark.parametrize("broken", ["", "reset"])
def test_with_tls_1_2_a_server_that_has_let_us_in_and_broken_off_is_told_of(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "h.toml"
    path.write_text(SCENARIO + 'rate = 100\n[tls]\nversion = "1.2"\n', "utf-8")
    shard = _shard(path)
    link = MseLink(socket.socket(), 5_000, 0)
    link.tunnel = Hello()  # type: ignore[assignment]
    link.tunnel.broken = broken  # type: ignore[misc,union-attr]
    link.tunnel.ticket = lambda: None  # type: ignore[method-assign,union-attr]
    link.due_ns, link.tls_started_ns, link.phase = 2_000, 6_000, Phase.SETTING_UP
    shard.add(link, NEVER_NS, 0)
    shard.on_tunnel(link, 10_000)
    link.socket.close()
    counters = shard.recorder.counters
    assert (counters["handshakes.completed"], counters["handshakes.failed"]) == (1, 0)
    assert counters["errors.close.reset"] == (broken == "reset")
    shard.shut()


NOTIFIED, JUST_ENDED, RESET = EndOfStream(orderly=True), EndOfStream(orderly=False), TransportFault("reset")


@pytest.mark.parametrize(
    ("end", "ticket", "done", "error"),
    [
        (NOTIFIED, False, 1, ""),
        (JUST_ENDED, True, 1, ""),
        (JUST_ENDED, False, 0, "closed_without_notify"),
        (RESET, True, 1, ""),
        (RESET, False, 0, "reset"),
        (TransportFault("alert_unknown_ca"), True, 0, "alert_unknown_ca"),
    ],
    ids=str,
)
def test_with_tls_1_3_a_connection_that_just_ends_has_let_nobody_in_but_behind_a_ticket(
    tmp_path: Path, end: TransportFault, error: str, *, ticket: bool, done: int
) -> None:
    path = tmp_path / "h.toml"
    path.write_text(SCENARIO + 'rate = 100\n[tls]\nversion = "1.3"\n', "utf-8")
    shard = _shard(path)
    link = MseLink(socket.socket(), 5_000, 0)
    link.tunnel = Hello()  # type: ignore[assignment]
    link.tunnel.ticket = lambda: object() if ticket else None  # type: ignore[method-assign,union-attr]
    link.due_ns, link.tls_started_ns, link.phase = 2_000, 6_000, Phase.SETTING_UP
    shard.add(link, NEVER_NS, 0)
    shard.on_tunnel(link, 10_000)
    link.tunnel.ends = end  # type: ignore[union-attr]
    shard.turn([(link.fd, select.EPOLLIN)])
    link.socket.close()
    counters = shard.recorder.counters
    assert (counters["handshakes.completed"], counters["handshakes.failed"]) == (done, 1 - done)
    assert [name for name in counters if name.startswith("errors.")] == ([f"errors.tls.{error}"] if error else [])
    shard.shut()
