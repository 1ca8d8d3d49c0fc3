"""Both ends play by the profile's dialogue, whichever it is: over a line that keeps order, and over one that loses."""

from __future__ import annotations

import pytest
from dialogue_samples import (
    DIALOGUES,
    ENDED,
    HAIL,
    NOTHING,
    OPAQUE,
    SHORT,
    UNANSWERED,
    UNASKED,
    USUAL,
    WLC_FIRST,
    profile_with,
)
from hypothesis import given
from hypothesis import strategies as st
from session_samples import DEAD_NS, ECHO_NS, REPEATABLE, SETUP_NS, Pair, Side, mse_side, notify, settings_of, wlc_side

from loadgen.errors import RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import (
    Capability,
    EchoRequest,
    EchoResponse,
    Kind,
    MeasurementRequest,
    Message,
    Opaque,
    ResponseStatus,
    Role,
    SubscribeRequest,
    SubscribeResponse,
    UnsubscribeRequest,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.session import State
from loadgen.session.datagrams import DatagramMseEndpoint, DatagramWlcEndpoint
from loadgen.session.link import Endpoint
from loadgen.units import NS_PER_S

NAMED = pytest.mark.parametrize("name", DIALOGUES)
OFFERS, WANTS = 0x68EBE7, 0x21


def codec_of(dialogue: str) -> Codec:
    return Codec(profile_with(dialogue))


def pair_of(dialogue: str, piece: int = 0) -> Pair:
    return Pair(OFFERS, WANTS, piece, codec=codec_of(dialogue))


# -- the opening -------------------------------------------------------------------------------------------------------


@NAMED
@pytest.mark.parametrize("piece", [0, 7, 1])
def test_both_become_active_and_have_said_what_the_dialogue_has(name: str, piece: int) -> None:
    pair = pair_of(DIALOGUES[name], piece)
    pair.settle()
    assert (pair.wlc.fault, pair.mse.fault) == (None, None)
    opening = profile_with(DIALOGUES[name]).dialogue.opening
    for side in (pair.wlc, pair.mse):
        assert side.endpoint.active
        assert [*side.endpoint.said] == [turn.saying for turn in opening if turn.sender is side.endpoint.role]
        assert [*side.endpoint.heard] == [turn.saying for turn in opening if turn.sender is side.endpoint.peer]


@pytest.mark.parametrize(
    ("dialogue", "at_wlc", "at_mse"),
    [
        (USUAL, 0x21, 0x21),
        (WLC_FIRST, 0x21, 0x21),
        (SHORT, 0x21, 0x21),
        (UNASKED, OFFERS, 0x21),  # each from what it knows: what it offers, and what it wants of that
        (UNANSWERED, 0x21, 0x21),
        (HAIL, OFFERS, 0x21),
        (NOTHING, OFFERS, 0x21),
        (OPAQUE, 0x21, 0x21),
    ],
)
def test_what_is_granted(dialogue: str, at_wlc: int, at_mse: int) -> None:
    pair = pair_of(dialogue)
    pair.settle()
    assert (pair.wlc.endpoint.granted, pair.mse.endpoint.granted) == (at_wlc, at_mse)


def test_what_is_granted_where_nobody_says_so_may_be_known_otherwise() -> None:
    settings = settings_of(OFFERS, Recorder(), codec_of(UNASKED))
    assert settings.assumed == OFFERS
    wlc = wlc_side(OFFERS, codec=codec_of(HAIL))
    wlc.endpoint.settings.assumed = 0x21
    again = type(wlc.endpoint)(wlc.endpoint.settings, 0)
    again.start(0)
    assert again.granted == 0x21


def test_an_mse_that_wants_nothing_of_what_is_offered_leaves() -> None:
    mse = mse_side(WANTS, codec=codec_of(HAIL))
    mse.hear(Capability(0b100), 0)
    assert mse.fault is not None
    assert mse.fault.kind == "nothing_granted"


def test_the_words_of_a_dialogue_in_which_the_wlc_speaks_first() -> None:
    wlc, mse = wlc_side(codec=codec_of(WLC_FIRST)), mse_side(WANTS, codec=codec_of(WLC_FIRST))
    assert mse.said() == []
    ((message, asked),) = wlc.said()
    assert message == VersionRequest(1, 1)
    mse.hear(message, 0, asked)
    assert mse.said() == [(VersionResponse(1, 0), asked)]
    wlc.hear(VersionResponse(1, 0), 0, asked)
    assert wlc.said() == [(Capability(OFFERS), 0)]
    mse.hear(Capability(OFFERS), 0)
    ((message, asked),) = mse.said()
    assert message == SubscribeRequest(WANTS)
    wlc.hear(message, 0, asked)
    assert wlc.said() == [(SubscribeResponse(WANTS, 0), asked)]


def test_a_version_that_the_mse_refuses() -> None:
    mse = mse_side(codec=codec_of(WLC_FIRST))
    mse.hear(VersionRequest(2, 9), 0, 5)
    assert mse.said() == [(VersionResponse(1, ResponseStatus.UNSUPPORTED_VERSION), 5)]
    assert mse.fault is None
    wlc = wlc_side(codec=codec_of(WLC_FIRST))
    ((_, asked),) = wlc.said()
    wlc.hear(VersionResponse(1, ResponseStatus.UNSUPPORTED_VERSION), 0, asked)
    assert wlc.fault is not None
    assert wlc.fault.kind == "version_refused"
    assert wlc.said() == []


def test_a_version_that_is_refused_where_no_response_says_so() -> None:
    mse = mse_side(codec=codec_of('opening = [{ sender = "wlc", message = "version_request" }]'))
    mse.hear(VersionRequest(2, 9), 0, 5)
    assert mse.fault is not None
    assert mse.fault.kind == "version_refused"


@pytest.mark.parametrize("wrong", [1, -1])
def test_a_response_to_another_request_of_the_wlc(wrong: int) -> None:
    wlc = wlc_side(codec=codec_of(WLC_FIRST))
    ((_, asked),) = wlc.said()
    wlc.hear(VersionResponse(1, 0), 0, asked + wrong)
    assert wlc.fault is not None
    assert wlc.fault.kind == "wrong_transaction"


SAMPLES: dict[Kind, Message] = {
    Kind.VERSION_REQUEST: VersionRequest(1, 1),
    Kind.VERSION_RESPONSE: VersionResponse(1, 0),
    Kind.CAPABILITY: Capability(OFFERS),
    Kind.SUBSCRIBE_REQUEST: SubscribeRequest(WANTS),
    Kind.SUBSCRIBE_RESPONSE: SubscribeResponse(WANTS, 0),
    Kind.ECHO_REQUEST: EchoRequest(),
    Kind.ECHO_RESPONSE: EchoResponse(),
    Kind.MEASUREMENT_NOTIFY: notify(0),
    Kind.MEASUREMENT_REQUEST: MeasurementRequest(0),
}


@NAMED
@pytest.mark.parametrize("role", Role)
def test_out_of_turn_is_a_fault_of_the_peer_s(name: str, role: Role) -> None:
    """Whatever comes first but what the dialogue has there, from the side that has it there."""
    codec = codec_of(DIALOGUES[name])
    opening = codec.profile.dialogue.opening
    for kind, message in SAMPLES.items():
        side = wlc_side(codec=codec) if role is Role.WLC else mse_side(codec=codec)
        expected = side.endpoint.session.expected
        side.take_outbox()
        if expected is None or (expected.sender, expected.saying) == (side.endpoint.peer, kind):
            continue
        side.hear(message, 0, 1)
        assert side.fault is not None, kind
        assert side.fault.kind == "unexpected_message"
        assert f"expected {expected}" in str(side.fault)
        assert f"of {len(opening)} messages" in str(side.fault)


def test_a_session_that_is_not_set_up_in_time_says_what_was_missing() -> None:
    wlc = wlc_side(codec=codec_of(WLC_FIRST))
    wlc.tick(SETUP_NS)
    assert wlc.fault is not None
    assert wlc.fault.kind == "setup_timeout"
    assert "expected version_response from the MSE" in str(wlc.fault)


# -- echoes, and who is dead -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialogue", "by_wlc", "by_mse"), [(USUAL, 0, 20), (WLC_FIRST, 20, 0), (UNASKED, 20, 20), (HAIL, 0, 0)]
)
def test_echoes_are_asked_for_by_whom_the_dialogue_says(dialogue: str, by_wlc: int, by_mse: int) -> None:
    pair = pair_of(dialogue)
    pair.run_until(20 * ECHO_NS)
    assert (pair.wlc.fault, pair.mse.fault) == (None, None)
    for side, asked, answered in ((pair.wlc, by_wlc, by_mse), (pair.mse, by_mse, by_wlc)):
        counters = side.recorder.counters
        assert (counters["echo.due"], counters["echo.sent"], counters["echo.received"]) == (asked, asked, asked)
        assert counters["echo.answered"] == answered
        assert counters["echo.unmatched"] == 0


