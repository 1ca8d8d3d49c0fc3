"""What WLCs with simulated sites do, whatever carries their sessions: what they have to tell follows from the site.

Each class of what is heard, and each other service, ticks at its interval. What there is to tell then is due at that
time, is laid out once, and goes into the queue of every link that subscribed to it. A driver writes the queues.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from loadgen.drive.equipment import Equipment
from loadgen.nmsp.bulk import MAX_WRITE_BYTES
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.services import Subservice, mask_of
from loadgen.scenario.plan import end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.session.transmit import Measurements, Notification, Priority, Taken, TransmitQueue
from loadgen.session.wlc import WlcEndpoint
from loadgen.units import NEVER_NS, NS_PER_MS
from loadgen.world.population import Found
from loadgen.world.site import Site
from loadgen.world.tellers import Told

# How much earlier than it is due a tick is found: a few of them may coincide, and others want the processor too.
_AHEAD_NS = 100 * NS_PER_MS
_ASSOCIATED_ONLY = 1 << Subservice.RSSI_MS_ASSOCIATED_ONLY


class Round:
    """What there is to tell at one controller at the end of an interval.

    Attributes:
        at_ns: since the start of the load. position: of the controller.
    """

    __slots__ = ("_codec", "_due_ns", "_found", "_items", "_most_bytes", "_site", "at_ns", "position", "priority")

    def __init__(
        self,
        codec: Codec,
        site: Site,
        found: Found | Told,
        position: int,
        at_ns: int,
        epoch_ns: int,
        most_bytes: int = MAX_WRITE_BYTES,
    ) -> None:
        """Args: most_bytes: of a frame."""
        self.at_ns = at_ns
        self.position = position
        self.priority = Priority.NORMAL if isinstance(found, Found) else found.priority
        self._codec, self._site, self._found, self._due_ns = codec, site, found, at_ns + epoch_ns
        self._most_bytes = most_bytes
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
            return found.notices(self._codec, self._due_ns, self._most_bytes)
        if groups:
            found = found.heard_by(self._site.in_groups(groups))
        stations = found.of_associated() if only_associated else found.stations
        return (Measurements(self._codec.profile, stations, self._due_ns),) if len(stations.counts) else ()


class SiteSubscriber(Protocol):
    """A link with its transmit queue.

    Attributes:
        number: of its WLC among the worker's.
        queue: None: it has said nothing yet, or is gone.
        declined: subservices that it had been granted and has unsubscribed from.
    """

    number: int
    queue: TransmitQueue | None
    declined: int

    @property
    def endpoint(self) -> WlcEndpoint | None: ...


L = TypeVar("L", bound=SiteSubscriber)


class SiteSessions(Generic[L]):
    """The sites of one worker, and who is told of them.

    Attributes:
        sites, subscribers: by position of the controller.
        ticks: (when: ns since the start, controller, clock, number). ready: what was found, and is not due yet.
        start_ns: of the load; None: there was none. stop_at_ns, end_ns: when nothing more becomes due; the load's
            length.
        unsent: notifications that were due and not sent.
    """

    def __init__(
        self,
        equipment: Equipment,
        takes: Callable[[L], bool],
        send: Callable[[L], None],
        most_bytes: int = MAX_WRITE_BYTES,
    ) -> None:
        """Args:
        takes: a link's queue can be written now.
        send: write it, as far as that is so.
        most_bytes: of a frame.
        """
        plan, members = equipment.plan, equipment.share.members
        assert plan.site is not None
        self._plan, self._profile, self._clock = plan, equipment.profile, equipment.clock
        self._codec, self._site, self._members = equipment.settings.codec, plan.site, members
        self._to_unix_ns = equipment.to_unix_ns
        self._takes, self._send, self._most_bytes = takes, send, most_bytes
        self.sites = self._new_sites()
        self.subscribers: list[list[L]] = [[] for _ in members]
        planned = Counter(session.wlc for session in plan.sessions)
        self._planned = [planned[number] for number in members]  # sessions that should be there
        self._asked = plan.wlc.capability & plan.mse.subscription  # by those
        self.ticks: list[tuple[int, int, int, int]] = []
        self.ready: deque[Round] = deque()
        self.start_ns: int | None = None
        self.stop_at_ns = NEVER_NS
        self.end_ns = 0
        self._due = self._sent = self.sent_bytes = self.writes = 0
        self.unsent = self._declined = 0
        self._dropped = [0, 0]  # by links that are gone; and the most that ever waited at one
        self._deepest = [0, 0]

    def _new_sites(self) -> list[Site]:
        plan = self._plan
        # What a stranger will subscribe to is not known before.
        asked = plan.mse.subscription
        for request in plan.requests:
            asked |= mask_of(map(Subservice, request.subservices))
        mask = plan.wlc.capability & asked if plan.use.plays_mse else plan.wlc.capability
        return [Site(self._profile, self._site, plan.seed, plan.first + number, mask) for number in self._members]

    # -- the load ------------------------------------------------------------------------------------------------

    def start(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """A load begins; every one begins alike."""
        if self.start_ns is not None:
            self.sites = self._new_sites()
            for site, links in zip(self.sites, self.subscribers, strict=True):
                for link in links:
                    assert link.endpoint is not None
                    link.endpoint.directory = site.directory
        self.start_ns, self.stop_at_ns = at_ns, NEVER_NS
        self.end_ns = end_ns(stages)
        self.ticks = [
            (site.tick_ns(clock, 0), position, clock, 0)
            for position, site in enumerate(self.sites)
            for clock in range(site.clocks)
        ]
        heapq.heapify(self.ticks)
        self.ready.clear()

    def stop(self, at_ns: int) -> None:
        """Nothing more becomes due from `at_ns` on."""
        self.stop_at_ns = min(self.stop_at_ns, at_ns)

    def next_wake_ns(self, now_ns: int) -> int:
        """When there is something to find or to tell next."""
        if self.start_ns is None:
            return NEVER_NS
        wake = self.ready[0].at_ns if self.ready else NEVER_NS
        if self.ticks and (next_ns := self.ticks[0][0]) < self.end_ns:
            wake = min(wake, next_ns - _AHEAD_NS)
        return max(now_ns, self.start_ns + wake) if wake < NEVER_NS else NEVER_NS

    def go_on(self, until_ns: int) -> Iterator[None]:
        """Tell what is due, and find what will be due soon, as far as there is time for it in this turn; after each
        step, a driver has its turn.

        A tick is found a little ahead, because what it finds does not depend on when that is computed. One that comes
        late nevertheless is late, and not left out.
        """
        ticks, ready = self.ticks, self.ready
        assert self.start_ns is not None
        while True:
            now = self._clock()
            since_ns = min(now, self.stop_at_ns) - self.start_ns
            if ready and ready[0].at_ns <= since_ns:
                self._tell(ready.popleft())
            elif ticks and ticks[0][0] < min(since_ns + _AHEAD_NS, self.end_ns):
                self._find()
            else:
                return
            yield
            if now > until_ns:
                return

    def _find(self) -> None:
        """Compute the next tick of all."""
        at_ns, position, clock, number = self.ticks[0]
        site = self.sites[position]
        found = site.tick(clock, number)
        heapq.heapreplace(self.ticks, (site.tick_ns(clock, number + 1), position, clock, number + 1))
        if found is not None:
            assert self.start_ns is not None
            epoch_ns = self.start_ns + self._to_unix_ns
            self.ready.append(of := Round(self._codec, site, found, position, at_ns, epoch_ns, self._most_bytes))
            for link in self.subscribers[position]:  # now, and not when it is due
                self._items(of, link)
            if self._missing(position):
                of.items_for(self._asked)

    def _tell(self, of: Round) -> None:
        """Give each link what it subscribed to, and send that as far as its socket takes it."""
        planned = self._planned[of.position]
        for number, link in enumerate(tuple(self.subscribers[of.position])):  # a link that breaks takes itself away
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
            self.unsent += untold

    def _missing(self, position: int) -> int:
        """How many sessions that should be there are not."""
        return max(0, self._planned[position] - len(self.subscribers[position]))

    def _items(self, of: Round, link: L) -> Sequence[Notification]:
        assert link.endpoint is not None
        return of.items_for(link.endpoint.granted, link.endpoint.groups)

    def _queue(self, link: L, items: Sequence[Notification], priority: Priority) -> None:
        queue = link.queue
        assert queue is not None
        for item in items:
            self._due += item.count
            fits = queue.offer(item, priority, 0)
            # More than the queue has room for is no reason to drop any, while the peer takes all of it.
            while fits < item.count and self._takes(link):
                self._send(link)
                if link.queue is None:  # it broke
                    break
                fits += queue.offer(item, priority, fits)
            queue.drop(item.count - fits, priority)
            self.unsent += item.count - fits
            if link.queue is None:
                return
        if self._takes(link):
            self._send(link)

    # -- links ---------------------------------------------------------------------------------------------------

    def answer(self, link: L) -> None:
        """What the endpoint has to say waits for its turn: answers have high priority, and a limit like the others."""
        assert link.endpoint is not None
        if link.queue is None:
            began_ns = link.endpoint.started_ns + self._to_unix_ns
            link.queue = TransmitQueue(self._site.high_queue, self._site.normal_queue, began_ns)
        for frame in link.endpoint.outbox:
            link.queue.put(frame, Priority.HIGH)
        link.endpoint.outbox.clear()

    def wrote(self, link: L, taken: Taken) -> None:
        """Notifications went out."""
        if taken.kind is not None:
            assert link.endpoint is not None
            link.endpoint.count_said(taken.kind)
        self._sent += taken.notifications
        self.sent_bytes += len(taken.data)
        self.writes += 1

    def granted(self, link: L, before: int) -> None:
        """Unsubscribed: what waits, because its peer has held it up, cannot be told any more."""
        assert link.endpoint is not None
        granted = link.endpoint.granted
        link.declined = (link.declined | before) & ~granted
        if link.queue is not None:
            self.unsent += link.queue.forget(granted)

    def came_up(self, link: L) -> None:
        """A session is up: it is told from now on."""
        self.subscribers[link.number].append(link)

    def gone(self, link: L) -> None:
        """A link ended."""
        if link in self.subscribers[link.number]:
            self.subscribers[link.number].remove(link)
        if (queue := link.queue) is not None:
            self.unsent += queue.clear()
            self._keep_figures(queue)
            link.queue = None

    def _keep_figures(self, queue: TransmitQueue) -> None:
        for priority in Priority:
            self._dropped[priority] += queue.dropped[priority]
            self._deepest[priority] = max(self._deepest[priority], queue.deepest[priority])

    # -- the end -------------------------------------------------------------------------------------------------

    def _queues(self) -> list[TransmitQueue]:
        return [link.queue for links in self.subscribers for link in links if link.queue is not None]

    def everything_done(self, now_ns: int) -> bool:
        """The load has ended, every tick was computed, and what was found was sent or waited too long."""
        assert self.start_ns is not None
        end = min(self.start_ns + self.end_ns, self.stop_at_ns)
        owed = self.ticks[0][0] if self.ticks else NEVER_NS
        if self.ready:
            owed = min(owed, self.ready[0].at_ns)
        if now_ns < end or owed < end - self.start_ns:
            return False
        if now_ns >= end + self._plan.load.backlog:
            return True
        return not any(queue.waiting for queue in self._queues())

    def wind_up(self) -> None:
        """End the load: what waits still is given up."""
        self.unsent += sum(queue.clear() for queue in self._queues())

    def totals(self, now_ns: int) -> dict[str, int]:
        """What was due, sent and dropped so far, in all loads."""
        queues = self._queues()
        dropped = [self._dropped[p] + sum(queue.dropped[p] for queue in queues) for p in Priority]
        deepest = [max(self._deepest[p], *(queue.deepest[p] for queue in queues), 0) for p in Priority]
        return {
            "notify.due": self._due,
            "notify.sent": self._sent,
            "notify.sent_bytes": self.sent_bytes,
            "notify.writes": self.writes,
            "notify.dropped": self.unsent,
            "notify.declined": self._declined,
            "transmit.dropped.high": dropped[Priority.HIGH],
            "transmit.dropped.normal": dropped[Priority.NORMAL],
            "transmit.deepest.high": deepest[Priority.HIGH],
            "transmit.deepest.normal": deepest[Priority.NORMAL],
        }
