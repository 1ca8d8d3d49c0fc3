"""Frames read by a layout: each field's place and value, and whether the layout fits at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from loadgen.infer.layout_document import (
    LayoutDocument,
    LayoutElements,
    LayoutField,
    LayoutMessage,
    LayoutNode,
    SizedBy,
)

__all__ = ["MAX_FRAME", "FieldSpan", "LayoutReader", "ReadFrame"]

# A length beyond it is none.
MAX_FRAME = 1 << 20


class FieldSpan(NamedTuple):
    """Where something lies in a frame.

    `path` tells fields apart: "header", "trailer" or that of records and elements ("/readings[]", "/<0x12>"), then
    name and place.
    """

    start: int
    end: int
    role: str
    path: str
    name: str
    order: str
    type: str | None
    field: LayoutField | None


@dataclass(slots=True)
class ReadFrame:
    """A frame, read. `fits`: the message is known, and its body ends where its parts do."""

    message: LayoutMessage | None
    spans: list[FieldSpan]
    header: dict[str, Any]
    body: dict[str, Any]
    fits: bool


class _MisfitError(Exception):
    """The layout's parts do not fit into the frame."""


@dataclass(slots=True)
class _Frame:
    data: bytes
    spans: list[FieldSpan] = field(default_factory=list)


def value_of(data: bytes, field: LayoutField, order: str) -> Any:
    """A field's value: an integer, text (a MAC and an IPv4 address too), or hex."""
    kind = field.type or ("u" if len(data) in (1, 2, 4, 8) else "bytes")
    if kind == "mac" and len(data) == 6:
        return data.hex(":")
    if kind == "ipv4" and len(data) == 4:
        return ".".join(map(str, data))
    if kind == "text":
        return data.rstrip(b"\0").decode("utf-8", "replace")
    if kind[0] in "ui":
        return _integer(data, field.order or order, signed=kind[0] == "i")
    return data.hex()


def _integer(data: bytes, order: str, *, signed: bool = False) -> int:
    return int.from_bytes(data, "little" if order == "little" else "big", signed=signed)


def _number(name: str, scopes: list[dict[str, Any]]) -> int:
    for values in scopes:
        if isinstance(value := values.get(name), int):
            return value
    raise _MisfitError


