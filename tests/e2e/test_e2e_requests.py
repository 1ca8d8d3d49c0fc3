"""Requests through the command: both fleets, WLCs that answer badly or not at all, MSEs that ask without end."""

from __future__ import annotations

import contextlib
import signal
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import e2e_wire as wire
import pytest
from e2e_loadgen import PATIENT, REPO, SMALL, Ended, Identities, Run, Start
from e2e_peers import FakeMse, FakeWlc, WlcSession, make_certificate
from ports import free_port

# docs/wire-profile.md: ids and layouts written down once more.
CAPABILITY_REQUEST, UNSUBSCRIBE_RESPONSE = 8, 10
AP_INFO_NOTIFY = 116
KINDS = (
    *("capability", "subscribe", "subscribe_groups", "unsubscribe"),
    *("measurement", "information", "statistics", "on_demand", "wips_config"),
)
ASKING = "requests.measurement={rate=200}"
ASKING_ONCE = "requests.measurement={rate=2}"  # in the half second that `SMALL` has


@pytest.fixture(scope="module")
def whole(start_shared: Start) -> Ended:
    """The scenario that shows them all."""
    return start_shared("run", REPO / "scenarios" / "requests.toml", *PATIENT).end()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate") / "wlc.pem")


class TestBothFleets:
    """`scenarios/requests.toml`."""

    def test_everything_is_asked_and_answered(self, whole: Ended) -> None:
        whole.check_passed()
        counters = whole.counters
        assert counters["requests.due"] == 2290  # 458 a second for 5 s: the subscriptions begin half a second late
        assert counters["requests.due"] == counters["requests.sent"] + counters["requests.dropped"]
        assert counters["requests.sent"] == counters["requests.answered"]  # also what was under way in the last moment
        assert counters["requests.timed_out"] == counters["requests.unmatched"] == 0
        assert counters["requests.served"] >= counters["requests.answered"]
        assert whole.errors == {}

    def test_only_what_is_not_granted_just_then_is_refused(self, whole: Ended) -> None:
        # A quarter of the measurements, more or less by where in the half second they fall.
        assert 0 < whole.counters["requests.refused"] < 500
        metrics = whole.result["metrics"]
        assert metrics["request.measurement.latency"]["count"] < metrics["request.measurement.lag"]["count"] == 800
        for kind in KINDS[:4] + KINDS[5:]:
            assert metrics[f"request.{kind}.latency"]["count"] == metrics[f"request.{kind}.lag"]["count"], kind

    def test_every_kind_has_its_figures(self, whole: Ended) -> None:
        for kind in KINDS:
            latency, service, lag = (
                whole.result["metrics"][f"request.{kind}.{what}"] for what in ("latency", "service", "lag")
            )
            assert latency["count"] == service["count"] > 0
            assert latency["max"] >= service["max"]
            assert latency["max"] >= lag["min"]

    def test_notifications_stop_and_go_on_without_a_loss(self, whole: Ended) -> None:
        counters = whole.counters
        assert counters["notify.due"] == counters["notify.sent"] == counters["notify.received"]
        assert counters["notify.lost"] == counters["notify.reordered"] == counters["notify.dropped"] == 0
        assert counters["notify.due"] < 9000  # of 10,000, without unsubscribing

    def test_they_are_shown(self, whole: Ended) -> None:
        assert "requests" in whole.stdout + whole.stderr
        assert "request.measurement.latency" in whole.stdout + whole.stderr
        page = (whole.folder / "report.html").read_text("utf-8").replace("<wbr>", "")
        assert "Requests over time" in page
        assert "request.wips_config.lag" in page


def test_thresholds_on_requests(run: Run, small: Path) -> None:
    good = (
        "requests.timed_out == 0",
        "request.measurement.latency.p50 < 30s",
        "requests.answered / requests.due > 50%",
    )
    options = [word for text in (*good, "requests.sent < 10") for word in ("--threshold", text)]
    ended = run("run", small, "--set", ASKING, *options)
    assert ended.code in (1, 4)
    found = {each["text"]: each["status"] for each in ended.result["thresholds"]}
    assert found == {**dict.fromkeys(good, "passed"), "requests.sent < 10": "failed"}


