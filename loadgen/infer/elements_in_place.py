"""Elements of a measurement as a wire profile can say them: one field in each, or heads that are constants in a place.

A profile's element has one field, or one record. What has several fields is said as a constant head with the fields
behind it, which holds of a device that always sends these elements first and in one order.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from loadgen.infer.layout_document import ElementKind, LayoutElements, LayoutField, LayoutNode, Order, Type

__all__ = ["elements_in_place"]

_CODES: dict[int, Type] = {1: "u8", 2: "u16", 4: "u32"}


def elements_in_place(body: LayoutNode, order: Order, unit: int, sample: bytes) -> tuple[LayoutNode, tuple[str, ...]]:
    """A measurement's body with elements that a profile can say, and the names of those that have a place now.

    Args:
        unit: bytes that a frame's length counts in; elements of such devices are filled up to them.
        sample: a body, if there is one: its elements tell the order.
    """
    elements = body.elements
    if elements is None or body.repeats:
        return body, ()
    record = next((kind for kind in elements.known if _has_rssi(kind.value)), None)
    if record is None:
        return body, ()
    others = [kind for kind in elements.known if kind is not record]
    record = replace(record, value=_filled(record.value, elements, unit))
    if all(_is_field(kind.value) for kind in others):
        named = [ElementKind(kind.id, kind.value.fields[0].name, kind.value) for kind in others]
        return replace(body, elements=replace(elements, known=(*named, record))), ()
    others = _in_order(others, body, elements, order, sample)
    if not all(_is_fixed(kind.value) for kind in others):
        return body, ()
    fields, end = [*body.fields], body.size
    for kind in others:
        value = _filled(kind.value, elements, unit)
        head = elements.type.size + elements.length.size
        counted = value.size + (head if elements.length.counts == "element" else 0)
        fields.append(_constant(f"{kind.name}_type", end, elements.type.size, kind.id, elements.type.order))
        at = end + elements.type.size
        fields.append(_constant(f"{kind.name}_length", at, elements.length.size, counted, elements.length.order))
        end += head
        fields += [replace(each, at=end + each.at) for each in value.fields if isinstance(each.at, int)]
        end += value.size
    made = LayoutNode(end, tuple(fields), (), replace(elements, known=(record,)), body.rest)
    return made, tuple(kind.name for kind in others)


def _constant(name: str, at: int, size: int, value: int, order: Order | None) -> LayoutField:
    return LayoutField(name, at, size, "constant", _CODES[size], order, value)


def _has_rssi(node: LayoutNode) -> bool:
    if any(each.role == "rssi" for each in node.fields):
        return True
    inner = [each.record for each in node.repeats]
    inner += [] if node.elements is None else [kind.value for kind in node.elements.known]
    return any(map(_has_rssi, inner))


def _is_field(node: LayoutNode) -> bool:
    return (
        len(node.fields) == 1 and node.fields[0].at == 0 and node.size in (0, node.fields[0].size) and not node.repeats
    )


def _is_fixed(node: LayoutNode) -> bool:
    placed = all(isinstance(each.at, int) and isinstance(each.size, int) for each in node.fields)
    return placed and not node.repeats and node.elements is None and node.rest in (None, "padding")


def _filled(node: LayoutNode, elements: LayoutElements, unit: int) -> LayoutNode:
    """With its size, zeros at its end included."""
    if not _is_fixed(node):
        return node
    size = max([node.size, *(int(each.at) + each.size for each in node.fields if isinstance(each.size, int))])
    if node.rest == "padding":
        size += -(elements.type.size + elements.length.size + size) % unit
    return replace(node, size=size, rest=None)


def _in_order(
    kinds: Sequence[ElementKind], body: LayoutNode, elements: LayoutElements, order: Order, sample: bytes
) -> list[ElementKind]:
    """As they come in the sample; those that do not come there stay behind."""
    at, found = body.size, list[int]()
    head = elements.type.size + elements.length.size
    while at + head <= len(sample):
        found.append(int.from_bytes(sample[at : at + elements.type.size], elements.type.order or order))
        length = int.from_bytes(sample[at + elements.type.size : at + head], elements.length.order or order)
        at += max(head, length + (0 if elements.length.counts == "element" else head))
    return sorted(kinds, key=lambda kind: found.index(kind.id) if kind.id in found else len(found))