class LayoutReader:
    """Reads frames of one layout."""

    def __init__(self, layout: LayoutDocument) -> None:
        """ValueError: the header has no such field as its size refers to, or no fixed place for it."""
        self.layout = layout
        header = layout.header
        lengths = [field for field in header.fields if field.name == header.frame_size.field]
        if not lengths or not isinstance(lengths[0].at, int) or not isinstance(lengths[0].size, int):
            raise ValueError(f"header.frame_size: no field {header.frame_size.field!r} at a fixed place")
        self._length_at, self._length_end = lengths[0].at, lengths[0].at + lengths[0].size
        self._length_order = lengths[0].order or layout.byte_order
        self._ids = [
            (field.at, field.size, field.order or layout.byte_order)
            for field in header.fields
            if field.role == "msg_id" and isinstance(field.at, int) and isinstance(field.size, int)
        ]
        self._messages: dict[tuple[bool, int], LayoutMessage] = {}
        for message in layout.messages:
            for of_client in (True, False):
                if message.sender in (None, "mse" if of_client else "wlc"):
                    self._messages[of_client, message.id] = message

    def frame_size(self, data: bytes | bytearray, at: int) -> int | None:
        """Of the frame that begins at `at`; None: its length is not there yet."""
        raw = bytes(data[at + self._length_at : at + self._length_end])
        if len(raw) < self._length_end - self._length_at:
            return None
        rule = self.layout.header.frame_size
        return _integer(raw, self._length_order) * rule.unit + rule.add

    def cut(self, stream: bytes | bytearray) -> list[tuple[int, int]]:
        """(start, end) of each whole frame, up to where a size makes no sense."""
        at, found, least = 0, [], max(1, self.layout.header.size + self.layout.trailer.size)
        while at + self.layout.header.size <= len(stream):
            size = self.frame_size(stream, at)
            if size is None or not least <= size <= MAX_FRAME or at + size > len(stream):
                break
            found.append((at, at + size))
            at += size
        return found

    def message_id(self, frame: bytes) -> int:
        number = 0
        for at, size, order in self._ids:
            number = number << 8 * size | _integer(frame[at : at + size], order)
        return number

    def message_of(self, frame: bytes, *, of_client: bool) -> LayoutMessage | None:
        return self._messages.get((of_client, self.message_id(frame)))

    def read(self, frame: bytes, *, of_client: bool) -> ReadFrame:
        """A whole frame's fields. Of a message that is not known only header and trailer are read."""
        taken = _Frame(frame)
        header: dict[str, Any] = {}
        body: dict[str, Any] = {}
        for each in self.layout.header.fields:
            self._take(taken, int(each.at), each, "header", header)
        message = self.message_of(frame, of_client=of_client)
        end = len(frame) - self.layout.trailer.size
        fits = False
        if message is not None:
            try:
                fits = self._node(taken, self.layout.header.size, end, message.body, "", [], body) == end
            except _MisfitError:
                fits = False
        for each in self.layout.trailer.fields:
            self._take(taken, end + int(each.at), each, "trailer", header)
        return ReadFrame(message, taken.spans, header, body, fits)

    def _take(self, frame: _Frame, start: int, field: LayoutField, path: str, values: dict[str, Any]) -> None:
        self._span(frame, start, start + int(str(field.size)), field, path, values)

    def _span(self, frame: _Frame, start: int, end: int, field: LayoutField, path: str, values: dict[str, Any]) -> None:
        order = field.order or self.layout.byte_order
        place = f"{path}/{field.name}@{field.at}"
        frame.spans.append(FieldSpan(start, end, field.role, place, field.name, order, field.type, field))
        values[field.name] = value_of(frame.data[start:end], field, order)

    def _node(
        self,
        frame: _Frame,
        start: int,
        end: int,
        node: LayoutNode,
        path: str,
        around: list[dict[str, Any]],
        values: dict[str, Any],
    ) -> int:
        """Where the node's parts end."""
        scopes = [values, *around]
        pos = start + node.size
        if pos > end:
            raise _MisfitError
        for each in node.fields:
            at = pos if each.at == "next" else start + each.at
            size = each.size
            if isinstance(size, SizedBy):
                size = _number(size.field, scopes)
            elif size == "rest":
                size = end - at
            if size < 0 or at + size > end:
                raise _MisfitError
            if size:
                self._span(frame, at, at + size, each, path, values)
            else:
                values[each.name] = "" if each.type == "text" else None
            pos = max(pos, at + size)
        pos = self._repeats(frame, (start, pos, end), node, path, scopes, values)
        if node.elements is not None:
            at = pos if node.elements.at == "next" else start + node.elements.at
            pos = max(pos, self._elements(frame, at, end, node.elements, path, scopes, values))
        if node.rest is not None and pos < end:
            frame.spans.append(
                FieldSpan(pos, end, node.rest, f"{path}/rest", "rest", self.layout.byte_order, None, None)
            )
            pos = end
        return pos

    def _repeats(
        self,
        frame: _Frame,
        place: tuple[int, int, int],
        node: LayoutNode,
        path: str,
        scopes: list[dict[str, Any]],
        values: dict[str, Any],
    ) -> int:
        start, pos, end = place
        for repeat in node.repeats:
            at = pos if repeat.at == "next" else start + repeat.at
            count = repeat.count
            if not isinstance(count, int | str):
                count, left = divmod(_number(count.field, scopes), count.of)
                if left:
                    raise _MisfitError
            rows: list[dict[str, Any]] = []
            while at < end if isinstance(count, str) else len(rows) < count:
                row: dict[str, Any] = {}
                stop = end if repeat.stride is None else at + repeat.stride
                if stop > end:
                    raise _MisfitError
                done = self._node(frame, at, stop, repeat.record, f"{path}/{repeat.name}[]", scopes, row)
                if repeat.stride is None and done <= at:
                    raise _MisfitError
                at = done if repeat.stride is None else stop
                rows.append(row)
            values[repeat.name] = rows
            pos = max(pos, at)
        return pos

    def _elements(
        self,
        frame: _Frame,
        at: int,
        end: int,
        elements: LayoutElements,
        path: str,
        scopes: list[dict[str, Any]],
        values: dict[str, Any],
    ) -> int:
        type_size, length_size = elements.type.size, elements.length.size
        type_order = elements.type.order or self.layout.byte_order
        length_order = elements.length.order or self.layout.byte_order
        known = {kind.id: kind for kind in elements.known}
        rows: list[dict[str, Any]] = []
        while at < end:
            head = at + type_size + length_size
            if head > end:
                raise _MisfitError
            number = _integer(frame.data[at : at + type_size], type_order)
            length = _integer(frame.data[at + type_size : head], length_order)
            if elements.length.counts == "element":
                length -= type_size + length_size
            if length < 0 or head + length > end:
                raise _MisfitError
            frame.spans += (
                FieldSpan(
                    at, at + type_size, "tlv_type", f"{path}/<>type", "type", type_order, f"u{8 * type_size}", None
                ),
                FieldSpan(at + type_size, head, "length", f"{path}/<>length", "length", length_order, None, None),
            )
            at = head + length
            inside = f"{path}/<{number:#x}>"
            if (kind := known.get(number)) is not None:
                inner: dict[str, Any] = {}
                self._node(frame, head, at, kind.value, inside, scopes, inner)
                rows.append({"id": number, "name": kind.name, "value": inner})
                continue
            if length:
                frame.spans.append(FieldSpan(head, at, "unknown", inside, "?", type_order, None, None))
            rows.append({"id": number, "value": frame.data[head:at].hex()})
        values["elements"] = rows
        return at
