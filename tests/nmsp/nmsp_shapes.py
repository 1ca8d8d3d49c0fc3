"""Layouts of measurement notifications: elements, several stations, records within records; tables with a trailer."""

from __future__ import annotations

from typing import Any

from nmsp_samples import reference_document

from loadgen.nmsp.profile import WireProfile, profile_untrusted

Document = dict[str, Any]

_READING = [
    {"name": "ap_mac", "type": "mac", "offset": 0},
    {"name": "slot", "type": "u8", "offset": 6},
    {"name": "band", "type": "u8", "offset": 7},
    {"name": "source", "type": "u8", "offset": 8},
    {"name": "rssi_a", "type": "i8", "offset": 9},
    {"name": "rssi_b", "type": "i8", "offset": 10},
    {"name": "snr", "type": "i8", "offset": 11},
    {"name": "age_s", "type": "u16", "offset": 12},
]


def _with_notify(notify: Document, records: Document, **top: Any) -> Document:
    document = reference_document()
    kept = (
        "version_request",
        "version_response",
        "capability",
        "subscribe_request",
        "subscribe_response",
        "echo_request",
        "echo_response",
    )
    document["messages"] = {name: document["messages"][name] for name in kept}
    document["messages"]["measurement_notify"] = notify
    document["records"] = records
    document["header"] |= top.pop("header", {})
    return document | top


def in_elements() -> Document:
    """Everything in elements, a reading in each; little endian, a length that counts the rest."""
    return _with_notify(
        {
            "id": 16,
            "size": 0,
            "fields": [],
            "repeat": {"record": "reading", "id": 9, "max": 8},
            "elements": {
                "type": "u8",
                "length": "u8",
                "order": "any",
                "fields": [
                    {"name": "station_mac", "type": "mac", "id": 1},
                    {"name": "time", "type": "time", "unit": "ms", "size": 8, "id": 2},
                    {"name": "sequence", "type": "u16", "id": 3},
                ],
            },
        },
        {"reading": {"size": 14, "fields": _READING}},
        byte_order="little",
        header={"length_counts": "rest"},
    )


def nested() -> Document:
    """Several stations, each with its readings; one count is in bytes, one in records; a tail behind all of it."""
    return _with_notify(
        {
            "id": 16,
            "size": 4,
            "fields": [
                {"name": "station_bytes", "type": "u16", "offset": 0},
                {"name": "subservice", "type": "u8", "offset": 3},
            ],
            "repeat": {"record": "station", "count": "station_bytes", "count_unit": 2, "max": 6},
            "tail": {"size": 6, "fields": [{"name": "sent_ns", "type": "u32", "offset": 2}]},
        },
        {
            "station": {
                "size": 7,
                "align": 2,
                "fields": [
                    {"name": "heard", "type": "u8", "offset": 0},
                    {"name": "station_mac", "type": "mac", "offset": 1},
                ],
                "repeat": {"record": "reading", "count": "heard", "max": 5},
            },
            "reading": {"size": 14, "fields": _READING},
        },
    )


def words() -> Document:
    """Stations in elements, whose readings are in elements of theirs; all in words of four bytes, with a CRC."""
    return _with_notify(
        {
            "id": 16,
            "size": 4,
            "fields": [{"name": "sequence", "type": "u32", "offset": 0}],
            "repeat": {"record": "station", "id": 0x20, "max": 4},
            "elements": {
                "type": "u16",
                "length": "u16",
                "length_counts": "element",
                "length_unit": 4,
                "align": 4,
                "order": "any",
                "fields": [
                    {"name": "time", "type": "time", "unit": "s+us", "size": 8, "id": 0x10},
                    {"name": "subservice", "type": "u8", "id": 0x11},
                ],
            },
        },
        {
            "station": {
                "size": 8,
                "align": 4,
                "length": "station_words",
                "length_unit": 4,
                "fields": [
                    {"name": "station_words", "type": "u16", "offset": 0},
                    {"name": "station_mac", "type": "mac", "offset": 2},
                ],
                "repeat": {"record": "reading", "id": 3, "max": 5},
                "elements": {"type": "u8", "length": "u8", "length_counts": "element", "align": 2},
            },
            "reading": {"size": 14, "fields": _READING},
        },
        header={"length_unit": 4, "align": 4},
        checksum={"kind": "crc-32"},
        trailer={"size": 4, "fields": [{"name": "checksum", "type": "u32", "offset": 0}]},
    )


