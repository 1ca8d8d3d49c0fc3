"""Charts as plotly figures in plain dicts; the page's script draws them.

A colour is written "var(--name)": the script takes it from the page's style sheet, so that a chart follows the page
from light to dark. What comes from outside goes through `plain`, because plotly reads markup in nearly every text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from loadgen.units import NS_PER_S, format_duration

Figure = dict[str, Any]
NONE = "\N{EN DASH}"  # where a figure would be, and was not measured
COLOURS = tuple(f"var(--c{number})" for number in range(1, 7))
# Beside the colour: nobody has to tell two colours apart.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star")
_UNIT_STEPS = (1, 2, 5)
# Decades of an axis up to which 2 and 5 are written too.
_DENSE_DECADES = 2.3
# More points of a line than that lie closer together than it is thick.
_FEW_POINTS = 200
# An axis of no more than five whole things would get ticks between them.
_FEW_WHOLE = 5
# Fewer points than that are marked, so that a lone one is seen.
_VERY_FEW = 8


class Chart(NamedTuple):
    """A chart with what people read above it.

    Attributes:
        text: what it shows, in a sentence; also for those who cannot see it.
        height: in pixels.
    """

    title: str
    text: str
    figure: Figure
    height: int = 340


class Band(NamedTuple):
    """A named stretch of the x axis, shaded."""

    name: str
    start: float
    end: float
    counted: bool = True


def plain(text: str) -> str:
    """Text that plotly shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def line(
    name: str,
    x: Sequence[float | None],
    y: Sequence[float | None],
    number: int,
    *,
    texts: Sequence[str] | None = None,
) -> Figure:
    """One line; the number chooses colour and dashes.

    Args:
        texts: what the hover shows instead of y.
    """
    # Beyond as many as there are colours, a colour comes again with other dashes.
    again = number + number // len(COLOURS)
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[again % len(DASHES)]
    trace: Figure = {
        "type": "scatter",
        "mode": "lines+markers" if len(x) < _VERY_FEW else "lines",
        "name": plain(name),
        "x": [_short(value) for value in x],
        "y": [_short(value) for value in y],
        "line": {"color": colour, "dash": dash, "width": 2 if len(x) <= _FEW_POINTS else 1.3},
        "marker": {"color": colour, "symbol": SYMBOLS[again % len(SYMBOLS)], "size": 7},
        "connectgaps": False,
    }
    if texts is not None:
        trace["text"] = list(texts)
        trace["hovertemplate"] = "%{text}"
    return trace


def durations(name: str, x: Sequence[float | None], ns: Sequence[float | None], number: int) -> Figure:
    """A line of durations for a logarithmic axis, which has no place for 0."""
    texts = [shown_ns(value) for value in ns]
    return line(name, x, [value if value is not None and value > 0 else None for value in ns], number, texts=texts)


def shown_ns(ns: float | None) -> str:
    """A duration, or a dash for none."""
    return NONE if ns is None or not math.isfinite(ns) else format_duration(ns)


