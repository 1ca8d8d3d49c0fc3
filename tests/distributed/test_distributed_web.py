"""The master's web UI: our page and tables beside Locust's own, and what is said to whoever asks for what cannot be."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from chromium import NEEDS_CHROMIUM, Visit
from fake_worker import PATIENCE_S
from master_process import LOCUSTFILE, Master
from test_distributed_master import RECEIVED, Pair, result_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "wlc-<img src=x onerror=alert(1)>"
START = {"user_count": 4, "spawn_rate": 4, "host": ""}
TABS = ["nmsp_durations", "nmsp_counts", "nmsp_generator"]


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    with Master(tmp_path / "r", "--master") as process:
        process.serving()
        yield process
        process.process.kill()  # there is nothing to tidy up, and an ordinary end waits for workers that have gone


def view(master: Master) -> dict[str, Any]:
    return dict(json.loads(master.get("/loadgen/live.json")))


def view_with(master: Master, words: str) -> dict[str, Any]:
    """The first view that has these words. The master makes a new one about every second."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = view(master)
        if words in found["html"] + found["below"]:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{words!r} is never shown: {found['html']}")


def test_before_a_run_every_page_answers_and_says_so(master: Master) -> None:
    with Pair(master.port):
        page = master.get("/")
        assert 'href="./loadgen"' in page
        arguments = json.loads(re.search(r"window.templateArgs = (.*)", page)[1])  # type: ignore[index]
        assert [tab["key"] for tab in arguments["extended_tabs"]] == TABS
        assert {"scenario", "target", "notify_rate", "stations", "key"} <= arguments["extra_options"].keys()
        assert not {"results", "local_workers"} & arguments["extra_options"].keys()
        assert "loadgen/live.js" in master.get("/loadgen")
        assert "No run yet" in view(master)["html"]
        assert view(master)["charts"] == []
        stats = json.loads(master.get("/stats/requests"))
        assert [table["key"] for table in stats["extended_stats"]] == TABS
        assert stats["state"] == "ready"
        assert len(master.get("/loadgen/plotly.min.js")) > 1_000_000
        assert "--page:" in master.get("/loadgen/page.css")
        assert "Plotly.react" in master.get("/loadgen/live.js")
        assert master.status("/loadgen/report") == 404


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"notify_rate": "fast"}, "--notify-rate: expected notifications per second, more than 0, found fast"),
    ({"target": "wlc=nowhere"}, "--target: expected an address and a port"),
    ({"user_count": 10**9}, "users: expected at most 250,000, found 1,000,000,000"),
    ({"scenario": "scenarios/<b>.toml"}, "<b>.toml: expected a scenario"),
    ({"scenario": "/etc/passwd"}, '--scenario: expected a file below {scenarios}, found "/etc/passwd"'),
    ({"scenario": "scenarios/../pyproject.toml"}, "--scenario: expected a file below {scenarios}"),
    ({"results": "/elsewhere"}, 'the operator\'s to set: "results"'),
    ({"loadgen": "x", "csv_prefix": "y", "local_workers": 9}, '"csv_prefix", "loadgen", "local_workers"'),
    ({"user_classes": "MseUser"}, 'the operator\'s to set: "user_classes"'),
]


def test_what_cannot_be_is_answered_with_why_and_nothing_starts(master: Master) -> None:
    with Pair(master.port):
        for form, message in REFUSED:
            answer = master.post("/swarm", **{**START, **form})
            assert answer["success"] is False, form
            assert message.format(scenarios=LOCUSTFILE.parent) in answer["message"]
            assert json.loads(master.get("/stats/requests"))["state"] == "ready", form
            assert not master.results.exists(), form
        # Nothing of it has stuck.
        assert master.post("/swarm", **START)["success"] is True
        assert "run of" in master.hear("loadgen.master: run of")


def test_a_user_class_is_changed_in_its_settings_only(tmp_path: Path) -> None:
    with Master(tmp_path / "r", "--master", "--class-picker") as master:
        master.serving()
        assert change_user(master, user_class_name="MseUser", weight=2) == 201
        for settings in ({"json": "x"}, {"weight": 3, "__module__": "x"}):
            assert change_user(master, user_class_name="MseUser", **settings) == 400
        assert change_user(master, user_class_name="Nobody", weight=2) == 400
        users = json.loads(re.search(r"window.templateArgs = (.*)", master.get("/"))[1])["users"]  # type: ignore[index]
        assert users["MseUser"]["weight"] == 2
        master.process.kill()


def change_user(master: Master, **settings: object) -> int:
    """The answer's status."""
    data = json.dumps(settings).encode()
    question = urllib.request.Request(master.url("/user"), data, method="POST")  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(question, timeout=PATIENCE_S) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_without_a_worker_there_is_no_run(master: Master) -> None:
    answer = master.post("/swarm", **START)
    assert answer["success"] is False
    assert answer["message"].startswith("No worker is connected")


