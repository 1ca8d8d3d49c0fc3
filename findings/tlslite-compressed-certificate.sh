#!/usr/bin/env bash
# tlslite-ng 0.8.2: a TLS 1.3 client with a certificate answers a CertificateRequest with CompressedCertificate, although the
# server's request does not offer to take one (RFC 8879, section 3: only then it may): it goes by what its own hello offers.
# Servers on OpenSSL end the connection with unexpected_message, which looks like a refused certificate. With
# `certificate_compression_send = []` the same client gets in.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check \
  tlslite-ng==0.8.2 pyOpenSSL==26.4.0 cryptography==50.0.2

timeout 120 "$work/venv/bin/python" - <<'END'
import datetime
import socket
import sys
import threading

import OpenSSL
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey

key = rsa.generate_private_key(65537, 2048)
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "both sides")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(key.public_key())
    .serial_number(1)
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=1))
    .sign(key, hashes.SHA256())
)
pem = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
key_pem = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode("ascii")

context = SSL.Context(SSL.TLS_SERVER_METHOD)
context.set_min_proto_version(SSL.TLS1_3_VERSION)
context.use_privatekey(OpenSSL.crypto.PKey.from_cryptography_key(key))
context.use_certificate(OpenSSL.crypto.X509.from_cryptography(certificate))
context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)


def serve(listener: socket.socket, found: list[str]) -> None:
    accepted, _ = listener.accept()
    connection = SSL.Connection(context, accepted)
    connection.set_accept_state()
    try:
        connection.do_handshake()
        connection.send(b"up")
        found.append("up")
    except SSL.Error as error:
        found.append(error.args[0][0][2])
        accepted.shutdown(socket.SHUT_WR)


def meet(**changed: list[str]) -> str:
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 4)
    for setting, value in changed.items():
        setattr(settings, setting, value)
    chain = X509CertChain()
    chain.parsePemList(pem)
    found: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, found), daemon=True)
        server.start()
        client = TLSConnection(socket.create_connection(listener.getsockname()))
        try:
            client.handshakeClientCert(chain, parsePEMKey(key_pem, private=True), settings=settings)
            client.read(1, 2)
        except Exception as error:
            print("  client:", str(error).splitlines()[0])
        server.join(20)
    return found[0]


print("tlslite-ng 0.8.2, pyOpenSSL", OpenSSL.__version__, SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii"))
usual = meet()
print("as it comes: the server says:", usual)
without = meet(certificate_compression_send=[])
print("certificate_compression_send = []: the server says:", without)
if (usual, without) != ("unexpected message", "up"):
    sys.exit("behaviour changed")
END
