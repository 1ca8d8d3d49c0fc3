"""Who is let in, and what whoever is not is told: both ends in one process, TLS by OpenSSL's library."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import odd_certificates as odd
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from OpenSSL import SSL

from loadgen.identity.credentials import Authority, Identity, new_key, self_signed
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.patient import PatientTunnel
from loadgen.transport.tls import EndOfStream, TransportFault, Tunnel
from loadgen.transport.verifying import _KINDS, Applicant, CertificateCheck, Clock, Ruling, skewed

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
PATIENCE = pytest.mark.parametrize("patient", [False, True], ids=["at once", "patient"])
_TURNS = 20
_NOW = datetime.now(UTC)
_ROOT = Authority.new("root", _NOW)
_ISSUING = _ROOT.issue_authority("issuing", _NOW)
_WLC = _ROOT.issue("02:57:4c:00:00:01", new_key("p256"), _NOW)
_WLC_RSA = _ROOT.issue("02:57:4c:00:00:01", new_key("rsa-2048"), _NOW)
_SSC = self_signed("02:4d:53:00:00:01", new_key("p256"), _NOW)
_SSC_RSA = self_signed("02:4d:53:00:00:01", new_key("rsa-2048"), _NOW)
_LSC = _ISSUING.issue("02:4d:53:00:00:02", new_key("p256"), _NOW)
_STRANGER = Authority.new("another root", _NOW).issue_authority("another", _NOW).issue(_LSC.mac, new_key("p256"), _NOW)


class Pair(NamedTuple):
    client: Tunnel
    server: Tunnel


class Check:
    """An auth list that notes who was looked up."""

    def __init__(self, verdict: str | None = None) -> None:
        self.seen: list[bytes] = []
        self.verdict = verdict

    def __call__(self, _tunnel: Applicant, certificate: bytes) -> Ruling:
        self.seen.append(certificate)
        return Ruling(self.verdict)


def server_of(
    version: str,
    check: CertificateCheck | None,
    *,
    trusted: bytes | None = None,
    clock: Clock | None = None,
    identity: Identity = _WLC,
    strong: bool = True,
) -> SSL.Context:
    return server_context(
        identity.key_pem,
        identity.certificate_pem,
        identity.chain_pem,
        version,
        check,
        trusted_pem=trusted,
        clock=clock,
        strong=strong,
    )


def client_of(
    version: str, identity: Identity | None = _SSC, *, clock: Clock | None = None, strong: bool = True
) -> SSL.Context:
    shown = (identity.key_pem, identity.certificate_pem, identity.chain_pem) if identity else (b"", b"", b"")
    return client_context(*shown, version, _ROOT.certificate_pem, clock=clock, strong=strong)


@contextmanager
def connected(client: SSL.Context, server: SSL.Context, *, patient: bool = False) -> Iterator[Pair]:
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    accepted = PatientTunnel(server, far) if patient else Tunnel(server, far, server=True)
    pair = Pair(Tunnel(client, near, server=False), accepted)
    try:
        yield pair
    finally:
        pair.client.close()
        pair.server.close()


def read(tunnel: Tunnel) -> bytes:
    buffer = bytearray(16384)
    return bytes(buffer[: tunnel.read_into(memoryview(buffer))])


def meet(pair: Pair) -> tuple[str, str]:
    """How the handshake ends for client and server: "up", or a fault's kind. The client also listens for a refusal."""
    ends = {pair.client: "", pair.server: ""}
    for _ in range(_TURNS):
        for tunnel, end in ends.items():
            if not end:
                try:
                    ends[tunnel] = "up" if tunnel.handshake() else ""
                except TransportFault as fault:
                    ends[tunnel] = fault.kind
        if all(ends.values()):
            break
    if ends[pair.client] == "up" and ends[pair.server] != "up":
        with pytest.raises(TransportFault) as told:
            read(pair.client)
        ends[pair.client] = told.value.kind
    return ends[pair.client], ends[pair.server]


