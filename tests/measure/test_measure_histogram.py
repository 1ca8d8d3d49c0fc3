"""Counting in bulk gives, to the byte, what HdrHistogram gives value by value."""

from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from measure_samples import HOUR_NS, REPEATABLE, durations, plain_histogram

from loadgen.measure.encoded import DIGITS, HIGHEST_NS, LOWEST_NS
from loadgen.measure.histogram import Bins, Histogram, bin_of, highest_of
from loadgen.native.library import SWITCH, native, standing

BORDERS = sorted(
    {
        value
        for power in range(43)
        for value in ((1 << power) - 1, 1 << power, (1 << power) + 1, 3 << max(power - 1, 0))
        if value <= HOUR_NS
    }
    | {HOUR_NS - 1, HOUR_NS}
)


def encoded(values: list[int]) -> bytes:
    return bytes(plain_histogram(values).encode())


def bulk(values: list[int]) -> bytes:
    bins = Bins()
    bins.add(np.array(values, np.int64))
    histogram = bins.take()
    assert histogram is not None
    assert bins.clamped == 0
    return histogram.encode()


def singly(values: list[int]) -> bytes:
    bins = Bins()
    for value in values:
        bins.add_one(value)
    histogram = bins.take()
    assert histogram is not None
    return histogram.encode()


@given(st.lists(st.integers(0, HOUR_NS) | st.integers(0, 5000) | st.sampled_from(BORDERS), min_size=1, max_size=60))
@REPEATABLE
def test_bulk_equals_one_by_one(values: list[int]) -> None:
    assert bulk(values) == singly(values) == encoded(values)


def test_a_large_column() -> None:
    values = durations(1, 20_000).tolist()
    assert bulk(values) == encoded(values)


@pytest.mark.parametrize(
    "value", [-1, 0, 1, 1023, 1024, 2047, 2048, 2049, 4095, 4096, 10**9, HIGHEST_NS, HIGHEST_NS + 1]
)
def test_the_same_value_so_often_is_a_column_of_it(value: int) -> None:
    one, other = Bins(), Bins()
    one.add_same(value, 3)
    other.add(np.full(3, value, np.int64))
    assert one.take_encoded() == other.take_encoded()
    assert one.clamped == other.clamped


@pytest.mark.parametrize("value", BORDERS)
def test_at_the_borders_of_the_buckets(value: int) -> None:
    assert bulk([value]) == singly([value]) == encoded([value])


