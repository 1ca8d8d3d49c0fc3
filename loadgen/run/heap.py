"""What becomes of a worker's memory: of what is free again, and of what stays."""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 8 << 20
_MAPPED_BYTES = 1 << 20


def keep_freed_memory() -> None:
    """Keep up to 8 MiB that are free at the end of the heap, and take pieces of up to 1 MiB from it.

    Without this, the heap of a worker may end just where a turn's arrays (some 160 kB) begin: they go back to the
    kernel after every turn, and come anew, page by page, in the next one, which is up to 20 % of the CPU time of a
    notification, in some runs and not in others. Another libc has no `mallopt`, and keeps its habits.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def settle() -> None:
    """What was made so far stays: keep the garbage collector from walking it again and again."""
    gc.collect()
    gc.freeze()
