"""The whole way from streams to a layout: frames, header, trailer, messages, bodies, and how sure each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

import msgspec
import numpy as np

from loadgen.capture.streams import Exchange
from loadgen.infer.across import AcrossSessions, across_sessions
from loadgen.infer.bodies import Context, Sample, infer_bodies
from loadgen.infer.checksums import FrameSum, find_checksum, trailing_constant, zeros_before
from loadgen.infer.cutting import Cut, cut_frames
from loadgen.infer.framing import FrameCut, find_framing, runs_of
from loadgen.infer.header import HeaderFound, find_header
from loadgen.infer.heads import Heads
from loadgen.infer.kinds import Named, by_bodies, name_messages
from loadgen.infer.layout_document import LayoutDocument
from loadgen.infer.opaque import opaque_end

__all__ = ["Hints", "Inference", "infer"]

Table = dict[str, Any]

# Frames that the rest is inferred from: of more, some sessions' and times'.
_MOST_FRAMES = 60_000
# Of fields of the header that have these roles it is certain how wide they are, mostly.
_WIDE = frozenset({"transaction", "sequence", "timestamp"})


@dataclass(frozen=True, slots=True)
class Hints:
    """What the operator knows.

    Attributes:
        aps, stations: MAC addresses. addresses: IPv4 addresses, such as the MSE's.
        interval_s: of notifications about one station, in seconds.
    """

    aps: frozenset[bytes] = frozenset()
    stations: frozenset[bytes] = frozenset()
    addresses: frozenset[bytes] = frozenset()
    interval_s: float | None = None


@dataclass(slots=True)
class Inference:
    """What was found.

    Attributes:
        layout: None: there is none; `why` says why.
        why: in a sentence.
        framing: other ways to cut frames that fit nearly as well, each in words.
        frames: that were cut. left_out: bytes that belong to no whole frame. found_again: places behind holes, or in
            the middle, from where on frames were found. lost: where none were found again.
        decoded: share of held-out frames that the layout reads from end to end.
        explained: share of their body bytes with a role that is known.
        unexplained: bytes of bodies without one, by message, as shares of all body bytes.
        across: how well bodies are read that are of other sessions than those that their layout is found from.
        doubts: what would decide what is open. left_alone: messages in which not all was looked for, by their names:
            that would have been too much work.
        dialogue: names of messages in the order in which a session begins, as (sender, name).
        checksum: how it is made; None: there is none.
    """

    layout: LayoutDocument | None = None
    why: str = ""
    framing: list[str] = field(default_factory=list)
    frames: int = 0
    left_out: int = 0
    found_again: int = 0
    lost: int = 0
    decoded: float = 0.0
    explained: float = 0.0
    unexplained: dict[str, float] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    across: AcrossSessions | None = None
    dialogue: list[tuple[str, str]] = field(default_factory=list)
    checksum: FrameSum | None = None


def infer(exchanges: Sequence[Exchange], hints: Hints | None = None) -> Inference:
    """The layout that a capture's sessions speak, as far as it can be told from them."""
    hints = hints or Hints()
    ends = _ends(exchanges)
    hints = replace(hints, addresses=hints.addresses | {address for both in ends.values() for address in both})
    runs = runs_of(exchanges)
    if not any(run.data for run in runs):
        return Inference(why="the capture has no bytes of any session")
    ways = find_framing(runs)
    if not ways:
        return Inference(why="no length was found that cuts the streams into frames")
    framing = ways[0][0]
    cut = cut_frames(exchanges, runs, framing)
    if len(cut.frames) < 4:
        return Inference(why=f"only {len(cut.frames)} whole frames were found, too few to tell anything")
    found = Inference(frames=len(cut.frames), left_out=cut.left_out, found_again=cut.found_again, lost=cut.lost)
    found.framing = [_in_words(way) for way, value in ways[1:4] if value > ways[0][1] - 0.1]
    wlcs = {each.conversation.index: each.conversation.server[0] for each in exchanges}
    _infer_layout(found, Heads(_thinned(cut), ends), framing, hints, wlcs)
    return found


def _ends(exchanges: Sequence[Exchange]) -> dict[int, tuple[bytes, bytes]]:
    """By session the IPv4 addresses of its ends: what is said of a controller may name its own."""
    found = {}
    for each in exchanges:
        client, server = (ip_address(host) for host, _ in (each.conversation.client, each.conversation.server))
        if client.version == server.version == 4:
            found[each.conversation.index] = client.packed, server.packed
    return found


def _in_words(framing: FrameCut) -> str:
    unit = "" if framing.unit == 1 else f" * {framing.unit}"
    return (
        f"length of {framing.size} bytes at {framing.at}, {framing.order}-endian: frame = length{unit} + {framing.add}"
    )


