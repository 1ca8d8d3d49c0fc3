"""What a worker's WLCs owe by the schedule: due times, what is given up, and sums: arithmetic."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from loadgen.endpoint.wlc import Ledger
from loadgen.nmsp.hot import Int64s
from loadgen.scenario.plan import Plan
from loadgen.scenario.schedule import RateStage, Share
from loadgen.units import NEVER_NS


class Owing:
    """Rows of a ledger against the schedule of the load that is on.

    Attributes:
        ledger: a row for each subscriber.
        rows: of each of the worker's WLCs, by its position in `share.members`.
        started: a load was put on.
    """

    def __init__(self, plan: Plan, share: Share, to_unix_ns: int) -> None:
        self.ledger = Ledger()
        self.share = share
        self.rows: list[list[int]] = [[] for _ in share.members]
        self._positions: list[int] = []  # of each row
        self._numbers = np.array(share.members, np.int64)
        self._plan = plan
        self._schedule = share.schedule
        self._to_unix_ns = to_unix_ns
        self._start_ns: int | None = None
        self._stop_ns = NEVER_NS
        self._past = np.zeros(4, np.int64)  # due, dropped, own_dropped and declined of earlier loads

    @property
    def started(self) -> bool:
        return self._start_ns is not None

    def add_row(self, position: int, base: int, *, planned: bool = False) -> int:
        """Begin a row of the WLC at this position, which owes from count `base` on."""
        row = self.ledger.add(base, planned=planned)
        if row == len(self._positions):
            self._positions.append(position)
        self._positions[row] = position
        self.rows[position].append(row)
        return row

    def position(self, row: int) -> int:
        """Of the WLC that a row is of."""
        return self._positions[row]

    def start(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """Slot 0 of these stages is due at `at_ns` (monotonic)."""
        self._past += self._load_totals(at_ns)
        self.ledger.restart()
        self._schedule = self._plan.schedule(stages)
        self.share = Share(self._schedule, self.share.worker, self.share.workers)
        self._start_ns, self._stop_ns = at_ns, NEVER_NS

    def stop(self, at_ns: int) -> None:
        """Nothing more becomes due from `at_ns` (monotonic) on."""
        self._stop_ns = min(self._stop_ns, at_ns)

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
        return self._schedule.turns(self.share.members[position], slots) * self._plan.burst

    def due_ns(self, position: int, first: int, count: int) -> int | Int64s:
        """When a WLC's notifications from index `first` on are due (ns since the epoch): one number if of one burst."""
        assert self._start_ns is not None
        burst, schedule, number = self._plan.burst, self._schedule, self.share.members[position]
        epoch = self._start_ns + self._to_unix_ns
        if first // burst == (first + count - 1) // burst:
            return schedule.due_ns(schedule.slot(number, first // burst)) + epoch
        return schedule.due_column_ns(np.arange(first, first + count) // burst * schedule.members + number) + epoch

    def drop_expired(self, row: int) -> None:
        """Give up what has waited for longer than the backlog: nothing but ourselves kept it from being sent."""
        assert self._start_ns is not None
        now = min(time.monotonic_ns(), self._stop_ns)
        expired = self._schedule.count_at(now - self._start_ns - self._plan.backlog_ns)
        self.ledger.drop_until(row, self.due(self.position(row), expired), ours=True)

    def drop_absent(self, now_ns: int, rows_up: Iterable[int]) -> None:
        """The same of all rows whose sessions are not there, which is not our doing."""
        if self._start_ns is None:
            return
        expired = self._schedule.count_at(min(now_ns, self._stop_ns) - self._start_ns - self._plan.backlog_ns)
        up = set(rows_up)
        for position, rows in enumerate(self.rows):
            for row in rows:
                if row not in up:
                    self.ledger.drop_until(row, self.due(position, expired), ours=False)

    def everything_done(self, now_ns: int, rows_up: Iterable[int]) -> bool:
        """The load has ended, and everything due over these rows was sent, or waited too long."""
        if self._start_ns is None:
            return False
        end = min(self._start_ns + self._schedule.duration_ns, self._stop_ns)
        if now_ns < end:
            return False
        slots = self.slots(now_ns)
        return now_ns >= end + self._plan.backlog_ns or not any(
            self.ledger.owed(row, self.due(self.position(row), slots)) > 0 for row in rows_up
        )

    def give_up(self, now_ns: int) -> None:
        """The load is over: what is still owed is dropped."""
        self.stop(now_ns)
        slots = self.slots(now_ns)
        for position, rows in enumerate(self.rows):
            for row in rows:
                self.ledger.drop_until(row, self.due(position, slots), ours=False)

    def totals(self, now_ns: int) -> tuple[int, int, int, int]:
        """Due, dropped, own_dropped and declined of all loads so far."""
        due, dropped, own, declined = (self._past + self._load_totals(now_ns)).tolist()
        return due, dropped, own, declined

    def _load_totals(self, now_ns: int) -> tuple[int, int, int, int]:
        numbers = self._numbers[np.array(self._positions, np.int64)]
        due_now = self._schedule.turns_column(numbers, self.slots(now_ns)) * self._plan.burst
        return *self.ledger.totals(due_now), self.ledger.declined_so_far(due_now)
