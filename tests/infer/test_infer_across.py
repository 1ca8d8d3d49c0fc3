"""What some sessions show is checked on the others."""

from __future__ import annotations

import random
import struct

from loadgen.infer.across import across_sessions
from loadgen.infer.samples import Context, Sample

MACS = [b"\0\xa1\xb2" + random.Random(number).randbytes(3) for number in range(20)]

ONE = dict.fromkeys(range(4), "192.0.2.1")  # of all sessions


def heard(choose: random.Random) -> bytes:
    count = choose.randrange(1, 5)
    return bytes([count]) + b"".join(struct.pack(">6sb", ap, -40 - choose.randrange(40)) for ap in MACS[:count])


def test_what_all_sessions_say_alike_is_read_in_those_that_were_held_out() -> None:
    choose = random.Random(1)
    samples = [Sample(heard(choose), number * 10**8, number % 4, False) for number in range(200)]
    found = across_sessions({0: samples}, Context(unit=1), {}, ONE)
    assert found is not None
    assert (found.used, found.others, found.decoded, found.explained) == (2, 2, 1.0, 1.0)


def test_a_message_of_one_session_alone_is_not_read() -> None:
    choose = random.Random(2)
    samples = [Sample(heard(choose), number * 10**8, number % 2, False) for number in range(100)]
    alone = [Sample(b"\1\2\3\4", number, 1, False) for number in range(25)]
    found = across_sessions(
        {0: samples + [Sample(heard(choose), 0, 0, False)] * 30, 1: alone}, Context(unit=1), {}, ONE
    )
    assert found is not None
    assert found.decoded == 50 / 75


def test_what_is_always_as_long_in_one_session_does_not_hold_for_the_others() -> None:
    samples = [Sample(bytes([number % 9] * (5 + number % 2)), number, number % 2, False) for number in range(60)]
    found = across_sessions({0: samples + samples[:2]}, Context(unit=1), {}, ONE)
    assert found is not None
    assert found.decoded < 0.1


def test_one_session_says_nothing_of_others() -> None:
    assert across_sessions({0: [Sample(b"\1", 0, 3, False)] * 9}, Context(), {}, ONE) is None


def test_sessions_are_held_out_by_the_wlc_that_they_are_of() -> None:
    """One that came back says again what holds of no other."""
    wlcs = {0: "192.0.2.1", 1: "192.0.2.2", 2: "192.0.2.2", 3: "192.0.2.1"}
    choose = random.Random(3)
    samples = [Sample(heard(choose), number * 10**8, number % 4, False) for number in range(200)]
    of_two = [Sample(b"\1\2\3\4", number, 1 + number % 2, False) for number in range(50)]
    kinds = {0: [*samples, Sample(heard(choose), 0, 0, False), *samples[::4], *samples[3::4]], 1: of_two}
    apart = across_sessions(kinds, Context(unit=1), {}, wlcs)
    together = across_sessions(kinds, Context(unit=1), {}, ONE)
    assert apart is not None
    assert together is not None
    assert (apart.used, apart.others, apart.decoded) == (2, 2, 100 / 150)
    assert together.decoded == 1.0
