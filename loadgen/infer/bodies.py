"""The structure of a message's body, found from all bodies of its kind: a node of a layout, with evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadgen.infer.roles import judge
from loadgen.infer.samples import Context, Sample, Table, table_of
from loadgen.infer.tiling import devices, tile

__all__ = ["BodyFound", "Context", "Sample", "infer_body"]

# Rows that a table is judged by.
ROWS = 400
Node = dict[str, Any]


@dataclass(slots=True)
class BodyFound:
    """A body's structure. Fields of `node` have `confidence` (0 to 1), `evidence` (a sentence), and `alternatives`
    where others fit as well, beside what a layout says of them."""

    node: Node
    explained: float  # share of the bytes of all samples with a role that is known
    fits: float  # share of the samples that were not used, and that the node reads from end to end
    alternatives: list[str] = field(default_factory=list)  # to the structure as a whole


def thinned(samples: Sequence[Sample], most: int = ROWS) -> list[Sample]:
    """Some of many, in stretches: neighbours tell what goes on from one to the next."""
    if len(samples) <= most:
        return list(samples)
    stretch = most // 4
    starts = [round(i * (len(samples) - stretch) / 3) for i in range(4)]
    return [sample for start in starts for sample in samples[start : start + stretch]]


def fields_of(table: Table, context: Context) -> list[dict[str, Any]]:
    """The fields of a table's rows."""
    pieces = tile(table, context)
    macs = [piece for piece in pieces if piece.kind == "mac"]
    if macs:
        devices(table, macs)
        pieces = tile(table, context, macs)
    verdicts = [judge(table, piece, context) for piece in pieces]
    for piece, verdict in zip(pieces, verdicts, strict=True):
        if verdict.role == "rssi" and piece.size == 1:
            loud = table.cells[:, piece.at].view(np.int8).astype(np.int64)
            verdicts = [judge(table, other, context, loud) for other in pieces]
            break
    out: list[dict[str, Any]] = []
    for piece, verdict in zip(pieces, verdicts, strict=True):
        found: dict[str, Any] = {
            "name": f"{verdict.role}_{table.offset + piece.at}",
            "at": table.offset + piece.at,
            "size": piece.size,
            "role": verdict.role,
            "type": verdict.type,
            "confidence": round(verdict.confidence, 2),
            "evidence": verdict.evidence,
        }
        if piece.size > 1 and piece.kind in ("integer", "fixed") and piece.order != table.order:
            found["order"] = piece.order
        out.append(found)
    return out


def infer_body(samples: Sequence[Sample], context: Context) -> BodyFound:
    """The structure of the bodies of one kind of message, of which there is at least one, in the capture's order."""
    chosen = thinned(samples)
    shortest = min(len(sample.data) for sample in samples)
    node: Node = {"fields": fields_of(table_of(chosen, context.order, 0, shortest), context)} if shortest else {}
    if any(len(sample.data) != shortest for sample in samples):
        node["rest"] = "unknown"
    known = sum(found["size"] for found in node.get("fields", ()) if found["role"] != "unknown")
    total = sum(len(sample.data) for sample in samples)
    return BodyFound(node, known * len(samples) / total if total else 1.0, 1.0)
