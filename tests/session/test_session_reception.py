"""Lost, duplicated, reordered, late: planted among many endpoints, counted exactly."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_samples import REPEATABLE, histogram_values

from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder
from loadgen.measure.stages import AFTER
from loadgen.nmsp.bulk import Columns
from loadgen.nmsp.carried import Carried
from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.profile_document import FieldDocument
from loadgen.results.figures import StageSpan, make_rates
from loadgen.session import reception
from loadgen.session.reception import Reception
from loadgen.session.sequence import SequenceCheck
from loadgen.units import NS_PER_MS, NS_PER_S

TO_UNIX_NS = 1_795_000_000_000_000_000


def brute_force(numbers: list[int], start: int = 0) -> tuple[int, int, int]:
    """(lost, duplicated, reordered), from the definitions, over the whole list: a number below the highest one before
    it is out of order if it had not come before, else a duplicate; what is below the highest and never came is lost."""
    lost = sum(number not in numbers for number in range(start, max(numbers, default=start - 1) + 1))
    duplicated = reordered = 0
    for place, number in enumerate(numbers):
        before = numbers[:place]
        if number in before or number < start:
            duplicated += 1
        elif before and number < max(before):
            reordered += 1
    return lost, duplicated, reordered


def checked(numbers: list[int], start: int = 0) -> tuple[int, int, int]:
    check = SequenceCheck(start)
    for number in numbers:
        check.take(number)
    assert check.jumps == 0
    assert check.taken == start + len(numbers)
    return check.lost, check.duplicated, check.reordered


# -- one session -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ([], (0, 0, 0)),
        ([0, 1, 2], (0, 0, 0)),
        ([0, 2], (1, 0, 0)),
        ([0, 2, 1], (0, 0, 1)),
        ([0, 1, 1], (0, 1, 0)),
        ([0, 2, 1, 1], (0, 1, 1)),
        ([3], (3, 0, 0)),
        ([3, 0, 1, 2], (0, 0, 3)),
        ([2, 1, 0, 3], (0, 0, 2)),
        ([0, 5, 0, 3, 3], (3, 2, 1)),
    ],
)
def test_planted_streams(numbers: list[int], wanted: tuple[int, int, int]) -> None:
    assert checked(numbers) == wanted == brute_force(numbers)


@given(numbers=st.lists(st.integers(0, 30), max_size=60), start=st.integers(0, 5))
@REPEATABLE
def test_any_stream_against_the_definitions(numbers: list[int], start: int) -> None:
    assert checked(numbers, start) == brute_force(numbers, start)


@given(seed=st.integers(0, 2**32 - 1))
@REPEATABLE
def test_a_stream_with_planted_faults(seed: int) -> None:
    rng = random.Random(seed)
    numbers = [n for n in range(200) if rng.random() > 0.1]
    for _ in range(rng.randrange(10)):
        at = rng.randrange(len(numbers))
        numbers.insert(min(len(numbers), at + rng.randrange(20)), numbers[at])
    for _ in range(rng.randrange(10)):
        a, b = rng.randrange(len(numbers)), rng.randrange(len(numbers))
        numbers[a], numbers[b] = numbers[b], numbers[a]
    lost, duplicated, reordered = checked(numbers)
    assert (lost, duplicated, reordered) == brute_force(numbers)
    assert len(numbers) == max(numbers) + 1 - lost + duplicated  # conservation


def test_a_large_gap_does_not_fill_the_memory_and_a_larger_one_is_no_loss() -> None:
    check = SequenceCheck()
    for number in (10**6, 10**6 + (1 << 32), 1 << 62):
        check.take(number)
    assert check.counts() == {
        "notify.lost": 10**6 + (1 << 32) - 1,
        "notify.duplicated": 0,
        "notify.reordered": 0,
        "errors.stream.sequence_jump": 1,
        "errors.stream.sequence_restart": 0,
    }
    # Of the million, the last 65,536 are remembered and so are none of the later ones.
    for number in (10**6 - 65_536, 10**6 - 65_537, 10**6 - 1, 10**6 + 1, 10**6 + (1 << 32) - 1):
        check.take(number)
    assert (check.reordered, check.duplicated) == (2, 3)
    check.take((1 << 62) + 1)
    assert check.expected == (1 << 62) + 2


def restarted(numbers: list[tuple[int, int]]) -> tuple[int, int, int, int]:
    """(lost, duplicated, reordered, restarts) of (number, due) as they came."""
    check = SequenceCheck()
    for number, due_ns in numbers:
        check.take(number, due_ns)
    assert check.taken == len(numbers)
    return check.lost, check.duplicated, check.reordered, check.restarts


def series(*numbers: int, since: int = 0) -> list[tuple[int, int]]:
    """Numbers, each due 1 later than the one before."""
    return [(number, since + place) for place, number in enumerate(numbers)]


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        # Sent again, as they were.
        (series(0, 1, 2, 3) + series(0, 1, 2, 3), (0, 4, 0, 0)),
        ([pair for pair in series(0, 1, 2) for _ in range(3)], (0, 6, 0, 0)),
        # Begun again; and every second one is lost from then on, or was before, or both.
        (series(0, 1, 2, 3, 0, 1, 2), (0, 0, 0, 1)),
        (series(0, 1, 2, 3, 4, 5, 6, 1, 3, 5, 7), (4, 0, 0, 1)),
        (series(1, 3, 5, 7, 0, 1, 2, 3, 4), (4, 0, 0, 1)),
        (series(1, 3, 5, 7, 1, 3, 5, 7, 9), (4 + 5, 0, 0, 1)),
        (series(0, 1, 2, 0, 1, 2, 0, 1, 2), (0, 0, 0, 2)),
        # Of a new series, what comes again is a duplicate, and what comes late is reordered.
        ([*series(0, 1, 2, 3, 0, 2), (1, 5), (2, 5), *series(3, since=6)], (0, 1, 1, 1)),
        ([pair for pair in series(0, 1, 2, 3, 0, 1, 2) for _ in range(2)], (0, 7, 0, 1)),
        # A little further back than it was: of what is further down, nobody knows that it was sent.
        (series(*range(10), 8, 9, 10), (0, 0, 0, 1)),
        # Back from a jump.
        (series(0, 1, 1 << 40, 2, 3, 5), (1, 0, 0, 1)),
        # Its first two have overtaken each other; or others, when the first one had been passed.
        ([*series(0, 1, 2, 3), (1, 5), (0, 4), *series(2, 3, since=6)], (0, 0, 1, 1)),
        ([*series(0, 1, 2, 3, 4, 5), (2, 8), (1, 7), *series(3, since=9)], (1, 0, 1, 1)),
        ([*series(1, 3, 5, 7), (2, 6), (0, 4), (1, 5), *series(3, since=7)], (4, 0, 2, 1)),
        # What falls, and is due later and later, is no series.
        (series(0, 1, 2, 3, 2, 1, 0), (0, 3, 0, 0)),
        # Numbers that are negative, if a sign is seen in them.
        (series(0, 1, (1 << 63) + 100, (1 << 63) + 101, (1 << 64) - 2, (1 << 64) - 1), (0, 0, 0, 0)),
        # One number in a row, or always the same, is no series.
        (series(0, 1, 1, 2, 2, 2, 3, 0), (0, 4, 0, 0)),
        (series(0, 0, 0, 0), (0, 3, 0, 0)),
        (series(0, 1, 1, 1), (0, 2, 0, 0)),
        # What is late was due earlier, however many come so.
        ([(0, 0), (4, 4), (5, 5), (1, 1), (2, 2), (3, 3)], (0, 0, 3, 0)),
    ],
)
def test_numbers_that_begin_again_are_told_from_duplicates_by_when_they_were_due(
    numbers: list[tuple[int, int]], wanted: tuple[int, int, int, int]
) -> None:
    assert restarted(numbers) == wanted


@given(seed=st.integers(0, 2**32 - 1))
@REPEATABLE
def test_what_is_lost_after_a_restart_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    # However much of it is lost, it begins in the lower half of what was expected; else it went back a little only.
    before, after = rng.randrange(40, 60), rng.randrange(5, 20)
    sent = series(*range(before), *range(after))
    dropped = set(rng.sample(range(before, before + after - 2), rng.randrange(after - 2)))
    came = [pair for place, pair in enumerate(sent) if place not in dropped]
    assert restarted(came) == (len(dropped), 0, 0, 1)


@pytest.mark.parametrize(
    ("missed_ms", "left_ms", "withdrawn"),
    [
        # One was missing for 1 s: those are under way that have not been missing for longer than 1.6 s.
        (2000, 2100, 1),
        (2000, 3600, 1),
        (2000, 3601, 0),
        (2000, 9000, 0),
        # And those that were missed after our goodbye.
        (2000, 1900, 1),
    ],
)
@pytest.mark.parametrize("late", [True, False])
def test_what_may_be_under_way_when_we_leave_is_withdrawn(
    missed_ms: int, left_ms: int, withdrawn: int, late: bool
) -> None:
    counted: Counter[str] = Counter()

    def count(name: str, amount: int) -> None:
        counted[name] += amount

    check = SequenceCheck()
    check.take_all([1], [1], count, 500 * NS_PER_MS)
    if late:
        check.take_all([0], [0], count, 1500 * NS_PER_MS)
    check.take_all([3], [3], count, missed_ms * NS_PER_MS)
    taken = check.taken
    check.leave(left_ms * NS_PER_MS, count)
    assert counted["notify.lost"] == check.lost == 2 - late - withdrawn * late
    assert counted["notify.withdrawn"] == withdrawn * late
    assert check.taken == taken == 2 + late


def left(came: list[tuple[int, int]], left_ms: int) -> tuple[int, int]:
    """How many are lost, and withdrawn, of these numbers and when they came (ms) in a session that we leave then."""
    counted: Counter[str] = Counter()

    def count(name: str, amount: int) -> None:
        counted[name] += amount

    check = SequenceCheck()
    for at_ms, number in sorted(came):
        check.take_all([number], [number], count, at_ms * NS_PER_MS)
    check.leave(left_ms * NS_PER_MS, count)
    assert check.lost == counted["notify.lost"]
    return counted["notify.lost"], counted["notify.withdrawn"]


@pytest.mark.parametrize(
    ("late_ms", "length_ms", "since_ms", "one_in"),
    [
        (6000, 14_000, 7000, 10),
        (3000, 9000, 4000, 2),
        (1000, 4000, 2900, 20),
        # It came late at the very end, and all that was lost before was lost later than it was missed.
        (4500, 5000, 1000, 3),
    ],
)
def test_one_late_number_does_not_excuse_what_is_lost_later(
    late_ms: int, length_ms: int, since_ms: int, one_in: int
) -> None:
    """100/s; one number comes late, and from some time on only one in so many comes."""
    came, lost = [(200 + late_ms, 20)], 0
    for number in range(length_ms // 10):
        at_ms = number * 10
        # The last one comes, so that all are missing that do not.
        if at_ms > since_ms and number % one_in and number < length_ms // 10 - 1:
            lost += 1
        elif number != 20:
            came.append((at_ms, number))
    found, withdrawn = left(came, length_ms)
    assert found + withdrawn == lost
    assert withdrawn <= 2 + 3


@pytest.mark.parametrize("one_in", [2, 5, 20, 100])
@pytest.mark.parametrize("length_ms", [3000, 10_000, 10_777])
def test_of_a_session_in_which_many_come_late_all_that_are_under_way_are_withdrawn(one_in: int, length_ms: int) -> None:
    """100/s, one in so many comes 1 s late, always: none is lost, whenever we leave."""
    sent = [(number * 10 + 1000 * (number % one_in == 1), number) for number in range(length_ms // 10)]
    came = [(at_ms, number) for at_ms, number in sent if at_ms < length_ms]
    highest = max(number for _, number in came)
    assert left(came, length_ms) == (0, sum(at_ms >= length_ms and number < highest for at_ms, number in sent))


@pytest.mark.parametrize(("held", "lost"), [(20, 0), (5, 14)])
def test_as_many_in_a_row_may_be_under_way_as_came_late_in_a_row(held: int, lost: int) -> None:
    """100/s; so many in a row came 2 s late, and 20 in a row are missing when we leave: 2 % or less came late."""
    came = [(number * 10 + 2000 * (100 <= number < 100 + held), number) for number in range(1000)]
    came = [pair for pair in came if not 960 <= pair[1] < 980]
    assert left(came, 10_000) == (lost, 20 - lost)


def test_of_those_that_may_be_under_way_the_ones_missed_last_are_withdrawn_by_how_many_came_late_before() -> None:
    """10 of 1,000 came 1 s late. Of the last 100, 50 are missing: twice 1 % of those may be under way, and 3 more."""
    came = [(number * 10 + 1000 * (number % 90 == 1), number) for number in range(900)]
    came += [(number * 10, number) for number in range(901, 1000, 2)]
    assert left(came, 10_000) == (45, 5)


@given(seed=st.integers(0, 2**32 - 1))
@REPEATABLE
def test_every_number_is_received_lost_or_withdrawn(seed: int) -> None:
    """Some never come, some come later, some would, had we stayed; whenever we leave, and whoever ends it."""
    rng = random.Random(seed)
    arrivals = sorted(
        (number * 20 * NS_PER_MS + rng.choice([0, 0, 0, rng.randrange(2 * NS_PER_S)]), number)
        for number in range(200)
        if rng.random() > 0.1
    )
    left_ns = rng.randrange(5 * NS_PER_S)
    recorder = Recorder()
    reception = Reception(recorder, 1, 0, our_schedule=False)
    reception.open(0, 1)
    came = [(at_ns, number) for at_ns, number in arrivals if at_ns < left_ns]
    for at_ns, number in came:
        column = np.array([number])
        reception.absorb(Columns(column, column, column, np.zeros(1, np.int64)), [0], [1], [at_ns])
    missing = max((number for _, number in came), default=-1) + 1 - len(came)
    assert recorder.counters["notify.lost"] == missing
    reception.leave(0, left_ns)
    counters = recorder.counters
    assert counters["notify.received"] == len(came)
    assert counters["notify.lost"] + counters["notify.withdrawn"] == missing
    assert min(counters["notify.lost"], counters["notify.withdrawn"]) >= 0


@pytest.mark.parametrize("late_s", [0, 0.3, 1.5])
def test_what_comes_after_the_load_is_late_and_no_part_of_the_rate(late_s: float) -> None:
    """A stranger's WLC sends 100/s, all of it late: what was due in the warm-up comes in the hold, and is its rate."""
    recorder, merger = Recorder(), Merger()
    recorder.stages.add(["warmup", "hold", AFTER], [0, 3 * NS_PER_S, 7 * NS_PER_S])
    reception = Reception(recorder, 1, 0, our_schedule=False)
    reception.open(0, 1)
    for number in range(900):
        due = number * NS_PER_S // 100
        told = [np.array([value]) for value in (number, due, due)]
        reception.absorb(Columns(*told, np.zeros(1, np.int64)), [0], [1], [due + round(late_s * NS_PER_S)])
    merger.add("mse-0", recorder.take(0))
    hold = StageSpan("hold", True, 3 * NS_PER_S, 0, 4 * NS_PER_S, 0.0, 0.0, {}, True)
    rates = make_rates(merger, {}, [hold])
    assert rates["notify.received_per_s"] == pytest.approx(100, rel=0.005)
    # The percentiles have the tail all the same.
    assert merger.metrics({"hold"})["notify.latency"].count == pytest.approx(400 + late_s * 100, abs=1)


