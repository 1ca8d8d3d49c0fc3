"""A wire profile as a dissector for Wireshark: its layout as a table in Lua, in front of code that is always the same.

What the table holds comes from a profile's file, and whoever wrote that may mean no good: texts become literals in
which nothing but letters, digits, "_" and blanks stands for itself, and names of fields are made of the first three.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from importlib.resources import files
from typing import TypeAlias

from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.dialogue import Saying, name_of
from loadgen.nmsp.fields import unit_of
from loadgen.nmsp.messages import Kind, ResponseStatus, Role
from loadgen.nmsp.parts import Section
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import (
    SIZED,
    TURNED,
    TYPES,
    ElementDocument,
    ElementsDocument,
    FieldDocument,
    MessageDocument,
    OpaqueDocument,
    RecordDocument,
    RepeatDocument,
    width_of,
    wire_type,
)
from loadgen.nmsp.services import Subservice
from loadgen.units import NS_PER_MS, NS_PER_S

# What the code wants to know, as values. In a table, what is None or False is left out: Lua takes it for the same.
Lua: TypeAlias = "str | int | bool | list[Lua] | Mapping[str, Lua] | Mapping[int, Lua] | None"

_TEMPLATE = files("loadgen.report").joinpath("templates", "dissector.lua")
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ")
# Names that the code has for what is no field of any profile.
_OWN = frozenset({"message", "body", "element", "response_in", "response_to"})
_NS_PER_UNIT = {"s": NS_PER_S, "ms": NS_PER_MS, "us": 1_000, "ns": 1}
_ADDRESS_BYTES = 16


def dissector(profile: WireProfile) -> str:
    """The whole Lua file."""
    table = _Tables(profile).profile()
    return (
        "-- A dissector of NMSP in one layout, for Wireshark 4.0 and later, made by `loadgen profile dissector`.\n"
        "-- tshark -X lua_script:nmsp.lua -o tls.keylog_file:keys.log -r capture.pcapng -Y nmsp\n\n"
        f"local PROFILE = {_lua(table)}\n\n{_TEMPLATE.read_text('utf-8')}"
    )


class _Tables:
    """Turns a profile into what the code wants to know of it.

    Wireshark has one kind of field for a name. Integers are as wide as the widest of that name; where a name is also of
    another kind, as `signature` is a number and bytes, the kind is put behind it.
    """

    def __init__(self, profile: WireProfile) -> None:
        self._profile, self._document = profile, profile.document
        self._kinds: dict[str, str] = {}
        self._fields: dict[str, dict[str, Lua]] = {}

    def profile(self) -> Mapping[str, Lua]:
        document, framing = self._document, self._profile.framing
        header = document.header
        by_name = {field.name: field for field in header.fields}
        places = {
            name: {**_place(by_name[name]), "turned": self._is_turned(by_name[name])}
            for name in (*framing.id_fields, "length", *(("transaction",) if framing.has_transaction else ()))
        }
        self._key("msg_id", "unsigned", sum(width_of(by_name[name]) for name in framing.id_fields))
        messages: dict[int, Lua] = {}
        of_mse: dict[int, Lua] = {}
        numbers = [*self._profile.ids.values(), *(each.id for each in document.opaque.values())]
        for number in dict.fromkeys(numbers):
            says, other = (self._profile.saying_of(number, role) for role in (Role.WLC, Role.MSE))
            messages[number] = self._saying(says)
            if other != says:
                of_mse[number] = self._saying(other)
        found: dict[str, Lua] = {
            "name": self._profile.name,
            "digest": self._profile.digest,
            "order": document.byte_order,
            "max": document.max_frame_bytes,
            "head": framing.head,
            "foot": framing.foot,
            "align": framing.align,
            "length": {**places["length"], "unit": framing.unit, "added": framing.added},
            "ids": [places[name] for name in framing.id_fields],
            "header": self._record(header.fields),
            "transaction": places.get("transaction"),
            "trailer": None if document.trailer is None else self._record(document.trailer.fields),
            "checksum": self._checksum(),
            "messages": dict[int, Lua](messages),
            "of_mse": dict[int, Lua](of_mse),
        }
        self._strings()
        return {**found, "fields": self._fields}

    def _saying(self, saying: Saying | None) -> Lua:
        assert saying is not None
        return self._opaque(saying, self._document.opaque[saying]) if isinstance(saying, str) else self._message(saying)

    def _message(self, kind: Kind) -> Lua:
        asked = [other.label for other in CATALOGUE[kind].answers]
        answered = {other for entry in CATALOGUE.values() for other in entry.answers}
        return {
            "name": kind.label,
            "asks": kind in answered,
            "answers": list[Lua](asked) if asked else None,
            "constants": self._constants(kind),
            "part": self._part(self._document.messages[kind.label], self._profile.layouts[kind], kind.label),
        }

    def _opaque(self, name: str, document: OpaqueDocument) -> Lua:
        """A message that is known as bytes, with what is filled in."""
        return {
            "name": name,
            "asks": any(other.answers == name for other in self._document.opaque.values()),
            "answers": list[Lua]([document.answers]) if document.answers else None,
            "constants": self._constants(name),
            "opaque": True,
            "size": len(self._profile.opaque[name].body),
            "varies": document.varies,
            "fields": self._record(document.fields),
        }

    def _constants(self, saying: Kind | str) -> Mapping[str, Lua]:
        """The constants of a message's header."""
        named = {field.name for field in self._document.header.fields if field.value is not None or field.values}
        found = self._profile.framing.constants[saying]
        return {name: str(value) for name, value in found.items() if name in named}

    def _part(self, document: MessageDocument | RecordDocument, part: Section, name: str) -> Mapping[str, Lua]:
        """Args: part: what the document is compiled into."""
        counting = {document.repeat.count} if document.repeat is not None else set()
        length = None
        found: dict[str, Lua] = {"name": name, "size": document.size, "align": 1, "slack": part.slack}
        if isinstance(document, RecordDocument):
            counting.add(document.length)
            length = document.length
            found |= {
                "key": self._key(name, "none", 0),
                "length": length,
                "length_unit": document.length_unit,
                "align": document.align,
            }
        found["fields"] = self._record(document.fields, counting)
        if document.repeat is not None and part.repeat is not None:
            found["repeated"] = self._repeat(document.repeat, part.repeat.part)
        if document.elements is not None:
            found["elements"] = self._elements(document.elements, part.needed)
        if document.tail is not None:
            found["tail"] = {"size": document.tail.size, "fields": self._record(document.tail.fields)}
        return found

    def _repeat(self, repeat: RepeatDocument, part: Section) -> Lua:
        return {
            "max": repeat.max,
            "count": repeat.count,
            "id": repeat.id,
            "to_end": repeat.to_end,
            "unit": 0 if repeat.count_unit == "record" else repeat.count_unit,
            "part": self._part(self._document.records[repeat.record], part, repeat.record),
        }

    def _elements(self, elements: ElementsDocument, needed: Collection[str]) -> Lua:
        type_size, length_size = TYPES[elements.type][2], TYPES[elements.length][2]
        found: dict[str, Lua] = {
            "type_size": type_size,
            "length_size": length_size,
            "length_added": type_size + length_size if elements.length_counts == "element" else 0,
            "unit": elements.length_unit,
            "align": elements.align,
            "fields": dict[int, Lua]((field.id, self._field(field)) for field in elements.fields),
            "needed": dict[int, Lua]((field.id, field.name) for field in elements.fields if field.name in needed),
        }
        return found

    def _record(self, fields: Iterable[FieldDocument], counting: Iterable[str | None] = ()) -> list[Lua]:
        """Fields in the order of their places."""
        counted = frozenset(counting)
        return [
            {
                **self._field(field),
                **_place(field),
                "value": None if field.value is None else str(field.value),
                "counts": field.name in counted,
            }
            for field in sorted(fields, key=lambda field: field.offset)
        ]

    def _field(self, field: FieldDocument | ElementDocument) -> Mapping[str, Lua]:
        size, kind = width_of(field), _kind_of(field)
        found: dict[str, Lua] = {
            "key": self._key(field.name, kind, size),
            "name": field.name,
            "size": size,
            "kind": field.type if field.type in ("mac", "time", *SIZED) else "integer",
            "signed": kind == "signed",
            "varies": isinstance(field, ElementDocument) and field.type in SIZED,
            "turned": self._is_turned(field),
        }
        if field.type == "time":
            unit = field.unit or "s"
            found |= {"pair": "+" in unit, "fraction": unit == "s+frac"}
            found["ns"] = _NS_PER_UNIT.get(unit.removeprefix("s+"), 1)
            found["per_second"] = NS_PER_S // _NS_PER_UNIT.get(unit, 1)
        return found

    def _is_turned(self, field: FieldDocument | ElementDocument) -> bool:
        """It is in another byte order than the rest."""
        return field.order not in (None, self._document.byte_order)

    def _checksum(self) -> Lua:
        checksum, document = self._profile.framing.checksum, self._document.checksum
        if checksum is None or document is None:
            return None
        covered = checksum.covered
        return {
            "kind": document.kind,
            "at": checksum.offset,
            "size": checksum.layout.size,
            "turned": checksum.lie.endswith(TURNED),
            "from": covered.start,
            "stop": covered.stop or 0,
        }

    # -- fields as Wireshark has them --------------------------------------------------------------------------------

    def _key(self, name: str, kind: str, size: int) -> str:
        """What a field is called behind "nmsp."; it is there from now on."""
        key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "field"
        if key in _OWN or self._kinds.setdefault(key, kind) != kind:
            key = f"{key}.{kind}"
        known = self._fields.setdefault(key, {"name": name, "kind": kind, "size": size})
        if kind in ("unsigned", "signed"):
            known["size"] = widest = max(size, int(str(known["size"])))
            bits = 8 * widest
            known["kind"] = f"uint{bits}" if kind == "unsigned" else f"int{bits}"
            known["hex"] = unit_of(name) == "mask"
        return key

    def _names(self) -> dict[int, str]:
        """Of messages, by their ids; two that have one are both there."""
        found: dict[int, list[str]] = {}
        sayings: list[Saying] = [*self._profile.ids, *self._profile.opaque]
        for saying in sayings:
            found.setdefault(self._profile.id_of(saying), []).append(name_of(saying))
        return {number: " or ".join(names) for number, names in found.items()}

    def _strings(self) -> None:
        """What numbers mean."""
        strings: dict[str, dict[int, str]] = {
            "msg_id": self._names(),
            "subservice": {service.value: service.label for service in Subservice},
            "status": {status.value: status.name.lower().replace("_", " ") for status in ResponseStatus},
        }
        for key, named in strings.items():
            if (field := self._fields.get(key)) is not None and field["kind"] in ("uint8", "uint16", "uint32"):
                field["strings"] = named


