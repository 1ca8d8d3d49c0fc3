"""The five layouts of docs/wire-profile.md: every message of each, against bytes laid out by hand from the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmsp_by_hand import frame_by_hand
from nmsp_samples import REPEATABLE, messages, read_frame, stations
from test_nmsp_any_bulk import by_codec, by_receiver
from thoroughness import examples

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.any_bulk import receiver_of, ring_of
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import STAMPS, Kind
from loadgen.nmsp.profile import WireProfile, load_profile
from loadgen.nmsp.records import Reading
from loadgen.nmsp.ring import Timing

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("heron", "wren", "stork", "plover", "swift")
PROFILES = {name: load_profile(DOCS / "wire-profile" / f"{name}.toml") for name in NAMES}
SEALED = sorted(name for name, profile in PROFILES.items() if profile.framing.checksum is not None)


def test_the_page_tells_of_each_in_no_more_than_ten_lines() -> None:
    page = (DOCS / "wire-profile.md").read_text("utf-8")
    for name in PROFILES:
        begin = rf"^\*\*\[{name}\]\(wire-profile/{name}\.toml\)\*\*:"
        (section,) = re.findall(rf"{begin}.*?\n\n", page, re.DOTALL | re.MULTILINE)
        assert len(section.splitlines()) <= 10


def test_none_has_a_field_of_ours() -> None:
    for profile in PROFILES.values():
        for layout in profile.layouts.values():
            names = set(layout.fixed.names) | (set() if layout.tail is None else set(layout.tail.names))
            names |= set() if layout.elements is None else {field.name for field in layout.elements.fields.values()}
            assert not names & set(STAMPS)


def test_they_have_all_that_a_profile_can_say_between_them() -> None:
    every = PROFILES.values()
    assert {profile.document.byte_order for profile in every} == {"big", "little"}
    assert {profile.document.header.length_counts for profile in every} == {"frame", "body", "rest"}
    assert {profile.header.types.get("msg_id") for profile in every} == {None, "u8", "u16"}
    assert {profile.document.checksum.kind for profile in every if profile.document.checksum is not None} == {
        *("crc-32", "internet", "crc-16/kermit"),
    }
    assert {profile.stations for profile in every} == {1, 12, 20}
    assert {profile.framing.has_transaction for profile in every} == {True, False}
    assert {bool(profile.framing.numbers) for profile in every} == {True, False}
    times = {
        (time.step_ns, time.since_began)
        for profile in every
        for layout in profile.layouts.values()
        for part in (layout.fixed, layout.tail, layout.elements)
        if part is not None
        for time in part.times.values()
    }
    assert times == {(1_000, False), (10**9, False), (1, False), (10**6, False), (10**6, True)}


def sent(profile: WireProfile, frame: bytes, numbers: tuple[int, int]) -> bytes:
    return profile.framing.number(frame, *numbers) if profile.framing.numbers else frame


@pytest.mark.parametrize("name", PROFILES)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(120))
def test_every_message_is_what_was_laid_out_by_hand(name: str, data: st.DataObject) -> None:
    profile = PROFILES[name]
    kind = data.draw(st.sampled_from(sorted(profile.layouts)))
    message = data.draw(messages(profile, kind))
    transaction = data.draw(st.integers(0, 65535)) if profile.framing.has_transaction else 0
    numbers = (data.draw(st.integers(0, 1 << 33)), data.draw(st.integers(0, 1 << 33)))
    frame = sent(profile, Codec(profile).encode(message, transaction), numbers)
    assert frame == frame_by_hand(profile, message, transaction, numbers)
    assert read_frame(profile, frame) == (message, transaction)


@pytest.mark.parametrize("name", SEALED)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(60))
def test_any_bit_that_is_another_is_a_wrong_checksum_or_no_frame_at_all(name: str, data: st.DataObject) -> None:
    profile = PROFILES[name]
    message = data.draw(messages(profile, Kind.MEASUREMENT_NOTIFY))
    frame = bytearray(sent(profile, Codec(profile).encode(message), (1, 1)))
    at = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[at // 8] ^= 1 << at % 8
    with pytest.raises(RemoteProtocolError) as fault:
        read_frame(profile, bytes(frame))
    assert fault.value.kind in ("checksum", "garbage", "malformed", "oversized")
    in_header = at // 8 < profile.framing.head
    assert fault.value.kind == "checksum" or in_header


@pytest.mark.parametrize("name", [name for name in NAMES if not PROFILES[name].framing.numbers])
def test_many_are_sent_and_received_at_once(name: str) -> None:
    """Wherever the fields of a reading are: a ring's stations come back with all of them."""
    profile = PROFILES[name]
    told, plain = stations(profile, [0, 3, 1, 2, 3, 1, 0], 3)
    ring = ring_of(profile, told, 4)
    heard: dict[bytes, tuple[Reading, ...]] = {}
    for cursor in range(ring.slots):
        view, count = ring.patch(cursor, 1, 0, Timing(1_795_000_000_000_000_000, 0))
        assert count == 1
        stream = bytes(view)
        message, _ = read_frame(profile, stream)
        for each in getattr(message, "stations", (message,)):
            heard[each.station_mac] = each.readings
        assert by_receiver(profile, receiver_of(profile, len(stream) + 1), stream) == by_codec(profile, stream)
    assert {mac: sorted(readings, key=repr) for mac, readings in heard.items()} == {
        mac: sorted(readings, key=repr) for mac, readings in plain
    }
