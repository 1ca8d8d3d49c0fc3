"""Checksums of frames: which one, where, over what, found by making all of them of some frames."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fastcrc
import numpy as np

from loadgen.infer.framing import FrameCut, Order
from loadgen.infer.heads import Heads

__all__ = ["FrameSum", "find_checksum", "trailing_constant", "zeros_before"]

Sum = Callable[[bytes], int]

# Frames that a guess is tried on first, and those that it must hold on.
_FIRST, _ALL = 6, 200
# A frame in so many may have been damaged, or cut wrong.
_RIGHT = 0.98
# What may lie behind a checksum, and how far in front of a body it may begin to count.
_BEHIND = (0, 1, 2, 4)
_MOST_SKIPPED = 32


def _reversed_crc(module: Any, names: Sequence[str]) -> Iterator[tuple[str, Sum]]:
    for name in names:
        if (made := getattr(module, name, None)) is not None:
            yield name, made


def _sum_of(size: int) -> Sum:
    mask = (1 << 8 * size) - 1
    return lambda data: sum(data) & mask


def _negative_sum(size: int) -> Sum:
    mask = (1 << 8 * size) - 1
    return lambda data: -sum(data) & mask


def _xor(data: bytes) -> int:
    return int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8))) if data else 0


def _internet(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = int(np.frombuffer(data, ">u2").sum(dtype=np.int64))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _internet_little(data: bytes) -> int:
    """The same of words with their lower byte first; it is the same one with its bytes swapped."""
    made = _internet(data)
    return made >> 8 | (made & 0xFF) << 8


def _words(size: int, order: str) -> Sum:
    def made(data: bytes) -> int:
        data += bytes(-len(data) % size)
        return int(np.frombuffer(data, f"{'>' if order == 'big' else '<'}u{size}").sum(dtype=np.uint64)) & (
            (1 << 8 * size) - 1
        )

    return made


def _fletcher16(data: bytes) -> int:
    cells = np.frombuffer(data, np.uint8).astype(np.int64)
    first = int(cells.sum()) % 255
    second = int((cells * np.arange(len(cells), 0, -1)).sum()) % 255
    return second << 8 | first


_CRC_16 = (
    "ibm_3740", "xmodem", "kermit", "ibm_sdlc", "arc", "modbus", "usb", "genibus", "spi_fujitsu", "mcrf4xx", "gsm",
    "maxim_dow", "dnp", "en_13757", "cdma2000", "dect_r", "dect_x", "dds_110", "umts", "t10_dif", "teledisk",
    "tms37157", "riello", "profibus", "opensafety_a", "opensafety_b", "nrsc_5", "lj1200", "m17", "cms",
)  # fmt: skip
_CRC_32 = ("iscsi", "bzip2", "mpeg_2", "cksum", "jamcrc", "aixm", "autosar", "base91_d", "cd_rom_edc", "xfer", "mef")
_CRC_8 = (
    "smbus",
    "maxim_dow",
    "autosar",
    "bluetooth",
    "cdma2000",
    "darc",
    "dvb_s2",
    "gsm_a",
    "gsm_b",
    "i_432_1",
    "rohc",
)


def _sums() -> dict[int, list[tuple[str, Sum]]]:
    """By bytes, the likeliest first."""
    return {
        4: [
            ("crc-32", zlib.crc32),
            ("adler-32", zlib.adler32),
            *((f"crc-32/{name}", made) for name, made in _reversed_crc(fastcrc.crc32, _CRC_32)),
            ("sum", _sum_of(4)),
            ("words-be", _words(4, "big")),
            ("words-le", _words(4, "little")),
        ],
        2: [
            *((f"crc-16/{name}", made) for name, made in _reversed_crc(fastcrc.crc16, _CRC_16)),
            ("internet", _internet),
            ("sum", _sum_of(2)),
            ("words-be", _words(2, "big")),
            ("words-le", _words(2, "little")),
            ("fletcher-16", _fletcher16),
        ],
        1: [
            ("sum", _sum_of(1)),
            ("negative-sum", _negative_sum(1)),
            ("xor", _xor),
            *((f"crc-8/{name}", made) for name, made in _reversed_crc(fastcrc.crc8, _CRC_8)),
        ],
    }


@dataclass(frozen=True, slots=True)
class FrameSum:
    """at: from the frame's first byte; less than 0: from its end. first, behind: it is made of what lies from the byte
    `first` on, without the last `behind` bytes; less than 0: up to so many bytes of the frame. itself: "zeros": its own
    bytes are taken for zeros; "left out"; or "apart": it does not lie among them."""

    kind: str
    at: int
    size: int
    order: Order
    first: int
    behind: int
    itself: str

    def of(self, data: bytes) -> bytes:
        """What a frame's must be made of."""
        at = self.at if self.at >= 0 else len(data) + self.at
        last = -self.behind if self.behind < 0 else len(data) - self.behind
        if self.itself == "apart" or not self.first <= at < last:
            return data[self.first : last]
        between = bytes(self.size) if self.itself == "zeros" else b""
        return data[self.first : at] + between + data[at + self.size : last]

    def raw(self, data: bytes) -> bytes:
        """What a frame has."""
        at = self.at if self.at >= 0 else len(data) + self.at
        return data[at : at + self.size]

    def told(self, data: bytes) -> int:
        return int.from_bytes(self.raw(data), self.order)

    def evidence(self, right: float, frames: int) -> str:
        end = "its end" if not self.behind else f"{self.behind} bytes before its end"
        end = f"byte {-self.behind}" if self.behind < 0 else end
        how = {"zeros": ", with zeros for itself", "left out": ", itself left out", "apart": ""}[self.itself]
        return f"{self.kind} over byte {self.first} of the frame to {end}{how}: right in {right:.1%} of {frames} frames"


