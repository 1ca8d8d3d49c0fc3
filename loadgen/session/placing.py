"""Which notification of its WLC's schedule the n-th of a session is, where the layout carries no due time.

TCP keeps order, so it is the n-th that the WLC sent; and where both sides are ours, the WLC says which that is, beside
the network: in a table that both workers have in memory. It says so when a session begins, and when it has given up
what was due: whenever the next one that it sends is not the next one of the schedule. Between two such statements all
is arithmetic, and nothing is said for a message. When it was due, both then know from the same schedule.

What nobody stated, or was stated too long ago, cannot be placed: it is counted, and has no latency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from loadgen.distinct import distinct
from loadgen.nmsp.bulk import Int64s
from loadgen.scenario.plan import Plan
from loadgen.scenario.schedule import RateStage, Schedule
from loadgen.session.sequence import NOTHING_DUE_NS

# Statements of a session that are kept. A WLC makes one when it has given up something, and its MSE needs them for what
# was sent before that and is not read yet.
_KEPT = 16
# Of a row: which connection it is of, how many statements there were, and the last ones: number of the next
# notification that is sent, which of the schedule's that is, and when slot 0 is due (monotonic ns; 0: no load yet).
_KEY, _COUNT, _FIRST, _COLUMNS = 0, 1, 2, 3
_WIDTH = _FIRST + _COLUMNS * _KEPT
_READS = 3  # of a row that is being written
_NEVER = np.iinfo(np.int64).max


def bytes_for(plan: Plan) -> int:
    """Size of the table of a plan."""
    return len(plan.sessions) * _WIDTH * 8


def _key_of(address: tuple[str, int]) -> int:
    """Of a connection to a known WLC, by the address it comes from; never 0."""
    digest = blake2b(f"{address[0]} {address[1]}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") + 1


class Placings:
    """The table: a row for each of the plan's sessions. Written by the worker of its WLC, read by that of its MSE."""

    def __init__(self, plan: Plan, memory: memoryview | bytearray | Sequence[int]) -> None:
        """Args: memory: of `bytes_for(plan)`, zero at first, that the workers of both sides have in common."""
        self.plan = plan
        self._table: Int64s = np.frombuffer(memory, np.int64).reshape(len(plan.sessions), _WIDTH)  # type: ignore[arg-type]
        self._of_wlc: defaultdict[int, list[int]] = defaultdict(list)
        for session, planned in enumerate(plan.sessions):
            self._of_wlc[planned.wlc].append(session)

    # -- the MSE ---------------------------------------------------------------------------------------------------

    def connect(self, session: int, address: tuple[str, int]) -> None:
        """A session's MSE has connected from this address, and its WLC has not been told anything yet."""
        row = self._table[session]
        row[_COUNT] = 0
        row[_KEY] = _key_of(address)

    def counts(self, sessions: Int64s) -> Int64s:
        """How many statements there are of each of these sessions."""
        counts: Int64s = self._table[sessions, _COUNT]
        return counts

    def statements(self, session: int) -> tuple[int, Int64s]:
        """How many there were of a session, and the last ones in order, a row each: (number, index, start)."""
        row = self._table[session]
        for _ in range(_READS):
            count = int(row[_COUNT])
            # The oldest is the one that would be written over now.
            kept = min(count, _KEPT - 1)
            places = np.arange(count - kept, count) % _KEPT
            found = row[_FIRST:].reshape(_KEPT, _COLUMNS)[places]
            if int(row[_COUNT]) == count:
                return count, found
        return 0, np.empty((0, _COLUMNS), np.int64)

    def statements_of(self, sessions: Int64s) -> tuple[Int64s, Int64s]:
        """The same of many sessions: how many of each, and as many rows, the newest last; -1 where there is none."""
        counts, found = np.zeros(len(sessions), np.int64), np.full((len(sessions), _KEPT, _COLUMNS), -1)
        left = np.arange(len(sessions))
        for _ in range(_READS):
            rows = sessions[left]
            before = self._table[rows, _COUNT]
            which = before[:, np.newaxis] + np.arange(-_KEPT, 0)
            which[:, 0] = -1  # may be written over now
            stated = np.take_along_axis(
                self._table[rows, _FIRST:].reshape(-1, _KEPT, _COLUMNS), (which % _KEPT)[..., np.newaxis], 1
            )
            stated[which < 0] = -1
            same = self._table[rows, _COUNT] == before
            counts[left[same]], found[left[same]] = before[same], stated[same]
            left = left[~same]
            if not len(left):
                break
        return counts, found

    # -- the WLC ---------------------------------------------------------------------------------------------------

    def find(self, wlc: int, address: tuple[str, int]) -> tuple[int, int] | None:
        """Which session's MSE has come to a WLC of the plan from this address, and the key of its connection."""
        key = _key_of(address)
        return next(((session, key) for session in self._of_wlc[wlc] if self._table[session, _KEY] == key), None)

    def state(self, found: tuple[int, int], number: int, index: int, start_ns: int) -> None:
        """The next notification that a session is sent has this number in it, and this index in the WLC's schedule,
        whose slot 0 is due at `start_ns`.
        """
        session, key = found
        row = self._table[session]
        if row[_KEY] != key:  # its MSE has come again, and has another link of ours
            return
        count = int(row[_COUNT])
        last = _FIRST + (count - 1) % _KEPT * _COLUMNS
        if count and row[last] == number:  # none was sent since, so nobody has read that one
            row[last + 1 : last + _COLUMNS] = index, start_ns
            return
        place = _FIRST + count % _KEPT * _COLUMNS
        row[place : place + _COLUMNS] = number, index, start_ns
        row[_COUNT] = count + 1


