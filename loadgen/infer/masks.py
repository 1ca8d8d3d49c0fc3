"""Where masks of subservices are: what a controller offers, what is subscribed to of it, and what it grants.

The three messages are few and short, and say little one by one. Together they do: what is granted comes from what was
asked for a moment ago, and from what was offered in the same session. What is asked for may well be more than what is
offered: then it is not granted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

from loadgen.infer.samples import Sample

__all__ = ["find_masks", "masks_of"]

# NMSP's subservices are bits 0 to 22.
_BITS = 23
_BYTES = 3
# A controller offers many of them; a list of services has a few in each entry.
_OFFERED = 7
_FAR = 64
# What is compared of each message: samples, and places in them.
_SAMPLES, _PLACES = 48, 24
# Of lists: bytes of a record at most, where the first number can stand, and how many different ones tell.
_STRIDE, _FIRST, _FEWEST_LISTS = 12, 16, 4
Kind = TypeVar("Kind", bound=Hashable)
Place = tuple[int, int]  # first byte, bytes
Found = tuple[Place | None, Place | None, Place]  # of what is offered, asked for, granted


def find_masks(
    offers: Sequence[Sample], requests: Sequence[Sample], responses: Sequence[Sample], order: str
) -> Found | None:
    """The mask's place in each of the three messages; None: they have none, or it cannot be told.

    Args: offers: may be none, then only the other two tell.
    """
    offers, requests, responses = offers[:_SAMPLES], requests[:_SAMPLES], responses[:_SAMPLES]
    pairs = [*_answered(requests, responses)]
    if not pairs:
        return None
    if not _of_one_length(requests) and _of_one_length(offers) and _of_one_length(responses) and offers:
        found = _of_lists(offers, pairs, order)
        if found is not None:
            return found
    fit: list[tuple[tuple[int, ...], int | None, int, int]] = []
    granting = [(c, [_read(answer.data, c, order) for _, answer in pairs]) for c in _candidates(responses, order)]
    asking = [(b, [_read(ask.data, b, order) for ask, _ in pairs]) for b in _candidates(requests, order)]
    for a in [*_offering(offers, order)] if offers else [None]:
        most = _most(offers, a, pairs, order)
        for c, granted in granting:
            if not _within(granted, most):
                continue
            for b, asked in asking:
                if not _within(granted, asked):
                    continue
                all_of_it = sum(map(_is_granted, granted, asked, most))
                bits = min(most), sum(map(int.bit_count, asked)), sum(map(int.bit_count, granted))
                fit.append(((all_of_it, *bits), a, b, c))
    if not fit or (not offers and len({ask.data for ask, _ in pairs}) < 2):
        return None
    # Mostly all is granted that is asked for and offered.
    # What is the same in all answers is as well granted where nothing else was asked for.
    told = [each for each in fit if _differ([_read(answer.data, each[3], order) for _, answer in pairs])]
    fit = told or fit
    _, _, b, c = max(fit, key=lambda each: each[0])
    # Of windows that overlap, the one with all bits: a part of a mask is granted as a whole more often.
    near = [each for each in fit if each[2] - b == each[3] - c and abs(each[2] - b) < _BYTES]
    _, first, second, third = max(near, key=lambda each: (each[0][2] + each[0][3], each[0]))
    if not told and not all(map(_of_one_length, (offers, requests, responses))):
        # Behind what is of any length nothing stands in one place.
        return None
    places = [(requests, second), (responses, third)]
    size = _size(places if first is None else [(offers, first), *places], order)
    offered = None if first is None else _place(first, size, order)
    return offered, _place(second, size, order), _place(third, size, order)


def masks_of(
    kinds: Mapping[Kind, Sequence[Sample]], names: Mapping[Kind, str], order: str
) -> dict[Kind, tuple[int, int]]:
    """Of messages about subservices, where their masks are: (first byte, bytes)."""
    named = {name: kind for kind, name in names.items()}
    request, response = named.get("subscribe_request"), named.get("subscribe_response")
    if request is None or response is None:
        return {}
    offer = named.get("capability")
    asked = kinds[request], kinds[response]
    # Where what is called a capability has none: there may be another message of an opening, or none in the capture.
    others = [kind for kind, samples in kinds.items() if len(samples) <= len(asked[0]) and not samples[0].of_client]
    for kind in [offer, *others, None]:
        if kind in (request, response):
            continue
        found = find_masks([] if kind is None else kinds[kind], *asked, order)
        if found is not None:
            places = zip((kind, request, response), found, strict=True)
            return {each: place for each, place in places if each is not None and place is not None}
    return {}


def _differ(values: Sequence[int]) -> bool:
    return len(set(values)) > 1


def _within(granted: Sequence[int], bits: Sequence[int]) -> bool:
    return _nearly_all([not answer & ~each for answer, each in zip(granted, bits, strict=True)])


def _nearly_all(right: Sequence[bool]) -> bool:
    """A few answers may be taken for those of other requests, where several wait for theirs."""
    return sum(right) * 10 >= len(right) * 9


def _is_granted(answer: int, ask: int, most: int) -> bool:
    return answer == ask & most


def _of_one_length(samples: Sequence[Sample]) -> bool:
    return len({len(sample.data) for sample in samples}) < 2


def _most(offers: Sequence[Sample], at: int | None, pairs: Sequence[tuple[Sample, Sample]], order: str) -> list[int]:
    """What can be granted in each pair's session, if offers have their masks there."""
    bits = {} if at is None else {sample.session: _read(sample.data, at, order) for sample in offers}
    return [bits.get(ask.session, (1 << _BITS) - 1) for ask, _ in pairs]


