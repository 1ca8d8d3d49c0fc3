"""One message <-> bytes, for every kind. The path of many measurement notifications is `nmsp.bulk`."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec

from loadgen.errors import LocalProtocolError, RemoteProtocolError
from loadgen.nmsp.carried import mask_of_type
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.messages import STAMPS, Message, Opaque, Role, Unsupported
from loadgen.nmsp.parts import Elements, Inside, Record, Repeat, Section, up_to
from loadgen.nmsp.profile import Layout, WireProfile
from loadgen.nmsp.profile_document import ElementDocument, nearest


class Codec:
    """Encodes and decodes single messages by a wire profile."""

    def __init__(self, profile: WireProfile) -> None:
        self.profile = profile

    def encode(self, message: Message, transaction: int = 0, turn: int = 0, trace: Trace | None = None) -> bytes:
        """The frame of a message. Text and bytes that are longer than their field are cut off; a number that does not
        fit its field becomes the nearest that does, one that counts up or tells a time goes round.

        Args:
            transaction: correlates a response with its request; 0 for what is neither.
            turn: which one of many it is: elements that may come in any order come in another for each.
            trace: is told where the message's own fields are.

        Raises:
            LocalProtocolError: kind `no_layout`, the profile has no such message; `too_many_records`.
        """
        if isinstance(message, Opaque):
            return self.profile.framing.around(message.name, message.body, transaction)
        kind = KIND_OF[type(message)]
        layout = self.profile.layouts.get(kind)
        if layout is None:
            raise LocalProtocolError("no_layout", f"profile {self.profile.name} has no {kind.label}")
        return self.profile.framing.around(kind, _pack_part(layout, message, kind.label, turn, trace), transaction)

    def decode_untrusted(
        self, msg_id: int, body: memoryview, trace: Trace | None = None, sender: Role = Role.WLC
    ) -> Message:
        """The message in a frame's body.

        Args:
            sender: who says it; it matters where two messages have one id.
            trace: is told what this depends on.

        Raises:
            RemoteProtocolError: kind `malformed`, a body of the wrong size or a count that does not match it.
        """
        kind = self.profile.saying_of(msg_id, sender)
        if kind is None:
            return Unsupported(msg_id)
        if isinstance(kind, str):
            opaque = self.profile.opaque[kind]
            opaque.check_untrusted(len(body), self.profile.framing.align)
            return Opaque(opaque.name, bytes(body))
        layout = self.profile.layouts[kind]
        place = _Place(layout, trace)
        message, end = _unpack_part(place, layout, _Span(body, 0, len(body)))
        if len(body) - end >= self.profile.framing.align:
            raise _malformed(place, f"{end} bytes", f"{len(body)}")
        return message


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
        elif name in record.times:
            values.append(record.times[name].to_wire(getattr(value, name)))
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
    values = dict(zip(record.names, record.struct.unpack_from(body, offset), strict=True))
    for name in record.constants:
        del values[name]
    for name in record.texts:
        values[name] = values[name].rstrip(b"\0").decode("utf-8", "replace")
    for name, time in record.times.items():
        values[name] = time.from_wire(values[name])
    return values


def _text(text: str, most_bytes: int) -> bytes:
    """A text's bytes; what does not fit is cut off behind a whole character."""
    encoded = text.encode()
    return encoded if len(encoded) <= most_bytes else encoded[:most_bytes].decode("utf-8", "ignore").encode()


# -- whole messages and records ----------------------------------------------------------------------------------------