def find_checksum(heads: Heads, framing: FrameCut) -> tuple[FrameSum, float] | None:
    """The checksum of frames, and the share of frames in which it is right. None: none was found."""
    chosen = _sample(heads)
    if len(chosen) < _FIRST:
        return None
    first = chosen[:: max(1, len(chosen) // _FIRST)][:_FIRST]
    length = range(framing.at, framing.at + framing.size)
    for size, sums in _sums().items():
        found = []
        for at in _places(heads, size, first, length):
            for checksum, made in _ways(at, size, sums, first[0]):
                if all(made(checksum.of(data)) == checksum.told(data) for data in first[1:]):
                    right = sum(made(checksum.of(data)) == checksum.told(data) for data in chosen) / len(chosen)
                    if right >= _RIGHT:
                        found.append((checksum, right))
        if found:
            return min(found, key=lambda row: (_goes_on(heads, row[0]), *_doubt(row[0], chosen)))
    return None


def _goes_on(heads: Heads, checksum: FrameSum) -> int:
    """How regular it is, in tenths: the share of its frames that have the likeliest value, or that many more than the
    frame before.

    Where all bytes together make 0, as with an XOR, each of them is right as the checksum of the others: it is the one
    that nothing else explains, and no counter.
    """
    told = np.array([checksum.told(frame.data) for frame in heads.frames], np.int64)
    rows = np.flatnonzero(heads.follows)
    steps = (told[rows] - told[rows - 1]) & ((1 << 8 * checksum.size) - 1)
    most = max(int(np.unique(some, return_counts=True)[1].max()) / len(some) for some in (told, steps) if len(some))
    return int(10 * most)


def _doubt(checksum: FrameSum, frames: Sequence[bytes]) -> tuple[int, int, bool, int]:
    """Of several that are right, the least: zeros in front of what is summed up do not matter, nor which word of an
    Internet checksum's is made of the others. A checksum has any value in each of its bytes."""
    raw = [checksum.raw(data) for data in frames]
    various = min(len({part[step] for part in raw}) for step in range(checksum.size))
    return -(various // 16), checksum.at % checksum.size, checksum.itself == "left out", checksum.first


def _sample(heads: Heads) -> list[bytes]:
    """Frames of all sizes, and not the same ones twice."""
    order = np.linspace(0, len(heads) - 1, min(len(heads), 4 * _ALL)).astype(int)
    found = [*dict.fromkeys(heads.frames[row].data for row in order.tolist())]
    found = [data for data in found if len(data) <= 4096]
    return found[:: max(1, len(found) // _ALL)][:_ALL]


def _places(heads: Heads, size: int, first: Sequence[bytes], length: range) -> list[int]:
    """Where one may lie: at the end, or in the header; where bytes differ from frame to frame."""
    least = 3
    found = []
    shortest = heads.shortest
    for behind in _BEHIND:
        if size + behind + length.stop <= shortest:
            at = -size - behind
            if len({data[at : at + size or None] for data in first}) >= least:
                found.append(at)
    for at in range(heads.width - size + 1):
        if set(range(at, at + size)) & set(length):
            continue
        if len({data[at : at + size] for data in first}) >= least:
            found.append(at)
    return found


def _ways(at: int, size: int, sums: Sequence[tuple[str, Sum]], data: bytes) -> Iterator[tuple[FrameSum, Sum]]:
    """Those that hold for one frame. One byte is too little to try everything on."""
    place = at if at >= 0 else len(data) + at
    raw = data[place : place + size]
    orders: tuple[Order, ...] = ("big", "little") if size > 1 else ("big",)
    told: dict[int, Order] = {}
    for order in reversed(orders):
        told[int.from_bytes(raw, order)] = order
    ends = sorted({0, -at - size, -at}) if at < 0 else [0, 1, 2, 4]
    # A trailer may begin with zeros, and be no part of what is summed up.
    ends += [filled - at for filled in range(1, 5) if at < 0 and data[place - filled : place] == bytes(filled)]
    spans = [(first, behind) for first in range(min(_MOST_SKIPPED, len(data)) + 1) for behind in ends]
    # The header alone, from its beginning or from behind the sum.
    least = place + size if at >= 0 else 4
    spans += [(0, -last) for last in range(least, min(_MOST_SKIPPED, len(data)) + 1)]
    for first, behind in spans:
        last = -behind if behind < 0 else len(data) - behind
        apart = first >= place + size or last <= place
        if not apart and not first <= place <= last - size:
            continue
        for itself in ("apart",) if apart else ("zeros", "left out"):
            part = FrameSum("", at, size, orders[0], first, behind, itself).of(data)
            if not part:
                continue
            for kind, made in sums:
                value = made(part)
                if value in told:
                    yield FrameSum(kind, at, size, told[value], first, behind, itself), made


def trailing_constant(heads: Heads, least: int) -> int:
    """How many bytes at the end of every frame are the same, and not 0 throughout: an end mark."""
    most = min(4, heads.shortest - least)
    ends = np.array([[*data[len(data) - most :]] for data in (f.data for f in heads.frames)], np.uint8)
    size = 0
    while size < most and (ends[:, most - 1 - size] == ends[0, most - 1 - size]).all():
        size += 1
    while size and not ends[0, most - size]:
        size -= 1
    return size


def zeros_before(heads: Heads, trailer: int, least: int) -> int:
    """How many bytes in front of a trailer are 0 in every frame, of many: at most 4."""
    if len(heads) < 50:
        return 0
    most = min(4, heads.shortest - trailer - least)
    size = 0
    while size < most and not any(frame.data[len(frame.data) - trailer - size - 1] for frame in heads.frames):
        size += 1
    return size
