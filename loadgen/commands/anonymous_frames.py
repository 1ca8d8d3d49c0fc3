"""One direction of a conversation, without who and what it is about: frame by frame, or whatever is on a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from loadgen.capture.anonymous import ListedNames, Pseudonyms
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Role
from loadgen.nmsp.places import ValuePlace, ValueType, opaque_places, places_in, record_places
from loadgen.nmsp.profile import WireProfile

__all__ = ["AnonymousCount", "FrameAnonymizer", "ListAnonymizer", "Part", "StreamAnonymizer"]


# So many frames in a row have to be without fault, for a place to be where one begins.
_IN_A_ROW: Final = 3
# What is not found in so many bytes is no NMSP.
_LONGEST_SEARCH: Final = 1 << 20


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


# What may be written: bytes, or how many are left out there.
Part: TypeAlias = bytes | int


class StreamAnonymizer(Protocol):
    """Takes one direction's bytes in order.

    Attributes:
        is_lost: what comes now is not written, unless frames are found again.
    """

    is_lost: bool

    def data(self, data: bytes) -> Iterator[Part]:
        """What may be written now."""

    def hole(self) -> Iterator[Part]:
        """Bytes are missing here: what may be written of those before."""

    def end(self) -> Iterator[Part]:
        """The rest."""


class ListAnonymizer:
    """Replaces what is listed, and keeps everything else."""

    is_lost = False

    def __init__(self, names: ListedNames, count: AnonymousCount) -> None:
        self._names = names
        self._count = count
        self._kept = b""

    def data(self, data: bytes) -> Iterator[Part]:
        return self._replaced(data, final=False)

    def hole(self) -> Iterator[Part]:
        return self._replaced(b"", final=True)

    def end(self) -> Iterator[Part]:
        return self._replaced(b"", final=True)

    def _replaced(self, data: bytes, *, final: bool) -> Iterator[Part]:
        done, self._kept, count = self._names.replace(self._kept + data, final=final)
        self._count.replaced += count
        yield done


class FrameAnonymizer:
    """Cuts frames by a profile, and replaces what their fields name. What is no whole frame is left out.

    Behind a hole, or where a capture begins within a frame, they begin again where so many in a row are without fault.
    """

    def __init__(
        self,
        profile: WireProfile,
        sender: Role,
        names: Pseudonyms,
        count: AnonymousCount,
        *,
        keeps_unknown: bool,
        longest_search: int = _LONGEST_SEARCH,
    ) -> None:
        """Args:
        sender: who says this.
        keeps_unknown: what the profile does not know stays as it is; else it becomes zeros.
        longest_search: bytes in which frames are looked for once they were lost; behind that all are left out.
        """
        self._longest_search = longest_search
        self._profile, self._sender, self._codec = profile, sender, Codec(profile)
        self._names = names
        self._count = count
        self._keeps_unknown = keeps_unknown
        self._buffer = bytearray()
        self._searched = 0  # bytes in vain since frames were lost
        self.is_lost = False

    def data(self, data: bytes) -> Iterator[Part]:
        self._buffer += data
        while True:
            if self.is_lost:
                yield from self._search()
            if self.is_lost:
                return
            yield from self._frames()
            if not self.is_lost:
                return

    def hole(self) -> Iterator[Part]:
        yield from self.end()
        self.is_lost = True

    def end(self) -> Iterator[Part]:
        return self._leave_out(len(self._buffer))

    def _leave_out(self, size: int) -> Iterator[Part]:
        if size:
            self._count.left_out += size
            self._searched += size
            del self._buffer[:size]
            yield size

    def _frames(self) -> Iterator[bytes]:
        framing, at = self._profile.framing, 0
        while len(self._buffer) - at >= framing.head:
            header = framing.header.struct.unpack_from(self._buffer, at)
            try:
                size = framing.size_untrusted(header)
            except RemoteProtocolError:
                self.is_lost = True
                break
            if len(self._buffer) - at < size:
                break
            frame = self._buffer[at : at + size]
            self._anonymize(framing.id_of(header), frame)
            yield bytes(frame)
            at += size
        del self._buffer[:at]

    def _search(self) -> Iterator[Part]:
        """For the place from which on frames are without fault."""
        at, most = 0, _IN_A_ROW * self._profile.framing.max_bytes
        if self._searched > self._longest_search:
            at = len(self._buffer)
        while self.is_lost and len(self._buffer) - at >= self._profile.framing.head:
            begins = self._begins(at)
            if begins is None and len(self._buffer) - at < most:
                break
            if begins:
                self.is_lost = False
            elif self._searched + at > self._longest_search:
                at = len(self._buffer)
            else:
                at += 1
        yield from self._leave_out(at)
        if not self.is_lost:
            self._searched = 0

    def _begins(self, at: int) -> bool | None:
        """Whether frames do there; None: there is too little to tell."""
        framing = self._profile.framing
        for _ in range(_IN_A_ROW):
            if len(self._buffer) - at < framing.head:
                return None
            header = framing.header.struct.unpack_from(self._buffer, at)
            number = framing.id_of(header)
            try:
                size = framing.size_untrusted(header)
                if self._profile.saying_of(number, self._sender) is None:
                    return False
                if len(self._buffer) - at < size:
                    return None
                frame = memoryview(bytes(self._buffer[at : at + size]))
                framing.check_untrusted(number, header, frame)
                body = frame[framing.head : size - framing.foot]
                self._codec.decode_untrusted(number, body, sender=self._sender)
            except RemoteProtocolError:
                return False
            at += size
        return True

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
        kind = self._profile.saying_of(msg_id, self._sender)
        if isinstance(kind, str):
            return opaque_places(self._profile.opaque[kind], body)
        if kind is not None:
            try:
                self._codec.decode_untrusted(msg_id, body, sender=self._sender)
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
