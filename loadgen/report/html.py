"""report.html: a result as one page that needs nothing beside itself, neither files nor a network.

plotly draws, because its wheel brings the script (so none is kept here), it is well kept, and it knows logarithmic
axes, error bars and hovering. The script goes into the page deflated, 2 MB instead of 4.8, and the browser inflates it.
Whatever is in a result may be hostile: Jinja2 escapes it, charts get it as JSON, and the page's own policy (by hashes)
runs no other script and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping
from functools import cache
from importlib import metadata, resources

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from loadgen import __version__
from loadgen.capacity.result import CapacityResult, Outcome
from loadgen.compare.metrics import not_counted
from loadgen.compare.result import Comparison, Gate, MetricComparison
from loadgen.errors import ExitCode
from loadgen.loads import LoadKind
from loadgen.measure.books import once
from loadgen.measure.histogram import Histogram
from loadgen.measure.names import COSTS, COUNTERS, METRICS, RATES
from loadgen.report.charts import NONE, Chart, shown_ns
from loadgen.report.clocks import clock_lines
from loadgen.report.missing import missing_lines
from loadgen.report.run_charts import WHY_THEY_DIFFER, handshake_chart, percentile_charts, stage_rows, time_charts
from loadgen.report.search_charts import capacity_charts, forest, mark_of, metric_label
from loadgen.report.tried import outvoted, shared_by, word_of
from loadgen.results.faults import faults
from loadgen.results.health import MachineHealth, Verdict, key_log_lines
from loadgen.results.result import RunResult

# A plan of thousands of controllers has megabytes, and is beside the page anyway.
_MOST_PLAN = 40_000
# Of deflating: half of what 9 takes, of which every run would see a tenth of a second, and 1 % more bytes.
_LEVEL = 5
# A figure and its unit.
_FIGURE = re.compile(r"(\d) ?(%|(?<= )(?:ns|µs|ms|s|B|KiB|MiB|GiB)\b)")
_BAD_WORDS = (
    "failed",
    "lost",
    "dropped",
    "duplicated",
    "reordered",
    "unmatched",
    "refused",
    "timed_out",
    "retransmitted",
    "abandoned",
    "late",
    "repeated",
    "unsupported",
    "clamped",
    "shortfall",
)


def run_page(result: RunResult, curves: Mapping[str, Histogram], plan_text: str) -> str:
    """The page of a run.

    Args:
        curves: histograms of the whole run by "<stage>/<metric>", or "<metric>" for what belongs to no stage; without
            them, curves are drawn through the summaries' percentiles.
        plan_text: plan.json, or nothing.
    """
    counters = {name: count for name, count in result.counters.items() if not name.startswith("errors.")}
    percentiles, handshake, over_time = percentile_charts(result, curves), handshake_chart(result), time_charts(result)
    return _page(
        "run.html.j2",
        drawn=bool(percentiles or handshake or over_time),
        result=result,
        tone=_tone_of_run(result),
        invalid=result.verdict.generator is Verdict.INVALID,
        not_counted=not_counted(result),
        cards=headline(result),
        percentiles=percentiles,
        why=WHY_THEY_DIFFER[result.kind] if f"{result.kind}.latency" in result.metrics else "",
        histograms=bool(curves),
        told=result.machine != MachineHealth(),
        handshake=handshake,
        over_time=over_time,
        stages=stage_rows(result),
        clocks=clock_lines(result.clocks),
        missing=missing_lines(result.missing),
        key_log=key_log_lines(result.key_log, result.key_log_trouble),
        counters={name: count for name, count in counters.items() if count},
        zeros={name: count for name, count in counters.items() if not count},
        errors=faults(result.counters),
        plan=plan_text[:_MOST_PLAN],
        plan_rest=max(0, len(plan_text) - _MOST_PLAN),
    )


def capacity_page(result: CapacityResult) -> str:
    """The page of a search for limits."""
    tones = {
        Outcome.FOUND: "good",
        Outcome.NOT_REACHED: "good",
        Outcome.GENERATOR_LIMITED: "warn",
        Outcome.INCONCLUSIVE: "warn",
    }
    dimensions = [(dimension, tones[dimension.outcome], capacity_charts(dimension)) for dimension in result.dimensions]
    drawn = any(charts for _, _, charts in dimensions)
    key_log = key_log_lines(result.key_log, result.key_log_trouble)
    return _page("capacity.html.j2", drawn=drawn, result=result, dimensions=dimensions, key_log=key_log)


def comparison_page(result: Comparison) -> str:
    """The page of a comparison."""
    tones = {"pass": "good", "regression": "bad", "inconclusive": "warn"}
    chart = forest(result)
    return _page(
        "comparison.html.j2",
        drawn=chart is not None,
        result=result,
        tone=tones[result.decision],
        tones=tones,
        forest=chart,
        deciding=[metric for metric in result.metrics if metric.gate is not Gate.REPORT],
        reporting=[metric for metric in result.metrics if metric.gate is Gate.REPORT],
    )


class Card(msgspec.Struct, frozen=True):
    """A headline figure: what it is, the value, and a small line below; tone "bad" where it should be 0 and is not."""

    value: str
    label: str
    note: str = ""
    tone: str = ""


def _tone_of_run(result: RunResult) -> str:
    if result.verdict.exit_code != ExitCode.PASSED:
        return "warn" if result.verdict.exit_code in (ExitCode.INCONCLUSIVE, ExitCode.INTERRUPTED) else "bad"
    return "good" if result.verdict.generator is Verdict.VALID else "warn"


def headline(result: RunResult) -> list[Card]:
    """Headline figures; what was not measured is left out."""
    count, rate, metric = result.counters.get, result.rates.get, result.metrics.get
    cards = []
    names: tuple[str, ...]
    lacks: tuple[str, ...]

    def add(value: float | None, label: str, note: str = "", tone: str = "") -> None:
        if value is not None:
            cards.append(Card(number(value), label, note, tone))

    def latency(name: str) -> None:
        if (m := metric(name)) is not None and m.count:
            known = {"p50": m.p50, "p99": m.p99, "p99.9": m.p99_9, "max": m.max}
            shown = "max" if m.p99 is None else "p99"
            parts = [f"{s} {shown_ns(value)}" for s, value in known.items() if s != shown and value is not None]
            note = " · ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
            cards.append(Card(shown_ns(known[shown]), f"{name} {shown}", note))

    if result.kind is LoadKind.HANDSHAKE:
        resumed = count("handshakes.resumed", 0)
        add(
            rate("handshake.completed_per_s"), "handshakes/s", f"{resumed:,} resumed" if resumed else "all of them full"
        )
        names = ("handshake.latency", "handshake.tls", "handshake.tls_resumed", "handshake.lag")
        lacks = ("handshakes.failed", "handshakes.dropped")
    else:
        received = rate("notify.received_per_s")
        word = "sent" if received is None else "received"
        done = None if count(f"notify.{word}") is None else once(result.counters, f"notify.{word}")
        add(rate(f"notify.{word}_per_s"), f"notifications/s {word}", _of(done, count("notify.due")))
        names = ("notify.latency", "notify.service", "notify.lag")
        if "notify.latency" in result.missing:
            names = ("notify.gap", *names)
        up = count("sessions.established")
        add(up, "sessions set up", _of(up, count("sessions.attempted"), "attempted"))
        lacks = (
            *("notify.dropped", "notify.lost", "sessions.failed", "sessions.lost"),
            *("requests.dropped", "requests.refused", "requests.timed_out", "requests.abandoned"),
        )
    for name in names:
        latency(name)
    known = {name: value for name in lacks if (value := count(name)) is not None}
    total = sum(known.values())
    told = " · ".join(f"{value:,}\N{NO-BREAK SPACE}{name}" for name, value in known.items() if value)
    # What was lost, not every layout tells.
    untold = "notify.lost" in result.missing
    label, none = "failed, dropped or lost", "nothing failed, nothing lost"
    if untold:
        label, none = "failed or dropped", "nothing failed; what was lost is not known"
    if known:
        add(total, label, told or none, "bad" if total else "good")
    return cards


def _of(part: int | None, whole: int | None, word: str = "due") -> str:
    return "" if part is None or not whole else f"{part:,} of {whole:,} {word}"


def number(value: float | None) -> str:
    """A count or a rate as people read it: four digits at most behind whole thousands."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.4g}"


