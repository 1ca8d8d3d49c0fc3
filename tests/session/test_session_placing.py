"""Due times that follow from the order: always those of the sender, whatever it gave up, and whoever came and went."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_samples import REPEATABLE, histogram_values

from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Columns
from loadgen.nmsp.carried import Carried
from loadgen.scenario.plan import Plan, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schedule import Share
from loadgen.session.ledger import Owing
from loadgen.session.placing import Placing, Placings, bytes_for
from loadgen.session.reception import Reception
from loadgen.session.sequence import NOTHING_DUE_NS
from loadgen.units import NS_PER_MS, NS_PER_S

TO_UNIX_NS = 1_795_000_000_000_000_000
START_NS = 5 * NS_PER_S
SCENARIO = """
name = "placing"
[wlc]
count = 3
[mse]
count = 2
[load]
rate = 300
burst = 3
backlog = "100ms"
stages = [{ ramp = "1s" }, { hold = "3s" }]
"""


class Link:
    """A WLC's end. told: what was sent and not read, with the due time that a field would have had."""

    def __init__(self, number: int, session: int, address: tuple[str, int]) -> None:
        self.number, self.session, self.address = number, session, address
        self.row = self.left_row = -1
        self.told: deque[tuple[int, int]] = deque()
        self.sent = 0


