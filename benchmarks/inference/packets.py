"""A capture of sessions, as pcapng: TCP segments with what happens to them on the way."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from benchmarks.inference.filling import SECOND
from benchmarks.inference.talk import MS, Sent

PORT = 16113
SYN, ACK, PSH, FIN = 0x02, 0x10, 0x08, 0x01


@dataclass
class Tunnel:
    """A session on the wire.

    Attributes:
        cut: bytes that are missing at the end of its last frame, where the capture ends.
        skipped_ns: what is before it is in no packet: the session began before the capture.
        lost: shares of segments that were sent again, came late, or are missing in the capture.
    """

    mse: tuple[str, int]
    wlc: str
    frames: list[Sent]
    began_ns: int
    cut: int = 0
    skipped_ns: int = 0
    again: float = 0.01
    late: float = 0.01
    missing: float = 0.0
    # What there is of each direction's stream: where it stops to be whole (a loss, a cut).
    whole: dict[bool, int] = field(default_factory=dict)


@dataclass(order=True)
class Packet:
    ns: int
    tie: int
    data: bytes = field(compare=False)


def _sum16(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return (total + (total >> 16)) & 0xFFFF ^ 0xFFFF


def ethernet(source: str, target: str, ports: tuple[int, int], seq: int, ack: int, flags: int, data: bytes) -> bytes:
    tcp = struct.pack(">HHIIBBHHH", *ports, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 64240, 0, 0)
    ip = struct.pack(
        ">BBHHHBBH4s4s",
        0x45,
        0,
        40 + len(data),
        0,
        0x4000,
        64,
        6,
        0,
        *(bytes(map(int, a.split("."))) for a in (source, target)),
    )
    ip = ip[:10] + struct.pack(">H", _sum16(ip)) + ip[12:]
    # Ethernet fills short frames up.
    return (b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + ip + tcp + data).ljust(60, b"\0")


class Wire:
    """Packets of a tunnel."""

    def __init__(self, tunnel: Tunnel, rng: random.Random) -> None:
        self._tunnel, self._rng = tunnel, rng
        self._next = {True: rng.randrange(1 << 32), False: rng.randrange(1 << 32)}
        self._base = dict(self._next)
        self._mute = True

    def packets(self) -> Iterator[tuple[int, bytes]]:
        tunnel = self._tunnel
        at = tunnel.began_ns - 3 * MS
        for of_mse, flags in ((True, SYN), (False, SYN | ACK)):
            yield at, self._packet(of_mse, self._next[of_mse], flags, b"")
            self._next[of_mse] += 1
            self._base[of_mse] = self._next[of_mse]
            at += MS // 3
        yield at, self._packet(True, self._next[True], ACK, b"")
        for of_mse, ns, data in self._writes():
            yield from self._segments(of_mse, ns, data)
        if not tunnel.cut and tunnel.frames:
            ns = tunnel.frames[-1].ns + 50 * MS
            yield ns, self._packet(True, self._next[True], FIN | ACK, b"")
            yield ns + MS, self._packet(False, self._next[False], FIN | ACK, b"")

    def _writes(self) -> Iterator[tuple[bool, int, bytes]]:
        """Frames that are written within a moment by one side go together, now and then."""
        frames = self._tunnel.frames
        waiting: list[Sent] = []
        for index, sent in enumerate(frames):
            waiting.append(sent)
            then = frames[index + 1] if index + 1 < len(frames) else None
            if (
                then is not None
                and then.of_mse == sent.of_mse
                and then.ns - waiting[0].ns < 40 * MS
                and self._rng.random() < 0.6
            ):
                continue
            data = b"".join(each.data for each in waiting)
            if then is None and self._tunnel.cut:
                data = data[: -self._tunnel.cut]
                self._tunnel.whole[sent.of_mse] = self._next[sent.of_mse] - self._base[sent.of_mse] + len(data)
            yield sent.of_mse, sent.ns, data
            waiting = []

    def _segments(self, of_mse: bool, ns: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        rng, tunnel = self._rng, self._tunnel
        most = 1448 if rng.random() < 0.9 else rng.randrange(20, 400)
        if tunnel.skipped_ns and self._mute and ns >= tunnel.skipped_ns:
            # The capture begins within a frame.
            self._mute = False
            gone = rng.randrange(1, len(data))
            self._next[of_mse] += gone
            data = data[gone:]
        pieces = [data[at : at + most] for at in range(0, len(data), most)]
        for piece in pieces:
            seq = self._next[of_mse]
            self._next[of_mse] += len(piece)
            if ns < tunnel.skipped_ns:
                continue
            if rng.random() < tunnel.missing and ns > tunnel.began_ns + 20 * SECOND:
                tunnel.whole.setdefault(of_mse, seq - self._base[of_mse])
                yield ns + MS, self._packet(not of_mse, self._next[not of_mse], ACK, b"")
                continue
            late = rng.randrange(MS, 30 * MS) if rng.random() < tunnel.late else 0
            yield ns + late, self._packet(of_mse, seq, PSH | ACK, piece)
            if rng.random() < tunnel.again:
                yield ns + rng.randrange(30 * MS, 400 * MS), self._packet(of_mse, seq, PSH | ACK, piece)
            yield ns + late + MS // 2, self._packet(not of_mse, self._next[not of_mse], ACK, b"")

    def _packet(self, of_mse: bool, seq: int, flags: int, data: bytes) -> bytes:
        (host, port), wlc = self._tunnel.mse, self._tunnel.wlc
        ends = (host, wlc, (port, PORT)) if of_mse else (wlc, host, (PORT, port))
        ack = self._next[not of_mse] if flags & ACK else 0
        return ethernet(*ends, seq, ack, flags, data)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def pcapng(packets: Iterable[tuple[int, bytes]]) -> bytes:
    """One section, one Ethernet interface, times in ns."""
    out = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    out.append(_block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)))
    for ns, data in packets:
        head = struct.pack("<IIIII", 0, ns >> 32, ns & 0xFFFFFFFF, len(data), len(data))
        out.append(_block(6, head + data))
    return b"".join(out)


def capture(tunnels: list[Tunnel], rng: random.Random) -> bytes:
    """All of it, in the order of time."""
    every: list[Packet] = []
    for tunnel in tunnels:
        for ns, data in Wire(tunnel, rng).packets():
            # Of a session that began before the capture there is no SYN either.
            if ns >= tunnel.skipped_ns:
                every.append(Packet(ns, len(every), data))
    return pcapng((packet.ns, packet.data) for packet in sorted(every))
