"""Memory that is free again stays with the process, so that the next turn's arrays need no new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PAGES = """
import ctypes, resource
from loadgen.run.heap import keep_freed_memory
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
def turn():
    pieces = [libc.malloc(100_000) for _ in range(20)]
    for piece in pieces:
        ctypes.memset(piece, 1, 100_000)
    for piece in pieces:
        libc.free(piece)
turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(code: str) -> int:
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="expected glibc")
def test_a_turn_that_takes_what_the_last_one_freed_costs_no_pages() -> None:
    without = _faults(_PAGES.replace("\nkeep_freed_memory()\n", "\n"))
    assert without > 100 * 2_000_000 // 8192, "glibc has become better at this: loadgen/run/heap.py may go"
    assert _faults(_PAGES) < 100
