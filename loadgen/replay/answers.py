"""What was answered in the capture, for whoever asks the same of an endpoint that plays it.

A request about a device is the same if it is of the same kind, about the same subservice and the same device, as this
endpoint has it; one about any device is if there was one of that kind and subservice. Of what was asked several times,
the answers come in turn. A station that nobody asked about in the capture is known by what was told of it.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np

from loadgen.nmsp import messages as m
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile_document import number_struct
from loadgen.nmsp.records import NO_MAC
from loadgen.nmsp.services import Subservice
from loadgen.replay.macs import Macs
from loadgen.replay.recording import ANY_DEVICE, Answered, Track, time_of
from loadgen.session.directory import FoundDevice

_MEASURED = (Kind.MEASUREMENT_REQUEST, Kind.ON_DEMAND_REQUEST)


class RecordedAnswers:
    """What one endpoint answers. groups: of access points, that were asked for in the capture."""

    def __init__(self, codec: Codec, track: Track, macs: Macs) -> None:
        """Args: macs: of all that were recorded, as this endpoint has them."""
        self._codec, self._track, self._macs = codec, track, macs
        self.groups = track.groups
        self._turns: dict[tuple[int, int, int], int] = {}

    @cached_property
    def _ranks(self) -> dict[bytes, int]:
        return {bytes(mac): rank for rank, mac in enumerate(self._macs)}

    @cached_property
    def _answers(self) -> dict[tuple[int, int, int], list[Answered]]:
        """By kind, subservice and device; also under any device."""
        found: dict[tuple[int, int, int], list[Answered]] = {}
        for each in self._track.answers:
            for device in {each.device, ANY_DEVICE}:
                found.setdefault((each.asked, each.subservice, device), []).append(each)
        return found

    def answer(
        self, asked: Kind, request: msgspec.Struct, transaction: int, unix_ns: int, began_ns: int
    ) -> tuple[Kind, bytes] | None:
        """The frame of a recorded answer, with this endpoint's devices in; None: it was not asked for.

        Args:
            unix_ns: now. began_ns: when the session did; both since the epoch.
        """
        key = (asked, -1, ANY_DEVICE)
        if isinstance(request, m.DeviceRequest):
            mac = bytes(request.device_mac)
            rank = ANY_DEVICE if mac == NO_MAC else self._ranks.get(mac)
            if rank is None:
                return None
            key = (asked, request.subservice, rank)
        if not (known := self._answers.get(key)):
            return None
        turn = self._turns.get(key, 0)
        self._turns[key] = turn + 1
        chosen = known[turn % len(known)]
        return Kind(chosen.kind), self._made(chosen, transaction, unix_ns, began_ns)

    def _made(self, chosen: Answered, transaction: int, unix_ns: int, began_ns: int) -> bytes:
        profile = self._codec.profile
        framing, frame = profile.framing, bytearray(chosen.frame)
        for at, rank in chosen.macs:
            frame[at : at + 6] = bytes(self._macs[rank])
        for at, since_ns, kind, size, unit, epoch in chosen.times:
            time = time_of(profile, kind, size, unit, epoch)
            number = time.to_wire(unix_ns + since_ns - (began_ns if time.since_began else 0))
            layout = number_struct(kind, profile.order)
            layout.pack_into(frame, at, number & (1 << 8 * layout.size) - 1)
        if framing.has_transaction:
            at, layout = framing.header.offsets["transaction"], framing.header.field_struct("transaction")
            layout.pack_into(frame, at, transaction)
        if framing.checksum is not None and not framing.numbers:
            framing.checksum.put(memoryview(frame))
        return bytes(frame)

    def find(self, asked: Kind, subservice: Subservice, device_mac: bytes) -> FoundDevice | None:
        """As `Directory.find`: the readings of a station that was told of."""
        if asked not in _MEASURED:
            return None
        slots = self._slots
        rank = next(iter(slots), None) if bytes(device_mac) == NO_MAC else self._ranks.get(bytes(device_mac))
        if rank is None or rank not in slots:
            return None
        message = self._message(slots[rank])
        mac = bytes(self._macs[rank])
        if isinstance(message, m.MeasurementNotify) and message.subservice == subservice:
            return FoundDevice(mac, message.readings)
        if isinstance(message, m.StationsNotify) and message.subservice == subservice:
            found = next((each for each in message.stations if bytes(each.station_mac) == mac), None)
            return None if found is None else FoundDevice(mac, found.readings)
        return None

    @cached_property
    def _slots(self) -> dict[int, int]:
        return dict(self._track.stations)

    def _message(self, slot: int) -> msgspec.Struct:
        track, framing = self._track, self._codec.profile.framing
        ends = np.cumsum(np.frombuffer(track.sizes, np.int64))
        start, end = int(ends[slot - 1]) if slot else 0, int(ends[slot])
        frame = bytearray(track.data[start:end])
        at, ranks = np.frombuffer(track.mac_at, np.int64), np.frombuffer(track.mac, np.int64)
        low, high = at.searchsorted((start, end))
        for place, rank in zip((at[low:high] - start).tolist(), ranks[low:high].tolist(), strict=True):
            frame[place : place + 6] = bytes(self._macs[rank])
        number = framing.id_of(framing.header.struct.unpack_from(frame))
        return self._codec.decode_untrusted(number, memoryview(frame)[framing.head : len(frame) - framing.foot])