# -- a shard's reception -----------------------------------------------------------------------------------------------


class Traffic:
    """Batches for one `Reception`, with what must come of them."""

    def __init__(self, rows: int, granted: int = 1) -> None:
        self.recorder = Recorder()
        self.reception = Reception(self.recorder, rows, TO_UNIX_NS)
        for number in range(rows):
            self.reception.open(number, granted)

    def absorb(
        self,
        batches: list[tuple[int, list[int]]],
        done_ns: int = 10_000,
        due_ns: int = 4_000,
        sent_ns: int = 7_000,
        subservice: int = 0,
        step_ns: int = 0,
    ) -> None:
        """Each (endpoint, its sequence numbers); all with the same times, or each due and sent `step_ns` later."""
        sequence = [number for _, numbers in batches for number in numbers]
        full = len(sequence)
        self.reception.absorb(
            Columns(
                np.array(sequence, np.int64),
                np.arange(full) * step_ns + (TO_UNIX_NS + due_ns),
                np.arange(full) * step_ns + (TO_UNIX_NS + sent_ns),
                np.full(full, subservice),
            ),
            [endpoint for endpoint, _ in batches],
            [len(numbers) for _, numbers in batches],
            [done_ns] * len(batches),
        )

    @property
    def judged(self) -> tuple[int, int, int]:
        counters = self.recorder.counters
        return counters["notify.lost"], counters["notify.duplicated"], counters["notify.reordered"]


