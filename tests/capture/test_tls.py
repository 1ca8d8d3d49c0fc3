"""Captured TLS, decrypted: whatever way the session went, however its bytes were parted, and what is missing."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import accumulate, groupby, zip_longest
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from thoroughness import examples
from tls_by_hand import DATA, FINISHED, KEY_UPDATE, Tls12, Tls13, hellos
from tls_by_hand import HANDSHAKE as HANDSHAKE_RECORD
from tls_sessions import MSE, WLC, Session, contents, contexts, events, plaintext, session

from loadgen.capture.events import Closed, Conversation, Data, Event, Hole, How, Opened
from loadgen.capture.keylog import APPLICATION, HANDSHAKE, MASTER
from loadgen.capture.streams import collect
from loadgen.capture.tls import (
    Alerted,
    Broken,
    TunnelKeys,
    Undecrypted,
    Unkeyed,
    Unreadable,
    WrongKey,
    decrypted,
)
from loadgen.capture.tls_direction import RecordStream, Resync, Resynced

# SSL_OP_ALLOW_CLIENT_RENEGOTIATION
_ALLOW_CLIENT_RENEGOTIATION = 1 << 8
SUITES = [
    ("1.2", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("1.2", "ECDHE-RSA-CHACHA20-POLY1305"),
    ("1.2", "AES256-SHA256"),
    ("1.3", "TLS_AES_256_GCM_SHA384"),
]
of_each_kind = pytest.mark.parametrize(("version", "ciphers"), SUITES, ids=[name for _, name in SUITES])


@cache
def talk(version: str, ciphers: str | None = None) -> Session:
    """A session of short messages, closed by both."""
    tunnel = session(contexts(version, ciphers)).shake()
    for number in range(20):
        tunnel.say(False, f"notify {number:05}".encode() * 7).say(True, f"echo {number:05}".encode())
    return tunnel.close(True).close(False)


def decrypt(given: Iterable[Event], keylog: bytes) -> tuple[list[Event], list[Undecrypted]]:
    undecrypted: list[Undecrypted] = []
    return list(decrypted(given, TunnelKeys(keylog), undecrypted)), undecrypted


def lines_without(keylog: bytearray, *labels: str) -> bytes:
    return b"".join(line for line in keylog.splitlines(True) if line.split()[0].decode() not in labels)


def records_of(wire: list[tuple[bool, bytes]]) -> list[tuple[bool, bytes]]:
    """The same bytes, a record each."""
    found: list[tuple[bool, bytes]] = []
    for of_client, data in wire:
        while data:
            size = 5 + int.from_bytes(data[3:5], "big")
            found.append((of_client, data[:size]))
            data = data[size:]
    return found


# -- sessions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.2", "1.3"])
@pytest.mark.parametrize("tickets", [True, False], ids=["ticket", "id"])
def test_resumed_sessions(version: str, tickets: bool) -> None:
    pair = contexts(version)
    pair.server.set_session_id(b"test")
    if not tickets:
        pair.server.set_options(SSL.OP_NO_TICKET)
    first = session(pair).shake().say(False, b"first").say(True, b"first").close(True).close(False)
    resumed = session(pair, resume=first.client.get_session()).shake().say(False, b"second").say(True, b"again")
    assert SSL._lib.SSL_session_reused(resumed.client._ssl) == 1
    assert plaintext(first) == (first.said, [])
    assert plaintext(resumed) == (resumed.said, [])


@pytest.mark.parametrize("version", ["1.0", "1.2"])
def test_new_keys_by_another_handshake(version: str) -> None:
    pair = contexts(version)
    pair.server.set_options(_ALLOW_CLIENT_RENEGOTIATION)
    tunnel = session(pair).shake().say(False, b"before").say(True, b"before")
    tunnel.client.renegotiate()
    tunnel.shake().say(False, b"after").say(True, b"after")
    assert tunnel.client.total_renegotiations() == 1
    assert plaintext(tunnel) == (tunnel.said, [])
    given, (why,) = decrypt(events(tunnel.wire), b"".join(tunnel.keylog.splitlines(True)[:1]))
    (exchange,) = collect(given)
    assert (exchange.client.runs, exchange.server.runs) == ([(0, b"before")], [(0, b"before")])
    assert (exchange.client.holes, exchange.server.holes) == ([(6, None)], [(6, None)])
    assert isinstance(why, Unkeyed)


def test_a_hello_that_has_to_be_said_again() -> None:
    pair = contexts("1.3")
    SSL._lib.SSL_CTX_set1_curves_list(pair.client._context, b"P-256:P-384")
    SSL._lib.SSL_CTX_set1_curves_list(pair.server._context, b"P-384")
    tunnel = session(pair).shake().say(False, b"hello").say(True, b"again")
    assert len([data for of_client, data in records_of(tunnel.wire) if of_client and data[0] == 22]) == 2
    assert plaintext(tunnel) == (tunnel.said, [])


def early(*, taken: bool) -> Session:
    """A resumed session whose client says something before its handshake; it may have to say it again."""
    pair = contexts("1.3")
    pair.server.set_session_id(b"test")
    SSL._lib.SSL_CTX_set_max_early_data(pair.server._context, 16384)
    first = session(pair).shake().say(False, b"first").close(True).close(False)
    if not taken:
        SSL._lib.SSL_CTX_set_max_early_data(pair.server._context, 0)
    tunnel = session(pair, resume=first.client.get_session())
    written, read = SSL._ffi.new("size_t *"), SSL._ffi.new("char[]", 100)
    assert SSL._lib.SSL_write_early_data(tunnel.client._ssl, b"early", 5, written) == 1
    tunnel.wire.append((True, tunnel.client.bio_read(1 << 16)))
    tunnel.server.bio_write(tunnel.wire[-1][1])
    while taken and SSL._lib.SSL_read_early_data(tunnel.server._ssl, read, 100, written) == 1:
        tunnel.said[True] += bytes(SSL._ffi.buffer(read)[: written[0]])
    tunnel.shake()
    while taken and SSL._lib.SSL_read_early_data(tunnel.server._ssl, read, 100, written) == 1:
        raise AssertionError("more than was sent")
    return tunnel.shake().say(False, b"answer").say(True, b"more")


@pytest.mark.parametrize("taken", [True, False])
def test_early_data_counts_if_the_server_took_it(taken: bool) -> None:
    tunnel = early(taken=taken)
    assert tunnel.said[True] == (b"earlymore" if taken else b"more")
    assert plaintext(tunnel) == (tunnel.said, [])


def test_early_data_without_its_key_is_a_hole() -> None:
    tunnel = early(taken=True)
    given, (why,) = decrypt(events(tunnel.wire), lines_without(tunnel.keylog, "CLIENT_EARLY_TRAFFIC_SECRET"))
    assert isinstance(why, Unkeyed)
    assert why.missing == ("CLIENT_EARLY_TRAFFIC_SECRET",)
    (exchange,) = collect(given)
    ((offset, length),) = exchange.client.holes
    assert (offset, exchange.client.runs) == (0, [(length, bytearray(b"more"))])


# -- how bytes are parted, and in which order they come ----------------------------------------------------------------


@of_each_kind
@settings(deadline=None, max_examples=examples(15))
@given(seed=st.integers(0, 1 << 32), largest=st.sampled_from([1, 7, 60, 1460, 30_000]))
def test_however_the_bytes_are_parted(version: str, ciphers: str, seed: int, largest: int) -> None:
    tunnel, rng = talk(version, ciphers), random.Random(seed)
    parted: list[tuple[bool, bytes]] = []
    for of_client, run in groupby(tunnel.wire, key=lambda packet: packet[0]):
        data = b"".join(part for _, part in run)
        while data:
            size = rng.randint(1, largest)
            parted.append((of_client, data[:size]))
            data = data[size:]
    assert contents(decrypted(events(parted), TunnelKeys(bytes(tunnel.keylog)))) == tunnel.said


@of_each_kind
def test_times_are_those_of_the_packet_that_made_a_record_whole(version: str, ciphers: str) -> None:
    tunnel = talk(version, ciphers)
    records = records_of(tunnel.wire)
    whole, _ = decrypt(events(records), bytes(tunnel.keylog))
    # Each record in two packets: what came with the n-th comes with that of number 2n.
    halves = [(of_client, half) for of_client, data in records for half in (data[:3], data[3:])]
    parted, _ = decrypt(events(halves), bytes(tunnel.keylog))
    assert [(each.ns * 2, each.data) for each in whole if isinstance(each, Data)] == [
        (each.ns, each.data) for each in parted if isinstance(each, Data)
    ]


@of_each_kind
@pytest.mark.parametrize("first", [True, False], ids=["client", "server"])
def test_a_capture_that_has_one_direction_before_the_other(version: str, ciphers: str, first: bool) -> None:
    tunnel = talk(version, ciphers)
    wire = sorted(tunnel.wire, key=lambda packet: packet[0] != first)
    assert contents(decrypted(events(wire), TunnelKeys(bytes(tunnel.keylog)))) == tunnel.said


def test_many_conversations_at_once() -> None:
    tunnels = [talk(*suite) for suite in SUITES]
    keys = TunnelKeys(b"".join(bytes(tunnel.keylog) for tunnel in tunnels))
    mixed = zip_longest(*(events(tunnel.wire, index) for index, tunnel in enumerate(tunnels)))
    given = list(decrypted((event for row in mixed for event in row if event is not None), keys))
    for index, tunnel in enumerate(tunnels):
        assert contents(event for event in given if event.conversation.index == index) == tunnel.said


# -- how it ended ------------------------------------------------------------------------------------------------------


@of_each_kind
def test_close_notify_ends_a_direction_when_it_comes(version: str, ciphers: str) -> None:
    tunnel = talk(version, ciphers)
    given, _ = decrypt(events(tunnel.wire), bytes(tunnel.keylog))
    assert [(each.of_client, each.ns, each.how) for each in given if isinstance(each, Closed)] == [
        (True, len(tunnel.wire) - 1, How.FIN),
        (False, len(tunnel.wire), How.FIN),
    ]


@pytest.mark.parametrize(("version", "alert"), [("1.2", "handshake_failure"), ("1.3", "certificate_required")])
def test_a_fatal_alert_ends_a_direction_like_a_reset(version: str, alert: str) -> None:
    pair = contexts(version)
    pair.server.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    tunnel = session(pair)
    with suppress(SSL.Error):
        tunnel.shake()
    tunnel.pump()
    given, (why,) = decrypt(events(tunnel.wire), bytes(tunnel.keylog))
    assert why == Alerted(given[0].conversation, False, alert)
    assert "192.0.2.7:16113 -> 192.0.2.1:40001" in str(why)
    assert {(each.of_client, each.how) for each in given if isinstance(each, Closed)} == {
        (False, How.RESET),
        (True, How.FIN),
    }


# -- what OpenSSL would not say ----------------------------------------------------------------------------------------


def new(name: str) -> Tls13:
    return Tls13(name).next_key(False, FINISHED).next_key(True, FINISHED)


def test_padding_tickets_and_new_keys() -> None:
    tunnel = new("padded").say(False, HANDSHAKE_RECORD, b"\4\0\0\1t")
    for number in range(5):
        tunnel.say(number % 2 == 0, DATA, b"say %d" % number, padding=1000 * number)
        tunnel.next_key(number < 3, KEY_UPDATE)
    given, whys = decrypt(events(tunnel.wire), tunnel.keylog)
    assert (contents(given), whys) == ({True: b"say 0say 2say 4", False: b"say 1say 3"}, [])


def test_a_hole_over_new_keys() -> None:
    """As long as there are no newer ones yet."""
    tunnel = new("hidden")
    for number in range(6):
        tunnel.say(False, DATA, b"say %d" % number)
        if number == 2:
            tunnel.next_key(False, KEY_UPDATE)
    sizes = list(accumulate(len(data) for of_client, data in tunnel.wire if not of_client))
    # ServerHello, Finished, three, KeyUpdate, three.
    read = decrypt(with_holes(tunnel.wire, False, [(sizes[3] + 1, sizes[6] - 1)]), tunnel.keylog)
    (exchange,) = collect(read[0])
    assert [bytes(run) for _, run in exchange.server.runs] == [b"say 0say 1", b"say 4say 5"]
    assert read[1] == []


@pytest.mark.parametrize(("gcm", "mac_after"), [(True, False), (False, False), (False, True)])
def test_how_much_is_missing(gcm: bool, mac_after: bool) -> None:
    tunnel = Tls12("hole", gcm=gcm, mac_after=mac_after).start(True).start(False)
    for size in (10, 20, 30, 40):
        tunnel.say(False, DATA, bytes(size))
    ends = list(accumulate(len(data) for of_client, data in tunnel.wire if not of_client))
    (exchange,) = collect(decrypt(with_holes(tunnel.wire, False, [(ends[3] + 7, ends[4] + 7)]), tunnel.keylog)[0])
    ((offset, length),) = exchange.server.holes
    assert offset == 10
    # Of blocks it is not known how many bytes fill up the last one.
    assert length == 50 if gcm else 50 <= length <= 50 + 2 * 16
    assert exchange.server.runs == [(0, bytes(10)), (10 + length, bytes(40))]


@pytest.mark.parametrize(
    ("extensions", "suite", "what"),
    [
        (b"\0\x2b\0\2\3\4", 0x1306, "0x1306 (TLS 1.3)"),
        (b"\0\x2b\0\2\3\4", 0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 (TLS 1.3)"),
        (b"", 0x1301, "TLS_AES_128_GCM_SHA256 (TLS 1.2)"),
        (b"", 0x0005, "TLS_RSA_WITH_RC4_128_SHA (TLS 1.2)"),
        (b"\0\x2b\0\2\x7f\x1c", 0x1301, "TLS version 0x7F1C"),
        (b"\0\x2b\0\2\3\0", 0x0005, "SSL 3.0"),
        (b"\0\4\0\0", 0x003C, "TLS 1.2 with truncated MACs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_decrypted_is_named(extensions: bytes, suite: int, what: str) -> None:
    client, server = hellos("odd", suite, extensions)
    given, (why,) = decrypt(events([(True, client), (False, server), (True, b"\x17\3\3\0\1x")]), b"")
    assert_nothing_is_given(given)
    assert why == Unreadable(given[0].conversation, what)
    assert str(why) == f"192.0.2.1:40001 to 192.0.2.7:16113: {what} cannot be decrypted"


# -- what lacks keys ---------------------------------------------------------------------------------------------------


def assert_nothing_is_given(given: list[Event]) -> None:
    assert [type(event) for event in given if not isinstance(event, Closed)] == [Opened, Hole, Hole]
    assert {(hole.of_client, hole.offset, hole.length) for hole in given if isinstance(hole, Hole)} == {
        (True, 0, None),
        (False, 0, None),
    }
    assert sum(isinstance(event, Closed) for event in given) == 2


@of_each_kind
def test_without_a_line_nothing_is_given_out_and_it_is_named(version: str, ciphers: str) -> None:
    tunnel = talk(version, ciphers)
    given, (why,) = decrypt(events(tunnel.wire), b"")
    assert_nothing_is_given(given)
    assert isinstance(why, Unkeyed)
    random = why.client_random
    assert random == tunnel.client.client_random()
    first, second = zip(HANDSHAKE, APPLICATION, strict=True)
    assert why.missing == ((MASTER,) if version == "1.2" else first + second)
    assert "192.0.2.1:40001 to 192.0.2.7:16113: not decrypted, the key log lacks" in str(why)
    assert all(f"{label} {random.hex()}" in str(why) for label in why.missing)


def test_secrets_of_the_handshake_alone_are_not_needed() -> None:
    tunnel = talk("1.3")
    assert plaintext(tunnel, lines_without(tunnel.keylog, *HANDSHAKE)) == (tunnel.said, [])


def test_one_direction_without_its_secret() -> None:
    tunnel = talk("1.3")
    given, (why,) = decrypt(events(tunnel.wire), lines_without(tunnel.keylog, APPLICATION[0]))
    assert isinstance(why, Unkeyed)
    assert why.missing == APPLICATION[:1]
    (exchange,) = collect(given)
    assert (exchange.client.runs, exchange.client.holes) == ([], [(0, None)])
    assert exchange.server.runs == [(0, tunnel.said[False])]


@of_each_kind
@pytest.mark.parametrize("labels", [(MASTER, *HANDSHAKE), (MASTER, *APPLICATION)], ids=["first", "last"])
def test_a_wrong_secret_is_named(version: str, ciphers: str, labels: tuple[str, ...]) -> None:
    tunnel = talk(version, ciphers)
    wrong = [
        b"%s %s %s" % (name, random, bytes(len(secret)).replace(b"\0", b"5") if name.decode() in labels else secret)
        for name, random, secret in map(bytes.split, bytes(tunnel.keylog).splitlines())
    ]
    given, whys = decrypt(events(tunnel.wire), b"\n".join(wrong))
    assert_nothing_is_given(given)
    named = [(why.label, why.client_random) for why in whys if isinstance(why, WrongKey)]
    assert len(named) == len(whys)
    expected = [MASTER] if version == "1.2" else [label for label in labels if label != MASTER]
    assert sorted(named) == [(label, tunnel.client.client_random()) for label in sorted(expected)]


@of_each_kind
@pytest.mark.parametrize("cut", [0, 1, 30])
def test_a_capture_that_begins_later_is_encrypted_and_said_to_be(version: str, ciphers: str, cut: int) -> None:
    """Also in the midst of a record."""
    tunnel = talk(version, ciphers)
    late = records_of(tunnel.wire)[-20:]
    late[0] = late[0][0], late[0][1][cut:]
    given, (why,) = decrypt(events(late), bytes(tunnel.keylog))
    assert_nothing_is_given(given)
    assert isinstance(why, Unkeyed)
    assert (why.client_random, why.missing) == (None, ())


@pytest.mark.parametrize("missing", [True, False], ids=["client", "server"])
def test_a_capture_of_one_direction(missing: bool) -> None:
    tunnel = talk("1.3")
    given, (why,) = decrypt(events(packet for packet in tunnel.wire if packet[0] != missing), bytes(tunnel.keylog))
    assert isinstance(why, Unkeyed)
    assert why.missing == ()
    # Of the other one there is nothing to be missed.
    assert [event.of_client for event in given if isinstance(event, Hole)] == [not missing]
    assert not any(isinstance(event, Data) for event in given)


# -- what is not TLS ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=30)), max_size=12))
def test_plaintext_stays_as_it_is(wire: list[tuple[bool, bytes]]) -> None:
    """Whatever it begins with, but a header of TLS."""
    if any(data.startswith((b"\x14\x03", b"\x15\x03", b"\x16\x03", b"\x17\x03")) for data in joined(wire).values()):
        return
    given = list(events(wire))
    assert decrypt(given, b"") == (given, [])


def joined(wire: list[tuple[bool, bytes]]) -> dict[bool, bytes]:
    return {way: b"".join(data for of_client, data in wire if of_client == way) for way in (True, False)}


def test_one_end_that_says_much_is_not_waited_for() -> None:
    of = Conversation(0, MSE, WLC, 0)
    said = [Data(of, False, at, at, bytes(1000)) for at in range(0, 66_000, 1000)]
    passed = decrypted([*said, Hole(of, False, 66_000, 3, 1)], TunnelKeys())
    assert [type(event) for event in passed] == [Data] * 66 + [Hole]


def test_plaintext_that_looks_like_one_record_and_goes_on_otherwise() -> None:
    wire = [(False, b"\x16\x03\x01\x00\x02ab and then some"), (True, b"\x00\x01\x02\x03\x04\x05")]
    given = list(events(wire))
    assert decrypt(given, b"") == (given, [])


# -- holes -------------------------------------------------------------------------------------------------------------


def with_holes(wire: list[tuple[bool, bytes]], of_client: bool, holes: list[tuple[int, int]]) -> Iterator[Event]:
    """holes: (first byte, first byte behind it) in a direction's ciphertext, in order."""
    for event in events(wire):
        if not isinstance(event, Data) or event.of_client != of_client:
            yield event
            continue
        at, end = event.offset, event.offset + len(event.data)
        for first, behind in holes:
            if first < end and behind > at:
                if first > at:
                    yield Data(
                        event.conversation,
                        of_client,
                        at,
                        event.ns,
                        event.data[at - event.offset : first - event.offset],
                    )
                if first >= at:
                    yield Hole(event.conversation, of_client, first, behind - first, event.ns)
                at = min(end, behind)
        if at < end:
            yield Data(event.conversation, of_client, at, event.ns, event.data[at - event.offset :])


