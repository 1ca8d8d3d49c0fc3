"""A WLC that does not take us, an MSE that we do not take: the other sees what we saw, and the operator is told."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from OpenSSL import SSL
from relay_peers import ABORT, PATIENCE_S, Running, accept, dial, ending_of, identity, running, session

from loadgen.diagnosis.listed import listed_in
from loadgen.identity.authlist import AuthEntry
from loadgen.identity.devices import ios_xe_config
from loadgen.relay.parties import Parties
from loadgen.relay.session import RelayPhase
from loadgen.units import NS_PER_MS

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


def refusal(relay: Running, version: str = "1.2", **options: bool) -> str:
    """How an MSE's handshake fails."""
    mse = dial(relay, version, **options)
    try:
        mse.shake()
    except SSL.SysCallError as error:
        return "closed" if error.args[0] == -1 else str(error.args[1])
    except SSL.Error as error:
        return ending_of(error)
    return mse.how_it_ends()


def test_a_wlc_that_is_not_there() -> None:
    with running() as relay:
        relay.listener.close()
        assert refusal(relay) == "ECONNRESET"
        assert relay.told.failures == [((False, "refused", False), RelayPhase.DIALING)]


@VERSIONS
def test_a_wlc_that_does_not_list_us(version: str) -> None:
    """Its alert is said to the MSE, which would have got it in our place."""
    with running() as relay, ThreadPoolExecutor(1) as pool:

        def refuse() -> str:
            with pytest.raises(SSL.Error) as failed:
                accept(relay, version, refuses=True).shake()
            return ending_of(failed.value)

        refused = pool.submit(refuse)
        assert "alert certificate unknown" in refusal(relay, version)
        assert refused.result(PATIENCE_S) == "certificate verify failed"
        relay.told.wait(lambda: relay.told.failures, "the failure")
        ((ending, _),) = relay.told.failures
        assert (ending.by_mse, ending.kind) == (False, "alert_certificate_unknown")


@pytest.mark.parametrize(("how", "seen", "kind"), [("FIN", "closed", "closed"), ("RST", "ECONNRESET", "reset")])
def test_a_wlc_that_leaves_in_mid_handshake(how: str, seen: str, kind: str) -> None:
    with running() as relay, ThreadPoolExecutor(1) as pool:

        def leave() -> None:
            sock = relay.listener.accept()[0]
            sock.settimeout(PATIENCE_S)
            assert sock.recv(65536)
            if how == "RST":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            sock.close()

        left = pool.submit(leave)
        assert refusal(relay).replace("Unexpected EOF", "closed") == seen
        left.result(PATIENCE_S)
        relay.told.wait(lambda: relay.told.failures, "the failure")
        assert relay.told.failures[0][0].kind.startswith((kind, "unexpected_eof"))


def test_a_wlc_that_says_nothing() -> None:
    with running(timeout_ns=50 * NS_PER_MS) as relay:
        assert refusal(relay) == "ECONNRESET"
        assert [(ending.kind, phase) for ending, phase in relay.told.failures] == [("timeout", RelayPhase.SHAKING_WLC)]


def test_a_wlc_whose_chain_we_do_not_trust() -> None:
    trusted = identity("somebody else").certificate_pem
    with running(Parties(identity("mse"), identity("the wlc"), trusted)) as relay, ThreadPoolExecutor(1) as pool:

        def shake() -> str:
            with pytest.raises(SSL.Error) as failed:
                accept(relay).shake()
            return ending_of(failed.value)

        met = pool.submit(shake)
        assert "alert handshake failure" in refusal(relay)
        assert "alert" in met.result(PATIENCE_S)
        relay.told.wait(lambda: relay.told.failures, "the failure")
        assert relay.told.failures[0][0] == (False, "certificate_verify_failed", True)


def test_an_mse_that_is_not_listed() -> None:
    entries = AuthEntry.both(identity("another mse"), "spki")
    listed = listed_in(ios_xe_config(entries), "list")
    parties = Parties(identity("mse"), identity("the wlc"), listed=listed)
    with running(parties) as relay, ThreadPoolExecutor(1) as pool:
        wlc = pool.submit(lambda: accept(relay).shake().how_it_ends())
        assert "alert certificate unknown" in refusal(relay)
        assert wlc.result(PATIENCE_S) == "notified"
        relay.told.wait(lambda: relay.told.failures, "the failure")
        assert relay.told.failures[0] == ((True, "key_hash_not_listed", True), RelayPhase.SHAKING_MSE)


def test_an_mse_that_is_listed() -> None:
    listed = listed_in(ios_xe_config(AuthEntry.both(identity("a real mse"), "spki")), "list")
    with running(Parties(identity("mse"), identity("the wlc"), listed=listed)) as relay:
        mse, wlc = session(relay)
        mse.say(b"in")
        assert wlc.hear(2) == b"in"


def test_a_certificate_that_is_demanded() -> None:
    parties = Parties(identity("mse"), identity("the wlc"), demands=True)
    with running(parties) as relay, ThreadPoolExecutor(1) as pool:
        wlc = pool.submit(lambda: accept(relay).shake().how_it_ends())
        assert "alert" in refusal(relay, certificate=False)
        assert wlc.result(PATIENCE_S) == "notified"
        assert session(relay)


def test_a_certificate_that_is_not_demanded() -> None:
    with running() as relay, ThreadPoolExecutor(1) as pool:
        wlc = pool.submit(lambda: accept(relay).shake())
        mse = dial(relay, certificate=False).shake()
        wlc.result(PATIENCE_S).say(b"hello")
        assert mse.hear(5) == b"hello"


def test_an_mse_that_says_nothing_costs_the_wlc_nothing() -> None:
    with running(timeout_ns=50 * NS_PER_MS) as relay:
        with socket.create_connection(relay.address, PATIENCE_S) as silent:
            assert silent.recv(1) == b""
        relay.told.wait(lambda: relay.told.failures, "the failure")
        assert relay.told.failures == [((True, "timeout", False), RelayPhase.HELLO)]
        relay.listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            relay.listener.accept()


def test_an_mse_that_leaves_while_the_wlc_thinks() -> None:
    with running() as relay:
        mse = relay.keep(socket.create_connection(relay.address, PATIENCE_S))
        mse.sendall(bytes.fromhex("1603010005 0100000100"))
        wlc = relay.keep(relay.listener.accept()[0])
        wlc.settimeout(PATIENCE_S)
        assert wlc.recv(65536)
        mse.close()
        assert wlc.recv(65536) == b""
        relay.told.wait(lambda: relay.told.failures, "the failure")
        assert relay.told.failures[0][0].by_mse is True


def test_what_is_no_tls_ends_with_its_session() -> None:
    with running() as relay, ThreadPoolExecutor(1) as pool:
        wlc = pool.submit(lambda: accept(relay).shake().how_it_ends())
        with socket.create_connection(relay.address, PATIENCE_S) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while stranger.recv(4096):
                pass
        assert wlc.result(PATIENCE_S) == "notified"
        mse, other = session(relay)
        mse.say(b"still here")
        assert other.hear(10) == b"still here"
