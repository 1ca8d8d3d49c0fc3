"""HdrHistogram: every duration of a run, in ns, to three significant digits. The only importer of `hdrh`.

`hdrh.record_value` costs about a microsecond, so nothing calls it per message. A `Bins` column counts in numpy by
HdrHistogram's own bucket index; when an interval ends, each distinct bucket goes into a histogram once, with its count.
"""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from loadgen.measure.encoded import BINS, DIGITS, HIGHEST_NS, LOWEST_NS, MAX_COUNT, TOO_MANY, bins_and_counts
from loadgen.native.columns import counter

# HdrHistogram's layout for three digits: 2048 sub-buckets of unit size, then 1024 per doubling.
_SUB_BUCKETS = 2048
_HALF_BITS = 10
# IEEE 754 double: 52 bits of mantissa, exponent biased by 1023. 1024 has index 1024.
_MANTISSA_BITS = 52
_LEADING_OFFSET = ((1023 + _HALF_BITS) << _HALF_BITS) - (1 << _HALF_BITS)
_STAGE_ROWS = 16384
# Fewer values than that are counted one by one, instead of in columns as long as all buckets.
_FEW = 512
# By the native turn, that much is not worth a call.
_FEW_NATIVE = 64
_CURVE_PER_DECADE = 20

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}


def samples_for(statistic: str) -> int:
    """Of how many samples at least a percentile is more than the largest but by another name; 1 for other figures."""
    percent = PERCENTILES.get(statistic)
    return 1 if percent is None else parts_of(percent)


def parts_of(percent: float) -> int:
    """How many samples a percentile takes (100: the maximum, which takes one)."""
    return 1 if percent >= 100 else math.ceil(round(100 / (100 - percent), 6))


class Spread(msgspec.Struct, frozen=True):
    """A distribution (ns) as verdicts look at it; None with too few samples for a percentile."""

    count: int = 0
    p50: int | None = None
    p90: int | None = None
    p99: int | None = None

    def highest(self) -> tuple[str, int]:
        """The highest percentile that there are samples enough for: its name and value; "" and 0 if there is none."""
        found = (("p99", self.p99), ("p90", self.p90), ("p50", self.p50))
        return next(((name, ns) for name, ns in found if ns is not None), ("", 0))


class MetricSummary(msgspec.Struct, frozen=True):
    """One duration metric of a result.

    Attributes:
        p50, p90, p95, p99, p99_9: None with fewer samples than `samples_for` asks for, however the summary came about:
            a result that was saved with such a figure is read without it.
    """

    unit: str
    count: int
    min: int
    mean: float
    p50: int | None
    p90: int | None
    p99: int | None
    p99_9: int | None
    max: int
    p95: int | None = None

    def __post_init__(self) -> None:
        for statistic in PERCENTILES:
            if self.count < samples_for(statistic):
                msgspec.structs.force_setattr(self, statistic, None)


class Filled(NamedTuple):
    """A histogram as small as what is in it: a `Histogram` has 270 kB, however few values.

    Attributes:
        bins: those that are not empty, in order.
        counts: what each of them holds.
        total: all of them together.
        encoded: as it came.
    """

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    total: int
    encoded: bytes

    @classmethod
    def of_untrusted(cls, encoded: bytes) -> Filled:
        """Decode one of whoever's.

        Raises:
            ValueError: it is none, or not one of ns to three digits; the message says what it is.
        """
        return cls.of_all_untrusted({"": encoded})[""]

    @classmethod
    def of_all_untrusted(cls, encoded: Mapping[str, bytes]) -> dict[str, Filled]:
        """Decode many, by their tags; see `of_untrusted`."""
        decoded = bins_and_counts(list(encoded.values()))
        return {tag: cls(*found, encoded[tag]) for tag, found in zip(encoded, decoded, strict=True)}