def outcome(client: SSL.Context, server: SSL.Context, *, patient: bool = False) -> tuple[str, str]:
    with connected(client, server, patient=patient) as pair:
        return meet(pair)


@VERSIONS
@PATIENCE
def test_whoever_is_not_listed_is_told_certificate_unknown(version: str, patient: bool) -> None:
    check = Check("key_hash_not_listed")
    ends = outcome(client_of(version), server_of(version, check), patient=patient)
    assert ends == ("alert_certificate_unknown", "key_hash_not_listed")
    assert check.seen == [_SSC.certificate().der]


@VERSIONS
@PATIENCE
@pytest.mark.parametrize("identity", [_SSC, _LSC], ids=["SSC", "LSC"])
def test_whoever_is_listed_gets_in(version: str, patient: bool, identity: Identity) -> None:
    check = Check()
    with connected(
        client_of(version, identity), server_of(version, check, trusted=_ROOT.certificate_pem), patient=patient
    ) as pair:
        assert meet(pair) == ("up", "up")
        assert pair.server.verified is True
        pair.client.write(b"hello")
        assert read(pair.server) == b"hello"
        pair.server.write(b"and you")
        assert read(pair.client) == b"and you"
    assert check.seen == [identity.certificate().der]


@VERSIONS
def test_a_chain_that_ends_elsewhere_is_refused_before_the_list_is_asked(version: str) -> None:
    check = Check()
    server = server_of(version, check, trusted=_ROOT.certificate_pem)
    with connected(client_of(version, _STRANGER), server) as pair:
        assert meet(pair) == ("alert_unknown_ca", "chain_not_trusted")
        assert pair.server.verified is False
    assert check.seen == []


@VERSIONS
def test_a_chain_may_end_at_the_issuing_authority(version: str) -> None:
    assert outcome(client_of(version, _LSC), server_of(version, Check(), trusted=_ISSUING.certificate_pem)) == (
        "up",
        "up",
    )


@VERSIONS
def test_a_chain_that_is_not_sent_cannot_be_followed(version: str) -> None:
    alone = Identity(_LSC.mac, _LSC.key_pem, _LSC.certificate_pem)
    server = server_of(version, Check(), trusted=_ROOT.certificate_pem)
    assert outcome(client_of(version, alone), server) == ("alert_unknown_ca", "chain_not_trusted")


@VERSIONS
def test_without_trust_the_list_alone_decides(version: str) -> None:
    for identity in (_LSC, _STRANGER, Identity(_LSC.mac, _LSC.key_pem, _LSC.certificate_pem)):
        check = Check()
        assert outcome(client_of(version, identity), server_of(version, check)) == ("up", "up")
        assert check.seen == [identity.certificate().der]
        refused = outcome(client_of(version, identity), server_of(version, Check("no")))
        assert refused == ("alert_certificate_unknown", "no")


# What the WLC's clock makes of a certificate that begins 5 minutes before it was made, and lasts 10 years.
_CLOCKS = {
    "right": (0.0, ("up", "up")),
    "a little behind": (-200.0, ("up", "up")),
    "behind": (-3600.0, ("alert_bad_certificate", "certificate_not_yet_valid")),
    "far ahead": (11 * 366 * 86400.0, ("alert_certificate_expired", "certificate_expired")),
}


@VERSIONS
@PATIENCE
@pytest.mark.parametrize(("skew_s", "ends"), _CLOCKS.values(), ids=_CLOCKS)
def test_the_wlc_goes_by_its_own_clock(version: str, patient: bool, skew_s: float, ends: tuple[str, str]) -> None:
    check = Check()
    server = server_of(version, check, clock=lambda: _NOW.timestamp() + skew_s)
    assert outcome(client_of(version), server, patient=patient) == ends
    assert len(check.seen) == (ends[1] == "up")


@VERSIONS
def test_the_clock_goes_on(version: str) -> None:
    """It is read for every tunnel: who comes too early today is let in tomorrow."""
    now = [_NOW.timestamp() - 3600]
    server = server_of(version, Check(), clock=lambda: now[0])
    assert outcome(client_of(version), server)[1] == "certificate_not_yet_valid"
    now[0] += 3600
    assert outcome(client_of(version), server) == ("up", "up")