def size(octets: float | None) -> str:
    """Bytes with a unit."""
    if octets is None:
        return NONE
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(octets) >= factor:
            return f"{octets / factor:,.1f} {unit}"
    return f"{octets:,.0f} B"


def quantity(value: float | None, unit: str) -> str:
    """A figure of a comparison in its unit."""
    if value is None:
        return NONE
    if unit in ("ns", "s"):
        return ("-" if value < 0 else "") + shown_ns(abs(value) * (1 if unit == "ns" else 1e9))
    if unit == "bytes":
        return size(value)
    return f"{number(value)}/s" if unit == "1/s" else f"{number(value)} {unit}".strip()


def cost(name: str, value: float) -> str:
    """A figure of `costs`, whose name tells its unit."""
    return quantity(value, "s" if name.endswith("_s") else "bytes" if name.endswith("bytes") else "")


def together(text: str) -> str:
    """A sentence as this page writes figures: "82 %", and no line ends between a figure and its unit."""
    return _FIGURE.sub("\\1\N{NO-BREAK SPACE}\\2", text)


def percent(share: float | None) -> str:
    """A change with its sign."""
    return NONE if share is None else f"{100 * (round(share, 4) + 0.0):+.2f} %"  # + 0.0: there is no -0.00 %


def is_bad(name: str) -> bool:
    """Whether a counter should be 0."""
    return name.rpartition(".")[2] in _BAD_WORDS


