#!/usr/bin/env bash
# pyOpenSSL 26.4.0: a TLS 1.3 server with OP_NO_TICKET and SESS_CACHE_OFF sends session tickets all the same, two for each
# handshake, and accepts none of them: clients offer them and get full handshakes. (What turns them off, OpenSSL's
# SSL_CTX_set_num_tickets, pyOpenSSL does not have.)
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check pyOpenSSL==26.4.0 cryptography==50.0.2

timeout 60 "$work/venv/bin/python" - <<'END'
import datetime
import sys

import OpenSSL
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=1))
    .sign(key, hashes.SHA256())
)


def server(version, tickets):
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_privatekey(key)
    context.use_certificate(certificate)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if not tickets:
        context.set_options(SSL.OP_NO_TICKET)
    return context


def handshake(serving, dialing, states, session=None):
    """One in memory: the tickets that the client read, whether it was shown a certificate, and its session."""
    states.clear()
    client, other = SSL.Connection(dialing, None), SSL.Connection(serving, None)
    client.set_connect_state()
    other.set_accept_state()
    if session is not None:
        client.set_session(session)
    for _ in range(5):
        for here, there in ((client, other), (other, client)):
            for step in (here.do_handshake, lambda: here.recv(1), lambda: there.bio_write(here.bio_read(65536))):
                try:
                    step()
                except SSL.WantReadError:
                    pass
    # A session whose connection ends otherwise is no longer offered.
    client.shutdown()
    tickets = sum(1 for before, state in zip([b"", *states], states) if b"session ticket" in state and state != before)
    return tickets, any(b"read server certificate" in state for state in states), client.get_session()


def pair(version, tickets):
    states = []
    dialing = SSL.Context(SSL.TLS_CLIENT_METHOD)
    dialing.set_info_callback(lambda connection, _where, _value: states.append(connection.get_state_string()))
    serving = server(version, tickets)
    received, _, session = handshake(serving, dialing, states)
    _, full, _ = handshake(serving, dialing, states, session)
    return received, not full


print(f"pyOpenSSL {OpenSSL.__version__}, {SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()}")
seen = {}
for text, version in (("1.2", SSL.TLS1_2_VERSION), ("1.3", SSL.TLS1_3_VERSION)):
    for tickets in (True, False):
        received, resumed = seen[text, tickets] = pair(version, tickets)
        print(
            f"TLS {text}, {'no option' if tickets else 'OP_NO_TICKET'}: {received} tickets received, "
            f"second handshake {'resumed' if resumed else 'full'}"
        )
expected = {("1.2", True): (1, True), ("1.2", False): (0, False), ("1.3", True): (2, True), ("1.3", False): (2, False)}
if seen != expected:
    sys.exit("behaviour changed")
END
