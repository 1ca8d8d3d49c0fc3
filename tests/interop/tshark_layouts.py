"""Layouts as unlike the reference profile, and each other, as a profile can say."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec

import loadgen.nmsp.profile as profile_module
from loadgen.nmsp.profile import WireProfile, profile_untrusted

_REFERENCE = Path(profile_module.__file__).with_name("reference.toml")
_NEEDED = (
    *("version_request", "version_response", "capability", "subscribe_request", "subscribe_response"),
    *("echo_request", "echo_response", "measurement_notify"),
)


def field(name: str, kind: str, offset: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "offset": offset, **more}


def reference(*others: str) -> dict[str, Any]:
    """The reference profile's tables, with the messages that every profile must have, and these."""
    document = tomllib.loads(_REFERENCE.read_text("utf-8"))
    document["messages"] = {name: table for name, table in document["messages"].items() if name in (*_NEEDED, *others)}
    used = {table["repeat"]["record"] for table in document["messages"].values() if "repeat" in table}
    document["records"] = {name: table for name, table in document["records"].items() if name in used}
    return document


def compiled(document: dict[str, Any]) -> WireProfile:
    return profile_untrusted(document, document["name"])


def quill() -> WireProfile:
    """Little endian; an id of two parts; flags by what a message is; numbers of frames; CRC-32 behind; several stations
    in a notification, counted in bytes.
    """
    document = reference("measurement_request", "measurement_response", "client_info_notify")
    document |= {"name": "quill-1", "byte_order": "little", "max_frame_bytes": 9000}
    document["header"] = {
        "size": 14,
        "length_counts": "rest",
        "fields": [
            field("length", "u16", 1),
            field("msg_type", "u8", 3),
            field("msg_subtype", "u8", 4),
            field("flags", "i8", 5, values={"request": 1, "response": -2, "notification": 0}),
            field("transaction", "u16", 6),
            field("frame_number", "u16", 8, first=1),
            field("acknowledged", "u16", 10),
            field("side", "u8", 13, values={"wlc": 7, "mse": 9}),
        ],
    }
    document["trailer"] = {"size": 6, "fields": [field("checksum", "u32", 0), field("end", "u16", 4, value=0xFEED)]}
    document["checksum"] = {"kind": "crc-32", "over": ["header", "body", "trailer"]}
    for number, message in enumerate(document["messages"].values()):
        message["id"] = (number % 3) << 8 | number
    notify = document["messages"]["measurement_notify"]
    notify |= {"size": 11, "repeat": {"record": "station", "count": "bytes", "count_unit": 1, "max": 20}}
    notify["fields"] = [field("time", "time", 0, size=8, unit="s+us"), field("bytes", "u16", 9)]
    notify["tail"] = {"size": 3, "fields": [field("subservice", "u8", 1), field("mark", "i16", 1, value=-3)][:1]}
    document["records"]["station"] = {
        "size": 8,
        "fields": [field("station_mac", "mac", 0), field("readings_n", "u8", 7)],
        "repeat": {"record": "reading", "count": "readings_n", "max": 9},
    }
    return compiled(document)


def anvil() -> WireProfile:
    """Big endian in words of four bytes; elements, aligned, whose lengths count words and their heads; a checksum in
    the header; fractions of seconds.
    """
    document = reference("tag_info_notify", "interferer_notify", "wips_alarm_notify", "handover_notify")
    document |= {"name": "anvil-1", "max_frame_bytes": 16384}
    document["header"] = {
        "size": 16,
        "length_counts": "body",
        "length_unit": 4,
        "align": 4,
        "fields": [
            field("length", "u16", 0),
            field("msg_id", "u32", 4),
            field("checksum", "u16", 2),
            field("transaction", "u64", 8),
        ],
    }
    document["checksum"] = {"kind": "internet", "over": ["header", "body"]}
    notify = document["messages"]["measurement_notify"]
    notify |= {"id": 0x80000001, "size": 4, "fields": [field("one", "i32", 0, value=-1)]}
    notify["repeat"] = {"record": "reading", "id": 9, "max": 12}
    notify["elements"] = {
        "type": "u16",
        "length": "u16",
        "length_counts": "element",
        "length_unit": 4,
        "align": 4,
        "fields": [
            {"name": "station_mac", "type": "mac", "id": 1},
            {"name": "time", "type": "time", "id": 2, "size": 8, "unit": "s+frac"},
            {"name": "sequence", "type": "u16", "id": 3},
        ],
    }
    return compiled(document)


