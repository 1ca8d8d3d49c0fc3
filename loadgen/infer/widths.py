"""How wide numbers are that zeros stand beside: they may be their high bytes, or reserved.

One field alone cannot tell. All fields of a capture together can: whether numbers lie at multiples of their width,
how often something is reserved where no number could reach, how wide other fields of the same kind are. What makes
the whole capture likeliest is taken: style and widths are estimated in turns, each from the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any

from loadgen.infer.samples import Table
from loadgen.infer.tiling import CHANNELS, Piece

__all__ = ["Laid", "lay", "settle"]

Node = dict[str, Any]

_NUMBERS = frozenset({"integer", "count", "length"})  # kinds of pieces
# How wide such fields usually are, by role: shares, and how many fields of a capture it takes to outweigh them.
_USUAL: dict[str, dict[int, float]] = {
    "count": {1: 0.64, 2: 0.35, 4: 0.01},
    "length": {1: 0.55, 2: 0.38, 4: 0.07},
    "enum": {1: 0.78, 2: 0.18, 4: 0.04},  # of a device
    "choice": {1: 0.6, 2: 0.34, 4: 0.06},  # of a message
    "rssi": {1: 0.85, 2: 0.14, 4: 0.01},
    "level": {1: 0.92, 2: 0.07, 4: 0.01},  # others in dB
    "mask": {1: 0.03, 2: 0.17, 4: 0.45, 8: 0.35},
    "age": {1: 0.17, 2: 0.42, 4: 0.4, 8: 0.01},
    "counter": {1: 0.02, 2: 0.15, 4: 0.53, 8: 0.3},
    "seconds": {4: 0.96, 8: 0.04},
    "timestamp": {4: 0.3, 8: 0.7},
    "channel": {1: 0.97, 2: 0.03},
    "small": {1: 0.56, 2: 0.3, 4: 0.13, 8: 0.01},  # any number that is below 256 in all rows
    "number": {2: 0.4, 4: 0.5, 8: 0.1},
}
_LIKE = {"snr": "level", "noise": "level", "sequence": "counter", "transaction": "counter"}
_WEIGHT = 3.0
# Shares of numbers of a width whose highest byte that was ever used is the first, the second and so on.
_REACHED = {
    1: (1.0,),
    2: (0.5, 0.5),
    4: (0.25, 0.27, 0.28, 0.2),
    8: (0.1, 0.1, 0.2, 0.25, 0.15, 0.1, 0.05, 0.05),
}
# What is small whatever room it has.
_SMALL = frozenset({"count", "length", "enum", "choice", "rssi", "level", "channel", "small", "mask"})
_TIMES = frozenset({"seconds", "timestamp"})
_GAPS = {1: 0.42, 2: 0.28, 3: 0.13, 4: 0.12}
_NEVER = 1e-3
_NOWHERE = 1e-6
_ASKEW = 0.05  # of an aligned device's numbers, those that seem not to be: what is no number was taken for one
_TEXTS = (8, 16, 20, 24, 32, 40, 48, 64, 96, 128)
_OPEN = 0.2
_LARGE = frozenset({"number", "counter"})
_ALIKE = 0.8  # of large numbers side by side, those that are as wide as the others
_TURNS = 6
# Who aligns numbers has seldom holes between them; in front of one that high byte first ends where a wider one would,
# nobody has.
_HOLE, _NO_HOLE = 0.4, 0.15


@dataclass(slots=True)
class _Item:
    """A field that is no constant, with the zeros beside it on the side of its high bytes."""

    at: int  # of a number: its lowest byte if little-endian, else that behind it
    used: int  # bytes
    zeros: int  # columns that are zero in all rows, on the side of the high bytes
    group: str  # "": it has the width that it has
    place: str  # what is on that side of the zeros: field, constant, end (of the node)
    width: int  # as far as it is known
    index: int  # among the node's fields
    alike: int = 0  # the widest that most large numbers of the node can be, where there are several
    level: bool = False  # of what has the width that it has: whether it is RSSI, or another level
    is_wide: bool = False  # of what has the width that it has: whether it stands at multiples of four where numbers do

    def boundary(self) -> int:
        """Where it would begin on an aligned device: at multiples of this."""
        if not self.group:
            return 4 if self.is_wide else 1
        return min(self.width, 4) if self.width in (2, 4, 8) else 1

    def start(self, width: int, *, little: bool) -> int:
        return self.at if little else self.at - width

    def options(self) -> list[tuple[int, int]]:
        """(width, zeros that are left)."""
        if not self.group:
            return [(self.used, self.zeros)]
        return [(w, self.used + self.zeros - w) for w in _REACHED if self.used <= w <= self.used + self.zeros]


@dataclass(slots=True)
class Laid:
    """The fixed part of a node, as it was laid out."""

    fields: list[Node]  # of the node; changed in place
    count: int  # of them, those of the fixed part
    width: int
    little: bool
    rows: int
    kind: str  # body, record, element
    unit: int  # bytes that sizes of frames are multiples of
    still: list[bool]  # columns that are 0 in all rows
    items: list[_Item] = field(default_factory=list)


def lay(fields: list[Node], pieces: Sequence[Piece], table: Table, kind: str, unit: int = 1) -> Laid:
    """What `settle` needs of a node's fixed part, of which texts get a usual width at once."""
    little = table.order == "little"
    still = [table.distinct[i] == 1 and not table.cells[0, i] for i in range(table.width)]
    laid = Laid(fields, len(pieces), table.width, little, len(table), kind, unit, still)
    spans = []  # (first column, columns, whether it is a number, index)
    for index, (piece, found) in enumerate(zip(pieces, fields, strict=False)):
        if piece.kind == "text":
            found["size"] = _text_width(found, table)
            spans.append((piece.at, found["size"], False, index))
        elif piece.kind != "constant":
            bare = _bare(piece, found, table, still)
            spans.append((*(bare or (piece.at, piece.size)), bare is not None, index))
    taken = {column for at, size, *_ in spans for column in range(at, at + size)}
    for at, size, number, index in spans:
        column, step = (at + size, 1) if little else (at - 1, -1)
        zeros = 0
        while 0 <= column < table.width and still[column] and column not in taken:
            zeros += 1
            column += step
        if pieces[index].size == 1 and not zeros and _goes_below_zero(table, at, column, taken):
            at, size, column, number = min(at, column), 2, column + step, True
        place = "end" if not 0 <= column < table.width else "field" if column in taken else "constant"
        role = str(fields[index]["role"])
        group = _LIKE.get(role, role if role in _USUAL else "number") if number else ""
        clock = pieces[index].clock
        if group == "timestamp" and clock is not None and clock.unit == "s":
            group = "seconds"
        if group == "enum" and size == 1 and _are_channels(table, at):
            group = "channel"
        elif group == "enum" and kind == "body":
            group = "choice"
        elif group == "number" and size == 1:
            group = "small"
        wide = not number and (clock is not None or pieces[index].kind == "ipv4")
        level = not group and role in ("rssi", "snr", "noise")
        begins = at if little else at + size
        laid.items.append(_Item(begins, size, zeros, group, place, size, index, level=level, is_wide=wide))
    large = [item for item in laid.items if item.group in _LARGE and item.used > 1]
    widest = [max((width for width, _ in item.options()), default=item.used) for item in large]
    for order, item in enumerate(large if len(large) > 1 else []):
        # Those right beside it tell most.
        beside = {widest[other] for other in (order - 1, order + 1) if 0 <= other < len(large)}
        item.alike = widest[order] if widest[order] in beside else sorted(widest)[len(widest) // 3]
    return laid


def _bare(piece: Piece, found: Node, table: Table, still: Sequence[bool]) -> tuple[int, int] | None:
    """(first column, columns) of a number without the high bytes that are always zero; None: it is no number, or one
    that zeros beside it tell nothing of."""
    if piece.kind not in _NUMBERS:
        return None
    used = [column for column in range(piece.at, piece.at + piece.size) if not still[column]]
    if not used:
        return None
    if piece.order != table.order:
        # Of one byte it is the same number in either order.
        return (used[0], 1) if len(used) == 1 else None
    first, last = (piece.at, used[-1]) if piece.order == "little" else (used[0], piece.at + piece.size - 1)
    top = last if piece.order == "little" else first
    if str(found["type"]).startswith("i") and (table.cells[:, top] > 127).any():
        return None  # negative: no zeros stand above it
    return first, last - first + 1


def _are_channels(table: Table, at: int) -> bool:
    values = set(table.cells[:, at].tolist())
    return values <= CHANNELS and len(values) > 2 and max(values) > 11


def _goes_below_zero(table: Table, at: int, above: int, taken: set[int]) -> bool:
    """Whether a byte is always negative, with the sign of a wider number above it."""
    if not 0 <= above < table.width or above in taken or table.distinct[above] > 1 or table.cells[0, above] != 255:
        return False
    return table.distinct[at] > 2 and bool((table.cells[:, at] > 127).all())


def _text_width(found: Node, table: Table) -> int:
    """How wide a text is whose last bytes are always NUL: a width that texts have, if that leaves few of them."""
    size = int(found["size"])
    if size in _TEXTS:
        return size
    ends = found["at"] + size
    used = size
    while used and table.distinct[found["at"] + used - 1] == 1 and not table.cells[0, found["at"] + used - 1]:
        used -= 1
    narrower = [width for width in _TEXTS if used < width < size <= width + 3]
    if narrower:
        return max(narrower)
    zeros = 0
    while ends + zeros < table.width and not table.cells[:, ends + zeros].any():
        zeros += 1
    return min((width for width in _TEXTS if size < width <= size + zeros), default=size)


@dataclass(slots=True)
class _Style:
    """How a device lays out its fields."""

    aligned: bool
    reserved: float = 0.05  # share of places with something reserved
    filled: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: 0.15))  # ends of nodes
    usual: dict[str, dict[int, float]] = field(default_factory=lambda: {k: dict(v) for k, v in _USUAL.items()})

    def gap(self, zeros: int, share: float) -> float:
        return 1 - share if not zeros else share * _GAPS.get(zeros, 0.01)

    def place(self, laid: Laid, item: _Item, width: int, zeros: int, beyond: int) -> tuple[float, bool | None]:
        """How likely it is that so many zeros are beside a field, and whether that is something reserved (None: it
        tells nothing). Args: beyond: where what is on the other side of the zeros begins: at multiples of this."""
        if item.place == "constant":
            return self.gap(zeros, max(self.reserved, 0.1)), None
        start = item.start(width, little=laid.little)
        if item.place == "end":
            return self._at_end(laid, item, start + width if laid.little else 0, zeros)
        if not self.aligned:
            return self.gap(zeros, self.reserved), zeros > 0
        ends, begins = (start + width, start + width + zeros) if laid.little else (start - zeros, start)
        if begins % beyond:
            return self.gap(zeros, self.reserved), None  # it is not what it seems
        needed = -ends % beyond
        if zeros < needed:
            return _NEVER, None
        more = zeros - needed
        hole = _HOLE if needed else 1.0
        if not laid.little and item.group and width < 4 and not ends % 4 and (width + zeros) % 4 == 0:
            hole = _NO_HOLE
        if more and beyond > 1:
            # What is reserved keeps what is behind it aligned.
            return hole * self.reserved * (0.7 if more == beyond else 0.1), True
        return hole * self.gap(more, self.reserved), more > 0

    def _at_end(self, laid: Laid, item: _Item, ends: int, zeros: int) -> tuple[float, bool | None]:
        if not laid.little:  # the node's beginning
            if laid.kind == "element" and _is_alone(laid, item):
                # What is alone in an element has all of it.
                return (1.0 if not zeros else _NOWHERE), None
            return self.gap(zeros, self.reserved), zeros > 0
        share = self.filled[laid.kind] if self.aligned or laid.unit > 1 else self.reserved
        if laid.kind != "record" and zeros < laid.unit:
            share = max(share, 0.5)  # frames are filled up
        if self.aligned and zeros and zeros == -ends % 4:
            return _HOLE * max(share, 0.4), None
        return (1 - share if not zeros else share * (0.3 if zeros < 4 else 0.02)), None

    def likelihood(self, laid: Laid, item: _Item, width: int, zeros: int, beyond: int) -> tuple[float, bool | None]:
        own = (min(width, 4) if width in (2, 4, 8) else 1) if item.group else item.boundary()
        value, is_reserved = self.place(laid, item, width, zeros, beyond if laid.little else own)
        if self.aligned and item.start(width, little=laid.little) % own:
            value *= _ASKEW
        if item.group:
            reached = _REACHED[width][item.used - 1]
            if item.group in _SMALL:
                reached = 0.9 if item.used == 1 or item.group == "mask" else 0.1
            elif item.group in _TIMES:
                reached = 0.5
            if item.alike:
                value *= _ALIKE if width == item.alike else 1 - _ALIKE
            value *= self.usual[item.group].get(width, 0.001) * reached
        return max(value, 1e-12), is_reserved


