"""Events of a capture collected as streams: runs between holes, and when each byte came."""

from __future__ import annotations

import pytest

from loadgen.capture.events import Closed, Conversation, Data, Hole, How, Opened
from loadgen.capture.streams import collect

SOME = Conversation(0, ("10.9.0.2", 50001), ("10.9.0.1", 16113), 1_000)


def test_bytes_of_each_direction_and_when_they_came() -> None:
    (exchange,) = collect(
        [
            Opened(SOME),
            Data(SOME, True, 0, 1_000, b"abc"),
            Data(SOME, False, 0, 1_500, b"xy"),
            Data(SOME, True, 3, 2_000, b"de"),
            Closed(SOME, True, 3_000, How.FIN),
        ]
    )
    assert exchange.client.runs == [(0, b"abcde")]
    assert exchange.server.runs == [(0, b"xy")]
    assert [exchange.client.came_ns(offset) for offset in (0, 2, 3, 4)] == [1_000, 1_000, 2_000, 2_000]
    assert (exchange.client.ended, exchange.server.ended) == (How.FIN, None)


def test_a_hole_parts_runs_and_is_not_filled() -> None:
    (exchange,) = collect(
        [Data(SOME, True, 0, 1, b"ab"), Hole(SOME, True, 2, 5, 2), Data(SOME, True, 7, 2, b"cd")],
    )
    assert exchange.client.runs == [(0, b"ab"), (7, b"cd")]
    assert exchange.client.holes == [(2, 5)]
    assert len(exchange.client) == 4
    with pytest.raises(KeyError):
        exchange.server.came_ns(0)
