"""What one side says the other hears, unchanged, and how one side ends, so does the other."""

from __future__ import annotations

import random
import select
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from OpenSSL import SSL
from relay_peers import PATIENCE_S, Peer, accept, dial, identity, running, session

from loadgen.relay.parties import Parties
from loadgen.relay.session import End, RelayedSession, RelayEnding

BY_EITHER = pytest.mark.parametrize("by_mse", [True, False], ids=["mse", "wlc"])
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


def greet(one: Peer, other: Peer) -> None:
    """So that nothing is left unread, not even TLS 1.3's tickets: whoever closes then resets."""
    other.say(b"hello")
    assert one.hear(5) == b"hello"


@pytest.mark.parametrize(("version", "wlc_version"), [("1.2", "1.2"), ("1.3", "1.3"), ("1.2", "1.3"), ("1.3", "1.2")])
def test_both_directions_pass_unchanged(version: str, wlc_version: str) -> None:
    chance = random.Random(7)
    up, down = chance.randbytes(300_001), chance.randbytes(1 << 20)
    with running() as relay, ThreadPoolExecutor(1) as pool:
        mse, wlc = session(relay, version, wlc_version=wlc_version)
        said = pool.submit(wlc.say, down)
        assert mse.hear(len(down)) == down
        said.result(PATIENCE_S)
        heard = pool.submit(wlc.hear, len(up))
        mse.say(up)
        assert heard.result(PATIENCE_S) == up
        for question in (b"?", b"a question", chance.randbytes(16384)):
            mse.say(question)
            assert wlc.hear(len(question)) == question
            wlc.say(question[::-1])
            assert mse.hear(len(question)) == question[::-1]
            up, down = up + question, down + question[::-1]
        relay.told.wait(lambda: relay.told.passed_bytes == len(up) + len(down), "what was passed on last")
        assert relay.told.said == {(1, True): up, (1, False): down}


def test_the_wlc_may_speak_first() -> None:
    """With TLS 1.3 it may have spoken before the MSE's tunnel is up."""
    with running() as relay, ThreadPoolExecutor(1) as pool:
        welcoming = pool.submit(lambda: accept(relay, "1.3").shake().say(b"welcome"))
        assert dial(relay, "1.3").shake().hear(7) == b"welcome"
        welcoming.result(PATIENCE_S)


def test_old_tls_is_passed_on_where_strong_ciphers_are_off() -> None:
    with running(Parties(identity("mse"), identity("the wlc"), strong=False)) as relay:
        mse, wlc = session(relay, "1.0", wlc_version="1.2", strong=False)
        mse.say(b"old")
        assert wlc.hear(3) == b"old"
        assert mse.tls.get_cipher_name() == "AES128-SHA"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_addresses_of_ipv6() -> None:
    with running(host="::1") as relay:
        mse, wlc = session(relay)
        mse.say(b"hello")
        assert wlc.hear(5) == b"hello"


def test_sessions_go_on_beside_each_other() -> None:
    count = 8
    with running() as relay:
        pairs = [session(relay) for _ in range(count)]
        for number, (mse, wlc) in enumerate(pairs):
            mse.say(b"%04d up" % number)
            wlc.say(b"%04d down" % number)
        for number, (mse, wlc) in enumerate(pairs):
            assert wlc.hear(7) == b"%04d up" % number
            assert mse.hear(9) == b"%04d down" % number
        assert relay.told.up == [*range(1, count + 1)]
        relay.told.wait(lambda: relay.told.passed_bytes == 16 * count, "what was passed on last")
        said = [bytes(relay.told.said[number, True]) for number in relay.told.up]
        assert said == [b"%04d up" % number for number in range(count)]


def test_a_peer_that_does_not_read_holds_the_other_up() -> None:
    """What the relay takes is what there is room for in sockets; the rest stays with the WLC."""
    total = 32 << 20
    with running() as relay, ThreadPoolExecutor(1) as pool:
        mse, wlc = session(relay)
        said = pool.submit(wlc.say, bytes(total))
        blocked = select.poll()
        blocked.register(wlc.sock, select.POLLOUT)
        before = -1
        while (now := relay.told.passed_bytes) != before or blocked.poll(0):  # until nothing moves any more
            before = now
            select.select([], [], [], 0.2)
        assert now < total / 2
        assert not said.done()
        assert mse.hear(total) == bytes(total)
        said.result(PATIENCE_S)


@BY_EITHER
@VERSIONS
def test_a_goodbye_is_passed_on(version: str, by_mse: bool) -> None:
    with running() as relay:
        one, other = session(relay, version)[:: 1 if by_mse else -1]
        greet(one, other)
        one.notify()
        one.close()
        assert other.how_it_ends() == "notified"
        other.close()
        relay.told.wait(lambda: relay.told.endings, "the session's end")
        assert relay.told.ends == [(by_mse, False), (not by_mse, False)]
        assert relay.told.endings[0].by_mse is by_mse


@BY_EITHER
@VERSIONS
def test_an_end_without_a_goodbye_is_passed_on_without_one(version: str, by_mse: bool) -> None:
    with running() as relay:
        one, other = session(relay, version)[:: 1 if by_mse else -1]
        greet(one, other)
        one.close()
        assert other.how_it_ends() == "closed"
        other.close()
        relay.told.wait(lambda: relay.told.endings, "the session's end")
        assert relay.told.ends[0] == (by_mse, False)


