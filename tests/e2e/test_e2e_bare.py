"""Layouts that carry nothing of ours: what is known all the same, and what is said of the rest."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from e2e_loadgen import REPO, Ended, Run, Start, side_by_side
from ports import free_port

BARE = REPO / "tests" / "profiles" / "bare.toml"
PROFILE = ("--set", f"profile={BARE}")
# 100 WLCs that tell each of two MSEs 20 things a second.
FLEET = """
name = "bare"
[wlc]
count = 100
listen = "127.0.1.1:0"
step = "port"
stations = 5
authenticate = false
[mse]
count = 2
assign = "all"
[load]
rate = 2000
stages = [{ ramp = "1s" }, { hold = "2s" }]
"""
DUE = 2 * (1000 + 4000)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bare") / "fleet.toml"
    path.write_text(FLEET, "utf-8")
    return path


@pytest.fixture(scope="module")
def ended(start_shared: Start, fleet: Path) -> dict[str, Ended]:
    """A run with the reference profile, and the same without anything of ours; over TLS and over DTLS."""
    calls = {
        "reference": start_shared("run", fleet),
        "bare": start_shared("run", fleet, *PROFILE, "--threshold", "notify.latency.p50 < 1h"),
        "dtls": start_shared(
            "run", fleet, *PROFILE, "--set", "transport=dtls", "--set", "wlc.count=10", "--set", "load.rate=500"
        ),
    }
    return side_by_side({name: running.end for name, running in calls.items()})


def test_a_hundred_wlcs_lose_nothing_and_tell_the_same(ended: dict[str, Ended]) -> None:
    ended["bare"].check_passed()
    ended["bare"].check_books()
    counters = ended["bare"].counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 200
    assert counters["notify.due"] == DUE
    assert counters["notify.sent"] == counters["notify.received"] == DUE - counters["notify.dropped"]
    assert counters["notify.lost"] == counters["notify.duplicated"] == 0
    assert "notify.reordered" not in counters
    assert "notify.unplaced" not in counters
    assert ended["bare"].errors == {}
    bare, reference = ended["bare"].result, ended["reference"].result
    assert set(reference["metrics"]) - set(bare["metrics"]) <= {"notify.service"}
    assert set(bare["rates"]) == set(reference["rates"])
    # The hold's; and each by the stage that it was due in.
    latency, lag = (bare["metrics"][name] for name in ("notify.latency", "notify.lag"))
    assert latency["count"] == lag["count"]
    assert latency["min"] > 0
    assert latency["mean"] > 0.99 * lag["mean"]  # received after it was sent; a histogram has three digits
    assert [stage["metrics"]["notify.latency"]["count"] for stage in bare["stages"]] == [
        stage["metrics"]["notify.lag"]["count"] for stage in bare["stages"]
    ]


def test_what_is_missing_is_said_everywhere(ended: dict[str, Ended], run: Run) -> None:
    result = ended["bare"].result
    assert result["missing"]["notify.service"] == "the layout carries no sent time"
    assert result["missing"]["notify.reordered"] == "the layout carries no sequence number"
    assert "notify.latency" not in result["missing"]
    assert "not measured, as the layout carries no sent time: notify.service" in ended["bare"].stdout
    page = (ended["bare"].folder / "report.html").read_text("utf-8")
    assert "not measured, as the layout carries no sent time: notify.service" in page
    assert ended["reference"].result["missing"] == {}
    assert "not measured" not in ended["reference"].stdout
    table = run("export", "--format", "csv", ended["bare"].folder)
    rows = {row["figure"]: row for row in csv.DictReader(table.stdout.splitlines())}
    assert rows["notify.service"]["unit"] == "missing"
    assert rows["notify.service"]["value"] == "the layout carries no sent time"


def test_over_datagrams_no_order_tells_how_old_they_are(ended: dict[str, Ended]) -> None:
    ended["dtls"].check_passed()
    result, counters = ended["dtls"].result, ended["dtls"].counters
    assert result["missing"]["notify.latency"] == "the layout carries no due time, and datagrams keep no order"
    assert "notify.latency" not in result["metrics"]
    assert result["metrics"]["notify.gap"]["count"] > 0
    assert counters["notify.lost"] == counters["notify.sent"] - counters["notify.received"]
    assert result["rates"]["notify.received_per_s"] > 0


def test_either_side_alone(start: Start, fleet: Path) -> None:
    """Two loadgens know of each other no more than a device would."""
    port = free_port("127.0.77.1")
    where = ("--set", f"wlc.listen=127.0.77.1:{port}", "--set", "wlc.step=address", "--set", "wlc.count=5")
    load = ("--set", "load.rate=500")
    serving = start("run", fleet, "--serve", "wlc", *where, *load, *PROFILE)
    serving.wait_for_line("ready: 5 WLCs")
    dialing = start("run", fleet, "--serve", "mse", *where, *load, *PROFILE)
    heard, told = dialing.end(), serving.end()
    heard.check_passed()
    told.check_passed()
    result = heard.result
    assert heard.counters["notify.received"] == told.counters["notify.sent"] > 0
    assert result["missing"]["notify.latency"] == "the layout carries no due time"
    assert result["missing"]["notify.lost"] == "the layout carries no sequence number"
    assert not {*result["missing"]} & {*heard.counters, *result["metrics"]}
    # The first of a session has none, nor has what came outside of the holds of this side, however many those were.
    assert 0 < result["metrics"]["notify.gap"]["count"] <= heard.counters["notify.received"] - 10
    assert result["rates"]["notify.received_per_s"] > 0
    page = (heard.folder / "report.html").read_text("utf-8")
    assert "what was lost is not known" in page
    assert "nothing lost" not in page
    assert told.result["missing"] == {}
    assert told.result["metrics"]["notify.lag"]["count"] > 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ("run", "--threshold", "notify.service.p99 < 1s"),
            ('threshold "notify.service.p99 < 1s"', "notify.latency", "the layout carries no sent time"),
        ),
        (
            ("run", "--threshold", "notify.reordered / notify.sent < 1%"),
            ("notify.reordered", "the layout carries no sequence number"),
        ),
        (
            ("run", "--target", "wlc=127.0.0.1:9", "--threshold", "notify.latency.p99 < 1s"),
            ("notify.gap or echo.latency", "the layout carries no due time"),
        ),
        (
            ("capacity", "--dimension", "notify.per_s", "--slo", "notify.service.p99 < 1s"),
            ('--slo "notify.service.p99 < 1s"', "the layout carries no sent time"),
        ),
    ],
    ids=["a duration", "a share", "somebody else's WLCs", "an SLO"],
)
def test_nothing_is_demanded_of_what_is_missing(
    run: Run, fleet: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    command, *options = arguments
    run(command, fleet, *PROFILE, *options).check_refused("a figure that profile bare-1", *parts)
