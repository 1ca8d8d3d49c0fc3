"""Which of all shapes that fit the bodies of a kind is taken: that which tells them in the fewest bits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from loadgen.infer.alike import begins_earlier, is_alike, is_unlike, lists_devices, lists_services, shortest_records
from loadgen.infer.few_elements import known_elements
from loadgen.infer.pricing import PRICED, given_pieces, is_text, price, thinned
from loadgen.infer.samples import Context, Sample
from loadgen.infer.shapes import BodyShape, ByteRun, ElementRun, Gap, Records, cut
from loadgen.infer.shaping import shapes_of
from loadgen.infer.texts import told_texts
from loadgen.infer.work import Work

__all__ = ["choose", "fitting", "has_known_elements", "is_told"]

# Bodies that shapes are looked for in, and shapes that are compared.
SEARCHED = 80
SHAPES = 40
CLOSE = 6
# Bytes of a fixed part, at most.
WIDEST = 512
# So many bodies with so many different counts: that is no chance.
_MANY, _COUNTS = 20, 3
# So many elements behind each other do not end where their body does by chance.
_WALKED = 3
# Shapes are looked for in bodies no longer than this, the shortest of a kind.
LONGEST = 4096


def choose(samples: Sequence[Sample], context: Context) -> tuple[BodyShape, list[str]]:
    """The shape that costs least of those that fit, and what fits nearly as well."""
    some = thinned(samples, SEARCHED)
    shortest = min(len(sample.data) for sample in samples)
    varies = any(len(sample.data) != shortest for sample in samples)
    if (walked := _walked(samples, context)) is not None:
        return walked, []
    if context.mask_at is not None and not varies:
        return _around_mask(samples, context, context.mask_at, shortest), []
    plain = BodyShape(min(shortest, WIDEST), (ByteRun(None),) if varies or shortest > WIDEST else ())
    if context.work.out:
        return plain, []
    candidates = [plain]
    if varies:
        ends = _text_ends([sample.data for sample in some], shortest)
        # A text is not cut where the shortest one ends.
        candidates = [BodyShape(at, (ByteRun(None),)) for at in ends] or candidates
    everything = [shape for shape in candidates if _holds(shape, samples, context.work)]
    if len(samples) > 1 and shortest <= LONGEST:
        ordered = sorted(samples, key=lambda sample: len(sample.data))
        # The shortest and longest prove most; but a few frames may have been cut out wrongly, so without them again.
        for searched in (
            [*some, *ordered[:4], *ordered[-4:]],
            some,
            thinned(ordered[len(ordered) // 20 :], SEARCHED // 4),
        ):
            bodies = [sample.data for sample in searched]
            with context.work.part():
                found = [s for s in islice(shapes_of(bodies, context), SHAPES) if _holds(s, samples, context.work)]
            everything += found
            if found or len(samples) < 50:
                break
    # Where numbers tell the lengths of bodies that have many, nothing goes to the end by chance.
    told = [shape for shape in everything if is_told(shape)]
    ended = [shape for shape in everything if any(isinstance(part, ElementRun) for part in shape.parts)]
    datas = [sample.data for sample in some]
    every = [sample.data for sample in samples]
    many = len(set(map(len, every))) > 3 and (told or ended)
    is_whole = any(_is_walked(shape, every) for shape in ended)
    if many or is_whole:
        everything = told + ended
    everything = [shape for shape in everything if not is_unlike(shape, datas)]
    everything = [shape for shape in everything if not begins_earlier(shape, datas)]
    everything = [shape for shape in everything if not _is_counted(shape, everything, datas)]
    # Elements list devices as well, and say themselves how long each is.
    listed = shortest_records(
        [shape for shape in everything if not is_whole and lists_devices(shape, datas, context.macs, context.makers)]
    )
    if not listed and context.named_of_subservices:
        listed = [shape for shape in everything if lists_services(shape, datas)]
    if alike := [shape for shape in everything if is_alike(shape, datas)] or listed:
        everything = alike
    if len(everything) < 2 or context.work.out:
        return everything[0] if everything else plain, []
    # A body that comes again tells nothing new of where its parts are.
    different = list({sample.data: sample for sample in reversed(samples)}.values())[::-1]
    priced = thinned(different if len(different) * 2 < len(samples) else samples, PRICED)
    costs = _costs(everything, priced, context)
    close = [everything[index] for cost, index in costs[:CLOSE] if cost < costs[0][0] + 24]
    if len(close) == 1:
        return close[0], []
    finer = _costs(close, priced, context, exact=True)
    near = [_describe(close[index]) for cost, index in finer[1:] if cost < finer[0][0] + 3]
    return close[finer[0][1]], near


def _around_mask(samples: Sequence[Sample], context: Context, mask_at: tuple[int, int], size: int) -> BodyShape:
    """The shape of bodies of one size that have a mask in a place: there may be a text in front of it, or behind."""
    shapes = [BodyShape(size)]
    bodies = [sample.data for sample in thinned(samples, SEARCHED)]
    for shape in islice(told_texts(bodies, context.order, context.unit, context.work), CLOSE):
        found = cut(shape, bodies[0], 0, size)
        parts = [] if found is None else [*zip(shape.parts, found[1], strict=True)]
        texts = [stretch for part, stretches in parts if isinstance(part, ByteRun) for stretch in stretches]
        if all(stop <= mask_at[0] or start >= sum(mask_at) for _, start, stop in texts):
            shapes.append(shape)
    return shapes[_costs(shapes, thinned(samples, PRICED), context, exact=True)[0][1]]


def _walked(samples: Sequence[Sample], context: Context) -> BodyShape | None:
    """Elements in a form that other messages have."""
    if not context.forms or context.within or not 1 < min(len(sample.data) for sample in samples) <= LONGEST:
        return None
    walked = known_elements([sample.data for sample in thinned(samples, SEARCHED)], context)
    return walked if walked is not None and _holds(walked, samples, context.work) else None


def has_known_elements(samples: Sequence[Sample], context: Context) -> bool:
    return _walked(samples, context) is not None


def _costs(
    shapes: Sequence[BodyShape], samples: Sequence[Sample], context: Context, *, exact: bool = False
) -> list[tuple[float, int]]:
    """What shapes cost, with their numbers, the cheapest first: of as many as there is work for, and one at least."""
    costs: list[tuple[float, int]] = []
    for index, shape in enumerate(shapes):
        if costs and context.work.out:
            break
        costs.append((price(shape, fitting(shape, samples), context, exact=exact) - _favour(shape), index))
    return sorted(costs)


def is_told(shape: BodyShape) -> bool:
    for part in shape.parts:
        if isinstance(part, Gap):
            continue
        place = part.length if isinstance(part, ByteRun) else part.count if isinstance(part, Records) else None
        if place is None:
            return False
    return bool(shape.parts)


def _is_walked(shape: BodyShape, bodies: Sequence[bytes]) -> bool:
    """Whether bodies are nothing but elements, several in each, and bodies of more than one length end with them."""
    if shape.fixed or len({len(body) for body in bodies}) < 2:
        return False
    cuts = [found[1][0] for body in bodies if (found := cut(shape, body, 0, len(body))) is not None]
    return bool(cuts) and all(len(found) >= _WALKED for found in cuts)


def _is_counted(shape: BodyShape, others: Sequence[BodyShape], bodies: Sequence[bytes]) -> bool:
    """Whether records to the end are those that a number counts, parts of these or the rest of them, in many bodies
    that differ in how many they have."""
    if len(shape.parts) != 1 or not isinstance(part := shape.parts[0], Records) or part.count is not None:
        return False
    for other in others:
        if len(other.parts) != 1 or not isinstance(whole := other.parts[0], Records) or whole.count is None:
            continue
        if not part.stride or not whole.stride or whole.stride % part.stride:
            continue
        if (shape.fixed - other.fixed) % part.stride:
            continue
        if len(bodies) >= _MANY and len({whole.count.read(body, 0) for body in bodies}) >= _COUNTS:
            return True
    return False


def _favour(shape: BodyShape) -> float:
    """Bits that speak for a shape: what a number tells is rarely chance, the less if the number is far away."""
    if any(isinstance(part, ElementRun) for part in shape.parts):
        return 40.0 if shape.fixed <= 8 else 0.0
    if not is_told(shape):
        return 0.0
    far = max((shape.fixed - piece.at - piece.size for piece in given_pieces(shape, "big")), default=0)
    return 20.0 - 2.0 * far


def _text_ends(bodies: Sequence[bytes], shortest: int) -> list[int]:
    """Where a text can begin that goes to the end; NULs may end it, and of empty ones be all there is."""
    at = shortest
    ended = [(body, len(body.rstrip(b"\0"))) for body in bodies]
    while at > 0 and all(end < at or 32 <= body[at - 1] < 127 for body, end in ended):
        at -= 1
    return list(range(at, min(shortest, at + 3))) if is_text([body[at:] for body in bodies]) else []


def fitting(shape: BodyShape, samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if cut(shape, sample.data, 0, len(sample.data)) is not None]


def _holds(shape: BodyShape, samples: Sequence[Sample], work: Work) -> bool:
    """Whether all bodies are cut from end to end; of many, all but one in a hundred."""
    misfits = 0
    for sample in samples:
        found = cut(shape, sample.data, 0, len(sample.data))
        misfits += found is None
        if not work.spend(2 if found is None else 2 + sum(map(len, found[1]))) or misfits > len(samples) // 100:
            return False
    return True


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
