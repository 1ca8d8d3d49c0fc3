from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmsp_by_hand import frame_by_hand
from nmsp_samples import REPEATABLE, field_values, messages, notify, outcome, raw_frame

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.catalogue import CATALOGUE, KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import needed
from loadgen.nmsp.messages import Kind, MeasurementNotify, Message, Unsupported
from loadgen.nmsp.profile import WireProfile, reference_profile

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "reference-1.json").read_text("utf-8"))
WIRE_KINDS = [kind for kind in Kind if kind is not Kind.UNSUPPORTED]


def from_plain(struct: type[msgspec.Struct], values: dict[str, Any]) -> Any:
    """A message or record of a vector's values: addresses with colons, bytes as hex digits, records as lists."""
    hints, found = get_type_hints(struct, include_extras=True), {}
    for name, value in values.items():
        hint = hints[name]
        if isinstance(value, list):
            found[name] = tuple(from_plain(get_args(hint)[0], row) for row in value)
        elif isinstance(value, str) and hint is not str:
            found[name] = bytes.fromhex(value.replace(":", ""))
        else:
            found[name] = value
    return struct(**found)


def message_of(vector: dict[str, Any]) -> Message:
    struct = next(struct for struct, kind in KIND_OF.items() if kind.label == vector["message"])
    return from_plain(struct, vector["fields"])  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", WIRE_KINDS, ids=lambda kind: kind.label)
@given(data=st.data())
@REPEATABLE
def test_every_kind_comes_back_as_it_went(profile: WireProfile, kind: Kind, data: st.DataObject) -> None:
    codec = Codec(profile)
    if kind not in profile.layouts:
        assert kind.label not in needed(None)
        return
    message = data.draw(messages(profile, kind))
    transaction = data.draw(field_values(profile.header.types["transaction"]))
    frame = codec.encode(message, transaction)
    assert frame == frame_by_hand(profile, message, transaction)
    body = memoryview(frame)[profile.header.size :]
    assert codec.decode_untrusted(profile.document.messages[kind.label].id, body) == message
    assert profile.framing.head_of(kind, len(body), transaction) == frame[: profile.header.size]


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["name"])
def test_bytes_equal_the_published_vectors(vector: dict[str, Any]) -> None:
    profile = reference_profile()
    assert VECTORS["profile"] == profile.name
    message, wire = message_of(vector), bytes.fromhex(vector["hex"])
    codec = Codec(profile)
    assert codec.encode(message, vector["transaction"]) == wire
    assert codec.decode_untrusted(int.from_bytes(wire[2:4], "big"), memoryview(wire)[12:]) == message


def test_the_vectors_hold_every_kind() -> None:
    assert {vector["message"] for vector in VECTORS["messages"]} == {kind.label for kind in WIRE_KINDS}


def test_the_vectors_hold_every_field_with_another_value_than_its_default() -> None:
    """Or a field that is left out, or read at the wrong place, would not be noticed."""

    def compare(value: msgspec.Struct) -> Iterator[tuple[str, str]]:
        for field in msgspec.structs.fields(type(value)):
            found = getattr(value, field.name)
            if isinstance(found, tuple):
                for each in found:
                    yield from compare(each)
            elif found != (0 if field.required else field.default) and found != bytes(6):
                yield type(value).__name__, field.name

    told = {pair for vector in VECTORS["messages"] for pair in compare(message_of(vector))}
    layouts = reference_profile().layouts.values()
    structs = {layout.struct for layout in layouts}
    structs |= {layout.repeat.struct for layout in layouts if layout.repeat is not None}
    assert len({layout.kind for layout in layouts}) == len(CATALOGUE)
    every = {
        (struct.__name__, field.name)
        for struct in structs
        for field in msgspec.structs.fields(struct)
        if "tuple" not in str(field.type)
    }
    missing = {
        (layout.struct.__name__, name)
        for layout in layouts
        for name in layout.struct.__struct_fields__
        if name == "time"  # the reference profile has due_ns and sent_ns instead
    }
    assert every - told == missing


