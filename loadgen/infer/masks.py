"""Where masks of subservices are: what a controller offers, what is subscribed to of it, and what it grants.

The three messages are few and short, and say little one by one. Together they do: what is granted comes from what was
asked for a moment ago, and both are bits of what was offered in the same session.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadgen.infer.samples import Sample

__all__ = ["find_masks"]

# NMSP's subservices are bits 0 to 22.
_BITS = 23
_BYTES = 3
# A controller offers many of them; a list of services has a few in each entry.
_OFFERED = 7
_FAR = 64
# What is compared of each message: samples, and places in them.
_SAMPLES, _PLACES = 48, 24
Place = tuple[int, int]  # first byte, bytes


def find_masks(
    offers: Sequence[Sample], requests: Sequence[Sample], responses: Sequence[Sample], order: str
) -> tuple[Place, Place, Place] | tuple[None, Place, Place] | None:
    """The mask's place in each of the three messages; None: they have none, or it cannot be told.

    Args: offers: may be none, then only the other two tell.
    """
    offers, requests, responses = offers[:_SAMPLES], requests[:_SAMPLES], responses[:_SAMPLES]
    pairs = [*_answered(requests, responses)]
    alike = all(len({len(sample.data) for sample in samples}) < 2 for samples in (offers, requests, responses))
    if not pairs or not alike:
        return None
    best: tuple[tuple[int, ...], tuple[int | None, int, int]] | None = None
    granting = _candidates(responses, order)
    asking = _candidates(requests, order)
    for a in _offering(offers, order) if offers else [None]:
        bits = {} if a is None else {sample.session: _read(sample.data, a, order) for sample in offers}
        for b in asking:
            for c in granting:
                both = [
                    (_read(ask.data, b, order), _read(answer.data, c, order), bits.get(ask.session, -1))
                    for ask, answer in pairs
                ]
                if any(answer & ~ask or ask & ~most for ask, answer, most in both):
                    continue
                # Of windows that overlap, the one with all bits; what is granted is rarely less than what was asked.
                same = sum(ask == answer for ask, answer, _ in both)
                value = (same, min(bits.values(), default=0), sum(ask.bit_count() for ask, _, _ in both))
                if best is None or value > best[0]:
                    best = value, (a, b, c)
    if best is None or (not offers and len({ask.data for ask, _ in pairs}) < 2):
        return None
    first, second, third = best[1]
    rooms = [_room(requests, second, order), _room(responses, third, order)]
    rooms += [] if first is None else [_room(offers, first, order)]
    # Zeros that stand beside it in all of them are its own.
    size = 8 if min(rooms) >= 8 else 4
    back = 0 if order == "little" else size - _BYTES
    last = (second - back, size), (third - back, size)
    return (None, *last) if first is None else ((first - back, size), *last)


def _answered(requests: Sequence[Sample], responses: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Each request with the first response behind it in its session."""
    for response in responses:
        before = [each for each in requests if each.session == response.session and each.ns <= response.ns]
        if before:
            yield max(before, key=lambda each: each.ns), response


def _read(data: bytes, at: int, order: str) -> int:
    return int.from_bytes(data[at : at + _BYTES], "little" if order == "little" else "big")


def _offering(offers: Sequence[Sample], order: str) -> list[int | None]:
    return [
        at
        for at in _candidates(offers, order)
        if min(_read(sample.data, at, order).bit_count() for sample in offers) >= _OFFERED
    ]


def _candidates(samples: Sequence[Sample], order: str) -> list[int]:
    """Where three bytes are bits 0 to 22 in all samples, with a zero above them."""
    end = min(min(len(sample.data) for sample in samples), _FAR)
    found = []
    for at in range(end - _BYTES + 1):
        values = [_read(sample.data, at, order) for sample in samples]
        low = any(value & 0xFF for value in values)  # what all of them have is among the first: RSSI
        if low and all(0 < value < 1 << _BITS for value in values) and _room(samples, at, order) > _BYTES:
            found.append(at)
    return found[:_PLACES]


def _room(samples: Sequence[Sample], at: int, order: str) -> int:
    """Three bytes and the zeros above them."""
    room = _BYTES
    end = min(len(sample.data) for sample in samples)
    above, step = (at + _BYTES, 1) if order == "little" else (at - 1, -1)
    while 0 <= above < end and not any(sample.data[above] for sample in samples):
        room += 1
        above += step
    return room
