"""What is taken of a capture, and what is left out and counted."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import replay_samples as samples
from hypothesis import given
from hypothesis import strategies as st
from replay_samples import BEGAN_NS

from loadgen.capture.events import Closed, Conversation, Data, Event, Hole, How, Opened
from loadgen.capture.streams import Exchange, collect
from loadgen.errors import InputError
from loadgen.nmsp import messages as m
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import reference_profile
from loadgen.replay.macs import MacMap, is_mapped
from loadgen.replay.reading import record_untrusted
from loadgen.scenario.replay_plan import unpacked_times
from loadgen.units import NS_PER_MS

PROFILE = reference_profile()
CODEC = Codec(PROFILE)


def of_server(*parts: bytes | int) -> Exchange:
    """What a WLC said: bytes; a number: so many are missing."""
    conversation = Conversation(0, ("192.0.2.9", 40_000), ("192.0.2.1", 16_113), BEGAN_NS)
    events: list[Event] = [Opened(conversation)]
    offset = 0
    for index, part in enumerate(parts):
        ns = BEGAN_NS + index * NS_PER_MS
        if isinstance(part, int):
            events.append(Hole(conversation, False, offset, part, ns))
            offset += part
        else:
            events.append(Data(conversation, False, offset, ns, part))
            offset += len(part)
    events.append(Closed(conversation, False, BEGAN_NS, How.FIN))
    return collect(events)[0]


def frame(number: int) -> bytes:
    return CODEC.encode(samples.measured(number))


def test_a_session_is_a_track_of_what_its_wlc_said_by_itself() -> None:
    said = [*samples.opening(mask=1 | 1 << 9), *samples.notified(10)]
    said.append((500 * NS_PER_MS, Role.MSE, m.EchoRequest(), 7))
    said.append((501 * NS_PER_MS, Role.WLC, m.EchoResponse(), 7))
    made = record_untrusted(samples.events([samples.exchange(PROFILE, said)]), PROFILE, "c")
    (track,) = made.plan.tracks
    assert (made.messages, track.messages, made.left_out, made.holes, made.silent) == (10, 10, {}, 0, 0)
    assert unpacked_times(track.times).tolist() == [index * 20 * NS_PER_MS for index in range(10)]
    assert made.plan.period_ns == 200 * NS_PER_MS  # it goes on evenly
    assert made.plan.granted == 1 | 1 << 9
    assert made.plan.offered == 0x68EBE7


def test_bursts_keep_their_distance_when_they_come_again() -> None:
    said = [
        (burst * 1_000 * NS_PER_MS + each, Role.WLC, samples.measured(each), 0)
        for burst in range(4)
        for each in range(30)
    ]
    made = record_untrusted(samples.events([samples.exchange(PROFILE, said)]), PROFILE, "c")
    assert made.plan.period_ns == pytest.approx(4_000 * NS_PER_MS, rel=1e-4)


def test_each_session_is_a_track_and_silent_ones_are_counted() -> None:
    loud = [samples.exchange(PROFILE, samples.notified(3 + index), index, BEGAN_NS + index) for index in range(2)]
    silent = samples.exchange(PROFILE, samples.opening(), 2)
    made = record_untrusted(samples.events([*loud, silent]), PROFILE, "c")
    assert [each.messages for each in made.plan.tracks] == [3, 4]
    assert (made.sessions, made.silent) == (3, 1)
    assert unpacked_times(made.plan.tracks[1].times)[0] == 1


def pieces_of(whole: list[Event], sizes: list[int]) -> list[Event]:
    """The same bytes in packets of other sizes, which come when their bytes did."""
    found: list[Event] = []
    for event in whole:
        if not isinstance(event, Data):
            found.append(event)
            continue
        at, turn = 0, 0
        while at < len(event.data):
            part = event.data[at : at + sizes[turn % len(sizes)]]
            found.append(replace(event, offset=event.offset + at, data=part))
            at, turn = at + len(part), turn + 1
    return found


@pytest.mark.parametrize("hole", [0, 1, 300, 5_000])
@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5))
def test_how_bytes_were_cut_into_packets_changes_nothing(hole: int, sizes: list[int]) -> None:
    stream = b"".join(frame(number) for number in range(40))
    at = 7 * len(frame(0)) + 11
    parts = [stream] if not hole else [stream[:at], hole, stream[at + 25 :], b"\xff" * 70 + frame(1) + frame(2)[:-3]]
    whole = list(samples.events([of_server(*parts)]))
    expected = record_untrusted(whole, PROFILE, "c")
    made = record_untrusted(pieces_of(whole, sizes), PROFILE, "c")
    assert made.recording == expected.recording
    assert (made.left_out, made.holes) == (expected.left_out, expected.holes)


def test_an_mse_that_comes_back_is_the_same_track() -> None:
    """Once round: four notifications, three seconds without a session, and six of the next one."""
    first = samples.exchange(PROFILE, [*samples.opening(), *samples.notified(4)], 0)
    again_ns = 3_000 * NS_PER_MS
    again = samples.exchange(PROFILE, [*samples.opening(), *samples.notified(6, stations=7)], 1, BEGAN_NS + again_ns)
    made = record_untrusted(samples.events([first, again]), PROFILE, "c")
    (track,) = made.recording.tracks
    expected = [index * 20 * NS_PER_MS for index in range(4)]
    expected += [again_ns + index * 20 * NS_PER_MS for index in range(6)]
    assert unpacked_times(made.plan.tracks[0].times).tolist() == expected
    assert made.in_words == "c: 10 messages of 2 of 2 sessions in 5.9 s, as 1 track"
    frames = [line[2] for line in (*samples.notified(4), *samples.notified(6, stations=7))]
    assert track.data == b"".join(CODEC.encode(message, 0) for message in frames)
    ends = np.cumsum(np.frombuffer(track.sizes, np.int64))
    macs = np.frombuffer(made.recording.macs, np.uint8).reshape(-1, 6)
    for place, rank in zip(np.frombuffer(track.mac_at, np.int64), np.frombuffer(track.mac, np.int64), strict=True):
        assert track.data[place : place + 6] == bytes(macs[rank])
    assert dict(track.stations).keys() == {rank for rank, ap in enumerate(made.recording.ap) if not ap}
    for rank, slot in track.stations:
        assert bytes(macs[rank]) in track.data[ends[slot] - len(frame(0)) : ends[slot]]


def test_sessions_at_the_same_time_are_tracks_of_their_own() -> None:
    """Two MSEs behind one address."""
    began = (BEGAN_NS, BEGAN_NS + 50 * NS_PER_MS)
    both = [samples.exchange(PROFILE, samples.notified(5), index, at_ns) for index, at_ns in enumerate(began)]
    assert len(record_untrusted(samples.events(both), PROFILE, "c").recording.tracks) == 2


def test_behind_a_hole_the_stream_is_taken_up_where_frames_begin() -> None:
    whole, cut = [frame(number) for number in range(8)], frame(9)
    made = record_untrusted(
        samples.events([of_server(whole[0], whole[1], cut[:30], 20, cut[50:] + whole[2], whole[3], whole[4])]),
        PROFILE,
        "c",
    )
    assert made.messages == 5
    assert made.left_out == {"bytes": 30 + len(cut) - 50}
    assert made.holes == 1
    assert made.in_words == (
        f"c: 5 messages of 1 of 1 sessions in 0.0 s; left out: {30 + len(cut) - 50} bytes in no frame, "
        "what lies beside 1 holes"
    )


def test_a_capture_that_begins_in_the_midst_of_a_frame_loses_that_one() -> None:
    made = record_untrusted(samples.events([of_server(frame(1)[11:], frame(2), frame(3))]), PROFILE, "c")
    assert made.messages == 2
    assert made.left_out == {"bytes": len(frame(1)) - 11}


def test_what_does_not_decode_is_left_out_and_counted() -> None:
    bad = bytearray(frame(1))
    bad[-1:] = b""  # shorter than its count says, and its header as well
    PROFILE.header.field_struct("length").pack_into(
        bad, PROFILE.header.offsets["length"], len(bad) - PROFILE.length_of_header
    )
    made = record_untrusted(samples.events([of_server(frame(0), bytes(bad), frame(2), frame(3)[:-4])]), PROFILE, "c")
    assert made.messages == 2
    assert made.left_out == {"malformed": 1, "bytes": len(frame(3)) - 4}


@pytest.mark.parametrize(
    ("exchanges", "found"),
    [
        ([], "no session"),
        ([samples.exchange(PROFILE, samples.opening())], r"none in 1 sessions \(3 other messages of WLCs\)"),
        ([of_server(b"\x16\x03\x03\x01\x00" * 300)], r"none in 1 sessions \(0 other messages of WLCs, 1,500 bytes\)"),
    ],
)
def test_a_capture_with_nothing_to_play_is_refused_with_what_is_in_it(exchanges: list[Exchange], found: str) -> None:
    with pytest.raises(InputError, match=rf"c: expected notifications that profile \S+ reads, found {found}"):
        record_untrusted(samples.events(exchanges), PROFILE, "c")


def test_the_same_capture_is_the_same_load() -> None:
    said = samples.notified(5)
    one, other = (record_untrusted(samples.events([samples.exchange(PROFILE, said)]), PROFILE, "c") for _ in range(2))
    assert msgspec.json.encode(one.plan) == msgspec.json.encode(other.plan)
    another = record_untrusted(samples.events([samples.exchange(PROFILE, said[:4])]), PROFILE, "c")
    assert another.plan.capture != one.plan.capture


# -- MACs --------------------------------------------------------------------------------------------------------------


def table(*texts: str) -> np.ndarray:
    return np.array([list(bytes.fromhex(text)) for text in texts], np.uint8)


@pytest.mark.parametrize("space", ["local", "oui"])
def test_no_two_endpoints_share_a_device_and_each_has_all(space: str) -> None:
    macs = table(
        "001b77000001", "001b77000002", "0a0000000001", "06aabbccddee", "ffffffffffff", "000000000000", "001b77000000"
    )
    mapped = is_mapped(macs)
    mapped[-1] = False  # an access point
    mapping = MacMap(macs, mapped, space, 1_000)
    seen: set[bytes] = {bytes(macs[-1])}
    for endpoint in range(1_000):
        found = mapping.of(endpoint)
        assert [bytes(found[row]) for row in (4, 5, 6)] == [bytes(macs[row]) for row in (4, 5, 6)]
        own = {bytes(found[row]) for row in range(4)}
        assert len(own) == 4
        assert not own & seen
        seen |= own
        if space == "oui":
            assert found[:, :3].tolist() == macs[:, :3].tolist()
        else:
            assert {mac[0] for mac in own} == {0x0E}  # not 06 or 0a, which the capture has


def test_more_endpoints_than_an_oui_has_room_for_are_refused() -> None:
    macs = table(*(f"001b77{number:06x}" for number in range(64)))
    MacMap(macs, is_mapped(macs), "oui", 1 << 18)
    with pytest.raises(InputError, match=r'load.macs = "oui": expected at most 262,144 endpoints'):
        MacMap(macs, is_mapped(macs), "oui", (1 << 18) + 1)
