"""One message <-> bytes, for every kind. The path of many measurement notifications is `nmsp.bulk`."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from loadgen.errors import LocalProtocolError, RemoteProtocolError
from loadgen.nmsp.carried import mask_of_type
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.messages import STAMPS, Kind, Message, Unsupported
from loadgen.nmsp.profile import Elements, Layout, Record, WireProfile
from loadgen.nmsp.profile_document import ElementDocument, nearest


class Codec:
    """Encodes and decodes single messages by a wire profile."""

    def __init__(self, profile: WireProfile) -> None:
        self.profile = profile

    def encode(self, message: Message, transaction: int = 0) -> bytes:
        """The frame of a message. Text and bytes that are longer than their field are cut off; a number that does not
        fit its field becomes the nearest that does.

        Args:
            transaction: correlates a response with its request; 0 for what is neither.

        Raises:
            LocalProtocolError: kind `no_layout`, the profile has no such message; `too_many_records`.
        """
        kind = KIND_OF[type(message)]
        layout = self.profile.layouts.get(kind)
        if layout is None:
            raise LocalProtocolError("no_layout", f"profile {self.profile.name} has no {kind.label}")
        records: tuple[msgspec.Struct, ...] = ()
        repeat, counted = layout.repeat, {}
        if repeat is not None:
            records = getattr(message, repeat.name)
            if len(records) > repeat.max:
                raise LocalProtocolError("too_many_records", f"{len(records)} in a {kind.label} of {repeat.max}")
            if repeat.counter is not None:
                counted = {repeat.counter: len(records)}
        body = _pack(layout.body, message, counted)
        packed = [] if repeat is None else [_pack(repeat.record, record, {}) for record in records]
        if layout.elements is not None:
            body += _pack_elements(layout, layout.elements, message, packed)
        else:
            body += b"".join(packed)
        return self.header(kind, len(body), transaction) + body

    def header(self, kind: Kind, body_bytes: int, transaction: int = 0) -> bytes:
        """The header of a frame whose body has `body_bytes` bytes."""
        header = self.profile.header
        values = {
            **header.constants,
            "msg_id": self.profile.ids[kind],
            "length": header.size + body_bytes - self.profile.length_of_header,
            "transaction": transaction,
        }
        return header.struct.pack(*(values[name] for name in header.names))

    def decode_untrusted(self, msg_id: int, body: memoryview) -> Message:
        """The message in a frame's body.

        Raises:
            RemoteProtocolError: kind `malformed`, a body of the wrong size or a count that does not match it.
        """
        kind = self.profile.kinds.get(msg_id)
        if kind is None:
            return Unsupported(msg_id)
        layout = self.profile.layouts[kind]
        fixed = layout.body.size
        if len(body) < fixed or (len(body) > fixed and layout.repeat is None and layout.elements is None):
            least = "" if layout.repeat is None and layout.elements is None else "at least "
            raise _malformed(layout, f"{least}{fixed} bytes", f"{len(body)}")
        values = _unpack(layout.body, body, 0)
        position = fixed
        if (repeat := layout.repeat) is not None:
            records: list[msgspec.Struct] = []
            if repeat.counter is not None:
                count = values.pop(repeat.counter)
                position += count * repeat.record.size
                if (
                    not 0 <= count <= repeat.max
                    or position > len(body)
                    or (layout.elements is None and position != len(body))
                ):
                    raise _malformed(
                        layout,
                        f"at most {repeat.max} {repeat.name} that fill the body",
                        f"{count} {repeat.name} in {len(body)} bytes",
                    )
                records = [
                    repeat.struct(**_unpack(repeat.record, body, fixed + index * repeat.record.size))
                    for index in range(count)
                ]
            values[repeat.name] = records
        if layout.elements is not None:
            _unpack_elements(layout, layout.elements, body[position:], values)
        if repeat is not None:
            values[repeat.name] = tuple(values[repeat.name])
        return layout.struct(**values)


def _malformed(layout: Layout, expected: str, found: str) -> RemoteProtocolError:
    return RemoteProtocolError("malformed", f"expected {layout.kind.label} of {expected}, found {found}")


# -- fixed places ------------------------------------------------------------------------------------------------------


def _pack(record: Record, value: msgspec.Struct, known: dict[str, Any]) -> bytes:
    values: list[Any] = []
    for name in record.names:
        if name in record.constants:
            values.append(record.constants[name])
        elif name in known:
            values.append(known[name])
        elif name in record.texts:
            values.append(_text(getattr(value, name), record.widths[name]))
        else:
            values.append(getattr(value, name))
    try:
        return record.struct.pack(*values)
    except struct.error:  # seldom, so numbers are not looked at beforehand
        return record.struct.pack(
            *(
                _fitting(name, each, record.types[name]) if isinstance(each, int) else each
                for name, each in zip(record.names, values, strict=True)
            )
        )


def _fitting(name: str, value: int, kind: str) -> int:
    """The nearest that fits. Our own numbers and times go round instead: who reads them knows that they do."""
    return value & mask_of_type(kind) if name in STAMPS else nearest(value, kind)


def _unpack(record: Record, body: memoryview, offset: int) -> dict[str, Any]:
    try:
        values = dict(zip(record.names, record.struct.unpack_from(body, offset), strict=True))
    except struct.error as error:  # pragma: no cover - sizes were checked by the caller
        raise RemoteProtocolError("malformed", str(error)) from error
    for name in record.constants:
        del values[name]
    for name in record.texts:
        values[name] = values[name].rstrip(b"\0").decode("utf-8", "replace")
    return values


def _text(text: str, most_bytes: int) -> bytes:
    """A text's bytes; what does not fit is cut off behind a whole character."""
    encoded = text.encode()
    return encoded if len(encoded) <= most_bytes else encoded[:most_bytes].decode("utf-8", "ignore").encode()


