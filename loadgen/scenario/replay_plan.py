"""What a plan has of a capture that is replayed, and when each of its messages is due: arithmetic, as of any schedule.

Endpoint e plays track e mod T, again and again. A period of the capture is W slots, one for each message of each
endpoint, in the order of their times; a slot's place in the period, in slots of equal length, is where a schedule of
the same mean rate puts it. So stages, ramps and rates are those of any load, and at the rate at which it was recorded
everything is due when it was captured.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.distinct import distinct
from loadgen.scenario.schedule import RateStage, Schedule
from loadgen.units import NS_PER_S

Int64s = NDArray[np.int64]


class PlannedTrack(msgspec.Struct, frozen=True):
    """What one endpoint says.

    Attributes:
        label: the ends of the session that it was recorded in.
        messages, size: that it has in a period; the latter in bytes.
        times: when each is due in it, of `packed_times`.
    """

    label: str
    messages: int
    size: int
    times: bytes


class PlannedReplay(msgspec.Struct, frozen=True):
    """A capture, as far as it shapes a load.

    Attributes:
        capture: digest of what is played.
        period_ns: after so long it begins again.
        offered, granted: masks of the subservices that its WLCs offered, and that were granted.
        macs, aps: see `loadgen.replay.macs`: which space MACs are mapped in, and whether access points' are.
    """

    capture: str
    period_ns: int
    tracks: tuple[PlannedTrack, ...]
    offered: int
    granted: int
    macs: Literal["local", "oui"] = "local"
    aps: bool = False

    def messages(self, endpoints: int) -> int:
        """That so many endpoints have in a period."""
        return sum(track.messages * _players(self, index, endpoints) for index, track in enumerate(self.tracks))

    @property
    def total_bytes(self) -> int:
        """Of all frames."""
        return sum(track.size for track in self.tracks)

    @property
    def frame_bytes(self) -> float:
        """Of one, on average."""
        return self.total_bytes / sum(track.messages for track in self.tracks)

    def natural_per_s(self, endpoints: int) -> float:
        """Messages per second of so many endpoints, as it was recorded."""
        return self.messages(endpoints) * NS_PER_S / self.period_ns


def _players(replay: PlannedReplay, track: int, endpoints: int) -> int:
    return len(range(track, endpoints, len(replay.tracks)))


def packed_times(times: Int64s) -> bytes:
    """Times in order, in as few bytes as a plan can carry about."""
    return zlib.compress(np.diff(times, prepend=0).astype("<i8").tobytes(), 6)


def unpacked_times(packed: bytes) -> Int64s:
    """What `packed_times` was given."""
    return np.cumsum(np.frombuffer(zlib.decompress(packed), "<i8")).astype(np.int64)


class ReplaySchedule(Schedule):
    """Due times of what was recorded, of all endpoints.

    Attributes:
        slots, duration_ns, members: as of any schedule.
    """

    def __init__(self, stages: Sequence[RateStage], members: int, replay: PlannedReplay) -> None:
        super().__init__(stages, members)
        tracks = min(len(replay.tracks), members)
        self._tracks = tracks
        times = [unpacked_times(track.times) for track in replay.tracks[:tracks]]
        which = np.repeat(np.arange(tracks), [len(each) for each in times])
        order = np.argsort(np.concatenate(times), kind="stable")
        self._which = which[order]
        players = np.array([len(range(track, members, tracks)) for track in range(tracks)], np.int64)
        # Slots before each message of the period, and in all of it; where that is, as a share of the period in slots.
        weights = players[self._which]
        self._before = np.concatenate(([0], np.cumsum(weights)))
        self._period = int(self._before[-1])
        self._at = np.concatenate(times)[order] * (self._period / replay.period_ns)
        self._of_track = [np.flatnonzero(self._which == track) for track in range(tracks)]
        self._at_of_track = [self._at[each] for each in self._of_track]
        self._per_period = np.array([len(each) for each in self._of_track], np.int64)
        # The same for one at a time.
        self._befores: list[int] = self._before.tolist()
        self._ats: list[float] = self._at.tolist()
        self._messages: list[list[int]] = [each.tolist() for each in self._of_track]
        self.slots = 0  # of `count_at`
        self.slots = self._count_before(float(self._bases[-1]) - 1e-6)

    def _place(self, slot: int) -> float:
        """Where a slot is, in slots of equal length."""
        period, rest = divmod(slot, self._period)
        return period * self._period + self._ats[bisect_right(self._befores, rest) - 1]

    def _places(self, slots: Int64s) -> NDArray[np.float64]:
        period, rest = np.divmod(slots, self._period)
        places: NDArray[np.float64] = period * self._period + self._at[np.searchsorted(self._before, rest, "right") - 1]
        return places

    def _count_before(self, place: float) -> int:
        """How many slots are there or before."""
        period, rest = divmod(place, self._period)
        return int(period) * self._period + self._befores[bisect_right(self._ats, rest)]

    def due_ns(self, slot: int) -> int:
        return self._time_ns(self._place(slot))

    def due_column_ns(self, slots: Int64s) -> Int64s:
        return self._times_ns(self._places(slots))

    def count_at(self, time_ns: int) -> int:
        if time_ns < 0:
            return 0
        if time_ns >= self.duration_ns:
            return self.slots
        count = min(self.slots, self._count_before(self._place_at(time_ns)))
        # The estimate may be off by rounding; `due_ns` decides, so that the two never disagree.
        while count < self.slots and self.due_ns(count) <= time_ns:
            count = self._next(count)
        while count and self.due_ns(count - 1) > time_ns:
            count = self._last(count)
        return count

    def _next(self, slot: int) -> int:
        """Behind the slots that are due together with this one: those of one message."""
        period, rest = divmod(slot, self._period)
        return period * self._period + self._befores[bisect_right(self._befores, rest)]

    def _last(self, count: int) -> int:
        """The first of the slots of the message that the last of so many belongs to."""
        period, rest = divmod(count - 1, self._period)
        return period * self._period + self._befores[bisect_right(self._befores, rest) - 1]

    def turns(self, member: int, count: int) -> int:
        period, rest = divmod(count, self._period)
        message = bisect_right(self._befores, rest) - 1
        rank, track = divmod(member, self._tracks)
        told = self._messages[track]
        turns = period * len(told) + bisect_left(told, message)
        partly = rest - self._befores[message]  # of a message only some endpoints' slots
        return turns + (partly > rank and int(self._which[message]) == track)

    def turns_column(self, members: Int64s, count: int) -> Int64s:
        period, rest = divmod(count, self._period)
        message = bisect_right(self._befores, rest) - 1
        told = np.array([np.searchsorted(each, message) for each in self._of_track], np.int64)
        track, rank = members % self._tracks, members // self._tracks
        turns: Int64s = period * self._per_period[track] + told[track]
        if partly := rest - self._befores[message]:
            turns += (track == self._which[message]) & (rank < partly)
        return turns

    def slot(self, member: int, turn: int) -> int:
        rank, track = divmod(member, self._tracks)
        told = self._messages[track]
        period, rest = divmod(turn, len(told))
        return period * self._period + self._befores[told[rest]] + rank

    def slot_column(self, members: Int64s, turns: Int64s) -> Int64s:
        track = members % self._tracks
        period, rest = np.divmod(turns, self._per_period[track])
        message = np.empty(len(rest), np.int64)
        for each in distinct(track).tolist():
            chosen = track == each
            message[chosen] = self._of_track[each][rest[chosen]]
        slots: Int64s = period * self._period + self._before[message] + members // self._tracks
        return slots

    def due_of_turns_ns(self, member: int, turns: Int64s) -> Int64s:
        at = self._at_of_track[member % self._tracks]
        period, rest = np.divmod(turns, len(at))
        return self._times_ns(period * self._period + at[rest])

    def members_between(self, first: int, end: int) -> list[range]:
        """Those with a slot in `first` .. `end - 1`, a range for each track; none twice."""
        if end <= first:
            return []
        if end - first >= self._period:
            return [range(self.members)]
        begin = int(np.searchsorted(self._before, first % self._period, "right")) - 1
        stop = int(np.searchsorted(self._before, (end - 1) % self._period, "right"))
        # It may end in the message that it begins in, a period later.
        closes = (end - 1) // self._period > first // self._period
        spans = [self._which[begin:], self._which[:stop]] if closes else [self._which[begin:stop]]
        tracks = distinct(np.concatenate(spans)).tolist()
        if len(tracks) == self._tracks:
            return [range(self.members)]
        return [range(track, self.members, self._tracks) for track in tracks]
