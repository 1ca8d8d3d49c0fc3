"""Locust's web UI as a person uses it: a real browser, a stock master, workers of ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from chromium import NEEDS_CHROMIUM, PATIENCE_MS, Visit
from master_process import Master

from loadgen.distributed.arguments import ARGUMENTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = NEEDS_CHROMIUM
SCENARIO = """
name = "browser"
[wlc]
stations = 3
[mse]
connect_per_s = 1000
[load]
rate = 20
"""


# As the page names them.
OUR_FIELDS = [re.sub(r"_(.)", lambda found: found[1].upper(), argument.name) for argument in ARGUMENTS]
# Of our fields: labels that are not there, or do not show all of what they say.
CUT_OFF = """(names) => names.filter((name) => {
  const label = document.querySelector(`.MuiFormControl-root:has([name="${name}"]) label`);
  return !label?.clientWidth || label.scrollWidth > label.clientWidth;
})"""

# Labels that the frame of their field strikes through: where it has no gap for all of what they say.
STRUCK = """() => [...document.querySelectorAll(".MuiFormControl-root:has(select)")].filter((field) => {
  const [label, gap] = ["label", "legend"].map((name) => field.querySelector(name).getBoundingClientRect());
  return gap.left > label.left || gap.right < label.right;
}).map((field) => field.textContent)"""
# Whether the way to our page lies over what Locust shows.
COVERS = """() => document.getElementById("nmsp-live").getBoundingClientRect().bottom
  > document.getElementById("root").getBoundingClientRect().top"""


def test_a_person_starts_a_run_watches_it_stops_it_and_takes_the_report(browser: Browser, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    scenario = tmp_path / "browser.toml"
    scenario.write_text(SCENARIO, "utf-8")
    expect.set_options(timeout=PATIENCE_MS)
    with Master(tmp_path / "results", "--local-workers", "2", "--scenario", str(scenario)) as master:
        master.serving()
        master.hear("2 workers connected")
        visit = Visit(browser, master.url("/"))
        page = visit.page
        expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
        expect(page.get_by_text("no host attribute")).to_have_count(0)
        # Whom the load is for is our own field, and is what Locust shows as its host.
        expect(page.locator("input[name=host]")).to_be_hidden()
        expect(page.get_by_role("banner").get_by_text("built-in")).to_be_visible()
        page.get_by_text("Custom parameters").click()
        for narrow in (1280, 390):
            page.set_viewport_size({"width": narrow, "height": 900})
            assert page.evaluate(CUT_OFF, OUR_FIELDS) == []
            assert page.evaluate(STRUCK) == []
            assert page.evaluate(COVERS) is False
        page.set_viewport_size({"width": 1280, "height": 900})
        page.fill("input[name=userCount]", "20")
        page.fill("input[name=spawnRate]", "20")
        # What is wrong is said, and nothing starts.
        page.fill("input[name=scenario]", str(tmp_path / "nowhere.toml"))
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.get_by_text("nowhere.toml: expected a scenario")).to_be_visible()
        page.fill("input[name=scenario]", str(scenario))
        page.get_by_role("button", name="Start", exact=True).click()
        # Locust's own table and its rates.
        row = page.get_by_role("row").filter(has_text="measurement notify")
        expect(row).to_be_visible()
        expect(page.get_by_text("RUNNING")).to_be_visible()
        page.wait_for_function(
            "[...document.querySelectorAll('tr')].some(r => r.innerText.includes('measurement notify')"
            " && Number(r.innerText.split('\\t')[2]) > 400)"
        )
        # Our tabs, and Locust's charts beside them.
        page.get_by_role("tab", name="NMSP", exact=True).click()
        expect(page.get_by_role("row").filter(has_text="notify.service")).to_be_visible()
        page.get_by_role("tab", name="Charts").click()
        expect(page.locator("canvas")).to_have_count(3)
        # Our page, from the link.
        live = Visit(browser, master.url("/loadgen"))
        expect(live.page.get_by_text("Percentiles, hold")).to_be_visible()
        live.page.wait_for_selector(".main-svg")
        for text in ("Handshake, phase by phase", "notify.lost", "wlc-0", "mse-1"):
            expect(live.page.get_by_text(text).first).to_be_attached()
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("STOPPED")).to_be_visible()
        master.hear("results in")
        with live.page.expect_download() as download:
            live.page.get_by_role("link", name="download").click()
        report = Path(download.value.path()).read_text("utf-8")
        assert visit.complaints == live.complaints == []
        result = json.loads((master.folder() / "result.json").read_text("utf-8"))
    assert result["scenario"] == "browser"
    assert "browser" in report
    assert result["counters"]["sessions.established"] == 20
    assert result["counters"]["notify.received"] == result["counters"]["notify.sent"] > 400
