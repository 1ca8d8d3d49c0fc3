"""Handshake-only load over DTLS: both sides, each side alone with OpenSSL's own command at the other, a search."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from e2e_loadgen import PATIENCE_S, Ended, Identities, Start, eventually, new_identities, side_by_side
from ports import free_port
from test_e2e_dtls import _end, _is_bound, _serve, make_certificate

OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
SHAKE = """
name = "shake"
transport = "dtls"
[wlc]
count = 3
listen = "127.77.90.1:0"
step = "port"
[mse]
count = 2
[load]
kind = "handshake"
stages = [{ hold = "500ms" }]
[capacity]
warmup = "200ms"
hold = "500ms"
confirm = "500ms"
cooldown = "50ms"
"""
RUNS = {
    "rated": ["load.rate=40"],
    "rsa": ["load.rate=40", "tls.key=rsa-2048", "tls.strong_cipher=false"],
    "fast": ["load.concurrency=4"],
    "resumed": ["load.concurrency=1", "load.resumed=1"],
    "slow list": ["load.rate=20", "wlc.aaa.delay=100ms"],
}


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dtls") / "shake.toml"
    path.write_text(SHAKE, "utf-8")
    return path


@pytest.fixture(scope="module")
def runs(start_shared: Start, scenario: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    strangers = new_identities(tmp_path_factory.mktemp("strangers"))
    wanted = RUNS | {"refused": ["load.rate=20", f'wlc.auth_list="{strangers.auth_list}"']}

    def end(overrides: list[str]) -> Ended:
        options = [word for override in overrides for word in ("--set", override)]
        return start_shared("run", scenario, "--workers", "1", *options).end()

    return side_by_side({name: lambda chosen=chosen: end(chosen) for name, chosen in wanted.items()})  # type: ignore[misc]


def handshakes(ended: Ended, *names: str) -> tuple[int, ...]:
    return tuple(ended.counters[f"handshakes.{name}"] for name in names)


def counts(ended: Ended) -> dict[str, int]:
    return {name: metric["count"] for name, metric in ended.result["metrics"].items()}


@pytest.mark.parametrize(("name", "due"), [("rated", 20), ("rsa", 20), ("slow list", 10)])
def test_at_a_rate(runs: dict[str, Ended], name: str, due: int) -> None:
    ended = runs[name]
    ended.check_passed()
    assert handshakes(ended, "due", "attempted", "completed", "failed", "dropped") == (due, due, due, 0, 0)
    assert ended.counters["accept.success"] == due
    assert ended.errors == {}
    found = counts(ended)
    assert found["handshake.tls"] == found["handshake.latency"] == found["handshake.lag"] == due
    assert "handshake.tcp" not in found
    assert set(ended.result["rates"]) == {"handshake.completed_per_s"}
    assert ended.counters["datagrams.sent"] == 0  # those of handshakes are not counted
    assert ended.result["kind"] == "handshake"


def test_a_list_that_takes_its_time_takes_it_in_the_handshake(runs: dict[str, Ended]) -> None:
    assert runs["slow list"].result["metrics"]["handshake.tls"]["min"] >= 0.1e9


def test_as_fast_as_it_goes(runs: dict[str, Ended]) -> None:
    ended = runs["fast"]
    ended.check_passed()
    attempted, completed, failed, resumed = handshakes(ended, "attempted", "completed", "failed", "resumed")
    assert attempted == completed > 6
    assert (failed, resumed) == (0, 0)
    assert {"handshakes.due", "handshakes.dropped"}.isdisjoint(ended.counters)


def test_all_but_the_first_of_each_pair_are_resumed(runs: dict[str, Ended]) -> None:
    ended = runs["resumed"]
    ended.check_passed()
    completed, resumed = handshakes(ended, "completed", "resumed")
    assert resumed == completed - 6 > 0
    assert counts(ended)["handshake.tls_resumed"] == resumed
    assert counts(ended)["handshake.tls"] == 6


def test_an_mse_that_is_refused(runs: dict[str, Ended]) -> None:
    ended = runs["refused"]
    assert ended.code == 3, ended.stderr
    assert handshakes(ended, "due", "attempted", "completed", "failed") == (10, 10, 0, 10)
    assert ended.errors == {
        "errors.accept.key_hash_not_listed": 10,
        "errors.tls.alert_certificate_unknown": 10,
    }


MOST = {"handshake.per_s": 20, "notify.per_s": 40, "sessions": 6}


def test_a_search(start: Start, scenario: Path) -> None:
    """Handshakes, notifications and sessions: what is searched for over TLS is over DTLS."""
    options = [
        word
        for name, most in MOST.items()
        for word in ("--dimension", name, "--start", f"{name}={most}", "--max", f"{name}={most}")
    ]
    ended = start("capacity", scenario, *options).end()
    ended.check_passed()
    found = {search["dimension"]: search for search in ended.result["dimensions"]}
    assert set(found) == set(MOST)
    for name, most in MOST.items():
        # A machine that has no time for that many makes the generator late, and says so.
        if ended.code == 0:
            assert (found[name]["outcome"], found[name]["limit"]) == ("not reached", most), found[name]
        assert found[name]["probes"]


@OPENSSL
class TestOpenSsl:
    def test_clients(self, start: Start, tmp_path: Path, identities: Identities) -> None:
        """One new, and one that resumes it; our WLC counts both."""
        running, address = _serve(
            start, tmp_path, identities, "127.77.91.1",
            *("--set", "load={kind='handshake', resumed=0.5, stages=[{hold='60s'}]}"),
        )  # fmt: skip
        pem, session = identities.pems[0], tmp_path / "session.pem"
        said = []
        for option in ("-sess_out", "-sess_in"):
            command = ["openssl", "s_client", "-dtls1_2", "-connect", address, "-cert", pem, "-key", pem]
            done = subprocess.run(
                [*command, option, session],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE_S,
                check=True,
            )
            said.append(done.stdout.decode("utf-8", "replace"))
        assert "New, TLSv1.2" in said[0]
        assert "Reused, TLSv1.2" in said[1]
        running.signal(signal.SIGINT)
        ended = running.end()
        assert handshakes(ended, "attempted", "completed", "failed", "resumed") == (2, 2, 0, 1)
        assert ended.errors == {}
        assert counts(ended)["handshake.tls"] == counts(ended)["handshake.tls_resumed"] == 1

    def test_a_server(self, start: Start, scenario: Path, tmp_path: Path) -> None:
        """One, for it knows no other client after its first."""
        host = "127.77.92.1"
        port = free_port(host)
        process = subprocess.Popen(
            ["openssl", "s_server", "-dtls1_2", "-listen", "-accept", f"{host}:{port}", "-quiet",
             "-cert", make_certificate(tmp_path / "server.pem"), "-Verify", "1"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            eventually(lambda: _is_bound((host, port)), "openssl s_server")
            ended = start(
                "run", scenario, "--target", f"wlc={host}:{port}", "--workers", "1", "--duration", "1s",
                *("--set", "mse.count=1", "--set", "load.rate=1"),
            ).end()  # fmt: skip
        finally:
            _end(process)
        assert handshakes(ended, "due", "attempted", "completed", "failed") == (1, 1, 1, 0)
        assert ended.errors == {}
