"""What the supervisor and its workers say to each other: msgpack values over the worker's stdin and stdout."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
import trio

from loadgen.drive.tracing import Traced
from loadgen.identity.authlist import AuthList
from loadgen.identity.credentials import Identity
from loadgen.measure.recorder import Interval
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.replay.recording import Tracks
from loadgen.results.asked import Absence
from loadgen.results.health import WorkerHealth
from loadgen.scenario.plan import Plan
from loadgen.scenario.schedule import RateStage
from loadgen.status.answer import PeerRow, Question, SideCounts
from loadgen.strict import read_unit, write_unit

_LENGTH_BYTES = 4
_CHUNK_BYTES = 65536
# An interval of all metrics has a few hundred kilobytes; a plan of 100,000 controllers a few megabytes.
_MAX_VALUE_BYTES = 256 * 1024 * 1024


def worker_name(role: Role, worker: int) -> str:
    """What messages call a worker: wlc-0, mse-1."""
    return f"{role.name.lower()}-{worker}"


class _Value(msgspec.Struct, frozen=True, tag=True):
    """Base of what goes over a channel."""


class Assignment(_Value, frozen=True):
    """To a worker: play this side of the plan, every `workers`-th WLC or session of it from `worker` on.

    Attributes:
        identities: of this worker's WLCs, in order; or of all the plan's MSEs.
        auth_lists: whom a WLC lets in, in the order in which they are asked; empty: everybody.
        trusted_pem: where the certificate chain of the other side must end; None: anywhere.
        epoch_ns: start of interval 0 (monotonic); intervals are `interval_ns` long.
        to_unix_ns: turns this machine's monotonic clock into ns since the epoch, the same way in every worker.
        trace_limit: how many handshakes to trace.
        key_log: the file to write the secrets of all tunnels to; None: none.
        placings: where `session.placing` has its table; empty: nowhere.
        recording: what was recorded, if the plan replays.
    """

    role: Role
    plan: Plan
    profile: ProfileDocument
    worker: int
    workers: int
    identities: tuple[Identity, ...]
    auth_lists: tuple[AuthList, ...]
    trusted_pem: bytes | None
    epoch_ns: int
    interval_ns: int
    to_unix_ns: int
    trace_limit: int = 0
    key_log: str | None = None
    placings: str = ""
    recording: Tracks | None = None


class Dial(_Value, frozen=True):
    """To MSE workers: dial, at the plan's rate. Each begins when it is ready: no figure counts from that time.

    Attributes:
        addresses: where the WLCs listen.
        again_until_ns: a WLC that is not there is dialed again until then (monotonic ns).
    """

    addresses: tuple[tuple[str, int], ...]
    again_until_ns: int


class StartLoad(_Value, frozen=True):
    """To all: slot 0 of these stages is due at this time (monotonic ns). Their names are new ones in this run."""

    at_ns: int
    stages: tuple[RateStage, ...]


class EndLoad(_Value, frozen=True):
    """To those who do not keep the schedule: it is over."""


class CutLoad(_Value, frozen=True):
    """To all: the load ends at this time (monotonic ns), and not when it was to. What is due, or comes, after that is
    none of it; the workers that keep the schedule go on until they are told to finish.
    """

    at_ns: int


class Muster(_Value, frozen=True):
    """To all, of a plan with users: the first `users` of them are to be there, the others are not.

    Attributes:
        at_ns, over_ns: when to begin with the sessions of new ones (monotonic), and over how long to spread them.
    """

    users: int
    at_ns: int
    over_ns: int


class BeginStage(_Value, frozen=True):
    """To all: what is due from `at_ns` (monotonic) on belongs to this stage, and it is the one that counts."""

    name: str
    at_ns: int


class AskStatus(_Value, frozen=True):
    """To all: tell of your peers, whenever you have the time. `serial` comes back with the answer."""

    serial: int
    question: Question


class Tell(_Value, frozen=True):
    """To all: tell what you have seen until now, in mid-interval. `serial` (above 0) comes back with it."""

    serial: int


class Halt(_Value, frozen=True):
    """To all: the run is about to end. Dial no more; what is being set up has a moment to come up, or is withdrawn."""


class Finish(_Value, frozen=True):
    """To all: stop the load, close in order, hand in the result."""


class Ready(_Value, frozen=True):
    """From a worker: prepared. A WLC worker tells where it listens, in the order of its WLCs."""

    addresses: tuple[tuple[str, int], ...] = ()


class Refused(_Value, frozen=True):
    """From a worker: it cannot do what it was assigned, as (where, expected, found)."""

    problems: tuple[tuple[str, str, str], ...]


class Progress(_Value, frozen=True):
    """From a worker: an interval is over.

    Attributes:
        active: sessions now.
        cpu_s: since the process began.
        queued_bytes: between loads: written, and not taken by the peers' TCP yet.
        health: how it fared so far; of a plan with users, whose load has no end that is known.
        mustered, pending: for how many users it was mustered last, and how many of their sessions are neither up nor
            failed.
    """

    interval: Interval
    active: int
    cpu_s: float
    queued_bytes: int
    health: WorkerHealth | None = None
    mustered: int = 0
    pending: int = 0


class Seen(_Value, frozen=True):
    """From a worker: what it saw of an interval that goes on; asked for, or because somebody waits for just that.

    Attributes:
        active, queued_bytes: as of `Progress`.
        serial: of the question, 0: nobody asked.
    """

    interval: Interval
    active: int
    queued_bytes: int
    serial: int = 0


class LoadOver(_Value, frozen=True):
    """From a worker: a load is over, as far as it is concerned; what it saw until now, and how it fared."""

    interval: Interval
    health: WorkerHealth
    queued_bytes: int


class Halted(_Value, frozen=True):
    """From a worker: it has halted, and nothing that it has begun is being set up any more."""


class Alive(_Value, frozen=True):
    """From a worker, every second: one that says nothing for 30 s, and computes nothing, is given up."""


class Done(_Value, frozen=True):
    """From a worker: its last interval, how it fared, and how many handshakes it did not trace, if it was to.

    Attributes:
        absence: of the sessions that it was to have; None: others look after them.
    """

    interval: Interval
    health: WorkerHealth
    untraced: int = 0
    absence: Absence | None = None


class StatusPart(_Value, frozen=True):
    """From a worker: a part of an answer; the last one has the counts, or says why there are none."""

    serial: int
    rows: tuple[PeerRow, ...] = ()
    counts: SideCounts | None = None
    trouble: str = ""


ToWorker = Assignment | Dial | StartLoad | CutLoad | EndLoad | Muster | BeginStage | AskStatus | Tell | Halt | Finish
FromWorker = Ready | Refused | Alive | Progress | Seen | LoadOver | Halted | StatusPart | Traced | Done

Outgoing = TypeVar("Outgoing")
Incoming = TypeVar("Incoming")


@cache
def decoder_of(incoming: Hashable) -> msgspec.msgpack.Decoder[Any]:
    """Of values of a type. Made once in a process and all that are forked from it: it takes longer than to fork."""
    return msgspec.msgpack.Decoder(incoming, dec_hook=read_unit)


class Channel(Generic[Outgoing, Incoming]):
    """Values in both directions over a pair of byte streams, each with its length before it."""

    def __init__(self, send: trio.abc.SendStream, receive: trio.abc.ReceiveStream, incoming: Hashable) -> None:
        self._send_stream = send
        self._receive_stream = receive
        self._decoder: msgspec.msgpack.Decoder[Incoming] = decoder_of(incoming)
        self._sending = trio.Lock()
        self._buffer = bytearray()

    async def send(self, value: Outgoing) -> None:
        """Send one value, whole even if the caller is cancelled: half a value would spoil all that follow.

        Raises:
            trio.BrokenResourceError: the other process is gone.
        """
        data = msgspec.msgpack.encode(value, enc_hook=write_unit)
        with trio.CancelScope(shield=True):
            async with self._sending:  # one value after the other, whichever task has them
                await self._send_stream.send_all(len(data).to_bytes(_LENGTH_BYTES, "big") + data)

    async def receive(self) -> Incoming | None:
        """The next value, or None when the other process closed its end."""
        head = await self._exactly(_LENGTH_BYTES)
        if head is None:
            return None
        size = int.from_bytes(head, "big")
        assert size <= _MAX_VALUE_BYTES, "our own processes do not send that much"
        data = await self._exactly(size)
        return None if data is None else self._decoder.decode(data)

    async def aclose(self) -> None:
        """Close both streams."""
        await self._send_stream.aclose()
        await self._receive_stream.aclose()

    async def _exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            chunk = await self._receive_stream.receive_some(_CHUNK_BYTES)
            if not chunk:
                return None
            self._buffer += chunk
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data
