"""One epoll set that trio waits on, and the timers of the links in it."""

from __future__ import annotations

import heapq
import select
from typing import Generic

import trio

from loadgen.clock import Nanoseconds
from loadgen.drive.links import LinkT
from loadgen.transport.parting import Partings
from loadgen.transport.tls import Tunnel, Want
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

_MAX_EVENTS = 1024
# The longest sleep, whatever there is to do.
_MAX_SLEEP_NS = 100 * NS_PER_MS
# How long the loop may go on without trio: the worker's other tasks wait for it.
_STRETCH_NS = 4 * NS_PER_MS
# In the place of events: epoll does not know the link.
_UNWATCHED = -1
_WRITE = Want.WRITE


class Loop(Generic[LinkT]):
    """Turns until it is `finished`. No task, no task switch and no `await` per link or message.

    Attributes:
        clock: what time it is (ns), which goes on all the time.
        links: those that are watched, by descriptor.
    """

    def __init__(self, clock: Nanoseconds) -> None:
        self.clock = clock
        self.links: dict[int, LinkT] = {}
        self.finished = False
        self._longest_stall_ns = 0
        self.late_ns = 0  # how late this turn came, as far as it had a time, or something that it should have come for
        self._idle_from_ns = self._idle_ns = 0  # since when and for how long it had been waited for
        self._turn_due_ns = NEVER_NS  # while it waits: when it is to turn at the latest
        self._epoll = select.epoll()
        self.partings = Partings(self.watch_other, self.unwatch_other)
        self._timers: list[tuple[int, int, LinkT]] = []
        self._timer_serial = 0
        self._sleep = trio.CancelScope()

    async def run(self) -> None:
        """Turn until `finished`."""
        try:
            while not self.over:
                now = self._idle_from_ns = self.clock()
                wake = self.wake_ns(now)
                self._turn_due_ns = max(wake, now)
                if wake > now:
                    with trio.move_on_after((wake - now) / NS_PER_S) as self._sleep:
                        await trio.lowlevel.wait_readable(self._epoll.fileno())
                else:
                    await trio.lowlevel.checkpoint()
                self._stretch()
        finally:
            self._turn_due_ns = NEVER_NS
            self.shut()

    def wake_now(self) -> None:
        """Turn at once: another task of the worker has changed what there is to do."""
        self._sleep.cancel()

    def stall_ns(self, now_ns: int) -> int:
        """The longest turn, or the longest time by which one came late or is late now, since `forget_stalls`."""
        return max(self._longest_stall_ns, now_ns - self._turn_due_ns)

    def forget_stalls(self, now_ns: int) -> None:
        """What was until now does not count."""
        self._longest_stall_ns = 0
        self._turn_due_ns = max(self._turn_due_ns, now_ns)

    def wake_ns(self, now_ns: int) -> int:
        wake = min(self.next_wake_ns(now_ns), now_ns + _MAX_SLEEP_NS)
        if self._timers:
            wake = min(wake, self._timers[0][0])
        return min(wake, self.partings.next_ns())

    def _stretch(self) -> None:
        """Turn without trio in between, until nothing is to be done for a moment or others should have their turn.

        Going through trio costs as much as ten notifications; in a busy shard a turn brings few more.
        """
        due_ns, until, pause = self._turn_due_ns, self.clock() + _STRETCH_NS, 0
        while not self.over:
            events = self.poll(pause)
            started = self.clock()
            self.late_ns, self._idle_ns = max(0, started - due_ns), started - self._idle_from_ns
            self.turn(events)
            now = self._idle_from_ns = self.clock()
            self._longest_stall_ns = max(self._longest_stall_ns, now - started, self.late_ns)
            if now > until or (pause and self.found_nothing(events)):
                return
            due_ns = max(now, self.wake_ns(now))
            pause = min(due_ns - now, NS_PER_MS)
            due_ns = now + pause

    def poll(self, pause_ns: int) -> list[tuple[int, int]]:
        """What is ready, or becomes so within this time: descriptors and epoll's events, for `turn`."""
        return self._epoll.poll(pause_ns / NS_PER_S, _MAX_EVENTS)

    def found_nothing(self, events: list[tuple[int, int]]) -> bool:
        """Nothing was ready. Args: events: what `poll` has returned last."""
        return not events

    def waited(self, ago_ns: int) -> None:
        """Something that this turn reads has been there for so long. As far as that was while the loop waited, it
        should have turned then: it may have been stopped just after it had begun to wait.
        """
        self.late_ns = max(self.late_ns, min(ago_ns, self._idle_ns))

    @property
    def over(self) -> bool:
        """There is nothing more to turn for."""
        return self.finished and not self.partings

    def shut(self) -> None:
        """Give everything back."""
        self.partings.close()
        self._epoll.close()

    # -- for subclasses ------------------------------------------------------------------------------------------

    def turn(self, ready: list[tuple[int, int]]) -> None:
        """Do what is to be done; `ready` are descriptors and epoll's events."""
        raise NotImplementedError

    def next_wake_ns(self, now_ns: int) -> int:
        """When the next turn has something to do that neither a socket nor a timer will tell of."""
        raise NotImplementedError

    def on_timer(self, link: LinkT, now_ns: int) -> None:
        """A link's timer has run out."""
        raise NotImplementedError

    # -- links ---------------------------------------------------------------------------------------------------

    def add(self, link: LinkT, deadline_ns: int, events: int) -> None:
        """Watch a new link."""
        self.links[link.fd] = link
        self._epoll.register(link.fd, events)
        link.watched = events
        self.arm(link, deadline_ns)

    def watch_other(self, fd: int) -> None:
        """Watch a descriptor that is no link's, for reading."""
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch_other(self, fd: int) -> None:
        self._epoll.unregister(fd)

    def arm(self, link: LinkT, deadline_ns: int) -> None:
        """Have the link's timer run at `deadline_ns`, instead of when it was armed for before."""
        self._timer_serial += 1
        link.timer = self._timer_serial
        heapq.heappush(self._timers, (deadline_ns, self._timer_serial, link))

    def remove(self, link: LinkT) -> None:
        """Watch a link no more."""
        link.timer = 0
        del self.links[link.fd]
        self.pause(link)

    def part(self, tunnel: Tunnel) -> None:
        """Close a tunnel that is no link's any more; one whose peer was refused, once that has been heard out."""
        if tunnel.refused:
            self.partings.begin(tunnel.let_go(), self.clock())
        else:
            tunnel.close()

    def pause(self, link: LinkT) -> None:
        """Have epoll tell nothing of this link until it is watched again; its timer goes on."""
        if link.watched != _UNWATCHED:
            self._epoll.unregister(link.fd)
            link.watched = _UNWATCHED

    def watch(self, link: LinkT) -> None:
        """Have epoll tell what this link waits for."""
        assert link.tunnel is not None
        events = select.EPOLLIN
        if link.tunnel.wants is _WRITE:
            events |= select.EPOLLOUT
        if link.watched == _UNWATCHED:
            self._epoll.register(link.fd, events)
            link.watched = events
        elif link.watched != events:
            self._epoll.modify(link.fd, events)
            link.watched = events

    def run_timers(self) -> None:
        """Have the timers run that are due."""
        now = self.clock()
        self.partings.run_out(now)
        while self._timers and self._timers[0][0] <= now:
            _, serial, link = heapq.heappop(self._timers)
            if serial == link.timer:
                self.on_timer(link, now)
