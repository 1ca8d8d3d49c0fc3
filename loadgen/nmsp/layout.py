"""A profile's layout as rows, for people and programs to look at; and what differs between two profiles, in words."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.dialogue import told
from loadgen.nmsp.fields import Label, label_of, unit_of
from loadgen.nmsp.profile import Layout, WireProfile
from loadgen.nmsp.profile_document import (
    SIZED,
    TYPES,
    ElementDocument,
    ElementsDocument,
    FieldDocument,
    RepeatDocument,
    width_of,
)


class FieldRow(msgspec.Struct, frozen=True):
    """A field. offset: None in an element, whose `id` is then given. size: bytes; of an element's text, at most."""

    offset: int | None
    size: int
    type: str
    name: str
    unit: str
    label: Label
    id: int | None = None
    value: int | None = None


class LayoutPart(msgspec.Struct, frozen=True):
    """The header, a message or a record.

    Attributes:
        id: of a message on the wire. size: bytes of its fixed part. record: what it repeats.
        remarks: sentences about what no row can say: what repeats, how elements look.
        missing: fields that this profile does not carry; they have their defaults.
    """

    name: str
    what: str
    size: int
    rows: tuple[FieldRow, ...]
    id: int | None = None
    remarks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    record: str | None = None


class Description(msgspec.Struct, frozen=True):
    """A whole profile: header first, then messages by id, then records.

    Attributes:
        dialogue: who says what when, a line each.
    """

    profile: str
    digest: str
    byte_order: str
    max_frame_bytes: int
    parts: tuple[LayoutPart, ...]
    missing: tuple[str, ...] = ()
    dialogue: tuple[str, ...] = ()


def describe(profile: WireProfile) -> Description:
    """Every part of a profile as rows in the order of their offsets."""
    document = profile.document
    header = document.header
    counts = "header and body" if header.length_counts == "frame" else "the body alone"
    parts = [
        LayoutPart(
            "header",
            "header",
            header.size,
            tuple(_rows(header.fields, None)),
            remarks=(f"length counts {counts}",),
        )
    ]
    layouts = sorted(profile.layouts.values(), key=lambda layout: profile.ids[layout.kind])
    parts += [_message(profile, layout) for layout in layouts]
    structs: dict[str, type[msgspec.Struct]] = {}
    for layout in layouts:
        repeat = document.messages[layout.kind.label].repeat
        if layout.repeat is not None and repeat is not None:
            structs.setdefault(repeat.record, layout.repeat.struct)
    for name, record in document.records.items():
        struct = structs[name]
        rows = tuple(_rows(record.fields, struct))
        parts.append(LayoutPart(name, "record", record.size, rows, missing=_missing(struct, rows)))
    lacking = tuple(kind.label for kind in CATALOGUE if kind not in profile.layouts)
    return Description(
        profile.name,
        profile.digest,
        document.byte_order,
        profile.max_frame_bytes,
        tuple(parts),
        lacking,
        told(profile.dialogue),
    )


def _message(profile: WireProfile, layout: Layout) -> LayoutPart:
    message = profile.document.messages[layout.kind.label]
    counter = None if message.repeat is None else message.repeat.count
    rows = [*_rows(message.fields, layout.struct, counter)]
    remarks = []
    if message.repeat is not None:
        remarks.append(_repeat(message.repeat))
    if message.elements is not None:
        remarks.append(_elements(message.elements))
        rows += [_element_row(field, layout.struct) for field in message.elements.fields]
    return LayoutPart(
        layout.kind.label,
        "message",
        message.size,
        tuple(rows),
        message.id,
        tuple(remarks),
        _missing(layout.struct, rows, "" if layout.repeat is None else layout.repeat.name),
        None if message.repeat is None else message.repeat.record,
    )


def _repeat(repeat: RepeatDocument) -> str:
    if repeat.count is not None:
        return f"then {repeat.count} records, at most {repeat.max}"
    return f"each record in an element with id {repeat.id}, at most {repeat.max}"


def _elements(elements: ElementsDocument) -> str:
    counts = "the value alone" if elements.length_counts == "value" else "the whole element"
    return f"then elements to the end: type {elements.type}, length {elements.length} ({counts}), value"


