"""Notifications of layouts that are no tables, in bulk: what a ring sends is what the codec reads, and what a receiver
finds is what the codec finds, whether frames like them were seen before or not.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmsp_samples import REPEATABLE, stations
from nmsp_shapes import DOCUMENTS, TABLES, in_elements, shape_profile
from test_nmsp_walk import message
from thoroughness import examples

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.any_bulk import AnyReceiver, AnyRing, Receiver, receiver_of, ring_of
from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.carried import carried_by
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import EchoRequest, Kind
from loadgen.nmsp.profile import WireProfile, load_profile, profile_untrusted, reference_profile
from loadgen.nmsp.ring import NotifyRing, SealedRing, Timing

LAYOUTS = Path(__file__).parents[2] / "benchmarks" / "layouts"
PROFILES = {name: shape_profile(name) for name in DOCUMENTS | TABLES}
DUE_NS = 1_795_000_000_123_000_000
NAMES = ("sequence", "due_ns", "sent_ns", "subservice", "time")


def counts(profile: WireProfile, number: int) -> list[int]:
    """Readings of as many stations: one to five, as far as the layout has room."""
    return [1 + each % min(5, profile.max_readings) for each in range(number)]


class Read(NamedTuple):
    """What came out of a stream: rows of each notification, controls with the rows before each, the fault, the rest."""

    rows: list[tuple[int | None, ...]]
    controls: list[tuple[int, int]]
    fault: str | None
    left: int


def _as_column(name: str, value: int) -> int:
    """Columns are of int64, whatever a peer makes up; devices' times are compared as such."""
    return value if name == "time" else (value + (1 << 63)) % (1 << 64) - (1 << 63)


def by_codec(profile: WireProfile, stream: bytes) -> Read:
    """Frame by frame."""
    framing, codec = profile.framing, Codec(profile)
    rows: list[tuple[int | None, ...]] = []
    controls: list[tuple[int, int]] = []
    carried = AnyReceiver(profile, 64).columns()
    position = 0
    try:
        while len(stream) - position >= framing.head:
            header = profile.header.struct.unpack_from(stream, position)
            size = framing.size_untrusted(header)
            if len(stream) - position < size:
                break
            frame = memoryview(stream)[position : position + size]
            number = framing.id_of(header)
            framing.check_untrusted(number, header, frame)
            if profile.kinds.get(number) is Kind.MEASUREMENT_NOTIFY:
                found = codec.decode_untrusted(number, frame[framing.head : size - framing.foot])
                known = [
                    _as_column(name, getattr(found, name)) if column is not None else None
                    for name, column in zip(NAMES, carried, strict=False)
                ]
                rows.append((*known, len(getattr(found, "stations", (None,)))))
            else:
                controls.append((len(rows), number))
            position += size
    except RemoteProtocolError as fault:
        return Read(rows, controls, fault.kind, len(stream) - position)
    return Read(rows, controls, None, len(stream) - position)


def by_receiver(profile: WireProfile, receiver: Receiver, stream: bytes, *, sweep: bool = False) -> Read:
    receiver.reset()
    receiver.view[: len(stream)] = stream
    controls: list[tuple[int, int]] = []
    position, fault = 0, None
    if sweep:
        (count,) = receiver.sweep_untrusted([0], [len(stream)], [True]).tolist()
        if count:
            position = len(stream)
    while position < len(stream):
        scanned = receiver.scan_untrusted(position, len(stream))
        position = scanned.position
        if scanned.control is not None:
            controls.append((receiver.notifications, scanned.control.msg_id))
        elif scanned.fault is not None:
            fault = scanned.fault.kind
            break
        else:
            break
    columns = receiver.columns()
    of_each = [[None] * columns.notifications if column is None else column.tolist() for column in columns]
    if columns.stations is None:
        of_each[-1] = [1] * columns.notifications
    if (time := profile.layouts[Kind.MEASUREMENT_NOTIFY].time) is not None:
        of_each[-2] = [time.from_wire(number & (1 << 64) - 1) for number in of_each[-2]]
    return Read(list(zip(*of_each, strict=True)), controls, fault, len(stream) - position)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("wanted", [1, 7, 64])