@VERSIONS
@pytest.mark.parametrize(
    ("skew_s", "kind"), [(-3600.0, "certificate_not_yet_valid"), (11 * 366 * 86400.0, "certificate_expired")]
)
def test_the_mse_goes_by_its_own_clock(version: str, skew_s: float, kind: str) -> None:
    client, server = client_of(version, clock=lambda: _NOW.timestamp() + skew_s), server_of(version, Check())
    assert outcome(client, server)[0] == kind


def test_a_skewed_clock_runs_ahead_of_the_machines() -> None:
    assert skewed(0, 100.0) is None
    ahead, behind = skewed(50.0, 1000.0), skewed(-50.0, 1000.0)
    assert ahead is not None
    assert behind is not None
    assert 99 < ahead() - behind() < 101


@VERSIONS
def test_expired_in_an_hour(version: str) -> None:
    short = self_signed(_SSC.mac, new_key("p256"), _NOW, days=1 / 24)
    later = _NOW + timedelta(hours=2)
    server = server_of(version, Check(), clock=later.timestamp)
    assert outcome(client_of(version, short), server) == ("alert_certificate_expired", "certificate_expired")


@VERSIONS
@PATIENCE
def test_no_certificate(version: str, patient: bool) -> None:
    alert = {"1.2": "alert_handshake_failure", "1.3": "alert_certificate_required"}[version]
    ends = outcome(client_of(version, None), server_of(version, Check()), patient=patient)
    assert ends == (alert, "peer_did_not_return_a_certificate")


@VERSIONS
@pytest.mark.parametrize("identity", [None, _SSC, _STRANGER], ids=["none", "SSC", "LSC"])
def test_without_authentication_anybody_gets_in(version: str, identity: Identity | None) -> None:
    server = server_of(version, None, clock=lambda: _NOW.timestamp() - 86400)
    with connected(client_of(version, identity), server) as pair:
        assert meet(pair) == ("up", "up")
        assert pair.server.verified is None
        shown = pair.server._connection.get_peer_certificate()
        assert (shown is None) == (identity is None)


@VERSIONS
def test_an_error_in_our_own_check_is_raised(version: str) -> None:
    def check(_tunnel: Applicant, _certificate: bytes) -> Ruling:
        raise ZeroDivisionError

    with connected(client_of(version), server_of(version, check)) as pair, pytest.raises(ZeroDivisionError):
        meet(pair)


# -- strong_cipher -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
@PATIENCE
def test_static_rsa_as_in_the_field(version: str, patient: bool) -> None:
    server = server_of(version, Check(), identity=_WLC_RSA, strong=False)
    with connected(client_of(version, _SSC_RSA, strong=False), server, patient=patient) as pair:
        assert meet(pair) == ("up", "up")
        connection = pair.server._connection
        assert connection.get_cipher_name() == "AES128-SHA"
        assert connection.get_protocol_version_name() == {"1.0": "TLSv1"}.get(version, f"TLSv{version}")
        pair.client.write(b"x" * 16000)
        assert len(read(pair.server)) == 16000


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_static_rsa_is_in_the_order_of_the_wlc(version: str) -> None:
    client = client_of(version, _SSC_RSA, strong=False)
    client.set_cipher_list(b"AES256-SHA:AES128-SHA:@SECLEVEL=0")
    server = server_of(version, Check(), identity=_WLC_RSA, strong=False)
    with connected(client, server) as pair:
        assert meet(pair) == ("up", "up")
        assert pair.client._connection.get_cipher_name() == "AES128-SHA"


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_whoever_is_not_listed_is_told_so_in_old_versions_too(version: str) -> None:
    server = server_of(version, Check("key_hash_not_listed"), identity=_WLC_RSA, strong=False)
    assert outcome(client_of(version, _SSC_RSA, strong=False), server) == (
        "alert_certificate_unknown",
        "key_hash_not_listed",
    )


