"""The fields of headers, one rule after the other: on devices made for it."""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
import pytest
from infer_synthetic import (
    BEGAN_NS,
    NAMES,
    SECOND,
    Device,
    Part,
    Session,
    by_stream,
    captured,
    crc16,
    internet,
    random_device,
    said,
)

from loadgen.infer.checksums import find_checksum, zeros_before
from loadgen.infer.columns import HeadColumns
from loadgen.infer.cutting import cut_frames
from loadgen.infer.frames import Frame
from loadgen.infer.framing import FrameCut, find_framing, runs_of
from loadgen.infer.header import HeaderFound, find_header
from loadgen.infer.heads import Heads
from loadgen.infer.numbering import answered_kinds
from loadgen.infer.orders import bits_of_bodies
from loadgen.infer.transactions import is_by_the_way, is_said_again
from loadgen.infer.walks import elements_begin

IDS = {name: 0x11 + number for number, name in enumerate(NAMES)}
PAGED = {name: ((1 + number % 3) << 8) | (0x20 + number) for number, name in enumerate(NAMES)}
FLAGS = {name: 4 if "notify" in name else 1 if name.endswith("request") else 2 for name in NAMES}
ID, LENGTH = Part("msg_id", 2, "msg_id"), Part("length", 2, "length")


def found_in(device: Device, seconds: int = 120) -> tuple[HeaderFound, Heads]:
    exchanges = [session.exchange() for session in captured(device, seconds=seconds)]
    runs = runs_of(exchanges)
    framing = find_framing(runs)[0][0]
    heads = Heads(cut_frames(exchanges, runs, framing).frames)
    return find_header(heads, framing, [], device.trailer), heads


def device(*parts: Part, order: Any = "big", **more: Any) -> Device:
    return Device(order, parts, 0, **({"ids": IDS, "flags": FLAGS} | more))


def roles(header: HeaderFound) -> list[tuple[int, int, str]]:
    return [(found["at"], found["size"], found["role"]) for found in header.fields]


@pytest.mark.parametrize("order", ["big", "little"])
def test_ids_length_and_transaction_are_as_wide_as_their_zeros(order: Any) -> None:
    header, _ = found_in(
        device(Part("version", 2, "constant", 0x0203), ID, Part("x", 4, "transaction"), LENGTH, order=order)
    )
    assert roles(header) == [(0, 2, "constant"), (2, 2, "msg_id"), (4, 4, "transaction"), (8, 2, "length")]
    assert (header.size, header.order) == (10, order)
    assert len(header.ids) == len(NAMES)


@pytest.mark.parametrize("order", ["big", "little"])
def test_an_id_of_two_bytes_that_both_vary_is_one_field(order: Any) -> None:
    header, _ = found_in(device(ID, LENGTH, Part("x", 4, "transaction"), order=order, ids=PAGED))
    assert roles(header)[0] == (0, 2, "msg_id")
    assert sorted(number for _, number in header.ids) == sorted(PAGED.values())


