"""`mse.bind`: what it says, what is refused, and that sessions are dealt out evenly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario_samples import REPEATABLE, SMALL, plan_of, problems_of

from loadgen.scenario.sources import Sources, read_stretch, sources_of, turns_of

EXPECTED = 'expected an address such as "127.0.9.1", a range'
FORTY = [f"127.0.9.{last}" for last in range(1, 41)]


@pytest.mark.parametrize(
    ("bind", "addresses"),
    [
        ((), []),
        (("127.0.9.1",), ["127.0.9.1"]),
        (("127.0.9.1-127.0.9.40",), FORTY),
        (("127.0.9.255-127.0.10.1", "127.0.9.1"), ["127.0.9.255", "127.0.10.0", "127.0.10.1", "127.0.9.1"]),
        (("192.0.2.8/30",), ["192.0.2.9", "192.0.2.10"]),  # neither the network nor the broadcast address
        (("192.0.2.8/31",), ["192.0.2.8", "192.0.2.9"]),
        (("192.0.2.8/32",), ["192.0.2.8"]),
        (("2001:db8::/126",), ["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
        (("2001:db8::a-2001:db8::c", "::1"), ["2001:db8::a", "2001:db8::b", "2001:db8::c", "::1"]),
        (("fe80::1%eth0",), ["fe80::1%eth0"]),
    ],
)
def test_addresses_ranges_and_prefixes(bind: tuple[str, ...], addresses: list[str]) -> None:
    assert sources_of(bind) == addresses


def test_a_range_of_one_is_an_address() -> None:
    assert read_stretch("192.0.2.7-192.0.2.7") == read_stretch("192.0.2.7")


@pytest.mark.parametrize(
    ("bind", "problem"),
    [
        ('["127.0.9"]', f"mse.bind[0]: {EXPECTED}"),
        ('["127.0.9.1", "localhost"]', f"mse.bind[1]: {EXPECTED}"),
        ('["127.0.9.9-127.0.9.1"]', f"mse.bind[0]: {EXPECTED}"),
        ('["127.0.9.1-::1"]', f"mse.bind[0]: {EXPECTED}"),
        ('["127.0.9.1-"]', f"mse.bind[0]: {EXPECTED}"),
        ('["127.0.9.1/24"]', f"mse.bind[0]: {EXPECTED}"),
        ('["127.0.9.0/33"]', f"mse.bind[0]: {EXPECTED}"),
        ('["127.0.9.1:80"]', f"mse.bind[0]: {EXPECTED}"),
        ('[""]', f"mse.bind[0]: {EXPECTED}"),
        ('["10.0.0.0/8"]', "mse.bind: expected at most 4,096 addresses, found 16,777,214"),
        ('["2001:db8::/32"]', "mse.bind: expected at most 4,096 addresses, found"),
        ('["127.0.9.1-127.0.9.4", "127.0.9.4"]', "mse.bind: expected each address once, found 127.0.9.4 again"),
        ('"127.0.9.1"', "mse.bind: expected"),
    ],
)
def test_what_is_refused(tmp_path: Path, bind: str, problem: str) -> None:
    (text,) = problems_of(tmp_path, SMALL, f"mse.bind={bind}")
    assert text.startswith(problem)


def test_where_a_load_comes_from_is_no_part_of_what_it_is(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, SMALL, 'mse.bind=["127.0.9.1-127.0.9.40"]')
    assert plan.bind == ("127.0.9.1-127.0.9.40",)
    assert plan.digest == plan_of(tmp_path).digest


def test_each_kind_of_address_is_dialed_from_its_own() -> None:
    sources = Sources(["127.0.9.1", "::1", "127.0.9.2"])
    assert sources.for_peer("127.0.0.1") == ["127.0.9.1", "127.0.9.2"]
    assert sources.for_peer("::1") == ["::1"]
    assert [sources.of("127.0.0.1", turn) for turn in range(3)] == ["127.0.9.1", "127.0.9.2", "127.0.9.1"]
    assert Sources([]).of("127.0.0.1", 7) is None
    assert not Sources([]).given


@REPEATABLE
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=200),
    st.integers(1, 9),
)
def test_an_address_has_as_many_sessions_of_a_wlc_as_any_other_or_one_more(wlcs: list[int], count: int) -> None:
    sources = Sources([f"192.0.2.{last}" for last in range(1, count + 1)])
    turns = turns_of(wlcs)
    for wlc in set(wlcs):
        of_each = Counter(sources.of("198.51.100.1", turn) for turn, at in zip(turns, wlcs, strict=True) if at == wlc)
        sessions = wlcs.count(wlc)
        assert max(of_each.values()) == -(-sessions // count)
        assert len(of_each) == min(sessions, count)
