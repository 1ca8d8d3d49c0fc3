"""What can be wrong with what is around a message's body: header, trailer and checksum."""

from __future__ import annotations

from typing import NamedTuple

from loadgen.nmsp.checksum import CHECKSUM_TYPES
from loadgen.nmsp.field_check import TYPES_OF, FieldCheck
from loadgen.nmsp.profile_document import (
    CLASSES,
    SIDES,
    TYPES,
    FieldDocument,
    MessageDocument,
    OpaqueDocument,
    ProfileDocument,
    fits,
)
from loadgen.strict import one_of

_ONE_ID = ("msg_id",)
_TWO_IDS = ("msg_type", "msg_subtype")
_MOST_ADDED = 255
_OPTIONAL = ("transaction", "frame_number", "acknowledged")


class FramingFacts(NamedTuple):
    """What the rest of the check needs to know. around: bytes beside the body; added: those that length leaves out."""

    id_bits: int
    around: int
    added: int
    unit: int
    align: int
    constant: dict[str, FieldDocument]

    def largest(self, body_bytes: int) -> int:
        """The size of a frame with such a body."""
        size = self.around + body_bytes
        over = self.added % self.align if self.align == self.unit else 0
        return size + -(size - over) % self.align

    def counted(self, frame_bytes: int) -> int:
        """What its length says."""
        return (frame_bytes - self.added) // self.unit

    def constants(self, problems: FieldCheck, where: str, message: MessageDocument | OpaqueDocument) -> None:
        """The constants that a message has of its own."""
        for name, value in message.header.items():
            at, field = f"{where}.header.{name}", self.constant.get(name)
            if field is None:
                known = sorted(self.constant)
                problems.add(at, one_of(name, known) if known else "no constants", "no constant of the header")
            elif not fits(value, field.type):
                problems.add(at, f"a value that fits {field.type}", str(value))


def check_framing(problems: FieldCheck, document: ProfileDocument) -> FramingFacts:
    """Look at header, trailer and checksum."""
    header, trailer = document.header, document.trailer
    present = {field.name: field for field in header.fields}
    ids = _TWO_IDS if any(name in present for name in _TWO_IDS) else _ONE_ID
    types = {name: TYPES_OF[name] for name in (*ids, "length", *_OPTIONAL)}
    checksum = () if document.checksum is None else CHECKSUM_TYPES[document.checksum.kind]
    in_header = document.checksum is not None and "checksum" in present
    if in_header:
        types["checksum"] = checksum
    problems.layout("header", header.fields, header.size, types, [*ids, "length"])
    for index, field in enumerate(header.fields):
        at = f"header.fields[{index}] ({field.name})"
        if field.name == "readings":
            problems.add(at, "a name that a notification does not have", field.name)
        _values(problems, at, field)
    if trailer is not None:
        behind: dict[str, tuple[str, ...]] = {} if in_header or not checksum else {"checksum": checksum}
        problems.layout("trailer", trailer.fields, trailer.size, behind, [])
    if document.checksum is not None:
        _checksum(problems, document, in_header=in_header)
    foot = 0 if trailer is None else max(trailer.size, 0)
    length = present.get("length")
    behind_length = 0 if length is None else length.offset + TYPES.get(length.type, ("", "", 0))[2]
    added = {"frame": 0, "body": header.size + foot, "rest": behind_length}[header.length_counts] - header.length_adds
    if not -_MOST_ADDED <= header.length_adds <= _MOST_ADDED:
        problems.add("header.length_adds", f"{-_MOST_ADDED} to {_MOST_ADDED}", str(header.length_adds))
    align = max(header.align, header.length_unit)
    if added % header.length_unit and header.align > header.length_unit:
        where = {"body": "header and trailer", "rest": "what is in front of the end of `length`"}
        what = where.get(header.length_counts, "length_adds")
        problems.add("header.length_unit", f"a divisor of {what}, {added} bytes", str(header.length_unit))
    bits = sum(8 * TYPES[present[name].type][2] for name in ids if name in present and present[name].type in TYPES)
    constant = {name: field for name, field in present.items() if field.value is not None or field.values}
    return FramingFacts(bits or 16, max(header.size, 0) + foot, added, header.length_unit, align, constant)


def _values(problems: FieldCheck, at: str, field: FieldDocument) -> None:
    """A constant that differs by message has a value for each class, or for each side."""
    if not field.values:
        return
    if field.value is not None:
        problems.add(at, "either value or values", "both")
    if set(field.values) not in (set(CLASSES), set(SIDES)):
        found = ", ".join(sorted(field.values))
        problems.add(f"{at}.values", f"{', '.join(CLASSES)}; or {', '.join(SIDES)}", found)
    for name, value in field.values.items():
        if field.type in TYPES and not fits(value, field.type):
            problems.add(f"{at}.values.{name}", f"a value that fits {field.type}", str(value))


def _checksum(problems: FieldCheck, document: ProfileDocument, *, in_header: bool) -> None:
    assert document.checksum is not None
    over = document.checksum.over
    trailer = document.trailer
    names = () if trailer is None else tuple(field.name for field in trailer.fields)
    if not in_header and "checksum" not in names:
        problems.add("checksum", "a field checksum in the header or in the trailer", "none")
    if "trailer" in over and trailer is None:
        problems.add("checksum.over", "parts that there are", "trailer, and there is none")
    if not over or len(set(over)) != len(over) or set(over) == {"header", "trailer"}:
        problems.add("checksum.over", "parts that lie side by side, each once", ", ".join(over) or "nothing")