def test_streams_in_order_are_not_judged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(*_: object) -> SequenceCheck[object]:
        raise AssertionError("a stream is judged number by number")

    monkeypatch.setattr(reception, "SequenceCheck", judged)
    traffic = Traffic(5)
    for turn in range(10):
        traffic.absorb([(endpoint, list(range(turn * 3, turn * 3 + 3))) for endpoint in range(5)])
    traffic.absorb([(endpoint, [30]) for endpoint in (4, 2, 0)])  # one each, and not in order of rows
    traffic.absorb([(2, [31, 32]), (1, [30])])
    assert traffic.judged == (0, 0, 0)
    assert traffic.recorder.counters["notify.received"] == 5 * 30 + 3 + 3
    with pytest.raises(AssertionError, match="number by number"):
        traffic.absorb([(2, [34])])


@pytest.mark.parametrize("seed", range(20))
def test_faults_planted_among_many_endpoints_are_counted_exactly(seed: int) -> None:
    rng = random.Random(seed)
    rows = 30
    streams = {endpoint: list(range(rng.randrange(1, 80))) for endpoint in range(rows)}
    for endpoint in rng.sample(range(rows), 8):
        stream = streams[endpoint]
        for _ in range(rng.randrange(1, 6)):
            match rng.randrange(3):
                case 0 if len(stream) > 1:
                    del stream[rng.randrange(len(stream))]
                case 1:
                    at = rng.randrange(len(stream))
                    stream.insert(rng.randrange(at, len(stream)) + 1, stream[at])
                case _:
                    a, b = rng.randrange(len(stream)), rng.randrange(len(stream))
                    stream[a], stream[b] = stream[b], stream[a]
    wanted = tuple(map(sum, zip(*(brute_force(stream) for stream in streams.values()), strict=True)))
    assert any(wanted)
    total = sum(map(len, streams.values()))

    traffic = Traffic(rows)
    rest = {endpoint: list(stream) for endpoint, stream in streams.items()}
    while any(rest.values()):
        batch = []
        for endpoint in rng.sample(range(rows), rng.randrange(1, rows)):
            count = rng.choice((1, 1, 1, 2, 9))
            if taken := rest[endpoint][:count]:
                batch.append((endpoint, taken))
                rest[endpoint] = rest[endpoint][count:]
        if batch:
            traffic.absorb(batch)
    assert traffic.judged == wanted
    assert traffic.recorder.counters["notify.received"] == total
    assert histogram_values(traffic.recorder, "notify.latency")[0] == total - wanted[1]