class Pair:
    """One worker of each side, with the memory that they have in common."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        memory = bytearray(bytes_for(plan))
        share = Share(plan.schedule(), 0, 1)
        self.owing = Owing[Link](plan, share, TO_UNIX_NS, Placings(plan, memory))
        self.placing = Placing(Placings(plan, memory), 0, 1, TO_UNIX_NS)
        self.links: dict[int, Link] = {}
        self.ports = iter(range(40_000, 65_000))

    def start(self, at_ns: int) -> None:
        self.owing.start(at_ns, self.plan.load.stages)
        self.placing.start_load(at_ns, self.plan.load.stages)

    def come(self, session: int, now_ns: int) -> None:
        address = ("127.0.0.1", next(self.ports))
        self.placing.connect(session, address)
        link = self.links[session] = Link(self.plan.sessions[session].wlc, session, address)
        self.owing.subscribe(link, now_ns, address)

    def send(self, session: int, most: int, now_ns: int) -> None:
        link, ledger = self.links[session], self.owing.ledger
        if link.row < 0 or not self.owing.started:
            return
        self.owing.drop_expired(link, now_ns, ours=False)
        count = min(most, ledger.owed(link.row, self.owing.due_by(link.number, now_ns)))
        if count > 0:
            due = self.owing.due_ns(link.number, int(ledger.done[link.row]), count)
            column = np.broadcast_to(due, count).tolist()
            link.told += [(link.sent + index, each) for index, each in enumerate(column)]
            link.sent += count
            ledger.done[link.row] += count
            ledger.sent[link.row] += count

    def read(self, sessions: list[int], most: int) -> list[tuple[int, int]]:
        """What several MSEs read at once: of each notification the due time that it had, and that it is given."""
        taken = {s: [self.links[s].told.popleft() for _ in range(min(most, len(self.links[s].told)))] for s in sessions}
        rows = [session for session in sessions if taken[session]]
        if not rows:
            return []
        counts = np.array([len(taken[row]) for row in rows])
        each = [told for row in rows for told in taken[row]]
        ends = None if len(each) == len(rows) else np.cumsum(counts)
        numbers = np.array([number for number, _ in each])
        if len(each) % 2:  # one or the other; both remember what they were told
            placed = self.placing.due_ns(np.array(rows), counts, ends, numbers)
        else:
            first = np.array([taken[row][0][0] for row in rows])
            placed = self.placing.due_in_order_ns(np.array(rows), counts, ends, first)
        return list(zip([due for _, due in each], placed.tolist(), strict=True))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("placing") / "placing.toml"
    path.write_text(SCENARIO, "utf-8")
    scenario, profile = load_scenario(path)
    return make_plan(scenario, profile)


@given(seed=st.integers(0, 2**32 - 1))
@REPEATABLE
def test_what_comes_by_order_was_due_when_it_was_due(plan: Plan, seed: int) -> None:
    """Sessions that come late, are held up until something is dropped, unsubscribe, subscribe again, come again; two
    loads, one behind the other. Nobody reads when the other writes, or in step with it.
    """
    rng = random.Random(seed)
    pair = Pair(plan)
    read: list[tuple[int, int]] = []
    now = START_NS - 100 * NS_PER_MS
    loads = deque([START_NS, START_NS + 5 * NS_PER_S])
    for session in rng.sample(range(len(plan.sessions)), 4):
        pair.come(session, now)
    while now < START_NS + 9 * NS_PER_S:
        now += rng.choice([1, 20, 60, 300]) * NS_PER_MS
        if loads and now >= loads[0] - 30 * NS_PER_MS:
            pair.start(loads.popleft())
        for session in rng.sample(range(len(plan.sessions)), 3):
            link = pair.links.get(session)
            dice = rng.random()
            if link is None:
                if dice < 0.3:
                    pair.come(session, now)
            elif dice < 0.05:
                read += pair.read([session], len(link.told))
                pair.owing.leave(link, now)
                del pair.links[session]
            elif dice < 0.15 and link.row >= 0:
                pair.send(session, 1 << 20, now)
                pair.owing.unsubscribe(link, pair.owing.due_by(link.number, now))
            elif dice < 0.3 and link.left_row >= 0:
                pair.owing.subscribe_again(link, now)
            else:
                pair.send(session, rng.choice([1, 3, 7, 1000]), now)
        if rng.random() < 0.7:
            read += pair.read(rng.sample(sorted(pair.links), rng.randint(0, len(pair.links))), rng.choice([1, 5, 1000]))
    for session in pair.links:
        read += pair.read([session], 1 << 20)
    assert len(read) > 100
    assert pair.owing.ledger.dropped.sum() > 0
    assert [placed for _, placed in read] == [due for due, _ in read]


def test_what_is_behind_too_many_statements_is_not_placed(plan: Plan) -> None:
    pair = Pair(plan)
    pair.come(0, START_NS)
    pair.start(START_NS)
    now = START_NS + NS_PER_S
    for _ in range(40):  # each time, what waited for longer than 100 ms is given up
        pair.send(0, 1, now)
        now += 50 * NS_PER_MS
    read = pair.read([0], 1 << 20)
    assert len(read) == 40
    lost, placed = read[:25], read[25:]
    assert {found for _, found in lost} == {NOTHING_DUE_NS}
    assert [found for _, found in placed] == [due for due, _ in placed]
    # Whoever reads in time, from then on as well.
    pair.send(0, 5, now)
    read = pair.read([0], 5)
    assert len(read) == 5
    assert [found for _, found in read] == [due for due, _ in read]


def test_nobody_states_what_is_nobodys(plan: Plan) -> None:
    """A link from an address that no MSE of ours has, and one that its MSE has given up for another."""
    pair = Pair(plan)
    pair.start(START_NS)
    now = START_NS + 2 * NS_PER_S
    stranger = Link(plan.sessions[0].wlc, 0, ("192.0.2.1", 4))
    pair.placing.connect(0, ("127.0.0.1", 39_000))
    pair.owing.subscribe(stranger, now, stranger.address)
    pair.links[0] = stranger
    pair.send(0, 3, now + 50 * NS_PER_MS)
    assert {found for _, found in pair.read([0], 9)} == {NOTHING_DUE_NS}

    pair = Pair(plan)
    pair.start(START_NS)
    pair.come(0, now)
    old = pair.links[0]
    pair.come(0, now)  # our end knows nothing yet of the end of the one before
    pair.owing.drop_expired(old, now + NS_PER_S, ours=False)
    pair.send(0, 3, now + 80 * NS_PER_MS)
    read = pair.read([0], 9)
    assert read
    assert [found for _, found in read] == [due for due, _ in read]


@pytest.mark.parametrize("carried", [Carried(0, 0, 0), Carried(64, 0, 0), Carried(8, 16, 0)], ids=str)
def test_a_reception_measures_by_it(plan: Plan, carried: Carried) -> None:
    pair = Pair(plan)
    recorder = Recorder()
    reception = Reception(recorder, len(plan.sessions), TO_UNIX_NS, carried=carried, placing=pair.placing)
    pair.start(START_NS)
    for session in (0, 3):
        pair.come(session, START_NS)
        reception.open(session, 1)
    wanted: list[int] = []
    brought = {0: 0, 3: 0}
    for step in range(1, 60):
        now = START_NS + step * 60 * NS_PER_MS
        for session in (0, 3):
            pair.send(session, 10 if step % 7 else 0, now)
        rows = [session for session in (0, 3) if pair.links[session].told]
        counts = [len(pair.links[session].told) for session in rows]
        for session in rows:
            wanted += [now + TO_UNIX_NS - due for _, due in pair.links[session].told]
            pair.links[session].told.clear()
        if not rows:
            continue
        numbers = np.concatenate(
            [np.arange(brought[row], brought[row] + count) for row, count in zip(rows, counts, strict=True)]
        )
        for row, count in zip(rows, counts, strict=True):
            brought[row] += count
        sequence = numbers & ((1 << min(63, carried.sequence)) - 1) if carried.sequence else None
        narrow = np.zeros(len(numbers), np.int64) if carried.due_ns else None
        reception.absorb(
            Columns(sequence, narrow, None, np.zeros(len(numbers), np.int64)), rows, counts, [now] * len(rows)
        )
    assert sum(brought.values()) > 300  # a u8 has gone round
    assert recorder.counters["notify.received"] == sum(brought.values()) == len(wanted)
    assert recorder.counters["notify.unplaced"] == 0
    count, least, most = histogram_values(recorder, "notify.latency")
    assert count == len(wanted)
    assert least == pytest.approx(min(wanted), rel=0.001)  # a histogram's three digits
    assert most == pytest.approx(max(wanted), rel=0.001)
    assert recorder.counters["notify.lost"] == recorder.counters["notify.duplicated"] == 0
