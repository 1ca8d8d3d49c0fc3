"""Messages of a device, by chance: those that every NMSP has, and some that none has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.inference.parts import TIMES, Style, Table, constant, field, node, pad, sized_text, time_fields

# What a session needs.
CORE = (
    *("version_request", "version_response", "capability", "subscribe_request", "subscribe_response"),
    *("echo_request", "echo_response", "measurement_notify"),
)


@dataclass
class Habits:
    """What the messages of a device have in common."""

    style: Style
    told_at: str | None  # how every notification tells its time
    subservice: str | None  # the integer in which a notification names its subservice
    mask: str  # "u32", "u64" or "list"
    elements: Table | None  # type and length of elements; None: this device has none


def make_habits(style: Style) -> Habits:
    elements = None
    if style.chance(0.6):
        width, counts = style.one(1, 2, 1, 2), style.one("value", "value", "element")
        length = style.one(1, 2) if width == 1 else 2
        elements = {"type": {"size": width}, "length": {"size": length, "counts": counts}}
    told_at = style.one(*TIMES) if style.chance(0.6) else None
    subservice = style.one("u8", "u16") if style.chance(0.6) else None
    return Habits(style, told_at, subservice, style.one("u32", "u64", "u64", "list"), elements)


def _told(habits: Habits) -> list[Table]:
    made: list[Table] = []
    if habits.told_at:
        made += time_fields(habits.style, "time", habits.told_at)
    if habits.subservice:
        made.append(field("subservice", habits.subservice, "enum", "subservice"))
    return made


def _mask_parts(habits: Habits, name: str, gen: str) -> tuple[list[Table], list[Table]]:
    """Subservices: fields and repeats."""
    style = habits.style
    if habits.mask != "list":
        return [field(name, habits.mask, "mask", gen, accept=["enum"])], []
    count = field("service_count", style.one("u8", "u16"), "count")
    entry = node(
        style,
        [
            field("service", style.one("u8", "u16"), "enum", "service"),
            field("services", style.one("u16", "u32"), "mask", "services", accept=["enum", "number"]),
        ],
    )
    repeat = {
        "name": "services",
        "at": "next",
        "count": {"field": "service_count"},
        "stride": entry["size"],
        "record": entry,
        "_gen": f"{gen}_list",
    }
    return [count], [repeat]


def _status(style: Style) -> list[Table]:
    return [field("status", style.one("u8", "u16"), "enum", "status")] if style.chance(0.8) else []


def _session_messages(habits: Habits) -> list[Table]:
    style = habits.style
    width = style.one("u8", "u16")
    hello = [field("lowest", width, "enum", "lowest"), field("highest", width, "enum", "highest")]
    answer = [field("version", width, "enum", "highest"), *_status(style)]
    behind: Sequence[Table] = ()
    if style.chance(0.4):
        answer.append(field("wlc_mac", "mac", "mac", "wlc_mac"))
    if style.chance(0.3):
        answer.append(field("wlc_address", "ipv4", "ipv4", "wlc_address"))
    if style.chance(0.4):
        fixed, behind = sized_text(style, "model", "model", last=True)
        answer += fixed
    offered, offered_list = _mask_parts(habits, "subservices", "offered")
    asked, asked_list = _mask_parts(habits, "subservices", "asked")
    granted, granted_list = _mask_parts(habits, "subservices", "asked")
    interval = [field("interval", style.one("u16", "u32"), "number", "interval")] if style.chance(0.4) else []
    capability = [*offered, *([field("max_stations", "u16", "number", "max_stations")] if style.chance(0.3) else [])]
    echo = _echo(style)
    return [
        _message("version_request", "mse", "request", node(style, hello)),
        _message("version_response", "wlc", "response", node(style, answer, behind=behind)),
        _message("capability", "wlc", "notification", node(style, capability, repeats=offered_list)),
        _message("subscribe_request", "mse", "request", node(style, [*asked, *interval], repeats=asked_list)),
        _message(
            "subscribe_response", "wlc", "response", node(style, [*granted, *_status(style)], repeats=granted_list)
        ),
        _message("echo_request", "mse", "request", node(style, echo)),
        _message("echo_response", "wlc", "response", node(style, echo, keep=True)),
    ]


def _echo(style: Style) -> list[Table]:
    match style.one("none", "none", "counter", "time", "bytes"):
        case "counter":
            return [field("echo_number", style.one("u16", "u32"), "counter", "echo_number")]
        case "time":
            return time_fields(style, "asked_at", style.one("unix_s", "unix_ms", "boot_ms"), "echo_time")
        case "bytes":
            return [{"name": "cookie", "size": 8, "role": "unknown", "type": "bytes", "_gen": "cookie"}]
    return []


def _message(name: str, sender: str, kind: str, body: Table) -> Table:
    made: Table = {"name": name, "from": sender, "body": body, "_kind": kind}
    if name in CORE:
        made["core"] = True
    return made


def _reading_fields(style: Style, *, with_ap: bool = True, with_station: bool = False) -> list[Table]:
    made: list[Table] = []
    if with_ap:
        made.append(field("ap_mac", "mac", "mac", "ap"))
    if with_station:
        made.append(field("station_mac", "mac", "mac", "station"))
    made.append(field("rssi", style.one("i8", "i8", "i8", "i16"), "rssi", "rssi"))
    options = [
        (0.35, field("rssi_b", "i8", "rssi", "rssi_b")),
        (0.5, field("snr", style.one("u8", "i8"), "snr", "snr")),
        (0.25, field("noise", "i8", "noise", "noise")),
        (0.4, field("channel", "u8", "enum", "channel")),
        (0.4, field("slot", "u8", "enum", "slot")),
        (0.3, field("band", "u8", "enum", "band")),
        (0.3, field("age", style.one("u16", "u32", "u8"), "age", "age")),
        (0.15, field("opaque", "bytes", "unknown", "opaque", size=style.one(2, 4))),
    ]
    made += [each for share, each in options if style.chance(share)]
    return made


def _counted(
    style: Style, name: str, gen: str, record: Table, *, may_rest: bool, stride: bool = True
) -> tuple[list[Table], Table]:
    """Records side by side: the field that counts them (or none), and the repeat."""
    repeat: Table = {
        "name": name,
        "at": "next",
        "stride": record["size"] if stride else None,
        "record": record,
        "_gen": gen,
    }
    if may_rest and style.unit == 1 and style.chance(0.2):
        return [], repeat | {"count": "rest"}
    count = field(f"{name}_count", style.one("u8", "u8", "u16"), "count")
    return [count], repeat | {"count": {"field": count["name"]}}


def _measurement(habits: Habits) -> Table:
    style = habits.style
    shapes = ["flat", "flat", "per_ap", "stations", "single"]
    if habits.elements:
        shapes += ["elements", "nested_elements", "mixed_elements"]
    told = _told(habits)
    match style.rng.choice(shapes):
        case "flat":
            record = node(style, _reading_fields(style))
            count, repeat = _counted(style, "readings", "readings", record, may_rest=True)
            body = node(style, [*told, field("station_mac", "mac", "mac", "station"), *count], repeats=[repeat])
        case "per_ap":
            record = node(style, _reading_fields(style, with_ap=False, with_station=True))
            count, repeat = _counted(style, "stations", "heard", record, may_rest=True)
            body = node(style, [*told, field("ap_mac", "mac", "mac", "hearing_ap"), *count], repeats=[repeat])
            body["_about"] = "ap"
        case "stations":
            reading = node(style, _reading_fields(style))
            count, inner = _counted(style, "readings", "readings", reading, may_rest=False)
            station = node(style, [field("station_mac", "mac", "mac", "station"), *count], repeats=[inner])
            count, outer = _counted(style, "stations", "stations", station, may_rest=True, stride=False)
            body = node(style, [*told, *count], repeats=[outer])
            body["_about"] = "several"
        case "single":
            fields = [*told, field("station_mac", "mac", "mac", "station"), *_reading_fields(style)]
            body = node(style, fields)
            body["_about"] = "pair"
        case shape:
            body = _measurement_of_elements(habits, shape, told)
    return _message("measurement_notify", "wlc", "notification", body)


def _elements(habits: Habits, kinds: list[tuple[str, Table, str | None, float]], *, start: int = 1) -> Table:
    """Args: kinds: (name, value, what it is repeated for, in which share it is there)."""
    style = habits.style
    assert habits.elements is not None
    step = style.one(1, 1, 2, 16)
    known, emit = [], []
    for index, (name, value, gen, share) in enumerate(kinds):
        number = min(255, start + index * step)
        known.append({"id": number, "name": name, "value": value})
        emit.append((number, gen, share))
        if style.unit > 1:
            value["rest"] = "padding"
            value["_fill"] = habits.elements["type"]["size"] + habits.elements["length"]["size"]
    return habits.elements | {"at": "next", "known": known, "_emit": emit, "_any_order": style.chance(0.3)}


def _with_elements(habits: Habits, fields: list[Table], elements: Table, *, of_body: bool = True) -> Table:
    """A node that ends with elements; with a length in words its fixed part is filled up to them."""
    style = habits.style
    made = node(style, fields)
    if style.unit > 1:
        gap = -(made["size"] + (style.slack if of_body else 0)) % style.unit
        if gap:
            made["fields"].append(pad("fill", gap) | {"at": made["size"]})
            made["size"] += gap
    return made | {"elements": elements}


def _measurement_of_elements(habits: Habits, shape: str, told: list[Table]) -> Table:
    style = habits.style
    station = field("station_mac", "mac", "mac", "station")
    match shape:
        case "elements":
            kinds = [("station", node(style, [station]), None, 1.0)]
            if told:
                kinds.append(("told", node(style, told), None, 1.0))
            kinds.append(("reading", node(style, _reading_fields(style)), "readings", 1.0))
            return _with_elements(habits, [], _elements(habits, kinds))
        case "nested_elements":
            parts = _reading_fields(style)
            inner = _elements(habits, [(each["name"], node(style, [each]), None, 1.0) for each in parts])
            reading = {"elements": inner}
            if style.unit > 1:
                reading = _with_elements(habits, [pad("head", 0)][:0], inner, of_body=False)
                head = habits.elements["type"]["size"] + habits.elements["length"]["size"] if habits.elements else 0
                if gap := -head % style.unit:
                    reading |= {"size": gap, "fields": [pad("fill", gap) | {"at": 0}]}
            kinds = [("station", node(style, [station, *told]), None, 1.0), ("reading", reading, "readings", 1.0)]
            return _with_elements(habits, [], _elements(habits, kinds, start=32))
    extra = [
        ("user", node(style, [field("user", "text", "text", "user", size=16)]), None, 0.5),
        ("address", node(style, [field("address", "ipv4", "ipv4", "address")]), None, 0.6),
        ("battery", node(style, [field("battery", "u8", "number", "battery")]), None, 0.3),
        ("vendor", node(style, [field("vendor", "bytes", "unknown", "opaque", size=6)]), None, 0.3),
    ]
    record = node(style, _reading_fields(style))
    count, repeat = _counted(style, "readings", "readings", record, may_rest=False)
    made = _with_elements(habits, [*told, station, *count], _elements(habits, extra, start=64))
    if style.unit > 1:
        gap = -record["size"] % style.unit
        if gap:
            record["fields"].append(pad("fill", gap) | {"at": record["size"]})
            record["size"] += gap
            repeat["stride"] = record["size"]
    return made | {"repeats": [repeat]}


def _information(habits: Habits) -> Table:
    style = habits.style
    fields = [field("station_mac", "mac", "mac", "station"), field("ap_mac", "mac", "mac", "ap")]
    options = [
        (0.6, field("address", "ipv4", "ipv4", "address")),
        (0.5, field("vlan", "u16", "number", "vlan")),
        (0.5, field("state", "u8", "enum", "state")),
        (0.4, field("channel", "u8", "enum", "channel")),
        (0.3, field("associated", "u32", "timestamp", "associated", _unit="s", _epoch="unix")),
    ]
    fields += [each for share, each in options if style.chance(share)]
    if habits.elements and style.chance(0.5):
        kinds: list[tuple[str, Table, str | None, float]] = [
            (each["name"], node(style, [each]), None, 1.0 if each["role"] == "mac" else 0.7) for each in fields
        ]
        for name, gen in (("ssid", "ssid"), ("user", "user")):
            text: Table = {"name": name, "size": "rest", "role": "text", "type": "text", "at": "next", "_gen": gen}
            if style.unit > 1:
                text = field(name, "text", "text", gen, size=16) | {"at": 0}
            kinds.append((name, {"fields": [text]}, None, 0.8))
        return _with_elements(habits, _told(habits), _elements(habits, kinds, start=style.one(1, 100)))
    behind: list[Table] = []
    for name, last in (("ssid", False), ("user", True)):
        if style.chance(0.7):
            fixed, more = sized_text(style, name, name, last=last)
            fields += fixed
            behind += more
    if style.chance(0.5):
        record = node(style, fields, behind=[each for each in behind if each["size"] != "rest"])
        count, repeat = _counted(style, "clients", "clients", record, may_rest=False, stride=not behind)
        return node(style, [*_told(habits), *count], repeats=[repeat])
    return node(style, [*_told(habits), *fields], behind=behind)


def _statistics(habits: Habits) -> list[Table]:
    style = habits.style
    width = style.one("u32", "u64")
    names = ["bytes_in", "bytes_out", "packets_in", "packets_out", "retries", "drops"][: style.rng.randrange(3, 7)]
    fields = [field("station_mac", "mac", "mac", "station")]
    fields += [field(name, width, "counter", f"count:{name}") for name in names]
    if style.chance(0.5):
        fields.append(field("rssi", "i8", "rssi", "rssi"))
    if style.chance(0.4):
        fields.append(field("uptime", "u32", "number", "uptime", accept=["timestamp", "age", "counter"]))
    if style.chance(0.5):
        record = node(style, fields)
        count, repeat = _counted(style, "clients", "clients", record, may_rest=False)
        body = node(style, [*_told(habits), *count], repeats=[repeat])
        return [_message("client_statistics_notify", "wlc", "notification", body)]
    request = [field("station_mac", "mac", "mac", "station"), field("wanted", "u16", "mask", "wanted", accept=["enum"])]
    return [
        _message("statistics_request", "mse", "request", node(style, request)),
        _message("client_statistics_response", "wlc", "response", node(style, [*fields, *_status(style)])),
    ]


def _others(habits: Habits) -> list[Table]:
    """Messages that no NMSP has."""
    style = habits.style
    text, behind = sized_text(style, "line", "log", last=True)
    log = node(style, [*_told(habits), field("severity", "u8", "enum", "severity"), *text], behind=behind)
    radio = node(
        style,
        [
            field("ap_mac", "mac", "mac", "ap"),
            field("slot", "u8", "enum", "slot"),
            field("channel", "u8", "enum", "channel"),
            field("load", "u8", "number", "load"),
            field("noise", "i8", "noise", "noise"),
            field("clients", "u16", "number", "clients_there"),
        ],
    )
    count, radios = _counted(style, "radios", "radios", radio, may_rest=True)
    status = [
        *time_fields(style, "uptime", "boot_s"),
        field("temperature", "i8", "number", "temperature"),
        field("frames_sent", "u32", "counter", "count:frames"),
        field("memory", "u32", "number", "memory"),
        constant("build", "u16", style.rng.randrange(1, 60000)),
    ]
    fixed, behind = sized_text(style, "ap_name", "ap_name", last=False)
    ap = node(
        style,
        [field("ap_mac", "mac", "mac", "ap"), field("address", "ipv4", "ipv4", "ap_address"), *fixed],
        behind=behind,
    )
    ap_count, aps = _counted(style, "aps", "aps", ap, may_rest=False, stride=not behind)
    blob_count = field("blob_length", "u16", "length", accept=["count", "number"])
    blob: Any = {"name": "blob", "size": {"field": "blob_length"}, "role": "unknown", "type": "bytes", "_gen": "blob"}
    ack = [field("acknowledged", "u32", "number", "acknowledged", accept=["sequence", "counter", "transaction"])]
    choices = [
        [_message("vendor_log", "wlc", "notification", log)],
        [_message("vendor_radio_status", "wlc", "notification", node(style, count, repeats=[radios]))],
        [_message("vendor_health", "wlc", "notification", node(style, status))],
        [_message("vendor_ap_list", "wlc", "notification", node(style, ap_count, repeats=[aps]))],
        [_message("vendor_blob", "wlc", "notification", node(style, [blob_count], behind=[blob]))],
        [_message("vendor_receipt", "mse", "notification", node(style, ack))],
    ]
    style.rng.shuffle(choices)
    return [message for some in choices[: style.rng.randrange(2, 5)] for message in some]


def make_messages(habits: Habits) -> list[Table]:
    """All messages of a device, without their ids."""
    made = [*_session_messages(habits), _measurement(habits)]
    made.append(_message("client_info_notify", "wlc", "notification", _information(habits)))
    if habits.style.chance(0.9):
        made += _statistics(habits)
    made += _others(habits)
    if habits.style.unit > 1:
        for message in made:
            if "elements" not in message["body"]:
                message["body"]["rest"] = "padding"
    return made
