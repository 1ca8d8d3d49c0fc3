"""Frames found in bytes that come in any pieces: the same as reading messages one by one, and nothing worse."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmsp_by_hand import frame_by_hand
from nmsp_samples import REPEATABLE, Received, expected, notify, outcome, raw_frame, receive

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import (
    Capability,
    EchoRequest,
    EchoResponse,
    Kind,
    Message,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.profile import WireProfile, reference_profile

FAULTS = {"garbage", "oversized", "malformed"}
CONTROLS: tuple[Message, ...] = (
    VersionRequest(1, 1),
    VersionResponse(1, 0),
    Capability(0x68EBE7),
    SubscribeResponse(1, 0),
    EchoRequest(),
    EchoResponse(),
)


def mixed() -> list[tuple[Message, int]]:
    """Every situation that a stream has: sizes alternating, runs long enough for columns, controls in between."""
    stream: list[tuple[Message, int]] = [(VersionResponse(1, 0), 3), (Capability(0x68EBE7), 0)]
    for readings in (0, 2, 0, 11, *[1] * 9, 4, 4):
        stream.append((notify(len(stream), readings), 0))
    stream.append((EchoResponse(), 9))
    stream += [(notify(100 + i, 2, subservice=5), 0) for i in range(3)]
    stream += [(EchoResponse(), 10), (EchoResponse(), 11), (notify(200, 1), 0)]
    return stream


def wire(profile: WireProfile, stream: list[tuple[Message, int]]) -> bytes:
    return b"".join(frame_by_hand(profile, message, transaction) for message, transaction in stream)


def test_cut_at_every_byte_position(profile: WireProfile) -> None:
    stream = mixed()
    data, wanted = wire(profile, stream), expected(profile, stream)
    for cut in range(len(data) + 1):
        assert receive(profile, [data[:cut], data[cut:]]) == wanted, cut


def test_one_byte_at_a_time(profile: WireProfile) -> None:
    stream = mixed()
    data = wire(profile, stream)
    assert receive(profile, [data[i : i + 1] for i in range(len(data))]) == expected(profile, stream)


@given(
    shape=st.lists(st.tuples(st.integers(-6, 11), st.integers(1, 20)), max_size=12),
    cuts=st.lists(st.integers(0, 20_000), max_size=8),
    at=st.integers(0, 50),
)
@REPEATABLE
def test_any_stream_in_any_pieces(profile: WireProfile, shape: list[tuple[int, int]], cuts: list[int], at: int) -> None:
    """A shape is (readings, how many in a row); negative readings stand for a control frame."""
    stream: list[tuple[Message, int]] = []
    for readings, times in shape:
        for _ in range(times):
            number = len(stream)
            stream.append((notify(number, readings), 0) if readings >= 0 else (CONTROLS[readings], number))
    data = wire(profile, stream)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert receive(profile, pieces, at) == expected(profile, stream)


@pytest.mark.parametrize("readings", [0, 4, 11])
def test_uniform_runs_of_every_length(profile: WireProfile, readings: int) -> None:
    frames = [frame_by_hand(profile, notify(i, readings)) for i in range(300)]
    receiver = NotifyReceiver(profile, len(frames[0]) * 300)
    receiver.view[:] = b"".join(frames)
    for count in range(1, 301):
        end = count * len(frames[0])
        for missing in (0, 1):
            whole = count - missing
            scanned = receiver.scan_untrusted(0, end - missing)
            assert (scanned.position, scanned.notifications) == (whole * len(frames[0]), whole)
            assert (scanned.control, scanned.fault) == (None, None)
            columns = receiver.columns()
            assert columns.sequence.tolist() == list(range(whole))
            assert columns.due_ns.tolist() == [notify(i, 0).due_ns for i in range(whole)]
            assert columns.sent_ns.tolist() == [notify(i, 0).sent_ns for i in range(whole)]
            receiver.reset()


# -- runs that something breaks ----------------------------------------------------------------------------------------


def _wrong_count(profile: WireProfile) -> bytes:
    """A frame of the size of two readings that claims to have one."""
    frame = bytearray(frame_by_hand(profile, notify(0, 2)))
    layout = profile.document.messages["measurement_notify"]
    field = next(f for f in layout.fields if f.name == profile.count_field)
    at = profile.document.header.size + field.offset + (1 if field.type == "u16" and profile.order == ">" else 0)
    frame[at] = 1
    return bytes(frame)


def _constant(profile: WireProfile) -> dict[str, int]:
    field = next(f for f in profile.document.header.fields if f.value is not None)
    assert field.value is not None
    return {field.name: field.value + 1}


BREAKS: dict[str, tuple[Callable[[WireProfile], bytes], str | None]] = {
    "another size": (lambda p: frame_by_hand(p, notify(0, 3)), None),
    "a control": (lambda p: frame_by_hand(p, EchoResponse(), 7), None),
    "an unknown id of the same size": (lambda p: raw_frame(p, 0x4242, bytes(p.notify.size + 2 * p.reading.size)), None),
    "garbage": (lambda p: raw_frame(p, 16, bytes(p.notify.size + 2 * p.reading.size), **_constant(p)), "garbage"),
    "oversized": (lambda p: raw_frame(p, 16, b"", length=p.max_frame_bytes + 1), "oversized"),
    "wrong reading count": (_wrong_count, "malformed"),
    "a broken reading": (
        lambda p: raw_frame(p, p.document.messages["measurement_notify"].id, bytes(p.notify.size + 1)),
        "malformed",
    ),
    "no room for the fixed part": (
        lambda p: raw_frame(p, p.document.messages["measurement_notify"].id, bytes(p.notify.size - 1)),
        "malformed",
    ),
    "too many readings": (lambda p: frame_by_hand(p, notify(0, p.max_readings + 1)), "malformed"),
}


@pytest.mark.parametrize("broken_by", BREAKS)
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 15, 16, 17, 40])
def test_a_run_broken_anywhere_keeps_what_came_before(profile: WireProfile, broken_by: str, length: int) -> None:
    make, fault = BREAKS[broken_by]
    intruder = make(profile)
    for place in range(length + 1):
        run = [frame_by_hand(profile, notify(i, 2)) for i in range(length)]
        data = b"".join([*run[:place], intruder, *run[place:]])
        got = receive(profile, [data])
        sequences = [row[0] for row in got.rows]
        if fault is not None:
            assert (got.fault, sequences) == (fault, list(range(place)))
            assert data.endswith(got.tail)
            assert got.tail.startswith(intruder)
        elif broken_by == "another size":
            assert (got.fault, got.controls) == (None, [])
            assert sequences == [*range(place), 0, *range(place, length)]
        else:
            assert (got.fault, sequences) == (None, list(range(length)))
            assert [control[0] for control in got.controls] == [place]


def test_a_length_below_the_header_is_malformed() -> None:
    """Only where it counts the frame; a length that counts the body cannot be too small."""
    profile = reference_profile()
    for length in range(profile.header.size):
        got = receive(profile, [raw_frame(profile, 16, bytes(100), length=length)])
        assert got.fault == "malformed", length
    assert receive(profile, [raw_frame(profile, 6, b"", length=12)]).fault is None


def test_length_limits(profile: WireProfile) -> None:
    """The largest frame passes, one byte more does not; and the claim is judged before the bytes are there."""
    room = profile.max_frame_bytes - profile.header.size
    largest = raw_frame(profile, 0x4242, bytes(room))
    assert receive(profile, [largest]).controls == [(0, 0x4242, 0, bytes(room))]
    more = raw_frame(profile, 0x4242, bytes(room + 1))
    assert receive(profile, [more[: profile.header.size]]).fault == "oversized"
    assert receive(profile, [largest[:-1]]) == Received([], [], None, largest[:-1])


def test_every_constant_of_the_header_is_checked(profile: WireProfile) -> None:
    constants = {f.name: f.value for f in profile.document.header.fields if f.value is not None}
    assert constants
    for name, value in constants.items():
        got = receive(profile, [raw_frame(profile, 0x4242, b"", **{name: value ^ 1})])
        assert got.fault == "garbage", name


def test_faults_say_what_was_expected_and_found(profile: WireProfile) -> None:
    receiver = NotifyReceiver(profile, 4096)
    frame = raw_frame(profile, 16, b"", length=profile.max_frame_bytes + 1)
    receiver.view[: len(frame)] = frame
    fault = receiver.scan_untrusted(0, len(frame)).fault
    assert isinstance(fault, RemoteProtocolError)
    assert f"to {profile.max_frame_bytes} bytes" in str(fault)


# -- mark and rollback -------------------------------------------------------------------------------------------------


@given(steps=st.lists(st.tuples(st.sampled_from(["take", "take", "mark", "rollback", "gap"]), st.integers(0, 12))))
@REPEATABLE
def test_rollback_forgets_exactly_what_came_after_the_mark(profile: WireProfile, steps: list[tuple[str, int]]) -> None:
    """Against a model: a list of sequence numbers, cut back to the length it had. Runs that grew are cut back too."""
    receiver = NotifyReceiver(profile, 1 << 17)
    model: list[int] = []
    mark, marked = receiver.mark(), 0
    position = number = 0
    for step, amount in steps:
        if step == "take":
            for i in range(amount):
                readings = 2 if i < 9 else 0
                frame = frame_by_hand(profile, notify(number, readings))
                receiver.view[position : position + len(frame)] = frame
                end = position + len(frame)
                assert receiver.scan_untrusted(position, end).notifications == 1
                model.append(number)
                position, number = end, number + 1
        elif step == "gap":
            position += amount  # another link's bytes
        elif step == "mark":
            mark, marked = receiver.mark(), len(model)
        else:
            receiver.rollback(mark)
            del model[marked:]
        assert receiver.notifications == len(model)
        assert receiver.columns().sequence.tolist() == model


def test_several_links_in_one_buffer(profile: WireProfile) -> None:
    """Each link's frames begin anywhere; columns come in the order in which they were scanned."""
    receiver = NotifyReceiver(profile, 1 << 16)
    position, wanted = 3, []
    for link, (count, readings) in enumerate([(1, 4), (20, 4), (1, 4), (9, 0), (300, 1), (2, 11)]):
        data = b"".join(frame_by_hand(profile, notify(1000 * link + i, readings)) for i in range(count))
        receiver.view[position : position + len(data)] = data
        assert receiver.scan_untrusted(position, position + len(data)).notifications == count
        wanted += [1000 * link + i for i in range(count)]
        position += len(data) + link  # sometimes side by side, sometimes not
    assert receiver.notifications == len(wanted)
    columns = receiver.columns()
    assert columns.sequence.tolist() == wanted
    assert columns.sent_ns.tolist() == [notify(n, 0).sent_ns for n in wanted]


