"""The tables of a search: what one try seemed to achieve where all tries together say otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO

import msgspec
import pytest
import report_samples as samples
from rich.console import Console

from loadgen.capacity.result import CapacityResult, LoadTried, Step
from loadgen.report.capacity import probe_line, summary
from loadgen.report.html import capacity_page
from loadgen.report.markdown import capacity_markdown
from loadgen.report.search_charts import mark_of


def searched(*, held: bool) -> CapacityResult:
    """A target that does 120/s: one confirmation of 131/s of two held, and whether the load did, by all of them."""
    of = samples.capacity()
    tries = [
        samples.probe(Step.CONFIRM, 131.0, 0.0, limit=200),
        samples.probe(Step.CONFIRM, 131.0, 9.0, limit=120),
    ]
    load = LoadTried(131.0, held, held, 2, 1, 2, 1, 0, 0)
    dimension = msgspec.structs.replace(of.dimensions[0], probes=tuple(tries), loads=(load,))
    return msgspec.structs.replace(of, dimensions=(dimension,))


def terminal(result: CapacityResult) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(summary(result, None))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def html(result: CapacityResult) -> str:
    page = re.sub(r"<script.*?</script>", "", capacity_page(result), flags=re.DOTALL)
    return page.replace("\N{NO-BREAK SPACE}", " ")


def test_a_try_that_held_where_the_load_did_not_is_not_said_to_be_confirmed() -> None:
    lines = [line.split() for line in terminal(searched(held=False)).splitlines() if line.lstrip().startswith("131 ")]
    assert [line[:2] for line in lines[:2]] == [["131", "-"], ["131", "120"]]
    assert "held, unlike others" in terminal(searched(held=False))
    assert "(confirmed)" not in terminal(searched(held=False))
    assert "held (confirmed)" in terminal(searched(held=True))


@pytest.mark.parametrize(("shown", "rate"), [(terminal, "131"), (capacity_markdown, "130.9"), (html, "99.9 %")])
def test_what_it_seemed_to_achieve_is_in_no_table(shown: object, rate: str) -> None:
    """130.869/s were counted in it, 99.9 % of what was offered."""
    assert callable(shown)
    assert shown(searched(held=True)).count(rate) > shown(searched(held=False)).count(rate)


SCATTERED = "waits scattered so much that a backlog may have grown by 340 ms in the hold, and was not seen"
MAYBE = "they may be strays, which all tries of this load tell"


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (terminal, ("scattered", "1 of 2 tries held", "1 in which waits scattered")),
        (capacity_markdown, (SCATTERED, "1 in which waits scattered")),
        (html, (SCATTERED, "waits scattered</td>", 'data-label="waits scattered"')),
    ],
)
def test_a_try_that_scattered_is_neither_held_nor_broken(
    shown: Callable[[CapacityResult], str], words: tuple[str, ...]
) -> None:
    of = samples.capacity()
    held = samples.probe(Step.BRACKET, 100.0, 9.0, limit=200)
    tried = msgspec.structs.replace(held, passed=False, scattered=SCATTERED)
    load = LoadTried(100.0, True, False, 2, 1, 0, 0, 0, 0, times_scattered=1)
    dimension = msgspec.structs.replace(of.dimensions[0], probes=(tried, held), loads=(load,))
    text = shown(msgspec.structs.replace(of, dimensions=(dimension,)))
    for word in words:
        assert word in text
    assert probe_line(tried, "/s").endswith(f"says nothing by itself: {SCATTERED}")
    assert mark_of(tried)[0] == "waits scattered"


def test_the_line_of_a_load_names_the_errors_that_ended_its_sessions() -> None:
    one = samples.probe(Step.BRACKET, 100.0, 9.0, limit=200)
    lost = ("notify.dropped: 1,903", "sessions.lost: 1", "errors.serve.neighbor_dead: 1")
    told = "notify.dropped: 1,903; errors.serve.neighbor_dead: 1"
    broke = msgspec.structs.replace(one, passed=False, broke=lost)
    assert probe_line(broke, "/s").endswith(f": broke: {told}")
    assert probe_line(msgspec.structs.replace(one, strays=lost), "/s").endswith(f": held, with faults: {told}")


@pytest.mark.parametrize("shown", [capacity_markdown, html])
def test_that_a_load_began_with_new_sessions_is_said_with_why(shown: Callable[[CapacityResult], str]) -> None:
    of = samples.capacity()
    renewed = msgspec.structs.replace(samples.probe(Step.BRACKET, 100.0, 9.0, limit=200), renewed="sessions.lost: 1")
    dimension = msgspec.structs.replace(of.dimensions[0], probes=(renewed,))
    said = "with new sessions; those before were ended: sessions.lost: 1"
    assert said in shown(msgspec.structs.replace(of, dimensions=(dimension,)))
    assert said in probe_line(renewed, "/s")


@pytest.mark.parametrize(
    ("shown", "undecided", "held"),
    [
        (terminal, "strays, or not", "held, with faults"),
        (capacity_markdown, f"{MAYBE}: sessions.failed: 2", "with sessions.failed: 1"),
        (html, f"{MAYBE}: sessions.failed: 2", "sessions.failed: 1"),
    ],
)
def test_a_try_whose_failures_may_be_strays_neither_held_nor_broke(
    shown: Callable[[CapacityResult], str], undecided: str, held: str
) -> None:
    of = samples.capacity()
    one = samples.probe(Step.BRACKET, 100.0, 9.0, limit=200)
    tried = msgspec.structs.replace(one, passed=False, strayed=True, broke=("sessions.failed: 2",))
    again = msgspec.structs.replace(one, strays=("sessions.failed: 1",))
    load = LoadTried(100.0, True, False, 2, 1, 0, 0, 0, 3)
    dimension = msgspec.structs.replace(of.dimensions[0], probes=(tried, again), loads=(load,), broke=())
    text = shown(msgspec.structs.replace(of, dimensions=(dimension,)))
    assert undecided in text
    assert held in text
    assert (tried.void, again.void) == (True, False)
    assert probe_line(tried, "/s").endswith("tell: sessions.failed: 2")
    assert mark_of(tried)[0] == "strays, or not"


def test_loads_that_are_neighbours_are_told_apart() -> None:
    of = samples.capacity()
    loads = tuple(LoadTried(load, False, False, 2, 0, 0, 0, 0, 0) for load in (12.08, 12.34, 1208.4))
    dimension = msgspec.structs.replace(of.dimensions[0], loads=loads)
    text = terminal(msgspec.structs.replace(of, dimensions=(dimension,)))
    for load in ("12.08 did not hold", "12.34 did not hold", "1,208 did not hold"):
        assert load in text
