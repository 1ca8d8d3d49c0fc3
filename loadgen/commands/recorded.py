"""A capture, read from its file for what is played of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from loadgen.capture.events import Data, Event
from loadgen.capture.keylog import TunnelKeys
from loadgen.capture.reading import events_of, secrets_of
from loadgen.capture.tally import Tally
from loadgen.capture.tls import Undecrypted, decrypted
from loadgen.errors import InputError, Problem
from loadgen.files import reason_of
from loadgen.nmsp.profile import WireProfile
from loadgen.replay.reading import Recorded, record_untrusted
from loadgen.scenario.plan import Plan

_CHUNK_BYTES = 1 << 20
# Of what both ends said, as much is played, from the beginning: hours of most tunnels, and half a gigabyte of memory.
MOST_BYTES = 1 << 26
_MOST_NAMED = 3


class CaptureReader:
    """The conversations of a capture, and what was left out of them.

    Attributes:
        tally: of its packets. undecrypted: conversations that remained so. stopped: it has more than is played.
    """

    def __init__(self, path: Path, key_log: Path | None = None) -> None:
        """Args: key_log: the secrets of its tunnels, beside those inside of it."""
        self._path, self._key_log = path, key_log
        self.tally = Tally()
        self.undecrypted: list[Undecrypted] = []
        self.stopped = False

    def events(self) -> Iterator[Event]:
        """All that happened, as it is read; of bytes, the first `MOST_BYTES`.

        Raises:
            InputError: it cannot be read.
        """
        keys, name = TunnelKeys(), str(self._path)
        if self._key_log is not None:
            for chunk in lines_of(self._key_log):
                keys.add(chunk)
        for secrets in secrets_of(chunks_of(self._path), name=name):
            keys.add(secrets)
        total = 0
        for event in decrypted(events_of(chunks_of(self._path), name=name, tally=self.tally), keys, self.undecrypted):
            if isinstance(event, Data):
                total += len(event.data)
                if total > MOST_BYTES:
                    self.stopped = True
                    return
            yield event

    def remarks(self) -> tuple[str, ...]:
        """What is not played of it, a line each."""
        found = self.tally.left_out()
        found += [f"not decrypted: {each}" for each in self.undecrypted[:_MOST_NAMED]]
        if (more := len(self.undecrypted) - _MOST_NAMED) > 0:
            found.append(f"not decrypted: {more:,} more")
        if self.stopped:
            found.append(f"only its first {MOST_BYTES >> 20} MiB of plaintext are played")
        return tuple(f"{self._path}: {each}" for each in found)


def read_recorded(path: Path, profile: WireProfile, key_log: Path | None = None) -> Recorded:
    """What a capture has for this profile. Args: key_log: the secrets of its tunnels, beside those inside of it.

    Raises:
        InputError: it cannot be read, or there is nothing in it that could be played.
    """
    reader = CaptureReader(path, key_log)
    try:
        recorded = record_untrusted(reader.events(), profile, str(path))
    except InputError as error:
        raise InputError([*error.problems, *_reasons(reader, path)]) from error
    return msgspec.structs.replace(recorded, remarks=reader.remarks())


def _reasons(reader: CaptureReader, path: Path) -> Iterator[Problem]:
    """Why there may be nothing in it."""
    for each in reader.undecrypted[:_MOST_NAMED]:
        yield Problem(str(path), "tunnels with their keys", str(each))
    for left_out in reader.tally.left_out():
        yield Problem(str(path), "TCP, whole", left_out)


def played(recorded: Recorded, plan: Plan) -> Iterator[str]:
    """What a plan plays of a capture, and what not, in lines."""
    yield recorded.in_words
    yield from recorded.remarks
    tracks, endpoints = len(recorded.recording.tracks), len(plan.wlcs)
    if plan.use.plays_wlc and endpoints < tracks:
        yield f"only {endpoints} of {tracks} tracks are played: an endpoint plays one of them (--scale, load.scale)"


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
