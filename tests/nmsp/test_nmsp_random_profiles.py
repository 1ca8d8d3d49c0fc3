"""Whatever `check` lets pass compiles and works: profiles changed at random, every message of them back and forth."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmsp_by_hand import frame_by_hand
from nmsp_samples import OTHER_TOML, REPEATABLE, messages, notify, read_frame, receive, reference_document
from thoroughness import examples

from loadgen.nmsp.any_bulk import ring_of
from loadgen.nmsp.bulk import NotifyReceiver, Stations
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.layout import describe, differences
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_check import check
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.nmsp.ring import Timing
from loadgen.strict import convert_leniently_untrusted, convert_untrusted

Document = dict[str, Any]
Draw = Callable[..., Any]

TYPES = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "mac", "text", "bytes", "time", "u24")
CODES = ("u8", "u16", "u32")
WORDS = (1, 2, 4, 8)
TIMES = {"s": 4, "ms": 8, "us": 4, "ns": 8, "s+us": 8, "s+ns": 8, "s+frac": 8}
CHECKSUMS = {
    "crc-32": "u32",
    "crc-16/ibm-3740": "u16",
    "crc-16/xmodem": "u16",
    "crc-16/kermit": "u16",
    "crc-16/ibm-sdlc": "u16",
    "sum": "u8",
    "internet": "u16",
}
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
BASES = {name: WireProfile(convert_untrusted(document, ProfileDocument, name)) for name, document in DOCUMENTS.items()}


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
        "length": st.sampled_from((*CODES, *NAMES)),
        "name": st.sampled_from(NAMES),
        "byte_order": st.sampled_from(("big", "little")),
        "length_counts": st.sampled_from(("frame", "body", "rest", "value", "element")),
        "unit": st.sampled_from(sorted(TIMES)),
        "epoch": st.sampled_from(("unix", "session")),
        "kind": st.sampled_from(sorted(CHECKSUMS)),
        "count_unit": st.sampled_from(("record", *WORDS)),
        "length_unit": st.sampled_from(WORDS),
        "align": st.sampled_from(WORDS),
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


def _named(draw: Draw, tables: Document) -> Document:
    found = tables[draw(st.sampled_from(sorted(tables)))]
    return found if isinstance(found, dict) else {}  # a stray key among them


def _to_elements(document: Document, draw: Draw) -> None:
    """Some fields of a message or a record, or its records, into elements; what is behind them stays where it is."""
    part = _named(draw, document["records" if draw(st.integers(0, 3)) == 0 else "messages"])
    if "fields" not in part:
        return
    counter = part.get("repeat", {}).get("count")
    kept = (counter, part.get("length"))
    moved = [f for f in part["fields"] if "value" not in f and f.get("name") not in kept and draw(st.booleans())]
    part["fields"] = [f for f in part["fields"] if f not in moved]
    fields = [{k: v for k, v in f.items() if k != "offset"} | {"id": draw(st.integers(0, 60))} for f in moved]
    codes = st.sampled_from(CODES)
    part["elements"] = {
        "type": draw(codes),
        "length": draw(codes),
        "length_counts": draw(st.sampled_from(("value", "element"))),
        "length_unit": draw(st.sampled_from(WORDS)),
        "align": draw(st.sampled_from(WORDS)),
        "fields": fields,
    }
    if counter is not None and draw(st.booleans()):
        part["repeat"] = {k: v for k, v in part["repeat"].items() if k != "count"} | {"id": 61}
        part["fields"] = [f for f in part["fields"] if f.get("name") != counter]


def _behind(part: Document, kind: str, name: str, **more: Any) -> None:
    """Another field at the end."""
    bytes_of = more.get("size") or {"u8": 1, "u16": 2, "u32": 4, "u64": 8}[kind]
    if isinstance(part.get("fields"), list) and isinstance(part.get("size"), int):
        part["fields"] = [*part["fields"], {"name": name, "type": kind, "offset": part["size"], **more}]
        part["size"] += bytes_of


def _header(document: Document, draw: Draw) -> None:
    """Other ids, lengths, constants, numbers of frames; without transaction."""
    header = document["header"]
    header["length_counts"] = draw(st.sampled_from(("frame", "body", "rest")))
    header["align"] = draw(st.sampled_from(WORDS))
    header["length_unit"] = draw(st.sampled_from((1, 1, 2, 4)))
    header["length_adds"] = draw(st.sampled_from((0, 0, 4, -2, 3)))
    fields = {f.get("name"): f for f in header.get("fields", ())}
    if draw(st.booleans()) and "msg_id" in fields and "offset" in fields["msg_id"]:
        at = fields["msg_id"]["offset"]
        fields["msg_id"] |= {"name": "msg_type", "type": "u8"}
        header["fields"].append({"name": "msg_subtype", "type": "u8", "offset": at + 1})
    if draw(st.booleans()):
        header["fields"] = [f for f in header.get("fields", ()) if f.get("name") != "transaction"]
    if draw(st.booleans()):
        _behind(
            header, draw(st.sampled_from((*CODES, "u64"))), "frame_number", first=draw(st.sampled_from((0, 1, 255)))
        )
    if draw(st.booleans()):
        _behind(header, draw(st.sampled_from((*CODES, "u64"))), "acknowledged")
    if draw(st.booleans()):
        made = draw(st.sampled_from((("request", "response", "notification"), ("wlc", "mse"))))
        _behind(header, "u8", "class", values={name: 200 + index for index, name in enumerate(made)})
    if draw(st.booleans()):
        _behind(header, "u8", "extra", value=7)
        _named(draw, document["messages"])["header"] = {"extra": draw(st.integers(0, 255))}


def _seal(document: Document, draw: Draw) -> None:
    """A trailer, and a checksum there or in the header."""
    if draw(st.booleans()):
        document["trailer"] = {"size": 0, "fields": []}
        _behind(document["trailer"], "u16", "end", value=0xABCD)
    kind = draw(st.sampled_from(sorted(CHECKSUMS)))
    parts = st.sampled_from(
        (["header", "body"], ["header"], ["body"], ["body", "trailer"], ["header", "body", "trailer"])
    )
    document["checksum"] = {"kind": kind, "over": draw(parts)}
    _behind(document.get("trailer", document["header"]), CHECKSUMS[kind], "checksum")


def _time(document: Document, draw: Draw) -> None:
    """A device's time in a notification, at a place, in an element or in the tail."""
    message = _named(draw, {k: v for k, v in document["messages"].items() if k.endswith("_notify")} or {"none": {}})
    unit, epoch = draw(st.sampled_from(sorted(TIMES))), draw(st.sampled_from(("unix", "session")))
    more = {"size": TIMES[unit], "unit": unit, "epoch": epoch}
    if "elements" in message and isinstance(message["elements"].get("fields"), list):
        message["elements"]["fields"].append({"name": "time", "type": "time", "id": 77, **more})
    elif draw(st.booleans()):
        _behind(message, "time", "time", **more)
    else:
        message["tail"] = {"size": 0, "fields": []}
        _behind(message["tail"], "time", "time", **more)


