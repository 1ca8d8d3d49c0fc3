"""The structure of a message's body, found from all bodies of its kind: a node of a layout, with evidence."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from loadgen.infer.addresses import find_macs, makers_of
from loadgen.infer.choosing import choose, fitting, has_known_elements, is_told
from loadgen.infer.few_elements import shared_forms
from loadgen.infer.masks import masks_of
from loadgen.infer.pricing import ROWS, few_stretches, gaps_of, given_pieces, is_text, slices, thinned
from loadgen.infer.roles import UNSIGNED, heard, judge
from loadgen.infer.samples import Context, Sample, Table, table_of
from loadgen.infer.shapes import BodyShape, ByteRun, Cut, ElementRun, Gap, Place, cut
from loadgen.infer.tiling import Piece, devices, tile
from loadgen.infer.widths import Laid, lay, settle

__all__ = ["BodyFound", "Context", "Sample", "infer_bodies", "infer_body"]

DEEPEST = 4
# Where there are so many kinds, addresses are looked for in so many bodies of all of them together.
MANY, ADDRESSED = 50, 6_000
Node = dict[str, Any]
Kind = TypeVar("Kind", bound=Hashable)


@dataclass(slots=True)
class BodyFound:
    """A body's structure. Fields of `node` have `confidence` (0 to 1), `evidence` (a sentence), and `alternatives`
    where others fit as well, beside what a layout says of them."""

    node: Node
    explained: float  # share of the bytes of all samples with a role that is known
    fits: float  # share of the samples that were not used, and that the node reads from end to end
    left_alone: bool = False  # there was no work left for all that could have been looked for
    alternatives: list[str] = field(default_factory=list)  # to the structure as a whole


@dataclass(slots=True)
class Learnt:
    """What one message tells about others."""

    networks: set[bytes] = field(default_factory=set)  # the first halves of IPv4 addresses
    masks: set[int] = field(default_factory=set)  # of subservices
    mask_size: int | None = None
    unsigned: bool = False  # whether RSSI is told without its sign
    laid: list[Laid] = field(default_factory=list)  # nodes whose numbers' widths are to be settled
    aligned: int = 0  # numbers of which it is certain how wide they are, at multiples of their sizes
    unaligned: int = 0  # and elsewhere
    forms: dict[ElementRun, int] = field(default_factory=dict)  # of elements; their highest type

    def add_numbers(self, table: Table, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if piece.kind != "integer" or piece.size < 2:
                continue
            top = piece.at if piece.order == "big" else piece.at + piece.size - 1
            if piece.clock is None and table.distinct[top] < 3:
                continue
            if (table.offset + piece.at) % min(piece.size, 4):
                self.unaligned += 1
            else:
                self.aligned += 1

    @property
    def packed(self) -> bool | None:
        """Whether numbers lie anywhere; None: too few tell."""
        if self.unaligned:
            return self.unaligned * 8 > self.aligned or None
        return False if self.aligned > 3 else None


@dataclass(slots=True)
class _Share:
    """Bytes with a role, of all that were looked at."""

    learnt: Learnt
    known: float = 0.0
    total: float = 0.0

    def add(self, known: float, total: float) -> None:
        self.known += known
        self.total += total


def _fields(table: Table, context: Context, given: Sequence[Piece]) -> tuple[list[Node], list[Piece]]:
    """The fields of a table's rows."""
    different = table.once() if not given else table
    pieces = tile(different, context, given)
    macs = [piece for piece in pieces if piece.kind == "mac"]
    if macs:
        devices(table, macs)
        if different is not table:
            devices(different, macs)
        pieces = tile(different, context, [*given, *macs])
    verdicts = [judge(table, piece, context) for piece in pieces]
    _, loud = heard(table, pieces, verdicts, context)
    if loud is not None:
        verdicts, _ = heard(table, pieces, [judge(table, piece, context, loud) for piece in pieces], context)
    out: list[Node] = []
    for piece, verdict in zip(pieces, verdicts, strict=True):
        found: Node = {
            "name": f"{verdict.role}_{table.offset + piece.at}",
            "at": table.offset + piece.at,
            "size": piece.size,
            "role": verdict.role,
            "type": verdict.type,
            "confidence": round(verdict.confidence, 2),
            "evidence": verdict.evidence,
        }
        if piece.size > 1 and piece.order != table.order:
            found["order"] = piece.order
        if still := _still(table, piece):
            found["alternatives"] = [f"{8 * (piece.size - still)} bits, and {still} reserved bytes of zeros"]
            found["decides"] = "a value that does not fit into fewer bytes"
        elif verdict.confidence < 0.5 and verdict.role in ("age", "number"):
            found["alternatives"] = ["an age" if verdict.role == "number" else "a number of something else"]
        out.append(found)
    return out, pieces


