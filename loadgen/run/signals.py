"""What signals mean that ask a process to end: Ctrl-C, a service manager, a terminal that is closed.

Everywhere they raise KeyboardInterrupt, so that whatever was started is ended and whatever was written is whole. While
a supervisor leads a run, they are its own. While files are written they are only noted: a moment later the process
ends.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_IMPORTING = "<frozen importlib._bootstrap>"
_LATER_S = 0.01

_noted = False


def ending() -> list[signal.Signals]:
    """The signals that end a run. SIGHUP is none of them under nohup: the run goes on when the terminal is closed."""
    return [s for s in _ENDING if s is not signal.SIGHUP or signal.getsignal(s) is not signal.SIG_IGN]


def interrupt() -> None:
    """From now on they raise KeyboardInterrupt; while something is imported, once that is done: raised within a module
    of compiled code that begins, it is lost, or ends the process without a word.
    """
    _handle(_interrupt)
    signal.signal(signal.SIGALRM, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            signal.setitimer(signal.ITIMER_REAL, _LATER_S)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def ignore() -> None:
    """From now on they are nothing: the process ends already."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def noted() -> Iterator[None]:
    """Within, they interrupt nothing; `asked` tells whether there were any."""
    before = _handle(_note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Within, they wait to come: whatever forks runs hooks of libraries, and an exception in one of these is lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def awaited() -> Iterator[int]:
    """Within, they interrupt nothing: a descriptor that is given becomes readable."""
    descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    before = _handle(lambda _number, _frame: os.eventfd_write(descriptor, 1))
    try:
        yield descriptor
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(descriptor)


def asked() -> bool:
    """Whether one was noted."""
    return _noted


def name_of(number: int) -> str:
    """What a signal is called; of those in real time, only the first and the last have a name of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _note(_number: int, _frame: FrameType | None) -> None:
    global _noted
    _noted = True


def _handle(handler: Any) -> dict[signal.Signals, Any]:
    # None: a handler that was not set by Python, which nobody but Python could set again.
    return {number: signal.signal(number, handler) or signal.SIG_DFL for number in ending()}
