"""The causes that no peer on one machine brings about by itself; and that every cause is named by a test, and told."""

from __future__ import annotations

import ast
import re
import socket
import time
from contextlib import suppress
from pathlib import Path

import diagnosis_peers as peers
import pytest
from diagnosis_peers import MSE, SHORT_NS, WLC, Talker
from OpenSSL import SSL

from loadgen.diagnosis import carrier
from loadgen.diagnosis.cause_table import CAUSES
from loadgen.diagnosis.steps import CheckReport, CheckStep
from loadgen.diagnosis.wlc_check import check_wlc
from loadgen.nmsp.messages import ResponseStatus, SubscribeRequest, SubscribeResponse
from loadgen.transport.contexts import server_context
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.transport.verifying import Ruling

ROOT = Path(__file__).parents[2]


def _names(report: CheckReport) -> list[str]:
    return [cause.name for cause in report.causes]


# -- the network -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "step", "first", "others"),
    [
        ("unreachable", CheckStep.REACHABLE, "no_route", set()),
        ("timeout", CheckStep.REACHABLE, "filtered", {"wrong_address"}),
        ("reset", CheckStep.TCP, "rejected", set()),
        ("refused", CheckStep.TCP, "port_closed", {"rejected", "wrong_address"}),
    ],
)
def test_what_only_a_network_does(
    monkeypatch: pytest.MonkeyPatch, kind: str, step: CheckStep, first: str, others: set[str]
) -> None:
    def dial(_: tuple[str, int]) -> socket.socket:
        raise TransportFault(kind)

    monkeypatch.setattr(carrier, "dial", dial)
    report = check_wlc("127.0.0.1", 16113, peers.settings(MSE))
    assert (report.failed, report.kind) == (step.value, kind)
    assert _names(report)[0] == first
    assert others <= set(_names(report))


def test_nobody_comes_through() -> None:
    report = peers.wlc_waits(lambda _: None, timeout_ns=SHORT_NS)
    assert _names(report)[:2] == ["nobody_calls", "filtered_to_us"]


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [43, 44])
def test_a_wlc_that_takes_no_certificate_of_our_kind(number: int) -> None:
    """Nothing is wrong with ours that can be seen here: unsupported (43) and revoked (44) are the WLC's own matter."""

    def behave(connection: socket.socket) -> None:
        server = SSL.Connection(server_context(WLC.key_pem, WLC.certificate_pem, b"", "1.2", lambda *_: Ruling()), None)
        server.set_accept_state()
        server.bio_write(connection.recv(65536))
        with suppress(SSL.WantReadError):
            server.do_handshake()
        connection.sendall(server.bio_read(65536))
        connection.recv(65536)
        connection.sendall(bytes((21, 3, 3, 0, 2, 2, number)))  # an alert, fatal
        connection.shutdown(socket.SHUT_WR)
        peers.until_closed(connection)

    with peers.listening(behave) as port:
        report = check_wlc("127.0.0.1", port, peers.settings(MSE))
    assert report.failed == CheckStep.ACCEPTED.value
    assert _names(report)[0] == "certificate_kind"


# -- the conversation --------------------------------------------------------------------------------------------------


def test_a_wlc_that_answers_what_nobody_asked() -> None:
    def script(talker: Talker) -> None:
        _, transaction = talker.next()
        talker.say(SubscribeResponse(peers.RSSI_MS, ResponseStatus.OK), transaction)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        report = check_wlc("127.0.0.1", port, peers.settings(MSE))
    assert (report.failed, report.kind) == (CheckStep.CAPABILITY.value, "unexpected_message")
    assert _names(report)[0] == "out_of_order"


def test_an_mse_that_asks_for_something_before_it_has_said_what_it_speaks() -> None:
    def script(talker: Talker) -> None:
        talker.say(SubscribeRequest(peers.RSSI_MS), 1)
        talker.until_closed()

    report = peers.wlc_waits(lambda port: peers.scripted_mse(port, script))
    assert (report.failed, report.kind) == (CheckStep.CAPABILITY.value, "unexpected_message")
    assert _names(report)[0] == "out_of_order"


def test_an_mse_that_does_not_take_what_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """One notification always fits into what loopback keeps for a reader: here TCP says that it does not, and the WLC's
    patience is over once it has waited for that.
    """
    waited_ns = 0

    def sleep(_: float) -> None:
        nonlocal waited_ns
        waited_ns += 2 * peers.PATIENT_NS

    monkeypatch.setattr(Tunnel, "unacknowledged_bytes", lambda _: 1)
    waits = {"clock": lambda: time.monotonic_ns() + waited_ns, "sleep": sleep}
    report = peers.both(at_wlc=waits).at_wlc
    assert (report.failed, report.kind) == (CheckStep.NOTIFICATION.value, "timeout")
    assert _names(report)[0] == "mse_reads_nothing"


# -- the table ---------------------------------------------------------------------------------------------------------


def _texts_of_tests() -> set[str]:
    """Every string in the code of tests that have checks meet somebody."""
    texts: set[str] = set()
    for folder in ("diagnosis", "stacks"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            nodes = ast.walk(ast.parse(path.read_text("utf-8")))
            texts.update(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return texts


def test_every_cause_is_named_by_a_test() -> None:
    assert {cause.name for cause in CAUSES} - _texts_of_tests() == set()


def test_every_cause_stands_in_the_documentation_and_no_other() -> None:
    section = (ROOT / "docs" / "diagnosis.md").read_text("utf-8").partition("\n## Causes\n")[2].partition("\n## ")[0]
    rows = "\n".join(line.split("|")[2] for line in section.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", rows)) == {cause.name for cause in CAUSES}
