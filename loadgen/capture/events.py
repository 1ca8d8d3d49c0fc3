"""What happened on the connections of a capture, in the order in which their bytes are whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Address", "Closed", "Conversation", "Data", "Event", "Hole", "How", "Opened"]

# (address as text, port)
Address = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """One TCP connection of a capture. A new SYN with the same addresses and ports is another one."""

    index: int  # from 0, by first packet
    client: Address  # who sent the SYN; where none was captured, the end whose port is not the server's
    server: Address
    began_ns: int  # first packet


class How(Enum):
    """How a direction ended."""

    FIN = "fin"
    RESET = "reset"
    # The capture ends, or a new connection has taken the addresses.
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Opened:
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of one direction, without gap to those before (but for a `Hole` between), each byte once."""

    conversation: Conversation
    of_client: bool
    offset: int  # of the first byte in this direction's stream; holes count
    ns: int  # when the packet that brought them was captured; of several, the one that made them whole
    data: bytes


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes that the capture does not have. They are never joined over, and never filled."""

    conversation: Conversation
    of_client: bool
    offset: int
    length: int | None  # None: it is not known where the stream goes on, and nothing of it follows
    ns: int


@dataclass(frozen=True, slots=True)
class Closed:
    conversation: Conversation
    of_client: bool
    ns: int
    how: How


Event = Opened | Data | Hole | Closed
