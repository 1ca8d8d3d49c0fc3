"""`loadgen check` as a person calls it: exit codes, what is printed, files that are wrong."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import diagnosis_peers as peers
import odd_certificates as odd
import prepared
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from diagnosis_peers import MSE

from loadgen.identity.authlist import AuthEntry
from loadgen.identity.devices import ios_xe_config

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return prepared.loadgen().run(["check", *arguments], peers.PATIENCE_S, cwd=ROOT)


@pytest.fixture
def identity(tmp_path: Path) -> str:
    return str(peers.pem_of(MSE, tmp_path / "mse.pem"))


@pytest.fixture
def auth_list(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text(ios_xe_config([AuthEntry.of(MSE, "sha256", "spki")]), "utf-8")
    return path


def pair(identity: str, auth_list: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], str, str, int]:
    """`check wlc` at `check mse`, both with these options; what the latter printed, its stderr and its exit code."""
    words = ["check", "mse", "--listen", "127.0.0.1:0", "--auth-list", auth_list, *options]
    waiting = prepared.loadgen().start(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with waiting:
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        first = waiting.stdout.readline()
        assert "waiting for an MSE at 127.0.0.1 port " in first
        address = f"127.0.0.1:{first.split()[-1]}"
        done = run("wlc", address, "--identity", identity, *options)
        code = waiting.wait(peers.PATIENCE_S)
        return done, waiting.stdout.read(), waiting.stderr.read(), code


def test_every_step_passes(identity: str, auth_list: Path) -> None:
    done, out, _, code = pair(identity, auth_list)
    assert (done.returncode, code) == (0, 0), done.stderr + done.stdout + out
    for printed in (done.stdout, out):
        assert "PASSED   every step of the tunnel" in printed
        assert sum(line.startswith("  passed") for line in printed.splitlines()) == 10


def test_over_datagrams(identity: str, auth_list: Path) -> None:
    done, out, err, code = pair(identity, auth_list, "--transport", "dtls", "--trace")
    assert (done.returncode, code) == (0, 0), done.stderr + done.stdout + out
    for printed, traced in ((done.stdout, done.stderr), (out, err)):
        assert "PASSED   every step of the tunnel" in printed
        lines = printed.splitlines()
        assert sum(line.startswith("  passed") for line in lines) == 9
        assert sum(line.startswith("  not needed") for line in lines) == 1
        assert any(line.startswith("  passed       DTLS version and cipher ") for line in lines)
        assert "NMSP connection success! conn 0" in traced


def test_a_list_as_the_vendor_s_note_prints_it(identity: str, auth_list: Path) -> None:
    """61 digits and a blank: exit 3 on both sides, and the place."""
    text = auth_list.read_text("utf-8")
    digits = peers.hash_of(MSE)
    auth_list.write_text(text.replace(digits, f"{digits[:44]}{digits[47:61]} {digits[61:]}"), "utf-8")
    done, out, _, code = pair(identity, auth_list)
    assert (done.returncode, code) == (3, 3)
    assert "  1. missing_digits: the key hash in the list has digits missing" in out
    assert "61 hex digits and 1 blank" in out
    assert "  FAILED       our key hash listed" in done.stdout
    assert "likely causes, most likely first:" in done.stdout


def test_a_trace_on_both_sides(identity: str, auth_list: Path) -> None:
    done, _, err, code = pair(identity, auth_list, "--trace", "--strong-cipher", "off")
    assert (done.returncode, code) == (0, 0)
    assert "SSL state = 0x2111; where = 0x2001, ret = 0x1" in err
    assert "Peer validated against AuthList" in err
    assert "NMSP connection success! conn 0" in err
    assert "SSL state = 0x1110; where = 0x1001, ret = 0x1" in done.stderr
    assert "SSL state" not in done.stdout


def test_a_closed_port_is_exit_3(identity: str) -> None:
    done = run("wlc", f"127.0.0.1:{peers.closed_port()}", "--identity", identity)
    assert done.returncode == 3
    assert "  1. port_closed: " in done.stdout
    assert done.stderr == ""


def test_a_json_document_and_nothing_else(identity: str) -> None:
    done = run("wlc", f"127.0.0.1:{peers.closed_port()}", "--identity", identity, "--json")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert (document["passed"], document["failed"], document["kind"]) == (False, "tcp", "refused")
    assert document["causes"][0]["name"] == "port_closed"
    assert [step["outcome"] for step in document["steps"]] == ["passed", "failed", *["not reached"] * 8]


def test_nobody_comes(auth_list: Path) -> None:
    done = run("mse", "--listen", "127.0.0.1:0", "--auth-list", str(auth_list), "--timeout", "300ms")
    assert done.returncode == 3
    assert "  1. nobody_calls: " in done.stdout


def test_an_interrupt_ends_the_wait(auth_list: Path) -> None:
    arguments = ["mse", "--listen", "127.0.0.1:0", "--auth-list", str(auth_list)]
    command = [sys.executable, "-m", "loadgen", "check", *arguments]
    waiting = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with waiting:
        assert waiting.stdout is not None
        port = int(waiting.stdout.readline().split()[-1])
        with socket.create_connection(("127.0.0.1", port)):
            assert "an MSE has come" in waiting.stdout.readline()
            assert "TCP connection" in waiting.stdout.readline()
            waiting.send_signal(signal.SIGINT)
            out, err = waiting.communicate(timeout=peers.PATIENCE_S)
    assert waiting.returncode == 130
    assert "Traceback" not in err
    assert out.count("not reached") == 8


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["wlc", "127.0.0.1", "--identity", "missing.pem"], "missing.pem"),
        (["wlc", "127.0.0.1:x", "--identity", "{identity}"], "HOST[:PORT]"),
        (["wlc", "127.0.0.1", "--identity", "{identity}", "--subscribe", "rssi"], "rssi-ms"),
        (["wlc", "127.0.0.1", "--identity", "{identity}", "--timeout", "soon"], "--timeout"),
        (["wlc", "127.0.0.1", "--identity", "{identity}", "--trust", "missing.pem"], "missing.pem"),
        (["mse", "--listen", "127.0.0.1:0"], "--auth-list"),
        (["mse", "--listen", "192.0.2.1:16113", "--unauthenticated"], "--listen"),
    ],
)
def test_bad_input_is_exit_2(arguments: list[str], part: str, identity: str) -> None:
    done = run(*(argument.replace("{identity}", identity) for argument in arguments))
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_in_use(auth_list: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = run("mse", "--listen", f"127.0.0.1:{port}", "--auth-list", str(auth_list))
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr


def test_an_identity_of_another_time_is_refused_with_the_option_that_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "old.pem"
    small = odd.certificate(odd.mac_name(), odd.RSA_1024, digest=SHA1)
    path.write_bytes(odd.identity_pem(odd.RSA_1024, small))
    port = peers.closed_port()
    done = run("wlc", f"127.0.0.1:{port}", "--identity", str(path))
    assert done.returncode == 2
    assert done.stderr == (
        f"loadgen: {path}: expected certificates that OpenSSL takes today (RSA of 2048 bits, SHA-256), or"
        " --old-certificates, found an RSA key of 1024 bits in certificate number 1\n"
    )
    done = run("wlc", f"127.0.0.1:{port}", "--identity", str(path), "--old-certificates")
    assert done.returncode == 3
    assert "port_closed" in done.stdout