def test_type_and_subtype_that_lie_apart_are_two_fields() -> None:
    kind, part = Part("msg_type", 1, "msg_id"), Part("msg_subtype", 1, "msg_id")
    ids = {name: ((1 + number // 4) << 8) | (1 + number % 4) for number, name in enumerate(NAMES)}
    header, _ = found_in(
        device(kind, Part("version", 1, "constant", 7), LENGTH, part, Part("v", 1, "constant", 9), ids=ids)
    )
    assert [row for row in roles(header) if row[2] == "msg_id"] == [(0, 1, "msg_id"), (4, 1, "msg_id")]
    assert sorted(number for _, number in header.ids) == sorted(ids.values())


def test_what_follows_from_the_message_is_flags() -> None:
    header, _ = found_in(device(ID, LENGTH, Part("flags", 1, "enum"), Part("version", 1, "constant", 3)))
    assert (4, 1, "enum") in roles(header)


def test_numbers_of_frames_are_told_from_transactions() -> None:
    header, _ = found_in(device(ID, LENGTH, Part("s", 2, "sequence"), Part("x", 4, "transaction")))
    assert roles(header)[2:] == [(4, 2, "sequence"), (6, 4, "transaction")]
    assert header.transaction is not None


@pytest.mark.parametrize(
    ("size", "unit", "boot", "told"),
    [(4, SECOND, False, ("s", "unix")), (4, 1_000_000, True, ("ms", "session")), (8, 1, False, ("ns", "unix"))],
)
def test_what_advances_as_the_capture_does_is_a_clock(size: int, unit: int, boot: bool, told: tuple[str, str]) -> None:
    time = Part("time", size, "timestamp", unit=unit, boot=boot)
    header, _ = found_in(device(ID, LENGTH, time, Part("x", 4, "transaction")))
    clock = next(found for found in header.fields if found["role"] == "timestamp")
    assert (clock["at"], clock["size"], clock["unit"], clock["epoch"]) == (4, size, *told)


@pytest.mark.parametrize(
    ("size", "made", "kind"), [(4, zlib.crc32, "crc-32"), (2, crc16, "crc-16/xmodem"), (2, internet, "internet")]
)
@pytest.mark.parametrize("in_header", [True, False])
def test_a_checksum_is_found_with_what_it_is_made_of(size: int, made: Any, kind: str, in_header: bool) -> None:
    parts = [ID, LENGTH, *([Part("checksum", size, "checksum")] if in_header else [])]
    summed = device(*parts, checksum=made, trailer=0 if in_header else size)
    exchanges = [session.exchange() for session in captured(summed)]
    runs = runs_of(exchanges)
    framing = find_framing(runs)[0][0]
    found = find_checksum(Heads(cut_frames(exchanges, runs, framing).frames), framing)
    assert found is not None
    checksum, right = found
    assert (checksum.kind, checksum.at, checksum.size, right) == (kind, 4 if in_header else -size, size, 1.0)


def test_no_checksum_is_found_where_there_is_none() -> None:
    for seed in range(200, 206):
        made = random_device(seed)
        if made.checksum is not None:
            continue
        exchanges = [session.exchange() for session in captured(made, seed=seed)]
        runs = runs_of(exchanges)
        framing = find_framing(runs)[0][0]
        assert find_checksum(Heads(cut_frames(exchanges, runs, framing).frames), framing) is None


@pytest.mark.parametrize("filled", [1, 2, 4])
def test_a_checksum_of_the_body_behind_zeros_is_found(filled: int) -> None:
    bodies = [bytes([number % 7 + 1] * (1 + number % 5)) for number in range(60)]
    frames = [
        Frame(
            0,
            False,
            0,
            number,
            bytes([1, 5, 0, len(body)]) + body + bytes(filled) + zlib.crc32(body).to_bytes(4, "big"),
        )
        for number, body in enumerate(bodies)
    ]
    found = find_checksum(Heads(frames), FrameCut(2, 2, "big", 1, 8 + filled))
    assert found is not None
    assert (found[0].kind, found[0].at, found[0].first, found[0].behind) == ("crc-32", -4, 4, 4 + filled)


def test_zeros_in_front_of_every_checksum_belong_to_the_trailer() -> None:
    bodies = [bytes([number % 7 + 1] * (1 + number % 5)) for number in range(60)]
    frames = [Frame(0, False, 0, number, b"\1\2\3\4" + body + b"\0\0\x55\xaa") for number, body in enumerate(bodies)]
    assert zeros_before(Heads(frames), 2, 4) == 2
    assert zeros_before(Heads(frames[:40]), 2, 4) == 0  # too few to say so


@pytest.mark.parametrize("order", ["big", "little"])
def test_bodies_tell_the_byte_order_where_zeros_are_on_both_sides_of_all_that_varies(order: Any) -> None:
    # No frame needs the upper half of a length, no id that of an id, and nobody asks more than 255 times.
    gap = Part("reserved", 1, "padding")
    header, _ = found_in(device(gap, ID, gap, Part("x", 2, "transaction"), gap, LENGTH, gap, order=order))
    assert header.order == order


def test_behind_a_byte_that_nothing_explains_no_part_of_an_id_is_looked_for() -> None:
    rng = random.Random(5)
    frames, offset = [], 0
    for number in range(600):
        kind = rng.randrange(1, 6)
        # A number at random, and behind it what tells the sizes of frames better than their message does.
        sort = rng.randrange(1, 5)
        body = bytes([rng.randrange(256), sort, *rng.randbytes(3 * kind + 17 * sort)])
        data = bytes([0, kind, 0, 4 + len(body)]) + body
        frames.append(Frame(0, False, offset, number * SECOND, data))
        offset += len(data)
    header = find_header(Heads(frames), FrameCut(2, 2, "big", 1, 0))
    assert all(at < 2 for at, _, role in roles(header) if role == "msg_id")
    assert [number for _, number in header.ids] == [1, 2, 3, 4, 5]


def test_a_number_between_zeros_is_in_the_order_of_the_layout_though_it_lies_at_an_odd_place() -> None:
    magic, kind, flags = (
        Part("magic", 2, "constant", 0xAB09),
        Part("msg_id", 1, "msg_id"),
        Part("f", 1, "constant", 129),
    )
    header, _ = found_in(device(magic, kind, LENGTH, Part("x", 4, "transaction"), flags, order="little"))
    assert header.order == "little"
    assert (5, 4, "transaction") in roles(header)
    (found,) = (found for found in header.fields if found["role"] == "transaction")
    assert "order" not in found
    assert found["alternatives"] == ["8 bits, and 3 reserved bytes of zeros"]


@pytest.mark.parametrize(("order", "less"), [("little", False), ("big", True)])
def test_small_numbers_at_the_ends_of_bodies_tell_the_byte_order(order: Any, less: bool) -> None:
    frames = []
    for number in range(8):
        numbers = [(number % 2 + 1).to_bytes(2, order), (3).to_bytes(2, order)]
        frames.append(Frame(0, False, 9 * number, number, b"\1\2\3\4" + b"".join(numbers)))
    heads = Heads(frames)
    bits = bits_of_bodies(heads, np.zeros(8, np.int64), 4, 0)
    assert (bits["big"] < bits["little"]) is less
    assert bits["big"] != bits["little"]


@pytest.mark.parametrize("size", [4, 5])
def test_bodies_tell_whether_a_zero_is_the_last_byte_of_the_header(size: int) -> None:
    rng = random.Random(3)
    frames, offset = [], 0
    for number in range(400):
        kind = rng.randrange(1, 5)
        first, second = rng.randrange(256 if size == 4 else 40_000).to_bytes(2, "big"), rng.randbytes(4)
        # Either a zero in front of numbers that lie at even places of bodies, or the upper half of the first of them.
        body = (b"\0" if size == 5 else b"") + first + second + rng.randbytes(2 * kind)
        data = bytes([0, kind, 0, 4 + len(body)]) + body
        frames.append(Frame(0, False, offset, number * SECOND, data))
        offset += len(data)
    assert find_header(Heads(frames), FrameCut(2, 2, "big", 1, 0)).size == size


@pytest.mark.parametrize("order", ["big", "little"])
def test_a_few_requests_tell_the_transaction_and_no_byte_of_bodies_is_taken_for_flags(order: Any) -> None:
    # Two sessions of which each has but its opening: bodies of a kind are alike there, and every frame has one.
    parts = (Part("magic", 2, "constant", 0x4E01), ID, Part("length", 4, "length"), Part("x", 4, "transaction"))
    made = device(*parts, order=order)
    runs = runs_of(exchanges := [each.exchange() for each in captured(made, sessions=2, seconds=6, rate=30)])
    framing = find_framing(runs)[0][0]
    header = find_header(Heads(cut_frames(exchanges, runs, framing).frames), framing)
    assert roles(header) == [(0, 2, "constant"), (2, 2, "msg_id"), (4, 4, "length"), (8, 4, "transaction")]
    assert header.size == 12
    transaction = header.fields[-1]
    assert transaction["evidence"] == "answers have what the question had, in 4 pairs"
    assert transaction["confidence"] < 0.7


def test_an_id_that_request_and_response_share_is_no_transaction() -> None:
    # The opening alone: each id is said once by either side, as a transaction is; but notifications have theirs, too.
    ids = IDS | {name.replace("request", "response"): IDS[name] for name in NAMES if name.endswith("request")}
    made = device(ID, Part("flags", 1, "enum"), Part("version", 1, "constant", 7), LENGTH, ids=ids)
    runs = runs_of(exchanges := [each.exchange() for each in captured(made, sessions=4, seconds=6, rate=30)])
    framing = find_framing(runs)[0][0]
    header = find_header(Heads(cut_frames(exchanges, runs, framing).frames), framing)
    assert header.transaction is None
    assert (0, 2, "msg_id") in roles(header)


TYPED = {name: ((1 + number // 4) << 8) | (1 + number % 4) for number, name in enumerate(NAMES)}
TYPE, SUBTYPE = Part("msg_type", 1, "msg_id"), Part("msg_subtype", 1, "msg_id")


def test_a_byte_with_few_values_in_front_of_one_with_more_is_a_type_where_numbers_have_their_low_byte_first() -> None:
    ids = {name: ((1 + number // 8) << 8) | (1 + number) for number, name in enumerate(NAMES)}
    header, _ = found_in(device(TYPE, SUBTYPE, LENGTH, Part("x", 4, "transaction"), order="little", ids=ids))
    assert roles(header)[:2] == [(0, 1, "msg_id"), (1, 1, "msg_id")]
    assert sorted(number for _, number in header.ids) == sorted(ids.values())


def test_an_id_is_told_from_flags_that_tell_more_at_first() -> None:
    # The length counts the body: where the header ends is known, and all of it has to be explained.
    parts = (Part("x", 8, "transaction"), Part("flags", 1, "enum"), Part("version", 1, "constant", 1), LENGTH, TYPE)
    made = Device("big", (*parts, Part("magic", 1, "constant", 0xD4), SUBTYPE), 15, ids=TYPED, flags=FLAGS)
    header, _ = found_in(made)
    assert {(8, 1, "enum"), (12, 1, "msg_id"), (14, 1, "msg_id")} <= {*roles(header)}
    assert sorted(number for _, number in header.ids) == sorted(TYPED.values())


def test_a_length_and_a_transaction_are_as_wide_as_their_zeros_at_any_place() -> None:
    parts = (Part("version", 2, "constant", 0x0203), Part("length", 4, "length"), Part("x", 4, "transaction"), ID)
    header, _ = found_in(device(*parts))
    assert roles(header) == [(0, 2, "constant"), (2, 4, "length"), (6, 4, "transaction"), (10, 2, "msg_id")]


def test_a_number_that_begins_anew_has_no_higher_bytes() -> None:
    parts = (ID, LENGTH, Part("reserved", 3, "padding"), Part("s", 1, "sequence"), Part("x", 4, "transaction"))
    header, _ = found_in(device(*parts), seconds=300)
    assert roles(header)[2:4] == [(4, 3, "padding"), (7, 1, "sequence")]


def test_a_constant_in_front_of_a_clock_is_no_part_of_it() -> None:
    time = Part("time", 4, "timestamp", unit=1_000_000, boot=True)
    header, _ = found_in(device(ID, LENGTH, Part("magic", 4, "constant", 0x4E4D5350), time))
    assert roles(header)[2:] == [(4, 4, "constant"), (8, 4, "timestamp")]


def test_questions_are_told_from_answers_by_who_follows_whom() -> None:
    heads = found_in(device(ID, LENGTH))[1]
    codes = heads.cells[:, 1].astype(np.int64)
    answers = answered_kinds(heads, codes)
    assert answers[IDS["echo_request"]] == IDS["echo_response"]
    assert answers[IDS["statistics_request"]] == IDS["client_statistics_response"]
    assert IDS["measurement_notify"] not in {*answers, *answers.values()}


def test_what_answers_to_echoes_have_of_them_is_no_transaction() -> None:
    made = device(ID, Part("flags", 1, "enum"), Part("version", 1, "constant", 7), LENGTH)
    rng = random.Random(4)
    sessions = [Session(made, index, rng) for index in range(3)]
    for session in sessions:
        at, mask = BEGAN_NS + session.index * SECOND, (0x2201).to_bytes(8, "big")
        session.ask(at, "version_request", b"\1\0\3\0", "version_response", b"\2\0\0\0")
        session.ask(at + SECOND, "subscribe_request", mask, "subscribe_response", mask + b"\0\0")
        for number in range(40):
            at += 5 * SECOND
            session.say(at, "measurement_notify", number.to_bytes(4, "big") + rng.randbytes(6), 0)
            cookie = rng.randbytes(4)
            session.ask(at + SECOND, "echo_request", cookie, "echo_response", cookie)
            counters = rng.randbytes(12)
            session.ask(at + 2 * SECOND, "statistics_request", rng.randbytes(6), "client_statistics_response", counters)
        session.sent.sort(key=lambda row: row[0])
    runs = runs_of(exchanges := [session.exchange() for session in sessions])
    framing = find_framing(runs)[0][0]
    header = find_header(Heads(cut_frames(exchanges, runs, framing).frames), framing)
    assert header.transaction is None
    assert header.size == 6


def test_bodies_of_elements_begin_where_most_frames_end_exactly() -> None:
    rng = random.Random(6)
    rows = []
    for number in range(200):
        sizes = [rng.randrange(1, 7) for _ in range(rng.randrange(1, 5))]
        body = b"".join(bytes([rng.randrange(1, 5), size]) + rng.randbytes(size) for size in sizes)
        rows.append((number, False, bytes([7, 2, len(body), rng.randrange(3)]) + body))
    heads = by_stream(said(*rows))
    assert elements_begin(heads, 3, 0) == (4, True)
    texts = [(number, False, bytes([7, 2, 9, number % 3]) + rng.randbytes(9)) for number in range(200)]
    assert elements_begin(by_stream(said(*texts)), 3, 0) is None


def test_two_sequences_that_begin_alike_are_no_transaction() -> None:
    """The WLC says ten frames for each of the MSE's: their numbers meet at the beginning, and no more."""
    rows = [(number, False, number.to_bytes(2, "big")) for number in range(1, 400)]
    rows += [(number * 10, True, number.to_bytes(2, "big")) for number in range(1, 40)]
    asked = {"at": 0, "size": 2}
    heads = by_stream(said(*sorted(rows)))
    framing = FrameCut(0, 1, "big", 1, 0)
    assert is_by_the_way(HeadColumns(heads, framing, [], 2), asked)
    answers = [(at, side, data) for at, side, data in rows if side] + [
        (at, False, data) for at, side, data in rows if side
    ]
    heads = by_stream(said(*sorted(answers, key=lambda row: (row[0], not row[1]))))
    assert not is_by_the_way(HeadColumns(heads, framing, [], 2), asked)


def test_what_notifications_say_again_and_again_is_no_transaction() -> None:
    rng = random.Random(8)
    about = [rng.randbytes(4) for _ in range(12)]
    heads = by_stream(said(*((number, False, rng.choice(about)) for number in range(200))))
    framing = FrameCut(0, 1, "big", 1, 0)
    assert is_said_again(HeadColumns(heads, framing, [], 4), {"at": 0, "size": 4})
    heads = by_stream(said(*((number, False, number.to_bytes(4, "big")) for number in range(200))))
    assert not is_said_again(HeadColumns(heads, framing, [], 4), {"at": 0, "size": 4})


def test_an_xor_lies_where_nothing_else_explains_the_byte() -> None:
    """Each byte is the XOR of the others: one that counts is no checksum."""
    rng = random.Random(9)
    rows = []
    for number in range(300):
        data = bytes([12, 5, number & 0xFF]) + rng.randbytes(8)
        rows.append((number, False, data + bytes([int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8)))])))
    made = find_checksum(by_stream(said(*rows)), FrameCut(0, 1, "big", 1, 0))
    assert made is not None
    assert made[0].at != 2


def test_one_value_in_each_stream_is_the_senders_and_no_id() -> None:
    frames = []
    for session in range(3):
        wlc, mse = bytes([0x00, 0x1A, 0x2B, 9, 8, session]), bytes([0x00, 0x50, 0x56, 1, 2, 90 + session])
        rows = [
            (number, number % 2 == 0, (mse if number % 2 == 0 else wlc) + bytes([number % 5])) for number in range(60)
        ]
        frames += said(*rows, session=session)
    heads = by_stream(frames)
    assert heads.of_stream == [False] * 5 + [True, False]
    assert heads.stays == [True] * 6 + [False]
