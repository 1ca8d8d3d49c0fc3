"""Packets of a capture: pcap and pcapng, as bytes come.

Read after two drafts of the IETF, draft-ietf-opsawg-pcapng and draft-ietf-opsawg-pcap. Times are exact: each
interface's own resolution and offset, as integer nanoseconds; what is finer is cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from loadgen.capture.blocks import BYTE_ORDER_MAGIC, TLS_KEY_LOG, Block, Option
from loadgen.capture.tally import Tally
from loadgen.errors import InputError, Problem
from loadgen.foreign import plain

__all__ = ["Packet", "PacketReader", "Secrets"]

# Bytes of a packet: more than the largest that segmentation offload makes (512 KiB).
_MOST_PACKET = 1 << 20
# Bytes of a block that is needed as a whole: a packet with its options; a key log of 200,000 sessions.
_MOST_BLOCK = 1 << 21
_MOST_SECRETS = 1 << 26
_MOST_INTERFACES = 1 << 16
_TIMES = range(-(1 << 63), 1 << 63)
_SECOND = 1_000_000_000

# Magic numbers of pcap: byte order, and nanoseconds of a tick.
_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAPNG = struct.pack(">I", Block.SECTION)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"\xfd7zX": "xz"}
_SECTION_SIZE = 28  # the least
_NEEDED = frozenset(map(int, Block))
# What each block is looked at for: members of an enumeration take as long as the rest.
_SECTION, _ENHANCED_PACKET, _SECRETS = int(Block.SECTION), int(Block.ENHANCED_PACKET), int(Block.SECRETS)

# By byte order: a number; what a block begins with, and what a packet's goes on with.
_number, _head, _packet_head = (
    {order: struct.Struct(f"{order}{count}I").unpack_from for order in "<>"} for count in (1, 2, 5)
)


class Packet(NamedTuple):
    ns: int  # since the epoch; of a simple packet block, which has none, that of the packet before
    link: int  # link type: a `LinkLayer`, or one that is not read
    data: bytes  # what was captured of it
    length: int  # what it was on the wire, at least as long


class Secrets(NamedTuple):
    """A key log in NSS's format, out of a decryption secrets block."""

    data: bytes


class _Interface(NamedTuple):
    link: int
    most: int  # bytes that were captured of a packet
    # Nanoseconds are ticks * factor // divisor + offset.
    factor: int
    divisor: int
    offset: int


