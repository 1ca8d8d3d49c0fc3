"""pcap and pcapng: packets, exact times, secrets; and what is damaged."""

from __future__ import annotations

import random
import struct

import pytest
from capture_samples import BEGAN_NS, COOKED, ETHERNET, RAW, STEP_NS, Blocks, pcap, pcapng
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.capture.packets import Packet, PacketReader, Secrets
from loadgen.errors import InputError

SIZES = (1, 7, 1000, 1 << 20)


def read(data: bytes, size: int = 1 << 20) -> tuple[list[Packet | Secrets], PacketReader]:
    reader = PacketReader("taken.pcapng")
    found = [each for at in range(0, len(data), size) for each in reader.receive(data[at : at + size])]
    reader.finish()
    return found, reader


def frames(count: int = 30) -> list[tuple[int, bytes]]:
    rng = random.Random(count)
    return [(BEGAN_NS + at * STEP_NS, rng.randbytes(rng.randint(1, 200))) for at in range(count)]


# -- pcap --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("exact", [True, False])
def test_pcap_in_either_order_and_resolution(order: str, exact: bool, size: int) -> None:
    sent = frames()
    found, reader = read(pcap(sent, order=order, exact=exact, link=RAW), size)
    ns = [ns if exact else ns // 1000 * 1000 for ns, _ in sent]
    assert found == [Packet(at, RAW, data, len(data)) for at, (_, data) in zip(ns, sent, strict=True)]
    assert reader.tally.packets == len(sent)
    assert reader.tally.cut_at is None


def test_the_snapshot_length_cuts() -> None:
    sent = frames()
    found, _ = read(pcap(sent, most=50))
    assert found == [Packet(ns, ETHERNET, data[:50], len(data)) for ns, data in sent]


def test_the_length_of_check_sequences_is_no_link_type() -> None:
    ((packet,), _) = read(pcap(frames(1), link=0x2400_0000 | ETHERNET))
    assert isinstance(packet, Packet)
    assert packet.link == ETHERNET


# -- pcapng ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", "<>")
def test_every_interface_has_its_clock_and_link_type(order: str, size: int) -> None:
    blocks = Blocks(order)
    clocks = [
        (None, None),
        (9, None),
        (0, None),
        (128 + 20, None),
        (12, 1_799_990_000),
        (3, -5),
        (128, 1),
        (128 + 63, 0),
    ]
    for at, (resolution, offset_s) in enumerate(clocks):
        blocks.interface((ETHERNET, RAW, COOKED)[at % 3], resolution, offset_s)
    sent = frames(80)
    for at, (ns, data) in enumerate(sent):
        if clocks[at % 8] == (128 + 63, 0):
            ns = at * STEP_NS  # 2 ** -63 s: a time of today does not fit
            sent[at] = (ns, data)
        blocks.packet(ns, data, at % 8, options=blocks.option(1, b"a comment"))
    found, _ = read(bytes(blocks.data), size)
    assert len(found) == len(sent)
    for at, ((ns, data), packet) in enumerate(zip(sent, found, strict=True)):
        resolution, offset_s = clocks[at % 8]
        resolution, since = 6 if resolution is None else resolution, ns - (offset_s or 0) * 10**9
        # The tick that it is in, to the nanosecond.
        per_second = 1 << (resolution & 127) if resolution & 128 else 10**resolution
        exact = (since * per_second // 10**9) * 10**9 // per_second + (offset_s or 0) * 10**9
        assert packet == Packet(exact, (ETHERNET, RAW, COOKED)[at % 8 % 3], data, len(data))


@pytest.mark.parametrize("size", SIZES)
def test_sections_in_any_order_of_bytes_have_interfaces_of_their_own(size: int) -> None:
    blocks, sent = Blocks("<"), frames(4)
    for at, (order, link) in enumerate([("<", RAW), (">", ETHERNET), ("<", COOKED), (">", RAW)]):
        if at:
            blocks.section(order)
        blocks.interface(link, 6 if at % 2 else 9)
        blocks.packet(*sent[at])
    found, _ = read(bytes(blocks.data), size)
    times = [ns // 1000 * 1000 if at % 2 else ns for at, (ns, _) in enumerate(sent)]
    links = [RAW, ETHERNET, COOKED, RAW]
    assert found == [Packet(times[at], links[at], data, len(data)) for at, (_, data) in enumerate(sent)]


@pytest.mark.parametrize("size", SIZES)
def test_simple_and_old_packet_blocks(size: int) -> None:
    """A simple one has no time but that of the packet before, and is cut by the first interface's snapshot length."""
    blocks, sent = Blocks(), frames(3)
    blocks.interface(most=100)
    blocks.interface(RAW)
    blocks.old_packet(*sent[0], interface=1)
    blocks.simple(b"s" * 333, 100)
    blocks.packet(*sent[1])
    blocks.simple(b"t" * 99)
    blocks.old_packet(*sent[2])
    found, _ = read(bytes(blocks.data), size)
    assert found == [
        Packet(sent[0][0], RAW, sent[0][1], len(sent[0][1])),
        Packet(sent[0][0], ETHERNET, b"s" * 100, 333),
        Packet(sent[1][0], ETHERNET, sent[1][1], len(sent[1][1])),
        Packet(sent[1][0], ETHERNET, b"t" * 99, 99),
        Packet(sent[2][0], ETHERNET, sent[2][1], len(sent[2][1])),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_secrets_wherever_they_lie_and_blocks_that_are_not_needed(size: int) -> None:
    blocks, sent = Blocks(">"), frames(2)
    blocks.secrets(b"# before the interface\n")
    blocks.interface()
    blocks.block(4, bytes(5000))  # names
    blocks.packet(*sent[0])
    blocks.secrets(b"# between\n")
    blocks.secrets(b"wireguard's", kind=0x57474B4C)
    blocks.block(0x0BAD, bytes(8))
    blocks.block(5, bytes(100))  # statistics
    blocks.packet(*sent[1])
    blocks.section("<")
    blocks.secrets(b"# behind all\n")
    found, reader = read(bytes(blocks.data), size)
    secrets = [each.data for each in found if isinstance(each, Secrets)]
    assert secrets == [b"# before the interface\n", b"# between\n", b"# behind all\n"]
    assert [type(each) for each in found] == [Secrets, Packet, Secrets, Packet, Secrets]
    assert reader.tally.blocks == 4


# -- damaged -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_a_file_that_is_cut_ends_there_and_says_where(kind: str) -> None:
    sent = frames(3)
    make = pcap if kind == "pcap" else pcapng
    whole = make(sent)
    # Behind which of its packets it may end.
    ends = [len(make(sent[:count])) for count in range(4)]
    for cut in range(ends[0], len(whole)):
        found, reader = read(whole[:cut], 50)
        count = max(at for at in range(4) if ends[at] <= cut)
        assert [each.data for each in found] == [data for _, data in sent[:count]]
        assert reader.tally.cut_at == (None if cut in ends else ends[count])


def test_a_file_that_ends_within_a_block_that_is_not_needed() -> None:
    blocks = Blocks()
    before = len(blocks.data)
    blocks.block(77, bytes(100_000))
    _, reader = read(bytes(blocks.data)[:-1], 1000)
    assert reader.tally.cut_at == before


def with_blocks(number: int, body: bytes, *, interface: bool = True, order: str = "<") -> bytes:
    blocks = Blocks(order)
    if interface:
        blocks.interface()
    blocks.block(number, body)
    return bytes(blocks.data)


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def u32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


NG = pcapng(frames(1))
INTERFACE = 28  # where its block begins
PACKET = INTERFACE + int.from_bytes(NG[INTERFACE + 4 : INTERFACE + 8], "little")
OLD = pcap(frames(1))
HUGE = 0xFFFF_FFF0
DAMAGED = {
    "empty": (b"", "taken.pcapng: expected a capture, pcap or pcapng, found an empty file"),
    "short": (b"\x0a", "taken.pcapng: expected a capture, pcap or pcapng, found 1 bytes"),
    "header of pcap": (OLD[:23], "taken.pcapng: expected a capture, pcap or pcapng, found 23 bytes"),
    "text": (
        b"1 0.00 192.0.2.1",
        "byte 0: expected a capture, pcap or pcapng, found a file that begins with 31 20 30 2e",
    ),
    "packed": (b"\x1f\x8b\x08\x00", "byte 0: expected a capture, pcap or pcapng, found a file packed with gzip"),
    "pcap version": (replaced(OLD, 4, b"\x03\x00"), "byte 4: expected version 2 of pcap, found version 3"),
    "pcap length": (
        replaced(OLD, 32, u32(HUGE)),
        f"byte 24: expected a packet of at most 1048576 bytes, found one of {HUGE}",
    ),
    "order": (replaced(NG, 8, b"\x01\x02\x03\x04"), "byte 8: expected 1a2b3c4d in either byte order, found 01020304"),
    "version": (replaced(NG, 12, b"\x02\x00"), "byte 12: expected version 1 of pcapng, found version 2"),
    "section": (replaced(NG, 4, u32(24)), "byte 0: expected a section of at least 28 bytes, found one of 24"),
    "size": (replaced(NG, 32, u32(8)), "byte 28: expected a block of at least 12 bytes, in fours, found one of 8"),
    "odd": (replaced(NG, 32, u32(61)), "byte 28: expected a block of at least 12 bytes, in fours, found one of 61"),
    "huge": (replaced(NG, 32, u32(HUGE)), f"byte 28: expected a block of at most 2097152 bytes, found one of {HUGE}"),
    "again": (replaced(NG, PACKET - 4, u32(20)), f"byte {PACKET - 4}: expected the block's length again, "),
    "interface": (replaced(NG, PACKET + 8, u32(1)), f"byte {PACKET}: expected one of the section's 1 interfaces, "),
    "captured": (replaced(NG, PACKET + 20, u32(HUGE)), f"byte {PACKET}: expected a packet of at most "),
    "short packet": (with_blocks(6, bytes(16)), "expected a packet's block of at least 32 bytes, found one of 28"),
    "short simple": (with_blocks(3, b""), "expected a simple packet's block of at least 16 bytes, found one of 12"),
    "long simple": (with_blocks(3, u32(50) + bytes(8)), "expected a packet of at most 8 bytes, found one of 50"),
    "no interface": (
        with_blocks(3, u32(0), interface=False),
        "expected one of the section's 0 interfaces, found interface 0",
    ),
    "short interface": (with_blocks(1, bytes(4)), "expected an interface of at least 20 bytes, found one of 16"),
    "option": (
        with_blocks(1, bytes(8) + b"\x09\x00\xff\xff"),
        "expected an option of at most 0 bytes, its block's rest, found one of 65535",
    ),
    "resolution": (with_blocks(1, bytes(8) + b"\x09\x00\x00\x00"), "expected 1 byte of if_tsresol, found 0"),
    "offset": (with_blocks(1, bytes(8) + b"\x0e\x00\x04\x00" + bytes(4)), "expected 8 bytes of if_tsoffset, found 4"),
    "secrets": (with_blocks(10, u32(0x544C534B, 9) + bytes(8)), "expected secrets of at most 8 bytes, found 9 bytes"),
    "short secrets": (with_blocks(10, bytes(4)), "expected secrets of at least 20 bytes, found a block of 16"),
    "time": (
        bytes(Blocks().data)
        + with_blocks(1, bytes(8) + b"\x09\x00\x01\x00" + bytes(4))[-28:]
        + with_blocks(6, u32(0, HUGE, 0, 0, 0))[-32:],
        "expected a time within 292 years of 1970, found ",
    ),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_damaged_is_refused_with_the_place(case: str, size: int) -> None:
    data, message = DAMAGED[case]
    with pytest.raises(InputError) as caught:
        read(data, size)
    assert message in str(caught.value)
    assert str(caught.value).startswith("taken.pcapng")


def test_what_came_before_the_damage_is_given() -> None:
    sent = frames(5)
    data = pcapng(sent) + pcapng(sent)[28:32] + u32(HUGE, 0)
    reader, found = PacketReader(), list[Packet | Secrets]()
    with pytest.raises(InputError, match=f"byte {len(pcapng(sent))}: "):
        found.extend(reader.receive(data))
    assert [each.data for each in found] == [data for _, data in sent]


def test_interfaces_are_not_without_number() -> None:
    blocks = Blocks()
    blocks.block(1, bytes(8))
    one = bytes(blocks.data)[28:]
    with pytest.raises(InputError, match="expected at most 65536 interfaces in a section, found another one"):
        read(bytes(blocks.data) + one * 65_536)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_are_read_or_refused(data: st.DataObject) -> None:
    """Changed anywhere, or made up; in pieces of any size the same."""
    whole = bytearray(data.draw(st.sampled_from([NG, OLD, pcapng(frames(4)), pcap(frames(4), order=">"), b""])))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=12))
    results = []
    for size in (data.draw(st.integers(1, 60)), 1 << 20):
        reader, found = PacketReader(), []
        try:
            for at in range(0, len(whole), size):
                found += list(reader.receive(bytes(whole[at : at + size])))
            reader.finish()
        except InputError as error:
            results.append((str(error), None))
        else:
            results.append((found, reader.tally))
    assert results[0] == results[1]
