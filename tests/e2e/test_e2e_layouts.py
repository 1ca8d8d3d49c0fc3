"""The five layouts of docs/wire-profile.md under load: 100 WLCs and two MSEs of ours, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_loadgen import PATIENT, Start

FOLDER = Path(__file__).parents[2] / "docs" / "wire-profile"
# What each layout has a request for; swift's responses have nothing but their order.
REQUESTS = {
    "heron": "measurement = { rate = 50 }",
    "wren": "measurement = { rate = 50 }",
    "stork": "on_demand = { rate = 50 }",
    "plover": 'unsubscribe = { interval = "500ms", subservices = ["info-ms"] }',
    "swift": "measurement = { rate = 50 }",
}
SCENARIO = """
name = "layouts"
profile = "{profile}"

[wlc]
count = 100
listen = "127.0.1.1:0"
step = "port"
stations = 12
readings = [0, 5]
subservices = "all"

[mse]
count = 2
subscribe = ["rssi-ms", "info-ms", "on-demand"]

[load]
rate = 2000
stages = [{{ hold = "600ms" }}]

[requests]
{request}
"""


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hundred_wlcs_and_two_mses(start: Start, tmp_path: Path, name: str) -> None:
    scenario = tmp_path / "layouts.toml"
    scenario.write_text(SCENARIO.format(profile=FOLDER / f"{name}.toml", request=REQUESTS[name]), "utf-8")
    ended = start("run", scenario, *PATIENT).end()
    ended.check_passed()
    counters = ended.counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 200
    assert counters["notify.received"] == counters["notify.sent"] == counters["notify.due"] == 2400
    assert counters["notify.lost"] == counters["notify.duplicated"] == counters["messages.unsupported"] == 0
    assert ended.errors == {}
    assert counters["requests.answered"] == counters["requests.sent"] > 0
