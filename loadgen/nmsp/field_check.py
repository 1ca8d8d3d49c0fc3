"""What can be wrong with single fields of a wire profile, and with fields side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from loadgen.errors import Problem
from loadgen.nmsp.profile_document import (
    MAX_FRAME_LIMIT,
    MAX_NOTIFY_BYTES,
    SIZED,
    TIME_TYPES,
    ElementDocument,
    FieldDocument,
    fits,
    width_of,
)

UNSIGNED = ("u8", "u16", "u32", "u64")
SIGNED = ("i8", "i16", "i32", "i64")
INTEGERS = (*UNSIGNED, *SIGNED)
# Types that the code relies on, beyond what the kind of value says.
TYPES_OF: dict[str, tuple[str, ...]] = {
    "msg_id": ("u8", "u16", "u32"),
    "msg_type": ("u8", "u16"),
    "msg_subtype": ("u8", "u16"),
    "length": ("u8", "u16", "u32"),
    "transaction": ("u16", "u32", "u64"),
    "frame_number": UNSIGNED,
    "acknowledged": UNSIGNED,
    "sequence": UNSIGNED,
    "due_ns": UNSIGNED,
    "sent_ns": UNSIGNED,
    "subservices": ("u32", "u64"),
    "rssi": SIGNED,
    "rssi_a": SIGNED,
    "rssi_b": SIGNED,
    "snr": SIGNED,
    "noise": SIGNED,
    "tx_power": SIGNED,
    "total_power": SIGNED,
    "interference_power": SIGNED,
}


class FieldCheck:
    """Collects problems of fields.

    Attributes:
        problems: so far; each once.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, where: str, expected: str, found: str) -> None:
        problem = Problem(where, expected, found)
        if problem not in self.problems:  # a record is checked for each kind of record that it is used as
            self.problems.append(problem)

    def layout(
        self,
        where: str,
        fields: Sequence[FieldDocument],
        size: int,
        types: Mapping[str, tuple[str, ...]],
        needed: Collection[str],
        elsewhere: Collection[str] = (),
    ) -> None:
        """Check the fields of a record. `elsewhere`: fields that are in elements, or behind."""
        if not 0 <= size <= MAX_FRAME_LIMIT:
            self.add(f"{where}.size", f"0 to {MAX_FRAME_LIMIT}", str(size))
        names: set[str] = set()
        taken: list[tuple[int, int, str]] = []
        for index, field in enumerate(fields):
            at = f"{where}.fields[{index}] ({field.name})"
            end = field.offset + width_of(field)
            if field.name in names or field.name in elsewhere:
                self.add(at, "a name of its own", "a second field of that name")
            names.add(field.name)
            self.sized(at, field)
            if field.offset < 0:
                self.add(f"{at}.offset", "0 or more", str(field.offset))
            if end > size:
                self.add(at, f"to end within the record of {size} bytes", f"an end at byte {end}")
            for start, stop, other in taken:
                if field.offset < stop and start < end:
                    self.add(at, "bytes of its own", f"an overlap with {other}")
            taken.append((field.offset, end, field.name))
            self.field(at, field, types)
        for name in needed:
            if name not in names:
                self.add(f"{where}.fields", f"a field {name}", "none")

    def sized(self, at: str, field: FieldDocument | ElementDocument) -> None:
        """A field's size, its byte order, and how a time counts."""
        if field.order is not None and field.type in ("mac", *SIZED):
            self.add(f"{at}.order", f"nothing: {field.type} has no byte order", field.order)
        if field.type == "time":
            is_pair = field.unit is not None and "+" in field.unit
            allowed = (8,) if is_pair else tuple(TIME_TYPES)
            if field.size not in allowed:
                found = "nothing" if field.size is None else str(field.size)
                self.add(f"{at}.size", f"{' or '.join(map(str, allowed))} (time)", found)
            if field.unit is None:
                self.add(f"{at}.unit", "how the time counts: s, ms, us, ns, s+us, s+ns or s+frac", "nothing")
            return
        if field.unit is not None or field.epoch != "unix":
            self.add(f"{at}.type", "time, where a unit or an epoch is told", field.type)
        if field.type in SIZED:
            if field.size is None or not 0 < field.size <= MAX_NOTIFY_BYTES:
                found = "nothing" if field.size is None else str(field.size)
                self.add(f"{at}.size", f"1 to {MAX_NOTIFY_BYTES} ({field.type})", found)
        elif field.size is not None:
            self.add(f"{at}.size", "nothing: its type says it", str(field.size))

    def field(self, at: str, field: FieldDocument, types: Mapping[str, tuple[str, ...]]) -> None:
        """A field is one that the message has, or a constant."""
        if field.first and field.name != "frame_number":
            self.add(f"{at}.first", "nothing: of frame_number alone", str(field.first))
        allowed = types.get(field.name)
        if allowed is not None:
            if field.type not in allowed:
                self.add(f"{at}.type", "an integer type" if allowed is INTEGERS else " or ".join(allowed), field.type)
            if field.value is not None or field.values:
                found = str(field.value) if field.value is not None else "values"
                self.add(f"{at}.value", "nothing: this field varies", found)
        elif field.type not in INTEGERS:
            self.add(f"{at}.type", "an integer type", field.type)
        elif field.value is None and not field.values:
            self.add(at, f"one of {', '.join(types) or 'no fields'}, or a constant value", "neither")
        elif field.values:
            if not at.startswith("header."):
                self.add(f"{at}.values", "nothing: of constants in the header alone", "a table")
        elif field.value is not None and not fits(field.value, field.type):
            self.add(f"{at}.value", f"a value that fits {field.type}", str(field.value))
