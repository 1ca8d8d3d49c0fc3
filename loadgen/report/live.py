"""A run as it goes on, for a browser: a page that asks for what is new, and what it is then told."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from loadgen import __version__
from loadgen.measure.histogram import Histogram
from loadgen.report.html import environment, headline
from loadgen.report.run_charts import WHY_THEY_DIFFER, handshake_chart, percentile_charts, time_charts
from loadgen.results.faults import faults
from loadgen.results.health import Verdict
from loadgen.results.result import RunResult

# Whose browser is this: it runs the page's own scripts, asks its own server, and nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_LACKS = (
    "notify.lost",
    "notify.dropped",
    "notify.duplicated",
    "notify.reordered",
    "sessions.failed",
    "sessions.lost",
    "clock.clamped",
)
# Rows of the table of workers that are made anew every second; the report has all of them.
_MOST_WORKERS = 32
_TONES = {Verdict.VALID: "good", Verdict.DEGRADED: "warn", Verdict.INVALID: "bad"}


class RunPhase(StrEnum):
    """Where the run stands that the page shows."""

    NONE = "none"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"


class Moment(msgspec.Struct, frozen=True):
    """What the page says beside the figures.

    Attributes:
        users, wanted: that the workers have told of, and that there are to be.
        active: sessions that are up.
        folder: where the result is; empty if there is none.
        trouble: what kept it from being written.
    """

    phase: RunPhase
    users: int = 0
    wanted: int = 0
    workers: int = 0
    active: int = 0
    elapsed_s: float = 0.0
    folder: str = ""
    trouble: str = ""


class LiveChart(msgspec.Struct, frozen=True):
    """A chart by its title; texts are texts, and no HTML."""

    title: str
    text: str
    height: int
    figure: dict[str, Any]


class LiveView(msgspec.Struct, frozen=True):
    """What the page is told.

    Attributes:
        version: another one whenever something has changed.
        html: the part above the charts, and the part below; everything from outside is escaped.
    """

    version: str
    title: str
    html: str
    below: str
    why: str
    charts: tuple[LiveChart, ...]


def live_page() -> str:
    """The page by itself: what it shows, its script fetches."""
    return environment().get_template("live.html.j2").render(version=__version__)


def live_view(version: str, moment: Moment, result: RunResult | None, curves: Mapping[str, Histogram]) -> LiveView:
    """What there is to show.

    Args:
        result: of the run so far, or of the last one; None if there was none.
        curves: histograms of the run by tag.
    """
    charts = []
    if result is not None:
        handshake = handshake_chart(result)
        found = [*percentile_charts(result, curves), *([handshake] if handshake else []), *time_charts(result)]
        charts = [LiveChart(chart.title, chart.text, chart.height, chart.figure) for chart in found]
    workers = () if result is None else result.workers
    if len(workers) > _MOST_WORKERS:
        workers = tuple(sorted(workers, key=lambda worker: -worker.load_share)[:_MOST_WORKERS])
    values = {
        "now": moment,
        "result": result,
        "tone": "" if result is None else _TONES[result.verdict.generator],
        "cards": [] if result is None else headline(result),
        "lacks": [] if result is None else [(n, result.counters[n]) for n in _LACKS if n in result.counters],
        "errors": faults({} if result is None else result.counters),
        "workers": workers,
        "others": 0 if result is None else len(result.workers) - len(workers),
    }
    return LiveView(
        version=version,
        title=_title(moment, result),
        html=environment().get_template("live_above.html.j2").render(**values),
        below="" if result is None else environment().get_template("live_below.html.j2").render(**values),
        why="" if result is None else WHY_THEY_DIFFER[result.kind],
        charts=tuple(charts),
    )


def _title(moment: Moment, result: RunResult | None) -> str:
    if result is None:
        return "NMSP: no run yet"
    return f"{moment.phase} · {result.verdict.generator} · {result.scenario}"
