"""Exchanges as a capture would have them, made by our own codec: what a WLC and an MSE said, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import msgspec
from tls_sessions import Session

from loadgen.capture.events import Closed, Conversation, Data, Event, Hole, How, Opened
from loadgen.capture.streams import Exchange, Stream, collect
from loadgen.capture.writing import TunnelWriter, file_header
from loadgen.nmsp import messages as m
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.records import HeardStation, Reading
from loadgen.units import NS_PER_MS

BEGAN_NS = 1_795_000_000_000_000_000
AP = bytes.fromhex("001122aabb01")

# When (ns since the session began), who, what, with which transaction.
Line = tuple[int, Role, msgspec.Struct, int]


def station(number: int) -> bytes:
    return bytes.fromhex("001b77") + number.to_bytes(3, "big")


def reading(rssi: int, ap: bytes = AP, age_s: int = 0) -> Reading:
    return Reading(ap, 0, 0, 1, rssi, rssi - 3, 20, age_s)


def measured(number: int, rssi: int = -60, **fields: int) -> m.MeasurementNotify:
    """What one station's notification says."""
    return m.MeasurementNotify(
        station_mac=station(number), readings=(reading(rssi), reading(rssi - 10, b"\0\x11\x22\xaa\xbb\x02")), **fields
    )


def opening(mask: int = 1, offered: int = 0x68EBE7) -> list[Line]:
    """Of the usual dialogue, in 5 ms."""
    said: list[tuple[Role, msgspec.Struct, int]] = [
        (Role.MSE, m.VersionRequest(1, 1), 1),
        (Role.WLC, m.VersionResponse(1, 0), 1),
        (Role.WLC, m.Capability(offered), 0),
        (Role.MSE, m.SubscribeRequest(mask), 2),
        (Role.WLC, m.SubscribeResponse(mask, 0), 2),
    ]
    return [(index * NS_PER_MS, *each) for index, each in enumerate(said)]


def exchange(profile: WireProfile, lines: Iterable[Line], index: int = 0, began_ns: int = BEGAN_NS) -> Exchange:
    """What a capture has of one session."""
    codec = Codec(profile)
    conversation = Conversation(index, ("192.0.2.9", 40_000 + index), ("192.0.2.1", 16_113), began_ns)
    events: list[Event] = [Opened(conversation)]
    offsets = {Role.WLC: 0, Role.MSE: 0}
    numbers = {Role.WLC: 0, Role.MSE: 0}
    last = began_ns
    for at_ns, role, message, transaction in lines:
        frame = codec.encode(message, transaction)
        if profile.framing.numbers:
            heard = numbers[Role.MSE if role is Role.WLC else Role.WLC]
            frame = profile.framing.number(frame, numbers[role], heard)
        numbers[role] += 1
        last = began_ns + at_ns
        events.append(Data(conversation, role is Role.MSE, offsets[role], last, frame))
        offsets[role] += len(frame)
    events += [Closed(conversation, of_client, last, How.FIN) for of_client in (True, False)]
    return collect(events)[0]


def events(exchanges: Iterable[Exchange]) -> Iterator[Event]:
    """What a reader of the capture is told: a session after the other, of each the bytes as they came."""
    for each in exchanges:
        yield Opened(each.conversation)
        said = [
            (stream.came_ns(at), Data(each.conversation, of_client, at, stream.came_ns(at), run))
            for of_client, stream in ((True, each.client), (False, each.server))
            for at, run in _parts(stream)
        ]
        holes = [
            (stream.came_ns(at - 1) if at else each.conversation.began_ns, Hole(each.conversation, way, at, length, 0))
            for way, stream in ((True, each.client), (False, each.server))
            for at, length in stream.holes
        ]
        happened: list[tuple[int, Data | Hole]] = [*said, *holes]
        yield from (event for _, event in sorted(happened, key=lambda pair: (pair[0], pair[1].offset)))


def _parts(stream: Stream) -> Iterator[tuple[int, bytes]]:
    """What came, a packet's bytes each."""
    for start, run in stream.runs:
        at = [offset for offset, _ in stream.pieces() if start <= offset < start + len(run)] + [start + len(run)]
        yield from ((each, bytes(run[each - start : end - start])) for each, end in pairwise(at))


def captured(exchanges: Iterable[Exchange]) -> bytes:
    """The same as a pcapng file, one session after the other."""
    data = file_header(application="tests", interface="0", description="plaintext")
    for each in exchanges:
        tunnel = TunnelWriter(each.conversation.client, each.conversation.server)
        data += tunnel.open(each.conversation.began_ns)
        parts = []
        for of_client, stream in ((True, each.client), (False, each.server)):
            ((_, run),) = stream.runs or [(0, b"")]
            cuts = sorted({offset for offset in range(len(run)) if _begins(stream, offset)} | {len(run)})
            parts += [(stream.came_ns(at), of_client, bytes(run[at:end])) for at, end in pairwise(cuts)]
        parts.sort(key=lambda part: part[0])
        data += b"".join(tunnel.data(of_client, ns, said) for ns, of_client, said in parts)
        data += tunnel.close(True, parts[-1][0], How.FIN) + tunnel.close(False, parts[-1][0], How.FIN)
    return data


def encrypted(each: Exchange, tls: Session) -> bytes:
    """One session as a pcapng file with what OpenSSL makes of it on the wire; the secrets are in `tls.keylog`."""
    data = file_header(application="tests", interface="0", description="TLS")
    tunnel, ns = TunnelWriter(each.conversation.client, each.conversation.server), each.conversation.began_ns
    data += tunnel.open(ns)
    tls.shake()
    for event in events([each]):
        if isinstance(event, Data):
            ns = event.ns
            tls.say(event.of_client, event.data)
        data += b"".join(tunnel.data(of_client, ns, said) for of_client, said in tls.wire)
        tls.wire.clear()
    return data + tunnel.close(True, ns, How.FIN) + tunnel.close(False, ns, How.FIN)


def _begins(stream: Stream, offset: int) -> bool:
    """Something came that begins there."""
    return offset == 0 or stream.came_ns(offset) != stream.came_ns(offset - 1)


def notified(count: int, gap_ns: int = 20 * NS_PER_MS, stations: int = 5, first_ns: int = 10 * NS_PER_MS) -> list[Line]:
    """Measurement notifications at equal distances, of so many stations in turn."""
    return [
        (first_ns + index * gap_ns, Role.WLC, measured(index % stations, -50 - index % 40), 0) for index in range(count)
    ]


def lines(profile: WireProfile, count: int = 12) -> list[Line]:
    """Notifications as the layout can have them; with device times 100 ms before they are captured."""
    found: list[Line] = []
    for index in range(count):
        at_ns = (10 + 20 * index) * NS_PER_MS
        began = profile.layouts[Kind.MEASUREMENT_NOTIFY].time
        time = at_ns - 100 * NS_PER_MS + (0 if began is not None and began.since_began else BEGAN_NS)
        readings = (reading(-50 - index), reading(-70, b"\0\x11\x22\xaa\xbb\x02"))
        readings = readings[: profile.max_readings]
        message: msgspec.Struct = m.MeasurementNotify(
            sequence=900 + index, station_mac=station(index % 5), readings=readings, time=time
        )
        if profile.stations > 1:
            heard = tuple(HeardStation(station((index + each) % 5), readings) for each in range(2))
            message = m.StationsNotify(heard, sequence=900 + index, time=time)
        found.append((at_ns, Role.WLC, message, 0))
    return found
