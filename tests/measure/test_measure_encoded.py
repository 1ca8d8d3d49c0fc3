"""What is read of encoded histograms is what HdrHistogram's own decoder reads, however many are read at once."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from measure_samples import HOUR_NS, REPEATABLE, durations, plain_histogram

from loadgen.measure.encoded import BINS, bins_and_counts

VALUES = st.lists(st.integers(0, HOUR_NS) | st.integers(0, 5000), max_size=40)


def witness(encoded: bytes) -> tuple[list[int], list[int]]:
    """By the library: the bins that are not empty, and what they hold."""
    counts = np.frombuffer(HdrHistogram.decode(encoded).counts, np.int64)
    held = np.flatnonzero(counts)
    return held.tolist(), counts[held].tolist()


def read(*encoded: bytes) -> list[tuple[list[int], list[int]]]:
    found = bins_and_counts(encoded)
    assert [each.total for each in found] == [int(each.counts.sum()) for each in found]
    return [(each.bins.tolist(), each.counts.tolist()) for each in found]


def packed(numbers: bytes) -> bytes:
    """An encoded histogram around any numbers."""
    body = struct.pack(">IIIIQQd", 0x1C849313, len(numbers), 0, 3, 1, HOUR_NS, 1.0) + numbers
    deflated = zlib.compress(body)
    return base64.b64encode(struct.pack(">II", 0x1C849314, len(deflated)) + deflated)


def number(value: int) -> bytes:
    """As the format has it, written from its description: zigzag, then 7 bits a byte."""
    left, octets = (value << 1) ^ (value >> 63), bytearray()
    while left >= 0x80:
        octets.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*octets, left])


def test_as_many_bins_as_hdrh_has() -> None:
    assert HdrHistogram(1, HOUR_NS, 3).counts_len == BINS


@given(st.lists(VALUES, max_size=6))
@REPEATABLE
def test_any_number_of_them_at_once(columns: list[list[int]]) -> None:
    encoded = [bytes(plain_histogram(column).encode()) for column in columns]
    assert read(*encoded) == [witness(each) for each in encoded]


def test_of_columns_as_they_come() -> None:
    encoded = [bytes(plain_histogram(durations(seed, 5000).tolist()).encode()) for seed in range(4)]
    assert read(*encoded) == [witness(each) for each in encoded]


@given(st.lists(st.integers(-300, 1 << 40), max_size=30))
@REPEATABLE
def test_counts_of_any_size(numbers: list[int]) -> None:
    encoded = packed(b"".join(map(number, numbers)))
    bins, counts, at = [], [], 0
    for each in numbers:
        if each > 0:
            bins.append(at)
            counts.append(each)
        at += max(1, -each)
    assert read(encoded) == [(bins, counts)]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (b"\x81", "varint that is cut off"),
        (number(3) + b"\xff" * 3, "varint that is cut off"),
        (b"\xff" * 9, "counts that no run reaches"),
        (b"\xff" * 8 + b"\x01", "counts that no run reaches"),
        (number(1 << 50) + number(1), "counts that no run reaches"),
        (number(-BINS) + number(1), "an overrun"),
        (number(-(1 << 40)), "an overrun"),
        (number(-20_000) * 2, "an overrun"),
    ],
)
def test_what_is_none_spoils_those_beside_it(numbers: bytes, message: str) -> None:
    good = bytes(plain_histogram([5, 7]).encode())
    for column in ([packed(numbers)], [good, packed(numbers)], [packed(numbers), good]):
        with pytest.raises(ValueError, match=message):
            bins_and_counts(column)


def test_bins_up_to_the_last() -> None:
    assert read(packed(number(1 - BINS) + number(4)), packed(number(2) * BINS)) == [
        ([BINS - 1], [4]),
        (list(range(BINS)), [2] * BINS),
    ]