def test_a_run_is_shown_while_it_goes_on_and_when_it_is_over(master: Master) -> None:
    with Pair(master.port) as pair:
        assert master.post("/swarm", **START, notify_rate="5", target="built-in")["success"] is True
        pair.start()
        assert pair.reporters["one"].orders["per_s"] == 5.0
        shown = view_with(master, "2 workers")
        shown = view_with(master, "wlc-two")
        assert shown["title"] == "running · VALID · locust"
        titles = [chart["title"] for chart in shown["charts"]]
        assert "Percentiles, hold" in titles
        assert "Handshake, phase by phase" in titles
        assert master.get(f"/loadgen/live.json?since={shown['version']}").startswith('{"version":')
        answer = master.post("/swarm", **START, notify_rate="7")
        assert answer["success"] is False
        assert "stop the run first" in answer["message"]
        assert master.post("/swarm", **{**START, "user_count": 6}, notify_rate="5")["success"] is True
        for worker in pair.workers.values():
            assert worker.wait("spawn")["parsed_options"]["loadgen"]["run"] == pair.reporters["one"].orders["run"]
        assert master.post("/stats/reset")["text"] == "ok"
        assert master.post("/stop")["success"] is True
        shown = view(master)
        assert "Passed" in shown["html"], shown["html"]
        assert 'href="loadgen/report"' in shown["html"]
        result = result_of(master)
        assert result.metrics["notify.latency"].count == RECEIVED
        assert master.get("/loadgen/report") == (master.folder() / "report.html").read_text("utf-8")
        tables = {table["key"]: table["data"] for table in json.loads(master.get("/stats/requests"))["extended_stats"]}
        assert {row["name"]: row["count"] for row in tables["nmsp_durations"]}["notify.latency"] == RECEIVED
        assert [row["verdict"] for row in tables["nmsp_generator"]] == ["VALID"] * 3
        assert "loadgen" not in json.dumps(json.loads(master.get("/stats/requests"))["stats"])
        assert master.status("/stats/report") == 200


def test_locusts_host_is_our_target(master: Master) -> None:
    def host() -> str:
        return str(json.loads(re.search(r"window.templateArgs = (.*)", master.get("/"))[1])["host"])  # type: ignore[index]

    assert host() == "built-in"
    with Pair(master.port):
        assert master.post("/swarm", **{**START, "host": "http://elsewhere"}, target="serve")["success"] is True
        assert host() == "serve"


def test_a_second_run_is_another_one(master: Master) -> None:
    with Pair(master.port) as pair:
        runs = []
        for _ in range(2):
            master.post("/swarm", **START)
            pair.start()
            runs.append(pair.reporters["one"].orders["run"])
            master.post("/stop")
            for _ in pair.workers:
                master.hear("reported as ready")
        assert len(set(runs)) == 2
        assert len(list(master.results.iterdir())) == 2


def test_what_is_hostile_is_only_text(master: Master) -> None:
    with Pair(master.port) as pair:
        master.post("/swarm", **START)
        pair.start()
        reporter = pair.reporters["one"]
        bad = msgspec.structs.replace(reporter.interval(2), process=HOSTILE)
        counters = {**bad.interval.counters, f"errors.tls.{HOSTILE}": 3}
        bad = msgspec.structs.replace(bad, interval=msgspec.structs.replace(bad.interval, counters=counters))
        pair.workers["one"].report(reporter.report(bad))
        shown = view_with(master, "errors.tls.wlc-&lt;img")
        assert "<img" not in shown["html"] + shown["below"]


def test_pages_are_where_the_base_path_says(tmp_path: Path) -> None:
    with Master(tmp_path / "r", "--master", "--web-base-path", "/here") as master:
        master.serving()
        assert "loadgen/live.js" in master.get("/here/loadgen")
        assert "No run yet" in master.get("/here/loadgen/live.json")
        assert 'href="./loadgen"' in master.get("/here/")
        assert master.status("/loadgen") == 404


def test_with_a_login_nobody_sees_our_pages_without(tmp_path: Path) -> None:
    locustfile = tmp_path / "locustfile.py"
    locustfile.write_text(
        "from locust import events\nfrom loadgen.distributed.master.master import MseUser, WlcUser\n\n\n"
        "@events.init.add_listener\ndef secret(web_ui, **_):\n    web_ui.app.secret_key = 'x'\n"
        "    web_ui.login_manager.user_loader(lambda name: None)\n",
        "utf-8",
    )
    with Master(tmp_path / "r", "-f", str(locustfile), "--master", "--web-login") as master:
        master.serving()
        for path in ("/loadgen", "/loadgen/live.json", "/loadgen/report", "/loadgen/live.js"):
            answer = master.get(path)
            assert "Plotly.react" not in answer
            assert "No run" not in answer
            assert "templateArgs" in answer or "authArgs" in answer


@pytest.fixture(scope="module")
def going_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """A run of which everything has been told."""
    with Master(tmp_path_factory.mktemp("going-on") / "r", "--master") as process:
        process.serving()
        with Pair(process.port) as pair:
            process.post("/swarm", **START)
            pair.start()
            view_with(process, "wlc-two")
            yield process
        process.process.kill()


@NEEDS_CHROMIUM
@pytest.mark.parametrize(
    ("path", "marks"),
    [
        ("/loadgen", ['data-charts="drawn"', 'class="main-svg"', "Percentiles, hold", "wlc-two"]),
        ("/?tab=nmsp_durations", ["NMSP live", "notify.latency"]),
        ("/?tab=nmsp_generator", ["NMSP live", "Longest stall", "wlc-two"]),
        ("/", ["NMSP live", "Statistics"]),
    ],
    ids=["live", "durations", "generator", "locust"],
)
def test_a_browser_draws_it_and_has_nothing_to_complain_of(
    going_on: Master, browser: Browser, path: str, marks: list[str]
) -> None:
    visit = Visit(browser, going_on.url(path))
    visit.page.wait_for_function(
        "marks => marks.every(mark => document.documentElement.outerHTML.includes(mark))", arg=marks
    )
    visit.page.close()
    assert visit.complaints == []
