"""Frames laid out by hand, from a profile's document alone: offsets and int.to_bytes, neither struct nor numpy, and
checksums bit by bit.
"""

from __future__ import annotations

from typing import Any

import msgspec

from loadgen.nmsp.catalogue import CATALOGUE, KIND_OF
from loadgen.nmsp.messages import Message, Role
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import (
    SIZED,
    ElementDocument,
    ElementsDocument,
    FieldDocument,
    MessageDocument,
    ProfileDocument,
    RecordDocument,
)

BITS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
Order = str


def raw(order: Order, field: FieldDocument | ElementDocument, value: Any) -> bytes:
    """One value's bytes; text and bytes as long as they are."""
    order = field.order or order
    if field.type == "time":
        return time_bytes(order, field.unit or "", field.size or 0, value)
    if field.type == "text":
        return str(value).encode()
    if field.type in ("mac", *SIZED):
        return bytes(value)
    return number(order, field.type, value)


def number(order: Order, kind: str, value: int) -> bytes:
    return int(value).to_bytes(BITS[kind] // 8, order, signed=kind.startswith("i"))  # type: ignore[arg-type]


def time_bytes(order: Order, unit: str, size: int, time_ns: int) -> bytes:
    """A time in one unit; or seconds, and behind them what is left of one."""
    if unit in NS:
        return (time_ns // NS[unit] % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    seconds, rest = divmod(time_ns, 10**9)
    part = {"s+us": rest // 1000, "s+ns": rest, "s+frac": rest * 2**32 // 10**9}[unit]
    return b"".join((each % 2**32).to_bytes(4, order) for each in (seconds, part))  # type: ignore[arg-type]


def fields_by_hand(
    order: Order, fields: tuple[FieldDocument, ...], size: int, values: dict[str, Any], constants: dict[str, int]
) -> bytes:
    """Fixed fields, each at its place, zeros between them. Args: constants: instead of those of the document."""
    out = bytearray(size)
    for field in fields:
        if field.name in constants:
            value: Any = constants[field.name]
        else:
            value = field.value if field.value is not None else values[field.name]
        found = raw(order, field, value)
        if field.type in SIZED:
            found = found.ljust(field.size or 0, b"\0")
        out[field.offset : field.offset + len(found)] = found
    return bytes(out)


def filled(data: bytes, align: int) -> bytes:
    """With zeros up to a multiple."""
    return data + bytes(-len(data) % align)


def table_by_hand(document: ProfileDocument, table: MessageDocument | RecordDocument, value: msgspec.Struct) -> bytes:
    """A message's body or a record, without what a frame is filled up with."""
    order = document.byte_order
    values: dict[str, Any] = {name: getattr(value, name) for name in value.__struct_fields__}
    repeat, records = table.repeat, list[bytes]()
    if repeat is not None:
        repeated = next(values[name] for name in values if isinstance(values[name], tuple))
        records = [table_by_hand(document, document.records[repeat.record], each) for each in repeated]
        if repeat.count is not None:
            many = len(records) if repeat.count_unit == "record" else len(b"".join(records)) // repeat.count_unit
            values[repeat.count] = many
    else:  # its one record has its fields among its own
        inside = next((values[name][0] for name in values if isinstance(values[name], tuple)), None)
        if inside is not None:
            values = {name: getattr(inside, name) for name in inside.__struct_fields__} | values
    behind = b"" if repeat is None or repeat.id is not None else b"".join(records)
    if table.elements is not None:
        found = [(repeat.id, record) for record in records] if repeat is not None and repeat.id is not None else []
        needed = {field.name for field in msgspec.structs.fields(type(value)) if field.required}
        if repeat is None and inside is not None:
            needed |= {field.name for field in msgspec.structs.fields(type(inside)) if field.required}
        found += [
            (field.id, raw(order, field, values[field.name]))
            for field in table.elements.fields
            if field.type not in SIZED or values[field.name] or field.name in needed
        ]
        behind += elements_by_hand(order, table.elements, found)
    if table.tail is not None:
        behind += fields_by_hand(order, table.tail.fields, table.tail.size, values, {})
    if isinstance(table, RecordDocument):
        size = len(filled(bytes(table.size) + behind, table.align))
        behind = behind.ljust(size - table.size, b"\0")
        if table.length is not None:
            values[table.length] = size // table.length_unit
    return fields_by_hand(order, table.fields, table.size, values, {}) + behind


def elements_by_hand(order: Order, elements: ElementsDocument, found: list[tuple[int, bytes]]) -> bytes:
    out = b""
    for number_, value in found:
        head = (BITS[elements.type] + BITS[elements.length]) // 8 if elements.length_counts == "element" else 0
        while (len(value) + head) % elements.length_unit:
            value += b"\0"
        counted = (len(value) + head) // elements.length_unit
        out += number(order, elements.type, number_) + number(order, elements.length, counted) + value
        out = filled(out, elements.align)
    return out


# -- what is around a body ---------------------------------------------------------------------------------------------


def frame_by_hand(
    profile: WireProfile, message: Message, transaction: int = 0, numbers: tuple[int, int] = (0, 0)
) -> bytes:
    """A message's frame. Args: numbers: how many frames its sender has sent before, and how many it has received."""
    document, kind = profile.document, KIND_OF[type(message)]
    header, table, order = document.header, document.messages[kind.label], document.byte_order
    trailer_size = 0 if document.trailer is None else document.trailer.size
    body = table_by_hand(document, table, message)
    length = next(field for field in header.fields if field.name == "length")
    # What the length leaves out is in no unit of it.
    out = {"frame": 0, "body": header.size + trailer_size, "rest": length.offset + BITS[length.type] // 8}
    left_out = out[header.length_counts] - header.length_adds if header.align <= header.length_unit else 0
    while (header.size + len(body) + trailer_size - left_out) % max(header.align, header.length_unit):
        body += b"\0"
    counted = {
        "frame": header.size + len(body) + trailer_size,
        "body": len(body),
        "rest": header.size - length.offset - BITS[length.type] // 8 + len(body) + trailer_size,
    }[header.length_counts] + header.length_adds
    values = {"length": counted // header.length_unit, "transaction": transaction, "checksum": 0, "msg_id": table.id}
    for field in header.fields:
        if field.name == "msg_subtype":
            values["msg_type"], values["msg_subtype"] = divmod(table.id, 1 << BITS[field.type])
        elif field.name == "frame_number":
            values[field.name] = (numbers[0] + field.first) % (1 << BITS[field.type])
        elif field.name == "acknowledged":
            first = next((each.first for each in header.fields if each.name == "frame_number"), 0)
            values[field.name] = (numbers[1] + first - 1) % (1 << BITS[field.type])
        elif field.values:
            sender = CATALOGUE[kind].sender
            answers = "response" if CATALOGUE[kind].answers else "notification"
            named = field.values.get("wlc" if sender is Role.WLC else "mse")
            kind_of = "request" if sender is Role.MSE else answers
            values[field.name] = field.values[kind_of] if named is None else named
    front = fields_by_hand(order, header.fields, header.size, values, table.header)
    foot = b""
    if document.trailer is not None:
        foot = fields_by_hand(order, document.trailer.fields, trailer_size, {"checksum": 0}, {})
    if document.checksum is None:
        return front + body + foot
    parts = {"header": front, "body": body, "trailer": foot}
    data = b"".join(part for name, part in parts.items() if name in document.checksum.over)
    in_header = any(field.name == "checksum" for field in header.fields)
    fields = header.fields if in_header or document.trailer is None else document.trailer.fields
    place = next(field for field in fields if field.name == "checksum")
    seal = number(
        place.order or order, place.type, checksum_by_hand(document.checksum.kind, BITS[place.type], order, data)
    )
    at = place.offset if in_header else len(front + body) + place.offset
    whole = front + body + foot
    return whole[:at] + seal + whole[at + len(seal) :]


# Bits, polynomial (as it is shifted in), first value, whether the least significant bit comes first, and what is
# inverted at the end; after the RevEng catalogue.
CRCS = {
    "crc-32": (32, 0x04C11DB7, 0xFFFFFFFF, True, 0xFFFFFFFF),
    "crc-16/ibm-3740": (16, 0x1021, 0xFFFF, False, 0),
    "crc-16/xmodem": (16, 0x1021, 0, False, 0),
    "crc-16/kermit": (16, 0x1021, 0, True, 0),
    "crc-16/ibm-sdlc": (16, 0x1021, 0xFFFF, True, 0xFFFF),
}


def _mirrored(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


def checksum_by_hand(kind: str, bits: int, order: Order, data: bytes) -> int:
    if kind == "sum":
        return sum(data) % (1 << bits)
    if kind == "internet":
        even = filled(data, 2)
        total = sum(int.from_bytes(even[at : at + 2], order) for at in range(0, len(even), 2))  # type: ignore[arg-type]
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return ~total & 0xFFFF
    width, polynomial, value, mirrored, inverted = CRCS[kind]
    for byte in data:
        value ^= (_mirrored(byte, 8) if mirrored else byte) << width - 8
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> width - 1 else 0)
            value &= (1 << width) - 1
    return (_mirrored(value, width) if mirrored else value) ^ inverted
