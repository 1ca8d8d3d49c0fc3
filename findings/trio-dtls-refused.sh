#!/usr/bin/env bash
# trio 0.35.0, DTLSEndpoint.serve: a client that has no cipher suite in common with the server is not told. OpenSSL's alert is
# never sent, the client repeats its hello, and each repetition is a new channel for the handler, and fails there again.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check trio==0.35.0 pyOpenSSL==26.4.0 cryptography==50.0.2

timeout 60 "$work/venv/bin/python" - <<'END'
import collections
import datetime
import sys

import OpenSSL
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

ALERT, HANDSHAKE = 21, 22
REPEAT_S = 0.2
PATIENCE_S = 5
TRIES = 3

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


def context(suite):
    made = SSL.Context(SSL.DTLS_METHOD)
    made.set_cipher_list(suite)
    return made


async def socket():
    made = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await made.bind(("127.0.0.1", 0))
    return made


async def forward(line, server, answers):
    """Passes datagrams between one client and the server, and counts the server's by their content type."""
    client = None
    while True:
        datagram, source = await line.recvfrom(65536)
        if source == server:
            answers[datagram[0]] += 1
            await line.sendto(datagram, client)
        else:
            client = source
            await line.sendto(datagram, server)


async def main():
    serving, dialing, line = trio.DTLSEndpoint(await socket()), trio.DTLSEndpoint(await socket()), await socket()
    theirs = context(b"ECDHE-ECDSA-AES128-GCM-SHA256")
    theirs.use_privatekey(key)
    theirs.use_certificate(certificate)
    answers, failures, enough = collections.Counter(), [], trio.Event()

    async def handler(channel):
        try:
            await channel.do_handshake()
        except SSL.Error as error:
            failures.append(error.args[0][0][2])
            if len(failures) == TRIES:
                enough.set()

    ended = None
    async with trio.open_nursery() as nursery:
        await nursery.start(serving.serve, theirs, handler)
        nursery.start_soon(forward, line, serving.socket.getsockname(), answers)

        async def dial():
            nonlocal ended
            channel = dialing.connect(line.getsockname(), context(b"ECDHE-ECDSA-AES256-GCM-SHA384"))
            try:
                await channel.do_handshake(initial_retransmit_timeout=REPEAT_S)
                ended = "done"
            except SSL.Error as error:
                ended = repr(error)

        nursery.start_soon(dial)
        with trio.move_on_after(PATIENCE_S):
            await enough.wait()
        nursery.cancel_scope.cancel()

    print(f"trio {trio.__version__}, pyOpenSSL {OpenSSL.__version__}, {SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()}")
    print(f"one client, nothing in common: handlers that failed {len(failures)} ({', '.join(sorted(set(failures)))})")
    print(f"the server's datagrams: {answers[HANDSHAKE]} of the handshake, {answers[ALERT]} alerts")
    print(f"the client: {ended or 'still trying'}")
    return len(failures) >= TRIES and answers[HANDSHAKE] >= 1 and answers[ALERT] == 0 and ended is None


if not trio.run(main):
    sys.exit("behaviour changed")
END
