"""When something happened, so often: for rates of what comes as it likes, and not by a schedule of ours."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from loadgen.units import NS_PER_S

# A moment, as it is handed in; far below the distance of handshakes at any rate.
MOMENT_NS = 1 << 17
# Moments that are kept of a run; where it has more, each becomes twice as long.
_MOST = 1 << 14
# Of the first and the last tenth nothing is said, so one that came late, or before all others, makes no rate; fewer
# than ten moments have no rate at all.
_LEAST = 10


class Moments:
    """How often it happened, by moments; of all workers."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._length_ns = MOMENT_NS

    def add(self, counts: Mapping[int, int]) -> None:
        """Args: counts: by number of the moment (of `MOMENT_NS`)."""
        for number, count in counts.items():
            moment = number * MOMENT_NS // self._length_ns
            self._counts[moment] = self._counts.get(moment, 0) + count
        while len(self._counts) > _MOST:
            self._length_ns *= 2
            finer, self._counts = self._counts, {}
            for moment, count in finer.items():
                self._counts[moment // 2] = self._counts.get(moment // 2, 0) + count

    def per_s(self) -> float | None:
        """The pace from the first tenth to the last: the number of distances between one and the next, by that time.

        None: there were too few, or all came at once.
        """
        moments = sorted(self._counts)
        until = list(accumulate(self._counts[moment] for moment in moments))
        if not until or until[-1] < _LEAST:
            return None
        skipped = -(-until[-1] // 10)
        first = next(i for i, count in enumerate(until) if count > skipped)
        last = next(i for i, count in enumerate(until) if count >= until[-1] - skipped)
        span_ns = (moments[last] - moments[first]) * self._length_ns
        return (until[-1] - 2 * skipped - 1) * NS_PER_S / span_ns if span_ns else None