@pytest.mark.parametrize(("dialogue", "dead"), [(USUAL, True), (WLC_FIRST, True), (UNASKED, True), (HAIL, False)])
def test_a_silent_neighbour_is_dead_only_where_it_would_have_to_speak(dialogue: str, dead: bool) -> None:
    pair = pair_of(dialogue)
    pair.settle()
    pair.cut = True
    pair.run_until(10 * DEAD_NS)
    for side in (pair.wlc, pair.mse):
        assert (side.fault.kind if side.fault is not None else None) == ("neighbor_dead" if dead else None)


def test_what_a_wlc_still_asks_when_its_session_ends() -> None:
    """As at an MSE: not answered in less than an interval is nobody's failure."""
    wlc = pair_of(WLC_FIRST)
    wlc.settle()
    wlc.cut = True
    wlc.run_until(ECHO_NS)
    counters = wlc.wlc.recorder.counters
    assert (counters["echo.sent"], counters["echo.received"]) == (1, 0)
    wlc.wlc.endpoint.stop(ECHO_NS + 1)
    wlc.wlc.endpoint.settle()
    assert (counters["echo.withdrawn"], counters["echo.unanswered"]) == (1, 0)


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialogue", [ENDED, UNANSWERED])
def test_whoever_ends_says_so_and_nothing_more(dialogue: str) -> None:
    pair = pair_of(dialogue)
    pair.settle()
    wlc, mse = pair.wlc.endpoint, pair.mse.endpoint
    mse.say_end(4)
    mse.say_end(4)  # once is enough
    ((message, _),) = pair.mse.said()
    assert message == UnsubscribeRequest(mse.granted)
    wlc.say(notify(0))  # is under way
    pair.wlc.hear(message, 5, 9)
    assert (wlc.left, mse.left) == (True, False)
    pair.mse.feed(pair.wlc.take_outbox(), 6)
    assert (pair.mse.received, pair.mse.fault) == ([0], None)
    for side in (pair.wlc, pair.mse):
        side.tick(100 * DEAD_NS)  # nothing is due any more
        assert (side.fault, side.take_outbox()) == (None, b"")
        assert side.endpoint.session.state is State.ENDED_BY_MSE
    mse.say(EchoRequest(), 1)  # what is answered too late is not said
    assert pair.mse.take_outbox() == b""
    pair.wlc.hear(EchoRequest(), 7, 10)
    assert pair.wlc.fault is not None
    assert pair.wlc.fault.kind == "unexpected_message"


