"""One direction of a conversation, without who and what it is about: frame by frame, or whatever is on a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from loadgen.capture.anonymous import ListedNames, Pseudonyms
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.places import ValuePlace, ValueType, opaque_places, places_in, record_places
from loadgen.nmsp.profile import WireProfile

__all__ = ["AnonymousCount", "FrameAnonymizer", "ListAnonymizer", "StreamAnonymizer"]


@dataclass(slots=True)
class AnonymousCount:
    """What was done, and what was not.

    Attributes:
        unknown_frames: of messages that the profile does not know, or in another form than it has.
        replaced: MACs, addresses and texts.
        blanked: bytes that became zeros, as the profile does not know them, and were none.
        left_out: bytes of which nothing was written.
    """

    conversations: int = 0
    frames: int = 0
    unknown_frames: int = 0
    replaced: int = 0
    blanked: int = 0
    left_out: int = 0


class StreamAnonymizer(Protocol):
    """Takes one direction's bytes in order.

    Attributes:
        is_lost: nothing more can be written.
    """

    is_lost: bool

    def data(self, data: bytes) -> bytes:
        """What may be written now."""

    def hole(self) -> bytes:
        """Bytes are missing here: what may be written of those before."""

    def end(self) -> bytes:
        """The rest."""


class ListAnonymizer:
    """Replaces what is listed, and keeps everything else."""

    is_lost = False

    def __init__(self, names: ListedNames, count: AnonymousCount) -> None:
        self._names = names
        self._count = count
        self._kept = b""

    def data(self, data: bytes) -> bytes:
        return self._replaced(data, final=False)

    def hole(self) -> bytes:
        return self._replaced(b"", final=True)

    def end(self) -> bytes:
        return self._replaced(b"", final=True)

    def _replaced(self, data: bytes, *, final: bool) -> bytes:
        done, self._kept, count = self._names.replace(self._kept + data, final=final)
        self._count.replaced += count
        return done


class FrameAnonymizer:
    """Cuts frames by a profile, and replaces what their fields name. What is no whole frame is left out."""

    def __init__(self, profile: WireProfile, names: Pseudonyms, count: AnonymousCount, *, keeps_unknown: bool) -> None:
        """keeps_unknown: what the profile does not know stays as it is; else it becomes zeros."""
        self._profile, self._codec = profile, Codec(profile)
        self._names = names
        self._count = count
        self._keeps_unknown = keeps_unknown
        self._buffer = bytearray()
        self.is_lost = False

    def data(self, data: bytes) -> bytes:
        if self.is_lost:
            self._count.left_out += len(data)
            return b""
        self._buffer += data
        return b"".join(self._frames())

    def hole(self) -> bytes:
        """Where the next frame begins is not known."""
        return self._lose()

    def end(self) -> bytes:
        self._count.left_out += len(self._buffer)
        self._buffer.clear()
        return b""

    def _lose(self) -> bytes:
        self._count.left_out += len(self._buffer)
        self._buffer.clear()
        self.is_lost = True
        return b""

    def _frames(self) -> Iterator[bytes]:
        framing = self._profile.framing
        at = 0
        while len(self._buffer) - at >= framing.head:
            header = framing.header.struct.unpack_from(self._buffer, at)
            try:
                size = framing.size_untrusted(header)
            except RemoteProtocolError:
                self._lose()
                return
            if len(self._buffer) - at < size:
                break
            frame = self._buffer[at : at + size]
            self._anonymize(framing.id_of(header), frame)
            yield bytes(frame)
            at += size
        del self._buffer[:at]

    def _anonymize(self, msg_id: int, frame: bytearray) -> None:
        framing, foot = self._profile.framing, len(frame) - self._profile.framing.foot
        self._count.frames += 1
        head, body = bytes(frame[: framing.head]), bytes(frame[framing.head : foot])
        frame[: framing.head] = self._known(head, record_places(framing.header))
        frame[framing.head : foot] = self._known(body, self._places(msg_id, memoryview(body)))
        if framing.trailer is not None:
            frame[foot:] = self._known(bytes(frame[foot:]), record_places(framing.trailer))
        if framing.checksum is not None:
            framing.checksum.put(memoryview(frame))

    def _known(self, data: bytes, places: Iterable[ValuePlace]) -> bytes:
        """Bytes with other names; the places are those that the profile knows."""
        done, unknown = bytearray(data if self._keeps_unknown else len(data)), bytearray(data)
        for at, size, what in places:
            if what != "bytes":
                done[at : at + size] = self._other(what, data[at : at + size])
                unknown[at : at + size] = bytes(size)
        if not self._keeps_unknown:
            self._count.blanked += len(unknown) - unknown.count(0)
        return bytes(done)

    def _places(self, msg_id: int, body: memoryview) -> Iterable[ValuePlace]:
        """Of a message that the profile does not know, or in another form: none."""
        if (opaque := self._profile.opaque_by_id.get(msg_id)) is not None:
            return opaque_places(opaque, body)
        kind = self._profile.kinds.get(msg_id)
        if kind is not None:
            try:
                self._codec.decode_untrusted(msg_id, body)
            except RemoteProtocolError:
                kind = None
        if kind is None:
            self._count.unknown_frames += 1
            return ()
        return places_in(self._profile.layouts[kind], body)

    def _other(self, what: ValueType, value: bytes) -> bytes:
        if what == "number":
            return value
        self._count.replaced += 1
        if what == "mac":
            return self._names.mac(value)
        if what == "address":
            return self._names.address(value)
        text = value.rstrip(b"\0")
        return self._names.text(text).ljust(len(value), b"\0")