def _of_lists(offers: Sequence[Sample], pairs: Sequence[tuple[Sample, Sample]], order: str) -> Found | None:
    """The same where a subscription is a list of subservices by their numbers, and no mask: just those of them are
    granted that are offered, always."""
    responses = [answer for _, answer in pairs]
    granting = [(c, [_read(answer.data, c, order) for answer in responses]) for c in _candidates(responses, order)]
    if len({ask.data for ask, _ in pairs}) < _FEWEST_LISTS:
        return None
    for asked in _as_lists([ask.data for ask, _ in pairs]):
        for a in _offering(offers, order):
            most = _most(offers, a, pairs, order)
            for c, granted in granting:
                if _nearly_all([*map(_is_granted, granted, asked, most)]):
                    size = _size([(offers, a), (responses, c)], order)
                    return _place(a, size, order), None, _place(c, size, order)
    return None


def _as_lists(bodies: Sequence[bytes]) -> Iterator[list[int]]:
    """Bits of the subservices that bodies list, by every reading: one number in each record, to the end of the body,
    from 0 or from 1, and none twice."""
    shortest = min(map(len, bodies))
    for stride in range(1, _STRIDE + 1):
        for at in range(min(_FIRST, shortest)):
            numbers = [body[at::stride] for body in bodies]
            if any(max(each) > _BITS or len(set(each)) < len(each) for each in numbers):
                continue
            for begin in (0, 1):
                if all(begin <= min(each) and max(each) < _BITS + begin for each in numbers):
                    yield [sum(1 << number - begin for number in each) for each in numbers]


def _size(places: Sequence[tuple[Sequence[Sample], int]], order: str) -> int:
    """Bytes of the masks: zeros that stand beside each of them are their own."""
    return 8 if min(_room(samples, at, order) for samples, at in places) >= 8 else 4


def _place(at: int, size: int, order: str) -> Place:
    return at - (0 if order == "little" else size - _BYTES), size


def _answered(requests: Sequence[Sample], responses: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Each response with the request that it answers: of its transaction, or else the last one before it."""
    for response in responses:
        before = [each for each in requests if each.session == response.session and each.ns <= response.ns]
        same = [each for each in before if each.transaction == response.transaction is not None]
        if before:
            yield max(same or before, key=lambda each: each.ns), response


def _read(data: bytes, at: int, order: str) -> int:
    return int.from_bytes(data[at : at + _BYTES], "little" if order == "little" else "big")


def _offering(offers: Sequence[Sample], order: str) -> list[int]:
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
