"""Sums of waits, whatever a peer makes up."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from loadgen.measure.recorder import Recorder
from loadgen.measure.waits import Waited, Waits

MS = 10**6


@pytest.mark.parametrize("sign", [-1, 1])
def test_times_that_a_peer_makes_up_go_into_a_message(sign: int) -> None:
    """Centuries each, and thousands of them: what a worker hands in can be sent, and be read."""
    waits = Waits(0)
    for number in range(5000):
        waits.add_one(number, sign * (1 << 61))
    due = np.arange(64, dtype=np.int64)
    waits.add(due, np.full(64, sign << 50, np.int64), 0, 63)
    waited = waits.waited()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(waited), type=Waited) == waited
    assert sum(waited.counts) == 5064
    assert sign * waited.sums[0] > 0


HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize(
    ("waits_ns", "told", "sum_ns", "untold"),
    [
        ([5, 7, 9], 3, 21, 0),
        ([5, -10 * MS, 9], 3, 14, 0),  # in time
        ([5, -10 * MS - 1, 9], 2, 14, 1),
        ([HOUR_NS, HOUR_NS + 1, 1 << 50], 1, HOUR_NS, 2),
        ([-(1 << 50), 1 << 50], 0, 0, 2),
    ],
)
def test_what_waited_as_nothing_can_is_counted_and_in_no_sum(
    waits_ns: list[int], told: int, sum_ns: int, untold: int
) -> None:
    recorder = Recorder()
    recorder.stages.add(["hold"], [0])
    gathered = recorder.gather([("notify.latency",)], "came")
    gathered.add(len(waits_ns), np.arange(len(waits_ns)), np.array(waits_ns, np.int64))
    waited = recorder.take(0).waits["hold/came"]
    assert (sum(waited.counts), sum(waited.sums), waited.untold) == (told, sum_ns, untold)
    assert waited.done == len(waits_ns)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(waited), type=Waited) == waited
