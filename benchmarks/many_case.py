"""50,000 sessions on one machine: whether they come up, stay and are closed in order, and what each of them holds."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from benchmarks import processes
from benchmarks.cases import Case, Figures, Measure, Measured, Row

SESSIONS = 50_000
_MOST_KIB = 24
_ECHO_INTERVAL_S = 15.0
_SIDES = ("wlc", "mse")
_NAME = f"{SESSIONS:,} sessions"
# The same processes with next to nothing to hold.
_FEW = "few sessions"


def _figures(result: dict[str, Any]) -> Figures:
    counters, echo = result["counters"], result["metrics"].get("echo.latency", {})
    found = {
        "established": counters["sessions.established"],
        "closed": counters["sessions.closed"],
        "failed": counters["sessions.failed"] + counters["sessions.lost"],
        "due": counters["notify.due"],
        "received": counters["notify.received"],
        "echo_sent": counters["echo.sent"],
        "echo_answered": counters["echo.answered"],
        "echo_max_s": echo.get("max", 0) / 1e9,
        "dialing_s": result["metrics"]["handshake.latency"]["max"] / 1e9,
        "per_s": result["rates"].get("handshake.per_s", 0.0),
        "code": result["verdict"]["exit_code"],
    }
    for side in _SIDES:
        found[f"{side}_rss"] = sum(
            worker["rss_bytes"] for worker in result["workers"] if worker["worker"].startswith(side)
        )
    return found


def _variants(_: None) -> dict[str, Measure]:
    def run(*options: str) -> Figures:
        return _figures(processes.loadgen_run("many", *options))

    few = ("--workers", "3", "--set", "mse.count=2", "--set", 'load.stages=[{hold="5s"}]')
    return {_NAME: run, _FEW: lambda: run(*few)}


def _rows(measured: Measured) -> list[Row]:
    many = measured[_NAME][-1]
    came = f"{many['received']:,.0f} of {many['due']:,.0f} notifications"
    up = f"{many['established']:,.0f} up, {many['failed']:,.0f} failed or lost, {many['closed']:,.0f} closed in order"
    # An echo that is under way when its session is closed is answered to nobody.
    answered, sent, longest_s = many["echo_answered"], many["echo_sent"], many["echo_max_s"]
    echoes = f"{answered:,.0f} of {sent:,.0f} echoes answered, in at most {longest_s:.2f} s"
    dialed = f"the last one was up {many['dialing_s']:.1f} s after it was due"
    found = [
        Row(
            f"{_NAME}, 1 notification each in 10 s for 5 min, both sides here",
            f"{up}; {came}",
            "",
            "",
            "",
            "all of them",
            many["established"] == many["closed"] == SESSIONS
            and many["received"] == many["due"]
            and longest_s <= _ECHO_INTERVAL_S,
            f"{echoes}; {dialed}; exit code {many['code']:.0f}",
        )
    ]
    if few := measured.get(_FEW):
        for side in _SIDES:
            sessions = many["established"] - few[-1]["established"]
            each = (many[f"{side}_rss"] - few[-1][f"{side}_rss"]) / sessions / 1024
            label = f"resident memory per session, {side.upper()} side, {_NAME}"
            found.append(Row(label, f"{each:.1f} KiB", "", "", "", f"≤ {_MOST_KIB} KiB", each <= _MOST_KIB))
    return found


CASE = Case("many", 1, nullcontext, _variants, _rows)