@pytest.mark.parametrize("burst", [1, 20, None])
def test_what_a_ring_sends_the_codec_reads(name: str, wanted: int, burst: int | None) -> None:
    """Args: burst: so many are due together; None: all, and that is told as one number."""
    profile = PROFILES[name]
    told, plain = stations(profile, counts(profile, 31), 3)
    ring = ring_of(profile, told, wanted)
    assert isinstance(ring, NotifyRing if name in TABLES else AnyRing)
    codec, framing, cursor = Codec(profile), profile.framing, 0
    macs: list[bytes] = []
    while cursor < 2 * ring.slots:
        dues = [DUE_NS + (number // burst * 1_000_003 if burst else 0) for number in range(cursor, cursor + wanted)]
        view, count = ring.patch(
            cursor, wanted, cursor, Timing(np.array(dues) if burst else DUE_NS, DUE_NS + 9 + cursor)
        )
        stream, position = bytes(view), 0
        assert 0 < count <= wanted
        for number, due in zip(range(cursor, cursor + count), dues, strict=False):
            header = profile.header.struct.unpack_from(stream, position)
            size = framing.size_untrusted(header)
            frame = memoryview(stream)[position : position + size]
            framing.check_untrusted(framing.id_of(header), header, frame)
            found = codec.decode_untrusted(framing.id_of(header), frame[framing.head : size - framing.foot])
            for field, value in {"sequence": number, "due_ns": due, "sent_ns": DUE_NS + 9 + cursor}.items():
                if bits := getattr(carried_by(profile), field):
                    assert getattr(found, field) == value & (1 << bits) - 1, field
            if (time := profile.layouts[Kind.MEASUREMENT_NOTIFY].time) is not None:
                assert 0 <= due - found.time < time.step_ns
            each = getattr(found, "stations", (found,))
            macs += [station.station_mac for station in each]
            for station in each:
                told_of = dict(plain)[station.station_mac]
                assert sorted(station.readings, key=repr) == sorted(told_of, key=repr)  # in any order, where it says so
            position += size
        assert position == len(stream)
        cursor += count
    assert {*macs} == {mac for mac, _ in plain}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_stations_report_in_their_order(name: str) -> None:
    """Where frames of one size need not lie side by side."""
    profile = PROFILES[name]
    told, plain = stations(profile, counts(profile, 31), 3)
    ring, codec, framing = ring_of(profile, told), Codec(profile), profile.framing
    assert ring.slots == -(-31 // profile.stations)
    for slot in range(ring.slots):
        frame, _ = ring.patch(slot, 1, slot, Timing(DUE_NS, DUE_NS))
        body = frame[framing.head : len(frame) - framing.foot]
        found = codec.decode_untrusted(profile.ids[Kind.MEASUREMENT_NOTIFY], body)
        each = getattr(found, "stations", (found,))
        who = [mac for mac, _ in plain][slot * profile.stations :][: profile.stations]
        assert sorted(station.station_mac for station in each) == sorted(who)


def test_a_time_since_the_session_began_is_counted_from_there() -> None:
    document = in_elements()
    document["messages"]["measurement_notify"]["elements"]["fields"][1] |= {"epoch": "session", "size": 4}
    profile = profile_untrusted(document, "session")
    ring = ring_of(profile, stations(profile, [1, 2])[0], 2)
    view, count = ring.patch(0, 2, 0, Timing(DUE_NS, DUE_NS, began_ns=DUE_NS - 5_000_000_000))
    size = profile.framing.size_untrusted(profile.header.struct.unpack_from(view))
    found = Codec(profile).decode_untrusted(profile.ids[Kind.MEASUREMENT_NOTIFY], view[profile.framing.head : size])
    assert count == 2
    assert found.time == 5_000_000_000


def streams(profile: WireProfile) -> st.SearchStrategy[list[bytes]]:
    """Some frames, most of them notifications."""
    codec = Codec(profile)
    heard = st.lists(st.integers(0, 5), max_size=6).map(tuple)
    notify = st.tuples(st.integers(0, 70_000), heard).map(
        lambda drawn: codec.encode(message(profile, *drawn), turn=drawn[0])
    )
    echo = st.just(codec.encode(EchoRequest(), 5))
    return st.lists(st.one_of(notify, notify, notify, echo), max_size=40)


@pytest.mark.parametrize("name", PROFILES)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(60))
def test_a_receiver_finds_what_the_codec_finds(name: str, data: st.DataObject) -> None:
    """New, and when it has seen all of the stream before; in a sweep too."""
    profile = PROFILES[name]
    stream = b"".join(data.draw(streams(profile)))
    receiver = receiver_of(profile, len(stream) + 1)
    expected = by_codec(profile, stream)
    for sweep in (False, True, False):
        assert by_receiver(profile, receiver, stream, sweep=sweep) == expected


@pytest.mark.parametrize("name", PROFILES)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(200))
def test_a_receiver_refuses_what_the_codec_refuses(name: str, data: st.DataObject) -> None:
    """Bytes changed, cut off or put in, when everything else was seen before."""
    profile = PROFILES[name]
    good = b"".join(data.draw(streams(profile)))
    broken = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken)))
        change = data.draw(st.sampled_from(("set", "set", "cut", "put")))
        if change == "set" and at < len(broken):
            broken[at] = data.draw(st.sampled_from((0, 1, 2, 3, 9, 0x10, 0x20, 127, 128, 255)))
        elif change == "cut":
            del broken[at : at + data.draw(st.integers(1, 8))]
        else:
            broken[at:at] = bytes(data.draw(st.integers(1, 4)))
    receiver = receiver_of(profile, len(good) + 64)
    if data.draw(st.booleans()):
        by_receiver(profile, receiver, good)
    expected = by_codec(profile, bytes(broken))
    for sweep in (False, True):
        assert by_receiver(profile, receiver, bytes(broken), sweep=sweep) == expected


