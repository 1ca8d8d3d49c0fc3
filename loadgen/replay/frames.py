"""The messages of a recorded session, read by a wire profile as their bytes come. What does not decode is left out, and
counted.

Behind a hole, or behind bytes that are no frame, a stream is taken up again where that is certain: where two frames
that decode lie side by side, or one that ends where the bytes do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator

import msgspec

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import Saying
from loadgen.nmsp.messages import Opaque, Role, Unsupported

# Bytes in a row of which no frame is found: what is behind them is not looked at any more.
_MOST_SKIPPED = 1 << 20


class Said(msgspec.Struct, frozen=True, gc=False):
    """One message of a session.

    Attributes:
        ns: when its last byte was captured.
    """

    ns: int
    saying: Saying
    transaction: int
    frame: bytes
    message: msgspec.Struct


class DirectionReader:
    """What one end says: bytes in, messages out. It holds what is no whole frame yet, or not certain to be one.

    Attributes:
        left_out: messages that are not known ("unknown") or do not decode ("malformed"), and bytes that are in no frame
            ("bytes").
    """

    def __init__(self, codec: Codec, sender: Role, left_out: Counter[str]) -> None:
        self._codec, self._sender, self.left_out = codec, sender, left_out
        self._run = bytearray()
        # When its bytes came: from `_at[i]` on at `_ns[i]`.
        self._at: list[int] = []
        self._ns: list[int] = []
        self._skipped = 0
        # Where frames begin is known. At its beginning a stream has one if the first bytes decode: a capture may begin
        # in the middle of a session.
        self._certain = False
        self._is_first = True
        self._given_up = False
        framing = codec.profile.framing
        # With so many bytes it shows whether a frame begins: two of the longest.
        self._enough = framing.head + 2 * framing.max_bytes

    def data_untrusted(self, data: bytes, ns: int) -> Iterator[Said]:
        """The messages that these bytes make whole. They follow on those before."""
        if self._given_up:
            self.left_out["bytes"] += len(data)
            return
        self._at.append(len(self._run))
        self._ns.append(ns)
        self._run += data
        yield from self._read_untrusted(final=False)

    def end_untrusted(self) -> Iterator[Said]:
        """The messages that there are still, with nothing behind them: a hole, or the end."""
        yield from self._read_untrusted(final=True)
        self.left_out["bytes"] += len(self._run)  # the end of a frame that was not captured
        self._run.clear()
        self._at, self._ns = [], []
        self._skipped, self._certain, self._is_first, self._given_up = 0, False, False, False

    def _read_untrusted(self, *, final: bool) -> Iterator[Said]:
        run, position = self._run, 0
        while position < len(run):
            size = self._size_untrusted(position)
            if not self._certain:
                if not final and len(run) - position < self._enough:
                    break
                if self._is_first:
                    self._certain = _is_known(self._frame_message_untrusted(position))
                    self._is_first = False
                if size is not None and not self._certain:
                    self._certain = self._is_certain_untrusted(position, size)
            if size is None and not final and len(run) - position < self._codec.profile.framing.head:
                break
            if size is None or not self._certain:
                self._certain = False
                position += self._skip(position, final=final)
                if self._given_up:
                    break
                continue
            self._skipped = 0
            if position + size > len(run):
                break
            ns = self._ns[bisect_right(self._at, position + size - 1) - 1]
            if (said := self._said_untrusted(bytes(run[position : position + size]), ns)) is not None:
                yield said
            position += size
        self._forget(position)

    def _skip(self, position: int, *, final: bool) -> int:
        """To where a frame might begin; returns how far that is."""
        step = self._next_header(position)
        if not final:  # the end may be a header's beginning
            step = max(1, min(step, len(self._run) - position - self._codec.profile.framing.head + 1))
        self.left_out["bytes"] += step
        self._skipped += step
        if self._skipped > _MOST_SKIPPED:
            self._given_up = True
            self.left_out["bytes"] += len(self._run) - position - step
            return len(self._run) - position
        return step

    def _forget(self, position: int) -> None:
        """What was read."""
        if not position:
            return
        del self._run[:position]
        first = max(0, bisect_right(self._at, position) - 1)
        self._at = [max(0, at - position) for at in self._at[first:]]
        self._ns = self._ns[first:]

    def _said_untrusted(self, frame: bytes, ns: int) -> Said | None:
        framing = self._codec.profile.framing
        message = self._message_untrusted(frame)
        if message is None:
            self.left_out["malformed"] += 1
            return None
        if isinstance(message, Unsupported):
            self.left_out["unknown"] += 1
            return None
        saying: Saying = message.name if isinstance(message, Opaque) else KIND_OF[type(message)]
        return Said(ns, saying, framing.transaction_of(framing.header.struct.unpack_from(frame)), frame, message)

    def _size_untrusted(self, position: int) -> int | None:
        """The size of a frame that could begin there; None: none does."""
        framing = self._codec.profile.framing
        if len(self._run) - position < framing.head:
            return None
        try:
            return framing.size_untrusted(framing.header.struct.unpack_from(self._run, position))
        except RemoteProtocolError:
            return None

    def _message_untrusted(self, frame: bytes) -> msgspec.Struct | None:
        """None: it does not decode."""
        framing = self._codec.profile.framing
        header = framing.header.struct.unpack_from(frame)
        try:
            number = framing.id_of(header)
            framing.check_untrusted(number, header, memoryview(frame))
            body = memoryview(frame)[framing.head : len(frame) - framing.foot]
            return self._codec.decode_untrusted(number, body, sender=self._sender)
        except RemoteProtocolError:
            return None

    def _frame_message_untrusted(self, position: int) -> msgspec.Struct | None:
        """None: no whole frame that decodes is there."""
        size = self._size_untrusted(position)
        if size is None or position + size > len(self._run):
            return None
        return self._message_untrusted(bytes(self._run[position : position + size]))

    def _is_certain_untrusted(self, position: int, size: int) -> bool:
        """Whether a frame begins there, and not what only looks like one."""
        if not _is_known(self._frame_message_untrusted(position)):
            return False
        position += size
        return position == len(self._run) or _is_known(self._frame_message_untrusted(position))

    def _next_header(self, position: int) -> int:
        """How far it is to where the next frame might begin: to the next place with the constants of a header."""
        framing, run = self._codec.profile.framing, self._run
        for name in framing.common:
            value = framing.header.field_struct(name).pack(framing.common[name])
            found = run.find(value, position + 1 + framing.header.offsets[name])
            return (len(run) if found < 0 else found - framing.header.offsets[name]) - position
        return 1


def _is_known(message: msgspec.Struct | None) -> bool:
    return message is not None and not isinstance(message, Unsupported)
