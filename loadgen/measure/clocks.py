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

One notification may bear a time that is wrong: what only one read of them says of a clock moves nothing. It is shown as
if it were right, if it would have come before it was sent, and what follows from that for all others is told.

That a clock is ahead is proven: nothing comes before it was sent. That one is behind, or falls back, is not: so it
looks, too, if a WLC says that it sent what it holds, and answers questions at once. Durations are corrected as for a
clock, and by how much they may be longer has all of that in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.measure.clock_readings import MOST_READINGS, Clocks, OfWlcs
from loadgen.measure.drift import SLEW_PER, Drift
from loadgen.measure.grain import Grain
from loadgen.measure.growth import UnprovenGrowth
from loadgen.measure.leasts import Leasts
from loadgen.measure.stages import Int64s
from loadgen.measure.stamps import FAR_NS, Stamps
from loadgen.units import NS_PER_MS

# A clock that was set that often is none to correct by.
_MOST_STEPS = 10
# A time by which its clock would be no further ahead than that is told of as uncertain, and not as wrong.
_WRONG_NS = 10 * NS_PER_MS


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
        self.usual: Int64s | None = None  # see `correct`
        # A clock is ahead by no less than the negative of the least raw duration.
        self._leasts = Leasts(rows)
        self._grain = Grain(rows)
        self._growth = UnprovenGrowth(rows)
        # And by no more than this: as it was at time 0, had it been found then; now it is that and `_slewed`. So with
        # the bound by which round trips are compared.
        self._most = np.full(rows, FAR_NS)
        # The first read of a session says so, and there was nothing to hold it against.
        self._once = np.zeros(rows, bool)
        self._round, self._round_bound = np.full(rows, FAR_NS), np.full(rows, FAR_NS)
        self._setting_up = np.zeros(rows, bool)  # no round trip of a running session is known
        self._asked = np.zeros(rows, np.int64)  # since this time what comes was sent; 0: no question is open
        self._took = np.zeros(rows, np.int64)  # from then to its answer
        self._waiting = 0  # rows with one
        # What one notification behind an answer says, if its clock must have been put back: its bound, and the round
        # trip. The next one is to say so, too: it may be that this one was held, or that its time is wrong.
        self._claimed, self._claimed_round = np.full(rows, FAR_NS), np.zeros(rows, np.int64)
        self._claim_ns = np.zeros(rows, np.int64)  # the read that it came with
        self._claims = 0  # rows with one
        # One before which nothing was known of its clock is corrected by until the next.
        self._trial = np.zeros(rows, bool)
        # Further ahead than it can be, says one read alone: it was put forward, or the time is wrong.
        self._leap = np.zeros(rows, bool)
        self._leaps = 0  # rows of which that is so
        self._lone = self._lone_ns = 0  # see `Clocks`
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
        self._notice_ns = np.zeros(rows, np.int64)  # when the last notice of a row came
        self._drift = Drift(rows)
        # Notices are taken as they come, and measurements when all that was read was looked through.
        self._stamps, self._notice_stamps = Stamps(rows, slack_ns), Stamps(rows, slack_ns)

    # -- what sessions tell --------------------------------------------------------------------------------------

    def set_up(self, row: int, asked_ns: int, answered_ns: int) -> None:
        """A session begins; this is the round trip of its subscription."""
        self._let_go(np.array([row]))
        self._growth.end(np.array([row]))
        self._leasts.begin(row)
        self._grain.begin(row)
        self._most[row] = FAR_NS
        self._trial[row] = False
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
            What is to be added to each duration since something was sent; None: nothing, to any. Where that is more
            than the clocks say, because it would be below 0 otherwise, `usual` is what they say: it is what durations
            since another time get, unless those are below 0 as well.
        """
        self.usual = None
        back = self._stamps.fell_back(rows, sent_ns)
        if self._stamps.overtaken is not None:
            self._refute(rows[self._stamps.overtaken])
        self._grain.take(rows, sent_ns)
        least = raw if starts is None else np.minimum.reduceat(raw, starts)
        self._learn(rows, raw if starts is None else raw[starts], least, done_ns, back)
        offset = self._offset[rows] if self._correcting else None
        early = (least if offset is None else least + offset) < 0
        some = np.count_nonzero(early)
        if offset is None:
            if not some:
                return None
            offset = np.zeros(len(rows), np.int64)
        ends = None
        if starts is not None:
            ends = np.append(starts[1:], len(raw))
            offset = np.repeat(offset, ends - starts)
        if some:
            self.usual = offset.copy()
        for place in np.flatnonzero(early).tolist() if some else ():
            mine = slice(place, place + 1) if starts is None or ends is None else slice(starts[place], ends[place])
            wrong = raw[mine] + offset[mine] < 0
            offset[mine][wrong] = self._by_itself(int(rows[place]), int(least[place]))
            self._leasts.mixed[rows[place]] |= not wrong.all()  # the others are shown by what was known before
        return offset

    def _learn(self, rows: Int64s, first: Int64s, least: Int64s, done_ns: Sequence[int], back: Int64s | None) -> None:
        """Args: first, least: of each row's raw durations. back: places in `rows` of clocks that were put back."""
        now_ns = self._now_ns = done_ns[-1]
        if self._leasts.is_over(now_ns):
            self._begin_window()
        if back is not None:
            self._put_back(rows[back], least[back])
        if self._leaps:
            self._refute_leaps(rows, least)
        less = least < self._leasts.recent[rows]
        if np.count_nonzero(less):
            self._learn_least(rows[less], least[less])
        self._leasts.seen_ns[rows] = now_ns
        self._growth.take(rows, least, now_ns)
        if self._claims:
            self._try_claims(rows, least)
        if self._waiting:
            self._learn_most(rows, first, least, done_ns)
        if self._answered:
            self.settle()

    def correct_one(self, row: int, raw_ns: int, done_ns: int, sent_ns: int) -> int:
        """The same for one notification that is taken by itself: what is to be added to its durations."""
        if row in self._answered:  # it stands behind the answer: it is taken where it stands
            self._settle(row)
        raw_ns = max(-FAR_NS, min(raw_ns, FAR_NS))
        rows, back = np.array([row]), None
        if done_ns == self._notice_ns[row]:
            self._notice_stamps.go_on(row, sent_ns)
        elif not self._notice_stamps.is_in_order(row, sent_ns):
            back = self._notice_stamps.fell_back(rows, np.array([sent_ns]))
            if self._notice_stamps.overtaken is not None:
                self._refute(rows)
        self._notice_ns[row] = done_ns
        self._grain.take(rows, np.array([sent_ns]))
        known = not self._asked[row] and raw_ns >= self._leasts.recent[row] and self._claimed[row] == FAR_NS
        if back is not None or not known or self._leap[row] or self._leasts.is_over(done_ns):
            raw = np.array([raw_ns])
            self._learn(rows, raw, raw, (done_ns,), back)
        else:
            self._leasts.seen_ns[row] = done_ns
            self._growth.take_one(row, raw_ns, done_ns)
        offset = self.offset_of(row)
        return offset if raw_ns + offset >= 0 else self._by_itself(row, raw_ns)

    def offset_of(self, row: int) -> int:
        """What is to be added to the durations of this one now."""
        return int(self._offset[row])

    def _by_itself(self, row: int, least: int) -> int:
        """What is added to durations that would be below 0: as its own fastest one says, if that may be a time."""
        if least <= -FAR_NS or self._steps[row] > _MOST_STEPS:
            return self.offset_of(row)
        lowest = -least
        highest = lowest + int(self._round[row])
        bound = int(self._bound(np.array([row]), self._now_ns)[0])
        return (lowest + (min(highest, bound) if bound >= lowest else highest)) // 2

    def _begin_window(self) -> None:
        rows = np.arange(len(self._wlc))
        self._drift.take(self._leasts.recent, self._grain.of(rows))
        old = self._leasts.begin_window(self._now_ns, _slewed(self._now_ns - self._leasts.window_ns))
        self._let_go(old)
        if self._correcting:
            self._judge(np.flatnonzero(self._offset), self._now_ns)

    def _learn_least(self, rows: Int64s, least: Int64s) -> None:
        """Notifications came in less time than any before in this window."""
        if int(least.min()) <= -FAR_NS:
            likely = least > -FAR_NS
            rows, least = rows[likely], least[likely]
        now_ns, known, since = self._now_ns, self._leasts.known(rows), self._leasts.since(rows)
        lower, two = self._leasts.come(rows, least, now_ns)
        self._drift.came_ns[rows] = now_ns
        if not lower.size:
            return
        new = rows[lower][self._first_ns[rows[lower]] == 0]
        self._first_ns[new] = now_ns
        if two.size:
            # Others have come meanwhile, and were taken by what was known before.
            shown = two[since[two] & (known[two] < FAR_NS)]
            short = known[shown] - self._leasts.known(rows[shown])
            self._lone_ns = max(self._lone_ns, _most_of(short[short > self._round[rows[shown]] // 2]))
            # Further than it can be: it was put forward; or what says so, says it alone.
            if (leapt := rows[two][self._leaps_by(rows[two], self._leasts.known(rows[two]))]).size:
                self._most[leapt] = FAR_NS
                self._step(leapt[~self._once[leapt]])
            self._judge(rows[two], now_ns)
        rows = rows[lower]
        leap = (self._leasts.lone[rows] < FAR_NS) & self._leaps_by(rows, self._leasts.lone[rows])
        self._leaps += int(np.count_nonzero(leap)) - int(np.count_nonzero(self._leap[rows]))
        self._leap[rows] = leap

    def _bound(self, rows: Int64s, now_ns: int) -> Int64s:
        """How far clocks are ahead at most, whatever the fastest notification took."""
        return self._most[rows] + _slewed(now_ns) + self._grain.of(rows)

    def _leaps_by(self, rows: Int64s, least: Int64s) -> NDArray[np.bool_]:
        """Whether these raw durations would have them further ahead than they can be."""
        leaps: NDArray[np.bool_] = -least > self._bound(rows, self._now_ns)
        return leaps

    def _refute_leaps(self, rows: Int64s, least: Int64s) -> None:
        """A clock that was put forward stays there: the next read says so, too, or the time was wrong."""
        doubtful = self._leap[rows] & (self._leasts.lone_ns[rows] != self._now_ns)
        doubtful &= ~self._leaps_by(rows, least)
        self._refute(rows[doubtful])

    def _refute(self, rows: Int64s) -> None:
        """What stands alone there cannot be right."""
        self._leasts.mixed[rows] = True  # it may be that nothing was taken since, but this says as much
        self._lone += self._doubts(rows)[0]
        self._forget_lone(rows)

    def _let_go(self, rows: Int64s) -> None:
        """Nothing has borne out what stands alone there, nor shown that it cannot be right."""
        lone, ahead_ns = self._doubts(rows)
        self._lone += lone
        self._lone_ns = max(self._lone_ns, ahead_ns)
        self._forget_lone(rows)

    def _forget_lone(self, rows: Int64s) -> None:
        self._leaps -= int(np.count_nonzero(self._leap[rows]))
        self._leap[rows] = False
        self._leasts.forget_lone(rows)

    def _doubts(self, rows: Int64s) -> tuple[int, int]:
        """Of what stands alone: how many are taken for wrong, and by how much durations may be longer if one is not."""
        lone, known = self._leasts.lone[rows], self._leasts.known(rows)
        rows = rows[(lone < known) & (known < FAR_NS) & self._leasts.since(rows)]
        if not rows.size:
            return 0, 0
        lone, known, half = self._leasts.lone[rows], self._leasts.known(rows), self._round[rows] // 2
        further = known - lone
        likely = np.minimum(-lone, np.maximum(self._bound(rows, self._now_ns), -known)) + known
        wrong = further > np.maximum(np.maximum(half, self._grain.of(rows)), max(_WRONG_NS, self._slack_ns))
        return int(np.count_nonzero(wrong)), _most_of(likely[likely > half])

    def _learn_most(self, rows: Int64s, first: Int64s, least: Int64s, done_ns: Sequence[int]) -> None:
        """Notifications came behind the answer to a question: they were sent after it was asked."""
        slewed = _slewed(self._now_ns)
        lost = _slewed(self._now_ns - self._leasts.before_ns)  # by a clock since its minimum came, at most
        told = np.flatnonzero(self._asked[rows])
        for place in told.tolist():
            row, took = int(rows[place]), int(self._took[rows[place]])
            most = done_ns[place] - int(self._asked[row]) - int(first[place]) + self._slack_ns
            self._asked[row] = 0
            self._waiting -= 1
            if max(abs(most), abs(int(least[place]))) >= FAR_NS:
                continue
            known = int(self._leasts.known(row))
            behind = most + int(self._grain.of(rows[place : place + 1])[0])
            if behind < (-known - lost if known < FAR_NS else 0):
                self._claims += self._claimed[row] == FAR_NS
                self._claimed[row], self._claimed_round[row] = most - slewed, took
                self._claim_ns[row] = self._now_ns
                if known >= FAR_NS:
                    self._correct_on_trial(row, most)
                continue
            self._growth.spoken_for(row)
            if most - slewed < self._most[row]:
                self._most[row], self._once[row] = most - slewed, known >= FAR_NS
        if told.size:
            self._judge(rows[told], self._now_ns)

    def _correct_on_trial(self, row: int, most: int) -> None:
        """The first read of a session has its clock behind, and is shown by that; the next one says whether it is."""
        lowest = -int(self._leasts.lone[row])
        offset = (lowest + max(lowest, min(most, lowest + int(self._round[row])))) // 2
        self._correct_by(row, offset)
        self._trial[row] = True
        self._held_ns = max(self._held_ns, -offset)

    def _try_claims(self, rows: Int64s, least: Int64s) -> None:
        """Notifications came behind those that say that their clock was put back."""
        slewed = _slewed(self._now_ns)
        for place in np.flatnonzero(self._claimed[rows] != FAR_NS).tolist():
            row = int(rows[place])
            claimed, took, trial = int(self._claimed[row]), int(self._claimed_round[row]), bool(self._trial[row])
            agrees = -int(least[place]) <= claimed + slewed
            if agrees and self._claim_ns[row] == self._now_ns:
                continue  # it is of the same read
            self._withdraw(row)
            self._trial[row] = False
            if not agrees:
                if trial:
                    self._correct_by(row, 0)
                continue
            if trial:
                self._most[row], self._once[row] = claimed, False
                self._judge(rows[place : place + 1], self._now_ns)
                continue
            # What was known of it before is void.
            self._put(rows[place : place + 1], least[place : place + 1])
            self._round[row], self._round_bound[row] = took, took - slewed
            self._most[row], self._once[row] = claimed, False
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
        self._put(rows, least[likely])
        self._trial[rows] = False
        self._most[rows], self._once[rows] = self._claimed[rows], False
        self._claims -= int(np.count_nonzero(self._claimed[rows] != FAR_NS))
        self._claimed[rows] = FAR_NS
        self._ahead[rows] = 0
        self._drift.came_ns[rows] = self._now_ns
        before = self._shown[rows] = self._offset[rows]  # with that, its first one was shown
        self._correcting -= int(np.count_nonzero(before))
        self._offset[rows] = 0
        self._step(rows)
        self._judge(rows, self._now_ns)

    def _put(self, rows: Int64s, least: Int64s) -> None:
        """What was known of these, and what stood alone, was of another clock."""
        self._leaps -= int(np.count_nonzero(self._leap[rows]))
        self._leap[rows] = False
        self._leasts.put(rows, least)
        self._growth.begin(rows)

    def _step(self, rows: Int64s) -> None:
        self._steps[rows] += 1
        self._grain.begin(rows)
        self._drift.begin(rows)

    def _judge(self, rows: Int64s, now_ns: int) -> None:
        """Whose durations are corrected, and by how much: of those of which more than one read tells."""
        rows = rows[self._leasts.known(rows) < FAR_NS]
        lowest, highest = self._range(rows, now_ns)
        before = self._offset[rows]
        proven = (lowest > 0) | (self._bound(rows, now_ns) < 0)
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
        """How far clocks are ahead, at least and at most: the fastest took no longer than the fastest round trip. Of
        those of which one read tells, as it does.
        """
        known, lone, took = self._leasts.known(rows), self._leasts.lone[rows], self._round[rows]
        known = np.where(known < FAR_NS, known, lone)
        # One that stands alone, and by less than is uncertain anyway, may be the fastest.
        fastest = np.where(known - lone <= took // 2, np.minimum(known, lone), known)
        highest = np.minimum(self._bound(rows, now_ns), took - fastest)
        # Bounds that cross by what a clock loses in a window: it is between them.
        return np.minimum(-known, highest), np.maximum(-known, highest)

    def _correct_by(self, row: int, offset_ns: int) -> None:
        self._correcting += (offset_ns != 0) - int(self._offset[row] != 0)
        self._offset[row] = offset_ns

    # -- what is known -------------------------------------------------------------------------------------------

    def survey(self) -> Clocks:
        """How the clocks stand when the last notifications have come."""
        rows = np.flatnonzero(self._first_ns)
        lowest, highest = self._range(rows, self._now_ns)
        # A clock that goes on by steps says nothing finer.
        grain, corrected, steps = self._grain.of(rows), self._offset[rows] != 0, self._steps[rows]
        corrected &= ~self._trial[rows]
        offset, uncertainty = (lowest + highest) // 2, (highest - lowest) // 2 + grain
        found = OfWlcs(self._wlc[rows], offset, uncertainty, corrected, steps)
        far = np.unique(self._wlc[(self._leasts.seen_ns > 0) & (self._first_ns == 0)]).tolist()
        raw = found.uncorrected  # shown as they came, though their clocks may be anywhere in the range
        lone, lone_ns = self._doubts(rows)
        apart = _most_of(uncertainty[corrected])
        overstated = max(_most_of(self._overstated[rows]), self._growth.most_ns(rows))
        return Clocks(
            wlcs=len(found.best),
            corrected=len(found.best) - len(raw),
            unsteady=int(np.count_nonzero(steps > _MOST_STEPS)),
            less_ns=max(apart, _most_of((grain - lowest)[raw]), overstated),
            more_ns=max(apart, _most_of((highest + grain)[raw])) + self._held_ns + max(lone_ns, self._lone_ns),
            readings=found.readings(self._names, lambda at: self._drift.told(int(rows[at]))),
            held_ns=self._held_ns,
            lone=self._lone + lone,
            lone_ns=max(lone_ns, self._lone_ns),
            sides=found.sides,
            far=len(far),
            far_named=tuple(self._names[wlc] for wlc in far[:MOST_READINGS]),
        )


def _slewed(now_ns: int) -> int:
    """What a clock may have gained or lost until now."""
    return now_ns // SLEW_PER


def _most_of(column: Int64s) -> int:
    return max(0, int(column.max())) if column.size else 0