_MISMATCHES = {
    "strong WLC, weak MSE": ("1.2", True, "1.2", False, ("alert_handshake_failure", "no_shared_cipher")),
    "weak WLC, strong MSE": ("1.2", False, "1.2", True, ("alert_handshake_failure", "no_shared_cipher")),
    "strong WLC, old MSE": ("1.2", True, "1.0", False, ("alert_protocol_version", "unsupported_protocol")),
    # A server agrees on the version before it looks at suites, and there are none of 1.0 with ECDHE on our list.
    "old WLC, strong MSE": ("1.0", False, "1.2", True, ("alert_handshake_failure", "no_shared_cipher")),
}


@PATIENCE
@pytest.mark.parametrize(("wlc", "wlc_strong", "mse", "mse_strong", "ends"), _MISMATCHES.values(), ids=_MISMATCHES)
def test_a_mismatch_has_a_name_on_both_sides(
    wlc: str, wlc_strong: bool, mse: str, mse_strong: bool, ends: tuple[str, str], patient: bool
) -> None:
    server = server_of(wlc, Check(), identity=_WLC_RSA, strong=wlc_strong)
    assert outcome(client_of(mse, _SSC_RSA, strong=mse_strong), server, patient=patient) == ends


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("wlc", [_WLC, _WLC_RSA], ids=["p256", "rsa-2048"])
def test_strong_is_elliptic_curves_only(version: str, wlc: Identity) -> None:
    server = server_of(version, Check(), identity=wlc)
    with connected(client_of(version), server) as pair:
        assert meet(pair) == ("up", "up")
        offered = [name for name in pair.client._connection.get_cipher_list() if not name.startswith("TLS_")]
        assert offered
        assert all(name.startswith("ECDHE-") for name in offered)
        if version == "1.2":
            # The suite that OpenSSL would choose by itself: nothing has changed for scenarios from before.
            kind = "ECDSA" if wlc is _WLC else "RSA"
            assert pair.client._connection.get_cipher_name() == f"ECDHE-{kind}-AES256-GCM-SHA384"


# -- taking time -------------------------------------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("verdict", [None, "key_hash_not_listed"])
def test_nobody_hears_of_a_verdict_before_it_is_spoken(version: str, verdict: str | None) -> None:
    check = Check(verdict)
    with connected(client_of(version), server_of(version, check), patient=True) as pair:
        server = pair.server
        assert isinstance(server, PatientTunnel)
        assert not pair.client.handshake()
        assert not server.handshake()
        client_is_up = pair.client.handshake()
        assert client_is_up == (version == "1.3")
        server.take_in()
        assert len(check.seen) == 1
        for _ in range(3):  # the client goes on waiting, and asking again does not ask the list again
            server.take_in()
            if client_is_up:
                assert read(pair.client) == b""
            else:
                assert not pair.client.handshake()
        if client_is_up:
            pair.client.write(b"early")  # a client of TLS 1.3 is done already, and may go on
        if verdict:
            with pytest.raises(TransportFault, match=verdict):
                server.speak()
            with pytest.raises(TransportFault, match="alert_certificate_unknown"):
                read(pair.client) if client_is_up else pair.client.handshake()
            return
        assert server.speak()
        assert client_is_up or pair.client.handshake()
        if not client_is_up:
            pair.client.write(b"early")
        assert read(server) == b"early"
        pair.client.close_notify()
        with pytest.raises(EndOfStream):
            read(server)


@pytest.mark.parametrize("size", [1, 7, 100])
@VERSIONS
def test_a_patient_server_takes_what_comes_piece_by_piece(version: str, size: int) -> None:
    """A relay between both ends hands over a few bytes at a time, and all of it arrives."""
    near, near_far = socket.socketpair()
    far_near, far = socket.socketpair()
    for sock in (near, near_far, far_near, far):
        sock.setblocking(False)
    client = Tunnel(client_of(version), near, server=False)
    server = PatientTunnel(server_of(version, Check()), far)
    up = {client: False, server: False}
    written = False
    for _ in range(30_000):
        for tunnel in up:
            up[tunnel] = up[tunnel] or tunnel.handshake()
        if up[client] and not written:
            client.write(b"first words")
            written = True
        for source, target in ((near_far, far_near), (far_near, near_far)):
            try:
                target.send(source.recv(size))
            except BlockingIOError:
                continue
        if all(up.values()) and (said := read(server)):
            break
    assert said == b"first words"
    client.close()
    server.close()
    near_far.close()
    far_near.close()


