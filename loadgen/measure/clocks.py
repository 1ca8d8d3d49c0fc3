"""How far the clocks of somebody else's WLCs are ahead of ours, from what they say and when it came.

A notification says by the WLC's clock when it was sent. Two things are certain, whatever the way between us does: it
was sent before it came, and after a question of ours whose answer came before it. The one bounds the clock from below,
the other from above, and only a clock that one of them proves wrong is corrected. How wrong it is, is known better than
that: of all that came, the fastest took no longer than the fastest round trip, and no less than nothing. That is NTP's
minimum filter: the offset is in the middle, give or take half of the round trip.

Bounds grow looser with time, by as much as a clock may gain or lose meanwhile, so that drift is followed, and a peer
that grows slower is not taken for a clock. Bounds that contradict each other say that a clock was set. So do the times
themselves: in a stream, what was sent later stands behind; where it says that it was sent before, the clock was put
back, and nothing that was known of it holds any more.

That a clock is ahead is proven: nothing comes before it was sent. That one is behind, or falls back, is not: so it
looks, too, if a WLC says that it sent what it holds, and answers questions at once. Durations are corrected as for a
clock, and by how much they may be longer has all of that in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.measure.stages import Int64s
from loadgen.measure.stamps import FAR_NS, Stamps
from loadgen.units import NS_PER_S

# A clock that is being put right is slewed by at most 500 ppm, for a while; crystals are off by up to 100 ppm.
_SLEW_PER = 5000  # 1 ns in 5000: 200 ppm
# The least of a window stands for it, and for the next one; from then on it grows looser.
_WINDOW_NS = 5 * NS_PER_S
# A clock that was set that often is none to correct by.
_MOST_STEPS = 10
# Drift that does not show is known to be none when it could be no more than this: crystals differ by more.
_DRIFT_KNOWN_PPB = 10_000
_LISTED = 16


class ClockReading(msgspec.Struct, frozen=True):
    """The clock of one WLC, held against that of a worker.

    Attributes:
        wlc: its address.
        sessions: that brought notifications; corrected: of those, whose durations are corrected.
        offset_ns: how far it is ahead of ours, give or take `uncertainty_ns`; by the session that tells it best.
        drift_ppb: how fast it gains on ours, in ns a second, give or take `drift_uncertainty_ppb`; None: not known.
        steps: how often it was set meanwhile.
    """

    wlc: Annotated[str, msgspec.Meta(max_length=300)]
    sessions: int
    corrected: int
    offset_ns: int
    uncertainty_ns: int
    drift_ppb: int | None = None
    steps: int = 0
    drift_uncertainty_ppb: int = 0


class Clocks(msgspec.Struct, frozen=True):
    """The clocks of all WLCs that are not ours, as notifications and round trips tell of them.

    Attributes:
        wlcs: how many have one; corrected: of those, how many are not ours by more than the uncertainty.
        unsteady: sessions whose WLC's clock was set again and again: nothing of theirs is corrected.
        less_ns, more_ns: by so much durations of notifications may be less, or more, than they are shown.
        readings: the clocks that are furthest off.
        held_ns: of `more_ns`, what was taken off for a clock that is behind or fell back, if a WLC held it instead.
    """

    wlcs: int = 0
    corrected: int = 0
    unsteady: int = 0
    less_ns: int = 0
    more_ns: int = 0
    readings: Annotated[tuple[ClockReading, ...], msgspec.Meta(max_length=_LISTED)] = ()
    held_ns: int = 0


def merged(parts: Iterable[Clocks]) -> Clocks:
    """What several workers found. A WLC with which more than one of them has sessions is listed once."""
    parts = tuple(parts)
    best: dict[str, ClockReading] = {}
    again = again_corrected = 0
    for reading in (reading for part in parts for reading in part.readings):
        if (known := best.get(reading.wlc)) is None:
            best[reading.wlc] = reading
            continue
        again += 1
        again_corrected += bool(known.corrected and reading.corrected)
        best[reading.wlc] = msgspec.structs.replace(
            min(known, reading, key=lambda each: each.uncertainty_ns),
            sessions=known.sessions + reading.sessions,
            corrected=known.corrected + reading.corrected,
            steps=max(known.steps, reading.steps),
        )
    return Clocks(
        wlcs=sum(part.wlcs for part in parts) - again,
        corrected=sum(part.corrected for part in parts) - again_corrected,
        unsteady=sum(part.unsteady for part in parts),
        less_ns=max((part.less_ns for part in parts), default=0),
        more_ns=max((part.more_ns for part in parts), default=0),
        readings=_furthest(best.values()),
        held_ns=max((part.held_ns for part in parts), default=0),
    )


def _furthest(readings: Iterable[ClockReading]) -> tuple[ClockReading, ...]:
    """The WLCs worth naming: first those that are corrected, or were set, by how far they are off."""
    key = lambda each: (not each.corrected, -each.steps, -abs(each.offset_ns), each.wlc)  # noqa: E731
    return tuple(sorted(readings, key=key)[:_LISTED])


class PeerClocks:
    """The clocks that the sessions of a shard are told times by. Rows belong to endpoints (`MseEndpoint.number`).

    A WLC's is one clock, but an address may be that of several machines: what a session's durations are corrected by
    comes from that session alone. Times are monotonic ns; a raw duration is the time of its end by our clock, less that
    of its beginning by theirs.
    """

    def __init__(self, wlcs: Sequence[str], slack_ns: int = 0) -> None:
        """Args:
        wlcs: the address of each row's WLC.
        slack_ns: by how much a notification may come later than what was sent after it.
        """
        rows = len(wlcs)
        self._names = sorted(set(wlcs))
        places = {name: place for place, name in enumerate(self._names)}
        self._wlc = np.array([places[wlc] for wlc in wlcs], np.int64)
        self._slack_ns = slack_ns
        # A clock is ahead by no less than the negative of the least raw duration: of this window, and of those before.
        self._recent, self._least = np.full(rows, FAR_NS), np.full(rows, FAR_NS)
        self._window_ns = self._before_ns = 0  # when it began, and the one before
        # And by no more than this: as it was at time 0, had it been found then; now it is that and `_slewed`. So with
        # the bound by which round trips are compared.
        self._most = np.full(rows, FAR_NS)
        self._round, self._round_bound = np.full(rows, FAR_NS), np.full(rows, FAR_NS)
        self._setting_up = np.zeros(rows, bool)  # no round trip of a running session is known
        self._asked = np.zeros(rows, np.int64)  # since this time what comes was sent; 0: no question is open
        self._took = np.zeros(rows, np.int64)  # from then to its answer
        self._waiting = 0  # rows with one
        # What one notification behind an answer says, if its clock must have been put back: its bound, and the round
        # trip. The next one is to say so, too: it may be that this one was held, or that its time is wrong.
        self._claimed, self._claimed_round = np.full(rows, FAR_NS), np.zeros(rows, np.int64)
        self._claims = 0  # rows with one
        self._answered: dict[int, tuple[int, int]] = {}  # what is to become of them once the batch was taken
        self._offset = np.zeros(rows, np.int64)  # what a row's durations are corrected by
        self._correcting = 0  # rows for which it is not 0
        self._steps = np.zeros(rows, np.int64)
        self._first_ns = np.zeros(rows, np.int64)  # when the first notification came
        self._overstated = np.zeros(rows, np.int64)  # by so much some durations are shown too long
        self._shown = np.full(rows, -FAR_NS)  # what some were corrected by when their clock had been put back
        # As far ahead as it was ever proven to be, or not at all; what is taken off beyond that may have been held.
        self._ahead = np.zeros(rows, np.int64)
        self._held_ns = 0  # the most of it. What has been shown stays shown, whatever becomes of its session.
        self._now_ns = 0  # when the last notifications came
        self._drift = Drift(rows)
        # Notices are taken as they come, and measurements when all that was read was looked through.
        self._stamps, self._notice_stamps = Stamps(rows, slack_ns), Stamps(rows, slack_ns)

    # -- what sessions tell --------------------------------------------------------------------------------------

    def set_up(self, row: int, asked_ns: int, answered_ns: int) -> None:
        """A session begins; this is the round trip of its subscription."""
        self._recent[row] = self._least[row] = self._most[row] = FAR_NS
        self._shown[row] = -FAR_NS
        self._forget(row)
        self._withdraw(row)
        self._steps[row] = self._first_ns[row] = self._overstated[row] = self._ahead[row] = 0
        self._drift.begin(row)
        self._correct_by(row, 0)
        self._stamps.begin(row)
        self._notice_stamps.begin(row)
        self.round_trip(row, asked_ns, answered_ns)
        self._settle(row)  # nothing can stand before this answer
        self._setting_up[row] = True

    def round_trip(self, row: int, asked_ns: int, answered_ns: int) -> None:
        """Something was asked and answered in this session; what comes behind it was sent after it was asked."""
        took = answered_ns - asked_ns
        if self._setting_up[row]:  # what is asked in a running session goes the way that notifications go
            self._forget(row)
        if took - _slewed(answered_ns) < self._round_bound[row]:
            self._round[row], self._round_bound[row] = took, took - _slewed(answered_ns)
        self._drift.round_trip(row, took)
        # In what was read with the answer there may be notifications that stood before it.
        self._answered[row] = asked_ns, took

    def settle(self) -> None:
        """What was read so far was taken."""
        for row in list(self._answered):
            self._settle(row)

    def _settle(self, row: int) -> None:
        self._waiting += not self._asked[row]
        self._asked[row], self._took[row] = self._answered.pop(row)

    def _forget(self, row: int) -> None:
        self._round[row] = self._round_bound[row] = FAR_NS
        self._setting_up[row] = False

    # -- notifications -------------------------------------------------------------------------------------------

    def correct(
        self, rows: Int64s, starts: Int64s | None, raw: Int64s, done_ns: Sequence[int], sent_ns: Int64s
    ) -> Int64s | None:
        """Learn from a batch.

        Args:
            rows: each at most once. starts: where those of each begin in `raw`; None: it is one each.
            raw: from sent to received. done_ns: when those of each row came.
            sent_ns: when the last one of each row was sent, by its WLC's clock.

        Returns:
            What is to be added to the durations of each row; None: nothing, to any.
        """
        return self._learn(rows, starts, raw, done_ns, self._stamps.fell_back(rows, sent_ns))

    def _learn(
        self, rows: Int64s, starts: Int64s | None, raw: Int64s, done_ns: Sequence[int], back: Int64s | None
    ) -> Int64s | None:
        """Args: back: places in `rows` of those whose clock was put back."""
        self._now_ns = done_ns[-1]
        if self._now_ns >= self._window_ns + _WINDOW_NS:
            self._begin_window()
        least = raw if starts is None else np.minimum.reduceat(raw, starts)
        if back is not None:
            self._put_back(rows[back], least[back])
        less = least < self._recent[rows]
        if np.count_nonzero(less):
            self._learn_least(rows[less], least[less])
        if self._claims:
            self._try_claims(rows, least)
        if self._waiting:
            self._learn_most(rows, raw if starts is None else raw[starts], least, done_ns)
        if self._answered:
            self.settle()
        return self._offset[rows] if self._correcting else None

    def correct_one(self, row: int, raw_ns: int, done_ns: int, sent_ns: int) -> int:
        """The same for one notification that is taken by itself: what is to be added to its durations."""
        if row in self._answered:  # it stands behind the answer: it is taken where it stands
            self._settle(row)
        raw_ns = max(-FAR_NS, min(raw_ns, FAR_NS))
        rows, back = np.array([row]), None
        if not self._notice_stamps.is_in_order(row, sent_ns):
            back = self._notice_stamps.fell_back(rows, np.array([sent_ns]))
        known = not self._asked[row] and raw_ns >= self._recent[row] and self._claimed[row] == FAR_NS
        if back is not None or not known or done_ns >= self._window_ns + _WINDOW_NS:
            self._learn(rows, None, np.array([raw_ns]), (done_ns,), back)
        return self.offset_of(row)

    def offset_of(self, row: int) -> int:
        """What is to be added to the durations of this one now."""
        return int(self._offset[row])

    def _begin_window(self) -> None:
        self._drift.take(self._recent)
        self._least += _slewed(self._now_ns - self._window_ns)
        np.minimum(self._least, self._recent, out=self._least)
        self._recent[:] = FAR_NS
        self._before_ns, self._window_ns = self._window_ns or self._now_ns, self._now_ns
        if self._correcting:
            self._judge(np.flatnonzero(self._offset), self._now_ns)

    def _learn_least(self, rows: Int64s, least: Int64s) -> None:
        """Notifications came in less time than any before in this window."""
        if int(least.min()) <= -FAR_NS:
            likely = least > -FAR_NS
            rows, least = rows[likely], least[likely]
        self._recent[rows] = least
        self._drift.came_ns[rows] = self._now_ns
        less = least < self._least[rows]
        if not less.any():
            return
        rows, least, now_ns = rows[less], least[less], self._now_ns
        new = rows[self._first_ns[rows] == 0]
        self._first_ns[new] = now_ns
        # Further than it can be: it was put forward.
        if (stepped := rows[-least > self._most[rows] + _slewed(now_ns)]).size:
            self._most[stepped] = FAR_NS
            self._step(stepped)
        self._judge(rows, now_ns)

    def _learn_most(self, rows: Int64s, first: Int64s, least: Int64s, done_ns: Sequence[int]) -> None:
        """Notifications came behind the answer to a question: they were sent after it was asked."""
        slewed = _slewed(self._now_ns)
        lost = _slewed(self._now_ns - self._before_ns)  # by a clock since its minimum came, at most
        told = np.flatnonzero(self._asked[rows])
        for place in told.tolist():
            row, took = int(rows[place]), int(self._took[rows[place]])
            most = done_ns[place] - int(self._asked[row]) - int(first[place]) + self._slack_ns
            self._asked[row] = 0
            self._waiting -= 1
            if max(abs(most), abs(int(least[place]))) >= FAR_NS:
                continue
            if most < -int(min(self._least[row], self._recent[row])) - lost:
                self._claims += self._claimed[row] == FAR_NS
                self._claimed[row], self._claimed_round[row] = most - slewed, took
                continue
            self._most[row] = min(int(self._most[row]), most - slewed)
        if told.size:
            self._judge(rows[told], self._now_ns)

    def _try_claims(self, rows: Int64s, least: Int64s) -> None:
        """Notifications came behind those that say that their clock was put back."""
        slewed = _slewed(self._now_ns)
        for place in np.flatnonzero(self._claimed[rows] != FAR_NS).tolist():
            row = int(rows[place])
            claimed, took = int(self._claimed[row]), int(self._claimed_round[row])
            self._withdraw(row)
            if -int(least[place]) > claimed + slewed:
                continue
            # What was known of it before is void.
            self._least[row] = self._recent[row] = least[place]
            self._round[row], self._round_bound[row] = took, took - slewed
            self._most[row] = claimed
            self._drift.came_ns[row] = self._now_ns
            self._step(rows[place : place + 1])
            self._stamps.begin(row)
            self._notice_stamps.begin(row)
            self._judge(rows[place : place + 1], self._now_ns)

    def _withdraw(self, row: int) -> None:
        self._claims -= self._claimed[row] != FAR_NS
        self._claimed[row] = FAR_NS

    def _put_back(self, rows: Int64s, least: Int64s) -> None:
        """These clocks were put back: as received, unless a round trip tells more; and nothing was held before it."""
        likely = np.abs(least) < FAR_NS
        rows = rows[likely]
        self._least[rows] = self._recent[rows] = least[likely]
        self._most[rows] = self._claimed[rows]
        self._claims -= int(np.count_nonzero(self._claimed[rows] != FAR_NS))
        self._claimed[rows] = FAR_NS
        self._ahead[rows] = 0
        self._drift.came_ns[rows] = self._now_ns
        before = self._shown[rows] = self._offset[rows]  # with that, its first one was shown
        self._correcting -= int(np.count_nonzero(before))
        self._offset[rows] = 0
        self._step(rows)
        self._judge(rows, self._now_ns)

    def _step(self, rows: Int64s) -> None:
        self._steps[rows] += 1
        self._drift.begin(rows)

    def _judge(self, rows: Int64s, now_ns: int) -> None:
        """Whose durations are corrected, and by how much."""
        lowest, highest = self._range(rows, now_ns)
        before = self._offset[rows]
        proven = (lowest > 0) | (self._most[rows] + _slewed(now_ns) < 0)
        # Not to and fro: a clock that was wrong is right again when its offset is within the uncertainty.
        wrong = proven | ((before != 0) & ((lowest > 0) | (highest < 0)))
        after = np.where(wrong & (self._steps[rows] <= _MOST_STEPS), (lowest + highest) // 2, 0)
        self._offset[rows] = after
        heard = self._first_ns[rows] < now_ns
        shown = np.maximum(before, self._shown[rows])
        self._overstated[rows[heard]] = np.maximum(self._overstated[rows], shown - after)[heard]
        self._correcting += int(np.count_nonzero(after)) - int(np.count_nonzero(before))
        ahead = self._ahead[rows] = np.maximum(self._ahead[rows], lowest)
        self._held_ns = max(self._held_ns, _most_of((ahead - after)[highest < ahead]))

    def _range(self, rows: Int64s, now_ns: int) -> tuple[Int64s, Int64s]:
        """How far clocks are ahead, at least and at most: the fastest took no longer than the fastest round trip."""
        lowest = -np.minimum(self._least[rows], self._recent[rows])
        highest = np.minimum(self._most[rows] + _slewed(now_ns), lowest + self._round[rows])
        return lowest, np.maximum(lowest, highest)

    def _correct_by(self, row: int, offset_ns: int) -> None:
        self._correcting += (offset_ns != 0) - int(self._offset[row] != 0)
        self._offset[row] = offset_ns

    # -- what is known -------------------------------------------------------------------------------------------

    def survey(self) -> Clocks:
        """How the clocks stand when the last notifications have come."""
        rows = np.flatnonzero(self._first_ns)
        if not rows.size:
            return Clocks(more_ns=self._held_ns, held_ns=self._held_ns)
        lowest, highest = self._range(rows, self._now_ns)
        offset, uncertainty = (lowest + highest) // 2, (highest - lowest) // 2
        corrected = self._offset[rows] != 0
        # Of all sessions with a WLC, the one that tells its clock best.
        wlc = self._wlc[rows]
        order = np.lexsort((uncertainty, wlc))
        best = order[np.flatnonzero(np.diff(wlc[order], prepend=-1))]
        sessions, wrong, steps = (np.zeros(len(self._names), np.int64) for _ in range(3))
        np.add.at(sessions, wlc, 1)
        np.add.at(wrong, wlc, corrected)
        np.maximum.at(steps, wlc, self._steps[rows])
        # As `_furthest` has them, before there are thousands.
        theirs = wlc[best]
        furthest = np.lexsort((-np.abs(offset[best]), -steps[theirs], wrong[theirs] == 0))[:_LISTED]
        readings = tuple(
            ClockReading(
                wlc=self._names[wlc[place]],
                sessions=int(sessions[wlc[place]]),
                corrected=int(wrong[wlc[place]]),
                offset_ns=int(offset[place]),
                uncertainty_ns=int(uncertainty[place]),
                drift_ppb=self._drift.of(int(rows[place])),
                steps=int(steps[wlc[place]]),
                drift_uncertainty_ppb=self._drift.uncertainty_of(int(rows[place])),
            )
            for place in best[furthest].tolist()
        )
        raw = best[wrong[theirs] == 0]  # shown as they came, though their clocks may be anywhere in the range
        return Clocks(
            wlcs=len(best),
            corrected=int(np.count_nonzero(wrong)),
            unsteady=int(np.count_nonzero(self._steps[rows] > _MOST_STEPS)),
            less_ns=max(_most_of(uncertainty[corrected]), _most_of(-lowest[raw]), _most_of(self._overstated[rows])),
            more_ns=max(_most_of(uncertainty[corrected]), _most_of(highest[raw])) + self._held_ns,
            readings=readings,
            held_ns=self._held_ns,
        )


class Drift:
    """How fast clocks gain on ours: by the fastest notifications of windows that are far apart.

    One window tells where a clock stands, give or take half of a round trip of its own, if there is one: whatever made
    notifications late in it, made that late, too. From then on two of them tell how far it came.
    """

    def __init__(self, rows: int) -> None:
        self.came_ns = np.zeros(rows, np.int64)  # when the fastest notification of this window came
        self._round = np.full(rows, FAR_NS)  # the least round trip since there was a window
        # The window that drift is taken from: when, how far ahead the clock was at least, and the round trip.
        self._base_ns, self._base, self._base_round = (np.zeros(rows, np.int64) for _ in range(3))
        self._ppb, self._uncertainty_ppb = np.zeros(rows), np.full(rows, np.inf)

    def begin(self, rows: int | Int64s) -> None:
        """Their clocks are others from now on."""
        self._base_ns[rows] = 0
        self._round[rows] = FAR_NS
        self._uncertainty_ppb[rows] = np.inf

    def round_trip(self, row: int, took_ns: int) -> None:
        """One that was answered in this window."""
        if took_ns < self._round[row]:
            self._round[row] = took_ns

    def take(self, least: Int64s) -> None:
        """A window is over. Args: least: the least raw duration in it, of every row; far away if there was none."""
        told = np.flatnonzero(np.abs(least) < FAR_NS)
        rows = told[self._round[told] < FAR_NS]
        at_ns, ahead, took = self.came_ns[rows], -least[rows], self._round[rows]
        self._round[told] = FAR_NS
        based, since = self._base_ns[rows] > 0, np.maximum(at_ns - self._base_ns[rows], 1)
        # Both were ahead by no less than that, and by no more than a round trip more.
        ppb = (ahead - self._base[rows] + (took - self._base_round[rows]) / 2) * NS_PER_S / since
        uncertainty = (took + self._base_round[rows]) / 2 * NS_PER_S / since
        better = based & (uncertainty < self._uncertainty_ppb[rows])
        self._ppb[rows[better]], self._uncertainty_ppb[rows[better]] = ppb[better], uncertainty[better]
        # One that was slow, as when everybody subscribes, would have drift wait for long.
        fresh = ~based | (~self._known(rows) & (took < self._base_round[rows] / 2))
        self._uncertainty_ppb[rows[fresh]] = np.inf
        for column, values in ((self._base_ns, at_ns), (self._base, ahead), (self._base_round, took)):
            column[rows[fresh]] = values[fresh]

    def of(self, row: int) -> int | None:
        """In ns a second; None: not known."""
        return round(float(self._ppb[row])) if self._known(np.array([row]))[0] else None

    def uncertainty_of(self, row: int) -> int:
        """Of that; 0 where it is not known."""
        return 0 if self.of(row) is None else round(float(self._uncertainty_ppb[row]))

    def _known(self, rows: Int64s) -> NDArray[np.bool_]:
        ppb, uncertainty = np.abs(self._ppb[rows]), self._uncertainty_ppb[rows]
        known: NDArray[np.bool_] = (ppb > uncertainty) | (uncertainty <= _DRIFT_KNOWN_PPB)
        # What gains more than a clock is slewed by was set, or is none.
        known &= ppb - uncertainty <= NS_PER_S / _SLEW_PER
        return known


def _slewed(now_ns: int) -> int:
    """What a clock may have gained or lost until now."""
    return now_ns // _SLEW_PER


def _most_of(column: Int64s) -> int:
    return max(0, int(column.max())) if column.size else 0