# -- elements ----------------------------------------------------------------------------------------------------------


def _pack_elements(layout: Layout, elements: Elements, message: Message, records: list[bytes]) -> bytes:
    """Records, and then elements; one without anything in it is left out if it may be."""
    repeat, found = layout.repeat, list[tuple[int, bytes]]()
    if repeat is not None and repeat.id is not None:
        found = [(repeat.id, record) for record in records]
        records = []
    for number, field in elements.fields.items():
        value = getattr(message, field.name)
        if field.name in elements.values:
            found.append((number, elements.values[field.name].pack(_element_value(field, value))))
        elif value or field.name in layout.needed:
            most = field.size or 0
            found.append((number, _text(value, most) if field.type == "text" else value[:most]))
    body = b"".join(records)
    for number, value in found:
        body += elements.type.pack(number) + elements.length.pack(len(value) + elements.head_bytes) + value
    return body


def _element_value(field: ElementDocument, value: Any) -> Any:
    return _fitting(field.name, value, field.type) if isinstance(value, int) else value


def _unpack_elements(layout: Layout, elements: Elements, rest: memoryview, values: dict[str, Any]) -> None:
    """Read a body's elements to its end. Unknown ones are skipped; a field must be there if it has no default."""
    repeat, position = layout.repeat, 0
    head = elements.type.size + elements.length.size
    while position < len(rest):
        if len(rest) - position < head:
            raise _malformed(layout, "whole elements", f"{len(rest) - position} bytes at the end")
        number: int = elements.type.unpack_from(rest, position)[0]
        size = elements.length.unpack_from(rest, position + elements.type.size)[0] - elements.head_bytes
        position += head
        if not 0 <= size <= len(rest) - position:
            raise _malformed(layout, f"an element of at most {len(rest) - position} bytes", f"{size}")
        value = rest[position : position + size]
        position += size
        if repeat is not None and number == repeat.id:
            records = values[repeat.name]
            if size != repeat.record.size or len(records) == repeat.max:
                expected = f"at most {repeat.max} {repeat.name} of {repeat.record.size} bytes"
                raise _malformed(layout, expected, f"one more, of {size} bytes")
            records.append(repeat.struct(**_unpack(repeat.record, value, 0)))
        elif (field := elements.fields.get(number)) is not None:
            if field.name in values:
                raise _malformed(layout, f"one element {field.name}", "a second one")
            fixed = elements.values.get(field.name)
            if (fixed is not None and size != fixed.size) or (fixed is None and size > (field.size or 0)):
                raise _malformed(layout, f"{fixed.size if fixed else field.size} bytes of {field.name}", f"{size}")
            if fixed is not None:
                values[field.name] = fixed.unpack(value)[0]
            else:
                values[field.name] = bytes(value).decode("utf-8", "replace") if field.type == "text" else bytes(value)
    for field in elements.fields.values():
        if field.name not in values and field.name in layout.needed:
            raise _malformed(layout, f"an element {field.name}", "none")
