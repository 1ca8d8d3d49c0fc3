"""The order of a session's runs."""

from __future__ import annotations

import pytest

from loadgen.compare.pairs import order_shown, position_of, session_order
from loadgen.errors import InputError


@pytest.mark.parametrize(
    ("pairs", "control", "shown"),
    [
        (6, 2, "AAAA ABBAABBAABBA"),
        (4, 1, "AA ABBAABBA"),
        (2, 0, "ABBA"),
        (3, 0, "ABBAAB"),
        (5, 3, "AAAAAA ABBAABBAAB"),
    ],
)
def test_controls_come_first_and_every_other_pair_is_turned(pairs: int, control: int, shown: str) -> None:
    slots = session_order(pairs, control)
    assert order_shown(slots) == shown
    assert [slot.control for slot in slots] == [True] * (2 * control) + [False] * (2 * pairs)
    for position, slot in enumerate(slots):
        assert slot.pair == position // 2 - (0 if slot.control else control)
        if not slot.control:
            assert position_of(slot.pair, slot.new, control) == position


@pytest.mark.parametrize(
    ("pairs", "control", "where"), [(1, 2, ["--pairs"]), (0, -1, ["--pairs", "--control"]), (-3, 0, ["--pairs"])]
)
def test_too_few_pairs_are_bad_input(pairs: int, control: int, where: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        session_order(pairs, control)
    assert [problem.where for problem in caught.value.problems] == where
