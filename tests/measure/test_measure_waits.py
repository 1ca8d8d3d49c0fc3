"""Sums of waits, whatever a peer makes up."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from loadgen.measure.waits import Waited, Waits


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
