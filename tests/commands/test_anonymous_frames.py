"""Frames of any layout without names: what was a name is another one, numbers stay, the rest is blank or as it was."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import examples

sys.path.append(str(Path(__file__).parents[1] / "nmsp"))

from nmsp_samples import messages

from loadgen.capture.anonymous import Pseudonyms
from loadgen.commands.anonymous_frames import AnonymousCount, FrameAnonymizer, Part
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import EchoRequest, Message, Role
from loadgen.nmsp.places import places_in
from loadgen.nmsp.profile import WireProfile, load_profile, reference_profile

FIVE = sorted((Path(__file__).parents[2] / "docs" / "wire-profile").glob("*.toml"))
PROFILES = {"reference": reference_profile(), **{path.stem: load_profile(path) for path in FIVE}}
NAMES = Pseudonyms(b"of a test")


def read(profile: WireProfile, frame: bytes) -> Message:
    framing, view = profile.framing, memoryview(frame)
    header = framing.header.struct.unpack_from(frame)
    number = framing.id_of(header)
    framing.check_untrusted(number, header, view)
    return Codec(profile).decode_untrusted(number, view[framing.head : len(frame) - framing.foot])


def whole(parts: Iterable[Part]) -> bytes:
    """Of which nothing is left out."""
    found = b""
    for part in parts:
        assert isinstance(part, bytes)
        found += part
    return found


@pytest.mark.parametrize("name", PROFILES)
@settings(deadline=None, max_examples=examples(200))
@given(data=st.data(), keeps=st.booleans())
def test_each_value_is_its_other_one(name: str, data: st.DataObject, keeps: bool) -> None:
    profile = PROFILES[name]
    framing, codec = profile.framing, Codec(profile)
    kind = data.draw(st.sampled_from(sorted(profile.layouts)))
    frame = framing.number(codec.encode(data.draw(messages(profile, kind)), 0), 3, 4)
    count = AnonymousCount()
    stream = FrameAnonymizer(profile, Role.WLC, NAMES, count, keeps_unknown=keeps)
    # In two pieces.
    cut = data.draw(st.integers(0, len(frame)))
    other = whole([*stream.data(frame[:cut]), *stream.data(frame[cut:]), *stream.end()])
    assert len(other) == len(frame)
    read(profile, other)
    foot = len(frame) - framing.foot
    before, after = frame[framing.head : foot], other[framing.head : foot]
    places = list(places_in(profile.layouts[kind], memoryview(before)))
    assert places == list(places_in(profile.layouts[kind], memoryview(after)))
    for at, size, what in places:
        value, found = before[at : at + size], after[at : at + size]
        if what == "mac":
            assert found == NAMES.mac(value)
        elif what == "address":
            assert found == NAMES.address(value)
        elif what == "text":
            assert found.rstrip(b"\0") == NAMES.text(value.rstrip(b"\0"))
        else:
            assert found == (bytes(size) if what == "bytes" and not keeps else value)
    covered = {byte for at, size, _ in places for byte in range(at, at + size)}
    rest = [at for at in range(len(before)) if at not in covered]
    assert bytes(after[at] for at in rest) == bytes(before[at] if keeps else 0 for at in rest)
    assert (count.frames, count.unknown_frames, count.left_out) == (1, 0, 0)


def test_bytes_of_a_header_that_no_field_has_are_blank() -> None:
    profile = PROFILES["reference"]
    gaps = {*range(profile.framing.head)}
    header = profile.framing.header
    for name, at in header.offsets.items():
        gaps -= {*range(at, at + header.widths[name])}
    frame = bytearray(read_frame := Codec(profile).encode(EchoRequest(), 5))
    for at in gaps:
        frame[at] = 7
    stream = FrameAnonymizer(profile, Role.WLC, NAMES, count := AnonymousCount(), keeps_unknown=False)
    assert whole(stream.data(bytes(frame))) == read_frame
    assert count.blanked == len(gaps)


def echoes(count: int) -> list[bytes]:
    return [Codec(PROFILES["reference"]).encode(EchoRequest(), number) for number in range(count)]


def merged(parts: Iterable[Part]) -> list[Part]:
    """Neighbours of a kind together."""
    return [
        sum(each) if kind is int else b"".join(each)  # type: ignore[arg-type]
        for kind, each in groupby((part for part in parts if part), key=type)
    ]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_are_found_again_where_some_in_a_row_are_without_fault(size: int) -> None:
    """Begun within a frame, with a hole within another one, and two frames alone between two holes."""
    stream = FrameAnonymizer(PROFILES["reference"], Role.WLC, NAMES, count := AnonymousCount(), keeps_unknown=False)
    frames = echoes(20)
    length = len(frames[0])
    parts: list[Part] = []
    for piece in (b"".join(frames[:8])[5:-3], b"".join(frames[8:10]), b"".join(frames[10:])):
        for at in range(0, len(piece), size):
            parts += stream.data(piece[at : at + size])
        parts += stream.hole()
    # Nothing comes behind the last hole.
    assert merged(parts) == [
        length - 5,
        b"".join(frames[1:7]),
        (length - 3) + 2 * length,
        b"".join(frames[10:]),
    ]
    assert (count.frames, count.left_out) == (16, length - 5 + length - 3 + 2 * length)


def test_what_is_no_nmsp_is_not_searched_for_ever() -> None:
    count = AnonymousCount()
    stream = FrameAnonymizer(PROFILES["reference"], Role.WLC, NAMES, count, keeps_unknown=False, longest_search=1 << 14)
    noise = random.Random(1).randbytes(1 << 10)
    parts: list[Part] = []
    for _ in range(32):
        parts += stream.data(noise)
    parts += stream.data(b"".join(echoes(20)))
    assert merged(parts) == [count.left_out]
    assert count.left_out == 32 * len(noise) + 20 * len(echoes(1)[0])