def _still(table: Table, piece: Piece) -> int:
    """How many high bytes of a number are zero in all rows: it may be narrower, with something reserved beside it."""
    if piece.kind not in ("integer", "count", "length") or piece.clock is not None:
        return 0
    downwards = range(piece.at, piece.at + piece.size)
    still = 0
    for column in downwards if piece.order == "big" else downwards[::-1]:
        if table.cells[:, column].any():
            break
        still += 1
    return still if still < piece.size else 0


def _name_at(fields: Sequence[Node], place: Place) -> str:
    at = place.at if not place.part else "next"
    ending = f"_{place.at}_of_{place.part}" if place.part else ""
    return next(str(found["name"]) for found in fields if found["at"] == at and str(found["name"]).endswith(ending))


def _in_gap(
    fields: list[Node],
    number: int,
    shape: BodyShape,
    rows: Sequence[Sample],
    context: Context,
    share: _Share,
    weight: float,
) -> None:
    """The fields of a gap, each behind what came before."""
    table = table_of(rows, context.order)
    found, _ = _fields(table, context, _with_mask(given_pieces(shape, context.order, number), context, table.width))
    for each in found:
        fields.append(each | {"at": "next", "name": f"{each['name']}_of_{number}"})
        share.add(
            each["size"] * len(rows) * weight if each["role"] != "unknown" else 0, each["size"] * len(rows) * weight
        )


def _in_part(place: tuple[int, int] | None, start: int, size: int) -> tuple[int, int] | None:
    """A place of a body as the place in a part of it; None: it is not in there."""
    if place is None or not start <= place[0] <= start + size - place[1]:
        return None
    return place[0] - start, place[1]


def _with_mask(given: list[Piece], context: Context, width: int) -> list[Piece]:
    """Pieces that are known of a part, with the mask if it is in there."""
    if context.mask_at is None or sum(context.mask_at) > width:
        return given
    at, size = context.mask_at
    if not all(piece.at + piece.size <= at or piece.at >= at + size for piece in given):
        return given
    return [*given, Piece(at, size, "mask", context.order, 0.0)]


def _groups(samples: Sequence[Sample], pieces: Sequence[Piece]) -> list[int]:
    """For what is inside of each sample: which device the sample is about."""
    macs = [piece for piece in pieces if piece.kind == "mac"]
    numbers: dict[tuple[int, bytes], int] = {}
    out = []
    for sample in samples:
        about = b"".join(sample.data[piece.at : piece.at + 6] for piece in macs[:2])
        out.append(numbers.setdefault((sample.group, about), len(numbers) + 1))
    return out


