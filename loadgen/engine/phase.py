"""Where a link stands."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """In the order in which a link goes through it; `phase_names` of a driver has what errors are counted under."""

    CONNECTING = 0
    HANDSHAKING = 1
    SETTING_UP = 2
    ACTIVE = 3
    CLOSING = 4
    CLOSED = 5
