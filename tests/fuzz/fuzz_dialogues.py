"""Any dialogue, and whatever a peer sends in it: at either end, over a line that keeps order or one that does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from fuzz_bytes import Bytes, joined
from fuzz_sessions import MASK, settings_of
from fuzz_wire import sample
from nmsp_samples import core_document, raw_frame, reference_document

from loadgen.errors import InputError, RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Control, NotifyReceiver
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Opaque
from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.session.conversation import hear_untrusted
from loadgen.session.datagrams import DatagramMseEndpoint, DatagramWlcEndpoint
from loadgen.session.link import Endpoint
from loadgen.session.mse import MseEndpoint
from loadgen.session.wlc import WlcEndpoint
from loadgen.units import NS_PER_MS, NS_PER_S

# What a byte of a dialogue says: a turn of the opening. The last ones are no good in some places, or in all.
TURNS = [
    ("mse", "version_request"),
    ("wlc", "version_response"),
    ("wlc", "capability"),
    ("mse", "subscribe_request"),
    ("wlc", "subscribe_response"),
    ("wlc", "version_request"),
    ("mse", "version_response"),
    ("mse", "capability_request"),
    ("wlc", "hail"),
    ("mse", "hail_back"),
    ("mse", "alive"),
    ("wlc", "bye"),
    ("mse", "echo_request"),
    ("wlc", "echo_response"),
    ("wlc", "echo_request"),
    ("mse", "capability"),
]
ECHOES = ("mse", "wlc", "both", "none")
ENDS = (None, ("mse", "unsubscribe_request"), ("either", "bye"), ("wlc", "bye"), ("mse", "alive"))
OPAQUE: dict[str, Any] = {
    "hail": {
        "id": 0x900,
        "sender": "wlc",
        "hex": "aa00000000000000000000",
        "fields": [
            {"name": "transaction", "type": "u16", "offset": 1},
            {"name": "mac", "type": "mac", "offset": 4},
        ],
    },
    "hail_back": {"id": 0x901, "sender": "mse", "hex": "bb", "answers": "hail"},
    "alive": {
        "id": 0x902,
        "sender": "mse",
        "hex": "0000",
        "every": "700ms",
        "fields": [{"name": "counter", "type": "u16", "offset": 0}],
    },
    "bye": {"id": 0x903, "sender": "either", "hex": "", "varies": True},
}
# What each of a piece's choices is.
NEXT, ANY, AGAIN, RAW, BYTES, PAUSE, LEAVE = range(7)
_KIND_NAME = re.compile(r"[a-z]+(_[a-z]+)*")
_MOST_AT_ONCE = 4096


def _document(choices: bytes) -> dict[str, Any]:
    """The profile whose dialogue these choices are: echo and end, and then turns."""
    document = core_document()
    messages = reference_document()["messages"]
    document["messages"] |= {name: messages[name] for name in ("capability_request", "unsubscribe_request")}
    source = Bytes(choices)
    dialogue: dict[str, Any] = {"echo": ECHOES[source.below(len(ECHOES))]}
    if (end := ENDS[source.below(len(ENDS))]) is not None:
        dialogue["end"] = {"sender": end[0], "message": end[1]}
    turns = [TURNS[source.below(len(TURNS))] for _ in range(len(choices) - 2)]
    dialogue["opening"] = [{"sender": sender, "message": message} for sender, message in turns]
    return document | {"dialogue": dialogue, "opaque": OPAQUE}


@lru_cache(512)
def _profile(choices: bytes) -> WireProfile | None:
    """None: it is refused."""
    try:
        return profile_untrusted(_document(choices), "a profile of the fuzz targets")
    except InputError as error:
        assert all(problem.where and problem.expected and problem.found for problem in error.problems)
        return None


class _End:
    """One end, fed as a driver does it, and how much it may hold."""

    def __init__(self, endpoint: Endpoint, codec: Codec) -> None:
        self.endpoint, self.codec = endpoint, codec
        self.receiver = NotifyReceiver(codec.profile, codec.profile.max_frame_bytes + 2 * _MOST_AT_ONCE)
        self.tail = b""
        self.now_ns = 0
        dialogue = endpoint.dialogue
        self.most = len(dialogue.opening) + 4  # frames that one input can bring about
        self.words = dialogue.running | dialogue.endings | {turn.word for turn in dialogue.opening}

    def feed(self, data: bytes) -> None:
        receiver, endpoint, end = self.receiver, self.endpoint, len(self.tail) + len(data)
        receiver.view[:end] = self.tail + data
        frames = len(endpoint.outbox)

        def after(_control: Control, _granted: int) -> None:
            nonlocal frames
            frames += self.most

        heard = hear_untrusted(receiver, endpoint, 0, end, self.now_ns, after)
        receiver.reset()
        if heard.fault is not None:
            raise heard.fault
        assert len(endpoint.outbox) <= frames
        self.tail = bytes(receiver.view[heard.position : end])

    def tend(self) -> None:
        for _ in range(100):
            if self.endpoint.on_timer(self.now_ns) > self.now_ns:
                return
        raise AssertionError("a timer that never gets ahead of the clock")

    def check(self) -> None:
        """What it says is good, and its to say; and what it keeps does not grow."""
        endpoint, profile = self.endpoint, self.codec.profile
        receiver = NotifyReceiver(profile, sum(map(len, endpoint.outbox)))
        receiver.view[:] = b"".join(endpoint.outbox)
        endpoint.outbox.clear()
        position = 0
        while position < receiver.capacity:
            scanned = receiver.scan_untrusted(position, receiver.capacity)
            assert scanned.control is not None
            position, saying = scanned.position, profile.saying_of(scanned.control.msg_id, endpoint.role)
            self.codec.decode_untrusted(scanned.control.msg_id, scanned.control.body, sender=endpoint.role)
            assert saying is not None
            assert (endpoint.role, saying) in self.words
        assert endpoint.granted & ~MASK == 0
        assert len(endpoint.transactions) <= len(endpoint.dialogue.opening)
        assert len(endpoint.heard) + len(endpoint.said) <= 2 * (len(Kind) + len(OPAQUE))


def _frame(source: Bytes, codec: Codec, choice: int, end: _End) -> bytes:
    """The next bytes of the peer. NEXT: what the dialogue expects. ANY: a good frame of whatever message, with any
    transaction. AGAIN: a few times in a row.
    """
    profile, session = codec.profile, end.endpoint.session
    if choice == RAW:
        return raw_frame(profile, source.number(2), source.take(source.below(64)), source.byte())
    if choice == BYTES:
        return source.take(source.below(64))
    turn = session.expected
    if choice == NEXT and turn is not None and turn.sender is end.endpoint.peer:
        saying = turn.saying
        transaction = 7 if turn.answers is None else end.endpoint.transactions[turn.answers]
    else:
        sayings = [*profile.layouts, *profile.opaque]
        saying, transaction = sayings[source.below(len(sayings))], source.byte()
    if isinstance(saying, str):
        frame = codec.encode(Opaque(saying, profile.opaque[saying].body), transaction)
    else:
        frame = codec.encode(sample(profile.layouts[saying]), transaction)
    return frame * (1 + source.below(8) if choice == AGAIN else 1)


def dialogues(data: bytes) -> None:
    """A dialogue is refused with its problems, or both ends play by it whatever the peer does: only a fault of the peer
    comes out, what is said is ours to say, and nothing that is kept grows.

    Data: role and line, how many turns, the dialogue, then pieces and pauses.
    """
    source = Bytes(data)
    first = source.byte()
    profile = _profile(source.take(2 + source.below(7)).ljust(2, b"\0"))
    if profile is None:
        return
    codec, recorder = Codec(profile), Recorder()
    settings = settings_of(codec, recorder)
    endpoint: Endpoint
    over_datagrams = bool(first & 2) and bool(profile.dialogue.opening)
    if first & 1:
        endpoint = (DatagramWlcEndpoint if over_datagrams else WlcEndpoint)(settings, 0)
    else:
        endpoint = (DatagramMseEndpoint if over_datagrams else MseEndpoint)(settings, 0, 0)
    end = _End(endpoint, codec)
    try:
        endpoint.start(0)
        end.tend()
        while source and not endpoint.left:
            choice = source.byte() % 8
            if choice < PAUSE:
                end.feed(_frame(source, codec, choice, end))
            elif choice == LEAVE and endpoint.active:
                endpoint.say_end(end.now_ns)
            else:
                end.now_ns += source.number(2) * NS_PER_MS
            end.tend()
            end.check()
    except RemoteProtocolError as fault:
        assert _KIND_NAME.fullmatch(fault.kind)
        assert str(fault).startswith(f"{fault.kind}: ")
    end.check()
    endpoint.stop(end.now_ns + NS_PER_S)
    endpoint.settle()
    recorder.take(0)
    endpoint.session.close()


_SEEDS = (
    [0, 1, 2, 3, 4],  # the usual one
    [5, 6, 2, 3, 4],  # the WLC first
    [3, 4],
    [7, 2],
    [8, 9, 3, 4],
    [2, 3],
    [],
    [8],
    [4, 3],  # refused
    [3, 3],
)


def dialogues_seeds() -> Iterator[bytes]:
    for turns in _SEEDS:
        for role in range(4):
            for echo, ending in ((0, 0), (1, 1), (2, 2), (3, 3)):
                begin = joined(role, len(turns), echo, ending, *turns)
                yield begin + joined(*([NEXT] * 6), PAUSE, 0x98, 0x3A, ANY, 6, 3, LEAVE, NEXT)
                yield begin + joined(*([NEXT] * 3), AGAIN, 2, 7, 5, RAW, 0, 9, 2, b"ab", 3, PAUSE, 0xFF, 0x7F)
            yield joined(
                role, len(turns), 0, 0, *turns, BYTES, 8, b"\x4e\0\0\x02\0\0\0\x0c", PAUSE, 0, 0x10, ANY, 20, 9
            )
