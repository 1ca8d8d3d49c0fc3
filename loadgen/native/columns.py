"""Columns of numbers, gone through by the native turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadgen.native.library import Library, native

# Counts each value of a column (ns) in its HdrHistogram bucket, those below 0 or above the highest (the last argument)
# in the first and the last one; returns how many these were.
Counter: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.int64], int], int]


def counter() -> Counter | None:
    """None: there is no native turn."""
    library = native()
    return None if library is None else partial(_count, library)


def _count(library: Library, counts: NDArray[np.int64], values: NDArray[np.int64], highest: int) -> int:
    ffi, lib = library
    column = np.ascontiguousarray(values)
    return int(lib.lg_count(_pointer(ffi, counts), _pointer(ffi, column), len(column), highest))


def _pointer(ffi: Any, column: NDArray[np.int64]) -> Any:
    return ffi.cast("int64_t *", column.ctypes.data)
