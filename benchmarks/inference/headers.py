"""Headers and trailers, by chance: everything that a length, a message's number and the rest of a header can be."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

from benchmarks.inference.parts import TIMES, Style, Table, constant, field, pad, placed, time_fields

SUMS = (
    *("crc-32", "crc-16/ibm-3740", "crc-16/xmodem", "crc-16/kermit", "crc-16/ibm-sdlc", "crc-16/arc"),
    *("internet", "sum-8", "sum-16", "xor-8"),
)
SUM_WIDTHS = {"crc-32": "u32", "internet": "u16", "sum-8": "u8", "sum-16": "u16", "xor-8": "u8"}


@dataclass
class Framing:
    """A header, a trailer, and how the values in them come about."""

    header: Table
    trailer: Table | None
    counts: str  # what the length counts, in words
    transaction: str | None  # "same": one series for both sides, "sides": each its own
    idle_transaction: str = "zero"  # of what nobody asked: "zero" or "running"
    sequence: str | None = None  # "session", "direction", "kind"
    flags: dict[str, int] = attribute(default_factory=dict)  # by request, response, notification; or by side
    sum_kind: str | None = None
    sum_over: tuple[str, ...] = ()
    id_bits: tuple[int, ...] = (16,)


def _id_fields(style: Style) -> list[Table]:
    how = style.rng.choices(("u16", "pair", "u8", "u32"), (5, 2.5, 1.5, 1))[0]
    if how == "pair":
        return [field("msg_type", "u8", "msg_id"), field("msg_subtype", "u8", "msg_id")]
    return [field("msg_id", how, "msg_id")]


def _constants(style: Style) -> list[Table]:
    rng = style.rng
    made = []
    if style.chance(0.6):
        kind = style.one("u16", "u32", "u16", "u8")
        made.append(constant("magic", kind, rng.randrange(1, 1 << 8 * {"u8": 1, "u16": 2, "u32": 4}[kind])))
    if style.chance(0.6):
        made.append(constant("version", style.one("u8", "u16", "u8"), rng.randrange(1, 9)))
    return made


def _optional(style: Style, framing: dict[str, Any]) -> list[list[Table]]:
    """What a header may have or not, each as a list of fields."""
    rng = style.rng
    made: list[list[Table]] = []
    if style.chance(0.85):
        framing["transaction"] = style.one("same", "same", "sides")
        framing["idle_transaction"] = style.one("zero", "zero", "running")
        made.append([field("transaction", style.one("u16", "u32", "u32"), "transaction", "transaction")])
    if style.chance(0.6):
        framing["sequence"] = style.one("session", "direction", "kind")
        made.append([field("sequence", style.one("u8", "u16", "u32"), "sequence", "sequence")])
    if style.chance(0.5):
        if style.chance(0.7):
            bits = rng.choice(((1, 2, 4), (0x80, 0x40, 0), (0, 1, 2), (0x10, 0x18, 0x11)))
            framing["flags"] = dict(zip(("request", "response", "notification"), bits, strict=True))
        else:
            framing["flags"] = {"mse": style.one(1, 0x20), "wlc": style.one(2, 0)}
        made.append([field("flags", "u8", "enum", "flags", accept=["mask", "number"])])
    if style.chance(0.4):
        made.append(time_fields(style, "time", style.one(*TIMES)))
    if style.chance(0.5):
        made.append([pad("reserved", style.one(1, 2, 3, 4))])
    return made


def make_framing(style: Style) -> Framing:
    rng = style.rng
    told: dict[str, Any] = {"transaction": None}
    sum_field, sum_in = None, ""
    if style.chance(0.55):
        kind = rng.choice(SUMS)
        sum_field = field("checksum", SUM_WIDTHS.get(kind, "u16"), "checksum")
        sum_in = style.one("header", "trailer")
        over = style.one(("header", "body"), ("header",), ("body",))
        told |= {
            "sum_kind": kind,
            "sum_over": (*over, "trailer") if sum_in == "trailer" and style.chance(0.4) else over,
        }
    ids = _id_fields(style)
    length = field("length", style.one("u16", "u16", "u32"), "length")
    must = [*ids, length, *([sum_field] if sum_in == "header" and sum_field else [])]
    optional = _optional(style, told)
    while True:
        fields, size = placed(style, [*must, *_constants(style), *(each for some in optional for each in some)])
        if size <= 28:
            break
        gone = optional.pop()
        if gone and gone[0]["role"] in told:
            told[gone[0]["role"]] = None
    if size < 8:
        fields.append(pad("reserved_end", 8 - size) | {"at": size})
        size = 8
    if size < 28 and style.chance(0.15):
        more = rng.randrange(1, 29 - size)
        fields.append(pad("reserved_last", more) | {"at": size})
        size += more
    trailer = None
    if sum_in == "trailer" and sum_field:
        before = [pad("trailer_reserved", 2)] if style.chance(0.2) else []
        laid, end = placed(Style(rng, style.order, False, 0, False), [*before, sum_field])
        trailer = {"size": end, "fields": laid}
    elif style.chance(0.1):
        trailer = {"size": 2, "fields": [constant("end", "u16", rng.randrange(1, 65536)) | {"at": 0}]}
    _mixed_order(style, fields)
    back = trailer["size"] if trailer else 0
    length_at = next(each["at"] for each in fields if each["name"] == "length")
    counts, add = rng.choice(
        [
            ("frame", 0),
            ("body", size + back),
            ("body and trailer", size),
            ("rest", length_at + length["size"]),
            ("frame and some", -style.one(1, 2, 4)),
            ("frame less some", style.one(1, 2, 3)),
        ]
    )
    style.slack = size + back - add
    header = {"size": size, "frame_size": {"field": "length", "unit": style.unit, "add": add}, "fields": fields}
    bits = tuple(8 * each["size"] for each in ids)
    if len(ids) == 2:
        in_place = [each["name"] for each in fields if each["role"] == "msg_id"]
        assert len(in_place) == 2
    return Framing(header, trailer, counts, told.pop("transaction"), id_bits=bits, **told)


def _mixed_order(style: Style, fields: list[Table]) -> None:
    """Now and then a field in the other byte order."""
    other = "little" if style.order == "big" else "big"
    for each in fields:
        wide = each["size"] in (2, 4, 8)
        if (
            wide
            and each["role"] in ("length", "transaction", "sequence", "checksum", "timestamp")
            and style.chance(0.06)
        ):
            each["order"] = other


def add_alternatives(fields: list[Table], order: str, small: dict[str, bool]) -> None:
    """Of integers whose upper half is always zero: the half alone is as right, with a constant for the other.

    The length has one name, by which the size of a frame refers to it, and so no other description.
    """
    for each in fields:
        if not small.get(each["name"]) or each["size"] not in (2, 4) or each["role"] == "length":
            continue
        half = each["size"] // 2
        if (each.get("order") or order) == "big":
            pieces = [(each["at"], "constant"), (each["at"] + half, each["role"])]
        else:
            pieces = [(each["at"], each["role"]), (each["at"] + half, "constant")]
        each["alternatives"] = [
            [{"at": at, "size": half, "role": role} for at, role in pieces],
            [{"at": at, "size": half, "role": "padding" if role == "constant" else role} for at, role in pieces],
        ]
