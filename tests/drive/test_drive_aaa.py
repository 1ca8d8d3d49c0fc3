"""AAA: lists are asked in order, and each that was asked takes its time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from loadgen.drive.aaa import NOT_LISTED, Aaa
from loadgen.identity.authlist import AuthList
from loadgen.identity.credentials import Identity, new_key, self_signed
from loadgen.transport.verifying import Ruling

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_A, _B, _C = (self_signed(f"02:00:00:00:00:0{n}", new_key("p256"), _NOW) for n in range(3))


def lists(*members: tuple[Identity, ...]) -> list[AuthList]:
    return [AuthList.of(each, "sha256", "spki") for each in members]


def asked(aaa: Aaa, who: Identity) -> Ruling:
    return aaa.check(None, who.certificate().der)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "ruling"),
    [(_A, Ruling(None, 1, 10)), (_B, Ruling(None, 2, 30)), (_C, Ruling(NOT_LISTED, 0, 60))],
    ids=["first", "second", "none"],
)
def test_who_is_found_where_and_when(who: Identity, ruling: Ruling) -> None:
    aaa = Aaa(lists((_A,), (_A, _B), ()), (10, 20, 30), 0)
    assert aaa.takes_time
    assert asked(aaa, who) == ruling


def test_without_delays_nobody_waits() -> None:
    aaa = Aaa(lists((_A,)), (0,), 300)
    assert not aaa.takes_time
    assert asked(aaa, _A) == Ruling(None, 1, 0)


def test_an_empty_list_knows_nobody() -> None:
    aaa = Aaa(lists(()), (0,), 0)
    assert asked(aaa, _A) == Ruling("key_hash_not_listed")
