"""What endpoints send of a recording: what was recorded byte for byte, but for what must differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import replay_samples as samples
from replay_samples import BEGAN_NS, Line, lines

from loadgen.nmsp import messages as m
from loadgen.nmsp import records as r
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile import WireProfile, load_profile, reference_profile
from loadgen.nmsp.ring import Timing
from loadgen.replay import ring as rings
from loadgen.replay.macs import MacMap
from loadgen.replay.reading import Recorded, record_untrusted
from loadgen.replay.recording import mapped_macs
from loadgen.replay.ring import ReplayRing, TrackTables
from loadgen.units import NS_PER_MS, NS_PER_S

ROOT = Path(__file__).parents[2]
LAYOUTS = [*(ROOT / "benchmarks" / "layouts").glob("*.toml"), *(ROOT / "docs" / "wire-profile").glob("*.toml")]
LAYOUTS += (ROOT / "tests" / "profiles").glob("*.toml")
# Due so much later than it was recorded.
LATER_NS = 3_600 * NS_PER_S


def recorded(profile: WireProfile, said: Sequence[Line]) -> Recorded:
    return record_untrusted(samples.events([samples.exchange(profile, said)]), profile, "a capture")


def ring_of(profile: WireProfile, made: Recorded, endpoint: int, *, aps: bool = False, batch: int = 1) -> ReplayRing:
    macs = MacMap(*mapped_macs(made.recording, aps=aps), "local", 100)
    return ReplayRing(profile, TrackTables(profile, made.recording.tracks[0], batch), macs.of(endpoint))


def frames(profile: WireProfile, data: memoryview) -> list[bytes]:
    found, position = [], 0
    while position < len(data):
        size = profile.framing.size_untrusted(profile.framing.header.struct.unpack_from(data, position))
        found.append(bytes(data[position : position + size]))
        position += size
    return found


def decoded(profile: WireProfile, frame: bytes) -> msgspec.Struct:
    """Checked as a receiver does."""
    framing, header = profile.framing, profile.framing.header.struct.unpack_from(frame)
    if not framing.numbers:  # those are sealed when they are written
        framing.check_untrusted(framing.id_of(header), header, memoryview(frame))
    body = memoryview(frame)[framing.head : len(frame) - framing.foot]
    return Codec(profile).decode_untrusted(framing.id_of(header), body)


def stations_of(message: msgspec.Struct) -> list[bytes]:
    if isinstance(message, m.StationsNotify):
        return [bytes(each.station_mac) for each in message.stations]
    assert isinstance(message, m.MeasurementNotify)
    return [bytes(message.station_mac)]


def without_ours(message: msgspec.Struct) -> msgspec.Struct:
    """All that is to be as it was recorded."""
    changed = {"sequence": 0, "due_ns": 0, "sent_ns": 0, "time": 0}
    if isinstance(message, m.StationsNotify):
        blank = tuple(msgspec.structs.replace(each, station_mac=bytes(6)) for each in message.stations)
        return msgspec.structs.replace(message, stations=blank, **changed)
    return msgspec.structs.replace(message, station_mac=bytes(6), **changed)


@pytest.mark.parametrize("path", [None, *LAYOUTS], ids=lambda path: "reference" if path is None else path.stem)
@pytest.mark.parametrize("batch", [1, 40])
def test_frames_are_as_recorded_but_for_what_must_differ(path: Path | None, batch: int) -> None:
    profile = reference_profile() if path is None else load_profile(path)
    said = lines(profile)
    made = recorded(profile, [*samples.opening(), *said] if path is None else said)
    assert made.messages == len(said)
    layout, seen = profile.layouts[Kind.MEASUREMENT_NOTIFY], {}
    names = {name for record in (layout.fixed, layout.tail) if record for name in record.names}
    names |= {each.name for each in layout.elements.fields.values()} if layout.elements else set()
    began_ns = BEGAN_NS + LATER_NS - 7 * NS_PER_S
    for endpoint in (0, 7):
        ring, told = ring_of(profile, made, endpoint, batch=batch), [0, 0, 0]
        sent: list[bytes] = []
        due = [BEGAN_NS + LATER_NS + index * NS_PER_MS for index in range(30)]
        while len(sent) < len(due):
            wanted = min(batch, len(due) - len(sent))
            now = due[len(sent)] + 5
            view, count = ring.patch(
                len(sent), wanted, told, Timing(np.array(due[len(sent) :]), now, began_ns=began_ns)
            )
            assert 1 <= count <= wanted
            new = frames(profile, view)
            assert len(new) == count
            sent += new
        assert told == [len(due), 0, 0]
        for index, frame in enumerate(sent):
            message, original = decoded(profile, frame), said[index % len(said)][2]
            kept = decoded(profile, Codec(profile).encode(original))
            assert without_ours(message) == without_ours(kept)
            for before, after in zip(stations_of(original), stations_of(message), strict=True):
                assert after != before
                assert seen.setdefault((endpoint, before), after) == after
            if "sequence" in names:
                assert message.sequence == index
            if "due_ns" in names:
                assert message.due_ns == due[index]
            if layout.time is not None:
                expected = due[index] - (began_ns if layout.time.since_began else 0)
                assert layout.time.to_wire(message.time) == layout.time.to_wire(expected)
    assert len(set(seen.values())) == len(seen) == 10  # no two endpoints have one in common


def test_no_other_byte_changes() -> None:
    profile = reference_profile()
    made = recorded(profile, lines(profile))
    view, count = ring_of(profile, made, 3, batch=12).patch(0, 12, [0, 0, 0], Timing(BEGAN_NS, BEGAN_NS))
    assert count == 12
    head, notify = profile.framing.head, profile.notify
    ours = {
        position
        for name, width in (("sequence", 8), ("due_ns", 8), ("sent_ns", 8), ("station_mac", 6))
        for position in range(head + notify.offsets[name], head + notify.offsets[name] + width)
    }
    for frame, (_, _, message, _) in zip(frames(profile, view), lines(profile), strict=True):
        before = Codec(profile).encode(message)
        assert {at for at, (one, other) in enumerate(zip(before, frame, strict=True)) if one != other} <= ours


def test_access_points_are_mapped_where_that_is_wanted() -> None:
    profile = reference_profile()
    made = recorded(profile, lines(profile))
    found = []
    for endpoint in range(2):
        view, _ = ring_of(profile, made, endpoint, aps=True).patch(0, 1, [0, 0, 0], Timing(BEGAN_NS, BEGAN_NS))
        message = decoded(profile, bytes(view))
        found += [bytes(reading.ap_mac) for reading in message.readings]
    assert len(set(found)) == 4
    assert samples.AP not in found


def test_a_long_recording_is_laid_out_a_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = reference_profile()
    made = recorded(profile, lines(profile, 40))
    whole, _ = ring_of(profile, made, 5, batch=40).patch(0, 40, [0, 0, 0], Timing(BEGAN_NS, BEGAN_NS))
    monkeypatch.setattr(rings, "CHUNK_BYTES", 1_000)
    ring, told, sent = ring_of(profile, made, 5, batch=40), [0, 0, 0], b""
    while told[0] < 40:
        view, _ = ring.patch(told[0], 40 - told[0], told, Timing(BEGAN_NS, BEGAN_NS))
        assert len(view) <= 1_000
        sent += view
    assert sent == bytes(whole)
    again, _ = ring.patch(40, 1, told, Timing(BEGAN_NS, BEGAN_NS))  # from the beginning
    assert decoded(profile, bytes(again)).sequence == 40
    assert without_ours(decoded(profile, bytes(again))) == without_ours(decoded(profile, frames(profile, whole)[0]))


def test_services_are_numbered_in_a_series_of_their_own() -> None:
    profile = reference_profile()
    info = m.ClientInfoNotify(subservice=9, records=(r.ClientInfo(samples.station(1), samples.AP, ssid="a"),))
    said = samples.notified(4)
    said = sorted([*said, *((at + 1, Role.WLC, info, 0) for at, *_ in said[1:3])], key=lambda line: line[0])
    made = recorded(profile, said)
    ring, told = ring_of(profile, made, 0, batch=6), [0, 0, 0]
    view, count = ring.patch(0, 6, told, Timing(BEGAN_NS, BEGAN_NS))
    messages = [decoded(profile, frame) for frame in frames(profile, view)]
    assert count == 6
    assert [each.sequence for each in messages if isinstance(each, m.MeasurementNotify)] == [0, 1, 2, 3]
    assert [each.sequence for each in messages if isinstance(each, m.ClientInfoNotify)] == [0, 1]
    assert told == [4, 2, 0]
    (first,) = {bytes(each.records[0].station_mac) for each in messages if isinstance(each, m.ClientInfoNotify)}
    assert first == bytes(messages[1].station_mac)  # the same station, wherever it is told of
    one, _ = ring.patch(7, 1, told, Timing(BEGAN_NS, BEGAN_NS))
    assert decoded(profile, bytes(one)).sequence == 4
    assert told == [5, 2, 0]
