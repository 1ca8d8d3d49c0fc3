"""Where runs can be asked: a directory of the user's own, and in it a socket for each run that goes on.

Whatever is in that directory was put there by this user's processes, and is checked to be so before it is used.
"""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loadgen.errors import InputError, Problem

_SUFFIX = ".sock"
_BACKLOG = 16
# A process has one run, or a few: each squad of a Locust worker is one.
_MOST_DOORS = 64
# A Unix socket's address has 108 bytes; a path through this one has always room.
_SELF_FD = "/proc/self/fd"


def directory() -> Path:
    """Where this user's runs can be asked; it may not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if Path(runtime).is_absolute() and Path(runtime).is_dir():
        return Path(runtime) / "loadgen"
    return Path(tempfile.gettempdir()) / f"loadgen-{os.geteuid()}"


class Door:
    """The socket of one run, listening.

    Raises:
        InputError: the directory is not ours alone.
        OSError: it cannot be made, or nothing in it.
    """

    def __init__(self, where: Path) -> None:
        where.mkdir(mode=0o700, exist_ok=True)
        with _opened(where) as folder:
            for name in _doors(folder):
                _clear(folder, name)
            self.name, self.socket = _bind(folder)
        self._where = where

    def close(self) -> None:
        """Nobody can ask any more."""
        self.socket.close()
        with suppress(OSError):
            (self._where / self.name).unlink()


def doors(where: Path) -> list[str]:
    """The names of all doors, in the order of their runs' process ids; [] if the directory does not exist.

    Raises:
        InputError: the directory is not ours alone.
    """
    with suppress(FileNotFoundError), _opened(where) as folder:
        return _doors(folder)
    return []


def connect(where: Path, name: str, timeout_s: float) -> socket.socket | None:
    """A connection to a door; None if nobody is behind it. What a killed run left is removed.

    Raises:
        InputError: the directory is not ours alone.
        BlockingIOError: others wait there already, as many as may.
        OSError: it does not open.
    """
    with _opened(where) as folder:
        if (sock := _knock(folder, name, timeout_s)) is None:
            _clear(folder, name)
        return sock


def _doors(folder: int) -> list[str]:
    names = os.listdir(folder)
    return sorted(filter(_pid_of, names), key=lambda name: (_pid_of(name), name))


def _clear(folder: int, name: str) -> None:
    """Remove a door if its run was killed. One that is alive may be about to open it."""
    if not _is_alive(_pid_of(name)) and not _opens(folder, name):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _bind(folder: int) -> tuple[str, socket.socket]:
    pid = os.getpid()
    for number in range(1, _MOST_DOORS + 1):
        name = f"{pid}{'' if number == 1 else f'-{number}'}{_SUFFIX}"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with suppress(FileExistsError):
                if _exists(folder, name):
                    if _opens(folder, name):  # another run of this process, or one in a container
                        raise FileExistsError
                    os.unlink(name, dir_fd=folder)
                sock.bind(f"{_SELF_FD}/{folder}/{name}")
                os.chmod(name, 0o600, dir_fd=folder)
                sock.listen(_BACKLOG)
                return name, sock
        except BaseException:
            sock.close()
            raise
        sock.close()
    raise FileExistsError(f"{_MOST_DOORS} runs in one process")


def _opens(folder: int, name: str) -> bool:
    """Whether there is somebody behind a door."""
    try:
        sock = _knock(folder, name, 1.0)
    except OSError:
        return True
    if sock is not None:
        sock.close()
    return sock is not None


def _knock(folder: int, name: str, timeout_s: float) -> socket.socket | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        sock.connect(f"{_SELF_FD}/{folder}/{name}")
    except (ConnectionRefusedError, FileNotFoundError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    return sock


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _pid_of(name: str) -> int:
    """The process whose door this is; 0 if it is none."""
    stem = name.removesuffix(_SUFFIX)
    pid = stem.partition("-")[0]
    return int(pid) if name != stem and pid.isdecimal() and len(pid) < 10 else 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _opened(where: Path) -> Iterator[int]:
    """The directory, as a descriptor.

    Raises:
        InputError: it is not ours alone: a link, somebody else's, or open to others.
    """
    expected = f"a directory of user {os.geteuid()} with mode 0700"
    try:
        folder = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:  # a link is none, either
        raise InputError(Problem(str(where), expected, "something else")) from error
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            seen = f"one of user {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o}"
            raise InputError(Problem(str(where), expected, seen))
        yield folder
    finally:
        os.close(folder)
