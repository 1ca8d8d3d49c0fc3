"""Which stage a time belongs to, and what is in none because nobody knew of it in time."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.measure.stages import AFTER, StageClock


@pytest.mark.parametrize(
    ("came", "missed"),
    [
        ([], 0),
        ([90], 0),  # and nothing since, until the stages were told: what came meanwhile is still to be read
        ([90, 130], 30),
        ([130, 90], 30),
    ],
)
def test_what_was_split_before_its_stage_was_known_is_told_when_it_is(came: list[int], missed: int) -> None:
    clock = StageClock()
    for each in came:
        (part,) = clock.split(np.array([each]))
        assert part.stage == ""
    assert clock.add(["hold", AFTER], [100, 200]) == missed
    assert [part.stage for part in clock.split(np.array([120, 220]))] == ["hold", AFTER]


@pytest.mark.parametrize(
    ("begin", "end", "shares"),
    [
        (90, 100, {"": 1.0}),
        (100, 200, {"hold": 1.0}),
        (150, 150, {"hold": 1.0}),
        (200, 200, {AFTER: 1.0}),
        (150, 250, {"hold": 0.5, AFTER: 0.5}),
        (50, 250, {"": 0.25, "hold": 0.5, AFTER: 0.25}),
        (300, 400, {AFTER: 1.0}),
    ],
)
def test_what_goes_on_in_several_stages_has_a_share_of_each(begin: int, end: int, shares: dict[str, float]) -> None:
    clock = StageClock()
    clock.add(["hold", AFTER], [100, 200])
    found = list(clock.shares(begin, end))
    assert {name: share for name, _, share in found} == shares
    assert all(start == clock.start_ns(name) for name, start, _ in found)