class Histogram:
    """A mergeable histogram of ns.

    Attributes:
        count: of all values.
    """

    def __init__(self) -> None:
        self._hdr = _freed_at_once(HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS))
        self._counts = np.frombuffer(self._hdr.counts, np.int64)
        # hdrh knows the least and the greatest value besides, and is told of them when it is asked for something.
        self.count = 0
        self._first, self._last = BINS, -1
        self._told = True

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> Histogram:
        """A histogram with these counts, by HdrHistogram's own index, of which at least one is not 0.

        Cost: 20 us. Recording some thousand distinct values one by one takes 7 ms, in which nothing would be sent.
        """
        filled = _filled(counts)
        histogram = cls()
        histogram.set_counts(counts, filled)
        return histogram

    def set_counts(self, counts: NDArray[np.int64], filled: NDArray[np.int64]) -> None:
        """Hold these counts and no others. Args: filled: the indexes of those that are not 0; there is one."""
        self._counts[:] = counts
        self.count = int(counts[filled].sum())
        self._first, self._last = int(filled[0]), int(filled[-1])
        self._told = False

    def _known(self) -> HdrHistogram:
        """hdrh's, as it should be."""
        if not self._told:
            self._hdr.set_internal_tacking_values(self._first, self._last, self.count)
            self._told = True
        return self._hdr

    @property
    def max_ns(self) -> int:
        return int(self._known().get_max_value())

    def merge(self, encoded: bytes) -> None:
        """Add an encoded histogram, without loss."""
        self.fill(Filled.of_untrusted(encoded))

    def fill(self, more: Filled) -> None:
        """Add what was decoded, without loss. Cost: that of its bins, 5 us of some hundred."""
        if more.total:
            self._counts[more.bins] += more.counts
            self._grow(more.total, int(more.bins[0]), int(more.bins[-1]))

    def add(self, other: Histogram) -> None:
        """Add another histogram, without loss."""
        if other.count:
            self._counts += other._counts
            self._grow(other.count, other._first, other._last)

    def _grow(self, count: int, first: int, last: int) -> None:
        self.count += count
        self._first, self._last = min(self._first, first), max(self._last, last)
        self._told = False

    def merge_untrusted(self, encoded: bytes) -> None:
        """Add a histogram from a file: checked before anything is allocated for it.

        Raises:
            ValueError: it is none, or not one of ns to three digits; the message says what it is.
        """
        more = Filled.of_untrusted(encoded)
        if self.count + more.total > MAX_COUNT:
            raise ValueError(TOO_MANY)
        self.fill(more)

    def encode(self) -> bytes:
        """The standard compressed V2 encoding, in base64."""
        return bytes(self._known().encode())

    def percentiles(self, *percents: float) -> tuple[int | None, ...]:
        """Values in ns at the given percentiles; None for those that take more samples than there are."""
        if self.count < min(map(parts_of, percents)):
            return (None,) * len(percents)
        reached = np.cumsum(self._counts)
        return tuple(None if self.count < parts_of(p) else self._value_at(p, reached) for p in percents)

    def curve(self) -> list[tuple[float, int, int]]:
        """Points of a percentile plot: percentile, its value in ns, and how many of all samples are not above that.

        Points are even in 1 / (1 - percentile), which is what the x axis of such a plot shows, and go as far as there
        are samples for; the last is the maximum.
        """
        if not self.count:
            return []
        reached = np.cumsum(self._counts)
        steps = math.ceil(math.log10(self.count) * _CURVE_PER_DECADE)
        median = {50.0} if self.count >= parts_of(50.0) else set()
        percents = sorted(median | {100.0 - 100.0 / 10 ** (step / _CURVE_PER_DECADE) for step in range(steps)})
        values = [self._value_at(percent, reached) for percent in percents]
        counts = reached[bin_of(np.minimum(np.array(values, np.int64), HIGHEST_NS))]
        points = list(zip(percents, values, counts.tolist(), strict=True))
        return [*points, (100.0, self.max_ns, self.count)]

    def buckets(self) -> tuple[list[int], list[int]]:
        """Every value that was recorded (ns, the highest of its bucket), and how often."""
        counts = self._counts
        filled = _filled(counts)
        return highest_of(filled).tolist(), counts[filled].tolist()

    def _mean(self) -> float:
        # hdrh's get_mean_value, which takes a Python step for each bucket: of some thousands, that is milliseconds.
        if not self.count:
            return 0.0
        counts = self._counts
        filled = _filled(counts)
        lowest, size = _lowest_of(filled)
        # In Python's integers: the sum of a long run has more than 64 bits.
        total: int = sum(map(operator.mul, (lowest + (size >> 1)).tolist(), counts[filled].tolist()))
        return total / self.count

    def _value_at(self, percent: float, reached: NDArray[np.int64]) -> int:
        # The definition of HdrHistogram's Java original and of its JavaScript port: the count is rounded up, less one
        # ulp. hdrh rounds it to the nearest, and so reports a lower value where there are few samples.
        wanted = max(1, math.ceil(math.nextafter(percent / 100 * self.count, 0)))
        value = self._hdr.get_value_from_index(int(np.searchsorted(reached, wanted)))
        return int(self._hdr.get_highest_equivalent_value(value))

    def spread(self) -> Spread:
        """What verdicts look at."""
        return Spread(self.count, *self.percentiles(50.0, 90.0, 99.0))

    def summary(self) -> MetricSummary:
        """The figures that result.json shows."""
        values = self.percentiles(*PERCENTILES.values())
        return MetricSummary(
            unit="ns",
            count=self.count,
            min=int(self._known().get_min_value()),
            mean=self._mean(),
            max=self.max_ns,
            **dict(zip(PERCENTILES, values, strict=True)),
        )


