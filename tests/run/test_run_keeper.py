"""What a process started does not outlive it, however it ends; and what the signals are called that end processes."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.run import signals

# Only reached by a test that has failed.
PATIENCE_S = 60.0
# In sessions of their own: of a group whose parent goes, the kernel itself ends those that were stopped, by SIGHUP.
# Starts a process group that heeds nothing but SIGKILL and a group that ends when asked, tells who they are, and waits.
_PARENT = """
import subprocess, sys, time
from loadgen.run.keeper import keeper
stubborn = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; print('up'); time.sleep(600)"
polite = "import signal, sys, time; signal.signal(15, lambda *_: (open({path!r}, 'w').close(), sys.exit()))\\n" \
    "print('up'); time.sleep(600)"
for code, patience_s in ((stubborn, 0.0), (polite, 60.0), (polite, 0.0)):
    process = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    keeper().keep(process.pid, patience_s)
    print(process.pid, flush=True)
keeper().leave(process.pid)
print("ready", flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until_gone(pid: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while not gone(pid):
        assert time.monotonic() < end, f"process {pid} is still there"
        time.sleep(0.01)


def test_of_a_parent_that_was_killed_nothing_is_left_but_what_it_let_go(tmp_path: Path) -> None:
    """A child that is stopped cannot see that its parent is gone; it goes all the same, and the other one in order."""
    told = tmp_path / "told"
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT.format(path=str(told))], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert parent.stdout is not None
    with parent.stdout:
        stubborn, polite, left = (int(parent.stdout.readline()) for _ in range(3))
        assert parent.stdout.readline() == "ready\n"
        try:
            os.kill(stubborn, signal.SIGSTOP)
            os.kill(polite, signal.SIGSTOP)
            parent.kill()
            parent.wait()
            until_gone(stubborn)
            until_gone(polite)
            assert told.exists()
            assert not gone(left)
        finally:
            os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "name"), [(9, "SIGKILL"), (1, "SIGHUP"), (35, "SIGRTMIN+1"), (50, "SIGRTMIN+16"), (64, "SIGRTMAX")]
)
def test_every_signal_has_a_name(number: int, name: str) -> None:
    assert signals.name_of(number) == name


def test_a_terminal_that_is_closed_does_not_end_what_was_started_with_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert signal.SIGHUP in signals.ending()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert signals.ending() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def unasked() -> Iterator[None]:
    """Of a process that was asked to end, nothing makes one that was not but to begin anew."""
    importlib.reload(signals)
    yield
    importlib.reload(signals)


@pytest.mark.usefixtures("unasked")
def test_a_signal_that_is_noted_interrupts_nothing_and_is_not_forgotten() -> None:
    handlers = [signal.getsignal(number) for number in signals.ending()]
    for number in signals.ending():
        with signals.noted():
            assert not signals.asked()
            signal.raise_signal(number)
            assert signals.asked()
        assert signals.asked()
        importlib.reload(signals)
    assert [signal.getsignal(number) for number in signals.ending()] == handlers