def _kind_of(field: FieldDocument | ElementDocument) -> str:
    """Integers apart, what Wireshark's library calls such a field."""
    match field.type:
        case "mac":
            return "ether"
        case "text":
            return "string"
        case "time":
            return "absolute_time" if field.epoch == "unix" else "relative_time"
        case "bytes":
            fixed = isinstance(field, FieldDocument) and field.size == _ADDRESS_BYTES  # an element may be shorter
            is_address = fixed and unit_of(field.name).startswith("IPv6")
            return "ipv6" if is_address else "bytes"
        case _:
            return "signed" if TYPES[wire_type(field)][0].islower() else "unsigned"


def _place(field: FieldDocument) -> Mapping[str, Lua]:
    return {"at": field.offset, "size": width_of(field)}


# -- Lua ---------------------------------------------------------------------------------------------------------------


def _lua(value: Lua, indent: str = "") -> str:
    """A value as a literal; entries of a table that are None are left out."""
    inner = f"{indent}  "
    if isinstance(value, Mapping):
        entries = [
            f"[{_lua(key)}] = {_lua(each, inner)}"
            for key, each in value.items()
            if each is not None and each is not False
        ]
    elif isinstance(value, list):
        entries = [_lua(each, inner) for each in value]
    elif isinstance(value, str):
        return _text(value)
    else:
        return str(value).lower()
    if not entries:
        return "{}"
    if sum(map(len, entries)) < 100 and not any("\n" in entry for entry in entries):
        return f"{{ {', '.join(entries)} }}"
    return "{\n" + "".join(f"{inner}{entry},\n" for entry in entries) + f"{indent}}}"


def _text(text: str) -> str:
    """A text as a literal that holds these bytes and can hold nothing else: whatever could end it has a number."""
    return (
        '"' + "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03}" for byte in text.encode("utf-8", "replace")) + '"'
    )