def meaning(name: str) -> str:
    """What a figure is, in words; empty for what nobody knows."""
    return next((table[name] for table in (METRICS, COUNTERS, RATES, COSTS) if name in table), "")


def _page(template: str, *, drawn: bool, **values: object) -> str:
    script, style = page_file("charts.js") + page_file("page.js"), page_file("page.css")
    library, library_hash = _library()
    known = {
        "script": Markup(script),  # noqa: S704 - files of this package
        "style": Markup(style),  # noqa: S704
        "script_hash": _hash(f"\n{script}\n".encode()),
        "library": library if drawn else "",
        "library_hash": library_hash,
        "version": __version__,
    }
    return environment().get_template(template).render(**values, **known)


def page_of(template: str, **values: object) -> str:
    """A page without charts."""
    return _page(template, drawn=False, **values)


def page_file(name: str) -> str:
    """A script or style sheet of the pages."""
    return resources.files("loadgen.report").joinpath("templates", name).read_text("utf-8")


@cache
def environment() -> Environment:
    """Of all templates; it escapes what comes from outside."""
    made = Environment(
        loader=PackageLoader("loadgen.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": shown_ns,
        "number": number,
        "size": size,
        "quantity": quantity,
        "cost": cost,
        "percent": percent,
        "is_bad": is_bad,
        "meaning": meaning,
        "figure": _figure,
        "mark": mark_of,
        "word": word_of,
        "outvoted": outvoted,
        "shared_by": shared_by,
        "label": metric_label,
        "runs": _runs,
        "together": together,
        "soft": _soft,
    }
    return made


def _figure(chart: Chart) -> Markup:
    """JSON for a script element, which ends at no "<" of the JSON's own."""
    text = msgspec.json.encode(chart.figure).decode().replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - nothing is left that HTML reads


def _runs(metric: MetricComparison) -> str:
    """All runs of both sides, for those who want to see them."""
    sides = (("baseline", metric.baseline_runs), ("new", metric.new_runs))
    return "; ".join(f"{name}: {', '.join(quantity(v, metric.unit) for v in runs)}" for name, runs in sides if runs)


def _soft(name: str) -> Markup:
    """A name that may be broken behind its dots and underscores, and nowhere else."""
    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped


@cache
def _library() -> tuple[str, str]:
    """plotly's script, deflated and in base64, and its hash."""
    script = library()
    return base64.b64encode(zlib.compress(script, _LEVEL)).decode("ascii"), _hash(script)


def library() -> bytes:
    """plotly's script. The Python package is not imported."""
    path = metadata.distribution("plotly").locate_file("plotly/package_data/plotly.min.js")
    with open(str(path), "rb") as file:  # noqa: PTH123 - importlib's paths are no pathlib ones
        return file.read()


def _hash(script: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script).digest()).decode("ascii")
