"""TLS stacks of other make, each as an MSE that calls and as a WLC that waits, with or without a list that has us."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ports import free_port
from stacks_built import BUILT
from stacks_libraries import LIBRARIES
from stacks_peers import MSE, PATIENCE_S, WLC, serving
from stacks_programs import HERE, REFUSAL_S, Calls, Make, Waits, needs, needs_module, said, started

from loadgen.identity.credentials import Identity

# `openssl` and `gnutls` at these versions, in their words.
_OPENSSL = {"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"}
_JSSE = {"1.0": "TLSv1", "1.1": "TLSv1.1", "1.2": "TLSv1.2", "1.3": "TLSv1.3"}
_BOUNCY_CASTLE = tuple(Path(f"/usr/share/java/{name}.jar") for name in ("bctls", "bcprov", "bcutil"))
_OF_BOUNCY_CASTLE = (
    "org.bouncycastle.jce.provider.BouncyCastleProvider,org.bouncycastle.jsse.provider.BouncyCastleJsseProvider"
)
_WEAK = "ALL:@SECLEVEL=0"


# -- OpenSSL -----------------------------------------------------------------------------------------------------------


def _openssl_calls(port: int, version: str, trusts: bool, folder: Path) -> str:
    # It leaves with its input, and with TLS 1.3 a refusal comes when its own part is over.
    command = ["sh", "-c", 'sleep 1 | exec openssl s_client "$@"', "sh", "-connect", f"127.0.0.1:{port}"]
    judge = [] if trusts else ["-verify_return_error"]
    return said([*command, "-cert", folder / "mse.pem", *judge, _OPENSSL[version], *_weak(version)])


def _openssl_waits(version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
    judge = [] if trusts else ["-verify_return_error"]
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", folder / "wlc.pem", "-Verify", "1", *judge]
    return started([*command, _OPENSSL[version], *_weak(version)], r"ACCEPT .*:(\d+)")


def _weak(version: str) -> list[str]:
    return ["-cipher", _WEAK] if version < "1.2" else []


# -- GnuTLS ------------------------------------------------------------------------------------------------------------


def _priority(version: str) -> str:
    # Its static RSA is off by default.
    return f"NORMAL:-VERS-ALL:+VERS-TLS{version}:+RSA:%VERIFY_ALLOW_SIGN_WITH_SHA1"


def _gnutls_calls(port: int, version: str, trusts: bool, folder: Path) -> str:
    shown = ["--x509keyfile", folder / "mse.key", "--x509certfile", folder / "mse.crt"]
    judge = ["--insecure"] if trusts else []
    return said(["gnutls-cli", *judge, *shown, "--priority", _priority(version), "-p", str(port), "127.0.0.1"])


@contextmanager
def _gnutls_waits(version: str, trusts: bool, folder: Path) -> Iterator[int]:
    shown = ["--x509keyfile", folder / "wlc.key", "--x509certfile", folder / "wlc.crt"]
    judge = [] if trusts else ["--verify-client-cert", "--x509cafile", folder / "wlc.crt"]
    port = free_port()
    command = ["gnutls-serv", *shown, "--require-client-cert", *judge, "--priority", _priority(version)]
    with started([*command, "-p", str(port)], r"IPv4 0\.0\.0\.0 port (\d+)\.\.\.done") as found:
        yield found


# -- JSSE --------------------------------------------------------------------------------------------------------------


def _java(folder: Path, *options: str) -> list[str | Path]:
    if not (folder / "Peer.class").exists():
        subprocess.run(["javac", "-d", folder, HERE / "Peer.java"], check=True)
    jars = ":".join([str(folder), *map(str, _BOUNCY_CASTLE)])
    return ["java", "-XX:TieredStopAtLevel=1", *options, "-cp", jars, "Peer"]


def jsse_calls(port: int, protocols: str, trusts: bool, folder: Path, *options: str) -> str:
    """As an MSE with these protocols, in Java's words."""
    judge = "any" if trusts else "none"
    return said([*_java(folder, *options), "client", folder / "mse.p12", protocols, judge, str(port)])


