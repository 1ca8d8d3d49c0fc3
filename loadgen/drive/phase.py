"""Where a link stands."""

from __future__ import annotations

from enum import IntEnum

# What a fault is called when the other side has given a link up.
GIVEN_UP = frozenset({"closed", "closed_without_notify", "closed_mid_frame", "reset", "unexpected_eof_while_reading"})


class Phase(IntEnum):
    """In the order in which a link goes through it; `phase_names` of a driver has what errors are counted under."""

    CONNECTING = 0
    HANDSHAKING = 1
    SETTING_UP = 2
    ACTIVE = 3
    CLOSING = 4
    CLOSED = 5


# For what is done with every link: looking a member up in an enum costs as much as ten comparisons.
CONNECTING, HANDSHAKING, SETTING_UP, ACTIVE, CLOSING, CLOSED = Phase
