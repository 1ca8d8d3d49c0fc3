"""Times as devices write them: in a unit, since an epoch, in 32 or 64 bits. Whatever fits no more wraps around."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.profile_document import ElementDocument, FieldDocument
from loadgen.units import NS_PER_MS, NS_PER_S

Number = TypeVar("Number", int, NDArray[np.int64])

_PER_UNIT = {"s": NS_PER_S, "ms": NS_PER_MS, "us": 1_000, "ns": 1}
_HALF = 32
_LOW = (1 << _HALF) - 1
_BITS = 64


class DeviceTime:
    """How one field tells a time. Conversions take one number, or an int64 array of them.

    Attributes:
        since_began: it counts from when the session began; otherwise since 1970.
        range_ns: after so long it is the same number again; 0: never.
        step_ns: what its last digit is worth.
        size, unit: as the profile has them.
    """

    def __init__(self, field: FieldDocument | ElementDocument, order: str) -> None:
        bits, unit = 8 * (field.size or 0), field.unit or "s"
        self.size, self.unit = field.size or 0, unit
        self.since_began = field.epoch == "session"
        self._seconds_first = order == ">"
        self._is_pair = "+" in unit
        self._is_fraction = unit == "s+frac"
        self._mask = (1 << min(bits, _BITS - 1)) - 1  # of 64 bits: as many as a signed number has
        if self._is_pair:
            self._per = _PER_UNIT.get(unit.removeprefix("s+"), 1)
            self.step_ns, self.range_ns = self._per, NS_PER_S << _HALF
        else:
            self._per = self.step_ns = _PER_UNIT[unit]
            self.range_ns = self._per << bits if bits < _BITS else 0

    def to_wire(self, time_ns: Number) -> Number:
        """What the field holds, as one unsigned number of its width. Args: time_ns: since its epoch."""
        if not self._is_pair:
            return time_ns // self._per & self._mask
        seconds, rest = time_ns // NS_PER_S, time_ns % NS_PER_S
        part = (rest << _HALF) // NS_PER_S if self._is_fraction else rest // self._per
        seconds = seconds & _LOW
        return (seconds << _HALF) + part if self._seconds_first else (part << _HALF) + seconds

    def from_wire(self, number: Number) -> Number:
        """The time since its epoch (ns), of what `range_ns` has left of it."""
        if not self._is_pair:
            return number * self._per
        first, second = number >> _HALF & _LOW, number & _LOW
        seconds, part = (first, second) if self._seconds_first else (second, first)
        # Rounded up, as a fraction was cut off: so a time comes back as it was.
        rest = -(-part * NS_PER_S >> _HALF) if self._is_fraction else part * self._per
        return seconds * NS_PER_S + rest

    def age_ns(self, done_ns: Number, number: Number) -> Number:
        """How long before `done_ns` (since its epoch) it was; negative: after it. The nearest that it can have been."""
        since = done_ns - self.from_wire(number)
        if not self.range_ns:
            return since
        half = self.range_ns >> 1
        return (since + half) % self.range_ns - half