@BY_EITHER
@VERSIONS
def test_a_reset_is_passed_on_as_one(version: str, by_mse: bool) -> None:
    with running() as relay:
        one, other = session(relay, version)[:: 1 if by_mse else -1]
        greet(one, other)
        one.reset()
        assert other.how_it_ends() == "reset"
        relay.told.wait(lambda: relay.told.endings, "the session's end")
        assert relay.told.ends == [(by_mse, True)]
        assert relay.told.endings[0] == (by_mse, "reset", False)


@BY_EITHER
@VERSIONS
def test_who_says_goodbye_first_has_ended_it_although_the_other_closes_first(version: str, by_mse: bool) -> None:
    with running() as relay:
        one, other = session(relay, version)[:: 1 if by_mse else -1]
        greet(one, other)
        one.notify()
        with pytest.raises(SSL.ZeroReturnError):
            other.tls.recv(1)
        other.notify()
        other.close()
        assert one.how_it_ends() == "notified"
        one.close()
        relay.told.wait(lambda: relay.told.endings, "the session's end")
        assert relay.told.endings == [(by_mse, "closed", False)]
        assert relay.told.later == [(not by_mse, "closed", False)]


def test_what_a_closed_socket_answers_is_no_reset_of_the_session() -> None:
    with socket.socket() as sock:
        relayed = RelayedSession(1, End(sock, ("127.0.0.1", 1), is_mse=True))
    first, later = RelayEnding(False, "closed_without_notify"), RelayEnding(True, "closed")
    for ending in (first, RelayEnding(False, "reset"), later, RelayEnding(True, "reset")):
        relayed.note(ending)
    assert relayed.endings == [first, later]


@BY_EITHER
@VERSIONS
def test_one_that_breaks_off_behind_the_other_s_goodbye_is_told_of_too(version: str, by_mse: bool) -> None:
    with running() as relay:
        one, other = session(relay, version)[:: 1 if by_mse else -1]
        greet(one, other)
        one.notify()
        with pytest.raises(SSL.ZeroReturnError):
            other.tls.recv(1)
        other.reset()
        relay.told.wait(lambda: relay.told.endings, "the session's end")
        assert relay.told.endings == [(by_mse, "closed", False)]
        assert relay.told.later == [(not by_mse, "reset", False)]


@BY_EITHER
@VERSIONS
@pytest.mark.parametrize("hangs_up", [True, False], ids=["with FIN", "without"])
def test_after_a_half_close_the_other_direction_goes_on(version: str, by_mse: bool, hangs_up: bool) -> None:
    with running() as relay, ThreadPoolExecutor(1) as pool:
        one, other = session(relay, version)[:: 1 if by_mse else -1]
        one.notify()
        if hangs_up:
            one.hang_up()
        with pytest.raises(SSL.ZeroReturnError):
            other.tls.recv(1)
        rest = bytes(range(256)) * 1000
        said = pool.submit(other.say, rest)
        assert one.hear(len(rest)) == rest
        said.result(PATIENCE_S)
        other.notify()
        other.close()
        assert one.how_it_ends() == "notified"
        one.close()
        relay.told.wait(lambda: relay.told.endings, "the session's end")


@BY_EITHER
def test_a_goodbye_waits_for_what_was_said_before(by_mse: bool) -> None:
    """The one that ends has gone before the other reads anything."""
    total = 24 << 20
    with running() as relay, ThreadPoolExecutor(1) as pool:
        one, other = session(relay)[:: 1 if by_mse else -1]

        def say_and_go() -> None:
            one.say(bytes(total))
            one.notify()
            one.hang_up()

        said = pool.submit(say_and_go)
        assert other.hear(total) == bytes(total)
        assert other.how_it_ends() == "notified"
        said.result(PATIENCE_S)


def test_a_reset_is_seen_although_nothing_is_read_for_want_of_room() -> None:
    with running() as relay:
        _, wlc = session(relay)
        _fill(wlc)
        wlc.reset()
        relay.told.wait(lambda: relay.told.endings, "the session's end")
        assert relay.told.endings[0] == (False, "reset", False)


def _fill(peer: Peer) -> None:
    """Say so much that its own socket is full, and stays so."""
    peer.sock.setblocking(False)
    full = select.poll()
    full.register(peer.sock, select.POLLOUT)
    while full.poll(500):
        try:
            peer.tls.send(bytes(16384))
        except SSL.WantWriteError:
            continue


def test_an_ending_says_goodbye_to_all() -> None:
    with running() as relay:
        pairs = [session(relay) for _ in range(3)]
        relay.end()
        for mse, wlc in pairs:
            assert mse.how_it_ends() == "notified"
            assert wlc.how_it_ends() == "notified"
        relay.told.wait(lambda: len(relay.told.endings) == 3, "three ends")
        assert [ending.by_mse for ending in relay.told.endings] == [None] * 3
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(relay.address)


def test_a_witness_that_has_enough_ends_it() -> None:
    with running() as relay:
        mse, wlc = session(relay)
        relay.told.enough = True
        assert mse.how_it_ends() == "notified"
        assert wlc.how_it_ends() == "notified"
