"""The same durations over 1, 2, 4 and 8 recorders: the identical histogram, and the one that hdrh makes alone."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibration import merging

COLUMN = merging.planted_column()


@pytest.mark.parametrize("recorders", merging.RECORDERS)
def test_the_number_of_recorders_changes_nothing(recorders: int) -> None:
    assert merging.merged(COLUMN, recorders) == merging.witness(COLUMN)


def test_the_order_of_the_values_changes_nothing() -> None:
    assert merging.merged(COLUMN[::-1], 4) == merging.merged(np.sort(COLUMN), 2) == merging.witness(COLUMN)


def test_another_column_is_told_apart() -> None:
    other = COLUMN.copy()
    other[7] += other[7] // 100 + 1
    assert merging.merged(other, 4) != merging.witness(COLUMN)