@of_each_kind
@settings(deadline=None, max_examples=examples(40))
@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(1, 700)), min_size=1, max_size=3),
)
def test_records_that_are_whole_come_back_whatever_is_missing_between(
    version: str, ciphers: str, of_client: bool, wanted: list[tuple[int, int]]
) -> None:
    tunnel = talk(version, ciphers)
    records = records_of(tunnel.wire)
    sizes = [len(data) for way, data in records if way == of_client]
    ends = list(accumulate(sizes))
    # Not in the first record: that is the hello.
    holes: list[tuple[int, int]] = []
    for start, length in sorted((sizes[0] + start % (ends[-1] - sizes[0]), length) for start, length in wanted):
        if not holes or start > holes[-1][1]:
            holes.append((start, min(ends[-1], start + length)))
    one_by_one, _ = decrypt(events(records), bytes(tunnel.keylog))
    numbers = [number for number, (way, _) in enumerate(records, 1) if way == of_client]
    intact = {
        number
        for number, size, end in zip(numbers, sizes, ends, strict=True)
        if not any(first < end and behind > end - size for first, behind in holes)
    }
    expected = [e.data for e in one_by_one if isinstance(e, Data) and e.of_client == of_client and e.ns in intact]
    given, whys = decrypt(with_holes(records, of_client, holes), bytes(tunnel.keylog))
    got = [event for event in given if isinstance(event, Data) and event.of_client == of_client]
    assert whys == []
    assert [event.data for event in got] == expected
    handshake = sum(len(data) for way, data in records if way == of_client and data[0] != 23) - 31  # its alert
    if ciphers == "ECDHE-RSA-AES128-GCM-SHA256" and holes[0][0] >= handshake:
        assert all(tunnel.said[of_client][event.offset :].startswith(event.data) for event in got)
    # Offsets go on; what is missing is said to be.
    at = 0
    for event in given:
        if isinstance(event, Data | Hole) and event.of_client == of_client:
            assert event.offset == at
            at += len(event.data) if isinstance(event, Data) else event.length or 0
    other = [event.data for event in given if isinstance(event, Data) and event.of_client != of_client]
    assert b"".join(other) == tunnel.said[not of_client]


