"""A shard of MSEs whose links are read by the native turn once their sessions are up, if there is one.

What it takes of them is held for a little: notifications of many turns are absorbed at once. Whatever it does not take
(other messages, parts of frames, ends) is taken as everything is without it, in the same turn; and before anything of a
session is looked at, what is held of it counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from OpenSSL import SSL

from loadgen.drive.equipment import Equipment
from loadgen.drive.native_reading import NativeReader, native_reader
from loadgen.drive.phase import ACTIVE
from loadgen.drive.tls_dial import DialingShard, MseLink
from loadgen.native.library import Stop
from loadgen.nmsp.bulk import Columns
from loadgen.scenario.plan import Use
from loadgen.session.reception import Chunks, Counting
from loadgen.transport.tls import TransportFault
from loadgen.units import NS_PER_MS

# What was taken is held for so long; to absorb ten notifications costs as much as to absorb a thousand. Where WLCs have
# clocks of their own, these are judged by when something came, to the batch.
_HOLD_NS = 20 * NS_PER_MS
_HOLD_OF_OTHERS_NS = NS_PER_MS
_MOST_HELD = 4096


class ReadingShard(DialingShard):
    """Subclasses absorb batches."""

    def __init__(
        self, equipment: Equipment, addresses: Sequence[tuple[str, int]], contexts: Sequence[SSL.Context]
    ) -> None:
        super().__init__(equipment, addresses, contexts)
        self._reader = native_reader(equipment.profile, self.receiver, len(self.sessions), equipment.clock)
        self._epoll_fd = self._epoll.fileno()
        self._held_since_ns: int | None = None
        self._hold_ns = _HOLD_NS if equipment.plan.use is Use.BOTH else _HOLD_OF_OTHERS_NS

    def absorb_chunks(self, columns: Columns, chunks: Chunks) -> None:
        """Absorb what the native turn has taken."""
        raise NotImplementedError

    def _count_natively(self, counting: Counting | None) -> None:
        """What is as expected need not be held."""
        if self._reader is not None and counting is not None:
            self._reader.count(counting)

    # -- a turn ----------------------------------------------------------------------------------------------------

    def wake_ns(self, now_ns: int) -> int:
        wake = super().wake_ns(now_ns)
        return wake if self._held_since_ns is None else min(wake, self._held_since_ns + self._hold_ns)

    def poll(self, pause_ns: int) -> list[tuple[int, int]]:
        if self._reader is None:
            return super().poll(pause_ns)
        return self._reader.wait(self._epoll_fd, pause_ns)

    def found_nothing(self, events: list[tuple[int, int]]) -> bool:
        return not events and (self._reader is None or not self._reader.ready)

    def read_more(self) -> None:
        if (reader := self._reader) is None:
            return
        if reader.ready:
            if self._reads.links:  # they lie where more is read to
                super()._take()
            self._read_natively(reader)
        since_ns = self._held_since_ns
        if since_ns is not None and (reader.taken >= _MOST_HELD or self.clock() >= since_ns + self._hold_ns):
            self._absorb_held()

    def _read_natively(self, reader: NativeReader) -> None:
        count = reader.ready
        if self._read_lag.looks_at_none(count):
            self._read_part(reader, 0, count)
            reader.forget_ready()
            return
        longest = 0
        parts = self._read_lag.parts(count, lambda index: self.links.get(reader.descriptor(index)), self.late_ns)
        for first, end, lag_ns in parts:
            brought = self._read_part(reader, first, end)
            if lag_ns is not None:
                longest = max(longest, lag_ns)
                self._read_lag.tell_all(lag_ns, self.clock(), brought)
        reader.forget_ready()
        self.waited(longest)

    def _read_part(self, reader: NativeReader, first: int, end: int) -> int:
        """Returns: how many notifications it brought."""
        stop, before = Stop.FULL, reader.brought
        while stop is not Stop.DONE:
            stop, first = reader.read(first, end)
            if self._held_since_ns is None and reader.taken:
                self._held_since_ns = self.clock()
            if stop is Stop.FAILED:
                self._failed(self.links[reader.descriptor(first)], reader.failure)
                first += 1
            elif stop is Stop.FULL:
                self._absorb_held()
            if reader.has_rests:
                self._take_rests(reader)
        if brought := reader.brought - before:
            self._read_lag.brought(brought)
        return brought

    def _failed(self, link: MseLink, result: int) -> None:
        assert link.tunnel is not None
        try:
            link.tunnel.nothing_read(result)
        except TransportFault as fault:
            self._read_failed(link, fault)

    def _take_rests(self, reader: NativeReader) -> None:
        """Take what the native turn has left, frame by frame."""
        for rest in reader.rests():
            link = self.links.get(rest.descriptor)
            if link is None or link.tunnel is None:  # ended by what another brought
                continue
            # What another session of the same WLC brought tells of its clock, too, and came before.
            if reader.holds(link.number) or self.recorder.clocks is not None:
                self._absorb_held()
            link.read = True
            read = self._reads
            read.links.append(link)
            read.starts.append(rest.start)
            read.ends.append(rest.end)
            read.times_ns.append(rest.came_ns)
        if self._reads.links:
            super()._take()

    # -- what is held ----------------------------------------------------------------------------------------------

    def _absorb_held(self) -> None:
        """What was taken so far counts."""
        self._held_since_ns = None
        if (reader := self._reader) is not None and reader.taken:
            self.absorb_chunks(reader.columns(), reader.chunks())
            reader.reset()

    def _take(self) -> None:
        self._absorb_held()
        if self._reads.links:
            super()._take()

    def _take_of(self, link: MseLink) -> None:
        if self._reader is not None and self._reader.holds(link.number):
            self._absorb_held()
        super()._take_of(link)

    # -- which links -----------------------------------------------------------------------------------------------

    def activate(self, link: MseLink, now_ns: int) -> None:
        super().activate(link, now_ns)
        self._hand_over(link)

    def _keep_tail(self, link: MseLink, tail: bytes) -> None:
        super()._keep_tail(link, tail)
        self._hand_over(link)

    def on_swept(self, links: list[MseLink], counts: list[int], done_ns: list[int]) -> None:
        if self._reader is not None:
            for link in links:
                self._hand_over(link)

    def _hand_over(self, link: MseLink) -> None:
        """The native turn reads a link whose session is up, unless a part of a frame waits for the rest of it."""
        if self._reader is None:
            return
        if link.phase is ACTIVE and not link.tail and link.tunnel is not None:
            self._reader.own(link.fd, link.number, link.tunnel.address)
        else:
            self._reader.disown(link.fd)

    def close(self, link: MseLink, now_ns: int) -> None:
        super().close(link, now_ns)
        self._hand_over(link)

    def _drop(self, link: MseLink) -> None:
        if self._reader is not None:
            self._reader.disown(link.fd)
        super()._drop(link)

    def on_timer(self, link: MseLink, now_ns: int) -> None:
        if self._reader is not None and link.endpoint is not None:
            endpoint = link.endpoint
            endpoint.last_heard_ns = max(endpoint.last_heard_ns, int(self._reader.heard_ns[link.number]))
        super().on_timer(link, now_ns)
