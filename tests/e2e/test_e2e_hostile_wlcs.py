"""WLCs that break the rules, met by our MSEs: each costs its own session and is counted by what it did."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import e2e_wire as wire
import pytest
from e2e_loadgen import SMALL, Ended, Run, Start
from e2e_peers import PATIENCE_S, FakeWlc, WlcSession, make_certificate, numbered, reset, until_closed, well_behaved

_GOOD = 50  # notifications of the WLC that behaves
# It sends them as soon as it may: if all that was to be said was said before the load began, there was no load.
_ALL_SAID_BEFORE = "no notification was sent or received in the stages that count; outside of them: "

Behave = Callable[[WlcSession], object]
Raw = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("fake") / "wlc.pem")


def _says(data: bytes) -> Behave:
    """Says this instead of a version response."""

    def behave(session: WlcSession) -> None:
        with contextlib.suppress(OSError):
            session.tls.sendall(data)
        session.until_closed()

    return behave


def _closes_mid_frame(session: WlcSession) -> None:
    session.set_up()
    session.tls.sendall(wire.notify(0) + wire.notify(1)[:20])


def _closes_mid_header(session: WlcSession) -> None:
    session.frames.next()
    session.tls.sendall(wire.version_response(1)[:7])


def _disappears_after_set_up(session: WlcSession) -> None:
    session.set_up()
    reset(session.tls)


def _early_notification(session: WlcSession) -> None:
    session.agree()
    session.tls.sendall(wire.notify(0))
    session.until_closed()


def _refuses_version(session: WlcSession) -> None:
    request = session.frames.next()
    assert request is not None
    session.tls.sendall(wire.version_response(request.transaction, status=1))
    session.until_closed()


def _wrong_transaction(session: WlcSession) -> None:
    request = session.frames.next()
    assert request is not None
    session.tls.sendall(wire.version_response(request.transaction + 1))
    session.until_closed()


def _grants_too_much(session: WlcSession) -> None:
    session.agree()
    request = session.frames.next()
    assert request is not None
    session.tls.sendall(wire.subscribe_response(request.transaction, mask=(1 << 64) - 1))
    session.until_closed()


def _grants_nothing(session: WlcSession) -> None:
    session.agree()
    request = session.frames.next()
    assert request is not None
    session.tls.sendall(wire.subscribe_response(request.transaction, mask=0, status=2))
    session.until_closed()


def _after_set_up(data: bytes) -> Behave:
    def behave(session: WlcSession) -> None:
        session.set_up()
        session.tls.sendall(wire.notify(0) + data)
        session.until_closed()

    return behave


def _readings_beyond_count() -> bytes:
    """A notification whose count of readings is not that of its size."""
    whole = bytearray(wire.notify(1, readings=3))
    whole[12 + 31] = 2
    return bytes(whole)


def _plain_text(sock: socket.socket) -> None:
    sock.recv(1)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    until_closed(sock.recv)


def _closes_at_once(sock: socket.socket) -> None:
    del sock


def _resets_at_once(sock: socket.socket) -> None:
    sock.recv(1)
    reset(sock)


def _garbage() -> bytes:
    return bytes(range(255, 0, -1)) * 8


def _silent_below_tls(sock: socket.socket) -> None:
    until_closed(sock.recv)


def _silent_after_capability(session: WlcSession) -> None:
    session.agree()
    session.until_closed()


def _silent_after_set_up(session: WlcSession) -> None:
    session.set_up()
    session.until_closed()


class Case(NamedTuple):
    """A WLC and the counters that its session is found under."""

    errors: tuple[str, ...]
    established: bool
    behave: Behave | None = None
    raw: Raw | None = None


def _header(msg_id: int, length: int, transaction: int = 0, flags: int = 0) -> bytes:
    return struct.pack(">BBHII", 0x4E, flags, msg_id, length, transaction)


CASES = {
    "garbage": Case(("errors.session.garbage",), False, _says(_garbage())),
    "closed mid-header": Case(("errors.session.closed_mid_frame",), False, _closes_mid_header),
    "closed mid-frame": Case(("errors.stream.closed_mid_frame",), True, _closes_mid_frame),
    "reset after set-up": Case(
        ("errors.stream.reset", "errors.stream.closed_without_notify"), True, _disappears_after_set_up),
    "4 GiB": Case(("errors.session.oversized",), False, _says(_header(2, (1 << 32) - 1))),
    "over the limit": Case(("errors.session.oversized",), False, _says(_header(99, 65537) + bytes(65525))),
    "4 GiB later": Case(("errors.stream.oversized",), True, _after_set_up(_header(16, (1 << 32) - 1))),
    "length below the header's": Case(("errors.session.malformed",), False, _says(_header(2, 11))),
    "flags": Case(("errors.session.garbage",), False, _says(_header(2, 16, flags=1) + bytes(4))),
    "body of another size": Case(
        ("errors.session.malformed",), False, _says(wire.frame(wire.VERSION_RESPONSE, bytes(5), 1))),
    "readings beyond the count": Case(("errors.stream.malformed",), True, _after_set_up(_readings_beyond_count())),
    "more than 16 readings": Case(("errors.stream.malformed",), True, _after_set_up(wire.notify(1, readings=17))),
    "a second version response": Case(
        ("errors.stream.unexpected_message",), True, _after_set_up(wire.version_response(1))),
    "an echo request": Case(("errors.stream.unexpected_message",), True, _after_set_up(wire.frame(wire.ECHO_REQUEST))),
    "early notification": Case(("errors.session.unexpected_message",), False, _early_notification),
    "capability first": Case(("errors.session.unexpected_message",), False, _says(wire.capability())),
    "another version": Case(("errors.session.version_refused",), False, _says(wire.version_response(1, version=2))),
    "no common version": Case(("errors.session.version_refused",), False, _refuses_version),
    "wrong transaction": Case(("errors.session.wrong_transaction",), False, _wrong_transaction),
    "granted too much": Case(("errors.session.granted_too_much",), False, _grants_too_much),
    "granted nothing": Case(("errors.session.nothing_granted",), False, _grants_nothing),
    "plain text": Case(("errors.tls.wrong_version_number", "errors.tls.http_request"), False, raw=_plain_text),
    "closed at once": Case(("errors.tls.closed", "errors.tls.reset"), False, raw=_closes_at_once),
    "reset at once": Case(("errors.tls.reset",), False, raw=_resets_at_once),
}  # fmt: skip


def _check_good(ended: Ended, *, alone: bool = False, losing: bool = False) -> None:
    """The WLC that behaved lost nothing by its neighbours.

    Args: alone: it was, in the end; losing: what its neighbours sent has gaps, and that is no pass.
    """
    if alone:
        ended.check_fell_short()
    elif losing:
        assert ended.code in (4, 5), ended.stderr
        assert any("notifications were lost" in reason for reason in ended.result["verdict"]["reasons"])
    elif not any(reason.startswith(_ALL_SAID_BEFORE) for reason in ended.result["verdict"]["reasons"]):
        ended.check_passed()
    else:
        assert ended.code in (4, 5), ended.stderr
    assert ended.counters["sessions.closed"] >= 1
    assert ended.counters["notify.received"] >= _GOOD


@pytest.fixture(scope="module")
def all_at_once(certificate: Path, start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """One run at all of CASES, next to one WLC that behaves."""
    scenario = tmp_path_factory.mktemp("scenario") / "small.toml"
    scenario.write_text(SMALL.replace("500ms", "2s"), "utf-8")
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(FakeWlc(certificate, well_behaved(_GOOD)))
        peers = {name: stack.enter_context(FakeWlc(certificate, case.behave, case.raw)) for name, case in CASES.items()}
        addresses = ",".join([peer.address for peer in (good, *peers.values())])
        ended = start_shared("run", scenario, "--target", f"wlc={addresses}", "--set", "mse.count=1").end()
    assert good.failures == []
    assert {name: peer.accepted for name, peer in peers.items()} == dict.fromkeys(CASES, 1)
    # The other end of a session that was thrown out sees it break off; any other fault is the fake's own.
    faults = [fault for peer in peers.values() for fault in peer.failures]
    assert [fault for fault in faults if not isinstance(fault, OSError)] == []
    return ended


class TestAllInOneRun:
    """Every case at once, next to one WLC that behaves."""

    def test_the_good_one_is_served(self, all_at_once: Ended) -> None:
        _check_good(all_at_once, alone=True)

    def test_each_costs_its_own_session(self, all_at_once: Ended) -> None:
        counters = all_at_once.counters
        before = sum(not case.established for case in CASES.values())
        assert counters["sessions.attempted"] == len(CASES) + 1
        assert counters["sessions.failed"] == before
        assert counters["sessions.established"] == len(CASES) + 1 - before
        assert counters["sessions.lost"] == len(CASES) - before
        assert counters["sessions.closed"] == 1

    def test_each_is_counted_by_its_kind(self, all_at_once: Ended) -> None:
        left = dict(all_at_once.errors)
        missing = []
        for name, case in CASES.items():
            found = next((error for error in case.errors if left.get(error)), None)
            if found is None:
                missing.append(f"{name}: {' or '.join(case.errors)}")
            else:
                left[found] -= 1
        assert missing == []
        assert [error for error, count in left.items() if count] == []

    def test_notifications_before_the_fault_count(self, all_at_once: Ended) -> None:
        """What came whole and in order was received; nothing of the rest was."""
        whole = [name for name, case in CASES.items() if case.established and name != "reset after set-up"]
        assert all_at_once.counters["notify.received"] == _GOOD + len(whole)
        assert all_at_once.counters["notify.lost"] == 0


def _run_beside_a_good_one(run: Run, small: Path, certificate: Path, fakes: list[FakeWlc], *options: str) -> Ended:
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(FakeWlc(certificate, well_behaved(_GOOD)))
        for fake in fakes:
            stack.enter_context(fake)
        addresses = ",".join(fake.address for fake in (good, *fakes))
        ended = run("run", small, "--target", f"wlc={addresses}", "--set", "mse.count=1", *options)
    assert good.failures == []
    return ended


def test_silence(run: Run, small: Path, certificate: Path) -> None:
    """At every stage of setting up, the time-out is the end of it."""
    silent = [
        FakeWlc(certificate, raw=_silent_below_tls),
        FakeWlc(certificate, WlcSession.until_closed),
        FakeWlc(certificate, _silent_after_capability),
        FakeWlc(certificate, _says(wire.version_response(1)[:13])),  # half a frame, and then nothing
    ]
    ended = _run_beside_a_good_one(run, small, certificate, silent, "--set", "mse.setup_timeout=1500ms")
    _check_good(ended, alone=True)
    assert ended.errors == {"errors.tls.timeout": 1, "errors.session.setup_timeout": 3}
    assert ended.counters["sessions.failed"] == 4
    assert ended.counters["sessions.established"] == 1


def test_silence_after_the_subscription(run: Run, small: Path, certificate: Path) -> None:
    """No echo is answered: dead."""
    dead = FakeWlc(certificate, _silent_after_set_up)
    ended = _run_beside_a_good_one(
        run, small, certificate, [dead], "--duration", "4s",
        "--set", "session.echo_interval=200ms", "--set", "session.dead_interval=1500ms",
    )  # fmt: skip
    _check_good(ended, alone=True)
    assert ended.errors == {"errors.stream.neighbor_dead": 1}
    assert ended.counters["sessions.lost"] == 1
    assert ended.counters["sessions.established"] == 2


def test_sequence_numbers(run: Run, small: Path, certificate: Path) -> None:
    """Gaps, repetitions and swaps, counted exactly."""
    odd = [
        FakeWlc(certificate, numbered([0, 1, 2, 6, 7, 9])),  # 3, 4, 5 and 8 are missing
        FakeWlc(certificate, numbered([0, 1, 1, 2, 2, 2, 3, 0])),  # 1, 2 (twice) and 0 again
        FakeWlc(certificate, numbered([0, 2, 1, 3, 6, 5, 4])),  # 1, 5 and 4 after later ones
        FakeWlc(certificate, numbered([5, 6, 7])),  # 0 to 4 are missing
    ]
    ended = _run_beside_a_good_one(run, small, certificate, odd)
    _check_good(ended, losing=True)
    counters = ended.counters
    assert counters["notify.lost"] == 4 + 5
    assert counters["notify.duplicated"] == 4
    assert counters["notify.reordered"] == 3
    assert counters["notify.received"] == _GOOD + 6 + 8 + 7 + 3
    assert counters["sessions.closed"] == 5
    assert ended.errors == {}
    for odd_one in odd:
        assert odd_one.failures == []


def test_absurd_numbers(run: Run, small: Path, certificate: Path) -> None:
    """Sequence numbers and times at the ends of 64 bits cost nobody anything but the figures.

    In one worker, so that what four sessions count as lost is more than 64 bits hold.
    """

    def behave(session: WlcSession) -> None:
        session.set_up()
        largest = (1 << 63) - 1
        session.tls.sendall(wire.notify(0) + wire.notify(largest) + wire.notify((1 << 64) - 1, due_ns=(1 << 64) - 1))
        session.tls.sendall(wire.notify(1, due_ns=0))
        session.answer_echoes()

    absurd = [FakeWlc(certificate, behave) for _ in range(4)]
    ended = _run_beside_a_good_one(run, small, certificate, absurd, "--workers", "1")
    _check_good(ended)
    counters = ended.counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 5
    assert counters["notify.received"] == _GOOD + 4 * 4
    assert counters["clock.clamped"] >= 4
    for peer in absurd:
        assert peer.failures == []


def test_unsubscribed_notifications(run: Run, small: Path, certificate: Path) -> None:
    """What nobody asked for is counted, each one."""

    def behave(session: WlcSession) -> None:
        session.set_up()
        session.tls.sendall(wire.notify(0) + wire.notify(1, subservice=5) + wire.notify(2, subservice=200))
        session.answer_echoes()

    other = FakeWlc(certificate, behave)
    ended = _run_beside_a_good_one(run, small, certificate, [other])
    _check_good(ended)
    assert ended.errors == {"errors.stream.not_subscribed": 2}
    assert other.failures == []


def test_unknown_messages_and_unasked_echoes(run: Run, small: Path, certificate: Path) -> None:
    """docs/wire-profile.md: skipped by their length and counted; the session goes on."""

    def behave(session: WlcSession) -> None:
        session.set_up()
        unknown = wire.frame(999, bytes(1000)) + wire.frame(0) + wire.frame(65535, b"x")
        echoes = wire.frame(wire.ECHO_RESPONSE, transaction=77) * 2
        session.tls.sendall(wire.notify(0) + unknown + wire.notify(1) + echoes + wire.notify(2))
        session.answer_echoes()

    other = FakeWlc(certificate, behave)
    ended = _run_beside_a_good_one(run, small, certificate, [other])
    _check_good(ended)
    assert ended.counters["messages.unsupported"] == 3
    assert ended.counters["echo.unmatched"] == 2
    assert ended.counters["notify.received"] == _GOOD + 3
    assert ended.errors == {}
    assert other.failures == []


def test_in_pieces_and_all_at_once(run: Run, small: Path, certificate: Path) -> None:
    """Where TLS records end has nothing to do with where frames end; the largest frame passes."""

    def bytewise(session: WlcSession) -> None:
        session.set_up()
        for byte in wire.notify(0, readings=16) + wire.notify(1, readings=0):
            session.tls.sendall(bytes([byte]))
        session.answer_echoes()

    def at_once(session: WlcSession) -> None:
        session.frames.next()
        session.tls.sendall(wire.version_response(1) + wire.capability())
        session.frames.next()
        largest = wire.frame(999, bytes(wire.MAX_FRAME_BYTES - 12))
        many = b"".join(wire.notify(number, readings=number % 17) for number in range(2000))
        session.tls.sendall(wire.subscribe_response(2) + many + largest)
        session.answer_echoes()

    peers = [FakeWlc(certificate, bytewise), FakeWlc(certificate, at_once)]
    ended = _run_beside_a_good_one(run, small, certificate, peers)
    _check_good(ended)
    assert ended.counters["notify.received"] == _GOOD + 2 + 2000
    assert ended.counters["notify.lost"] == ended.counters["notify.reordered"] == 0
    assert ended.counters["messages.unsupported"] == 1
    assert ended.errors == {}
    for peer in peers:
        assert peer.failures == []


def test_wlcs_that_never_say_goodbye(run: Run, small: Path, certificate: Path) -> None:
    """An orderly close that nobody answers ends all the same."""

    def behave(session: WlcSession) -> None:
        session.set_up()
        # Below TLS: our close_notify is read from the socket and never answered.
        sock = socket.socket(fileno=session.tls.detach())
        sock.settimeout(PATIENCE_S)
        with sock:
            until_closed(sock.recv)

    deaf = FakeWlc(certificate, behave)
    ended = _run_beside_a_good_one(run, small, certificate, [deaf])
    _check_good(ended)
    assert ended.counters["sessions.established"] == 2
    assert ended.errors == {"errors.close.close_timeout": 1}


def test_wlcs_that_leave_before_the_load(run: Run, small: Path, certificate: Path) -> None:
    """All sessions came up and were closed in order: a run without a load, and not one of less than no time."""
    leaving = [FakeWlc(certificate, WlcSession.set_up) for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for peer in leaving:
            stack.enter_context(peer)
        addresses = ",".join(peer.address for peer in leaving)
        ended = run("run", small, "--target", f"wlc={addresses}", "--set", "mse.count=1", "--duration", "3s")
    assert ended.counters["sessions.established"] == ended.counters["sessions.closed"] == 3
    assert ended.result["load_s"] >= 0
    assert ended.errors == {}