class PacketReader:
    """Fed with a capture's bytes in pieces of any size, it gives its packets and secrets.

    Args:
        name: of the capture, for errors.
        tally: counts packets and blocks that are not read, and where the file is cut.

    After an error it is at its end.
    """

    def __init__(self, name: str = "capture", tally: Tally | None = None) -> None:
        self._name = name
        self.tally = Tally() if tally is None else tally
        self._buffer = bytearray()
        self._offset = 0  # of the buffer in the file
        self._wanted = 4  # bytes in the buffer, without which nothing can be read
        self._skipped = 0  # bytes still to come of a block that is not read
        self._began = 0  # where that block began
        self._read: Callable[[bytes], Iterator[Packet | Secrets]] = self._begin
        self._at = 0  # in what `_read` was given
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._ns = 0
        self._pcap = _Interface(0, _MOST_PACKET, 1, 1, 0)

    def receive(self, data: bytes) -> Iterator[Packet | Secrets]:
        """What these bytes make whole. The iterator has to be read to its end.

        Raises:
            InputError: it is no capture; or a block or a packet says of itself what cannot be.
        """
        if self._skipped:
            gone = min(self._skipped, len(data))
            self._skipped -= gone
            self._offset += gone
            data = data[gone:]
        self._buffer += data
        while len(self._buffer) >= self._wanted:
            whole, read = bytes(self._buffer), self._read
            self._at = 0
            yield from read(whole)
            gone = min(self._at, len(whole))
            self._skipped = self._at - gone
            del self._buffer[:gone]
            self._offset += gone
            if read == self._read:
                return

    def finish(self) -> None:
        """The file ends here: `tally.cut_at` says whether within a packet.

        Raises:
            InputError: it had not begun to be a capture.
        """
        if self._read == self._begin:
            found = f"{len(self._buffer)} bytes" if self._buffer else "an empty file"
            raise InputError(Problem(plain(self._name), "a capture, pcap or pcapng", found))
        if self._skipped:
            self.tally.cut_at = self._began
        elif self._buffer:
            self.tally.cut_at = self._offset

    def _begin(self, whole: bytes) -> Iterator[Packet | Secrets]:
        magic = whole[:4]
        if magic == _PCAPNG:
            self._read, self._wanted = self._pcapng_blocks, 12
        elif magic in _PCAP:
            self._wanted = 24
            if len(whole) >= 24:
                self._pcap_header(*_PCAP[magic], whole)
        else:
            packed = next(
                (f"a file packed with {name}" for magic, name in _COMPRESSED.items() if whole[: len(magic)] == magic),
                "",
            )
            raise self._wrong(0, "a capture, pcap or pcapng", packed or f"a file that begins with {whole[:4].hex(' ')}")
        return iter(())

    def _wrong(self, at: int, expected: str, found: str) -> InputError:
        """`at`: in what is being read."""
        return InputError(Problem(f"{plain(self._name)}, byte {self._offset + at}", expected, found))

    # -- pcap ----------------------------------------------------------------------------------------------------------

    def _pcap_header(self, order: str, tick_ns: int, whole: bytes) -> None:
        major, _, _, _, most, link = struct.unpack_from(f"{order}HHIIII", whole, 4)
        if major != 2:
            raise self._wrong(4, "version 2 of pcap", f"version {major}")
        # Above the link type is how long the frame check sequences are.
        self._pcap = _Interface(link & 0xFFFF, most or _MOST_PACKET, tick_ns, 1, 0)
        self._order, self._at = order, 24
        self._read, self._wanted = self._pcap_records, 16

    def _pcap_records(self, whole: bytes) -> Iterator[Packet | Secrets]:
        unpack = struct.Struct(f"{self._order}IIII").unpack_from
        link, tick_ns, end = self._pcap.link, self._pcap.factor, len(whole)
        at = 0
        self._wanted = 16
        while end - at >= 16:
            seconds, ticks, captured, length = unpack(whole, at)
            if captured > _MOST_PACKET:
                raise self._wrong(at, f"a packet of at most {_MOST_PACKET} bytes", f"one of {captured}")
            after = at + 16 + captured
            if after > end:
                self._wanted = 16 + captured
                break
            self.tally.packets += 1
            data = whole[at + 16 : after]
            yield Packet(seconds * _SECOND + ticks * tick_ns, link, data, max(length, captured))
            at = after
        self._at = at

    # -- pcapng --------------------------------------------------------------------------------------------------------

    def _pcapng_blocks(self, whole: bytes) -> Iterator[Packet | Secrets]:
        end, at = len(whole), 0
        self._wanted = 12
        while end - at >= 12:
            number, size = _head[self._order](whole, at)
            if number == _SECTION:
                if end - at < _SECTION_SIZE:
                    self._wanted = _SECTION_SIZE
                    break
                size = self._section(whole, at)
            if size < 12 or size % 4:
                raise self._wrong(at, "a block of at least 12 bytes, in fours", f"one of {size}")
            after = at + size
            if number not in _NEEDED:
                self.tally.blocks += 1
                self._began = self._offset + at
                at = after
                continue
            if size > _MOST_BLOCK and (number != _SECRETS or size > _MOST_SECRETS):
                most = _MOST_SECRETS if number == _SECRETS else _MOST_BLOCK
                raise self._wrong(at, f"a block of at most {most} bytes", f"one of {size}")
            if after > end:
                self._wanted = size
                break
            (again,) = _number[self._order](whole, after - 4)
            if again != size:
                raise self._wrong(after - 4, f"the block's length again, {size}", str(again))
            if number == _ENHANCED_PACKET or number == Block.PACKET:
                yield self._packet(number, whole, at, after - 4)
            elif number == Block.SIMPLE_PACKET:
                yield self._simple_packet(whole, at, after - 4)
            elif number == Block.INTERFACE:
                self._interface(whole, at, after - 4)
            elif number == Block.SECRETS:
                yield from self._secrets(whole, at, after - 4)
            at = after
        self._at = at

    def _section(self, whole: bytes, at: int) -> int:
        """The size of a section's block; its byte order holds from here on, and its interfaces are to come."""
        for order in "<>":
            if whole[at + 8 : at + 12] == struct.pack(f"{order}I", BYTE_ORDER_MAGIC):
                break
        else:
            raise self._wrong(at + 8, "1a2b3c4d in either byte order", whole[at + 8 : at + 12].hex())
        (size,) = struct.unpack_from(f"{order}I", whole, at + 4)
        if size < _SECTION_SIZE:
            raise self._wrong(at, f"a section of at least {_SECTION_SIZE} bytes", f"one of {size}")
        (major,) = struct.unpack_from(f"{order}H", whole, at + 12)
        if major != 1:
            raise self._wrong(at + 12, "version 1 of pcapng", f"version {major}")
        self._order = order
        self._interfaces = []
        return int(size)

    def _interface(self, whole: bytes, at: int, end: int) -> None:
        if end - at < 16:
            raise self._wrong(at, "an interface of at least 20 bytes", f"one of {end + 4 - at}")
        if len(self._interfaces) == _MOST_INTERFACES:
            raise self._wrong(at, f"at most {_MOST_INTERFACES} interfaces in a section", "another one")
        link, _, most = struct.unpack_from(f"{self._order}HHI", whole, at + 8)
        resolution, offset = 6, 0
        for number, value in self._options(whole, at + 16, end):
            if number == Option.RESOLUTION and len(value) == 1:
                resolution = value[0]
            elif number == Option.OFFSET and len(value) == 8:
                (offset,) = struct.unpack(f"{self._order}q", value)
            elif number in (Option.RESOLUTION, Option.OFFSET):
                expected = "1 byte of if_tsresol" if number == Option.RESOLUTION else "8 bytes of if_tsoffset"
                raise self._wrong(at, expected, str(len(value)))
        # A power of two if the highest bit is set, else of ten.
        divisor = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        factor = _SECOND
        if factor % divisor == 0:
            factor, divisor = factor // divisor, 1
        self._interfaces.append(_Interface(link, most or _MOST_PACKET, factor, divisor, offset * _SECOND))

    def _options(self, whole: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
        while end - at >= 4:
            number, size = struct.unpack_from(f"{self._order}HH", whole, at)
            if number == Option.END:
                return
            if at + 4 + size > end:
                raise self._wrong(at, f"an option of at most {end - at - 4} bytes, its block's rest", f"one of {size}")
            yield number, whole[at + 4 : at + 4 + size]
            at += 4 + size + -size % 4

    def _packet(self, number: int, whole: bytes, at: int, end: int) -> Packet:
        if end - at < 28:
            raise self._wrong(at, "a packet's block of at least 32 bytes", f"one of {end + 4 - at}")
        interface_id, high, low, captured, length = _packet_head[self._order](whole, at + 8)
        if number == Block.PACKET:  # and how many were dropped before, in the other two bytes
            (interface_id,) = struct.unpack_from(f"{self._order}H", whole, at + 8)
        if captured > end - at - 28 or captured > _MOST_PACKET:
            most = min(end - at - 28, _MOST_PACKET)
            raise self._wrong(at, f"a packet of at most {most} bytes", f"one of {captured}")
        interface = self._interface_of(interface_id, at)
        ns = (high << 32 | low) * interface.factor // interface.divisor + interface.offset
        if ns not in _TIMES:
            raise self._wrong(at, "a time within 292 years of 1970", f"{ns // _SECOND} s")
        self._ns = ns
        self.tally.packets += 1
        return Packet(ns, interface.link, whole[at + 28 : at + 28 + captured], max(length, captured))

    def _simple_packet(self, whole: bytes, at: int, end: int) -> Packet:
        if end - at < 12:
            raise self._wrong(at, "a simple packet's block of at least 16 bytes", f"one of {end + 4 - at}")
        (length,) = struct.unpack_from(f"{self._order}I", whole, at + 8)
        interface = self._interface_of(0, at)
        captured = min(length, interface.most)
        if captured > end - at - 12:
            raise self._wrong(at, f"a packet of at most {end - at - 12} bytes", f"one of {captured}")
        self.tally.packets += 1
        return Packet(self._ns, interface.link, whole[at + 12 : at + 12 + captured], length)

    def _interface_of(self, number: int, at: int) -> _Interface:
        if number >= len(self._interfaces):
            raise self._wrong(at, f"one of the section's {len(self._interfaces)} interfaces", f"interface {number}")
        return self._interfaces[number]

    def _secrets(self, whole: bytes, at: int, end: int) -> Iterator[Secrets]:
        if end - at < 16:
            raise self._wrong(at, "secrets of at least 20 bytes", f"a block of {end + 4 - at}")
        kind, size = struct.unpack_from(f"{self._order}II", whole, at + 8)
        if size > end - at - 16:
            raise self._wrong(at, f"secrets of at most {end - at - 16} bytes", f"{size} bytes")
        if kind == TLS_KEY_LOG:
            yield Secrets(whole[at + 16 : at + 16 + size])
        else:
            self.tally.blocks += 1
