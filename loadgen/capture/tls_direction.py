"""One direction of a TLS connection: the bytes that are not read yet, the keys it goes through, and what was missed."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from loadgen.capture.events import Event
from loadgen.capture.tls_hello import Messages
from loadgen.capture.tls_records import HEADER_SIZE, LONGEST, BadRecord, Opener, opener_13, updated_secret
from loadgen.capture.tls_suites import Suite

__all__ = ["Epoch", "RecordStream", "Resync", "Resynced"]

# How records begin that may be protected.
_ONES_13: Final = re.compile(rb"\x17\x03\x03")
_ONES_12: Final = re.compile(rb"[\x15-\x18]\x03[\x01-\x03]")
# A search tries sequence numbers until it has opened that many bytes in vain, ...
_MOST_WORK: Final = 16 << 20
_WORK_OF_A_TRY: Final = 256
# ... or has passed that many behind the hole: more than any record has, so one must have begun there.
_FARTHEST: Final = 64 << 10


@dataclass(slots=True)
class Epoch:
    """What one key protects."""

    label: str  # of the line of the key log that it comes from
    opener: Opener
    has_data: bool  # not handshake messages alone
    secret: bytes = b""  # TLS 1.3: of which the next one is made

    def next(self, suite: Suite) -> Epoch:
        """What a KeyUpdate begins."""
        secret = updated_secret(suite, self.secret)
        return Epoch(self.label, opener_13(suite, secret), self.has_data, secret)


@dataclass(slots=True)
class Resync:
    """For a record behind a hole, where neither its place nor its sequence number need be known: its tag says both."""

    start: int  # offset of the record that the hole begins in
    end: int  # offset from which on a record may begin
    ns: int  # of the hole
    work: int = 0


@dataclass(frozen=True, slots=True)
class Resynced:
    """The record that a search ended with."""

    epoch: Epoch
    sequence: int
    kind: int
    content: bytes
    # Between the record that the hole begins in, and this one.
    passed: int
    size: int


@dataclass(slots=True)
class RecordStream:
    """Offsets are of the TCP stream, but for `offset`."""

    of_client: bool
    offset: int = 0  # plaintext given out, and missed
    buffer: bytearray = field(default_factory=bytearray)
    base: int = 0  # of the buffer's first byte
    ns: int = 0  # of the event that is being read
    messages: Messages = field(default_factory=Messages)
    epoch: Epoch | None = None
    sequence: int = 0  # of the next record
    # Epochs to come, as far as they are known.
    later: list[Epoch] = field(default_factory=list)
    resync: Resync | None = None
    # It waits for the other direction's hello, for the sake of a record of this type (0: a hole); and what came since.
    waits_with: int | None = None
    backlog: deque[Event] = field(default_factory=deque)
    backlog_size: int = 0
    # TLS 1.3: the keys are looked up; protected records that none opened, while some may be unopened; early data.
    has_keys: bool = False
    may_skip: int = 0
    skipped: int = 0
    early: Epoch | None = None
    early_sequence: int = 0
    held: list[tuple[int, bytes]] = field(default_factory=list)
    held_size: int = 0
    # Nothing more is read; and that it ended has been given out.
    silent: bool = False
    ended: bool = False

    def cut(self, size: int) -> None:
        """Let go of the first bytes."""
        del self.buffer[:size]
        self.base += size

    def begin_resync(self, hole_end: int, ns: int) -> None:
        """Bytes are missing from the end of the buffer on."""
        end = hole_end
        if len(self.buffer) >= HEADER_SIZE:
            # The record that is damaged says where the next one begins.
            end = max(end, self.base + HEADER_SIZE + (self.buffer[3] << 8 | self.buffer[4]))
        if self.resync is None:
            self.resync = Resync(self.base, end, ns)
        else:
            self.resync.end = max(self.resync.end, hole_end)
        self.buffer.clear()
        self.base = hole_end

    def find(self, resync: Resync, epochs: list[Epoch], *, is_13: bool, final: bool) -> Resynced | None:
        """The first record behind the hole that opens; all before it is let go. None: there is none yet, see
        `is_hopeless`.

        Args:
            final: no more bytes come before the next hole, or at all.
        """
        pattern, at = _ONES_13 if is_13 else _ONES_12, max(0, resync.end - self.base)
        while (one := pattern.search(self.buffer, at)) is not None:
            at = one.start()
            size = self._size_at(at)
            if size is None and not final:
                break
            if size is not None and (found := self._try(resync, epochs, at, size)) is not None:
                self.cut(at + HEADER_SIZE + size)
                return found
            if resync.work > _MOST_WORK:
                break
            at += 1
        else:
            # The last two bytes may begin a header.
            at = max(at, len(self.buffer) - 2)
        self.cut(min(at, len(self.buffer)))
        return None

    def missed(self, found: Resynced, *, is_13: bool) -> int:
        """Bytes of plaintext that may be missing before a record at most; 0: there were none."""
        before = self.epoch
        if found.epoch is before:
            may = before.has_data
            records = found.sequence - self.sequence
        else:
            # The first record of a key of TLS 1.2 is the end of the handshake.
            may = (before is not None and before.has_data) or found.sequence > (0 if is_13 else 1)
            may = (may and found.epoch.has_data) or self.may_skip > 0
            records = 1
        return max(1, found.passed - records * found.epoch.opener.least) if may else 0

    def is_hopeless(self, resync: Resync) -> bool:
        return resync.work > _MOST_WORK or self.base - resync.end > _FARTHEST

    def _size_at(self, at: int) -> int | None:
        """Of the record there without its header; 0: it is none; None: it is not whole."""
        if len(self.buffer) < at + HEADER_SIZE:
            return None
        size = self.buffer[at + 3] << 8 | self.buffer[at + 4]
        if size > LONGEST:
            return 0
        return size if len(self.buffer) >= at + HEADER_SIZE + size else None

    def _try(self, resync: Resync, epochs: list[Epoch], at: int, size: int) -> Resynced | None:
        """Whether the record opens with a sequence number that is possible, by how many records may be missing."""
        kind, version = self.buffer[at], self.buffer[at + 1] << 8 | self.buffer[at + 2]
        fragment = bytes(self.buffer[at + HEADER_SIZE : at + HEADER_SIZE + size])
        passed = self.base + at - resync.start
        for epoch in epochs:
            least = epoch.opener.least
            if HEADER_SIZE + size < least:
                continue
            most = max(1, passed // least)
            numbers = range(self.sequence + 1, self.sequence + most + 1) if epoch is self.epoch else range(most + 1)
            for sequence in numbers:
                resync.work += _WORK_OF_A_TRY + size
                if resync.work > _MOST_WORK:
                    return None
                try:
                    opened, content = epoch.opener.open(sequence, kind, version, fragment)
                except BadRecord:
                    continue
                return Resynced(epoch, sequence, opened, content, passed, size)
        return None
