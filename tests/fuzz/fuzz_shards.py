"""Whole shards, in virtual time: peers behind tunnels that hand out any bytes in any pieces, block, break and end."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from drive_samples import VirtualClock
from fuzz_bytes import Bytes, joined
from fuzz_profiles import CODECS
from fuzz_sessions import BYTES, CHANGED, FLOOD, FRAME, NOTIFICATIONS, PIECES, piece, settings_of, setup_frames

from loadgen.drive.equipment import Equipment
from loadgen.drive.links import Link
from loadgen.drive.phase import Phase
from loadgen.drive.tls_dial import MseLink
from loadgen.drive.tls_mse import MseShard
from loadgen.drive.tls_site import SiteLink, SiteShard
from loadgen.drive.tls_wlc import WlcShard
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Kind, Role
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.scenario.schedule import Share
from loadgen.transport.openssl import Pointer, bytes_at
from loadgen.transport.tls import EndOfStream, TransportFault, Want
from loadgen.units import NS_PER_MS, NS_PER_S

_LINKS = 8  # more than it takes for a sweep
_START_NS = 1_000 * NS_PER_S
_TO_UNIX_NS = 1_700_000_000 * NS_PER_S
_MOST_WAITING = 256  # answers of a link that its peer does not read; `drive.tls` has it too
_QUEUES = (6, 40)  # of a link with a site: messages of high and of normal priority
_TURN, _PAUSE, _TUNNEL, _END = range(PIECES, PIECES + 4)
_CHOICES = PIECES + 4
# Counters of what is wrong in a stream, and costs no session.
_NO_FAULTS = ("errors.stream.not_subscribed", "errors.stream.sequence_jump", "errors.stream.sequence_restart")


class _Tunnel:
    """Hands out what was put into it."""

    address = 0  # nothing of OpenSSL's

    def __init__(self) -> None:
        self.incoming: list[bytes | TransportFault] = []
        self.written = 0
        self.blocked = False
        self.write_fault = False
        self.verified: int | None = None
        self.refused = False
        self.group = "x25519"

    def waiting(self) -> None:
        """The kernel does not tell."""

    def allow_unsent(self, size: int) -> None:
        """No kernel holds anything."""

    @property
    def wants(self) -> Want:
        return Want.WRITE if self.blocked else Want.NOTHING

    def handshake(self) -> bool:
        return True

    def read_into(self, view: memoryview) -> int:
        if not self.incoming:
            return 0
        item = self.incoming.pop(0)
        if isinstance(item, TransportFault):
            raise item
        size = min(len(item), len(view))
        view[:size] = item[:size]
        if size < len(item):
            self.incoming.insert(0, item[size:])
        return size

    def write(self, data: bytes | memoryview) -> None:
        assert not self.blocked
        if self.write_fault:
            raise TransportFault("reset")
        self.written += len(data)

    def write_at(self, pointer: Pointer, size: int) -> None:
        self.write(bytes_at(pointer, size))

    def flush(self) -> bool:
        self.blocked = False
        self.write(b"")
        return True

    def unacknowledged_bytes(self) -> int:
        return 0

    def close_notify(self) -> bool:
        return False

    def segments(self) -> None:
        return None

    def close(self) -> None:
        pass


class _Socket:
    """A descriptor for epoll to watch. Nobody connects to it, and nothing comes."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0)

    def fileno(self) -> int:
        return self._fd

    def listen(self, backlog: int) -> None:
        pass

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.1", 16113

    def close(self) -> None:
        pass


@cache
def _sockets() -> list[_Socket]:
    return [_Socket() for _ in range(_LINKS + 1)]


@cache
def _plan(number: int, use: Use, *, site: bool = False) -> Plan:
    document: dict[str, Any] = {
        "name": "fuzz",
        "wlc": {"count": 1, "stations": 3, "readings": [1, 3], "listen": "127.0.1.1:0"},
        "mse": {"count": _LINKS, "subscribe": "catalyst-9800"},
        "load": {"rate": 100, "stages": [{"hold": "5s"}]},
    }
    if site:
        often = {"every": ["1s", "1s"], "count": 2}
        document["wlc"]["subservices"] = document["mse"]["subscribe"] = "all"
        document["load"] = {"kind": "site", "stages": [{"hold": "5s"}]}
        document["site"] = {
            "aps": 3,
            "reported_aps": min(3, CODECS[number].profile.max_readings),
            "stations": {"every": ["1s", "1s"]},
            **dict.fromkeys(("tags", "rogues", "rogue_clients", "interferers", "handovers"), often),
            "queue": {"high": _QUEUES[0], "normal": _QUEUES[1]},
            "services": {"information": "1s", "statistics": "1s", "aps": "1s", "alarms_per_h": 3600},
        }
    if Kind.INFORMATION_REQUEST in CODECS[number].profile.ids:
        asked = ("capability", "measurement", "information", "statistics", "subscribe", "subscribe_groups")
        document["requests"] = {name: {"rate": 20} for name in asked}
        document["requests"]["unsubscribe"] = {"rate": 5, "subservices": ["rssi-ms"]}
    scenario, profile = scenario_untrusted(document, Path("fuzz.toml"), profile=CODECS[number].profile)
    return make_plan(scenario, profile, use=use)


