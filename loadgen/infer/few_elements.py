"""Elements in a few bodies: in the form that other messages have, or that two messages of an opening have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadgen.infer.samples import Context
from loadgen.infer.shapes import BodyShape, ElementRun, cut, fits
from loadgen.infer.shaping import element_forms

__all__ = ["known_elements", "shared_forms"]

# How far into a body elements begin.
_NEAR = 48
# Bytes of lengths of a body that is walked from end to end.
_SURE = 4
# Elements of each body that two messages have from the same place on.
_SEVERAL = 3


def known_elements(bodies: Sequence[bytes], context: Context) -> BodyShape | None:
    """Elements in a form that other messages have, where all bodies are walked exactly: a few bodies are enough then,
    and one is, if it begins with them."""
    different = [*dict.fromkeys(bodies)]
    shortest = min(map(len, different))
    for fixed in range(min(_NEAR, shortest) + 1):
        for form, highest in context.forms.items():
            shape = BodyShape(fixed, (form,))
            if not fits(shape, different, context.work):
                continue
            cuts = [found[1][0] for body in different if (found := cut(shape, body, 0, len(body))) is not None]
            heads = [head for found in cuts for head in found]
            # Two lengths of two bytes that end where the body does are no chance, whatever the types.
            sure = not fixed and form.length_size * min(map(len, cuts)) >= _SURE
            most = 1 << 8 * form.type_size if sure else max(0xFF, 2 * highest)
            if not heads or not all(0 < kind <= most for kind, _, _ in heads):
                continue
            empty = sum(start == stop for _, start, stop in heads)
            if empty * 2 > len(heads) or (fixed and not (min(map(len, cuts)) > 1 and len(heads) > 3)):
                continue
            return shape
    return None


def shared_forms(one: Sequence[bytes], other: Sequence[bytes], context: Context) -> Mapping[ElementRun, int]:
    """The form of the elements that both of two messages end with, from one place on, with their highest type: what a
    controller says of itself has the form of what it was told. Nothing: there is none.

    A few bodies of one message prove nothing, but that three lengths in each of both end where all bodies do.
    """
    bodies = [*dict.fromkeys([*one, *other])]
    if len({len(body) for body in bodies}) < 2:
        return {}
    for fixed in range(min(_NEAR, min(map(len, bodies))) + 1):
        for form in element_forms(context.order):
            shape = BodyShape(fixed, (form,))
            if not fits(shape, bodies, context.work):
                continue
            cuts = [found[1][0] for body in bodies if (found := cut(shape, body, 0, len(body))) is not None]
            heads = [head for found in cuts for head in found]
            if min(map(len, cuts)) >= _SEVERAL and all(
                0 < kind <= 0xFF and start < stop for kind, start, stop in heads
            ):
                return {form: max(kind for kind, _, _ in heads)}
    return {}
