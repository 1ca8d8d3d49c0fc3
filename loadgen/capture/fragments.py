"""Fragments of IP datagrams, put together in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from loadgen.capture.tally import Tally

__all__ = ["Datagram", "Fragments"]

# How long others are waited for, by the capture's times: later, the identification may be another datagram's.
_PATIENCE_NS = 10_000_000_000
# How long copies of what is whole are taken for such.
_COPIES_NS = 100_000_000
_MOST_PIECES = 256  # of a datagram
_MOST_LENGTH = 0xFFFF
_MOST_BYTES = 1 << 22  # of all that wait
_PIECE_COST = 200  # bytes of memory beside a piece's own


class Datagram(NamedTuple):
    data: bytes  # up to the first byte that the capture does not have
    length: int


@dataclass(slots=True)
class _Waiting:
    """Of one identification. whole: given out; what comes now is a copy."""

    began_ns: int
    pieces: dict[int, tuple[bytes, int]] = field(default_factory=dict)  # by offset: what was captured; length
    received: int = 0
    length: int | None = None
    cost: int = _PIECE_COST
    is_whole: bool = False


class Fragments:
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._waiting: dict[bytes, _Waiting] = {}  # by first fragment
        self._cost = 0

    def add(self, key: bytes, ns: int, offset: int, more: bool, data: bytes, length: int) -> Datagram | None:
        """One fragment of the datagram that a key names; the datagram, where this makes it whole.

        Args:
            more: others are behind it.
            data: what was captured of its `length` bytes.
        """
        waiting = self._waiting.get(key)
        if waiting is not None:
            patience = _COPIES_NS if waiting.is_whole else _PATIENCE_NS
            if not 0 <= ns - waiting.began_ns <= patience:
                self._drop(key)
                waiting = None
        if offset + length > _MOST_LENGTH or (more and length % 8) or not length:
            self._tally.malformed += 1
            return None
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(ns)
            self._cost += waiting.cost
        if waiting.is_whole or offset in waiting.pieces:
            return None
        waiting.pieces[offset] = (data, length)
        waiting.received += length
        waiting.cost += len(data) + _PIECE_COST
        self._cost += len(data) + _PIECE_COST
        if not more:
            waiting.length = offset + length
        whole = None
        if waiting.length is not None and waiting.received >= waiting.length:
            whole = _joined(waiting.pieces, waiting.length)
        if whole is not None:
            self._cost -= waiting.cost - _PIECE_COST
            self._waiting[key] = _Waiting(ns, is_whole=True)
        elif len(waiting.pieces) == _MOST_PIECES:
            self._drop(key)
        while self._cost > _MOST_BYTES:
            self._drop(next(iter(self._waiting)))
        return whole

    def finish(self) -> None:
        for key in list(self._waiting):
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        waiting = self._waiting.pop(key)
        self._cost -= waiting.cost
        self._tally.fragments_lost += len(waiting.pieces)


def _joined(pieces: dict[int, tuple[bytes, int]], length: int) -> Datagram | None:
    """Of bytes that are in two fragments, those of the one that begins first. None: some are in none."""
    parts, reached, is_cut = [], 0, False
    for offset in sorted(pieces):
        data, size = pieces[offset]
        if offset > reached:
            return None
        part = data[reached - offset : min(size, length - offset)]
        if offset + size > reached and not is_cut:
            parts.append(part)
            is_cut = len(data) < size
        reached = max(reached, offset + size)
    return Datagram(b"".join(parts), length) if reached >= length else None
