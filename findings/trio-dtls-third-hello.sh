#!/usr/bin/env bash
# trio 0.35.0, pyOpenSSL 26.4.0: where a path loses the first two packets of a DTLS client, trio sends everything in packets of
# 548 bytes from then on. A hello that is larger (a ticket, a post-quantum share, a list of protocols) then goes in two parts,
# and trio's own server, which answers hellos without keeping anything of them, puts none together: the client goes on sending
# for ever and is never answered, although nothing is lost any more. With one lost packet, or a small hello, all is well.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check trio==0.35.0 pyOpenSSL==26.4.0 cryptography==50.0.2 || exit 77

timeout 120 "$work/venv/bin/python" - <<'END'
import socket
import sys
from datetime import datetime, timedelta, timezone

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
now = datetime.now(timezone.utc)
cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256()))


async def attempt(protocols, lost):
    server = SSL.Context(SSL.DTLS_METHOD)
    server.use_certificate(cert)
    server.use_privatekey(key)
    server.set_alpn_select_callback(lambda _, protos: protos[0])
    client = SSL.Context(SSL.DTLS_METHOD)
    client.set_alpn_protos([f"protocol-{n:03}".encode() for n in range(protocols)])
    serving, dialing, line = (trio.socket.socket(type=socket.SOCK_DGRAM) for _ in range(3))
    for sock in (serving, dialing, line):
        await sock.bind(("127.0.0.1", 0))
    sizes = []
    async with trio.open_nursery() as nursery:
        async def carry():
            left = lost
            while True:
                packet, sender = await line.recvfrom(65536)
                if sender == dialing.getsockname():
                    sizes.append(len(packet))
                    if left:
                        left -= 1
                        continue
                    await line.sendto(packet, serving.getsockname())
                else:
                    await line.sendto(packet, dialing.getsockname())
        endpoint, asking = trio.DTLSEndpoint(serving), trio.DTLSEndpoint(dialing)
        async def handle(channel):
            await channel.do_handshake()
        nursery.start_soon(carry)
        await nursery.start(endpoint.serve, server, handle)
        channel = asking.connect(line.getsockname(), client)
        done = False
        with trio.move_on_after(12):
            await channel.do_handshake(initial_retransmit_timeout=0.2)
            done = True
        nursery.cancel_scope.cancel()
    return done, sizes[:6]

found = {}
for hello, protocols in (("small", 1), ("large", 60)):
    for lost in (0, 1, 2):
        done, sizes = trio.run(attempt, protocols, lost)
        found[hello, lost] = done
        print(f"{hello} hello, the first {lost} packets lost: {'done' if done else 'never answered'}, packets of {sizes} bytes")
if found != {key: key != ("large", 2) for key in found}:
    sys.exit("behaviour changed")
END
