"""Runs over DTLS, and OpenSSL's own command against both of our sides."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import e2e_wire as wire
import pytest
from e2e_loadgen import PATIENCE_S, PATIENT, REPO, SMALL, Identities, Running, Start, eventually
from e2e_peers import make_certificate
from ports import free_port

OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
DTLS = ("--set", "transport=dtls")


def _is_bound(address: tuple[str, int]) -> bool:
    """Whether a UDP socket has this IPv4 address."""
    wanted = "{:08X}:{:04X}".format(*struct.unpack("=I", socket.inet_aton(address[0])), address[1])
    lines = Path("/proc/net/udp").read_text("ascii").splitlines()[1:]
    return any(line.split()[1] == wanted for line in lines)


class TestRuns:
    def test_the_scenario(self, start: Start) -> None:
        """scenarios/dtls.toml, both sides: nothing is lost over loopback, and that is what it says."""
        ended = start("run", REPO / "scenarios" / "dtls.toml", *PATIENT).end()
        ended.check_passed()
        counters = ended.counters
        assert counters["sessions.established"] == counters["sessions.closed"] == 40
        # 2.5 bursts in 5 s of each of 20 WLCs, at evenly spread times, to two MSEs.
        assert counters["notify.due"] == 20 * 50 * 5 // 2 * 2
        assert counters["notify.due"] == counters["notify.sent"] == counters["notify.received"]
        assert counters["notify.writes"] == counters["notify.sent"] // 50 * 4
        for name in ("dropped", "lost", "duplicated", "reordered", "early"):
            assert counters[f"notify.{name}"] == 0, name
        assert counters["datagrams.dropped"] == counters["datagrams.overflowed"] == 0
        assert counters["messages.retransmitted"] == counters["messages.repeated"] == 0
        assert ended.errors == {}
        # Set-up takes two datagrams each way; echoes one. An echo that is under way while a WLC closes finds nobody.
        setting_up, echoes = 4 * 40, ended.result["metrics"]["echo.latency"]["count"]
        least = counters["notify.writes"] + setting_up + 2 * echoes
        most = counters["notify.writes"] + setting_up + counters["echo.sent"] + counters["echo.answered"]
        assert least <= counters["datagrams.received"] <= counters["datagrams.sent"] <= most
        assert "handshake.tcp" not in ended.result["metrics"]
        assert ended.result["metrics"]["handshake.tls"]["count"] == 40
        assert ended.result["metrics"]["echo.latency"]["count"] > 0
        # UDP does not tell what a peer has taken.
        assert "notify.unacknowledged_bytes" not in counters

    def test_two_sides(self, start: Start, tmp_path: Path, identities: Identities) -> None:
        port = free_port("127.77.60.1")
        text = SMALL.replace("count = 4", "count = 1").replace("127.77.2.1:0", f"127.77.60.1:{port}")
        scenario = tmp_path / "two.toml"
        scenario.write_text(text.replace("[mse]", f'auth_list = "{identities.auth_list}"\n[mse]'), "utf-8")
        serving = start("run", scenario, "--serve", "wlc", "--duration", "60s", *DTLS)
        eventually(lambda: _is_bound(("127.77.60.1", port)), "our WLC")
        pems = ", ".join(f'"{pem}"' for pem in identities.pems[:2])
        dialing = start(
            "run", scenario, "--target", f"wlc=127.77.60.1:{port}", "--duration", "2s",
            "--set", f"mse.identities=[{pems}]", *DTLS,
        )  # fmt: skip
        mse = dialing.end()
        mse.check_passed()
        assert mse.counters["sessions.closed"] == 2
        assert mse.counters["notify.received"] > 0
        assert mse.counters["notify.lost"] == 0
        assert "notify.sent" not in mse.counters
        serving.signal(signal.SIGINT)
        wlc = serving.end()
        assert wlc.code == 130
        assert (wlc.errors, mse.errors) == ({}, {})
        assert wlc.counters["sessions.attempted"] == wlc.counters["sessions.closed"] == 2  # they said goodbye
        # What was sent after the MSEs had left is owed to nobody.
        assert wlc.counters["notify.sent"] >= mse.counters["notify.received"]

    def test_requests(self, start: Start) -> None:
        """scenarios/requests.toml: every kind is asked and answered, as over TLS."""
        ended = start("run", REPO / "scenarios" / "requests.toml", *DTLS, *PATIENT).end()
        ended.check_passed()
        counters, metrics = ended.counters, ended.result["metrics"]
        assert counters["requests.due"] == 2290
        assert counters["requests.due"] == counters["requests.sent"] + counters["requests.dropped"]
        assert counters["requests.sent"] == counters["requests.answered"]
        assert counters["requests.timed_out"] == counters["requests.unmatched"] == 0
        assert 0 < counters["requests.refused"] < 500
        for kind in ("capability", "subscribe", "subscribe_groups", "unsubscribe", "information", "wips_config"):
            assert metrics[f"request.{kind}.latency"]["count"] == metrics[f"request.{kind}.lag"]["count"] > 0, kind
        # Notifications stop and go on.
        assert counters["notify.due"] == counters["notify.sent"] == counters["notify.received"] < 9000
        assert counters["notify.lost"] == counters["notify.dropped"] == 0
        assert ended.errors == {}

    @pytest.mark.parametrize("mtu", [1500, 576])
    def test_a_site(self, start: Start, mtu: int) -> None:
        """A small campus: all services are told of, in frames that are cut to what a datagram carries."""
        ended = start(
            "run", REPO / "scenarios" / "campus.toml", *DTLS, *PATIENT, "--workers", "1", "--set", f"dtls.mtu={mtu}",
            *("--set", "wlc.listen=127.77.65.1:0", "--set", "wlc.step=port", "--set", "wlc.count=3"),
            *("--set", "session.echo_interval=1s", "--set", 'load.stages=[{warmup="2s"},{hold="4s"}]'),
            *("--set", 'site.services={information="2s",statistics="2s",air_quality="2s",aps="2s",alarms_per_h=3000}'),
        ).end()  # fmt: skip
        ended.check_passed()
        counters = ended.counters
        assert counters["sessions.established"] == counters["sessions.closed"] == 6
        assert counters["notify.due"] == counters["notify.sent"] == counters["notify.received"] > 200
        told = {name: count for name, count in counters.items() if re.fullmatch(r"service\.\w+\.received", name)}
        assert sum(told.values()) == counters["notify.received"]
        assert len(told) >= 12
        assert counters["transmit.dropped.high"] == counters["transmit.dropped.normal"] == 0
        assert counters["notify.lost"] == counters["notify.early"] == 0
        # Several measurements go together where they fit.
        assert counters["notify.writes"] < counters["notify.sent"]
        assert ended.errors == {}

    def test_requests_at_a_site(self, start: Start) -> None:
        """Switches, whose MSEs ask beside it: answers have high priority, and are told once."""
        ended = start(
            "run", REPO / "scenarios" / "switches.toml", *DTLS, *PATIENT, "--workers", "1", "--set", "wlc.count=4",
            *("--set", "wlc.listen=127.77.66.1:0", "--set", "wlc.step=port", "--set", "switch.interval=1s"),
            *("--set", "switch.up=10s", "--set", "switch.down=5s", "--set", 'load.stages=[{hold="4s"}]'),
            *("--set", "requests.capability={rate=5}", "--set", "requests.subscribe={rate=2}"),
            *("--set", 'requests.unsubscribe={rate=2, subservices=["location"]}'),
        ).end()  # fmt: skip
        ended.check_passed()
        counters = ended.counters
        assert counters["notify.due"] == counters["notify.sent"] == counters["notify.received"] > 0
        assert counters["requests.sent"] == counters["requests.answered"] > 0
        assert ended.errors == {}


class Client:
    """`openssl s_client` over DTLS: a frame written to its stdin at once is a datagram."""

    def __init__(self, folder: Path, address: str, pem: Path, *options: str) -> None:
        self._out, self._err = folder / "client.stdout", folder / "client.stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                ["openssl", "s_client", "-dtls1_2", "-connect", address, "-cert", pem, "-key", pem, *options],
                stdin=subprocess.PIPE, stdout=out, stderr=err,
            )  # fmt: skip

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self.process)

    def say(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def said(self) -> str:
        return self._err.read_text("utf-8", "replace") + self._out.read_text("utf-8", "replace")

    def frames(self, count: int) -> list[wire.Frame]:
        """The first so many frames that it printed; with -quiet it prints nothing else."""

        def there() -> list[wire.Frame] | None:
            frames, _ = wire.take_frames(self._out.read_bytes())
            assert len(frames) >= count or self.process.poll() is None, self.said()
            return frames if len(frames) >= count else None

        found: list[wire.Frame] = eventually(there, f"{count} frames; so far {self.said()}")
        return found


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    if process.poll() is None:
        process.kill()
    process.wait(PATIENCE_S)


def _serve(start: Start, folder: Path, identities: Identities, host: str, *options: str) -> tuple[Running, str]:
    port = free_port(host)
    scenario = folder / "serve.toml"
    text = SMALL.replace("count = 4", "count = 1").replace("127.77.2.1:0", f"{host}:{port}")
    scenario.write_text(text.replace("[mse]", f'auth_list = "{identities.auth_list}"\n[mse]'), "utf-8")
    running = start("run", scenario, "--serve", "wlc", "--duration", "60s", *DTLS, *options)
    eventually(lambda: _is_bound((host, port)), "our WLC")
    return running, f"{host}:{port}"


@OPENSSL
class TestClientOfOpenSsl:
    @pytest.mark.parametrize("key", ["p256", "rsa-2048"])
    def test_a_session_by_hand(self, start: Start, tmp_path: Path, identities: Identities, key: str) -> None:
        running, address = _serve(start, tmp_path, identities, "127.77.61.1", "--set", f"tls.key={key}")
        with Client(tmp_path, address, identities.pems[0], "-quiet") as client:
            client.say(wire.version_request(transaction=0xCAFE))
            version, capability = client.frames(2)[:2]
            assert version == wire.Frame(wire.VERSION_RESPONSE, 0xCAFE, struct.pack(">HH", 1, 0))
            assert capability == wire.Frame(wire.CAPABILITY, 0, struct.pack(">Q", wire.CATALYST_9800))
            client.say(wire.version_request(transaction=0xCAFE))  # as if the answer had been lost
            assert client.frames(4)[2:4] == [version, capability]
            client.say(wire.subscribe_request(transaction=7, mask=0b11))
            answer, first = client.frames(6)[4:6]
            assert answer == wire.Frame(wire.SUBSCRIBE_RESPONSE, 7, struct.pack(">QHxx", 3, 0))
            assert first.msg_id == wire.MEASUREMENT_NOTIFY
            assert wire.NOTIFY.unpack_from(first.body)[0] == 0
            client.say(wire.frame(wire.ECHO_REQUEST, transaction=99))
            eventually(lambda: wire.Frame(wire.ECHO_RESPONSE, 99, b"") in client.frames(6), "the echo")
            running.signal(signal.SIGINT)
            ended = running.end()
            # It was told goodbye (close_notify), and ends by itself.
            assert client.process.wait(PATIENCE_S) == 0
        assert ended.errors == {}
        assert ended.counters["sessions.established"] == ended.counters["sessions.closed"] == 1
        assert ended.counters["messages.repeated"] == 1

    def test_the_tunnel(self, start: Start, tmp_path: Path, identities: Identities) -> None:
        _, address = _serve(start, tmp_path, identities, "127.77.62.1")
        with Client(tmp_path, address, identities.pems[0], "-state") as client:
            eventually(lambda: "Verify return code" in client.said(), "the handshake")
            said = client.said()
        assert "DTLSv1.2" in said
        assert "read hello verify request" in said.lower()  # it was asked for a cookie
        assert "O = nmsp-loadgen" in said

    @pytest.mark.parametrize("delay", ["0s", "300ms"])
    def test_an_unlisted_certificate(self, start: Start, tmp_path: Path, identities: Identities, delay: str) -> None:
        running, address = _serve(start, tmp_path, identities, "127.77.63.1", "--set", f"wlc.aaa.delay={delay}")
        stranger = make_certificate(tmp_path / "stranger.pem")
        with Client(tmp_path, address, stranger, "-quiet") as client:
            assert client.process.wait(PATIENCE_S) != 0
            assert "SSL alert number 46" in client.said()
        running.signal(signal.SIGINT)
        ended = running.end()
        assert ended.errors == {"errors.accept.key_hash_not_listed": 1}
        assert ended.counters["sessions.failed"] == 1


@contextlib.contextmanager
def _server(folder: Path, host: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, str]]:
    """`openssl s_server` with cookies (-listen); a terminal of its own keeps its stdin open."""
    port = free_port(host)
    out = folder / "server.stdout"
    with out.open("wb") as stdout:
        process = subprocess.Popen(
            ["openssl", "s_server", "-dtls1_2", "-listen", "-accept", f"{host}:{port}", "-quiet",
             "-cert", make_certificate(folder / "server.pem"), "-Verify", "1"],
            stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        eventually(lambda: _is_bound((host, port)), "openssl s_server")
        yield process, out, f"{host}:{port}"
    finally:
        _end(process)


@OPENSSL
def test_our_mse_at_a_server_of_openssl(start: Start, tmp_path: Path) -> None:
    """By hand, as a WLC would: version, capability, subscription, notifications, and an echo."""
    scenario = tmp_path / "small.toml"
    scenario.write_text(SMALL.replace("count = 2", "count = 1"), "utf-8")

    with _server(tmp_path, "127.77.64.1") as (server, out, address):
        running = start(
            "run", scenario, "--target", f"wlc={address}", *DTLS, "--duration", "2s",
            "--set", "session.echo_interval=300ms",
        )  # fmt: skip

        def frames() -> list[wire.Frame]:
            data = out.read_bytes()
            return wire.take_frames(data[data.index(b"\x4e\x00\x00") :])[0] if b"\x4e\x00\x00" in data else []

        def say(data: bytes) -> None:
            assert server.stdin is not None
            os.write(server.stdin.fileno(), data)

        (request,) = eventually(frames, "a version request")[:1]
        assert (request.msg_id, request.body) == (wire.VERSION_REQUEST, struct.pack(">HH", 1, 1))
        say(wire.version_response(request.transaction) + wire.capability())
        subscribe = eventually(lambda: [f for f in frames() if f.msg_id == wire.SUBSCRIBE_REQUEST], "a subscription")[0]
        say(wire.subscribe_response(subscribe.transaction))
        echo = eventually(lambda: [f for f in frames() if f.msg_id == wire.ECHO_REQUEST], "an echo request")[0]
        say(wire.frame(wire.ECHO_RESPONSE, transaction=echo.transaction))
        for sequences in ((0, 1), (3,), (4, 5, 6)):
            say(b"".join(wire.notify(sequence) for sequence in sequences))
        ended = running.end()
        assert "024d53" in out.read_text("latin-1")  # it has seen our certificate
    assert ended.code in (4, 5), ended.stderr  # it lost one of seven, and answered one echo
    counters = ended.counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 1
    assert counters["notify.received"] == 6
    assert counters["notify.lost"] == 1
    assert counters["echo.sent"] >= 1
    assert ended.result["metrics"]["echo.latency"]["count"] == 1
    assert ended.errors == {}