@pytest.mark.parametrize("twice_in_a_batch", [True, False])
def test_what_comes_again_is_counted_and_has_no_other_figure(twice_in_a_batch: bool) -> None:
    """Two endpoints; all that the first one brings comes again 1 ms later, and is as late as that."""
    recorder = Recorder()
    recorder.stages.add(["hold"], [TO_UNIX_NS])
    reception = Reception(recorder, 2, TO_UNIX_NS, by_service=True)
    for number in range(2):
        reception.open(number, 1)
    # Of each batch: the numbers of both, and when they came.
    batches = [([0, 0, 1, 1], [0, 1], 600)] if twice_in_a_batch else [([0, 1], [0], 600), ([0, 1], [1], 1_000_600)]
    for first, second, done_ns in batches:
        sequence = np.array(first + second)
        due = sequence + (TO_UNIX_NS + 100)
        reception.absorb(
            Columns(sequence, due, due, np.zeros(len(due), np.int64)), [0, 1], [len(first), len(second)], [done_ns, 600]
        )
    counters = recorder.counters
    assert counters["notify.duplicated"] == 2
    assert counters["notify.received"] == 6
    assert counters["service.rssi_ms.received"] == 4
    for metric in ("notify.latency", "notify.service", "service.rssi_ms.latency"):
        taken = recorder.bins(metric, "hold").take()
        assert taken is not None
        assert taken.summary().count == 4
        assert taken.summary().max <= 500
    assert sum(recorder.take(0).waits["hold/received"].counts) == 4


