"""What is around every message's body: header, trailer, checksum, and how long a frame is."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.catalogue import CATALOGUE, class_of
from loadgen.nmsp.checksum import sum_of
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.parts import Record, up_to
from loadgen.nmsp.profile_document import ProfileDocument

# What is put in when a frame is written, and not when it is made.
_NUMBERS = ("frame_number", "acknowledged")


class Framing:
    """A compiled profile's frames.

    Attributes:
        header, trailer: their layouts. head, foot: bytes in front of and behind the body.
        ids: wire id of each kind. constants: of each kind, and of each opaque message by its name, every field of its
            header that is always the same.
        common: those of them that are the same in all messages: what is not like that is garbage. varied: of each kind,
            the others, but for its id.
        align: a frame's size is a multiple of so many bytes, and `over` more.
        unit, added: the frame has `length` times `unit` plus `added` bytes.
        id_fields: where a message's id is: in one field, or in two with the type in the upper bits.
        numbers: layouts and offsets of `frame_number` and `acknowledged`, where there are any; first: of the former.
    """

    def __init__(self, document: ProfileDocument, kinds: dict[str, Kind], order: str) -> None:
        header = document.header
        self.header = Record(header.fields, header.size, order)
        self.trailer = None
        if document.trailer is not None:
            self.trailer = Record(document.trailer.fields, document.trailer.size, order)
        self.head, self.foot = header.size, 0 if self.trailer is None else self.trailer.size
        self.max_bytes = document.max_frame_bytes
        self.unit, self.align = header.length_unit, max(header.align, header.length_unit)
        ends = {name: offset + self.header.widths[name] for name, offset in self.header.offsets.items()}
        self.added = {"frame": 0, "body": self.head + self.foot, "rest": ends["length"]}[header.length_counts]
        self.added -= header.length_adds
        self.over = self.added % self.align if self.align == self.unit else 0
        self.id_fields = ("msg_id",) if "msg_id" in self.header.names else ("msg_type", "msg_subtype")
        self._subtype_bits = 8 * self.header.widths[self.id_fields[-1]] if len(self.id_fields) > 1 else 0
        self.ids = {kinds[name]: message.id for name, message in document.messages.items()}
        self._kinds_of: dict[int, tuple[Kind, ...]] = {}
        for kind, number in self.ids.items():
            self._kinds_of[number] = (*self._kinds_of.get(number, ()), kind)
        for opaque in document.opaque.values():  # whose header nobody looks at
            self._kinds_of.pop(opaque.id, None)
        self.constants: dict[Kind | str, dict[str, int]] = {}
        for name, message in document.messages.items():
            side, what = CATALOGUE[kinds[name]].sender.name.lower(), class_of(kinds[name])
            self.constants[kinds[name]] = self._constants(document, side, what, message.id, message.header)
        for name, opaque in document.opaque.items():  # of "either" side: `check` has seen to it that it does not matter
            side = "mse" if opaque.sender == "mse" else "wlc"
            what = "response" if opaque.answers else "request" if side == "mse" else "notification"
            self.constants[name] = self._constants(document, side, what, opaque.id, opaque.header)
        varying = {name for message in document.messages.values() for name in message.header}
        varying |= {name for opaque in document.opaque.values() for name in opaque.header}
        self.common = {name: value for name, value in self.header.constants.items() if name not in varying}
        self.varied = {
            kind: {
                name: value
                for name, value in constants.items()
                if name not in self.common and name not in self.id_fields
            }
            for kind, constants in self.constants.items()
        }
        self.has_transaction = "transaction" in self.header.names
        self.numbers: dict[str, tuple[Struct, int]] = {
            name: (self.header.field_struct(name), self.header.offsets[name])
            for name in _NUMBERS
            if name in self.header.names
        }
        self.first = next((field.first for field in header.fields if field.name == "frame_number"), 0)
        self.checksum = None if document.checksum is None else Checksum(document, self, order)
        self._common_at = [(self.header.names.index(name), name, value) for name, value in self.common.items()]
        self._length_at = self.header.names.index("length")
        self._length, self._length_offset = self.header.field_struct("length"), self.header.offsets["length"]
        self._id_at = [self.header.names.index(name) for name in self.id_fields]
        self._transaction_at = self.header.names.index("transaction") if self.has_transaction else None

    def _constants(
        self, document: ProfileDocument, side: str, what: str, number: int, own: dict[str, int]
    ) -> dict[str, int]:
        """Args: side: that says it. what: it is, of `CLASSES`."""
        found = dict(self.header.constants)
        for field in document.header.fields:
            if field.values:
                found[field.name] = field.values[side] if side in field.values else field.values[what]
        if len(self.id_fields) == 1:
            found["msg_id"] = number
        else:
            found["msg_type"] = number >> self._subtype_bits
            found["msg_subtype"] = number & (1 << self._subtype_bits) - 1
        return found | own

    @property
    def is_plain(self) -> bool:
        """A header with one id, a transaction and constants; behind the body at most a trailer, with a checksum of what
        is in front of it; all in one byte order.
        """
        checksum = self.checksum
        return (
            self.has_transaction
            and len(self.id_fields) == 1
            and self.common.keys() == self.header.constants.keys()
            and not self.numbers
            and (checksum is None or (checksum.offset < 0 and not checksum.covers_itself))
            and self.align == 1
            and not any(self.varied.values())
            and not self.header.is_turned
            and not (self.trailer is not None and self.trailer.is_turned)
        )

    def frame_bytes(self, body_bytes: int) -> int:
        """The size of a frame with such a body."""
        return up_to(self.head + body_bytes + self.foot - self.over, self.align) + self.over

    def padding(self, body_bytes: int) -> int:
        """Zeros at the end of a body of so many bytes."""
        return self.frame_bytes(body_bytes) - self.head - body_bytes - self.foot

    def head_of(self, kind: Kind | str, body_bytes: int, transaction: int = 0) -> bytes:
        """The header of a frame whose body has `body_bytes` bytes (with its padding), without numbers and checksum."""
        values = {
            **dict.fromkeys((*_NUMBERS, "checksum"), 0),
            **self.constants[kind],
            "length": (self.head + body_bytes + self.foot - self.added) // self.unit,
            "transaction": transaction,
        }
        return self.header.struct.pack(*(values[name] for name in self.header.names))

    def around(self, kind: Kind | str, body: bytes, transaction: int = 0) -> bytes:
        """The frame of a body, sealed but for the numbers that it has when it is written: see `number`."""
        body += bytes(self.padding(len(body)))
        frame = self.head_of(kind, len(body), transaction) + body
        if self.trailer is not None:
            constants = {"checksum": 0, **self.trailer.constants}
            frame += self.trailer.struct.pack(*(constants[name] for name in self.trailer.names))
        if self.checksum is None or self.numbers:
            return frame
        sealed = bytearray(frame)
        self.checksum.put(memoryview(sealed))
        return bytes(sealed)

    def number(self, frame: bytes, number: int, acknowledged: int) -> bytes:
        """A frame with its numbers in: how many its sender has sent before it, and how many it has received."""
        numbered = bytearray(frame)
        self.put_numbers(memoryview(numbered), number, acknowledged)
        return bytes(numbered)

    def put_numbers(self, frame: memoryview, number: int, acknowledged: int) -> None:
        """The same of a frame in place."""
        for name, value in zip(_NUMBERS, (number + self.first, acknowledged + self.first - 1), strict=True):
            if name in self.numbers:
                layout, offset = self.numbers[name]
                layout.pack_into(frame, offset, value & (1 << 8 * layout.size) - 1)
        if self.checksum is not None:
            self.checksum.put(frame)

    def size_of(self, data: memoryview, position: int) -> int:
        """The size of a frame of our own that begins there."""
        counted: int = self._length.unpack_from(data, position + self._length_offset)[0]
        return counted * self.unit + self.added

    @property
    def skeleton(self) -> list[tuple[int, int]]:
        """Offset and size of what is the same in the headers of all frames of one kind and size."""
        names = {*self.constants[Kind.MEASUREMENT_NOTIFY], "length"}
        return [(self.header.offsets[name], self.header.widths[name]) for name in names]

    def size_untrusted(self, header: Sequence[int]) -> int:
        """The size of a frame with this header.

        Raises:
            RemoteProtocolError: `garbage`, a constant is another; `malformed`, `oversized`: no frame is that long.
        """
        for index, name, value in self._common_at:
            if header[index] != value:
                raise RemoteProtocolError("garbage", f"expected {name} {value:#x}, found {header[index]:#x}")
        size = header[self._length_at] * self.unit + self.added
        least = self.head + self.foot
        if not least <= size <= self.max_bytes:
            kind = "malformed" if size < least else "oversized"
            raise RemoteProtocolError(kind, f"expected a frame of {least} to {self.max_bytes} bytes, found {size}")
        return size

    def id_of(self, header: Sequence[int]) -> int:
        """The id of a frame with this header."""
        number = header[self._id_at[0]]
        return number if len(self._id_at) == 1 else number << self._subtype_bits | header[self._id_at[1]]

    def transaction_of(self, header: Sequence[int]) -> int:
        """Its transaction; 0 where the profile has none."""
        return 0 if self._transaction_at is None else header[self._transaction_at]

    def check_untrusted(self, number: int, header: Sequence[int], frame: memoryview) -> None:
        """Look at what only a whole frame shows. Args: number: the id in its header.

        Raises:
            RemoteProtocolError: `checksum`; `garbage`, a constant of this message's header is another.
        """
        if self.checksum is not None:
            expected, found = self.checksum.of(frame), self.checksum.in_frame(frame)
            if expected != found:
                raise RemoteProtocolError(
                    "checksum", f"expected {expected:#x} over {len(frame)} bytes, found {found:#x}"
                )
        kinds = self._kinds_of.get(number, ())
        if kinds and not any(self._has_constants(kind, header) for kind in kinds[1:]):
            self.check_constants_untrusted(kinds[0], header)

    def _has_constants(self, kind: Kind, header: Sequence[int]) -> bool:
        return all(header[self.header.names.index(name)] == value for name, value in self.varied[kind].items())

    def check_constants_untrusted(self, kind: Kind, header: Sequence[int]) -> None:
        """What is a constant in the headers of this message alone.

        Raises:
            RemoteProtocolError: `garbage`, it is another.
        """
        for name, value in self.varied[kind].items():
            found = header[self.header.names.index(name)]
            if found != value:
                raise RemoteProtocolError("garbage", f"expected {name} {value:#x} in {kind.label}, found {found:#x}")


class Checksum:
    """Where a frame's checksum is, and over what.

    Attributes:
        layout: of the field; lie: how it lies (`lie_of`).
        offset: from the frame's beginning; or, negative, from its end.
        covered: the bytes that it is made of. covers_itself: its own are among them, as zeros.
        of_bytes: what makes it of them. is_linear: where two pieces of bytes differ in the same bits as two others do,
            their checksums do, too.
    """

    def __init__(self, document: ProfileDocument, framing: Framing, order: str) -> None:
        assert document.checksum is not None
        over = document.checksum.over
        in_header = "checksum" in framing.header.names
        record = framing.header if in_header else framing.trailer
        assert record is not None  # `check` has seen to it
        self.layout, self.lie = record.field_struct("checksum"), record.lies["checksum"]
        self.offset = record.offsets["checksum"] - (0 if in_header else framing.foot)
        begin = 0 if "header" in over else framing.head if "body" in over else -framing.foot
        end = None if "trailer" in over else framing.head if "body" not in over else -framing.foot or None
        self.covered = slice(begin, end)
        self.of_bytes = sum_of(document.checksum.kind, 8 * self.layout.size, document.byte_order)
        self.is_linear = document.checksum.kind.startswith("crc-")
        self.covers_itself = ("header" if in_header else "trailer") in over

    def _at(self, frame: memoryview) -> int:
        return self.offset if self.offset >= 0 else len(frame) + self.offset

    def of(self, frame: memoryview) -> int:
        """What it must be."""
        if not self.covers_itself:
            return self.of_bytes(frame[self.covered])
        blank, at = bytearray(frame), self._at(frame)
        blank[at : at + self.layout.size] = bytes(self.layout.size)
        return self.of_bytes(memoryview(blank)[self.covered])

    def in_frame(self, frame: memoryview) -> int:
        """What it is."""
        found: int = self.layout.unpack_from(frame, self._at(frame))[0]
        return found

    def put(self, frame: memoryview) -> None:
        """Write it into a frame."""
        at = self._at(frame)
        frame[at : at + self.layout.size] = bytes(self.layout.size)
        self.layout.pack_into(frame, at, self.of_bytes(frame[self.covered]))
