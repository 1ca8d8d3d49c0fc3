"""A question to a run that goes on, and what it answers. Both are JSON on the socket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

# Longer questions are refused unread.
MAX_QUESTION_BYTES = 4096
# Rows of one answer and side; more sessions than a machine has ports for.
MAX_ROWS = 1_000_000


class Subject(StrEnum):
    """What a question is about."""

    RUN = "run"  # what is going on; no worker is asked
    PEERS = "peers"  # and what every worker knows of its peers


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One question, one connection.

    Attributes:
        limit: most rows of a side.
        address, port: of these peers only; "" and 0: of all.
    """

    about: Subject
    limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_ROWS)] = 0
    address: Annotated[str, msgspec.Meta(max_length=255)] = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class PeerRow(msgspec.Struct, frozen=True, array_like=True):
    """One peer as one of our endpoints sees it. Counts are since the start of the run, over all of its connections.

    Attributes:
        owner: which of our WLCs or MSEs, a number of the plan; with its MAC.
        address, port: the peer's. A WLC sees the port of the latest connection.
        connection_id: of the latest connection, unique in its run and side; 0 if there was none.
        phase: where the connection stands ("active", "setting up", ...); "down" if there is none.
        offered, granted: masks; 0: not known, or not subscribed now.
        connections: tunnels that came up; disconnections: of those, how many have ended.
        sent, heard: messages by msg-id; notifications are among them, messages of unknown ids are not.
        unsupported: messages of unknown ids.
        echo_sent, echo_heard: of `sent` and `heard`, those of an echo.
    """

    owner: int
    owner_mac: str
    address: str
    port: int
    connection_id: int
    phase: str
    offered: int
    granted: int
    connections: int
    disconnections: int
    sent: dict[int, int]
    heard: dict[int, int]
    unsupported: int
    echo_sent: int
    echo_heard: int

    @property
    def active(self) -> bool:
        return self.phase == "active"

    @property
    def data_sent(self) -> int:
        """Frames that are no echo: echo is not in the data counters."""
        return sum(self.sent.values()) - self.echo_sent

    @property
    def data_heard(self) -> int:
        """Frames that are no echo, those with unknown ids among them."""
        return sum(self.heard.values()) + self.unsupported - self.echo_heard


# What of rows of one peer is added up.
_SUMS = ("connections", "disconnections", "unsupported", "echo_sent", "echo_heard")


class SideCounts(msgspec.Struct, frozen=True):
    """What is true of all peers of a side, or of one worker of it.

    Attributes:
        peers, active: how many there are, and how many of them are active.
        matching: how many the question was about.
        offered, granted: mask -> how many active peers have it.
        statistics: leaf of the data model's global statistics -> count; a leaf that is not there is not counted.
    """

    peers: int
    active: int
    matching: int
    offered: dict[int, int]
    granted: dict[int, int]
    statistics: dict[str, int]


class Side(msgspec.Struct, frozen=True):
    """The WLCs or the MSEs of a run.

    Attributes:
        role: "wlc" or "mse".
        endpoints: how many of them the plan has.
        capability: mask that our WLCs offer; 0 for MSEs, whose peers do.
        rows: inactive peers first, then in the plan's order; at most as many as were asked for.
        messages: msg-id -> what our wire profile calls it.
        missing: workers that did not answer, and why.
    """

    role: str
    endpoints: int
    capability: int
    transport: str
    counts: SideCounts
    rows: tuple[PeerRow, ...]
    messages: dict[int, str]
    missing: tuple[str, ...]


class RunInfo(msgspec.Struct, frozen=True):
    """What is going on. Times in s; `load_stage` is empty while there is no load."""

    pid: int
    scenario: str
    digest: str
    use: str
    kind: str
    stage: str
    load_stage: str
    elapsed_s: float
    total_s: float

    @property
    def plays_wlc(self) -> bool:
        return self.use in ("both", "serve-wlc")  # as in scenario/plan


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What a run says of itself; `sides` is empty if only that was asked."""

    run: RunInfo
    sides: tuple[Side, ...] = ()


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """Instead of an answer: why there is none."""

    refused: str


def one_per_address(rows: Iterable[PeerRow]) -> tuple[PeerRow, ...]:
    """The peers as a controller has them, which knows one by its address alone: all sessions of an address are one row.

    It is active if one of them is; counts are sums, and the connection is the latest one.
    """
    peers: dict[str, PeerRow] = {}
    for row in rows:
        known = peers.get(row.address)
        peers[row.address] = row if known is None else _together(known, row)
    return tuple(peers.values())


def _together(one: PeerRow, other: PeerRow) -> PeerRow:
    latest = max(one, other, key=lambda row: (row.active, row.connection_id))
    return msgspec.structs.replace(
        latest,
        connection_id=max(one.connection_id, other.connection_id),
        offered=one.offered | other.offered,
        granted=one.granted | other.granted,
        sent=_sum((one.sent, other.sent)),
        heard=_sum((one.heard, other.heard)),
        **{name: getattr(one, name) + getattr(other, name) for name in _SUMS},
    )


Key = TypeVar("Key")


def add_counts(parts: Sequence[SideCounts]) -> SideCounts:
    """What several workers of a side counted, together."""
    return SideCounts(
        peers=sum(part.peers for part in parts),
        active=sum(part.active for part in parts),
        matching=sum(part.matching for part in parts),
        offered=_sum(part.offered for part in parts),
        granted=_sum(part.granted for part in parts),
        statistics=_sum(part.statistics for part in parts),
    )


def _sum(parts: Iterable[dict[Key, int]]) -> dict[Key, int]:
    whole: Counter[Key] = Counter()
    for part in parts:
        whole.update(part)  # keeps what is 0: it was counted
    return dict(whole)
