"""Checksums of frames: a number over some of a frame's bytes, its own taken for zeros.

The CRCs are fastcrc's, by the names of the RevEng catalogue ("CCITT" is said of all four of 16 bits: ibm-3740 begins
with 0xFFFF, xmodem with 0, kermit and ibm-sdlc have the least significant bit first); crc-32 is its ISO-HDLC, which
zlib has as well, and slower for frames of some hundred bytes. "sum" is that of the bytes, modulo the field's width;
"internet" the ones' complement sum of RFC 1071.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Literal, TypeAlias

from fastcrc import crc16, crc32

from loadgen.nmsp.profile_document import ChecksumKind

Sum: TypeAlias = Callable[[bytes | memoryview], int]

# The types that a field `checksum` may have.
CHECKSUM_TYPES: dict[ChecksumKind, tuple[str, ...]] = {
    "crc-32": ("u32",),
    "crc-16/ibm-3740": ("u16",),
    "crc-16/xmodem": ("u16",),
    "crc-16/kermit": ("u16",),
    "crc-16/ibm-sdlc": ("u16",),
    "sum": ("u8", "u16", "u32"),
    "internet": ("u16",),
}
# How each is made, for people who write a decoder.
CHECKSUM_WORDS: dict[ChecksumKind, str] = {
    "crc-32": "polynomial 0x04C11DB7, least significant bit first, begins with 0xFFFFFFFF, inverted at the end",
    "crc-16/ibm-3740": "polynomial 0x1021, most significant bit first, begins with 0xFFFF",
    "crc-16/xmodem": "polynomial 0x1021, most significant bit first, begins with 0",
    "crc-16/kermit": "polynomial 0x1021, least significant bit first, begins with 0",
    "crc-16/ibm-sdlc": "polynomial 0x1021, least significant bit first, begins with 0xFFFF, inverted at the end",
    "sum": "the sum of the bytes, of which the field holds the lower end",
    "internet": "ones' complement of the ones' complement sum of u16, with a zero behind an odd last byte (RFC 1071)",
}
# Adler-32's lower half is 1 + the sum of the bytes, modulo 65,521: exact for as many bytes as this, and in C.
_ADLER_BYTES = 256


def _sum(data: bytes | memoryview) -> int:
    if len(data) <= _ADLER_BYTES:
        return (zlib.adler32(data) & 0xFFFF) - 1
    return sum((zlib.adler32(data[at : at + _ADLER_BYTES]) & 0xFFFF) - 1 for at in range(0, len(data), _ADLER_BYTES))


def _internet(data: bytes | memoryview, order: Literal["big", "little"]) -> int:
    # 2^16 is 1 modulo 0xFFFF, so the number that the bytes are has the same remainder as the sum of its words. A byte
    # that is missing at the end would be the last one: the upper one of a word in little-endian order.
    whole = int.from_bytes(data, order) << (8 * (len(data) & 1) if order == "big" else 0)
    total = whole % 0xFFFF or (0xFFFF if whole else 0)
    return total ^ 0xFFFF


def sum_of(kind: ChecksumKind, bits: int, order: Literal["big", "little"]) -> Sum:
    """The function of a kind of checksum, for a field of so many bits in this byte order.

    The Internet checksum is the same bytes in either order (RFC 1071 2B), as it is made of words in that order, too.
    """
    if kind == "sum":
        mask = (1 << bits) - 1
        return lambda data: _sum(data) & mask
    functions: dict[ChecksumKind, Sum] = {
        "crc-32": crc32.iso_hdlc,
        "crc-16/ibm-3740": crc16.ibm_3740,
        "crc-16/xmodem": crc16.xmodem,
        "crc-16/kermit": crc16.kermit,
        "crc-16/ibm-sdlc": crc16.ibm_sdlc,
        "internet": lambda data: _internet(data, order),
    }
    return functions[kind]
