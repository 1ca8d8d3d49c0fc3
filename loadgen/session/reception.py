"""What the MSEs of a worker receive: measurement notifications, checked and recorded in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.distinct import distinct
from loadgen.measure.recorder import Gathered, Recorder, StageTally
from loadgen.measure.waits import TAIL
from loadgen.nmsp.bulk import Columns
from loadgen.nmsp.carried import WHOLE, Carried
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.services import Subservice, mask_of
from loadgen.scenario.schedule import RateStage
from loadgen.session.lulls import Lull, Lulls
from loadgen.session.placing import Placing
from loadgen.session.sequence import NOTHING_DUE_NS, SequenceCheck
from loadgen.session.since_first import SinceFirst
from loadgen.session.told import Reader, ToldColumns, expected_of

# What measurement notifications may be about.
MEASURED = mask_of(CATALOGUE[Kind.MEASUREMENT_NOTIFY].subservices)

# 13 days: further from now than this no notification was due.
_FARTHEST_NS = 1 << 50


class _Doubtful(NamedTuple):
    """A notification that was taken for a duplicate, and may be none. done_ns: when it came."""

    due_ns: int
    sent_ns: int
    subservice: int
    done_ns: int


class Chunks(NamedTuple):
    """What was read of endpoints, a row each: of which, each at most once; how many it brought; when they came; the
    number of the first, and whether the others' follow it; a bit for each subservice, all bits for one above 62.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    done_ns: list[int]
    first: NDArray[np.int64]
    in_order: NDArray[np.int64]
    services: NDArray[np.int64]


class Counting(NamedTuple):
    """What the native turn needs to count notifications that are as expected: where, and of each row the number of the
    next one, when the last one was due, and what was granted; these it keeps up to date.
    """

    tally: StageTally
    expected: NDArray[np.int64]
    last_due_ns: NDArray[np.int64]
    granted: NDArray[np.int64]
    to_unix_ns: int


