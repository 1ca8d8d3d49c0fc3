"""Which different values a column has."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.integer)


def distinct(values: NDArray[T]) -> NDArray[T]:
    """The different values of a column of integers, in order.

    As `numpy.unique`, which asks first whether the column is a masked one: for that it imports what knows of those.
    """
    ordered = np.sort(values, axis=None)
    differs = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=differs[1:])
    return ordered[differs]
