"""What WLCs with one subscriber each owe, written by the native turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.native.library import STOPS, Library, Stop, native
from loadgen.native.tally import NativeTally
from loadgen.nmsp.bulk import Int64s
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.ring import NotifyRing
from loadgen.nmsp.table import NumberPlace, table_of
from loadgen.scenario.schedule import Schedule
from loadgen.session.ledger import Ledger
from loadgen.transport.openssl import function_address

_MOST_NOTED = 8192
_NOTHING: tuple[Int64s, Int64s] = (np.zeros(0, np.int64), np.zeros(0, np.int64))


class FailedWrite(NamedTuple):
    """What SSL_write has said, and of what: so many bytes at this address, which are so many notifications."""

    result: int
    address: int
    size: int
    notifications: int


class NativeSender:
    """Lays out and writes what is due, and notes when that was due and went out."""

    def __init__(
        self,
        library: Library,
        places: dict[str, NumberPlace],
        rings: Sequence[NotifyRing],
        members: Sequence[int],
        to_unix_ns: int,
        clock: Nanoseconds,
    ) -> None:
        """Args: rings, members: of the worker's WLCs, by position."""
        self._ffi, self._lib = library
        self._state = state = self._ffi.new("lg_sender *")
        self._kept: list[Any] = [rings]  # what `state` points to
        state.ssl_write = self._ffi.cast("int (*)(void *, const void *, int)", function_address("SSL_write"))
        if clock is not MONOTONIC:
            callback = self._ffi.callback("int64_t (*)(void)", clock)
            self._kept.append(callback)
            state.clock = callback
        state.sequence, state.due, state.sent = (places[name] for name in ("sequence", "due", "sent"))
        state.to_unix = to_unix_ns
        self._rings = state.rings = self._ffi.new("lg_ring[]", len(rings))
        state.positions = len(rings)
        first = 0
        for ring, laid_out, member in zip(self._rings, rings, members, strict=True):
            buffer = np.frombuffer(laid_out.buffer, np.uint8)
            self._kept.append(buffer)
            ring.buffer = self._ffi.cast("uint8_t *", buffer.ctypes.data)
            ring.first, ring.slots, ring.frames = first, laid_out.slots, len(laid_out.offsets)
            ring.member, ring.row = member, -1
            first += ring.frames
        for name in ("offsets", "sizes"):
            self._point(name, np.concatenate([getattr(ring, name) for ring in rings]).astype(np.int64))
        self._noted = [np.zeros(_MOST_NOTED, np.int64) for _ in range(2)]
        for name, column in zip(("due_ns", "sent_ns"), self._noted, strict=True):
            self._point(name, column)
        state.most_noted = _MOST_NOTED
        self._left, self._again = (np.zeros(len(rings), np.int64) for _ in range(2))
        self._point("left", self._left)
        self._point("again", self._again)
        self._ssl = np.zeros(0, np.uintp)
        self._ledger: tuple[Int64s, ...] = ()
        self._done: Int64s | None = None
        self._stages: Any = None
        self._from = self._ffi.new("int64_t *")

    def _point(self, name: str, column: Int64s) -> None:
        self._kept.append(column)
        setattr(self._state, name, self._ffi.cast("int64_t *", column.ctypes.data))

    # -- what is due -----------------------------------------------------------------------------------------------

    def start(self, schedule: Schedule, burst: int, start_ns: int) -> None:
        """A load begins: slot 0 of its schedule is due at `start_ns` (monotonic)."""
        state, table = self._state, schedule.table()
        self._stages = state.stages = self._ffi.new("lg_stage[]", table)
        state.stage_count, state.members, state.burst = len(table), schedule.members, burst
        state.epoch = start_ns + state.to_unix

    def count(self, counted: NativeTally) -> None:
        """Count there how late things go out, as far as that is possible, instead of noting it."""
        self._kept.append(counted)
        self._state.tally = counted.address

    # -- who is told -----------------------------------------------------------------------------------------------

    def subscribe(self, position: int, row: int) -> None:
        """This WLC's only subscriber has that row; -1: it has none, or several."""
        self._rings[position].row = row

    def allow(self, row: int, address: int) -> None:
        """A row's tunnel may be written to. Args: address: `Tunnel.address`; 0: it may not."""
        if row >= len(self._ssl):
            more = np.zeros(max(16, 2 * row), np.uintp)
            more[: len(self._ssl)] = self._ssl
            self._ssl = more
            self._state.ssl = self._ffi.cast("void **", more.ctypes.data)
        self._ssl[row] = address

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(
        self, ledger: Ledger, positions: Int64s, first: int, slots: int, expired: int, until_ns: int
    ) -> tuple[Stop, int]:
        """Visit the WLCs at `positions[first:]`; returns why it ended, and before or at which of them.

        Args:
            slots, expired: of the whole fleet, how many are due, and how many of these have waited too long; -1: that
                is to be found out if it matters (`Stop.ASKS`).
        """
        if ledger.done is not self._done:
            self._follow(ledger)
        self._from[0] = first
        at = self._ffi.from_buffer("int64_t[]", positions)
        halt = self._lib.lg_send(self._state, at, self._from, len(positions), slots, expired, until_ns)
        return STOPS[halt], self._from[0]

    def _follow(self, ledger: Ledger) -> None:
        """Its columns are others when it has grown."""
        self._done = ledger.done  # all of them grow together
        self._ledger = columns = (ledger.done, ledger.sent, ledger.behind, ledger.end)
        for name, column in zip(("done", "sent_count", "behind", "end"), columns, strict=True):
            setattr(self._state, name, self._ffi.cast("int64_t *", column.ctypes.data))
        if len(self._ssl) < len(ledger.done):
            self.allow(len(ledger.done) - 1, 0)

    def failure(self) -> FailedWrite:
        """Of the WLC at which `send` has ended with `Stop.FAILED`."""
        state = self._state
        address = int(self._ffi.cast("uintptr_t", state.failed))
        return FailedWrite(state.failure, address, state.failed_bytes, state.failed_notifications)

    def count_failed(self) -> None:
        """That went out all the same."""
        state = self._state
        state.noted += state.failed_notifications
        state.notifications += state.failed_notifications
        state.bytes += state.failed_bytes
        state.writes += 1

    def left(self) -> Sequence[int]:
        """Positions that were not for us, since this was asked last."""
        if not self._state.lefts:
            return ()
        found: list[int] = self._left[: self._state.lefts].tolist()
        self._state.lefts = 0
        return found

    def again(self) -> Sequence[int]:
        """Positions that are owed more, since this was asked last."""
        if not self._state.agains:
            return ()
        found: list[int] = self._again[: self._state.agains].tolist()
        self._state.agains = 0
        return found

    def noted(self) -> tuple[Int64s, Int64s]:
        """When what was sent since this was asked last, and is not counted, was due and went out (ns since the epoch);
        until `send`.
        """
        if not (noted := self._state.noted):
            return _NOTHING
        self._state.noted = 0
        due_ns, sent_ns = self._noted
        return due_ns[:noted], sent_ns[:noted]

    def written(self) -> tuple[int, int, int]:
        """Notifications, bytes and writes since this was asked last."""
        state = self._state
        found = state.notifications, state.bytes, state.writes
        state.notifications = state.bytes = state.writes = 0
        return found


def native_sender(
    profile: WireProfile,
    rings: Sequence[object],
    members: Sequence[int],
    to_unix_ns: int,
    clock: Nanoseconds,
) -> NativeSender | None:
    """A sender; None: there is no native turn, or something else than what is ours varies in a notification."""
    found = [ring for ring in rings if type(ring) is NotifyRing]
    library, table = native(), table_of(profile)
    if library is None or table is None or len(found) < len(rings) or not profile.notify_is_stamped:
        return None
    return NativeSender(library, table.places, found, members, to_unix_ns, clock)