def _is_alone(laid: Laid, item: _Item) -> bool:
    """Whether a number and the zeros in front of it are all that the node has."""
    return len(laid.items) == 1 and laid.width in _REACHED and item.at == item.used + item.zeros == laid.width


def _beyonds(laid: Laid) -> Iterator[tuple[_Item, int]]:
    """Each field with where the next one on the side of its high bytes would begin; the next one comes first."""
    last: _Item | None = None
    for item in laid.items[::-1] if laid.little else laid.items:
        yield item, last.boundary() if last is not None and item.place == "field" else 1
        last = item


def _learn(style: _Style, nodes: Sequence[Laid]) -> float:
    """One turn: widths as the style has it, and the style as the widths have it. Returns how likely all is (log)."""
    total = 0.0
    gaps, places = 0.5, 10.0
    widths: dict[str, dict[int, float]] = {k: {w: _WEIGHT * s for w, s in v.items()} for k, v in _USUAL.items()}
    ends: dict[str, list[float]] = defaultdict(lambda: [0.6, 4.0])
    for laid in nodes:
        weight = min(1.0, laid.rows / 8.0)
        for item, beyond in _beyonds(laid):
            told = [
                (*style.likelihood(laid, item, width, zeros, beyond), width, zeros) for width, zeros in item.options()
            ]
            if not told:
                continue
            whole = sum(value for value, *_ in told)
            total += log(whole) * weight
            best = max(told, key=lambda one: one[0])
            item.width = best[2]
            for value, is_reserved, width, zeros in told:
                share = value / whole * weight
                if is_reserved is not None:
                    gaps += share * is_reserved
                    places += share
                if item.place == "end" and laid.little:
                    ends[laid.kind][0] += share * (zeros > 0)
                    ends[laid.kind][1] += share
                if item.level:
                    # Levels of a device are as wide as each other.
                    for group in ("rssi", "level"):
                        widths[group][width] = widths[group].get(width, 0.0) + _WEIGHT * weight
                if width in widths.get(item.group, ()):
                    # What may be this or that is no evidence of what it is taken for.
                    widths[item.group][width] += share if len(told) == 1 else share * _OPEN
    style.reserved = gaps / places
    for kind, (filled, all_) in ends.items():
        style.filled[kind] = filled / all_
    style.usual = {k: {w: n / sum(v.values()) for w, n in v.items()} for k, v in widths.items()}
    return total


