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
