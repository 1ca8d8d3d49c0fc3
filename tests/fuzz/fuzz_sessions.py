"""What a peer may send in a session, frame by frame, and both endpoints at the other end of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial

from fuzz_bytes import Bytes, joined
from fuzz_profiles import CODECS
from fuzz_wire import sample, sample_frames
from nmsp_samples import notify, raw_frame

from loadgen.errors import RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Control, NotifyReceiver
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.services import CATALYST_9800
from loadgen.scenario.schema import SessionTable
from loadgen.session.conversation import hear_untrusted
from loadgen.session.directory import StationDirectory
from loadgen.session.link import Endpoint, EndpointSettings
from loadgen.session.mse import MseEndpoint
from loadgen.session.notices import Notices
from loadgen.session.wlc import WlcEndpoint
from loadgen.units import NS_PER_MS, NS_PER_S
from loadgen.world.stations import make_stations

# What each of `piece`'s choices is; see there.
FRAME, CHANGED, RAW, BYTES, NOTIFICATIONS, FLOOD = range(6)
PIECES = 6
MASK = CATALYST_9800
_KIND_NAME = re.compile(r"[a-z]+(_[a-z]+)*")
_MOST_AT_ONCE = 16384  # a TLS record


@cache
def _frames(number: int) -> list[bytes]:
    return sample_frames(CODECS[number])


def piece(source: Bytes, number: int, choice: int) -> bytes:
    """The next bytes of a peer that speaks profile `number`.

    FRAME: a good one (kind, transaction). CHANGED: the same with one byte different (place, change). RAW: a good header
    with any id and body. BYTES: any. NOTIFICATIONS: a run of good ones (first, count, readings). FLOOD: one good frame
    over and over.
    """
    profile = CODECS[number].profile
    if choice == BYTES:
        return source.take(source.below(256))
    if choice == RAW:
        return raw_frame(profile, source.number(2), source.take(source.below(256)), source.byte())
    if choice == NOTIFICATIONS:
        first, count, readings = source.number(2), source.below(41), source.below(profile.max_readings + 1)
        return b"".join(CODECS[number].encode(notify(first + index, readings)) for index in range(count))
    frames = _frames(number)
    frame = bytearray(frames[source.below(len(frames))])
    header = profile.header
    header.field_struct("transaction").pack_into(frame, header.offsets["transaction"], source.byte())
    if choice == CHANGED:
        frame[source.below(len(frame))] ^= source.byte()
    return bytes(frame) * (source.byte() if choice == FLOOD else 1)


def setup_frames(codec: Codec, sender: Role) -> list[bytes]:
    """What a good peer sends until the session is active, if our transactions begin with 1."""
    asked = {Role.MSE: (Kind.VERSION_REQUEST, Kind.SUBSCRIBE_REQUEST)}.get(
        sender, (Kind.VERSION_RESPONSE, Kind.CAPABILITY, Kind.SUBSCRIBE_RESPONSE)
    )
    numbers = {Kind.SUBSCRIBE_RESPONSE: 2, Kind.SUBSCRIBE_REQUEST: 2}
    return [codec.encode(sample(codec.profile.layouts[kind]), numbers.get(kind, 1)) for kind in asked]


def settings_of(codec: Codec, recorder: Recorder) -> EndpointSettings:
    return EndpointSettings(
        codec,
        recorder,
        mask=MASK,
        setup_timeout_ns=10 * NS_PER_S,
        timers=SessionTable(),
    )


class _Driver:
    """Feeds an endpoint as a shard does."""

    def __init__(self, endpoint: Endpoint, codec: Codec) -> None:
        self.endpoint = endpoint
        self.codec = codec
        self.receiver = NotifyReceiver(codec.profile, codec.profile.max_frame_bytes + _MOST_AT_ONCE)
        self.tail = b""
        self.now_ns = endpoint.started_ns

    def feed(self, data: bytes) -> None:
        for start in range(0, len(data), _MOST_AT_ONCE):
            self._take(data[start : start + _MOST_AT_ONCE])

    def _take(self, data: bytes) -> None:
        receiver, endpoint, end = self.receiver, self.endpoint, len(self.tail) + len(data)
        receiver.view[:end] = self.tail + data
        frames = len(endpoint.outbox)

        def after(_control: Control, _granted: int) -> None:
            nonlocal frames
            frames += 2  # no message has more than two answers

        heard = hear_untrusted(receiver, endpoint, 0, end, self.now_ns, after)
        receiver.reset()
        if heard.fault is not None:
            raise heard.fault
        assert len(endpoint.outbox) <= frames
        self.tail = bytes(receiver.view[heard.position : end])

    def on_timer(self) -> None:
        """A timer that is late catches up, and gets ahead of the clock."""
        for _ in range(100):
            if self.endpoint.on_timer(self.now_ns) > self.now_ns:
                return
        raise AssertionError("a timer that never gets ahead of the clock")

    def check(self) -> None:
        """What it says is good, and its to say."""
        receiver = NotifyReceiver(self.codec.profile, sum(map(len, self.endpoint.outbox)))
        receiver.view[:] = b"".join(self.endpoint.outbox)
        position = 0
        while position < receiver.capacity:
            scanned = receiver.scan_untrusted(position, receiver.capacity)
            assert scanned.control is not None
            position, kind = scanned.position, self.codec.profile.kinds[scanned.control.msg_id]
            self.codec.decode_untrusted(scanned.control.msg_id, scanned.control.body)
            assert CATALOGUE[kind].sender is self.endpoint.role
        self.endpoint.outbox.clear()
        assert self.endpoint.granted & ~MASK == 0


def sessions(data: bytes) -> None:
    """Whatever a peer sends in whatever order: a fault of the peer ends the session, and nothing else does.

    Data: role and profile, whether the session is set up in good order first, then pieces, each of which may be held
    back until the next, and pauses.
    """
    source = Bytes(data)
    first = source.byte()
    number = first % len(CODECS)
    codec, recorder = CODECS[number], Recorder()
    settings = settings_of(codec, recorder)
    endpoint: Endpoint
    if first & 0x80:
        make = partial(make_stations, codec.profile, 1, 0, 4, (0, 3), 1)
        endpoint = WlcEndpoint(settings, 0, StationDirectory(make))
    else:
        endpoint = MseEndpoint(settings, 0, 0, notices=Notices(recorder, 1_700_000_000 * NS_PER_S))
        endpoint.start(0)
    driver = _Driver(endpoint, codec)
    try:
        driver.on_timer()
        if first & 0x40:
            for frame in setup_frames(codec, endpoint.peer):
                driver.feed(frame)
            assert endpoint.active
        held = b""
        while source:
            choice = source.byte()
            if choice % 8 < PIECES:
                held += piece(source, number, choice % 8)
            else:
                driver.now_ns += source.number(2) * NS_PER_MS
                driver.on_timer()
            if not choice & 0x80 or len(held) > _MOST_AT_ONCE:
                driver.feed(held)
                held = b""
                driver.check()
        driver.feed(held)
    except RemoteProtocolError as fault:
        assert _KIND_NAME.fullmatch(fault.kind)
        assert str(fault).startswith(f"{fault.kind}: ")
    driver.check()
    recorder.take(0)
    endpoint.session.close()


def sessions_seeds() -> Iterator[bytes]:
    for number, codec in enumerate(CODECS):
        kinds = len(codec.profile.ids)
        for role in (0, 0x80):
            for kind in range(kinds):
                yield joined(role | 0x40 | number, FRAME, kind, 3)
            yield joined(role | number, *(part for frame in range(6) for part in (FRAME, frame, 1 + frame // 4)))
            yield joined(role | 0x40 | number, 6, 0xFF, 0x3A, FRAME, Kind.ECHO_RESPONSE, 3, 7, 0xFF, 0xFF)
            yield joined(role | 0x40 | number, NOTIFICATIONS, 0, 0, 20, 4, FLOOD, Kind.ECHO_REQUEST, 1, 200)
            yield joined(role | 0x40 | number, RAW | 0x80, 0xFF, 0xFE, 3, b"abc", 1, BYTES, 4, b"\x4e\x00\x00\x10")
            yield joined(role | 0x40 | number, CHANGED, 2, 1, 4, 0x80)
