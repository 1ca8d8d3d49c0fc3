"""How many sessions are set up at once, in virtual time: peers that are saturated, far away, or never heard of."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from drive_samples import VirtualClock, equipped

from loadgen.drive.mse_sessions import MseSessions
from loadgen.drive.peers import Peer
from loadgen.drive.phase import HANDSHAKING, Phase
from loadgen.drive.under_way import UnderWay
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.results.asked import Asked, shortfalls
from loadgen.results.health import Dialing, MachineHealth, Verdict, WorkerHealth, judge
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.session.mse import MseEndpoint
from loadgen.units import NS_PER_MS, NS_PER_S

TIMEOUT_NS = 10 * NS_PER_S
ADDRESSES = [("192.0.2.7", 16113)]

# When a handshake that begins now is done, after so many before it.
Peers = Callable[[int], int]


class Link(NamedTuple):
    """Of a session in this test: no socket."""

    number: int
    endpoint: MseEndpoint
    tls_ns: int
    phase: Phase = HANDSHAKING
    peer: Peer | None = None
    notifications: int = 0


class Outcome(NamedTuple):
    """Args: most: that were ever under way at once. longest_ns: from dialed until up."""

    recorder: Recorder
    dialing: Dialing
    most: int
    longest_ns: int
    took_ns: int


class Saturated:
    """One after the other."""

    def __init__(self, per_s: float) -> None:
        self._each_ns, self._free_ns = int(NS_PER_S / per_s), 0

    def __call__(self, now_ns: int) -> int:
        self._free_ns = max(self._free_ns, now_ns) + self._each_ns
        return self._free_ns


def far(now_ns: int) -> int:
    """As many at once as there are, each with an answer of AAA's that takes its time."""
    return now_ns + 1310 * NS_PER_MS


def sessions_of(
    tmp_path: Path, sessions: int, per_s: int, use: Use, clock: VirtualClock
) -> tuple[MseSessions[MseEndpoint], Recorder]:
    """Of one WLC, dialed from now on."""
    path = tmp_path / "u.toml"
    path.write_text(f'name = "u"\n[mse]\ncount = {sessions}\nconnect_per_s = {per_s}\n[load]\nrate = 1\n', "utf-8")
    scenario, profile = load_scenario(path)
    plan = make_plan(scenario, profile, use=use, targets=[] if use.plays_wlc else ADDRESSES)
    recorder = Recorder()
    mses = MseSessions(equipped(Role.MSE, plan, profile, recorder, clock=clock), ADDRESSES, MseEndpoint)
    mses.start_dialing(clock(), 0)
    return mses, recorder


def dialed(tmp_path: Path, sessions: int, per_s: int, peers: Peers, use: Use = Use.BOTH) -> Outcome:
    """Dial all, in ticks of a millisecond, until each is up."""
    clock = VirtualClock()
    began_ns = clock()
    mses, recorder = sessions_of(tmp_path, sessions, per_s, use, clock)
    coming: list[tuple[int, int, int]] = []  # when it is up, its number, and when it was dialed
    most = longest_ns = 0
    while recorder.counters["sessions.established"] < sessions:
        while coming and coming[0][0] <= clock():
            done_ns, number, from_ns = heapq.heappop(coming)
            longest_ns = max(longest_ns, done_ns - from_ns)
            endpoint = mses.new_endpoint(number, from_ns, clock())
            mses.came_up(Link(number, endpoint, clock() - from_ns), clock())
        for number in mses.to_dial(clock(), 64, (), behind=False):
            mses.shakes(number)
            heapq.heappush(coming, (peers(clock()), number, clock()))
        most = max(most, len(mses.under_way))
        clock.advance(0.001)
        assert clock() < began_ns + 600 * NS_PER_S
    return Outcome(recorder, mses.dialing, most, longest_ns, clock() - began_ns)


def p50(outcome: Outcome, metric: str) -> int:
    histogram = outcome.recorder.bins(metric).take()
    assert histogram is not None
    (value,) = histogram.percentiles(50.0)
    assert value is not None
    return value


def test_more_than_can_be_done_are_late_and_none_times_out(tmp_path: Path) -> None:
    """30,000 at 20,000/s, of which 1,000/s can be done: with no bound the last would have waited for half a minute."""
    outcome = dialed(tmp_path, 30_000, 20_000, Saturated(1_000))
    assert outcome.most <= 128
    assert outcome.longest_ns < NS_PER_S // 5
    assert outcome.took_ns < 31 * NS_PER_S  # it is kept busy
    assert outcome.dialing.reached_per_s == pytest.approx(1_000, rel=0.02)
    assert outcome.dialing.planned_per_s == pytest.approx(20_000, rel=0.001)
    assert outcome.dialing.own_ns > 28 * NS_PER_S
    latency_ns = p50(outcome, "handshake.latency")
    assert latency_ns == pytest.approx(14.25 * NS_PER_S, rel=0.03)  # from due on
    assert p50(outcome, "handshake.lag") == pytest.approx(latency_ns, rel=0.02)
    assert p50(outcome, "handshake.tls") < NS_PER_S // 5