def bellows() -> WireProfile:
    """Little endian; ids of a byte; no transaction; a sum of bytes; records with lengths, elements and tails of their
    own; times since the session began.
    """
    document = reference("client_info_response", "information_request", "attachment_notify")
    document |= {"name": "bellows-1", "byte_order": "little"}
    document["header"] = {"size": 4, "fields": [field("msg_id", "u8", 3), field("length", "u16", 1)]}
    document["trailer"] = {"size": 1, "fields": [field("checksum", "u8", 0)]}
    document["checksum"] = {"kind": "sum", "over": ["body"]}
    notify = document["messages"]["measurement_notify"]
    notify |= {"size": 13, "repeat": {"record": "reading", "count": "words", "count_unit": 2, "max": 15}}
    notify["fields"] = [
        field("time", "time", 2, size=4, unit="ms", epoch="session"),
        field("station_mac", "mac", 6),
        field("words", "u8", 12),
    ]
    reading = document["records"]["reading"]
    kept = [each for each in reading["fields"] if each["name"] != "age_s"]
    reading |= {
        "size": 14,
        "fields": [*kept, field("units", "u8", 12)],
        "length": "units",
        "length_unit": 2,
        "align": 2,
    }
    reading["tail"] = {"size": 3, "fields": [field("age_s", "u16", 0), field("stop", "u8", 2, value=0xEE)]}
    info = document["records"]["client_info"]
    info |= {"size": 10, "fields": [field("station_mac", "mac", 0), field("size_n", "u16", 7)], "length": "size_n"}
    info["elements"] = {
        "type": "u8",
        "length": "u8",
        "fields": [
            {"name": "ssid", "type": "text", "id": 1, "size": 32},
            {"name": "address", "type": "bytes", "id": 2, "size": 16},
            {"name": "vlan", "type": "u16", "id": 3},
        ],
    }
    return compiled(document)


def cooper() -> WireProfile:
    """Big-endian, with numbers that are not; responses with their requests' ids; one reading among a notification's
    own fields; records that nothing counts.
    """
    document = reference("measurement_request", "measurement_response", "client_statistics_notify", "rogue_info_notify")
    document |= {"name": "cooper-1", "max_frame_bytes": 4000}
    document["header"] = {
        "size": 15,
        "length_unit": 2,
        "length_counts": "body",
        "fields": [
            field("length", "u16", 0, order="little"),
            field("msg_id", "u16", 2, order="little"),
            field("transaction", "u32", 4, order="little"),
            field("mark", "u32", 9, value=0x01020304, order="little"),
        ],
    }
    document["trailer"] = {"size": 4, "fields": [field("checksum", "u32", 0, order="little")]}
    document["checksum"] = {"kind": "crc-32", "over": ["header", "body"]}
    messages = document["messages"]
    for name in ("version", "subscribe", "echo", "measurement"):
        messages[f"{name}_response"]["id"] = messages[f"{name}_request"]["id"]
    messages["measurement_notify"] = {
        "id": 16,
        "size": 31,
        "fields": [
            field("time", "time", 0, size=8, unit="s+us", order="little"),
            field("ap_mac", "mac", 9),
            field("station_mac", "mac", 15),
            field("rssi_a", "i16", 21, order="little"),
            field("sequence", "u64", 23, order="little"),
        ],
    }
    for name in ("measurement_response", "client_statistics_notify"):
        table = messages[name]
        counter = table["repeat"].pop("count")
        table["repeat"]["to_end"] = True
        table["fields"] = [each for each in table["fields"] if each["name"] != counter]
    rogue = messages["rogue_info_notify"]
    del rogue["repeat"]
    record = document["records"].pop("rogue_info")
    rogue["fields"] = [each for each in rogue["fields"] if each["name"] not in ("subservice", "record_count")]
    rogue["size"] = 26 + record["size"]
    rogue["elements"] = {"type": "u8", "length": "u8", "fields": [{"name": "subservice", "type": "u8", "id": 1}]}
    rogue["fields"] += [each | {"offset": 26 + each["offset"]} for each in record["fields"]]
    return compiled(document)


def to_toml(profile: WireProfile) -> str:
    """A profile's file."""
    return _table(msgspec.to_builtins(profile.document))


def _table(tables: dict[str, Any]) -> str:
    return "\n".join(f"{json.dumps(key)} = {_inline(value)}" for key, value in tables.items() if value is not None)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(key)} = {_inline(each)}" for key, each in value.items() if each is not None)
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)
