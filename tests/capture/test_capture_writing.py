"""Tunnels written as packets: what of them no reader of ours looks at, and what is refused."""

from __future__ import annotations

import struct

import pytest
from capture_samples import BEGAN_NS, CLIENT, CLIENT_6, SERVER, SERVER_6, checksum

from loadgen.capture.events import Address, How, Opened
from loadgen.capture.packets import Packet, PacketReader
from loadgen.capture.reading import events_of
from loadgen.capture.writing import TunnelWriter, file_header

HEADER = file_header(application="loadgen", interface="tunnel", description="decrypted")


def packets(blocks: bytes) -> list[bytes]:
    return [each.data for each in PacketReader().receive(HEADER + blocks) if isinstance(each, Packet)]


@pytest.mark.parametrize("ends", [(CLIENT, SERVER), (CLIENT_6, SERVER_6)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("data", [b"", b"x", b"\xff\xff", bytes(999), bytes(range(256)) * 400])
def test_checksums_and_lengths_are_right(ends: tuple[Address, Address], data: bytes) -> None:
    tunnel = TunnelWriter(*ends)
    written = tunnel.open(BEGAN_NS) + tunnel.data(True, BEGAN_NS, data) + tunnel.data(False, BEGAN_NS, data[::-1])
    found = packets(written + tunnel.close(True, BEGAN_NS, How.FIN) + tunnel.close(False, BEGAN_NS, How.RESET))
    assert len(found) >= 3 + 2 + 1
    for packet in found:
        if ":" in ends[0][0]:
            assert len(packet) == 40 + int.from_bytes(packet[4:6], "big")
            addresses, segment = packet[8:40], packet[40:]
        else:
            assert len(packet) == int.from_bytes(packet[2:4], "big")
            assert checksum(packet[:20]) == 0
            addresses, segment = packet[12:20], packet[20:]
        # With the checksum in it, the sum of all is none.
        assert checksum(addresses + struct.pack(">II", len(segment), 6) + segment) == 0


def test_what_one_end_says_is_acknowledged_by_the_other() -> None:
    tunnel = TunnelWriter(CLIENT, SERVER)
    tunnel.open(BEGAN_NS)
    found = packets(b"".join(tunnel.data(False, BEGAN_NS, bytes(10_000)) for _ in range(14)))
    says = [packet[20:24] == struct.pack(">HH", 40001, 16113) for packet in found]
    assert says == [False] * 7 + [True] + [False] * 7 + [True]
    sequence, acknowledged = struct.unpack_from(">II", found[6], 24)[0], struct.unpack_from(">I", found[7], 28)[0]
    assert acknowledged == (sequence + 10_000) % 2**32


def test_ends_of_two_families_are_one_conversation() -> None:
    opened = next(iter(events_of([HEADER + TunnelWriter(CLIENT, SERVER_6).open(BEGAN_NS)])))
    assert isinstance(opened, Opened)
    assert (opened.conversation.client, opened.conversation.server) == ((f"::ffff:{CLIENT[0]}", CLIENT[1]), SERVER_6)


def test_what_is_over_says_no_more() -> None:
    tunnel = TunnelWriter(CLIENT, SERVER)
    tunnel.open(BEGAN_NS)
    assert tunnel.close(True, BEGAN_NS, How.CUT) == b""
    assert tunnel.close(True, BEGAN_NS, How.FIN)
    with pytest.raises(ValueError, match="data of an end that has closed"):
        tunnel.data(True, BEGAN_NS, b"x")
    assert tunnel.data(False, BEGAN_NS, b"x")
    assert tunnel.close(True, BEGAN_NS, How.FIN) == b""
    assert tunnel.close(False, BEGAN_NS, How.RESET)
    with pytest.raises(ValueError, match="data of an end that has closed"):
        tunnel.data(False, BEGAN_NS, b"x")


@pytest.mark.parametrize(
    ("client", "server", "message"),
    [
        (("mse.example", 1), SERVER, "'mse.example' does not appear to be an IPv4 or IPv6 address"),
        (CLIENT, ("192.0.2.7", 65_536), "ports: expected 0 to 65535, found 40001 and 65536"),
        (("192.0.2.1", -1), SERVER, "ports: expected 0 to 65535, found -1 and 16113"),
    ],
)
def test_ends_that_are_none(client: Address, server: Address, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TunnelWriter(client, server)


def test_a_text_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="option 1: expected at most 65535 bytes, found 65536"):
        TunnelWriter(CLIENT, SERVER).open(BEGAN_NS, "x" * 65_536)
    TunnelWriter(CLIENT, SERVER).open(BEGAN_NS, "x" * 65_535)