def _pack_part(part: Section, value: msgspec.Struct, label: str, turn: int, trace: Trace | None = None) -> bytes:
    """A message's body, or a record; those in it may be given as what they are packed into."""
    repeat, known, records = part.repeat, dict[str, int](), list[bytes]()
    behind = b""
    if part.inside is not None:
        value = _with_record(part.inside, value, label)
    if repeat is not None:
        repeated = getattr(value, repeat.name)
        if len(repeated) > repeat.max:
            raise LocalProtocolError("too_many_records", f"{len(repeated)} in a {label} of {repeat.max}")
        inner, name = repeat.part, repeat.name
        records = [each if isinstance(each, bytes) else _pack_part(inner, each, name, turn) for each in repeated]
        if repeat.is_beside:
            behind = b"".join(records)
        if repeat.counter is not None:
            known[repeat.counter] = len(behind) // repeat.unit if repeat.unit else len(records)
    if part.elements is not None:
        body, places = _pack_elements(part, part.elements, value, records, turn)
        if trace is not None:
            for name, at in places.items():
                trace.finds_value(name, part.fixed.size + len(behind) + at)
        behind += body
    if part.tail is not None:
        if trace is not None:
            trace.finds(part.tail, part.fixed.size + len(behind))
        behind += _pack(part.tail, value, known)
    behind += bytes(-(part.fixed.size + len(behind)) % part.align)
    if part.length is not None:
        known[part.length] = (part.fixed.size + len(behind)) // part.length_unit
    if trace is not None:
        trace.finds(part.fixed, 0)
    return _pack(part.fixed, value, known) + behind


def _with_record(inside: Inside, value: msgspec.Struct, label: str) -> Any:
    """A message or a record with the fields of its one record among its own; of none, with what is nothing."""
    records = getattr(value, inside.name)
    if len(records) > 1:
        raise LocalProtocolError("too_many_records", f"{len(records)} in a {label} of 1")
    values = {name: getattr(value, name) for name in value.__struct_fields__}
    record = records[0] if records else inside.nothing
    return SimpleNamespace(**values, **{name: getattr(record, name) for name in inside.names})


class Trace:
    """What a reading of one frame has depended on, and where its own fields are; offsets are those of the frame. Of one
    that is written, the latter alone.

    Attributes:
        skeleton: offset and size of each number that says where something else is: another frame with the same ones has
            everything at the same places.
        places: of the message's own fields.
    """

    __slots__ = ("_base", "places", "skeleton")

    def __init__(self, base: int) -> None:
        """Args: base: where the body begins in its frame."""
        self._base = base
        self.skeleton: list[tuple[int, int]] = []
        self.places: dict[str, int] = {}

    def depends_on(self, at: int, size: int) -> None:
        self.skeleton.append((self._base + at, size))

    def finds(self, record: Record, at: int) -> None:
        for name, offset in record.offsets.items():
            self.places[name] = self._base + at + offset

    def finds_value(self, name: str, at: int) -> None:
        self.places[name] = self._base + at


class _Place(NamedTuple):
    """Where a reader is, for what it says of a fault, and what it traces. name: of the record within; "" elsewhere."""

    layout: Layout
    trace: Trace | None = None
    name: str = ""

    def depends_on(self, at: int, size: int) -> None:
        if self.trace is not None:
            self.trace.depends_on(at, size)


class _Span(NamedTuple):
    """A part of a body."""

    body: memoryview
    start: int
    end: int


def _malformed(place: _Place, expected: str, found: str) -> RemoteProtocolError:
    where = f"{place.layout.kind.label}.{place.name}" if place.name else place.layout.kind.label
    return RemoteProtocolError("malformed", f"expected {where} of {expected}, found {found}")


def _wrong_size(place: _Place, part: Section, least: int, found: int) -> RemoteProtocolError:
    at_least = "" if part.repeat is None and part.elements is None else "at least "
    return _malformed(place, f"{at_least}{least} bytes", str(found))


