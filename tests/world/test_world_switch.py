"""A switch's ports: what is told of links that go up and down."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.nmsp.messages import AttachmentNotify, LocationNotify
from loadgen.nmsp.records import Attachment, PortLocation
from loadgen.scenario.site_plan import PlannedSwitch
from loadgen.session.transmit import Priority
from loadgen.units import NS_PER_S
from loadgen.world.switch import Ports

NEW, DELETE = 1, 0


def ports_of(count: int = 10, suppressed: tuple[int, ...] = (), share: float = 0.0, seed: int = 1) -> Ports:
    planned = PlannedSwitch(count, 60 * NS_PER_S, 30 * NS_PER_S, suppressed, share)
    return Ports(planned, 7, np.random.default_rng(seed))


def attachments(ports: Ports, until_s: int, interval_s: int = 30) -> list[list[Attachment]]:
    """Records of each interval."""
    found = []
    for second in range(interval_s, until_s + 1, interval_s):
        told = ports.attachments(second * NS_PER_S)
        if told is not None:
            assert told.kind is AttachmentNotify
            assert told.priority is Priority.HIGH
            found.append([record for record in told.records if isinstance(record, Attachment)])
    return found


def test_links_go_up_and_down_by_turns() -> None:
    state: dict[int, tuple[int, bytes]] = {}
    for records in attachments(ports_of(), 3600):
        for record in records:
            before = state.get(record.port)
            if before is not None:
                assert record.state == 1 - before[0]
                if record.state == DELETE:  # whoever leaves is who came
                    assert record.station_mac == before[1]
            state[record.port] = (record.state, record.station_mac)
    assert set(state) == set(range(1, 11))


def test_what_happens_in_an_interval_is_told_together_in_order_of_time() -> None:
    together = attachments(ports_of(48), 600)
    assert len(together) == 20  # 48 ports flap about 32 times in 30 s
    assert all(len(records) > 10 for records in together)
    for records in together:
        ages = [record.age_s for record in records]
        assert ages == sorted(ages, reverse=True)
        assert max(ages) < 30
    alone = [record for records in attachments(ports_of(48), 600, 1) for record in records]
    flat = [record for records in together for record in records]
    key = [(record.port, record.state, record.station_mac) for record in flat]
    assert key == [(record.port, record.state, record.station_mac) for record in alone]


def test_suppressed_ports_are_silent() -> None:
    some = ports_of(10, suppressed=(1, 4))
    assert {record.port for records in attachments(some, 3600) for record in records} == set(range(1, 11)) - {1, 4}
    located = some.locations(3600 * NS_PER_S)
    assert located is not None
    assert {record.port for record in located.records} == set(range(1, 11)) - {1, 4}  # type: ignore[attr-defined]
    assert attachments(ports_of(10, share=1.0), 3600) == []
    assert abs(int(ports_of(4000, share=0.25).suppressed.sum()) - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5


def test_locations_are_synchronised_first_and_then_of_who_came() -> None:
    ports = ports_of()
    first = ports.locations(NS_PER_S)
    assert first is not None
    assert first.kind is LocationNotify
    assert first.priority is Priority.NORMAL
    assert len(first.records) == 10
    assert ports.locations(2 * NS_PER_S) is None
    came = {record.port for records in attachments(ports, 60) for record in records if record.state == NEW}
    later = ports.locations(60 * NS_PER_S)
    assert came
    assert later is not None
    assert {record.port for record in later.records if isinstance(record, PortLocation)} == came


@pytest.mark.parametrize("seed", [1, 2])
def test_chance_is_the_seeds(seed: int) -> None:
    assert attachments(ports_of(seed=seed), 600) == attachments(ports_of(seed=seed), 600)
    assert attachments(ports_of(seed=seed), 600) != attachments(ports_of(seed=seed + 1), 600)