def test_a_side_that_the_dialogue_has_say_nothing_at_the_end() -> None:
    for dialogue in (USUAL, ENDED):
        pair = pair_of(dialogue)
        pair.settle()
        pair.wlc.endpoint.say_end(0)
        assert pair.wlc.take_outbox() == b""
        assert pair.wlc.endpoint.session.state is State.ACTIVE


# -- where messages get lost -------------------------------------------------------------------------------------------

BY_BOTH = [name for name in DIALOGUES if name not in ("hail", "nothing")]


def datagram_side(role: Role, codec: Codec) -> Side:
    recorder = Recorder()
    settings = settings_of(OFFERS if role is Role.WLC else WANTS, recorder, codec)
    settings.setup_timeout_ns = 10_000 * NS_PER_S
    endpoint: Endpoint
    endpoint = DatagramWlcEndpoint(settings, 0) if role is Role.WLC else DatagramMseEndpoint(settings, 0, number=0)
    endpoint.start(0)
    return Side(endpoint, recorder)


class Line:
    """Datagrams between two ends, each with a fate; once fates run out, the line is good."""

    def __init__(self, name: str, fates: list[str]) -> None:
        codec = codec_of(DIALOGUES[name])
        self.sides = [datagram_side(role, codec) for role in (Role.MSE, Role.WLC)]
        for side in self.sides:
            side.endpoint.settings.timers = type(side.endpoint.settings.timers)(max_retransmits=100)
        self.fates = fates
        self.late: list[tuple[Side, bytes]] = []
        self.now_ns = 0

    def carry(self) -> None:
        for _ in range(100):
            if not any(side.endpoint.outbox for side in self.sides):
                return
            for sender, other in (self.sides, self.sides[::-1]):
                for frame in sender.endpoint.outbox[:]:
                    sender.endpoint.outbox.remove(frame)
                    self._one(frame, other)
        raise AssertionError("they never fall silent")

    def _one(self, data: bytes, other: Side) -> None:
        fate = self.fates.pop() if self.fates else "pass"
        for _ in range({"pass": 1, "lose": 0, "twice": 2, "late": 0}[fate]):
            other.feed(data, self.now_ns)
        held, self.late = self.late, [(other, data)] if fate == "late" else []
        for target, frame in held:
            target.feed(frame, self.now_ns)

    def come_up(self) -> None:
        for _ in range(300):
            self.carry()
            if all(side.endpoint.active for side in self.sides):
                return
            waiting = [side for side in self.sides if not side.endpoint.active]
            self.now_ns = max(self.now_ns, min(side.endpoint.on_timer(self.now_ns) for side in waiting))
            for side in waiting:
                side.endpoint.on_timer(self.now_ns)


