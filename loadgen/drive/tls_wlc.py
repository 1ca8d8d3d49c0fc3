"""The WLC side of a worker: accepts MSEs, and sends what its controllers owe when it is due."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.controllers import Controller, make_controllers
from loadgen.drive.links import Link
from loadgen.drive.phase import Phase
from loadgen.drive.ring_table import Singles
from loadgen.drive.tls import MIN_TICK_NS
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_serve import ServingShard
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Int64s
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import MOBILE_STATION, mask_of
from loadgen.scenario.plan import Plan, Use
from loadgen.scenario.schedule import RateStage, Share
from loadgen.session.directory import Directory
from loadgen.session.ledger import Ledger
from loadgen.session.link import EndpointSettings
from loadgen.transport.tls import TransportFault
from loadgen.units import NEVER_NS, NS_PER_MS

# Most notifications that are looked at for one write; more than a TLS record of the smallest frames holds.
_MAX_BATCH = 512
_WRITES_PER_VISIT = 4
# Below so many links in a turn, sending to them one by one is cheaper; and a turn's budget is looked at after so many.
_MIN_TOGETHER = 24
_MOST_TOGETHER = 256
# Due times of a write that spans more bursts than this come from a column operation.
_FEW_BURSTS = 8
# A link that has fallen behind catches up in writes of at least so many: 4 KiB in memory for each WLC.
_CATCH_UP_BATCH = 40
# What a peer has no room for, and our kernel still takes: what is due in so long.
_UNSENT_S = 0.025
# A turn that has fallen behind must still read: peers whose echo requests are not answered would take us for dead.
_SEND_BUDGET_NS = 10 * NS_PER_MS
_STATION_MASK = mask_of(MOBILE_STATION)


class WlcShard(ServingShard):
    """The controllers of one worker."""

    def __init__(
        self,
        plan: Plan,
        profile: WireProfile,
        recorder: Recorder,
        settings: EndpointSettings,
        share: Share,
        listeners: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        to_unix_ns: int,
        aaa: Aaa | None = None,
    ) -> None:
        """Args: listeners, contexts: one for each of `share.members`, in order."""
        super().__init__(plan, profile, recorder, settings, share.members, listeners, contexts, to_unix_ns, aaa)
        self._share = share
        self._schedule = share.schedule
        self._counted = 0  # slots of the schedule whose WLCs were visited, or are in `_visits`
        self._visits: deque[int] = deque()  # positions
        self._again: dict[int, None] = {}  # positions that were visited, and are owed more: after all who are due
        self._past = np.zeros(4, np.int64)  # due, dropped, own_dropped and declined of earlier loads
        self._sent = self._sent_bytes = self._writes = 0
        # Of somebody else's MSEs only the kernel tells how far they are: what is under way all the time is no backlog.
        self._weighing = plan.use is Use.SERVE_WLC
        self._weigh_at_ns, self._unacknowledged_before = NEVER_NS, 0
        self._due = np.empty(_MAX_BATCH, np.int64)
        batch = min(max(plan.burst, _CATCH_UP_BATCH), _MAX_BATCH)
        self.controllers = make_controllers(plan, profile, share.members, batch)
        # Row by row: what is owed, whose it is (a position among the controllers), and over which link (None: down).
        self._ledger = Ledger()
        self._positions: list[int] = []
        self._links: list[WlcLink | None] = []
        self._singles = Singles(profile, [controller.ring for controller in self.controllers])
        self._numbers = np.array(share.members, np.int64)
        # Every planned session owes from the start, there or not; one that nobody planned, or of a user, owes nothing
        # before it comes.
        if not plan.sessions_per_user:
            for session in plan.sessions:
                if session.wlc in share.members:
                    self._add_row(share.members.index(session.wlc), 0, planned=True)

    def _add_row(self, position: int, base: int, *, planned: bool = False) -> int:
        row = self._ledger.add(base, planned=planned)
        if row == len(self._links):
            self._positions.append(position)
            self._links.append(None)
        self._positions[row] = position
        self.controllers[position].rows.append(row)
        return row

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        self._past += self._load_totals(at_ns)
        super().start_load(at_ns, stages)
        self._ledger.restart()
        self._schedule = self._plan.schedule(stages)
        self._share = Share(self._schedule, self._share.worker, self._share.workers)
        self._counted = 0
        self.allow_unsent(self._unsent_within(_UNSENT_S, stages))
        self._unacknowledged_before = 0
        if self._weighing and len(stages) > 1:
            self._weigh_at_ns = at_ns + stages[-1].start_ns
        self._visits.clear()
        self._again.clear()

    def _unsent_within(self, length_s: float, stages: Sequence[RateStage]) -> int:
        """Bytes that a WLC has to tell a subscriber in so much of the load, where that is largest."""
        slots_per_s = max((max(stage.start_per_s, stage.end_per_s) for stage in stages), default=0.0)
        each = max((controller.frame_bytes for controller in self.controllers), default=0.0)
        return math.ceil(length_s * slots_per_s / self._schedule.members * self._plan.burst * each)

    def due_now(self, now_ns: int) -> int:
        """Slots of the whole fleet that are due."""
        if self._load_start_ns is None:
            return 0
        return self._schedule.count_at(min(now_ns, self._stop_at_ns) - self._load_start_ns)

    def _due_at(self, controller: Controller, slots: int) -> int:
        """How many of a controller's notifications are due when `slots` of the fleet's slots are."""
        return self._schedule.turns(controller.number, slots) * self._plan.burst

    def next_wake_ns(self, now_ns: int) -> int:
        if self._visits or self._again:
            return now_ns
        if self._load_start_ns is None or self._counted >= self._schedule.slots:
            return NEVER_NS
        return max(self._load_start_ns + self._schedule.due_ns(self._counted), now_ns + MIN_TICK_NS)

    def on_turn(self, now_ns: int) -> None:
        if (slots := self.due_now(now_ns)) > self._counted or self._visits or self._again:
            self._send_until(slots, now_ns + _SEND_BUDGET_NS)
        super().on_turn(now_ns)
        if now_ns >= self._weigh_at_ns:
            self._weigh_at_ns, self._unacknowledged_before = NEVER_NS, self.untaken_bytes()
        if not self.load_over.is_set() and self._everything_done(now_ns):
            self._wind_up(now_ns)
        self.close_when_over(now_ns)

    def _send_until(self, slots: int, until_ns: int) -> None:
        """Visit every WLC whose turn came since it was visited last, as far as there is time for it in this turn."""
        visits, again, clock = self._visits, self._again, time.monotonic_ns
        while True:
            if not visits:
                due = [position for span in self._share.positions(self._counted, slots) for position in span]
                self._counted = slots
                visits.extend(self._send_singles(due, slots, until_ns) if self._plan.burst == 1 else due)
                visits.extend(again)
                again.clear()
                if not visits:
                    return
            position = visits.popleft()
            if self._send_due(self.controllers[position], slots):
                again[position] = None
            if clock() > until_ns:
                return

    def _send_due(self, controller: Controller, slots: int) -> bool:
        """Send what a WLC's subscribers are owed; True if another visit is needed for it."""
        due_now = self._due_at(controller, slots)
        more = False
        for row in tuple(controller.rows):  # a link that breaks takes its row away
            link = self._links[row]
            if link is not None and not link.tunnel.blocked:  # type: ignore[union-attr]
                more |= self._send_owed(link, due_now)
        return more

    def _send_singles(self, positions: list[int], slots: int, until_ns: int) -> list[int]:
        """Send what is owed over links that are owed one notification; returns the positions that need a visit."""
        rows = [row for position in positions for row in self.controllers[position].rows]
        if len(rows) < _MIN_TOGETHER:
            return positions
        row = np.array(rows, np.int64)
        position = np.array([self._positions[row] for row in rows], np.int64)
        owed = self._schedule.turns_column(self._numbers[position], slots) - self._ledger.done[row]
        alone = (owed == 1) & (self._ledger.behind[row] == 0)
        visits = position[(owed > 0) & ~alone].tolist()
        one = np.flatnonzero(alone)
        for first in range(0, len(one), _MOST_TOGETHER):
            if time.monotonic_ns() > until_ns:
                visits += position[one[first:]].tolist()
                break
            chunk = one[first : first + _MOST_TOGETHER]
            self._send_one_each(row[chunk], position[chunk])
        return list(dict.fromkeys(visits))

    def _send_one_each(self, rows: Int64s, positions: Int64s) -> None:
        ledger, schedule = self._ledger, self._schedule
        assert self._load_start_ns is not None
        done = ledger.done[rows]
        epoch = self._load_start_ns + self._to_unix_ns
        due = schedule.due_column_ns(done * schedule.members + self._numbers[positions]) + epoch
        frames = self._singles.frames(positions, done)
        sequences = ledger.sent[rows].tolist()
        sent: list[int] = []
        times: list[int] = []
        stamp, links, clock, to_unix = self._singles.stamp, self._links, time.monotonic_ns, self._to_unix_ns
        for index, (row, frame, sequence, due_ns) in enumerate(
            zip(rows.tolist(), frames, sequences, due.tolist(), strict=True)
        ):
            link = links[row]
            if link is None or (tunnel := link.tunnel) is None or tunnel.blocked:
                continue
            now = clock() + to_unix
            buffer, pointer, offset, size = frame
            stamp(buffer, offset, sequence, due_ns, now)
            try:
                tunnel.write_at(pointer + offset, size)
            except TransportFault as error:
                self.fault(link, error.kind)
                continue
            if tunnel.blocked:
                ledger.behind[row] = 1
                self.watch(link)
            sent.append(index)
            times.append(now)
        if len(sent) < len(rows):
            rows, due = rows[sent], due[sent]
        ledger.done[rows] += 1
        ledger.sent[rows] += 1
        self._sent += len(sent)
        self._sent_bytes += sum(frames[index][3] for index in sent)
        self._writes += len(sent)
        self._note_lag(np.array(times, np.int64), due, len(sent), held_up=False)

    def _send_owed(self, link: WlcLink, due_now: int) -> bool:
        """Send what a link is owed, until the socket is full or others should have their turn.

        Returns:
            Whether more is owed and could be sent.
        """
        controller, tunnel = self.controllers[link.number], link.tunnel
        assert tunnel is not None
        ledger, row = self._ledger, link.row
        owed = ledger.owed(row, due_now)
        held_up = bool(ledger.behind[row])
        if owed > self._plan.burst:
            self._drop_expired(controller, row, ours=not held_up)
            owed = ledger.owed(row, due_now)
        done, sequence, writes = int(ledger.done[row]), int(ledger.sent[row]), 0
        try:
            while owed > 0 and writes < _WRITES_PER_VISIT and not tunnel.blocked:
                now = time.monotonic_ns() + self._to_unix_ns
                wanted = min(owed, _MAX_BATCH)
                due = self._due_of(controller, done, wanted)
                view, count = controller.ring.patch(done, wanted, sequence, due, now)
                tunnel.write(view)
                writes += 1
                self._sent_bytes += len(view)
                self._writes += 1
                owed -= count
                done += count
                sequence += count
                self._sent += count
                self._note_lag(now, due if isinstance(due, int) else due[:count], count, held_up=held_up)
        except TransportFault as error:
            ledger.done[row], ledger.sent[row] = done, sequence
            self.fault(link, error.kind)
            return False
        ledger.done[row], ledger.sent[row] = done, sequence
        if tunnel.blocked:
            ledger.behind[row] = 1
            self.watch(link)
            return False
        if owed <= 0:
            ledger.behind[row] = 0
        return owed > 0

    def _due_of(self, controller: Controller, first: int, count: int) -> int | Int64s:
        """Due times (ns since the epoch) of `count` notifications from index `first` on: one number if they are of one
        burst, else a column that is valid until the next call.
        """
        burst, schedule, number = self._plan.burst, self._schedule, controller.number
        assert self._load_start_ns is not None
        epoch = self._load_start_ns + self._to_unix_ns
        turn, last = first // burst, (first + count - 1) // burst
        if turn == last:
            return schedule.due_ns(schedule.slot(number, turn)) + epoch
        if last - turn > _FEW_BURSTS:
            turns = np.arange(first, first + count) // burst
            return schedule.due_column_ns(turns * schedule.members + number) + epoch
        for index in range(turn, last + 1):
            row = max(0, index * burst - first)
            self._due[row : (index + 1) * burst - first] = schedule.due_ns(schedule.slot(number, index)) + epoch
        return self._due

    def _drop_expired(self, controller: Controller, row: int, *, ours: bool) -> None:
        now = min(time.monotonic_ns(), self._stop_at_ns)
        assert self._load_start_ns is not None
        expired = self._schedule.count_at(now - self._load_start_ns - self._plan.backlog_ns)
        self._ledger.drop_until(row, self._due_at(controller, expired), ours=ours)

    def _drop_waiting(self, now_ns: int) -> None:
        """What has waited too long for sessions that are not there, or take nothing. Nobody visits these; whoever
        watches is to know as it happens.
        """
        if self._load_start_ns is None:
            return
        expired = self._schedule.count_at(min(now_ns, self._stop_at_ns) - self._load_start_ns - self._plan.backlog_ns)
        for row, (position, link) in enumerate(zip(self._positions, self._links, strict=True)):
            if link is None:
                waiting = row in self.controllers[position].rows
            else:
                waiting = link.tunnel is not None and link.tunnel.blocked
            if waiting:
                self._ledger.drop_until(row, self._due_at(self.controllers[position], expired), ours=False)

    # -- links ---------------------------------------------------------------------------------------------------

    def directory_of(self, position: int) -> Directory:
        return self.controllers[position].directory

    def on_active(self, link: Link, now_ns: int) -> None:
        super().on_active(link, now_ns)
        assert isinstance(link, WlcLink)
        assert link.endpoint is not None
        if link.endpoint.granted & _STATION_MASK:
            self._begin_row(link, now_ns)

    def _begin_row(self, link: WlcLink, now_ns: int) -> None:
        """The link subscribed for the first time: it is owed what is due from now on."""
        controller = self.controllers[link.number]
        due_now = self._due_at(controller, self.due_now(now_ns))
        link.row = next((row for row in controller.rows if self._links[row] is None), -1)
        if link.row < 0:
            link.row = self._add_row(link.number, due_now)
        self._links[link.row] = link
        self._ledger.drop_until(link.row, due_now, ours=False)
        self._ledger.sent[link.row] = self._ledger.behind[link.row] = 0  # numbers are a session's

    def on_granted(self, link: Link, before: int, now_ns: int) -> None:
        """Unsubscribed: nothing becomes due until the link subscribes again. Its numbers go on."""
        assert isinstance(link, WlcLink)
        assert link.endpoint is not None
        controller, granted = self.controllers[link.number], link.endpoint.granted
        told = granted >> controller.subservice & 1
        due_now = self._due_at(controller, self.due_now(now_ns))
        if link.row >= 0 and (not granted & _STATION_MASK or (before >> controller.subservice & 1 and not told)):
            self._leave_row(link, due_now)
        elif link.left_row >= 0 and told:
            link.row, link.left_row = link.left_row, -1
            self._ledger.reopen(link.row, due_now)
            controller.rows.append(link.row)
            self._links[link.row] = link
        elif link.row < 0 and link.left_row < 0 and granted & _STATION_MASK:
            self._begin_row(link, now_ns)

    def _leave_row(self, link: WlcLink, due_now: int) -> None:
        """The link unsubscribed: what is due by then goes out ahead of our answer, as far as the socket takes it; what
        its peer has held up cannot be told any more.
        """
        assert link.tunnel is not None
        more = not link.tunnel.blocked
        while more:
            more = self._send_owed(link, due_now)
        if link.row < 0:  # it broke
            return
        self.controllers[link.number].rows.remove(link.row)
        self._links[link.row] = None
        self._ledger.close(link.row, due_now)
        link.row, link.left_row = -1, link.row

    def on_gone(self, link: Link, phase: Phase, *, orderly: bool) -> None:
        super().on_gone(link, phase, orderly=orderly)
        assert isinstance(link, WlcLink)
        if (row := max(link.row, link.left_row)) < 0:
            return
        controller = self.controllers[link.number]
        self._links[row] = None
        due_now = self._due_at(controller, self.due_now(time.monotonic_ns()))
        self._ledger.leave(row, controller.rows, self._links, due_now)
        link.row = link.left_row = -1

    def _flush(self, link: Link) -> None:
        super()._flush(link)
        assert isinstance(link, WlcLink)
        if self._load_start_ns is None or link.row < 0 or link.phase is not Phase.ACTIVE:
            return
        if link.tunnel is not None and not link.tunnel.blocked:
            slots = self.due_now(time.monotonic_ns())
            if self._send_owed(link, self._due_at(self.controllers[link.number], slots)):
                self._again[link.number] = None

    # -- the end -------------------------------------------------------------------------------------------------

    def _everything_done(self, now_ns: int) -> bool:
        """The load has ended, and everything due was sent or waited too long."""
        if self._load_start_ns is None:
            return False
        end = min(self._load_start_ns + self._schedule.duration_ns, self._stop_at_ns)
        if now_ns < end:
            return False
        if now_ns >= end + self._plan.backlog_ns:
            return True
        slots = self.due_now(now_ns)
        return not any(
            self._links[row] is not None and self._ledger.owed(row, self._due_at(controller, slots)) > 0
            for controller in self.controllers
            for row in controller.rows
        )

    def _wind_up(self, now_ns: int) -> None:
        """End the load: what is still owed is given up."""
        self._stop_at_ns = min(self._stop_at_ns, now_ns)
        slots = self.due_now(now_ns)
        for controller in self.controllers:
            due_now = self._due_at(controller, slots)
            for row in controller.rows:
                self._ledger.drop_until(row, due_now, ours=False)
        self.end_load()

    def queued_bytes(self) -> int:
        if not self.load_over.is_set():
            return 0
        return sum(
            link.tunnel.unacknowledged_bytes() for link in self._links if link is not None and link.tunnel is not None
        )

    def told(self, link: Link) -> int:
        return link.notifications or self.notified(link)

    def bytes_of_told(self, link: Link) -> tuple[float, float]:
        assert isinstance(link, WlcLink)
        each = self.controllers[link.number].frame_bytes
        return each, each + self.record_bytes * self._writes / self._sent

    def send_outbox(self, link: Link) -> None:
        assert link.endpoint is not None
        outbox = link.endpoint.outbox
        sizes = [*map(len, outbox)]
        super().send_outbox(link)
        if sent := sizes[: len(sizes) - len(outbox)]:
            self.note_aside(link, sum(sent), len(sent))

    def notified(self, link: Link) -> int:
        assert isinstance(link, WlcLink)
        row = link.row if link.row >= 0 else link.left_row
        return 0 if row < 0 else int(self._ledger.sent[row])

    def totals(self, now_ns: int) -> dict[str, int]:
        """What was due, sent and dropped so far, in all loads."""
        self._drop_waiting(now_ns)
        due, dropped, own, declined = (self._past + self._load_totals(now_ns)).tolist()
        return {
            "notify.due": due,
            "notify.sent": self._sent,
            "notify.sent_bytes": self._sent_bytes,
            "notify.writes": self._writes,
            "notify.dropped": dropped,
            "notify.declined": declined,
            "notify.unacknowledged_bytes": self.unacknowledged_bytes,
            "generator.shortfall": own,
            **({"notify.unacknowledged_before_bytes": self._unacknowledged_before} if self._weighing else {}),
        }

    def _load_totals(self, now_ns: int) -> tuple[int, int, int, int]:
        """Due, dropped, own_dropped and declined of this load."""
        numbers = self._numbers[np.array(self._positions, np.int64)]
        due_now = self._schedule.turns_column(numbers, self.due_now(now_ns)) * self._plan.burst
        return *self._ledger.totals(due_now), self._ledger.declined_so_far(due_now)
