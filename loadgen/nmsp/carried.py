"""What a layout carries of ours in its notifications: number, due time, time of sending. No device has any of these."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple, TypeAlias

from loadgen.nmsp.messages import STAMPS, Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import TYPES


class Carried(NamedTuple):
    """Bits of each of our fields in one kind of notification; 0: the layout does not carry it.

    A field narrower than 64 bits holds what is left of the number when it has gone round.
    """

    sequence: int
    due_ns: int
    sent_ns: int

    @property
    def tells_due(self) -> bool:
        """A due time that is narrower goes round in seconds: how old a notification is, it does not tell."""
        return self.due_ns == 64

    @property
    def tells_sent(self) -> bool:
        """The same of the time of sending."""
        return self.sent_ns == 64


WHOLE = Carried(64, 64, 64)


def mask_of_type(kind: str) -> int:
    """Of an unsigned type: its largest number."""
    return (1 << 8 * TYPES[kind][2]) - 1


def carried_by(profile: WireProfile, kind: Kind = Kind.MEASUREMENT_NOTIFY) -> Carried:
    """What a profile's notifications of this kind carry, in fixed places or in elements."""
    layout = profile.layouts[kind]
    types = dict(layout.body.types)
    if layout.tail is not None:
        types |= layout.tail.types
    if layout.elements is not None:
        types |= {field.name: field.type for field in layout.elements.fields.values()}
    return Carried(*(8 * TYPES[types[name]][2] if name in types else 0 for name in STAMPS))


# (buffer, start of the frame, sequence, due_ns, sent_ns)
Stamp: TypeAlias = Callable[[bytearray, int, int, int, int], None]


def _nothing_varies(buffer: bytearray, start: int, sequence: int, due_ns: int, sent_ns: int) -> None:
    """A profile without any of the three: a frame is the same whenever it is sent."""


def stamp_of(profile: WireProfile) -> Stamp:
    """What patches into one frame what varies: packing three numbers is cheaper than assigning to three columns.

    Cost: one `pack_into` if all three are u64 and nothing that differs from frame to frame lies between them, otherwise
    one for each that the profile has.
    """
    notify, header_bytes, carried = profile.notify, profile.header.size, carried_by(profile)
    span = notify.span(STAMPS) if carried == WHOLE else None
    if span is None:
        places = [
            (notify.field_struct(name).pack_into, header_bytes + notify.offsets[name], index, (1 << bits) - 1)
            for index, (name, bits) in enumerate(zip(STAMPS, carried, strict=True))
            if bits
        ]

        def apart(buffer: bytearray, start: int, *values: int) -> None:
            for put, at, index, mask in places:
                put(buffer, start + at, values[index] & mask)

        return apart if places else _nothing_varies
    first = header_bytes + notify.offsets["sequence"]
    layout, (before_due, before_sent) = span
    put = layout.pack_into
    if before_due or before_sent:

        def together(buffer: bytearray, start: int, sequence: int, due_ns: int, sent_ns: int) -> None:
            put(buffer, start + first, sequence, before_due, due_ns, before_sent, sent_ns)

        return together
    put_all = Struct(profile.order + "QQQ").pack_into

    def adjacent(buffer: bytearray, start: int, sequence: int, due_ns: int, sent_ns: int) -> None:
        put_all(buffer, start + first, sequence, due_ns, sent_ns)

    return adjacent
