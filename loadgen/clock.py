"""What time it is: told by a clock that is given in, so that a test can give its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

# Called to read the time, in nanoseconds, whenever it began. What lives by time keeps one as its own, and reads it in
# one call.
Nanoseconds: TypeAlias = Callable[[], int]

MONOTONIC: Nanoseconds = time.monotonic_ns
# How long this process has been computing.
CPU: Nanoseconds = time.process_time_ns
