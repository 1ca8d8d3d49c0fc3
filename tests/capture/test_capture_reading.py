"""A capture's bytes to events, all steps in one."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import fields

import pytest
from capture_samples import Blocks, Talk, pcap, timed

from loadgen.capture.events import Closed, Data, How, Opened
from loadgen.capture.reading import events_of, secrets_of
from loadgen.capture.streams import collect
from loadgen.capture.tally import Tally
from loadgen.capture.writing import TunnelWriter, file_header
from loadgen.errors import InputError

BEGAN_NS = 1_800_000_000_123_456_789


@pytest.mark.parametrize("size", [1, 1000, 1 << 24])
@pytest.mark.parametrize("how", [How.FIN, How.RESET])
def test_what_is_written_is_read(how: How, size: int) -> None:
    rng = random.Random(f"{how}")
    ends = (("2001:db8::1", 40001), ("2001:db8::7", 16113))
    tunnel, ns = TunnelWriter(*ends), BEGAN_NS
    header = file_header(application="a", interface="b", description="c")
    parts = [header, tunnel.open(ns, "who")]
    said: list[tuple[bool, int, bytes]] = []
    for _ in range(30):
        ns += rng.randrange(2_000_000)
        said.append((rng.random() < 0.3, ns, rng.randbytes(rng.choice([1, 5, 300, 32_768]))))
        parts.append(tunnel.data(*said[-1]))
    parts += [tunnel.close(True, ns + 1, how), tunnel.close(False, ns + 2, how)]
    whole = b"".join(parts)

    events = list(events_of(whole[start : start + size] for start in range(0, len(whole), size)))
    assert [(event.of_client, event.ns, event.data) for event in events if isinstance(event, Data)] == said
    opened, *_, before, last = events
    assert isinstance(opened, Opened)
    assert (opened.conversation.client, opened.conversation.server) == ends
    assert opened.conversation.began_ns == BEGAN_NS
    assert isinstance(before, Closed)
    assert isinstance(last, Closed)
    assert {(each.of_client, each.how) for each in (before, last)} == {(True, how), (False, how)}
    assert last.ns == ns + (2 if how is How.FIN else 1)
    (exchange,) = collect(events)
    assert bytes(exchange.client.runs[0][1]) == b"".join(data for of_client, _, data in said if of_client)


def test_a_tunnel_in_several_files_is_one_conversation() -> None:
    """As after a rotation: pcapng files one after the other are sections of one. The second alone goes on as it can."""
    tunnel = TunnelWriter(("192.0.2.1", 40001), ("192.0.2.7", 16113))
    header = file_header(application="a", interface="b", description="c")
    first = header + tunnel.open(BEGAN_NS) + tunnel.data(True, BEGAN_NS, b"in the first, ")
    second = header + tunnel.data(True, BEGAN_NS + 1, b"in the second") + tunnel.close(True, BEGAN_NS + 2, How.FIN)
    (exchange,) = collect(events_of([first, second]))
    assert exchange.client.runs == [(0, b"in the first, in the second")]
    assert exchange.client.ended is How.FIN
    (alone,) = collect(events_of([second]))
    assert alone.client.runs == [(0, b"in the second")]
    assert alone.conversation.server == ("192.0.2.7", 16113)


def test_secrets_are_found_wherever_they_lie() -> None:
    blocks = Blocks()
    blocks.secrets(b"first")
    blocks.interface()
    for ns, frame in timed(Talk(0).parts):
        blocks.packet(ns, frame)
    blocks.secrets(b"last")
    assert list(secrets_of([bytes(blocks.data)])) == [b"first", b"last"]
    assert list(secrets_of([pcap(timed(Talk(0).parts))])) == []


def test_what_is_wrong_is_told_of_the_file_that_it_is_in() -> None:
    with pytest.raises(InputError, match=r"^tunnel\.pcap: expected a capture, pcap or pcapng, found an empty file$"):
        list(events_of([], name="tunnel.pcap"))


def test_what_was_left_out_in_words() -> None:
    assert Tally(packets=9, segments=9, conversations=2, blocks=3).left_out() == []
    counts = Counter({127: 1200, 9: 1})
    full = Tally(cut_at=123_456, other_links=counts, not_ip=1, not_tcp=2, strays=3, missing=4000, evicted=5)
    assert full.left_out() == [
        "the file ends within the block or packet at byte 123,456",
        "packets left out: 1 of link type 9, 1,200 of link type 127, 1 not IP, 2 not TCP, "
        "3 of numbers far from their stream",
        "bytes missing, in holes: 4,000",
        "conversations given up, because there were too many at once: 5",
    ]


def test_every_count_of_what_was_left_out_is_told() -> None:
    others = {"packets", "segments", "conversations", "blocks", "differing"}
    for field in fields(Tally):
        if field.name not in others:
            value: object = Counter({127: 1}) if field.name == "other_links" else 77
            assert len(Tally(**{field.name: value}).left_out()) == 1, field.name  # type: ignore[arg-type]
