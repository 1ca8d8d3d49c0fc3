"""Locust users over DTLS: they come, stay and go as over TLS."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from distributed_samples import chosen
from master_process import Master
from scripted_master import PATIENCE_S, ScriptedMaster, worker

from loadgen.diagnosis.settings import CheckSettings
from loadgen.diagnosis.wlc_check import check_wlc
from loadgen.distributed.messages import NodeReport
from loadgen.errors import ExitCode
from loadgen.identity.credentials import new_key, self_signed
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.services import MOBILE_STATION, mask_of
from loadgen.units import NS_PER_S

SCENARIO = """
name = "small"
transport = "dtls"
[wlc]
stations = 3
[mse]
connect_per_s = 1000
[load]
rate = 40
"""


@pytest.fixture
def master() -> Iterator[ScriptedMaster]:
    made = ScriptedMaster()
    yield made
    made.close()


def orders(folder: Path, users: int, text: str = SCENARIO, **options: str) -> dict[str, Any]:
    made = chosen(folder, text, **options).orders(uuid.uuid4().hex, time.time_ns(), users, 1)
    builtins = msgspec.to_builtins(msgspec.structs.replace(made, interval_ns=500_000_000))
    assert isinstance(builtins, dict)
    return builtins


def users(**counts: int) -> dict[str, Any]:
    return {"user_classes_count": {"MseUser": 0, "WlcUser": 0, **counts}, "user_count": sum(counts.values())}


@pytest.mark.parametrize("kind", ["WlcUser", "MseUser"])
def test_users_come_and_go(master: ScriptedMaster, tmp_path: Path, kind: str) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        what = orders(tmp_path, 4)
        for count in (2, 4, 1, 3):
            master.spawn(node, what, **{kind: count})
            assert master.until("spawning_complete").data == users(**{kind: count})
        said = master.until(
            "stats",
            where=lambda s: (
                "loadgen" in s.data and msgspec.msgpack.decode(s.data["loadgen"], type=NodeReport).active == 3
            ),
        )
        assert said.data["user_count"] == 3
        master.say(node, "stop")
        last = master.until(
            "stats", where=lambda s: msgspec.msgpack.decode(s.data["loadgen"], type=NodeReport).ending is not None
        )
        ending = msgspec.msgpack.decode(last.data["loadgen"], type=NodeReport).ending
        assert ending is not None
        assert ending.complete
        master.until("client_ready")
        master.say(node, "quit")
        master.until("quit")
        code, stderr = ours.end()
    assert code == ExitCode.PASSED, stderr


def test_wlcs_are_there_for_others_as_long_as_their_users_are(master: ScriptedMaster, tmp_path: Path) -> None:
    text = SCENARIO.replace("stations = 3", 'stations = 3\nlisten = "127.77.9.11:16113"\nauthenticate = false')
    mse = self_signed("02:4d:53:00:00:01", new_key("p256"), datetime.now(UTC))

    def answers(host: str) -> bool:
        """Everything that a check wants but an echo's answer, or nothing at all."""
        settings = CheckSettings(
            mse, None, "sha256", "spki", None, strong=True, old_certificates=False, unauthenticated=True,
            profile=reference_profile(), mask=mask_of(MOBILE_STATION), timeout_ns=NS_PER_S // 2,
            tell=lambda _: None, transport="dtls",
        )  # fmt: skip
        report = check_wlc(host, 16113, settings)
        assert report.passed or report.failed in ("reachable", "tls"), report
        return report.passed

    with worker(master.port):
        node = master.welcome()
        what = orders(tmp_path, users=2, text=text, target="serve")
        end = time.monotonic() + PATIENCE_S
        for count in (1, 2, 1, 2):
            master.spawn(node, what, WlcUser=count)
            assert master.until("spawning_complete").data == users(WlcUser=count)
            while [answers("127.77.9.11"), answers("127.77.9.12")] != [True, count == 2]:
                assert time.monotonic() < end


def test_a_headless_run(tmp_path: Path) -> None:
    scenario = tmp_path / "together.toml"
    scenario.write_text(SCENARIO, "utf-8")
    options = ("-u", "12", "-r", "30", "-t", "120s", "--scenario", str(scenario), "--local-workers", "1")
    with Master(tmp_path / "results", *options, headless=True) as master:
        master.hear("All users spawned")
        master.hear("measurement notify")
        code = master.end(signal.SIGINT)
        folder = master.folder()
    result = json.loads((folder / "result.json").read_text("utf-8"))
    counters = result["counters"]
    assert counters["sessions.established"] == counters["sessions.closed"] == 12
    assert counters["notify.sent"] == counters["notify.received"] > 0
    assert counters["datagrams.received"] > 0  # of late ones, several are in one
    assert not [name for name, count in counters.items() if name.startswith("errors.") and count]
    assert code == result["verdict"]["exit_code"]
    assert code in (ExitCode.PASSED, ExitCode.GENERATOR_SATURATED)
