"""The structure of a message's body, found from all bodies of its kind: a node of a layout, with evidence."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

from loadgen.infer.addresses import find_macs, makers_of
from loadgen.infer.alike import begins_earlier, is_alike, is_unlike, lists_devices, shortest_records
from loadgen.infer.masks import find_masks
from loadgen.infer.pricing import PRICED, ROWS, gaps_of, given_pieces, is_text, price, slices, thinned
from loadgen.infer.roles import judge
from loadgen.infer.samples import Context, Sample, Table, table_of
from loadgen.infer.shapes import BodyShape, ByteRun, Cut, ElementRun, Gap, Place, Records, cut
from loadgen.infer.shaping import shapes_of
from loadgen.infer.tiling import Piece, devices, tile
from loadgen.infer.widths import Laid, lay, settle

__all__ = ["BodyFound", "Context", "Sample", "infer_bodies", "infer_body"]

# Bodies that shapes are looked for in, and shapes that are compared.
SEARCHED = 80
SHAPES = 40
CLOSE = 6
DEEPEST = 4
Node = dict[str, Any]
Kind = TypeVar("Kind", bound=Hashable)


@dataclass(slots=True)
class BodyFound:
    """A body's structure. Fields of `node` have `confidence` (0 to 1), `evidence` (a sentence), and `alternatives`
    where others fit as well, beside what a layout says of them."""

    node: Node
    explained: float  # share of the bytes of all samples with a role that is known
    fits: float  # share of the samples that were not used, and that the node reads from end to end
    alternatives: list[str] = field(default_factory=list)  # to the structure as a whole


@dataclass(slots=True)
class Learnt:
    """What one message tells about others."""

    networks: set[bytes] = field(default_factory=set)  # the first halves of IPv4 addresses
    masks: set[int] = field(default_factory=set)  # of subservices
    mask_size: int | None = None
    laid: list[Laid] = field(default_factory=list)  # nodes whose numbers' widths are to be settled


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
    for piece, verdict in zip(pieces, verdicts, strict=True):
        if verdict.role == "rssi" and piece.size == 1:
            loud = table.numbers(piece.at, 1, "big").astype("uint8").view("int8").astype("int64")
            verdicts = [judge(table, other, context, loud) for other in pieces]
            break
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


def _choose(samples: Sequence[Sample], context: Context) -> tuple[BodyShape, list[str]]:
    """The shape that costs least of those that fit, and what fits nearly as well."""
    some = thinned(samples, SEARCHED)
    shortest = min(len(sample.data) for sample in samples)
    varies = any(len(sample.data) != shortest for sample in samples)
    if context.mask_at is not None and not varies:
        return BodyShape(shortest), []
    plain = BodyShape(shortest, (ByteRun(None),) if varies else ())
    candidates = [plain]
    if varies:
        candidates += [BodyShape(at, (ByteRun(None),)) for at in _text_ends([sample.data for sample in some], shortest)]
    everything = [shape for shape in candidates if _holds(shape, samples)]
    if len(samples) > 1 and shortest <= 4096:
        ordered = sorted(samples, key=lambda sample: len(sample.data))
        # The shortest and longest prove most; but a few frames may have been cut out wrongly, so without them again.
        for searched in (
            [*some, *ordered[:4], *ordered[-4:]],
            some,
            thinned(ordered[len(ordered) // 20 :], SEARCHED // 4),
        ):
            bodies = [sample.data for sample in searched]
            found = [s for s in islice(shapes_of(bodies, context), SHAPES) if _holds(s, samples)]
            everything += found
            if found or len(samples) < 50:
                break
    # Where numbers tell the lengths of bodies that have many, nothing goes to the end by chance.
    told = [shape for shape in everything if _is_told(shape)]
    ended = [shape for shape in everything if any(isinstance(part, ElementRun) for part in shape.parts)]
    if len({len(sample.data) for sample in samples}) > 3 and (told or ended):
        everything = told + ended
    datas = [sample.data for sample in some]
    everything = [shape for shape in everything if not is_unlike(shape, datas)]
    everything = [shape for shape in everything if not begins_earlier(shape, datas)]
    listed = shortest_records([shape for shape in everything if lists_devices(shape, datas, context.macs)])
    if alike := [shape for shape in everything if is_alike(shape, datas)] or listed:
        everything = alike
    if len(everything) == 1:
        return everything[0], []
    # A body that comes again tells nothing new of where its parts are.
    different = list({sample.data: sample for sample in reversed(samples)}.values())[::-1]
    priced = thinned(different if len(different) * 2 < len(samples) else samples, PRICED)
    costs = sorted(
        (price(shape, _fitting(shape, priced), context) - _favour(shape), index)
        for index, shape in enumerate(everything)
    )
    close = [everything[index] for cost, index in costs[:CLOSE] if cost < costs[0][0] + 24]
    if len(close) == 1:
        return close[0], []
    finer = sorted(
        (
            (price(shape, _fitting(shape, priced), context, exact=True) - _favour(shape), index)
            for index, shape in enumerate(close)
        ),
    )
    near = [_describe(close[index]) for cost, index in finer[1:] if cost < finer[0][0] + 3]
    return close[finer[0][1]], near


def _is_told(shape: BodyShape) -> bool:
    for part in shape.parts:
        if isinstance(part, Gap):
            continue
        place = part.length if isinstance(part, ByteRun) else part.count if isinstance(part, Records) else None
        if place is None:
            return False
    return bool(shape.parts)


def _favour(shape: BodyShape) -> float:
    """Bits that speak for a shape: what a number tells is rarely chance, the less if the number is far away."""
    if any(isinstance(part, ElementRun) for part in shape.parts):
        return 40.0 if shape.fixed <= 8 else 0.0
    if not _is_told(shape):
        return 0.0
    far = max((shape.fixed - piece.at - piece.size for piece in given_pieces(shape, "big")), default=0)
    return 20.0 - 2.0 * far


def _text_ends(bodies: Sequence[bytes], shortest: int) -> list[int]:
    """Where a text can begin that goes to the end."""
    at = shortest
    while at > 0 and all(32 <= body[at - 1] < 127 for body in bodies):
        at -= 1
    return list(range(at, min(shortest, at + 3))) if is_text([body[at:] for body in bodies]) else []


def _fitting(shape: BodyShape, samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if cut(shape, sample.data, 0, len(sample.data)) is not None]


def _holds(shape: BodyShape, samples: Sequence[Sample]) -> bool:
    """Whether all bodies are cut from end to end; of many, all but one in a hundred."""
    return len(samples) - len(_fitting(shape, samples)) <= len(samples) // 100


def _describe(shape: BodyShape) -> str:
    parts = [f"{shape.fixed} bytes"]
    for part in shape.parts:
        if isinstance(part, ByteRun):
            parts.append("bytes to the end" if part.length is None else f"bytes counted at {part.length.at}")
        elif isinstance(part, Records):
            size = f"{part.stride} bytes" if part.stride else "varying length"
            parts.append(f"records of {size}" + (f" counted at {part.count.at}" if part.count else " to the end"))
        elif isinstance(part, Gap):
            parts.append(f"{part.size} bytes")
        else:
            parts.append(f"elements of type u{8 * part.type_size} and length u{8 * part.length_size}")
    return ", ".join(parts)


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
    found, _ = _fields(table, context, given_pieces(shape, context.order, number))
    for each in found:
        fields.append(each | {"at": "next", "name": f"{each['name']}_of_{number}"})
        share.add(
            each["size"] * len(rows) * weight if each["role"] != "unknown" else 0, each["size"] * len(rows) * weight
        )


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
    pieces: list[Piece] = []
    samples = _fitting(shape, samples)
    chosen = thinned(samples, ROWS)
    weight *= len(samples) / len(chosen)
    if shape.fixed:
        table = table_of(chosen, context.order, 0, shape.fixed)
        given = given_pieces(shape, context.order)
        if context.mask_at is not None and depth == 0 and not given and sum(context.mask_at) <= shape.fixed:
            given = [Piece(*context.mask_at, "mask", context.order, 0.0)]
        node["fields"], pieces = _fields(table, context, given)
        kind = "record" if context.within else "element" if depth else "body"
        share.learnt.laid.append(lay(node["fields"], pieces, table, kind))
        known = sum(found["size"] for found in node["fields"] if found["role"] != "unknown")
        share.add(known * len(chosen) * weight, shape.fixed * len(chosen) * weight)
        for piece, found in zip(pieces, node["fields"], strict=True):
            if found["role"] == "ipv4" and len(chosen) > 7:
                halves = {sample.data[piece.at : piece.at + 2] for sample in chosen}
                share.learnt.networks |= halves - {bytes(2)}
            elif found["role"] == "mask":
                share.learnt.mask_size = piece.size
                share.learnt.masks |= {int(value) for value in table.numbers(piece.at, piece.size, piece.order)}
    groups = _groups(chosen, pieces)
    cuts = [found[1] for sample in chosen if (found := cut(shape, sample.data, 0, len(sample.data))) is not None]
    fields: list[Node] = node.setdefault("fields", [])
    for index, part in enumerate(shape.parts):
        if isinstance(part, ByteRun):
            _run(fields, index, part, chosen, cuts, share, weight)
            continue
        if isinstance(part, Gap):
            _in_gap(fields, index + 1, shape, gaps_of(shape, index + 1, chosen), context, share, weight)
            continue
        rows = [
            (kind, row)
            for sample, found, group in zip(chosen, cuts, groups, strict=True)
            for (kind, _, _), row in zip(found[index], slices(sample, found[index], group), strict=True)
        ]
        if isinstance(part, ElementRun):
            node["elements"] = _elements(part, rows, context, share, weight, depth)
        else:
            records: Node = {"name": f"records_{index}", "at": "next"}
            records["count"] = "rest" if part.count is None else {"field": _name_at(fields, part.count)}
            records["stride"] = part.stride
            inner = part.shape or _record_shape([row for _, row in rows], context, part.stride or 0, depth)
            if rows:
                within = replace(context, within=True)
                records["record"] = _build([row for _, row in rows], within, inner, share, weight, depth + 1)
            else:
                records["record"] = {}
            node.setdefault("repeats", []).append(records)
    if shape.align > 1:
        node["rest"] = "padding"
    if not fields:
        del node["fields"]
    return node


def _record_shape(rows: Sequence[Sample], context: Context, stride: int, depth: int) -> BodyShape:
    """Records of one size are tables, or have elements in them."""
    if rows and depth < DEEPEST:
        return _choose(thinned(rows, ROWS), context)[0]
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


def _elements(
    part: ElementRun, rows: Sequence[tuple[int, Sample]], context: Context, share: _Share, weight: float, depth: int
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
        if found and len(found) == len(kinds[kind]):
            shape = _choose(found, context)[0] if depth < DEEPEST else BodyShape(0, (ByteRun(None),))
            value = _build(found, context, shape, share, weight, depth + 1)
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


def infer_bodies(
    kinds: Mapping[Kind, Sequence[Sample]], context: Context, names: Mapping[Kind, str] | None = None
) -> dict[Kind, BodyFound]:
    """The structure of the bodies of all kinds of a capture: what one shows helps with the others.

    Args:
        kinds: of each the samples, in the order of the capture; none of them empty.
        context: what is known of all.
        names: of the messages, where they are known.
    """
    macs = context.macs | find_macs([[sample.data for sample in samples] for samples in kinds.values()])
    networks = context.networks | {address[:2] for address in context.addresses}
    context = replace(context, macs=macs, makers=context.makers | makers_of(macs), networks=networks)
    names = names or {}
    found = {}
    laid: list[Laid] = []
    masks_at = _masks_at(kinds, names, context.order)
    # What is offered comes before what is asked for; then, what there is most of.
    for kind in sorted(kinds, key=lambda kind: (names.get(kind) != "capability", -len(kinds[kind]))):
        learnt = Learnt()
        known = replace(context, name=names.get(kind), mask_at=masks_at.get(kind))
        found[kind] = infer_body(kinds[kind], known, learnt)
        laid += learnt.laid
        context = replace(context, networks=context.networks | learnt.networks)
        if names.get(kind) == "capability":
            listed = "repeats" in found[kind].node
            masks = context.masks | learnt.masks
            context = replace(context, masks=masks, mask_size=learnt.mask_size, listed=listed)
    settle(laid)
    return {kind: found[kind] for kind in kinds}


def _masks_at(
    kinds: Mapping[Kind, Sequence[Sample]], names: Mapping[Kind, str], order: str
) -> dict[Kind, tuple[int, int]]:
    """Of messages about subservices, where their masks are: (first byte, bytes)."""
    named = {name: kind for kind, name in names.items()}
    request, response = named.get("subscribe_request"), named.get("subscribe_response")
    if request is None or response is None:
        return {}
    offer = named.get("capability")
    asked = kinds[request], kinds[response]
    # Where what is called a capability has none: there may be another message of an opening, or none in the capture.
    others = [kind for kind, samples in kinds.items() if len(samples) <= len(asked[0]) and not samples[0].of_client]
    for kind in [offer, *others, None]:
        if kind in (request, response):
            continue
        found = find_masks([] if kind is None else kinds[kind], *asked, order)
        if found is not None:
            places = zip((kind, request, response), found, strict=True)
            return {each: place for each, place in places if each is not None and place is not None}
    return {}


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
    shape, near = _choose(used, context)
    good = [sample for sample in held if cut(shape, sample.data, 0, len(sample.data)) is not None]
    if len(good) * 50 < len(held) * 49:
        # It does not hold: what does hold for all of them is looked for, and tried on others.
        shape, near = _choose(chosen, context)
        held = list(samples)
        good = [sample for sample in held if cut(shape, sample.data, 0, len(sample.data)) is not None]
    tail = min((len(sample.data) - len(sample.data.rstrip(b"\0")) for sample in chosen), default=0)
    if (
        tail
        and context.unit != 1
        and not _is_told(shape)
        and len(chosen) > 20
        and len({len(sample.data) for sample in chosen}) > 3
    ):
        # All end with zeros, and nothing tells how long they are: perhaps it does without them.
        bare = [replace(sample, data=sample.data[: -min(tail, 4)]) for sample in chosen]
        other, others = _choose(bare[::2], context)
        if _is_told(other):
            shape, near, chosen, held = other, others, bare, bare[1::2]
            good = _fitting(shape, held)
            tail = -1
    share = _Share(learnt or Learnt())
    kept = [sample for sample in chosen if cut(shape, sample.data, 0, len(sample.data)) is not None]
    node = _build(kept, context, shape, share, 1.0, 0)
    if tail < 0:
        node["rest"] = "padding"
    return BodyFound(node, share.known / share.total if share.total else 1.0, len(good) / len(held), near)
