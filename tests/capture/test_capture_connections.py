"""Connections out of segments that come twice, late, cut anew, in another order, or not at all."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from capture_samples import (
    ACK,
    BEGAN_NS,
    CLIENT,
    CLIENT_6,
    FIN,
    PSH,
    RST,
    SERVER,
    SERVER_6,
    STEP_NS,
    SYN,
    Blocks,
    Part,
    Talk,
    ethernet,
    fragments,
    holes_in,
    ip,
    pcap,
    pcapng,
    read,
    said_in,
    tcp,
    timed,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.capture.connections import Connections
from loadgen.capture.events import Closed, Data, Event, Hole, How, Opened
from loadgen.capture.network import Segment
from loadgen.capture.reading import events_of
from loadgen.capture.streams import collect
from loadgen.capture.tally import Tally


def talk(seed: object = 0, **arguments: object) -> Talk:
    made = Talk(seed, **arguments)  # type: ignore[arg-type]
    made.bye()
    return made


def swapped(parts: list[Part], at: int, other: int) -> list[Part]:
    changed = list(parts)
    changed[at], changed[other] = changed[other], changed[at]
    return changed


def inserted(parts: list[Part], at: int, part: Part) -> list[Part]:
    return [*parts[:at], part, *parts[at:]]


def without(parts: list[Part], *places: int) -> list[Part]:
    return [part for at, part in enumerate(parts) if at not in places]


def closes(events: list[Event]) -> list[tuple[bool, How]]:
    return [(event.of_client, event.how) for event in events if isinstance(event, Closed)]


BOTH_FIN = [(True, How.FIN), (False, How.FIN)]
BOTH_CUT = [(True, How.CUT), (False, How.CUT)]


# -- one trap each -----------------------------------------------------------------------------------------------------

# What is done to the packets of a conversation, all of whose bytes are there.
TRAPS: dict[str, Callable[[Talk], list[Part]]] = {
    "plain": lambda one: one.parts,
    "out of order": lambda one: swapped(swapped(one.parts, *one.of(True)[7:9]), *one.of(False)[9:11]),
    "far out of order": lambda one: swapped(one.parts, one.of(False)[2], one.of(False)[12]),
    "first two swapped": lambda one: swapped(one.parts, *one.of(True)[:2]),
    "SYN and its answer swapped": lambda one: swapped(one.parts, 0, 1),
    "SYN behind the data": lambda one: [*one.parts[3:6], *one.parts[:3], *one.parts[6:]],
    "sent again": lambda one: inserted(one.parts, one.of(True)[6] + 1, one.parts[one.of(True)[6]]),
    "sent again late": lambda one: inserted(one.parts, one.of(True)[12], one.parts[one.of(True)[3]]),
    "sent again behind the FIN": lambda one: [*one.parts, one.parts[one.of(True)[-1]]],
    "everything twice": lambda one: [part for part in one.parts for _ in range(2)],
    "everything again": lambda one: [*one.parts[:-2], *one.parts],
    "SYN again": lambda one: inserted(one.parts, 10, one.parts[0]),
    "acknowledged only": lambda one: inserted(one.parts, 10, one.part(True, len(one.said[True]), ACK, b"")),
}


@pytest.mark.parametrize("ends", [(CLIENT, SERVER), (CLIENT_6, SERVER_6)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("name", TRAPS)
def test_traps_of_which_nothing_is_missing(name: str, ends: tuple[tuple[str, int], tuple[str, int]]) -> None:
    one = talk(name, client=ends[0], server=ends[1])
    tally = Tally()
    events = read(pcapng(timed(TRAPS[name](one))), tally=tally)
    opened = [event.conversation for event in events if isinstance(event, Opened)]
    assert [(each.client, each.server, each.began_ns) for each in opened] == [(*ends, BEGAN_NS)]
    assert said_in(events) == one.said
    assert closes(events) == BOTH_FIN
    assert holes_in(events) == []
    assert (tally.conversations, tally.missing, tally.copies_differ, tally.strays) == (1, 0, 0, 0)


MIDSTREAM: dict[str, Callable[[Talk], list[Part]]] = {
    "plain": lambda one: one.parts[3:-2],
    "first two of the client swapped": lambda one: swapped(one.parts, *one.of(True)[:2])[3:-2],
    "first two of the server swapped": lambda one: swapped(one.parts, *one.of(False)[:2])[3:-2],
    "first three turned round": lambda one: swapped(one.parts, one.of(True)[0], one.of(True)[2])[3:-2],
    "keep-alive first": lambda one: [one.part(True, -1, ACK, b"\x00"), *one.parts[3:-2]],
}


@pytest.mark.parametrize("first", [(1000, 5000), (2**32 - 1200, 2**32 - 700), (2**31 - 50, 0)])
@pytest.mark.parametrize("name", MIDSTREAM)
def test_a_conversation_whose_beginning_was_not_captured(name: str, first: tuple[int, int]) -> None:
    one = talk(name, first=first)
    events = read(pcapng(timed(MIDSTREAM[name](one))))
    assert said_in(events) == one.said
    assert holes_in(events) == []
    assert closes(events) == BOTH_CUT
    assert [event.conversation.client for event in events if isinstance(event, Opened)] == [CLIENT]


@pytest.mark.parametrize(
    ("client", "server", "by_client"),
    [
        (CLIENT, SERVER, True),
        (CLIENT, SERVER, False),
        (("192.0.2.1", 9), SERVER, False),  # the port says it, not which is lower
        (("192.0.2.1", 9), ("192.0.2.7", 8), True),  # the lower port
        (("192.0.2.1", 9), ("192.0.2.7", 8), False),
    ],
)
def test_which_end_is_the_client_where_no_syn_says_it(
    client: tuple[str, int], server: tuple[str, int], by_client: bool
) -> None:
    one = Talk(0, client=client, server=server, count=0)
    one.say(by_client, b"first")
    one.say(not by_client, b"second")
    ((exchange),) = collect(read(pcapng(timed(one.parts[3:]))))
    assert (exchange.conversation.client, exchange.conversation.server) == (client, server)
    assert bytes(exchange.client.runs[0][1]) == (b"first" if by_client else b"second")


def test_a_port_of_ones_own() -> None:
    one = Talk(0, client=("192.0.2.1", 100), server=("192.0.2.7", 2000), count=5)
    captured = pcapng(timed(one.parts[3:]))
    for port, client in ((2000, "192.0.2.1"), (100, "192.0.2.7"), (16113, "192.0.2.7")):
        opened = next(iter(events_of([captured], port=port)))
        assert opened.conversation.client[0] == client


@pytest.mark.parametrize("first", [(2**32 - 1, 2**32 - 2), (2**32 - 3000, 2**32 - 900), (2**31 - 10, 2**31 - 1)])
@pytest.mark.parametrize("syn", [True, False])
def test_sequence_numbers_wrap(first: tuple[int, int], syn: bool) -> None:
    one = talk(1, first=first)
    places = one.of(True)
    parts = one.parts
    for at, other in zip(places[2:9:2], places[3:10:2], strict=True):
        parts = swapped(parts, at, other)
    events = read(pcapng(timed(parts if syn else parts[3:])))
    assert said_in(events) == one.said
    assert holes_in(events) == []


def test_a_stream_of_more_than_all_sequence_numbers() -> None:
    """4.5 GB, of which the capture has a byte of each 64 KiB or so: holes are as long as they are."""
    tally = Tally()
    connections = Connections(16113, tally)
    flow = bytes((192, 0, 2, 1, 192, 0, 2, 7)) + (40001).to_bytes(2, "big") + (16113).to_bytes(2, "big")
    back = bytes((192, 0, 2, 7, 192, 0, 2, 1)) + (16113).to_bytes(2, "big") + (40001).to_bytes(2, "big")
    events = connections.receive(Segment(BEGAN_NS, flow, 100, 0, SYN, b"", 0))
    events += connections.receive(Segment(BEGAN_NS, back, 5, 101, SYN | ACK, b"", 0))
    count, length = 1200, 3_750_000
    for at in range(count):
        ns, start = BEGAN_NS + at * 2 * 10**9, at * length
        events += connections.receive(Segment(ns, flow, (101 + start) % 2**32, 6, PSH | ACK, b"x" * 16, length))
        events += connections.receive(Segment(ns, back, 6, (101 + start + length) % 2**32, ACK, b"", 0))
    events += connections.finish()
    assert [(each.offset, each.data) for each in events if isinstance(each, Data)] == [
        (at * length, b"x" * 16) for at in range(count)
    ]
    assert holes_in(events) == [(True, at * length + 16, length - 16) for at in range(count)]
    assert count * length > 1 << 32


# -- other cuts, other copies ------------------------------------------------------------------------------------------


def test_a_segment_sent_again_with_others_that_follow() -> None:
    """From the middle of one to the middle of the next, which is new there."""
    one = talk()
    places = one.of(True)
    part, after = one.parts[places[8]], one.parts[places[9]]
    assert part.offset is not None
    assert after.offset is not None
    again = one.again(True, part.offset + len(part.data) // 2, after.offset + len(after.data) // 2)
    tally = Tally()
    events = read(pcapng(timed(inserted(one.parts, places[8] + 1, again))), tally=tally)
    assert said_in(events) == one.said
    assert tally.copies_differ == 0


def test_a_lost_segment_comes_with_those_behind_it() -> None:
    one = talk()
    places = one.of(False)[5:8]
    start, end = one.parts[places[0]], one.parts[places[2]]
    assert start.offset is not None
    assert end.offset is not None
    again = one.again(False, start.offset, end.offset + len(end.data))
    parts = without(inserted(one.parts, places[2] + 1, again), places[0])
    events = read(pcapng(timed(parts)))
    assert said_in(events) == one.said
    assert holes_in(events) == []
    # What waited for it is whole when it comes.
    came_ns = BEGAN_NS + places[2] * STEP_NS
    (whole,) = [each for each in events if isinstance(each, Data) and each.offset == end.offset and not each.of_client]
    assert whole.ns == came_ns


def test_of_copies_that_differ_the_first_counts_and_the_place_is_noted() -> None:
    one = talk()
    places = one.of(True)
    part, late = one.parts[places[5]], one.parts[places[7]]
    assert part.offset is not None
    assert late.offset is not None
    other = bytes(255 - byte for byte in part.data)
    # Of bytes that were given out, and of some that wait for those before.
    parts = inserted(one.parts, places[5] + 1, one.part(True, part.offset, PSH | ACK, other))
    waiting = [*parts[: places[7] + 1], parts[places[7] + 1], one.part(True, late.offset, PSH | ACK, b"\x00" * 5)]
    held = one.part(True, len(one.said[True]) - 1, PSH | ACK, bytes((255 - one.said[True][-1],)))
    last = one.again(True, len(one.said[True]) - 1, len(one.said[True]))
    tally = Tally()
    # The last byte comes first in its right form, then in another one, and then all before it.
    begin, rest = waiting, parts[places[7] + 2 :]
    events = read(pcapng(timed([*begin, last, held, *rest])), tally=tally)
    assert said_in(events) == one.said
    assert tally.copies_differ == 3
    assert [(each.of_client, each.offset) for each in tally.differing] == [
        (True, part.offset),
        (True, late.offset),
        (True, len(one.said[True]) - 1),
    ]


@pytest.mark.parametrize("flags", [ACK, PSH | ACK])
def test_a_keep_alive_has_a_byte_that_is_any(flags: int) -> None:
    """The last byte that the other end has, and it may be another one."""
    one = talk()
    at = one.of(True)[10]
    part = one.parts[at]
    assert part.offset is not None
    wrong = bytes((255 - one.said[True][part.offset - 1],))
    tally = Tally()
    events = read(pcapng(timed(inserted(one.parts, at, one.part(True, part.offset - 1, flags, wrong)))), tally=tally)
    assert said_in(events) == one.said
    assert holes_in(events) == []


def test_a_keep_alive_fills_no_hole() -> None:
    """The last segment before a silence is not in the capture: its last byte, sent again as any, is not it."""
    one = Talk(3, count=0)
    one.say(True, b"first")
    one.say(True, b"second")
    one.parts.append(one.part(False, 0, ACK, b""))
    one.parts.append(one.part(True, len(b"first") + len(b"second") - 1, ACK, b"\x00"))
    one.say(True, b"third")
    events = read(pcapng(timed(without(one.parts, 4))))
    assert said_in(events) == [b"", b"firstthird"]
    assert holes_in(events) == [(True, 5, 6)]


# -- holes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of_client", [True, False])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("syn", [True, False])
def test_what_is_missing_is_a_hole_and_the_stream_goes_on_behind_it(of_client: bool, count: int, syn: bool) -> None:
    one = talk(2)
    places = one.of(of_client)[6 : 6 + count]
    start = one.parts[places[0]].offset
    assert start is not None
    end = start + sum(len(one.parts[at].data) for at in places)
    parts = without(one.parts, *places)
    tally = Tally()
    events = read(pcapng(timed(parts if syn else parts[3:])), tally=tally)
    said = list(one.said)
    said[of_client] = said[of_client][:start] + said[of_client][end:]
    assert said_in(events) == said
    assert holes_in(events) == [(of_client, start, end - start)]
    # Without a SYN, where the stream begins is not certain before the capture ends: by then, what waited has ended.
    assert {*closes(events)} == {*BOTH_FIN}
    assert tally.missing == end - start
    (exchange,) = collect(events)
    stream = exchange.client if of_client else exchange.server
    assert [offset for offset, _ in stream.runs] == [0, end]


def test_a_hole_at_the_beginning_is_known_by_the_syn() -> None:
    one = talk(2)
    at = one.of(False)[0]
    size = len(one.parts[at].data)
    events = read(pcapng(timed(without(one.parts, at))))
    assert said_in(events) == [one.said[False][size:], one.said[True]]
    assert holes_in(events) == [(False, 0, size)]


def test_the_answer_to_a_syn_tells_where_both_streams_begin() -> None:
    one = talk(2)
    at = one.of(True)[0]
    size = len(one.parts[at].data)
    events = read(pcapng(timed(without(one.parts, 0, at))))
    assert holes_in(events) == [(True, 0, size)]
    assert [event.conversation.client for event in events if isinstance(event, Opened)] == [CLIENT]


def test_a_hole_at_the_end_is_known_by_the_fin() -> None:
    one = talk(2)
    at = one.of(True)[-1]
    size = len(one.parts[at].data)
    events = read(pcapng(timed(without(one.parts, at))))
    assert holes_in(events) == [(True, len(one.said[True]) - size, size)]
    assert sorted(closes(events)) == sorted(BOTH_FIN, key=lambda each: each[0])


def test_what_the_other_end_acknowledged_is_missing_where_no_fin_says_how_much() -> None:
    one = Talk(2)
    at = one.of(True)[-1]
    one.parts.append(one.part(False, len(one.said[False]), ACK, b""))
    events = read(pcapng(timed(without(one.parts, at))))
    assert holes_in(events) == [(True, len(one.said[True]) - len(one.parts[at].data), None)]
    assert closes(events) == BOTH_CUT


def test_an_acknowledged_fin_is_no_byte() -> None:
    one = talk(2)
    one.said = [each + b"?" for each in one.said]  # what they acknowledge
    parts = [*one.parts[:-2], one.part(False, len(one.said[False]) - 1, ACK, b"")]
    assert holes_in(read(pcapng(timed(parts)))) == []


def test_a_hole_is_waited_for_until_the_other_end_has_it_and_goes_on() -> None:
    """Not acknowledged: it is sent again, however late. Acknowledged: a second later, it is not."""
    for is_acknowledged in (False, True):
        one = Talk(4, count=0)
        for at in range(5):
            one.say(True, b"%d" % at * 100)
        lost, *others = one.parts[3:]
        sent = [(BEGAN_NS + at, part) for at, part in enumerate([*one.parts[:3], *others])]
        if not is_acknowledged:
            one.said[True] = b""
        sent += [(BEGAN_NS + s * 10**9, one.part(False, 0, ACK, b"")) for s in (1, 2, 500)]
        sent.append((BEGAN_NS + 501 * 10**9, lost))
        events = read(pcapng([(ns, ethernet(part.packet)) for ns, part in sent]))
        if is_acknowledged:
            assert holes_in(events) == [(True, 0, 100)]
            assert [each.ns for each in events if isinstance(each, Data)] == [BEGAN_NS + at for at in range(3, 7)]
        else:
            assert holes_in(events) == []
            assert said_in(events)[True] == b"".join(b"%d" % at * 100 for at in range(5))


def test_one_direction_alone() -> None:
    """Nothing is acknowledged: a minute later, what is missing is missing."""
    one = Talk(4, count=0)
    for at in range(6):
        one.say(True, b"%d" % at * 100)
    parts = without(one.parts[3:], 2)
    sent = [(BEGAN_NS + at * 10**9, ethernet(part.packet)) for at, part in enumerate(parts)]
    before = read(pcapng(sent[:4]))
    assert [each.offset for each in before if isinstance(each, Data)] == [0, 100, 300, 400]
    late = [*sent[:-1], (BEGAN_NS + 70 * 10**9, sent[-1][1])]
    events = read(pcapng(late))
    assert holes_in(events) == [(True, 200, 100)]


def test_what_the_snapshot_length_cut_is_a_hole() -> None:
    one = talk(5, most=900)
    tally = Tally()
    events = read(pcap(timed(one.parts), most=300), tally=tally)
    headers = 54
    expected = [
        (part.of_client, part.offset + 300 - headers, len(part.data) - 300 + headers)
        for part in one.parts
        if part.offset is not None and len(part.data) > 300 - headers
    ]
    assert expected
    assert sorted(holes_in(events)) == sorted(expected)
    assert tally.cut == len(expected)
    for exchange in collect(events):
        for stream, said in ((exchange.client, one.said[True]), (exchange.server, one.said[False])):
            assert all(said[offset : offset + len(run)] == run for offset, run in stream.runs)
            assert len(stream) + sum(length or 0 for _, length in stream.holes) == len(said)


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_new_syn_on_the_same_ports_is_another_conversation() -> None:
    first, second, third = talk(6), talk(7, first=(9_000_000, 7_000)), Talk(8, first=(50_000, 40))
    tally = Tally()
    events = read(pcapng(timed([*first.parts, *second.parts, *third.parts])), tally=tally)
    for at, one in enumerate((first, second, third)):
        assert said_in(events, at) == one.said
    assert closes(events) == [*BOTH_FIN, *BOTH_FIN, *BOTH_CUT]
    assert tally.conversations == 3


def test_a_connection_that_is_taken_over_by_a_new_one_was_cut() -> None:
    first, second = Talk(6), talk(7, first=(9_000_000, 7_000))
    events = read(pcapng(timed([*first.parts, *second.parts])))
    assert (said_in(events, 0), said_in(events, 1)) == (first.said, second.said)
    assert closes(events) == [*BOTH_CUT, *BOTH_FIN]


def test_the_same_initial_numbers_after_the_end_are_another_conversation() -> None:
    first, second = talk(6), talk(7)
    events = read(pcapng(timed([*first.parts, *second.parts])))
    assert (said_in(events, 0), said_in(events, 1)) == (first.said, second.said)


def test_another_connection_whose_syn_was_not_captured() -> None:
    """Numbers of a window far away: it goes on as a conversation of its own, some segments later."""
    first, second = Talk(6), talk(7, first=(3_000_000_000, 2_900_000_000))
    tally = Tally()
    events = read(pcapng(timed([*first.parts, *second.parts[3:]])), tally=tally)
    assert said_in(events, 0) == first.said
    assert tally.strays >= 8
    for side in (False, True):
        assert second.said[side].endswith(said_in(events, 1)[side])
        assert len(said_in(events, 1)[side]) > len(second.said[side]) // 3


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_another_connection_behind_one_that_ended(how: str) -> None:
    """Its SYN was not captured either."""
    first, second = Talk(6), talk(7, first=(1_000_000, 4_000_000))
    if how == "fin":
        first.bye()
    else:
        first.parts.append(first.part(True, len(first.said[True]), RST | ACK, b""))
    tally = Tally()
    events = read(pcapng(timed([*first.parts, *second.parts[3:]])), tally=tally)
    assert said_in(events, 0) == first.said
    assert tally.conversations == 2
    assert tally.ended >= 8
    for side in (False, True):
        assert second.said[side].endswith(said_in(events, 1)[side])
        assert len(said_in(events, 1)[side]) > len(second.said[side]) // 3


def test_strays_do_not_take_a_conversation_along() -> None:
    one = talk(6)
    strays = [one.part(True, 2_000_000_000 + at * 7, PSH | ACK, b"stray") for at in range(7)]
    tally = Tally()
    events = read(pcapng(timed([*one.parts[:9], *strays, *one.parts[9:]])), tally=tally)
    assert said_in(events) == one.said
    assert tally.strays == 7


@pytest.mark.parametrize("of_client", [True, False])
def test_a_reset_ends_both_directions(of_client: bool) -> None:
    one = Talk(6)
    one.parts.append(one.part(of_client, len(one.said[of_client]), RST | ACK, b""))
    events = read(pcapng(timed(one.parts)))
    assert closes(events) == [(True, How.RESET), (False, How.RESET)]
    assert said_in(events) == one.said


def test_a_refused_connection() -> None:
    one = Talk(6, count=0)
    refusal = Part(ip(SERVER, CLIENT, tcp(SERVER, CLIENT, 0, one.first[1] + 1, RST | ACK, b"")), False)
    events = read(pcapng(timed([one.parts[0], refusal])))
    assert closes(events) == [(True, How.RESET), (False, How.RESET)]


def test_a_reset_of_other_numbers_is_not_obeyed() -> None:
    one = talk(6)
    forged = one.part(True, 2_000_000_000, RST, b"")
    events = read(pcapng(timed(inserted(one.parts, 9, forged))))
    assert said_in(events) == one.said
    assert closes(events) == BOTH_FIN


def test_one_direction_goes_on_after_the_end_of_the_other() -> None:
    one = Talk(6)
    one.parts.append(one.part(True, len(one.said[True]), FIN | ACK, b""))
    one.say(False, b"and this")
    one.parts.append(one.part(False, len(one.said[False]), FIN | ACK, b""))
    events = read(pcapng(timed(one.parts)))
    assert said_in(events) == one.said
    assert closes(events) == BOTH_FIN


def test_data_with_the_syn_and_with_the_fin() -> None:
    one = Talk(6, count=0)
    one.parts[0] = one.part(True, -1, SYN, b"early")
    one.said[True] = b"early"
    one.parts.append(one.part(True, 5, FIN | PSH | ACK, b"late"))
    events = read(pcapng(timed(one.parts)))
    assert said_in(events)[True] == b"earlylate"
    assert closes(events)[0] == (True, How.FIN)


def test_what_comes_behind_an_end_is_counted() -> None:
    one = talk(6)
    tally = Tally()
    read(pcapng(timed([*one.parts, one.part(True, len(one.said[True]) + 1, PSH | ACK, b"ghost")])), tally=tally)
    assert tally.ended == 1


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_what_waits_of_one_direction_is_bounded() -> None:
    """A byte is missing, and 20 MB come behind it that the other end never acknowledges."""
    one = Talk(0, count=0)
    tally = Tally()
    connections, events = Connections(16113, tally), list[Event]()
    flow = bytes((192, 0, 2, 1, 192, 0, 2, 7)) + (40001).to_bytes(2, "big") + (16113).to_bytes(2, "big")
    connections.receive(Segment(BEGAN_NS, flow, one.first[1], 0, SYN, b"", 0))
    most = 0
    for at in range(20_000):
        events += connections.receive(Segment(BEGAN_NS, flow, 5002 + at * 1000, 0, PSH | ACK, bytes(1000), 1000))
        most = max(most, connections._memory.waiting)
    assert most < 5_000_000
    assert holes_in(events) == [(True, 0, 1)]
    assert sum(len(each.data) for each in events if isinstance(each, Data)) == 20_000_000


def test_what_waits_of_all_directions_is_bounded() -> None:
    tally = Tally()
    connections, holes = Connections(16113, tally), 0
    most = 0
    for at in range(3000):
        flow = bytes((10, 1, at >> 8, at & 255, 192, 0, 2, 7)) + (40001).to_bytes(2, "big") + (16113).to_bytes(2, "big")
        connections.receive(Segment(BEGAN_NS, flow, 1, 0, SYN, b"", 0))
        for part in range(30):
            events = connections.receive(Segment(BEGAN_NS, flow, 3 + part * 1000, 0, PSH | ACK, bytes(1000), 1000))
            holes += sum(isinstance(event, Hole) for event in events)
            most = max(most, connections._memory.waiting)
    assert most <= (1 << 26) + 2000
    assert 900 < holes < 3000


def test_conversations_at_once_are_bounded() -> None:
    """A scan by 50,000 addresses; the tunnel beside it lives."""
    one = talk(6)
    tally, events = Tally(), list[Event]()
    connections = Connections(16113, tally)
    scanned, ns = 0, BEGAN_NS
    for part in one.parts:
        ns += 1
        events += connections.receive(segment_of(ns, part.packet))
        for _ in range(50_000 // len(one.parts)):
            scanned, ns = scanned + 1, ns + 1
            flow = (10 << 24 | scanned).to_bytes(4, "big") + bytes((192, 0, 2, 7)) + b"\x9c\x41\x3e\xf1"
            connections.receive(Segment(ns, flow, 1, 0, SYN, b"", 0))
        assert len(connections._flows) <= 2 * (1 << 15) + 2
    assert said_in(events) == one.said
    assert holes_in(events) == []
    assert tally.evicted > 16_000


def segment_of(ns: int, raw: bytes) -> Segment:
    """Of an IPv4 packet without options."""
    size = (raw[32] >> 4) * 4
    numbers = (int.from_bytes(raw[at : at + 4], "big") for at in (24, 28))
    return Segment(ns, raw[12:24], *numbers, raw[33], raw[20 + size :], len(raw) - 20 - size)


# -- anything ----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    first=st.tuples(*[st.sampled_from([0, 1000, 2**31 - 700, 2**32 - 1, 2**32 - 700])] * 2),
    most=st.sampled_from([1, 20, 900]),
    window=st.integers(0, 8),
    again=st.floats(0, 0.5),
    lost=st.sampled_from([0, 0, 0.05, 0.3]),
    syn=st.booleans(),
)
def test_any_segmentation_order_and_repetition_gives_the_same_bytes(
    seed: int, first: tuple[int, int], most: int, window: int, again: float, lost: float, syn: bool
) -> None:
    """And of what is lost, just that is missing."""
    rng = random.Random(seed)
    one = Talk(seed, first=first, most=most, count=40)
    parts = list(one.parts if syn else one.parts[3:])
    for side in (True, False):
        for _ in range(int(again * 20)):  # sent again, cut anew
            if len(one.said[side]):
                start = rng.randrange(len(one.said[side]))
                part = one.again(side, start, start + rng.randint(1, 2 * most))
                parts.insert(rng.randint(3 if syn else 0, len(parts)), part)
        parts += [part for part in parts if rng.random() < again / 4 and part.data]
    order = sorted(range(len(parts)), key=lambda at: at + (rng.uniform(0, window) if not syn or at > 2 else 0))
    parts = [parts[at] for at in order]
    parts = [part for part in parts if not part.data or rng.random() >= lost]

    events = read(pcapng(timed(parts)), rng.choice([100, 1 << 20]))
    assert sum(isinstance(event, Opened) for event in events) <= 1
    for exchange in collect(events):
        for side, stream in ((True, exchange.client), (False, exchange.server)):
            there = sorted({at for part in parts if part.of_client == side and part.data for at in covered(part)})
            base = there[0] if there and not syn else 0
            found = {}
            for offset, run in stream.runs:
                found |= {base + offset + at: byte for at, byte in enumerate(run)}
            assert found == {at: one.said[side][at] for at in there}
            missing = {base + offset + at for offset, length in stream.holes for at in range(length or 0)}
            assert missing == ({*range(base, there[-1] + 1)} - {*there} if there else set())


def covered(part: Part) -> range:
    assert part.offset is not None
    return range(part.offset, part.offset + len(part.data))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_segments_at_all(data: st.DataObject) -> None:
    """Of few numbers, so that they meet: every byte at most once, in order, and every direction closes once."""
    rng = random.Random(data.draw(st.integers(0, 1 << 30)))
    tally = Tally()
    connections, events = Connections(16113, tally), list[Event]()
    flows = [b"\x0a\x00\x00\x01\x0a\x00\x00\x02\x9c\x41\x3e\xf1", b"\x0a\x00\x00\x02\x0a\x00\x00\x01\x3e\xf1\x9c\x41"]
    if rng.random() < 0.1:
        flows = [b"\x0a\x00\x00\x01\x0a\x00\x00\x01\x3e\xf1\x3e\xf1"]  # to itself
    spread = rng.choice([30, 1000, 1 << 32])
    ns = 0
    for _ in range(rng.randint(1, 200)):
        ns += rng.choice([0, 1, 10**6, 10**9, -(10**8), 10**11])
        length = rng.choice([0, 0, 1, 5, 20])
        captured = rng.randbytes(rng.choice([length, length // 2]))
        flags = rng.choice([ACK, ACK, PSH | ACK, SYN, SYN | ACK, FIN | ACK, RST, rng.randrange(256)])
        numbers = (rng.randrange(spread) % (1 << 32), rng.randrange(spread) % (1 << 32))
        events += connections.receive(Segment(ns, rng.choice(flows), *numbers, flags, captured, length))
    events += connections.finish()
    assert connections._memory.waiting == 0
    reached: dict[tuple[int, bool], int] = {}
    ended: set[tuple[int, bool]] = set()
    times: dict[tuple[int, bool], int] = {}
    for event in events:
        if isinstance(event, Opened):
            continue
        way = (event.conversation.index, event.of_client)
        assert way not in ended
        if isinstance(event, Closed):
            ended.add(way)
            continue
        assert event.offset == reached.get(way, 0)
        assert event.ns >= times.get(way, -1 << 63)
        times[way] = event.ns
        length = len(event.data) if isinstance(event, Data) else event.length or 0
        assert length or (isinstance(event, Hole) and event.length is None)
        reached[way] = event.offset + length
    assert ended == {(at, side) for at in range(tally.conversations) for side in (True, False)}


def test_two_interfaces_with_a_direction_each() -> None:
    """Another resolution and link type each; the second direction is behind the first in the file."""
    one = talk(9)
    blocks = Blocks(">")
    blocks.interface(1, 9)
    blocks.interface(101, 6)
    for side in (True, False):
        for at, part in enumerate(one.parts):
            if part.of_client == side:
                packet = ethernet(part.packet) if side else part.packet
                blocks.packet(BEGAN_NS + at * STEP_NS, packet, int(not side))
    events = read(bytes(blocks.data))
    assert said_in(events) == one.said
    assert closes(events) == BOTH_FIN


def test_fragments_and_segments_mixed() -> None:
    one = talk(10)
    packets = []
    for at, part in enumerate(one.parts):
        pieces = fragments(part.packet, 256, at) if part.data else [part.packet]
        packets += pieces[::-1]
    events = read(pcapng(timed(packets)))
    assert said_in(events) == one.said


def test_times_before_1970() -> None:
    """Of a clock that was never set."""
    one = talk(9)
    blocks = Blocks()
    blocks.interface(offset_s=-1000)
    for at, part in enumerate(one.parts):
        blocks.packet(at * STEP_NS - 900 * 10**9, ethernet(part.packet))
    events = read(bytes(blocks.data))
    assert said_in(events) == one.said
    assert [event.ns for event in events if isinstance(event, Data)] == [
        at * STEP_NS - 900 * 10**9 for at, part in enumerate(one.parts) if part.data
    ]
