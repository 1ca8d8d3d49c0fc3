"""Link layers, IPv4 and IPv6, fragments: what reaches TCP, and what is counted instead."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from itertools import permutations

import pytest
from capture_samples import (
    ACK,
    BEGAN_NS,
    CLIENT,
    CLIENT_6,
    COOKED,
    COOKED_2,
    ETHERNET,
    IPV4,
    IPV6,
    PSH,
    RAW,
    SERVER,
    SERVER_6,
    ethernet,
    fragments,
    ip,
    ipv4,
    ipv6,
    kind_of,
    tcp,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.capture.network import Segment, SegmentReader
from loadgen.capture.packets import Packet
from loadgen.capture.tally import Tally

DATA = b"what one end says to the other"
ENDS = {IPV4: (CLIENT, SERVER), IPV6: (CLIENT_6, SERVER_6)}


def segment(kind: int = IPV4, data: bytes = DATA, options: bytes = b"") -> bytes:
    return tcp(*ENDS[kind], 4_000_000_000, 77, PSH | ACK, data, options)


def packet(kind: int = IPV4, data: bytes = DATA) -> bytes:
    return ip(*ENDS[kind], segment(kind, data))


def read(packets: Sequence[bytes], link: int = ETHERNET, most: int | None = None) -> tuple[list[Segment], Tally]:
    """most: of each packet that many bytes were captured."""
    tally = Tally()
    reader = SegmentReader(tally)
    taken = [Packet(BEGAN_NS + at, link, each[:most], len(each)) for at, each in enumerate(packets)]
    found = [each for each in map(reader.segment, taken) if each is not None]
    reader.finish()
    return found, tally


def family(number: int, order: str) -> Callable[[bytes], bytes]:
    return lambda packet: struct.pack(f"{order}I", number) + packet


def cooked(packet: bytes, tags: bytes = b"") -> bytes:
    return bytes.fromhex("0000 0001 0006 020000000001 0000") + tags + struct.pack(">H", kind_of(packet)) + packet


def cooked_2(packet: bytes, *, tag: bool = False) -> bytes:
    kind = struct.pack(">H", kind_of(packet))
    behind = struct.pack(">H", 5) + kind if tag else b""
    head = (b"\x81\x00" if tag else kind) + bytes.fromhex("0000 00000001 0001 00 06 0200000000010000")
    return head + behind + packet


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "ethernet": (ETHERNET, ethernet),
    "vlan": (ETHERNET, lambda packet: ethernet(packet, vlans=[(0x8100, 0x2001)])),
    "stacked": (ETHERNET, lambda packet: ethernet(packet, vlans=[(0x88A8, 7), (0x8100, 8)])),
    "old stacked": (ETHERNET, lambda packet: ethernet(packet, vlans=[(0x9100, 7), (0x8100, 8), (0x8100, 9)])),
    "check sequence": (ETHERNET, lambda packet: ethernet(packet) + b"\xff\xfe\xfd\xfc"),
    "raw": (RAW, bytes),
    "raw of BSD": (12, bytes),
    "raw of OpenBSD": (14, bytes),
    "cooked": (COOKED, cooked),
    "cooked vlan": (COOKED, lambda packet: cooked(packet, b"\x81\x00\x00\x05")),
    "cooked 2": (COOKED_2, cooked_2),
    "cooked 2 vlan": (COOKED_2, lambda packet: cooked_2(packet, tag=True)),
}


@pytest.mark.parametrize("kind", [IPV4, IPV6])
@pytest.mark.parametrize("name", LINKS)
def test_link_layers(name: str, kind: int) -> None:
    link, wrap = LINKS[name]
    found, tally = read([wrap(packet(kind)), wrap(packet(kind, b"x"))], link)
    assert [each.data for each in found] == [DATA, b"x"]
    assert [(each.sequence, each.acknowledged, each.flags) for each in found] == [(4_000_000_000, 77, PSH | ACK)] * 2
    assert tally == Tally(segments=2)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("link", [0, 108])
@pytest.mark.parametrize(("number", "kind"), [(2, IPV4), (24, IPV6), (28, IPV6), (30, IPV6)])
def test_loopback_in_the_order_of_who_captured(link: int, number: int, kind: int, order: str) -> None:
    found, _ = read([family(number, order)(packet(kind))], link)
    assert [each.data for each in found] == [DATA]


def test_one_version_of_ip_alone() -> None:
    assert len(read([packet(IPV4)], 228)[0]) == 1
    assert len(read([packet(IPV6)], 229)[0]) == 1


@pytest.mark.parametrize("kind", [IPV4, IPV6])
def test_options_of_tcp_are_no_data(kind: int) -> None:
    found, _ = read([ip(*ENDS[kind], segment(kind, options=b"\x01" * 12))], RAW)
    assert [(each.data, each.length) for each in found] == [(DATA, len(DATA))]


def test_options_of_ipv4() -> None:
    found, _ = read([ipv4(*ENDS[IPV4], segment(), options=b"\x01" * 8)], RAW)
    assert [each.data for each in found] == [DATA]


def extension(after: int, kind: int) -> bytes:
    """A header of 16 bytes."""
    return bytes((after, 2 if kind == 51 else 1)) + bytes(14)


@pytest.mark.parametrize("kinds", [(0,), (43,), (60,), (51,), (0, 43, 60, 51), (60, 60, 60)])
def test_extension_headers(kinds: tuple[int, ...]) -> None:
    headers = b"".join(extension(after, kind) for kind, after in zip(kinds, (*kinds[1:], 6), strict=True))
    found, tally = read([ipv6(*ENDS[IPV6], headers + segment(IPV6), kind=kinds[0])], RAW)
    assert [each.data for each in found] == [DATA]
    assert tally == Tally(segments=1)


def test_lengths_that_are_left_to_the_network_card() -> None:
    """Segmentation offload: an IP length of 0 is that of the packet."""
    data = bytes(range(256)) * 300
    long = [ipv4(*ENDS[IPV4], segment(data=data), total=0), ipv6(*ENDS[IPV6], segment(IPV6, data), size=0)]
    found, tally = read([ethernet(each) for each in long])
    assert [each.data for each in found] == [data, data]
    assert tally == Tally(segments=2)


@pytest.mark.parametrize("kind", [IPV4, IPV6])
def test_what_the_snapshot_length_cut_is_known_to_be_missing(kind: int) -> None:
    frame = ethernet(packet(kind, bytes(1000)))
    headers = len(frame) - 1000
    for most in (headers, headers + 1, headers + 999):
        found, tally = read([frame], most=most)
        assert [(each.data, each.length) for each in found] == [(bytes(most - headers), 1000)]
        assert tally == Tally(segments=1, cut=1)
    for most in range(headers):
        found, tally = read([frame], most=most)
        assert found == []
        assert tally == Tally(headers_cut=1)


OTHERS = {
    "arp": (ETHERNET, bytes(12) + b"\x08\x06" + bytes(46), Tally(not_ip=1)),
    "802.3": (ETHERNET, bytes(12) + b"\x00\x26" + bytes(46), Tally(not_ip=1)),
    "another link": (127, packet(), Tally(other_links={127: 1})),
    "another family": (0, struct.pack("<I", 7) + packet(), Tally(not_ip=1)),
    "no version": (RAW, b"\x55" + packet()[1:], Tally(not_ip=1)),
    "nothing": (RAW, b"", Tally(not_ip=1)),
    "udp": (RAW, ipv4(*ENDS[IPV4], bytes(30), protocol=17), Tally(not_tcp=1)),
    "udp 6": (RAW, ipv6(*ENDS[IPV6], bytes(30), kind=17), Tally(not_tcp=1)),
    "esp": (RAW, ipv6(*ENDS[IPV6], bytes(30), kind=50), Tally(not_tcp=1)),
    "short header": (RAW, b"\x44" + packet()[1:], Tally(malformed=1)),
    "short length": (RAW, ipv4(*ENDS[IPV4], segment(), total=19), Tally(malformed=1)),
    "half a header": (RAW, ipv4(*ENDS[IPV4], segment(), total=39), Tally(malformed=1)),
    "data offset": (RAW, ipv4(*ENDS[IPV4], segment()[:12] + b"\x40" + segment()[13:]), Tally(malformed=1)),
    "long offset": (RAW, ipv4(*ENDS[IPV4], segment()[:12] + b"\xf0" + segment()[13:]), Tally(malformed=1)),
    "wrong version": (ETHERNET, ethernet(b"\x45" + packet(IPV6)[1:])[:12] + b"\x86\xdd" + packet(), Tally(malformed=1)),
    "extensions beyond": (RAW, ipv6(*ENDS[IPV6], extension(60, 60), kind=60), Tally(malformed=1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_counted(name: str) -> None:
    link, data, expected = OTHERS[name]
    found, tally = read([data], link)
    assert found == []
    assert tally == expected


# -- fragments ---------------------------------------------------------------------------------------------------------

LONG = random.Random(1).randbytes(1000)


def fragments_6(packet: bytes, size: int, identification: int) -> list[bytes]:
    payload = packet[40:]
    found = []
    for start in range(0, len(payload), size):
        part = payload[start : start + size]
        head = struct.pack(">BBHI", packet[6], 0, start | (start + size < len(payload)), identification)
        found.append(ipv6(*ENDS[IPV6], head + part, kind=44))
    return found


CUT: dict[int, Callable[[bytes, int, int], list[bytes]]] = {IPV4: fragments, IPV6: fragments_6}


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_fragments_in_any_order_doubled(kind: int, order: tuple[int, ...]) -> None:
    parts = CUT[kind](packet(kind, LONG), 264, 9)
    assert len(parts) == 4
    found, tally = read([ethernet(parts[at]) for at in order for _ in range(2)])
    assert [each.data for each in found] == [LONG]
    assert tally == Tally(segments=1)


@pytest.mark.parametrize("kind", CUT)
def test_fragments_of_many_datagrams_mixed(kind: int) -> None:
    datas = [random.Random(at).randbytes(1000) for at in range(50)]
    parts = [part for at, data in enumerate(datas) for part in CUT[kind](packet(kind, data), 264, at)]
    random.Random(1).shuffle(parts)
    found, tally = read(parts, RAW)
    assert sorted(each.data for each in found) == sorted(datas)
    assert tally == Tally(segments=50)


def test_a_fragment_header_of_a_whole_datagram() -> None:
    """RFC 6946: it waits for nothing."""
    found, tally = read([*fragments_6(packet(IPV6), 2000, 9), *fragments_6(packet(IPV6), 2000, 9)], RAW)
    assert [each.data for each in found] == [DATA, DATA]
    assert tally == Tally(segments=2)


@pytest.mark.parametrize("kind", CUT)
def test_a_fragment_that_never_comes(kind: int) -> None:
    parts = CUT[kind](packet(kind, LONG), 264, 9)
    for missing in range(4):
        found, tally = read([part for at, part in enumerate(parts) if at != missing], RAW)
        assert found == []
        assert tally == Tally(fragments_lost=3)


def test_fragments_that_lie_over_one_another() -> None:
    """Of what is in two, the one that begins first counts."""
    whole = packet(IPV4, LONG)
    early = fragments(whole[:-200] + b"!" * 200, 512, 9)[:2]
    late = fragments(whole, 256, 9)[3:]
    found, _ = read([*late, *early], RAW)
    assert [len(each.data) for each in found] == [1000]
    assert found[0].data[:800] == LONG[:800]


def test_a_fragment_of_which_the_snapshot_length_cut_some() -> None:
    parts = fragments(packet(IPV4, LONG), 264, 9)
    found, tally = read(parts, RAW, most=20 + 100)
    assert [(each.data, each.length) for each in found] == [(LONG[:80], 1000)]
    assert tally == Tally(segments=1, cut=1)


def test_an_identification_is_another_datagrams_later() -> None:
    first, second = (fragments(packet(IPV4, each), 512, 9) for each in (LONG, LONG[::-1]))
    tally = Tally()
    reader = SegmentReader(tally)
    sent = [(0, first[0]), (60, second[0]), (60, second[1]), (61, first[0]), (61, first[1])]
    taken = [reader.segment(Packet(BEGAN_NS + s * 10**9, RAW, each, len(each))) for s, each in sent]
    assert [each.data for each in taken if each] == [LONG[::-1], LONG]
    assert tally == Tally(segments=2, fragments_lost=1)


def test_memory_for_fragments_is_bounded() -> None:
    """Of those that wait for the longest time, it is given up."""
    tally = Tally()
    reader = SegmentReader(tally)
    for at in range(20_000):
        first, _ = fragments(packet(IPV4, LONG), 1008, at)
        reader.segment(Packet(BEGAN_NS, RAW, first, len(first)))
    assert 15_000 < tally.fragments_lost < 20_000
    assert reader._fragments._cost <= 1 << 22
    for at, is_there in ((19_999, True), (0, False)):
        _, second = fragments(packet(IPV4, LONG), 1008, at)
        assert (reader.segment(Packet(BEGAN_NS, RAW, second, len(second))) is not None) == is_there


def test_a_datagram_of_too_many_fragments_is_given_up() -> None:
    parts = fragments(packet(IPV4, bytes(8000)), 8, 9)
    found, tally = read(parts, RAW)
    assert found == []
    assert tally == Tally(fragments_lost=len(parts))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_packet_is_read_or_counted(data: st.DataObject) -> None:
    """Changed anywhere, cut anywhere: no error, and one place where it is counted."""
    link = data.draw(st.sampled_from([0, 1, 12, 14, 101, 108, 113, 228, 229, 276]))
    kind = data.draw(st.sampled_from([IPV4, IPV6]))
    wrap = {1: ethernet, 113: cooked, 276: cooked_2, 0: family(2, "<"), 108: family(30, ">")}.get(link, bytes)
    sent = []
    for whole in (packet(kind), *CUT[kind](packet(kind, LONG), 264, 9)):
        changed = bytearray(wrap(whole))
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(changed)))
            changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        sent.append(bytes(changed))
    found, tally = read(sent, link, data.draw(st.none() | st.integers(0, 200)))
    assert tally.segments == len(found)
    assert all(len(each.data) <= each.length for each in found)
    counted = tally.segments + tally.not_ip + tally.not_tcp + tally.malformed + tally.headers_cut + tally.fragments_lost
    assert 1 <= counted <= len(sent) + 1
