"""The page of an inferred layout: frames below one another, coloured by what their bytes are, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from loadgen.infer.completing import messages_of
from loadgen.infer.frames import Frame
from loadgen.infer.layout_document import LayoutDocument, LayoutField, LayoutMessage
from loadgen.infer.layout_reading import FieldSpan, LayoutReader
from loadgen.report.html import page_of
from loadgen.report.inference_tables import rows_of

# Of each message, and of each frame.
_MOST_FRAMES, _MOST_BYTES = 12, 192
# Roles of one colour, and what that is called.
GROUPS = {
    "framing": ("length", "count", "msg_id", "transaction", "sequence", "checksum", "tlv_type"),
    "address": ("mac", "ipv4"),
    "radio": ("rssi", "snr", "noise"),
    "time": ("timestamp", "age"),
    "code": ("enum", "mask"),
    "quantity": ("number", "counter"),
    "text": ("text",),
    "constant": ("constant", "padding"),
    "unknown": ("unknown",),
}
_GROUP_OF = {role: group for group, roles in GROUPS.items() for role in roles}


class ShownPiece(NamedTuple):
    """Bytes of a frame that are one field."""

    text: str
    group: str
    title: str


class ShownFrame(NamedTuple):
    pieces: tuple[ShownPiece, ...]
    more: int  # bytes that are not shown


class ShownMessage(NamedTuple):
    """A message with its fields, and some of its frames."""

    message: LayoutMessage
    fields: tuple[tuple[str, LayoutField], ...]
    frames: tuple[ShownFrame, ...]
    total: int


def inference_page(layout: LayoutDocument, frames: Sequence[Frame]) -> str:
    """HTML that needs nothing but itself. `layout` has its findings."""
    reader = LayoutReader(layout)
    shown = [
        ShownMessage(
            message, tuple(rows_of(message.body)), tuple(_shown(reader, each) for each in _some(found)), len(found)
        )
        for message, found in messages_of(layout, frames)
    ]
    shown.sort(key=lambda each: -each.total)
    return page_of(
        "inference.html.j2",
        layout=layout,
        findings=layout.findings,
        messages=shown,
        groups=GROUPS,
        group_of=_GROUP_OF,
    )


def _some(frames: Sequence[Frame]) -> list[Frame]:
    """Frames from all over, so that what varies does."""
    if len(frames) <= _MOST_FRAMES:
        return [*frames]
    return [frames[index * (len(frames) - 1) // (_MOST_FRAMES - 1)] for index in range(_MOST_FRAMES)]


def _shown(reader: LayoutReader, frame: Frame) -> ShownFrame:
    spans = sorted(reader.read(frame.data, of_client=frame.of_client).spans)
    return ShownFrame(tuple(_pieces(frame.data, spans)), max(0, len(frame.data) - _MOST_BYTES))


def _pieces(data: bytes, spans: Sequence[FieldSpan]) -> Iterator[ShownPiece]:
    at, end = 0, min(len(data), _MOST_BYTES)
    for span in spans:
        if span.start < at or span.start >= end:
            continue
        if span.start > at:
            yield _gap(data, at, span.start)
        stop = min(span.end, end)
        yield ShownPiece(data[span.start : stop].hex(" "), _GROUP_OF.get(span.role, "unknown"), _title(span))
        at = stop
    if at < end:
        yield _gap(data, at, end)


def _gap(data: bytes, start: int, end: int) -> ShownPiece:
    return ShownPiece(data[start:end].hex(" "), "unknown", "not explained")


def _title(span: FieldSpan) -> str:
    """What is said when a mouse is over it."""
    field = span.field
    told = f"{span.name}: {span.role}, bytes {span.start} to {span.end - 1}"
    if field is None:
        return told
    sure = "" if field.confidence is None else f", {field.confidence:.0%} sure"
    also = f"\nor: {'; '.join(field.alternatives)}" if field.alternatives else ""
    decides = f"\nwould decide it: {field.decides}" if field.decides else ""
    return f"{told}{sure}\n{field.evidence}{also}{decides}"