def test_a_batch_of_nothing_but_what_came_before_leaves_no_figure() -> None:
    traffic = Traffic(2)
    traffic.absorb([(0, [0, 1]), (1, [0])])
    traffic.absorb([(1, [0]), (0, [1])], done_ns=10**9)
    traffic.absorb([(0, [2]), (1, [1])])
    assert traffic.judged == (0, 2, 0)
    assert histogram_values(traffic.recorder, "notify.latency")[0] == 5


def test_numbers_that_begin_again_at_one_endpoint() -> None:
    """Batch by batch, so that what was due last is known from one in order; every second one is lost afterwards."""
    traffic = Traffic(2)
    traffic.absorb([(0, list(range(8))), (1, list(range(8)))], due_ns=0, step_ns=1)
    for turn, number in enumerate((0, 2, 4, 6)):
        traffic.absorb([(0, [number])], due_ns=100 + turn, sent_ns=100)
    traffic.absorb([(1, [8])], due_ns=200)
    assert traffic.judged == (3, 0, 0)
    assert traffic.recorder.counters["errors.stream.sequence_restart"] == 1
    assert traffic.reception.received(0) == 8 + 4


@pytest.mark.parametrize("cuts", [(), (8,), (9,), (8, 9), (9, 10), (3, 9, 11)])
@pytest.mark.parametrize("after", [(0, 1, 2, 3), (1, 0, 2, 3), (0, 0, 1, 2), (2, 3, 2, 4)])
def test_the_first_of_a_new_series_has_figures_like_all_others(after: tuple[int, ...], cuts: tuple[int, ...]) -> None:
    """However reads cut the stream: what comes is in the durations, and in what its stage has received."""
    recorder = Recorder()
    recorder.stages.add(["hold"], [TO_UNIX_NS])
    reception = Reception(recorder, 2, TO_UNIX_NS, our_schedule=False, by_service=True)
    for number in range(2):
        reception.open(number, 1)
    numbers = [*range(8), *after]
    due = np.array([TO_UNIX_NS + 10 * place for place in range(12)])
    if after[0] > after[1]:
        due[8:10] = due[9:7:-1]
    for begin, end in zip((0, *cuts), (*cuts, 12), strict=True):
        sequence = np.array([*numbers[begin:end], 0 if begin == 0 else (0, *cuts).index(begin)])
        times = np.append(due[begin:end], TO_UNIX_NS + 10 * end)
        reception.absorb(
            Columns(sequence, times, times, np.zeros(len(times), np.int64)),
            [0, 1],
            [end - begin, 1],
            [10 * end + 5] * 2,
        )
    copies = len(after) - len(set(after))
    counters, wanted = recorder.counters, 12 - copies + len(cuts) + 1
    assert counters["errors.stream.sequence_restart"] == 1
    assert counters["notify.duplicated"] == copies
    assert counters["notify.reordered"] == (after[0] > after[1])
    assert counters["service.rssi_ms.received"] == wanted
    for metric in ("notify.latency", "notify.service", "service.rssi_ms.latency"):
        taken = recorder.bins(metric, "hold").take()
        assert taken is not None
        assert taken.summary().count == wanted


