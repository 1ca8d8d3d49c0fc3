"""A wire profile as a layout ("layout-1"), and by name what of it such a layout cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import msgspec

from loadgen.infer.layout_document import (
    Count,
    ElementKind,
    ElementLength,
    ElementType,
    FrameSize,
    LayoutDocument,
    LayoutElements,
    LayoutField,
    LayoutHeader,
    LayoutMessage,
    LayoutNode,
    LayoutRepeat,
    LayoutSum,
    LayoutTrailer,
    Type,
)
from loadgen.infer.layout_document import Role as FieldRole
from loadgen.infer.naming import role_of
from loadgen.nmsp.catalogue import CATALOGUE, class_of
from loadgen.nmsp.dialogue_document import USUAL_OPENING, Side
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile_document import (
    TYPES,
    ElementDocument,
    ElementsDocument,
    FieldDocument,
    MessageDocument,
    OpaqueDocument,
    ProfileDocument,
    RecordDocument,
    width_of,
    wire_type,
)

__all__ = ["layout_of"]

_KINDS = {kind.label: kind for kind in CATALOGUE}
_ECHO = {"echo_request": ("mse", "wlc"), "echo_response": ("wlc", "mse")}


def layout_of(document: ProfileDocument) -> tuple[LayoutDocument, list[str]]:
    """Returns: the layout, and what it does not say: places of the profile, in its words."""
    made = _FromProfile(document)
    return made.layout(), made.unsaid


class _FromProfile:
    def __init__(self, document: ProfileDocument) -> None:
        self._document = document
        self._frame_align = max(document.header.align, document.header.length_unit)
        self.unsaid: list[str] = []

    def layout(self) -> LayoutDocument:
        document = self._document
        header, trailer = document.header, document.trailer
        foot = 0 if trailer is None else trailer.size
        length = next(field for field in header.fields if field.name == "length")
        rest = length.offset + width_of(length)
        add = {"frame": 0, "body": header.size + foot, "rest": rest}[header.length_counts] - header.length_adds
        if document.max_frame_bytes != 65536:
            self.unsaid.append("max_frame_bytes")
        if header.align > header.length_unit:
            self.unsaid.append("header.align")
        if document.dialogue is not None:
            self.unsaid.append("dialogue")
        messages = [self._message(name, each) for name, each in document.messages.items()]
        messages += [self._opaque(name, each) for name, each in document.opaque.items()]
        fields = self._framing_fields(header.fields, header.size)
        # A message's number has the type in its upper bits, wherever it lies.
        fields = tuple(sorted(fields, key=lambda field: field.name == "msg_subtype"))
        return LayoutDocument(
            name=document.name,
            byte_order=document.byte_order,
            header=LayoutHeader(header.size, FrameSize("length", add, header.length_unit), fields),
            trailer=LayoutTrailer(foot, self._framing_fields(trailer.fields, foot)) if trailer else LayoutTrailer(),
            messages=tuple(messages),
        )

    # -- header and trailer ----------------------------------------------------------------------------------------

    def _framing_fields(self, fields: tuple[FieldDocument, ...], size: int) -> tuple[LayoutField, ...]:
        varied = {name for each in self._document.messages.values() for name in each.header}
        varied |= {name for each in self._document.opaque.values() for name in each.header}
        made = []
        for field in fields:
            found = self._field(field)
            if field.values or field.name in varied:
                found = msgspec.structs.replace(found, role="enum")
            elif field.name == "checksum" and (sum_ := self._document.checksum) is not None:
                found = msgspec.structs.replace(found, role="checksum", sum=LayoutSum(sum_.kind, sum_.over))
            if field.first:
                self.unsaid.append(f"header.{field.name}.first")
            made.append(found)
        return _with_gaps(made, size)

    def _header_of(self, side: str, what: str, own: Mapping[str, int]) -> dict[str, int]:
        made = {}
        for field in self._document.header.fields:
            if field.values:
                made[field.name] = field.values.get(what, field.values.get(side, 0))
        return made | dict(own)

    # -- bodies ----------------------------------------------------------------------------------------------------

    def _field(self, field: FieldDocument, counting: Mapping[str, FieldRole] | None = None) -> LayoutField:
        kind: Type = "bytes"
        if field.type == "time":
            kind = wire_type(field)  # type: ignore[assignment]
            row = LayoutField(field.name, field.offset, width_of(field), "timestamp", kind, field.order)
            return msgspec.structs.replace(row, unit=field.unit, epoch=field.epoch)
        kind = field.type
        role = "constant" if field.value is not None else (counting or {}).get(field.name) or role_of(field.name)
        unit: Literal["s"] | None = "s" if role in ("age", "timestamp") and field.name.endswith("_s") else None
        return LayoutField(field.name, field.offset, width_of(field), role, kind, field.order, field.value, unit)

    def _message(self, name: str, message: MessageDocument) -> LayoutMessage:
        kind = _KINDS[name]
        sender = self._sender(name, kind)
        side = CATALOGUE[kind].sender.name.lower()
        body = self._node(f"messages.{name}", message, self._frame_align)
        return LayoutMessage(message.id, name, sender, body, self._header_of(side, class_of(kind), message.header))

    def _sender(self, name: str, kind: Kind) -> Side | None:
        dialogue = self._document.dialogue
        opening = USUAL_OPENING if dialogue is None else dialogue.opening
        for turn in opening:
            if turn.message == name:
                return turn.sender
        if name in _ECHO and dialogue is not None and dialogue.echo in ("wlc", "both"):
            return None if dialogue.echo == "both" else _ECHO[name][1]  # type: ignore[return-value]
        return "mse" if CATALOGUE[kind].sender is Role.MSE else "wlc"

    def _opaque(self, name: str, opaque: OpaqueDocument) -> LayoutMessage:
        size = len(opaque.hex or "") // 2
        fields = [self._field(field) for field in opaque.fields]
        whole = _with_gaps(fields, size, "unknown")
        node = LayoutNode(0 if opaque.varies else size, whole, rest="unknown" if opaque.varies else None)
        if opaque.varies:
            node = LayoutNode(0, _with_gaps(fields, max((_end(each) for each in fields), default=0)), rest="unknown")
        for key in ("every", "answers"):
            if getattr(opaque, key):
                self.unsaid.append(f"opaque.{name}.{key}")
        side = "mse" if opaque.sender == "mse" else "wlc"
        what = "response" if opaque.answers else "request" if side == "mse" else "notification"
        header = self._header_of(side, what, opaque.header)
        sender = None if opaque.sender == "either" else opaque.sender
        return LayoutMessage(opaque.id, name, sender, node, header, opaque.hex or "")

    def _node(self, where: str, part: MessageDocument | RecordDocument, align: int) -> LayoutNode:
        """A body or a record. What cannot be said of it is its rest, of which nothing is known."""
        fields = _with_gaps([self._field(field, _counting(part)) for field in part.fields], part.size)
        size, elements = part.size, None
        repeats: tuple[LayoutRepeat, ...] = ()
        rest: FieldRole | None = "padding" if align > 1 and isinstance(part, MessageDocument) else None
        sayable = True
        if part.repeat is not None and part.repeat.id is None:
            repeat = self._repeat(where, part, align)
            sayable = repeat is not None
            repeats = (repeat,) if repeat else ()
        if part.tail is not None:
            if part.repeat is None and part.elements is None:
                behind = [self._field(each) for each in part.tail.fields]
                moved = [_moved(each, part.size) for each in behind]
                fields = _with_gaps([*(f for f in fields if f.type != "pad"), *moved], part.size + part.tail.size)
                size += part.tail.size
            else:
                self.unsaid.append(f"{where}.tail")
                return LayoutNode(size, fields, repeats, rest="unknown")
        if part.elements is not None and sayable:
            elements = self._elements(where, part, part.elements, align)
            sayable = elements is not None
            rest = None
        return LayoutNode(size, fields, repeats, elements, rest if sayable else "unknown")

    def _repeat(self, where: str, part: MessageDocument | RecordDocument, align: int) -> LayoutRepeat | None:
        repeat = part.repeat
        assert repeat is not None
        count: Count | Literal["rest"] = "rest" if repeat.count is None else Count(repeat.count)
        self.unsaid.append(f"{where}.repeat.max")
        if count == "rest" and align > 1:
            self.unsaid.append(f"{where}.repeat.to_end")
            return None
        record = self._document.records[repeat.record]
        plain = record.repeat is None and record.elements is None
        stride = None
        if plain:
            size = record.size + (0 if record.tail is None else record.tail.size)
            stride = -(-size // record.align) * record.align
        if isinstance(count, Count) and repeat.count_unit != "record":
            if stride is None or stride % repeat.count_unit:
                self.unsaid.append(f"{where}.repeat.count_unit")
                return None
            count = Count(count.field, stride // repeat.count_unit)
        if plain:
            pass
        elif record.length is not None or record.elements is not None or record.align > 1 or record.tail is not None:
            self.unsaid.append(f"records.{repeat.record}")
            return None
        node = self._node(f"records.{repeat.record}", record, 1)
        return LayoutRepeat(repeat.record, count, node, stride=stride)

    def _elements(
        self, where: str, part: MessageDocument | RecordDocument, elements: ElementsDocument, align: int
    ) -> LayoutElements | None:
        if elements.length_unit > 1 or elements.align > 1 or align > 1:
            self.unsaid.append(f"{where}.elements")
            return None
        if elements.order != "given":
            self.unsaid.append(f"{where}.elements.order")
        known = [ElementKind(each.id, each.name, self._value(where, each)) for each in elements.fields]
        if part.repeat is not None and part.repeat.id is not None:
            self.unsaid.append(f"{where}.repeat.max")
            name = part.repeat.record
            record = self._document.records[name]
            known.append(ElementKind(part.repeat.id, name, self._node(f"records.{name}", record, 1)))
        sizes = {code: TYPES[code][2] for code in ("u8", "u16", "u32")}
        return LayoutElements(
            ElementType(sizes[elements.type]),  # type: ignore[arg-type]
            ElementLength(sizes[elements.length], elements.length_counts),  # type: ignore[arg-type]
            tuple(known),
        )

    def _value(self, where: str, element: ElementDocument) -> LayoutNode:
        width = width_of(element)
        field = self._field(
            FieldDocument(
                *(element.name, element.type, 0),
                size=element.size,
                unit=element.unit,
                epoch=element.epoch,
                order=element.order,
            )
        )
        if element.type in ("text", "bytes"):
            self.unsaid.append(f"{where}.elements.{element.name}.size")
            return LayoutNode(fields=(LayoutField(element.name, 0, "rest", field.role, field.type),))
        return LayoutNode(width, (field,))


def _counting(part: MessageDocument | RecordDocument) -> dict[str, FieldRole]:
    """What fields of it say of the part itself."""
    made: dict[str, FieldRole] = {}
    if part.repeat is not None and part.repeat.count is not None:
        made[part.repeat.count] = "count"
    if isinstance(part, RecordDocument) and part.length is not None:
        made[part.length] = "length"
    return made


def _end(field: LayoutField) -> int:
    assert isinstance(field.at, int)
    assert isinstance(field.size, int)
    return field.at + field.size


def _moved(field: LayoutField, by: int) -> LayoutField:
    assert isinstance(field.at, int)
    return LayoutField(
        field.name, field.at + by, field.size, field.role, field.type, field.order, field.value, field.unit, field.epoch
    )


def _with_gaps(fields: list[LayoutField], size: int, role: FieldRole = "padding") -> tuple[LayoutField, ...]:
    """Fields in the order of their places, with what is between them."""
    made = sorted(fields, key=_end)
    edges = [(0, 0), *((int(each.at), _end(each)) for each in made), (size, size)]
    gaps = [(end, start) for (_, end), (start, _) in pairwise(edges) if start > end]
    kind: Type = "pad" if role == "padding" else "bytes"
    for start, end in gaps:
        made.append(LayoutField(f"reserved_{start}", start, end - start, role, kind))
    return tuple(sorted(made, key=_end))
