"""Rates of a stage in virtual time: a tail takes nothing off them, a backlog that grows does, and by how much."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from itertools import accumulate

import msgspec
import numpy as np
import pytest

from loadgen.measure.merge import Merger
from loadgen.measure.moments import Moments
from loadgen.measure.recorder import Interval, Recorder
from loadgen.measure.stages import AFTER
from loadgen.measure.waits import FINEST, FIRST, SLOTS, Waited, Waits, growth_ns, stayed_ns
from loadgen.results.figures import StageSpan, backlog_growth_ns, make_rates, make_stages

MS, S = 10**6, 10**9
START_NS = 1_795_000_000 * S
RATE = "handshake.completed_per_s"
# How long handshake number i, due at that time (ns since the start of the stage), takes.
Takes = Callable[[int, int], int]


def span(length_s: float, *, paced: bool = True) -> StageSpan:
    return StageSpan("hold", True, START_NS, START_NS, round(length_s * S), 0.0, 0.0, {}, paced)


def merged(due: Sequence[int], takes: Takes, *, workers: int = 1) -> Merger:
    """What workers that have them in turn hand in: each its own, in intervals of a second, when they are done."""
    recorders = [Recorder() for _ in range(workers)]
    for recorder in recorders:
        recorder.stages.add(["warmup", "hold", ""], [START_NS - S, START_NS, START_NS + 3600 * S])
    done = sorted((at + takes(number, at), at, number) for number, at in enumerate(due))
    merger, interval = Merger(), 0
    for done_ns, at, number in done:
        while done_ns > (interval + 1) * S:
            for worker, recorder in enumerate(recorders):
                merger.add(f"mse-{worker}", recorder.take(interval))
            interval += 1
        recorder = recorders[number % workers]
        recorder.record("handshake.service", 7, "hold")
        recorder.wait("handshake", "hold", START_NS + at, done_ns - at)
    for worker, recorder in enumerate(recorders):
        merger.add(f"mse-{worker}", recorder.take(interval))
    return merger


def rate(per_s: float, length_s: float, takes: Takes, *, workers: int = 1) -> float:
    due = [round(number * S / per_s) for number in range(round(per_s * length_s))]
    return make_rates(merged(due, takes, workers=workers), {}, [span(length_s)])[RATE]


def at_random(seed: int, one_in: int, delay_ns: int) -> Takes:
    rng = random.Random(seed)
    return lambda _number, _at: rng.randrange(MS, 3 * MS) + (delay_ns if not rng.randrange(one_in) else 0)


def served(per_s: float, takes_ns: int = 2 * MS) -> Takes:
    """One after the other, so many per second."""
    free = 0

    def takes(_: int, at: int) -> int:
        nonlocal free
        free = max(free, at) + round(S / per_s)
        return free - at + takes_ns

    return takes


# -- a tail ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_ns", [0, 250 * MS, S, 10 * S])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_uniform_delay_is_in_no_rate(delay_ns: int, workers: int) -> None:
    assert rate(50, 4, lambda _number, _at: delay_ns, workers=workers) == pytest.approx(50)


@pytest.mark.parametrize(("one_in", "delay_ns"), [(50, 250 * MS), (200, S), (10, 250 * MS), (20, S)])
@pytest.mark.parametrize(("per_s", "length_s"), [(50, 4), (400, 4), (120, 2), (30, 20)])
def test_a_tail_is_in_no_rate_wherever_it_is(one_in: int, delay_ns: int, per_s: float, length_s: float) -> None:
    for seed in range(10):
        assert rate(per_s, length_s, at_random(seed, one_in, delay_ns)) == pytest.approx(per_s, rel=0.01), seed
    count = per_s * length_s
    # And the last ones of all, where it used to be told from nothing else.
    assert rate(per_s, length_s, lambda n, _: MS + (delay_ns if n % one_in == one_in - 1 else 0)) == pytest.approx(
        per_s, rel=0.01
    )
    assert rate(per_s, length_s, lambda n, _: MS + (delay_ns if n == count - 1 else 0)) == pytest.approx(per_s)


@pytest.mark.parametrize("at_ns", [0, S, 2 * S, 3 * S])
def test_a_target_that_stood_still_for_a_moment_has_done_all_the_same(at_ns: int) -> None:
    def takes(_: int, at: int) -> int:
        return MS + (at_ns + 500 * MS - at if at_ns <= at < at_ns + 500 * MS else 0)

    assert rate(100, 4, takes) == pytest.approx(100, rel=0.01)


# -- a backlog ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_s", [126, 150, 240, 1000])
@pytest.mark.parametrize("length_s", [2, 4, 12])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_below_what_is_offered_does_what_it_can(per_s: float, length_s: float, workers: int) -> None:
    """Everything is done in the end, and it does not flatter: 120/s are 120/s."""
    assert rate(per_s, length_s, served(120), workers=workers) == pytest.approx(120, rel=0.01)


def test_a_server_that_is_just_fast_enough_has_no_backlog() -> None:
    assert rate(120, 4, served(120)) == pytest.approx(120)


def test_a_backlog_with_a_tail_is_a_backlog() -> None:
    tail = at_random(5, 50, 250 * MS)
    slow = served(120)
    found = rate(150, 4, lambda number, at: slow(number, at) + tail(number, at))
    assert found == pytest.approx(120, rel=0.02)


def test_one_session_of_ten_that_falls_behind_is_one() -> None:
    """It gets 80 % of its share done: 2 % of all."""
    slow = served(8)
    found = rate(100, 4, lambda number, at: slow(number, at) if number % 10 == 0 else MS)
    assert found == pytest.approx(98, rel=0.006)


def test_a_backlog_that_has_reached_its_bound() -> None:
    """1,000/s are due, 500 are taken; from the third second on each second one is given up after 2 s."""
    due, waits = [], []
    for number in range(18_000):
        at = number * MS
        if at < 2 * S or number % 2:
            due.append(at)
            waits.append(min(at, 2 * S))
    merger = merged(due, lambda number, _: waits[number])
    assert make_rates(merger, {}, [span(18)])[RATE] == pytest.approx(500, rel=0.03)


def test_no_pace_takes_longer_than_all_of_it_took() -> None:
    """20 are done at once, 10 hang until 8 s and take all places, and what is due meanwhile is given up."""
    due = [round(number * S / 20) for number in range(30)]
    merger = merged(due, lambda number, at: MS if number < 20 else 8 * S - at)
    assert make_rates(merger, {}, [span(4)])[RATE] == pytest.approx(30 / 8, rel=0.05)


def gated(per_s: float, offered_per_s: float, hold_s: float, slots: int | None, tail: Takes) -> tuple[float, int]:
    """A target that takes one after the other, none of them in advance, and a client that has so many under way.

    Returns:
        The rate of the stage, and how many were done. What was due more than 2 s ago is given up.
    """
    due = [round(number * S / offered_per_s) for number in range(round(offered_per_s * hold_s))]
    done, waits, under_way = [], [], [0] * (slots or 0)
    free = 0
    for number, at in enumerate(due):
        begun = max(at, under_way[0]) if slots else at
        if begun - at > 2 * S:
            continue
        free = max(free, begun) + round(S / per_s)
        ended = free + tail(number, at)
        if slots:
            heapq.heapreplace(under_way, ended)
        done.append(at)
        waits.append(ended - at)
    return make_rates(merged(done, lambda number, _: waits[number]), {}, [span(hold_s)])[RATE], len(done)


TAILS: dict[str, Callable[[], Takes]] = {
    "none": lambda: lambda *_: MS,
    "uniform": lambda: lambda *_: 250 * MS,
    "1 in 50": lambda: at_random(3, 50, 250 * MS),
    "1 in 200": lambda: at_random(4, 200, S),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("slots", [5, None])
@pytest.mark.parametrize("per_s", [5, 10, 20, 120])
def test_what_a_target_does_is_told_however_much_more_is_offered(per_s: float, slots: int | None, tail: str) -> None:
    """With few slots the waits stop to grow at what is given up; that is not a target that keeps up."""
    # Where each keeps its slot for so long, no more than that is asked of it.
    able = min(per_s, slots / (0.25 + 1 / per_s)) if slots and tail == "uniform" else per_s
    wrong = []
    for factor in (1.05, 1.1, 1.3, 1.5, 2, 4, 10, 40):
        for hold_s in (3, 5, 10, 30):
            if per_s * hold_s * (1 if slots else factor) > 650:
                continue  # the more there are, the easier it is
            found, count = gated(per_s, per_s * factor, hold_s, slots, TAILS[tail]())
            # Of 15 handshakes nobody can tell more than that it may have been one less.
            if abs(found / able - 1) > max(0.03, 1 / count):
                wrong.append(f"{factor} times in {hold_s} s: {found:.2f} of {count}")
    assert not wrong


@pytest.mark.parametrize("factor", [1.02, 1.05, 1.09, 1.2])
@pytest.mark.parametrize("at_ns", [0, S, 5 * S // 2, 4 * S])
def test_a_moment_of_a_tenth_of_the_hold_hides_no_backlog(factor: float, at_ns: int) -> None:
    """It is us who stand still: the target goes on, and we see all of it when we are back."""
    slow = served(120)

    def takes(number: int, at: int) -> int:
        wait = slow(number, at)
        return at_ns + S // 2 - at if at_ns <= at + wait < at_ns + S // 2 else wait

    assert rate(120 * factor, 5, takes) == pytest.approx(120, rel=0.005)


@pytest.mark.parametrize("from_s", [0, 2.5, 5])
def test_what_fails_later_on_is_less_done_and_no_backlog(from_s: float) -> None:
    """Each fifth fails from then on; what is done takes up to half a second longer than 10 s, as it happens."""
    for seed in range(20):
        rng = random.Random(seed)
        due = [number * 20 * MS for number in range(500) if number * 20 * MS < from_s * S or number % 5]
        merger = merged(due, lambda *_: 10 * S + rng.randrange(500 * MS))  # noqa: B023
        assert make_rates(merger, {}, [span(10)])[RATE] == pytest.approx(len(due) / 10, rel=0.01), seed


@pytest.mark.parametrize("seed", range(20))
def test_a_machine_that_has_no_time_is_no_backlog(seed: int) -> None:
    """Handshakes take up to half a second, as on one that others keep busy; also where the first ones were quick."""
    rng = random.Random(seed)
    takes: Takes = lambda _, at: rng.randrange(MS, 20 * MS if at < 250 * MS else 500 * MS)  # noqa: E731
    assert rate(50, 4, takes) == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize(
    ("per_s", "length_s", "from_s", "able"),
    [(300, 12, 8, 100), (300, 8, 5.5, 150), (300, 8, 5, 150), (300, 8, 3.3, 270), (200, 60, 45, 150), (50, 4, 3, 20)],
)
@pytest.mark.parametrize("noise_ms", [0, 20])
def test_a_backlog_that_begins_late_is_one(
    per_s: float, length_s: float, from_s: float, able: float, noise_ms: int
) -> None:
    """All is done in the end, and the last one so much later: over that time, so many per second."""
    rng, free = random.Random(3), 0

    def takes(_: int, at: int) -> int:
        nonlocal free
        free = max(free, at) + (round(S / able) if at >= from_s * S else MS)
        return free - at + rng.randrange(noise_ms * MS + 1)

    late_s = (length_s - from_s) * (per_s / able - 1)
    assert rate(per_s, length_s, takes) == pytest.approx(per_s * length_s / (length_s + late_s), rel=0.02)


@pytest.mark.parametrize(("slow_s", "length_s", "all_s"), [((2, 4), 8, 12.0), ((2, 4), 26, 26.0), ((1, 3), 8, 11.67)])
def test_a_backlog_that_grew_for_a_while_and_is_caught_up_with_too_slowly_takes_its_time(
    slow_s: tuple[float, float], length_s: float, all_s: float
) -> None:
    """What is due at these times takes 0.1 s each, one after the other; before and after that 60/s are done of 40."""
    free = 0

    def takes(_: int, at: int) -> int:
        nonlocal free
        slow = slow_s[0] * S <= at < slow_s[1] * S
        free = max(free, at) + (S // 10 if slow else S // 60)
        return free - at

    last_s = max(at + takes(0, at) for at in (number * S // 40 for number in range(round(40 * length_s)))) / S
    free = 0
    assert max(last_s, length_s) == pytest.approx(all_s, rel=0.1)
    assert rate(40, length_s, takes) == pytest.approx(40 * length_s / max(last_s, length_s), rel=0.03)


@pytest.mark.parametrize(
    ("able", "until_s", "faster", "all_s"),
    [
        (24, 8.3, 80, 10.83),
        (24, 8.3, 50, 12.4),
        (24, 6, 50, 11.12),
        (30, 9, 60, 11.17),
        (24, 8.3, 150, 10),  # caught up with
        (32, 8, 80, 10),
    ],
)
@pytest.mark.parametrize("noise_ms", [0, 30])
def test_a_backlog_that_grew_for_most_of_a_stage_and_is_caught_up_with_fast_takes_its_time(
    able: float, until_s: float, faster: float, all_s: float, noise_ms: int
) -> None:
    """As evenly as it grew, and then fell: what is usual between two stretches is none of it. 40/s for 10 s are due."""
    rng, free = random.Random(5), 0

    def takes(_: int, at: int) -> int:
        nonlocal free
        begun = max(free, at)
        free = begun + round(S / (able if begun < until_s * S else faster))
        return free - at + rng.randrange(noise_ms * MS + 1)

    assert rate(40, 10, takes) == pytest.approx(400 / all_s, rel=0.015)


@pytest.mark.parametrize("from_s", [1, 2.5, 3.6, 4.2, 4.7])
@pytest.mark.parametrize("longer_ms", [80, 600])
def test_what_takes_longer_from_some_moment_on_is_no_backlog(from_s: float, longer_ms: int) -> None:
    """All at once, and as many per second as before: only each of them takes so much longer."""
    for seed in range(10):
        rng = random.Random(seed)
        takes: Takes = lambda _, at: rng.randrange(8 * MS, 12 * MS) + (longer_ms * MS if at >= from_s * S else 0)  # noqa: B023, E731
        assert rate(20, 5, takes) == pytest.approx(20, rel=0.01), seed


def stayed(length_s: float, waits: Takes, per_s: float = 20) -> float:
    """In seconds."""
    kept = Waits(0)
    for number in range(round(length_s * per_s)):
        at = round(number * S / per_s)
        kept.add_one(at, waits(number, at))
    return stayed_ns([kept.waited()], round(length_s * S)) / S


@pytest.mark.parametrize("from_s", [1, 2.5, 6.4])
@pytest.mark.parametrize("over_s", [0, 0.5, 1])
def test_what_takes_longer_from_some_moment_on_and_to_the_end_has_stayed(from_s: float, over_s: float) -> None:
    """It grows for a while, or at once, by 1.9 s of 10: what is due is done 1.9 s later."""
    for seed in range(10):
        rng = random.Random(seed)

        def waits(_: int, at: int, rng: random.Random = rng) -> int:
            grown = (at - from_s * S) / (over_s * S) if over_s else float(at >= from_s * S)
            return rng.randrange(20 * MS) + round(1.9 * S * min(1.0, max(0.0, grown)))

        assert stayed(10, waits) == pytest.approx(1.9, rel=0.02), seed


def test_what_has_always_taken_as_long_and_what_is_caught_up_with_has_not_stayed() -> None:
    assert stayed(10, lambda _, at: 2 * S) == 0
    assert stayed(10, lambda _, at: max(0, 4 * S - at)) == 0
    assert stayed(10, lambda _, at: 2 * S - at // 5) == 0
    assert stayed(10, lambda _, at: S * (3 * S < at < 7 * S)) == 0
    assert stayed(10, lambda _, at: S * (at > 8 * S)) == 0  # too short to tell
    for seed in range(100):
        rng = random.Random(seed)
        assert stayed(10, lambda _, at: round(rng.expovariate(1) * S)) < 0.5, seed  # noqa: B023


def test_an_early_stall_does_not_hide_a_late_backlog() -> None:
    """It stands still for 2 s, catches up, and from 7 s on does 10/s of 20/s."""
    free = 0

    def takes(_: int, at: int) -> int:
        nonlocal free
        if at < 2 * S:
            return 2 * S - at
        free = max(free, at) + (S // 10 if at >= 7 * S else MS)
        return free - at

    assert rate(20, 10, takes) == pytest.approx(200 / 13, rel=0.02)


@pytest.mark.parametrize("still_s", [0.5, 1, 2, 3])
@pytest.mark.parametrize("longer_s", [0, 0.5, 4])
def test_a_target_that_stands_still_at_the_end_and_goes_on_has_done_all_the_same(
    still_s: float, longer_s: float
) -> None:
    """What was due last waited the least of all that did."""
    begins = round((8 - still_s) * S)

    def takes(_: int, at: int) -> int:
        return MS + (round((8 + longer_s) * S) - at if at >= begins else 0)

    assert rate(100, 8, takes) == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(
    ("served_per_s", "holds", "all_s"),
    [
        (30, [(3, 20), (3, 60), (6, 5)], 12),  # caught up with in the last one
        (40, [(1, 50)] * 6, 7.5),
        (40, [(3, 60), (3, 45)], 7.875),
        (40, [(1, 60)] * 10, 15),
        (40, [(2, 50), (2, 40), (2, 50)], 7),  # the one in the middle has the backlog, and no longer one
        # Caught up with at the beginning of the last one, or of none.
        (30, [(2, 60), (12, 2)], 14),
        (30, [(3, 40), (6, 5)], 9),
        (30, [(4, 36), (12, 10)], 16),
        (30, [(3, 20), (3, 40), (4, 10)], 10),
        (30, [(2, 60), (1, 10)], 3 + 4 / 3),
        (40, [(2, 60), (2, 40), (12, 5)], 16),
    ],
)
def test_what_one_hold_leaves_is_the_backlog_of_the_next(
    served_per_s: int, holds: list[tuple[int, int]], all_s: float
) -> None:
    recorder, free = Recorder(), START_NS
    ends = list(accumulate((length * S for length, _ in holds), initial=START_NS))
    names = [f"hold-{index}" for index in range(len(holds))]
    recorder.stages.add([*names, AFTER], ends)
    for name, at, (length, per_s) in zip(names, ends, holds, strict=False):
        for index in range(length * per_s):
            due = at + index * S // per_s
            free = max(free, due) + S // served_per_s
            recorder.record("handshake.service", 7, name)
            recorder.wait("handshake", name, due, free - due)
    merger = Merger()
    merger.add("mse-0", recorder.take(0))
    spans = [
        span(length)._replace(name=name, start_ns=at) for name, at, (length, _) in zip(names, ends, holds, strict=False)
    ]
    done = sum(length * per_s for length, per_s in holds)
    assert make_rates(merger, {}, spans)[RATE] == pytest.approx(done / all_s, rel=0.02)


def test_the_backlog_of_a_stage_is_told_in_ns() -> None:
    due = [round(number * S / 150) for number in range(600)]
    merger = merged(due, served(120))
    assert backlog_growth_ns(merger, RATE, span(4)) == pytest.approx(S, rel=0.01)
    (stage,) = make_stages(merger, [span(4)])
    assert stage.rates[RATE] == pytest.approx(120, rel=0.01)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_of_too_few_no_backlog_is_told(count: int) -> None:
    merger = merged([number * S for number in range(count)], lambda number, _: number * 10 * S)
    assert backlog_growth_ns(merger, RATE, span(4)) == 0


def closed_loop(
    places: int,
    length_s: float,
    takes: Takes,
    warmup_s: float = 0.0,
    takes_at: Callable[[int], int] = lambda place: 0,
) -> float:
    """The rate of a stage in which so many are always under way, as a shard tells of each when it has ended."""
    recorder = Recorder()
    warm_ns, length_ns = round(warmup_s * S), round(length_s * S)
    ends = [START_NS, START_NS + warm_ns, START_NS + warm_ns + length_ns]
    recorder.stages.add(["warmup", "hold", AFTER] if warm_ns else ["hold", AFTER], ends if warm_ns else ends[1:])
    free = [(START_NS, place) for place in range(places)]
    number = 0
    while free:
        due, place = heapq.heappop(free)
        if (stage := recorder.stages.at(due)) == AFTER:
            continue
        done = due + takes(number, due - START_NS) + takes_at(place)
        number += 1
        recorder.record("handshake.service", 7, stage)
        recorder.wait("handshake", stage, due, done - due)
        is_first = due == START_NS
        recorder.share((FIRST if is_first else "") + "handshake", due, done)
        if is_first:
            recorder.took_first("handshake", due, done)
        heapq.heappush(free, (done, place))
    merger = Merger()
    merger.add("mse-0", recorder.take(0))
    warm = StageSpan("warmup", False, START_NS, START_NS, warm_ns, 0.0, 0.0, {}, False, places=places)
    hold = span(length_s, paced=False)._replace(places=places, start_ns=START_NS + warm_ns)
    return make_rates(merger, {}, [warm, hold])[RATE]


@pytest.mark.parametrize("warmup_s", [0.0, 2.0, 3.3])
@pytest.mark.parametrize(
    ("places", "length_s", "takes_ms"),
    [(64, 4, 128), (4, 6, 500), (4, 6, 507), (4, 10, 1000), (4, 10, 1008), (4, 10, 2500), (4, 10, 2511), (4, 10, 9000)],
)
def test_as_fast_as_it_goes_is_as_many_at_once_by_how_long_each_takes(
    places: int, length_s: float, takes_ms: int, warmup_s: float
) -> None:
    """However many of them end with the stage, and however long what is begun just before its end goes on."""
    found = closed_loop(places, length_s, lambda *_: takes_ms * MS, warmup_s)
    assert found == pytest.approx(places * 1000 / takes_ms, rel=0.002)


@pytest.mark.parametrize("warmup_s", [0.0, 3.0])
@pytest.mark.parametrize("slow_ms", [500, 1500, 2900, 3020, 5900])
def test_as_fast_as_it_goes_some_places_may_be_slower_than_others(slow_ms: int, warmup_s: float) -> None:
    """Two WLCs, and a place stays with one of them."""
    own = {place: (20 if place % 2 else slow_ms) * MS for place in range(8)}
    found = closed_loop(8, 6, lambda *_: 0, warmup_s, lambda place: own[place])
    assert found == pytest.approx(4 * 50 + 4 * 1000 / slow_ms, rel=0.01)


@pytest.mark.parametrize("seed", range(10))
def test_as_fast_as_it_goes_is_that_however_long_each_takes(seed: int) -> None:
    rng = random.Random(seed)
    takes: Takes = lambda *_: rng.randrange(100 * MS, 300 * MS)  # noqa: E731
    assert closed_loop(32, 10, takes, 1.0) == pytest.approx(160, rel=0.03)


@pytest.mark.parametrize("warmup_s", [0.0, 5.0])
@pytest.mark.parametrize(("places", "length_s", "per_s"), [(64, 6, 20), (64, 2, 20), (16, 6, 100), (200, 5, 50)])
def test_as_fast_as_it_goes_a_target_with_a_queue_does_what_it_does(
    places: int, length_s: float, per_s: int, warmup_s: float
) -> None:
    """One after the other: the first ones meet no queue, and all others one of as many as there are places."""
    free = START_NS

    def takes(_: int, at: int) -> int:
        nonlocal free
        free = max(free, START_NS + at) + S // per_s
        return free - START_NS - at

    assert closed_loop(places, length_s, takes, warmup_s) == pytest.approx(per_s, rel=0.01)


def test_as_fast_as_it_goes_one_that_is_very_late_is_a_tail() -> None:
    takes: Takes = lambda number, _: 30 * S if number == 159 else 100 * MS  # noqa: E731
    assert closed_loop(4, 4, takes) == pytest.approx(159 / 4, rel=0.001)  # what is left of it belongs to no stage


def test_columns_are_sums_like_single_ones() -> None:
    rng = np.random.default_rng(7)
    due = np.sort(rng.integers(0, 4 * S, 5000)) + START_NS
    waits = rng.integers(0, 10 * S, 5000)
    one, columns = Recorder(), Recorder()
    for recorder in (one, columns):
        recorder.stages.add(["hold"], [START_NS])
    for at, wait in zip(due.tolist(), waits.tolist(), strict=True):
        one.wait("sent", "hold", at, wait)
    order = rng.permutation(5000)
    for rows in np.array_split(order, 70):
        for part in columns.stages.split(due[rows]):
            columns.wait_column("sent", part, due[rows][part.rows], waits[rows][part.rows])
    assert columns.take(0).waits == one.take(0).waits


def test_only_what_changed_is_handed_in_again() -> None:
    recorder = Recorder()
    recorder.stages.add(["a", "b"], [0, S])
    recorder.wait("sent", "a", 5, 7)
    assert set(recorder.take(0).waits) == {"a/sent"}
    recorder.wait("sent", "b", S + 5, 7)
    recorder.wait("sent", "", 5, 7)  # of no stage: nothing is asked of it
    assert set(recorder.take(1).waits) == {"b/sent"}
    assert recorder.take(2).waits == {}


@pytest.mark.parametrize(
    "broken", [(FINEST - 1, SLOTS, SLOTS), (99, SLOTS, SLOTS), (FINEST, 3, SLOTS), (FINEST, SLOTS, 3)]
)
def test_an_account_from_elsewhere_that_is_none_is_refused(broken: tuple[int, int, int]) -> None:
    shift, counts, sums = broken
    made = {"shift": shift, "counts": [0] * counts, "sums": [0] * sums}
    with pytest.raises(msgspec.ValidationError, match="slots"):
        msgspec.convert(made, Waited)
    with pytest.raises(msgspec.ValidationError, match="slots with counts from 0 on, found -3"):
        msgspec.convert(made | {"shift": FINEST, "counts": [-3] * SLOTS, "sums": [0] * SLOTS}, Waited)
    with pytest.raises(msgspec.ValidationError, match="slots with counts from 0 on, found -1"):
        msgspec.convert({"shift": FINEST, "counts": [0] * SLOTS, "sums": [0] * SLOTS, "untold": -1}, Waited)


def test_waits_of_a_day_are_more_than_64_bits_hold() -> None:
    merger = Merger()
    waited = Waited(FINEST + 4, [10**9] * SLOTS, [10**9 * 7 * S] * SLOTS)
    for worker in range(4):
        merger.add(f"w{worker}", Interval(0, {}, {}, {"hold/handshake": waited}))
    assert backlog_growth_ns(merger, RATE, span(16)) == 0


# -- what nobody has a schedule of -------------------------------------------------------------------------------------


def moments(times_ns: Sequence[int], workers: int = 2) -> float | None:
    recorders = [Recorder() for _ in range(workers)]
    for number, at in enumerate(times_ns):
        recorders[number % workers].happened("established", at)
    merger = Merger()
    for worker, recorder in enumerate(recorders):
        merger.add(f"w{worker}", recorder.take(0))
    return make_rates(merger, {}, []).get("handshake.per_s")


@pytest.mark.parametrize("count", [10, 20, 1000, 50_000])
def test_as_many_distances_as_there_are_between_posts(count: int) -> None:
    assert moments([7 * S + number * 4 * MS for number in range(count)]) == pytest.approx(250, rel=0.01)


@pytest.mark.parametrize("count", [0, 1, 6, 9])
def test_a_handful_has_no_rate(count: int) -> None:
    assert moments([7 * S + number * 4 * MS for number in range(count)]) is None


def test_all_at_once_have_no_rate() -> None:
    assert moments([7 * S] * 100) is None


def test_one_that_comes_late_or_long_before_makes_no_rate() -> None:
    times = [7 * S + number * 4 * MS for number in range(100)]
    for stray in ([*times, 3600 * S], [0, *times], [0, *times, 9 * S]):
        assert moments(stray) == pytest.approx(250, rel=0.02)


def test_moments_of_a_long_run_are_bounded() -> None:
    made = Moments()
    for second in range(2000):
        made.add({second * 7629 + 76 * number: 1 for number in range(100)})
    assert len(made._counts) <= 1 << 14
    assert made.per_s() == pytest.approx(100, rel=0.01)


def test_what_comes_after_the_end_of_a_load_by_somebody_elses_schedule_is_in_none_of_its_stages() -> None:
    recorder = Recorder()
    recorder.stages.add(["hold", ""], [START_NS, START_NS + 4 * S])
    assert [recorder.stages.at(START_NS + at) for at in (-1, 0, 4 * S - 1, 4 * S)] == ["", "hold", "hold", ""]
    # The next load, or a stage that began while this one went on, takes the place of what was to come.
    recorder.stages.add(["next", ""], [START_NS + 2 * S, START_NS + 8 * S])
    assert [recorder.stages.at(START_NS + at * S) for at in (1, 3, 5, 8)] == ["hold", "next", "next", ""]
    assert isinstance(recorder.take(0), Interval)


@pytest.mark.parametrize("ended_s", [0.02, 0.1, 0.31, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("due_s", [0.02, 0.3, 1.2, 2.0, 30.0])
def test_what_was_due_after_the_end_of_a_stage_is_none_of_its_waits(ended_s: float, due_s: float) -> None:
    """A stage that was ended early, and more waits the later it was due: a figure comes out, whatever was due when."""
    waits = Waits(START_NS)
    for number in range(200):
        waits.add_one(START_NS + round(due_s * S * number / 200), number * MS)
    growth = growth_ns([waits.waited()], round(ended_s * S))
    # It grew by no more than the longest wait, or, where all was due in a moment, than it took to be done with them.
    assert 0 <= growth <= 200 * MS + round(due_s * S)


@pytest.mark.parametrize("length_s", [1e-9, 0.001, 0.04])
def test_a_stage_that_was_ended_as_it_began_has_no_rate(length_s: float) -> None:
    merger = merged([round(number * 0.01 * S) for number in range(100)], lambda _number, _at: MS)
    assert RATE not in make_rates(merger, {}, [span(length_s)])
    assert make_rates(merger, {}, [span(1.0)])[RATE] == pytest.approx(100, rel=0.02)
    assert make_rates(merger, {}, [span(length_s), span(1.0)])[RATE] == make_rates(merger, {}, [span(1.0)])[RATE]