class _Fleet:
    """A shard and its links, with all handshakes done."""

    def __init__(self, number: int, role: Role, use: Use, clock: VirtualClock, *, site: bool) -> None:
        self.codec, self.role = CODECS[number], role
        self.recorder = Recorder()
        self.plan = plan = _plan(number, use, site=site)
        settings, share = settings_of(self.codec, self.recorder), Share(plan.schedule(), 0, 1)
        equipment = Equipment(plan, self.codec.profile, self.recorder, settings, share, _TO_UNIX_NS, clock)
        self.shard: Any
        if role is Role.MSE:
            self.shard = MseShard(equipment, [("127.0.0.1", 1)], [])
        elif site:
            listeners = _sockets()[_LINKS:]
            self.shard = SiteShard(equipment, listeners, [None])
        else:
            listeners = _sockets()[_LINKS:]
            self.shard = WlcShard(equipment, listeners, [None])
        self.tunnels = [_Tunnel() for _ in range(_LINKS)]
        self.links: list[Link] = []
        for index, (sock, tunnel) in enumerate(zip(_sockets(), self.tunnels, strict=False)):
            link = MseLink(sock, _START_NS, index) if role is Role.MSE else self.shard.link_class(sock, _START_NS, 0)
            link.phase, link.tunnel = Phase.HANDSHAKING, tunnel  # type: ignore[assignment]
            self.shard.add(link, _START_NS + 10 * NS_PER_S, 0)
            self.links.append(link)
        self.turn()
        assert all(link.phase is Phase.SETTING_UP for link in self.links)

    def turn(self, events: int = select.EPOLLIN) -> None:
        shard = self.shard
        shard.turn([(link.fd, events) for link in self.links if link.phase is not Phase.CLOSED])
        for link in self.links:
            assert link.endpoint is not None
            if link.phase is Phase.CLOSED:
                assert (link.tail, link.endpoint.outbox, link.tunnel) == (b"", [], None)
            assert len(link.tail) < self.codec.profile.max_frame_bytes
            assert len(link.endpoint.outbox) <= _MOST_WAITING
            if isinstance(link, SiteLink) and link.queue is not None:
                assert all(0 <= depth <= most for depth, most in zip(link.queue.depth, _QUEUES, strict=True))
        assert shard.active == sum(link.phase is Phase.ACTIVE for link in self.links)
        assert set(shard.links) == {link.fd for link in self.links if link.phase is not Phase.CLOSED}

    def set_up(self) -> None:
        peer = Role.WLC if self.role is Role.MSE else Role.MSE
        for frame in setup_frames(self.codec, peer):
            for tunnel in self.tunnels:
                tunnel.incoming.append(frame)
            self.turn()
        assert self.shard.active == _LINKS

    def faults(self) -> int:
        return sum(
            count
            for name, count in self.recorder.counters.items()
            if name.startswith("errors.") and name not in _NO_FAULTS
        )

    def check_all_gone(self) -> None:
        """Every link has ended, and was counted once: in order, or by one fault."""
        counters = self.recorder.counters
        assert not self.shard.links
        assert self.shard.active == 0
        assert self.shard.receiver.notifications == 0
        assert not any(link.read for link in self.links)
        if self.role is Role.WLC and self.shard.wlcs.dialed_by_us:
            assert self.faults() <= _LINKS  # the MSEs' side counts the sessions
            return
        ended = {name: counters[f"sessions.{name}"] for name in ("closed", "lost", "failed")}
        assert sum(ended.values()) == _LINKS, ended
        assert self.faults() == ended["lost"] + ended["failed"], counters


