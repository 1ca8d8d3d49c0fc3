"""Associations over DTLS: a task for each that shakes hands and receives, and one task for what is due on all of them.

The counterpart of `tls` for datagrams. Messages have no tasks: what is due at a time is sent in one go, and what MSEs
receive is gathered, and then checked and recorded at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar, Generic, TypeVar

import trio

from loadgen.drive.cpu_cost import StopWatch
from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import Peer, PeerBook, PeerKeeper
from loadgen.drive.phase import ACTIVE, CLOSED, HANDSHAKING, SETTING_UP, Phase
from loadgen.drive.presence import Presence
from loadgen.drive.tracing import Tracer
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.any_bulk import receiver_of
from loadgen.nmsp.bulk import Control
from loadgen.results.health import Dialing
from loadgen.scenario.plan import end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.session.conversation import hear_untrusted, unfilled
from loadgen.session.datagrams import DatagramMseEndpoint, DatagramWlcEndpoint
from loadgen.transport.dtls import Association, dropped_by_kernel
from loadgen.transport.tls import EndOfStream, TransportFault
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

# Sending more often than this costs more than it gains in punctuality; what was received is taken as often.
TICK_NS = NS_PER_MS
# With a tick that comes later than this, what is under way waits for us, not for the peer.
LATE_NS = 5 * NS_PER_MS
# By how much a sleeping task is woken too late at most, on a machine that has nothing else to do.
_TIMER_NS = NS_PER_MS
# The longest sleep, whatever there is to do.
_MAX_SLEEP_NS = 100 * NS_PER_MS
_RECEIVE_BUFFER_BYTES = 1 << 20
# A datagram carries at most this much.
MAX_DATAGRAM_BYTES = 1 << 16
# A full send buffer must not keep us from ending.
_GOODBYE_S = 0.5


class DtlsLink:
    """An association with its endpoint.

    Attributes:
        number: which of the worker's WLCs, or of its sessions.
        heard_ns: when a datagram came last.
        read: what came last was not taken yet.
        farewell: the message that ends the session, to be sent when the link is over; empty: none.
        notifications: sent or received, once its session is over.
        timer: serial of the timer that counts.
    """

    __slots__ = (
        *("association", "endpoint", "farewell", "heard_ns", "notifications", "number", "peer", "phase", "read"),
        *("scope", "started_ns", "timer"),
    )

    def __init__(self, association: Association, number: int, started_ns: int) -> None:
        self.association = association
        self.endpoint: DatagramMseEndpoint | DatagramWlcEndpoint | None = None
        self.number = number
        self.phase = HANDSHAKING
        self.started_ns = self.heard_ns = started_ns
        self.read = False
        self.farewell: bytes | memoryview = b""
        self.scope = trio.CancelScope()
        self.timer = 0
        self.peer: Peer | None = None  # once its tunnel is up
        self.notifications = 0

    @property
    def spoke(self) -> bool:
        """trio tells of no datagram that it has not handed over; none is waited for while our own answer is."""
        return self.association.deliberating


DtlsLinkT = TypeVar("DtlsLinkT", bound=DtlsLink)


class DtlsDriver(PeerKeeper, Generic[DtlsLinkT]):
    """What both sides share: the life of an association, timers, and the tick. See `driver.Driver`."""

    # Names of the phases in counters: errors.<phase>.<kind>.
    phase_names: ClassVar[dict[Phase, str]]

    def __init__(self, equipment: Equipment) -> None:
        self.clock = equipment.clock
        self.recorder = equipment.recorder
        self.plan = equipment.plan
        self.receiver = receiver_of(equipment.profile, _RECEIVE_BUFFER_BYTES)
        self.links: set[DtlsLinkT] = set()
        self.active = self.mustered = self._longest_stall_ns = 0
        self.effort = StopWatch(equipment.clock)
        self.book = PeerBook()
        self.load_over = trio.Event()
        self.halted = trio.Event()
        self.presence: Presence | None = None
        self.tracer: Tracer | None = None  # of a run with `--trace`
        self.finished = False
        self.nursery: trio.Nursery
        self._timers: list[tuple[int, int, DtlsLinkT]] = []
        self._timer_serial = 0
        self._waker = trio.Event()
        self._wake_ns = NEVER_NS
        self._sent = self.received = self._overflowed = self._dropped = 0
        self._noted = self._unread_ns = 0  # see `_note_lateness`
        self.late_ns = 0  # by how much the last tick was

    # -- for the worker ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive until `finished`."""
        try:
            async with trio.open_nursery() as self.nursery:
                self.begin()
                while not self.finished:
                    await self._sleep()
                    await self._run_timers()
                    await self.on_tick(self.clock())
                    self._longest_stall_ns = self.stall_ns(self.clock())
                self.nursery.cancel_scope.cancel()
        finally:
            self._wake_ns = NEVER_NS
            self._dropped = self._dropped_by_kernel()
            self.shut()

    def wake_now(self) -> None:
        self.wake(self.clock())

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        self.load_over = trio.Event()
        if self.presence is not None:
            self.presence.begin(at_ns, end_ns(stages))
        self.effort.begin()
        self.wake(at_ns)

    def end_load(self) -> None:
        self.effort.end()
        self.load_over.set()

    def muster(self, users: int, at_ns: int, over_ns: int) -> None:
        raise AssertionError("only a plan with sessions has users")

    def halt(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        raise NotImplementedError

    def look_around(self) -> None:
        """UDP has nothing to be looked at."""

    def pending(self) -> int:
        return 0

    def dialing(self) -> Dialing:
        return Dialing()

    def queued_bytes(self) -> int:
        """UDP does not tell."""
        return 0

    def totals(self, now_ns: int) -> dict[str, int]:
        overflowed = self._overflowed + sum(link.association.overflowed() for link in self.links)
        return {
            "datagrams.sent": self._sent,
            "datagrams.received": self.received,
            "datagrams.overflowed": overflowed,
            "datagrams.dropped": self._dropped if self.finished else self._dropped_by_kernel(),
        }

    # -- for subclasses ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The nursery is there."""

    def endpoints(self) -> list[trio.DTLSEndpoint]:
        """All that are open."""
        raise NotImplementedError

    def shut(self) -> None:
        """Close all sockets."""
        raise NotImplementedError

    def next_wake_ns(self, now_ns: int) -> int:
        """When `on_tick` has something to do next, other than what timers tell of."""
        raise NotImplementedError

    async def on_tick(self, now_ns: int) -> None:
        """Do what is due."""
        raise NotImplementedError

    def on_tunnel(self, link: DtlsLinkT, now_ns: int) -> None:
        """DTLS is up; give the link its endpoint."""
        raise NotImplementedError

    def on_active(self, link: DtlsLinkT, now_ns: int) -> None:
        """The subscription was answered."""
        raise NotImplementedError

    def on_granted(self, link: DtlsLinkT, before: int, now_ns: int) -> None:
        """A running session's grant has changed (from this mask), at this place of what is being scanned."""
        raise NotImplementedError

    def on_gone(self, link: DtlsLinkT, phase: Phase, *, orderly: bool) -> None:
        """A link ended; `phase` is where it stood."""
        raise NotImplementedError

    def on_left(self) -> None:
        """The peer of an active link has closed it in order; `on_gone` follows."""

    def on_withdrawn(self, link: DtlsLinkT) -> None:
        """We ended a link that was being set up."""
        raise NotImplementedError

    async def on_datagram(self, link: DtlsLinkT, data: bytes, now_ns: int) -> None:
        """A datagram came.

        Raises:
            RemoteProtocolError, TransportFault
        """
        raise NotImplementedError

    def retire(self, endpoint: trio.DTLSEndpoint) -> None:
        """An endpoint is about to be closed: what the kernel dropped there is not forgotten."""
        self._dropped += dropped_by_kernel(endpoint)

    # -- time ----------------------------------------------------------------------------------------------------

    def stall_ns(self, now_ns: int) -> int:
        """The longest time from when a tick was due to its end, or until now, since `forget_stalls`."""
        return max(self._longest_stall_ns, now_ns - self._wake_ns)

    def forget_stalls(self, now_ns: int) -> None:
        """What was until now does not count."""
        self._longest_stall_ns = 0
        self._wake_ns = max(self._wake_ns, now_ns)

    def wake(self, at_ns: int) -> None:
        """There is something to do at this time (monotonic)."""
        if at_ns < self._wake_ns:
            self._wake_ns = max(at_ns, self.clock())  # what was due before was not known
            self._waker.set()

    def arm(self, link: DtlsLinkT, deadline_ns: int) -> None:
        """Have the link's timer run at `deadline_ns`, instead of when it was armed for before."""
        self._timer_serial += 1
        link.timer = self._timer_serial
        heapq.heappush(self._timers, (deadline_ns, self._timer_serial, link))
        self.wake(deadline_ns)

    async def _sleep(self) -> None:
        """Until there is something to do."""
        while True:
            now = self.clock()
            wake = min(self.next_wake_ns(now), now + _MAX_SLEEP_NS)
            if self._timers:
                wake = min(wake, self._timers[0][0])
            self._wake_ns = max(wake, now)
            if self._wake_ns <= now:
                await trio.lowlevel.checkpoint()
                return
            self._waker = trio.Event()
            with trio.move_on_after((self._wake_ns - now) / NS_PER_S) as timeout:
                await self._waker.wait()
            if timeout.cancelled_caught or self.clock() >= self._wake_ns:
                now = self.clock()
                # trio reads for all associations, and nobody tells since when what it read has been there: it reads as
                # late as we wake.
                self._note_lateness(max(0, now - self._wake_ns - _TIMER_NS), now)
                return

    def _note_lateness(self, late_ns: int, now_ns: int) -> None:
        """What came while we were late came in all of that time; trio may hand it over only after this tick."""
        self.late_ns = late_ns
        longest_ns = max(late_ns, self._unread_ns)
        count, self._noted = self.received - self._noted, self.received
        self._unread_ns = 0 if count else late_ns
        for number in range(1, count):
            self.recorder.record_now("generator.read_lag", longest_ns * number // count, now_ns)
        self.recorder.record_now("generator.read_lag", longest_ns, now_ns)

    async def _run_timers(self) -> None:
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            _, serial, link = heapq.heappop(self._timers)
            if serial == link.timer and link.phase is not CLOSED:
                try:
                    await self.attend(link, now)
                except (RemoteProtocolError, TransportFault) as error:
                    self.fault(link, error.kind)

    # -- links ---------------------------------------------------------------------------------------------------

    async def live(self, link: DtlsLinkT) -> None:
        """All of an association's life. Never raises: its faults are counted."""
        self.links.add(link)
        association = link.association
        try:
            with link.scope:
                await association.handshake(
                    self.plan.mse.setup_timeout / NS_PER_S, self.plan.dtls.retransmit / NS_PER_S
                )
                now = self.clock()
                link.phase, link.heard_ns = SETTING_UP, now
                self.book.opened += 1
                self.agreed(association.group)
                self.on_tunnel(link, now)
                await self.converse(link, now)
        except EndOfStream as end:
            if link.phase is ACTIVE:
                self.take_of(link)
                if link.phase is ACTIVE:
                    self.on_left()
                self.end(link, orderly=True)
            else:
                self.fault(link, end.kind if link.endpoint is None else link.endpoint.cause(end.kind))
        except (RemoteProtocolError, TransportFault) as error:
            self.fault(link, error.kind)
        finally:
            link.phase = CLOSED
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _GOODBYE_S):
                await self._say_goodbye(link)
            self.links.discard(link)
            self._overflowed += association.overflowed()
            association.close()

    async def converse(self, link: DtlsLinkT, now_ns: int) -> None:
        """All that comes once the tunnel is up, until the link's scope is cancelled.

        Raises:
            RemoteProtocolError, TransportFault
        """
        await self.attend(link, now_ns)
        self._look_at(link, now_ns)  # what we had to say may have been all
        while True:
            data = await link.association.receive()
            link.heard_ns = now = self.clock()
            self.received += 1
            await self.on_datagram(link, data, now)

    async def attend(self, link: DtlsLinkT, now_ns: int) -> None:
        """After every input: see to what is due at the endpoint, send what it has to say, come back in time.

        Raises:
            RemoteProtocolError, TransportFault
        """
        assert link.endpoint is not None
        self.arm(link, link.endpoint.on_timer(now_ns))
        await self.send_outbox(link)

    async def send_outbox(self, link: DtlsLinkT) -> None:
        """Send what the endpoint has to say, as many frames in a datagram as go into it.

        Raises:
            TransportFault
        """
        endpoint = link.endpoint
        assert endpoint is not None
        while endpoint.outbox and link.phase is not CLOSED:
            async with link.association.sending:
                if datagram := _datagram_of(endpoint.outbox, link.association.most_bytes):
                    self._sent += 1
                    await link.association.send(endpoint.numbered(datagram))

    async def send(self, link: DtlsLinkT, data: memoryview) -> None:
        """Send a datagram of notifications; the association's `sending` is held.

        Raises:
            TransportFault
        """
        self._sent += 1
        assert link.endpoint is not None
        await link.association.send(link.endpoint.numbered(data))

    def take_of(self, link: DtlsLinkT) -> None:
        """Before a link ends, or is judged: what it brought counts."""

    def take_untrusted(self, link: DtlsLinkT, start: int, end: int, now_ns: int) -> int:
        """Take the frames of the datagram in the receiver's `view[start:end]`, which they fill.

        Returns:
            How many notifications were scanned into the receiver; also where a fault came after them.
        """
        endpoint = link.endpoint
        assert endpoint is not None
        heard = hear_untrusted(self.receiver, endpoint, start, end, now_ns, partial(self._after_control, link, now_ns))
        fault = heard.fault
        if fault is None and heard.position < end:
            fault = unfilled(end - heard.position)
        if fault is not None:
            self.fault(link, fault.kind)
        elif endpoint.left and link.phase is ACTIVE:
            self.on_left()
            self.end(link, orderly=True)
        return heard.notifications

    def _after_control(self, link: DtlsLinkT, now_ns: int, _control: Control, granted: int) -> None:
        endpoint = link.endpoint
        assert endpoint is not None
        if not self._look_at(link, now_ns) and endpoint.granted != granted:
            self.on_granted(link, granted, now_ns)

    def _look_at(self, link: DtlsLinkT, now_ns: int) -> bool:
        """Whether a link's session has come up just now; then it is active."""
        if link.phase is not SETTING_UP or link.endpoint is None or not link.endpoint.active:
            return False
        link.phase = ACTIVE
        self.active += 1
        self.on_active(link, now_ns)
        return True

    async def _say_goodbye(self, link: DtlsLinkT) -> None:
        if link.farewell:
            with suppress(TransportFault):  # a peer that is gone needs none
                async with link.association.sending:
                    self._sent += 1
                    await link.association.send(link.farewell)
        await link.association.say_goodbye()

    def close(self, link: DtlsLinkT) -> None:
        """End an active link in order; its peer is told, and not waited for."""
        self.take_of(link)
        if link.phase is ACTIVE:
            assert link.endpoint is not None
            link.endpoint.outbox.clear()  # of answers nobody wants any more
            link.endpoint.say_end(self.clock())
            link.farewell = link.endpoint.numbered(b"".join(link.endpoint.outbox))
            link.endpoint.outbox.clear()
            self.end(link, orderly=True)

    def fault(self, link: DtlsLinkT, kind: str) -> None:
        """The link failed: count it and let it go. Costs this link only."""
        self.take_of(link)
        if link.phase is not CLOSED:
            self.recorder.count(f"errors.{self.phase_names[link.phase]}.{kind}")
            self.end(link, orderly=False)

    def end(self, link: DtlsLinkT, *, orderly: bool) -> None:
        """The link is over; its task ends by itself."""
        if (phase := link.phase) is CLOSED:
            return
        self.part(link)
        self.on_gone(link, phase, orderly=orderly)
        link.scope.cancel()

    def withdraw(self, link: DtlsLinkT) -> None:
        """End a link because the run ends: in order if it is up, and otherwise it is nobody's failure."""
        self.take_of(link)
        if link.phase is ACTIVE:
            self.close(link)
        elif link.phase < ACTIVE:
            self.part(link)
            self.on_withdrawn(link)
            link.scope.cancel()

    def part(self, link: DtlsLinkT) -> None:
        """A link is over; its task ends by itself."""
        phase = link.phase
        if phase is ACTIVE:
            link.notifications = self.notified(link)
        self.book.ended(link)
        link.phase, link.timer = CLOSED, 0
        if phase is ACTIVE:
            self.active -= 1
        if link.endpoint is not None:
            link.endpoint.session.close()

    def _dropped_by_kernel(self) -> int:
        return self._dropped + sum(map(dropped_by_kernel, self.endpoints()))


def _datagram_of(outbox: list[bytes], most_bytes: int) -> bytes:
    """As many of the frames as go into one datagram, taken out; at least one, if there is any."""
    size = count = 0
    for frame in outbox:
        if count and size + len(frame) > most_bytes:
            break
        size += len(frame)
        count += 1
    datagram = b"".join(outbox[:count])
    del outbox[:count]
    return datagram