def test_bins_never_go_down_and_are_narrower_than_a_thousandth() -> None:
    values = np.array(BORDERS, np.int64)
    bins = bin_of(values)
    assert np.all(np.diff(bins) >= 0)
    assert bins[-1] < HdrHistogram(1, HOUR_NS, 3).counts_len
    assert bin_of(np.arange(2048)).tolist() == list(range(2048))  # exact as long as three digits are
    for value in (2048, 10**4, 10**6, 10**9, 10**12):
        same = bin_of(np.arange(value - 2000, value + 2000))
        width = int(np.count_nonzero(same == same[2000]))
        assert width <= min(4000, value // 1000)


def test_what_does_not_fit_is_clamped_and_counted() -> None:
    bins = Bins()
    bins.add(np.array([-5, 7, HOUR_NS + 1, -(1 << 62), 1 << 62, HOUR_NS, 0], np.int64))
    bins.add_one(-1)
    bins.add_one(HOUR_NS + 1)
    bins.add_one(7)
    histogram = bins.take()
    assert histogram is not None
    assert histogram.encode() == encoded([0, 7, HOUR_NS, 0, HOUR_NS, HOUR_NS, 0, 0, HOUR_NS, 7])
    assert bins.clamped == 6
    assert bins.take() is None
    assert bins.clamped == 6  # of the whole run, not of the interval


def test_taking_starts_over() -> None:
    bins = Bins()
    assert bins.take() is None
    bins.add(np.array([5, 5], np.int64))
    first = bins.take()
    assert first is not None
    assert first.count == 2
    assert bins.take() is None
    bins.add_one(9)
    second = bins.take()
    assert second is not None
    assert second.encode() == encoded([9])


def test_an_empty_column_counts_nothing() -> None:
    bins = Bins()
    bins.add(np.array([], np.int64))
    assert bins.take() is None
    assert bins.clamped == 0


# -- merging and figures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
@pytest.mark.parametrize("lowest", [0, 1, 777_777])
def test_parts_merged_are_the_whole(parts: int, lowest: int) -> None:
    values = np.maximum(durations(parts, 4000), lowest)
    whole, merged = Histogram(), Histogram()
    whole.merge(bulk(values.tolist()))
    for part in range(parts):
        merged.merge(bulk(values[part::parts].tolist()))
    assert merged.encode() == whole.encode() == encoded(values.tolist())
    assert merged.summary() == whole.summary()
    assert merged.count == 4000
    assert merged.summary().min <= int(values.min()) < merged.summary().min * 1.001 + 1


def test_the_minimum_survives_an_empty_start() -> None:
    """hdrh's own add() takes the minimum of an empty histogram for 0."""
    histogram = Histogram()
    histogram.merge(Histogram().encode())
    histogram.merge(bulk([5000, 9000]))
    assert histogram.summary().min == plain_histogram([5000]).get_min_value() > 0
    assert histogram.count == 2


def test_figures_are_those_of_the_values() -> None:
    values = np.sort(durations(3, 10_000))
    histogram = Histogram()
    histogram.merge(bulk(values.tolist()))
    summary = histogram.summary()
    assert (summary.unit, summary.count) == ("ns", 10_000)
    for percent, figure in ((50, summary.p50), (90, summary.p90), (99, summary.p99), (99.9, summary.p99_9)):
        rank = values[int(10_000 * percent / 100) - 1]
        assert figure == pytest.approx(int(rank), rel=0.001, abs=1)
    assert summary.mean == pytest.approx(float(values.mean()), rel=0.001)
    assert summary.max == pytest.approx(int(values[-1]), rel=0.001)
    assert summary.min <= values[0]
    assert summary.min <= summary.p50 <= summary.p90 <= summary.p99 <= summary.p99_9 <= summary.max
    assert histogram.percentiles(50.0, 99.9) == (summary.p50, summary.p99_9)


def test_nothing_recorded_is_zeros_and_no_percentile() -> None:
    histogram = Histogram()
    assert histogram.percentiles(50.0, 99.0) == (None, None)
    assert (histogram.count, histogram.max_ns) == (0, 0)
    summary = histogram.summary()
    assert (summary.count, summary.min, summary.mean, summary.p99, summary.max) == (0, 0, 0.0, None, 0)
    assert histogram.curve() == []


def test_the_highest_value_of_every_bin_is_hdrs() -> None:
    hdr = HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
    bins = np.arange(hdr.counts_len)
    theirs = [hdr.get_highest_equivalent_value(hdr.get_value_from_index(index)) for index in bins.tolist()]
    assert highest_of(bins).tolist() == theirs
    inside = bins[np.array(theirs) <= HIGHEST_NS]
    assert bin_of(highest_of(inside)).tolist() == inside.tolist()


@REPEATABLE
@given(st.lists(st.integers(0, HIGHEST_NS), min_size=1, max_size=300))
def test_the_mean_is_hdrs(values: list[int]) -> None:
    hdr = HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
    bins = Bins()
    bins.add(np.array(values, np.int64))
    for value in values:
        hdr.record_value(value)
    histogram = bins.take()
    assert histogram is not None
    assert histogram.summary().mean == hdr.get_mean_value()


@pytest.mark.parametrize(
    ("count", "highest"),
    [(0, ("", 0)), (1, ("", 0)), (2, ("p50", 1)), (10, ("p90", 9)), (60, ("p90", 54)), (100, ("p99", 99))],
)
def test_verdicts_look_at_the_highest_percentile_that_is_one(count: int, highest: tuple[str, int]) -> None:
    histogram = Histogram()
    if count:
        histogram.merge(encoded([*range(1, count + 1)]))
    assert histogram.spread().count == count
    assert histogram.spread().highest() == highest


@pytest.mark.skipif(native() is None, reason=f"no native turn: {standing()}")
@pytest.mark.parametrize("length", [1, 63, 64, 700, 40_000])
def test_the_native_turn_counts_as_python_does(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From below 0 to above the highest, around every bucket's ends, and a column that is no neighbour of itself."""
    rng = np.random.default_rng(length)
    edges = (1 << rng.integers(0, 63, length)) + rng.integers(-2, 3, length)
    far = rng.integers(-(1 << 62), 1 << 62, length)
    column = np.where(rng.random(length) < 0.9, edges, far)
    found = []
    for switch in "01":
        monkeypatch.setenv(SWITCH, switch)
        bins = Bins()
        bins.add(column)
        bins.add(np.repeat(column, 2)[::2])
        bins.add_one(int(column[0]))
        histogram = bins.take()
        assert histogram is not None
        found.append((bins.clamped, histogram.buckets()))
    assert found[0] == found[1]