def test_a_client_that_leaves_while_its_answer_waits() -> None:
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    client = Tunnel(client_of("1.2"), near, server=False)
    server = PatientTunnel(server_of("1.2", Check("key_hash_not_listed")), far)
    assert not client.handshake()
    assert not server.handshake()
    assert not client.handshake()
    server.take_in()
    client.close()
    with pytest.raises(TransportFault, match="key_hash_not_listed"):
        server.speak()
    server.close()
    near, far = socket.socketpair()
    near.close()
    far.setblocking(False)
    left = PatientTunnel(server_of("1.2", Check()), far)
    with pytest.raises(TransportFault, match="closed"):
        left.handshake()
    left.close()


def test_a_goodbye_that_could_not_be_sent() -> None:
    """A refused client of TLS 1.3 that says goodbye to a socket that is gone: its reads tell so, and not "unknown"."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
    client = Tunnel(client_of("1.3"), near, server=False)
    server = Tunnel(server_of("1.3", Check("key_hash_not_listed")), far, server=True)
    for tunnel in (client, server, client):
        tunnel.handshake()
    client.write(b"never read")  # what is unread when a socket is closed makes a reset of it
    with pytest.raises(TransportFault, match="key_hash_not_listed"):
        server.handshake()
    server.close()
    assert not client.close_notify()
    with pytest.raises(TransportFault, match="reset"):
        read(client)
    client.close()


@VERSIONS
def test_hanging_up_leaves_the_other_direction_open(version: str) -> None:
    with connected(client_of(version), server_of(version, Check())) as pair:
        assert meet(pair) == ("up", "up")
        pair.client.close_notify()
        pair.client.hang_up()
        with pytest.raises(EndOfStream):
            read(pair.server)
        pair.server.write(b"last words")
        assert read(pair.client) == b"last words"


# -- old certificates --------------------------------------------------------------------------------------------------


@VERSIONS
def test_old_certificates_lower_nothing_else(version: str) -> None:
    """Suites, versions and the signatures that are preferred stay; TLS 1.1 and SHA-1 suites' keys do not come back."""
    context = {
        old: server_context(_WLC.key_pem, _WLC.certificate_pem, b"", version, Check(), old_certificates=old)
        for old in (False, True)
    }
    suites = {old: SSL.Connection(each, None).get_cipher_list() for old, each in context.items()}
    assert suites[True] == suites[False]
    old_client = client_of("1.1", _SSC_RSA, strong=False)
    assert outcome(old_client, context[True]) == ("alert_protocol_version", "unsupported_protocol")


@VERSIONS
@pytest.mark.parametrize("old", [False, True])
def test_a_small_key_is_let_in_by_the_setting_only(version: str, old: bool) -> None:
    pem = odd.pem("CERTIFICATE", odd.certificate(odd.mac_name(), odd.RSA_1024, digest=SHA1))
    server = server_context(_WLC.key_pem, _WLC.certificate_pem, b"", version, Check(), old_certificates=old)
    client = client_context(odd.key_pem(odd.RSA_1024), pem, b"", version, None, old_certificates=True)
    assert outcome(client, server) == (("up", "up") if old else ("alert_bad_certificate", "certificate_key_too_small"))


def test_every_reason_to_refuse_a_certificate_is_documented() -> None:
    docs = Path(__file__).parents[2] / "docs"
    for page in ("authentication.md", "metrics.md"):
        text = (docs / page).read_text("utf-8")
        assert [kind for kind in sorted(set(_KINDS.values())) if f"`{kind}`" not in text] == [], page
