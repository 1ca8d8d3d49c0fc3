"""A WLC's frames in one buffer: always the bytes that the codec would have made of the same values."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmsp_by_hand import frame_by_hand
from nmsp_samples import REPEATABLE, stations

from loadgen.nmsp.bulk import MAX_WRITE_BYTES
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, MeasurementNotify
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.ring import NotifyRing, Timing

EPOCH = 1_795_000_000_000_000_000


def decoded(profile: WireProfile, frame: bytes) -> MeasurementNotify:
    message = Codec(profile).decode_untrusted(
        profile.ids[Kind.MEASUREMENT_NOTIFY], memoryview(frame)[profile.header.size :]
    )
    assert isinstance(message, MeasurementNotify)
    return message


def frames(profile: WireProfile, written: bytes) -> list[bytes]:
    """Split by the length field, read at the offset that the document gives."""
    document, out = profile.document, []
    field = next(f for f in document.header.fields if f.name == "length")
    width = {"u16": 2, "u32": 4}[field.type]
    while written:
        size = int.from_bytes(written[field.offset : field.offset + width], document.byte_order)
        size += document.header.size if document.header.length_counts == "body" else 0
        out.append(written[:size])
        written = written[size:]
    return out


COUNTS = [[4], [0], [3, 3, 3, 3, 3], [0, 1, 2, 3, 4, 5], [5, 1, 3, 1, 5, 0, 3, 1, 11, 2, 2]]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_every_frame_equals_the_codec_whatever_is_written_at_once(
    profile: WireProfile, counts: list[int], batch: int
) -> None:
    """Three times round the stations, in writes of several lengths."""
    owners, plain = stations(profile, counts, subservice=5)
    ring = NotifyRing(profile, owners, batch)
    rounds = -(-batch // len(counts))  # a lap has room for a batch: every station reports that often in it
    assert ring.slots == len(counts) * rounds
    for wanted in (1, 2, 3, 5, 8, 13, 100, 500):
        cursor = 0
        seen: Counter[bytes] = Counter()
        while cursor < 3 * ring.slots:
            due, left = EPOCH + cursor, min(wanted, 3 * ring.slots - cursor)
            view, count = ring.patch(cursor, left, 1000 + cursor, Timing(due, due + 9))
            written = frames(profile, bytes(view))
            assert 1 <= count == len(written) <= left
            for offset, frame in enumerate(written):
                message = decoded(profile, frame)
                assert Codec(profile).encode(message) == frame == frame_by_hand(profile, message)
                assert (message.sequence, message.due_ns, message.sent_ns, message.subservice) == (
                    1000 + cursor + offset,
                    due,
                    due + 9,
                    5,
                )
                assert (message.station_mac, message.readings) in plain
                seen[message.station_mac] += 1
            cursor += count
        assert seen == {mac: 3 * rounds for mac, _ in plain}


@given(
    counts=st.lists(st.integers(0, 11), min_size=1, max_size=12),
    calls=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    start=st.integers(0, 10**9),
    batch=st.integers(1, 50),
)
@REPEATABLE
def test_a_due_time_of_its_own_for_each(
    profile: WireProfile, counts: list[int], calls: list[int], start: int, batch: int
) -> None:
    """Cursors far from 0, columns of due times: each frame carries its own, and turns go round the stations."""
    owners, plain = stations(profile, counts)
    ring = NotifyRing(profile, owners, batch)
    # Documented: sorted by number of readings, and repeated within a size until a lap has room for a batch.
    sizes = sorted(set(counts))
    by_turn = [s for size in sizes for s in [s for s in plain if len(s[1]) == size] * -(-batch // len(counts))]
    cursor = start
    for wanted in calls:
        due = EPOCH + np.arange(cursor, cursor + wanted) * 17
        view, count = ring.patch(cursor, wanted, cursor - start, Timing(due, EPOCH))
        written = frames(profile, bytes(view))
        assert len(written) == count
        for offset, frame in enumerate(written):
            mac, readings = by_turn[(cursor + offset) % len(by_turn)]
            sequence = cursor - start + offset
            assert frame == frame_by_hand(
                profile,
                MeasurementNotify(
                    sequence=sequence,
                    due_ns=EPOCH + (cursor + offset) * 17,
                    sent_ns=EPOCH,
                    station_mac=mac,
                    subservice=0,
                    readings=readings,
                ),
            )
        cursor += count


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("batch", [1, 10, 64, 1000])
def test_a_batch_is_one_write_wherever_it_begins(profile: WireProfile, counts: list[int], batch: int) -> None:
    """Cut only by the TLS record, never where sizes change or the ring closes."""
    owners, _ = stations(profile, counts)
    ring = NotifyRing(profile, owners, batch)
    for cursor in range(2 * len(counts)):
        view, count = ring.patch(cursor, batch, 0, Timing(EPOCH, EPOCH))
        assert len(view) <= MAX_WRITE_BYTES
        assert len(frames(profile, bytes(view))) == count
        if count < batch:
            assert len(view) > MAX_WRITE_BYTES - profile.notify_bytes(max(counts))


def test_one_write_is_whole_frames_within_one_tls_record(profile: WireProfile) -> None:
    owners, _ = stations(profile, [0, 2, 11] * 300)
    ring = NotifyRing(profile, owners)
    cursor, largest = 0, 0
    while cursor < ring.slots:
        view, count = ring.patch(cursor, 10**6, cursor, Timing(EPOCH, EPOCH))
        assert len(frames(profile, bytes(view))) == count
        assert len(view) <= MAX_WRITE_BYTES
        largest = max(largest, len(view))
        cursor += count
    assert cursor == ring.slots
    assert largest > MAX_WRITE_BYTES - profile.notify_bytes(11)  # and not much less, where enough is due


def test_a_patch_touches_its_own_slots_only(profile: WireProfile) -> None:
    owners, _ = stations(profile, [2] * 6)
    ring = NotifyRing(profile, owners)
    size = profile.notify_bytes(2)
    everything, count = ring.patch(0, 6, 0, Timing(EPOCH, EPOCH))
    assert count == 6
    before = bytes(everything)
    ring.patch(2, 2, 70, Timing(EPOCH + 1, EPOCH + 2))
    after = bytes(everything)
    assert after[: 2 * size] == before[: 2 * size]
    assert after[4 * size :] == before[4 * size :]
    assert [decoded(profile, f).sequence for f in frames(profile, after)] == [0, 1, 70, 71, 4, 5]


def test_a_write_goes_on_behind_frames_that_have_just_filled_it(profile: WireProfile) -> None:
    """Where the ring closes, frames are smaller, and more of them fit."""
    least = profile.notify_bytes(0)
    readings = next(each for each in range(1, 99) if MAX_WRITE_BYTES % profile.notify_bytes(each) >= least)
    most = MAX_WRITE_BYTES // profile.notify_bytes(readings)
    owners, _ = stations(profile, [0] * 300 + [readings] * most)
    view, count = NotifyRing(profile, owners, 500).patch(300, 500, 0, Timing(EPOCH, EPOCH))
    assert count > most
    assert MAX_WRITE_BYTES - least < len(view) <= MAX_WRITE_BYTES
    assert len(frames(profile, bytes(view))) == count