@pytest.mark.parametrize("name", BY_BOTH)
@given(fates=st.lists(st.sampled_from(["pass", "lose", "twice", "late"]), max_size=60))
@REPEATABLE
def test_a_session_comes_up_whatever_the_line_does_if_only_it_stops(name: str, fates: list[str]) -> None:
    line = Line(name, fates)
    line.come_up()
    assert [side.fault for side in line.sides] == [None, None]
    assert all(side.endpoint.active for side in line.sides)
    assert all(side.endpoint.granted & WANTS == WANTS for side in line.sides)


@pytest.mark.parametrize("name", BY_BOTH)
def test_who_repeats(name: str) -> None:
    """Only whoever speaks first, and who waits for the last messages: the other one has nothing to wait for."""
    codec = codec_of(DIALOGUES[name])
    opening = codec.profile.dialogue.opening
    first, last = opening[0].sender, opening[-1].sender
    for role in Role:
        side = datagram_side(role, codec)
        other = datagram_side(side.endpoint.peer, codec)
        if role is not first:
            side.feed(other.take_outbox(), 0)
        if not (said := side.take_outbox()):
            continue
        waits_for_last = other.endpoint.role is last and side.endpoint.session.turn >= codec.profile.dialogue.last_run
        deadline = side.endpoint.on_timer(0)
        if side.endpoint.active or not (role is first or waits_for_last):
            assert side.endpoint.on_timer(min(deadline, ECHO_NS - 1)) >= 0
            assert side.take_outbox() == b""
            continue
        for _ in range(5):
            deadline = side.endpoint.on_timer(deadline)
            assert side.take_outbox() == said
        with pytest.raises(RemoteProtocolError, match="sent 6 times") as fault:
            side.endpoint.on_timer(deadline)
        assert fault.value.kind == "no_response"


def test_what_an_mse_asks_before_its_last_message_was_heard_is_left_out_and_counted() -> None:
    wlc = datagram_side(Role.WLC, codec_of(UNANSWERED))
    for message, count in ((MeasurementRequest(0), 1), (EchoRequest(), 2), (UnsubscribeRequest(1), 3)):
        wlc.hear(message, 5, 40)
        assert (wlc.fault, wlc.recorder.counters["messages.repeated"]) == (None, count)
    assert not wlc.endpoint.active
    wlc.hear(EchoResponse(), 6, 41)  # nobody asked yet
    assert wlc.fault is not None
    assert wlc.fault.kind == "unexpected_message"


def test_an_echo_that_a_wlc_asks_for_is_repeated() -> None:
    line = Line("wlc-first", [])
    line.come_up()
    wlc = line.sides[1]
    wlc.endpoint.on_timer(ECHO_NS)
    said = wlc.take_outbox()
    deadline = wlc.endpoint.on_timer(ECHO_NS)
    wlc.endpoint.on_timer(deadline)
    assert wlc.take_outbox() == said != b""
    assert wlc.recorder.counters["messages.retransmitted"] == 1


# -- opaque messages ---------------------------------------------------------------------------------------------------

MAC = b"\x02\x53\x00\x00\x00\x07"


def test_what_is_filled_in() -> None:
    codec = codec_of(OPAQUE)
    hail = codec.profile.opaque["hail"]
    body = hail.filled(0x1_0203_0405, MAC, 0x1FE, 0x1122_3344_5566_7788, 5)
    assert body == b"\xaa\x02\x03\x04\x05" + MAC + bytes.fromhex("1122334455667788") + b"\xfe\xbb"
    frame = codec.encode(Opaque("hail", body), 9)
    assert frame == bytes.fromhex("4e000900 00000021 00000009") + body
    assert codec.decode_untrusted(0x900, memoryview(body)) == Opaque("hail", body)


