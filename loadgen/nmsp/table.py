"""Measurement notifications whose parts lie in fixed places, as a table of these places, for the native turn."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from loadgen.nmsp.messages import STAMPS, Kind
from loadgen.nmsp.profile import WireProfile

# Of ours, those that are read: the name of each in the table.
_READ = dict(zip(STAMPS, ("sequence", "due", "sent"), strict=True)) | {"subservice": "subservice", "time": "time"}


class NumberPlace(NamedTuple):
    """Where a number lies in a frame, in 1, 2, 4 or 8 bytes; 0: nowhere."""

    at: int
    bytes: int
    is_little: bool
    is_signed: bool


_WORD = 8
_MOST_CONSTANTS = 16  # as native.h has it
NOWHERE = NumberPlace(0, 0, is_little=False, is_signed=False)


class NotifyTable(NamedTuple):
    """What a notification is: `fixed` bytes, trailer included, and as many readings of so many bytes as `count` says.

    Attributes:
        places: length, count; sequence, due, sent, subservice, time, which the layout may not carry.
        constants: what never differs, as 64 bits with a sign.
        length_added: to what the length field says, for the size of the frame.
    """

    places: dict[str, NumberPlace]
    constants: list[tuple[NumberPlace, int]]
    length_added: int
    fixed: int
    reading: int
    most_readings: int

    @property
    def alike(self) -> list[tuple[int, int]]:
        """Words of 8 bytes: where, and which bits. A frame that is as another one in these is as large, has the same
        constants, and is about the same subservice. Empty where frames are too short for that.
        """
        same = [self.places[name] for name in ("length", "count", "subservice")]
        same += [place for place, _ in self.constants]
        left = {place.at + byte for place in same for byte in range(place.bytes)}
        words = []
        while left and self.fixed >= _WORD:
            at = min(min(left), self.fixed - _WORD)
            mask = bytes(0xFF * (at + byte in left) for byte in range(_WORD))
            words.append((at, int.from_bytes(mask, sys.byteorder)))
            left -= {*range(at, at + _WORD)}
        return words


def table_of(profile: WireProfile) -> NotifyTable | None:
    """The table of a profile's notifications; None: they are none, have a checksum, or more constants than it holds."""
    if not profile.notify_is_table or profile.framing.checksum is not None:
        return None
    header = profile.header
    if len(header.constants) >= _MOST_CONSTANTS:  # the message id is one, too
        return None
    read = [name for name in _READ if name in profile.notify.offsets]
    fields = profile.notify_fixed_dtype([*header.names, profile.count_field, *read]).fields
    assert fields is not None
    places = {name: _place(*found[:2]) for name, found in fields.items()}
    constants = {**header.constants, "msg_id": profile.ids[Kind.MEASUREMENT_NOTIFY]}
    return NotifyTable(
        {
            "length": places["length"],
            "count": places[profile.count_field],
            **{ours: places.get(name, NOWHERE) for name, ours in _READ.items()},
        },
        [(places[name], _as_int64(value)) for name, value in constants.items()],
        profile.length_of_header,
        profile.notify_bytes(0),
        profile.reading.size,
        profile.max_readings,
    )


def _as_int64(value: int) -> int:
    """The bits of a u64 keep their places."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _place(kind: np.dtype[np.generic], at: int) -> NumberPlace:
    assert kind.kind in "ui", kind
    is_little = kind.byteorder == "<" or (kind.byteorder == "=" and sys.byteorder == "little")
    return NumberPlace(at, kind.itemsize, is_little, kind.kind == "i")
