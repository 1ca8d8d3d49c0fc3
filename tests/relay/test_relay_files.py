"""Files of packets: whose they are, where they end, which are kept, and what a full disk leaves."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadgen.errors import InputError
from loadgen.relay.files import CaptureFiles, Limits

HEADER, BLOCK = b"header..", b"a block."


def opened(path: Path, limits: Limits = Limits(), *, replace: bool = False) -> CaptureFiles:  # noqa: B008
    """Whose names have a number in the place of the time."""
    numbers = itertools.count(100)
    return CaptureFiles(path, HEADER, limits, lambda: str(next(numbers)), 0, replace=replace)


def test_one_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = opened(tmp_path / "out.pcapng")
    finally:
        os.umask(before)
    files.put(BLOCK, 0)
    files.put(BLOCK, 1)
    assert (tmp_path / "out.pcapng").read_bytes() == HEADER
    files.flush()
    assert (tmp_path / "out.pcapng").read_bytes() == HEADER + 2 * BLOCK
    files.close()
    assert stat.S_IMODE((tmp_path / "out.pcapng").stat().st_mode) == 0o600
    assert [*files.paths] == [tmp_path / "out.pcapng"]
    assert files.written_bytes == 24


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    path.write_bytes(b"of another day")
    with pytest.raises(
        InputError, match=r"--out: expected no file there yet, or --force, found .*out.pcapng: an exist"
    ):
        opened(path)
    assert path.read_bytes() == b"of another day"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "out.pcapng", tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    for replace in (False, True):
        with pytest.raises(InputError, match="--out"):
            opened(path, replace=replace)
    assert not elsewhere.exists()


def test_it_is_replaced_by_one_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    path.write_bytes(b"of another day")
    path.chmod(0o644)
    opened(path, replace=True).close()
    assert path.read_bytes() == HEADER
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["missing/out.pcapng", "", "a\0b"])
def test_a_file_that_cannot_be_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="--out: expected"):
        opened(tmp_path / name)
    assert [*tmp_path.iterdir()] == []


def test_the_next_file_begins_before_one_is_too_large(tmp_path: Path) -> None:
    files = opened(tmp_path / "out.pcapng", Limits(file_bytes=24))
    for moment in range(5):
        files.put(BLOCK, moment)
    files.close()
    assert [path.name for path in files.paths] == [
        "out_00001_100.pcapng",
        "out_00002_101.pcapng",
        "out_00003_102.pcapng",
    ]
    assert [path.read_bytes() for path in files.paths] == [HEADER + 2 * BLOCK, HEADER + 2 * BLOCK, HEADER + BLOCK]
    assert files.written_bytes == 8 * 8
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.paths)


def test_the_next_file_begins_when_it_is_time(tmp_path: Path) -> None:
    files = opened(tmp_path / "out.pcapng", Limits(file_ns=10))
    for moment in (0, 9, 10, 30, 31):
        files.put(BLOCK, moment)
    files.close()
    assert [len(path.read_bytes()) for path in files.paths] == [24, 16, 24]


def test_only_the_last_files_are_kept(tmp_path: Path) -> None:
    files = opened(tmp_path / "out.pcapng", Limits(file_bytes=16, files=2))
    for moment in range(5):
        files.put(BLOCK, moment)
    files.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out_00004_103.pcapng", "out_00005_104.pcapng"]
    assert files.written_bytes == 5 * 16


def test_what_is_too_much_for_all_files_is_left_out_whole(tmp_path: Path) -> None:
    files = opened(tmp_path / "out.pcapng", Limits(total_bytes=30))
    for moment in range(4):
        files.put(BLOCK, moment)
    files.close()
    assert files.is_full
    assert not files.trouble
    assert (tmp_path / "out.pcapng").read_bytes() == HEADER + 2 * BLOCK


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may have more bytes: what does not fit is not written, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_leaves_whole_blocks(tmp_path: Path) -> None:
    files = opened(tmp_path / "out.pcapng")
    files.put(BLOCK, 0)
    files.flush()
    with disk_of(29):
        files.put(BLOCK, 1)
        files.put(BLOCK, 2)
        files.flush()
    assert files.trouble == "file too large"
    files.put(BLOCK, 3)
    files.close()
    assert (tmp_path / "out.pcapng").read_bytes() == HEADER + 2 * BLOCK
    assert files.written_bytes == 24


def test_a_disk_that_is_full_before_anything_is_said(tmp_path: Path) -> None:
    with disk_of(3), pytest.raises(InputError, match=r"--out: expected a file that can be written, found .*too large"):
        opened(tmp_path / "out.pcapng")
    assert [*tmp_path.iterdir()] == []


def test_a_next_file_that_cannot_be_made_ends_the_recording(tmp_path: Path) -> None:
    files = opened(tmp_path / "out.pcapng", Limits(file_bytes=16))
    (tmp_path / "out_00002_101.pcapng").write_bytes(b"somebody else's")
    files.put(BLOCK, 0)
    files.put(BLOCK, 1)
    files.close()
    assert files.trouble.endswith("file exists")
    assert (tmp_path / "out_00001_100.pcapng").read_bytes() == HEADER + BLOCK
    assert (tmp_path / "out_00002_101.pcapng").read_bytes() == b"somebody else's"
