"""TLS of captures: what is decrypted here, and what the real tshark decrypts, from the same file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import tshark_captures as captures
from tls_sessions import MSE, WLC, Session, contexts, session
from tshark_captures import tshark

from loadgen.capture.events import Data, How
from loadgen.capture.reading import events_of, secrets_of
from loadgen.capture.tls import TunnelKeys, Undecrypted, decrypted
from loadgen.capture.writing import TunnelWriter, file_header

pytestmark = pytest.mark.skipif(not captures.HAS_TSHARK, reason=captures.WHY_NOT)

BEGAN_NS = 1_800_000_000_123_456_789
SUITES = [
    *[("1.2", f"ECDHE-RSA-{name}") for name in ("AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-SHA256")],
    *[("1.2", name) for name in ("AES128-SHA", "AES256-CCM8", "DHE-RSA-CAMELLIA256-SHA256", "NULL-SHA256")],
    ("1.0", "AES256-SHA"),
    ("1.1", "ECDHE-RSA-AES128-SHA"),
    *[("1.3", f"TLS_{name}") for name in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")],
]


def talk(version: str, ciphers: str) -> Session:
    tunnel = session(contexts(version, ciphers)).shake()
    for size in (1, 100, 1000, 16_384, 40_000):
        tunnel.say(False, bytes(range(256)) * (size // 256) + b"n" * (size % 256)).say(True, b"echo %d" % size)
    return tunnel.close(True).close(False)


def captured(tunnel: Session, folder: Path) -> Path:
    """As a capture of its packets, encrypted as they were; the key log beside it."""
    writer, ns = TunnelWriter(MSE, WLC), BEGAN_NS
    parts = [file_header(application="test", interface="wire", description="as it was"), writer.open(ns)]
    for of_client, data in tunnel.wire:
        ns += 1_000_000
        parts.append(writer.data(of_client, ns, data))
    parts += [writer.close(True, ns, How.FIN), writer.close(False, ns, How.FIN)]
    path = folder / "tunnel.pcapng"
    path.write_bytes(b"".join(parts))
    path.with_suffix(".log").write_bytes(tunnel.keylog)
    return path


def by_tshark(path: Path) -> dict[bool, bytes]:
    """By who said it: lines of its node 0 begin at the margin."""
    log = f"tls.keylog_file:{path.with_suffix('.log')}"
    text = tshark("-r", path, "-d", f"tcp.port=={WLC[1]},tls", "-o", log, "-q", "-z", "follow,tls,raw,0")
    client_first = f"Node 0: {MSE[0]}:{MSE[1]}" in text
    said = {True: b"", False: b""}
    for line in text.splitlines():
        if line.strip() and set(line.strip()) <= set("0123456789abcdef"):
            said[line.startswith("\t") != client_first] += bytes.fromhex(line)
    return said


def by_us(path: Path, keys: TunnelKeys) -> tuple[dict[bool, bytes], list[Undecrypted]]:
    said, undecrypted = {True: b"", False: b""}, list[Undecrypted]()
    for event in decrypted(events_of([path.read_bytes()]), keys, undecrypted):
        if isinstance(event, Data):
            said[event.of_client] += event.data
    return said, undecrypted


@pytest.mark.parametrize(("version", "ciphers"), SUITES)
def test_both_read_what_was_said(tmp_path: Path, version: str, ciphers: str) -> None:
    tunnel = talk(version, ciphers)
    path = captured(tunnel, tmp_path)
    assert by_tshark(path) == tunnel.said
    assert by_us(path, TunnelKeys(bytes(tunnel.keylog))) == (tunnel.said, [])


@pytest.mark.skipif(shutil.which("editcap") is None, reason="needs Debian's wireshark-common")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_secrets_that_the_capture_brings_along(tmp_path: Path, version: str) -> None:
    tunnel = talk(version, "")
    path, with_secrets = captured(tunnel, tmp_path), tmp_path / "with.pcapng"
    subprocess.run(["editcap", "--inject-secrets", f"tls,{path.with_suffix('.log')}", path, with_secrets], check=True)
    keys = TunnelKeys()
    for log in secrets_of([with_secrets.read_bytes()]):
        keys.add(log)
    assert by_us(with_secrets, keys) == (tunnel.said, [])
    assert by_us(with_secrets, TunnelKeys())[0] == {True: b"", False: b""}
