"""Links: a tunnel with its endpoint, where it stands, and what a turn of the loop reads from many of them."""

from __future__ import annotations

from typing import Generic, TypeVar

from loadgen.drive.peers import Peer
from loadgen.drive.phase import Phase
from loadgen.measure.stages import NO_STAGE
from loadgen.session.link import Endpoint
from loadgen.transport.tcp_info import NO_SEGMENTS
from loadgen.transport.tls import Tunnel


class Link:
    """A tunnel with its endpoint, and what the loop must remember of them."""

    __slots__ = (
        "endpoint",
        "fd",
        "notifications",
        "peer",
        "phase",
        "read",
        "rested_ns",
        "segments",
        "stage",
        "started_ns",
        "tail",
        "timer",
        "tls_started_ns",
        "tunnel",
        "waited_ns",
        "watched",
    )

    def __init__(self, fd: int, phase: Phase, started_ns: int) -> None:
        self.fd = fd
        self.phase = phase
        self.started_ns = started_ns
        self.tls_started_ns = 0
        self.stage = NO_STAGE  # in which its handshake was due; a session's belongs to none
        self.tunnel: Tunnel | None = None
        self.endpoint: Endpoint | None = None
        self.read = False  # what was read last was not taken yet
        self.tail = b""  # the beginning of a frame that has not arrived whole
        self.timer = 0  # serial of the timer that counts; earlier ones were replaced
        self.rested_ns = 0  # until then it was let alone on purpose: what came meanwhile was not read late
        self.waited_ns: int | None = None  # what it brought in its handshake, until we read it, if that is looked at
        self.watched = 0
        self.peer: Peer | None = None  # once its tunnel is up
        self.notifications = 0  # sent or received, once its session is over
        self.segments = NO_SEGMENTS  # as they were when they were looked at last


LinkT = TypeVar("LinkT", bound=Link)


class Reads(Generic[LinkT]):
    """What was read in a turn: from which links, where it lies in the receive buffer, when it came, and of a few how
    late we were.
    """

    __slots__ = ("ends", "lags", "links", "starts", "times_ns")

    def __init__(self) -> None:
        self.links: list[LinkT] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.times_ns: list[int] = []
        self.lags: list[tuple[int, int]] = []  # with the index of the read

    def clear(self) -> None:
        for column in (self.links, self.starts, self.ends, self.times_ns, self.lags):
            column.clear()
