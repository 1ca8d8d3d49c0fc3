"""What of ours a layout carries: any of three fields, as wide as it likes, sent and read the same in bulk and alone."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from nmsp_samples import reference_document

from loadgen.nmsp.bulk import NotifyReceiver, Stations
from loadgen.nmsp.carried import STAMPS, WHOLE, Carried, carried_by, stamp_of
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, MeasurementNotify
from loadgen.nmsp.profile import WireProfile, profile_untrusted, reference_profile
from loadgen.nmsp.records import Reading
from loadgen.nmsp.ring import NotifyRing, Timing

NOON = 1_795_000_000_000_000_000
KINDS = (None, "u8", "u16", "u32", "u64")


def profile_with(types: tuple[str | None, ...], *, subservice: bool = True) -> WireProfile:
    """The reference profile with these types of our fields in measurements; None: without."""
    document: dict[str, Any] = reference_document()
    message = document["messages"]["measurement_notify"]
    for name, kind in zip(STAMPS, types, strict=True):
        (field,) = (field for field in message["fields"] if field["name"] == name)
        if kind is None:
            message["fields"].remove(field)
        else:
            field["type"] = kind
    if not subservice:
        message["fields"] = [field for field in message["fields"] if field["name"] != "subservice"]
    return profile_untrusted(document, "a test's")


def bits_of(kind: str | None) -> int:
    return 0 if kind is None else int(kind[1:])


@pytest.mark.parametrize("types", [*itertools.product(KINDS, repeat=3)], ids=str)
def test_what_is_carried_is_sent_and_read(types: tuple[str | None, ...]) -> None:
    """By one frame at a time, and by several at once; numbers and times beyond what a narrow field holds."""
    profile = profile_with(types)
    carried = carried_by(profile)
    assert carried == Carried(*map(bits_of, types))
    codec, count, first, sent = Codec(profile), 5, (1 << 40) + 254, NOON + 999
    readings = np.zeros((count, 1), profile.reading.dtype)
    ring = NotifyRing(profile, Stations(np.zeros((count, 6), np.uint8), np.ones(count, int), readings, 3), batch=count)
    due = NOON + 7 * np.arange(count)
    view, patched = ring.patch(0, count, first, Timing(due, sent))
    together = bytes(view)
    assert patched == count
    alone = b"".join(
        bytes(ring.patch(turn, 1, first + turn, Timing(due[turn : turn + 1], sent))[0]) for turn in range(count)
    )
    none = Reading(bytes(6), 0, 0, 0, 0, 0, 0, 0)
    written = b"".join(
        codec.encode(
            MeasurementNotify(
                sequence=first + turn,
                due_ns=int(due[turn]),
                sent_ns=sent,
                station_mac=bytes(6),
                subservice=3,
                readings=(none,),
            )
        )
        for turn in range(count)
    )
    assert together == alone == written
    receiver = NotifyReceiver(profile, len(written))
    receiver.view[:] = written
    assert receiver.scan_untrusted(0, len(written)).notifications == count
    columns = receiver.columns()
    meant = (range(first, first + count), due.tolist(), [sent] * count)
    for column, values, bits in zip(columns[:3], meant, carried, strict=True):
        if not bits:
            assert column is None
        else:
            assert column is not None
            assert column.tolist() == [value & ((1 << bits) - 1) for value in values]
    assert columns.subservice.tolist() == [3] * count
    # One due time for all is no array.
    assert bytes(ring.patch(0, count, first, Timing(NOON, sent))[0]) == bytes(
        ring.patch(0, count, first, Timing(np.full(count, NOON), sent))[0]
    )


def test_a_measurement_without_a_subservice_is_of_stations() -> None:
    profile = profile_with((None, None, None), subservice=False)
    frame = Codec(profile).encode(MeasurementNotify(station_mac=bytes(6), readings=()))
    body = memoryview(frame)[profile.header.size :]
    message = Codec(profile).decode_untrusted(profile.ids[Kind.MEASUREMENT_NOTIFY], body)
    assert message == MeasurementNotify(station_mac=bytes(6), subservice=0, readings=())
    receiver = NotifyReceiver(profile, len(frame))
    receiver.view[:] = frame
    receiver.scan_untrusted(0, len(frame))
    assert receiver.columns().subservice.tolist() == [0]


def test_a_frame_in_which_nothing_varies_is_not_touched() -> None:
    frame = bytearray(64)
    stamp_of(profile_with((None, None, None)))(frame, 0, 1, 2, 3)
    assert frame == bytes(64)
    stamp_of(reference_profile())(frame, 0, 1, 2, 3)
    assert frame != bytes(64)


def test_the_reference_profile_carries_all_of_it() -> None:
    assert carried_by(reference_profile()) == WHOLE
    assert all(carried_by(reference_profile(), kind) == WHOLE for kind in Kind if kind.label.endswith("_notify"))
