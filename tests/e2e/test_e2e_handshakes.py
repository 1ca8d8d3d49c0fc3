"""Handshake-only load, both sides and each side alone: the books balance whatever the peer does."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from e2e_loadgen import (
    PATIENCE_S,
    Ended,
    Identities,
    Running,
    Start,
    eventually,
    new_identities,
    process_is_gone,
    side_by_side,
)
from e2e_peers import FakeMse, FakeWlc, WlcSession, make_certificate, reset, until_closed
from ports import free_port, is_listening

from loadgen.measure.hlog import read_hlog_untrusted

pytestmark = pytest.mark.long
# Sessions: 3 WLCs with 2 MSEs each. An override adds what a test is about; without a rate, it goes as fast as it can.
SHAKE = """
name = "shake"
[wlc]
count = 3
listen = "127.77.50.1:0"
step = "port"
[mse]
count = 2
[load]
kind = "handshake"
stages = [{ hold = "500ms" }]
"""
_SESSIONS = 6
_VERSIONS = ("1.2", "1.3")
_TLS = [f"{version} {key}" for version in _VERSIONS for key in ("p256", "rsa-2048")]
# One handshake at a time: then the ticket of each is there before the next one of its pair begins, at any speed.
_ONE_AT_A_TIME = ("load.concurrency=1",)

Behave = Callable[[WlcSession], object]


def options_of(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def version_of(version: str) -> str:
    return f'tls.version="{version}"'


def shake_in(folder: Path) -> Path:
    path = folder / "shake.toml"
    path.write_text(SHAKE, "utf-8")
    return path


@pytest.fixture
def shake(tmp_path: Path) -> Path:
    return shake_in(tmp_path)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    """An auth list that none of our MSEs is on."""
    return new_identities(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("fake") / "wlc.pem")


def counts(ended: Ended) -> dict[str, int]:
    """How many durations of each metric were recorded."""
    return {name: metric["count"] for name, metric in ended.result["metrics"].items()}


def handshakes(ended: Ended, *names: str) -> tuple[int, ...]:
    return tuple(ended.counters[f"handshakes.{name}"] for name in names)


def check_books(ended: Ended) -> None:
    """Of every run that plays MSEs, whatever happened in it."""
    attempted, completed, failed, resumed = handshakes(ended, "attempted", "completed", "failed", "resumed")
    assert attempted == completed + failed + ended.counters["handshakes.withdrawn"]
    assert resumed <= completed
    if "handshakes.due" in ended.counters:
        due, dropped = handshakes(ended, "due", "dropped")
        assert due == attempted + dropped
        assert ended.counters["generator.shortfall"] <= dropped
    assert not any(name.startswith(("sessions.", "notify.", "echo.", "messages.")) for name in ended.counters)
    assert ended.result["kind"] == "handshake"


def check_all_completed(ended: Ended, due: int) -> None:
    """A paced run in which nothing went wrong: everything was tried, everything came about, and all was measured."""
    ended.check_passed()
    check_books(ended)
    assert handshakes(ended, "due", "attempted", "completed", "failed", "dropped") == (due, due, due, 0, 0)
    assert ended.errors == {}
    assert ended.counters["generator.shortfall"] == 0
    found = counts(ended)
    for name in ("handshake.tcp", "handshake.latency", "handshake.lag"):
        assert found[name] == due, name
    resumed = ended.counters["handshakes.resumed"]
    assert found.get("handshake.tls", 0) == due - resumed
    assert found.get("handshake.tls_resumed", 0) == resumed
    assert set(ended.result["rates"]) == {"handshake.completed_per_s"}
    assert ended.result["rates"]["handshake.completed_per_s"] > 0


def check_unpaced(ended: Ended) -> None:
    """As fast as it goes, nothing was due: so nothing was late or dropped, and no figure says that it was 0."""
    ended.check_passed()
    check_books(ended)
    attempted, completed, failed = handshakes(ended, "attempted", "completed", "failed")
    assert attempted == completed > 0
    assert failed == 0
    assert ended.errors == {}
    assert {"handshakes.due", "handshakes.dropped", "generator.shortfall"}.isdisjoint(ended.counters)
    found = counts(ended)
    assert {"handshake.latency", "handshake.lag", "generator.lag", "handshake.session"}.isdisjoint(found)
    assert found["handshake.tcp"] == completed
    assert found.get("handshake.tls", 0) + found.get("handshake.tls_resumed", 0) == completed
    assert ended.result["rates"]["handshake.completed_per_s"] > 0


def resumed_of(handshakes: int, sessions: int, share: float) -> int:
    """What docs/scenario.md promises, counted one by one for a worker that has all sessions."""
    ranks = [turn + pair for turn in range(1, -(-handshakes // sessions)) for pair in range(sessions)]
    ranks = ranks[: handshakes - sessions]  # without the first of each pair, which is a full one
    return sum(int((rank + 1) * share) > int(rank * share) for rank in ranks)


# -- both sides --------------------------------------------------------------------------------------------------------

BATCH: dict[str, list[str]] = {
    **{name: options_of("load.rate=100", version_of(name.split()[0]), f"tls.key={name.split()[1]}") for name in _TLS},
    "fast": options_of(version_of("1.2")),
    **{
        f"one by one {version} {share}": options_of(version_of(version), f"load.resumed={share}", *_ONE_AT_A_TIME)
        for version, share in (("1.2", 0.3), ("1.3", 1))
    },
    # The gap between the first two of a pair is 200 ms: time enough for the ticket to come.
    **{
        f"at a rate {version} {share}": options_of(version_of(version), f"load.resumed={share}", "load.rate=30")
        for version, share in (("1.2", 1), ("1.3", 0.5))
    },
    "2 workers": [*options_of("load.rate=101"), "--workers", "2"],
    "2 workers resumed": [*options_of("load.resumed=1", "load.concurrency=2"), "--workers", "2"],
    "stages": [
        *options_of("load.rate=100", 'load.stages=[{ramp="400ms"}, {hold="5s"}]', "mse.assign=round-robin"),
        *("--duration", "300ms", "--threshold", "handshakes.completed == 50"),
        *("--threshold", "handshake.latency.count > 50", "--threshold", "sessions.failed == 0"),
    ],
    # Workers without a session, and workers without a turn.
    "fewer sessions than workers": [
        *options_of("load.rate=20", "mse.assign=[{ mse = 0, wlc = [0] }]"),
        *("--workers", "2"),
    ],
    "less at once than workers": [
        *options_of("load.rate=20", "load.concurrency=1", "load.backlog=300ms"),
        *("--workers", "2"),
    ],
}


@pytest.fixture(scope="module")
def batch(start_shared: Start, tmp_path_factory: pytest.TempPathFactory, strangers: Identities) -> dict[str, Ended]:
    """Runs of both sides that several tests look at."""
    scenario = tmp_path_factory.mktemp("batch") / "shake.toml"
    scenario.write_text(SHAKE, "utf-8")
    refused = ("load.rate=40", "load.resumed=1", f'wlc.auth_list="{strangers.auth_list}"')
    runs = BATCH | {f"refused {version}": options_of(*refused, version_of(version)) for version in _VERSIONS}

    def made(options: list[str]) -> Callable[[], Ended]:
        workers = () if "--workers" in options else ("--workers", "1")
        return lambda: start_shared("run", scenario, *workers, *options).end()

    return side_by_side({name: made(options) for name, options in runs.items()})


class TestBothSides:
    """No stranger is involved: nothing may go wrong."""

    @pytest.mark.parametrize("name", _TLS)
    def test_at_a_rate(self, batch: dict[str, Ended], name: str) -> None:
        check_all_completed(batch[name], 50)
        assert batch[name].counters["handshakes.resumed"] == 0
        plan = json.loads((batch[name].folder / "plan.json").read_text("utf-8"))
        assert f"{plan['tls']['version']} {plan['tls']['key']}" == name
        assert (plan["load"]["kind"], plan["load"]["paced"], plan["load"]["concurrency"]) == ("handshake", True, 1000)

    def test_as_fast_as_it_goes(self, batch: dict[str, Ended]) -> None:
        ended = batch["fast"]
        check_unpaced(ended)
        assert ended.counters["handshakes.resumed"] == 0
        assert ended.counters["handshakes.completed"] > _SESSIONS
        plan = json.loads((ended.folder / "plan.json").read_text("utf-8"))
        assert (plan["load"]["paced"], plan["load"]["concurrency"]) == (False, 64)

    @pytest.mark.parametrize(("version", "share"), [("1.2", 0.3), ("1.3", 1)])
    def test_as_many_are_resumed_as_the_share_says(self, batch: dict[str, Ended], version: str, share: float) -> None:
        ended = batch[f"one by one {version} {share}"]
        check_unpaced(ended)
        completed, resumed = handshakes(ended, "completed", "resumed")
        assert completed > 2 * _SESSIONS
        assert resumed == resumed_of(completed, _SESSIONS, share)
        assert counts(ended).get("handshake.tls_resumed", 0) == resumed

    @pytest.mark.parametrize(("version", "share"), [("1.2", 1), ("1.3", 0.5)])
    def test_resumed_at_a_rate(self, batch: dict[str, Ended], version: str, share: float) -> None:
        ended = batch[f"at a rate {version} {share}"]
        check_all_completed(ended, 15)
        resumed, asked = handshakes(ended, "resumed", "resumption_asked")
        # All of them that can: on a busy machine, a pair's second may begin before its first is done.
        assert 0 < resumed == asked <= resumed_of(15, _SESSIONS, share)

    def test_two_workers_share_the_schedule(self, batch: dict[str, Ended]) -> None:
        ended = batch["2 workers"]
        check_all_completed(ended, 51)  # 50.5, and slot 0 is due when the load begins
        assert [worker["worker"] for worker in ended.result["workers"]] == ["wlc-0", "wlc-1", "mse-0", "mse-1"]

    def test_two_workers_resume(self, batch: dict[str, Ended]) -> None:
        """Each has tickets for its own pairs, and does them one at a time: all but the first of each resume."""
        check_unpaced(batch["2 workers resumed"])
        completed, resumed = handshakes(batch["2 workers resumed"], "completed", "resumed")
        assert resumed == completed - _SESSIONS > 0

    def test_stages_and_thresholds(self, batch: dict[str, Ended]) -> None:
        ended = batch["stages"]
        check_books(ended)
        assert handshakes(ended, "due", "completed") == (20 + 30, 20 + 30)
        # 4, should this machine have been busy, weighs more.
        assert ended.code in (1, 4)
        met, missed, absent = ended.result["thresholds"]
        assert (met["status"], met["figure"]) == ("passed", 50)
        assert (missed["status"], missed["figure"]) == ("failed", 30)  # of the hold
        # Never a silent pass: nobody counted sessions.
        assert (absent["status"], absent["figure"]) == ("error", None)

    def test_files_and_summary(self, batch: dict[str, Ended]) -> None:
        ended = batch["1.2 p256"]
        assert {path.name for path in ended.folder.iterdir()} >= {"plan.json", "result.json", "histograms.hlog"}
        hlog = (ended.folder / "histograms.hlog").read_text("ascii")
        for name in counts(ended):
            # WLCs do not know when a handshake was due.
            assert f"Tag={'' if name == 'generator.accept_lag' else 'hold/'}{name}," in hlog
        assert "handshake.latency" in ended.stdout
        assert "notif" not in ended.stdout

    def test_more_workers_than_sessions(self, batch: dict[str, Ended]) -> None:
        """An assignment may leave a worker without one; there is nothing to do for it, and that is no reason to die."""
        check_all_completed(batch["fewer sessions than workers"], 10)

    def test_more_workers_than_concurrency(self, batch: dict[str, Ended]) -> None:
        """Each takes a few ms and one is due every 50 ms: one at once is plenty, on whichever worker it is."""
        ended = batch["less at once than workers"]
        check_books(ended)
        assert handshakes(ended, "due", "dropped") == (10, 0)


@pytest.mark.parametrize("version", _VERSIONS)
def test_an_mse_that_is_refused(batch: dict[str, Ended], version: str) -> None:
    """With TLS 1.3 the client's handshake is over before the server has seen the certificate; it has failed even so."""
    ended = batch[f"refused {version}"]
    check_books(ended)
    assert ended.code == 3, ended.stderr
    assert ended.result["verdict"]["outcome"] == "no handshake completed"
    assert "no handshake completed" in ended.stdout.lower()
    assert handshakes(ended, "due", "attempted", "completed", "failed", "resumed") == (20, 20, 0, 20, 0)
    assert ended.errors["errors.accept.key_hash_not_listed"] == 20
    assert "handshake.completed_per_s" not in ended.result["rates"]
    told = {name: count for name, count in ended.errors.items() if not name.startswith("errors.accept.")}
    assert sum(told.values()) == 20
    assert all(name.startswith("errors.tls.") for name in told), told
    assert any(name.startswith("errors.tls.alert_") for name in told), told