def _build(
    samples: Sequence[Sample], context: Context, shape: BodyShape, share: _Share, weight: float, depth: int
) -> Node:
    """The node of samples that a shape fits. `weight`: how many real ones each of them stands for."""
    node: Node = {}
    if not context.work.spend(1):
        return _left_alone(samples, share, weight)
    pieces: list[Piece] = []
    samples = fitting(shape, samples)
    chosen = thinned(samples, ROWS)
    weight *= len(samples) / len(chosen)
    if shape.fixed:
        table = table_of(chosen, context.order, 0, shape.fixed)
        given = _with_mask(given_pieces(shape, context.order), context, shape.fixed)
        node["fields"], pieces = _fields(table, context, given)
        kind = "record" if context.within else "element" if depth else "body"
        share.learnt.laid.append(lay(node["fields"], pieces, table, kind, context.unit or 1))
        known = sum(found["size"] for found in node["fields"] if found["role"] != "unknown")
        share.add(known * len(chosen) * weight, shape.fixed * len(chosen) * weight)
        share.learnt.add_numbers(table, pieces)
        for piece, found in zip(pieces, node["fields"], strict=True):
            share.learnt.unsigned |= str(found["evidence"]).endswith(UNSIGNED)
            if found["role"] == "ipv4" and len(chosen) > 7:
                halves = {sample.data[piece.at : piece.at + 2] for sample in chosen}
                share.learnt.networks |= halves - {bytes(2)}
            elif found["role"] == "mask":
                share.learnt.mask_size = piece.size
                share.learnt.masks |= {int(value) for value in table.numbers(piece.at, piece.size, piece.order)}
    groups = _groups(chosen, pieces)
    cuts = [found[1] for sample in chosen if (found := cut(shape, sample.data, 0, len(sample.data))) is not None]
    chosen, cuts = few_stretches(chosen, cuts)
    fields: list[Node] = node.setdefault("fields", [])
    for index, part in enumerate(shape.parts):
        if isinstance(part, ByteRun):
            _run(fields, index, part, chosen, cuts, share, weight)
            continue
        if isinstance(part, Gap):
            starts = {found[index][0][1] for found in cuts}
            mask_at = _in_part(context.mask_at, min(starts), part.size) if len(starts) == 1 else None
            gap = replace(context, mask_at=mask_at)
            _in_gap(fields, index + 1, shape, gaps_of(shape, index + 1, chosen), gap, share, weight)
            continue
        rows = [
            (kind, row)
            for sample, found, group in zip(chosen, cuts, groups, strict=True)
            for (kind, _, _), row in zip(found[index], slices(sample, found[index], group), strict=True)
        ]
        if isinstance(part, ElementRun):
            if rows:
                highest = max(kind for kind, _ in rows)
                share.learnt.forms[part] = max(highest, share.learnt.forms.get(part, 0))
            masked = _masked([found[index] for found in cuts], context.mask_at)
            context = replace(context, mask_at=None)
            node["elements"] = _elements(part, rows, context, share, weight, depth, masked)
        else:
            records: Node = {"name": f"records_{index}", "at": "next"}
            records["count"] = "rest" if part.count is None else {"field": _name_at(fields, part.count)}
            if part.count is not None and part.of > 1:
                records["count"]["of"] = part.of
            records["stride"] = part.stride
            inner = part.shape or _record_shape([row for _, row in rows], context, part.stride or 0, depth)
            if rows:
                within = replace(context, within=True, mask_at=None)
                records["record"] = _build([row for _, row in rows], within, inner, share, weight, depth + 1)
            else:
                records["record"] = {}
            node.setdefault("repeats", []).append(records)
    if shape.align > 1:
        node["rest"] = "padding"
    if not fields:
        del node["fields"]
    return node


def _left_alone(samples: Sequence[Sample], share: _Share, weight: float) -> Node:
    """A node of bytes: there is no work left."""
    size = sum(len(sample.data) for sample in samples)
    share.add(0.0, size * weight)
    if not size:
        return {}
    evidence = "left alone: what there is to look for in all messages is more than is looked for"
    found = {"name": "bytes", "at": "next", "size": "rest", "role": "unknown", "type": "bytes"}
    return {"fields": [found | {"confidence": 0.0, "evidence": evidence}]}


def _record_shape(rows: Sequence[Sample], context: Context, stride: int, depth: int) -> BodyShape:
    """Records of one size are tables, or have elements in them."""
    if rows and depth < DEEPEST:
        return choose(thinned(rows, ROWS), context)[0]
    return BodyShape(stride)


def _run(
    fields: list[Node],
    index: int,
    part: ByteRun,
    samples: Sequence[Sample],
    cuts: list[Cut],
    share: _Share,
    weight: float,
) -> None:
    values = [
        sample.data[start:stop] for sample, found in zip(samples, cuts, strict=True) for _, start, stop in found[index]
    ]
    total = sum(len(value) for value in values) * weight
    text = is_text(values)
    share.add(total if text else 0, total)
    sure = len(values) / (len(values) + 6.0)
    what = "printable" if text else "nothing that explains them"
    fields.append(
        {
            "name": f"text_{index}" if text else f"bytes_{index}",
            "at": "next",
            "size": "rest" if part.length is None else {"field": _name_at(fields, part.length)},
            "role": "text" if text else "unknown",
            "type": "text" if text else "bytes",
            "confidence": round(sure if text else 0.3 * sure, 2),
            "evidence": f"{len(set(values))} different in {len(values)}, {what}",
        }
    )


