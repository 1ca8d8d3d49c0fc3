"""Reading input files up to a bound, and writing new ones, with every refusal of the system as an InputError."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path

from loadgen.errors import InputError, Problem


def read_bounded(path: Path, max_bytes: int, expected: str) -> bytes:
    """The contents of a file that has to be there, has to hold something and must not be endless.

    Args:
        expected: what the file should have been, for the message: "a PEM file with ...".

    Raises:
        InputError: missing, unreadable, a directory, empty, or longer than `max_bytes`.
    """
    try:
        with path.open("rb") as file:
            # Read, not stat: a pipe or a device has no size.
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        raise InputError(Problem(str(path), expected, reason_of(error))) from error
    if not data:
        raise InputError(Problem(str(path), expected, "an empty file"))
    if len(data) > max_bytes:
        raise InputError(Problem(str(path), f"{expected}, at most {max_bytes:,} bytes", "a longer file"))
    return data


def without_mark(data: bytes) -> bytes:
    """A text's bytes in UTF-8, without the mark that Windows editors put first; PowerShell writes UTF-16 after one."""
    if data.startswith(codecs.BOM_UTF8):
        return data.removeprefix(codecs.BOM_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace").encode("utf-8", "replace")
    return data


def write_new(path: Path, data: bytes, mode: int, *, replace: bool = False) -> None:
    """Write a file that must not exist yet.

    Args:
        replace: what is there may go: it stays until the new one is written.

    Raises:
        InputError: it exists (also as a dangling link), or the system refuses; then nothing is left behind.
    """
    if replace:
        _replace(path, data, mode)
        return
    try:
        # O_EXCL with the mode: a private key is never readable by others, not for a moment, and never follows
        # a link.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise InputError(already_there(path)) from error
    except (OSError, ValueError) as error:
        raise InputError(Problem(str(path), "a file that can be created", reason_of(error))) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(Problem(str(path), "a file that can be written", reason_of(error))) from error


def _replace(path: Path, data: bytes, mode: int) -> None:
    """Write beside it, under a name that nobody else has, and put that in its place."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    write_new(beside, data, mode)
    try:
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(Problem(str(path), "a file that can be replaced", reason_of(error))) from error


def open_private_log(path: Path, where: str) -> int:
    """A descriptor that appends to a file which nobody but its owner can read; what is in it already stays.

    One that others may read is narrowed to mode 0600 before anything is written. One of another user is refused: who
    owns a file can read it whatever its mode.

    Args:
        where: what named it, for the message.

    Raises:
        InputError: it is no such file, or the system refuses.
    """
    expected = "a file of your own that can be written"
    # Not blocking: a pipe that nobody reads is refused, and not waited for.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except (OSError, ValueError) as error:
        raise InputError(Problem(where, expected, f"{path}: {reason_of(error)}")) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InputError(Problem(where, expected, f"{path}: not a regular file"))
        if found.st_uid != os.geteuid():
            raise InputError(Problem(where, expected, f"{path}: another user's file"))
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        os.close(descriptor)
        raise InputError(Problem(where, expected, f"{path}: {reason_of(error)}")) from error
    except InputError:
        os.close(descriptor)
        raise
    return descriptor


def already_there(path: Path) -> Problem:
    """The refusal to overwrite: a key that is lost cannot be made again, and a controller may know its
    hash."""
    return Problem(str(path), "a path where no file is yet", "an existing file")


def reason_of(error: OSError | ValueError) -> str:
    """The system's own words: "no such file or directory"."""
    return ((isinstance(error, OSError) and error.strerror) or str(error)).lower()
