"""A wire profile on the terminal: a table for each part, no wider than 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.nmsp.layout import Description, FieldRow, LayoutPart


def layout_tables(described: Description, only: Sequence[LayoutPart]) -> RenderableType:
    """The profile in a line, then each part of `only`."""
    order = f"{described.byte_order}-endian, frames of at most {described.max_frame_bytes:,} bytes"
    lines: list[RenderableType] = [Text.assemble((described.profile, "bold"), f" {described.digest}   {order}")]
    for part in only:
        lines += [Text(), *_part(part)]
    whole = len(only) == len(described.parts)
    if described.dialogue and whole:
        lines += [Text(), Text("dialogue", "bold"), *(Text(f"  {line}") for line in described.dialogue)]
    if described.missing and whole:
        lines += [Text(), Text(f"without {', '.join(described.missing)}", style="dim")]
    lines += [Text(), Text("public: that the field exists is; where it lies is this profile's.", style="dim")]
    return Group(*lines)


def _part(part: LayoutPart) -> Iterator[RenderableType]:
    number = "" if part.id is None else f" {part.id}"
    title = part.what if part.what == part.name else f"{part.what}{number} {part.name}"
    yield Text.assemble((title, "bold"), f"   {part.size} bytes")
    if part.rows:
        table = Table.grid(padding=(0, 2))
        for justify in ("right", "right", "left", "left", "left", "left"):
            table.add_column(justify=justify)
        table.add_row(*(Text(head, style="dim") for head in ("  offset", "size", "type", "name", "unit", "label")))
        for row in part.rows:
            table.add_row(*_cells(row))
        yield table
    yield from (Text(f"  {remark}", style="dim") for remark in part.remarks)
    if part.record is not None:
        yield Text(f"  its record: {part.record}", style="dim")
    if part.missing:
        yield Text(f"  without {', '.join(part.missing)}", style="dim")


def _cells(row: FieldRow) -> tuple[str, ...]:
    where = f"  {row.offset}" if row.id is None else f"  id {row.id}"
    size = f"{row.size}" if row.id is None or row.type not in ("text", "bytes") else f"≤ {row.size}"
    unit = row.unit if row.value is None else f"always {row.value:#x}" if row.value >= 0 else f"always {row.value}"
    return where, size, row.type, row.name, unit, row.label
