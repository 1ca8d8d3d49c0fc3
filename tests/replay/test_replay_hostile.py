"""Captures that are broken in any way: what is found of them is played, or they are refused; nothing else happens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import replay_samples as samples
from hypothesis import given
from hypothesis import strategies as st
from replay_samples import BEGAN_NS, lines

from loadgen.capture.events import Conversation, Data, Event, Opened
from loadgen.capture.streams import Exchange, collect
from loadgen.errors import InputError
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile import WireProfile, load_profile, reference_profile
from loadgen.nmsp.ring import Timing
from loadgen.replay.macs import MacMap
from loadgen.replay.reading import Recorded, record_untrusted
from loadgen.replay.recording import mapped_macs
from loadgen.replay.ring import ReplayRing, TrackTables
from loadgen.units import NS_PER_MS

ROOT = Path(__file__).parents[2]
LAYOUTS = [None, *(ROOT / "benchmarks" / "layouts").glob("*.toml"), *(ROOT / "docs" / "wire-profile").glob("*.toml")]


def profile_of(path: Path | None) -> WireProfile:
    return reference_profile() if path is None else load_profile(path)


def of_bytes(client: bytes, server: bytes) -> Exchange:
    conversation = Conversation(0, ("192.0.2.9", 40_000), ("192.0.2.1", 16_113), BEGAN_NS)
    events: list[Event] = [Opened(conversation)]
    events += [
        Data(conversation, of_client, 0, BEGAN_NS, data)
        for of_client, data in ((True, client), (False, server))
        if data
    ]
    return collect(events)[0]


def play(profile: WireProfile, made: Recorded) -> None:
    """All of it twice; whatever is sent, a receiver of the same profile takes."""
    macs = MacMap(*mapped_macs(made.recording, aps=True), "local", 3)
    tables = TrackTables(profile, made.recording.tracks[0], 8)
    ring, told, sent = ReplayRing(profile, tables, macs.of(2)), [0, 0, 0], 0
    framing = profile.framing
    while sent < 2 * ring.slots:
        view, count = ring.patch(sent, 8, told, Timing(np.full(8, BEGAN_NS), BEGAN_NS, began_ns=BEGAN_NS))
        sent += count
        position = 0
        for _ in range(count):
            header = framing.header.struct.unpack_from(view, position)
            size = framing.size_untrusted(header)
            frame = view[position : position + size]
            if not framing.numbers:
                framing.check_untrusted(framing.id_of(header), header, frame)
            Codec(profile).decode_untrusted(framing.id_of(header), frame[framing.head : size - framing.foot])
            position += size
        assert position == len(view)
    assert sum(told) == sent


def streams(profile: WireProfile) -> tuple[bytes, bytes]:
    codec, said = Codec(profile), lines(profile, 6)
    if profile is reference_profile():
        said = [*samples.opening(mask=(1 << 64) - 1), *said]
    ends = {Role.WLC: b"", Role.MSE: b""}
    for _, role, message, transaction in said:
        ends[role] += codec.encode(message, transaction)
    return ends[Role.MSE], ends[Role.WLC]


@pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: "reference" if path is None else path.stem)
@given(data=st.data())
def test_a_stream_with_other_bytes_in_it_is_played_or_refused(path: Path | None, data: st.DataObject) -> None:
    profile = profile_of(path)
    client, server = map(bytearray, streams(profile))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(server) - 1))
        match data.draw(st.sampled_from(["change", "cut", "put"])):
            case "change":
                server[at] = data.draw(st.integers(0, 255))
            case "cut":
                del server[at : at + data.draw(st.integers(1, 40))]
            case _:
                server[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        if not server:
            break
    try:
        made = record_untrusted(samples.events([of_bytes(bytes(client), bytes(server))]), profile, "c")
    except InputError:
        return
    assert made.plan.granted < 1 << 23
    play(profile, made)


@given(client=st.binary(max_size=200), server=st.binary(max_size=400))
def test_any_bytes_are_refused(client: bytes, server: bytes) -> None:
    with pytest.raises(InputError, match="c: expected notifications"):
        record_untrusted(samples.events([of_bytes(client, server)]), reference_profile(), "c")


def test_a_long_stream_of_garbage_ends_soon() -> None:
    """What looks like headers everywhere is not looked at for ever."""
    profile = reference_profile()
    fake = profile.framing.head_of(Kind.MEASUREMENT_NOTIFY, 40)
    made = record_untrusted(
        samples.events([samples.exchange(profile, samples.notified(2), 1), of_bytes(b"", fake * 20_000)]), profile, "c"
    )
    assert made.messages == 2
    assert made.left_out["bytes"] == 20_000 * len(fake)
    assert made.plan.period_ns == 40 * NS_PER_MS
