"""A wire profile on the terminal: a table for each part, no wider than 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.nmsp.layout import Description, FieldRow, LayoutPart

_COLUMNS = 80


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
        lines += [Text(), Text(fill(f"without {', '.join(described.missing)}", _COLUMNS), style="dim")]
    lines.append(Text())
    if whole:
        lines += [Text(fill(note, _COLUMNS), style="dim") for note in described.notes]
    lines += [Text("public: that the field exists is; where it lies is this profile's.", style="dim")]
    return Group(*lines)


def _part(part: LayoutPart) -> Iterator[RenderableType]:
    number = "" if part.id is None else f" {part.id}"
    title = part.what if part.what == part.name else f"{part.what}{number} {part.name}"
    yield Text.assemble((title, "bold"), f"   {part.size} bytes")
    if part.header:
        yield _remark("in its header: " + ", ".join(f"{name} {_number(each)}" for name, each in part.header.items()))
    if part.rows:
        yield _table(part.rows)
    yield from (_remark(remark) for remark in part.remarks)
    if part.record is not None:
        yield _remark(f"its record: {part.record}")
    if part.tail_size:
        yield _remark(f"then a tail of {part.tail_size} bytes, behind everything else:")
        yield _table(part.tail)
    if part.missing:
        yield _remark(f"without {', '.join(part.missing)}")


def _remark(text: str) -> RenderableType:
    indent = "  "
    return Text(fill(text, _COLUMNS, initial_indent=indent, subsequent_indent=2 * indent), style="dim")


def _table(rows: Sequence[FieldRow]) -> Table:
    table = Table.grid(padding=(0, 2))
    for justify in ("right", "right", "left", "left", "left", "left"):
        table.add_column(justify=justify)
    table.add_row(*(Text(head, style="dim") for head in ("  offset", "size", "type", "name", "unit", "label")))
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: FieldRow) -> tuple[str, ...]:
    where = f"  {row.offset}" if row.id is None else f"  id {row.id}"
    size = f"{row.size}" if row.id is None or row.type not in ("text", "bytes") else f"≤ {row.size}"
    unit = row.unit if row.value is None else f"always {_number(row.value)}"
    return where, size, row.type if row.order is None else f"{row.type} {row.order}", row.name, unit, row.label


def _number(value: int) -> str:
    return f"{value:#x}" if value >= 0 else f"{value}"
