"""Two real endpoints back to back in memory, with virtual time: the other driver of `loadgen.session`."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import settings

from loadgen.errors import RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import MeasurementNotify, Message
from loadgen.nmsp.profile import reference_profile
from loadgen.scenario.schema import SessionTable
from loadgen.session.conversation import hear_untrusted
from loadgen.session.link import Endpoint, EndpointSettings
from loadgen.session.mse import MseEndpoint
from loadgen.session.wlc import WlcEndpoint
from loadgen.units import NS_PER_S, Duration

# For every property test here: the same examples in every run, and no verdict on how fast the machine is.
REPEATABLE = settings(derandomize=True, deadline=None, database=None)

PROFILE = reference_profile()
CODEC = Codec(PROFILE)
ECHO_NS, DEAD_NS, SETUP_NS = 15 * NS_PER_S, 30 * NS_PER_S, 10 * NS_PER_S


def settings_of(mask: int, recorder: Recorder, codec: Codec = CODEC) -> EndpointSettings:
    return EndpointSettings(
        codec,
        recorder,
        mask=mask,
        setup_timeout_ns=SETUP_NS,
        timers=SessionTable(Duration(ECHO_NS), Duration(DEAD_NS)),
    )


class Side:
    """An endpoint with its receive buffer: takes bytes as a shard does, and keeps what came."""

    def __init__(self, endpoint: Endpoint, recorder: Recorder) -> None:
        self.endpoint = endpoint
        self.recorder = recorder
        self.receiver = NotifyReceiver(endpoint.settings.codec.profile, 1 << 16)
        self.tail = b""
        self.received: list[int] = []  # sequence numbers of notifications
        self.fault: RemoteProtocolError | None = None
        self.deadline_ns = endpoint.on_timer(endpoint.started_ns)

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take bytes; a fault ends it."""
        assert self.fault is None
        receiver = self.receiver
        end = len(self.tail) + len(data)
        receiver.view[:end] = self.tail + data
        was_active = self.endpoint.active
        heard = hear_untrusted(receiver, self.endpoint, 0, end, now_ns, lambda *_: None)
        try:
            if heard.fault is not None:
                raise heard.fault
            if self.endpoint.active and not was_active:
                self.deadline_ns = self.endpoint.on_timer(now_ns)
        except RemoteProtocolError as fault:
            self.fault = fault
        self.received += receiver.columns().sequence.tolist()
        receiver.reset()
        self.tail = bytes(receiver.view[heard.position : end])

    def hear(self, message: Message, now_ns: int, transaction: int = 0) -> None:
        """Take one message."""
        self.feed(CODEC.encode(message, transaction), now_ns)

    def tick(self, now_ns: int) -> None:
        """Run the timer as long as it is due; one that is late catches up, and must get ahead of the clock."""
        for _ in range(100):
            if self.fault is not None or now_ns < self.deadline_ns:
                return
            try:
                self.deadline_ns = self.endpoint.on_timer(now_ns)
            except RemoteProtocolError as fault:
                self.fault = fault
        raise AssertionError("a timer that never gets ahead of the clock")

    def take_outbox(self) -> bytes:
        data = b"".join(self.endpoint.outbox)
        self.endpoint.outbox.clear()
        return data

    def said(self) -> list[tuple[Message, int]]:
        """What is in the outbox, as messages with their transactions; taken out."""
        data, out = memoryview(self.take_outbox()), []
        decode = self.endpoint.settings.codec.decode_untrusted
        while data:
            msg_id, size = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")
            out.append((decode(msg_id, data[12:size]), int.from_bytes(data[8:12], "big")))
            data = data[size:]
        return out


def wlc_side(offers: int = 0x68EBE7, started_ns: int = 0, codec: Codec = CODEC) -> Side:
    recorder = Recorder()
    endpoint = WlcEndpoint(settings_of(offers, recorder, codec), started_ns)
    endpoint.start(started_ns)
    return Side(endpoint, recorder)


def mse_side(wants: int = 1, started_ns: int = 0, codec: Codec = CODEC) -> Side:
    recorder = Recorder()
    endpoint = MseEndpoint(settings_of(wants, recorder, codec), started_ns, number=0)
    endpoint.start(started_ns)
    return Side(endpoint, recorder)


class Pair:
    """A WLC and an MSE with a wire between them that takes no time.

    Args:
        piece: how many bytes arrive at once; 0 for all.
    """

    def __init__(
        self, offers: int = 0x68EBE7, wants: int = 1, piece: int = 0, started_ns: int = 0, codec: Codec = CODEC
    ) -> None:
        self.wlc, self.mse = wlc_side(offers, started_ns, codec), mse_side(wants, started_ns, codec)
        self.now_ns = started_ns
        self.piece = piece
        self.cut = False  # nothing arrives any more, in either direction

    def settle(self) -> None:
        """Carry bytes both ways until both are silent."""
        while self.wlc.endpoint.outbox or self.mse.endpoint.outbox:
            for sender, other in ((self.wlc, self.mse), (self.mse, self.wlc)):
                for piece in pieces(sender.take_outbox(), self.piece):
                    if other.fault is None and not self.cut:
                        other.feed(piece, self.now_ns)

    def run_until(self, end_ns: int) -> None:
        """Let time pass from one deadline to the next."""
        self.settle()
        while (due := min(s.deadline_ns for s in (self.wlc, self.mse) if s.fault is None)) <= end_ns:
            self.now_ns = due
            for side in (self.wlc, self.mse):
                side.tick(due)
            self.settle()
            if self.wlc.fault is not None and self.mse.fault is not None:
                break
        self.now_ns = end_ns


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut into pieces of `size` bytes; 0: one piece."""
    size = size or max(1, len(data))
    yield from (data[i : i + size] for i in range(0, len(data), size))


def notify(sequence: int) -> MeasurementNotify:
    return MeasurementNotify(
        sequence=sequence,
        due_ns=1000 + sequence,
        sent_ns=2000 + sequence,
        station_mac=b"\x02\x53\x00\x00\x00\x01",
        subservice=0,
        readings=(),
    )


def histogram_values(recorder: Recorder, metric: str) -> tuple[int, int, int]:
    """(count, min, max) of what was recorded so far; taken."""
    histogram = recorder.bins(metric).take()
    if histogram is None:
        return (0, 0, 0)
    summary = histogram.summary()
    return (summary.count, summary.min, summary.max)