def _masked(cuts: Sequence[list[tuple[int, int, int]]], mask_at: tuple[int, int] | None) -> dict[int, tuple[int, int]]:
    """By the type of elements, where in them a mask is whose place in the body is known."""
    if mask_at is None:
        return {}
    at, end = mask_at[0], sum(mask_at)
    kinds = set()
    for found in cuts:
        # Zeros beside a mask are not its own, where they are a head's.
        kinds |= {(kind, stop - start, end - start) for kind, start, stop in found if start < end <= stop}
    if len(kinds) != 1:
        return {}
    kind, size, end = kinds.pop()
    wide = max((each for each in (2, 4, 8) if each <= end and end - each <= max(0, at)), default=0)
    wide = min(wide, sum(mask_at) - at) if wide else 0
    return {kind: (end - wide, wide)} if wide and end <= size else {}


def _elements(
    part: ElementRun,
    rows: Sequence[tuple[int, Sample]],
    context: Context,
    share: _Share,
    weight: float,
    depth: int,
    masked: Mapping[int, tuple[int, int]],
) -> Node:
    kinds: dict[int, list[Sample]] = {}
    for kind, row in rows:
        kinds.setdefault(kind, []).append(row)
    head = part.type_size + part.length_size
    share.add(head * len(rows) * weight, head * len(rows) * weight)
    known = []
    for kind in sorted(kinds):
        found = [row for row in kinds[kind] if row.data]
        value: Node = {}
        inner = replace(context, mask_at=masked.get(kind))
        if found and len(found) == len(kinds[kind]):
            whole = depth >= DEEPEST or _is_text(found)
            shape = BodyShape(0, (ByteRun(None),)) if whole else choose(found, inner)[0]
            value = _build(found, inner, shape, share, weight, depth + 1)
        elif found:
            value = _build(found, context, BodyShape(0, (ByteRun(None),)), share, weight, depth + 1)
        known.append({"id": kind, "name": f"element_{kind}", "value": value})
    found_elements: Node = {
        "at": "next",
        "type": {"size": part.type_size},
        "length": {"size": part.length_size, "counts": "element" if part.whole else "value"},
        "known": known,
    }
    if part.order != context.order and part.type_size > 1:
        found_elements["type"]["order"] = part.order
    if part.length_order != context.order and part.length_size > 1:
        found_elements["length"]["order"] = part.length_order
    return found_elements


def _is_text(rows: Sequence[Sample]) -> bool:
    """Whether elements are texts, as long as their heads say, however few lengths there are."""
    different = {row.data for row in rows}
    letters = sum(len({value[at : at + 1] for value in different}) for at in range(max(map(len, different))))
    # Zeros up to a multiple of four are no part of a text of one width.
    ended = len({len(value) for value in different}) < 2 and any(value.endswith(bytes(4)) for value in different)
    return letters > 4 and not ended and is_text([*different])


