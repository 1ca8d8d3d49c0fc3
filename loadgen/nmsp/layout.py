"""A profile's layout as rows, for people and programs to look at; and what differs between two profiles, in words.

What no row can say is a sentence: rows and sentences together are all that a decoder needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.checksum import CHECKSUM_WORDS
from loadgen.nmsp.dialogue import Saying, told
from loadgen.nmsp.fields import Label, label_of, unit_of
from loadgen.nmsp.messages import Role
from loadgen.nmsp.parts import Section
from loadgen.nmsp.profile import Layout, WireProfile
from loadgen.nmsp.profile_document import (
    SIZED,
    ByteOrder,
    ElementDocument,
    ElementsDocument,
    FieldDocument,
    MessageDocument,
    ProfileDocument,
    RecordDocument,
    RepeatDocument,
    TimeUnit,
    width_of,
)

# Of an opaque message; of a longer one, a digest of all is shown, too.
_SHOWN_BYTES = 32
_BY = {"wlc": "the WLC", "mse": "the MSE", "either": "either side"}


class FieldRow(msgspec.Struct, frozen=True):
    """A field. offset: None in an element, whose `id` is then given. size: bytes; of an element's text, at most. order:
    its byte order, where it is not the profile's.
    """

    offset: int | None
    size: int
    type: str
    name: str
    unit: str
    label: Label
    id: int | None = None
    value: int | None = None
    order: ByteOrder | None = None


class LayoutPart(msgspec.Struct, frozen=True):
    """The header, the trailer, a message or a record.

    Attributes:
        id: of a message on the wire. size: bytes of its fixed part. record: what it repeats.
        tail: what is behind everything else of it, by offsets from where `tail_size` bytes begin.
        header: of a message, those constants of its header that are not the same in all messages.
        remarks: sentences about what no row can say: what repeats, how elements look, what is filled up.
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
    tail: tuple[FieldRow, ...] = ()
    tail_size: int = 0
    header: dict[str, int] = {}


class Description(msgspec.Struct, frozen=True):
    """A whole profile: header and trailer first, then messages by id, then records.

    Attributes:
        dialogue: who says what when, a line each. notes: what types mean that need to be told.
    """

    profile: str
    digest: str
    byte_order: str
    max_frame_bytes: int
    parts: tuple[LayoutPart, ...]
    missing: tuple[str, ...] = ()
    dialogue: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def describe(profile: WireProfile) -> Description:
    """Every part of a profile as rows in the order of their offsets."""
    document = profile.document
    parts = [_header(profile)]
    if (trailer := document.trailer) is not None:
        rows = tuple(_rows(trailer.fields, None))
        parts.append(LayoutPart("trailer", "trailer", trailer.size, rows, remarks=(*_checksum(document, "trailer"),)))
    layouts = sorted(profile.layouts.values(), key=lambda layout: profile.ids[layout.kind])
    parts += [_message(profile, layout) for layout in layouts]
    parts += [_opaque(profile, name) for name in sorted(profile.opaque)]
    inner: dict[str, Section] = {}
    for layout in layouts:
        _collect(document, document.messages[layout.kind.label], layout, inner)
    parts += [_record(name, record, inner[name]) for name, record in document.records.items()]
    lacking = tuple(kind.label for kind in CATALOGUE if kind not in profile.layouts)
    return Description(
        profile.name,
        profile.digest,
        document.byte_order,
        profile.max_frame_bytes,
        tuple(parts),
        lacking,
        told(profile.dialogue),
        tuple(_notes(parts)),
    )


def _notes(parts: list[LayoutPart]) -> Iterator[str]:
    """What the types mean that these parts have, and integers do not say."""
    rows = [row for part in parts for row in (*part.rows, *part.tail)]
    if any(part.what == "trailer" for part in parts):
        yield "a frame is the header, the body of a message, and the trailer"
    if any(row.type in SIZED and row.id is None for row in rows):
        yield "text is UTF-8; text and bytes that are shorter than their field are filled up with zeros"
    if any(row.type in SIZED and row.id is not None for row in rows):
        yield "text and bytes in an element are as long as they are"
    if any(row.type == "time" and ", then " in row.unit for row in rows):
        yield "a time in two units is two numbers of 4 bytes, seconds first"


