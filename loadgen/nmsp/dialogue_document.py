"""The tables of a wire profile that say what is told in which order. What can be wrong with them is in `dialogue`.

Annotations are evaluated here, once, for whoever reads documents: as text, each would be compiled at every start.
"""

from typing import Literal

import msgspec

Side = Literal["wlc", "mse"]


class TurnDocument(msgspec.Struct, frozen=True):
    """One message of the opening, and who says it."""

    sender: Side
    message: str


class EndDocument(msgspec.Struct, frozen=True):
    """The message behind which a side says nothing more; its tunnel is closed then."""

    sender: Literal["wlc", "mse", "either"]
    message: str


# The order that is public: version exchange, capability, subscription.
USUAL_OPENING = (
    TurnDocument("mse", "version_request"),
    TurnDocument("wlc", "version_response"),
    TurnDocument("wlc", "capability"),
    TurnDocument("mse", "subscribe_request"),
    TurnDocument("wlc", "subscribe_response"),
)


class DialogueDocument(msgspec.Struct, frozen=True):
    """`[dialogue]`: what is said until a session is active, who asks for echoes, and what ends it.

    `echo` is who asks; "none": nobody does, and a side that need not say anything is never taken for dead.
    """

    opening: tuple[TurnDocument, ...] = USUAL_OPENING
    echo: Literal["mse", "wlc", "both", "none"] = "mse"
    end: EndDocument | None = None
