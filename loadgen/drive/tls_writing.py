"""A shard of WLCs whose notifications are written by the native turn, if there is one, and if nothing but what is ours
varies in them.

It visits the WLCs whose turn has come, and leaves to Python those with several subscribers, those whose peers have held
something up, and those that have to give up what waited too long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from loadgen.drive.native_writing import NativeSender
from loadgen.drive.phase import ACTIVE, Phase
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_serve import ServingShard
from loadgen.drive.wlc_sessions import Notifiers
from loadgen.measure.recorder import StageTally
from loadgen.native.library import Stop
from loadgen.nmsp.bulk import Int64s
from loadgen.scenario.schedule import RateStage
from loadgen.session.ledger import Owing
from loadgen.transport.tls import TransportFault

_NOBODY: Int64s = np.zeros(0, np.int64)


class WritingShard(ServingShard[WlcLink]):
    """Subclasses visit what is left, and say what to write with.

    Attributes:
        notifiers, owing: who is told, and what.
    """

    notifiers: Notifiers[WlcLink]
    owing: Owing[WlcLink]
    _sender: NativeSender | None
    _tally: StageTally | None = None  # counts what the native turn sends
    _counted: int  # slots of the schedule whose WLCs were visited, or are in `_visits`
    _visits: deque[int]  # positions
    _every: Int64s  # all positions
    _again: dict[int, None]  # positions that were visited, and are owed more: after all who are due

    def _send_due(self, position: int, slots: int) -> bool:
        """Send what a WLC's subscribers are owed; True if another visit is needed for it."""
        raise NotImplementedError

    def _start_sending(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """`start_load`, as the native turn is told."""
        if self._sender is not None:
            self._every = np.arange(len(self.owing.share.members))
            self._sender.start(self.plan.schedule(stages), self.plan.load.burst, at_ns)
            self._tally = self._tally or self._tally_lag()
            if self._tally is not None:
                self._sender.count(self._tally.counted)

    def _send_natively(self, sender: NativeSender, slots: int, until_ns: int) -> None:
        """Visit every WLC whose turn came since it was visited last, as far as there is time for it in this turn."""
        visits, again = self._visits, self._again
        positions, in_time = self._whose_turn(slots), True
        while in_time and len(positions):
            in_time = self._visit(sender, positions, slots, until_ns)
            if more := sender.again():
                again.update(dict.fromkeys(more))
            for position in sender.left():
                if in_time:
                    if self._send_due(position, slots):
                        again[position] = None
                    in_time = self.clock() <= until_ns
                else:
                    visits.append(position)
            positions = _NOBODY
            if again and in_time:
                positions = np.array([*again], np.int64)
                again.clear()

    def _whose_turn(self, slots: int) -> Int64s:
        """Positions of those whose turn came since they were visited last, who were not visited then, or are owed more;
        each once.
        """
        due = self.owing.share.positions(self._counted, slots)
        self._counted = slots
        if not self._visits and not self._again:
            spans = [self._every[each.start : each.stop : each.step] for each in due]
            if len(spans) == 1 and due[0].step == 1:
                return spans[0]
            return np.concatenate(spans) if spans else _NOBODY
        every = dict.fromkeys([*self._visits, *(position for span in due for position in span), *self._again])
        self._visits.clear()
        self._again.clear()
        return np.array([*every], np.int64)

    def _visit(self, sender: NativeSender, positions: Int64s, slots: int, until_ns: int) -> bool:
        """Whether there was time for all."""
        halt, at, expired = Stop.FULL, 0, -1
        while halt is not Stop.DONE and halt is not Stop.LATE:
            halt, at = sender.send(self.owing.ledger, positions, at, slots, expired, until_ns)
            if halt is Stop.FAILED:
                self._not_written(sender, int(positions[at]))
                at += 1
            elif halt is Stop.ASKS:
                expired = self.owing.expired_slots(self.clock())
            self._note_sent(sender)
        if at < len(positions):
            self._visits.extend(positions[at:].tolist())
        return halt is Stop.DONE

    def _note_sent(self, sender: NativeSender) -> None:
        count, size, writes = sender.written()
        notifiers = self.notifiers
        notifiers.sent += count
        notifiers.sent_bytes += size
        notifiers.writes += writes
        due_ns, sent_ns = sender.noted()
        if noted := len(due_ns):
            self._note_lag(sent_ns, due_ns, noted, held_up=False)
            if self._tally is not None:
                self._tally.aim(int(due_ns[-1]))

    def _not_written(self, sender: NativeSender, position: int) -> None:
        """A write has failed, or goes on by itself when there is room."""
        (row,) = self.owing.rows[position]
        link, failure = self.owing.subscribers[row], sender.failure()
        assert link is not None
        assert link.tunnel is not None
        try:
            link.tunnel.not_written_at(failure.result, failure.address, failure.size)
        except TransportFault as fault:
            self.fault(link, fault.kind)
            return
        ledger = self.owing.ledger
        ledger.behind[row] = 1
        ledger.done[row] += failure.notifications
        ledger.sent[row] += failure.notifications
        sender.count_failed()
        self.watch(link)

    # -- who is told -----------------------------------------------------------------------------------------------

    def _hand_over(self, link: WlcLink) -> None:
        """The native turn writes to a link that is up, subscribes, and takes something, if its WLC has no other."""
        if (sender := self._sender) is None:
            return
        if link.row >= 0 and (tunnel := link.tunnel) is not None:
            takes = link.phase is ACTIVE and not tunnel.blocked
            sender.allow(link.row, tunnel.address if takes else 0)
        rows = self.owing.rows[link.number]
        sender.subscribe(link.number, rows[0] if len(rows) == 1 and self._is_ours(rows[0]) else -1)

    def _is_ours(self, row: int) -> bool:
        """Whether OpenSSL has the tunnel of its session; True where none has it."""
        link = self.owing.subscribers[row]
        return link is None or link.tunnel is None or link.tunnel.address != 0

    def _take_back(self, link: WlcLink) -> None:
        """It writes nothing more to this link."""
        if self._sender is not None and (row := max(link.row, link.left_row)) >= 0:
            self._sender.allow(row, 0)

    def watch(self, link: WlcLink) -> None:
        super().watch(link)
        self._hand_over(link)

    def _drop(self, link: WlcLink) -> None:
        self._take_back(link)
        super()._drop(link)

    def on_gone(self, link: WlcLink, phase: Phase, *, orderly: bool) -> None:
        self._take_back(link)
        super().on_gone(link, phase, orderly=orderly)
