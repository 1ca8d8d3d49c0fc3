"""What the machine goes through while a load is on, from /proc and the control group before and after; and memory."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from loadgen.results.health import MachineHealth

_CGROUPS = Path("/sys/fs/cgroup")


class _Sample(NamedTuple):
    busy: int
    total: int
    throttled_us: int
    swapped_pages: int
    segments: int
    retransmitted: int


class MachineWatch:
    """Compares the machine now with the machine when this was made."""

    def __init__(self) -> None:
        self._before = _sample()

    def health(self) -> MachineHealth:
        """What happened since."""
        now = _sample()
        changes = _Sample(*(after - before for after, before in zip(now, self._before, strict=True)))
        return MachineHealth(
            busy=changes.busy / changes.total if changes.total else 0.0,
            throttled_s=changes.throttled_us / 1e6,
            swapped_bytes=changes.swapped_pages * resource.getpagesize(),
            retransmitted=changes.retransmitted / changes.segments if changes.segments else 0.0,
            memory_available_bytes=memory_available_bytes(),
        )


def memory_available_bytes() -> int:
    """What this machine, or the control group, still has for us; 0 if it does not tell."""
    fields = _fields("/proc/meminfo")
    available = fields.get("MemAvailable:", 0) * 1024
    group = _own_group()
    try:
        most = int((group / "memory.max").read_text("ascii"))
        used = int((group / "memory.current").read_text("ascii"))
    except (OSError, ValueError):  # no such group, or "max"
        return available
    # Page cache counts as used, and goes when memory is wanted.
    return min(available, most - used + _fields(str(group / "memory.stat")).get("inactive_file", 0))


def cpus_available() -> float:
    """How many this process may keep busy: those that it may run on, or what its control group allows."""
    allowed = float(len(os.sched_getaffinity(0)))
    try:
        quota_us, period_us = map(int, (_own_group() / "cpu.max").read_text("ascii").split())
    except (OSError, ValueError):  # no such group, or "max"
        return allowed
    return min(allowed, quota_us / period_us)


def memory_in_use_bytes() -> int | None:
    """Resident memory of this process that is no file's, but for what malloc keeps of it to give out again; None where
    nobody tells.

    Pages of files (code, mostly) are resident once they are used, which in a worker is when its first session is set
    up: 1.3 MB, however many sessions there are.

    What a backlog took stays resident long after it is gone, and is all the more the busier the machine is: resident
    memory alone grows by 20 to 70 % more while sessions are set up on a busy machine, what is in use by 2 %.
    """
    read = _mallinfo()
    if read is None:
        return None
    resident, of_files = map(int, Path("/proc/self/statm").read_text("ascii").split()[1:3])
    return (resident - of_files) * resource.getpagesize() - int(read().fordblks)


class _Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2; of `fordblks`, bytes of free chunks in all arenas, alone is made use of."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@cache
def _mallinfo() -> Callable[[], Any] | None:
    """glibc's `mallinfo2`, of version 2.33 and newer. Takes below 1 ms with 2,000 sessions."""
    found = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if found is not None:
        found.restype = _Mallinfo
    return found


def _sample() -> _Sample:
    cpu = [0] * 8
    try:
        with open("/proc/stat", encoding="ascii") as lines:  # noqa: PTH123 - a pseudo file, of which one line is wanted
            cpu = [int(ticks) for ticks in lines.readline().split()[1:9]]
    except OSError:
        pass
    idle = cpu[3] + cpu[4]
    vm = _fields("/proc/vmstat")
    tcp = _tcp()
    return _Sample(
        busy=sum(cpu) - idle,
        total=sum(cpu),
        throttled_us=_fields(str(_own_group() / "cpu.stat")).get("throttled_usec", 0),
        swapped_pages=vm.get("pswpin", 0) + vm.get("pswpout", 0),
        segments=tcp.get("OutSegs", 0),
        retransmitted=tcp.get("RetransSegs", 0),
    )


def _own_group() -> Path:
    """The control group (version 2) of this process."""
    try:
        lines = Path("/proc/self/cgroup").read_text("ascii").splitlines()
    except OSError:
        return _CGROUPS
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    return _CGROUPS / own.lstrip("/")


def _fields(path: str) -> dict[str, int]:
    """Lines of a name and a number; empty if there is no such file."""
    try:
        rows = [line.split() for line in Path(path).read_text("ascii").splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _tcp() -> dict[str, int]:
    try:
        lines = [line.split() for line in Path("/proc/net/snmp").read_text("ascii").splitlines()]
    except OSError:
        return {}
    rows = [line for line in lines if line[0] == "Tcp:"]
    return dict(zip(rows[0][1:], map(int, rows[1][1:]), strict=True)) if len(rows) == 2 else {}
