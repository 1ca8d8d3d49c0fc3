"""Which fields of NMSP's messages a role can be, and which role a field of them has."""

from __future__ import annotations

from loadgen.infer.layout_document import LayoutField, Role
from loadgen.nmsp.fields import UNITS
from loadgen.nmsp.profile_document import FieldType

__all__ = ["ALIASES", "INTEGER_ROLES", "OWN_ROLES", "role_of", "wire_type_of"]

_BY_NAME: dict[str, Role] = {
    "acknowledged": "number",
    "checksum": "checksum",
    "counter": "counter",
    "frame_number": "sequence",
    "length": "length",
    "mac": "mac",
    "msg_id": "msg_id",
    "msg_subtype": "msg_id",
    "msg_type": "msg_id",
    "noise": "noise",
    "sequence": "sequence",
    "snr": "snr",
    "subservice": "enum",
    "time": "timestamp",
    "transaction": "transaction",
}
_BY_UNIT: dict[str, Role] = {
    "IPv6 or mapped IPv4": "ipv4",
    "MAC": "mac",
    "bytes": "counter",
    "code": "enum",
    "dBm": "rssi",
    "mask": "mask",
    "ns since 1970": "timestamp",
    "packets": "counter",
    "s ago": "age",
    "s since 1970": "timestamp",
    "text": "text",
    "version": "enum",
    "0 or 1": "enum",
    "0 2.4 GHz, 1 5 GHz": "enum",
    "0 none, 1 probe, 2 path loss": "enum",
    "channel": "enum",
}
# Roles that a field of any name would not have by chance: by them alone a field may be given a name.
OWN_ROLES = frozenset({"sequence", "mac", "rssi", "snr", "noise", "timestamp", "age", "mask", "text", "counter"})
# What an integer may be that only had to get some name.
INTEGER_ROLES = frozenset(
    {"enum", "number", "counter", "age", "snr", "noise", "constant", "padding", "unknown", "mask"}
)
# Other names for what NMSP's messages have.
ALIASES = {
    "rssi": "rssi_a",
    "age": "age_s",
    "user": "user_name",
    "bytes_in": "bytes_received",
    "bytes_out": "bytes_sent",
    "packets_in": "packets_received",
    "packets_out": "packets_sent",
    "retries": "tx_retries",
    "drops": "tx_excessive_retries",
}


def role_of(name: str) -> Role:
    """Of a field of a profile that varies."""
    return _BY_NAME.get(name) or _BY_UNIT.get(UNITS.get(name, ""), "number")


_SIGNED: dict[int, FieldType] = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}
_UNSIGNED: dict[int, FieldType] = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}


def wire_type_of(field: LayoutField, allowed: tuple[str, ...]) -> FieldType | None:
    """The type with which a profile can say a field, of those that its name may have; None: it cannot."""
    size = field.size if isinstance(field.size, int) else 0
    if field.type == "mac" or (field.role == "mac" and size == 6):
        return "mac" if "mac" in allowed else None
    for kind in ("text", "bytes"):
        if kind in allowed:
            alike = field.type in (kind, None) or (kind == "bytes" and field.role == "unknown")
            return kind if alike and (size or field.size == "rest") else None
    if "time" in allowed:
        is_pair = field.unit is not None and "+" in field.unit
        return "time" if field.unit and size in ((8,) if is_pair else (4, 8)) else None
    if field.type in ("mac", "ipv4", "text") or size not in _UNSIGNED:
        return None
    own = _SIGNED if field.type and field.type[0] == "i" else _UNSIGNED
    other = _UNSIGNED if own is _SIGNED else _SIGNED
    return next((kind for kind in (own[size], other[size]) if kind in allowed), None)
