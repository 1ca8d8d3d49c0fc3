"""Whatever `check` lets pass compiles and works: profiles changed at random, every message of them back and forth."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmsp_samples import OTHER_TOML, REPEATABLE, frame_by_hand, messages, notify, receive, reference_document
from thoroughness import examples

from loadgen.nmsp.bulk import NotifyReceiver, NotifyRing, Stations
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.layout import describe, differences
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_check import check
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.strict import convert_leniently_untrusted

Document = dict[str, Any]
Draw = Callable[..., Any]

TYPES = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "mac", "text", "bytes", "u24")
# Numbers at which something happens: field widths, limits, one beside them.
NUMBERS = (-1, 0, 1, 2, 3, 6, 8, 12, 16, 255, 256, 500, 16384, 16385, 65535, 65536, 1 << 24, (1 << 24) + 1, 1 << 65)
NAMES = (
    "sequence",
    "readings",
    "records",
    "record_count",
    "flags",
    "msg_id",
    "rssi",
    "user_name",
    "signature",
    "x",
    "",
)
DOCUMENTS = {"reference": reference_document(), "other": tomllib.loads(OTHER_TOML)}


def tables(value: Any) -> list[Document]:
    """Every table in a document."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, dict) else []
    for each in inner:
        found += tables(each)
    return found


def _field(document: Document, draw: Draw) -> None:
    """One key of one table: of a field, a message, a record, elements."""
    table = draw(
        st.sampled_from([t for t in tables(document) if any(not isinstance(v, dict | list) for v in t.values())])
    )
    key = draw(st.sampled_from(sorted(k for k, v in table.items() if not isinstance(v, dict | list))))
    values = {
        "type": st.sampled_from(TYPES),
        "length": st.sampled_from(("u8", "u16", "u32")),
        "name": st.sampled_from(NAMES),
        "byte_order": st.sampled_from(("big", "little")),
        "length_counts": st.sampled_from(("frame", "body", "value", "element")),
        "record": st.sampled_from(sorted(document["records"])),
        "count": st.sampled_from(NAMES),
    }
    numbers = st.sampled_from(NUMBERS) | st.integers(0, 300)
    if isinstance(table[key], int):  # often a little, so that it still fits
        numbers |= st.integers(-2, 2).map(lambda by: table[key] + by)
    table[key] = draw(values.get(key, numbers))


def _remove(document: Document, draw: Draw) -> None:
    table = draw(st.sampled_from(tables(document)))
    if table:
        del table[draw(st.sampled_from(sorted(table)))]


def _add(document: Document, draw: Draw) -> None:
    extra = {"value": st.integers(0, 300), "size": st.integers(0, 40), "count": st.sampled_from(NAMES)}
    key = draw(st.sampled_from(sorted(extra)))
    draw(st.sampled_from(tables(document)))[key] = draw(extra[key])


def _to_elements(document: Document, draw: Draw) -> None:
    """Some fields of a message, or its records, into elements; what is behind them stays where it is."""
    message = document["messages"].get(draw(st.sampled_from(sorted(document["messages"]))), {})
    if "fields" not in message:
        return
    counter = message.get("repeat", {}).get("count")
    moved = [f for f in message["fields"] if "value" not in f and f.get("name") != counter and draw(st.booleans())]
    message["fields"] = [f for f in message["fields"] if f not in moved]
    fields = [{k: v for k, v in f.items() if k != "offset"} | {"id": draw(st.integers(1, 60))} for f in moved]
    codes = st.sampled_from(("u8", "u16", "u32"))
    message["elements"] = {
        "type": draw(codes),
        "length": draw(codes),
        "length_counts": draw(st.sampled_from(("value", "element"))),
        "fields": fields,
    }
    if counter is not None and draw(st.booleans()):
        message["repeat"] = {k: v for k, v in message["repeat"].items() if k != "count"} | {"id": 61}
        message["fields"] = [f for f in message["fields"] if f.get("name") != counter]


def _shift(document: Document, draw: Draw) -> None:
    """All fields of a part further back, perhaps over its end."""
    parts = [t for t in tables(document) if isinstance(t.get("fields"), list) and "size" in t]
    if not parts:
        return
    part, by = draw(st.sampled_from(parts)), draw(st.integers(0, 5))
    part["fields"] = [f | {"offset": f["offset"] + by} if "offset" in f else f for f in part["fields"]]
    part["size"] += by if draw(st.booleans()) else 0


CHANGES = (_field, _field, _remove, _add, _to_elements, _to_elements, _to_elements, _shift, _shift)


@st.composite
def documents(draw: Draw, base: Document) -> Document:
    document = copy.deepcopy(base)
    for change in draw(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=5)):
        change(document, draw)
        if not all(isinstance(document.get(key), dict) and document[key] for key in ("header", "messages", "records")):
            break
    return document


def compiled(document: Document) -> WireProfile | None:
    """The profile, if nothing is wrong with the document."""
    found, problems = convert_leniently_untrusted(document, ProfileDocument)
    if found is None or problems or check(found):
        return None
    return WireProfile(found)


@pytest.mark.parametrize("name", DOCUMENTS)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(300))
def test_what_passes_reads_what_it_wrote(name: str, data: st.DataObject) -> None:
    profile = compiled(data.draw(documents(DOCUMENTS[name])))
    if profile is None:
        return
    codec = Codec(profile)
    for kind in profile.layouts:
        message = data.draw(messages(profile, kind), label=kind.label)
        frame = codec.encode(message)
        assert len(frame) <= profile.max_frame_bytes
        assert frame == frame_by_hand(profile, message)
        assert codec.decode_untrusted(profile.ids[kind], memoryview(frame)[profile.header.size :]) == message
    described = describe(profile)
    assert len(described.parts) == 1 + len(profile.document.messages) + len(profile.document.records)
    assert differences(profile, profile) == []


@pytest.mark.parametrize("name", DOCUMENTS)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(150))
def test_what_passes_is_columns_too(name: str, data: st.DataObject) -> None:
    profile = compiled(data.draw(documents(DOCUMENTS[name])))
    if profile is None or not profile.notify_is_table:
        return
    codec, most = Codec(profile), min(2, profile.max_readings)
    stream = b"".join(codec.encode(notify(sequence, most)) for sequence in range(12))
    found = receive(profile, [stream])
    assert (len(found.rows), found.fault, found.tail) == (12, None, b"")
    readings = np.zeros((2, most), profile.reading.dtype)
    stations = Stations(np.zeros((2, 6), np.uint8), np.full(2, most), readings, 0)
    view, count = NotifyRing(profile, stations, batch=2).patch(0, 2, 0, 1, 2)
    receiver = NotifyReceiver(profile, len(view))
    receiver.view[:] = view
    assert receiver.sweep_untrusted([0], [len(view)], [True]).tolist() == [count]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_enough_of_them_pass(name: str) -> None:
    """And enough do not, or the tests above would say little."""
    verdicts: list[bool] = []

    @given(documents(DOCUMENTS[name]))
    @settings(REPEATABLE, max_examples=examples(200))
    def collect(document: Document) -> None:
        profile = compiled(document)
        verdicts.append(profile is not None)
        if profile is not None:
            assert Kind.MEASUREMENT_NOTIFY in profile.layouts

    collect()
    assert 0.1 < sum(verdicts) / len(verdicts) < 0.9
