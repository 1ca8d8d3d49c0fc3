"""The kinds of load: what a run does to its target. Plans, figures and reports all differ by it."""

from __future__ import annotations

from enum import StrEnum


class LoadKind(StrEnum):
    """`load.kind` of a scenario."""

    NOTIFY = "notify"  # sessions that stay up, and notifications over them
    HANDSHAKE = "handshake"  # connect, shake hands, close; no session
