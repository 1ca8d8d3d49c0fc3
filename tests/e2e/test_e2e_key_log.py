"""`--keylog` against OpenSSL's own key log of the same tunnels, at either end, of `run` and of `check`."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import e2e_wire as wire
import prepared
import pytest
from e2e_loadgen import PATIENCE_S, Identities, Start
from e2e_openssl import OpenSsl, serve_wlc
from e2e_peers import make_certificate
from ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")

_FLAGS = {"1.2": "-tls1_2", "1.3": "-tls1_3", "dtls": "-dtls1_2"}
_LINES = {"1.2": 1, "1.3": 5, "dtls": 1}


def lines_of(path: Path) -> list[str]:
    return sorted(line for line in path.read_text("ascii").splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("version", ["1.2", "1.3", "dtls"])
def test_what_a_check_logs_is_what_the_server_logs(tmp_path: Path, identities: Identities, version: str) -> None:
    ours, theirs = tmp_path / "ours.log", tmp_path / "theirs.log"
    certificate = make_certificate(tmp_path / "server.pem")
    transport = ("--transport", "dtls") if version == "dtls" else ()
    address = f"127.77.38.1:{free_port('127.77.38.1')}"
    with OpenSsl(
        tmp_path, "s_server", "-accept", address, "-cert", certificate, _FLAGS[version], "-keylogfile", theirs
    ) as server:  # fmt: skip
        server.wait_for_text("ACCEPT")
        words = ["check", "wlc", address, "--identity", identities.pems[0], "--timeout", "1s", "--keylog", ours]
        done = prepared.loadgen().run([*words, *transport], PATIENCE_S)
    # The tunnel is up; openssl does not speak NMSP.
    assert done.returncode == 3, done.stderr
    assert f"the secrets of all tunnels are in {ours}" in done.stdout
    assert len(lines_of(ours)) == _LINES[version]
    assert lines_of(ours) == lines_of(theirs)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_a_run_logs_is_what_the_client_logs(
    start: Start, tmp_path: Path, identities: Identities, version: str
) -> None:
    ours, theirs = tmp_path / "ours.log", tmp_path / "theirs.log"
    options = ("--set", f'tls.version="{version}"', "--keylog", str(ours))
    running, address = serve_wlc(start, tmp_path, identities, "127.77.39.1", *options)
    pem = identities.pems[0]
    with OpenSsl(
        tmp_path, "s_client", "-quiet", "-connect", address, _FLAGS[version], "-cert", pem, "-key", pem, "-keylogfile",
        theirs,
    ) as client:  # fmt: skip
        client.say(wire.version_request(transaction=1))
        client.wait_for_bytes(16 + 20)
    running.signal(signal.SIGINT)
    running.end()
    assert len(lines_of(ours)) == _LINES[version]
    assert lines_of(ours) == lines_of(theirs)


def test_the_variable_and_a_file_that_cannot_be_had(tmp_path: Path, identities: Identities) -> None:
    named = os.environ | {"SSLKEYLOGFILE": str(tmp_path / "no" / "keys.log")}
    words = ["check", "wlc", "127.77.40.1:9", "--identity", identities.pems[0]]
    done = prepared.loadgen().run(words, PATIENCE_S, env=named)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == (
        f"loadgen: SSLKEYLOGFILE: expected a file of your own that can be written, found {tmp_path}/no/keys.log: "
        "no such file or directory"
    )