def _placed(name: str, kind: str, offset: int, **more: Any) -> Document:
    return {"name": name, "type": kind, "offset": offset, **more}


def _sealed(varying: list[Document], over: list[str], kind: str, size: int, **top: Any) -> Document:
    """A table behind which there is a trailer. Args: varying: its fields beside the usual ones."""
    usual = [
        {"name": "station_mac", "type": "mac", "offset": 16},
        {"name": "subservice", "type": "u8", "offset": 23},
        {"name": "heard", "type": "u8", "offset": 22},
    ]
    trailer = [
        {"name": "heard", "type": "u8", "offset": 1, "value": 0x5A},  # called like a field of the body
        {"name": "checksum", "type": f"u{8 * size}", "offset": 2},
    ]
    notify = {
        "id": 16,
        "size": 25,
        "fields": [*varying, *usual],
        "repeat": {"record": "reading", "count": "heard", "max": 5},
    }
    return _with_notify(
        notify,
        {"reading": {"size": 14, "fields": _READING}},
        trailer={"size": size + 3, "fields": trailer},
        checksum={"kind": kind, "over": over},
        **top,
    )


def time_and_crc() -> Document:
    """A device's time alone: frames that are due together differ alike."""
    return _sealed([_placed("time", "time", 3, size=8, unit="us")], ["header", "body"], "crc-32", 4)


def pair_and_crc() -> Document:
    """A time in two halves and narrow times of ours; little endian, a length of the body, a CRC of the body alone."""
    time = _placed("time", "time", 0, size=8, unit="s+frac")
    ours = [_placed("due_ns", "u16", 8), _placed("sent_ns", "u32", 12)]
    top = {"byte_order": "little", "header": {"length_counts": "body"}}
    return _sealed([time, *ours], ["body"], "crc-16/kermit", 2, **top)


def numbers_and_crc() -> Document:
    """A number in each."""
    ours = [_placed("sequence", "u16", 0), _placed("due_ns", "u64", 8)]
    return _sealed(ours, ["body", "header"], "crc-16/xmodem", 2)


def time_and_sum() -> Document:
    """What is no CRC is made anew of each."""
    time = _placed("time", "time", 0, size=4, unit="s")
    return _sealed([time, _placed("sent_ns", "u64", 8)], ["body"], "sum", 1)


def internet_sum() -> Document:
    """Nothing that varies, and a checksum all the same."""
    return _sealed([], ["header", "body"], "internet", 2)


TABLES = {
    "time and CRC": time_and_crc,
    "pair and CRC": pair_and_crc,
    "numbers and CRC": numbers_and_crc,
    "time and sum": time_and_sum,
    "internet sum": internet_sum,
}


def alone() -> Document:
    """One reading, whose fields stand among the notification's own."""
    fields = [
        {"name": "ap_mac", "type": "mac", "offset": 9},
        {"name": "time", "type": "time", "unit": "s+us", "size": 8, "offset": 1},
        {"name": "station_mac", "type": "mac", "offset": 16},
        {"name": "rssi_a", "type": "i8", "offset": 15},
        {"name": "always", "type": "u8", "offset": 22, "value": 0x42},
        {"name": "sequence", "type": "u16", "offset": 23},
    ]
    tail = {"size": 3, "fields": [{"name": "age_s", "type": "u16", "offset": 1}]}
    return _with_notify({"id": 16, "size": 25, "fields": fields, "tail": tail}, {})


def alone_in_elements() -> Document:
    """The same, each field in an element."""
    fields = [
        {"name": "station_mac", "type": "mac", "id": 1},
        {"name": "ap_mac", "type": "mac", "id": 2},
        {"name": "due_ns", "type": "u64", "id": 3},
        {"name": "rssi_a", "type": "i16", "id": 4},
    ]
    elements = {"type": "u8", "length": "u16", "order": "any", "fields": fields}
    return _with_notify({"id": 16, "size": 0, "fields": [], "elements": elements}, {}, byte_order="little")


