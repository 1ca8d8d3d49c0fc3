"""One event, one count: a refused session is an error at both of its ends, and no list or sum has it twice."""

from __future__ import annotations

import re

import msgspec
import pytest
from compare_samples import run
from rich.console import Console

from loadgen.compare.metrics import ERRORS, figure
from loadgen.report import terminal
from loadgen.report.html import run_page
from loadgen.report.markdown import run_markdown
from loadgen.results.faults import Error, faults
from loadgen.results.result import RunResult

MSE, WLC = "errors.tls.alert_unknown_ca", "errors.accept.key_hash_not_listed"
TIMEOUT = "errors.tcp.timeout"
REFUSED = {"sessions.attempted": 40, "sessions.established": 25, "sessions.failed": 15, MSE: 15, WLC: 15}
SHAKEN = {"handshakes.completed": 0}
ACCEPTED = {"accept.attempts": 40}
CLOSE = "errors.close.reset"


@pytest.mark.parametrize(
    ("counters", "told", "again"),
    [
        ({}, [], []),
        ({MSE: 15, WLC: 15}, [Error(MSE, 15, "MSE")], [Error(WLC, 15, "WLC")]),
        ({MSE: 15, WLC: 15} | SHAKEN, [Error(MSE, 15, "MSE")], [Error(WLC, 15, "WLC")]),
        ({WLC: 15, MSE: 0}, [Error(WLC, 15, "WLC")], []),  # only the WLCs are ours
        ({MSE: 14, WLC: 15}, [Error(WLC, 15, "WLC")], [Error(MSE, 14, "MSE")]),
        # Connections that never came up: no WLC tells of them, however much it has to tell of others.
        ({TIMEOUT: 9, WLC: 15}, [Error(WLC, 15, "WLC"), Error(TIMEOUT, 9, "MSE")], []),
        ({TIMEOUT: 9, WLC: 15} | SHAKEN, [Error(WLC, 15, "WLC"), Error(TIMEOUT, 9, "MSE")], []),
        # Before sessions are up, and afterwards: different events.
        (
            {MSE: 2, WLC: 2, "errors.stream.reset": 1, "errors.serve.timeout": 3},
            [Error("errors.serve.timeout", 3, "WLC"), Error(MSE, 2, "MSE")],
            [Error(WLC, 2, "WLC"), Error("errors.stream.reset", 1, "MSE")],
        ),
        # An MSE's own close; in handshake load it is the WLC that waits for the MSE's.
        ({"errors.close.timeout": 1}, [Error("errors.close.timeout", 1, "MSE")], []),
        ({"errors.close.timeout": 1} | SHAKEN | ACCEPTED, [Error("errors.close.timeout", 1, "WLC")], []),
        # An MSE's own, of a load of handshakes: a WLC that breaks off right behind them; with both ours it is either's.
        ({CLOSE: 20} | SHAKEN | {"handshakes.due": 40}, [Error(CLOSE, 20, "MSE")], []),
        ({CLOSE: 20} | SHAKEN | {"handshakes.resumption_asked": 0}, [Error(CLOSE, 20, "MSE")], []),
        ({CLOSE: 20} | SHAKEN | ACCEPTED | {"handshakes.due": 40}, [Error(CLOSE, 20, "MSE or WLC")], []),
    ],
)
def test_each_event_is_told_from_one_end(counters: dict[str, int], told: list[Error], again: list[Error]) -> None:
    found = faults(counters)
    assert (list(found.told), list(found.again)) == (told, again)
    assert found.events == sum(error.count for error in told)


def refused() -> RunResult:
    return msgspec.structs.replace(run(), counters=REFUSED)


def test_a_comparison_sums_events() -> None:
    assert figure(refused(), ERRORS) == 15


def test_the_summary_says_whose_end_tells() -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(terminal.summary(refused(), None))
    lines = capture.get().splitlines()
    (own,) = (number for number, line in enumerate(lines) if MSE in line)
    assert re.fullmatch(rf"\s+{re.escape(MSE)}\s+15\s+at the MSE\s*", lines[own])
    assert lines[own + 1].strip() == "the same, from the other end:"
    assert re.fullmatch(rf"\s+{re.escape(WLC)}\s+15\s+at the WLC\s*", lines[own + 2])


def test_the_page_says_it_too() -> None:
    page = run_page(refused(), {}, "")
    section = page[page.index('<section aria-labelledby="errors">') :]
    section = section[: section.index("</section>")]
    assert section.count("<tr>") == 2  # the head, and one event
    assert "100.0 %" in section
    assert f"from the other end: {WLC} (15, told by the WLC)." in section


def test_and_markdown() -> None:
    lines = [line.replace("\\", "") for line in run_markdown(refused()).splitlines()]
    assert f"| {MSE} | the MSE | 15 |" in lines
    assert f"| {WLC} | the WLC: the same | 15 |" in lines
    assert sum(MSE in line for line in lines) == 1
