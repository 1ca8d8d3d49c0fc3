"""Frames, cut out of captured streams: what inference works on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Frame"]


@dataclass(frozen=True, slots=True)
class Frame:
    session: int  # of its `Conversation`
    of_client: bool  # sent by the MSE; else by the WLC
    offset: int  # of its first byte in its direction's stream
    ns: int  # when its last byte was captured
    data: bytes  # whole: header, body, trailer
