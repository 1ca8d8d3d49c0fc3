"""`loadgen run`, either side of it, and a peer that knows a layout from what `profile show` prints alone."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from layout_peers import PATIENCE_S, WRITERS, Mse, Notice, Reading, Station, Wlc
from test_interop_show import FOLDER, layout_of

from loadgen.commands import run

# Certificates are made as tests/e2e does it.
sys.path.append(str(Path(__file__).parents[1] / "e2e"))
from e2e_peers import make_certificate

# A WLC of these tests tells so many at a time, of which one was due so long after the other.
NOTICES = 40
STEP_NS = 10**7
# Layouts with several stations in a notification.
SEVERAL = ("stork", "swift")


def scenario(name: str, **wlc: Any) -> dict[str, Any]:
    return {
        "name": f"{name}-peers",
        "profile": str(FOLDER / f"{name}.toml"),
        "wlc": {"count": 3, "step": "port", "stations": 4, "authenticate": False, **wlc},
        "mse": {"count": 2, "assign": "all"},
        "load": {"rate": 200, "stages": [{"hold": "500ms"}]},
    }


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("layouts") / "peer.pem")


@pytest.mark.parametrize("name", WRITERS)
def test_our_wlcs_and_an_mse_that_has_read_the_layout(name: str, certificate: Path) -> None:
    dialed: list[Mse] = []

    def dial(addresses: list[tuple[str, int]]) -> None:
        dialed.extend(Mse(layout, WRITERS[name], each, certificate) for each in addresses * 2)
        for mse in dialed:
            mse.start()

    layout = layout_of(name)
    before_ns = time.time_ns()
    result = run(scenario(name, listen="127.77.42.1:0"), serve="wlc", workers=1, on_listening=dial)
    for mse in dialed:
        mse.join(PATIENCE_S)
    assert [mse.failure for mse in dialed] == [None] * 6
    if layout.echo == "mse":
        assert [mse.echoes for mse in dialed] == [1] * 6
    counters = result.counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 6
    heard = [each for mse in dialed for each in mse.heard]
    assert len(heard) == counters["notify.sent"] > 0
    assert counters.get("echo.answered", 6) == 6
    assert not [key for key, count in counters.items() if key.startswith("errors.") and count]
    # A layout tells the time in its own steps; one that counts from when the session began says nothing of before.
    step_ns = {"heron": 1000, "stork": 1, "wren": 10**9, "plover": 10**6, "swift": 10**6}[name]
    began_ns = before_ns if name == "swift" else 0
    assert all(before_ns - step_ns < began_ns + each.time_ns <= each.received_ns for each in heard)
    assert {len(each.stations) for each in heard} == ({4} if name in SEVERAL else {1})
    assert len({station.mac for each in heard for station in each.stations}) == 3 * 4


@pytest.mark.parametrize("name", WRITERS)
def test_our_mses_and_a_wlc_that_has_read_the_layout(name: str, certificate: Path) -> None:
    def notices() -> list[Notice]:
        many = 3 if name in SEVERAL else 1
        reading = Reading(b"\x02AP--1", 0, 1, 1, -60, -61, 30, 2)
        stations = tuple(Station(bytes((2, 83, 0, 0, 0, number)), (reading,) * number) for number in range(many))
        # The last one was due now, the first one a while ago.
        now_ns = 10**9 if name == "swift" else time.time_ns()
        return [Notice(now_ns - STEP_NS * number, stations) for number in reversed(range(NOTICES))]

    # They come with echoes: before the load, which begins a while after the subscription, and within it.
    document = scenario(name, count=1)
    document["session"] = {"echo_interval": "500ms"}
    document["load"]["stages"] = [{"hold": "3s"}]
    with Wlc(layout_of(name), WRITERS[name], certificate, notices) as wlc:
        result = run(document, target=f"wlc={wlc.address}", workers=1)
    assert wlc.failures == []
    counters = result.counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 2
    assert not [key for key, count in counters.items() if key.startswith("errors.") and count]
    assert counters["notify.received"] == len(wlc.told)
    if name == "swift":  # our MSEs ask for no echoes; and no time of day, no age
        assert len(wlc.told) == 2 * NOTICES
        assert "notify.age" not in result.metrics
        return
    assert len(wlc.told) == 2 * Wlc.TURNS * NOTICES
    age = result.metrics["notify.age"]
    assert 0 < age.count <= len(wlc.told)
    assert age.min is not None
    assert age.max is not None
    assert 0 <= age.min < age.max < PATIENCE_S * 10**9
    if name != "wren":  # which rounds them down to whole seconds
        assert age.max >= 0.99 * STEP_NS * (NOTICES - 1)