def _run(data: bytes, role: Role, *, site: bool = False) -> None:
    source = Bytes(data)
    first = source.byte()
    number, use = first % len(CODECS), Use.BOTH
    if first & 0x80:
        use = Use.TARGET_WLC if role is Role.MSE else Use.SERVE_WLC
    clock = VirtualClock(_START_NS, reading_ns=1_000)
    fleet = _Fleet(number, role, use, clock, site=site)
    try:
        if first & 0x40:
            fleet.set_up()
        fleet.shard.start_load(clock.now_ns, fleet.plan.load.stages)
        while source:
            _step(fleet, clock, source, number)
        fleet.turn()
        for tunnel in fleet.tunnels:
            tunnel.incoming.append(EndOfStream(orderly=True))
            tunnel.blocked = False
        for _ in range(30):
            fleet.turn()
            clock.now_ns += 500 * NS_PER_MS
        for tunnel in fleet.tunnels:
            tunnel.incoming[:] = [EndOfStream(orderly=True)]
        fleet.turn()
        fleet.check_all_gone()
        totals = fleet.shard.totals(clock.now_ns)
        if site:
            assert totals["notify.due"] == totals["notify.sent"] + totals["notify.dropped"]
        fleet.recorder.take(0)
    finally:
        fleet.shard.shut()


def _step(fleet: _Fleet, clock: VirtualClock, source: Bytes, number: int) -> None:
    choice = source.byte()
    index, choice = choice >> 5, choice % 32 % _CHOICES
    tunnel = fleet.tunnels[index]
    if choice < PIECES:
        data = piece(source, number, choice)
        cut = source.byte()
        parts = [data[:cut], data[cut:]] if cut else [data]
        receivers = fleet.tunnels if choice == NOTIFICATIONS and index == 0 else [tunnel]
        for each in receivers:
            each.incoming += [part for part in parts if part]
    elif choice == _TURN:
        fleet.turn()
    elif choice == _PAUSE:
        clock.now_ns += source.number(2) * NS_PER_MS
        fleet.shard.turn([])
    elif choice == _TUNNEL:
        state = source.below(4)
        if state == 0:
            tunnel.blocked = True
        elif state == 1:
            fleet.turn(select.EPOLLOUT)
        else:
            tunnel.write_fault = state == 2
    else:
        state = source.below(3)
        tunnel.incoming.append(TransportFault("reset") if state == 2 else EndOfStream(orderly=bool(state)))


def mse_shard(data: bytes) -> None:
    """MSEs: whatever their WLCs send.

    Data: profile and options, then pieces for links (and where to cut them), turns, pauses, tunnels that block or
    break, ends of streams.
    """
    _run(data, Role.MSE)


def wlc_shard(data: bytes) -> None:
    """WLCs under load: whatever their MSEs send. Data: as for `mse_shard`."""
    _run(data, Role.WLC)


def site_shard(data: bytes) -> None:
    """WLCs with a site, whose messages wait in queues: whatever their MSEs send. Data: as for `mse_shard`."""
    _run(data, Role.WLC, site=True)


def _seeds(kinds: int) -> Iterator[bytes]:
    for number in range(len(CODECS)):
        for options in (0, 0x40, 0x80, 0xC0):
            first = options | number
            yield joined(first, NOTIFICATIONS, 0, 0, 3, 2, 0, _TURN, _PAUSE, 5, 0, _TURN)
            yield joined(first, NOTIFICATIONS, 0, 0, 20, 2, 100, _TURN, 0x20 | FRAME, Kind.ECHO_REQUEST, 1, 9, _TURN)
            yield joined(first, 0x40 | CHANGED, 5, 1, 2, 0, 0xFF, 0, _TURN, 0x60 | BYTES, 3, b"abc", 0, _TURN)
            yield joined(first, 0x20 | FLOOD, Kind.ECHO_REQUEST, 1, 255, 0, 0x20 | _TUNNEL, 0, _TURN, _PAUSE, 200, 9)
            yield joined(first, 0x80 | _TUNNEL, 2, _PAUSE, 0, 10, 0xA0 | _END, 0, 0xC0 | _END, 2, _TURN)
    for kind in range(kinds):
        yield joined(0x40, 0x20 | FRAME, kind, 1, 0, _TURN, 0x40 | FRAME, kind, 1, 7, _TURN, _PAUSE, 0xFF, 0x7F)


def mse_shard_seeds() -> Iterator[bytes]:
    return _seeds(len(CODECS[0].profile.ids))


def wlc_shard_seeds() -> Iterator[bytes]:
    return _seeds(len(CODECS[0].profile.ids))


def site_shard_seeds() -> Iterator[bytes]:
    return _seeds(len(CODECS[0].profile.ids))
