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
# A hail that nobody understands, an answer to it, something that is said again and again, and a goodbye.
OPAQUE = """
opening = [
  { sender = "wlc", message = "hail" },
  { sender = "mse", message = "hail_back" },
  { sender = "mse", message = "subscribe_request" },
  { sender = "wlc", message = "subscribe_response" },
]
end = { sender = "either", message = "bye" }

[opaque.hail]
id = 0x900
sender = "wlc"
hex = "aa 00000000 000000000000 0000000000000000 00 bb"
fields = [
  { name = "transaction", type = "u32", offset = 1 },
  { name = "mac", type = "mac", offset = 5 },
  { name = "time", type = "time", unit = "ns", size = 8, offset = 11 },
  { name = "counter", type = "u8", offset = 19 },
]

[opaque.hail_back]
id = 0x901
sender = "mse"
hex = "cc0000"
answers = "hail"
fields = [{ name = "transaction", type = "u16", offset = 1 }]

[opaque.alive]
id = 0x902
sender = "mse"
hex = "0000dd"
every = "100ms"
fields = [{ name = "counter", type = "u16", offset = 0 }]

[opaque.alive_back]
id = 0x903
sender = "wlc"
hex = ""
answers = "alive"

[opaque.bye]
id = 0x904
sender = "either"
hex = "00"
varies = true
"""
DIALOGUES = {
    "usual": USUAL,
    "wlc-first": WLC_FIRST,
    "short": SHORT,
    "unasked": UNASKED,
    "unanswered": UNANSWERED,
    "hail": HAIL,
    "nothing": NOTHING,
    "ended": ENDED,
    "opaque": OPAQUE,
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
