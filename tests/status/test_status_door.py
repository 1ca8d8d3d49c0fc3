"""Where runs can be asked: whose the directory must be, and what is left of runs that were killed."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadgen.errors import InputError
from loadgen.status.door import Door, connect, directory, doors

LONG = "a-name-that-is-longer-than-the-address-of-a-unix-socket-may-be-" * 3


@pytest.fixture
def where(tmp_path: Path) -> Path:
    return tmp_path / LONG


@contextmanager
def opened(where: Path) -> Iterator[Door]:
    door = Door(where)
    try:
        yield door
    finally:
        door.close()


def leave_behind(where: Path, name: str) -> None:
    """A socket that nobody listens at any more."""
    folder = os.open(where, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(f"/proc/self/fd/{folder}/{name}")
    finally:
        os.close(folder)


def a_dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_directory_is_of_the_session_or_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
    assert directory() == tmp_path / f"loadgen-{os.geteuid()}"
    (tmp_path / "session").mkdir()
    assert directory() == tmp_path / "session" / "loadgen"
    for nothing in ("", "relative"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", nothing)
        assert directory() == tmp_path / f"loadgen-{os.geteuid()}"


def test_it_is_there_as_long_as_its_run_and_for_nobody_else(where: Path) -> None:
    assert doors(where) == []
    with opened(where) as first, opened(where) as second:
        assert [first.name, second.name] == [f"{os.getpid()}.sock", f"{os.getpid()}-2.sock"]
        assert stat.S_IMODE(where.stat().st_mode) == 0o700
        for door in (first, second):
            assert stat.S_IMODE((where / door.name).stat().st_mode) == 0o600
            sock = connect(where, door.name, 1.0)
            assert sock is not None
            sock.close()
        assert sorted(doors(where)) == sorted([first.name, second.name])
    assert list(where.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_is_alive_is_not(where: Path) -> None:
    with opened(where) as door:
        dead, alive = f"{a_dead_pid()}.sock", f"{os.getppid()}.sock"
        for name in (dead, alive):
            leave_behind(where, name)
            assert connect(where, name, 1.0) is None
        # The run of a process that is alive may be about to listen.
        assert sorted(doors(where)) == sorted([alive, door.name])
        leave_behind(where, dead)
        with opened(where):  # a run that begins clears up, too
            assert dead not in doors(where)
            assert alive in doors(where)


def test_its_own_name_is_taken_over_from_a_process_that_had_the_same_id(where: Path) -> None:
    where.mkdir(mode=0o700)
    leave_behind(where, f"{os.getpid()}.sock")
    with opened(where) as door:
        assert door.name == f"{os.getpid()}.sock"
        sock = connect(where, door.name, 1.0)
        assert sock is not None
        sock.close()


def test_other_files_are_let_alone(where: Path) -> None:
    where.mkdir(mode=0o700)
    others = ["notes.txt", ".sock", "x.sock", "12345678901234.sock", f"{a_dead_pid()}"]
    for name in others:
        (where / name).write_text("mine", "utf-8")
    assert doors(where) == []
    with opened(where):
        pass
    assert sorted(path.name for path in where.iterdir()) == sorted(others)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_is_open_to_others_is_refused(where: Path, mode: int) -> None:
    where.mkdir()
    where.chmod(mode)
    for use in (lambda: Door(where), lambda: doors(where), lambda: connect(where, "1.sock", 1.0)):
        with pytest.raises(InputError, match=f"mode {mode:04o}"):
            use()
    assert list(where.iterdir()) == []


def test_a_link_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "mine")
    for use in (lambda: Door(link), lambda: doors(link)):
        with pytest.raises(InputError, match="expected a directory of user"):
            use()
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(where: Path) -> None:
    where.mkdir(mode=0o700)
    os.chown(where, 12345, 12345)
    with pytest.raises(InputError, match="one of user 12345 with mode 0700"):
        Door(where)