def _rows(
    fields: tuple[FieldDocument, ...], struct: type[msgspec.Struct] | None, counter: str | None = None
) -> Iterator[FieldRow]:
    for field in sorted(fields, key=lambda field: field.offset):
        unit = unit_of(field.name) if field.value is None else "constant"
        yield FieldRow(
            field.offset,
            width_of(field),
            field.type,
            field.name,
            "records" if field.name == counter else unit,
            label_of(struct, field.name),
            value=field.value,
        )


def _element_row(field: ElementDocument, struct: type[msgspec.Struct]) -> FieldRow:
    label = label_of(struct, field.name)
    return FieldRow(None, width_of(field), field.type, field.name, unit_of(field.name), label, id=field.id)


def _missing(struct: type[msgspec.Struct], rows: object, repeated: str = "") -> tuple[str, ...]:
    assert isinstance(rows, tuple | list)
    here = {row.name for row in rows} | {repeated}
    return tuple(name for name in struct.__struct_fields__ if name not in here)


# -- two profiles ------------------------------------------------------------------------------------------------------


def differences(a: WireProfile, b: WireProfile) -> list[str]:
    """What is different in `b`, a sentence each; none if both lay everything out alike (their names may differ)."""
    found = []
    for what in ("byte_order", "max_frame_bytes"):
        left, right = getattr(a.document, what), getattr(b.document, what)
        if left != right:
            found.append(f"{what}: {left}, then {right}")
    was_told, now_told = told(a.dialogue), told(b.dialogue)
    found += [f'dialogue: no longer "{line}"' for line in was_told if line not in now_told]
    found += [f'dialogue: now "{line}"' for line in now_told if line not in was_told]
    left_parts, right_parts = ({(part.what, part.name): part for part in describe(each).parts} for each in (a, b))
    compared: set[tuple[str, str]] = set()
    for what, name in dict.fromkeys(key for key in (*left_parts, *right_parts) if key[0] != "record"):
        old, new = left_parts.get((what, name)), right_parts.get((what, name))
        if old is None or new is None:
            found.append(f"{name}: only in {(a if new is None else b).name}")
            continue
        found += [f"{name}: {sentence}" for sentence in _part_differences(old, new)]
        # A record's name is the profile's own business: records are compared where they are used.
        was, now = _record_of(a, name), _record_of(b, name)
        if was is not None and now is not None and (was, now) not in compared:
            compared.add((was, now))
            changes = _part_differences(left_parts["record", was], right_parts["record", now])
            found += [f"record {now}: {sentence}" for sentence in changes]
    return found


def _record_of(profile: WireProfile, message: str) -> str | None:
    document = profile.document.messages.get(message)
    return None if document is None or document.repeat is None else document.repeat.record


def _part_differences(old: LayoutPart, new: LayoutPart) -> Iterator[str]:
    if old.id != new.id:
        yield f"id {old.id}, then {new.id}"
    if old.size != new.size:
        yield f"{old.size} bytes, then {new.size}"
    yield from (f'no longer "{remark}"' for remark in old.remarks if remark not in new.remarks)
    yield from (f'now "{remark}"' for remark in new.remarks if remark not in old.remarks)
    left, right = ({row.name: row for row in part.rows} for part in (old, new))
    yield from (f"without {name}" for name in left if name not in right)
    for name, row in right.items():
        was_row = left.get(name)
        if was_row is None:
            yield f"with {name}, {_place(row)}"
        elif sentence := ", then ".join(_change(was_row, row)):
            yield f"{name}: {sentence}"


def _change(old: FieldRow, new: FieldRow) -> tuple[str, ...]:
    before, after = _place(old), _place(new)
    return () if before == after else (before, after)


def _place(row: FieldRow) -> str:
    where = f"at {row.offset}" if row.id is None else f"in element {row.id}"
    size = f" of {row.size} bytes" if row.type in SIZED else ""
    value = "" if row.value is None else f", always {row.value}"
    assert row.type in SIZED or row.size == TYPES[row.type][2]
    return f"{row.type}{size} {where}{value}"
