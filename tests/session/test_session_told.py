"""Notifications of layouts that carry less than all of ours: numbers that go round, and figures that are left out."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_samples import REPEATABLE, histogram_values

from loadgen.measure.recorder import Recorder
from loadgen.nmsp import messages as m
from loadgen.nmsp import profile as profile_module
from loadgen.nmsp.bulk import Columns
from loadgen.nmsp.carried import WHOLE, Carried
from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.session.notices import Notices
from loadgen.session.reception import Reception
from loadgen.session.sequence import SequenceCheck
from loadgen.units import NS_PER_MS, NS_PER_S

TO_UNIX_NS = 1_795_000_000_000_000_000
COUNTERS = ("notify.received", "notify.lost", "notify.duplicated", "notify.reordered")


def heard(numbers: list[list[int]], carried: Carried, most: int) -> dict[str, int]:
    """What is counted of several sessions' numbers, in batches of at most so many of each."""
    recorder = Recorder()
    reception = Reception(recorder, len(numbers), TO_UNIX_NS, carried=carried)
    mask = (1 << min(63, carried.sequence)) - 1
    for row in range(len(numbers)):
        reception.open(row, 1)
    now = 0
    while any(numbers):
        now += NS_PER_MS
        taken = [(row, left[:most]) for row, left in enumerate(numbers) if left]
        numbers = [left[most:] for left in numbers]
        column = np.array([number for _, each in taken for number in each])
        zeros = np.zeros(len(column), np.int64)
        rows, counts = [row for row, _ in taken], [len(each) for _, each in taken]
        due = None if not carried.due_ns else zeros
        sequence = None if not carried.sequence else column & mask
        reception.absorb(Columns(sequence, due, due, zeros), rows, counts, [now] * len(rows))
    return {name: recorder.counters[name] for name in COUNTERS}


@given(seed=st.integers(0, 2**32 - 1))
@REPEATABLE
def test_numbers_that_go_round_tell_the_same_as_those_that_do_not(seed: int) -> None:
    """Up to 20 in a row lost, some twice, some late; 1,000 in all, so that 8 bits go round at least thrice."""
    rng = random.Random(seed)
    numbers: list[list[int]] = []
    for _ in range(rng.randint(1, 4)):
        session: list[int] = []
        number = 0
        while number < 1000:
            dice = rng.random()
            if dice < 0.03:
                number += rng.randint(1, 20)
            session.append(number)
            if dice > 0.97:
                session.append(number - rng.randint(0, min(number, 20)))
            number += 1
        for _ in range(rng.choice([0, 0, 5])):
            place = rng.randrange(len(session) - 10)
            session.insert(place + rng.randint(1, 10), session.pop(place))
        numbers.append(session)
    most = rng.choice([1, 7, 64])
    wanted = heard(numbers, WHOLE, most)
    for bits in (8, 16, 32):
        assert heard(numbers, Carried(bits, 64, 64), most) == wanted, bits


def test_a_session_that_begins_in_the_middle_of_its_numbers_has_lost_what_was_before() -> None:
    assert heard([[200, 201, 202]], Carried(8, 64, 64), 3)["notify.lost"] == 200


@pytest.mark.parametrize("ours", [True, False])
def test_without_numbers_nothing_but_that_they_came_is_counted(*, ours: bool) -> None:
    recorder = Recorder()
    reception = Reception(recorder, 2, TO_UNIX_NS, our_schedule=ours, carried=Carried(0, 0, 0))
    reception.open(0, 1)
    reception.open(1, 1)
    zeros = np.zeros(3, np.int64)
    for at_ns in (10 * NS_PER_MS, 25 * NS_PER_MS):
        reception.absorb(Columns(None, None, None, zeros), [0, 1], [2, 1], [at_ns, at_ns + NS_PER_MS])
    assert recorder.counters == {"notify.received": 6}
    assert (reception.received(0), reception.received(1)) == (4, 2)
    for metric in ("notify.latency", "notify.service"):
        assert histogram_values(recorder, metric)[0] == 0
    # The first of a session has none before it; two that one read brings have nothing between them.
    count, least, most = histogram_values(recorder, "notify.gap")
    assert (count, least) == (4, 0)
    assert most == pytest.approx(15 * NS_PER_MS, rel=0.001)


