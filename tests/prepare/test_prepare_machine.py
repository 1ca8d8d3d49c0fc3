"""What the machine goes through while a load is on, from files made for the purpose."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen.prepare import machine
from loadgen.prepare.machine import MachineWatch, memory_available_bytes, memory_in_use_bytes

KIB, MIB = 1024, 1 << 20


class Proc:
    """A /proc and a control group in a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.group = root / "sys/fs/cgroup/made.slice"
        self.group.mkdir(parents=True)
        real_open, real_path = open, Path

        def path(*parts: str) -> Path:
            found = real_path(*parts)
            return root / str(found).lstrip("/") if str(found).startswith("/proc/") else found

        def opened(name: str, **options: str) -> object:
            return real_open(root / name.lstrip("/"), **options)

        monkeypatch.setattr(machine, "Path", path)
        monkeypatch.setattr(machine, "open", opened, raising=False)
        monkeypatch.setattr(machine, "_CGROUPS", root / "sys/fs/cgroup")
        self.write("proc/self/cgroup", "0::/made.slice\n")
        self.write("proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:  4096 kB\n")
        self.go_on()

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "ascii")

    def go_on(
        self, busy: int = 0, idle: int = 0, throttled: int = 0, swapped: int = 0, sent: int = 0, again: int = 0
    ) -> None:
        """How much of everything there was since the machine started."""
        self.write("proc/stat", f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n")
        self.write("proc/vmstat", f"nr_free_pages 7\npswpin {swapped}\npswpout {2 * swapped}\n")
        self.write(
            "proc/net/snmp", f"Ip: A B\nIp: 1 2\nTcp: OutSegs RetransSegs\nTcp: {sent} {again}\nUdp: A\nUdp: 1\n"
        )
        self.write("sys/fs/cgroup/made.slice/cpu.stat", f"usage_usec 5\nthrottled_usec {throttled}\n")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    return Proc(tmp_path, monkeypatch)


def test_what_happened_is_the_difference(proc: Proc) -> None:
    proc.go_on(busy=100, idle=100, throttled=1_000_000, swapped=5, sent=1000, again=10)
    watch = MachineWatch()
    proc.go_on(busy=175, idle=125, throttled=1_250_000, swapped=7, sent=2000, again=60)
    health = watch.health()
    assert health.busy == 0.75
    assert health.throttled_s == 0.25
    assert health.swapped_bytes == 6 * resource.getpagesize()
    assert health.retransmitted == 0.05
    assert health.memory_available_bytes == 4 * MIB


def test_nothing_happened(proc: Proc) -> None:
    health = MachineWatch().health()
    assert (health.busy, health.throttled_s, health.swapped_bytes, health.retransmitted) == (0, 0, 0, 0)


def test_waiting_for_disks_is_no_work(proc: Proc) -> None:
    proc.write("proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\n")
    watch = MachineWatch()
    proc.write("proc/stat", "cpu  10 10 10 10 30 10 10 10 77 77\n")
    assert watch.health().busy == 0.6


def test_a_machine_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = Proc(tmp_path, monkeypatch)
    for path in [*(tmp_path / "proc").rglob("*"), *proc.group.iterdir()]:
        if path.is_file():
            path.unlink()
    health = MachineWatch().health()
    assert (health.busy, health.throttled_s, health.swapped_bytes, health.retransmitted) == (0, 0, 0, 0)
    assert health.memory_available_bytes == memory_available_bytes() == 0


@pytest.mark.parametrize("text", ["", "1:name=systemd:/x\n2:cpu:/y\n"])
def test_without_version_2_there_is_no_group(proc: Proc, text: str) -> None:
    proc.write("proc/self/cgroup", text)
    watch = MachineWatch()
    proc.go_on(throttled=9_000_000)
    assert watch.health().throttled_s == 0
    assert memory_available_bytes() == 4 * MIB


def test_the_control_group_may_have_less_memory_than_the_machine(proc: Proc) -> None:
    group = "sys/fs/cgroup/made.slice"
    proc.write(f"{group}/memory.current", f"{2 * MIB}\n")
    proc.write(f"{group}/memory.max", "max\n")
    assert memory_available_bytes() == 4 * MIB
    proc.write(f"{group}/memory.max", f"{3 * MIB}\n")
    assert memory_available_bytes() == MIB
    # Cached files go when memory is wanted.
    proc.write(f"{group}/memory.stat", f"anon 5\ninactive_file {512 * KIB}\n")
    assert memory_available_bytes() == MIB + 512 * KIB
    proc.write(f"{group}/memory.max", f"{100 * MIB}\n")
    assert memory_available_bytes() == 4 * MIB


def test_this_machine() -> None:
    health = MachineWatch().health()
    assert 0 <= health.busy <= 1
    assert health.memory_available_bytes > 0


# -- memory of a process -----------------------------------------------------------------------------------------------


# In a process of its own: what the heap of a test run has free already is not always resident.
HEAP = """
import ctypes, json, resource
from pathlib import Path
from loadgen.prepare.machine import memory_in_use_bytes

def resident_bytes():
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before, resident = memory_in_use_bytes(), resident_bytes()
chunks = [libc.malloc(16384) for _ in range(4096)]  # 64 MiB, none of them large enough to be mapped by itself
for chunk in chunks:
    ctypes.memset(chunk, 1, 16384)
held = memory_in_use_bytes()
lock = libc.malloc(16384)
for chunk in chunks:
    libc.free(chunk)
print(json.dumps([before, held, memory_in_use_bytes(), resident_bytes() - resident]))
"""


def test_what_a_backlog_has_left_behind_is_not_in_use() -> None:
    """Chunks of a heap that are free, below one that is not: they stay with the process, and it would use them next."""
    if memory_in_use_bytes() is None:
        pytest.skip("no glibc with mallinfo2")
    done = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, check=True)
    before, held, after, kept = json.loads(done.stdout)
    assert held - before == pytest.approx(64 * MIB, rel=0.05)
    assert kept > 50 * MIB
    assert abs(after - before) < 3 * MIB


def test_without_glibc_nobody_tells_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_mallinfo", lambda: None)
    assert memory_in_use_bytes() is None
