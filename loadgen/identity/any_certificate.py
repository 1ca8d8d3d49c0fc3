"""A certificate of anybody's, read from its own bytes as far as it can be.

What real gear has in its certificates, OpenSSL takes: names in Latin-1, `@` and `_` where the standard has none,
defaults that are written out, times without seconds. The library that makes our own refuses such a certificate as a
whole, or its whole name; a controller would not. So what is looked at in a stranger's certificate is read here, piece
by piece, and one piece that cannot be read does not take the others with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple, TypeVar

from loadgen.foreign import plain

_Piece = TypeVar("_Piece")

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
# By tag. TeletexString: Latin-1 is what everybody writes into it, and how OpenSSL reads it.
_ENCODINGS = {12: "utf-8", 30: "utf-16-be", 28: "utf-32-be"} | dict.fromkeys((18, 19, 20, 22, 26), "latin-1")
_COMMON_NAME = bytes.fromhex("550403")
# Object identifiers by their DER; what a name is made of.
_ATTRIBUTES = {
    _COMMON_NAME: "CN",
    bytes.fromhex("550405"): "serialNumber",
    bytes.fromhex("550406"): "C",
    bytes.fromhex("550407"): "L",
    bytes.fromhex("550408"): "ST",
    bytes.fromhex("55040a"): "O",
    bytes.fromhex("55040b"): "OU",
    bytes.fromhex("2a864886f70d010901"): "emailAddress",
    bytes.fromhex("0992268993f22c640119"): "DC",
}
_SIGNATURES = {
    bytes.fromhex("2a864886f70d010102"): "MD2",
    bytes.fromhex("2a864886f70d010104"): "MD5",
    bytes.fromhex("2a864886f70d010105"): "SHA-1",
    bytes.fromhex("2a8648ce3d0401"): "SHA-1",
    bytes.fromhex("2a8648ce380403"): "SHA-1",
}
_RSA, _EC = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a8648ce3d0201")
_SMALL_CURVES = {
    bytes.fromhex("2a8648ce3d030101"): 192,
    bytes.fromhex("2b8104001f"): 192,
    bytes.fromhex("2b81040008"): 160,
}
# OpenSSL's security level 2, which is its default: 112 bits.
_LEAST_RSA_BITS = 2048
_TIME = re.compile(
    r"(?P<year>\d{2}|\d{4})(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)?"
    r"(?:\.\d+)?(?:Z|(?P<sign>[+-])(?P<hours>\d\d)(?P<minutes>\d\d))?",
    re.ASCII,
)
_CENTURY_OF = 50  # RFC 5280: two digits below are of this century, others of the last
_SPECIAL, _ESCAPED = re.compile(r'([,+"\\<>;=])'), r"\\\1"


class UnreadableError(ValueError):
    """Bytes are no certificate; its message says what is wrong."""


class _Element(NamedTuple):
    """A DER element: its tag, and where it and its contents begin and end."""

    tag: int
    start: int
    contents: int
    end: int


class AnyCertificate:
    """What stands in a certificate.

    Attributes:
        der: the whole of it, as it came; what followed it (OpenSSL appends what it trusts one for) is gone.
    """

    def __init__(self, der: bytes) -> None:
        """Raises: UnreadableError: the bytes do not have the parts of a certificate."""
        self.der = der
        whole = self._at(0, len(der), "the certificate", _SEQUENCE)
        self.der = der[: whole.end]
        tbs = self._at(whole.contents, whole.end, "its contents", _SEQUENCE)
        parts = list(self._inside(tbs))
        if parts and parts[0].tag == _VERSION:
            del parts[0]
        if len(parts) < 6:
            raise UnreadableError(f"{len(parts)} of its parts are there, and not serial number to public key")
        _serial, _signature, self._issuer, self._validity, self._subject, self._key = parts[:6]
        self._algorithm = self._at(tbs.end, whole.end, "its signature's algorithm", _SEQUENCE)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyCertificate) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)

    @property
    def spki(self) -> bytes:
        """The DER of SubjectPublicKeyInfo: algorithm and key."""
        return self._whole(self._key)

    @property
    def public_key(self) -> bytes:
        """The contents of its BIT STRING, without the byte that counts unused bits. Raises: UnreadableError."""
        _, bits = self._inside(self._key)
        return self.der[bits.contents + 1 : bits.end]

    @property
    def is_self_signed(self) -> bool:
        """Issuer and subject are the same name."""
        return self._whole(self._issuer) == self._whole(self._subject)

    @cached_property
    def subject(self) -> str | None:
        """The name as RFC 4514 writes it, for a person; None if it cannot be read."""
        return self._readable(lambda: self._name(self._subject))

    @cached_property
    def common_names(self) -> tuple[str, ...]:
        """As they stand there, with whatever is in them."""
        names = self._readable(lambda: list(self._attributes(self._subject))) or ()
        return tuple(text for oid, text in names if oid == _COMMON_NAME)

    @cached_property
    def begins(self) -> datetime | None:
        """From when on it is valid; None if that cannot be read."""
        return self._readable(lambda: self._time(0))

    @cached_property
    def ends(self) -> datetime | None:
        """Until when it is valid; None if that cannot be read."""
        return self._readable(lambda: self._time(1))

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What of it cannot be read, for a person."""
        pieces = (("name", self.subject), ("begin of validity", self.begins), ("end of validity", self.ends))
        return tuple(what for what, piece in pieces if piece is None)

    @cached_property
    def outdated(self) -> str | None:
        """Why OpenSSL's rules of today refuse it, though it took such certificates once; None if they do not."""
        return self._readable(self._outdated)

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _outdated(self) -> str | None:
        kind, parameters = self._kind_of_key()
        if kind == _RSA:
            _, bits = self._inside(self._key)
            key = self._at(bits.contents + 1, bits.end, "its RSA key", _SEQUENCE)
            modulus = int.from_bytes(self._contents(next(self._inside(key))), "big")
            if modulus.bit_length() < _LEAST_RSA_BITS:
                return f"an RSA key of {modulus.bit_length()} bits"
        if kind == _EC and parameters and (size := _SMALL_CURVES.get(self._contents(parameters[0]))):
            return f"a key on a curve of {size} bits"
        digest = _SIGNATURES.get(self._contents(next(self._inside(self._algorithm))))
        # How a self-signed certificate is signed is not checked: a peer that trusts it trusts its key.
        return f"a signature with {digest}" if digest and not self.is_self_signed else None

    def _kind_of_key(self) -> tuple[bytes, list[_Element]]:
        """The object identifier of its kind, and what parameters it has."""
        oid, *parameters = self._inside(next(self._inside(self._key)))
        return self._contents(oid), parameters

    def _name(self, name: _Element) -> str:
        parts = [(_ATTRIBUTES.get(oid) or _dotted(oid), value) for oid, value in self._attributes(name)]
        return plain(",".join(f"{key}={_SPECIAL.sub(_ESCAPED, value)}" for key, value in reversed(parts)))

    def _attributes(self, name: _Element) -> Iterator[tuple[bytes, str]]:
        for relative in self._inside(name):
            for attribute in self._inside(relative):
                oid, value = self._inside(attribute)
                yield self._contents(oid), self._text(value)

    def _text(self, value: _Element) -> str:
        encoding = _ENCODINGS.get(value.tag)
        raw = self._contents(value)
        return "#" + self._whole(value).hex() if encoding is None else raw.decode(encoding, "replace")

    def _time(self, position: int) -> datetime:
        element = list(self._inside(self._validity))[position]
        text = self._contents(element).decode("ascii", "replace")
        found = _TIME.fullmatch(text)
        digits = {_UTC_TIME: 2, _GENERALIZED_TIME: 4}.get(element.tag)
        if found is None or len(found["year"]) != digits:
            raise UnreadableError(f"{text!r} is no time")
        year = int(found["year"])
        if digits == 2:
            year += 2000 if year < _CENTURY_OF else 1900
        month, day, hour, minute = (int(found[part]) for part in ("month", "day", "hour", "minute"))
        local = datetime(year, month, day, hour, minute, int(found["second"] or 0), tzinfo=UTC)
        if found["sign"] is None:
            return local
        ahead = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))
        return local - ahead if found["sign"] == "+" else local + ahead

    def _readable(self, read: Callable[[], _Piece]) -> _Piece | None:
        try:
            return read()
        except (ValueError, OverflowError, StopIteration):  # a time beyond all years; a sequence of nothing
            return None

    # -- DER ---------------------------------------------------------------------------------------------------------

    def _at(self, start: int, end: int, what: str, tag: int) -> _Element:
        element = self._element(start, end)
        if element.tag != tag:
            raise UnreadableError(f"{what} has the tag {element.tag:#04x} and not {tag:#04x}")
        return element

    def _inside(self, element: _Element) -> Iterator[_Element]:
        position = element.contents
        while position < element.end:
            inner = self._element(position, element.end)
            yield inner
            position = inner.end

    def _element(self, start: int, end: int) -> _Element:
        """The element at `start`; nothing of it may lie behind `end`."""
        contents = start + 2
        if contents > end:
            raise UnreadableError(f"it ends at byte {end}, in the middle of something")
        length = self.der[start + 1]
        if length & 0x80:  # long form: the low bits count the length bytes that follow
            contents += length & 0x7F
            length = int.from_bytes(self.der[start + 2 : contents], "big")
        if contents > end or contents + length > end:
            raise UnreadableError(f"what begins at byte {start} is longer than what is there")
        return _Element(self.der[start], start, contents, contents + length)

    def _contents(self, element: _Element) -> bytes:
        return self.der[element.contents : element.end]

    def _whole(self, element: _Element) -> bytes:
        return self.der[element.start : element.end]


def _dotted(oid: bytes) -> str:
    """2.5.4.3 for 550403."""
    numbers, value = [], 0
    for byte in oid:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = numbers[0] if numbers else 0
    top = min(first // 40, 2)
    return ".".join(map(str, [top, first - 40 * top, *numbers[1:]]))