class Reception:
    """Measurement notifications that the MSEs of a shard receive: sequence check and latencies, a batch at a time.

    Rows belong to endpoints (`MseEndpoint.number`). Times in notifications are ns since the epoch; `to_unix_ns` turns
    this machine's monotonic clock into that.

    Attributes:
        lulls: of the streams; None: they are our own WLCs'.
        counting: None: every notification has to be looked at here.
    """

    def __init__(
        self,
        recorder: Recorder,
        rows: int,
        to_unix_ns: int,
        *,
        our_schedule: bool = True,
        by_service: bool = False,
        carried: Carried = WHOLE,
        placing: Placing | None = None,
        device_time: DeviceTime | None = None,
    ) -> None:
        """Args:
        our_schedule: what is due is due by our clock; otherwise stages go by when things came, and so do waits.
        by_service: each subservice has figures of its own, too.
        carried: what of ours the notifications' layout carries.
        device_time: how a device that is not ours tells when it was, in a layout without our sent time; since 1970.
        placing: knows when they were due, where the layout does not carry that; None: nobody does.
        """
        self._recorder = recorder
        self._to_unix_ns = to_unix_ns
        self._our_schedule = our_schedule
        self._by_service = by_service
        self._reader = Reader(carried)
        # Two clocks are compared by when things were sent; where that is not known, neither is how old anything is.
        self._placing = None if self._reader.due else placing
        self._knows_latency = self._placing is not None or (self._reader.due and (our_schedule or self._reader.sent))
        latency, service = ("notify.latency",) if self._knows_latency else (), ("notify.service",)
        self._device_time = None if self._reader.sent else device_time
        if self._device_time is not None:
            service = ("notify.age",)
        # Even so, due times tell how much longer one waited than the first of its session.
        tells_longer = self._reader.due and not self._knows_latency
        self._since_first = SinceFirst(rows) if tells_longer else None
        what = "received" if our_schedule else "came"
        self._tells_sent = self._reader.sent or self._device_time is not None
        self._gathered = recorder.gather([latency, service] if self._tells_sent else [latency], what)
        self._unplaced, self._tail = recorder.gather([()], what), recorder.gather([()], TAIL)
        self._gaps = None if our_schedule and self._knows_latency else recorder.gather([("notify.gap",)])
        self._last_ns = np.zeros(rows, np.int64)  # when the last one came; 0: none has
        self._expected = np.zeros(rows, np.int64)  # the number; where a check knows that, how many came
        self._due_ns = np.full(rows, NOTHING_DUE_NS)  # when the number before that was due
        self._granted = np.zeros(rows, np.int64)
        self.lulls = None if our_schedule else Lulls(rows)
        # Of what a subservice tells in all sessions together; of them, how many came.
        self._service_lulls = Lulls(len(Subservice)) if by_service and not our_schedule else None
        self._of_service = np.zeros(len(Subservice), np.int64)
        self._checks: dict[int, SequenceCheck[_Doubtful]] = {}  # only of endpoints that once missed the expected number
        self._regrants: list[tuple[int, int, int]] = []
        self.counting: Counting | None = None
        if our_schedule and self._reader.whole and not by_service:
            tally = recorder.tally(latency, service, what, "notify.received")
            if tally is not None:
                self.counting = Counting(tally, self._expected, self._due_ns, self._granted, to_unix_ns)

    def open(self, number: int, granted: int) -> None:
        """An endpoint's subscription was granted; its numbers start at 0, also if it had a session before."""
        self._granted[number] = granted & MEASURED
        self._expected[number] = 0
        self._due_ns[number] = NOTHING_DUE_NS
        self._last_ns[number] = 0
        if self._since_first is not None:
            self._since_first.open(number)
        self._checks.pop(number, None)
        if self.lulls is not None:
            self.lulls.open(number)

    def listen(self, until_ns: int, over_ns: int, stages: Sequence[RateStage]) -> None:
        """A load begins. Args: as of `Lulls.begin`."""
        for lulls in (self.lulls, self._service_lulls):
            if lulls is not None:
                lulls.begin(until_ns, over_ns, stages)

    def services_fallen_silent(self) -> tuple[dict[str, Lull], tuple[str, ...]]:
        """Which subservices should not have been silent when the load was over; and which others told something."""
        if self._service_lulls is None:
            return {}, ()
        told = np.flatnonzero(self._of_service).tolist()
        found, _ = self._service_lulls.fallen_silent(self._of_service, told)
        names = {each: Subservice(each).name.lower() for each in told}
        return {names[each]: found[each] for each in found}, tuple(names[each] for each in told if each not in found)

    def fallen_silent(self, numbers: Iterable[int]) -> tuple[dict[int, Lull], dict[int, Lull]]:
        """Which of these endpoints' streams should not have been silent when the load was over; and which seem so."""
        return ({}, {}) if self.lulls is None else self.lulls.fallen_silent(self._expected, numbers, self._last_ns)

    def leave(self, number: int, left_ns: int) -> None:
        """We have ended an endpoint's session, and nothing comes any more. Args: left_ns: when we said so."""
        if (check := self._checks.get(number)) is not None:
            check.leave(left_ns, self._recorder.count)

    def regrant(self, number: int, granted: int, taken: int) -> None:
        """An endpoint's grant changed when `taken` notifications were taken since they were absorbed last."""
        self._regrants.append((number, granted, taken))

    def settle_grants(self) -> None:
        """No notifications were taken since: all that come are judged by the new grants."""
        for number, granted, _ in self._regrants:
            self._granted[number] = granted & MEASURED
        self._regrants.clear()
        if self._recorder.clocks is not None:
            self._recorder.clocks.settle()

    def settle_counts(self) -> None:
        """All that the native turn has counted is recorded."""
        if self.counting is not None:
            self.counting.tally.record()

    def received(self, number: int) -> int:
        """How many notifications an endpoint's session has brought so far."""
        return int(self._expected[number])

    def heard(self) -> NDArray[np.int64]:
        """The same of all endpoints."""
        return self._expected.copy()

    def absorb_chunks(self, columns: Columns, chunks: Chunks) -> None:
        """`absorb` of what is known by the chunk: where that is as expected, so is each notification."""
        rows = chunks.rows
        as_expected = (
            self._reader.whole
            and not (self._checks or self._regrants)
            and bool(chunks.in_order.all())
            and np.array_equal(chunks.first, self._expected[rows])
            and not np.count_nonzero(chunks.services & ~self._granted[rows])
        )
        self._absorb(columns, rows, chunks.counts, chunks.done_ns, as_expected=as_expected)

    def absorb(self, columns: Columns, rows: Sequence[int], of_each: Sequence[int], done_ns: Sequence[int]) -> None:
        """Check and record a batch of notifications; of duplicates and what was not subscribed to, only that they came.

        Args:
            rows: endpoints in the order in which theirs were scanned; each at most once.
            of_each, done_ns: how many each of them brought, and when.
        """
        self._absorb(columns, np.array(rows, np.int64), np.array(of_each, np.int64), done_ns, as_expected=False)

    def _absorb(
        self,
        columns: Columns,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        done_ns: Sequence[int],
        *,
        as_expected: bool,
    ) -> None:
        """Args: as_expected: nothing is missing, comes twice or was not subscribed to."""
        if self.lulls is not None:
            self.lulls.come(self._expected, done_ns[-1], self._last_ns)
        if self._service_lulls is not None:
            self._service_lulls.come(self._of_service, done_ns[-1])
        self._recorder.count("notify.received", columns.notifications)
        wanted = None if as_expected else self._check_subservices(columns.subservice, numbers, counts)
        # One each is the case of one notification per write.
        ends = None if len(numbers) == columns.notifications else np.cumsum(counts)
        told = self._reader.read(columns, self._expected[numbers], counts, ends, numbers, self._checks)
        if self._placing is not None:
            told = told._replace(due_ns=self._placed_ns(self._placing, told, numbers, counts, ends))
        if self._device_time is not None and columns.time is not None:
            done = np.repeat(np.array(done_ns, np.int64) + self._to_unix_ns, counts)
            told = told._replace(sent_ns=done - self._device_time.age_ns(done, columns.time))
        if self._gaps is not None:
            self._record_gaps(self._gaps, numbers, counts, done_ns)
        if as_expected:
            self._expected[numbers] += counts
            self._due_ns[numbers] = told.due_ns if ends is None else told.due_ns[ends - 1]
            chosen = None
        else:
            chosen = self._check_sequence(told, numbers, counts, ends, done_ns, wanted)
        if chosen is None:
            self._record(told, numbers, counts, ends, done_ns)
            return
        # What came before has been recorded: the rest is a batch.
        counts = np.bincount(np.repeat(np.arange(len(numbers)), counts)[chosen], minlength=len(numbers))
        left = np.flatnonzero(counts)
        if len(left):
            counts = counts[left]
            times = [done_ns[index] for index in left.tolist()]
            self._record(
                ToldColumns(*(column[chosen] for column in told)), numbers[left], counts, np.cumsum(counts), times
            )
        elif self._recorder.clocks is not None:
            self._recorder.clocks.settle()

    def _placed_ns(
        self,
        placing: Placing,
        told: ToldColumns,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        ends: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        if self._reader.counts:
            return placing.due_ns(numbers, counts, ends, told.sequence)
        return placing.due_in_order_ns(numbers, counts, ends, self._expected[numbers])

    def _record_gaps(
        self, gathered: Gathered, numbers: NDArray[np.int64], counts: NDArray[np.int64], done_ns: Sequence[int]
    ) -> None:
        """How long after the one before each came, in its session; of what one read brings, nothing is between."""
        done = np.array(done_ns, np.int64)
        last = self._last_ns[numbers]
        self._last_ns[numbers] = done
        gaps = np.zeros(int(counts.sum()), np.int64)
        begin = np.cumsum(counts) - counts
        gaps[begin] = done - last
        times = np.repeat(done, counts) + self._to_unix_ns
        if not last.all():
            chosen = np.ones(len(gaps), bool)
            chosen[begin[last == 0]] = False
            gaps, times = gaps[chosen], times[chosen]
        if len(gaps):
            gathered.add(len(gaps), times, gaps)

    def _record(
        self,
        columns: ToldColumns,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        ends: NDArray[np.int64] | None,
        done_ns: Sequence[int],
    ) -> None:
        """Args: ends: of each endpoint's in `columns`; None: it is one each."""
        recorder = self._recorder
        done = np.array(done_ns, np.int64) + self._to_unix_ns
        if ends is not None:
            done = np.repeat(done, counts)
        if self._placing is not None:
            columns, done = self._placed(columns, done)
            if not len(done):
                return
        latency, service = done - columns.due_ns, done - columns.sent_ns
        if (clocks := recorder.clocks) is not None:
            starts, last = (None, columns.sent_ns) if ends is None else (ends - counts, columns.sent_ns[ends - 1])
            offset = clocks.correct(numbers, starts, service, done_ns, last)
            if offset is not None:
                service = service + offset
                late, usual = latency + offset, clocks.usual
                # A sent time that is wrong says nothing of when it was due.
                latency = late if usual is None else np.where(latency + usual >= 0, latency + usual, late)
        if self._since_first is not None:
            latency = self._since_first.longer_ns(latency, numbers, counts)
        if not self._our_schedule:  # whatever a peer makes up can be added up
            latency = np.clip(latency, -_FARTHEST_NS, _FARTHEST_NS)
        known = self._our_schedule and self._knows_latency
        times = columns.due_ns if known else self._moments(done, latency)
        self._gather(columns.subservice, times, latency, service)
        if self.counting is not None and not self._checks:
            self.counting.tally.aim(int(times[-1]))

    def _placed(self, columns: ToldColumns, done: NDArray[np.int64]) -> tuple[ToldColumns, NDArray[np.int64]]:
        """Those of which it is known when they were due; the others are counted."""
        placed = columns.due_ns != NOTHING_DUE_NS
        if placed.all():
            return columns, done
        lost = done[~placed]
        self._recorder.count("notify.unplaced", len(lost))
        self._unplaced.add(len(lost), np.minimum(lost, self._recorder.stages.over_ns - 1), 0)
        return ToldColumns(*(column[placed] for column in columns)), done[placed]

    def _moments(self, done: NDArray[np.int64], latency: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where notifications belong whose schedule we do not know: when they came. After the end of the load, when
        they were due, if that was in it: a WLC that stood still at the end was as late as that. Where nobody knows when
        they were due, those of our own WLCs were in it, and what others sent was not.
        """
        over_ns = self._recorder.stages.over_ns
        if done[-1] < over_ns:  # the newest
            return done
        if not self._knows_latency:
            return np.minimum(done, over_ns - 1) if self._our_schedule else done
        due = done - latency
        tail = (done >= over_ns) & (due < over_ns)
        if count := np.count_nonzero(tail):
            self._tail.add(int(count), due[tail], 0)
        return np.where(tail, due, done)

    def _gather(
        self,
        subservice: NDArray[np.int64],
        times: NDArray[np.int64],
        latency: NDArray[np.int64],
        service: NDArray[np.int64],
    ) -> None:
        first = latency if self._knows_latency or self._since_first is not None else 0
        self._gathered.add(len(times), times, *((first, service) if self._tells_sent else (first,)))
        if self._by_service:
            for part in self._recorder.stages.split(times):
                self._record_services(subservice[part.rows], latency[part.rows], part.stage)

    def _record_doubtful(self, number: int, was: _Doubtful) -> None:
        """What an endpoint brought before was no duplicate; its clock has learned from what came since."""
        done_ns = was.done_ns + self._to_unix_ns
        offset = 0 if (clocks := self._recorder.clocks) is None else clocks.offset_of(number)
        latency, service = done_ns - was.due_ns + offset, done_ns - was.sent_ns + offset
        columns = [np.array([value], np.int64) for value in (was.subservice, done_ns, latency, service)]
        if self._since_first is not None:
            columns[2] = self._since_first.longer_ns(columns[2], np.array([number]), np.array([1]))
        known = self._our_schedule and self._knows_latency
        columns[1] = np.array([was.due_ns]) if known else self._moments(*columns[1:3])
        self._gather(*columns)

    def _record_services(self, subservice: NDArray[np.int64], latency: NDArray[np.int64], stage: str) -> None:
        for number in distinct(subservice).tolist():
            name = Subservice(number).name.lower()
            chosen = subservice == number
            came = int(np.count_nonzero(chosen))
            self._of_service[number] += came
            self._recorder.count(f"service.{name}.received", came)
            if self._knows_latency:
                self._recorder.record_column(f"service.{name}.latency", latency[chosen], stage)

    def _check_subservices(
        self, subservice: NDArray[np.int64], numbers: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """Returns: which were subscribed to; None: all were."""
        granted = self._granted[numbers]
        if len(numbers) != len(subservice):
            granted = np.repeat(granted, counts)
        if self._regrants:
            self._apply_regrants(granted, numbers, counts)
        wanted: NDArray[np.int64] = granted >> subservice & 1  # numpy shifts by too much to 0
        if not (wrong := len(subservice) - int(np.count_nonzero(wanted))):
            return None
        self._recorder.count("errors.stream.not_subscribed", wrong)
        return wanted.astype(bool)

    def _apply_regrants(
        self, granted: NDArray[np.int64], numbers: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> None:
        """What came before the response is judged by the old grant, and what came behind it by the new one."""
        ends = np.cumsum(counts)
        for number, granted_now, taken in self._regrants:
            self._granted[number] = mask = granted_now & MEASURED
            for index in np.flatnonzero(numbers == number).tolist():
                granted[max(taken, int(ends[index] - counts[index])) : int(ends[index])] = mask
        self._regrants.clear()

    def _check_sequence(
        self,
        columns: ToldColumns,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        ends: NDArray[np.int64] | None,
        done_ns: Sequence[int],
        wanted: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_] | None:
        """Args: wanted: which were subscribed to; None: all. Returns: of these, which are no duplicates; None: all."""
        if not self._reader.counts:
            self._expected[numbers] += counts
            return wanted
        expected = expected_of(self._expected[numbers], counts, ends)
        last_due_ns = columns.due_ns if ends is None else columns.due_ns[ends - 1]
        if self._checks or not np.array_equal(expected, columns.sequence):
            return self._check_one_by_one(columns, numbers.tolist(), counts.tolist(), done_ns, wanted)
        self._expected[numbers] += counts
        self._due_ns[numbers] = last_due_ns
        return wanted

    def _check_one_by_one(
        self,
        columns: ToldColumns,
        rows: Sequence[int],
        of_each: Sequence[int],
        done_ns: Sequence[int],
        wanted: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_] | None:
        if self.counting is not None:
            self.counting.tally.stop()
        new = np.ones(len(columns.sequence), bool)
        end = 0
        for number, count, done in zip(rows, of_each, done_ns, strict=True):
            mine = slice(end, end + count)
            end += count
            sequence, due_ns = columns.sequence[mine], columns.due_ns[mine]
            check = self._checks.get(number)
            if check is None:
                expected = int(self._expected[number])
                if np.array_equal(sequence, np.arange(expected, expected + count)):
                    self._expected[number] += count
                    self._due_ns[number] = due_ns[-1]
                    continue
                check = self._checks[number] = SequenceCheck(expected, int(self._due_ns[number]))
            # On the wire they have no sign.
            judged = check.take_all(sequence.view(np.uint64).tolist(), due_ns.tolist(), self._recorder.count, done)
            self._expected[number] = check.taken
            if judged.cleared and check.held is not None:
                self._record_doubtful(number, check.held)
            if judged.doubtful is not None:
                _, due, sent, subservice = (int(column[mine][judged.doubtful]) for column in columns)
                is_wanted = wanted is None or wanted[mine][judged.doubtful]
                check.held = _Doubtful(due, sent, subservice, done) if is_wanted else None
            new[mine] = judged.new
        if wanted is not None:
            new &= wanted
        return None if new.all() else new
