"""Runs of bytes that never change are cut where fields in them are likely to begin."""

from __future__ import annotations

import pytest

from loadgen.infer.constants import cut_constant


def parts(run: str, order: str = "big", offset: int = 0) -> list[str]:
    data = bytes.fromhex(run)
    found = cut_constant(data, order, offset)
    assert b"".join(data[part.at : part.at + part.size] for part in found) == data
    return [data[part.at : part.at + part.size].hex() for part in found]


@pytest.mark.parametrize(
    ("run", "order", "expected"),
    [
        ("0103", "big", ["01", "03"]),
        ("00010003", "big", ["0001", "0003"]),
        ("01000300", "little", ["0100", "0300"]),
        ("000100039a3c71e5", "big", ["0001", "0003", "9a3c71e5"]),
        ("000000000000", "big", ["000000000000"]),
    ],
)
def test_small_numbers_have_zeros_where_their_high_bytes_are(run: str, order: str, expected: list[str]) -> None:
    assert parts(run, order) == expected


def test_a_text_is_whole() -> None:
    assert parts("00014149522d4354353532300000")[1].startswith(b"AIR-CT5520".hex())


def test_an_address_that_is_the_same_everywhere_is_one_and_numbers_are_none() -> None:
    kinds = [part.kind for part in cut_constant(bytes.fromhex("00023c22fb81c293"), "big", 0)]
    assert kinds == ["constant", "mac"]
    assert "mac" not in [part.kind for part in cut_constant(bytes(range(1, 9)), "big", 0)]


def test_any_run_is_cut_into_itself() -> None:
    for run in (b"", b"\0", bytes(range(256)), b"\xff" * 300):
        found = cut_constant(run, "little", 3)
        assert sum(part.size for part in found) == len(run)