@pytest.mark.parametrize("kind", [k for k in WIRE_KINDS if k is not Kind.MEASUREMENT_NOTIFY], ids=lambda k: k.label)
def test_a_body_of_any_other_size_is_malformed_where_nothing_repeats(profile: WireProfile, kind: Kind) -> None:
    layout = profile.layouts.get(kind)
    if layout is None or layout.repeat is not None or layout.elements is not None:
        return
    codec, right = Codec(profile), profile.document.messages[kind.label].size
    for size in range(right + 20):
        if size == right:
            codec.decode_untrusted(profile.ids[kind], memoryview(bytes(size)))
            continue
        with pytest.raises(RemoteProtocolError) as refusal:
            codec.decode_untrusted(profile.ids[kind], memoryview(bytes(size)))
        assert refusal.value.kind == "malformed"
        assert f"found {size}" in str(refusal.value)


def test_a_notification_whose_count_does_not_match_its_size_is_malformed(profile: WireProfile) -> None:
    codec, layout = Codec(profile), profile.document.messages["measurement_notify"]
    body = frame_by_hand(profile, notify(1, 3))[profile.header.size :]
    assert isinstance(codec.decode_untrusted(layout.id, memoryview(body)), MeasurementNotify)
    for size in range(len(body) + 40):
        cut = (body + bytes(40))[:size]
        if size == len(body):
            continue
        with pytest.raises(RemoteProtocolError) as refusal:
            codec.decode_untrusted(layout.id, memoryview(cut))
        assert refusal.value.kind == "malformed"


def test_more_readings_than_the_profile_allows_are_malformed(profile: WireProfile) -> None:
    codec = Codec(profile)
    most = frame_by_hand(profile, notify(1, profile.max_readings))[profile.header.size :]
    more = frame_by_hand(profile, notify(1, profile.max_readings + 1))[profile.header.size :]
    msg_id = profile.ids[Kind.MEASUREMENT_NOTIFY]
    message = codec.decode_untrusted(msg_id, memoryview(most))
    assert isinstance(message, MeasurementNotify)
    assert len(message.readings) == profile.max_readings
    with pytest.raises(RemoteProtocolError) as refusal:
        codec.decode_untrusted(msg_id, memoryview(more))
    assert refusal.value.kind == "malformed"


def test_an_unknown_id_is_a_message_of_its_own(profile: WireProfile) -> None:
    codec = Codec(profile)
    unknown = set(range(0x10000)) - set(profile.ids.values())
    assert len(unknown) == 0x10000 - len(profile.layouts)
    for msg_id in (min(unknown), max(unknown), 0x4242):
        assert codec.decode_untrusted(msg_id, memoryview(b"anything")) == Unsupported(msg_id)


@given(st.integers(0, 0xFFFF), st.binary(max_size=300))
@REPEATABLE
def test_any_body_is_a_message_or_malformed(profile: WireProfile, number: int, body: bytes) -> None:
    codec = Codec(profile)
    known = sorted(profile.ids.values())
    for msg_id in (number, known[number % len(known)]):
        assert outcome(codec, msg_id, memoryview(body)) in (profile.kinds.get(msg_id, Kind.UNSUPPORTED), "malformed")


def test_gaps_and_constants_of_a_body_are_ignored_when_received(other_profile: WireProfile) -> None:
    """docs/wire-profile.md: bytes that no row names are ignored; so are constants of bodies."""
    frame = raw_frame(other_profile, 0xFFFF, bytes([0xEE, 0xEE, 0xEE, 5, 0, 0, 0, 0, 0, 0, 0]))
    message = Codec(other_profile).decode_untrusted(0xFFFF, memoryview(frame)[other_profile.header.size :])
    assert message.subservices == 5  # type: ignore[union-attr]
