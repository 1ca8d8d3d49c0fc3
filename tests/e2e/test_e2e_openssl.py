"""OpenSSL's own command against both of our sides: the tunnel is TLS, not only TLS between two of us."""

from __future__ import annotations

import shutil
import signal
import struct
import time
from pathlib import Path

import e2e_wire as wire
import pytest
from e2e_loadgen import SMALL, Identities, Start, eventually, new_identities
from e2e_openssl import OpenSsl, serve_openssl, serve_wlc
from e2e_peers import make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")

_FLAGS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
_KINDS = [("1.2", "p256"), ("1.2", "rsa-2048"), ("1.3", "p256"), ("1.3", "rsa-2048")]
BOTH = pytest.mark.parametrize(("version", "key"), _KINDS)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return new_identities(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def rsa_identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return new_identities(tmp_path_factory.mktemp("rsa"), "--key", "rsa-2048")


class TestClient:
    """`openssl s_client` as the MSE."""

    @BOTH
    def test_a_session_by_hand(
        self, start: Start, tmp_path: Path, identities: Identities, rsa_identities: Identities, version: str, key: str
    ) -> None:
        mine = identities if key == "p256" else rsa_identities
        options = ("--set", f'tls.version="{version}"', "--set", f"tls.key={key}")
        _, address = serve_wlc(start, tmp_path, mine, "127.77.30.1", *options)
        pem = mine.pems[0]
        with OpenSsl(
            tmp_path, "s_client", "-quiet", "-connect", address, _FLAGS[version], "-cert", pem, "-key", pem
        ) as client:  # fmt: skip
            client.say(wire.version_request(transaction=0xCAFE))
            answer = client.wait_for_bytes(16 + 20)
            # By hand, from docs/wire-profile.md: version response and capability.
            assert answer[:16] == bytes.fromhex("4e00 0002 00000010 0000cafe 0001 0000")
            assert answer[16:28] == bytes.fromhex("4e00 0003 00000014 00000000")
            assert answer[28:36] == struct.pack(">Q", 0x68EBE7)
            client.say(wire.subscribe_request(transaction=7, mask=0b11))
            answer = client.wait_for_bytes(36 + 24)[36:]
            assert answer[:24] == bytes.fromhex("4e00 0005 00000018 00000007 0000000000000003 0000 0000")
            # The load begins: the first notification.
            data = client.wait_for_bytes(60 + 12 + 32 + 4 * 14)[60:]
            (first, *_), _ = wire.take_frames(data)
            assert first.msg_id == wire.MEASUREMENT_NOTIFY
            assert first.transaction == 0
            sequence, due_ns, sent_ns, _, subservice, readings = wire.NOTIFY.unpack_from(first.body)
            assert (sequence, subservice, readings) == (0, 0, 4)
            assert len(first.body) == 32 + 4 * 14
            assert 0 < due_ns <= sent_ns <= time.time_ns()
            client.say(wire.frame(wire.ECHO_REQUEST, transaction=99))

            def echoed() -> bool:
                frames, _ = wire.take_frames(client.stdout)
                return wire.Frame(wire.ECHO_RESPONSE, 99, b"") in frames

            eventually(echoed, "the answer to an echo request")

    @pytest.mark.parametrize(("version", "key"), [("1.2", "rsa-2048"), ("1.3", "p256")])
    def test_the_tunnel(
        self, start: Start, tmp_path: Path, identities: Identities, rsa_identities: Identities, version: str, key: str
    ) -> None:
        mine = identities if key == "p256" else rsa_identities
        options = ("--set", f'tls.version="{version}"', "--set", f"tls.key={key}")
        _, address = serve_wlc(start, tmp_path, mine, "127.77.31.1", *options)
        pem = mine.pems[1]
        with OpenSsl(
            tmp_path, "s_client", "-connect", address, _FLAGS[version], "-cert", pem, "-key", pem
        ) as client:  # fmt: skip
            said = client.wait_for_text("Verify return code")
        assert f"TLSv{version}" in said
        assert "O = nmsp-loadgen" in said
        assert "Acceptable client certificate CA names" in said or "No client certificate CA names sent" in said
        assert ("Server public key is 256 bit" if key == "p256" else "Server public key is 2048 bit") in said

    def test_the_other_version_is_refused(self, start: Start, tmp_path: Path, identities: Identities) -> None:
        running, address = serve_wlc(start, tmp_path, identities, "127.77.32.1")
        pem = identities.pems[0]
        with OpenSsl(tmp_path, "s_client", "-connect", address, "-tls1_3", "-cert", pem, "-key", pem) as client:
            code, said = client.end()
        assert code != 0
        assert "alert protocol version" in said
        running.signal(signal.SIGINT)
        ended = running.end()
        assert ended.code == 130
        assert ended.counters["sessions.established"] == 0
        assert ended.errors == {"errors.accept.unsupported_protocol": 1}

    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_an_unlisted_certificate(
        self, start: Start, tmp_path: Path, identities: Identities, strangers: Identities, version: str
    ) -> None:
        running, address = serve_wlc(
            start, tmp_path, identities, "127.77.33.1", "--set", f'tls.version="{version}"'
        )  # fmt: skip
        pem = strangers.pems[0]
        with OpenSsl(
            tmp_path, "s_client", "-quiet", "-connect", address, _FLAGS[version], "-cert", pem, "-key", pem
        ) as client:  # fmt: skip
            code, said = client.end()
        assert code != 0
        assert "alert" in said
        assert client.stdout == b""
        running.signal(signal.SIGINT)
        ended = running.end()
        assert ended.code == 130
        assert ended.counters["sessions.established"] == 0
        assert ended.errors == {"errors.accept.key_hash_not_listed": 1}
        assert ended.counters["sessions.failed"] == 1

    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_no_certificate(self, start: Start, tmp_path: Path, identities: Identities, version: str) -> None:
        running, address = serve_wlc(
            start, tmp_path, identities, "127.77.34.1", "--set", f'tls.version="{version}"'
        )  # fmt: skip
        with OpenSsl(tmp_path, "s_client", "-quiet", "-connect", address, _FLAGS[version]) as client:
            code, said = client.end()
        assert code != 0
        assert "alert" in said
        running.signal(signal.SIGINT)
        ended = running.end()
        assert ended.code == 130
        assert ended.counters["sessions.established"] == 0
        assert ended.errors == {"errors.accept.peer_did_not_return_a_certificate": 1}

    def test_no_certificate_where_nobody_is_asked_who_they_are(
        self, start: Start, tmp_path: Path, identities: Identities, strangers: Identities
    ) -> None:
        """Without authentication any certificate will do."""
        _, address = serve_wlc(start, tmp_path, identities, "127.77.35.1", "--set", "wlc.authenticate=false")
        pem = strangers.pems[0]
        with OpenSsl(
            tmp_path, "s_client", "-quiet", "-connect", address, "-tls1_2", "-cert", pem, "-key", pem
        ) as client:  # fmt: skip
            client.say(wire.version_request())
            assert client.wait_for_bytes(36)[:4] == bytes.fromhex("4e000002")


class TestServer:
    """`openssl s_server` as the WLC."""

    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    @pytest.mark.parametrize("key", ["p256", "rsa-2048"])
    def test_it_sees_our_mse(self, start: Start, tmp_path: Path, version: str, key: str) -> None:
        scenario = tmp_path / "small.toml"
        scenario.write_text(SMALL.replace("count = 2", "count = 1"), "utf-8")
        certificate = make_certificate(tmp_path / "server.pem")
        with serve_openssl(
            tmp_path, "127.77.36.1", "-quiet", "-cert", certificate, "-Verify", "1", _FLAGS[version]
        ) as (server, address):  # fmt: skip
            running = start(
                "run", scenario, "--target", f"wlc={address}", "--set", f'tls.version="{version}"', "--set",
                f"tls.key={key}", "--set", "mse.setup_timeout=5s", "--set", "requests.measurement={rate=2}",
            )  # fmt: skip
            data = server.wait_for_bytes(16)
            (request, *more), rest = wire.take_frames(data[data.index(b"\x4e\x00\x00\x01") :])
            assert (request.msg_id, request.body) == (wire.VERSION_REQUEST, struct.pack(">HH", 1, 1))
            assert (more, rest) == ([], b"")
            # It asked for our certificate and got it: depth 0 is ours, by its MAC.
            server.wait_for_text("024d53")
            # And answered by hand, the session goes on.
            server.say(wire.version_response(request.transaction) + wire.capability())
            data = server.wait_for_bytes(len(data) + 20)
            frames, _ = wire.take_frames(data[data.index(b"\x4e\x00\x00\x01") :])
            assert [each.msg_id for each in frames] == [wire.VERSION_REQUEST, wire.SUBSCRIBE_REQUEST]
            assert frames[1].body == struct.pack(">Q", wire.RSSI_MS)
            server.say(wire.subscribe_response(frames[1].transaction))
            # What it asks in the load's half second says that the load has begun.
            data = server.wait_for_bytes(len(data) + 20)
            frames, _ = wire.take_frames(data[data.index(b"\x4e\x00\x00\x01") :])
            assert [each.msg_id for each in frames[2:]] == [wire.MEASUREMENT_REQUEST]
            server.say(wire.measurement_response(frames[2]) + wire.notify(0) + wire.notify(1))
            ended = running.end()
        ended.check_passed()
        assert ended.counters["sessions.established"] == 1
        assert ended.counters["notify.received"] == 2
        assert ended.counters["notify.lost"] == 0

    def test_a_certificate_that_is_trusted(self, start: Start, tmp_path: Path) -> None:
        """tls.trust names a file: its certificate is taken, another is not."""
        scenario = tmp_path / "small.toml"
        scenario.write_text(SMALL.replace("count = 2", "count = 1"), "utf-8")
        certificate = make_certificate(tmp_path / "server.pem", "server")
        make_certificate(tmp_path / "other.pem", "other")
        with serve_openssl(tmp_path, "127.77.37.1", "-quiet", "-cert", certificate, "-tls1_2") as (server, address):
            refused = start(
                "run", scenario, "--target", f"wlc={address}", "--set", "tls.trust=other.pem"
            ).end()  # fmt: skip
            assert refused.code == 3
            assert list(refused.errors.values()) == [1]
            assert next(iter(refused.errors)) == "errors.tls.certificate_verify_failed"
            eventually(lambda: "alert" in server.stderr, "the alert that openssl got")
            running = start(
                "run", scenario, "--target", f"wlc={address}", "--set", "tls.trust=server.pem", "--set",
                "mse.setup_timeout=1s",
            )  # fmt: skip
            server.wait_for_bytes(16)
            ended = running.end()
        # The tunnel is up; openssl does not speak NMSP.
        assert ended.errors == {"errors.session.setup_timeout": 1}
        assert ended.result["metrics"]["handshake.tcp"]["count"] == 1
        assert "handshake.tls" not in ended.result["metrics"]  # that is of sessions that were established