def _collect(
    document: ProfileDocument, table: MessageDocument | RecordDocument, part: Section, found: dict[str, Section]
) -> None:
    """What a message or a record repeats, and what that repeats; by name, each as it is used first."""
    if table.repeat is not None and part.repeat is not None:
        found.setdefault(table.repeat.record, part.repeat.part)
        _collect(document, document.records[table.repeat.record], part.repeat.part, found)


# -- what is around a body ---------------------------------------------------------------------------------------------


def _header(profile: WireProfile) -> LayoutPart:
    document, framing = profile.document, profile.framing
    header, varying = document.header, _varying(profile)
    counts = {
        "frame": "header and body" if document.trailer is None else "header, body and trailer",
        "body": "the body alone",
        "rest": "what follows it, to the end of the frame",
    }[header.length_counts]
    if adds := header.length_adds:
        counts += f", and {adds} more" if adds > 0 else f", but for {-adds}"
    remarks = [f"length counts {counts}{_in_units(header.length_unit)}"]
    if len(framing.id_fields) > 1:
        by = 1 << 8 * framing.header.widths["msg_subtype"]
        remarks.append(f"a message's number is msg_type * {by} + msg_subtype")
    if framing.align > 1:
        more = f", and {framing.over} more" if framing.over else ""
        remarks.append(f"zeros at the end of the body: the frame is a multiple of {framing.align} bytes{more}")
    if "frame_number" in framing.numbers:
        remarks.append(f"frame_number is {framing.first} in the first frame of a direction, then one more in each")
    if "acknowledged" in framing.numbers:
        before = (framing.first - 1) % (1 << 8 * framing.header.widths["acknowledged"])
        remarks.append(f"acknowledged is the number of the last frame that was received, before any {before:#x}")
    if not framing.has_transaction:
        remarks.append("no transaction: responses come in the order of their requests")
    remarks += _checksum(document, "header")
    return LayoutPart("header", "header", header.size, tuple(_rows(header.fields, None, varying)), remarks=(*remarks,))


def _varying(profile: WireProfile) -> dict[str, str]:
    """Units of those constants of the header that are not the same in all messages."""
    constants = (field for field in profile.document.header.fields if field.value is not None or field.values)
    return {field.name: "by message" for field in constants if field.name not in profile.framing.common}


def _checksum(document: ProfileDocument, part: str) -> Iterator[str]:
    """How the checksum is made, said where it lies."""
    if document.checksum is None:
        return
    lies_in = "header" if any(field.name == "checksum" for field in document.header.fields) else "trailer"
    if part != lies_in:
        return
    over = document.checksum.over
    said = " and ".join(name for name in ("header", "body", "trailer") if name in over)
    itself = ", its own bytes as zeros" if part in over else ""
    yield f"checksum {document.checksum.kind}, over {said}{itself}: {CHECKSUM_WORDS[document.checksum.kind]}"


# -- messages and records ----------------------------------------------------------------------------------------------


def _message(profile: WireProfile, layout: Layout) -> LayoutPart:
    message, framing = profile.document.messages[layout.kind.label], profile.framing
    own = {name: value for name, value in framing.constants[layout.kind].items() if name not in framing.common}
    if len(framing.id_fields) == 1:
        del own["msg_id"]
    part = _part(layout.kind.label, "message", message, layout)
    remarks = (*_shared(profile, layout.kind), *part.remarks)
    return msgspec.structs.replace(part, id=message.id, header=own, remarks=remarks)


def _shared(profile: WireProfile, saying: Saying) -> Iterator[str]:
    """Whose a message is, where its id does not tell which it is."""
    number = profile.id_of(saying)
    sayings = {role: profile.saying_of(number, role) for role in Role}
    if len({*sayings.values()}) > 1:
        yield from (
            f"from the {role.name}; from the other side, its id is another message's"
            for role in Role
            if sayings[role] == saying
        )


