"""How well a found layout reads the frames of a second capture, beside the layout that made them.

Both are applied to every frame. A field of the truth is found if in at least 95 % of the places where it lies the found
layout has a span with the same ends and a right role; a found field is right the other way round. Right is the truth's
role or one that it accepts; what never varies may be a constant, and constants may be joined and cut.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.inference.layouts import TRUTH_KEYS, without
from loadgen.infer.layout_document import LayoutDocument, LayoutField, layout_from
from loadgen.infer.layout_reading import FieldSpan, LayoutReader

Table = dict[str, Any]
_FLAT = frozenset({"constant", "padding"})
_ENOUGH = 0.95
# In the order in which they are printed, with what each is to reach.
FIGURES = {
    "bound_f1": 0.92,
    "place_recall": 0.80,
    "f1": 0.80,
    "core_f1": 0.93,
    "frames": 0.999,
    "explained": 0.90,
    "messages": None,
    "names": None,
}


@dataclass
class Truth:
    """The layout that a capture was made with, and what else is right."""

    layout: LayoutDocument
    accepted: dict[int, frozenset[str]]  # by the id() of fields, which live as long as the layout
    core: frozenset[str]

    def roles(self, span: FieldSpan) -> frozenset[str]:
        """All that are right for a span of it."""
        roles = {span.role} | self.accepted.get(id(span.field), frozenset())
        if span.role == "tlv_type":
            roles |= {"constant", "enum"}
        if span.path.endswith("/<>length"):
            roles.add("constant")
        if roles & _FLAT:
            roles |= _FLAT
        if "number" in roles:
            roles |= {"counter", "enum"}
        return frozenset(roles)


def _fields_of(node: Any) -> Iterator[Any]:
    """The tables or Structs of all fields, in one order."""
    if isinstance(node, dict):
        if "role" in node and "at" in node and "size" in node:
            yield node
            return
        for value in node.values():
            yield from _fields_of(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _fields_of(value)


def _fields_in(layout: LayoutDocument, table: Table) -> Iterator[LayoutField]:
    """Fields of a layout in the order of its tables."""

    def walk(made: Any, told: Any) -> Iterator[LayoutField]:
        if isinstance(made, LayoutField):
            yield made
        elif isinstance(told, dict):
            for key, value in told.items():
                name = "sender" if key == "from" else key
                if isinstance(value, dict | list) and not isinstance(made, str):
                    yield from walk(getattr(made, name), value)
        elif isinstance(told, list):
            for mine, value in zip(made, told, strict=True):
                yield from walk(mine, value)

    return walk(layout, table)


def truth_for(document: Table, answer: LayoutDocument) -> Truth:
    """The truth, with those of its equal descriptions of a header's field that the answer uses."""
    used = {(each.at, each.size, each.role) for each in answer.header.fields}
    fields: list[Table] = []
    for each in document["header"]["fields"]:
        for pieces in each.get("alternatives", ()):
            if all((piece["at"], piece["size"], piece["role"]) in used for piece in pieces):
                common = {key: value for key, value in each.items() if key not in ("type", "alternatives", "value")}
                fields += [common | piece | {"name": f"{each['name']}_{i}"} for i, piece in enumerate(pieces)]
                break
        else:
            fields.append(each)
    table = document | {"header": document["header"] | {"fields": fields}}
    plain = without(table, TRUTH_KEYS)
    layout = layout_from(plain)
    accepted = {}
    for told, made in zip(_fields_of(table), _fields_in(layout, plain), strict=True):
        roles = {*told.get("accept", ())} | (_FLAT if told.get("single_valued") else set())
        accepted[id(made)] = frozenset(roles)
    return Truth(layout, accepted, frozenset(m["name"] for m in document["messages"] if m.get("core")))


@dataclass
class _Counts:
    """Of each field, how often it lay somewhere, and how often that was right."""

    there: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)
    claims: Counter[str] = field(default_factory=Counter)  # of the answer, those of role unknown too

    def share(self, hits: Counter[str], of: Counter[str] | None = None, keys: set[str] | None = None) -> float:
        counted = of or self.there
        chosen = [key for key in counted if keys is None or key in keys]
        return _ratio(sum(hits[key] >= _ENOUGH * counted[key] for key in chosen), len(chosen))


@dataclass
class _Score:
    truth: _Counts = field(default_factory=_Counts)
    answer: _Counts = field(default_factory=_Counts)
    of_core: set[str] = field(default_factory=set)
    said_of_core: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    kinds: defaultdict[str, Counter[Any]] = field(default_factory=lambda: defaultdict(Counter))
    bounds: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    clear_bytes: int = 0
    explained_bytes: int = 0


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _f1(precision: float, recall: float) -> float:
    return _ratio(2 * precision * recall, precision + recall)


def score(
    document: Table, answer: LayoutDocument, streams: Sequence[Mapping[str, bytes]], frames: Sequence[Table]
) -> dict[str, float]:
    """Args: document: the truth. streams: of each session, each side's bytes. frames: rows of `frames.jsonl`."""
    truth = truth_for(document, answer)
    true_reader, reader = LayoutReader(truth.layout), LayoutReader(answer)
    cuts = [{side: {*reader.cut(stream[side])} for side in ("mse", "wlc")} for stream in streams]
    counted = _Score()
    whole = 0
    for row in frames:
        side, start, end = row["from"], row["offset"], row["offset"] + row["size"]
        frame = streams[row["session"]][side][start:end]
        is_cut = (start, end) in cuts[row["session"]][side]
        whole += is_cut
        _frame(counted, truth, (true_reader, reader), frame, of_mse=side == "mse", is_cut=is_cut)
    return _figures(counted, _ratio(whole, len(frames)))


