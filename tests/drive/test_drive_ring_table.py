"""The table of next frames: what it says is where the ring itself would look."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import examples

from loadgen.drive.ring_table import Singles
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.ring import NotifyRing, Timing
from loadgen.transport.openssl import pin
from loadgen.world.stations import make_stations

PROFILE = reference_profile()


def ring(wlc: int, stations: int, readings: tuple[int, int], batch: int) -> NotifyRing:
    return NotifyRing(PROFILE, make_stations(PROFILE, 1, wlc, stations, readings, 1), batch)


@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(0, 5), st.sampled_from([1, 4, 40])),
        min_size=1,
        max_size=5,
    ),
    data=st.data(),
)
@settings(derandomize=True, database=None, deadline=None, max_examples=examples(60))
def test_a_single_is_what_the_ring_would_patch(shapes: list[tuple[int, int, int, int]], data: st.DataObject) -> None:
    rings = [ring(i, count, (low, low + more), batch) for i, (count, low, more, batch) in enumerate(shapes)]
    twins = [ring(i, count, (low, low + more), batch) for i, (count, low, more, batch) in enumerate(shapes)]
    singles = Singles(PROFILE, rings)
    positions = data.draw(st.lists(st.integers(0, len(rings) - 1), min_size=1, max_size=12))
    cursors = data.draw(st.lists(st.integers(0, 10_000), min_size=len(positions), max_size=len(positions)))
    frames = singles.frames(np.array(positions), np.array(cursors))
    for position, cursor, (buffer, pointer, offset, size) in zip(positions, cursors, frames, strict=True):
        assert buffer is rings[position].buffer
        assert pointer == pin(buffer)
        singles.stamp(buffer, offset, 5 * cursor, 1 << 60, (1 << 60) + 7)
        wanted, count = twins[position].patch(cursor, 1, 5 * cursor, Timing(1 << 60, (1 << 60) + 7))
        assert count == 1
        assert buffer[offset : offset + size] == wanted


@pytest.mark.parametrize("cursor", [0, 4, 5, 9, 10, 14, 15])
def test_the_table_goes_round_with_the_ring(cursor: int) -> None:
    singles = Singles(PROFILE, [ring(0, 3, (1, 1), 1), ring(1, 5, (2, 4), 1)])
    ((_, _, offset, _),) = singles.frames(np.array([1]), np.array([cursor]))
    ((_, _, again, _),) = singles.frames(np.array([1]), np.array([cursor + 5]))
    assert offset == again
