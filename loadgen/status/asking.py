"""The side that asks: which runs are going on, and what one of them answers."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadgen.errors import LoadgenError
from loadgen.status.answer import Answer, Question, Refusal, RunInfo, Subject
from loadgen.status.door import connect, doors

# A run that is busy preparing thousands of identities answers late.
_TIMEOUT_S = 15.0
_LISTING_TIMEOUT_S = 3.0
# Where others wait already.
_AGAIN_S = 0.05
_CHUNK_BYTES = 65536
_MAX_ANSWER_BYTES = 1 << 30


class NoAnswer(LoadgenError):
    """A run is there, and does not say anything that we could show."""


class FoundRun(NamedTuple):
    """A run that is going on. info: None if it did not answer in time."""

    door: str
    info: RunInfo | None


def runs(where: Path) -> list[FoundRun]:
    """All runs of this user that are going on.

    Raises:
        InputError: the directory is not ours alone.
    """
    found = []
    for door in doors(where):
        try:
            answer = ask(where, door, Question(Subject.RUN), _LISTING_TIMEOUT_S)
        except NoAnswer:
            found.append(FoundRun(door, None))
        else:
            if answer is not None:
                found.append(FoundRun(door, answer.run))
    return found


def ask(where: Path, door: str, question: Question, timeout_s: float = _TIMEOUT_S) -> Answer | None:
    """What a run answers; None if it has ended.

    Raises:
        NoAnswer: nothing, too late, or something that is none.
        InputError: the directory is not ours alone.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                sock = connect(where, door, timeout_s)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(_AGAIN_S)
        if sock is None:
            return None
        with sock:
            sock.sendall(msgspec.json.encode(question) + b"\n")
            data = _until_closed(sock, deadline)
    except TimeoutError as error:
        raise NoAnswer(f"{door}: no answer within {timeout_s:g} s") from error
    except OSError as error:  # it ended while it answered, or is asked by too many
        raise NoAnswer(f"{door}: {(error.strerror or str(error)).lower()}") from error
    if not data:
        raise NoAnswer(f"{door}: the run ended, or was asked by too many, before it answered")
    try:
        reply: Answer | Refusal = msgspec.json.decode(data, type=Answer | Refusal)
    except msgspec.DecodeError as error:
        raise NoAnswer(f"{door}: an answer that this version cannot read ({error})") from error
    if isinstance(reply, Refusal):
        raise NoAnswer(f"{door}: {reply.refused}")
    return reply


def _until_closed(sock: socket.socket, deadline: float) -> bytes:
    data = bytearray()
    while True:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = sock.recv(_CHUNK_BYTES)
        if not chunk:
            return bytes(data)
        data += chunk
        if len(data) > _MAX_ANSWER_BYTES:
            raise NoAnswer("an answer of more than 1 GiB")
