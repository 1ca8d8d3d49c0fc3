"""A capture, read from its file for what is played of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from loadgen.capture.events import Data, Event
from loadgen.capture.keylog import TunnelKeys
from loadgen.capture.reading import events_of, secrets_of
from loadgen.capture.streams import Exchange, collect
from loadgen.capture.tls import Undecrypted, decrypted
from loadgen.errors import InputError, Problem
from loadgen.files import reason_of
from loadgen.nmsp.profile import WireProfile
from loadgen.replay.recording import Recorded, record_untrusted

_CHUNK_BYTES = 1 << 20
# Of what both ends said, in memory together; on the wire that is days of most tunnels.
MOST_BYTES = 1 << 29
_MOST_NAMED = 3


def read_recorded(path: Path, profile: WireProfile, key_log: Path | None = None) -> Recorded:
    """What a capture has for this profile. Args: key_log: the secrets of its tunnels, beside those inside of it.

    Raises:
        InputError: it cannot be read, or there is nothing in it that could be played.
    """
    undecrypted: list[Undecrypted] = []
    exchanges = read_exchanges(path, undecrypted, key_log)
    try:
        return record_untrusted(exchanges, profile, str(path))
    except InputError as error:
        encrypted = [Problem(str(path), "tunnels with their keys", str(each)) for each in undecrypted[:_MOST_NAMED]]
        raise InputError([*error.problems, *encrypted]) from error


def read_exchanges(path: Path, undecrypted: list[Undecrypted], key_log: Path | None = None) -> list[Exchange]:
    """All conversations of a capture. Args: undecrypted: is told what remained encrypted.

    Raises:
        InputError: it cannot be read, or has more than `MOST_BYTES`.
    """
    keys = TunnelKeys()
    if key_log is not None:
        for chunk in lines_of(key_log):
            keys.add(chunk)
    name = str(path)
    for secrets in secrets_of(chunks_of(path), name=name):
        keys.add(secrets)
    return collect(_bounded(decrypted(events_of(chunks_of(path), name=name), keys, undecrypted), name))


def _bounded(events: Iterable[Event], name: str) -> Iterator[Event]:
    total = 0
    for event in events:
        if isinstance(event, Data) and (total := total + len(event.data)) > MOST_BYTES:
            raise InputError(Problem(name, f"at most {MOST_BYTES >> 20} MiB of plaintext", "more"))
        yield event


def chunks_of(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        raise InputError(Problem(str(path), "a capture", reason_of(error))) from error


def lines_of(path: Path) -> Iterator[bytes]:
    """Whole lines, many at a time."""
    try:
        with path.open("rb") as file:
            while lines := file.readlines(_CHUNK_BYTES):
                yield b"".join(lines)
    except (OSError, ValueError) as error:
        raise InputError(Problem(str(path), "a key log", reason_of(error))) from error
