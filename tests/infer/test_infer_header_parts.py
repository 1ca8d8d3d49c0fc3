"""Parts of headers and trailers that are told by themselves: lengths, opaque bytes, ends of the session, replies."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from infer_synthetic import BEGAN_NS, SECOND, by_stream, said

from loadgen.infer.addresses import find_macs
from loadgen.infer.columns import HeadColumns
from loadgen.infer.frames import Frame
from loadgen.infer.framing import FrameCut
from loadgen.infer.header import find_header
from loadgen.infer.heads import Heads
from loadgen.infer.lengths import find_lengths
from loadgen.infer.numbering import NUMBERED, OF_DIRECTION, find_sequence, in_direction
from loadgen.infer.opaque import opaque_columns, opaque_end
from loadgen.infer.senders import find_ends
from loadgen.infer.walks import elements_begin

FRAMING = FrameCut(0, 2, "big", 1, 0)


def columns_of(heads: Heads, end: int, framing: FrameCut = FRAMING) -> HeadColumns:
    return HeadColumns(heads, framing, [], end)


@pytest.mark.parametrize("unit", [1, 4])
def test_a_second_length_is_no_id(unit: int) -> None:
    rng = random.Random(1)
    rows = []
    for number in range(200):
        body = rng.randbytes(4 * rng.randrange(0, 100))
        head = (8 + len(body)).to_bytes(2, "big") + bytes([1, rng.randrange(4), 0, 0])
        rows.append((number, False, head + (len(body) // unit).to_bytes(2, "big") + body))
    heads = by_stream(said(*rows))
    found = find_lengths(columns_of(heads, 8))
    # Zeros beside it are its own.
    assert [(field["at"], field["size"], field["role"]) for field in found] == [(4, 4, "length")]
    header = find_header(heads, FRAMING)
    assert [f["at"] for f in header.fields if f["role"] == "msg_id"] == [3]


def test_a_number_that_is_the_size_of_most_frames_only_is_no_length() -> None:
    rng = random.Random(2)
    rows = []
    for number in range(200):
        body = rng.randbytes(rng.randrange(0, 200))
        said_size = len(body) if number % 50 else 7
        rows.append((number, False, (4 + len(body)).to_bytes(2, "big") + bytes([1, said_size]) + body))
    assert find_lengths(columns_of(by_stream(said(*rows)), 4)) == []


def opaque_frames(in_front: int, behind: int, sizes: int = 5) -> Heads:
    """Frames with so many opaque bytes behind the length, and at the end."""
    rng = random.Random(3)
    rows = []
    for number in range(600):
        kind = rng.randrange(sizes)
        body = b"".join(bytes([kind, rng.randrange(3), 9]) for _ in range(2 * kind))
        data = rng.randbytes(in_front) + bytes([7, kind, number & 0xFF]) + body + rng.randbytes(behind)
        rows.append((number, number % 3 == 0, (2 + len(data)).to_bytes(2, "big") + data))
    return by_stream(said(*rows))


@pytest.mark.parametrize("size", [4, 8, 20])
def test_bytes_that_may_have_any_value_at_the_end_of_every_frame_are_a_trailer(size: int) -> None:
    assert opaque_end(opaque_frames(0, size), 2) == size


@pytest.mark.parametrize("size", [0, 2])
def test_few_opaque_bytes_are_no_trailer(size: int) -> None:
    assert opaque_end(opaque_frames(0, size), 2) == 0


def test_what_counts_is_not_opaque() -> None:
    rows = [(number, False, b"\0\x08\5" + (number * 40_503).to_bytes(5, "big")) for number in range(300)]
    assert opaque_end(by_stream(said(*rows)), 2) == 0


def test_an_authenticator_in_the_header_is_opaque_and_does_not_end_it() -> None:
    heads = opaque_frames(16, 0)
    assert opaque_columns(heads, 2, heads.width, 0) == [False] * 2 + [True] * 16 + [False] * 3
    header = find_header(heads, FRAMING)
    assert (2, 16, "unknown") in [(f["at"], f["size"], f["role"]) for f in header.fields]
    assert header.size > 18


def test_bodies_that_are_random_throughout_are_no_part_of_the_header() -> None:
    rng = random.Random(4)
    rows = []
    for number in range(400):
        body = rng.randbytes(rng.choice((8, 12, 16)))
        rows.append((number, False, bytes([0, 3 + len(body), number % 3]) + body))
    heads = by_stream(said(*rows))
    assert not any(opaque_columns(heads, 3, heads.width, 0))


def sessions_of(head: object, sessions: int = 3) -> list[Frame]:
    """Frames of both sides in turn. head: makes the bytes behind the length: (session, of_client, number)."""
    frames = []
    for session in range(sessions):
        rows = []
        for number in range(40):
            of_client = number % 2 == 0
            data = head(session, of_client, number)  # type: ignore[operator]
            rows.append((number, of_client, (2 + len(data)).to_bytes(2, "big") + data))
        frames += said(*rows, session=session)
    return frames


def test_who_speaks_and_to_whom_is_two_fields_that_change_places() -> None:
    def head(session: int, of_client: bool, number: int) -> bytes:
        ends = bytes([0x10 + session]), b"\1"
        return b"".join(ends if of_client else ends[::-1]) + bytes([number % 4, 7])

    columns = columns_of(by_stream(sessions_of(head)), 6)
    find_ends(columns)
    assert [(f["at"], f["size"], f["role"]) for f in columns.fields] == [(2, 1, "number"), (3, 1, "number")]


def test_addresses_of_the_sessions_ends_are_known_by_those_of_their_packets() -> None:
    ends = {session: (bytes([192, 0, 2, 9]), bytes([198, 51, 100, 1 + session])) for session in range(3)}

    def head(session: int, of_client: bool, number: int) -> bytes:
        client, server = ends[session]
        return bytes([number % 4]) + (server + client if of_client else client + server)

    frames = sessions_of(head)
    heads = Heads(sorted(frames, key=lambda frame: (frame.session, frame.of_client, frame.offset)), ends)
    columns = columns_of(heads, 11)
    find_ends(columns)
    assert [(f["name"], f["at"], f["role"]) for f in columns.fields] == [
        ("sender_ip", 7, "ipv4"),
        ("receiver_ip", 3, "ipv4"),
    ]


@pytest.mark.parametrize(
    ("begins", "told"), [((0x9E3779B9, 0x51ED270B, 0xC2B2AE35), (4, 4)), ((0x10001, 0x20001, 0x30001), (6, 2))]
)
def test_a_sequence_that_begins_anywhere_has_the_bytes_that_did_not_move_yet(
    begins: tuple[int, ...], told: tuple[int, int]
) -> None:
    def head(session: int, of_client: bool, number: int) -> bytes:
        return b"\5\6" + (begins[session] + number // 2 + 9 * of_client).to_bytes(4, "big") + bytes(4)

    columns = columns_of(by_stream(sessions_of(head)), 12)
    columns.order = "big"
    find_sequence(columns, in_direction(columns.heads), NUMBERED, OF_DIRECTION)
    assert [(f["at"], f["size"]) for f in columns.fields if f["role"] == "sequence"] == [told]


def test_what_names_the_frame_that_is_answered_is_a_transaction() -> None:
    """Each third frame of the client is answered at once; all frames are numbered."""
    frames = []
    for session in range(3):
        numbers = {True: 5, False: 40}
        rows: list[tuple[int, bool, bytes]] = []

        for number in range(60):
            answered = number % 3 == 0
            for at, of_client in ((0, True), *([(1, False)] if answered else []), (2, False)):
                numbers[of_client] += 1
                reply = numbers[True] if at == 1 else 0
                data = bytes([0, 8, 0, numbers[of_client], 0, 0, 0, reply])
                rows.append((4 * number + at, of_client, data))
        frames += said(*rows, session=session)
    columns = columns_of(by_stream(frames), 8)
    columns.order = "big"
    find_sequence(columns, in_direction(columns.heads), NUMBERED, OF_DIRECTION)
    assert [(f["name"], f["at"], f["size"], f["role"]) for f in columns.fields] == [
        ("sequence", 2, 2, "sequence"),
        ("reply_to", 4, 4, "transaction"),
    ]


def test_elements_begin_where_all_bodies_are_walked_and_not_where_most_are_by_chance() -> None:
    """The type of the first element reads as a length that ends where another element begins."""
    rng = random.Random(5)
    rows = []
    for number in range(300):
        other = bytes([0, 7, 0, 4]) + rng.randbytes(4)
        first = bytes([0, 14, 0, 6]) + rng.randbytes(6)
        body = first + other * rng.randrange(1, 4) if number % 8 else other * rng.randrange(2, 4)
        data = bytes([number >> 8, number & 0xFF]) + body
        rows.append((number, False, (2 + len(data)).to_bytes(2, "big") + data))
    assert elements_begin(by_stream(said(*rows)), 2, 0) == (4, True)


def test_addresses_are_found_in_numbers_of_eight_bytes() -> None:
    rng = random.Random(6)
    macs = [bytes([0x8C, 0x85, 0x90, *rng.randbytes(3)]) for _ in range(8)]
    bodies = [bytes([1, 0, 0]) + rng.choice(macs) + rng.randbytes(2) for _ in range(80)]
    assert find_macs([bodies]) == frozenset(macs)


def test_bodies_tell_that_zeros_in_front_of_their_addresses_are_no_flags_of_the_header() -> None:
    rng = random.Random(7)
    macs = [bytes([0x8C, 0x85, 0x90, *rng.randbytes(3)]) for _ in range(12)]
    frames, offset = [], 0
    for number in range(600):
        kind = rng.randrange(1, 9)
        # Bodies of some kinds begin with the time; all others with an address that fills eight bytes.
        seconds = (BEGAN_NS // SECOND + number).to_bytes(4, "big")
        body = seconds + rng.randrange(90_000).to_bytes(4, "big") if kind > 4 else bytes(2) + rng.choice(macs)
        body += b"".join(bytes(2) + rng.choice(macs) for _ in range(rng.randrange(1, 4)))
        data = bytes([0, 0, 0, 8 + len(body), 0, 0, 0, kind]) + body
        frames.append(Frame(0, False, offset, BEGAN_NS + number * SECOND, data))
        offset += len(data)
    assert find_header(Heads(frames), FrameCut(2, 2, "big", 1, 0)).size == 8


def told_by_kind(head: Callable[[int], bytes], kinds: int = 6) -> list[tuple[int, int, str]]:
    """The header of frames of so many kinds, each as long as its number says: (at, size, role) of its fields."""
    rng = random.Random(9)
    rows = []
    for number in range(600):
        kind = rng.randrange(kinds)
        body = rng.randbytes(12 + 2 * kind)
        rows.append((number, False, (8 + len(body)).to_bytes(2, "big") + head(kind) + body))
    header = find_header(by_stream(said(*rows)), FRAMING)
    return [(f["at"], f["size"], f["role"]) for f in header.fields]


def test_an_id_of_three_bytes_has_its_vendors_bit() -> None:
    numbers = (0x000101, 0x000102, 0x000118, 0x800016, 0x800017, 0x800020)
    told = told_by_kind(lambda kind: b"\1" + bytes([0x40]) + numbers[kind].to_bytes(3, "big") + b"\7")
    assert (4, 3, "msg_id") in told


def test_an_id_has_a_vendors_number_above_it_where_that_lies_at_an_odd_place() -> None:
    told = told_by_kind(lambda kind: b"\1\2" + (0x3A1700 + 40 + 3 * kind).to_bytes(4, "big"))
    assert (4, 4, "msg_id") in told


def test_an_id_whose_lower_byte_is_0_goes_on_above_it() -> None:
    numbers = (2, 3, 4, 0x100, 0x12C, 0x12D)
    told = told_by_kind(lambda kind: b"\1\2" + numbers[kind].to_bytes(2, "big") + b"\7\7")
    assert (4, 2, "msg_id") in told
