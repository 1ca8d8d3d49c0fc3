"""Where frames begin and end, found in streams alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infer_synthetic import Device, Part, Session, captured, exchange_of, random_device

from loadgen.capture.streams import Exchange
from loadgen.infer.cutting import Cut, cut_frames
from loadgen.infer.framing import find_framing, runs_of


def cut(exchanges: list[Exchange]) -> Cut:
    runs = runs_of(exchanges)
    return cut_frames(exchanges, runs, find_framing(runs)[0][0])


def sent(sessions: list[Session], *, of_client: bool) -> list[tuple[int, bytes]]:
    return [(s.index, data) for s in sessions for _, side, _, data in s.sent if side is of_client]


@pytest.mark.parametrize("seed", range(100, 112))
def test_frames_of_whole_streams_are_cut_to_the_byte(seed: int) -> None:
    sessions = captured(random_device(seed), seed=seed)
    found = cut([session.exchange(merged=0.3) for session in sessions])
    for of_client in (True, False):
        frames = [(frame.session, frame.data) for frame in found.frames if frame.of_client is of_client]
        assert frames == sent(sessions, of_client=of_client)
    assert (found.left_out, found.lost) == (0, 0)


@pytest.mark.parametrize("seed", range(100, 106))
def test_a_stream_that_begins_or_ends_inside_of_a_frame_is_cut_from_the_first_certain_one(seed: int) -> None:
    sessions = captured(random_device(seed), seed=seed)
    found = cut([s.exchange(cut=5 if s.index == 1 else 0, skipped=17 if s.index == 2 else 0) for s in sessions])
    whole = {*sent(sessions, of_client=True), *sent(sessions, of_client=False)}
    assert {(frame.session, frame.data) for frame in found.frames} <= whole
    assert found.found_again >= 1
    assert len(found.frames) >= sum(len(session.sent) for session in sessions) - 12


def test_frames_behind_a_hole_are_found_again() -> None:
    sessions = captured(random_device(100), seed=100)
    exchanges = [session.exchange() for session in sessions]
    run = exchanges[0].server.runs[0][1]
    exchanges[0].server.runs[:] = [(0, run[:3001]), (4500, run[4500:])]
    exchanges[0].server.holes.append((3001, 1499))
    found = cut(exchanges)
    whole = {*sent(sessions, of_client=True), *sent(sessions, of_client=False)}
    assert {(frame.session, frame.data) for frame in found.frames} <= whole
    assert found.found_again == 1
    assert 1499 < sum(map(len, (data for _, data in whole))) - sum(len(frame.data) for frame in found.frames) < 3000


def test_a_length_is_as_wide_as_the_longest_frame_takes() -> None:
    parts = (Part("msg_id", 2, "msg_id"), Part("length", 2, "length"))
    device = Device("big", parts, 0, ids=random_device(1).ids)
    sessions = captured(device)
    for session in sessions:
        session.say(session.sent[-1][0] + 10**9, "client_info_notify", bytes(1000), 0)
    framing = find_framing(runs_of([session.exchange() for session in sessions]))[0][0]
    assert (framing.at, framing.size, framing.order, framing.unit, framing.add) == (2, 2, "big", 1, 0)


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=600), st.binary(max_size=600))
def test_streams_of_any_bytes_are_cut_into_what_they_have_or_not_at_all(client: bytes, server: bytes) -> None:
    exchanges = [exchange_of(client, server)]
    runs = runs_of(exchanges)
    for framing, _ in find_framing(runs):
        found = cut_frames(exchanges, runs, framing)
        assert sum(len(frame.data) for frame in found.frames) + found.left_out == len(client) + len(server)


def test_nothing_is_found_in_nothing() -> None:
    assert find_framing([]) == []
    assert find_framing(runs_of([exchange_of(b"", b"")])) == []
