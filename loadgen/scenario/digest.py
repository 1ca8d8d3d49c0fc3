"""What tells one load from another: of a plan's values, those that are not at their defaults.

A key that comes later, with a default under which nothing changes, so leaves the digest of every plan that does without
it as it was.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import msgspec

# Of what makes a digest. 1, until November 2026: the values of the keys that there were first, and of later ones those
# that were not at their defaults. Digests of two forms say nothing about each other.
FORM = 2
# Raised when a default changes: from then on, plans that leave it out are others.
_DEFAULTS = 1


def digest_of(chosen: dict[str, Any]) -> str:
    """12 hex digits over values that `chosen_of` took from a plan."""
    return hashlib.sha256(msgspec.json.encode([_DEFAULTS, chosen], order="deterministic")).hexdigest()[:12]


def chosen_of(value: Any) -> Any:
    """Of a Struct the values that are not its class's defaults, all the way down; what has none of them is left out."""
    if isinstance(value, msgspec.Struct):
        chosen = {}
        for name, default in _defaults(type(value)).items():
            found = getattr(value, name)
            inner = chosen_of(found)
            if inner != {} if isinstance(found, msgspec.Struct) else found != default:
                chosen[name] = inner
        return chosen
    if isinstance(value, tuple):
        return [chosen_of(item) for item in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


@cache
def _defaults(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(struct)}