def test_without_requests_nothing_of_them_is_in_a_result(run: Run, small: Path) -> None:
    ended = run("run", small, "--threshold", "requests.timed_out == 0")
    assert not [name for name in ended.counters if name.startswith(("requests.", "service."))]
    assert ended.result["thresholds"][0]["status"] == "error"


def _at(run: Run, small: Path, certificate: Path, behave: Callable[[WlcSession], None], *options: str) -> Ended:
    """One MSE that asks at this WLC."""
    with FakeWlc(certificate, behave) as wlc:
        ended = run("run", small, "--target", f"wlc={wlc.address}", "--set", "mse.count=1", "--set", ASKING, *options)
    assert wlc.failures == []
    return ended


def _each(session: WlcSession, act: Callable[[wire.Frame], None]) -> None:
    """Set up, and act upon every request until the MSE leaves. With the first comes a notification: in the load."""
    session.set_up()
    notifications = [wire.notify(0)]
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while (request := session.frames.next()) is not None:
            if request.msg_id == wire.ECHO_REQUEST:
                session.tls.sendall(wire.frame(wire.ECHO_RESPONSE, transaction=request.transaction))
            else:
                assert request.msg_id == wire.MEASUREMENT_REQUEST
                session.tls.sendall(notifications.pop() if notifications else b"")
                act(request)


def test_a_wlc_that_answers(run: Run, small: Path, certificate: Path) -> None:
    asked: set[bytes] = set()

    def behave(session: WlcSession) -> None:
        def act(request: wire.Frame) -> None:
            asked.add(request.body[:6])
            session.tls.sendall(wire.measurement_response(request))

        _each(session, act)

    ended = _at(run, small, certificate, behave)
    ended.check_passed()
    assert asked == {bytes(6)}  # about any device: whose it has we do not know
    counters = ended.counters
    assert counters["requests.due"] == counters["requests.sent"] + counters["requests.dropped"] == 100
    assert counters["requests.answered"] == counters["requests.sent"]
    assert counters["requests.answered"] > 0
    assert counters["generator.shortfall"] == counters["requests.dropped"]


def test_a_wlc_that_does_not_answer_is_asked_again(run: Run, small: Path, certificate: Path) -> None:
    seen: dict[int, int] = {}

    def behave(session: WlcSession) -> None:
        def act(request: wire.Frame) -> None:
            seen[request.transaction] = seen.get(request.transaction, 0) + 1

        _each(session, act)

    ended = _at(
        run, small, certificate, behave, "--duration", "2s", "--set", "requests.measurement.rate=20",
        "--set", "session.response_timeout=100ms", "--set", "session.retransmit_interval=50ms",
        "--set", "session.max_retransmits=2",
    )  # fmt: skip
    counters = ended.counters
    assert counters["requests.sent"] == counters["requests.timed_out"] + counters["requests.abandoned"]
    assert counters["requests.timed_out"] == ended.errors["errors.stream.timeout_measurement"] > 0
    assert counters["requests.answered"] == 0
    assert counters["sessions.closed"] == 1  # the session goes on
    assert max(seen.values()) == 3
    assert counters["requests.sent"] == len(seen)
    assert counters["requests.retransmitted"] == sum(seen.values()) - len(seen)


def test_a_wlc_whose_answers_are_to_nothing(run: Run, small: Path, certificate: Path) -> None:
    def behave(session: WlcSession) -> None:
        def act(request: wire.Frame) -> None:
            wrong = wire.measurement_response(request, request.transaction + 1000)
            other = wire.frame(UNSUBSCRIBE_RESPONSE, struct.pack(">QHxx", 0, 0), request.transaction)
            twice = wire.measurement_response(request) * 2
            session.tls.sendall(wrong + other + wire.capability() + twice)

        _each(session, act)

    ended = _at(run, small, certificate, behave)
    assert ended.code in (4, 5), ended.stdout
    assert any("responses that nobody had asked for came beside" in each for each in ended.result["verdict"]["reasons"])
    counters = ended.counters
    assert counters["requests.answered"] > 0
    assert counters["requests.unmatched"] >= 4 * counters["requests.answered"]
    assert ended.errors == {}
    assert counters["sessions.closed"] == 1


