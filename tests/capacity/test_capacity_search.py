"""Which load comes next: for any limit, the search ends close to it, in few steps, with loads that can be made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from hypothesis import assume, given
from hypothesis import strategies as st

from loadgen.capacity.result import Step
from loadgen.capacity.search import Search, Trial

starts = st.floats(1, 1e5)
resolutions = st.floats(0.005, 1)
# As shares of the start: from below its smallest part to far above.
factors = st.floats(1 / 4096, 4096)
LITTLE = 1e-9


def searched(search: Search, holds: Callable[[Trial], bool]) -> list[Trial]:
    """All trials of a search, told how each came out."""
    trials: list[Trial] = []
    while (trial := search.next()) is not None:
        assert search.next() == trial, "to ask twice changes nothing"
        trials.append(trial)
        assert len(trials) <= 60
        search.tell(trial, held=holds(trial))
    return trials


def few(start: float, limit: float, resolution: float) -> float:
    """Doublings, then halvings of the distance, and the confirmation."""
    doublings = abs(math.log2(limit / start)) + 2
    return doublings + math.log2(max(2.0, 1 / math.log2(1 + 0.8 * resolution))) + 2


@given(starts, factors, resolutions)
def test_a_perfect_target_is_bracketed_within_the_resolution(start: float, factor: float, resolution: float) -> None:
    limit = start * factor
    assume(factor > 1 / 1000)
    search = Search(start, start * 5000, resolution)
    trials = searched(search, lambda trial: trial.load <= limit)
    assert search.confirmed
    assert not search.exhausted
    assert search.low is not None
    assert search.high is not None
    assert search.low <= limit < search.high <= search.low * (1 + resolution) * (1 + LITTLE)
    assert len(trials) <= few(start, limit, resolution)
    assert trials[-1] == (Step.CONFIRM, search.low)
    assert [trial.step for trial in trials].count(Step.CONFIRM) == 1
    assert len({trial.load for trial in trials[:-1]}) == len(trials) - 1, "no load is tried twice"


@given(starts, factors, resolutions)
def test_nothing_is_tried_beyond_the_maximum_which_is_tried_itself(
    start: float, factor: float, resolution: float
) -> None:
    maximum = start * max(1, factor)
    search = Search(start, maximum, resolution)
    trials = searched(search, lambda trial: True)
    assert search.confirmed
    assert search.low == maximum
    assert search.high is None
    assert max(trial.load for trial in trials) == maximum
    assert len(trials) <= math.log2(maximum / start) + 3


@given(starts, resolutions)
def test_when_nothing_holds_it_gives_up_soon(start: float, resolution: float) -> None:
    search = Search(start, start * 2, resolution)
    trials = searched(search, lambda trial: False)
    assert search.exhausted
    assert search.low is None
    assert not search.confirmed
    assert len(trials) <= 12
    assert min(trial.load for trial in trials) >= start / 1024


@given(
    st.integers(1, 5000), st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from([1, 2, 7, 50]), resolutions
)
def test_loads_are_whole_steps(start: int, limit: int, maximum: int, step: int, resolution: float) -> None:
    assume(step <= start <= maximum)
    search = Search(start, maximum, resolution, step=step)
    trials = searched(search, lambda trial: trial.load <= limit)
    assert all(trial.load >= step and trial.load % step == 0 for trial in trials)
    assert max(trial.load for trial in trials) <= maximum
    if limit >= maximum:
        assert search.low == maximum // step * step
        assert search.high is None
    elif search.confirmed:
        assert search.low is not None
        assert search.low <= limit
        if search.high is None:
            assert search.low == maximum // step * step
        else:
            assert limit < search.high
            assert search.high - search.low <= max(step, search.low * resolution * (1 + LITTLE))
    else:
        assert search.exhausted
        assert limit < max(step, start / 512)


@given(st.floats(1, 3), st.floats(1, 3))
def test_whole_loads_do_not_exceed_a_maximum_that_is_none(start: float, more: float) -> None:
    search = Search(start, start + more, 0.05, step=1)
    trials = searched(search, lambda trial: True)
    assert all(trial.load == int(trial.load) <= start + more for trial in trials)
    assert search.low == math.floor(start + more)


@given(starts, st.floats(0.5, 50), resolutions, st.floats(0.5, 0.999))
def test_a_limit_that_a_longer_hold_lowers_is_not_above_what_was_confirmed(
    start: float, factor: float, resolution: float, lower: float
) -> None:
    """What holds for a short time need not hold for a long one."""
    short = start * factor
    longer = short * lower
    search = Search(start, start * 100, resolution)
    trials = searched(search, lambda trial: trial.load <= (longer if trial.step is Step.CONFIRM else short))
    confirmations = [trial.load for trial in trials if trial.step is Step.CONFIRM]
    assert search.confirmed
    assert not search.exhausted
    assert search.low == max(load for load in confirmations if load <= longer)
    assert search.high is not None
    assert longer < search.high <= search.low * (1 + resolution) * (1 + LITTLE)
    # Down in steps that double, and then to the middle each time.
    furthest = math.log2(2 + math.log(short / longer) / math.log(1 + 0.8 * resolution))
    assert len(confirmations) <= 2 * furthest + 3


@given(starts, resolutions)
def test_what_is_never_confirmed_is_given_up(start: float, resolution: float) -> None:
    search = Search(start, start * 10, resolution)
    trials = searched(search, lambda trial: trial.step is not Step.CONFIRM)
    assert search.exhausted
    assert not search.confirmed
    confirmations = [trial.load for trial in trials if trial.step is Step.CONFIRM]
    assert confirmations[-1] >= confirmations[0] / 8
    assert confirmations == sorted(confirmations, reverse=True)
    # The second one may have held for less long already; from there on, each is further below than the one before.
    steps = [math.log(a / b) for a, b in itertools.pairwise(confirmations)]
    assert all(b > 1.9 * a for a, b in itertools.pairwise(steps[1:]))
    assert search.high == confirmations[-1]


def test_small_whole_loads_below_a_confirmation_that_failed_are_tried() -> None:
    """10 of them, 4 % less, is 10 again; 9 may hold all the same."""
    search = Search(10, 10, 0.05, step=1)
    trials = searched(search, lambda trial: trial.load < 10 or trial.step is not Step.CONFIRM)
    assert search.confirmed
    assert (search.low, search.high) == (9, 10)
    assert [trial.load for trial in trials] == [10, 10, 9]


@given(starts, st.lists(st.booleans(), min_size=1), resolutions)
def test_it_ends_however_moody_the_target_is(start: float, moods: list[bool], resolution: float) -> None:
    search = Search(start, start * 1000, resolution)
    count = 0

    def holds(_: Trial) -> bool:
        nonlocal count
        count += 1
        return moods[count % len(moods)]

    searched(search, holds)
    if search.confirmed and search.high is not None:
        assert search.low is not None
        assert search.low < search.high <= search.low * (1 + resolution) * (1 + LITTLE)