def test_reset_forgets_everything_and_columns_do_not_change_with_the_buffer(profile: WireProfile) -> None:
    receiver = NotifyReceiver(profile, 4096)
    frame = frame_by_hand(profile, notify(7, 1))
    receiver.view[: len(frame)] = frame
    receiver.scan_untrusted(0, len(frame))
    columns = receiver.columns()
    receiver.view[:] = bytes(4096)
    receiver.reset()
    assert columns.sequence.tolist() == [7]
    assert receiver.notifications == 0
    assert [len(column) for column in receiver.columns()[:4]] == [0, 0, 0, 0]


# -- hostile bytes -----------------------------------------------------------------------------------------------------


def survive(profile: WireProfile, data: bytes) -> None:
    """Scan to the end: every scan goes forward, nothing but a fault of the known kinds comes out."""
    receiver = NotifyReceiver(profile, len(data) + 1)
    receiver.view[: len(data)] = data
    codec = Codec(profile)
    position, total, scans = 0, 0, 0
    while True:
        scanned = receiver.scan_untrusted(position, len(data))
        scans += 1
        total += scanned.notifications
        assert position <= scanned.position <= len(data)
        assert scans <= len(data) // profile.header.size + 1
        if scanned.control is None:
            break
        assert scanned.position >= position + profile.header.size
        assert outcome(codec, scanned.control.msg_id, scanned.control.body) in (*Kind, "malformed")
        position = scanned.position
    assert scanned.fault is None or scanned.fault.kind in FAULTS
    assert receiver.notifications == total == len(receiver.columns().sequence)


