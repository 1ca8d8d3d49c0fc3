"""Frames from a layout and the values of their fields: what `layout_reading` reads.

Values of a node are a dict: of a field its number, text (a MAC and an IPv4 address too) or bytes; of records under the
name of their repeat a list of dicts; under "elements" pairs of an element's number and its values or bytes; under
"rest" the bytes behind all that. What counts or sizes something in the same node is made, padding is zeros, a
constant without a value has the layout's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadgen.infer.layout_document import INTEGERS, LayoutDocument, LayoutElements, LayoutField, LayoutNode, SizedBy

__all__ = ["body_bytes", "frame_bytes"]

Values = Mapping[str, Any]


def field_bytes(field: LayoutField, value: Any, order: str) -> bytes:
    """ValueError, OverflowError: the field does not hold the value."""
    if isinstance(value, bytes):
        return value
    if field.type == "mac":
        return bytes.fromhex(str(value).replace(":", ""))
    if field.type == "ipv4":
        return bytes(int(part) for part in str(value).split("."))
    if isinstance(value, str):
        return value.encode()
    if not isinstance(field.size, int):
        raise ValueError(f"{field.name}: expected bytes or text, got {value!r}")
    signed = bool(field.type) and str(field.type)[0] == "i"
    return int(value).to_bytes(field.size, _order(field.order, order), signed=signed)


def _order(own: str | None, order: str) -> Any:
    return own or order


def _made(node: LayoutNode, values: Values) -> dict[str, int]:
    """What fields of the node say of its own records and texts."""
    made: dict[str, int] = {}
    for repeat in node.repeats:
        if not isinstance(repeat.count, int | str):
            made[repeat.count.field] = len(values.get(repeat.name, ())) * repeat.count.of
    for field in node.fields:
        if isinstance(field.size, SizedBy):
            made[field.size.field] = len(field_bytes(field, values.get(field.name, b""), "big"))
    return made


def body_bytes(node: LayoutNode, values: Values, order: str) -> bytes:
    """A node's bytes. KeyError: a field without a value."""
    out = bytearray(node.size)
    made = _made(node, values)
    for field in node.fields:
        at = len(out) if field.at == "next" else field.at
        if field.type == "pad" and field.name not in values:
            data = bytes(field.size if isinstance(field.size, int) else 0)
        else:
            value = values.get(field.name, made.get(field.name, field.value))
            if value is None:
                raise KeyError(field.name)
            data = field_bytes(field, value, order)
        if isinstance(field.size, int):
            data = data[: field.size].ljust(field.size, b"\0")
        if len(out) < at + len(data):
            out.extend(bytes(at + len(data) - len(out)))
        out[at : at + len(data)] = data
    for repeat in node.repeats:
        if repeat.at != "next" and len(out) < repeat.at:
            out.extend(bytes(repeat.at - len(out)))
        for row in values.get(repeat.name, ()):
            record = body_bytes(repeat.record, row, order)
            if repeat.stride is not None and len(record) > repeat.stride:
                raise ValueError(f"{repeat.name}: a record of {len(record)} bytes in {repeat.stride}")
            out += record.ljust(repeat.stride or 0, b"\0")
    if node.elements is not None:
        out += _element_bytes(node.elements, values.get("elements", ()), order)
    out += values.get("rest", b"")
    return bytes(out)


def _element_bytes(elements: LayoutElements, rows: Any, order: str) -> bytes:
    known = {kind.id: kind.value for kind in elements.known}
    out = bytearray()
    for number, value in rows:
        data = value if isinstance(value, bytes) else body_bytes(known[number], value, order)
        head = elements.type.size + elements.length.size
        length = len(data) + (head if elements.length.counts == "element" else 0)
        out += number.to_bytes(elements.type.size, _order(elements.type.order, order))
        out += length.to_bytes(elements.length.size, _order(elements.length.order, order)) + data
    return bytes(out)


def id_values(layout: LayoutDocument, number: int) -> dict[str, int]:
    """What the header's fields of a message id hold."""
    values: dict[str, int] = {}
    for field in reversed([field for field in layout.header.fields if field.role == "msg_id"]):
        bits = 8 * (field.size if isinstance(field.size, int) else INTEGERS[field.type or "u8"])
        values[field.name] = number & (1 << bits) - 1
        number >>= bits
    return values


def frame_bytes(layout: LayoutDocument, number: int, body: bytes, values: Values) -> bytearray:
    """A whole frame: length and message id are made, everything else of header and trailer is in `values`.

    A body that the length's unit does not count is filled with zeros. Checksums are the caller's.
    """
    header, rule = layout.header, layout.header.frame_size
    total = header.size + len(body) + layout.trailer.size
    fill = -(total - rule.add) % rule.unit
    made = {**id_values(layout, number), rule.field: (total + fill - rule.add) // rule.unit}
    front = body_bytes(LayoutNode(size=header.size, fields=header.fields), {**values, **made}, layout.byte_order)
    back = body_bytes(LayoutNode(size=layout.trailer.size, fields=layout.trailer.fields), values, layout.byte_order)
    return bytearray(front + body + bytes(fill) + back)
