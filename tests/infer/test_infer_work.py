"""Bodies of any content and of any number of kinds end in bounded work, and what was left alone is said.

What is counted is work, and never time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import repeat

import pytest

from loadgen.infer.bodies import infer_bodies
from loadgen.infer.samples import Context, Sample
from loadgen.infer.work import MOST_STEPS, Work

_MACS = [b"\0\xa1\xb2" + random.Random(number).randbytes(3) for number in range(40)]


def _elements(choose: random.Random, size: int) -> bytes:
    """Types and lengths that are right, in each other and behind each other."""
    out = b""
    while len(out) < size:
        value = _elements(choose, size // 4) if size > 12 and choose.randrange(2) else choose.randbytes(5)
        out += bytes([choose.randrange(9), min(len(value), 255)]) + value[:255]
    return out


# What hostile devices may send: bodies that fit much, and mean nothing.
HOSTILE: dict[str, Callable[[random.Random, int], bytes]] = {
    "noise": lambda choose, size: choose.randbytes(size),
    "small numbers": lambda choose, size: bytes(choose.choices(range(5), k=size)),
    "texts": lambda choose, size: bytes(choose.choices(b"abcdefgh 0123", k=size)),
    "zeros": lambda _, size: bytes(size),
    "addresses": lambda choose, size: b"".join(choose.choices(_MACS, k=size // 6)),
    "elements": _elements,
    "empty elements": lambda choose, size: bytes(choose.choices((0, 1), (9, 1), k=2 * size)),
}


def kinds_of(
    make: Callable[[random.Random, int], bytes], kinds: int, bodies: int, most: int
) -> dict[int, list[Sample]]:
    choose = random.Random(1)
    return {
        kind: [
            Sample(make(choose, choose.randrange(most)), number * 10**7, number % 3, False) for number in range(bodies)
        ]
        for kind in range(kinds)
    }


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_hostile_takes_no_more_work_than_there_is(what: str) -> None:
    given = 60_000
    work = Work(given)
    kinds = kinds_of(HOSTILE[what], 6, 30, 120)
    found = infer_bodies(kinds, Context(unit=1, work=work))
    assert len(found) == len(kinds)
    # What was begun when the work was at its end is done: one look at all bodies of a kind.
    assert work.left > -given // 4


def test_kinds_that_were_left_alone_are_bytes_and_say_so() -> None:
    work = Work(3_000)
    found = infer_bodies(kinds_of(HOSTILE["small numbers"], 40, 20, 80), Context(unit=1, work=work))
    assert all(body.left_alone for body in found.values())
    (last,) = [*found.values()][-1].node["fields"]
    assert (last["size"], last["role"], last["evidence"].split(":")[0]) == ("rest", "unknown", "left alone")


def test_one_kind_does_not_take_the_work_of_all() -> None:
    """The first one, which has most bodies, is hostile; the others are as usual."""
    kinds = kinds_of(HOSTILE["small numbers"], 1, 60, 200)
    choose = random.Random(2)
    usual = [choose.choice(_MACS) + bytes([200 + choose.randrange(40), 0, 1]) for _ in range(40)]
    kinds |= {kind: [Sample(body, at * 10**9, 0, False) for at, body in enumerate(usual)] for kind in range(1, 6)}
    found = infer_bodies(kinds, Context(unit=1, work=Work(1_500_000)))
    assert found[0].left_alone
    assert not any(found[kind].left_alone for kind in range(1, 6))
    assert [field["role"] for field in found[5].node["fields"]][:2] == ["mac", "rssi"]


def test_the_work_of_a_capture_is_far_from_the_end_of_it() -> None:
    choose = random.Random(3)
    bodies = [bytes([n := choose.randrange(1, 6)]) + b"".join(choose.choices(_MACS, k=n)) for _ in range(200)]
    work = Work()
    samples = [Sample(body, at * 10**9, 0, False) for at, body in enumerate(bodies)]
    found = infer_bodies(dict(zip(range(3), repeat(samples), strict=False)), Context(unit=1, work=work))
    assert MOST_STEPS - work.left < MOST_STEPS // 20
    assert not any(body.left_alone for body in found.values())


def test_no_body_is_too_long() -> None:
    samples = [Sample(bytes(200_000 + at), at, 0, False) for at in range(4)]
    body = infer_bodies({0: samples}, Context(unit=1))[0]
    assert sum(field["size"] for field in body.node["fields"] if isinstance(field["size"], int)) <= 512
    assert body.fits == 1