def test_shapes_without_end_take_no_memory_without_end() -> None:
    """A peer that sends ever new ones is read all the same."""
    profile = PROFILES["in elements"]
    codec, receiver = Codec(profile), AnyReceiver(profile, 1 << 16)
    for round_ in range(40):
        frames = []
        for number in range(64):
            frame = bytearray(codec.encode(message(profile, round_ * 64 + number, (1,)), turn=0))
            fill = bytes((200, 2)) + (round_ * 64 + number).to_bytes(2, "little")  # of a type that nobody knows
            extra = b"".join(bytes((201 + bit, 0)) for bit in range(12) if (round_ * 64 + number) >> bit & 1)
            length = profile.header.offsets["length"]
            size = len(frame) + len(fill) + len(extra) - profile.framing.added
            frame[length : length + 4] = size.to_bytes(4, "little")
            frames.append(bytes(frame) + fill + extra)
        stream = b"".join(frames)
        assert by_receiver(profile, receiver, stream, sweep=True) == by_codec(profile, stream)
    assert receiver.shapes_seen <= 2048


def test_a_table_has_the_receiver_and_the_ring_for_tables() -> None:
    profile = reference_profile()
    assert isinstance(receiver_of(profile, 1000), NotifyReceiver)
    assert isinstance(ring_of(profile, stations(profile, [1])[0]), NotifyRing)


@pytest.mark.parametrize("name", [name for name in PROFILES if PROFILES[name].framing.checksum is not None])
@pytest.mark.parametrize("wrong", [0, 1, 11, 19])
def test_one_wrong_checksum_among_many_frames_is_found(name: str, wrong: int) -> None:
    profile = PROFILES[name]
    frames = [bytearray(Codec(profile).encode(message(profile, 3, (2,)), turn=0)) for _ in range(20)]
    broken = frames[wrong]
    broken[profile.framing.checksum.offset + len(broken)] ^= 1  # type: ignore[union-attr]
    stream = b"".join(frames)
    receiver = receiver_of(profile, 2 * len(stream))
    expected = by_codec(profile, stream)
    assert (len(expected.rows), expected.fault) == (wrong, "checksum")
    for sweep in (False, True):
        assert by_receiver(profile, receiver, stream, sweep=sweep) == expected
    # What another link brought in the same turn is taken.
    receiver.reset()
    good = b"".join(frames[:wrong] + frames[wrong + 1 :])
    receiver.view[: len(stream) + len(good)] = stream + good
    counts = receiver.sweep_untrusted([0, len(stream)], [len(stream), len(stream) + len(good)], [True, True])
    assert counts.tolist() == [0, 19]
    assert receiver.columns().notifications == receiver.notifications == 19


def test_the_layouts_of_the_benchmark_are_what_its_table_says() -> None:
    fixed, sealed, elements = (load_profile(LAYOUTS / f"{name}.toml") for name in ("fixed", "sealed", "elements"))
    assert fixed.notify_is_stamped
    assert (sealed.notify_is_table, sealed.notify_is_stamped) == (True, False)
    assert (elements.notify_is_table, elements.stations) == (False, 4)
    for profile in (fixed, sealed, elements):
        assert carried_by(profile) == (0, 0, 0)
        told, _ = stations(profile, [4] * 8)
        ring, receiver = ring_of(profile, told, 64), receiver_of(profile, 1 << 15)
        view, count = ring.patch(0, 64, 0, Timing(DUE_NS, 0))
        receiver.view[: len(view)] = view
        assert receiver.sweep_untrusted([0], [len(view)], [True]).tolist() == [count]
    assert isinstance(ring_of(sealed, told), SealedRing)
