"""The native turn under sanitizers: a little of what `make fuzz` does with it; and they do see what is wrong."""

from __future__ import annotations

import random

import fuzz_native
import fuzz_native_sending
import pytest
from fuzz_bytes import Bytes
from fuzz_native_child import Answer, child, missing
from fuzz_targets import TARGETS

NATIVE = [name for name, target in TARGETS.items() if target.is_native]


@pytest.fixture(autouse=True)
def _needs_sanitizers() -> None:
    if words := missing():
        pytest.skip(words)


@pytest.mark.parametrize("name", NATIVE)
def test_seeds_with_changes(name: str) -> None:
    target, rng = TARGETS[name], random.Random(name)
    seeds = list(target.seeds())
    child().steps()
    for _ in range(100):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        target.run(bytes(data) + rng.randbytes(rng.choice((0, 0, 60))))
    assert len(child().steps()) > 4  # counting has hardly more blocks


def reading() -> fuzz_native.Reading:
    """Two links that bring a record full of notifications each."""
    many = [bytes((link << 5 | fuzz_native._MANY, 1, 0, 0)) for link in range(2)]
    return fuzz_native.Reading(Bytes(fuzz_native._begin(bytes(1), *many)))


def sending() -> fuzz_native_sending.Sending:
    """WLCs that owe a great deal."""
    scripts = (fuzz_native_sending.Sending(Bytes(data)) for data in fuzz_native_sending.sending_seeds())
    return next(script for script in scripts if script.most_at_once() > 4096)


class TestWhatASanitizerSees:
    @pytest.fixture(autouse=True)
    def _one_that_goes_on(self) -> None:
        """What has died of a request is there again for the next one."""
        reading().check(child().ask(reading().request()))
        sending().check(child().ask(sending().request()))

    def test_columns_that_are_shorter_than_told(self) -> None:
        with pytest.raises(AssertionError, match="heap-buffer-overflow"):
            child().ask(reading().request(lies=10_000))

    def test_times_that_have_less_room_than_told(self) -> None:
        with pytest.raises(AssertionError, match="heap-buffer-overflow"):
            child().ask(sending().request(lies=10_000))

    def test_a_number_that_overflows(self) -> None:
        script = reading()
        script.table = script.table._replace(length_added=(1 << 63) - 1)
        with pytest.raises(AssertionError, match="signed integer overflow"):
            child().ask(script.request())


def test_any_other_number_is_a_difference() -> None:
    script = reading()
    answer = child().ask(script.request())._data
    fuzz_native.Reading.check(script, Answer(answer))
    for at in random.Random(1).sample(range(0, len(answer), 8), 50):
        other = bytearray(answer)
        other[at] ^= 1
        with pytest.raises((AssertionError, KeyError, ValueError, IndexError)):
            script.check(Answer(bytes(other)))