def settle(nodes: Sequence[Laid]) -> None:
    """Set the widths of numbers in all nodes of a capture, in place."""
    likely = {}
    for aligned in (False, True):
        style = _Style(aligned)
        for _ in range(_TURNS):
            likely[aligned] = _learn(style, nodes)
    if likely[False] >= likely[True]:
        style = _Style(aligned=False)
        for _ in range(_TURNS):
            _learn(style, nodes)
    for laid in nodes:
        _apply(laid)


def _apply(laid: Laid) -> None:
    """The fields of a node as their widths are."""
    made: list[Node] = []
    taken: set[int] = set()
    items = {item.index: item for item in laid.items}
    for index, found in enumerate(laid.fields[: laid.count]):
        item = items.get(index)
        if item is not None and item.group:
            _set(found, item, laid)
        if item is not None:
            taken.update(range(found["at"], found["at"] + found["size"]))
            made.append(found)
    for index, found in enumerate(laid.fields[: laid.count]):
        if index not in items:
            left = [c for c in range(found["at"], found["at"] + found["size"]) if c not in taken]
            if left:
                # What a number takes of it is at one of its ends.
                made.append(found | {"at": left[0], "size": len(left)} | _kind_of(found, laid, left))
                taken.update(left)
    for column in range(laid.width):
        if column in taken:
            continue
        taken.add(column)
        beside = next((f for f in made if f["role"] == "padding" and f["at"] == column + 1), None)
        before = next((f for f in made if f["role"] == "padding" and f["at"] + f["size"] == column), None)
        if before is not None:
            before["size"] += 1
        elif beside is not None:
            beside["at"] -= 1
            beside["size"] += 1
        else:
            made.append(_reserved(column, laid))
    laid.fields[: laid.count] = sorted(made, key=lambda found: int(found["at"]))


