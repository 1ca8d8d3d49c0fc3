"""Captures that the tests make, packet by packet, and what was said in them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from loadgen.capture.events import Address, Data, Event, Hole
from loadgen.capture.reading import events_of
from loadgen.capture.tally import Tally

BEGAN_NS = 1_800_000_000_123_456_789
STEP_NS = 1_000_003
CLIENT: Address = ("192.0.2.1", 40001)
SERVER: Address = ("192.0.2.7", 16113)
CLIENT_6: Address = ("2001:db8::1", 40001)
SERVER_6: Address = ("2001:db8::7", 16113)
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
IPV4, IPV6 = 0x0800, 0x86DD
ETHERNET, RAW, COOKED, COOKED_2 = 1, 101, 113, 276


# -- packets -----------------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp(
    source: Address, target: Address, sequence: int, acknowledged: int, flags: int, data: bytes, options: bytes = b""
) -> bytes:
    size = 20 + len(options)
    numbers = (sequence % (1 << 32), acknowledged % (1 << 32))
    head = struct.pack(">HHIIBBHHH", source[1], target[1], *numbers, size << 2, flags, 64_000, 0, 0) + options
    addresses = b"".join(ip_address(end[0]).packed for end in (source, target))
    check = checksum(addresses + struct.pack(">II", size + len(data), 6) + head + data)
    return head[:16] + struct.pack(">H", check) + head[18:] + data


def ipv4(
    source: Address,
    target: Address,
    payload: bytes,
    *,
    identification: int = 1,
    fragment: int = 0,
    total: int | None = None,
    protocol: int = 6,
    options: bytes = b"",
) -> bytes:
    """fragment: the field with the offset in eights and the flag 0x2000, more of them."""
    size = 20 + len(options)
    total = size + len(payload) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, total, identification, fragment, 64, protocol, 0)
    head += b"".join(ip_address(end[0]).packed for end in (source, target)) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(source: Address, target: Address, payload: bytes, *, kind: int = 6, size: int | None = None) -> bytes:
    """kind: of what the payload begins with, 6: TCP."""
    head = struct.pack(">IHBB", 6 << 28, len(payload) if size is None else size, kind, 64)
    return head + b"".join(ip_address(end[0]).packed for end in (source, target)) + payload


def ip(source: Address, target: Address, payload: bytes) -> bytes:
    return (ipv6 if ":" in source[0] else ipv4)(source, target, payload)


def fragments(packet: bytes, size: int, identification: int) -> list[bytes]:
    """An IPv4 packet without options, cut."""
    head, payload = packet[:20], packet[20:]
    found = []
    for start in range(0, len(payload), size):
        part = payload[start : start + size]
        field = start // 8 | (0x2000 if start + size < len(payload) else 0)
        changed = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(part), identification, field, 64, head[9], 0) + head[12:]
        found.append(changed[:10] + struct.pack(">H", checksum(changed)) + changed[12:] + part)
    return found


def kind_of(packet: bytes) -> int:
    return IPV6 if packet[0] >> 4 == 6 else IPV4


def ethernet(packet: bytes, *, vlans: Sequence[tuple[int, int]] = (), padded: bool = True) -> bytes:
    """vlans: of each tag its type and itself. Frames have at least 60 bytes."""
    tags = b"".join(struct.pack(">HH", *tag) for tag in vlans)
    frame = bytes.fromhex("020000000001 020000000002") + tags + struct.pack(">H", kind_of(packet)) + packet
    return frame + b"\xa5" * (60 - len(frame)) if padded else frame


# -- files -------------------------------------------------------------------------------------------------------------


def pcap(
    packets: Iterable[tuple[int, bytes]],
    *,
    link: int = ETHERNET,
    order: str = "<",
    exact: bool = True,
    most: int = 262_144,
) -> bytes:
    """exact: nanoseconds, else microseconds. most: the snapshot length."""
    magic = 0xA1B23C4D if exact else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, most, link)]
    for ns, packet in packets:
        seconds, rest = divmod(ns, 10**9)
        head = (seconds, rest if exact else rest // 1000, min(len(packet), most), len(packet))
        parts.append(struct.pack(f"{order}IIII", *head) + packet[:most])
    return b"".join(parts)


class Blocks:
    """A pcapng file, block by block. Of each section the interfaces count from 0."""

    def __init__(self, order: str = "<") -> None:
        self.data = bytearray()
        self.section(order)

    def block(self, number: int, body: bytes) -> None:
        size = 12 + len(body)
        self.data += struct.pack(f"{self.order}II", number, size) + body + struct.pack(f"{self.order}I", size)

    def option(self, number: int, value: bytes) -> bytes:
        return struct.pack(f"{self.order}HH", number, len(value)) + value + bytes(-len(value) % 4)

    def section(self, order: str = "<", version: int = 1) -> None:
        self.order = order
        self.clocks: list[tuple[int, int]] = []
        self.block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, version, 0, -1))

    def interface(
        self, link: int = ETHERNET, resolution: int | None = 9, offset_s: int | None = None, most: int = 0
    ) -> None:
        options = self.option(2, b"eth0") + self.option(9999, b"unknown")
        if resolution is not None:
            options += self.option(9, bytes((resolution,)))
        if offset_s is not None:
            options += self.option(14, struct.pack(f"{self.order}q", offset_s))
        self.block(1, struct.pack(f"{self.order}HHI", link, 0, most) + options + self.option(0, b""))
        self.clocks.append((6 if resolution is None else resolution, offset_s or 0))

    def ticks(self, interface: int, ns: int) -> int:
        resolution, offset_s = self.clocks[interface]
        since = ns - offset_s * 10**9
        return (since << (resolution & 127)) // 10**9 if resolution & 128 else since * 10**resolution // 10**9

    def packet(
        self, ns: int, packet: bytes, interface: int = 0, *, captured: int | None = None, options: bytes = b""
    ) -> None:
        ticks, kept = self.ticks(interface, ns), packet[:captured]
        head = (interface, ticks >> 32, ticks & 0xFFFFFFFF, len(kept), len(packet))
        self.block(6, struct.pack(f"{self.order}IIIII", *head) + kept + bytes(-len(kept) % 4) + options)

    def old_packet(self, ns: int, packet: bytes, interface: int = 0) -> None:
        ticks = self.ticks(interface, ns)
        head = (interface, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
        self.block(2, struct.pack(f"{self.order}HHIIII", *head) + packet + bytes(-len(packet) % 4))

    def simple(self, packet: bytes, captured: int | None = None) -> None:
        kept = packet[:captured]
        self.block(3, struct.pack(f"{self.order}I", len(packet)) + kept + bytes(-len(kept) % 4))

    def secrets(self, data: bytes, kind: int = 0x544C534B) -> None:
        self.block(10, struct.pack(f"{self.order}II", kind, len(data)) + data + bytes(-len(data) % 4))


def pcapng(packets: Iterable[tuple[int, bytes]], *, link: int = ETHERNET) -> bytes:
    blocks = Blocks()
    blocks.interface(link)
    for ns, packet in packets:
        blocks.packet(ns, packet)
    return bytes(blocks.data)


# -- connections -------------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """One packet of a connection: whose bytes at which offset of its stream; None: it carries none."""

    packet: bytes  # begins with its IP header
    of_client: bool
    offset: int | None = None
    data: bytes = b""


class Talk:
    """What two ends say to one another, and the packets that carry it; both acknowledge all that they have by then."""

    def __init__(
        self,
        seed: object,
        *,
        client: Address = CLIENT,
        server: Address = SERVER,
        first: tuple[int, int] = (1000, 5000),
        count: int = 40,
        most: int = 900,
    ) -> None:
        """first: the initial numbers of server and client."""
        rng = random.Random(f"talk {seed}")
        self.ends = (server, client)
        self.first = first
        self.said = [b"", b""]
        self.parts = [
            self.part(True, -1, SYN, b"", b"\x02\x04\x05\xb4"),
            self.part(False, -1, SYN | ACK, b"", b"\x02\x04\x05\xb4"),
            self.part(True, 0, ACK, b""),
        ]
        for _ in range(count):
            self.say(rng.random() < 0.4, rng.randbytes(rng.randint(1, most)))

    def part(self, of_client: bool, offset: int, flags: int, data: bytes, options: bytes = b"") -> Part:
        """A segment at an offset of its stream, which acknowledges what the other end has said so far."""
        source, target = self.ends[of_client], self.ends[not of_client]
        sequence = self.first[of_client] + 1 + offset
        acknowledged = self.first[not of_client] + 1 + len(self.said[not of_client]) if flags & ACK else 0
        segment = tcp(source, target, sequence, acknowledged, flags, data, options)
        return Part(ip(source, target, segment), of_client, offset if data else None, data)

    def say(self, of_client: bool, data: bytes) -> None:
        self.parts.append(self.part(of_client, len(self.said[of_client]), PSH | ACK, data))
        self.said[of_client] += data

    def again(self, of_client: bool, start: int, end: int) -> Part:
        """Of what was said some bytes, sent once more."""
        return self.part(of_client, start, PSH | ACK, self.said[of_client][start:end])

    def bye(self) -> None:
        self.parts += [self.part(side, len(self.said[side]), FIN | ACK, b"") for side in (True, False)]

    def of(self, of_client: bool) -> list[int]:
        """Where in `parts` an end's data are."""
        return [at for at, part in enumerate(self.parts) if part.of_client == of_client and part.data]


def timed(packets: Iterable[Part | bytes], began_ns: int = BEGAN_NS) -> list[tuple[int, bytes]]:
    """Packets with times a millisecond apart, as Ethernet frames."""
    raw = (part.packet if isinstance(part, Part) else part for part in packets)
    return [(began_ns + at * STEP_NS, ethernet(packet)) for at, packet in enumerate(raw)]


# -- what is read ------------------------------------------------------------------------------------------------------


def read(captured: bytes, size: int = 1 << 20, tally: Tally | None = None) -> list[Event]:
    """All of it, in pieces of a size."""
    return list(events_of((captured[at : at + size] for at in range(0, len(captured), size)), tally=tally))


def said_in(events: Iterable[Event], conversation: int = 0) -> list[bytes]:
    """What server and client said in a conversation; nothing stands for holes."""
    said = [bytearray(), bytearray()]
    for event in events:
        if isinstance(event, Data) and event.conversation.index == conversation:
            said[event.of_client] += event.data
    return [bytes(each) for each in said]


def holes_in(events: Iterable[Event]) -> list[tuple[bool, int, int | None]]:
    """Of which end, at which offset, how long."""
    return [(event.of_client, event.offset, event.length) for event in events if isinstance(event, Hole)]