def test_numbers_of_64_bits_have_no_sign() -> None:
    """As they come from the wire, in columns of int64."""
    traffic = Traffic(1)
    far = [((1 << 63) + 100 + number) - (1 << 64) for number in range(30)]
    traffic.absorb([(0, list(range(20)))], due_ns=0, step_ns=1)
    traffic.absorb([(0, far)], due_ns=50, step_ns=1)
    counters = traffic.recorder.counters
    assert traffic.judged == (0, 0, 0)
    assert counters["errors.stream.sequence_jump"] == 1
    assert counters["errors.stream.sequence_restart"] == 0
    assert histogram_values(traffic.recorder, "notify.latency")[0] == 50


def test_a_new_session_of_an_endpoint_is_no_restart() -> None:
    traffic = Traffic(1)
    traffic.absorb([(0, [0, 1, 2, 2])], due_ns=0, step_ns=1)
    traffic.reception.open(0, 1)
    traffic.absorb([(0, [0, 1, 2])], due_ns=50, step_ns=1)
    assert traffic.judged == (0, 1, 0)
    assert "errors.stream.sequence_restart" not in traffic.recorder.counters


def test_one_bad_endpoint_does_not_spoil_its_neighbours() -> None:
    traffic = Traffic(3)
    traffic.absorb([(0, [0]), (1, [5]), (2, [0])])
    traffic.absorb([(0, [1, 2]), (1, [6]), (2, [1])])
    traffic.absorb([(1, [7]), (2, [2]), (0, [3])])
    traffic.absorb([(1, [3])])
    assert traffic.judged == (4, 0, 1)


