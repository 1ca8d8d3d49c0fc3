"""Whether what some WLCs show holds for the others: bodies are found again from the sessions of half of them alone,
and the rest is read with that. Held-out sessions prove less: those of a WLC that came back are alike. Where there is
but one WLC, they are what there is. A held-out half of the frames proves least: they are of the same devices, at the
same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from loadgen.infer.bodies import infer_bodies
from loadgen.infer.layout_document import LayoutDocument
from loadgen.infer.layout_reading import LayoutReader
from loadgen.infer.pricing import thinned
from loadgen.infer.samples import Context, Sample
from loadgen.infer.work import MOST_STEPS, Work

__all__ = ["AcrossSessions", "across_sessions"]

# Of each kind of message, so many bodies are used, and so many read.
_USED, _READ = 400, 200


@dataclass(frozen=True, slots=True)
class AcrossSessions:
    """used, others: sessions. decoded: share of the frames of the others that are read from end to end; explained: of
    the bytes of their bodies, those with a role that is known."""

    used: int
    others: int
    decoded: float
    explained: float


def across_sessions(
    kinds: Mapping[int, Sequence[Sample]], context: Context, names: Mapping[int, str], wlcs: Mapping[int, str]
) -> AcrossSessions | None:
    """None: there are not two sessions.

    Args:
        kinds: of each the samples, in the order of the capture.
        context: what was known before any body was.
        names: of the messages.
        wlcs: of each session, whose it is.
    """
    sessions = Counter(sample.session for samples in kinds.values() for sample in samples)
    if len(sessions) < 2:
        return None
    used = _half(sessions, wlcs)
    of_used = {kind: [sample for sample in samples if sample.session in used] for kind, samples in kinds.items()}
    of_used = {kind: thinned(samples, _USED) for kind, samples in of_used.items() if samples}
    found = infer_bodies(of_used, replace(context, work=Work(MOST_STEPS // 4)), names)
    reader = LayoutReader(_layout({kind: body.node for kind, body in found.items()}, context.order))
    frames = decoded = explained = total = 0.0
    for kind, samples in kinds.items():
        others = [sample for sample in samples if sample.session not in used]
        read = thinned(others, _READ)
        weight = len(others) / len(read) if read else 0.0
        for sample in read:
            frame = reader.read(_frame(kind, sample.data), of_client=False)
            frames += weight
            total += weight * len(sample.data)
            if frame.fits:
                decoded += weight
                inside = [span for span in frame.spans if not span.path.startswith("header") and span.role != "unknown"]
                explained += weight * sum(span.end - span.start for span in inside)
    return AcrossSessions(len(used), len(sessions) - len(used), decoded / frames, explained / total if total else 1.0)


def _half(sessions: Counter[int], wlcs: Mapping[int, str]) -> set[int]:
    """The sessions of every other WLC, or, of one WLC, every other session: those with most frames first.

    Args: sessions: how many frames each has.
    """
    if len({wlcs[session] for session in sessions}) < 2:
        return {session for session, _ in sessions.most_common()[::2]}
    frames: Counter[str] = Counter()
    for session, count in sessions.items():
        frames[wlcs[session]] += count
    chosen = {wlc for wlc, _ in frames.most_common()[::2]}
    return {session for session in sessions if wlcs[session] in chosen}


def _frame(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(4, "big") + body


def _layout(nodes: Mapping[int, dict[str, Any]], order: str) -> LayoutDocument:
    """A layout of bodies alone, with the kind's number in front."""
    number = {"name": "kind", "at": 0, "size": 4, "role": "msg_id", "type": "u32", "order": "big"}
    table = {
        "format": "layout-1",
        "name": "bodies",
        "byte_order": order,
        "header": {"size": 4, "frame_size": {"field": "kind", "unit": 1, "add": 0}, "fields": [number]},
        "messages": [{"id": kind, "name": str(kind), "body": node} for kind, node in nodes.items()],
    }
    return msgspec.convert(table, LayoutDocument)
