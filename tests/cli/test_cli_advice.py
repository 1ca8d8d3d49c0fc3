"""After a run in which no session came up: what to try next, as commands that work."""

from __future__ import annotations

import shlex
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadgen.cli.check import check
from loadgen.cli.main import cli
from loadgen.cli.metrics import metrics
from loadgen.commands.advice import advice
from loadgen.errors import InputError
from loadgen.identity.credentials import new_key, self_signed
from loadgen.measure.names import COSTS, COUNTERS, METRICS, RATES
from loadgen.prepare.job import Source
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario

MAC = "02:4d:53:00:00:01"


def said(path: Path, use: Use, where: tuple[str, int] | None = None, text: str = "", **errors: int) -> list[str]:
    path.write_text('name = "s"\nload.rate = 1\n' + text, "utf-8")
    scenario, profile = load_scenario(path)
    targets = [] if where is None else [where]
    plan = make_plan(scenario, profile, use=use, targets=targets)
    counters = {f"errors.{name.replace('__', '.')}": count for name, count in errors.items()}
    return advice(Source(path, scenario, profile, use), plan, counters)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.toml"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    identity = self_signed(MAC, new_key("p256"), datetime.now(UTC))
    (tmp_path / "mse.pem").write_bytes(identity.key_pem + identity.certificate_pem)
    return tmp_path / "mse.pem"


def command_in(line: str) -> list[str]:
    return shlex.split(line.partition(": ")[2])


def test_the_command_is_one_and_goes_to_the_same_target(path: Path, pem: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = server.getsockname()
    first, second = said(path, Use.TARGET_WLC, where, 'mse.identities = ["mse.pem"]', tcp__refused=1)
    assert first.startswith(f"nobody answered at 127.0.0.1:{where[1]}: start the WLCs first")
    assert "--wait-for-target 30s" in first
    name, *words = command_in(second)
    assert (name, words) == ("loadgen", ["check", "wlc", f"127.0.0.1:{where[1]}", "--identity", str(pem)])
    ended = CliRunner().invoke(cli, words, standalone_mode=False)
    assert ended.return_value == 3, ended.output
    assert "refused" in ended.output


def test_what_the_scenario_says_of_the_tunnel_goes_with_it(path: Path, pem: Path) -> None:
    text = (
        'mse = { identities = ["mse.pem"], subscribe = ["info-ms", "rssi-ms"] }\nwlc.auth_list = "list of ours.txt"\n'
        '[tls]\nstrong_cipher = false\nkey = "rsa-2048"\nkey_hash = "sha1"\n'
        'hash_over = "certificate"\ntrust = "ca.pem"\n'
    )
    (line,) = said(path, Use.TARGET_WLC, ("fe80::1%eth0", 7), text, tls__closed=2)
    folder = path.parent
    assert command_in(line)[1:] == [
        *("check", "wlc", "[fe80::1%eth0]:7", "--trust", f"{folder}/ca.pem", "--subscribe", "info-ms,rssi-ms"),
        *("--auth-list", f"{folder}/list of ours.txt", "--key-hash", "sha1", "--hash-over", "certificate"),
        *("--strong-cipher", "off", "--identity", str(pem)),
    ]


def test_identities_that_were_made_for_the_run_are_gone(path: Path) -> None:
    (line,) = said(path, Use.TARGET_WLC, ("192.0.2.7", 16113), "", tcp__timeout=1)
    assert line.endswith(
        "loadgen identity new --out keys && loadgen check wlc 192.0.2.7:16113 --identity keys/mse-*.pem"
    )


@pytest.mark.parametrize("text", ['wlc.auth_list = "list.txt"', "wlc.authenticate = false"])
def test_wlcs_of_ours_wait_for_one_mse(path: Path, text: str) -> None:
    (line,) = said(path, Use.SERVE_WLC, None, f'wlc.listen = "192.0.2.1:0"\n{text}', accept__closed=1)
    words = command_in(line)
    assert words[1:5] == ["check", "mse", "--listen", "192.0.2.1:16113"]
    context = check.commands["mse"].make_context("mse", words[3:])
    assert bool(context.params["auth_list"]) != context.params["unauthenticated"]


def test_the_order_is_not_blamed_for_what_a_wlc_said(path: Path) -> None:
    for errors in ({"tcp__refused": 3, "tls__alert_unknown_ca": 1}, {"tls__closed": 1}, {}):
        assert not any("first" in line for line in said(path, Use.TARGET_WLC, ("192.0.2.7", 1), **errors))


def test_over_datagrams_silence_is_all_that_there_is(path: Path) -> None:
    line, closer = said(path, Use.SERVE_MSE, None, 'transport = "dtls"', tls__timeout=3)
    assert line.startswith("nobody answered at 127.0.1.1:16113: ")
    words = command_in(closer)
    words = words[words.index("check") :]
    assert words[:3] == ["check", "wlc", "127.0.1.1:16113"]
    assert check.commands["wlc"].make_context("wlc", words[2:]).params["transport"] == "dtls"


def test_both_sides_ours_need_no_advice(path: Path) -> None:
    assert said(path, Use.BOTH, None, "", tls__closed=3) == []


# -- loadgen metrics ---------------------------------------------------------------------------------------------------


def test_all_names_of_figures_are_listed() -> None:
    listed = CliRunner().invoke(metrics, []).output
    for name in (*METRICS, *COUNTERS, *RATES, *COSTS, "errors.tls.<kind>"):
        assert any(line.split()[:1] == [name] for line in listed.splitlines()), name
    assert ".p95" in listed


def test_all_that_they_mean_stands_in_one_column() -> None:
    listed = CliRunner().invoke(metrics, []).output.splitlines()
    meant = {**METRICS, **COUNTERS, **RATES, **COSTS}
    assert (
        len({line.index(meant[line.split()[0]]) for line in listed if line.split()[:1] and line.split()[0] in meant})
        == 1
    )


def test_or_those_with_a_word() -> None:
    listed = CliRunner().invoke(metrics, ["echo", "LAG"]).output.splitlines()
    assert [line.split()[0] for line in listed if line.startswith("  ")] == ["echo.lag"]


def test_words_that_nothing_has_are_told() -> None:
    told = CliRunner().invoke(metrics, ["echo", "zzz"])
    assert told.output == ""
    assert isinstance(told.exception, InputError)
    assert "WORD: expected words of a figure" in str(told.exception.problems[0])
    assert '"echo" "zzz"' in str(told.exception.problems[0])
