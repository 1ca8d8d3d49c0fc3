"""An inferred layout on the terminal: a table for each part, and how good it is, in lines."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.foreign import visible
from loadgen.infer.layout_document import HowFound, LayoutDocument, LayoutField, LayoutNode

_MOST_LINES = 8


def found_tables(layout: LayoutDocument) -> RenderableType:
    """Header, trailer, and every message with its fields, each with how sure it is and why."""
    rule = layout.header.frame_size
    times = "" if rule.unit == 1 else f" * {rule.unit}"
    plus = "" if not rule.add else f" {'+' if rule.add > 0 else '-'} {abs(rule.add)}"
    lines: list[RenderableType] = [
        Text.assemble(("header", "bold"), f"   {layout.header.size} bytes, {layout.byte_order}-endian"),
        Text(f"  a frame has {rule.field}{times}{plus} bytes", style="dim"),
        _table([("", each) for each in layout.header.fields]),
    ]
    if layout.trailer.size:
        lines += [
            Text(),
            Text.assemble(("trailer", "bold"), f"   {layout.trailer.size} bytes"),
            _table([("", each) for each in layout.trailer.fields]),
        ]
    for message in layout.messages:
        head = f"   from the {message.sender.upper()}" if message.sender else "   from either side"
        lines += [Text(), Text.assemble((f"message {message.id:#x} {visible(message.name)}", "bold"), head)]
        rows = [*rows_of(message.body)]
        lines.append(_table(rows) if rows else Text("  no body", style="dim"))
    return Group(*lines, Text())


def rows_of(node: LayoutNode, within: str = "") -> Iterator[tuple[str, LayoutField]]:
    """Every field of a body with the records and elements that it is in."""
    for each in node.fields:
        yield within, each
    for repeat in node.repeats:
        yield from rows_of(repeat.record, f"{within}{repeat.name}[]/")
    if node.elements is not None:
        for kind in node.elements.known:
            yield from rows_of(kind.value, f"{within}<{kind.id:#x}>/")


def _table(rows: list[tuple[str, LayoutField]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for justify in ("right", "right", "left", "left", "right"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_column(justify="left")
    table.add_row(*(Text(head, style="dim") for head in ("  at", "size", "role", "name", "sure", "because")))
    for within, each in rows:
        size = each.size if isinstance(each.size, int | str) else f"by {each.size.field}"
        sure = "" if each.confidence is None else f"{each.confidence:.0%}"
        why = each.evidence + (f" (or: {'; '.join(each.alternatives)})" if each.alternatives else "")
        table.add_row(f"  {each.at}", f"{size}", each.role, visible(f"{within}{each.name}"), sure, visible(why))
    return table


def summary(findings: HowFound, *, found: bool) -> Iterator[str]:
    """Lines at the end: how much was read, how much explained, and what is open. Args: found: there is a layout."""
    yield f"{findings.frames:,} frames of {findings.sessions:,} sessions; {findings.left_out:,} bytes belong to none"
    if found:
        yield f"of frames that were held out, {findings.decoded:.2%} are read from end to end"
        yield f"of the bytes of their bodies, {findings.explained:.1%} have a role"
        if findings.across_decoded is not None and findings.across_explained is not None:
            yield f"of frames of held-out sessions, {findings.across_decoded:.2%} are read by what the others show"
            yield f"of the bytes of their bodies, {findings.across_explained:.1%} have a role"
    shares = sorted(findings.unexplained.items(), key=lambda row: -row[1])
    if shares:
        named = ", ".join(f"{name} {share:.1%}" for name, share in shares[:_MOST_LINES])
        yield f"without explanation: {named}"
    yield from _listed("hint contradicted", findings.contradicted)
    yield from _listed("", findings.remarks)
    yield from _listed("another way to cut frames", findings.others)
    yield from _listed("open", findings.doubts)
    yield from _listed("no words for it in a profile", findings.unsaid)


def _listed(what: str, texts: tuple[str, ...]) -> Iterator[str]:
    for text in texts[:_MOST_LINES]:
        yield f"{what}: {visible(text)}" if what else visible(text)
    if len(texts) > _MOST_LINES:
        yield f"{what or 'and'}: {len(texts) - _MOST_LINES:,} more"
