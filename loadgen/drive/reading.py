"""How late a worker reads: from when the kernel had received something until we did, of reads chosen by chance.

The kernel tells when the last packet of what is to be read next came. Packets of a connection that wait are made one:
where more waits than is read at once, this is the age of the newest, and how old the oldest may be follows from how
long we were ready to run and were not let, which the scheduler tells, and from how long what was read before it had
waited, whatever kept us from reading it. A lag counts as often as notifications came since the one before that was
looked at: in a burst fewer of all reads are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from random import Random

import numpy as np

from loadgen.clock import Nanoseconds
from loadgen.drive.links import Link, LinkT, Reads
from loadgen.measure.recorder import Recorder
from loadgen.transport.waiting import Waiting
from loadgen.units import NS_PER_MS, NS_PER_S

# About 50 reads are looked at in a second: enough for a p99 of a hold of 2 s. Each costs some 20 us, and its turn's two
# looks at the scheduler as much again: four times as many took 9 % of a worker that receives 2,000 notifications/s.
_WINDOW_NS = NS_PER_S // 2
_QUOTA = 25
_HANDSHAKE_QUOTA = 100
# A thread that waited for the scheduler for less than that in a turn was not held up.
_LEAST_HELD_NS = NS_PER_MS // 5
# A read that waited for longer than that tells that we were held up, too. Below, no verdict looks at it.
_LEAST_TOLD_NS = 5 * NS_PER_MS
# A turn that takes so long was stopped in its middle, or has so much to do: what comes meanwhile waits either way.
_LONG_TURN_NS = 20 * NS_PER_MS
# To read what came meanwhile takes as long at most; what waits then has come since.
_CATCHING_UP = 2
# A turn's reads weigh as much in what is usual. Where fewer than one turn in 20 reads anything (a WLC that sends), what
# waits is one packet, whose age the kernel tells: the scheduler need not be asked in every turn.
_RECENT, _RARE = 1 / 16, 1 / 20
_NONE: tuple[int, ...] = ()


class Sampling:
    """Which of many to look at: as many as the quota by chance in each window, of late ones as many as of others.

    Args:
        quota: of half a second; twice as many, where they suddenly become more.
    """

    def __init__(self, quota: int) -> None:
        self._quota = quota
        self._random = Random(0)
        self._stride = 1
        self._skip = self._taken = self._window_ns = 0
        self._reads = 0
        self._usual = 1.0  # how many reads a turn has, of late

    def pick(self, count: int, now_ns: Nanoseconds) -> Sequence[int]:
        """Indexes among the next `count` reads, or whatever it is."""
        self._reads += count
        if self._skip >= count:
            self._skip -= count
            return _NONE
        if (now := now_ns()) >= self._window_ns:
            # Reads may have become rare: as far as the quota was not used up, they are looked at more often again.
            if self._taken < self._quota // 4:
                self._stride = max(1, self._stride // 2)
            self._window_ns, self._taken = now + _WINDOW_NS, 0
        picked, index = [], self._skip
        while index < count:
            picked.append(index)
            index += self._random.randint(1, 2 * self._stride - 1)
            self._taken += 1
            if self._taken == self._quota:
                self._stride, self._taken = 2 * self._stride, 0
        self._skip = index - count
        return picked

    def passes(self, count: int) -> bool:
        """Whether none of the next `count` is to be looked at; otherwise it is for `pick` to say which."""
        if self._skip < count:
            return False
        self._reads += count
        self._skip -= count
        return True

    def turn_ends(self) -> bool:
        """A turn is over; whether one of the next has a read to look at."""
        self._usual += (self._reads - self._usual) * _RECENT
        self._reads = 0
        return self._usual > _RARE and self._skip <= 2 * self._usual

    def between(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


class ReadLag:
    """Records `generator.read_lag` of a shard."""

    def __init__(self, recorder: Recorder, clock: Nanoseconds, scheduler_delay_ns: Nanoseconds | None = None) -> None:
        self._recorder = recorder
        self._clock = clock
        self._delay_ns = scheduler_delay_ns or SchedulerDelay()
        self._sampling = Sampling(_QUOTA)
        self._before_ns: int | None = None  # the scheduler's delay when the last turn ended
        self._began_ns: int | None = None  # the present turn, or the last one
        self._long_ns = 0  # how long the last turn was, if that was long
        # The last time for which we were held up, as long as what came meanwhile is being read.
        self._held_from_ns, self._held_ns = 0, 0
        self._since = 0  # notifications, since a read was looked at
        self._newest_ns = self._oldest_ns = 0  # the lags of what the last look was at

    def turn_begins(self, late_ns: int = 0) -> None:
        """What has come since the last turn ended is about to be read. Args: late_ns: of this turn, see `Loop`."""
        now = self._clock()
        held = 0 if self._before_ns is None else self._delay_ns() - self._before_ns
        if held > _LEAST_HELD_NS or late_ns > _LEAST_TOLD_NS or self._long_ns:
            self._hold_up(now, max(held, late_ns, self._long_ns))
        self._began_ns = now

    def _hold_up(self, now_ns: int, held_ns: int) -> None:
        self._held_from_ns, self._held_ns = now_ns - held_ns, held_ns

    def turn_ends(self) -> None:
        self._before_ns = self._delay_ns() if self._sampling.turn_ends() else None
        self._long_ns = self._turn_ns(self._clock())

    def _turn_ns(self, now_ns: int) -> int:
        """How long the present turn is so far; 0 if that is as usual."""
        length_ns = 0 if self._began_ns is None else now_ns - self._began_ns
        return length_ns if length_ns > _LONG_TURN_NS else 0

    def read(
        self, links: list[LinkT], late_ns: int, read_each: Callable[[list[LinkT]], None], reads: Reads[LinkT]
    ) -> int:
        """Read all links, and look at some; returns the longest lag of these.

        Args:
            late_ns: of the loop's turn; all that is known where the kernel does not tell.
            read_each: reads links, in a row; reads: what it fills.
        """
        longest = 0
        for first, end, lag_ns in self.parts(len(links), links.__getitem__, late_ns):
            read_each(links[first:end])
            if lag_ns is None:
                continue
            longest = max(longest, lag_ns)
            if links[first].read:  # what it has brought will show: see `settle`
                reads.lags.append((len(reads.links) - 1, lag_ns))
            else:
                self._recorder.record_now("generator.read_lag", lag_ns, self._clock())
        return longest

    def parts(
        self, count: int, link_of: Callable[[int], Link | None], late_ns: int
    ) -> Iterator[tuple[int, int, int | None]]:
        """All of so many reads, in their order, as [first, end); one that is looked at is, when its turn has come, a
        part by itself, with its lag. Args: late_ns: as of `read`.
        """
        done = 0
        for index in self._sampling.pick(count, self._clock):
            if index > done:
                yield done, index, None
            done, link = index + 1, link_of(index)
            if link is None or link.tunnel is None:
                yield index, done, None
            else:
                yield index, done, self.look(link.tunnel.waiting(), late_ns, link.rested_ns)
        if done < count:
            yield done, count, None

    def looks_at_none(self, count: int) -> bool:
        """Whether none of the next `count` reads is looked at; otherwise they are for `parts`."""
        return self._sampling.passes(count)

    def look(self, waiting: Waiting | None, late_ns: int, rested_ns: int = 0) -> int:
        """A read is about to be done; returns its lag.

        Args:
            waiting: what will be read; None: see `read`.
            rested_ns: when we would have read it at the earliest.
        """
        lag, now = late_ns, self._clock()
        self._newest_ns = self._oldest_ns = 0
        if waiting is not None:
            if (turn_ns := self._turn_ns(now)) > (now - self._held_from_ns if self._held_ns else 0):
                self._hold_up(now, turn_ns)
            lag = min(waiting.newest_ns, max(0, now - rested_ns))
            oldest = now - self._held_from_ns
            if waiting.more and lag > max(_LEAST_TOLD_NS, oldest if self._held_ns else 0):
                self._hold_up(now, lag)
            elif not waiting.more or oldest > _CATCHING_UP * self._held_ns:
                self._held_ns = 0
            elif lag < oldest:
                self._newest_ns, self._oldest_ns = lag, oldest
                lag = self._sampling.between(lag, oldest)
        return lag

    def settle(self, reads: Reads[LinkT], counts: Sequence[int]) -> None:
        """What was read is taken. Args: counts: how many notifications each read has brought."""
        done = 0
        for row, lag_ns in reads.lags:
            self.brought(sum(counts[done : row + 1]))
            self.tell(lag_ns, reads.times_ns[row])
            done = row + 1
        self.brought(sum(counts[done:]))

    def brought(self, notifications: int) -> None:
        """Reads have, of whom none was looked at but perhaps the last."""
        self._since += notifications

    def tell(self, lag_ns: int, came_ns: int) -> None:
        """The last read was looked at. Args: lag_ns: see `parts`; came_ns: when it was done."""
        self._recorder.record_now("generator.read_lag", lag_ns, came_ns, max(1, self._since))
        self._since = 0

    def tell_all(self, lag_ns: int, came_ns: int, brought: int) -> None:
        """The same, of a read that took all that waited: where we were held up, that came in all of the time.

        Args:
            brought: how many notifications it took.
        """
        if not self._oldest_ns:
            self.tell(lag_ns, came_ns)
            return
        lags = self._oldest_ns - (self._oldest_ns - self._newest_ns) * np.arange(brought) // max(1, brought)
        self._recorder.record_column_now("generator.read_lag", lags, came_ns)
        self._since -= brought
        if self._since or not brought:
            self.tell(lag_ns, came_ns)


class HandshakeLag:
    """Records how late we read a handshake's messages, all together, of handshakes chosen by chance.

    A look costs 6 us, a handshake has two, and takes 400: where there are many, some 200 a second tell as much.
    """

    def __init__(self, recorder: Recorder, metric: str, clock: Nanoseconds) -> None:
        self._recorder = recorder
        self._clock = clock
        self._metric = metric
        self._sampling = Sampling(_HANDSHAKE_QUOTA)

    def begins(self, link: Link) -> None:
        """Choose."""
        link.waited_ns = 0 if self._sampling.pick(1, self._clock) else None

    def message(self, link: Link) -> None:
        """What the peer has sent of it is about to be read."""
        if link.waited_ns is None or link.tunnel is None:
            return
        if (waiting := link.tunnel.waiting()) is not None:
            link.waited_ns += min(waiting.newest_ns, max(0, self._clock() - link.rested_ns))

    def done(self, link: Link) -> None:
        """The tunnel is up."""
        if link.waited_ns is not None:
            self._recorder.record(self._metric, link.waited_ns, link.stage)


class SchedulerDelay:
    """For how long (ns) this thread was ready to run so far, and was not let; always 0 where nobody tells."""

    def __init__(self) -> None:
        try:
            self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def __call__(self) -> int:
        if self._fd < 0:
            return 0
        return int(os.pread(self._fd, 96, 0).split()[1])

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
