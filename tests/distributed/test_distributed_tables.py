"""Locust's tables, as they are made of our workers' reports: figures that agree with the result's."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from distributed_samples import EPOCH_NS, MS, RUN, chosen, ending, health, histogram, interval, report

from loadgen.distributed.master.whole import WholeRun
from loadgen.distributed.messages import WorkerInterval
from loadgen.distributed.rows import AGGREGATED, ECHO, HANDSHAKE, NOTIFY, REQUESTS, SENT, SESSION, Batch, row_rates
from loadgen.measure.moments import MOMENT_NS

READER = Path(__file__).with_name("locust_tables.py")


def idle() -> dict[str, Any]:
    """What a worker without users reports."""
    return {**Batch(receiving=True).take(math.inf), "user_classes_count": {}, "user_count": 0}


def busy(values: Sequence[int], end_s: float, begun_s: float) -> dict[str, Any]:
    batch = Batch(receiving=True)
    batch.add("mse-0", interval(1, {"hold/notify.latency": values}), end_s, 3.0)
    return {**batch.take(begun_s), "user_classes_count": {"WlcUser": 1}, "user_count": 1}


Show = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def shown() -> Iterator[Show]:
    """What Locust makes of reports; with its own rows if there is no account."""
    with subprocess.Popen([sys.executable, str(READER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as locust:
        assert locust.stdin is not None
        assert locust.stdout is not None
        stdin, answers = locust.stdin, msgpack.Unpacker(locust.stdout, strict_map_key=False, read_size=1)

        def show(*reports: dict[str, Any], account: dict[str, Any] | None = None) -> dict[str, Any]:
            stdin.write(msgpack.packb({"reports": reports, "account": account}))
            stdin.flush()
            told = next(answers)
            assert isinstance(told, dict)
            return told

        yield show
        stdin.close()
    assert locust.returncode == 0


def table(told: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {row["Name"]: row for row in csv.DictReader(told["csv"].splitlines())}


NOBODY: dict[str, Any] = {"per_s": [], "until_unix_s": None}


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (0,)], ids=str)
@pytest.mark.parametrize("account", [None, NOBODY], ids=["Locust's rows", "our rows"])
def test_a_worker_without_users_does_not_say_when_the_run_began(
    shown: Show, account: dict[str, Any] | None, order: tuple[int, ...]
) -> None:
    before = time.time()
    reports = (idle(), busy([MS] * 10, before + 3, before + 60), idle())
    told = shown(*(reports[index] for index in order), account=account)
    assert told["start_time"] >= before


def test_whatever_a_worker_says_the_master_knows_when_it_began_and_what_time_it_is(shown: Show) -> None:
    now = time.time()
    wrong = busy([MS] * 10, now + 10**9, 0.0)
    wrong["stats_total"]["start_time"] = -1.0
    told = shown(wrong, account=NOBODY)
    assert told["start_time"] >= now
    assert now <= told["last"] <= now + 3600


def test_percentiles_have_fractions_and_the_ranks_of_the_result(shown: Show) -> None:
    """99 % of a hundred values is the second largest, and 100 % the largest, to the last digit."""
    values = [round(2.03 * MS + number * 0.25 * MS) for number in range(99)] + [45_711_234]
    exact = histogram(values)
    p50, p75, p99 = (round(ns / MS, 1) for ns in exact.percentiles(50.0, 75.0, 99.0))
    told = shown(busy(values, time.time(), time.time() - 9), account=NOBODY)
    row = table(told)["measurement notify"]
    assert (float(row["50%"]), float(row["75%"]), float(row["99%"])) == (p50, p75, p99)
    assert p50 % 1
    assert p99 < 30
    assert float(row["Median Response Time"]) == p50
    assert float(row["100%"]) == pytest.approx(exact.max_ns / MS, abs=0.001)
    assert float(row["Max Response Time"]) == pytest.approx(float(row["100%"]), abs=0.001)
    shown_row = told["rows"][0]
    assert shown_row["response_time_percentile_0.99"] == p99
    assert shown_row["max_response_time"] == pytest.approx(45.7)
    assert shown_row["min_response_time"] == pytest.approx(2.0)
    line = next(line for line in told["lines"] if "measurement notify" in line)
    assert f"{p50:.1f} |" in line
    assert "45.7" in line
    percentiles = next(line for line in told["percentiles"] if "measurement notify" in line)
    assert float(percentiles.split()[3]) == p50
    assert float(percentiles.split()[-2]) == 45.7


def test_no_cell_of_a_table_has_more_digits_than_it_is_worth(shown: Show) -> None:
    values = [9_461_887, 2_333_333, 11_460_607]
    told = shown(busy(values, time.time(), time.time() - 7), account={"per_s": [], "until_unix_s": time.time()})
    for row in told["rows"]:
        for name, value in row.items():
            if isinstance(value, float):
                digits = 1 if "response_time" in name and not name.startswith("avg") else 2
                assert value == round(value, digits), (name, value)
        assert row["response_time_percentile_0.999"] == row["max_response_time"] == 11.5
    assert float(table(told)["measurement notify"]["100%"]) == pytest.approx(11.461, abs=0.005)


def test_a_percentile_of_fewer_values_than_it_takes_is_not_available(shown: Show) -> None:
    values = [number * MS for number in range(1, 23)]
    told = shown(busy(values, time.time(), time.time() - 9), account=NOBODY)
    row = table(told)["measurement notify"]
    known = {name for name in row if name.endswith("%") and row[name] != "N/A"}
    # 95 % takes 20 values, 98 % takes 50; the maximum takes one.
    assert known == {"50%", "66%", "75%", "80%", "90%", "95%", "100%"}
    percentiles = next(line for line in told["percentiles"] if "measurement notify" in line)
    assert percentiles.split()[3:] == ["11.0", "15.0", "17.0", "18.0", "20.0", "21.0", *["N/A"] * 4, "22.0", "22"]


def test_locusts_tables_in_the_terminal_keep_their_columns(shown: Show) -> None:
    # Of a run that has hardly begun: two of them are tens of thousands a second.
    told = shown(busy([MS, 20_000 * MS], time.time(), time.time()), account=NOBODY)
    for name in ("lines", "percentiles"):
        heads = [line for line in told[name] if line.startswith("Type")]
        rows = [line for line in told[name] if "measurement notify" in line or "Aggregated" in line]
        assert rows
        assert {len(line.rstrip()) for line in rows} == {len(heads[0].rstrip())} or name == "percentiles"
        assert all(row.index("|") == heads[0].index("|") for row in rows if "|" in row)
        assert not [row for row in rows if "-" in row]  # nothing is done less than never


def test_rates_are_those_that_the_run_comes_to(shown: Show) -> None:
    now = time.time()
    account = {"per_s": [[list(NOTIFY), 400.25], [list(AGGREGATED), 401.5]], "until_unix_s": now}
    told = shown(busy([MS] * 10, now, now - 9), account=account)
    assert float(table(told)["measurement notify"]["Requests/s"]) == 400.25
    assert float(table(told)["Aggregated"]["Requests/s"]) == 401.5


def test_current_rates_are_of_seconds_of_which_everything_is_known(shown: Show) -> None:
    """One of two workers has told of three seconds more: these do not count as seconds in which half was done."""
    now = float(math.floor(time.time())) + 100
    reports = [busy([MS] * 300, now + 3 * k, now) for _ in range(2) for k in range(1, 5)]
    account = {"per_s": [], "until_unix_s": now + 12}
    ahead = busy([MS] * 300, now + 15, now)
    told = shown(*reports, ahead, account=account)
    assert {row["current_rps"] for row in told["rows"]} == {200.0}


# -- what the run comes to ---------------------------------------------------------------------------------------------


def run_of(folder: Path, *, intervals: int, per_interval: int, ramp: int = 0, told_end: bool = False) -> WholeRun:
    """A worker's run in intervals of 3 s: the hold begins at 3 s, and whatever was before is a ramp."""
    whole = WholeRun(RUN, chosen(folder).plan(2), (), EPOCH_NS)
    for index in range(intervals):
        tags = {"hold/notify.latency": [MS] * per_interval} if index else {"ramp/notify.latency": [MS] * ramp}
        tags |= {"hold/request.measurement.latency": [MS] * 6} if index else {"handshake.session": [MS]}
        metrics = {tag: values for tag, values in tags.items() if values}
        made = interval(index, metrics, notify__received=per_interval, sessions__established=1, echo__sent=1)
        if not index:  # twenty sessions, evenly over a second
            first = EPOCH_NS // MOMENT_NS
            apart = 10**9 // MOMENT_NS // 20
            made = msgspec.structs.replace(made, moments={"established": {first + k * apart: 1 for k in range(20)}})
        whole.take_untrusted("a", 0, report(WorkerInterval("mse-0", made, None)), NOW_NS)
    if told_end:
        whole.finishing(NOW_NS)
        end_ns = EPOCH_NS + intervals * 3 * 10**9
        whole.take_untrusted("a", 0, report(ending=ending(health("mse-0"), end_ns=end_ns)), NOW_NS)
    return whole


