"""Locust's tables, charts and CSV files as our workers count: in tenths of a millisecond, by the same ranks as the
result, and with the rates that the run itself comes to.

Locust's own rows cut percentiles to whole milliseconds, and take the next slower request for each; they believe
whichever worker says that it has begun first, and divide by all the time since then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from locust import stats
from locust.stats import RequestStats, StatsCSV, StatsCSVFileWriter, StatsEntry

from loadgen.distributed.rows import AGGREGATED, Row
from loadgen.measure.histogram import parts_of

# "Current" figures are taken over this number of seconds, as Locust takes its own.
_CURRENT_S = stats.CURRENT_RESPONSE_TIME_PERCENTILE_WINDOW
# How far from that the figures may lie that are taken off the newest ones.
_CURRENT_MAY_BE_OFF_S = 8
# Columns of the tables in the terminal have seven characters.
_TENTHS_BELOW_MS = 10_000.0


class Account(NamedTuple):
    """What a run knows of its own rates.

    Attributes:
        per_s: by row, over the stage that counts; what is not in it has Locust's own: all of it, by all of the time.
        until_unix_s: until then every worker has told everything; None: nobody has told anything.
    """

    per_s: Mapping[Row, float] = {}
    until_unix_s: float | None = None


class Books(NamedTuple):
    """Where rows learn what they do not know themselves. Attributes: clock: unix time."""

    account: Callable[[], Account]
    clock: Callable[[], float]


def install(request_stats: RequestStats, books: Books) -> None:
    """Have these statistics, which have just been cleared, made of our rows."""
    request_stats.entries = _Entries(request_stats, books)
    request_stats.total = RowEntry(request_stats, AGGREGATED.name, AGGREGATED.method, books)


def percentile_ms(times: Mapping[Any, int], share: float) -> float:
    """The least of these response times that a share of them does not exceed; 0 where there is none.

    Args:
        times: how often each was taken.
    """
    wanted = max(1, math.ceil(math.nextafter(share * sum(times.values()), 0)))
    reached = 0
    for time_ms in sorted(times):
        reached += times[time_ms]
        if reached >= wanted:
            return float(time_ms)
    return 0.0


def enough(times: Mapping[Any, int], share: float) -> bool:
    """There are as many response times as a percentile takes."""
    return sum(times.values()) >= parts_of(share * 100)


class RowEntry(StatsEntry):
    """A row."""

    def __init__(self, request_stats: RequestStats, name: str, method: str, books: Books) -> None:
        super().__init__(request_stats, name, method, use_response_times_cache=True)
        self._books = books

    def extend(self, other: StatsEntry) -> None:
        """Take what a worker reports. When the run began and what time it is, is not for a worker to say."""
        started_s = self.start_time
        # Locust's own loop over hundreds of response times takes twice as long.
        times, other.response_times = other.response_times, {}
        known = self.response_times.get
        self.response_times.update({time_ms: known(time_ms, 0) + count for time_ms, count in times.items()})
        if other.last_request_timestamp is not None:
            other.last_request_timestamp = min(other.last_request_timestamp, self._books.clock())
        super().extend(other)
        self.start_time = started_s

    # -- how fast --------------------------------------------------------------------------------------------------

    @property
    def total_rps(self) -> float:
        """Done per second, of the stage that counts."""
        per_s = self._books.account().per_s.get(Row(self.method, self.name))
        # A worker whose clock is behind ours has done something before it began.
        return max(0.0, float(super().total_rps)) if per_s is None else per_s

    @property
    def total_fail_per_sec(self) -> float:
        return max(0.0, float(super().total_fail_per_sec))

    @property
    def current_rps(self) -> float:
        """The same over the last seconds of which everything is known."""
        return self._current(self.num_reqs_per_sec)

    @property
    def current_fail_per_sec(self) -> float:
        """Of failures."""
        return self._current(self.num_fail_per_sec)

    def _current(self, per_second: Mapping[int, int]) -> float:
        until_s = self._books.account().until_unix_s
        if until_s is None:
            return 0.0
        end = math.floor(until_s)
        seconds = range(max(end - _CURRENT_S, math.ceil(self.stats.start_time)), end)
        return sum(per_second.get(second, 0) for second in seconds) / max(1, len(seconds))

    # -- how long --------------------------------------------------------------------------------------------------

    def get_response_time_percentile(self, percent: float) -> float:  # type: ignore[override]
        """Args: percent: a share, from 0 to 1."""
        # The maximum is known better than to a bucket; three decimals of it are what CSV files have.
        most = round(self.max_response_time, 3)
        found = most if percent >= 1 else percentile_ms(self.response_times, percent)
        return min(max(found, self.min_response_time or 0.0), most)

    def get_current_response_time_percentile(self, percent: float) -> float | None:  # type: ignore[override]
        """The same of the last seconds; None before there are that many. Args: percent: a share, from 0 to 1."""
        times = self.current_response_times()
        return None if times is None else percentile_ms(times, percent)

    def current_response_times(self) -> Mapping[Any, int] | None:
        """How often each was taken in the last seconds; None before there are that many."""
        wanted_s = int(self._books.clock()) - _CURRENT_S
        kept: Mapping[int, stats.CachedResponseTimes] = self.response_times_cache or {}
        known_s = min(kept, key=lambda second: abs(second - wanted_s), default=None)
        if known_s is None or abs(known_s - wanted_s) > _CURRENT_MAY_BE_OFF_S:
            return None
        made: Mapping[Any, int] = stats.diff_response_time_dicts(self.response_times, kept[known_s].response_times)
        return made

    @property
    def median_response_time(self) -> float:  # type: ignore[override]
        return self.get_response_time_percentile(0.5)

    # -- as text ---------------------------------------------------------------------------------------------------

    def to_dict(self, escape_string_values: bool = False) -> dict[str, Any]:
        """For the web UI and the report."""
        least, most = self.min_response_time or 0.0, self.max_response_time
        made: dict[str, Any] = super().to_dict(escape_string_values)
        made |= {"min_response_time": least, "max_response_time": most}
        return {name: _cell(name, value) if isinstance(value, float) else value for name, value in made.items()}

    def to_string(self, current: bool = True) -> str:
        """A line of the table in the terminal."""
        name_width = stats.STATS_NAME_WIDTH - stats.STATS_TYPE_WIDTH + 4
        failed = f"{self.num_failures}({self.fail_ratio:.2%})"
        least, most = self.min_response_time or 0.0, self.max_response_time
        average, lowest, highest, median = map(
            _shown_ms, (self.avg_response_time, least, most, self.median_response_time)
        )
        done_per_s = self.current_rps if current else self.total_rps
        failed_per_s = self.current_fail_per_sec if current else self.total_fail_per_sec
        return (
            f"{self.method:<{stats.STATS_TYPE_WIDTH}} {self.name:<{name_width}} {self.num_requests:>7} {failed:>12} |"
            f"{average:>7} {lowest:>7} {highest:>7}{median:>7} | {_rate(done_per_s):>7} {_rate(failed_per_s):>11}"
        )

    def percentile(self) -> str:
        """A line of the table of percentiles in the terminal."""
        first, *others = (
            _shown_ms(self.get_response_time_percentile(share)) if enough(self.response_times, share) else "N/A"
            for share in stats.PERCENTILES_TO_REPORT
        )
        columns = " ".join(f"{value:>6}" for value in [*others, str(self.num_requests)])
        return f"{self.method:<{stats.STATS_TYPE_WIDTH}} {self.name:<{stats.STATS_NAME_WIDTH}} {first:>8} {columns}"


class _Entries(dict[tuple[str, str], StatsEntry]):
    """Rows by name and method; where Locust puts a row of its own here, it finds one of ours."""

    def __init__(self, request_stats: RequestStats, books: Books) -> None:
        super().__init__()
        self._stats, self._books = request_stats, books

    def __missing__(self, key: tuple[str, str]) -> StatsEntry:
        made = RowEntry(self._stats, *key, self._books)
        super().__setitem__(key, made)
        return made

    def __setitem__(self, key: tuple[str, str], row: StatsEntry) -> None:
        self[key].extend(row)


class _Fractions(StatsCSV):
    """CSV files whose percentiles are as exact as their minimum, maximum and average, or Locust's "N/A" where there are
    fewer response times than a percentile takes."""

    def _percentile_fields(self, stats_entry: StatsEntry, use_current: bool = False) -> list[Any]:
        if not isinstance(stats_entry, RowEntry):  # before the first run
            return list(super()._percentile_fields(stats_entry, use_current))
        times: Mapping[Any, int] | None = stats_entry.response_times
        ask: Callable[[float], float | None] = stats_entry.get_response_time_percentile
        if use_current and stats_entry.use_response_times_cache:
            times, ask = stats_entry.current_response_times(), stats_entry.get_current_response_time_percentile
        fields = zip(self.percentiles_to_report, self.percentiles_na, strict=True)
        return [round(ask(share) or 0.0, 3) if times and enough(times, share) else na for share, na in fields]


class Csv(_Fractions):
    """What the web UI hands out."""


class CsvFiles(_Fractions, StatsCSVFileWriter):
    """What `--csv` writes."""


def _cell(name: str, value: float) -> float:
    """As Locust's tables show it, which write out whatever they get: times in tenths of a millisecond."""
    return round(value, 1 if "response_time" in name and not name.startswith("avg") else 2)


def _shown_ms(value_ms: float) -> str:
    return f"{value_ms:.1f}" if value_ms < _TENTHS_BELOW_MS else f"{value_ms:.0f}"


def _rate(per_s: float) -> str:
    """Seven characters at most. Locust's own two decimals push the row apart from 10,000 on."""
    return f"{per_s:.2f}" if per_s < 9_999.5 else f"{per_s:.0f}" if per_s < 9_999_999 else f"{per_s:.1e}"