def test_latencies_are_done_minus_due_and_done_minus_sent() -> None:
    traffic = Traffic(2)
    traffic.absorb([(0, [0]), (1, [0])], done_ns=1900, due_ns=0, sent_ns=900)
    assert histogram_values(traffic.recorder, "notify.latency") == (2, 1900, 1900)
    assert histogram_values(traffic.recorder, "notify.service") == (2, 1000, 1000)


def test_each_notification_is_held_against_its_own_times() -> None:
    """Small values, which the histogram keeps to the nanosecond; endpoints read at different times."""
    recorder = Recorder()
    reception = Reception(recorder, 3, TO_UNIX_NS)
    for number in range(3):
        reception.open(number, 1)
    arrivals = ([2, 0, 1], [3, 1, 2], [2000, 1500, 1000])
    due = [100, 200, 300, 400, 500, 600]
    sent = [700, 650, 610, 640, 630, 620]
    reception.absorb(
        Columns(
            np.array([0, 1, 2, 0, 0, 1]), np.array(due) + TO_UNIX_NS, np.array(sent) + TO_UNIX_NS, np.zeros(6, np.int64)
        ),
        *arrivals,
    )
    done = [2000, 2000, 2000, 1500, 1000, 1000]
    for metric, column in (("notify.latency", due), ("notify.service", sent)):
        wanted = Counter(d - c for d, c in zip(done, column, strict=True))
        histogram = recorder.bins(metric).take()
        assert histogram is not None
        values, counts = histogram.buckets()
        assert dict(zip(values, counts, strict=True)) == dict(wanted)
    assert recorder.counters["notify.lost"] == 0


def test_clocks_that_disagree_are_clamped_and_counted() -> None:
    traffic = Traffic(1)
    traffic.absorb([(0, [0])], done_ns=100, due_ns=200, sent_ns=50)
    traffic.absorb([(0, [1])], done_ns=100, due_ns=50, sent_ns=50)
    assert histogram_values(traffic.recorder, "notify.latency") == (2, 0, 50)
    assert traffic.recorder.take(0).counters["clock.clamped"] == 1


@pytest.mark.parametrize("subservice", [0, 1, 5, 22, 62, 63, 64, 255])
def test_what_was_not_subscribed_is_counted_and_that_is_all(subservice: int) -> None:
    traffic = Traffic(2, granted=1 << 5 | 1)
    traffic.absorb([(0, [0, 1]), (1, [0])], subservice=subservice)
    wrong = 0 if subservice in (0, 5) else 3
    assert traffic.recorder.counters["errors.stream.not_subscribed"] == wrong
    assert traffic.recorder.counters["notify.received"] == 3  # received all the same
    assert "notify.lost" not in traffic.recorder.counters
    for metric in ("notify.latency", "notify.service"):
        assert histogram_values(traffic.recorder, metric)[0] == 3 - wrong


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("gap", [False, True])
def test_figures_are_of_what_was_subscribed_to_alone(together: bool, gap: bool) -> None:
    """Every third one is of another subservice, has a number like all others, and comes a second late."""
    recorder = Recorder()
    reception = Reception(recorder, 1, 0, by_service=True)
    reception.open(0, 1 << 5 | 1)
    sequence = np.array([number for number in range(31) if not (gap and number == 10)])
    foreign = sequence % 3 == 2
    due = 10**9 + sequence * 1000
    done = 3 * 10**9
    subservice = np.where(foreign, 2, 5 * (sequence % 3))
    due -= 10**9 * foreign
    columns = Columns(sequence, due, due, subservice)
    if together:
        reception.absorb(columns, [0], [len(sequence)], [done])
    else:
        for place in range(len(sequence)):
            reception.absorb(Columns(*(column[place : place + 1] for column in columns[:4])), [0], [1], [done])
    wrong = int(foreign.sum())
    counters = recorder.counters
    assert counters["notify.received"] == len(sequence)
    assert counters["errors.stream.not_subscribed"] == wrong
    assert counters["notify.lost"] == gap
    assert (
        counters["service.rssi_ms.received"] + counters["service.rssi_ms_associated_only.received"]
        == len(sequence) - wrong
    )
    assert "service.rssi_rogue.received" not in counters
    count, _, most = histogram_values(recorder, "notify.latency")
    assert count == len(sequence) - wrong
    assert most < 2.5 * 10**9


