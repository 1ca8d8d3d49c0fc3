"""A wire profile: the layout of NMSP on the wire as data (TOML), compiled into `struct.Struct` and numpy dtypes.

The real layout is not public, so it is a table and not code. One table makes both the layout of one message (struct)
and of a batch (dtype); tests prove that they give the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import numpy as np

from loadgen.errors import InputError, Problem
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.dialogue import Saying, dialogue_of, senders_of
from loadgen.nmsp.framing import Framing
from loadgen.nmsp.messages import Kind, Role, StationsNotify
from loadgen.nmsp.opaque import OpaqueMessage
from loadgen.nmsp.opaque_check import with_files
from loadgen.nmsp.parts import Elements, Record, Section
from loadgen.nmsp.profile_check import check, message_of
from loadgen.nmsp.profile_document import MessageDocument, ProfileDocument, RecordDocument
from loadgen.strict import convert_untrusted, read_toml_untrusted


class Layout(Section):
    """Where everything of one kind of message is. time: how it tells the device's, if it does."""

    __slots__ = ("kind", "time")

    def __init__(
        self, kind: Kind, document: MessageDocument, records: Mapping[str, RecordDocument], order: str, align: int
    ) -> None:
        super().__init__(document, message_of(kind, document, records), records, order)
        self.kind = kind
        self.slack = align
        self.time = next((part.times["time"] for part in self._placed() if "time" in part.times), None)

    def _placed(self) -> list[Record | Elements]:
        return [part for part in (self.fixed, self.tail, self.elements) if part is not None]

    @property
    def body(self) -> Record:
        """Its fixed fields."""
        return self.fixed


class WireProfile:
    """A compiled profile.

    Attributes:
        digest: 12 hex digits over the layout.
        layouts: of every kind that this profile has.
        dialogue: what is said in which order.
        header, body, reading: layouts of the header, of each kind's fixed part, of one AP reading.
        ids: wire id of each kind; `kinds` is the inverse, but for two messages with one id, of which it has one.
        length_of_header: what to add to the length field to get the frame's size.
        dialogue: what is said in which order.
        opaque: messages that are known as bytes alone, by name.
        stations: how many a measurement notification has at most; reading: of one of them, `min_readings` to
            `max_readings`.
        readings_dtype: all that a reading has, for arrays of them. readings_lie_as_sent: there they do, but for
            constants.
        notify_is_table: everything of a measurement notification but its readings has a place of its own, so that many
            are columns as they lie; `count_field` then says how many readings follow. notify_is_stamped: it is, and
            nothing of it varies but what is ours.
    """

    def __init__(self, document: ProfileDocument) -> None:
        self.document = document
        self.name = document.name
        self.digest = hashlib.sha256(msgspec.json.encode(document)).hexdigest()[:12]
        self.max_frame_bytes = document.max_frame_bytes
        self.order = ">" if document.byte_order == "big" else "<"
        self.opaque = {name: OpaqueMessage(name, each, self.order) for name, each in document.opaque.items()}
        self.dialogue = dialogue_of(document)
        kinds = {kind.label: kind for kind in CATALOGUE}
        self.framing = Framing(document, kinds, self.order)
        self.header = self.framing.header
        self.length_of_header = self.framing.added
        self.layouts = {
            kinds[name]: Layout(kinds[name], each, document.records, self.order, self.framing.align)
            for name, each in document.messages.items()
        }
        self.body = {kind: layout.body for kind, layout in self.layouts.items()}
        self.ids = self.framing.ids
        self.kinds = {number: kind for kind, number in self.ids.items()}
        self._said = {role: self._sayings_of(role) for role in Role}
        notify = self.layouts[Kind.MEASUREMENT_NOTIFY]
        self.notify_is_table = _is_table(notify, self.framing)
        self.notify_is_stamped = self.notify_is_table and notify.time is None and self.framing.checksum is None
        station: Section = notify
        self.stations = 1
        if notify.struct is StationsNotify:
            assert notify.repeat is not None
            self.stations, station = notify.repeat.max, notify.repeat.part
        repeat = station.repeat
        reading = station if repeat is None else repeat.part
        self.reading = reading.fixed
        self.readings_dtype = reading.dtype_of_all(self.order)
        self.readings_lie_as_sent = repeat is not None and reading.size == reading.fixed.size and reading.length is None
        self.count_field = "" if repeat is None else repeat.counter or ""
        self.max_readings, self.min_readings = (1, 1) if repeat is None else (repeat.max, 0)
        self.notify = notify.body
        self.notify_fixed_bytes = self.framing.head + self.notify.size
        self._notify_dtypes: dict[int, np.dtype[np.void]] = {}

    @property
    def tells_macs(self) -> bool:
        """A message is filled in with its sender's MAC."""
        return any(each.has_mac for each in self.opaque.values())

    def _sayings_of(self, role: Role) -> dict[int, Saying]:
        """Every message by its id; of two with one id, the one that this side says."""
        senders = senders_of(self.document)
        every: list[tuple[int, Saying, str]] = [(number, kind, kind.label) for kind, number in self.ids.items()]
        every += [(each.id, each.name, each.name) for each in self.opaque.values()]
        every.sort(key=lambda each: role in senders[each[2]])
        return {number: saying for number, saying, _ in every}

    def saying_of(self, msg_id: int, sender: Role) -> Saying | None:
        """Which message has this id, when that side says it; None: the profile knows none."""
        return self._said[sender].get(msg_id)

    def id_of(self, saying: Saying) -> int:
        """The id of a message on the wire."""
        return self.opaque[saying].id if isinstance(saying, str) else self.ids[saying]

    def notify_bytes(self, readings: int) -> int:
        """Size of a measurement notification's frame, with so many readings of each of its stations."""
        if self.notify_is_table:
            return self.notify_fixed_bytes + readings * self.reading.size + self.framing.foot
        counts = (readings,) if self.stations == 1 else (self.stations, readings)
        return self.framing.frame_bytes(self.layouts[Kind.MEASUREMENT_NOTIFY].bytes_of(counts))

    def notify_struct(self, readings: int) -> struct.Struct:
        """The whole frame of one measurement notification but for its trailer: header, fixed part, readings."""
        return struct.Struct(self.order + self.header.format + self.notify.format + self.reading.format * readings)

    def notify_dtype(self, readings: int) -> np.dtype[np.void]:
        """The whole frame for an array of them: fields of header and fixed part, and `readings` as a sub-array. One for
        all that ask: every WLC's frames have some.
        """
        dtype = self._notify_dtypes.get(readings)
        if dtype is None:
            dtype = self._notify_dtypes[readings] = self._make_notify_dtype(readings)
        return dtype

    def _make_notify_dtype(self, readings: int) -> np.dtype[np.void]:
        names: list[str] = []
        formats: list[Any] = []
        offsets: list[int] = []
        for record, base in ((self.header, 0), (self.notify, self.header.size)):
            for name in record.names:
                names.append(name)
                formats.append(record.dtype.fields[name][0])  # type: ignore[index]
                offsets.append(base + record.offsets[name])
        if readings:
            names.append("readings")
            formats.append((self.reading.dtype, (readings,)))
            offsets.append(self.notify_fixed_bytes)
        return np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.notify_bytes(readings)}
        )

    def notify_fixed_dtype(self, names: Sequence[str]) -> np.dtype[np.void]:
        """Some fields of header and fixed part, for an array of these without readings and trailer."""
        fields = self.notify_dtype(0)[[*names]].fields
        assert fields is not None
        formats, offsets = zip(*(fields[name][:2] for name in names), strict=True)
        return np.dtype(
            {"names": [*names], "formats": formats, "offsets": offsets, "itemsize": self.notify_fixed_bytes}
        )


