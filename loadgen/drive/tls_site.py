"""The WLC side of a worker whose controllers have a simulated site: what they have to tell follows from it.

Each class of what is heard, and each other service, ticks at its interval. What there is to tell then is due at that
time, is laid out once, and goes into the queue of every link that subscribed to it; the queues are written as far as
the sockets take it.
"""

from __future__ import annotations

import heapq
import socket
from collections import Counter, deque
from collections.abc import Sequence

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.equipment import Equipment
from loadgen.drive.phase import Phase
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_serve import ServingShard
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.services import Subservice, mask_of
from loadgen.scenario.plan import end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.session.directory import Directory
from loadgen.session.transmit import Measurements, Notification, Priority, TransmitQueue
from loadgen.transport.tls import TransportFault
from loadgen.units import NEVER_NS, NS_PER_MS
from loadgen.world.population import Found
from loadgen.world.site import Site
from loadgen.world.tellers import Told

# A turn that has fallen behind must still read: peers whose echo requests are not answered would take us for dead.
_TICK_BUDGET_NS = 10 * NS_PER_MS
# How much earlier than it is due a tick is found: a few of them may coincide, and others want the processor too.
_AHEAD_NS = 100 * NS_PER_MS
# What a peer has no room for, and our kernel still takes. How much a site will tell in a second is not known before.
_UNSENT_BYTES = 1 << 13
_ASSOCIATED_ONLY = 1 << Subservice.RSSI_MS_ASSOCIATED_ONLY


class Round:
    """What there is to tell at one controller at the end of an interval.

    Attributes:
        at_ns: since the start of the load. position: of the controller.
    """

    __slots__ = ("_codec", "_due_ns", "_found", "_items", "_site", "at_ns", "position", "priority")

    def __init__(self, codec: Codec, site: Site, found: Found | Told, position: int, at_ns: int, epoch_ns: int) -> None:
        self.at_ns = at_ns
        self.position = position
        self.priority = Priority.NORMAL if isinstance(found, Found) else found.priority
        self._codec, self._site, self._found, self._due_ns = codec, site, found, at_ns + epoch_ns
        self._items: dict[tuple[bool, tuple[str, ...]], Sequence[Notification]] = {}

    def items_for(self, granted: int, groups: tuple[str, ...] = ()) -> Sequence[Notification]:
        """What an MSE with this grant is told; laid out once for all MSEs with the same grant and groups.

        Args:
            groups: of access points: measurements of others are left out; empty: of none.
        """
        found = self._found
        subservice = found.stations.subservice if isinstance(found, Found) else found.subservice
        if granted >> subservice & 1:
            only_associated = False
        elif subservice == Subservice.RSSI_MS and granted & _ASSOCIATED_ONLY:
            only_associated = True
        else:
            return ()
        sort = (only_associated, groups if isinstance(found, Found) else ())
        if sort not in self._items:
            self._items[sort] = self._lay_out(*sort)
        return self._items[sort]

    def _lay_out(self, only_associated: bool, groups: tuple[str, ...]) -> Sequence[Notification]:
        found = self._found
        if isinstance(found, Told):
            return found.notices(self._codec, self._due_ns)
        if groups:
            found = found.heard_by(self._site.in_groups(groups))
        stations = found.of_associated() if only_associated else found.stations
        return (Measurements(self._codec.profile, stations, self._due_ns),) if len(stations.counts) else ()


class SiteLink(WlcLink):
    """A link with its transmit queue.

    Attributes:
        behind: from when the peer's socket was full until all that waited was sent: what is late then is its doing.
        declined: subservices that it had been granted and has unsubscribed from.
        told_bytes: of notifications.
    """

    __slots__ = ("behind", "declined", "queue", "told_bytes")

    def __init__(self, sock: socket.socket, started_ns: int, number: int, address: tuple[str, int] = ("", 0)) -> None:
        super().__init__(sock, started_ns, number, address)
        self.queue: TransmitQueue | None = None
        self.behind = False
        self.declined = self.told_bytes = 0