def _frame(
    counted: _Score,
    truth: Truth,
    readers: tuple[LayoutReader, LayoutReader],
    frame: bytes,
    *,
    of_mse: bool,
    is_cut: bool,
) -> None:
    true = readers[0].read(frame, of_client=of_mse)
    assert true.message is not None
    assert true.fits
    kind = f"{'mse' if of_mse else 'wlc'} {true.message.name}"
    message, spans = None, []
    if is_cut:
        read = readers[1].read(frame, of_client=of_mse)
        message = read.message
        spans = [span for span in read.spans if 0 <= span.start < span.end <= len(frame)]
    who = None if message is None else (message.id, message.sender, message.name)
    counted.kinds[kind][who] += 1
    in_core = true.message.name in truth.core
    roles = {(span.start, span.end): (span, truth.roles(span)) for span in true.spans}
    flat = _marked(frame, (span for span in spans if span.role in _FLAT))
    may_be_flat = _marked(frame, (span for span, right in roles.values() if right & _FLAT))
    opaque = _marked(frame, (span for span in true.spans if span.role == "unknown"))
    _count_truth(counted, kind, roles, spans, flat, in_core=in_core)
    explained = bytearray(len(frame))
    for span in spans:
        framing = span.path.startswith(("header", "trailer"))
        key = span.path if framing else f"{who}{span.path}"
        same = roles.get((span.start, span.end))
        is_flat = span.role in _FLAT and all(may_be_flat[span.start : span.end])
        good = is_flat or (same is not None and same[0].role != "unknown" and span.role in same[1])
        if span.role != "unknown" or not all(opaque[span.start : span.end]):
            counted.answer.claims[key] += 1
            counted.answer.placed[key] += same is not None or is_flat
        if span.role != "unknown":
            counted.answer.there[key] += 1
            counted.answer.right[key] += good
            counted.said_of_core[key][framing or in_core] += 1
        if good:
            explained[span.start : span.end] = b"\1" * (span.end - span.start)
    body = slice(truth.layout.header.size, len(frame) - truth.layout.trailer.size)
    counted.clear_bytes += len(frame[body]) - sum(opaque[body])
    counted.explained_bytes += sum(explained[body])
    mine = {at for span in spans for at in (span.start, span.end)} - {0, len(frame)}
    if message is None and is_cut:
        mine = {at for at in mine if at <= readers[1].layout.header.size}
    theirs = {span.start for span in true.spans} - {0}
    bounds = counted.bounds[kind]
    for index, number in enumerate((len(theirs & mine), len(mine - theirs), len(theirs - mine))):
        bounds[index] += number


def _marked(frame: bytes, spans: Iterator[FieldSpan]) -> bytearray:
    marked = bytearray(len(frame))
    for span in spans:
        marked[span.start : span.end] = b"\1" * (span.end - span.start)
    return marked


def _count_truth(
    counted: _Score,
    kind: str,
    roles: Mapping[tuple[int, int], tuple[FieldSpan, frozenset[str]]],
    spans: Sequence[FieldSpan],
    flat: bytearray,
    *,
    in_core: bool,
) -> None:
    found: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    for span in spans:
        found[span.start, span.end].add(span.role)
    for (start, end), (span, right) in roles.items():
        if span.role == "unknown":
            continue
        framing = span.path.startswith(("header", "trailer"))
        key = span.path if framing else f"{kind}{span.path}"
        if framing or in_core:
            counted.of_core.add(key)
        is_flat = bool(right & _FLAT) and all(flat[start:end])
        counted.truth.there[key] += 1
        counted.truth.right[key] += is_flat or bool(found[start, end] & right)
        counted.truth.placed[key] += is_flat or ((start, end) in found and bool(found[start, end]))


def _figures(counted: _Score, whole: float) -> dict[str, float]:
    truth, answer = counted.truth, counted.answer
    figures = {"precision": answer.share(answer.right), "recall": truth.share(truth.right)}
    figures["f1"] = _f1(figures["precision"], figures["recall"])
    core = {key for key, (others, ours) in counted.said_of_core.items() if ours >= others}
    figures["core_f1"] = _f1(answer.share(answer.right, keys=core), truth.share(truth.right, keys=counted.of_core))
    figures["place_precision"] = answer.share(answer.placed, answer.claims)
    figures["place_recall"] = truth.share(truth.placed)
    kinds = [*counted.bounds.values()]
    precisions = [_ratio(hit, hit + extra) if hit + missed else float(not extra) for hit, extra, missed in kinds]
    recalls = [_ratio(hit, hit + missed) if hit + missed else 1.0 for hit, _, missed in kinds]
    figures["bound_precision"] = _ratio(sum(precisions), len(kinds))
    figures["bound_recall"] = _ratio(sum(recalls), len(kinds))
    figures["bound_f1"] = _f1(figures["bound_precision"], figures["bound_recall"])
    figures["frames"] = whole
    owners: defaultdict[Any, set[str]] = defaultdict(set)
    for kind, found in counted.kinds.items():
        for who in found:
            owners[who].add(kind)
    known = named = 0
    for kind, found in counted.kinds.items():
        (who, times), *_ = found.most_common(1)
        if who is not None and times >= _ENOUGH * found.total() and len(owners[who]) == 1:
            known += 1
            named += who[2] == kind.partition(" ")[2]
    figures |= {"messages": _ratio(known, len(counted.kinds)), "names": _ratio(named, known)}
    figures["explained"] = _ratio(counted.explained_bytes, counted.clear_bytes)
    return figures
