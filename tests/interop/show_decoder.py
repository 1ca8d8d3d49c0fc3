"""A decoder of any layout that `loadgen profile show --json` prints, written from what that says and nothing else.

The tables of the document say where fields lie; what is between them (lengths, counts, elements, padding, checksums)
is in its remarks, which are sentences. Each that is known is a pattern here; one that is not is refused, because who
does not know what it says cannot know where the next field is. Nothing of loadgen is imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

_NS = {"s": 10**9, "ms": 10**6, "µs": 10**3, "ns": 1}
_INTEGER = re.compile(r"([ui])(8|16|32|64)")
_UNITS = r"(?:, in units of (?P<unit>\d+) bytes)?"

# What a remark can be, in the words of the document.
_LENGTH = re.compile(
    r"length counts (?P<what>header, body and trailer|header and body|the body alone|what follows it, to the end of the"
    rf" frame)(, and (?P<more>\d+) more|, but for (?P<less>\d+))?{_UNITS}"
)
_FRAME_ALIGN = re.compile(
    r"zeros at the end of the body: the frame is a multiple of (?P<align>\d+) bytes(, and (?P<over>\d+) more)?"
)
_NUMBER = re.compile(r"a message's number is (?P<upper>\w+) \* (?P<factor>\d+) \+ (?P<lower>\w+)")
_CHECKSUM = re.compile(
    r"checksum (?P<kind>\S+), over (?P<over>header|body|trailer)(?P<more>(?: and (?:header|body|trailer))*)"
    r"(?P<zeros>, its own bytes as zeros)?: (?P<how>.*)"
)
_CRC = re.compile(
    r"polynomial (?P<polynomial>0x\w+), (?P<first>least|most) significant bit first, begins with (?P<begin>\w+)"
    r"(?P<inverted>, inverted at the end)?"
)
_COUNTED = re.compile(r"then (?P<count>\w+) records, at most (?P<max>\d+)")
_FILLED = re.compile(r"then records that fill (?P<count>\w+)(?: \* (?P<unit>\d+))? bytes, at most (?P<max>\d+)")
_TO_END = re.compile(r"then records to the end, at most (?P<max>\d+)")
_INSIDE = re.compile(r"one record, whose fields stand among these")
_SHARED = re.compile(r"from the (?P<side>MSE|WLC); from the other side, its id is another message's")
_IN_ELEMENTS = re.compile(r"each record in an element with id (?P<id>\d+), at most (?P<max>\d+)")
_ELEMENTS = re.compile(
    r"then elements to the (?:end|tail): type (?P<type>u\d+), length (?P<length>u\d+) \((?P<counts>the value alone|the "
    r"whole element)\), value"
)
_REST = re.compile(r"fewer than (?P<rest>\d+) bytes at the end, all of them zeros, are no element")
_ELEMENT_UNIT = re.compile(r"an element's length counts units of (?P<unit>\d+) bytes: zeros at the end of its value")
_ELEMENT_ALIGN = re.compile(
    r"zeros behind an element that no length counts: each begins at a multiple of (?P<align>\d+) bytes"
)
_RECORD_LENGTH = re.compile(rf"(?P<name>\w+) counts the whole record{_UNITS}")
_RECORD_ALIGN = re.compile(r"zeros at its end: the record is a multiple of (?P<align>\d+) bytes")
# What a sender does, and a reader of one frame cannot see.
_OF_SENDERS = re.compile(
    r"no transaction: responses come in the order of their requests"
    r"|frame_number is \d+ in the first frame of a direction, then one more in each"
    r"|acknowledged is the number of the last frame that was received, before any 0x[0-9a-f]+"
    r"|elements come in another order each time"
)
# What the document says of all of its parts.
_NOTES = {
    "a frame is the header, the body of a message, and the trailer",
    "a time in two units is two numbers of 4 bytes, seconds first",
    "text is UTF-8; text and bytes that are shorter than their field are filled up with zeros",
    "text and bytes in an element are as long as they are",
}


class Elements(NamedTuple):
    """How elements lie. rest: fewer zeros than this at the end are none; unit: bytes that a length counts in."""

    type: int
    length: int
    whole: bool
    rest: int
    unit: int
    align: int


@dataclass
class Part:
    """A table of the document, with what its remarks say. Sizes in bytes.

    count, unit: the field that counts the records of this part, and in how many bytes (0: in records).
    record_id: the id of elements with a record each. to_end: nothing counts the records. is_record_too: it has the
    fields of its one record. length, length_unit: the field that counts the whole of a record.
    """

    name: str
    size: int
    rows: list[dict[str, Any]]
    tail: list[dict[str, Any]]
    tail_size: int
    header: dict[str, int]
    record: str | None
    count: str | None = None
    unit: int = 0
    most: int = 0
    record_id: int | None = None
    to_end: bool = False
    is_record_too: bool = False
    elements: Elements | None = None
    length: str | None = None
    length_unit: int = 1
    align: int = 1
    by_id: dict[int, dict[str, Any]] = field(default_factory=dict)


class Remarks:
    """The sentences of a part, each of which has to be taken by somebody."""

    def __init__(self, part: dict[str, Any]) -> None:
        self._where, self._left = part["name"], list(part["remarks"])

    def take(self, pattern: re.Pattern[str]) -> dict[str, str | None] | None:
        """What the one of that pattern says."""
        for remark in self._left:
            if match := pattern.fullmatch(remark):
                self._left.remove(remark)
                return match.groupdict()
        return None

    def end(self) -> None:
        if left := [remark for remark in self._left if not _OF_SENDERS.fullmatch(remark)]:
            raise ValueError(f"{self._where}: expected remarks that are known, found {left}")


def _number(found: dict[str, str | None] | None, key: str, default: int = 1) -> int:
    text = None if found is None else found[key]
    return default if text is None else int(text, 0)


def _bytes_of(kind: str) -> int:
    return int(kind[1:]) // 8


def _part_of(raw: dict[str, Any], remarks: Remarks) -> Part:
    keys = ("name", "size", "rows", "tail", "tail_size", "header", "record")
    part = Part(**{key: raw[key] for key in keys})
    part.by_id = {row["id"]: row for row in part.rows if row["id"] is not None}
    if found := remarks.take(_COUNTED):
        part.count, part.most = found["count"], _number(found, "max")
    elif found := remarks.take(_FILLED):
        part.count, part.unit, part.most = found["count"], _number(found, "unit"), _number(found, "max")
    elif found := remarks.take(_IN_ELEMENTS):
        part.record_id, part.most = _number(found, "id"), _number(found, "max")
    elif found := remarks.take(_TO_END):
        part.to_end, part.most = True, _number(found, "max")
    part.is_record_too = remarks.take(_INSIDE) is not None
    if found := remarks.take(_ELEMENTS):
        assert found["type"] is not None
        assert found["length"] is not None
        part.elements = Elements(
            _bytes_of(found["type"]),
            _bytes_of(found["length"]),
            found["counts"] == "the whole element",
            _number(remarks.take(_REST), "rest"),
            _number(remarks.take(_ELEMENT_UNIT), "unit"),
            _number(remarks.take(_ELEMENT_ALIGN), "align"),
        )
    if found := remarks.take(_RECORD_LENGTH):
        part.length, part.length_unit = found["name"], _number(found, "unit")
    part.align = _number(remarks.take(_RECORD_ALIGN), "align")
    return part


# -- checksums ---------------------------------------------------------------------------------------------------------


def _reversed_bits(number: int, width: int) -> int:
    return int(format(number, f"0{width}b")[::-1], 2)


def _crc(how: dict[str, str | None], width: int) -> Callable[[bytes], int]:
    """A CRC from its parameters alone, bit by bit."""
    mask, polynomial = (1 << width) - 1, _number(how, "polynomial")
    begin, inverted = _number(how, "begin"), mask if how["inverted"] else 0

    def least_first(data: bytes) -> int:
        low, register = _reversed_bits(polynomial, width), begin
        for byte in data:
            register ^= byte
            for _ in range(8):
                register = register >> 1 ^ (low if register & 1 else 0)
        return register ^ inverted

    def most_first(data: bytes) -> int:
        register = begin
        for byte in data:
            register ^= byte << width - 8
            for _ in range(8):
                register = (register << 1 ^ (polynomial if register >> width - 1 else 0)) & mask
        return register ^ inverted

    return least_first if how["first"] == "least" else most_first


def _internet(order: Literal["big", "little"]) -> Callable[[bytes], int]:
    """Of u16 as the layout has them, whatever its order is."""

    def complement(data: bytes) -> int:
        data += bytes(len(data) % 2)
        total = sum(int.from_bytes(data[at : at + 2], order) for at in range(0, len(data), 2))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return ~total & 0xFFFF

    return complement


def _checksum(kind: str, how: str, width: int, order: Literal["big", "little"]) -> Callable[[bytes], int]:
    if match := _CRC.fullmatch(how):
        return _crc(match.groupdict(), width)
    if kind == "internet":
        return _internet(order)
    if how == "the sum of the bytes, of which the field holds the lower end":
        return lambda data: sum(data) & (1 << width) - 1
    raise ValueError(f"expected a checksum that is known, found {kind}: {how}")


# -- the layout --------------------------------------------------------------------------------------------------------


class Layout:
    """A layout, from the document that `loadgen profile show --json` prints.

    Raises:
        ValueError: it says something that is not known here.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        if others := set(document["notes"]) - _NOTES:
            raise ValueError(f"notes: expected some that are known, found {others}")
        self.name: str = document["profile"]
        self.max_frame_bytes: int = document["max_frame_bytes"]
        self._order: Literal["big", "little"] = document["byte_order"]
        dialogue = [line for line in document["dialogue"] if line != "then the session is active"]
        self.opening = [_turn(line) for line in dialogue[:-1]]
        self.echo = _who_asks(dialogue[-1])
        self._messages: dict[tuple[str, int], Part] = {}
        self._records: dict[str, Part] = {}
        self._trailer = Part("trailer", 0, [], [], 0, {}, None)
        self._check: tuple[Callable[[bytes], int], frozenset[str]] | None = None
        for raw in document["parts"]:
            remarks = Remarks(raw)
            part = _part_of(raw, remarks)
            if found := remarks.take(_CHECKSUM):
                self._take_checksum(part, found)
            if raw["what"] == "header":
                self._header = part
                self._take_header(remarks)
            elif raw["what"] == "trailer":
                self._trailer = part
            elif raw["what"] == "record":
                self._records[part.name] = part
            else:
                shared = remarks.take(_SHARED)
                for side in ("mse", "wlc") if shared is None else (str(shared["side"]).lower(),):
                    self._messages[side, raw["id"]] = part
            remarks.end()

    def _take_header(self, remarks: Remarks) -> None:
        length = remarks.take(_LENGTH)
        if length is None:
            raise ValueError("header: expected a remark on what its length counts, found none")
        self._length_counts, self._length_unit = length["what"], _number(length, "unit")
        self._length_adds = int(length["more"] or 0) - int(length["less"] or 0)
        aligned = remarks.take(_FRAME_ALIGN)
        self._frame_align = _number(aligned, "align")
        self._frame_over = int((aligned or {}).get("over") or 0)
        self._number_of = remarks.take(_NUMBER)

    def _take_checksum(self, part: Part, found: dict[str, str | None]) -> None:
        over = frozenset(re.findall(r"header|body|trailer", f"{found['over']}{found['more']}"))
        # A checksum that is in what it is over could be over itself in no other way.
        if part.name in over and not found["zeros"]:
            raise ValueError(f"{part.name}: expected its checksum to say how it is over itself, found {found}")
        (row,) = (row for row in part.rows if row["name"] == "checksum")
        self._check = _checksum(found["kind"] or "", found["how"] or "", 8 * row["size"], self._order), over

    @property
    def header_size(self) -> int:
        return self._header.size

    def size_of(self, data: bytes) -> int | None:
        """Of the frame that `data` begins with, in bytes; None if its header is not whole yet.

        Raises:
            ValueError: it is longer than a frame can be, or shorter.
        """
        if len(data) < self._header.size:
            return None
        around = self._header.size + self._trailer.size
        size = self._value(self._row("length"), data) * self._length_unit
        if self._length_counts == "the body alone":
            size += around
        elif self._length_counts == "header and body":
            size += self._trailer.size
        elif self._length_counts != "header, body and trailer":
            row = self._row("length")
            size += row["offset"] + row["size"]
        size -= self._length_adds
        if not around <= size <= self.max_frame_bytes:
            raise ValueError(f"length: expected a frame of {around} to {self.max_frame_bytes} bytes, found {size}")
        return size

    def decode(self, frame: bytes, began_ns: int = 0, side: str = "wlc") -> dict[str, Any]:
        """One whole frame: message (None: no such message), number, header, body, trailer, and whether its checksum is
        right (None: it has none). Records are a list under `records`; a constant of a body or a trailer is as it came.

        Args:
            began_ns: when the session began, in ns since 1970: for times that count from there.
            side: that sends it.

        Raises:
            ValueError: it is no frame of this layout.
        """
        size = self.size_of(frame)
        if size != len(frame):
            raise ValueError(f"length: expected a frame of {size} bytes, found {len(frame)}")
        if (len(frame) - self._frame_over) % self._frame_align:
            whole = f"a multiple of {self._frame_align} bytes and {self._frame_over}"
            raise ValueError(f"length: expected {whole}, found {len(frame)}")
        header = self._fields(self._header.rows, frame, began_ns)
        number = self._number(header)
        part = self._messages.get((side, number))
        for row in self._header.rows:
            wanted = row["value"] if part is None else part.header.get(row["name"], row["value"])
            if wanted is not None and header[row["name"]] != wanted:
                raise ValueError(f"header: expected {row['name']} {wanted}, found {header[row['name']]}")
        foot = len(frame) - self._trailer.size
        body = frame[self._header.size : foot]
        return {
            "message": None if part is None else part.name,
            "number": number,
            "header": header,
            "body": {"bytes": body} if part is None else self._body(part, body, began_ns),
            "trailer": self._fields(self._trailer.rows, frame[foot:], began_ns),
            "checksum": self._checksum_is_right(frame),
        }

    def _row(self, name: str) -> dict[str, Any]:
        (row,) = (row for row in self._header.rows if row["name"] == name)
        return row

    def _number(self, header: dict[str, Any]) -> int:
        if self._number_of is None:
            return int(header["msg_id"])
        of = self._number_of
        return int(header[str(of["upper"])] * _number(of, "factor") + header[str(of["lower"])])

    def _checksum_is_right(self, frame: bytes) -> bool | None:
        if self._check is None:
            return None
        calculate, over = self._check
        foot = len(frame) - self._trailer.size
        found, covered = None, b""
        for part, begin, end in ((self._header, 0, self._header.size), (self._trailer, foot, len(frame))):
            data = frame[begin:end]
            for row in part.rows:
                if row["name"] == "checksum":
                    found = self._value(row, data)
                    at = row["offset"]
                    data = data[:at] + bytes(row["size"]) + data[at + row["size"] :]
            if part is self._header and "body" in over:
                data = (data if "header" in over else b"") + frame[self._header.size : foot]
                covered += data
            elif part.name in over:
                covered += data
        return found == calculate(covered)

    # -- bodies --------------------------------------------------------------------------------------------------------

    def _body(self, part: Part, body: bytes, began_ns: int) -> dict[str, Any]:
        values, end = self._section(part, body, began_ns, self._frame_align)
        _must_be_zeros(part.name, body[end:], self._frame_align)
        return values

    def _section(self, part: Part, data: bytes, began_ns: int, align: int) -> tuple[dict[str, Any], int]:
        """The fields, records, elements and tail of a message or a record, and where they end."""
        if len(data) < part.size + part.tail_size:
            raise ValueError(f"{part.name}: expected {part.size + part.tail_size} bytes, found {len(data)}")
        values = self._fields(part.rows, data, began_ns)
        end = part.size
        if part.record is not None:
            values["records"] = []
        if part.count is not None:
            end = self._records_behind(part, data, values, began_ns)
        if part.to_end:
            end = self._records_to_end(part, data, values, began_ns, align)
        if part.elements is not None:
            stop = len(data) - part.tail_size
            end = self._elements(part, part.elements, data[end:stop], values, began_ns) + end
        values |= self._fields(part.tail, data[end:], began_ns)
        if part.is_record_too:
            values["records"] = [values]
        return values, end + part.tail_size

    def _records_to_end(self, part: Part, data: bytes, values: dict[str, Any], began_ns: int, align: int) -> int:
        """Args: align: fewer bytes than this are no record."""
        assert part.record is not None
        at, stop, records = part.size, len(data) - part.tail_size, values["records"]
        while stop - at >= align:
            record, size = self._record(self._records[part.record], data[at:stop], began_ns)
            records.append(record)
            at += size
        if len(records) > part.most:
            raise ValueError(f"{part.name}: expected at most {part.most} records, found {len(records)}")
        return at

    def _records_behind(self, part: Part, data: bytes, values: dict[str, Any], began_ns: int) -> int:
        assert part.count is not None
        assert part.record is not None
        counted, at, records = values[part.count], part.size, values["records"]
        stop = at + counted * part.unit if part.unit else len(data) - part.tail_size
        if stop > len(data) - part.tail_size:
            raise ValueError(f"{part.name}: expected {part.count} within its {len(data)} bytes, found {counted}")
        while len(records) <= part.most and (at < stop if part.unit else len(records) < counted):
            record, size = self._record(self._records[part.record], data[at:stop], began_ns)
            records.append(record)
            at += size
        if len(records) > part.most:
            raise ValueError(f"{part.name}: expected at most {part.most} records, found {len(records)}")
        return at

    def _record(self, part: Part, data: bytes, began_ns: int) -> tuple[dict[str, Any], int]:
        """A record that `data` begins with, and its size."""
        if part.length is not None:
            (row,) = (row for row in part.rows if row["name"] == part.length)
            size = self._value(row, data) * part.length_unit
            if not part.size <= size <= len(data):
                raise ValueError(f"{part.name}: expected {part.length} of {part.size} to {len(data)}, found {size}")
            data = data[:size]
        values, end = self._section(part, data, began_ns, part.align)
        if part.length is None:
            size = -(-end // part.align) * part.align
        _must_be_zeros(part.name, data[end:size], part.align)
        if size > len(data):
            raise ValueError(f"{part.name}: expected {size} bytes, found {len(data)}")
        return values, size

    def _elements(self, part: Part, how: Elements, data: bytes, values: dict[str, Any], began_ns: int) -> int:
        """Elements from the beginning of `data` to its end; where that is."""
        at, head = 0, how.type + how.length
        while at < len(data):
            if len(data) - at < how.rest and not any(data[at:]):
                return len(data)
            number = self._integer(data[at : at + how.type])
            size = self._integer(data[at + how.type : at + head]) * how.unit + (0 if how.whole else head)
            if not head <= size <= len(data) - at:
                raise ValueError(f"{part.name}: expected element {number} to end within it, found {size} bytes")
            self._element(part, number, data[at + head : at + size], values, began_ns)
            at = -(-(at + size) // how.align) * how.align
        return len(data)

    def _element(self, part: Part, number: int, value: bytes, values: dict[str, Any], began_ns: int) -> None:
        if part.record_id == number:
            assert part.record is not None
            record, size = self._record(self._records[part.record], value, began_ns)
            _must_be_zeros(part.name, value[size:], 1 if part.elements is None else part.elements.unit)
            values["records"].append(record)
            if len(values["records"]) > part.most:
                raise ValueError(f"{part.name}: expected at most {part.most} records, found more")
        elif (row := part.by_id.get(number)) is not None:
            if row["name"] in values:
                raise ValueError(f"{part.name}: expected {row['name']} once, found it twice")
            if row["type"] in ("text", "bytes"):
                row = row | {"size": len(value)}
            values[row["name"]] = self._value(row | {"offset": 0}, value, began_ns)

    # -- fields --------------------------------------------------------------------------------------------------------

    def _fields(self, rows: list[dict[str, Any]], data: bytes, began_ns: int) -> dict[str, Any]:
        """Those in fixed places; `data` begins where their offsets count from."""
        return {row["name"]: self._value(row, data, began_ns) for row in rows if row["id"] is None}

    def _integer(self, data: bytes, order: Literal["big", "little"] | None = None, *, signed: bool = False) -> int:
        return int.from_bytes(data, order or self._order, signed=signed)

    def _value(self, row: dict[str, Any], data: bytes, began_ns: int = 0) -> Any:
        data = data[row["offset"] : row["offset"] + row["size"]]
        if len(data) < row["size"]:
            raise ValueError(f"{row['name']}: expected {row['size']} bytes, found {len(data)}")
        kind = row["type"]
        if kind == "text":
            return data.rstrip(b"\0").decode("utf-8", "replace")
        if kind in ("mac", "bytes"):
            return data
        if kind == "time":
            return self._time(row["unit"], data, began_ns, row["order"])
        match = _INTEGER.fullmatch(kind)
        if match is None:
            raise ValueError(f"{row['name']}: expected a type that is known, found {kind}")
        return self._integer(data, row["order"], signed=match[1] == "i")

    def _time(self, unit: str, data: bytes, began_ns: int, order: Literal["big", "little"] | None) -> int:
        """In ns since 1970."""
        if match := re.fullmatch(r"(\w+) since (1970|session began)", unit):
            return self._integer(data, order) * _NS[match[1]] + (began_ns if match[2] == "session began" else 0)
        if match := re.fullmatch(r"s, then (\w+|s / 2\^32) since (1970|session began)", unit):
            seconds, rest = self._integer(data[:4], order), self._integer(data[4:], order)
            # Of 2^-32 s a ns has four: the nearest one is meant.
            rest = rest * _NS["s"] + (1 << 31) >> 32 if match[1] == "s / 2^32" else rest * _NS[match[1]]
            return seconds * _NS["s"] + rest + (began_ns if match[2] == "session began" else 0)
        raise ValueError(f"time: expected a unit that is known, found {unit}")


def _must_be_zeros(where: str, data: bytes, align: int) -> None:
    """What fills something up, and is nothing else."""
    if len(data) >= align or any(data):
        raise ValueError(f"{where}: expected fewer than {align} zeros at its end, found {data.hex()}")


def _turn(line: str) -> tuple[str, str]:
    """ "1. version_request from the MSE": who, and what."""
    match = re.fullmatch(r"\d+\. (\w+) from the (MSE|WLC)", line)
    if match is None:
        raise ValueError(f"dialogue: expected a turn, found {line}")
    return match[2].lower(), match[1]


def _who_asks(line: str) -> str:
    match = re.fullmatch(r"echoes are asked for by the (MSE|WLC)", line)
    if match is None:
        raise ValueError(f"dialogue: expected who asks for echoes, found {line}")
    return match[1].lower()