def _infer_layout(found: Inference, heads: Heads, framing: FrameCut, hints: Hints, wlcs: Mapping[int, str]) -> None:
    """Args: wlcs: of each session, the address of its WLC."""
    in_header: list[Table] = []
    trailer: list[Table] = []
    trailer_size = 0
    made = find_checksum(heads, framing)
    if made is not None:
        found.checksum = made[0]
        field_ = _checksum_field(*made, len(heads))
        if found.checksum.at >= 0:
            in_header.append(field_)
        else:
            trailer_size = -found.checksum.at
            trailer += [field_, *_behind_checksum(heads, found.checksum, framing)]
    if trailer_size and (size := zeros_before(heads, trailer_size, framing.at + framing.size)):
        trailer = [field_ | {"at": field_["at"] + size} for field_ in trailer]
        zeros: Table = {"name": "trailer_reserved", "at": 0, "size": size, "role": "padding", "type": "pad"}
        trailer.insert(0, zeros | {"confidence": 0.7, "evidence": "0 in all frames, in front of the checksum"})
        trailer_size += size
    if not trailer_size and (size := trailing_constant(heads, framing.at + framing.size)):
        trailer_size = size
        trailer.append(_end(0, size))
    if made is None and not trailer_size and (size := opaque_end(heads, framing.at + framing.size)):
        trailer_size = size
        evidence = "any value at the end of every frame, as a signature has: no checksum that is known"
        opaque: Table = {"name": "signature", "at": 0, "size": size, "role": "unknown", "type": "bytes"}
        trailer.append(opaque | {"confidence": 0.6, "evidence": evidence})
    header = find_header(heads, framing, in_header, trailer_size)
    named = name_messages(heads, header, trailer_size)
    found.doubts += header.doubts
    found.dialogue = named.dialogue
    messages, kinds, context = _messages(heads, header, named, trailer_size, hints, found)
    found.across = across_sessions(kinds, context, dict(enumerate(named.names)), wlcs)
    table: Table = {
        "format": "layout-1",
        "name": "inferred",
        "byte_order": header.order,
        "header": {
            "size": header.size,
            "frame_size": {"field": "length", "unit": framing.unit, "add": framing.add},
            "fields": header.fields,
        },
        "trailer": {"size": trailer_size, "fields": trailer},
        "messages": messages,
    }
    found.layout = msgspec.convert(table, LayoutDocument)


def _thinned(cut: Cut) -> list[Any]:
    """So many frames at most, in stretches of all streams."""
    frames = cut.frames
    if len(frames) <= _MOST_FRAMES:
        return frames
    keep = np.arange(len(frames)) * _MOST_FRAMES // len(frames) // 1000 % 2 == 0
    return [frame for frame, kept in zip(frames, keep.tolist(), strict=True) if kept][:_MOST_FRAMES]


def _checksum_field(checksum: FrameSum, right: float, frames: int) -> Table:
    evidence = checksum.evidence(right, frames)
    at = max(checksum.at, 0)
    found = {"name": "checksum", "at": at, "size": checksum.size, "role": "checksum", "type": f"u{8 * checksum.size}"}
    return found | {"confidence": 0.99, "evidence": evidence, "order": checksum.order}


def _behind_checksum(heads: Heads, checksum: FrameSum, framing: FrameCut) -> list[Table]:
    """The mark that ends every frame, if what is behind the checksum is the same in all of them."""
    size = -checksum.at - checksum.size
    return [_end(checksum.size, size)] if 0 < size <= trailing_constant(heads, framing.at + framing.size) else []


def _end(at: int, size: int) -> Table:
    evidence = "the same at the end of every frame"
    return {"name": "end", "at": at, "size": size, "role": "constant", "confidence": 0.9, "evidence": evidence}


def _messages(
    heads: Heads, header: HeaderFound, named: Named, trailer: int, hints: Hints, found: Inference
) -> tuple[list[Table], dict[int, list[Sample]], Context]:
    """Each message with its body; the samples of each, and what was known before any of them."""
    macs = hints.aps | hints.stations
    messages: list[Table] = []
    transactions: list[int | None] = [None] * len(heads)
    if header.transaction is not None:
        known = header.transaction
        order = known.get("order") or header.order
        transactions = [*heads.number(known["at"], known["size"], order).tolist()]
    total = explained = 0.0
    decoded = 0.0
    kinds = {}
    for number in range(len(header.ids)):
        rows = np.flatnonzero(header.kind == number).tolist()
        kinds[number] = [_sample(heads, header, row, trailer, transactions[row]) for row in rows]
    context = Context(
        order=header.order,
        macs=macs,
        addresses=hints.addresses,
        masks=named.masks,
        unit=_unit(heads),
        packed=_packed(header),
    )
    bodies = infer_bodies(kinds, context, dict(enumerate(named.names)))
    nodes = [bodies[number].node for number in range(len(header.ids))]
    names = by_bodies(named, nodes, [of_client for of_client, _ in header.ids])
    for number, (of_client, message_id) in enumerate(header.ids):
        name, samples, body = names[number], kinds[number], bodies[number]
        size = float(sum(len(sample.data) for sample in samples))
        total += size
        explained += size * body.explained
        decoded += len(samples) * body.fits
        if size and body.explained < 1.0:
            found.unexplained[name] = size * (1.0 - body.explained)
        found.doubts += body.alternatives
        if body.left_alone:
            found.left_alone.append(name)
        messages.append({"id": message_id, "from": "mse" if of_client else "wlc", "name": name, "body": body.node})
    found.decoded = decoded / len(heads)
    found.explained = explained / total if total else 1.0
    found.unexplained = {name: size / total for name, size in found.unexplained.items()}
    return messages, kinds, context


def _unit(heads: Heads) -> int:
    """Bytes that the sizes of all frames are multiples of, 8 at most; a few may have been cut out wrongly."""
    return next((unit for unit in (8, 4, 2) if np.mean(heads.size % unit == 0) > 0.999), 1)


def _packed(header: HeaderFound) -> bool | None:
    """Whether a number of the header is at no multiple of its size; where all are, bodies may still have others."""
    numbers = [each for each in header.fields if each["role"] in _WIDE and each["size"] in (2, 4, 8)]
    return any(each["at"] % min(each["size"], 4) for each in numbers) or None


def _sample(heads: Heads, header: HeaderFound, row: int, trailer: int, transaction: int | None) -> Sample:
    frame = heads.frames[row]
    data = frame.data[header.size : len(frame.data) - trailer]
    return Sample(data, frame.ns, frame.session, frame.of_client, transaction)