def test_a_gap_is_between_two_of_one_session() -> None:
    recorder = Recorder()
    reception = Reception(recorder, 1, TO_UNIX_NS, our_schedule=False, carried=Carried(0, 0, 0))
    one = np.zeros(1, np.int64)
    for at_ns in (NS_PER_S, 4 * NS_PER_S):
        reception.open(0, 1)
        reception.absorb(Columns(None, None, None, one), [0], [1], [at_ns])
    assert histogram_values(recorder, "notify.gap")[0] == 0


@pytest.mark.parametrize(
    ("carried", "ours", "latency", "service"),
    [
        (Carried(64, 64, 64), True, 5, 3),
        (Carried(0, 64, 64), True, 5, 3),
        (Carried(0, 64, 0), True, 5, 0),
        (Carried(0, 64, 32), True, 5, 0),
        (Carried(0, 32, 64), True, 0, 3),
        # Two clocks are compared by when things were sent.
        (Carried(0, 64, 0), False, 0, 0),
        (Carried(0, 64, 64), False, 5, 3),
        (Carried(0, 0, 64), False, 0, 3),
    ],
    ids=str,
)
def test_times_are_read_where_they_are_whole(carried: Carried, ours: bool, latency: int, service: int) -> None:
    recorder = Recorder()
    reception = Reception(recorder, 1, TO_UNIX_NS, our_schedule=ours, carried=carried)
    reception.open(0, 1)
    done = NS_PER_S
    columns = [
        np.array([TO_UNIX_NS + done - age * NS_PER_MS]) if bits else None
        for age, bits in ((5, carried.due_ns), (3, carried.sent_ns))
    ]
    zero = np.zeros(1, np.int64)
    reception.absorb(Columns(zero if carried.sequence else None, *columns, zero), [0], [1], [done])
    for metric, ms in (("notify.latency", latency), ("notify.service", service)):
        count, least, _ = histogram_values(recorder, metric)
        assert count == bool(ms)
        assert least == pytest.approx(ms * NS_PER_MS, rel=0.001)


# -- others than measurements ------------------------------------------------------------------------------------------


def profile_with(**types: str | None) -> WireProfile:
    """The reference profile, with other types of our fields in tag notifications; None: without."""
    document = tomllib.loads(Path(profile_module.__file__).with_name("reference.toml").read_text("utf-8"))
    message = document["messages"]["tag_info_notify"]
    for field in list(message["fields"]):
        if field["name"] in types:
            if (kind := types[field["name"]]) is None:
                message["fields"].remove(field)
            else:
                field["type"] = kind
    return profile_untrusted(document, "a test's")


class End:
    """An MSE's end of a session."""

    def __init__(self) -> None:
        self.number, self.granted = 0, (1 << 23) - 1
        self.noticed: SequenceCheck[object] | None = None


def test_notices_without_anything_of_ours_are_received_and_no_more() -> None:
    recorder, end = Recorder(), End()
    notices = Notices(recorder, 0, profile=profile_with(sequence=None, due_ns=None, sent_ns=None))
    for _ in range(3):
        notices.take(end, m.TagInfoNotify(subservice=10, records=()), 5_000)  # type: ignore[arg-type]
    assert recorder.counters == {"notify.received": 3, "service.info_rfid.received": 3}
    for metric in ("notify.latency", "notify.service", "service.info_rfid.latency"):
        assert histogram_values(recorder, metric)[0] == 0


def test_the_numbers_of_notices_may_go_round() -> None:
    recorder, end = Recorder(), End()
    notices = Notices(recorder, 0, profile=profile_with(sequence="u8"))
    for number in [*range(250), *range(255, 600), 599]:
        message = m.TagInfoNotify(sequence=number & 255, due_ns=1_000, sent_ns=2_000, subservice=10, records=())
        notices.take(end, message, 5_000)  # type: ignore[arg-type]
    assert recorder.counters["notify.received"] == 596
    assert recorder.counters["notify.lost"] == 5
    assert recorder.counters["notify.duplicated"] == 1
    assert histogram_values(recorder, "notify.latency")[0] == 595