def _record(name: str, record: RecordDocument, part: Section) -> LayoutPart:
    found = _part(name, "record", record, part)
    remarks = [*found.remarks]
    if record.length is not None:
        remarks.append(f"{record.length} counts the whole record{_in_units(record.length_unit)}")
    if record.align > 1:
        remarks.append(f"zeros at its end: the record is a multiple of {record.align} bytes")
    return msgspec.structs.replace(found, remarks=tuple(remarks))


def _part(name: str, what: str, table: MessageDocument | RecordDocument, part: Section) -> LayoutPart:
    """A message or a record: both are built alike."""
    units: dict[str, str] = {}
    remarks = []
    if part.inside is not None:
        remarks.append("one record, whose fields stand among these")
    if table.repeat is not None:
        remarks.append(_repeat(table.repeat))
        if table.repeat.count is not None:
            units[table.repeat.count] = _counted(table.repeat)
    if part.length is not None:
        units[part.length] = "bytes" if part.length_unit == 1 else f"{part.length_unit} bytes each"
    rows = [*_rows(table.fields, part, units)]
    if table.elements is not None:
        remarks += _elements(table.elements, part)
        rows += [_element_row(field, part) for field in table.elements.fields]
    tail = () if table.tail is None else tuple(_rows(table.tail.fields, part, {}))
    return LayoutPart(
        name,
        what,
        table.size,
        tuple(rows),
        remarks=tuple(remarks),
        missing=_missing(part, (*rows, *tail)),
        record=None if table.repeat is None else table.repeat.record,
        tail=tail,
        tail_size=0 if table.tail is None else table.tail.size,
    )


def _counted(repeat: RepeatDocument) -> str:
    """The unit of the field that counts."""
    if repeat.count_unit == "record":
        return "records"
    return "bytes of records" if repeat.count_unit == 1 else f"{repeat.count_unit} bytes each"


def _opaque(profile: WireProfile, name: str) -> LayoutPart:
    """An opaque message: what is filled in as rows, and the rest in words."""
    opaque = profile.document.opaque[name]
    body = opaque.hex or ""
    held = bytes.fromhex(body)
    more = f"... ({hashlib.sha256(held).hexdigest()[:12]})" if len(held) > _SHOWN_BYTES else ""
    remarks = [*_shared(profile, name)]
    remarks += [f"from {_BY[opaque.sender]}, as bytes: {held[:_SHOWN_BYTES].hex(' ') or 'none'}{more}"]
    if opaque.answers:
        remarks.append(f"said whenever {opaque.answers} was heard")
    if opaque.every is not None:
        remarks.append(f"said every {opaque.every} in an active session")
    if opaque.varies:
        remarks.append("taken in any length")
    remarks += [f"header field {field} is {value}" for field, value in sorted(opaque.header.items())]
    return LayoutPart(name, "opaque message", len(held), tuple(_rows(opaque.fields, None)), opaque.id, tuple(remarks))


def _repeat(repeat: RepeatDocument) -> str:
    if repeat.to_end:
        return f"then records to the end, at most {repeat.max}"
    if repeat.count is None:
        return f"each record in an element with id {repeat.id}, at most {repeat.max}"
    if repeat.count_unit == "record":
        return f"then {repeat.count} records, at most {repeat.max}"
    times = "" if repeat.count_unit == 1 else f" * {repeat.count_unit}"
    return f"then records that fill {repeat.count}{times} bytes, at most {repeat.max}"


def _in_units(unit: int) -> str:
    return "" if unit == 1 else f", in units of {unit} bytes"


def _elements(elements: ElementsDocument, part: Section) -> Iterator[str]:
    counts = "the value alone" if elements.length_counts == "value" else "the whole element"
    end = "the end" if part.tail is None else "the tail"
    yield f"then elements to {end}: type {elements.type}, length {elements.length} ({counts}), value"
    if elements.order == "any":
        yield "elements come in another order each time"
    if part.slack > 1:
        yield f"fewer than {part.slack} bytes at {end}, all of them zeros, are no element"
    if elements.length_unit > 1:
        yield f"an element's length counts units of {elements.length_unit} bytes: zeros at the end of its value"
    if elements.align > 1:
        yield f"zeros behind an element that no length counts: each begins at a multiple of {elements.align} bytes"


# -- rows --------------------------------------------------------------------------------------------------------------

