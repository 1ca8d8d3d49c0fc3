"""Runs with dialogues other than the usual one: over TLS and over DTLS, both sides ours, and each in a process."""

from __future__ import annotations

from pathlib import Path

import pytest
from dialogue_samples import ENDED, OPAQUE, SHORT, UNANSWERED, UNASKED, WLC_FIRST, toml_with
from e2e_loadgen import SMALL, Ended, Identities, Start
from ports import free_port
from test_e2e_two_sides import LONG, interrupted, write_scenario

OVER = pytest.mark.parametrize("transport", ["tls", "dtls"])
ECHOES = ("--set", "session.echo_interval=100ms", "--set", "session.dead_interval=30s")
ASKED = ("echo.due", "echo.sent", "echo.dropped", "echo.received", "echo.unanswered", "echo.withdrawn")


def profile_file(folder: Path, dialogue: str, *lacks: str) -> Path:
    """A profile with this dialogue, and without these messages."""
    path = folder / "mine.toml"
    path.write_text(toml_with(dialogue, *lacks), "utf-8")
    return path


def run(start: Start, folder: Path, dialogue: str, transport: str, *lacks: str) -> Ended:
    profile_file(folder, dialogue, *lacks)
    scenario = folder / "small.toml"
    scenario.write_text(SMALL.replace("[wlc]", 'profile = "mine.toml"\n[wlc]', 1), "utf-8")
    ended = start("run", scenario, *ECHOES, "--set", f"transport={transport}").end()
    ended.check_passed()
    counters = ended.counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 8
    assert counters["notify.received"] == counters["notify.sent"] == counters["notify.due"] > 0
    assert ended.errors == {}
    return ended


@OVER
def test_the_wlc_speaks_first_and_asks_for_echoes(start: Start, tmp_path: Path, transport: str) -> None:
    counters = run(start, tmp_path, WLC_FIRST, transport).counters
    assert counters["echo.answered"] >= counters["echo.received"] > 0
    assert counters["echo.unmatched"] == counters["messages.unsupported"] == 0


@OVER
def test_neither_version_exchange_nor_capability(start: Start, tmp_path: Path, transport: str) -> None:
    run(start, tmp_path, SHORT, transport, "version_request", "version_response", "capability", "capability_request")


@OVER
@pytest.mark.parametrize("dialogue", [UNASKED, UNANSWERED], ids=["no subscription", "no answer"])
def test_both_ask_for_echoes(start: Start, tmp_path: Path, transport: str, dialogue: str) -> None:
    ended = run(start, tmp_path, dialogue, transport)
    assert ended.counters["echo.received"] > 0
    assert ended.result["metrics"]["echo.latency"]["count"] == ended.counters["echo.received"]


@OVER
def test_each_side_in_a_process_of_its_own_and_a_message_that_ends_the_session(
    start: Start, tmp_path: Path, identities: Identities, transport: str
) -> None:
    """The MSEs leave first, and say so."""
    host = "127.77.81.1" if transport == "tls" else "127.77.82.1"
    port = free_port(host)
    scenario = write_scenario(tmp_path, identities, f"{host}:{port}")
    profile_file(tmp_path, ENDED + '\necho = "wlc"')
    scenario.write_text(scenario.read_text("utf-8").replace("[wlc]", 'profile = "mine.toml"\n[wlc]', 1), "utf-8")
    hosts = [f"{host.rpartition('.')[0]}.{number}" for number in (1, 2, 3, 4)]
    over = (*ECHOES, "--set", f"transport={transport}")
    wlc = start("run", scenario, "--serve", "wlc", *LONG, *over)
    if transport == "tls":
        wlc.wait_for_listener(*((each, port) for each in hosts))
    else:
        wlc.wait_for_line("waiting")
    mse = start("run", scenario, "--serve", "mse", "--duration", "500ms", *over)
    mse_ended = mse.end()
    mse_ended.check_passed()
    wlc_ended = interrupted(wlc)
    ours, theirs = mse_ended.counters, wlc_ended.counters
    assert mse_ended.errors == wlc_ended.errors == {}
    assert ours["sessions.established"] == theirs["sessions.established"] == 8
    assert ours["sessions.closed"] == theirs["sessions.closed"] == 8
    # Figures of echoes are there at the side that asks, and at the other how many it answered.
    assert set(ASKED) <= theirs.keys()
    assert not set(ASKED) & ours.keys()
    assert theirs["echo.received"] > 0
    assert ours["echo.answered"] >= theirs["echo.received"]
    assert "echo.answered" not in theirs
    assert theirs["echo.sent"] == theirs["echo.received"] + theirs["echo.withdrawn"]


@OVER
def test_opaque_messages(start: Start, tmp_path: Path, transport: str) -> None:
    """A hail and its answer, one that is said every 100 ms and answered, and a goodbye of the WLCs, who leave first."""
    file = OPAQUE.replace('hex = "cc0000"', 'file = "back.bin"')
    (tmp_path / "back.bin").write_bytes(b"\xcc\0\0")
    counters = run(start, tmp_path, file, transport).counters
    # 8 sessions: hail and answer, and about five of the others in half a second, each answered; and each goodbye.
    assert counters["messages.opaque"] >= 8 * (2 + 2)
    assert counters["messages.unsupported"] == 0


def test_over_datagrams_both_sides_have_to_say_something(start: Start, tmp_path: Path) -> None:
    profile_file(tmp_path, 'opening = [{ sender = "wlc", message = "capability" }]')
    scenario = tmp_path / "small.toml"
    scenario.write_text(SMALL.replace("[wlc]", 'profile = "mine.toml"\n[wlc]', 1), "utf-8")
    start("run", scenario, "--set", "transport=dtls").end().check_refused(
        "profile: expected an opening in which both sides say something", "in which only the wlc does"
    )


def test_a_request_that_would_end_the_session_is_refused(start: Start, tmp_path: Path) -> None:
    profile_file(tmp_path, ENDED)
    scenario = tmp_path / "small.toml"
    text = SMALL.replace("[wlc]", 'profile = "mine.toml"\n[wlc]', 1)
    scenario.write_text(text + '[requests.unsubscribe]\nrate = 1\nsubservices = ["rssi-ms"]\n', "utf-8")
    start("run", scenario).end().check_refused("requests.unsubscribe", "unsubscribe_request ends a session")