# -- we are the MSEs ---------------------------------------------------------------------------------------------------


def meet(start: Start, scenario: Path, wlc: FakeWlc | str, *overrides: str, workers: int = 1) -> Running:
    """Our MSEs at somebody else's WLC."""
    address = wlc if isinstance(wlc, str) else wlc.address
    return start("run", scenario, "--target", f"wlc={address}", "--workers", workers, *options_of(*overrides))


def polite(session: WlcSession) -> None:
    """Waits for the MSE's goodbye; FakeWlc says it back."""
    session.until_closed()


def silent(sock: socket.socket) -> None:
    """Below TLS."""
    until_closed(sock.recv)


def resets(sock: socket.socket) -> None:
    """Once the handshake has begun."""
    sock.recv(1)
    reset(sock)


def slow(session: WlcSession) -> None:
    """Answers a goodbye after this long: no wait of the test, but how this peer is."""
    session.until_closed()
    threading.Event().wait(0.08)


def says_garbage(session: WlcSession) -> None:
    with contextlib.suppress(OSError):  # with TLS 1.2 nobody may be there any more
        session.tls.sendall(bytes(range(255, 0, -1)) * 80)
    session.until_closed()


def waits_for_tcp(session: WlcSession) -> None:
    """Closes not when it was told goodbye, but when, below TLS, our end of it is seen to go."""
    session.until_closed()
    with socket.socket(fileno=os.dup(session.tls.fileno())) as sock:
        sock.settimeout(PATIENCE_S)
        until_closed(sock.recv)


