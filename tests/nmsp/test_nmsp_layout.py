"""One table, three ways to its bytes: struct (one message), numpy (a batch), and offsets by hand (the witness)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmsp_by_hand import frame_by_hand
from nmsp_samples import REPEATABLE, by_hand, messages, record_values

from loadgen.nmsp.messages import Kind, MeasurementNotify
from loadgen.nmsp.parts import Record
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import FieldDocument

WIRE_KINDS = [kind for kind in Kind if kind is not Kind.UNSUPPORTED]


@cache
def records(profile: WireProfile) -> dict[str, tuple[Record, tuple[FieldDocument, ...], int]]:
    """Every record of a profile with its fields as the document has them."""
    document = profile.document
    found = {"header": (profile.header, document.header.fields, document.header.size)}
    for kind, compiled in profile.layouts.items():
        layout = document.messages[kind.label]
        found[kind.label] = (compiled.body, layout.fields, layout.size)
        if compiled.repeat is not None:
            assert layout.repeat is not None
            record = document.records[layout.repeat.record]
            found[f"{kind.label} record"] = (compiled.repeat.record, record.fields, record.size)
    return found


def plain(record: Record, values: dict[str, Any]) -> tuple[Any, ...]:
    """Values as `struct` and numpy take them: text as bytes of the field's whole width."""
    known = {**record.constants, **values}
    return tuple(
        known[name].encode().ljust(record.widths[name], b"\0") if name in record.texts else known[name]
        for name in record.names
    )


NAMES = ["header", *(f"{kind.label}{part}" for kind in WIRE_KINDS for part in ("", " record"))]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@REPEATABLE
def test_struct_and_dtype_of_every_record_give_the_bytes_laid_out_by_hand(
    profile: WireProfile, name: str, data: st.DataObject
) -> None:
    if name not in (found := records(profile)):  # this profile does not have it
        return
    record, fields, size = found[name]
    values = data.draw(record_values(record))
    witness = by_hand(profile, fields, size, values)
    assert record.struct.pack(*plain(record, values)) == witness
    assert record.struct.unpack(witness) == plain(record, values)
    assert record.size == record.struct.size == record.dtype.itemsize == size
    if size == 0:
        return
    table = np.zeros(3, record.dtype)
    for field, value in zip(record.names, plain(record, values), strict=True):
        table[field][1] = np.void(value) if isinstance(value, bytes) else value
    assert table.tobytes() == bytes(size) + witness + bytes(size)


@given(data=st.data())
@REPEATABLE
def test_a_whole_notification_is_the_same_from_struct_dtype_and_hand(profile: WireProfile, data: st.DataObject) -> None:
    message = data.draw(messages(profile, Kind.MEASUREMENT_NOTIFY))
    assert isinstance(message, MeasurementNotify)
    n = len(message.readings)
    witness = frame_by_hand(profile, message)
    assert len(witness) == profile.notify_bytes(n)

    frame = np.frombuffer(witness, profile.notify_dtype(n))
    assert frame.shape == (1,)
    for name in ("sequence", "due_ns", "sent_ns", "subservice"):
        assert int(frame[name][0]) == getattr(message, name)
    assert frame["station_mac"][0].tobytes() == message.station_mac
    assert int(frame[profile.count_field][0]) == n
    for i, reading in enumerate(message.readings):
        read = frame["readings"][0, i]
        assert read["ap_mac"].tobytes() == reading.ap_mac
        for name in ("slot", "band", "source", "rssi_a", "rssi_b", "snr", "age_s"):
            assert int(read[name]) == getattr(reading, name)

    layout = profile.notify_struct(n)
    assert layout.size == len(witness)
    assert layout.pack(*layout.unpack(witness)) == witness  # gaps are zero in both directions


def test_the_second_profile_really_differs(other_profile: WireProfile) -> None:
    """Or the tests above would prove the same thing twice."""
    assert other_profile.order == "<"
    assert other_profile.header.size != 12
    assert other_profile.length_of_header == other_profile.header.size
    assert other_profile.ids[Kind.SUBSCRIBE_REQUEST] == 0
    assert other_profile.notify.dtype.names != tuple(sorted(other_profile.notify.dtype.names or ()))
    gaps = other_profile.notify.size - sum(
        np.dtype(other_profile.notify.dtype.fields[n][0]).itemsize  # type: ignore[index]
        for n in other_profile.notify.names
    )
    assert gaps > 0


def test_digest_names_the_layout(profile: WireProfile, other_profile: WireProfile) -> None:
    again = WireProfile(profile.document)
    assert again.digest == profile.digest
    assert len(profile.digest) == 12
    assert (profile.digest == other_profile.digest) == (profile is other_profile)