@of_each_kind
def test_a_hole_without_end_stays_one(version: str, ciphers: str) -> None:
    tunnel = talk(version, ciphers)
    given = list(events(tunnel.wire))
    of = given[0].conversation
    cut = len(given) * 2 // 3
    cut_off = [event for event in given[cut:] if not (isinstance(event, Data) and event.of_client)]
    at = next(event.offset for event in given[cut:] if isinstance(event, Data) and event.of_client)
    read, whys = decrypt([*given[:cut], Hole(of, True, at, None, 7), *cut_off], bytes(tunnel.keylog))
    assert whys == []
    (hole,) = [event for event in read if isinstance(event, Hole)]
    assert (hole.of_client, hole.length, hole.ns) == (True, None, 7)
    assert tunnel.said[True].startswith(b"".join(e.data for e in read if isinstance(e, Data) and e.of_client))
    assert tunnel.said[False] == b"".join(e.data for e in read if isinstance(e, Data) and not e.of_client)


def test_a_hole_where_each_record_goes_on_from_the_one_before() -> None:
    tunnel = talk("1.0")
    records = records_of(tunnel.wire)
    size = sum(len(data) for way, data in records[:-6] if not way)
    given, (why,) = decrypt(with_holes(records, False, [(size, size + 10)]), bytes(tunnel.keylog))
    assert isinstance(why, Broken)
    assert "TLS 1.0" in str(why)
    (exchange,) = collect(given)
    assert [length for _, length in exchange.server.holes] == [None]