def never_stops_talking(session: WlcSession) -> None:
    with contextlib.suppress(OSError):
        while True:
            session.tls.sendall(bytes(16384))


class Meeting(NamedTuple):
    """A WLC that does this with every connection, and what the run at it is made with."""

    overrides: tuple[str, ...]
    behave: Behave | None = None
    raw: Callable[[socket.socket], None] | None = None
    workers: int = 1


# All that may be under way at once are stuck for longer than the load lasts.
_STUCK = ("load.concurrency=5", "load.backlog=300ms", "mse.setup_timeout=1300ms")
MEETINGS = {
    "never answers rate": Meeting(("load.rate=100", *_STUCK), raw=silent, workers=2),
    "never answers fast": Meeting(_STUCK, raw=silent, workers=2),
    "resets": Meeting(("load.rate=30",), raw=resets),
    "garbage": Meeting(("load.rate=30", version_of("1.3")), says_garbage),
    "talks": Meeting(("load.rate=8", version_of("1.3"), "mse.setup_timeout=400ms"), never_stops_talking),
    **{
        f"waits for tcp {version}": Meeting(
            ("load.rate=30", version_of(version), "mse.setup_timeout=500ms"), waits_for_tcp
        )
        for version in _VERSIONS
    },
}


class Met(NamedTuple):
    """How it ended, and how many connections the WLC has seen."""

    ended: Ended
    accepted: int


