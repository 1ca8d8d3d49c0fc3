"""An encoded HdrHistogram (V2, compressed, base64), read as its bins that are not empty, without room for all others.

A master of hundreds of workers takes thousands of histograms a second; hdrh's own decoder makes 270 kB of each.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.units import NS_PER_S

LOWEST_NS = 1
HIGHEST_NS = 3600 * NS_PER_S
DIGITS = 3
# Of three digits: 2048 sub-buckets of unit size, then 1024 for each doubling, up to that which holds HIGHEST_NS.
BINS = ((HIGHEST_NS // 2048).bit_length() + 2) << 10

# Cookie and length around a deflated body, which begins with cookie, length, offset, digits, lowest, highest and a
# conversion ratio that nobody uses.
_OUTER = struct.Struct(">II")
_OUTER_COOKIE = 0x1C849304 | 0x10
_INNER = struct.Struct(">IIIIQQd")
_INNER_COOKIE = 0x1C849303 | 0x10
_MAX_BODY = _INNER.size + 9 * BINS  # 9 bytes are the most that a count takes
MAX_COUNT = 1 << 50  # far above any run, and sums of it stay far below 64 bits
TOO_MANY = "counts that no run reaches"
# As many as counts up to MAX_COUNT take, at 7 bits a byte and with their sign.
_MAX_VARINT = 8
_OVERRUN = f"more than {BINS:,} bins: an overrun"

Int64s = NDArray[np.int64]


class BinsAndCounts(NamedTuple):
    """Attributes: bins: that are not empty, in order. counts: what each of them holds. total: all of them together."""

    bins: Int64s
    counts: Int64s
    total: int


def bins_and_counts(encoded: Sequence[bytes]) -> list[BinsAndCounts]:
    """What is in each of these. A column of forty costs little more than one of them alone.

    Raises:
        ValueError: one is none, or not one of ns to three digits; the message says what it is.
    """
    if not encoded:
        return []
    bodies = [_body(each)[_INNER.size :] for each in encoded]
    octets = np.frombuffer(b"".join(bodies), np.uint8)
    octet_ends = np.cumsum([len(body) for body in bodies], dtype=np.int64)
    ends = np.flatnonzero(octets < 0x80)  # of numbers, and of every body
    numbers = _numbers(octets, ends, octet_ends[[len(body) > 0 for body in bodies]])
    # A number from 0 on is the count of one bin; -n stands for n bins that are empty.
    steps = np.maximum(-numbers, 1)
    if int(steps.max(initial=0)) > BINS:
        raise ValueError(_OVERRUN)
    after = _sums(steps)
    last = np.searchsorted(ends, octet_ends)  # numbers until the end of each body
    first = np.concatenate(([0], last[:-1]))
    if int((after[last] - after[first]).max(initial=0)) > BINS:
        raise ValueError(_OVERRUN)
    held = np.flatnonzero(numbers > 0)
    counts, bins = numbers[held], after[held + 1] - 1
    begin, end = np.searchsorted(held, first), np.searchsorted(held, last)
    in_float = _sums(counts.astype(np.float64))  # which cannot wrap
    if len(counts) and float((in_float[end] - in_float[begin]).max()) > MAX_COUNT:
        raise ValueError(TOO_MANY)
    upto = _sums(counts)
    totals = (upto[end] - upto[begin]).tolist()
    slices = zip(begin.tolist(), end.tolist(), after[first].tolist(), totals, strict=True)
    return [BinsAndCounts(bins[low:high] - zero, counts[low:high], total) for low, high, zero, total in slices]


def _sums(values: NDArray[Any]) -> NDArray[Any]:
    """Of none of them, of the first, of the first two and so on."""
    sums = np.zeros(len(values) + 1, values.dtype)
    np.cumsum(values, out=sums[1:])
    return sums


def _numbers(octets: NDArray[np.uint8], ends: Int64s, bodies: Int64s) -> Int64s:
    """Variable-length integers: 7 bits a byte, the lowest first, the lowest of all the sign.

    Args:
        ends: the last octet of each.
        bodies: behind the last octet of each body that has any.
    """
    starts = np.empty(len(ends), np.int64)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    longest = int(lengths.max(initial=0))
    if longest > _MAX_VARINT or len(octets) - (int(ends[-1]) + 1 if len(ends) else 0) > _MAX_VARINT:
        raise ValueError(TOO_MANY)
    if (octets[bodies - 1] >= 0x80).any():
        raise ValueError("a varint that is cut off")
    low = (octets & 0x7F).astype(np.int64)
    values = low[starts]
    for place in range(1, longest):
        longer = np.flatnonzero(lengths > place)
        values[longer] |= low[starts[longer] + place] << (7 * place)
    signed: Int64s = (values >> 1) ^ -(values & 1)
    return signed


def _body(encoded: bytes) -> bytes:
    """What is deflated in it; refuses what would cost any amount of memory: other layouts or sizes, deflate bombs."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if len(raw) < _OUTER.size:
        raise ValueError(f"{len(raw)} bytes")
    cookie, length = _OUTER.unpack_from(raw)
    if cookie != _OUTER_COOKIE:
        raise ValueError(f"cookie 0x{cookie:08x}")
    if length != len(raw) - _OUTER.size:
        raise ValueError(f"{len(raw) - _OUTER.size} of {length} bytes")
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(raw[_OUTER.size :], _MAX_BODY + 1)
    except zlib.error as error:
        raise ValueError("no deflated data") from error
    if not inflate.eof or inflate.unused_data or not _INNER.size <= len(body) <= _MAX_BODY:
        raise ValueError("deflated data of another length")
    inner, size, offset, digits, lowest, highest, _ = _INNER.unpack_from(body)
    if (inner, size, offset) != (_INNER_COOKIE, len(body) - _INNER.size, 0):
        raise ValueError("another kind of histogram")
    if (digits, lowest, highest) != (DIGITS, LOWEST_NS, HIGHEST_NS):
        raise ValueError(f"{lowest:,} to {highest:,} in {digits} digits")
    return body