def duration_axis(values: Iterable[float | None], title: str = "") -> Figure:
    """A logarithmic axis with ticks such as 200 µs, 500 µs, 1 ms; values in ns."""
    known = [value for value in values if value is not None and value > 0 and math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (1e6, 1e7)
    low, high = math.log10(low) - 0.08, math.log10(high) + 0.08
    if high - low < 0.6:
        low, high = (low + high) / 2 - 0.3, (low + high) / 2 + 0.3
    steps = _UNIT_STEPS if high - low < _DENSE_DECADES else (1, 3) if high - low < 2 * _DENSE_DECADES else (1,)
    ticks = [step * 10**decade for decade in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return {
        "type": "log",
        "title": {"text": title},
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [_tick(value) for value in ticks],
    }


def count_axis(title: str, *, whole_most: float | None = None, **more: object) -> Figure:
    """A linear axis from 0 up.

    Args:
        whole_most: the most of what there are no parts of.
    """
    if "tickformat" not in more:
        # 2k, but 0.8 and not 800m.
        more["tickformatstops"] = [
            {"dtickrange": [None, 0.99], "value": "~g"},
            {"dtickrange": [1, None], "value": "~s"},
        ]
    if whole_most is not None and whole_most <= _FEW_WHOLE:
        more["dtick"] = 1
    return {"title": {"text": plain(title)}, "rangemode": "tozero", "hoverformat": ",.4~r", **more}


def percentile_axis(most: float) -> Figure:
    """1 / (1 - percentile), logarithmic: every nine gets the same room.

    Args:
        most: the largest x, which is the count of samples.
    """
    decades = max(1, math.ceil(math.log10(max(most, 1.0)) - 0.001))
    names = {2.0: "50", **{10.0**d: _nines(d) for d in range(1, decades + 1)}}
    return {
        "type": "log",
        "title": {"text": "percentile"},
        "tickangle": 0,
        "unifiedhovertitle": {"text": "percentile: not above"},
        "range": [-0.03, decades + 0.05],
        "tickvals": list(names),
        "ticktext": list(names.values()),
    }


def bands(stages: Sequence[Band], *, end: float) -> tuple[list[Figure], list[Figure]]:
    """Shapes and labels of stages: every second one shaded, counted ones named in full, the others in brackets.

    Args:
        end: the longest that the axis gets; a name that would find no room is left out.
    """
    shapes: list[Figure] = []
    labels: list[Figure] = []
    for number, band in enumerate(stages):
        shade = "var(--band)" if band.counted else "var(--band-out)"
        edge = {"color": "var(--grid)", "width": 1}
        shapes.append(
            _box(band.start, band.end, 0, 1, fill=shade if number % 2 or not band.counted else "rgba(0,0,0,0)")
            | {"yref": "paper", "line": edge}
        )
        share = (band.end - band.start) / end if end > 0 else 1.0
        room = int(share * 60)  # letters, on a narrow screen about
        name = band.name if band.counted else f"({band.name})"
        if room >= 3:
            label = name if len(name) <= max(room, 6) else name[: max(room, 6) - 1] + "…"
            labels.append(
                {
                    "x": (band.start + band.end) / 2,
                    "y": 1,
                    "yref": "paper",
                    "yanchor": "bottom",
                    "text": plain(label),
                    "hovertext": plain(band.name),
                    "showarrow": False,
                    "font": {"size": 11},
                }
            )
    return shapes, labels


def over_time(traces: list[Figure], y: Figure, stages: Sequence[Band], start_s: Sequence[float]) -> Figure:
    """A figure with seconds of the run as its x axis and the stages as bands."""
    end = max((*start_s, *(band.end for band in stages)), default=1.0)
    begin = min((*start_s, *(band.start for band in stages)), default=0.0)
    shapes, labels = bands(stages, end=end - begin)
    return {
        "data": traces,
        "layout": {
            "xaxis": {
                "title": {"text": "seconds of load"},
                "range": [begin, end],
                "hoverformat": ".4~r",
                "unifiedhovertitle": {"text": "second %{x}"},
            },
            "yaxis": y,
            "hovermode": "x unified",
            "shapes": shapes,
            "annotations": labels,
        },
    }


def spread(rows: Mapping[str, Mapping[str, float]], *, title: str = "") -> Figure:
    """One row per name: from its first statistic to its last, a mark for each; durations in ns."""
    names = list(rows)
    traces: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [value for row in rows.values() for value in (min(row.values()), max(row.values()), None)],
            "y": [value for name in names for value in (plain(name), plain(name), None)],
            "line": {"color": "var(--grid-strong)", "width": 6},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]
    for number, statistic in enumerate(dict.fromkeys(key for row in rows.values() for key in row)):
        having = [name for name in names if rows[name].get(statistic, 0) > 0]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": statistic,
                "x": [rows[name][statistic] for name in having],
                "y": [plain(name) for name in having],
                "text": [format_duration(rows[name][statistic]) for name in having],
                "hovertemplate": "%{y} " + statistic + ": %{text}<extra></extra>",
                "marker": {"color": COLOURS[number % 6], "symbol": SYMBOLS[number % 6], "size": 11},
            }
        )
    axis = duration_axis((value for row in rows.values() for value in row.values()), title)
    order = [plain(name) for name in reversed(names)]
    y = {"type": "category", "categoryorder": "array", "categoryarray": order, "automargin": True}
    return {"data": traces, "layout": {"xaxis": axis, "yaxis": y, "hovermode": "closest"}}


def box(x0: float, x1: float, y0: float, y1: float, fill: str) -> Figure:
    """A filled rectangle behind the traces."""
    return _box(x0, x1, y0, y1, fill=fill)


def _box(x0: float, x1: float, y0: float, y1: float, *, fill: str) -> Figure:
    corners = {"x0": x0, "x1": x1, "y0": y0, "y1": y1}
    return {"type": "rect", **corners, "fillcolor": fill, "line": {"width": 0}, "layer": "below"}


def _nines(decade: int) -> str:
    """1: 90, 2: 99, 3: 99.9, ..."""
    return "90" if decade == 1 else "99" if decade == 2 else "99." + "9" * (decade - 2)


def _tick(ns: float) -> str:
    for unit, size in (("s", NS_PER_S), ("ms", 10**6), ("µs", 10**3)):
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:g} ns"


def _short(value: float | None) -> float | None:
    """Six digits: what a screen can show, in half of the bytes."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
