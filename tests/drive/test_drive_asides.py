"""What of the bytes that wait is notifications, where answers were sent between them."""

from __future__ import annotations

import random

import pytest

from loadgen.drive.asides import MOST, Asides

EACH = 100


def in_tail(sent: list[bool | int], waiting: int) -> float:
    """By walking back over everything that was sent, in order: 0 for a notification, else an answer's size."""
    found = 0.0
    for size in reversed(sent):
        part = min(waiting, size or EACH)
        found += 0 if size else part / EACH
        waiting -= part
    return found


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_order(seed: int) -> None:
    chance = random.Random(seed)
    sent = [chance.choice((0, 0, 40, 300)) for _ in range(200)]
    asides, told = Asides(), 0
    for size in sent:
        if size:
            asides.said(told, size)
        else:
            told += 1
    for waiting in range(-50, sum(size or EACH for size in sent) + 500, 37):
        assert asides.told_within(waiting, told, EACH) == pytest.approx(in_tail(sent, max(0, waiting)))


def test_of_more_than_are_kept_the_last_are_exact_and_none_is_forgotten() -> None:
    """One behind each notification. Of what is long ago, many have become one."""
    asides, answers = Asides(), 40 * MOST
    for told in range(1, answers + 1):
        asides.said(told, 50)
    assert MOST // 2 <= len(asides) <= MOST
    for last in range(3):
        assert asides.told_within(last * (50 + EACH) + 50, answers, EACH) == pytest.approx(last)
        assert asides.told_within((last + 1) * (50 + EACH), answers, EACH) == pytest.approx(last + 1)
    for last in range(0, answers, MOST // 4):
        found = asides.told_within(last * (50 + EACH), answers, EACH)
        assert found == pytest.approx(last, abs=2), last
    assert asides.told_within(answers * (50 + EACH), answers, EACH) == pytest.approx(answers)