def _kind_of(found: Node, laid: Laid, left: Sequence[int]) -> Node:
    """What is to be said anew of a constant of which some columns are left."""
    if len(left) == found["size"]:
        return {}
    if all(laid.still[column] for column in left):
        return {"role": "padding", "type": "pad", "evidence": f"{'00' * len(left)} in all {laid.rows}"}
    evidence = str(found["evidence"])
    cut = 2 * (left[0] - found["at"])
    return {"type": "bytes", "evidence": evidence[cut : cut + 2 * len(left)] + evidence[2 * found["size"] :]}


def _reserved(column: int, laid: Laid) -> Node:
    return {
        "name": f"padding_{column}",
        "at": column,
        "size": 1,
        "role": "padding",
        "type": "pad",
        "confidence": round(0.7 * laid.rows / (laid.rows + 6.0), 2),
        "evidence": f"zero in all {laid.rows}, and too far from a number to be its high byte",
    }


def _set(found: Node, item: _Item, laid: Laid) -> None:
    """A number's width, and what else it may be."""
    at = item.at if laid.little else item.at - item.width
    others = [(width, zeros) for width, zeros in item.options() if width != item.width]
    found.pop("alternatives", None)
    found.pop("decides", None)
    if item.width > 1 or found["size"] != item.width:
        found |= {"at": at, "size": item.width}
    if found["type"][0] in "ui":
        found["type"] = f"{found['type'][0]}{8 * item.width}"
    if item.width == 1:
        found.pop("order", None)
    if others:
        found["alternatives"] = [
            f"{8 * width} bits" + (f", and {zeros} reserved bytes of zeros" if zeros else "") for width, zeros in others
        ]
        found["decides"] = "a value that does not fit into fewer bytes"
