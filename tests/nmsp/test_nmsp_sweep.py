"""Many links' chunks at once: a sweep takes exactly what scanning each chunk alone would have taken whole."""

from __future__ import annotations

import gc
import tracemalloc
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmsp_by_hand import frame_by_hand
from nmsp_samples import REPEATABLE, notify, raw_frame

from loadgen.nmsp.bulk import Columns, NotifyReceiver
from loadgen.nmsp.messages import EchoResponse, Kind
from loadgen.nmsp.profile import WireProfile, reference_profile


class Chunk(NamedTuple):
    """What one link brought: its bytes, whether it may be swept, and what of it a sweep has to take."""

    data: bytes
    wanted: bool
    sequences: list[int]


class Swept(NamedTuple):
    counts: list[int]
    columns: Columns


def sweep(profile: WireProfile, chunks: list[Chunk], gap: int = 0) -> Swept:
    """Lay the chunks out, `gap` bytes of rubbish before each, and sweep them."""
    capacity = sum(len(chunk.data) + gap for chunk in chunks)
    receiver = NotifyReceiver(profile, capacity)
    starts, ends, position = [], [], 0
    for chunk in chunks:
        receiver.view[position : position + gap] = b"\xff" * gap
        position += gap
        starts.append(position)
        position += len(chunk.data)
        receiver.view[starts[-1] : position] = chunk.data
        ends.append(position)
    counts = receiver.sweep_untrusted(starts, ends, [chunk.wanted for chunk in chunks]).tolist()
    assert receiver.notifications == sum(counts)
    return Swept(counts, receiver.columns())


def check(profile: WireProfile, chunks: list[Chunk], gap: int = 0) -> None:
    swept = sweep(profile, chunks, gap)
    assert swept.counts == [len(chunk.sequences) for chunk in chunks]
    wanted = [number for chunk in chunks for number in chunk.sequences]
    assert swept.columns.sequence.tolist() == wanted
    assert swept.columns.due_ns.tolist() == [notify(number, 0).due_ns for number in wanted]
    assert swept.columns.sent_ns.tolist() == [notify(number, 0).sent_ns for number in wanted]


def good(profile: WireProfile, first: int, count: int, readings: int) -> Chunk:
    numbers = list(range(first, first + count))
    return Chunk(b"".join(frame_by_hand(profile, notify(n, readings)) for n in numbers), True, numbers)


def left(data: bytes) -> Chunk:
    """A chunk that is for the scanner, not for the sweep."""
    return Chunk(data, True, [])


def spoiled(profile: WireProfile, kind: str) -> Chunk:
    chunk = good(profile, 7, 3, 2)
    size = len(chunk.data) // 3
    one = chunk.data[:size]
    body = one[profile.header.size :]
    constant = next(field for field in profile.document.header.fields if field.value is not None)
    assert constant.value is not None
    match kind:
        case "not wanted":
            return chunk._replace(wanted=False, sequences=[])
        case "cut":
            return left(chunk.data[:-1])
        case "cut in its first frame":
            return left(chunk.data[: size - 1])
        case "one byte":
            return left(chunk.data[:1])
        case "a beginning of the next":
            return left(chunk.data + one[:5])
        case "a control behind":
            return left(chunk.data + frame_by_hand(profile, EchoResponse(), 3))
        case "a control before":
            return left(frame_by_hand(profile, EchoResponse(), 3) + chunk.data)
        case "two sizes":
            return left(one + frame_by_hand(profile, notify(8, 3)))
        case "another id inside":
            return left(one + raw_frame(profile, 0x4242, body) + one)
        case "garbage inside":
            return left(one + raw_frame(profile, 16, body, **{constant.name: constant.value + 1}) + one)
        case "a wrong count":
            fixed = profile.notify.size
            return left(one + raw_frame(profile, profile.ids[Kind.MEASUREMENT_NOTIFY], bytes(fixed) + body[fixed:]))
        case "no reading's size":
            return left(raw_frame(profile, profile.ids[Kind.MEASUREMENT_NOTIFY], body + b"\0"))
        case "shorter than a notification":
            return left(raw_frame(profile, profile.ids[Kind.MEASUREMENT_NOTIFY], b""))
        case "a length of nothing":
            return left(raw_frame(profile, profile.ids[Kind.MEASUREMENT_NOTIFY], body, length=0))
        case "oversized":
            return left(raw_frame(profile, 16, body, length=profile.max_frame_bytes + 1))
    raise AssertionError(kind)


SPOILED = (
    *("not wanted", "cut", "cut in its first frame", "one byte", "a beginning of the next", "a control behind"),
    *("a control before", "two sizes", "another id inside", "garbage inside", "a wrong count", "no reading's size"),
    *("shorter than a notification", "a length of nothing", "oversized"),
)


@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("counts", [[1, 1, 1], [5, 5, 5], [1, 7, 2]])
@pytest.mark.parametrize("readings", [[4, 4, 4], [0, 4, 11]])
def test_good_chunks_are_taken_whole(profile: WireProfile, gap: int, counts: list[int], readings: list[int]) -> None:
    check(profile, [good(profile, 100 * i, counts[i], readings[i]) for i in range(3)], gap)