def _tail(document: Document, draw: Draw) -> None:
    """The last fields of a message or a record behind everything else."""
    part = _named(draw, document[draw(st.sampled_from(("records", "messages")))])
    counted = (part.get("repeat", {}).get("count"), part.get("length"))
    moved = [f for f in part.get("fields", [])[-2:] if f.get("name") not in counted and "offset" in f]
    if not moved or "tail" in part:
        return
    first = min(f["offset"] for f in moved)
    part["fields"] = [f for f in part["fields"] if f not in moved]
    part["tail"] = {"size": 90, "fields": [f | {"offset": f["offset"] - first} for f in moved]}


def _stations(document: Document, draw: Draw) -> None:
    """Several stations in a measurement notification, each with its readings."""
    notify = document["messages"].get("measurement_notify", {})
    if "repeat" not in notify or "station" in document["records"]:
        return
    station: Document = {"size": 0, "fields": [], "repeat": notify["repeat"]}
    _behind(station, "mac", "station_mac", size=6)
    del station["fields"][-1]["size"]
    counter = notify["repeat"].get("count")
    if counter is not None:
        _behind(station, draw(st.sampled_from(CODES)), counter)
    notify["fields"] = [f for f in notify.get("fields", ()) if f.get("name") not in ("station_mac", counter)]
    _behind(notify, draw(st.sampled_from(CODES)), "stations_n")
    notify["repeat"] = {"record": "station", "count": "stations_n", "max": draw(st.integers(1, 5))}
    document["records"]["station"] = station


def _sizes(document: Document, draw: Draw) -> None:
    """Records whose length is said, that are filled up; counts of bytes or words."""
    record = _named(draw, document["records"])
    record["align"] = draw(st.sampled_from(WORDS))
    if draw(st.booleans()) and "length" not in record:
        _behind(record, draw(st.sampled_from(CODES)), "record_length")
        record["length"] = "record_length"
        record["length_unit"] = draw(st.sampled_from(WORDS))
    part = _named(draw, document[draw(st.sampled_from(("records", "messages")))])
    if "repeat" in part and "count" in part["repeat"]:
        unit = draw(st.sampled_from(("record", *WORDS)))
        part["repeat"] = part["repeat"] | {"count_unit": unit}
        for f in part.get("fields", ()):
            if f.get("name") == part["repeat"]["count"] and unit != "record" and draw(st.booleans()):
                part["fields"] = [g for g in part["fields"] if g is not f]
                _behind(part, "u32", part["repeat"]["count"])


