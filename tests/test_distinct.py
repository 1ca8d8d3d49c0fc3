"""Different values of a column, against numpy's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.distinct import distinct

_INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.one_of(_INT64, st.integers(0, 3)), max_size=40))
def test_as_numpy_has_them(values: list[int]) -> None:
    column = np.array(values, np.int64)
    found = distinct(column)
    assert found.tolist() == np.unique(column).tolist() == sorted({*values})
    assert found.dtype == column.dtype
    assert column.tolist() == values


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint64])
def test_of_whatever_width(kind: type[np.unsignedinteger]) -> None:
    most = int(np.iinfo(kind).max)
    assert distinct(np.array([most, 0, most, 7], kind)).tolist() == [0, 7, most]