def _filled(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of them are not 0. numpy looks through truth values in a third of the time that integers take."""
    return np.flatnonzero(counts != 0)


def _freed_at_once(hdr: HdrHistogram) -> HdrHistogram:
    """hdrh's histogram and its encoder refer to each other: one that is not needed any more would wait, with its 270
    kB, for a garbage collection that its few objects hardly ever bring about.
    """
    hdr.encoder.histogram = weakref.proxy(hdr)
    return hdr


def merged(parts: Iterable[Filled]) -> Histogram:
    """What was decoded, as one."""
    histogram = Histogram()
    for filled in parts:
        histogram.fill(filled)
    return histogram


class Bins:
    """Counts by HdrHistogram bucket, filled in bulk.

    Attributes:
        clamped: values below 0 (clocks that disagree) or above HIGHEST_NS so far; true after `take`.
    """

    __slots__ = ("_counter", "_counts", "_stage", "_staged", "clamped")

    def __init__(self) -> None:
        self._counter = counter()
        self._counts = np.zeros(BINS, np.int64)
        # Counting costs as much for one value as for some thousands (there are 34,000 buckets), so columns wait here.
        self._stage = np.empty(_STAGE_ROWS, np.int64)
        self._staged = 0
        self.clamped = 0

    def add(self, values_ns: NDArray[np.int64]) -> None:
        """Count every value of a column."""
        end = self._staged + len(values_ns)
        if self._counter is not None and len(values_ns) >= _FEW_NATIVE:
            self._count(values_ns)
            return
        if end > _STAGE_ROWS:
            self._count_staged()
            end = len(values_ns)
            if end > _STAGE_ROWS:
                self._count(values_ns)
                return
        self._stage[self._staged : end] = values_ns
        self._staged = end

    def add_one(self, value_ns: int) -> None:
        """Count one value (of at most 64 bits)."""
        if self._staged == _STAGE_ROWS:
            self._count_staged()
        self._stage[self._staged] = value_ns
        self._staged += 1

    def add_same(self, value_ns: int, count: int) -> None:
        """Count one value so often."""
        inside = min(max(value_ns, 0), HIGHEST_NS)
        self.clamped += count * (inside != value_ns)
        coarse = max(0, inside.bit_length() - 1 - _HALF_BITS)
        self._counts[(coarse << _HALF_BITS) + (inside >> coarse)] += count

    def add_counts(self, counts: NDArray[np.int64]) -> None:
        """Count what was counted elsewhere. Args: counts: by HdrHistogram's index."""
        self._counts += counts

    def _count_staged(self) -> None:
        self._count(self._stage[: self._staged])
        self._staged = 0

    def _count(self, values_ns: NDArray[np.int64]) -> None:
        if self._counter is not None:
            self.clamped += self._counter(self._counts, values_ns, HIGHEST_NS)
            return
        inside = np.clip(values_ns, 0, HIGHEST_NS)
        self.clamped += int(np.count_nonzero(inside != values_ns))
        if len(values_ns) < _FEW:
            np.add.at(self._counts, bin_of(inside), 1)
        else:
            self._counts += np.bincount(bin_of(inside), minlength=BINS)

    def take(self) -> Histogram | None:
        """What was counted since the last call, or None if that was nothing."""
        self._count_staged()
        filled = _filled(self._counts)
        if not len(filled):
            return None
        histogram = Histogram.of_counts(self._counts)
        self._counts[:] = 0
        return histogram

    def take_encoded(self) -> bytes | None:
        """`take`, encoded.

        Cost: 0.2 ms; with a histogram made for the purpose it would be twice as much. A worker that asks requests of
        all kinds has two dozen of these to hand in every second, while nothing is sent.
        """
        self._count_staged()
        filled = _filled(self._counts)
        if not len(filled):
            return None
        scratch = _scratch()
        scratch.set_counts(self._counts, filled)
        self._counts[filled] = 0
        return scratch.encode()


@cache
def _scratch() -> Histogram:
    return Histogram()


def bin_of(values_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """HdrHistogram's counts index of each value (0 to HIGHEST_NS)."""
    # A double's upper bits are exponent and leading digits, which is what the index is made of; exact, because
    # HIGHEST_NS is below 2^53. Small values are their own index.
    leading = values_ns.astype(np.float64).view(np.int64) >> (_MANTISSA_BITS - _HALF_BITS)
    return np.where(values_ns < 1 << _HALF_BITS, values_ns, leading - _LEADING_OFFSET)


def highest_of(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """The highest value (ns) that `bin_of` puts into each bin."""
    lowest, size = _lowest_of(bins)
    highest: NDArray[np.int64] = lowest + size - 1
    return highest


def _lowest_of(bins: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lowest value of each bin, and how many values it has."""
    half = 1 << _HALF_BITS
    # Each bucket is twice as coarse as the one before, and has `half` bins; the first one has twice as many.
    coarse = np.maximum((bins >> _HALF_BITS) - 1, 0)
    within = np.where(bins < half, bins, (bins & (half - 1)) + half)
    return within << coarse, np.left_shift(1, coarse)