class Placing:
    """Due times of what the MSEs of a worker receive."""

    def __init__(self, placings: Placings, worker: int, workers: int, to_unix_ns: int) -> None:
        plan = placings.plan
        self._placings = placings
        self._sessions = np.arange(worker, len(plan.sessions), workers)
        self._wlcs = np.array([plan.sessions[session].wlc for session in self._sessions.tolist()], np.int64)
        self._burst = plan.load.burst
        self._to_unix_ns = to_unix_ns
        self._schedules: dict[int, Schedule] = {}  # by when their slot 0 is due
        rows = len(self._sessions)
        # What was stated last of each row, if all that came since is later than that: how many statements there were
        # (-1: look again), how far index and number are apart, and of which load.
        self._seen, self._ahead, self._start_ns = np.full(rows, -1), np.zeros(rows, np.int64), np.zeros(rows, np.int64)

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """Slot 0 of these stages is due at `at_ns` (monotonic)."""
        last = list(self._schedules.items())[-1:]  # what was sent before that may still come
        self._schedules = dict(last) | {at_ns: self._placings.plan.schedule(stages)}

    def connect(self, row: int, address: tuple[str, int]) -> None:
        """An MSE has connected from this address."""
        self._seen[row] = -1
        self._placings.connect(int(self._sessions[row]), address)

    def due_ns(self, rows: Int64s, counts: Int64s, ends: Int64s | None, numbers: Int64s) -> Int64s:
        """When notifications were due (ns since the epoch); NOTHING_DUE_NS of those that cannot be placed.

        Args:
            rows: of the sessions; counts: how many of each; ends: where each one's end; None: it is one each.
            numbers: of the notifications, in their sessions.
        """
        if not self._is_stated(rows):
            return self._look(rows, counts, numbers)
        ahead, starts, wlcs = self._ahead[rows], self._start_ns[rows], self._wlcs[rows]
        if ends is not None:
            ahead, starts, wlcs = (np.repeat(column, counts) for column in (ahead, starts, wlcs))
        return self._due_ns((numbers + ahead) // self._burst, starts, wlcs)

    def due_in_order_ns(self, rows: Int64s, counts: Int64s, ends: Int64s | None, first: Int64s) -> Int64s:
        """The same of notifications without a gap. Args: first: number of each session's first one.

        Cost: that of `due_ns` for a notification of each burst, because all of a burst are due together.
        """
        if not self._is_stated(rows):
            begin, counts, starts, wlcs = self._look_in_order(rows, counts, first)
        else:
            begin, starts, wlcs = first + self._ahead[rows], self._start_ns[rows], self._wlcs[rows]
            if ends is None:
                return self._due_ns(begin // self._burst, starts, wlcs)
        end, turn = begin + counts, begin // self._burst
        turns = (end - 1) // self._burst - turn + 1
        row = np.repeat(np.arange(len(turns)), turns)
        turn = np.arange(len(row)) - (np.cumsum(turns) - turns - turn)[row]
        # Of the first and last burst of each there may be only some.
        count = np.minimum((turn + 1) * self._burst, end[row]) - np.maximum(turn * self._burst, begin[row])
        due: Int64s = np.repeat(self._due_ns(turn, starts[row], wlcs[row]), count)
        return due

    def _look_in_order(self, rows: Int64s, counts: Int64s, first: Int64s) -> tuple[Int64s, Int64s, Int64s, Int64s]:
        """The same by all statements: parts of what each session brought that are without a gap in the schedule, too.

        Returns:
            Of each part: index of the first one, how many they are, of which load, and of which WLC.
        """
        stated, found = self._placings.statements_of(self._sessions[rows])
        number = found[..., 0]
        # What was sent behind a statement, and before the next one.
        begin = np.maximum(number, first[:, np.newaxis])
        end = np.empty_like(begin)
        end[:, :-1], end[:, -1] = number[:, 1:], _NEVER
        many = np.minimum(end, (first + counts)[:, np.newaxis]) - begin
        row, which = np.nonzero(many > 0)
        # Whatever comes next is later than the last statement, too.
        is_last = (many[:, -1] > 0) & (stated > 0)
        self._seen[rows] = np.where(is_last, stated, -1)
        self._start_ns[rows], self._ahead[rows] = found[:, -1, 2], found[:, -1, 1] - number[:, -1]
        index = begin + found[..., 1] - number
        return index[row, which], many[row, which], found[row, which, 2], self._wlcs[rows][row]

    def _is_stated(self, rows: Int64s) -> bool:
        """Whether what was stated of these sessions is known, and nothing newer."""
        return np.array_equal(self._placings.counts(self._sessions[rows]), self._seen[rows])

    def _look(self, rows: Int64s, counts: Int64s, numbers: Int64s) -> Int64s:
        """The same, by all statements of each session."""
        index, starts = np.zeros(len(numbers), np.int64), np.full(len(numbers), -1)
        end = 0
        for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
            mine = slice(end, end + count)
            end += count
            stated, found = self._placings.statements(int(self._sessions[row]))
            which = np.searchsorted(found[:, 0], numbers[mine], "right") - 1
            known = which >= 0
            index[mine][known] = numbers[mine][known] + (found[:, 1] - found[:, 0])[which[known]]
            starts[mine][known] = found[which[known], 2]
            # Whatever comes next is later than the last statement, too.
            if stated and known.any() and which[-1] == len(found) - 1:
                self._seen[row], self._start_ns[row] = stated, found[-1, 2]
                self._ahead[row] = found[-1, 1] - found[-1, 0]
            else:
                self._seen[row] = -1
        return self._due_ns(index // self._burst, starts, np.repeat(self._wlcs[rows], counts))

    def _due_ns(self, turns: Int64s, starts: Int64s, wlcs: Int64s) -> Int64s:
        """Args: turns: of the schedule, each of a WLC."""
        due = np.full(len(turns), NOTHING_DUE_NS)
        first = int(starts[0])
        if (starts == first).all():
            return due if (found := self._of_load(first, turns, wlcs)) is None else found
        for start in distinct(starts).tolist():
            chosen: NDArray[np.bool_] = starts == start
            if (found := self._of_load(start, turns[chosen], wlcs[chosen])) is not None:
                due[chosen] = found
        return due

    def _of_load(self, start_ns: int, turns: Int64s, wlcs: Int64s) -> Int64s | None:
        if (schedule := self._schedules.get(start_ns)) is None:
            return None
        return schedule.due_column_ns(schedule.slot_column(wlcs, turns)) + (start_ns + self._to_unix_ns)
