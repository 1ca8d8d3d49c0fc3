"""What a field's number means (unit), and how it is known that there is such a field (label).

Where a field lies is always the profile's; nothing of that is public. What can be public is that a controller, or its
NMSP, has the field at all: then it is in `PUBLIC`, and the sources are named at the Structs and in docs/protocol.md.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from loadgen.nmsp import messages as m
from loadgen.nmsp import records as r


class Label(StrEnum):
    """How a field is known. PUBLIC: a public source names it. OURS: nobody's but this project's."""

    PUBLIC = "public"
    OURS = "ours"


# A name means the same wherever it stands. "number" is one to tell things apart, "code" one of a list.
UNITS: dict[str, str] = {
    "acknowledged": "number",
    "address": "IPv6 or mapped IPv4",
    "age_s": "s ago",
    "anchor": "IPv6 or mapped IPv4",
    "antenna": "number",
    "ap_mac": "MAC",
    "band": "0 2.4 GHz, 1 5 GHz",
    "battery": "code",
    "bssid": "MAC",
    "bytes_received": "bytes",
    "bytes_sent": "bytes",
    "category": "code",
    "channel": "channel",
    "channels": "mask",
    "checksum": "checksum",
    "classification": "code",
    "clients": "count",
    "cluster": "MAC",
    "containment": "code",
    "context": "text",
    "detected_s": "s since 1970",
    "detecting_aps": "count",
    "device_id": "number",
    "device_mac": "MAC",
    "device_type": "code",
    "devices": "count",
    "due_ns": "ns since 1970",
    "duty_cycle": "%",
    "enabled": "0 or 1",
    "encrypted": "0 or 1",
    "first_seen_s": "s since 1970",
    "frame_number": "number",
    "from_ap": "MAC",
    "highest": "version",
    "index": "0 to 100",
    "interference_duty_cycle": "%",
    "interference_power": "dBm",
    "interval_s": "s",
    "is_client": "0 or 1",
    "last_seen_s": "s since 1970",
    "length": "bytes",
    "location": "text",
    "lowest": "version",
    "lowest_index": "0 to 100",
    "measured_s": "s since 1970",
    "model": "text",
    "msg_id": "number",
    "msg_subtype": "number",
    "msg_type": "number",
    "name": "text",
    "noise": "dBm",
    "packets_received": "packets",
    "packets_sent": "packets",
    "payload": "bytes",
    "policy_errors": "count",
    "port": "number",
    "protocol": "code",
    "radio": "number",
    "radios": "count",
    "reports": "count",
    "rogue_mac": "MAC",
    "rssi": "dBm",
    "rssi_a": "dBm",
    "rssi_b": "dBm",
    "sent_ns": "ns since 1970",
    "sequence": "number",
    "sequence_number": "number",
    "serial_number": "text",
    "severity": "number",
    "signature": "number or bytes",
    "signatures": "count",
    "slot": "number",
    "snr": "dB",
    "source": "0 none, 1 probe, 2 path loss",
    "source_mac": "MAC",
    "ssid": "text",
    "state": "code",
    "station_mac": "MAC",
    "status": "code",
    "subservice": "bit of the mask",
    "subservices": "mask",
    "tag_mac": "MAC",
    "tag_type": "code",
    "threshold": "count",
    "time": "time",
    "to_ap": "MAC",
    "total_duty_cycle": "%",
    "total_power": "dBm",
    "transaction": "number",
    "tx_excessive_retries": "packets",
    "tx_power": "dBm",
    "tx_retries": "packets",
    "udi": "text",
    "user_name": "text",
    "utilization": "%",
    "vendor": "code",
    "version": "version",
    "vlan": "number",
    "wlan": "number",
}

# In the header, only the message identifier is public: a uint16 (Cisco-IOS-XE-wireless-nmsp-oper).
PUBLIC_IN_HEADER = frozenset({"msg_id"})

_MASK = frozenset({"subservices"})


def _all_but(record: type[msgspec.Struct], *ours: str) -> frozenset[str]:
    return frozenset(record.__struct_fields__) - frozenset(ours)


# The fields that a public source names; those of Structs that are not here are ours.
PUBLIC: dict[type[msgspec.Struct], frozenset[str]] = {
    m.Capability: _MASK,
    m.SubscribeRequest: _MASK,
    m.SubscribeGroupsRequest: _MASK,
    m.SubscribeResponse: _MASK,
    m.MeasurementNotify: frozenset({"station_mac"}),
    m.TagInfoNotify: frozenset({"payload"}),
    r.HeardStation: frozenset({"station_mac"}),
    r.ApGroup: _all_but(r.ApGroup),
    r.Reading: _all_but(r.Reading),
    r.ClientInfo: _all_but(r.ClientInfo),
    r.TagInfo: _all_but(r.TagInfo),
    r.RogueInfo: _all_but(r.RogueInfo, "is_client"),
    r.ClientStatistics: _all_but(r.ClientStatistics),
    r.TagStatistics: _all_but(r.TagStatistics),
    r.Interferer: _all_but(r.Interferer),
    r.AirQuality: _all_but(r.AirQuality, "ap_mac", "slot"),
    r.Attachment: _all_but(r.Attachment),
    r.WipsAlarm: _all_but(r.WipsAlarm, "ap_mac"),
}


def unit_of(name: str) -> str:
    """What the number in a field is; "" for a field that only counts records, or is a constant of a profile."""
    return UNITS.get(name, "")


def label_of(struct: type[msgspec.Struct] | None, name: str) -> Label:
    """Whether a public source names the field. Args: struct: a message or a record; None for the header."""
    public = PUBLIC_IN_HEADER if struct is None else PUBLIC.get(struct, frozenset())
    return Label.PUBLIC if name in public else Label.OURS
