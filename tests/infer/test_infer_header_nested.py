"""Headers within headers, counts of one byte beside a length, numbers of sessions, other byte orders than bodies'."""

from __future__ import annotations

import random

import pytest
from infer_synthetic import by_stream, said

from loadgen.infer.frames import Frame
from loadgen.infer.framing import FrameCut
from loadgen.infer.header import HeaderFound, find_header
from loadgen.infer.walks import elements_begin

FRAMING = FrameCut(0, 2, "big", 1, 0)


def roles(header: HeaderFound) -> list[tuple[int, int, str]]:
    return [(field["at"], field["size"], field["role"]) for field in header.fields]


def sessions_of(make: object, frames: int = 200, sessions: int = 4, *, order: str = "big") -> list[Frame]:
    """Frames of both sides by turns. make: what is behind the length, of (session, of_client, number)."""
    found: list[Frame] = []
    for session in range(sessions):
        rows = []
        for number in range(frames):
            data = make(session, number % 2 == 0, number)  # type: ignore[operator]
            rows.append((number, number % 2 == 0, (2 + len(data)).to_bytes(2, order) + data))  # type: ignore[arg-type]
        found += said(*rows, session=session)
    return found


def test_elements_with_types_and_lengths_of_four_bytes_end_the_header() -> None:
    """All bodies begin with one and the same element's type, which looks like the header's."""
    rng = random.Random(1)

    def element(kind: int, value: bytes) -> bytes:
        return kind.to_bytes(4, "big") + (8 + len(value)).to_bytes(4, "big") + value

    rows = []
    for number in range(200):
        rest = [element(rng.choice((55, 5002)), rng.randbytes(4)) for _ in range(rng.randrange(1, 4))]
        data = bytes([1, number % 3]) + element(264, b"host" * (1 + number % 2)) + b"".join(rest)
        rows.append((number, False, (2 + len(data)).to_bytes(2, "big") + data))
    assert elements_begin(by_stream(said(*rows)), 2, 0) == (4, True)


def test_what_varies_as_numbers_do_is_no_type_of_elements() -> None:
    """All messages have one form: where one is walked by chance, all are."""
    rows = [(n, False, bytes([0, 14, n & 0xFF, 4, 1, 2, 3, 4, 9, 4, *([n * 7 & 0xFF] * 4)])) for n in range(300)]
    assert elements_begin(by_stream(said(*rows)), 2, 0) is None
    same = [(n, False, bytes([0, 14, n % 9, 4, 1, 2, 3, 4, 9, 4, *([n * 7 & 0xFF] * 4)])) for n in range(300)]
    assert elements_begin(by_stream(said(*same)), 2, 0) == (2, True)