def infer_bodies(
    kinds: Mapping[Kind, Sequence[Sample]], context: Context, names: Mapping[Kind, str] | None = None
) -> dict[Kind, BodyFound]:
    """The structure of the bodies of all kinds of a capture: what one shows helps with the others.

    Args:
        kinds: of each the samples, in the order of the capture; none of them empty.
        context: what is known of all.
        names: of the messages, where they are known.
    """
    bodies = [[sample.data for sample in samples] for samples in kinds.values()]
    if len(kinds) > MANY:
        most = max(4, ADDRESSED // len(kinds))
        bodies = [some[:: len(some) // most + 1] for some in bodies]
    macs = context.macs | find_macs(bodies)
    networks = context.networks | {address[:2] for address in context.addresses}
    context = replace(context, macs=macs, makers=context.makers | makers_of(macs), networks=networks)
    names = names or {}
    found = {}
    everything, told = Learnt(), context.packed
    laid: dict[Kind, list[Laid]] = {}
    masks_at = masks_of(kinds, names, context.order)
    # Where they have been looked for together, there are no others.
    unmasked = _MASKED if masks_at or {*names.values()} >= _MASKED else frozenset()
    # What there is much of tells about the rest; what is offered comes before what is asked for.
    ordered = sorted(
        kinds, key=lambda kind: (len(kinds[kind]) < _MUCH, names.get(kind) != "capability", -len(kinds[kind]))
    )
    forms_then: dict[Kind, Mapping[ElementRun, int]] = {}
    for index, kind in enumerate(ordered):
        learnt = Learnt()
        context.work.share(len(ordered) - index)
        known = _known(context, kind, names, masks_at, unmasked)
        forms_then[kind] = context.forms
        found[kind] = infer_body(kinds[kind], known, learnt)
        laid[kind] = learnt.laid
        everything.aligned += learnt.aligned
        everything.unaligned += learnt.unaligned
        packed = everything.packed if told is None else told
        forms = {each: max(top, context.forms.get(each, 0)) for each, top in learnt.forms.items()}
        context = replace(context, forms={**context.forms, **forms})
        context = replace(context, networks=context.networks | learnt.networks, packed=packed)
        context = replace(context, unsigned=context.unsigned or learnt.unsigned)
        if names.get(kind) == "capability":
            listed = "repeats" in found[kind].node
            masks = context.masks | learnt.masks
            context = replace(context, masks=masks, mask_size=learnt.mask_size, listed=listed)
    if not context.forms:
        opening = [kind for kind in ordered if names.get(kind) in ("version_request", "version_response")]
        if len(opening) == 2:
            one, other = ([sample.data for sample in kinds[kind][:_MUCH]] for kind in opening)
            context = replace(context, forms=shared_forms(one, other, context))
    for kind in ordered:
        # What was looked at before any message had shown elements may have some that are always the same.
        if "elements" not in found[kind].node and context.forms.keys() - forms_then[kind].keys():
            known = _known(context, kind, names, masks_at, unmasked)
            if has_known_elements(kinds[kind], known):
                learnt = Learnt()
                found[kind] = infer_body(kinds[kind], known, learnt)
                laid[kind] = learnt.laid
    settle([each for kind in ordered for each in laid[kind]])
    return {kind: found[kind] for kind in kinds}


_MUCH = 40  # messages of a kind
_MASKED = frozenset({"capability", "subscribe_request", "subscribe_response"})


def _known(
    context: Context,
    kind: Kind,
    names: Mapping[Kind, str],
    masks_at: Mapping[Kind, tuple[int, int]],
    unmasked: frozenset[str],
) -> Context:
    """What is known of one kind of messages."""
    known = replace(context, name=names.get(kind), mask_at=masks_at.get(kind))
    return replace(known, listed=True) if known.name in unmasked else known


def infer_body(samples: Sequence[Sample], context: Context, learnt: Learnt | None = None) -> BodyFound:
    """The structure of the bodies of one kind of message, of which there is at least one, in the capture's order.

    Args:
        samples: of the kind.
        context: what is known.
        learnt: takes what helps with other messages.
    """
    chosen = thinned(samples, 2 * ROWS)
    # Every other one is held out, where there are enough.
    used, held = (chosen[::2], chosen[1::2]) if len(chosen) >= 8 else (chosen, chosen)
    shape, near = choose(used, context)
    good = [sample for sample in held if cut(shape, sample.data, 0, len(sample.data)) is not None]
    if len(good) * 50 < len(held) * 49:
        # It does not hold: what does hold for all of them is looked for, and tried on others.
        shape, near = choose(chosen, context)
        held = list(samples)
        good = [sample for sample in held if cut(shape, sample.data, 0, len(sample.data)) is not None]
    tail = min((len(sample.data) - len(sample.data.rstrip(b"\0")) for sample in chosen), default=0)
    if (
        tail
        and context.unit != 1
        and not is_told(shape)
        and len(chosen) > 20
        and len({len(sample.data) for sample in chosen}) > 3
    ):
        # All end with zeros, and nothing tells how long they are: perhaps it does without them.
        bare = [replace(sample, data=sample.data[: -min(tail, 4)]) for sample in chosen]
        other, others = choose(bare[::2], context)
        if is_told(other):
            shape, near, chosen, held = other, others, bare, bare[1::2]
            good = fitting(shape, held)
            tail = -1
    share = _Share(learnt or Learnt())
    kept = [sample for sample in chosen if cut(shape, sample.data, 0, len(sample.data)) is not None]
    node = _build(kept, context, shape, share, 1.0, 0)
    if tail < 0:
        node["rest"] = "padding"
    explained = share.known / share.total if share.total else 1.0
    return BodyFound(node, explained, len(good) / len(held), context.work.gave_up, near)