NOW_NS = EPOCH_NS + 100 * 10**9


def test_rows_have_the_rates_of_the_result(tmp_path: Path) -> None:
    whole = run_of(tmp_path, intervals=11, per_interval=1200, ramp=200, told_end=True)
    result = whole.result(NOW_NS, ended=True)
    rates = row_rates(result)
    assert rates[NOTIFY] == result.rates["notify.received_per_s"] == pytest.approx(400, rel=0.001)
    assert rates[HANDSHAKE] == rates[SESSION] == result.rates["handshake.per_s"]
    assert rates[REQUESTS] == pytest.approx(2)
    assert rates[AGGREGATED] == pytest.approx(402, rel=0.001)
    assert SENT not in rates
    assert ECHO not in rates


def test_what_is_not_told_yet_is_no_time_in_which_nothing_was_done(tmp_path: Path) -> None:
    whole = run_of(tmp_path, intervals=4, per_interval=1200)
    soon_ns = EPOCH_NS + 14 * 10**9 + 900 * MS
    assert whole.until_unix_ns(soon_ns) == EPOCH_NS + 12 * 10**9
    assert row_rates(whole.live(soon_ns))[NOTIFY] == pytest.approx(400, rel=0.001)


def test_the_slowest_worker_says_until_when_everything_is_known(tmp_path: Path) -> None:
    whole = WholeRun(RUN, chosen(tmp_path).plan(2), (), EPOCH_NS)
    now_ns = EPOCH_NS + 30 * 10**9
    assert whole.until_unix_ns(now_ns) == EPOCH_NS
    for client, index in (("a", 4), ("b", 2)):
        whole.take_untrusted(client, 0, report(WorkerInterval(f"mse-{client}", interval(index), None)), now_ns)
    assert whole.until_unix_ns(now_ns) == EPOCH_NS + 9 * 10**9
    assert whole.until_unix_ns(EPOCH_NS + 10**9) == EPOCH_NS + 10**9  # a clock that is ahead
    whole.lose("b", "gone")
    assert whole.until_unix_ns(now_ns) == EPOCH_NS + 15 * 10**9
    whole.take_untrusted("a", 0, report(ending=ending(end_ns=EPOCH_NS + 14 * 10**9)), now_ns)
    assert whole.until_unix_ns(now_ns) == EPOCH_NS + 14 * 10**9