class SiteShard(ServingShard[SiteLink]):
    """The controllers of one worker, and their sites."""

    link_class = SiteLink

    def __init__(
        self,
        equipment: Equipment,
        listeners: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        super().__init__(equipment, listeners, contexts, aaa)
        plan, members = equipment.plan, equipment.share.members
        assert plan.site is not None
        self._profile = equipment.profile
        self._site = plan.site
        self._sites = self._new_sites()
        self._subscribers: list[list[SiteLink]] = [[] for _ in members]
        planned = Counter(session.wlc for session in plan.sessions)
        self._planned = [planned[number] for number in members]  # sessions that should be there
        self._asked = plan.wlc.capability & plan.mse.subscription  # by those
        self._ticks: list[tuple[int, int, int, int]] = []  # (when: ns since the start, controller, clock, number)
        self._ready: deque[Round] = deque()
        self._load_start_ns: int | None = None
        self._stop_at_ns = NEVER_NS
        self._end_ns = 0
        self._due = self._sent = self._sent_bytes = self._writes = 0
        self._unsent = self._declined = 0
        self._dropped = [0, 0]  # by links that are gone; and the most that ever waited at one
        self._deepest = [0, 0]
        self.allow_unsent(_UNSENT_BYTES)

    def _new_sites(self) -> list[Site]:
        plan = self.plan
        # What a stranger will subscribe to is not known before.
        asked = plan.mse.subscription
        for request in plan.requests:
            asked |= mask_of(map(Subservice, request.subservices))
        mask = plan.wlc.capability & asked if plan.use.plays_mse else plan.wlc.capability
        return [Site(self._profile, self._site, plan.seed, plan.first + number, mask) for number in self._members]

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        if self._load_start_ns is not None:  # every load begins alike
            self._sites = self._new_sites()
            for site, links in zip(self._sites, self._subscribers, strict=True):
                for link in links:
                    assert link.endpoint is not None
                    link.endpoint.directory = site.directory
        super().start_load(at_ns, stages)
        self._load_start_ns, self._stop_at_ns = at_ns, NEVER_NS
        self._end_ns = end_ns(stages)
        self._ticks = [
            (site.tick_ns(clock, 0), position, clock, 0)
            for position, site in enumerate(self._sites)
            for clock in range(site.clocks)
        ]
        heapq.heapify(self._ticks)
        self._ready.clear()

    def stop_load(self, at_ns: int) -> None:
        self._stop_at_ns = min(self._stop_at_ns, at_ns)

    def next_wake_ns(self, now_ns: int) -> int:
        if self._load_start_ns is None:
            return NEVER_NS
        wake = self._ready[0].at_ns if self._ready else NEVER_NS
        if self._ticks and (next_ns := self._ticks[0][0]) < self._end_ns:
            wake = min(wake, next_ns - _AHEAD_NS)
        return max(now_ns, self._load_start_ns + wake) if wake < NEVER_NS else NEVER_NS

    def on_turn(self, now_ns: int) -> None:
        if self._load_start_ns is not None and not self.load_over.is_set():
            self._go_on(now_ns + _TICK_BUDGET_NS)
            if self._everything_done(now_ns):
                self._wind_up()
        super().on_turn(now_ns)
        self.close_when_over(now_ns)

    def _go_on(self, until_ns: int) -> None:
        """Send what is due, and find what will be due soon, as far as there is time for it in this turn.

        A tick is found a little ahead, because what it finds does not depend on when that is computed. One that comes
        late nevertheless is late, and not left out.
        """
        ticks, ready = self._ticks, self._ready
        assert self._load_start_ns is not None
        while True:
            now = self.clock()
            since_ns = min(now, self._stop_at_ns) - self._load_start_ns
            if ready and ready[0].at_ns <= since_ns:
                self._tell(ready.popleft())
            elif ticks and ticks[0][0] < min(since_ns + _AHEAD_NS, self._end_ns):
                self._find()
            else:
                return
            if now > until_ns:
                return

    def _find(self) -> None:
        """Compute the next tick of all."""
        at_ns, position, clock, number = self._ticks[0]
        site = self._sites[position]
        found = site.tick(clock, number)
        heapq.heapreplace(self._ticks, (site.tick_ns(clock, number + 1), position, clock, number + 1))
        if found is not None:
            assert self._load_start_ns is not None
            epoch_ns = self._load_start_ns + self._to_unix_ns
            self._ready.append(of := Round(self._settings.codec, site, found, position, at_ns, epoch_ns))
            for link in self._subscribers[position]:  # now, and not when it is due
                self._items(of, link)
            if self._missing(position):
                of.items_for(self._asked)

    def _tell(self, of: Round) -> None:
        """Give each link what it subscribed to, and send that as far as its socket takes it."""
        planned = self._planned[of.position]
        for number, link in enumerate(tuple(self._subscribers[of.position])):  # a link that breaks takes itself away
            items = self._items(of, link)
            if link.declined and number < planned:
                assert link.endpoint is not None
                # What it still has may be a part of what it had, as those that are associated are of all stations.
                before = of.items_for(link.declined | link.endpoint.granted, link.endpoint.groups)
                self._declined += sum(item.count for item in before) - sum(item.count for item in items)
            if items:
                self._queue(link, items, of.priority)
        if missing := self._missing(of.position):
            untold = missing * sum(item.count for item in of.items_for(self._asked))
            self._due += untold
            self._unsent += untold

    def _missing(self, position: int) -> int:
        """How many sessions that should be there are not."""
        return max(0, self._planned[position] - len(self._subscribers[position]))

    def _items(self, of: Round, link: SiteLink) -> Sequence[Notification]:
        assert link.endpoint is not None
        return of.items_for(link.endpoint.granted, link.endpoint.groups)

    def _queue(self, link: SiteLink, items: Sequence[Notification], priority: Priority) -> None:
        queue, tunnel = link.queue, link.tunnel
        assert queue is not None
        assert tunnel is not None
        for item in items:
            self._due += item.count
            fits = queue.offer(item, priority, 0)
            # More than the queue has room for is no reason to drop any, while the peer takes all of it.
            while fits < item.count and not tunnel.blocked:
                self._send(link)
                if link.queue is None:  # it broke
                    break
                fits += queue.offer(item, priority, fits)
            queue.drop(item.count - fits, priority)
            self._unsent += item.count - fits
            if link.queue is None:
                return
        if not tunnel.blocked:
            self._send(link)

    def _send(self, link: SiteLink) -> None:
        """Write what waits, until there is nothing more or the socket is full."""
        queue, tunnel = link.queue, link.tunnel
        assert queue is not None
        assert tunnel is not None
        while queue.waiting and not tunnel.blocked:
            now = self.clock() + self._to_unix_ns
            taken = queue.take(now)
            try:
                tunnel.write(taken.data)
            except TransportFault as error:
                self._unsent += taken.notifications
                self.fault(link, error.kind)
                return
            if not (count := taken.notifications):
                self.note_aside(link, len(taken.data))
                continue
            if taken.kind is not None:
                assert link.endpoint is not None
                link.endpoint.count_said(taken.kind)
            self._sent += count
            self._sent_bytes += len(taken.data)
            link.told_bytes += len(taken.data)
            self._writes += 1
            self._note_lag(now, taken.due_ns, count, held_up=link.behind)
        link.behind = tunnel.blocked
        self.watch(link)

    # -- links ---------------------------------------------------------------------------------------------------

    def send_outbox(self, link: SiteLink) -> None:
        """Answers have high priority, and their queue a limit like the other."""
        assert link.endpoint is not None
        if link.queue is None:
            link.queue = TransmitQueue(self._site.high_queue, self._site.normal_queue)
        for frame in link.endpoint.outbox:
            link.queue.put(frame, Priority.HIGH)
        link.endpoint.outbox.clear()
        assert link.tunnel is not None
        if not link.tunnel.blocked:
            self._send(link)

    def directory_of(self, position: int) -> Directory:
        return self._sites[position].directory

    def on_granted(self, link: SiteLink, before: int, now_ns: int) -> None:
        """Unsubscribed: what waits, because its peer has held it up, cannot be told any more."""
        assert link.endpoint is not None
        granted = link.endpoint.granted
        link.declined = (link.declined | before) & ~granted
        if link.queue is not None:
            self._unsent += link.queue.forget(granted)

    def on_active(self, link: SiteLink, now_ns: int) -> None:
        super().on_active(link, now_ns)
        self._subscribers[link.number].append(link)

    def on_gone(self, link: SiteLink, phase: Phase, *, orderly: bool) -> None:
        super().on_gone(link, phase, orderly=orderly)
        if link in self._subscribers[link.number]:
            self._subscribers[link.number].remove(link)
        if (queue := link.queue) is not None:
            self._unsent += queue.clear()
            self._keep_figures(queue)
            link.queue = None

    def _keep_figures(self, queue: TransmitQueue) -> None:
        for priority in Priority:
            self._dropped[priority] += queue.dropped[priority]
            self._deepest[priority] = max(self._deepest[priority], queue.deepest[priority])

    def notified(self, link: SiteLink) -> int:
        return 0 if link.queue is None else link.queue.sequence

    # -- the end -------------------------------------------------------------------------------------------------

    def _queues(self) -> list[TransmitQueue]:
        return [link.queue for links in self._subscribers for link in links if link.queue is not None]

    def _everything_done(self, now_ns: int) -> bool:
        """The load has ended, every tick was computed, and what was found was sent or waited too long."""
        assert self._load_start_ns is not None
        end = min(self._load_start_ns + self._end_ns, self._stop_at_ns)
        owed = self._ticks[0][0] if self._ticks else NEVER_NS
        if self._ready:
            owed = min(owed, self._ready[0].at_ns)
        if now_ns < end or owed < end - self._load_start_ns:
            return False
        if now_ns >= end + self.plan.load.backlog:
            return True
        return not any(queue.waiting for queue in self._queues())

    def _wind_up(self) -> None:
        """End the load: what waits still is given up."""
        self._unsent += sum(queue.clear() for queue in self._queues())
        self.end_load()

    def queued_bytes(self) -> int:
        if not self.load_over.is_set():
            return 0
        links = (link for links in self._subscribers for link in links)
        return sum(link.tunnel.unacknowledged_bytes() for link in links if link.tunnel is not None)

    def told(self, link: SiteLink) -> int:
        return link.told_bytes

    def bytes_of_told(self, link: SiteLink) -> tuple[float, float]:
        return 1.0, 1.0 + self.record_bytes * self._writes / self._sent_bytes

    def totals(self, now_ns: int) -> dict[str, int]:
        """What was due, sent and dropped so far, in all loads."""
        queues = self._queues()
        dropped = [self._dropped[p] + sum(queue.dropped[p] for queue in queues) for p in Priority]
        deepest = [max(self._deepest[p], *(queue.deepest[p] for queue in queues), 0) for p in Priority]
        return {
            "notify.due": self._due,
            "notify.sent": self._sent,
            "notify.sent_bytes": self._sent_bytes,
            "notify.writes": self._writes,
            "notify.dropped": self._unsent,
            "notify.declined": self._declined,
            "notify.unacknowledged_bytes": self.unacknowledged_bytes,
            "transmit.dropped.high": dropped[Priority.HIGH],
            "transmit.dropped.normal": dropped[Priority.NORMAL],
            "transmit.deepest.high": deepest[Priority.HIGH],
            "transmit.deepest.normal": deepest[Priority.NORMAL],
        }
