"""Profiles whose dialogues differ from the usual one in everything that a dialogue may."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import loadgen.nmsp
from loadgen.nmsp.profile import WireProfile, profile_untrusted

REFERENCE = Path(loadgen.nmsp.__file__).with_name("reference.toml")

USUAL = """
opening = [
  { sender = "mse", message = "version_request" },
  { sender = "wlc", message = "version_response" },
  { sender = "wlc", message = "capability" },
  { sender = "mse", message = "subscribe_request" },
  { sender = "wlc", message = "subscribe_response" },
]
"""
# The WLC speaks first, asks for the version, and asks for echoes.
WLC_FIRST = """
opening = [
  { sender = "wlc", message = "version_request" },
  { sender = "mse", message = "version_response" },
  { sender = "wlc", message = "capability" },
  { sender = "mse", message = "subscribe_request" },
  { sender = "wlc", message = "subscribe_response" },
]
echo = "wlc"
"""
# Neither a version exchange nor a capability.
SHORT = """
opening = [
  { sender = "mse", message = "subscribe_request" },
  { sender = "wlc", message = "subscribe_response" },
]
"""
# No subscription: the MSE is told of all that is offered. Both ask for echoes.
UNASKED = """
opening = [
  { sender = "mse", message = "capability_request" },
  { sender = "wlc", message = "capability" },
]
echo = "both"
"""
# The MSE speaks last, and hears no answer. It ends sessions with a message.
UNANSWERED = """
opening = [
  { sender = "wlc", message = "capability" },
  { sender = "mse", message = "subscribe_request" },
]
echo = "both"
end = { sender = "mse", message = "unsubscribe_request" }
"""
# Only one side says anything, and nobody asks for echoes.
HAIL = """
opening = [{ sender = "wlc", message = "capability" }]
echo = "none"
"""
NOTHING = """
opening = []
"""
ENDED = USUAL + 'end = { sender = "mse", message = "unsubscribe_request" }'
DIALOGUES = {
    "usual": USUAL,
    "wlc-first": WLC_FIRST,
    "short": SHORT,
    "unasked": UNASKED,
    "unanswered": UNANSWERED,
    "hail": HAIL,
    "nothing": NOTHING,
    "ended": ENDED,
}


def document_with(dialogue: str) -> dict[str, Any]:
    """The reference profile with this dialogue, as TOML gives it."""
    return tomllib.loads(toml_with(dialogue))


def toml_with(dialogue: str, *lacks: str) -> str:
    """The same as text. Args: lacks: messages that this profile does not have."""
    tables = re.split(r"(?m)^(?=\[)", REFERENCE.read_text("utf-8"))
    names = tuple(f"[messages.{name}]" for name in lacks)
    kept = [table for table in tables if not table.startswith(names)]
    assert len(tables) - len(kept) == len(lacks)
    return f"{''.join(kept)}\n[dialogue]\n{dialogue}\n"


@cache
def profile_with(dialogue: str) -> WireProfile:
    """The same, compiled."""
    return profile_untrusted(document_with(dialogue), "dialogue")