def test_a_slow_peer_is_asked_for_less_at_once(tmp_path: Path) -> None:
    """An old controller: 15 a second. What waits for it is not more than fits into the time for being set up."""
    outcome = dialed(tmp_path, 600, 250, Saturated(15), Use.TARGET_WLC)
    assert outcome.longest_ns < TIMEOUT_NS
    assert outcome.took_ns < 41 * NS_PER_S
    assert outcome.dialing.own_ns == 0  # it was for the peer
    assert outcome.dialing.late_ns > 30 * NS_PER_S


def test_a_peer_that_takes_its_time_gets_all_that_it_takes(tmp_path: Path) -> None:
    """As a 3850 does: 1.3 s for each, however many there are. Nobody is saturated, and so nothing is our doing."""
    outcome = dialed(tmp_path, 3_000, 250, far)
    assert outcome.most > 250 * 1.3
    assert outcome.longest_ns == pytest.approx(1310 * NS_PER_MS, rel=0.01)
    assert outcome.took_ns < (3_000 / 250 + 1.31 + 0.5) * NS_PER_S
    assert outcome.dialing.own_ns == 0
    assert outcome.dialing.late_ns < 1.2 * NS_PER_S


def test_what_a_machine_can_do_is_not_late(tmp_path: Path) -> None:
    outcome = dialed(tmp_path, 2_000, 500, Saturated(1_000))
    assert outcome.dialing.late_ns < 2 * NS_PER_MS
    assert outcome.most < 5


def test_without_time_nobody_is_dialed_and_that_is_our_doing(tmp_path: Path) -> None:
    clock = VirtualClock()
    mses, _ = sessions_of(tmp_path, 100, 1_000, Use.TARGET_WLC, clock)
    clock.advance(2)
    assert list(mses.to_dial(clock(), 0, (), behind=True)) == []
    assert mses.dialing.own_ns == 0
    clock.advance(1)
    assert list(mses.to_dial(clock(), 64, (), behind=False)) == list(range(64))
    assert mses.dialing.own_ns == mses.dialing.late_ns == 3 * NS_PER_S  # of the first, which was due at once


def test_those_that_never_answer_do_not_keep_others_for_ever() -> None:
    """After the time for being set up more are begun: nobody here is busy."""
    under_way = UnderWay(TIMEOUT_NS)
    for number in range(under_way.most):
        under_way.begins(number, number * NS_PER_MS)
    assert under_way.full
    before = under_way.most
    for number in range(before):
        under_way.ends(number, TIMEOUT_NS + number * NS_PER_MS, up=False)
    assert len(under_way) == 0
    assert not under_way.crowded
    assert under_way.most >= 16


def test_one_that_had_not_begun_ends_nothing() -> None:
    under_way = UnderWay(TIMEOUT_NS)
    under_way.ends(7, NS_PER_S, up=True)
    assert under_way.most == 128


def test_a_refusal_tells_nothing_of_what_a_session_takes() -> None:
    under_way = UnderWay(TIMEOUT_NS)
    for number in range(100):
        under_way.begins(number, 0)
    under_way.ends(0, NS_PER_S, up=True)
    most = under_way.most
    under_way.ends(1, 2, up=False)
    assert under_way.most == most
    assert not under_way.crowded


@pytest.mark.parametrize(
    ("own_ns", "late_ns", "verdict"),
    [
        (0, 5 * NS_PER_S, Verdict.VALID),
        (NS_PER_S // 5, NS_PER_S // 5, Verdict.VALID),
        (5 * NS_PER_S, 5 * NS_PER_S, Verdict.DEGRADED),
    ],
)
def test_the_generator_says_how_far_it_came(own_ns: int, late_ns: int, verdict: Verdict) -> None:
    dialing = Dialing(sessions=5_000, planned_ns=NS_PER_S, late_ns=late_ns, own_ns=own_ns)
    health = WorkerHealth("mse-0", 1.0, 1.0, 0, 0, 0, dialing=dialing)
    judged = judge([health], MachineHealth(), {})
    assert judged.generator is verdict
    if verdict is Verdict.DEGRADED:
        assert judged.limiting == "mse-0 dialed 833 of 5,000 sessions/s: no time for more, 5.00 s late"


def test_a_peer_that_held_dialing_up_is_told_of() -> None:
    late_ns = 4 * NS_PER_S
    theirs, ours = Dialing(1_000, NS_PER_S, late_ns, 0), Dialing(1_000, NS_PER_S, late_ns, late_ns)
    (told,) = shortfalls(Asked(), 1.0, {}, [], dialings=[theirs, theirs, ours])
    assert told.what == "400 of 2,000 sessions/s were dialed: others were still being set up, up to 4.00 s"
    assert told.theirs
    assert not told.grave
    assert shortfalls(Asked(), 1.0, {}, [], dialings=[ours, Dialing()]) == ()