@pytest.mark.parametrize("kind", SPOILED)
@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("count", [1, 4])
def test_a_spoiled_chunk_is_left_and_costs_the_others_nothing(
    profile: WireProfile, kind: str, at: int, count: int
) -> None:
    chunks = [good(profile, 100 * i, count, 2) for i in range(3)]
    chunks.insert(at, spoiled(profile, kind))
    check(profile, chunks)


def test_nothing_at_all(profile: WireProfile) -> None:
    check(profile, [])
    check(profile, [spoiled(profile, kind) for kind in SPOILED])


def test_what_is_scanned_afterwards_comes_behind(profile: WireProfile) -> None:
    """The columns are in the order in which the driver noted whose they are: swept first, then scanned."""
    first, second = good(profile, 0, 2, 4), good(profile, 50, 2, 1)
    mixed = first.data + frame_by_hand(profile, EchoResponse(), 3) + second.data
    receiver = NotifyReceiver(profile, len(mixed) + len(second.data))
    receiver.view[:] = mixed + second.data
    counts = receiver.sweep_untrusted([0, len(mixed)], [len(mixed), len(mixed) + len(second.data)], [True, True])
    assert counts.tolist() == [0, 2]
    scanned = receiver.scan_untrusted(0, len(mixed))
    assert (scanned.notifications, scanned.control is None) == (2, False)
    scanned = receiver.scan_untrusted(scanned.position, len(mixed))
    assert (scanned.position, scanned.notifications) == (len(mixed), 2)
    assert receiver.columns().sequence.tolist() == [50, 51, 0, 1, 50, 51]
    receiver.reset()
    assert receiver.notifications == len(receiver.columns().sequence) == 0


@given(
    shapes=st.lists(
        st.one_of(st.tuples(st.integers(0, 11), st.integers(1, 12)), st.tuples(st.sampled_from(SPOILED), st.just(0))),
        max_size=12,
    ),
    gap=st.integers(0, 9),
)
@REPEATABLE
def test_any_chunks(profile: WireProfile, shapes: list[tuple[int | str, int]], gap: int) -> None:
    chunks = [
        spoiled(profile, kind) if isinstance(kind, str) else good(profile, 1000 * i, count, kind)
        for i, (kind, count) in enumerate(shapes)
    ]
    check(profile, chunks, gap)


def scanned_whole(profile: WireProfile, data: bytes) -> int:
    """How many notifications the scanner finds in a chunk that is nothing but those, of one size; else 0."""
    receiver = NotifyReceiver(profile, len(data) + 1)
    receiver.view[: len(data)] = data
    scanned = receiver.scan_untrusted(0, len(data))
    whole = scanned == (len(data), scanned.notifications, None, None) and len(set(receiver._sizes)) == 1
    return scanned.notifications if whole else 0


@given(
    chunks=st.lists(
        st.tuples(
            st.integers(0, 5),
            st.integers(1, 4),
            st.lists(st.tuples(st.integers(0, 600), st.integers(1, 255)), max_size=2),
            st.integers(-3, 3),
        ),
        min_size=1,
        max_size=8,
    ),
    noise=st.binary(max_size=90),
)
@REPEATABLE
def test_what_a_sweep_takes_is_what_the_scanner_would_take_whole(
    profile: WireProfile, chunks: list[tuple[int, int, list[tuple[int, int]], int]], noise: bytes
) -> None:
    """Good chunks with some bytes flipped, the end cut off or some bytes too many, and one of noise."""
    spoilt = [noise]
    for readings, count, flips, cut in chunks:
        data = bytearray(good(profile, 0, count, readings).data)
        for at, change in flips:
            data[at % len(data)] ^= change
        spoilt.append(bytes(data[: len(data) - cut]) + bytes(max(0, -cut)))
    swept = sweep(profile, [Chunk(data, True, []) for data in spoilt])
    assert swept.counts == [scanned_whole(profile, data) for data in spoilt]


@pytest.mark.parametrize("mixed", [False, True])
def test_more_notifications_make_no_more_objects(mixed: bool) -> None:
    profile = reference_profile()

    def cost(count: int) -> tuple[int, int]:
        chunks = [good(profile, 0, count, 4 + (mixed and i % 2)) for i in range(8)]
        receiver = NotifyReceiver(profile, sum(len(chunk.data) for chunk in chunks))
        receiver.view[:] = b"".join(chunk.data for chunk in chunks)
        ends = [sum(len(chunk.data) for chunk in chunks[: i + 1]) for i in range(8)]
        starts = [0, *ends[:-1]]
        for _ in range(3):
            receiver.reset()
            receiver.sweep_untrusted(starts, ends, [True] * 8)
        gc.collect()
        receiver.reset()
        tracemalloc.start()
        receiver.sweep_untrusted(starts, ends, [True] * 8)
        columns = receiver.columns()
        blocks = sum(trace.count for trace in tracemalloc.take_snapshot().statistics("filename"))
        tracemalloc.stop()
        return blocks, len(columns.sequence)

    (few, small), (many, large) = cost(10), cost(150)
    assert (small, large) == (80, 1200)
    assert abs(many - few) < 20