@given(st.binary(max_size=2000))
@REPEATABLE
def test_any_bytes_at_all(profile: WireProfile, data: bytes) -> None:
    survive(profile, data)


@given(seed=st.integers(0, 2**32 - 1), flips=st.integers(1, 6))
@REPEATABLE
def test_a_good_stream_with_flipped_cut_and_repeated_bytes(profile: WireProfile, seed: int, flips: int) -> None:
    rng = random.Random(seed)
    data = bytearray(wire(profile, mixed()))
    for _ in range(flips):
        at = rng.randrange(len(data))
        match rng.randrange(3):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at : at + rng.randrange(40)]
            case _:
                data[at:at] = data[: rng.randrange(200)]
        data = data or bytearray(b"\x00")
    survive(profile, bytes(data))


@given(length=st.integers(0, 0xFFFF), msg_id=st.integers(0, 0xFFFF), body=st.binary(max_size=400))
@REPEATABLE
def test_any_header_before_any_body(profile: WireProfile, length: int, msg_id: int, body: bytes) -> None:
    survive(profile, raw_frame(profile, msg_id, body, length=length))
    notify_id = profile.document.messages["measurement_notify"].id
    survive(profile, raw_frame(profile, notify_id, body, length=length))
    survive(profile, raw_frame(profile, notify_id, body) * 9)