def _is_table(notify: Layout, framing: Framing) -> bool:
    """Whether everything of a notification has a place of its own, but for how many readings there are."""
    repeat = notify.repeat
    return (
        repeat is not None
        and repeat.counter is not None
        and repeat.part.repeat is None
        and repeat.part.size == repeat.record.size
        and not repeat.unit
        and notify.elements is None
        and notify.tail is None
        and not notify.fixed.is_turned
        and not repeat.record.is_turned
        and (notify.time is None or not notify.time.since_began)
        and framing.is_plain
    )


def load_profile(path: Path) -> WireProfile:
    """Read and compile a profile file.

    Raises:
        InputError: every problem with its path in the file.
    """
    return profile_untrusted(with_files(read_toml_untrusted(path, "a wire profile"), path.parent), str(path))


def profile_untrusted(data: object, source: str) -> WireProfile:
    """Compile a parsed profile. Args: source: where it comes from, for messages.

    Raises:
        InputError: every problem with its path in the source.
    """
    document = convert_untrusted(data, ProfileDocument, source)
    if problems := check(document):
        raise InputError([Problem(f"{source}: {p.where}", p.expected, p.found) for p in problems])
    return compiled(document)


# What is in use, by what it was compiled from.
_IN_USE: WeakValueDictionary[bytes, WireProfile] = WeakValueDictionary()


def compiled(document: ProfileDocument) -> WireProfile:
    """A profile that was checked. One for all who ask with the same document while it is in use; workers are forked
    from a process that has compiled theirs.
    """
    key = msgspec.msgpack.encode(document)
    if (profile := _IN_USE.get(key)) is None:
        profile = _IN_USE[key] = WireProfile(document)
    return profile


@cache
def reference_profile() -> WireProfile:
    """The profile that comes with this package (ours, not any vendor's). Tests check it, so that no start has to."""
    text = Path(__file__).with_name("reference.toml").read_text("utf-8")
    return compiled(msgspec.convert(tomllib.loads(text), ProfileDocument))
