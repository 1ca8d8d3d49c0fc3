"""The WLC side of a worker: accepts MSEs, and sends what its controllers owe when it is due."""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Sequence

import numpy as np
from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.controllers import Telling, make_controllers
from loadgen.drive.equipment import Equipment
from loadgen.drive.native_writing import native_sender
from loadgen.drive.phase import ACTIVE, Phase
from loadgen.drive.ring_table import ReplaySingles, Singles
from loadgen.drive.tls import MIN_TICK_NS
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_writing import WritingShard
from loadgen.drive.wlc_sessions import Notifiers
from loadgen.nmsp.bulk import Int64s
from loadgen.nmsp.ring import Timing
from loadgen.scenario.plan import Use
from loadgen.scenario.schedule import RateStage
from loadgen.session.directory import Directory
from loadgen.transport.tls import TransportFault
from loadgen.units import NEVER_NS, NS_PER_MS

# Most notifications that are looked at for one write; more than a TLS record of the smallest frames holds.
_MAX_BATCH = 512
_WRITES_PER_VISIT = 4
# Below so many links in a turn, sending to them one by one is cheaper; and a turn's budget is looked at after so many.
_MIN_TOGETHER = 24
_MOST_TOGETHER = 256
# A link that has fallen behind catches up in writes of at least so many: 4 KiB in memory for each WLC.
_CATCH_UP_BATCH = 40
# What a peer has no room for, and our kernel still takes: what is due in so long.
_UNSENT_S = 0.025
# A turn that has fallen behind must still read: peers whose echo requests are not answered would take us for dead.
_SEND_BUDGET_NS = 10 * NS_PER_MS