_SECONDS_AND: dict[TimeUnit, str] = {"s+us": "s, then µs", "s+ns": "s, then ns", "s+frac": "s, then s / 2^32"}


def _unit(field: FieldDocument | ElementDocument) -> str:
    """What a field's number is; of a time: in what it counts, since when. A pair is of two u32."""
    if field.type != "time" or field.unit is None:
        return unit_of(field.name)
    since = "1970" if field.epoch == "unix" else "session began"
    return f"{_SECONDS_AND.get(field.unit, 'µs' if field.unit == 'us' else field.unit)} since {since}"


def _rows(
    fields: tuple[FieldDocument, ...], part: Section | None, units: Mapping[str, str] | None = None
) -> Iterator[FieldRow]:
    """Rows by offset. Args: part: None for header and trailer. units: of fields whose meaning the profile gives."""
    units = units or {}
    for field in sorted(fields, key=lambda field: field.offset):
        value = None if field.name in units else field.value
        unit = units.get(field.name) or (_unit(field) if value is None else "constant")
        label = label_of(_whose(part, field.name), field.name)
        yield FieldRow(
            field.offset, width_of(field), field.type, field.name, unit, label, value=value, order=field.order
        )


def _whose(part: Section | None, name: str) -> type[msgspec.Struct] | None:
    """What has such a field: a message or a record, or the one record in it."""
    if part is not None and part.inside is not None and name in part.inside.names:
        return part.inside.struct
    return None if part is None else part.struct


def _element_row(field: ElementDocument, part: Section) -> FieldRow:
    label = label_of(_whose(part, field.name), field.name)
    return FieldRow(None, width_of(field), field.type, field.name, _unit(field), label, id=field.id, order=field.order)


def _missing(part: Section, rows: tuple[FieldRow, ...]) -> tuple[str, ...]:
    here = {row.name for row in rows} | {part.records_name}
    inside = () if part.inside is None else part.inside.struct.__struct_fields__
    return tuple(name for name in dict.fromkeys((*part.struct.__struct_fields__, *inside)) if name not in here)


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
        while old.record is not None and new.record is not None and (old.record, new.record) not in compared:
            compared.add((old.record, new.record))
            old, new = left_parts["record", old.record], right_parts["record", new.record]
            found += [f"record {new.name}: {sentence}" for sentence in _part_differences(old, new)]
    return found


def _part_differences(old: LayoutPart, new: LayoutPart) -> Iterator[str]:
    if old.id != new.id:
        yield f"id {old.id}, then {new.id}"
    if old.size != new.size:
        yield f"{old.size} bytes, then {new.size}"
    for name in dict.fromkeys((*old.header, *new.header)):
        was, now = old.header.get(name), new.header.get(name)
        # Where only one of them differs by message, the header's own row says so.
        if was is not None and now is not None and was != now:
            yield f"{name} of its header: {was}, then {now}"
    yield from (f'no longer "{remark}"' for remark in old.remarks if remark not in new.remarks)
    yield from (f'now "{remark}"' for remark in new.remarks if remark not in old.remarks)
    if old.tail_size != new.tail_size:
        yield f"tail: {old.tail_size} bytes, then {new.tail_size}"
    left, right = ({row.name: _place(row) for row in part.rows} for part in (old, new))
    for part, places in ((old, left), (new, right)):
        places |= {row.name: f"{_place(row)} of the tail" for row in part.tail}
    yield from (f"without {name}" for name in left if name not in right)
    for name, place in right.items():
        if name not in left:
            yield f"with {name}, {place}"
        elif left[name] != place:
            yield f"{name}: {left[name]}, then {place}"


def _place(row: FieldRow) -> str:
    where = f"at {row.offset}" if row.id is None else f"in element {row.id}"
    size = f" of {row.size} bytes" if row.type in SIZED else ""
    unit = f" of {row.size} bytes, {row.unit}," if row.type == "time" else ""
    value = "" if row.value is None else f", always {row.value}"
    by_message = ", by message" if row.unit == "by message" else ""
    order = "" if row.order is None else f" {row.order}-endian"
    return f"{row.type}{size}{unit}{order} {where}{value}{by_message}"