def _uncounted(document: Document, draw: Draw) -> None:
    """Records that go on to the end; or one, whose fields stand among the message's own."""
    part = _named(draw, document["messages"])
    counter = part.get("repeat", {}).get("count")
    record = document["records"].get(part.get("repeat", {}).get("record"), {})
    if counter is None or not isinstance(record.get("size"), int):
        return
    part["fields"] = [f for f in part.get("fields", ()) if f.get("name") != counter]
    if draw(st.booleans()):
        part["repeat"] = {k: v for k, v in part["repeat"].items() if k not in ("count", "count_unit")} | {
            "to_end": True
        }
    elif isinstance(part.get("size"), int):
        del part["repeat"]
        inside = [f | {"offset": f["offset"] + part["size"]} for f in record.get("fields", ()) if "offset" in f]
        part["fields"] += [f for f in inside if all(f.get("name") != g.get("name") for g in part["fields"])]
        part["size"] += record["size"]
        if draw(st.booleans()):
            document["records"] = {k: v for k, v in document["records"].items() if v is not record}


def _turned(document: Document, draw: Draw) -> None:
    """Some numbers in the other byte order."""
    other = "big" if document.get("byte_order") == "little" else "little"
    for part in (
        document["header"],
        document.get("trailer", {}),
        *tables(document["messages"]),
        *tables(document["records"]),
    ):
        for f in part.get("fields", ()) if isinstance(part.get("fields"), list) else ():
            if f.get("type") not in ("mac", "text", "bytes") and draw(st.integers(0, 3)) == 0:
                f["order"] = draw(st.sampled_from((other, other, "big")))


def _shift(document: Document, draw: Draw) -> None:
    """All fields of a part further back, perhaps over its end."""
    parts = [t for t in tables(document) if isinstance(t.get("fields"), list) and "size" in t]
    if not parts:
        return
    part, by = draw(st.sampled_from(parts)), draw(st.integers(0, 5))
    part["fields"] = [f | {"offset": f["offset"] + by} if "offset" in f else f for f in part["fields"]]
    part["size"] += by if draw(st.booleans()) else 0


CHANGES = (
    *(_field, _field, _remove, _add, _shift, _to_elements, _to_elements, _to_elements),
    *(_header, _header, _seal, _seal, _time, _tail, _tail, _stations, _stations, _sizes, _sizes),
    *(_uncounted, _uncounted, _turned),
)


@st.composite
def documents(draw: Draw, base: Document) -> Document:
    document: Document = msgspec.msgpack.decode(msgspec.msgpack.encode(base))  # a copy, in a tenth of deepcopy's time
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
        transaction = 7 if profile.framing.has_transaction else 0
        frame = codec.encode(message, transaction)
        if profile.framing.numbers:
            frame = profile.framing.number(frame, 300, 9)
        assert len(frame) <= profile.max_frame_bytes
        assert frame == frame_by_hand(profile, message, transaction, (300, 9))
        assert read_frame(profile, frame, CATALOGUE[kind].sender) == (message, transaction)
    described = describe(profile)
    document = profile.document
    around = 1 if document.trailer is None else 2
    assert len(described.parts) == around + len(document.messages) + len(document.records)
    assert differences(profile, profile) == []


@pytest.mark.parametrize("name", DOCUMENTS)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(300))
def test_what_is_laid_out_differently_is_told(name: str, data: st.DataObject) -> None:
    """Where two profiles make different frames of one message, `profile diff` says so, and so `profile show` must."""
    before, after = BASES[name], compiled(data.draw(documents(DOCUMENTS[name])))
    if after is None or differences(before, after):  # one that was told may have no room for what the other says
        return
    for kind in before.layouts.keys() & after.layouts.keys():
        message = data.draw(messages(before, kind))
        old, new = before.layouts[kind], after.layouts[kind]
        if new.struct is old.struct and (new.inside is None) == (old.inside is None):
            made = [frame_by_hand(profile, message, 7, (3, 5)) for profile in (before, after)]
            assert made[0] == made[1], kind.label


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
    view, count = ring_of(profile, stations, batch=2).patch(0, 2, 0, Timing(1, 2))
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