@pytest.fixture(scope="module")
def met(start_shared: Start, tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> dict[str, Met]:
    """All meetings; most of their time is spent waiting."""
    scenario = shake_in(tmp_path_factory.mktemp("met"))

    def made(meeting: Meeting, host: str) -> Callable[[], Met]:
        def call() -> Met:
            with FakeWlc(certificate, meeting.behave, meeting.raw, host) as wlc:
                ended = meet(start_shared, scenario, wlc, *meeting.overrides, workers=meeting.workers).end()
                return Met(ended, wlc.accepted)

        return call

    calls = {name: made(meeting, f"127.77.52.{n}") for n, (name, meeting) in enumerate(MEETINGS.items(), 1)}
    return side_by_side(calls)


class TestPeers:
    """WLCs that behave in their own way, or do not."""

    def test_every_slot_is_shaken_once(self, start: Start, shake: Path, certificate: Path) -> None:
        """Counted by the WLCs: slot i is the business of session i mod 3, whichever worker has it."""
        with contextlib.ExitStack() as stack:
            wlcs = [stack.enter_context(FakeWlc(certificate, polite, host="127.77.51.1")) for _ in range(3)]
            targets = ",".join(wlc.address for wlc in wlcs)
            ended = meet(start, shake, targets, "load.rate=100", "mse.count=1", workers=2).end()
            check_all_completed(ended, 50)
            assert [wlc.accepted for wlc in wlcs] == [17, 17, 16]
            assert [failure for wlc in wlcs for failure in wlc.failures] == []

    @pytest.mark.parametrize("how", ["rate", "fast"])
    def test_it_never_answers(self, met: dict[str, Met], how: str) -> None:
        """What could not be tried meanwhile was held up by the peer: that is no shortfall of ours."""
        ended, accepted = met[f"never answers {how}"]
        check_books(ended)
        assert ended.code == 3, ended.stderr
        assert accepted == 5
        assert handshakes(ended, "attempted", "completed", "failed") == (5, 0, 5)
        assert ended.errors == {"errors.tls.timeout": 5}
        assert counts(ended)["handshake.tcp"] == 5
        assert "handshake.tls" not in counts(ended)
        if how == "rate":
            assert handshakes(ended, "due", "dropped") == (50, 45)
            assert ended.counters["generator.shortfall"] == 0
            assert any("handshakes dropped: 45" in each for each in ended.result["verdict"]["reasons"])

    def test_it_resets(self, met: dict[str, Met]) -> None:
        ended, _ = met["resets"]
        check_books(ended)
        assert ended.code == 3, ended.stderr
        assert handshakes(ended, "due", "attempted", "completed", "failed", "dropped") == (15, 15, 0, 15, 0)
        assert ended.errors == {"errors.tls.reset": 15}
        assert counts(ended)["handshake.tcp"] == counts(ended)["handshake.lag"] == 15

    def test_nobody_listens(self, start: Start, shake: Path) -> None:
        ended = meet(start, shake, f"127.77.54.1:{free_port('127.77.54.1')}", "load.rate=30").end()
        check_books(ended)
        assert ended.code == 3, ended.stderr
        assert ended.result["verdict"]["outcome"] == "no handshake completed"
        assert handshakes(ended, "due", "attempted", "failed", "dropped") == (15, 15, 15, 0)
        assert ended.errors == {"errors.tcp.refused": 15}
        assert "handshake.tcp" not in counts(ended)
        assert counts(ended)["handshake.lag"] == counts(ended)["generator.lag"] == 15

    def test_some_work_and_some_do_not(self, start: Start, shake: Path, certificate: Path) -> None:
        """One of two WLCs is down: half of the handshakes fail, and the run has not passed."""
        with FakeWlc(certificate, polite, host="127.77.55.1") as wlc:
            targets = f"{wlc.address},127.77.55.1:{free_port('127.77.55.1')}"
            ended = meet(start, shake, targets, "load.rate=40").end()
        assert ended.code in (4, 5), ended.stderr
        check_books(ended)
        assert handshakes(ended, "due", "completed", "failed") == (20, 10, 10)
        assert ended.errors == {"errors.tcp.refused": 10}
        assert any("handshakes failed: 10" in reason for reason in ended.result["verdict"]["reasons"])

    def test_it_says_garbage(self, met: dict[str, Met]) -> None:
        """Nobody is there to read it: what counts is that the tunnel came up, and how it ended."""
        check_all_completed(met["garbage"].ended, 15)

    def test_it_never_stops_talking(self, met: dict[str, Met]) -> None:
        _check_unconfirmed(met["talks"].ended, 4)

    @pytest.mark.parametrize("version", _VERSIONS)
    def test_it_waits_for_our_end_to_go(self, met: dict[str, Met], version: str) -> None:
        """With TLS 1.3 we wait for its end, and hang up before, so that nobody waits for the other."""
        check_all_completed(met[f"waits for tcp {version}"].ended, 15)

    def test_what_waits_for_a_slow_peer_is_not_our_lateness(self, start: Start, shake: Path, certificate: Path) -> None:
        """One at once, each takes longer than the next one waits to be due: only the first has nothing in its way."""
        with FakeWlc(certificate, slow, host="127.77.59.1") as wlc:
            ended = meet(start, shake, wlc, "load.rate=20", version_of("1.3"), *_ONE_AT_A_TIME).end()
        check_all_completed(ended, 10)
        assert counts(ended)["generator.lag"] == 1

    def test_what_a_slow_peer_makes_us_give_up_is_not_our_shortfall(
        self, start: Start, shake: Path, certificate: Path
    ) -> None:
        with FakeWlc(certificate, slow, host="127.77.60.1") as wlc:
            ended = meet(
                start, shake, wlc, "load.rate=20", "load.backlog=25ms", version_of("1.3"), *_ONE_AT_A_TIME
            ).end()  # fmt: skip
        check_books(ended)
        assert handshakes(ended, "due") == (10,)
        assert ended.counters["handshakes.dropped"] >= 3
        # Not 0: this machine may have been away for as long as the backlog.
        assert ended.counters["generator.shortfall"] < ended.counters["handshakes.dropped"] / 2

    def test_a_rate_that_we_cannot_offer(self, start: Start, shake: Path) -> None:
        """Nearly all of it was given up, and not because of the peer: the figures are worth nothing, and say so."""
        address = f"127.77.61.1:{free_port('127.77.61.1')}"
        ended = meet(start, shake, address, "load.rate=1e6", "load.backlog=50ms", 'load.stages=[{hold="300ms"}]').end()
        check_books(ended)
        due, dropped = handshakes(ended, "due", "dropped")
        assert due == 300_000
        assert dropped > due / 2
        assert ended.counters["generator.shortfall"] > due / 100
        assert ended.result["verdict"]["generator"] == "INVALID"


def _check_unconfirmed(ended: Ended, due: int) -> None:
    """TLS came up each time, and the server did not close: a client cannot know that it was let in."""
    check_books(ended)
    assert ended.code == 3, ended.stderr
    assert handshakes(ended, "due", "attempted", "completed", "failed") == (due, due, 0, due)
    assert ended.errors == {"errors.tls.timeout": due}
    assert counts(ended)["handshake.tcp"] == due
    assert {"handshake.tls", "handshake.latency", "handshake.service"}.isdisjoint(counts(ended))


class TestInterrupted:
    """Ctrl-C: what was under way is brought to its end, and the books are closed at that moment."""

    @pytest.mark.parametrize("overrides", [("load.rate=200", "load.resumed=0.5"), ()], ids=["rate", "fast"])
    def test_in_mid_load(self, start: Start, shake: Path, overrides: tuple[str, ...]) -> None:
        running = start(
            "run", shake, "--workers", "2", "--duration", "10m", *options_of(*overrides), start_new_session=True
        )  # fmt: skip
        pids = running.wait_for_workers(4)

        def busy() -> bool:
            assert running.process.poll() is None, running.stderr
            return sum(map(_writes_of, pids)) > 1000

        eventually(busy, "handshakes")
        # As a terminal does it: the workers get it as well, and leave it to the supervisor.
        os.killpg(running.pid, signal.SIGINT)
        ended = running.end()
        assert ended.code == 130, ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.result["verdict"]["outcome"] == "interrupted"
        check_books(ended)
        assert ended.errors == {}
        attempted, completed = handshakes(ended, "attempted", "completed")
        assert attempted == completed > 0
        assert ("handshakes.due" in ended.counters) == bool(overrides)
        # Each is in the stage that counts, or came after the load was ended.
        curves = read_hlog_untrusted(ended.folder / "histograms.hlog")
        in_all = {tag: curve.count for tag, curve in curves.items() if tag.endswith("/handshake.tcp")}
        assert sum(in_all.values()) == attempted
        assert counts(ended)["handshake.tcp"] == attempted - in_all.get("after/handshake.tcp", 0) > 0
        assert {path.name for path in ended.folder.iterdir()} >= {"plan.json", "result.json", "histograms.hlog"}
        assert all(process_is_gone(pid) for pid in pids)

    @pytest.mark.parametrize("backlog", ["100ms", "1m"])
    def test_while_all_are_stuck(self, start: Start, shake: Path, certificate: Path, backlog: str) -> None:
        """Nobody waits for the time-out of a peer that does not answer; what was begun was withdrawn: no failure."""
        with FakeWlc(certificate, raw=silent, host="127.77.62.1") as wlc:
            running = meet(
                start, shake, wlc, "load.rate=1000", "load.concurrency=7", f"load.backlog={backlog}",
                "mse.setup_timeout=10m", 'load.stages=[{hold="10m"}]',
            )  # fmt: skip
            pids = running.wait_for_workers(1)
            eventually(lambda: wlc.accepted == 7, "7 connections")
            running.signal(signal.SIGINT)
            ended = running.end()
        assert ended.code == 130, ended.stderr
        check_books(ended)
        assert handshakes(ended, "attempted", "completed", "failed", "withdrawn") == (7, 0, 0, 7)
        assert all(process_is_gone(pid) for pid in pids)


def _writes_of(pid: int) -> int:
    """How often a process has written to anything."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/io").read_text("ascii")
        return int(next(line for line in text.splitlines() if line.startswith("syscw")).split()[1])
    return 0


# -- we are the WLC ----------------------------------------------------------------------------------------------------


class Served:
    """Our WLC, served until it is interrupted."""

    def __init__(self, running: Running, address: tuple[str, int]) -> None:
        self.running, self.address = running, address

    @property
    def at(self) -> str:
        return "{}:{}".format(*self.address)

    def stop(self) -> Ended:
        self.running.signal(signal.SIGINT)
        ended = self.running.end()
        assert ended.code == 130, ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.result["kind"] == "handshake"
        # The schedule is the MSEs'.
        assert {"handshakes.due", "handshakes.dropped", "generator.shortfall"}.isdisjoint(ended.counters)
        return ended


def serve(
    start: Start, folder: Path, identities: Identities, host: str, *overrides: str, duration: str = "10m"
) -> Served:
    address = (host, free_port(host))
    scenario = folder / "serve.toml"
    text = SHAKE.replace("count = 3", "count = 1").replace("127.77.50.1:0", "{}:{}".format(*address))
    scenario.write_text(text.replace("[mse]", f'auth_list = "{identities.auth_list}"\n[mse]'), "utf-8")
    running = start("run", scenario, "--serve", "wlc", "--duration", duration, *options_of(*overrides))
    running.wait_for_line("ready")
    return Served(running, address)


def visit(served: Served, identity: Path | None) -> None:
    """A handshake and a goodbye; it returns once the WLC has said goodbye too, and so has counted it."""
    with FakeMse(served.address, identity) as mse:
        mse.tls.unwrap().close()


@pytest.fixture(scope="module", params=_VERSIONS)
def visited(
    request: pytest.FixtureRequest,
    start_shared: Start,
    tmp_path_factory: pytest.TempPathFactory,
    identities: Identities,
    strangers: Identities,
) -> Ended:
    """Five visitors as they should be, one that talks, one that hangs up without a goodbye, and a stranger."""
    folder = tmp_path_factory.mktemp("visited")
    served = serve(start_shared, folder, identities, "127.77.63.1", version_of(request.param), "load.resumed=1")
    for _ in range(5):
        visit(served, identities.pems[0])
    with FakeMse(served.address, identities.pems[0]) as mse:
        for _ in range(20):
            mse.tls.sendall(bytes(range(256)) * 64)
        mse.tls.unwrap().close()
    with FakeMse(served.address, identities.pems[1]) as mse:
        mse.tls.shutdown(socket.SHUT_WR)  # of TCP alone
        until_closed(mse.tls.recv)
    # With TLS 1.3 the client learns it when it reads.
    with pytest.raises((ssl.SSLError, ConnectionError)), FakeMse(served.address, strangers.pems[0]) as mse:
        mse.tls.recv(1)
    return served.stop()


class TestServe:
    """Clients of our WLCs that are none of ours."""

    def test_visitors_are_counted(self, visited: Ended) -> None:
        """Nobody listens to what one of them says, and nobody minds."""
        assert handshakes(visited, "attempted", "completed", "failed", "resumed") == (8, 7, 1, 0)
        assert visited.errors == {"errors.accept.key_hash_not_listed": 1}
        found = counts(visited)
        found.pop("generator.read_lag", None)  # of some reads, by chance
        assert found == {"handshake.tls": 7, "generator.accept_lag": 7}

    def test_visitors_have_a_rate(self, start: Start, tmp_path: Path, identities: Identities) -> None:
        """If there are enough of them, by when they came; also when all were there within the first moments."""
        served = serve(start, tmp_path, identities, "127.77.64.1")
        began = time.monotonic()
        for _ in range(12):
            visit(served, identities.pems[0])
        elapsed_s = time.monotonic() - began
        ended = served.stop()
        assert ended.counters["handshakes.completed"] == 12
        # From the third to the tenth, which is less than all of that time.
        assert ended.result["rates"]["handshake.completed_per_s"] >= 7 / elapsed_s

    def test_a_few_visitors_have_none(self, visited: Ended) -> None:
        assert visited.counters["handshakes.completed"] == 7
        assert "handshake.completed_per_s" not in visited.result["rates"]

    def test_some_stay_and_some_never_begin(self, start: Start, tmp_path: Path, identities: Identities) -> None:
        """One shakes hands and stays, until it is shown the door; then one says nothing, one speaks no TLS, and one
        hangs up at once."""
        served = serve(start, tmp_path, identities, "127.77.65.1", "mse.setup_timeout=400ms")
        with FakeMse(served.address, identities.pems[0]) as mse:
            assert until_closed(mse.tls.recv) == b""
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n", None):
            with socket.create_connection(served.address, PATIENCE_S) as sock:
                if said is None:
                    sock.shutdown(socket.SHUT_WR)
                else:
                    sock.sendall(said)
                until_closed(sock.recv)
        with FakeMse(served.address, identities.pems[0]) as mse:
            reset(mse.tls)
        visit(served, identities.pems[0])
        ended = served.stop()
        assert handshakes(ended, "attempted", "completed", "failed") == (6, 3, 3)
        errors = ended.errors
        assert errors.pop("errors.close.timeout") == 1
        assert errors.pop("errors.close.reset") == 1
        assert errors.pop("errors.accept.timeout") == 1
        assert sum(errors.values()) == 2
        assert all(name.startswith("errors.accept.") for name in errors)


def test_one_side_in_one_process_the_other_in_another(start: Start, tmp_path: Path, identities: Identities) -> None:
    """Both count the same handshakes."""
    served = serve(start, tmp_path, identities, "127.77.71.1", "load.resumed=0.5")
    names = ", ".join(f'"{pem}"' for pem in identities.pems)
    overrides = (f"mse.identities=[{names}]", "load.rate=30", "load.resumed=0.5")
    ours = start("run", tmp_path / "serve.toml", "--serve", "mse", "--workers", "1", *options_of(*overrides)).end()
    theirs = served.stop()
    check_all_completed(ours, 15)
    assert ours.counters["handshakes.resumed"] == resumed_of(15, 2, 0.5)
    both = ("attempted", "completed", "failed", "resumed")
    assert handshakes(ours, *both) == handshakes(theirs, *both)
    told = {name: count for name, count in counts(theirs).items() if not name.startswith("generator.")}
    assert told
    assert {name: counts(ours)[name] for name in told} == told
    assert theirs.errors == {}


# -- openssl -----------------------------------------------------------------------------------------------------------

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
_FLAGS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
# How a server may let sessions be resumed, or not at all.
_TICKETS: dict[str, tuple[str, ...]] = {"tickets": ("-num_tickets", "2"), "none": ()}
_NONE = {"1.2": ("-no_ticket", "-no_cache"), "1.3": ("-num_tickets", "0")}


@contextlib.contextmanager
def openssl_server(folder: Path, host: str, *arguments: object) -> Iterator[str]:
    """`openssl s_server`, which takes one connection after the other; its address."""
    port = free_port(host)
    command = ["openssl", "s_server", "-quiet", "-accept", f"{host}:{port}", *map(str, arguments)]
    with (folder / "openssl.out").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
    try:
        eventually(lambda: is_listening((host, port)), "openssl s_server")
        yield f"{host}:{port}"
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def openssl(*arguments: object) -> str:
    """An `openssl` that ends by itself, with nothing to read on its stdin; what it said."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S
    )
    said = (done.stdout + done.stderr).decode("latin-1")
    assert done.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def resuming(start_shared: Start, tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> dict[str, Ended]:
    """A run at every sort of `openssl s_server`."""

    def made(version: str, options: tuple[str, ...], host: str) -> Callable[[], Ended]:
        def call() -> Ended:
            folder = tmp_path_factory.mktemp("openssl")
            arguments = ("-cert", certificate, "-Verify", "1", _FLAGS[version], *options)
            with openssl_server(folder, host, *arguments) as address:
                overrides = ("load.rate=30", "load.resumed=1", "mse.count=1", version_of(version), *_ONE_AT_A_TIME)
                return meet(start_shared, shake_in(folder), address, *overrides).end()

        return call

    sorts = [(version, tickets) for version in _VERSIONS for tickets in _TICKETS]
    return side_by_side(
        {
            f"{version} {tickets}": made(version, _TICKETS[tickets] or _NONE[version], f"127.77.72.{number}")
            for number, (version, tickets) in enumerate(sorts, 1)
        }
    )


@needs_openssl
class TestOpenSslServer:
    """`openssl s_server` as the WLC: it asks for our certificate, and says what it thinks of tickets."""

    @pytest.mark.parametrize("tickets", ["tickets", "none"])
    @pytest.mark.parametrize("version", _VERSIONS)
    def test_it_resumes_if_it_can(self, resuming: dict[str, Ended], version: str, tickets: str) -> None:
        ended = resuming[f"{version} {tickets}"]
        check_books(ended)
        assert handshakes(ended, "due", "completed", "failed") == (15, 15, 0)
        assert ended.errors == {}
        assert ended.counters["handshakes.resumed"] == (0 if tickets == "none" else 14)
        # Full handshakes instead of resumed ones are another load.
        assert ended.code in ((4, 5) if tickets == "none" else (0, 4)), ended.stderr

    def test_it_refuses_us(self, start: Start, tmp_path: Path, certificate: Path) -> None:
        """A server that verifies our certificate to the end, and does not know who signed it."""
        arguments = ("-cert", certificate, "-Verify", "1", "-verify_return_error", "-tls1_3")
        with openssl_server(tmp_path, "127.77.73.1", *arguments) as address:
            ended = meet(start, shake_in(tmp_path), address, "load.rate=20", version_of("1.3")).end()
        check_books(ended)
        assert ended.code == 3, ended.stderr
        assert handshakes(ended, "due", "completed", "failed") == (10, 0, 10)
        assert sum(ended.errors.values()) == 10
        assert all(name.startswith("errors.tls.") for name in ended.errors)


@needs_openssl
class TestOpenSslClient:
    """`openssl s_client` and `s_time` as the MSE."""

    @pytest.mark.parametrize("resumed", [0, 1])
    def test_s_client(self, start: Start, tmp_path: Path, identities: Identities, resumed: int) -> None:
        """It connects again five times, with a ticket if load.resumed lets our WLC give any."""
        served = serve(start, tmp_path, identities, "127.77.75.1", f"load.resumed={resumed}")
        pem = identities.pems[0]
        said = openssl("s_client", "-connect", served.at, "-tls1_2", "-reconnect", "-cert", pem, "-key", pem)
        assert said.count("Reused, TLSv1.2") == 5 * resumed
        visit(served, pem)  # a client that waits to be answered: all before it was seen as well
        ended = served.stop()
        assert handshakes(ended, "attempted", "completed", "failed", "resumed") == (7, 7, 0, 5 * resumed)
        assert counts(ended).get("handshake.tls_resumed", 0) == 5 * resumed
        assert counts(ended)["handshake.tls"] == 7 - 5 * resumed

    def test_s_time(self, start: Start, tmp_path: Path, identities: Identities) -> None:
        """As fast as one client goes."""
        served = serve(start, tmp_path, identities, "127.77.76.1", version_of("1.3"))
        pem = identities.pems[0]
        said = openssl("s_client", "-connect", served.at, "-tls1_3", "-cert", pem, "-key", pem)
        assert "New, TLSv1.3" in said
        said = openssl("s_time", "-connect", served.at, "-tls1_3", "-new", "-time", "1", "-cert", pem, "-key", pem)
        found = re.search(r"^(\d+) connections in \d+ real seconds", said, re.MULTILINE)
        assert found is not None, said
        visit(served, pem)
        ended = served.stop()
        completed = int(found[1]) + 2
        assert completed > 2
        assert handshakes(ended, "attempted", "completed", "failed") == (completed, completed, 0)
        # It hangs up without reading what came last, if something did.
        assert set(ended.errors) <= {"errors.close.reset"}