def _unpack_part(place: _Place, part: Section, span: _Span) -> tuple[msgspec.Struct, int]:
    """Read what begins where a span does and ends in it; returns it, and where it ended."""
    body, start, end = span
    fixed, tail_bytes = part.fixed.size, 0 if part.tail is None else part.tail.size
    if end - start < fixed + tail_bytes:
        raise _wrong_size(place, part, fixed + tail_bytes, end - start)
    values = _unpack(part.fixed, body, start)
    if place.trace is not None and not place.name:
        place.trace.finds(part.fixed, start)
    position = start + fixed
    if part.length is not None:
        place.depends_on(start + part.fixed.offsets[part.length], part.fixed.widths[part.length])
        size = values.pop(part.length) * part.length_unit
        if not fixed + tail_bytes <= size <= end - start:
            raise _malformed(place, f"{part.length} of {fixed + tail_bytes} to {end - start} bytes", str(size))
        end = start + size
    if part.repeat is not None:
        records: list[msgspec.Struct] = []
        room = _Span(body, position, end - tail_bytes)
        if (counter := part.repeat.counter) is not None:
            place.depends_on(start + part.fixed.offsets[counter], part.fixed.widths[counter])
            position = _unpack_counted(place, part.repeat, room, values.pop(counter), records)
        elif part.repeat.is_beside:
            position = _unpack_to_end(place, part, part.repeat, room, records)
        values[part.repeat.name] = records
    if part.elements is not None:
        _unpack_elements(place, part, part.elements, _Span(body, position, end - tail_bytes), values)
        position = end - tail_bytes
    if part.repeat is not None:
        values[part.repeat.name] = tuple(values[part.repeat.name])
    if part.tail is not None:
        values |= _unpack(part.tail, body, position)
        if place.trace is not None and not place.name:
            place.trace.finds(part.tail, position)
        position += tail_bytes
    padded = start + up_to(position - start, part.align)
    if padded > end or (part.length is not None and padded != end):
        raise _malformed(place, f"{padded - start} bytes with its padding", str(end - start))
    if part.inside is not None:
        own = {name: values.pop(name) for name in part.inside.names & values.keys()}
        values[part.inside.name] = (part.inside.struct(**own),)
    return part.struct(**values), padded


def _unpack_to_end(place: _Place, part: Section, repeat: Repeat, span: _Span, records: list[msgspec.Struct]) -> int:
    """Read records up to the end of a span, or to what is too little for one and fills it up; returns their end."""
    body, position, limit = span
    inner = place._replace(name=repeat.name)
    while limit - position >= part.slack:
        if len(records) == repeat.max:
            raise _malformed(place, f"at most {repeat.max} {repeat.name}", f"more, in {len(body)} bytes")
        record, position = _unpack_part(inner, repeat.part, _Span(body, position, limit))
        records.append(record)
    return position


def _unpack_counted(place: _Place, repeat: Repeat, span: _Span, number: int, records: list[msgspec.Struct]) -> int:
    """Read records side by side, into `records`; returns their end."""
    body, position, limit = span
    counted = f"{number} {repeat.name}" if not repeat.unit else f"{number} times {repeat.unit} bytes of {repeat.name}"
    wrong = _malformed(
        place, f"at most {repeat.max} {repeat.name} that fill the body", f"{counted} in {len(body)} bytes"
    )
    end = position + number * repeat.unit
    if repeat.unit:
        if not position <= end <= limit:
            raise wrong
    elif not 0 <= number <= repeat.max or (
        repeat.part.size is not None and position + number * repeat.part.size > limit
    ):
        raise wrong
    inner = place._replace(name=repeat.name)
    while position < end if repeat.unit else len(records) < number:
        if len(records) == repeat.max:
            raise wrong
        within = _Span(body, position, end if repeat.unit else limit)
        record, position = _unpack_part(inner, repeat.part, within)
        records.append(record)
    return position


# -- elements ----------------------------------------------------------------------------------------------------------


