"""Captures: whatever a file holds, it is read in bounded memory, or refused with the place."""

from __future__ import annotations

from collections.abc import Iterator

from capture_samples import CLIENT_6, SERVER_6, Blocks, Talk, ethernet, fragments, pcap, pcapng, timed
from fuzz_bytes import Bytes, joined

from loadgen.capture.events import Closed, Data, Event, Hole, Opened
from loadgen.capture.reading import events_of
from loadgen.capture.tally import Tally
from loadgen.errors import InputError


def captures(data: bytes) -> None:
    """The first byte: in pieces of how many bytes it is read once more."""
    source = Bytes(data)
    size, captured = 1 + source.byte(), source.rest()
    whole, pieces = _read(captured, len(captured) or 1), _read(captured, size)
    assert whole == pieces


def _read(captured: bytes, size: int) -> tuple[list[object], str, Tally]:
    events: list[Event] = []
    said, tally = "", Tally()
    try:
        events.extend(events_of((captured[at : at + size] for at in range(0, len(captured), size)), tally=tally))
    except InputError as error:
        (problem,) = error.problems
        said = str(problem)
    check(events, tally, ends=not said)
    tally.differing.clear()  # conversations are equal to none but themselves
    return [_plain(event) for event in events], said, tally


def check(events: list[Event], tally: Tally, *, ends: bool) -> None:
    """Of each direction every byte at most once, in order; nothing behind its end, and times that do not go back."""
    opened, ended = 0, set()
    reached: dict[tuple[int, bool], int] = {}
    times: dict[tuple[int, bool], int] = {}
    for event in events:
        if isinstance(event, Opened):
            assert event.conversation.index == opened
            opened += 1
            continue
        way = (event.conversation.index, event.of_client)
        assert way not in ended
        assert event.ns >= times.get(way, event.ns)
        times[way] = event.ns
        if isinstance(event, Closed):
            ended.add(way)
            continue
        assert event.offset == reached.get(way, 0)
        size = len(event.data) if isinstance(event, Data) else event.length
        assert size != 0
        reached[way] = event.offset + (size or 0)
    assert opened == tally.conversations
    assert not ends or ended == {(at, side) for at in range(opened) for side in (True, False)}
    assert tally.missing == sum(event.length or 0 for event in events if isinstance(event, Hole))


def _plain(event: Event) -> object:
    one = event.conversation
    rest = () if isinstance(event, Opened) else (event.of_client, event.ns, getattr(event, "data", None))
    return (type(event), one.index, one.client, one.server, one.began_ns, *rest)


def captures_seeds() -> Iterator[bytes]:
    one = Talk("seed", count=6, most=30)
    one.bye()
    shuffled = [*one.parts[3:7], one.parts[4], *one.parts[:3], *one.parts[8:]]
    yield joined(40, pcapng(timed(one.parts)))
    yield joined(40, pcap(timed(one.parts), exact=False, order=">"))
    yield joined(40, pcap(timed(one.parts), most=60))
    yield joined(7, pcapng(timed(shuffled)))
    raw = [piece for at, part in enumerate(one.parts) for piece in fragments(part.packet, 24, at)]
    yield joined(100, pcapng([(at, piece) for at, piece in enumerate(raw)], link=101))
    other = Talk("seed", client=CLIENT_6, server=SERVER_6, count=4, most=30)
    blocks = Blocks(">")
    blocks.secrets(b"CLIENT_RANDOM")
    blocks.interface(1, 128 + 20, 1_700_000_000)
    for at, part in enumerate(other.parts):
        blocks.packet(1_800_000_000_000_000_000 + at, ethernet(part.packet, vlans=[(0x8100, 7)]))
    blocks.section("<")
    blocks.interface(101, 12)
    for at, part in enumerate(one.parts):
        if at % 2:
            blocks.simple(part.packet)
        else:
            blocks.old_packet(at, part.packet)
    yield joined(255, bytes(blocks.data))