def to_the_end() -> Document:
    """Readings that nothing counts, in front of a tail."""
    fields = [
        {"name": "sequence", "type": "u64", "offset": 0},
        {"name": "station_mac", "type": "mac", "offset": 8},
    ]
    notify = {
        "id": 16,
        "size": 15,
        "fields": fields,
        "repeat": {"record": "reading", "to_end": True, "max": 5},
        "tail": {"size": 8, "fields": [{"name": "time", "type": "time", "unit": "ms", "size": 8, "offset": 0}]},
    }
    return _with_notify(notify, {"reading": {"size": 14, "fields": _READING}})


def stations_to_the_end() -> Document:
    """Stations that nothing counts, each with its readings; filled up to words of four bytes."""
    station = {
        "size": 8,
        "fields": [
            {"name": "heard", "type": "u8", "offset": 0},
            {"name": "station_mac", "type": "mac", "offset": 1},
        ],
        "repeat": {"record": "reading", "count": "heard", "max": 5},
    }
    notify = {
        "id": 16,
        "size": 10,
        "fields": [{"name": "sent_ns", "type": "u64", "offset": 0}],
        "repeat": {"record": "station", "to_end": True, "max": 4},
    }
    records = {"station": station, "reading": {"size": 14, "fields": _READING}}
    return _with_notify(notify, records, header={"length_unit": 4, "length_adds": 3})


def pairs_to_the_end() -> Document:
    """Stations with one reading each, whose fields stand among theirs."""
    pair = {"size": 21, "fields": [{"name": "station_mac", "type": "mac", "offset": 14}, *_READING]}
    notify = {
        "id": 16,
        "size": 3,
        "fields": [{"name": "sequence", "type": "u16", "offset": 1}],
        "repeat": {"record": "pair", "to_end": True, "max": 4},
    }
    return _with_notify(notify, {"pair": pair})


def turned() -> Document:
    """Big-endian, but for the length, the transaction and the checksum; in bodies a count and times."""
    document = nested()
    fields = {field["name"]: field for field in document["header"]["fields"]}
    for name in ("length", "transaction"):
        fields[name] |= {"order": "little"}
    document["trailer"] = {"size": 4, "fields": [{"name": "checksum", "type": "u32", "offset": 0, "order": "little"}]}
    document["checksum"] = {"kind": "crc-32", "over": ["header", "body", "trailer"]}
    notify = document["messages"]["measurement_notify"]
    notify["fields"][0] |= {"order": "little"}
    time = {"name": "time", "type": "time", "unit": "s+us", "size": 8, "offset": 6, "order": "little"}
    notify["tail"] = {"size": 14, "fields": [notify["tail"]["fields"][0] | {"order": "little"}, time]}
    document["records"]["reading"]["fields"] = [
        field | ({"order": "little"} if field["name"] == "age_s" else {}) for field in _READING
    ]
    return document


def turned_in_elements() -> Document:
    """Little-endian, but for two elements and the ids of messages."""
    document = in_elements()
    for field in document["messages"]["measurement_notify"]["elements"]["fields"][1:]:
        field |= {"order": "big"}
    fields = {field["name"]: field for field in document["header"]["fields"]}
    fields["msg_id"] |= {"order": "big"}
    return document


DOCUMENTS = {
    "turned": turned,
    "turned in elements": turned_in_elements,
    "in elements": in_elements,
    "nested": nested,
    "words": words,
    "alone": alone,
    "alone in elements": alone_in_elements,
    "to the end": to_the_end,
    "stations to the end": stations_to_the_end,
    "pairs to the end": pairs_to_the_end,
}
# Of these, a notification has one reading of each station, no more and no less.
ALONE = ("alone", "alone in elements", "pairs to the end")


def shape_profile(name: str) -> WireProfile:
    """One of these, compiled."""
    return profile_untrusted((DOCUMENTS | TABLES)[name](), name)