def _pack_elements(
    part: Section, elements: Elements, value: msgspec.Struct, records: list[bytes], turn: int
) -> tuple[bytes, dict[str, int]]:
    """Elements, and where the values of fields begin; one without anything in it is left out if it may be."""
    repeat, found = part.repeat, list[tuple[int, bytes]]()
    if repeat is not None and repeat.id is not None:
        found = [(repeat.id, record) for record in records]
    for number, field in elements.fields.items():
        inner = getattr(value, field.name)
        if field.name in elements.values:
            found.append((number, _pack_element(elements, field, inner)))
        elif inner or field.name in part.needed:
            most = field.size or 0
            found.append((number, _text(inner, most) if field.type == "text" else inner[:most]))
    if elements.in_any_order and found:
        turns, first = divmod(turn, len(found))
        found = found[first:] + found[:first]
        found = found[::-1] if turns & 1 else found
    body, places, fields = b"", dict[str, int](), elements.fields
    for number, packed in found:
        counted = up_to(len(packed) + elements.head_bytes, elements.unit)
        body += elements.type.pack(number) + elements.length.pack(counted // elements.unit)
        if number in fields:
            places[fields[number].name] = len(body)
        body += packed.ljust(counted - elements.head_bytes, b"\0")
        body += bytes(-len(body) % elements.align)
    return body, places


def _pack_element(elements: Elements, field: ElementDocument, value: Any) -> bytes:
    layout = elements.values[field.name]
    if field.name in elements.times:
        return layout.pack(elements.times[field.name].to_wire(value))
    try:
        return layout.pack(value)
    except struct.error:
        return layout.pack(_fitting(field.name, value, field.type))


def _unpack_elements(place: _Place, part: Section, elements: Elements, span: _Span, values: dict[str, Any]) -> None:
    """Read elements to their end. Unknown ones are skipped; a field must be there if it has no default."""
    repeat, (body, start, end) = part.repeat, span
    position = start
    while position < end:
        left = end - position
        if left < part.slack and not any(body[position:end]):
            place.depends_on(position, left)
            break
        if left < elements.head:
            raise _malformed(place, "whole elements", f"{left} bytes at the end")
        place.depends_on(position, elements.head)
        number: int = elements.type.unpack_from(body, position)[0]
        size = elements.length.unpack_from(body, position + elements.type.size)[0] * elements.unit
        size -= elements.head_bytes
        position += elements.head
        if not 0 <= size <= end - position:
            raise _malformed(place, f"an element of at most {end - position} bytes", f"{size}")
        value = _Span(body, position, position + size)
        position = min(start + up_to(position + size - start, elements.align), end)
        if repeat is not None and number == repeat.id:
            _unpack_record_element(place, repeat, elements, value, values[repeat.name])
        elif (field := elements.fields.get(number)) is not None:
            if field.name in values:
                raise _malformed(place, f"one element {field.name}", "a second one")
            values[field.name] = _unpack_element(place, elements, field, value)
    for field in elements.fields.values():
        if field.name not in values and field.name in part.needed:
            raise _malformed(place, f"an element {field.name}", "none")


def _unpack_record_element(
    place: _Place, repeat: Repeat, elements: Elements, value: _Span, records: list[msgspec.Struct]
) -> None:
    whole, size = repeat.part.size, value.end - value.start
    if len(records) == repeat.max or (whole is not None and elements.filled(whole) != size):
        expected = f"at most {repeat.max} {repeat.name} of {repeat.record.size} bytes"
        raise _malformed(place, expected, f"one more, of {size} bytes")
    inner = place._replace(name=repeat.name)
    record, end = _unpack_part(inner, repeat.part, value)
    if elements.filled(end - value.start) != size:
        raise _malformed(inner, f"{end - value.start} bytes", str(size))
    records.append(record)


def _unpack_element(place: _Place, elements: Elements, field: ElementDocument, value: _Span) -> Any:
    layout, size = elements.values.get(field.name), value.end - value.start
    if place.trace is not None and not place.name:
        place.trace.finds_value(field.name, value.start)
    if layout is None:
        most = field.size or 0
        if size > elements.filled(most):
            raise _malformed(place, f"{most} bytes of {field.name}", str(size))
        found = bytes(value.body[value.start : value.start + min(size, most)])  # behind it: what fills up a unit
        if field.type == "bytes":
            return found
        return (found if elements.unit == 1 else found.rstrip(b"\0")).decode("utf-8", "replace")
    if size != elements.filled(layout.size):
        raise _malformed(place, f"{layout.size} bytes of {field.name}", str(size))
    number = layout.unpack_from(value.body, value.start)[0]
    return elements.times[field.name].from_wire(number) if field.name in elements.times else number
