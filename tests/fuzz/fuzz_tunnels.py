"""TLS of captures: whatever is changed, parted or missing, nothing is given that was not said, and nobody waits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from fuzz_bytes import Bytes, joined
from tls_by_hand import ALERT, DATA, FINISHED, HANDSHAKE, KEY_UPDATE, Tls12, Tls13

from loadgen.capture.events import Closed, Conversation, Data, Event, Hole, How, Opened
from loadgen.capture.keylog import TunnelKeys
from loadgen.capture.tls import decrypted

_SAID = [b"notification %d" % number for number in range(6)]


def _new() -> Tls13:
    session = Tls13("fuzz").next_key(False, FINISHED).next_key(True, FINISHED)
    for number, text in enumerate(_SAID):
        session.say(number % 2 == 0, DATA, text, padding=number)
        if number == 2:
            session.next_key(False, KEY_UPDATE)
    session.say(False, HANDSHAKE, b"\4\0\0\1t")
    return session.say(True, ALERT, b"\1\0")


def _old(name: str, *, gcm: bool, mac_after: bool = False) -> Tls12:
    session = Tls12(name, gcm=gcm, mac_after=mac_after).start(True).start(False)
    for number, text in enumerate(_SAID):
        session.say(number % 2 == 0, DATA, text)
    return session.say(False, ALERT, b"\2\x28")


_SESSIONS = [_new(), _old("gcm", gcm=True), _old("cbc", gcm=False), _old("etm", gcm=False, mac_after=True)]
_KEYS = TunnelKeys(b"".join(session.keylog for session in _SESSIONS))
# What a piece is: of the client, of the server; a hole in either; with a place to go on from, or without one.
_DATA, _HOLE, _END, _KINDS = 0, 1, 2, 3


def tunnels(data: bytes) -> None:
    """Pieces: what it is and of whom; of data how many bytes, and these; of a hole how long it is."""
    source = Bytes(data)
    of = Conversation(0, ("192.0.2.1", 40001), ("192.0.2.7", 16113), 0)
    given: list[Event] = [Opened(of)]
    offsets, ended = {True: 0, False: 0}, set[bool]()
    while source:
        kind, of_client = divmod(source.below(2 * _KINDS), 2)
        way, ns = bool(of_client), len(given)
        size = source.number(2)
        if way in ended:
            continue
        if kind == _DATA and (piece := source.take(size)):
            given.append(Data(of, way, offsets[way], ns, piece))
            offsets[way] += len(piece)
        elif kind == _HOLE:
            given.append(Hole(of, way, offsets[way], size or None, ns))
            offsets[way] += size
        elif kind == _END:
            ended.add(way)
            given.append(Closed(of, way, ns, How.FIN))
    given += [Closed(of, way, len(given), How.CUT) for way in (True, False) if way not in ended]
    read, whys = _read(given)
    if read == given:
        assert not whys
        return
    _check(read)
    halves = [half for event in given for half in _halves(event)]
    again, _ = _read(halves)
    assert _shape(again) == _shape(read)


def _read(given: list[Event]) -> tuple[list[Event], list[str]]:
    undecrypted: list = []
    return list(decrypted(given, _KEYS, undecrypted)), [str(why) for why in undecrypted]


def _halves(event: Event) -> list[Event]:
    if not isinstance(event, Data) or len(event.data) < 2:
        return [event]
    cut = len(event.data) // 2
    return [
        Data(event.conversation, event.of_client, event.offset + start, event.ns, event.data[start:end])
        for start, end in pairwise((0, cut, len(event.data)))
    ]


def _check(read: list[Event]) -> None:
    """In order, to one end; of what was said, all that there is was said like that, and in that order."""
    reached, ended = {True: 0, False: 0}, set[bool]()
    assert isinstance(read[0], Opened)
    for event in read[1:]:
        assert not isinstance(event, Opened)
        assert event.of_client not in ended
        if isinstance(event, Closed):
            ended.add(event.of_client)
            continue
        assert event.offset == reached[event.of_client]
        if isinstance(event, Data):
            assert event.data in _SAID
        reached[event.of_client] += len(event.data) if isinstance(event, Data) else event.length or 0
    assert ended == {True, False}
    for way in (True, False):
        said = [_SAID.index(event.data) for event in read if isinstance(event, Data) and event.of_client == way]
        assert said == sorted(set(said))


def _shape(read: list[Event]) -> list[object]:
    """Direction by direction: where both cannot be read, it may be the one or the other that shows it first."""
    return [
        [
            (type(event), getattr(event, "data", None), getattr(event, "length", None))
            for event in read[1:]
            if is_of(event)
        ]
        for is_of in (lambda event: event.of_client, lambda event: not event.of_client)
    ]


def tunnels_seeds() -> Iterator[bytes]:
    for session in _SESSIONS:
        yield joined(*(part for way, data in session.wire for part in _piece(way, data)))
    wire = _SESSIONS[0].wire
    yield joined(*(part for way, data in wire[:9] for part in _piece(way, data)), 2 * _HOLE, 200, 0, *_piece(*wire[11]))
    cut = [(way, data[:20]) if at == 6 else (way, data) for at, (way, data) in enumerate(_SESSIONS[1].wire)]
    pieces = [_piece(way, data) for way, data in cut]
    missing = len(_SESSIONS[1].wire[6][1]) - 20
    pieces.insert(7, [2 * _HOLE + _SESSIONS[1].wire[6][0], missing, 0])
    yield joined(*(part for piece in pieces for part in piece), 2 * _END, 0, 0)


def _piece(way: bool, data: bytes) -> list[int | bytes]:
    return [2 * _DATA + way, len(data) & 255, len(data) >> 8, data]