class WlcShard(WritingShard):
    """The controllers of one worker."""

    link_class = WlcLink

    def __init__(
        self,
        equipment: Equipment,
        listeners: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        super().__init__(equipment, listeners, contexts, aaa)
        plan = equipment.plan
        self._counted = 0  # slots of the schedule whose WLCs were visited, or are in `_visits`
        self._visits: deque[int] = deque()  # positions
        self._again: dict[int, None] = {}  # positions that were visited, and are owed more: after all who are due
        # Of somebody else's MSEs only the kernel tells how far they are: what is under way all the time is no backlog.
        self._weighing = plan.use is Use.SERVE_WLC
        self._weigh_at_ns, self._unacknowledged_before = NEVER_NS, 0
        batch = min(max(plan.load.burst, _CATCH_UP_BATCH), _MAX_BATCH)
        self._sender = None
        self._singles: Singles | ReplaySingles | None = None
        self._most_at_once = _MAX_BATCH
        self._telling = self._make_controllers(equipment, batch)
        self.notifiers = Notifiers[WlcLink](equipment, self._telling)
        self.owing = self.notifiers.owing

    def _make_controllers(self, equipment: Equipment, batch: int) -> Sequence[Telling]:
        """The worker's. Args: batch: most notifications that are laid out at once."""
        profile = equipment.profile
        self.controllers = make_controllers(equipment.plan, profile, equipment.share.members, batch)
        rings, members = [controller.ring for controller in self.controllers], equipment.share.members
        self._sender = native_sender(profile, rings, members, equipment.to_unix_ns, equipment.clock)
        # What else varies each visit puts in by itself.
        if profile.notify_is_stamped and self._sender is None:
            self._singles = Singles(profile, rings)
        return self.controllers

    def _wanted(self, link: WlcLink, done: int, owed: int) -> tuple[int, int]:
        """How many of what is owed next are not for this link; where none are, how many are before one that is not."""
        return 0, owed

    def _frames(self, link: WlcLink, done: int, wanted: int, sequence: int, timing: Timing) -> tuple[memoryview, int]:
        """What a link is sent next. Args: as of `NotifyRing.patch`."""
        return self.controllers[link.number].ring.patch(done, wanted, sequence, timing)

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.owing.start(at_ns, stages)
        self._start_sending(at_ns, stages)
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
        each = max((controller.frame_bytes for controller in self._telling), default=0.0)
        return math.ceil(length_s * slots_per_s / self.owing.share.schedule.members * self.plan.load.burst * each)

    def stop_load(self, at_ns: int) -> None:
        self.owing.stop(at_ns)

    def next_wake_ns(self, now_ns: int) -> int:
        if self._visits or self._again:
            return now_ns
        return max(self.owing.slot_due_ns(self._counted), now_ns + MIN_TICK_NS)

    def on_turn(self, now_ns: int) -> None:
        if (slots := self.owing.slots(now_ns)) > self._counted or self._visits or self._again:
            self._send_until(slots, now_ns + _SEND_BUDGET_NS)
        super().on_turn(now_ns)
        if now_ns >= self._weigh_at_ns:
            self._weigh_at_ns, self._unacknowledged_before = NEVER_NS, self.untaken_bytes()
        if not self.load_over.is_set() and self.owing.everything_done(now_ns):
            self.owing.give_up(now_ns)
            self.end_load()
        self.close_when_over(now_ns)

    def _send_until(self, slots: int, until_ns: int) -> None:
        """Visit every WLC whose turn came since it was visited last, as far as there is time for it in this turn."""
        if self._sender is not None:
            self._send_natively(self._sender, slots, until_ns)
            return
        visits, again, clock = self._visits, self._again, self.clock
        while True:
            if not visits:
                due = [position for span in self.owing.share.positions(self._counted, slots) for position in span]
                self._counted = slots
                visits.extend(self._send_singles(due, slots, until_ns) if self.plan.load.burst == 1 else due)
                visits.extend(again)
                again.clear()
                if not visits:
                    return
            position = visits.popleft()
            if self._send_due(position, slots):
                again[position] = None
            if clock() > until_ns:
                return

    def _send_due(self, position: int, slots: int) -> bool:
        """Send what a WLC's subscribers are owed; True if another visit is needed for it."""
        owing, more = self.owing, False
        due_now = owing.due(position, slots)
        for row in tuple(owing.rows[position]):  # a link that breaks takes its row away
            link = owing.subscribers[row]
            if link is not None and not link.tunnel.blocked:  # type: ignore[union-attr]
                more |= self._send_owed(link, due_now)
        return more

    def _send_singles(self, positions: list[int], slots: int, until_ns: int) -> list[int]:
        """Send what is owed over links that are owed one notification; returns the positions that need a visit."""
        owing = self.owing
        rows = [row for position in positions for row in owing.rows[position]]
        if self._singles is None or len(rows) < _MIN_TOGETHER:
            return positions
        row = np.array(rows, np.int64)
        position, owed = owing.positions(row), owing.owed_column(row, slots)
        alone = (owed == 1) & (owing.ledger.behind[row] == 0)
        visits = position[(owed > 0) & ~alone].tolist()
        one = np.flatnonzero(alone)
        for first in range(0, len(one), _MOST_TOGETHER):
            if self.clock() > until_ns:
                visits += position[one[first:]].tolist()
                break
            chunk = one[first : first + _MOST_TOGETHER]
            self._send_one_each(self._singles, row[chunk], position[chunk])
        return list(dict.fromkeys(visits))

    def _send_one_each(self, singles: Singles | ReplaySingles, rows: Int64s, positions: Int64s) -> None:
        ledger, due = self.owing.ledger, self.owing.next_due_ns(rows)
        frames = singles.frames(positions, ledger.done[rows])
        sequences = ledger.sent[rows].tolist()
        sent: list[int] = []
        times: list[int] = []
        stamp, links, clock = singles.stamp, self.owing.subscribers, self.clock
        to_unix = self._to_unix_ns
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
        self.notifiers.sent += len(sent)
        self.notifiers.sent_bytes += sum(frames[index][3] for index in sent)
        self.notifiers.writes += len(sent)
        self._note_lag(np.array(times, np.int64), due, len(sent), held_up=False)

    def _send_owed(self, link: WlcLink, due_now: int) -> bool:
        """Send what a link is owed, until the socket is full or others should have their turn.

        Returns:
            Whether more is owed and could be sent.
        """
        tunnel, notifiers = link.tunnel, self.notifiers
        assert tunnel is not None
        assert link.endpoint is not None
        owing, ledger, row = self.owing, self.owing.ledger, link.row
        owed = ledger.owed(row, due_now)
        held_up, numbered = bool(ledger.behind[row]), link.endpoint.numbered
        if owed > self.plan.load.burst:
            owing.drop_expired(link, self.clock(), ours=not held_up)
            owed = ledger.owed(row, due_now)
        done, sequence, writes = int(ledger.done[row]), int(ledger.sent[row]), 0
        timing = Timing(0, 0, link.endpoint.started_ns + self._to_unix_ns)
        try:
            while owed > 0 and writes < _WRITES_PER_VISIT and not tunnel.blocked:
                passed, wanted = self._wanted(link, done, owed)
                if passed:
                    ledger.pass_over(row, passed)
                    done, owed = done + passed, owed - passed
                    continue
                timing.sent_ns = now = self.clock() + self._to_unix_ns
                wanted = min(wanted, self._most_at_once)
                timing.due_ns = due = owing.due_ns(link.number, done, wanted)
                view, count = self._frames(link, done, wanted, sequence, timing)
                tunnel.write(numbered(view))
                writes += 1
                notifiers.sent_bytes += len(view)
                notifiers.writes += 1
                owed -= count
                done += count
                sequence += count
                notifiers.sent += count
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

    # -- links ---------------------------------------------------------------------------------------------------

    def directory_of(self, position: int) -> Directory | None:
        return self.controllers[position].directory

    def on_active(self, link: WlcLink, now_ns: int) -> None:
        super().on_active(link, now_ns)
        assert link.endpoint is not None
        self.notifiers.came_up(link, link.endpoint.granted, now_ns)
        self._hand_over(link)

    def on_granted(self, link: WlcLink, before: int, now_ns: int) -> None:
        """Unsubscribed: nothing becomes due until the link subscribes again. Its numbers go on."""
        assert link.endpoint is not None
        if self.notifiers.unsubscribes(link, before, link.endpoint.granted, now_ns):
            self._leave_row(link, self.owing.due_by(link.number, now_ns))
        self._hand_over(link)

    def _leave_row(self, link: WlcLink, due_now: int) -> None:
        """The link unsubscribed: what is due by then goes out ahead of our answer, as far as the socket takes it; what
        its peer has held up cannot be told any more.
        """
        assert link.tunnel is not None
        more = not link.tunnel.blocked
        while more:
            more = self._send_owed(link, due_now)
        if link.row >= 0:  # else it broke
            self._take_back(link)
            self.owing.unsubscribe(link, due_now)

    def on_gone(self, link: WlcLink, phase: Phase, *, orderly: bool) -> None:
        super().on_gone(link, phase, orderly=orderly)
        self.owing.leave(link, self.clock())
        self._hand_over(link)

    def _flush(self, link: WlcLink) -> None:
        super()._flush(link)
        if not self.owing.started or link.row < 0 or link.phase is not ACTIVE:
            return
        if link.tunnel is None or link.tunnel.blocked:
            return
        if self._send_owed(link, self.owing.due_by(link.number, self.clock())):
            self._again[link.number] = None

    # -- what was told ---------------------------------------------------------------------------------------------

    def queued_bytes(self) -> int:
        if not self.load_over.is_set():
            return 0
        links = (link for link in self.owing.subscribers if link is not None)
        return sum(link.tunnel.unacknowledged_bytes() for link in links if link.tunnel is not None)

    def told(self, link: WlcLink) -> int:
        return link.notifications or self.notified(link)

    def bytes_of_told(self, link: WlcLink) -> tuple[float, float]:
        each = self._telling[link.number].frame_bytes
        return each, each + self.record_bytes * self.notifiers.writes / self.notifiers.sent

    def send_outbox(self, link: WlcLink) -> None:
        assert link.endpoint is not None
        outbox = link.endpoint.outbox
        sizes = [*map(len, outbox)]
        super().send_outbox(link)
        if sent := sizes[: len(sizes) - len(outbox)]:
            self.note_aside(link, sum(sent), len(sent))

    def notified(self, link: WlcLink) -> int:
        return self.owing.sent(link)

    def totals(self, now_ns: int) -> dict[str, int]:
        """What was due, sent and dropped so far, in all loads."""
        links = (link for link in self.owing.subscribers if link is not None)
        held_up = {link.row for link in links if link.tunnel is not None and link.tunnel.blocked}
        return {
            **self.notifiers.totals(now_ns, held_up),
            "notify.unacknowledged_bytes": self.unacknowledged_bytes,
            **({"notify.unacknowledged_before_bytes": self._unacknowledged_before} if self._weighing else {}),
        }
