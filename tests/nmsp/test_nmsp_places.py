"""Where the values of messages are: all that is read is there, and what is changed there is what is read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmsp_samples import OTHER_TOML, messages, reference_document
from nmsp_shapes import in_elements, nested, words
from thoroughness import examples

from loadgen.nmsp.codec import Codec
from loadgen.nmsp.fields import UNITS
from loadgen.nmsp.messages import Message
from loadgen.nmsp.opaque import OpaqueMessage
from loadgen.nmsp.parts import Record
from loadgen.nmsp.places import ValuePlace, opaque_places, places_in, record_places
from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.nmsp.profile_document import FieldDocument, OpaqueDocument

PROFILES = {
    "reference": profile_untrusted(reference_document(), "reference"),
    "other": profile_untrusted(tomllib.loads(OTHER_TOML), "other"),
    **{shape.__name__: profile_untrusted(shape(), shape.__name__) for shape in (in_elements, nested, words)},
}


def body_of(profile: WireProfile, message: Message) -> bytes:
    framing = profile.framing
    frame = Codec(profile).encode(message, 0)
    return frame[framing.head : len(frame) - framing.foot]


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a message that are not made of others, with their names."""
    if isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from leaves(getattr(value, field), field)
    elif isinstance(value, tuple):
        for each in value:
            yield from leaves(each, name)
    else:
        yield name, value


@pytest.mark.parametrize("name", PROFILES)
@settings(deadline=None, max_examples=examples(400))
@given(st.data())
def test_what_places_cover_is_all_that_is_read(name: str, data: st.DataObject) -> None:
    profile = PROFILES[name]
    kind = data.draw(st.sampled_from(sorted(profile.layouts)))
    message = data.draw(messages(profile, kind))
    body = body_of(profile, message)
    places = list(places_in(profile.layouts[kind], memoryview(body)))
    rebuilt, changed = bytearray(len(body)), bytearray(body)
    for at, size, what in places:
        rebuilt[at : at + size] = body[at : at + size]
        if what == "mac":
            changed[at : at + size] = bytes(byte ^ 0xFF for byte in body[at : at + size])
        elif what == "text":
            changed[at : at + size] = body[at : at + size].replace(b"a", b"\n")
    codec, number = Codec(profile), profile.ids[kind]
    expected = codec.decode_untrusted(number, memoryview(body))
    assert codec.decode_untrusted(number, memoryview(bytes(rebuilt))) == expected
    found = 0
    read = list(leaves(codec.decode_untrusted(number, memoryview(bytes(changed)))))
    for (field, before), (again, after) in zip(leaves(expected), read, strict=True):
        assert field == again
        if UNITS.get(field) == "MAC":
            flipped = bytes(byte ^ 0xFF for byte in before)
            # What a layout has not got is nobody's.
            assert after == flipped or before == after == bytes(6)
            found += after == flipped
        elif UNITS.get(field) == "text":
            assert after == before.replace("a", "\n")
        else:
            assert after == before
    assert found == sum(place.type == "mac" for place in places)


def test_of_what_is_known_as_bytes_alone_the_profiles_bytes_and_what_is_filled_in() -> None:
    fills = [FieldDocument(name="mac", offset=2, type="mac"), FieldDocument(name="transaction", offset=9, type="u16")]
    opaque = OpaqueMessage("hello", OpaqueDocument(id=1, sender="wlc", hex="00" * 12, fields=fills), ">")
    body = bytes([0, 5]) + b"\1\2\3\4\5\6" + bytes([0, 7, 7, 9])
    assert list(opaque_places(opaque, memoryview(body))) == [
        ValuePlace(2, 6, "mac"),
        ValuePlace(9, 2, "number"),
        ValuePlace(0, 1, "number"),
        ValuePlace(8, 1, "number"),
    ]
    assert list(opaque_places(opaque, memoryview(body[:11]))) == []


@pytest.mark.parametrize(
    ("name", "size", "what"),
    [("address", 4, "address"), ("anchor", 16, "address"), ("address", 5, "bytes"), ("payload", 16, "bytes")],
)
def test_which_bytes_are_addresses(name: str, size: int, what: str) -> None:
    record = Record([FieldDocument(name=name, offset=1, type="bytes", size=size)], 20, ">")
    assert record_places(record) == (ValuePlace(1, size, what),)
