"""The hot path makes no object per message: what is allocated does not grow with the batch but for its columns."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from nmsp_samples import stations

import loadgen.nmsp.bulk as bulk
from loadgen.nmsp.bulk import Columns, NotifyReceiver
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.ring import NotifyRing, Timing

SMALL, LARGE = 64, 4096
# Readings of the stations: long runs of few sizes, so that what is counted per run does not hide what is per message.
ONE_SIZE = [4] * 512
THREE_SIZES = [0] * 200 + [3] * 200 + [11] * 112
COLUMN_BYTES = 4 * 8  # sequence, due_ns, sent_ns, subservice


class Cost(NamedTuple):
    """What one batch allocated in `nmsp.bulk`: live objects and bytes at its end, and the most bytes at any time."""

    objects: int
    bytes: int
    peak_bytes: int


@pytest.fixture(autouse=True)
def _quiet_memory() -> Iterator[None]:
    assert not tracemalloc.is_tracing()
    gc.collect()
    gc.disable()
    yield
    tracemalloc.stop()
    gc.enable()


class Batch:
    """Patch, hand over and read `count` notifications, as the two shards do."""

    def __init__(self, profile: WireProfile, count: int, readings: list[int]) -> None:
        owners, _ = stations(profile, readings)
        self.count = count
        self.ring = NotifyRing(profile, owners)
        self.receiver = NotifyReceiver(profile, profile.notify_bytes(max(readings)) * count)
        self.cursor = 0

    def run(self) -> Columns:
        receiver, position, left = self.receiver, 0, self.count
        receiver.reset()
        while left:
            view, sent = self.ring.patch(self.cursor, left, self.cursor, Timing(1 << 60, 1 << 60))
            end = position + len(view)
            receiver.view[position:end] = view
            assert receiver.scan_untrusted(position, end).notifications == sent
            position, left, self.cursor = end, left - sent, self.cursor + sent
        return receiver.columns()

    def cost(self) -> Cost:
        for _ in range(5):
            self.run()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        columns = self.run()
        _, peak = tracemalloc.get_traced_memory()
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, str(Path(bulk.__file__)))])
        tracemalloc.stop()
        assert len(columns.sequence) == self.count
        statistics = snapshot.statistics("filename")
        return Cost(sum(s.count for s in statistics), sum(s.size for s in statistics), peak - before)


@pytest.mark.parametrize("readings", [ONE_SIZE, THREE_SIZES], ids=["one size", "three sizes"])
def test_a_larger_batch_makes_no_more_objects(profile: WireProfile, readings: list[int]) -> None:
    small, large = (Batch(profile, count, readings).cost() for count in (SMALL, LARGE))
    # 4,032 messages more, and 8 times round the stations: a few numbers for each run of one size are allowed.
    assert abs(large.objects - small.objects) <= 3 * 9 * len(set(readings))
    grown = (LARGE - SMALL) * COLUMN_BYTES
    assert grown <= large.bytes - small.bytes <= grown + 4096


def test_the_peak_of_a_uniform_batch_is_its_columns(profile: WireProfile) -> None:
    """Not even for a moment an object per message: the smallest, with its place in a list, has 32 + 8 bytes."""
    small, large = (Batch(profile, count, ONE_SIZE).cost() for count in (SMALL, LARGE))
    per_message = (large.peak_bytes - small.peak_bytes) / (LARGE - SMALL)
    assert COLUMN_BYTES - 1 < per_message < COLUMN_BYTES + 16


def test_batches_leave_nothing_behind(profile: WireProfile) -> None:
    batch = Batch(profile, 512, THREE_SIZES)
    for _ in range(5):
        batch.run()
    tracemalloc.start()
    batch.run()
    gc.collect()  # CPython keeps up to 2,000 freed tuples of each size; a full collection lets them go
    first, _ = tracemalloc.get_traced_memory()
    for _ in range(50):
        batch.run()
    gc.collect()
    last, _ = tracemalloc.get_traced_memory()
    assert last - first < 4096  # 25,600 notifications later


def test_the_objects_that_one_list_per_batch_would_make_are_seen(profile: WireProfile) -> None:
    """The measurement itself can fail: the same batch, read one by one, is far above the limit."""

    class OneByOne(Batch):
        def run(self) -> Columns:
            columns = super().run()
            self.kept = columns.sequence.tolist()
            return columns

    batch = OneByOne(profile, LARGE, ONE_SIZE)
    batch.cursor = 10**6
    assert batch.cost().peak_bytes > LARGE * (COLUMN_BYTES + 32)