@pytest.mark.parametrize("of_client", [True, False], ids=["client", "server"])
def test_a_hole_in_a_hello(of_client: bool) -> None:
    tunnel = talk("1.3")
    given, (why,) = decrypt(with_holes(tunnel.wire, of_client, [(10, 20)]), bytes(tunnel.keylog))
    assert_nothing_is_given(given)
    assert isinstance(why, Unkeyed)


def test_a_search_for_records_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a hole there is nothing but what looks like records."""
    tunnel = talk("1.3")
    given = list(events(tunnel.wire))[:-6]
    of, at = given[0].conversation, sum(len(e.data) for e in given if isinstance(e, Data) and not e.of_client)
    tried = 0
    real = RecordStream._try

    def counted(self: RecordStream, resync: Resync, *others: Any) -> Resynced | None:
        nonlocal tried
        found, tried = real(self, resync, *others), resync.work
        return found

    monkeypatch.setattr(RecordStream, "_try", counted)
    fakes = Data(of, False, at + 1_000_000, 99, b"\x17\x03\x03\x00\x20" * 10_000)
    read, (why,) = decrypt([*given, Hole(of, False, at, 1_000_000, 99), fakes], bytes(tunnel.keylog))
    assert isinstance(why, Broken)
    assert (1 << 24) < tried < (1 << 24) + 1000
    assert [event.length for event in read if isinstance(event, Hole)] == [None]


# -- hostile bytes -----------------------------------------------------------------------------------------------------


@of_each_kind
@settings(deadline=None, max_examples=examples(60))
@given(st.integers(0, 1 << 32))
def test_whatever_the_bytes_nothing_comes_that_was_not_said(version: str, ciphers: str, seed: int) -> None:
    tunnel, rng = talk(version, ciphers), random.Random(seed)
    # Without a hello it need not be TLS.
    hello, *others = records_of(tunnel.wire)
    mangled = [hello]
    for of_client, data in others:
        changed = bytearray(data)
        match rng.randrange(60):
            case 0:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            case 1:
                del changed[rng.randrange(len(changed)) :]
            case 2:
                changed[rng.randrange(len(changed)) : 0] = rng.randbytes(rng.randrange(40))
            case 3:
                changed = changed * 2
            case 4:
                changed[:5] = rng.randbytes(5)
        mangled.append((of_client, bytes(changed)))
    given, _ = decrypt(events(mangled), bytes(tunnel.keylog))
    whole, _ = decrypt(events(records_of(tunnel.wire)), bytes(tunnel.keylog))
    for way in (True, False):
        said = [event.data for event in whole if isinstance(event, Data) and event.of_client == way]
        got = [event.data for event in given if isinstance(event, Data) and event.of_client == way]
        assert got == said[: len(got)]
        assert sum(isinstance(event, Closed) and event.of_client == way for event in given) == 1


@settings(deadline=None, max_examples=examples(200))
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=8), st.binary(max_size=60))
def test_any_handshake_is_read_or_left(wire: list[tuple[bool, bytes]], extensions: bytes) -> None:
    """Hellos whose insides are anything."""
    hello = b"\x03\x03" + bytes(32) + b"\0\0\2\x13\x01\1\0" + extensions
    message = b"\1" + len(hello).to_bytes(3, "big") + hello
    wire = [(True, b"\x16\x03\1" + len(message).to_bytes(2, "big") + message)] + [
        (way, b"\x16\x03\3" + len(data).to_bytes(2, "big") + data) for way, data in wire if data
    ]
    given, _ = decrypt(events(wire), b"")
    assert not any(isinstance(event, Data) for event in given)


def test_what_waits_for_a_hello_is_bounded() -> None:
    of, hello = Conversation(0, MSE, WLC, 0), talk("1.3").wire[0][1]
    stream = decrypted(waiting(of, hello), TunnelKeys(), whys := [])
    assert [type(event) for event in stream] == [Hole, Hole]
    assert [type(why) for why in whys] == [Unkeyed]


def waiting(of: Conversation, hello: bytes) -> Iterator[Data]:
    yield Data(of, True, 0, 0, hello)
    for number in range(200):
        yield Data(of, True, len(hello) + number * 10_005, 0, b"\x17\x03\x03\x27\x10" + bytes(10_000))
