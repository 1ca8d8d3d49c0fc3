"""Plaintext of tunnels as a pcapng file: around what both ends said, the TCP/IP packets that could have carried it.

Packets begin with their IP header. There is one interface, whose times are nanoseconds. All that is given back is whole
blocks: a file that ends behind any of them can be read.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, ip_address

from loadgen.capture.blocks import BYTE_ORDER_MAGIC, Block, LinkLayer, Option, block, option
from loadgen.capture.events import Address, How

__all__ = ["TunnelWriter", "file_header"]

# Bytes in one packet: below what an IP header can say, and twice a TLS record.
_SEGMENT = 1 << 15
# Bytes that the other side acknowledges at the latest: readers take what was acknowledged and is not there for lost.
_UNACKNOWLEDGED = 1 << 16
_WINDOW = 0xFFFF
# Maximum segment size 32768, no-operation, window scale 4.
_SYN_OPTIONS = bytes((2, 4, _SEGMENT >> 8, _SEGMENT & 0xFF, 1, 3, 3, 4))
_FIN, _SYN, _RST, _PSH, _ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_MODULUS = 1 << 32
_TCP = 6


def file_header(*, application: str, interface: str, description: str, comment: str = "") -> bytes:
    """What a file begins with: a section of a program, and its one interface.

    Raises:
        ValueError: a text has more than 65,535 bytes.
    """
    section = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    section += _options({Option.COMMENT: comment, Option.APPLICATION: application})
    # No limit of the length of a packet.
    described = struct.pack("<HHI", LinkLayer.RAW, 0, 0)
    described += _options({Option.NAME: interface, Option.DESCRIPTION: description}, {Option.RESOLUTION: b"\x09"})
    return block(Block.SECTION, section) + block(Block.INTERFACE, described)


def _options(texts: dict[Option, str], others: dict[Option, bytes] | None = None) -> bytes:
    values = {number: text.encode("utf-8", "replace") for number, text in texts.items() if text} | (others or {})
    if not values:
        return b""
    return b"".join(option(number, value) for number, value in values.items()) + option(Option.END, b"")


class TunnelWriter:
    """One tunnel as a TCP connection: `open`, `data` in either direction, `close` of both.

    Each gives the blocks to be appended to a file. Which file is all the same to it: after a rotation, the connection
    goes on in the next one. Times are nanoseconds since the epoch, and do not go back.
    """

    def __init__(self, client: Address, server: Address) -> None:
        """Addresses as numbers, not names; where one is IPv4 and one IPv6, the IPv4 one is written as a mapped one.

        Raises:
            ValueError: an address is no IP address, or a port none.
        """
        ends = [ip_address(address) for address, _ in (client, server)]
        self._is_v4 = all(isinstance(end, IPv4Address) for end in ends)
        packed = [end.packed for end in ends]
        if not self._is_v4:
            packed = [each if len(each) == 16 else bytes(10) + b"\xff\xff" + each for each in packed]
        ports = (client[1], server[1])
        if not all(0 <= port <= 0xFFFF for port in ports):
            raise ValueError(f"ports: expected 0 to 65535, found {ports[0]} and {ports[1]}")
        # By who speaks: False the server, True the client.
        self._addresses = (packed[1] + packed[0], packed[0] + packed[1])
        self._ports = ((ports[1], ports[0]), ports)
        self._sequence = [0, 0]  # of the next byte
        self._acknowledged = [0, 0]  # up to where the other side has said that it has it
        self._ended = [False, False]
        self._identification = 0

    def open(self, ns: int, comment: str = "") -> bytes:
        """The handshake; the comment is on its first packet. ValueError: the comment is too long."""
        # As a stack's clock of initial numbers, so that one on the same ports is known for another connection.
        self._sequence = [(ns // 4_000 + shift) % _MODULUS for shift in (0x5EED_0000, 0)]
        blocks = [self._packet(True, ns, _SYN, b"", comment)]
        self._sequence[True] = (self._sequence[True] + 1) % _MODULUS
        blocks.append(self._packet(False, ns, _SYN | _ACK, b""))
        self._sequence[False] = (self._sequence[False] + 1) % _MODULUS
        blocks.append(self._packet(True, ns, _ACK, b""))
        self._acknowledged[True] = self._sequence[True]
        return b"".join(blocks)

    def data(self, of_client: bool, ns: int, data: bytes | bytearray | memoryview, comment: str = "") -> bytes:
        """What one end said. The comment is on the first of its packets.

        Raises:
            ValueError: that end has closed; or the comment is too long.
        """
        if self._ended[of_client]:
            raise ValueError("data of an end that has closed")
        blocks = []
        for start in range(0, len(data), _SEGMENT):
            part = bytes(data[start : start + _SEGMENT])
            blocks.append(self._packet(of_client, ns, _PSH | _ACK, part, comment))
            comment = ""
            self._sequence[of_client] = (self._sequence[of_client] + len(part)) % _MODULUS
            if (self._sequence[of_client] - self._acknowledged[of_client]) % _MODULUS >= _UNACKNOWLEDGED:
                blocks.append(self._packet(not of_client, ns, _ACK, b""))
        return b"".join(blocks)

    def skip(self, of_client: bool, size: int) -> None:
        """So many bytes that one end said are not known: they are missing in the file, too."""
        self._sequence[of_client] = (self._sequence[of_client] + size) % _MODULUS

    def close(self, of_client: bool, ns: int, how: How, comment: str = "") -> bytes:
        """How one end ended: after a reset, or the second end, the connection is over. What is over says no more.

        Raises:
            ValueError: the comment is too long.
        """
        if self._ended[of_client] or how is How.CUT:
            return b""
        if how is How.RESET:
            reset = self._packet(of_client, ns, _RST | _ACK, b"", comment)
            self._ended = [True, True]
            return reset
        fin = self._packet(of_client, ns, _FIN | _ACK, b"", comment)
        self._sequence[of_client] = (self._sequence[of_client] + 1) % _MODULUS
        self._ended[of_client] = True
        return fin + self._packet(not of_client, ns, _ACK, b"")

    def _packet(self, of_client: bool, ns: int, flags: int, data: bytes, comment: str = "") -> bytes:
        options = _SYN_OPTIONS if flags & _SYN else b""
        acknowledged = 0
        if flags & _ACK:
            acknowledged = self._acknowledged[not of_client] = self._sequence[not of_client]
        size = 20 + len(options) + len(data)
        head = struct.pack(
            ">HHIIBBHHH",
            *self._ports[of_client],
            self._sequence[of_client],
            acknowledged,
            (20 + len(options)) // 4 << 4,
            flags,
            _WINDOW,
            0,
            0,
        )
        addresses = self._addresses[of_client]
        segment = b"".join((head, options, data))
        check = _checksum(b"".join((addresses, struct.pack(">II", size, _TCP), segment)))
        packet = b"".join((self._ip_header(addresses, size), segment[:16], struct.pack(">H", check), segment[18:]))
        described = struct.pack("<IIIII", 0, ns >> 32, ns & 0xFFFFFFFF, len(packet), len(packet))
        parts = (described, packet, bytes(-len(packet) % 4), _options({Option.COMMENT: comment}))
        return block(Block.ENHANCED_PACKET, b"".join(parts))

    def _ip_header(self, addresses: bytes, size: int) -> bytes:
        if not self._is_v4:
            return struct.pack(">IHBB", 6 << 28, size, _TCP, 64) + addresses
        self._identification = (self._identification + 1) & 0xFFFF
        fields = (0x45, 0, 20 + size, self._identification, 0x4000, 64, _TCP, 0)
        head = struct.pack(">BBHHHBBH", *fields) + addresses
        return head[:10] + struct.pack(">H", _checksum(head)) + head[12:]


def _checksum(data: bytes) -> int:
    """Of IP and TCP. The sum of 16-bit words with end-around carry is the remainder by 65,535 of all as one number."""
    if len(data) % 2:
        data += b"\0"
    return -int.from_bytes(data, "big") % 0xFFFF