def _jsse(*options: str) -> tuple[Calls, Waits]:
    def calls(port: int, version: str, trusts: bool, folder: Path) -> str:
        return jsse_calls(port, _JSSE[version], trusts, folder, *options)

    def waits(version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
        judge = "any" if trusts else "none"
        server = [*_java(folder, *options), "server", folder / "wlc.p12", _JSSE[version], judge]
        return started(server, r"^(\d+)$")

    return calls, waits


# -- Node.js -----------------------------------------------------------------------------------------------------------

_NODE = """
const tls = require('tls'), fs = require('fs')
const [role, key, cert, version, trusts, port] = process.argv.slice(1)
const options = {key: fs.readFileSync(key), cert: fs.readFileSync(cert), minVersion: version, maxVersion: version,
  ciphers: 'ALL:@SECLEVEL=0', rejectUnauthorized: trusts === 'none', requestCert: true}
const use = socket => { socket.on('error', e => console.log(String(e))); socket.on('data', () => socket.end()) }
if (role === 'server') {
  const server = tls.createServer(options, use)
  server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port))
} else {
  // With TLS 1.3 a refusal comes when the client's own part is over.
  const socket = tls.connect({...options, host: '127.0.0.1', port: Number(port)})
  socket.on('secureConnect', () => setTimeout(() => socket.end(), 300))
  use(socket)
}
"""


def _node_arguments(role: str, name: str, version: str, trusts: str, folder: Path) -> list[str | Path]:
    node_version = _JSSE[version]
    return ["node", "-e", _NODE, "--", role, folder / f"{name}.key", folder / f"{name}.crt", node_version, trusts]


def _node_calls(port: int, version: str, trusts: bool, folder: Path) -> str:
    return said([*_node_arguments("client", "mse", version, "any" if trusts else "none", folder), str(port)])


def _node_waits(version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
    return started(_node_arguments("server", "wlc", version, "any" if trusts else "none", folder), r"port (\d+)")


# -- Erlang ------------------------------------------------------------------------------------------------------------

_ERLANG = {"1.0": "tlsv1", "1.1": "tlsv1.1", "1.2": "tlsv1.2", "1.3": "tlsv1.3"}


def _erlang(role: str, name: str, version: str, folder: Path) -> list[str | Path]:
    keys = [folder / f"{name}.key", folder / f"{name}.crt"]
    return ["escript", HERE / "peer.escript", role, *keys, _ERLANG[version]]


def _erlang_calls(port: int, version: str, trusts: bool, folder: Path) -> str:
    return said([*_erlang("client", "mse", version, folder), "any" if trusts else "none", str(port)])


def _erlang_waits(version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
    return started([*_erlang("server", "wlc", version, folder), "any" if trusts else "none"], r"port (\d+)")


# -- NSS ---------------------------------------------------------------------------------------------------------------


def _nss_folder(folder: Path, name: str, trusts: bool) -> str:
    """A data base with an end's own key, and the MSE's certificate if that is to be let in."""
    made = folder / f"nss-{name}-{trusts}"
    where = f"sql:{made}"
    if not made.exists():
        made.mkdir()
        for command in (
            ["certutil", "-N", "-d", where, "--empty-password"],
            ["pk12util", "-i", folder / f"{name}.p12", "-d", where, "-W", "secret"],
            ["certutil", "-A", "-d", where, "-n", "the-mse", "-t", "P,,", "-i", folder / "mse.crt"],
        )[: 3 if trusts else 2]:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return where


def _nss_calls(port: int, version: str, trusts: bool, folder: Path) -> str:
    database = _nss_folder(folder, "mse", False)
    only = f"tls{version}:tls{version}"
    # It never leaves by itself once it is in.
    command = ["timeout", "5", "tstclnt", "-h", "127.0.0.1", "-p", str(port)]
    judge = ["-o"] if trusts else []
    return said([*command, "-d", database, "-n", "mse", *judge, "-V", only])


@contextmanager
def _nss_waits(version: str, trusts: bool, folder: Path) -> Iterator[int]:
    database = _nss_folder(folder, "wlc", trusts)
    port = free_port()
    only = f"tls{version}:tls{version}"
    command = ["selfserv", "-n", "wlc", "-p", str(port), "-d", database, "-r", "-r", "-v", "-V", only]
    with started([*command], r"(?i)about to call accept()"):
        yield port


# -- tlslite-ng --------------------------------------------------------------------------------------------------------


def _tlslite_judge(trusts: bool) -> Any:
    from stacks_tlslite import api

    return None if trusts else api.Checker(x509Fingerprint="00" * 20)


def _tlslite_calls(port: int, version: str, trusts: bool, folder: Path) -> str:
    from stacks_tlslite import api, settings_of, shown

    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        sock.settimeout(PATIENCE_S)
        connection = api.TLSConnection(sock)
        try:
            connection.handshakeClientCert(*shown(MSE), settings=settings_of(version), checker=_tlslite_judge(trusts))
            sock.settimeout(REFUSAL_S)
            connection.read(1, 1)
        except TimeoutError:
            connection.close()
        except (api.TLSError, OSError) as error:
            return repr(error)
    return "up"


def _tlslite_waits(version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
    from stacks_tlslite import api, settings_of, shown

    def behave(sock: socket.socket) -> None:
        chain, key = shown(WLC)
        connection = api.TLSConnection(sock)
        with contextlib.suppress(api.TLSError):
            connection.handshakeServer(
                certChain=chain,
                privateKey=key,
                reqCert=True,
                settings=settings_of(version),
                checker=_tlslite_judge(trusts),
            )
            connection.read(1, 1)
            connection.close()

    return serving(behave)


# -- mbedTLS -----------------------------------------------------------------------------------------------------------


def _mbedtls_configuration(version: str, identity: Identity, **changes: Any) -> Any:
    from mbedtls import pk, tls, x509

    certificate = x509.CRT.from_PEM(identity.certificate_pem.decode())
    key = pk.RSA.from_PEM(identity.key_pem.decode())
    only = {
        "1.0": tls.TLSVersion.TLSv1,
        "1.1": tls.TLSVersion.TLSv1_1,
        "1.2": tls.TLSVersion.TLSv1_2,
    }[version]
    return tls.TLSConfiguration(
        certificate_chain=((certificate,), key),
        lowest_supported_version=only,
        highest_supported_version=only,
        **changes,
    )


def _mbedtls_store(anchor: Identity) -> Any:
    from mbedtls import tls, x509

    return tls.TrustStore([x509.CRT.from_PEM(anchor.certificate_pem.decode())])


def _mbedtls_shake(context: Any, sock: socket.socket, *, server: bool) -> str:
    from mbedtls import exceptions, tls

    wrapped = context.wrap_socket(sock) if server else context.wrap_socket(sock, server_hostname=None)
    try:
        while True:
            try:
                wrapped.do_handshake()
                return "up"
            except (tls.WantReadError, tls.WantWriteError):
                continue
    except (exceptions.TLSError, OSError) as error:
        return str(error)


def _mbedtls_calls(port: int, version: str, trusts: bool, folder: Path) -> str:
    from mbedtls import tls

    judge = {} if trusts else {"trust_store": _mbedtls_store(MSE)}
    context = tls.ClientContext(_mbedtls_configuration(version, MSE, validate_certificates=not trusts, **judge))
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        return _mbedtls_shake(context, sock, server=False)


def _mbedtls_waits(version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
    from mbedtls import tls

    store = _mbedtls_store(MSE if trusts else WLC)
    context = tls.ServerContext(_mbedtls_configuration(version, WLC, validate_certificates=True, trust_store=store))

    def behave(sock: socket.socket) -> None:
        _mbedtls_shake(context, sock, server=True)

    return serving(behave)


MAKES = (
    Make("OpenSSL", needs("openssl"), ("1.0", "1.1", "1.2", "1.3"), _openssl_calls, _openssl_waits, "number 46"),
    Make("GnuTLS", needs("gnutls-cli"), ("1.0", "1.1", "1.2", "1.3"), _gnutls_calls, _gnutls_waits, "alert \\[46\\]"),
    Make("JSSE", needs("javac"), ("1.0", "1.1", "1.2", "1.3"), *_jsse(), "alert: certificate_unknown"),
    Make(
        "Bouncy Castle",
        needs("javac") or ("" if _BOUNCY_CASTLE[0].exists() else "libbctls-java is not installed"),
        ("1.0", "1.1", "1.2", "1.3"), *_jsse(f"-Dproviders={_OF_BOUNCY_CASTLE}"), r"certificate_unknown\(46\)",
    ),
    Make("Node.js", needs("node"), ("1.0", "1.1", "1.2", "1.3"), _node_calls, _node_waits, "number 46"),
    Make(
        "Erlang", needs("escript"), ("1.0", "1.1", "1.2", "1.3"), _erlang_calls, _erlang_waits, "certificate_unknown",
    ),
    Make("NSS", needs("selfserv"), ("1.0", "1.1", "1.2", "1.3"), _nss_calls, _nss_waits, "CERTIFICATE_UNKNOWN"),
    Make(
        "tlslite-ng", needs_module("tlslite"), ("1.0", "1.1", "1.2", "1.3"), _tlslite_calls, _tlslite_waits,
        "description=46", quick=True,
    ),
    Make(
        "Mbed TLS", needs_module("mbedtls"), ("1.0", "1.1", "1.2"), _mbedtls_calls, _mbedtls_waits, "7780",
        quick=True,
    ),
    *BUILT,
    *LIBRARIES,
)  # fmt: skip