def test_a_wlc_that_tells_and_answers_unasked(run: Run, small: Path, certificate: Path) -> None:
    """A notification of a service that was not granted, a grant that nobody asked for, and answers without end."""

    def behave(session: WlcSession) -> None:
        session.set_up()
        notice = struct.pack(">QQQBB", 0, 1, 1, 22, 0)
        grants = wire.subscribe_response(2) + wire.subscribe_response(3, mask=(1 << 64) - 1)
        answers = wire.frame(wire.MEASUREMENT_RESPONSE, bytes(10), 7) * 5000
        asked = session.frames.next()  # so the load has begun
        assert asked is not None
        session.tls.sendall(wire.measurement_response(asked))
        session.tls.sendall(wire.notify(0) + wire.frame(AP_INFO_NOTIFY, notice) + grants + answers + wire.notify(1))
        session.answer_echoes()

    with FakeWlc(certificate, behave) as wlc:
        ended = run("run", small, "--target", f"wlc={wlc.address}", "--set", "mse.count=1", "--set", ASKING_ONCE)
    assert ended.code in (4, 5), ended.stdout
    assert any("5,002 responses that nobody had asked for" in each for each in ended.result["verdict"]["reasons"])
    assert wlc.failures == []
    assert ended.errors == {"errors.stream.not_subscribed": 1}
    assert ended.counters["requests.answered"] == ended.counters["requests.sent"] == 1
    assert ended.counters["requests.unmatched"] == 5002
    assert ended.counters["notify.received"] == 3
    assert ended.counters["notify.lost"] == 0
    assert ended.counters["sessions.closed"] == 1


def test_an_mse_that_asks_without_end_and_does_not_read(start: Start, tmp_path: Path, identities: Identities) -> None:
    address = ("127.77.31.1", free_port("127.77.31.1"))
    scenario = tmp_path / "serve.toml"
    text = SMALL.replace("count = 4", "count = 1").replace("127.77.2.1:0", f"{address[0]}:{address[1]}")
    scenario.write_text(text.replace("[mse]", f'auth_list = "{identities.auth_list}"\n[mse]'), "utf-8")
    running = start("run", scenario, "--serve", "wlc", "--duration", "300s")
    running.wait_for_listener(address)
    with FakeMse(address, identities.pems[0]) as good, FakeMse(address, identities.pems[1], receive_buffer=4096) as bad:
        good.set_up()
        body = bytes(6) + bytes([0, 0])
        for number in range(200):
            good.tls.sendall(wire.frame(wire.MEASUREMENT_REQUEST, body, number + 10))
        answers: dict[int, bytes] = {}
        while len(answers) < 200:
            frame = good.frames.next()
            assert frame is not None
            if frame.msg_id == wire.MEASUREMENT_RESPONSE:
                answers[frame.transaction] = frame.body
        bad.set_up()
        flood = b"".join(wire.frame(wire.MEASUREMENT_REQUEST, body, number) for number in range(1000))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while running.process.poll() is None:
                bad.tls.sendall(flood)
        assert running.process.poll() is None  # it was the link that ended
        running.process.send_signal(signal.SIGINT)
        ended = running.end()
    assert set(answers) == set(range(10, 210))
    assert {body[8:10] for body in answers.values()} == {b"\0\0"}
    assert len({body[:6] for body in answers.values()}) == 5  # the stations, in turn
    assert all(len(body) == 10 + wire.READING.size * body[7] for body in answers.values())
    assert ended.errors["errors.serve.not_reading"] == 1
    assert ended.counters["requests.served"] >= 200
    assert not [name for name in ended.counters if name in ("requests.sent", "requests.answered")]
