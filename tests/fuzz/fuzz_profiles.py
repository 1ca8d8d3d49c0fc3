"""The wire profiles that targets read by: the reference, one that differs in everything, and one full of elements."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "nmsp")]

from nmsp_samples import OTHER_TOML, reference_document

from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import needed
from loadgen.nmsp.profile import profile_untrusted

# What stays at its place also among elements, in every other message.
_FIXED = ("sequence", "due_ns", "sent_ns", "subservice", "status")


def element_document() -> dict[str, Any]:
    """The reference profile with all that a profile may leave out in elements, heads and lengths in turns."""
    document = reference_document()
    for number, (name, message) in enumerate(sorted(document["messages"].items())):
        if name in needed(None) or not message["fields"]:
            continue
        repeat = message.get("repeat")
        counter = repeat["count"] if repeat is not None else None
        by_id = repeat is not None and number % 3 != 0
        fixed: list[dict[str, Any]] = []
        fields: list[dict[str, Any]] = []
        for field in message["fields"]:
            if field["name"] == counter:
                if not by_id:
                    fixed.append(field)
            elif "value" in field or (number % 2 and field["name"] in _FIXED):
                fixed.append(field)
            else:
                element = {key: field[key] for key in ("name", "type", "size") if key in field}
                fields.append({**element, "id": len(fields) + 1})
        if by_id:
            message["repeat"] = {"record": repeat["record"], "max": repeat["max"], "id": 200}
        elements = message.get("elements", {})
        fields += [{**field, "id": field["id"] + 100} for field in elements.get("fields", ())]
        message["fields"] = fixed
        message["elements"] = {
            "type": ("u8", "u16", "u32")[number % 3],
            "length": ("u16", "u32")[number % 2],
            "length_counts": ("value", "element")[number // 2 % 2],
            "fields": fields,
        }
    return document | {"name": "elements-1", "byte_order": "little"}


CODECS = [
    Codec(profile_untrusted(document, "a profile of the fuzz targets"))
    for document in (reference_document(), tomllib.loads(OTHER_TOML), element_document())
]
