"""`loadgen profile show --json` is enough to read a layout: a decoder made from it reads what our codec writes."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import prepared
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs
from show_decoder import Layout
from thoroughness import examples

from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import senders_of
from loadgen.nmsp.layout import describe
from loadgen.nmsp.messages import Capability, Kind, Role
from loadgen.nmsp.profile import WireProfile, load_profile

# Messages are made as tests/nmsp does it.
sys.path.append(str(Path(__file__).parents[1] / "nmsp"))
import test_nmsp_random_profiles as at_random
from nmsp_samples import REPEATABLE, messages
from nmsp_shapes import DOCUMENTS, TABLES, shape_profile

FOLDER = Path(__file__).parents[2] / "docs" / "wire-profile"
PATIENCE_S = 90.0
NAMES = ("heron", "wren", "stork", "plover", "swift")
PROFILES = {name: load_profile(FOLDER / f"{name}.toml") for name in NAMES}
EACH = [(name, kind) for name, profile in PROFILES.items() for kind in sorted(profile.layouts)]
SEALED = ("heron", "plover", "swift")
TRANSACTIONS = {"heron": 32, "wren": 16, "stork": 32, "plover": 32, "swift": 0}


@cache
def shown(name: str) -> dict[str, Any]:
    """What the command prints of a layout."""
    done = prepared.loadgen().run(["profile", "show", str(FOLDER / f"{name}.toml"), "--json"], PATIENCE_S)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@cache
def layout_of(name: str) -> Layout:
    return Layout(shown(name))


def written(profile: WireProfile, message: Any, transaction: int, frames: tuple[int, int]) -> bytes:
    """A frame by our codec.

    Args:
        frames: how many its sender has sent and received before.
    """
    frame = Codec(profile).encode(message, transaction)
    return profile.framing.number(frame, *frames) if profile.framing.numbers else frame


def side_of(profile: WireProfile, kind: Kind) -> str:
    """Who says it, by the dialogue."""
    return "mse" if Role.MSE in senders_of(profile.document)[kind.label] else "wlc"


def assert_same(found: dict[str, Any], wanted: Struct, others: set[str]) -> None:
    """Every field of a message or a record. Args: others: what may be found beside them."""
    values = structs.asdict(wanted)
    records = [name for name, value in values.items() if isinstance(value, tuple)]
    assert len(records) == ("records" in found)
    for name in records:
        pairs = zip(found["records"], values.pop(name), strict=True)
        for one, other in pairs:
            if one is found:  # a message that is a record too: its fields are among the others
                found = {key: value for key, value in found.items() if key != "records"}
                others = others | {*structs.asdict(other), *values}
                assert_same(found, other, others)
            else:
                assert_same(one, other, others)
    defaults = {each.name: each.default for each in structs.fields(wanted)}
    told = {name: value for name, value in found.items() if name in values and name != "records"}
    # What the layout has no place for is at its default; so is an element that was empty, and not sent.
    assert {**{name: defaults[name] for name in values if name not in told}, **told} == values
    assert set(found) - set(told) - {"records"} <= others


def others_of(document: dict[str, Any]) -> set[str]:
    rows = [row for part in document["parts"] for row in (*part["rows"], *part["tail"])]
    counts = {"records", "bytes", "bytes of records"}
    return {
        row["name"]
        for row in rows
        if row["value"] is not None or row["unit"] in counts or row["unit"].endswith(" bytes each")
    }


class Printed(NamedTuple):
    """What is printed of a layout: a decoder made of it, and which of its fields are no fields of a message."""

    layout: Layout
    others: set[str]


@cache
def printed_of(name: str) -> Printed:
    return Printed(layout_of(name), others_of(shown(name)))


def described(profile: WireProfile) -> Printed:
    """The same, without the command."""
    document = json.loads(msgspec.json.encode(describe(profile)))
    return Printed(Layout(document), others_of(document))


@pytest.mark.parametrize(("name", "kind"), EACH, ids=[f"{name}-{kind.label}" for name, kind in EACH])
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(120))
def test_every_field_of_every_message(name: str, kind: Kind, data: st.DataObject) -> None:
    profile = PROFILES[name]
    message = data.draw(messages(profile, kind))
    transaction = data.draw(st.integers(0, (1 << TRANSACTIONS[name]) - 1))
    before, received = (data.draw(st.integers(0, (1 << 32) - 2)) for _ in range(2))
    frame = written(profile, message, transaction, (before, received))
    layout, others = printed_of(name)
    assert layout.size_of(frame + b"more") == len(frame)
    found = layout.decode(frame, side=side_of(profile, kind))
    assert found["message"] == kind.label
    assert found["checksum"] is (True if name in SEALED else None)
    assert_same(found["body"], message, others)
    header = found["header"]
    assert header.get("transaction", 0) == transaction
    if name == "plover":
        assert (header["frame_number"], header["acknowledged"]) == (1 + before, received)


def assert_all_is_read(profile: WireProfile, of: Printed, data: st.DataObject) -> None:
    """Every message of a layout, by a decoder of what is printed of it."""
    for kind in profile.layouts:
        message = data.draw(messages(profile, kind), label=kind.label)
        frame = written(profile, message, 7 if profile.framing.has_transaction else 0, (300, 9))
        found = of.layout.decode(frame, side=side_of(profile, kind))
        assert found["message"] == kind.label
        assert found["checksum"] is not False
        assert_same(found["body"], message, of.others)


@pytest.mark.parametrize("name", at_random.DOCUMENTS)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(300))
def test_whatever_a_layout_is_what_is_printed_of_it_is_enough(name: str, data: st.DataObject) -> None:
    profile = at_random.compiled(data.draw(at_random.documents(at_random.DOCUMENTS[name])))
    if profile is not None:
        assert_all_is_read(profile, described(profile), data)


@cache
def shape(name: str) -> tuple[WireProfile, Printed]:
    profile = shape_profile(name)
    return profile, described(profile)


@pytest.mark.parametrize("name", [*DOCUMENTS, *TABLES])
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(120))
def test_shapes_that_no_example_has(name: str, data: st.DataObject) -> None:
    assert_all_is_read(*shape(name), data)


def test_what_is_described_is_what_the_command_prints() -> None:
    assert json.loads(msgspec.json.encode(describe(PROFILES["plover"]))) == shown("plover")


@pytest.mark.parametrize("name", SEALED)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(120))
def test_a_bit_that_is_another_makes_the_checksum_wrong(name: str, data: st.DataObject) -> None:
    frame = bytearray(written(PROFILES[name], Capability(data.draw(st.integers(0, (1 << 64) - 1))), 0, (0, 0)))
    layout = layout_of(name)
    at = data.draw(st.integers(8 * layout.header_size, 8 * len(frame) - 1))
    frame[at // 8] ^= 1 << at % 8
    assert layout.decode(bytes(frame))["checksum"] is False


@pytest.mark.parametrize("name", NAMES)
def test_who_speaks_in_which_order(name: str) -> None:
    first, second = ("wlc", "mse") if name == "swift" else ("mse", "wlc")
    assert layout_of(name).opening == [
        (first, "version_request"),
        (second, "version_response"),
        ("wlc", "capability"),
        ("mse", "subscribe_request"),
        ("wlc", "subscribe_response"),
    ]
    assert layout_of(name).echo == first


def test_what_the_decoder_does_not_know_it_does_not_guess() -> None:
    document = json.loads(json.dumps(shown("plover")))
    document["parts"][0]["remarks"].append("its last byte is the age of the moon")
    with pytest.raises(ValueError, match="the age of the moon"):
        Layout(document)
