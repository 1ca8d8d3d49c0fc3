"""What a profile needs beside a layout, read from the frames: constants' values, how times count, what is summed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from loadgen.capture.streams import Exchange
from loadgen.infer.checksums import FrameSum
from loadgen.infer.cutting import cut_frames
from loadgen.infer.frames import Frame
from loadgen.infer.framing import FrameCut, runs_of
from loadgen.infer.layout_document import (
    LayoutDocument,
    LayoutField,
    LayoutMessage,
    LayoutNode,
    LayoutSum,
    place_of,
)
from loadgen.infer.layout_reading import LayoutReader

__all__ = ["completed", "frames_by"]

# Of each message, so many frames tell.
_TELLING = 200
_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
# How far a device's clock may be off, to be one that counts since 1970; and one of the session from the capture's.
_WRONG_NS = 400 * 86_400 * 1_000_000_000
_MEASURED = "measurement_notify"
_NEAR_NS = 5_000_000_000
# Of stations, one in so many is heard by several access points, at least.
_SHARED = 8


def frames_by(layout: LayoutDocument, exchanges: Sequence[Exchange]) -> list[Frame]:
    """The frames of all sessions, cut as the layout says, by session."""
    rule = layout.header.frame_size
    length = next(each for each in layout.header.fields if each.name == rule.field)
    at, size = place_of(length)
    framing = FrameCut(at, size, length.order or layout.byte_order, rule.unit, rule.add)
    return cut_frames(exchanges, runs_of(exchanges), framing).frames


class _Seen:
    """What fields held, in the frames that were looked at."""

    def __init__(self, layout: LayoutDocument, frames: Sequence[Frame]) -> None:
        reader = LayoutReader(layout)
        counted: dict[tuple[bool, int], int] = defaultdict(int)
        began: dict[int, int] = {}
        self.values: dict[int, set[Any]] = defaultdict(set)  # by the id() of fields
        self.macs: dict[int, set[int]] = defaultdict(set)
        # Of each field and address in it, the addresses that its messages begin with.
        self.beside: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        self.times: dict[int, list[tuple[int, int, int]]] = defaultdict(list)  # value, captured at, session's beginning
        self.in_header: dict[tuple[bool, int], dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
        self.samples: dict[tuple[bool, int], str] = {}
        for frame in frames:
            began.setdefault(frame.session, frame.ns)
            if len(frame.data) < layout.header.size + layout.trailer.size:
                continue
            key = frame.of_client, reader.message_id(frame.data)
            counted[key] += 1
            if counted[key] > _TELLING:
                continue
            read = reader.read(frame.data, of_client=frame.of_client)
            self.samples.setdefault(key, frame.data[layout.header.size : len(frame.data) - layout.trailer.size].hex())
            first: int | None = None
            for span in read.spans:
                if span.field is None:
                    continue
                raw = int.from_bytes(frame.data[span.start : span.end], _order(span.order))
                if len(self.values[id(span.field)]) < 2:
                    self.values[id(span.field)].add(raw)
                if span.role == "mac":
                    self.macs[id(span.field)].add(raw)
                    first = raw if first is None else first
                    self.beside[id(span.field)][raw].add(first)
                if span.role == "timestamp":
                    self.times[id(span.field)].append((raw, frame.ns, began[frame.session]))
                if span.path.startswith("header"):
                    self.in_header[key][span.name].add(raw)


def _order(order: str) -> Any:
    return "little" if order == "little" else "big"


def completed(layout: LayoutDocument, frames: Sequence[Frame], checksum: FrameSum | None = None) -> LayoutDocument:
    """The layout with values of constants, units of times, what a checksum is over, and headers by message."""
    seen = _Seen(layout, frames)
    called = _called(layout, seen)

    def complete(field: LayoutField) -> LayoutField:
        if id(field) in called:
            return msgspec.structs.replace(field, name=called[id(field)])
        values = seen.values.get(id(field), set())
        size = field.size if isinstance(field.size, int) else 0
        if field.role == "constant" and field.value is None and len(values) == 1 and size:
            (value,) = values
            signed = bool(field.type) and str(field.type)[0] == "i" and value >> 8 * size - 1
            return msgspec.structs.replace(field, value=value - (1 << 8 * size if signed else 0))
        if field.role == "timestamp" and field.unit is None and (found := _counting(seen.times[id(field)], size)):
            return msgspec.structs.replace(field, unit=found[0], epoch=found[1])
        if field.role == "checksum" and field.sum is None and checksum is not None:
            return msgspec.structs.replace(field, sum=_sum_of(checksum, layout))
        return field

    # Those whose value follows from the message: flags and such. What counts on is told by its role.
    following = [
        each.name
        for each in layout.header.fields
        if each.role in ("enum", "mask", "number", "unknown")
        and len(seen.values[id(each)]) > 1
        and all(len(held[each.name]) == 1 for held in seen.in_header.values())
    ]
    messages = []
    for message in layout.messages:
        keys = [(side, message.id) for side in (True, False) if message.sender in (None, "mse" if side else "wlc")]
        told = next((key for key in keys if key in seen.samples), None)
        header = {} if told is None else {name: next(iter(seen.in_header[told][name])) for name in following}
        messages.append(
            msgspec.structs.replace(
                message,
                body=_with_fields(message.body, complete),
                header={**header, **message.header},
                sample=message.sample or ("" if told is None else seen.samples[told]),
            )
        )
    return msgspec.structs.replace(
        layout,
        header=msgspec.structs.replace(layout.header, fields=tuple(map(complete, layout.header.fields))),
        trailer=msgspec.structs.replace(layout.trailer, fields=tuple(map(complete, layout.trailer.fields))),
        messages=tuple(messages),
    )


def _with_fields(node: LayoutNode, change: Callable[[LayoutField], LayoutField]) -> LayoutNode:
    elements = node.elements
    if elements is not None:
        known = [msgspec.structs.replace(each, value=_with_fields(each.value, change)) for each in elements.known]
        elements = msgspec.structs.replace(elements, known=tuple(known))
    repeats = [msgspec.structs.replace(each, record=_with_fields(each.record, change)) for each in node.repeats]
    return msgspec.structs.replace(
        node, fields=tuple(map(change, node.fields)), repeats=tuple(repeats), elements=elements
    )


def _called(layout: LayoutDocument, seen: _Seen) -> dict[int, str]:
    """Which addresses are those of access points, and which of stations: of the two that a measurement has, the access
    points' are fewer; elsewhere by which of them come again. By the id() of fields.

    Where what a message begins with is fewer, stations would be what follows it; but then some would be heard by
    several access points. If next to none are, a message begins with its station, as NMSP's do by their public model.
    """
    macs = seen.macs
    bodies = {message.name: message.body for message in layout.messages}
    measured = [each for each in _all_fields(bodies.get(_MEASURED, LayoutNode())) if len(macs[id(each)]) > 1]
    if len(measured) != 2:
        return {}
    few, many = sorted(measured, key=lambda each: len(macs[id(each)]))
    beside = seen.beside[id(many)].values()
    if few is measured[0] and sum(len(firsts) > 1 for firsts in beside) * _SHARED < len(beside):
        few, many = many, few
    known = {"ap_mac": macs[id(few)], "station_mac": macs[id(many)] - macs[id(few)]}
    called = {}
    for body in bodies.values():
        taken: set[str] = set()
        for each in _all_fields(body):
            held = macs[id(each)]
            for name, addresses in known.items():
                if each.role == "mac" and name not in taken and len(held & addresses) * 2 > len(held) > 0:
                    called[id(each)] = name
                    taken.add(name)
                    break
    return called


def _all_fields(node: LayoutNode) -> Iterator[LayoutField]:
    yield from node.fields
    for repeat in node.repeats:
        yield from _all_fields(repeat.record)
    if node.elements is not None:
        for kind in node.elements.known:
            yield from _all_fields(kind.value)


def _counting(times: Sequence[tuple[int, int, int]], size: int) -> tuple[Any, Any] | None:
    """(unit, since when) of a device's times; None: neither 1970 nor the session's beginning fits."""
    if not times or size not in (4, 8):
        return None
    for unit, ns in _UNITS.items():
        if all(abs(value * ns - captured) < _WRONG_NS for value, captured, _ in times):
            return unit, "unix"
    if size == 8:
        pairs = [(value >> 32, value & 0xFFFFFFFF, captured) for value, captured, _ in times]
        # Seconds stand first: of eight little-endian bytes they are the lower half.
        for halves in (pairs, [(lower, upper, captured) for upper, lower, captured in pairs]):
            if all(abs(seconds * 1_000_000_000 - captured) < _WRONG_NS for seconds, _, captured in halves):
                part = max(each for _, each, _ in halves)
                return ("s+us" if part < 1_000_000 else "s+ns" if part < 1_000_000_000 else "s+frac"), "unix"
    for unit, ns in _UNITS.items():
        if all(abs(value * ns - (captured - began)) < _NEAR_NS for value, captured, began in times):
            return unit, "session"
    return None


def _sum_of(checksum: FrameSum, layout: LayoutDocument) -> LayoutSum | None:
    """In words of a profile; None: what it is over is no whole part of a frame."""
    parts = []
    if checksum.behind < 0:
        alone = checksum.first == 0 and -checksum.behind == layout.header.size
        return LayoutSum(checksum.kind.replace("_", "-"), ("header",)) if alone else None
    if checksum.first == 0:
        parts.append("header")
    elif checksum.first != layout.header.size:
        return None
    if checksum.behind not in (0, layout.trailer.size):
        return None
    parts.append("body")
    if layout.trailer.size and not checksum.behind:
        parts.append("trailer")
    kind = checksum.kind.replace("_", "-")
    if checksum.itself == "left out" and kind not in ("sum", "xor", "internet"):
        return None
    return LayoutSum(kind, tuple(parts))  # type: ignore[arg-type]


def messages_of(layout: LayoutDocument, frames: Sequence[Frame]) -> Iterator[tuple[LayoutMessage, list[Frame]]]:
    """Each message with its frames."""
    reader = LayoutReader(layout)
    found: dict[int, list[Frame]] = defaultdict(list)
    for frame in frames:
        if len(frame.data) >= layout.header.size + layout.trailer.size:
            message = reader.message_of(frame.data, of_client=frame.of_client)
            if message is not None:
                found[id(message)].append(frame)
    for message in layout.messages:
        yield message, found[id(message)]
