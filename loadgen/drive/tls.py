"""Thousands of links in one loop. A turn takes whatever is ready, link by link in a row; afterwards everything that was
received in it is absorbed at once.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import trio

from loadgen.drive.cpu_cost import StopWatch
from loadgen.drive.driver import PlainDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.happenings import Happenings
from loadgen.drive.leaving import Leaving
from loadgen.drive.links import LinkT, Reads
from loadgen.drive.loop import Loop
from loadgen.drive.peers import PeerBook, PeerKeeper
from loadgen.drive.phase import ACTIVE, CLOSED, CLOSING, CONNECTING, HANDSHAKING, SETTING_UP, Phase
from loadgen.drive.presence import Presence
from loadgen.drive.reading import HandshakeLag, ReadLag
from loadgen.drive.segments import SegmentWatch
from loadgen.drive.tracing import Tracer
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.any_bulk import receiver_of
from loadgen.nmsp.bulk import MAX_WRITE_BYTES, Control
from loadgen.scenario.plan import end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.session.conversation import hear_untrusted
from loadgen.transport.tls import EndOfStream, TransportFault
from loadgen.units import NS_PER_MS, NS_PER_S

_WRITABLE = select.EPOLLOUT
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
# A storm of handshakes must not hold up what is due on links that are up: after this long, the rest waits a turn.
_HANDSHAKE_BUDGET_NS = 5 * NS_PER_MS
# What active links brought is taken together with what comes so soon after it.
_GATHER_NS = NS_PER_MS
# Sending more often than this costs more in loop turns than it gains in punctuality.
MIN_TICK_NS = NS_PER_MS
# How long an orderly close waits for the peer's.
CLOSE_TIMEOUT_NS = 5 * NS_PER_S
_RECEIVE_BUFFER_BYTES = 1 << 20
# Answers that wait for a peer which asks and does not read.
_MAX_OUTBOX = 256
# With fewer chunks than this in a turn, scanning them one by one is cheaper than sweeping them together.
_MIN_SWEEP = 6


class Shard(Loop[LinkT], Happenings[LinkT], PeerKeeper, PlainDriver):
    """What both fleets share: handshakes, reading, writing, faults. Subclasses say what happens when a tunnel is up, a
    session is active, or a link is gone.
    """

    # Names of the phases in counters: errors.<phase>.<kind>.
    phase_names: ClassVar[dict[Phase, str]]
    handshake_lag: ClassVar[str] = "generator.handshake_lag"

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment.clock)
        self.plan = equipment.plan
        self.recorder = recorder = equipment.recorder
        self.setup_timeout_ns = equipment.plan.mse.setup_timeout
        profile = equipment.profile
        self._room = profile.max_frame_bytes + MAX_WRITE_BYTES  # the rest of a frame, and one read
        self.receiver = receiver_of(profile, max(_RECEIVE_BUFFER_BYTES, 2 * self._room))
        self.active = 0
        self.mustered = 0  # users
        self.handshakes_wait = False  # for us: the last turn had no time for all that were ready
        self.effort = StopWatch(equipment.clock)
        self.segments = SegmentWatch(recorder)
        self.book = PeerBook()
        self.leaving = Leaving[LinkT](equipment.clock)
        self.tracer: Tracer | None = None  # of a run with `--trace`
        self.presence: Presence | None = None
        self.load_over = trio.Event()
        self.halted = trio.Event()
        self._reads = Reads[LinkT]()
        self._read_lag = ReadLag(recorder, equipment.clock)
        self.handshake_reads = HandshakeLag(recorder, self.handshake_lag, equipment.clock)
        self._read_since_ns: int | None = None

    def wake_ns(self, now_ns: int) -> int:
        wake = min(super().wake_ns(now_ns), self.leaving.next_ns(now_ns))
        return wake if self._read_since_ns is None else min(wake, self._read_since_ns + _GATHER_NS)

    # -- a turn --------------------------------------------------------------------------------------------------

    def turn(self, ready: list[tuple[int, int]]) -> None:
        """One turn: read and write what is ready (descriptors and epoll's events), do what is due."""
        self._read_lag.turn_begins(self.late_ns)
        readable: list[LinkT] = []  # `list[LinkT]()` takes ten times as long
        pending: list[LinkT] = []
        links = self.links
        for fd, events in ready:
            link = links.get(fd)
            if link is None:
                if not self.partings.hear(fd):
                    self.on_other(fd)
            elif link.phase < SETTING_UP:
                pending.append(link)
            else:
                if events & _WRITABLE:
                    self._flush(link)
                if events & _READABLE:
                    readable.append(link)
        if readable:
            self._read(readable)
        self.read_more()
        if self._read_since_ns is not None and self.clock() >= self._read_since_ns + _GATHER_NS:
            self._take()
        until, self.handshakes_wait = self.clock() + _HANDSHAKE_BUDGET_NS, False
        for link in pending:
            self.advance(link)
            if self.clock() > until:
                self.handshakes_wait = link is not pending[-1]
                break
        self.run_timers()
        self.on_turn(self.clock())
        self._read_lag.turn_ends()

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """Slot 0 of these stages' schedule is due at `at_ns` (monotonic); the load before, if any, is over."""
        self.load_over = trio.Event()
        if self.presence is not None:
            self.presence.begin(at_ns, end_ns(stages))
        self.effort.begin()

    def muster(self, users: int, at_ns: int, over_ns: int) -> None:
        """Have the plan's first `users` users there; sessions of new ones are dialed from `at_ns` (monotonic) on."""
        raise NotImplementedError

    def end_load(self) -> None:
        """The load is over: what follows is not its effort."""
        self.effort.end()
        self.load_over.set()

    def look_around(self) -> None:
        self.segments.look_around(self.links.values())

    def halt(self) -> None:
        """The run is about to end: dial no more, and give what is being set up a moment. A second call does nothing."""
        raise NotImplementedError

    def finish(self) -> None:
        """End the load if it goes on, close in order, and then be `finished`."""
        raise NotImplementedError

    def shut(self) -> None:
        """Close everything, at once."""
        for link in list(self.links.values()):
            self._drop(link)
        super().shut()

    def read_more(self) -> None:
        """Read what is ready and `turn` was not told of."""

    def absorb(self) -> None:
        """Take what the receiver holds; its buffer is about to be used again."""
        self.receiver.reset()

    # -- links ---------------------------------------------------------------------------------------------------

    def send_outbox(self, link: LinkT) -> None:
        """Write what the endpoint has to say, as far as the socket takes it.

        Raises:
            TransportFault
        """
        tunnel, endpoint = link.tunnel, link.endpoint
        assert tunnel is not None
        assert endpoint is not None
        while endpoint.outbox and not tunnel.blocked:
            tunnel.write(endpoint.next_frame())
        self.watch(link)

    def fault(self, link: LinkT, kind: str) -> None:
        """The link failed: count it and let it go. Costs this link only."""
        self._take_of(link)
        if link.phase is CLOSED:
            return
        self.recorder.count(f"errors.{self.phase_names[link.phase]}.{kind}")
        if link.phase is CLOSING:
            self.on_goodbye_unanswered(link)
        self.end(link, orderly=False)

    def close(self, link: LinkT, now_ns: int) -> None:
        """End an active link in order: say so once everything is written, and wait for the peer to say so too."""
        self._take_of(link)
        if link.phase is not ACTIVE:
            return
        self.active -= 1
        link.notifications = self.notified(link)
        self.on_gone(link, link.phase, orderly=True)
        link.phase = CLOSING
        self.arm(link, now_ns + CLOSE_TIMEOUT_NS)
        assert link.endpoint is not None
        link.endpoint.outbox.clear()  # of answers nobody wants any more
        link.endpoint.say_end(now_ns)
        try:
            self._say_goodbye(link)
        except TransportFault as error:
            self.fault(link, error.kind)

    def withdraw(self, link: LinkT, now_ns: int) -> None:
        """End a link because the run, or its user, ends: in order if it is up, and otherwise it is nobody's failure."""
        self._take_of(link)
        if link.phase is ACTIVE:
            self.close(link, now_ns)
        elif link.phase < ACTIVE:
            phase = link.phase
            self._drop(link)
            self.on_withdrawn(link, phase)

    def leave(self) -> None:
        """Close some of those that are to be."""
        for link in self.leaving.due():
            self.withdraw(link, self.clock())

    # -- inside --------------------------------------------------------------------------------------------------

    def _say_goodbye(self, link: LinkT) -> None:
        """Raises: TransportFault."""
        assert link.tunnel is not None
        assert link.endpoint is not None
        while link.endpoint.outbox and not link.tunnel.blocked:
            frame = link.endpoint.next_frame()
            link.tunnel.write(frame)
            self.on_farewell(link, len(frame))
        if not link.tunnel.blocked and link.tunnel.close_notify():
            self._drop(link)

    def advance(self, link: LinkT) -> None:
        """Go on with connecting or the handshake."""
        try:
            if link.phase is CONNECTING:
                self.on_connected(link)
                link.phase = HANDSHAKING
                link.tls_started_ns = self.clock()
            else:
                self.handshake_reads.message(link)
            if not self.shake(link):
                return
            now = self.clock()
            link.phase = SETTING_UP
            self.handshake_reads.done(link)
            self.book.opened += 1
            assert link.tunnel is not None
            self.agreed(link.tunnel.group)
            self.on_tunnel(link, now)
            if link.endpoint is not None:
                self.send_outbox(link)
                self._look_at(link, now)  # what we had to say may have been all
            elif link.phase is not CLOSED:
                self.watch(link)
        except TransportFault as error:
            self.fault(link, error.kind)

    def shake(self, link: LinkT) -> bool:
        """Go on with the handshake; False: it waits, and the loop knows for what.

        Raises:
            TransportFault
        """
        assert link.tunnel is not None
        if link.tunnel.handshake():
            return True
        self.watch(link)
        return False

    def _read(self, links: list[LinkT]) -> None:
        """Read one TLS record of each link, one behind the other, and then take them all."""
        self.waited(self._read_lag.read(links, self.late_ns, self._read_each, self._reads))
        if not (times_ns := self._reads.times_ns):
            return
        # What active links brought may wait a little: when it came is noted.
        if not self.sweeps or any(link.phase is not ACTIVE for link in links):
            self._take()
        elif self._read_since_ns is None:
            self._read_since_ns = times_ns[0]

    def _read_each(self, links: list[LinkT]) -> None:
        view, clock = self.receiver.view, self.clock
        limit = self.receiver.capacity - self._room
        read = self._reads
        position = read.ends[-1] if read.ends else 0
        for link in links:
            if position > limit or link.read:
                self._take()
                position = 0
            if (tunnel := link.tunnel) is None:  # ended since epoll told of it
                continue
            start = position + len(link.tail)
            try:
                size = tunnel.read_into(view[start : start + MAX_WRITE_BYTES])
            except TransportFault as fault:
                self._read_failed(link, fault)
                continue
            if not size or link.endpoint is None:
                continue
            if link.tail:  # what was left of the record before
                view[position:start] = link.tail
                link.tail = b""
            link.read = True
            read.links.append(link)
            read.starts.append(position)
            read.times_ns.append(clock())
            position = start + size
            read.ends.append(position)

    def _read_failed(self, link: LinkT, fault: TransportFault) -> None:
        if not isinstance(fault, EndOfStream):
            self.fault(link, fault.kind)
        elif link.endpoint is None:
            if not self.on_end_of_stream(link, orderly=fault.orderly):
                self.fault(link, fault.kind)
        elif fault.orderly and link.phase >= ACTIVE and not link.tail:
            assert link.tunnel is not None
            link.tunnel.close_notify()
            self._take_of(link)
            if link.phase is ACTIVE:
                self.on_left()
            self.end(link, orderly=True)
        elif link.phase is CLOSING:
            self.end(link, orderly=fault.orderly)
        else:
            self.fault(link, "closed_mid_frame" if link.tail else link.endpoint.cause(fault.kind))

    def _keep_tail(self, link: LinkT, tail: bytes) -> None:
        """What was left of a link's last record: the beginning of a frame, or nothing."""
        link.tail = tail

    def _take_of(self, link: LinkT) -> None:
        """Before a link ends, or is judged: what it brought counts."""
        if link.read:
            self._take()

    def _take(self) -> None:
        """Take what was read: at once where it is nothing but notifications, frame by frame where it is not."""
        read, self._read_since_ns = self._reads, None
        for link in read.links:
            link.read = False
        rest: Sequence[int] = range(len(read.links))
        counts = [0] * len(read.links)
        if self.sweeps and len(read.links) >= _MIN_SWEEP:
            rest, counts = self._sweep(read)
        for index in rest:
            link, end, before = read.links[index], read.ends[index], self.receiver.notifications
            if link.phase is not CLOSED:
                done = self.take_untrusted(link, read.starts[index], end, read.times_ns[index])
                counts[index] = self.receiver.notifications - before
                if link.tunnel is not None:  # what it brought has not ended it
                    self._keep_tail(link, bytes(self.receiver.view[done:end]))
        self._read_lag.settle(read, counts)
        self.absorb()
        read.clear()

    def _sweep(self, read: Reads[LinkT]) -> tuple[list[int], list[int]]:
        """Take everything that is nothing but notifications; returns the indexes of the rest, and each read's count."""
        # The state table's gate has nothing to add: an active session may bring any number, and stays active.
        active = [link.phase is ACTIVE for link in read.links]
        counts = every = self.receiver.sweep_untrusted(read.starts, read.ends, active).tolist()
        links, times_ns, rest = read.links, read.times_ns, []
        if 0 in counts:
            taken = [index for index, count in enumerate(counts) if count]
            rest = [index for index, count in enumerate(counts) if not count]
            links, times_ns = [links[index] for index in taken], [times_ns[index] for index in taken]
            counts = [counts[index] for index in taken]
        for link, now in zip(links, times_ns, strict=True):
            link.endpoint.last_heard_ns = now  # type: ignore[union-attr]
        self.on_swept(links, counts, times_ns)
        return rest, every

    def take_untrusted(self, link: LinkT, start: int, end: int, now_ns: int) -> int:
        """Take the frames in `view[start:end]`; returns how far they are whole."""
        endpoint = link.endpoint
        assert endpoint is not None
        closing = link.phase is CLOSING  # we said goodbye, and say nothing more
        if closing and not self.sweeps:
            return end
        after = partial(self._after_control, link, now_ns)
        heard = hear_untrusted(self.receiver, endpoint, start, end, now_ns, after)
        try:
            if heard.fault is not None:
                raise heard.fault
            if endpoint.outbox and not closing:
                self.send_outbox(link)
                if len(endpoint.outbox) > _MAX_OUTBOX:
                    raise RemoteProtocolError("not_reading", f"more than {_MAX_OUTBOX} answers wait to be read")
        except (RemoteProtocolError, TransportFault) as error:
            self.fault(link, error.kind)
        if heard.notifications:
            self.on_notifications(link, heard.notifications, now_ns)
        if endpoint.left and link.phase is ACTIVE:
            self.on_left()
            self.close(link, now_ns)
        return heard.position

    def _after_control(self, link: LinkT, now_ns: int, _control: Control, granted: int) -> None:
        endpoint = link.endpoint
        assert endpoint is not None
        if not self._look_at(link, now_ns) and endpoint.granted != granted:
            self.on_granted(link, granted, now_ns)

    def _look_at(self, link: LinkT, now_ns: int) -> bool:
        """Whether a link's session has come up just now; then it is active."""
        if link.phase is not SETTING_UP or link.endpoint is None or not link.endpoint.active:
            return False
        self.activate(link, now_ns)
        return True

    def activate(self, link: LinkT, now_ns: int) -> None:
        assert link.endpoint is not None
        link.phase = ACTIVE
        self.active += 1
        self.on_active(link, now_ns)
        self.arm(link, link.endpoint.on_timer(now_ns))

    def _flush(self, link: LinkT) -> None:
        assert link.tunnel is not None
        try:
            if not link.tunnel.flush():
                return
            if link.phase is CLOSING:
                self.watch(link)
                self._say_goodbye(link)
            elif link.endpoint is not None:
                self.send_outbox(link)
        except TransportFault as error:
            self.fault(link, error.kind)

    def on_timer(self, link: LinkT, now_ns: int) -> None:
        serial = link.timer
        self._take_of(link)
        if serial != link.timer:  # what it brought has ended it, or changed when to come back
            return
        if link.phase is CLOSING:
            self.fault(link, "close_timeout")
            return
        if link.endpoint is None:
            self.fault(link, "timeout")
            return
        try:
            self.arm(link, link.endpoint.on_timer(now_ns))
            self.send_outbox(link)
        except (RemoteProtocolError, TransportFault) as error:
            self.fault(link, error.kind)

    def end(self, link: LinkT, *, orderly: bool) -> None:
        """The link is over: close it at once, and tell `on_gone` unless it was closing already."""
        self._take_of(link)
        phase = link.phase
        if phase is CLOSED:
            return
        if phase is ACTIVE:
            self.active -= 1
        self._drop(link)
        if phase is not CLOSING:
            self.on_gone(link, phase, orderly=orderly)

    def _drop(self, link: LinkT) -> None:
        """Give a link's descriptor back."""
        if link.phase is ACTIVE:
            link.notifications = self.notified(link)
        self.segments.ends(link)
        self.book.ended(link)
        self.leaving.gone(link)
        link.phase = CLOSED
        self.remove(link)
        link.tail = b""  # its timer may keep the link for long: nothing that the peer has sent or asked for stays
        if link.endpoint is not None:
            link.endpoint.stop(self.clock())  # what is under way now is judged by now
            link.endpoint.session.close()
            link.endpoint.outbox.clear()
        self.release(link)

    def release(self, link: LinkT) -> None:
        """Close the link's socket; one whose peer was refused, once that has heard why."""
        if (tunnel := link.tunnel) is not None:
            self.part(tunnel)
            link.tunnel = None  # its timer may keep the link for long; OpenSSL's memory must not stay with it
