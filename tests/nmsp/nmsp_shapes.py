"""Layouts of measurement notifications that are no tables: elements, several stations, records within records."""

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


DOCUMENTS = {"in elements": in_elements, "nested": nested, "words": words}


def shape_profile(name: str) -> WireProfile:
    """One of these, compiled."""
    return profile_untrusted(DOCUMENTS[name](), name)
