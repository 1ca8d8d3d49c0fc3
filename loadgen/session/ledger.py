"""What a worker's WLCs owe: the ledger's rows, and what the schedule makes of them. Arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.bulk import Int64s
from loadgen.scenario.plan import Plan
from loadgen.scenario.schedule import RateStage, Share
from loadgen.session.placing import Placings
from loadgen.units import NEVER_NS

# Due times that span more bursts than this come from a column operation.
_FEW_BURSTS = 8


class Ledger:
    """What a worker's WLCs owe their MSEs: a row for each subscriber, counts against the schedule's count.

    The row of a planned session exists from the start, so that whatever is due while that is not there, or blocked, is
    late, and then dropped. That of an MSE that nobody planned begins when it subscribes and ends when it leaves; then
    another one may have it, and its sums are kept apart.

    Attributes (int64 columns, an entry for each row):
        base: the schedule's count when the row began.
        done: sent or dropped; the index of the next one.
        end: the schedule's count when the row ended; NEVER while it has not.
        dropped: given up; own_dropped: of those, the ones that the peer would have taken.
        sent: over the present session; the sequence number of the next one.
        planned: 1 for a session that should be there.
        declined: what would have become due while it had unsubscribed, until it subscribed again.
        behind: 1 from when the peer's socket was full until all that is owed was sent: what is late then is its doing.
    """

    NEVER = (1 << 63) - 1
    _COLUMNS = ("base", "done", "end", "dropped", "own_dropped", "sent", "behind", "planned", "declined")

    def __init__(self) -> None:
        self.rows = 0
        # Told of each row that has given something up: what it is sent next is not what would have been next.
        self.on_skip: Callable[[int], None] = lambda _row: None
        self._free: list[int] = []
        self._gone = np.zeros(3, np.int64)  # due, dropped and own_dropped of rows that were given back
        self._gone_declined = 0  # of the same
        self.base, self.done, self.end, self.dropped, self.own_dropped, self.sent, self.behind = (
            np.zeros(16, np.int64) for _ in self._COLUMNS[:7]
        )
        self.planned, self.declined = (np.zeros(16, np.int64) for _ in self._COLUMNS[7:])

    def add(self, base: int = 0, *, planned: bool = False) -> int:
        """Begin a row; returns its number: the next one, or one that was given back."""
        if self._free:
            row = self._free.pop()
        else:
            row = self.rows
            if row == len(self.done):
                for name in self._COLUMNS:
                    setattr(self, name, np.concatenate([getattr(self, name), np.zeros(row, np.int64)]))
            self.rows += 1
        self.base[row] = self.done[row] = base
        self.planned[row] = planned
        self.end[row] = self.NEVER
        return row

    def restart(self) -> None:
        """A new schedule begins, with its counts at 0; rows that ended stay so."""
        rows = slice(self.rows)
        self.end[rows] = np.where(self.end[rows] == self.NEVER, self.NEVER, 0)
        for column in (self.base, self.done, self.dropped, self.own_dropped, self.declined):
            column[rows] = 0
        self._gone[:] = 0
        self._gone_declined = 0

    def due(self, row: int, due_now: int) -> int:
        """How many were due so far, if `due_now` are by the schedule."""
        return min(due_now, int(self.end[row])) - int(self.base[row])

    def owed(self, row: int, due_now: int) -> int:
        """How many are due and neither sent nor dropped."""
        return min(due_now, int(self.end[row])) - int(self.done[row])

    def drop_until(self, row: int, index: int, *, ours: bool) -> None:
        """Give up everything before `index` that is still owed: nobody wants a location that old."""
        count = self.owed(row, index)
        if count > 0:
            self.dropped[row] += count
            if ours:
                self.own_dropped[row] += count
            self.done[row] += count
            self.on_skip(row)

    def pass_over(self, row: int, count: int) -> None:
        """The next so many are not for this subscriber: they were never owed."""
        self.done[row] += count
        self.base[row] += count
        if self.planned[row]:
            self.declined[row] += count

    def cease(self, row: int, due_now: int) -> None:
        """End a row: nothing more becomes due; what is owed still is."""
        # What was sent was due, even if whoever tells how much is due now looked at the clock before that.
        self.end[row] = max(min(due_now, int(self.end[row])), int(self.done[row]))

    def close(self, row: int, due_now: int) -> None:
        """End a row, and give up what is owed."""
        self.cease(row, due_now)
        self.drop_until(row, int(self.end[row]), ours=False)

    def reopen(self, row: int, due_now: int) -> None:
        """Go on with a row that ended: what would have become due meanwhile was never owed."""
        due_now = max(due_now, int(self.end[row]))
        self._decline(row, due_now)
        self.base[row] += due_now - int(self.end[row])
        self.done[row] = due_now
        self.end[row] = self.NEVER

    def leave(self, row: int, rows: list[int], up: Sequence[object | None], due_now: int) -> None:
        """A row's session is gone. If it should be there, what becomes due is owed all the same, unless somebody who
        was not planned has come to the same WLC.

        Args:
            rows: of that WLC, those that owe; kept up to date.
            up: by row, None where no session has it.
        """
        if self.planned[row]:
            heir = next((other for other in rows if up[other] is not None and not self.planned[other]), None)
            if heir is None:
                if row not in rows:  # it had unsubscribed
                    self.reopen(row, due_now)
                    rows.append(row)
                return
            if row not in rows:
                self._decline(row, due_now)
            self.planned[row], self.planned[heir] = 0, 1
        if row in rows:
            rows.remove(row)
        self.close(row, due_now)
        self._give_back(row)

    def totals(self, due_now: NDArray[np.int64]) -> tuple[int, int, int]:
        """Due, dropped and own_dropped of all rows; `due_now` is by row."""
        rows = slice(self.rows)
        due = np.minimum(due_now, self.end[rows]) - self.base[rows]
        sums = np.array((due.sum(), self.dropped[rows].sum(), self.own_dropped[rows].sum())) + self._gone
        due_sum, dropped, own_dropped = sums.tolist()
        return due_sum, dropped, own_dropped

    def declined_so_far(self, due_now: NDArray[np.int64]) -> int:
        """Of the sessions that should be there: what was not due, because they had unsubscribed; `due_now` by row."""
        rows = slice(self.rows)
        still = np.where(self.planned[rows] == 1, np.maximum(due_now - self.end[rows], 0), 0)
        return int((self.declined[rows] + still).sum()) + self._gone_declined

    def _decline(self, row: int, due_now: int) -> None:
        """What a row that had ended was not owed until now, if its session should be there."""
        if self.planned[row]:
            self.declined[row] += max(0, due_now - int(self.end[row]))

    def _give_back(self, row: int) -> None:
        """A row that has ended: what it comes to is kept, and the next subscriber may have it."""
        self._gone_declined += int(self.declined[row])
        self._gone += (self.end[row] - self.base[row], self.dropped[row], self.own_dropped[row])
        for name in self._COLUMNS:
            getattr(self, name)[row] = 0
        self._free.append(row)


class Subscriber(Protocol):
    """Whom a WLC tells.

    Attributes:
        number: of its WLC: the position in `share.members`.
        row: of the ledger, once it subscribed; -1: it is told nothing. left_row: the one that it unsubscribed from.
    """

    number: int
    row: int
    left_row: int


SubscriberT = TypeVar("SubscriberT", bound=Subscriber)


class Owing(Generic[SubscriberT]):
    """Rows of a ledger against the schedule of the load that is on.

    Attributes:
        ledger: a row for each subscriber.
        rows: of each of the worker's WLCs, by its position in `share.members`: those that something becomes due of.
        subscribers: by row; None: its session is not there, or has unsubscribed.
        started: a load was put on.
    """

    def __init__(self, plan: Plan, share: Share, to_unix_ns: int, placings: Placings | None = None) -> None:
        """Args: placings: where to say which notification is the next one of a session; None: nobody asks."""
        self.ledger = Ledger()
        self.share = share
        self.rows: list[list[int]] = [[] for _ in share.members]
        self.subscribers: list[SubscriberT | None] = []
        self._positions = np.zeros(16, np.int64)  # by row: of its WLC
        self._members = tuple(share.members)
        self._numbers = np.array(share.members, np.int64)
        self._plan = plan
        self._burst, self._backlog_ns = plan.load.burst, int(plan.load.backlog)
        self._schedule = share.schedule
        self._to_unix_ns = to_unix_ns
        self._start_ns: int | None = None
        self._stop_ns = NEVER_NS
        self._past = np.zeros(4, np.int64)  # due, dropped, own_dropped and declined of earlier loads
        self._placings = placings
        self._placed: dict[int, tuple[int, int]] = {}  # by row: which of the plan's sessions has it, and its key
        if placings is not None:
            self.ledger.on_skip = self._state
        # Every planned session owes from the start, there or not; one that nobody planned, or of a user, owes nothing
        # before it comes.
        if not plan.sessions_per_user:
            for session in plan.sessions:
                if session.wlc in share.members:
                    self._add_row(share.members.index(session.wlc), 0, planned=True)

    @property
    def started(self) -> bool:
        return self._start_ns is not None

    def start(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """Slot 0 of these stages is due at `at_ns` (monotonic)."""
        self._past += self._load_totals(at_ns)
        self.ledger.restart()
        self._schedule = self._plan.schedule(stages)
        self.share = Share(self._schedule, self.share.worker, self.share.workers)
        self._start_ns, self._stop_ns = at_ns, NEVER_NS
        for row in self._placed:
            self._state(row)

    def stop(self, at_ns: int) -> None:
        """Nothing more becomes due from `at_ns` (monotonic) on."""
        self._stop_ns = min(self._stop_ns, at_ns)

    # -- what is due ---------------------------------------------------------------------------------------------

    def slots(self, now_ns: int) -> int:
        """Slots of the whole fleet that are due."""
        if self._start_ns is None:
            return 0
        return self._schedule.count_at(min(now_ns, self._stop_ns) - self._start_ns)

    def slot_due_ns(self, slot: int) -> int:
        """When a slot is due (monotonic ns); never, if there is no such slot."""
        if self._start_ns is None or slot >= self._schedule.slots:
            return NEVER_NS
        return self._start_ns + self._schedule.due_ns(slot)

    def due(self, position: int, slots: int) -> int:
        """How many of a WLC's notifications are due when `slots` of the fleet's slots are."""
        return self._schedule.turns(self._members[position], slots) * self._burst

    def due_by(self, position: int, now_ns: int) -> int:
        """How many of a WLC's notifications are due at `now_ns` (monotonic)."""
        return self.due(position, self.slots(now_ns))

    def due_ns(self, position: int, first: int, count: int) -> int | Int64s:
        """When a WLC's notifications from index `first` on are due (ns since the epoch): one number if of one burst."""
        burst, schedule, number = self._burst, self._schedule, self._members[position]
        assert self._start_ns is not None
        epoch = self._start_ns + self._to_unix_ns
        turn, last = first // burst, (first + count - 1) // burst
        if turn == last:
            return schedule.due_ns(schedule.slot(number, turn)) + epoch
        if last - turn > _FEW_BURSTS:
            turns = np.arange(first, first + count) // burst
            return schedule.due_of_turns_ns(number, turns) + epoch
        due = np.empty(count, np.int64)
        for index in range(turn, last + 1):
            begin = max(0, index * burst - first)
            due[begin : (index + 1) * burst - first] = schedule.due_ns(schedule.slot(number, index)) + epoch
        return due

    def positions(self, rows: Int64s) -> Int64s:
        """Of each row: its WLC's."""
        return self._positions[rows]

    def owed_column(self, rows: Int64s, slots: int) -> Int64s:
        """Of each row: how many are owed when `slots` of the fleet's slots are due."""
        numbers = self._numbers[self._positions[rows]]
        due = self._schedule.turns_column(numbers, slots) * self._burst
        return np.minimum(due, self.ledger.end[rows]) - self.ledger.done[rows]

    def next_due_ns(self, rows: Int64s) -> Int64s:
        """Of each row: when the next one is due (ns since the epoch)."""
        assert self._start_ns is not None
        schedule, turns = self._schedule, self.ledger.done[rows] // self._burst
        slots = schedule.slot_column(self._numbers[self._positions[rows]], turns)
        return schedule.due_column_ns(slots) + (self._start_ns + self._to_unix_ns)

    # -- who comes and goes --------------------------------------------------------------------------------------

    def subscribe(self, subscriber: SubscriberT, now_ns: int, address: tuple[str, int] | None = None) -> None:
        """For the first time: it is owed what is due from now on. Args: address: that it comes from, if known."""
        position = subscriber.number
        due_now = self.due_by(position, now_ns)
        row = next((row for row in self.rows[position] if self.subscribers[row] is None), -1)
        if row < 0:
            row = self._add_row(position, due_now)
        subscriber.row, self.subscribers[row] = row, subscriber
        self.ledger.drop_until(row, due_now, ours=False)
        self.ledger.sent[row] = self.ledger.behind[row] = 0  # numbers are a session's
        if self._placings is not None and address is not None:
            found = self._placings.find(self._members[position], address)
            if found is not None:
                self._placed[row] = found
                self._state(row)

    def _state(self, row: int) -> None:
        """Say which notification is the next one of a row's session."""
        if self._placings is not None and (found := self._placed.get(row)) is not None:
            ledger = self.ledger
            self._placings.state(found, int(ledger.sent[row]), int(ledger.done[row]), self._start_ns or 0)

    def unsubscribe(self, subscriber: SubscriberT, due_now: int) -> None:
        """Nothing becomes due until it subscribes again, and what is still owed is given up."""
        row = subscriber.row
        self.rows[subscriber.number].remove(row)
        self.subscribers[row] = None
        self.ledger.close(row, due_now)
        subscriber.row, subscriber.left_row = -1, row

    def subscribe_again(self, subscriber: SubscriberT, now_ns: int) -> None:
        """After it unsubscribed. Its numbers go on."""
        row = subscriber.left_row
        self.ledger.reopen(row, self.due_by(subscriber.number, now_ns))
        self.rows[subscriber.number].append(row)
        self.subscribers[row] = subscriber
        subscriber.row, subscriber.left_row = row, -1
        self._state(row)

    def leave(self, subscriber: SubscriberT, now_ns: int) -> None:
        """Its session is gone, if it had ever subscribed."""
        if (row := max(subscriber.row, subscriber.left_row)) < 0:
            return
        self.subscribers[row] = None
        self._placed.pop(row, None)
        position = subscriber.number
        self.ledger.leave(row, self.rows[position], self.subscribers, self.due_by(position, now_ns))
        subscriber.row = subscriber.left_row = -1

    def sent(self, subscriber: SubscriberT) -> int:
        """How many it was sent over its session."""
        row = subscriber.row if subscriber.row >= 0 else subscriber.left_row
        return 0 if row < 0 else int(self.ledger.sent[row])

    def _add_row(self, position: int, base: int, *, planned: bool = False) -> int:
        """Begin a row of the WLC at this position, which owes from count `base` on."""
        row = self.ledger.add(base, planned=planned)
        if row == len(self.subscribers):
            self.subscribers.append(None)
            if row == len(self._positions):
                self._positions = np.concatenate((self._positions, np.zeros(row, np.int64)))
        self._positions[row] = position
        self.rows[position].append(row)
        return row

    # -- what waited too long, and the end -----------------------------------------------------------------------

    def drop_expired(self, subscriber: SubscriberT, now_ns: int, *, ours: bool) -> None:
        """Give up what it has been owed for longer than the backlog. Args: ours: it would have taken it."""
        self.ledger.drop_until(subscriber.row, self.due(subscriber.number, self.expired_slots(now_ns)), ours=ours)

    def drop_waiting(self, now_ns: int, held_up: Collection[int] = ()) -> None:
        """The same of all sessions that are not there, and of the rows that are `held_up` by their peers. Nobody sends
        to these; whoever watches is to know as it happens.
        """
        if self._start_ns is None:
            return
        expired = self.expired_slots(now_ns)
        for position, rows in enumerate(self.rows):
            for row in rows:
                if self.subscribers[row] is None or row in held_up:
                    self.ledger.drop_until(row, self.due(position, expired), ours=False)

    def everything_done(self, now_ns: int) -> bool:
        """The load has ended, and everything due to those who are there was sent, or waited too long."""
        if self._start_ns is None:
            return False
        end = min(self._start_ns + self._schedule.duration_ns, self._stop_ns)
        if now_ns < end:
            return False
        if now_ns >= end + self._backlog_ns:
            return True
        slots = self.slots(now_ns)
        return not any(
            self.subscribers[row] is not None and self.ledger.owed(row, self.due(position, slots)) > 0
            for position, rows in enumerate(self.rows)
            for row in rows
        )

    def give_up(self, now_ns: int) -> None:
        """The load is over: what is still owed is dropped."""
        self.stop(now_ns)
        slots = self.slots(now_ns)
        for position, rows in enumerate(self.rows):
            due_now = self.due(position, slots)
            for row in rows:
                self.ledger.drop_until(row, due_now, ours=False)

    def totals(self, now_ns: int) -> tuple[int, int, int, int]:
        """Due, dropped, own_dropped and declined of all loads so far."""
        due, dropped, own, declined = (self._past + self._load_totals(now_ns)).tolist()
        return due, dropped, own, declined

    def expired_slots(self, now_ns: int) -> int:
        """Slots of the whole fleet that were due longer ago than the backlog."""
        assert self._start_ns is not None
        return self._schedule.count_at(min(now_ns, self._stop_ns) - self._start_ns - self._backlog_ns)

    def _load_totals(self, now_ns: int) -> tuple[int, int, int, int]:
        numbers = self._numbers[self._positions[: self.ledger.rows]]
        due_now = self._schedule.turns_column(numbers, self.slots(now_ns)) * self._burst
        return *self.ledger.totals(due_now), self.ledger.declined_so_far(due_now)