def test_an_opening_with_opaque_messages() -> None:
    codec = codec_of(OPAQUE)
    settings = settings_of(OFFERS, Recorder(), codec)
    settings.to_unix_ns = 1_700_000_000 * NS_PER_S
    wlc = type(wlc_side(codec=codec).endpoint)(settings, 0)
    wlc.mac = MAC
    wlc.start(3)
    (frame,) = wlc.outbox
    asked = int.from_bytes(frame[8:12], "big")
    assert asked != 0
    assert (
        frame[12:]
        == b"\xaa" + asked.to_bytes(4, "big") + MAC + (settings.to_unix_ns + 3).to_bytes(8, "big") + b"\0\xbb"
    )
    mse = mse_side(WANTS, codec=codec)
    mse.feed(frame, 4)
    ((back, transaction), (request, _)) = mse.said()
    assert back == Opaque("hail_back", b"\xcc" + asked.to_bytes(2, "big"))
    assert (transaction, request) == (asked, SubscribeRequest(WANTS))
    assert mse.recorder.counters["messages.opaque"] == 1
    other = mse_side(WANTS, codec=codec)
    other.hear(SubscribeResponse(1, 0), 0)
    assert other.fault is not None
    assert "expected hail from the WLC" in str(other.fault)


def test_what_is_said_again_and_again_and_answered() -> None:
    pair = pair_of(OPAQUE)
    pair.run_until(NS_PER_S // 10 * 7)
    assert (pair.wlc.fault, pair.mse.fault) == (None, None)
    assert pair.mse.endpoint.said["alive"] == pair.wlc.endpoint.heard["alive"] == 7
    assert pair.wlc.endpoint.said["alive_back"] == pair.mse.endpoint.heard["alive_back"] == 7
    assert pair.wlc.recorder.counters["messages.opaque"] == 1 + 7
    pair.mse.tick(NS_PER_S * 10 + 1)  # late: what was missed is not made up for
    ((message, transaction),) = (said for said in pair.mse.said() if isinstance(said[0], Opaque))
    assert message == Opaque("alive", b"\x00\x07\xdd")
    assert transaction != 0
    assert pair.mse.deadline_ns == NS_PER_S * 10 + NS_PER_S // 10


def test_an_opaque_message_of_another_length() -> None:
    """Fixed unless the profile says that it varies."""
    codec = codec_of(OPAQUE)
    pair = pair_of(OPAQUE)
    pair.settle()
    pair.wlc.feed(codec.encode(Opaque("alive", b"\0\0"), 3), 5)
    assert pair.wlc.fault is not None
    assert pair.wlc.fault.kind == "malformed"
    assert "expected alive of 3 bytes, found 2" in str(pair.wlc.fault)
    pair.mse.feed(codec.encode(Opaque("bye", b"any length"), 3), 5)
    assert (pair.mse.fault, pair.mse.endpoint.left) == (None, True)


def test_both_end_at_the_same_time() -> None:
    pair = pair_of(OPAQUE)
    pair.settle()
    for side in (pair.wlc, pair.mse):
        side.endpoint.say_end(5)
    byes = pair.wlc.take_outbox(), pair.mse.take_outbox()
    pair.mse.feed(byes[0], 6)
    pair.wlc.feed(byes[1], 6)
    for side in (pair.wlc, pair.mse):
        assert (side.fault, side.endpoint.session.state) == (None, State.ENDED)


def test_an_opaque_message_from_the_other_side_is_a_fault() -> None:
    pair = pair_of(OPAQUE)
    pair.settle()
    pair.mse.feed(codec_of(OPAQUE).encode(Opaque("alive", b"\0\0\0"), 3), 5)
    assert pair.mse.fault is not None
    assert pair.mse.fault.kind == "unexpected_message"
    assert "found alive from the WLC" in str(pair.mse.fault)


def test_over_a_line_that_loses_what_is_said_again_is_no_repetition() -> None:
    line = Line("opaque", [])
    line.come_up()
    wlc, frames = line.sides[1], codec_of(OPAQUE)
    for count in range(3):
        wlc.feed(frames.encode(Opaque("alive", bytes((0, count, 0xDD))), 0), 5)
    assert (wlc.fault, wlc.recorder.counters["messages.repeated"]) == (None, 0)
    assert wlc.endpoint.heard["alive"] == 3
