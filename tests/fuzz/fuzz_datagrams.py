"""Sessions over datagrams, in virtual time: a peer's come in any order, again, early, cut off, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drive_samples import VirtualClock
from fuzz_bytes import Bytes, joined
from fuzz_profiles import CODECS
from fuzz_sessions import BYTES, CHANGED, FLOOD, FRAME, NOTIFICATIONS, PIECES, RAW, piece, settings_of, setup_frames

from loadgen.drive.dtls import MAX_DATAGRAM_BYTES
from loadgen.drive.dtls_mse import DtlsMseDriver, DtlsMseLink
from loadgen.drive.dtls_wlc import DtlsWlcDriver, DtlsWlcLink
from loadgen.drive.equipment import Equipment
from loadgen.drive.phase import Phase
from loadgen.errors import RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Kind, Role
from loadgen.scenario.plan import Plan, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.scenario.schedule import Share
from loadgen.session.datagrams import DatagramMseEndpoint, DatagramWlcEndpoint
from loadgen.units import NS_PER_MS, NS_PER_S

_TO_UNIX_NS = 1_700_000_000 * NS_PER_S
_AGAIN, _PAUSE = range(PIECES, PIECES + 2)
_CHOICES = PIECES + 2
# Of a session that its peer keeps asking: a driver sends what is said before it reads on.
_MOST_ANSWERS = 2 * MAX_DATAGRAM_BYTES // 8


@cache
def _plan(number: int) -> Plan:
    document = {
        "name": "fuzz",
        "transport": "dtls",
        "wlc": {"count": 1, "stations": 3, "readings": [0, 1], "listen": "127.0.1.1:0"},
        "mse": {"subscribe": "catalyst-9800"},
        "load": {"rate": 100, "stages": [{"hold": "5s"}]},
    }
    scenario, profile = scenario_untrusted(document, Path("fuzz.toml"), profile=CODECS[number].profile)
    return make_plan(scenario, profile)


class _Association:
    """What a driver asks of one, without a network."""

    most_bytes = 1400
    peer_address = ("127.0.0.1", 2)
    verified = refusal = None
    unmet = deliberating = False

    def overflowed(self) -> int:
        return 0


class _Session:
    """One association of a driver, whose handshake is done."""

    def __init__(self, number: int, role: Role) -> None:
        self.codec, self.recorder = CODECS[number], Recorder()
        plan, profile, settings = _plan(number), CODECS[number].profile, settings_of(CODECS[number], self.recorder)
        self.clock = VirtualClock(NS_PER_S)
        share = Share(plan.schedule(), 0, 1)
        equipment = Equipment(plan, profile, self.recorder, settings, share, _TO_UNIX_NS, self.clock)
        self.driver: Any
        self.link: Any = (DtlsWlcLink if role is Role.WLC else DtlsMseLink)(_Association(), 0, self.clock.now_ns)  # type: ignore[arg-type]
        if role is Role.WLC:
            self.driver = DtlsWlcDriver(equipment, [], [])
            directory = self.driver.controllers[0].directory
            self.link.endpoint = DatagramWlcEndpoint(settings, self.clock.now_ns, directory)
        else:
            self.driver = DtlsMseDriver(equipment, [("127.0.0.1", 1)], [])
            self.link.endpoint = DatagramMseEndpoint(settings, self.clock.now_ns, 0, None, self.driver.mses.notices)
            self.link.endpoint.start(self.clock.now_ns)
        self.link.scope = SimpleNamespace(cancel=lambda: None)  # type: ignore[assignment]
        self.link.phase = Phase.SETTING_UP
        self.driver.links.add(self.link)
        self.driver.book.join(self.link, 0, ("127.0.0.1", 2))

    @property
    def over(self) -> bool:
        return self.link.phase is Phase.CLOSED

    def feed(self, datagram: bytes) -> None:
        if self.over:
            return
        driver, link = self.driver, self.link
        driver.receiver.view[: len(datagram)] = datagram
        found = driver.take_untrusted(link, 0, len(datagram), self.clock.now_ns)
        assert 0 <= found <= len(datagram)
        driver.receiver.reset()
        if not self.over:
            self.attend()

    def attend(self) -> None:
        """As a driver does after each input: a timer that is late catches up, and gets ahead of the clock."""
        endpoint = self.link.endpoint
        assert endpoint is not None
        try:
            for _ in range(100):
                if endpoint.on_timer(self.clock.now_ns) > self.clock.now_ns:
                    break
            else:
                raise AssertionError("a timer that never gets ahead of the clock")
        except RemoteProtocolError as fault:
            self.driver.fault(self.link, fault.kind)
        assert len(endpoint.outbox) <= _MOST_ANSWERS
        for frame in endpoint.outbox:
            assert frame
        endpoint.outbox.clear()

    def check_counts(self) -> None:
        counters = self.recorder.counters
        faults = sum(
            count
            for name, count in counters.items()
            if name.startswith("errors.")
            and name
            not in ("errors.stream.not_subscribed", "errors.stream.sequence_jump", "errors.stream.sequence_restart")
        )
        assert faults == int(self.over)
        assert self.driver.active == int(self.link.phase is Phase.ACTIVE)
        assert len(self.driver.book.peers) == 1
        self.driver.peers()
        self.recorder.take(0)


def datagrams(data: bytes) -> None:
    """Whatever a peer sends, in whatever datagrams: a fault of the peer ends the session, and nothing else does.

    Data: role and profile, whether the session is set up in good order first, then pieces, each of which may go with
    the next into a datagram, datagrams that come again, and pauses.
    """
    source = Bytes(data)
    first = source.byte()
    number, role = first % len(CODECS), Role.WLC if first & 0x80 else Role.MSE
    session = _Session(number, role)
    session.attend()
    sent = [b""]
    if first & 0x40:
        for frame in setup_frames(CODECS[number], Role.MSE if role is Role.WLC else Role.WLC):
            session.feed(frame)
            sent.append(frame)
        assert session.link.phase is Phase.ACTIVE
    held = b""
    while source and not session.over:
        choice = source.byte()
        if choice % _CHOICES < PIECES:
            held += piece(source, number, choice % _CHOICES)
        elif choice % _CHOICES == _AGAIN:
            session.feed(sent[source.below(len(sent))])
        else:
            session.clock.now_ns += source.number(2) * NS_PER_MS
            session.attend()
        if not choice & 0x80 or len(held) > MAX_DATAGRAM_BYTES:
            held = held[:MAX_DATAGRAM_BYTES]
            session.feed(held)
            sent = [*sent[-7:], held]
            held = b""
    session.check_counts()


def datagrams_seeds() -> Iterator[bytes]:
    for number, codec in enumerate(CODECS):
        kinds = len(codec.profile.ids)
        for role in (0, 0x80):
            for kind in range(kinds):
                yield joined(role | 0x40 | number, FRAME, kind, 3)
                yield joined(role | number, FRAME, kind, 1, _AGAIN, 1)
            order = (part for frame in range(6) for part in (FRAME, frame, 1 + frame // 4, _AGAIN, frame))
            yield joined(role | number, *order)
            yield joined(role | 0x40 | number, _PAUSE, 0xFF, 0x3A, FRAME, Kind.ECHO_RESPONSE, 3, _PAUSE, 0xFF, 0xFF)
            yield joined(role | number, *(part for _ in range(8) for part in (_PAUSE, 0, 0x20)))
            yield joined(role | 0x40 | number, NOTIFICATIONS, 0, 0, 20, 4, FLOOD, Kind.ECHO_REQUEST, 1, 200, _AGAIN, 1)
            yield joined(role | 0x40 | number, RAW | 0x80, 0xFF, 0xFE, 3, b"abc", 1, BYTES, 4, b"\x4e\x00\x00\x10")
            yield joined(role | 0x40 | number, CHANGED, 2, 1, 4, 0x80)