def test_a_new_series_of_what_was_not_subscribed_to_has_no_figures_either() -> None:
    """The first one of it was taken for a duplicate, until the second came."""
    traffic = Traffic(1, granted=1)
    traffic.absorb([(0, list(range(20)))], due_ns=100, done_ns=200)
    traffic.absorb([(0, [0])], subservice=5, due_ns=300, done_ns=400)
    traffic.absorb([(0, [1])], subservice=5, due_ns=301, done_ns=400)
    assert traffic.recorder.counters["errors.stream.sequence_restart"] == 1
    assert traffic.recorder.counters["errors.stream.not_subscribed"] == 2
    assert histogram_values(traffic.recorder, "notify.latency")[0] == 20


@pytest.mark.parametrize("how", ["open", "settled", "in_the_batch"])
def test_measurements_of_what_nothing_is_measured_of_are_counted(how: str) -> None:
    """info-ms (9) was granted, but is no subservice of a measurement."""
    traffic, granted = Traffic(1), 1 << 9 | 1
    if how == "open":
        traffic.reception.open(0, granted)
    else:
        traffic.reception.regrant(0, granted, 0)
    if how == "settled":
        traffic.reception.settle_grants()
    traffic.absorb([(0, [0, 1])], subservice=9)
    assert traffic.recorder.counters["errors.stream.not_subscribed"] == 2
    traffic.absorb([(0, [2])])
    assert traffic.recorder.counters["errors.stream.not_subscribed"] == 2


def test_each_endpoint_is_held_against_its_own_grant() -> None:
    recorder = Recorder()
    reception = Reception(recorder, 3, 0)
    for number, granted in enumerate((1, 1 << 5, 1 << 5 | 1)):
        reception.open(number, granted)
    zeros = np.zeros(6, np.int64)
    reception.absorb(
        Columns(np.array([0, 1, 0, 1, 0, 1]), zeros, zeros, np.array([0, 5, 0, 5, 0, 5])),
        [0, 1, 2],
        [2, 2, 2],
        [1, 1, 1],
    )
    assert recorder.counters["errors.stream.not_subscribed"] == 2


@pytest.mark.parametrize("hostile", [-1, -(1 << 63), (1 << 63) - 1])
def test_hostile_numbers_and_times_raise_nothing(hostile: int) -> None:
    """What a u64 from 2**63 on becomes in an int64 column."""
    recorder = Recorder()
    reception = Reception(recorder, 2, TO_UNIX_NS)
    column, zeros = np.array([hostile, hostile, hostile], np.int64), np.zeros(3, np.int64)
    for number in range(2):
        reception.open(number, 1)
    for subservice in (zeros, zeros, column):
        reception.absorb(Columns(column, column, column, subservice), [1, 0], [2, 1], [5, 5])
    assert recorder.counters["notify.received"] == 9
    counters = recorder.take(0).counters
    assert counters["errors.stream.not_subscribed"] == 3
    assert "notify.lost" not in counters  # nobody lost 2**63 notifications
    assert counters["notify.duplicated"] + counters.get("errors.stream.sequence_jump", 0) > 0
    # What comes again has no durations.
    assert counters["clock.clamped"] == 2 * 2


@pytest.mark.parametrize(("unit", "size", "per_ns"), [("ms", 8, 10**6), ("us", 4, 10**3)])
def test_what_a_device_says_of_the_time_is_how_old_its_notifications_are(unit: str, size: int, per_ns: int) -> None:
    """In 64 bits, and in 32 that go round after 71 minutes."""
    time = DeviceTime(FieldDocument("time", "time", 0, size=size, unit=unit), ">")  # type: ignore[arg-type]
    recorder = Recorder()
    reception = Reception(recorder, 1, 10**18, our_schedule=False, carried=Carried(0, 0, 0), device_time=time)
    reception.open(0, 1)
    for number in range(200):
        done = number * 50 * 10**6
        told = time.to_wire(np.array([10**18 + done - 7 * 10**6], np.int64))
        columns = Columns(None, None, None, np.zeros(1, np.int64), told)
        reception.absorb(columns, [0], [1], [done])
    count, least, most = histogram_values(recorder, "notify.age")
    assert count == 200
    # Histograms keep three digits.
    assert 0.99 * 7 * 10**6 <= least <= most < 1.01 * (7 * 10**6 + per_ns)
    assert not recorder.counters["notify.lost"]