def test_a_header_within_the_header_is_no_element() -> None:
    """Type and length of what is inside are in all frames, and so are those of the number of the request."""
    rng = random.Random(2)
    kinds = (0xA0, 0xA1, 0xA3, 0xA7)

    def make(session: int, of_client: bool, number: int) -> bytes:
        kind = kinds[number // 2 % 4] + 0x10 * (not of_client)
        sizes = [rng.randrange(1, 9) for _ in range(number // 2 % 4 + 1)] if kind & 3 else []
        body = b"".join(bytes([4 + size % 2, size]) + rng.randbytes(size) for size in sizes)
        inner = bytes([2, 4]) + (0x5414 + session * 900 + number // 2).to_bytes(4, "big") + body
        return b"\2\1\1" + bytes([kind, 0x82]) + len(inner).to_bytes(2, "big") + inner

    header = find_header(by_stream(sessions_of(make)), FRAMING)
    assert header.size == 15
    assert {(5, 1, "msg_id"), (7, 2, "length"), (11, 4, "transaction")} <= {*roles(header)}


@pytest.mark.parametrize("begins_anew", [True, False])
def test_a_count_that_begins_anew_leaves_the_zeros_beside_it_to_the_length(begins_anew: bool) -> None:
    rng = random.Random(3)

    def make(session: int, of_client: bool, number: int) -> bytes:
        kind = number // 2 % 5 + 1
        told = number // 2 if begins_anew else number // 2 % 97 + 1
        return bytes([told & 0xFF, 2 * kind + of_client]) + rng.randbytes(3 * kind)

    # Frame: a length of one byte is what varies; a zero is between it and the count.
    frames = []
    for frame in sessions_of(make, frames=560, sessions=2):
        told, *rest = frame.data[2:]
        data = bytes([rest[0], told, 0, 4 + len(rest) - 1, *rest[1:]])
        frames.append(Frame(frame.session, frame.of_client, 0, frame.ns, data))
    offsets: dict[tuple[int, bool], int] = {}
    for number, frame in enumerate(frames):
        at = offsets.get((frame.session, frame.of_client), 0)
        frames[number] = Frame(frame.session, frame.of_client, at, frame.ns, frame.data)
        offsets[frame.session, frame.of_client] = at + len(frame.data)
    found = roles(find_header(by_stream(frames), FrameCut(3, 1, "big", 1, 0)))
    assert ((1, 1, "transaction") in found and (2, 2, "length") in found) == begins_anew


def test_a_header_may_have_another_byte_order_than_bodies() -> None:
    rng = random.Random(4)

    def make(session: int, of_client: bool, number: int) -> bytes:
        kind = number // 2 % 5 + 1
        # A number of frames that carries into its second byte, and is in one order for certain.
        count = (number // 2 + 1000 * of_client).to_bytes(4, "little")
        body = b"".join(rng.randrange(70_000).to_bytes(4, "big") + b"\0" + bytes([kind]) for _ in range(kind))
        return bytes([kind, of_client]) + count + body

    header = find_header(
        by_stream(sessions_of(make, frames=560, sessions=2, order="little")), FrameCut(0, 1, "big", 1, 0)
    )
    assert header.order == "big"
    orders = {field["at"]: field.get("order") for field in header.fields}
    assert {(0, 2, "length"), (4, 4, "sequence")} <= {*roles(header)}
    assert orders[0] == orders[4] == "little"


@pytest.mark.parametrize(("high", "told"), [(b"\0\0", (4, 4, "number")), (b"\7\7", (6, 2, "number"))])
def test_the_number_of_a_session_has_the_zeros_that_are_its_high_bytes(high: bytes, told: tuple[int, int, str]) -> None:
    numbers = (b"\x21\x35", b"\x8b\x30", b"\x30\x3a", b"\xf7\x3f")

    def make(session: int, of_client: bool, number: int) -> bytes:
        kind = number // 2 % 5 + 1
        return bytes([2 * kind + of_client, 9]) + high + numbers[session] + bytes(kind)

    assert told in roles(find_header(by_stream(sessions_of(make)), FRAMING))


def test_what_grows_by_what_a_frame_has_is_a_counter() -> None:
    """Records that were sent so far, by each side: no number of frames."""
    rng = random.Random(5)
    sent: dict[tuple[int, bool], int] = {}

    def make(session: int, of_client: bool, number: int) -> bytes:
        key = session, of_client
        records = rng.randrange(9)
        sent[key] = sent.get(key, 0) + records
        kind = number // 2 % 5 + 1
        body = bytes(2 * records)
        return bytes([2 * kind + of_client, 9]) + sent[key].to_bytes(4, "big") + bytes([7, kind]) + body

    frames = sessions_of(make, frames=400)
    assert (4, 4, "counter") in roles(find_header(by_stream(frames), FRAMING))


def test_an_end_of_the_session_is_a_kind_and_an_address() -> None:
    ends = {
        session: (bytes([0, 1, 0x00, 0x0B, 0x85, 3, 9, session]), bytes([0, 2, 0x8C, 0x85, 0x90, 7, session, 4]))
        for session in range(4)
    }

    def make(session: int, of_client: bool, number: int) -> bytes:
        both = ends[session]
        return bytes([number // 2 % 5 + 1, 9]) + b"".join(both if of_client else both[::-1]) + bytes(number // 2 % 5)

    found = roles(find_header(by_stream(sessions_of(make)), FRAMING))
    assert {(4, 2, "number"), (6, 6, "mac"), (12, 2, "number"), (14, 6, "mac")} <= {*found}
