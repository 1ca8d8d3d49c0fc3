"""Links that the native turn reads: which they are, and what it has taken of them."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.native.library import STOPS, Library, Stop, native
from loadgen.nmsp.bulk import Columns, NotifyReceiver
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.table import NotifyTable, table_of
from loadgen.session.reception import Chunks, Counting
from loadgen.transport.openssl import function_address
from loadgen.units import NS_PER_MS

# As many as epoll is asked for at once; so many reads there are in a turn at most.
_MOST_READY = 1024
_MOST_CHUNKS = 8192
_MOST_TAKEN = 16384
_MOST_DESCRIPTORS = 1 << 20
_FUNCTIONS = {
    "ssl_read": ("SSL_read", "int (*)(void *, void *, int)"),
    "ssl_get_error": ("SSL_get_error", "int (*)(void *, int)"),
    "err_clear_error": ("ERR_clear_error", "void (*)(void)"),
}


class Rest(NamedTuple):
    """What was read of a link and is to be taken frame by frame: where it lies in the receiver's `view`."""

    descriptor: int
    start: int
    end: int
    came_ns: int


class NativeReader:
    """Waits for the links of a shard, reads those that are its own, and takes what is nothing but notifications.

    Its memory is fixed: what was taken is fetched by `columns` and `chunks`, and forgotten by `reset`.
    """

    def __init__(
        self, library: Library, table: NotifyTable, receiver: NotifyReceiver, sessions: int, clock: Nanoseconds
    ) -> None:
        self._ffi, self._lib = library
        self._state = state = self._ffi.new("lg_receiver *")
        self._kept: list[Any] = []  # what `state` points to
        for name, (function, kind) in _FUNCTIONS.items():
            setattr(state, name, self._ffi.cast(kind, function_address(function)))
        if clock is not MONOTONIC:
            callback = self._ffi.callback("int64_t (*)(void)", clock)
            self._kept.append(callback)
            state.clock = callback
        self._lay_out(table)
        state.descriptors = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _MOST_DESCRIPTORS)
        self._links = state.links = self._ffi.new("lg_link[]", state.descriptors)
        state.sessions = sessions
        self.heard_ns = self._column("heard_ns", np.int64, sessions)
        self._holds = self._column("holds", np.uint8, sessions)
        # By numpy: cffi's own view of such a buffer is not safe to keep here (cffi 2.1.1).
        buffer = np.frombuffer(receiver.view, np.uint8)
        self._kept.append(buffer)
        state.buffer, state.buffer_bytes = self._ffi.cast("uint8_t *", buffer.ctypes.data), receiver.capacity
        places = table.places
        self._columns = {
            name: self._column(name, np.int64, _MOST_TAKEN) if place.bytes else None
            for name, place in places.items()
            if name not in ("length", "count")
        }
        state.most_taken, state.most_chunks, state.most_ready = _MOST_TAKEN, _MOST_CHUNKS, _MOST_READY
        width = self._ffi.sizeof("lg_chunk") // 8
        self._chunks = self._column("chunk", np.int64, width * _MOST_CHUNKS, "lg_chunk *").reshape(-1, width)
        self._mine = self._column("mine", np.int32, _MOST_READY)
        self._others = self._column("others", np.uint32, 2 * _MOST_READY, "lg_ready *").reshape(-1, 2)
        self._rests = self._ffi.new("lg_rest[]", _MOST_READY)
        state.rest = self._rests
        self._from = self._ffi.new("int64_t *")

    def _lay_out(self, table: NotifyTable) -> None:
        layout = self._state.layout
        for name, place in table.places.items():
            setattr(layout, name, place)
        layout.length_added, layout.fixed = table.length_added, table.fixed
        layout.reading, layout.most_readings = table.reading, table.most_readings
        layout.constants = len(table.constants)
        for index, (place, value) in enumerate(table.constants):
            layout.constant[index] = (place, value)
        words = table.alike
        layout.words, layout.alike[0 : len(words)] = len(words), words

    def _column(self, name: str, kind: type[Any], rows: int, pointer: str = "") -> Any:
        column = np.zeros(rows, kind)
        setattr(self._state, name, self._ffi.cast(pointer or f"{np.dtype(kind).name}_t *", column.ctypes.data))
        self._kept.append(column)
        return column

    def count(self, counting: Counting) -> None:
        """Count there what is as expected, instead of holding it."""
        state = self._state
        self._kept.append(counting)
        state.tally, state.to_unix = counting.tally.counted.address, counting.to_unix_ns
        for name, column in zip(("expected", "last_due", "granted"), counting[1:4], strict=True):
            setattr(state, name, self._ffi.cast("int64_t *", column.ctypes.data))

    # -- links -----------------------------------------------------------------------------------------------------

    def own(self, descriptor: int, row: int, address: int) -> None:
        """From now on this link is read here. Args: row: of its session; address: `Tunnel.address`."""
        if descriptor < self._state.descriptors:
            link = self._links[descriptor]
            link.row, link.ssl = row, self._ffi.cast("void *", address)

    def disown(self, descriptor: int) -> None:
        """It is not, whether it was or not."""
        if descriptor < self._state.descriptors:
            self._links[descriptor].ssl = self._ffi.NULL

    def wait(self, epoll: int, pause_ns: int) -> list[tuple[int, int]]:
        """Wait for so long at most; returns descriptors and epoll's events of what is ready and not read here."""
        state = self._state
        if number := self._lib.lg_wait(state, epoll, -(-pause_ns // NS_PER_MS)):
            raise OSError(number, "epoll")
        found = state.others_ready
        return [*map(tuple, self._others[:found].tolist())] if found else []

    @property
    def ready(self) -> int:
        """How many links that are read here `wait` has found."""
        return self._state.mine_ready  # type: ignore[no-any-return]

    def descriptor(self, index: int) -> int:
        """Of one of these."""
        return int(self._mine[index])

    def forget_ready(self) -> None:
        """All that were ready were read."""
        self._state.mine_ready = 0

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, first: int, end: int) -> tuple[Stop, int]:
        """Read links `first` to `end` of those that are ready, as far as that goes; returns why it ended, and at which
        link that is to be read next, or has failed.
        """
        self._from[0] = first
        stop = STOPS[self._lib.lg_read(self._state, self._from, end)]
        return stop, self._from[0]

    @property
    def failure(self) -> int:
        """What SSL_read has said of the link at which `read` has ended with `Stop.FAILED`."""
        return int(self._state.failure)

    @property
    def has_rests(self) -> bool:
        """Whether there are `rests`."""
        return bool(self._state.rests)

    def rests(self) -> Sequence[Rest]:
        """What is to be taken in Python, in the order in which it came; the caller has until the next `read`."""
        state = self._state
        found = [Rest(rest.descriptor, rest.start, rest.end, rest.came_ns) for rest in self._rests[0 : state.rests]]
        state.rests = state.used = 0
        return found

    # -- what was taken --------------------------------------------------------------------------------------------

    @property
    def brought(self) -> int:
        """How many notifications came so far."""
        return self._state.brought  # type: ignore[no-any-return]

    @property
    def taken(self) -> int:
        """Notifications that are held."""
        return self._state.taken  # type: ignore[no-any-return]

    def holds(self, row: int) -> bool:
        """Some of this session are."""
        return bool(self._holds[row])

    def columns(self) -> Columns:
        """Of all that are held; views, until `reset`."""
        taken = self._state.taken
        sequence, due, sent, subservice, time = (
            None if (column := self._columns[name]) is None else column[:taken]
            for name in ("sequence", "due", "sent", "subservice", "time")
        )
        return Columns(sequence, due, sent, np.zeros(taken, np.int64) if subservice is None else subservice, time)

    def chunks(self) -> Chunks:
        """Of each read of these; its row is in no other."""
        rows, counts, came_ns, first, in_order, services = self._chunks[: self._state.chunks].T
        return Chunks(rows, counts, came_ns.tolist(), first, in_order, services)

    def reset(self) -> None:
        """What was held was fetched."""
        state = self._state
        self._holds[self._chunks[: state.chunks, 0]] = 0
        state.taken = state.chunks = 0


def native_reader(profile: WireProfile, receiver: object, sessions: int, clock: Nanoseconds) -> NativeReader | None:
    """A reader; None: there is no native turn, or this profile's notifications do not lie in fixed places."""
    if (library := native()) is None or not isinstance(receiver, NotifyReceiver):
        return None
    table = table_of(profile)
    return None if table is None else NativeReader(library, table, receiver, sessions, clock)
