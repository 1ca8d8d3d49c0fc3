"""Lists that lengths alone do not prove, but what is in them does: those of which few lengths are seen, of devices
whose addresses are known, and of subservices; and several lists behind each other that one number counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from loadgen.infer.alike import lists_services
from loadgen.infer.samples import Context
from loadgen.infer.shapes import BodyShape, Place, Records, fits

__all__ = ["beside_each_other", "listed", "services"]

# Bytes of a body in which addresses are looked for.
LISTED = 4096
# Subservices in a list.
SERVICES = 23
# Bytes of an address; of so many records all but one in ten have to have one that is known.
_ADDRESS, _FEWEST = 6, 8


def listed(bodies: Sequence[bytes], context: Context) -> Iterator[BodyShape]:
    """Records of one stride that each have a device's address in the same place, where bodies have few lengths: what
    comes again at equal distances are addresses that are known from other messages."""
    different = sorted(set(bodies), key=len)
    if len({len(body) for body in different}) > 3:
        return
    longest = different[-1][:LISTED]
    known = [at for at in range(len(longest) - 5) if longest[at : at + 6] in context.macs]
    apart = Counter(
        other - at for index, at in enumerate(known) for other in known[index + 1 : index + 4] if other - at > 6
    )
    found = False
    for stride, _ in apart.most_common(4):
        if found:
            return
        firsts = [at for at in known if at - stride not in known and at + stride in known]
        for zeros in range(context.unit or 4) if context.unit != 1 else range(1):
            for shape in _in_steps(different, context, stride, firsts, zeros):
                found = True
                yield shape


def _in_steps(
    bodies: Sequence[bytes], context: Context, stride: int, firsts: Sequence[int], zeros: int
) -> Iterator[BodyShape]:
    """Args: firsts: where a first record may have its address. zeros: behind the last record of the longest body."""
    end = len(bodies[-1]) - zeros
    begins = [first - (first - end) % stride for first in firsts[:4]]
    # Addresses that are not known may stand in front of the first that is.
    for fixed in dict.fromkeys(begin - step * stride for step in range(3) for begin in begins):
        if fixed < 0 or any(bodies[-1][end:]):
            continue
        align, phase = ((context.unit or 4), len(bodies[-1]) % (context.unit or 4)) if zeros else (1, 0)
        many = (end - fixed) // stride
        counts = [
            Place(at, size, way)
            for at in range(fixed)
            for size in (1, 2)
            for way in (("big", "little") if size > 1 else (context.order,))
            if at + size <= fixed and Place(at, size, way).read(bodies[-1], 0) == many
        ]
        # As wide as its zeros let it be, in the usual order.
        for place in sorted(counts, key=lambda place: (place.order != context.order, -place.size, fixed - place.at)):
            shape = BodyShape(fixed, (Records(place, stride),), align, phase)
            if fits(shape, bodies, context.work):
                yield shape
                return
        shape = BodyShape(fixed, (Records(None, stride),))
        if not zeros and many > 1 and fits(shape, bodies, context.work):
            yield shape


def services(bodies: Sequence[bytes], context: Context) -> Iterator[BodyShape]:
    """Lists of subservices, in messages about them: short, and mostly of one length."""
    if not context.named_of_subservices or (context.mask_size is not None and not context.listed):
        return
    different = list(set(bodies))
    shortest = min(map(len, different))
    found: list[BodyShape] = []
    for at in range(min(8, shortest)):
        for size in (1, 2):
            place = Place(at, size, context.order)
            counts = [place.read(body, 0) for body in different]
            if at + size > shortest or min(counts) < 1 or max(counts) > SERVICES:
                continue
            for fixed in range(at + size, min(at + size + 9, shortest)):
                found += _services_in(different, place, fixed, counts, context.unit)
    likely = [(lists_services(shape, different), shape) for shape in found]
    # What is longest leaves least in front of it that would be something else; a count has its zeros.
    likely = sorted((pair for pair in likely if pair[0]), key=lambda pair: (-pair[0], pair[1].fixed))
    yield from (shape for _, shape in likely[:3] if shape.fixed == likely[0][1].fixed)


def _services_in(
    bodies: Sequence[bytes], place: Place, fixed: int, counts: Sequence[int], unit: int | None
) -> Iterator[BodyShape]:
    """Records that a place counts, with nothing behind them but zeros up to the unit."""
    align = unit or 4
    for stride in range(2, 13):
        left = [len(body) - fixed - stride * count for body, count in zip(bodies, counts, strict=True)]
        if not any(left):
            yield BodyShape(fixed, (Records(place, stride),))
        elif unit != 1 and 0 <= min(left) <= max(left) < align:
            filled = [body[len(body) - zeros :] for body, zeros in zip(bodies, left, strict=True)]
            if not any(map(any, filled)):
                yield BodyShape(fixed, (Records(place, stride),), align, len(bodies[0]) % align)


def beside_each_other(shape: BodyShape, bodies: Sequence[bytes], context: Context) -> Iterator[BodyShape]:
    """The same bytes as two or three lists, each of as many records: addresses first, say, and then the level of each.
    How long bodies are is the same; where the second address stands is not.

    Args: shape: records that a number counts, and that may be such lists.
    """
    if len(shape.parts) != 1 or not isinstance(part := shape.parts[0], Records):
        return
    if part.count is None or part.stride is None or part.of > 1 or part.stride <= _ADDRESS:
        return
    several = [(body, count) for body in bodies if (count := part.count.read(body, 0)) > 1]
    if _has_addresses([body[shape.fixed :] for body, _ in several], several, part.stride, context):
        return
    for first in range(1, part.stride):
        second = part.stride - first
        leading = _has_addresses([body[shape.fixed :] for body, _ in several], several, first, context)
        trailing = _has_addresses([body[shape.fixed + n * first :] for body, n in several], several, second, context)
        if not leading and not trailing:
            continue
        strides: list[tuple[int, ...]] = [(first, second)]
        strides += [(first, each, second - each) for each in range(1, second) if leading]
        strides += [(each, first - each, second) for each in range(1, first) if trailing]
        for each in strides:
            yield replace(shape, parts=tuple(Records(part.count, stride) for stride in each))


def _has_addresses(behind: Sequence[bytes], bodies: Sequence[tuple[bytes, int]], stride: int, context: Context) -> bool:
    """Whether records of a stride, from there on and as many as each body counts, have addresses that are known in one
    place."""
    for at in range(stride - _ADDRESS + 1):
        found = [
            data[begin : begin + _ADDRESS]
            for data, (_, count) in zip(behind, bodies, strict=True)
            for begin in range(stride + at, stride * count, stride)
        ]
        if len(found) < _FEWEST:
            return False
        if sum(address in context.macs for address in found) * 10 >= len(found) * 9:
            return True
    return False
