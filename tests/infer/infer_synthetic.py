"""Devices made up by the tests: a header of random parts, a usual dialogue, and what a capture of it has as streams."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import fastcrc

from loadgen.capture.events import Conversation, Data, How
from loadgen.capture.streams import Exchange
from loadgen.infer.frames import Frame
from loadgen.infer.heads import Heads

Order = Literal["big", "little"]
SECOND = 1_000_000_000
BEGAN_NS = 1_790_000_000 * SECOND


@dataclass(frozen=True)
class Part:
    """A field of the header. role: as in layout-1; value: of a constant; by: what is in it else."""

    name: str
    size: int
    role: str
    value: int = 0
    unit: int = 1  # of a timestamp: ns
    boot: bool = False  # a timestamp counts from when the device started
    order: Order | None = None


@dataclass(frozen=True)
class Device:
    order: Order
    parts: tuple[Part, ...]
    add: int  # frame = value * unit + add
    unit: int = 1
    trailer: int = 0  # bytes of the checksum at the end
    checksum: Callable[[bytes], int] | None = None
    ids: dict[str, int] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)

    @property
    def header_size(self) -> int:
        return sum(part.size for part in self.parts)

    def places(self) -> list[tuple[Part, int]]:
        at, found = 0, []
        for part in self.parts:
            found.append((part, at))
            at += part.size
        return found

    def id_of(self, name: str) -> int:
        return self.ids[name]


def crc16(data: bytes) -> int:
    return fastcrc.crc16.xmodem(data)


def internet(data: bytes) -> int:
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


NAMES = (
    "version_request",
    "version_response",
    "capability",
    "subscribe_request",
    "subscribe_response",
    "echo_request",
    "echo_response",
    "measurement_notify",
    "client_info_notify",
    "statistics_request",
    "client_statistics_response",
)
REQUESTS = {name for name in NAMES if name.endswith("_request")}
OF_CLIENT = REQUESTS


class Session:
    """Lays the frames of one session out, as both ends say them."""

    def __init__(self, device: Device, index: int, rng: random.Random, transactions: str = "small") -> None:
        self.device, self.index, self.rng = device, index, rng
        self.sent: list[tuple[int, bool, str, bytes]] = []
        self.numbers = {True: 0, False: 0}
        self.transaction = rng.randrange(1, 5) if transactions == "small" else rng.randrange(1 << 15)

    def say(self, ns: int, name: str, body: bytes, transaction: int) -> None:
        of_client = name in OF_CLIENT
        device = self.device
        if device.unit > 1:
            short = -(device.header_size + len(body) + device.trailer) % device.unit
            body += bytes(short)
        size = device.header_size + len(body) + device.trailer
        out = bytearray()
        checksum_at = None
        for part, at in device.places():
            order = part.order or device.order
            if part.role == "length":
                value = (size - device.add) // device.unit
            elif part.role == "msg_id":
                value = device.ids[name]
                if part.name == "msg_type":
                    value >>= 8
                elif part.name == "msg_subtype":
                    value &= 0xFF
            elif part.role == "transaction":
                value = transaction
            elif part.role == "sequence":
                value = self.numbers[of_client]
            elif part.role == "enum":
                value = device.flags[name]
            elif part.role == "timestamp":
                value = (ns - (BEGAN_NS - 86_400 * SECOND if part.boot else 0)) // part.unit
            elif part.role == "checksum":
                value, checksum_at = 0, (at, part.size, order)
            else:
                value = part.value
            out += (value % (1 << 8 * part.size)).to_bytes(part.size, order)
        self.numbers[of_client] += 1
        out += body
        if device.checksum is not None:
            if checksum_at is not None:
                out += bytes(device.trailer)
                at, width, order = checksum_at
                out[at : at + width] = device.checksum(bytes(out)).to_bytes(width, order)
            else:
                out += device.checksum(bytes(out)).to_bytes(device.trailer, device.order)
        self.sent.append((ns, of_client, name, bytes(out)))

    def ask(self, ns: int, request: str, body: bytes, response: str, answer: bytes) -> None:
        self.transaction += 1
        self.say(ns, request, body, self.transaction)
        self.say(ns + self.rng.randrange(2, 9) * 1_000_000, response, answer, self.transaction)

    def run(self, seconds: int, rate: float) -> None:
        rng, order = self.rng, self.device.order
        ns = BEGAN_NS + self.index * 3 * SECOND + rng.randrange(SECOND)
        begin = ns
        mask = 0x68EBE7
        self.ask(ns, "version_request", b"\1\0\3\0", "version_response", b"\2\0\0\0")
        ns += 50_000_000
        self.say(ns, "capability", mask.to_bytes(8, order), 0)
        ns += 50_000_000
        granted = (mask & 0x2201).to_bytes(8, order)
        self.ask(ns, "subscribe_request", granted, "subscribe_response", granted + b"\0\0")
        end = begin + seconds * SECOND
        plan: list[tuple[int, str]] = [(at, "echo") for at in range(ns + 15 * SECOND, end, 15 * SECOND)]
        plan += [(at, "statistics") for at in range(ns + 7 * SECOND, end, 40 * SECOND)]
        at = ns
        while (at := at + int(rng.expovariate(rate) * SECOND) + 20_000_000) < end:
            plan.append((at, "measure" if rng.random() < 0.9 else "info"))
        stations = [bytes([0x00, 0x25, 0x83, *rng.randbytes(3)]) for _ in range(20)]
        points = [bytes([0x4C, 0x4E, 0x35, *rng.randbytes(3)]) for _ in range(6)]
        for number, (at, what) in enumerate(sorted(plan)):
            station = rng.choice(stations)
            if what == "echo":
                self.ask(at, "echo_request", b"", "echo_response", b"")
            elif what == "statistics":
                counters = b"".join(rng.randrange(1 << 20).to_bytes(4, order) for _ in range(4))
                self.ask(at, "statistics_request", station, "client_statistics_response", station + counters)
            elif what == "info":
                body = station + rng.choice(points) + bytes([rng.randrange(3)]) + b"corp-wifi".ljust(32, b"\0")
                self.say(at, "client_info_notify", body, 0)
            else:
                count = rng.randrange(1, 6)
                body = number.to_bytes(4, order) + station + bytes([0, count])
                for point in rng.sample(points, count):
                    body += point + bytes([rng.randrange(2), 256 - rng.randrange(40, 90), rng.randrange(10, 50)])
                self.say(at, "measurement_notify", body, 0)
        self.sent.sort(key=lambda row: row[0])

    def exchange(self, *, merged: float = 0.0, cut: int = 0, skipped: int = 0) -> Exchange:
        """Args: merged: share of the WLC's frames that share a segment with the next. cut: bytes missing at the end.
        skipped: bytes missing at the beginning of the WLC's stream.
        """
        client = (f"192.0.2.{self.index + 1}", 40_000 + self.index)
        exchange = Exchange(Conversation(self.index, client, ("198.51.100.1", 16113), self.sent[0][0]))
        for of_client, stream in ((True, exchange.client), (False, exchange.server)):
            offset, waiting = 0, b""
            frames = [row for row in self.sent if row[1] is of_client]
            for number, (ns, _, _, data) in enumerate(frames):
                waiting += data
                soon = number + 1 < len(frames) and frames[number + 1][0] < ns + 60_000_000
                if not of_client and soon and self.rng.random() < merged:
                    continue
                if number + 1 == len(frames) and cut:
                    waiting = waiting[:-cut]
                if skipped and offset == 0 and not of_client:
                    waiting = waiting[skipped:]
                for begin in range(0, len(waiting), 1448):
                    piece = waiting[begin : begin + 1448]
                    stream.add(Data(exchange.conversation, of_client, offset, ns, piece))
                    offset += len(piece)
                waiting = b""
            stream.ended = How.CUT if cut else How.FIN
        return exchange


def random_device(seed: int) -> Device:
    rng = random.Random(seed)
    order: Order = rng.choice(("big", "little"))
    id_style = rng.choice(("u8", "u16", "u16", "u32", "two"))
    ids = dict(zip(NAMES, rng.sample(range(1, 90), len(NAMES)), strict=True))
    if id_style == "two":
        ids = {name: (1 + at // 4 << 8) | (1 + at % 4) for at, name in enumerate(NAMES)}
    elif id_style == "u16" and rng.random() < 0.5:
        ids = {name: number + 0x100 * rng.randrange(1, 4) for name, number in ids.items()}
    parts = []
    if rng.random() < 0.6:
        size = rng.choice((1, 2, 4))
        parts.append(Part("magic", size, "constant", rng.randrange(1, 1 << 8 * size)))
    if rng.random() < 0.6:
        parts.append(Part("version", 1, "constant", rng.randrange(1, 4)))
    if rng.random() < 0.6:
        parts.append(Part("flags", rng.choice((1, 1, 2)), "enum"))
    if id_style == "two":
        parts += [Part("msg_type", 1, "msg_id"), Part("msg_subtype", 1, "msg_id")]
    else:
        parts.append(Part("msg_id", int(id_style[1:]) // 8, "msg_id"))
    parts.append(Part("length", rng.choice((2, 2, 4)), "length"))
    if rng.random() < 0.85:
        parts.append(Part("transaction", rng.choice((2, 4, 4, 8)), "transaction"))
    if rng.random() < 0.5:
        parts.append(Part("sequence", rng.choice((2, 4)), "sequence"))
    if rng.random() < 0.4:
        size, unit, boot = rng.choice(((4, SECOND, False), (4, 1_000_000, True), (8, 1_000_000, False), (8, 1, False)))
        parts.append(Part("time", size, "timestamp", unit=unit, boot=boot))
    if rng.random() < 0.3:
        parts.append(Part("reserved", rng.choice((1, 2, 4)), "padding"))
    sums: list[tuple[int, Callable[[bytes], int]]] = [(4, zlib.crc32), (2, crc16), (2, internet)]
    checksum, trailer = None, 0
    if rng.random() < 0.5:
        size, checksum = rng.choice(sums)
        if rng.random() < 0.5:
            trailer = size
        else:
            parts.append(Part("checksum", size, "checksum"))
    rng.shuffle(parts)
    # Fields of a size lie where they are aligned, as those of real headers do.
    laid: list[Part] = []
    at = 0
    while parts:
        fit = next((part for part in parts if at % min(part.size, 4) == 0), None)
        if fit is None:
            fit = Part(f"pad{at}", 1, "padding")
        else:
            parts.remove(fit)
        laid.append(fit)
        at += fit.size
    counts = rng.choice(("frame", "body", "rest"))
    header = sum(part.size for part in laid)
    begins = 0
    for part in laid:
        begins += part.size
        if part.role == "length":
            break
    add = {"frame": 0, "body": header + trailer, "rest": begins}[counts]
    unit = 1
    if counts == "frame" and rng.random() < 0.3:
        unit = 4
    flags = {name: 1 if name in REQUESTS else 4 if "notify" in name else 2 for name in NAMES}
    return Device(order, tuple(laid), add, unit, trailer, checksum, ids, flags)


def captured(
    device: Device, *, sessions: int = 3, seconds: int = 120, rate: float = 2.0, seed: int = 1
) -> list[Session]:
    found = []
    for index in range(sessions):
        session = Session(device, index, random.Random(seed * 1000 + index))
        session.run(seconds, rate)
        found.append(session)
    return found


def exchange_of(client: bytes, server: bytes) -> Exchange:
    """A session of these bytes, in packets of 100 bytes."""
    exchange = Exchange(Conversation(0, ("192.0.2.1", 4000), ("192.0.2.2", 16113), 0))
    for of_client, stream, data in ((True, exchange.client, client), (False, exchange.server, server)):
        for at in range(0, len(data), 100):
            stream.add(Data(exchange.conversation, of_client, at, at * 10**6, data[at : at + 100]))
        stream.ended = How.FIN
    return exchange


def said(*rows: tuple[int, bool, bytes], session: int = 0) -> list[Frame]:
    """Frames of one session at seconds, of the client or not, each behind the one before of its side."""
    offsets = {True: 0, False: 0}
    found = []
    for at, of_client, data in rows:
        found.append(Frame(session, of_client, offsets[of_client], BEGAN_NS + at * SECOND, data))
        offsets[of_client] += len(data)
    return found


def by_stream(frames: list[Frame]) -> Heads:
    return Heads(sorted(frames, key=lambda frame: (frame.session, frame.of_client, frame.offset)))
