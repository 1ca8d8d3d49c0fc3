"""Rows of Locust's tables from histograms."""

from __future__ import annotations

import math

import pytest
from distributed_samples import MS, interval
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.distributed.rows import Batch, bucket_ms

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=200)


def by_name(message: dict[str, object]) -> dict[str, dict[str, object]]:
    rows = message["stats"]
    assert isinstance(rows, list)
    return {row["name"]: row for row in rows}


@pytest.mark.parametrize(
    ("ns", "ms"),
    [
        (0, 0.0),
        (49_000, 0.0),
        (51_000, 0.1),
        (1_240_000, 1.2),
        (99_940_000, 99.9),
        (99_960_000, 100.0),
        (123_400_000, 123.0),
        (1_234_000_000, 1230.0),
        (61_500_000_000, 61500.0),
    ],
)
def test_buckets_are_a_tenth_of_a_millisecond_or_three_digits(ns: int, ms: float) -> None:
    assert bucket_ms(ns) == ms


@REPEATABLE
@given(st.integers(0, 3600 * 10**9))
def test_a_bucket_is_never_far_from_its_value(ns: int) -> None:
    assert math.isclose(bucket_ms(ns), ns / MS, rel_tol=0.005, abs_tol=0.0501)


def test_rows_have_what_happened_since_the_last_report_and_no_more() -> None:
    batch = Batch(receiving=True)
    first = {"ramp/notify.latency": [MS, 2 * MS], "hold/notify.latency": [3 * MS], "handshake.tls": [20 * MS]}
    batch.add("mse-0", interval(3, first), 1004.0, 1.0)
    batch.add("mse-1", interval(3, {"hold/notify.latency": [5 * MS]}), 1004.0, 1.0)
    batch.add("mse-1", interval(4, {"hold/notify.latency": [7 * MS], "notify.service": [9 * MS]}), 1005.0, 1.0)
    message = batch.take(1000.0)
    rows = by_name(message)
    assert rows.keys() == {"measurement notify", "TLS handshake"}
    notify = rows["measurement notify"]
    assert notify["num_requests"] == 5
    assert notify["num_failures"] == notify["num_none_requests"] == 0
    assert notify["num_reqs_per_sec"] == {1003: 4, 1004: 1}
    assert notify["response_times"] == {1.0: 1, 2.0: 1, 3.0: 1, 5.0: 1, 7.0: 1}
    assert notify["total_response_time"] == pytest.approx(18, rel=0.001)
    assert notify["min_response_time"] == pytest.approx(1, rel=0.001)
    assert notify["max_response_time"] == pytest.approx(7, rel=0.001)
    assert notify["start_time"] == 1000.0
    assert notify["last_request_timestamp"] == 1005.0
    total = message["stats_total"]
    assert isinstance(total, dict)
    assert total["num_requests"] == 6
    assert total["response_times"] == {1.0: 1, 2.0: 1, 3.0: 1, 5.0: 1, 7.0: 1, 20.0: 1}
    assert total["num_reqs_per_sec"] == {1003: 5, 1004: 1}
    again = batch.take(1000.0)
    assert again["stats"] == []
    assert again["errors"] == {}


def test_where_nobody_knows_how_old_they_are_the_row_has_the_gaps_between_them() -> None:
    batch = Batch(receiving=True)
    batch.add("mse-0", interval(1, {"hold/notify.gap": [MS, 3 * MS]}, notify__sent_bytes=200), 11.0, 1.0)
    (row,) = by_name(batch.take(10.0)).values()
    assert (row["name"], row["num_requests"], row["total_content_length"]) == ("measurement notify gap", 2, 200)
    assert row["response_times"] == {1.0: 1, 3.0: 1}


def test_where_it_is_known_gaps_are_no_second_row() -> None:
    batch = Batch(receiving=True)
    both = {"hold/notify.gap": [MS, 3 * MS], "hold/notify.latency": [2 * MS] * 2}
    batch.add("mse-0", interval(1, both), 11.0, 1.0)
    batch.add("mse-0", interval(2, {"hold/notify.gap": [MS]}), 12.0, 1.0)
    assert by_name(batch.take(10.0)).keys() == {"measurement notify"}


def test_notifications_have_the_size_that_they_were_sent_with() -> None:
    batch = Batch(receiving=True)
    batch.add("wlc-0", interval(1, notify__sent_bytes=500), 11.0, 1.0)
    assert batch.take(10.0)["stats"] == []
    # Sent in one report and received in the next: nothing of it is forgotten, or counted again.
    batch.add("wlc-0", interval(2, notify__sent_bytes=800), 12.0, 1.0)
    batch.add("mse-0", interval(2, {"hold/notify.latency": [MS] * 8, "echo.latency": [MS]}), 12.0, 1.0)
    message = batch.take(10.0)
    assert {name: row["total_content_length"] for name, row in by_name(message).items()} == {
        "measurement notify": 800,
        "echo": 0,
    }
    assert isinstance(total := message["stats_total"], dict)
    assert total["total_content_length"] == 800
    batch.add("mse-0", interval(3, {"hold/notify.latency": [MS]}), 13.0, 1.0)
    assert by_name(batch.take(10.0))["measurement notify"]["total_content_length"] == 0


def test_failures_are_told_by_phase_and_kind_and_once() -> None:
    batch = Batch(receiving=True)
    counters = {"errors__tls__alert_unknown_ca": 2, "errors__session__timeout": 1, "notify__lost": 3}
    batch.add("mse-0", interval(1, **counters), 11.0, 1.0)
    batch.add("mse-0", interval(2, **{**counters, "notify__lost": 4}), 12.0, 1.0)
    message = batch.take(1.0)
    errors = message["errors"]
    assert isinstance(errors, dict)
    found = {(e["method"], e["name"], e["error"]): e["occurrences"] for e in errors.values()}
    assert found == {
        ("TLS", "TLS handshake", "tls: alert_unknown_ca"): 2,
        ("NMSP", "NMSP session", "session: timeout"): 1,
        ("NMSP", "measurement notify", "lost"): 4,
    }
    rows = by_name(message)
    assert rows["TLS handshake"]["num_failures"] == rows["TLS handshake"]["num_requests"] == 2
    assert rows["measurement notify"]["num_fail_per_sec"] == {10: 3, 11: 1}
    batch.add("mse-0", interval(3, **{**counters, "notify__lost": 4}), 13.0, 1.0)
    assert batch.take(1.0)["stats"] == []


def test_a_refusal_is_one_failure_though_both_ends_tell_of_it() -> None:
    for receiving, kind in ((True, "tls: alert_unknown_ca"), (False, "accept: key_hash_not_listed")):
        batch = Batch(receiving=receiving)
        batch.add("wlc-0", interval(1, errors__accept__key_hash_not_listed=15), 11.0, 1.0)
        if receiving:
            batch.add("mse-0", interval(1, errors__tls__alert_unknown_ca=15), 11.0, 1.0)
        message = batch.take(1.0)
        assert by_name(message)["TLS handshake"]["num_failures"] == 15
        errors = message["errors"]
        assert isinstance(errors, dict)
        assert [(e["error"], e["occurrences"]) for e in errors.values()] == [(kind, 15)]


def test_requests_of_all_kinds_are_one_row_and_fail_by_kind() -> None:
    batch = Batch(receiving=True)
    asked = {
        "hold/request.measurement.latency": [MS, 2 * MS],
        "hold/request.capability.latency": [3 * MS],
        "hold/request.capability.service": [MS],
    }
    counters = {"requests__refused": 2, "errors__stream__timeout_measurement": 3, "errors__stream__reset": 1}
    batch.add("mse-0", interval(1, asked, **counters), 11.0, 1.0)
    message = batch.take(1.0)
    row = by_name(message)["requests"]
    assert (row["num_requests"], row["num_failures"]) == (3 + 5, 5)
    assert row["response_times"] == {1.0: 1, 2.0: 1, 3.0: 1}
    errors = message["errors"]
    assert isinstance(errors, dict)
    assert {(e["name"], e["error"]): e["occurrences"] for e in errors.values()} == {
        ("requests", "refused"): 2,
        ("requests", "timeout: measurement"): 3,
        ("measurement notify", "stream: reset"): 1,
    }


def test_with_only_wlcs_ours_the_row_tells_of_sending() -> None:
    serving, receiving = Batch(receiving=False), Batch(receiving=True)
    for batch in (serving, receiving):
        batch.add("wlc-0", interval(1, {"hold/notify.lag": [MS]}), 2.0, 1.0)
    assert by_name(serving.take(0.0)).keys() == {"measurement notify sent"}
    assert receiving.take(0.0)["stats"] == []


@pytest.mark.parametrize(
    ("end_s", "length_s", "seconds"),
    [
        (1003.0, 3.0, {1000: 4, 1001: 4, 1002: 4}),
        (1003.5, 3.0, {1000: 2, 1001: 4, 1002: 4, 1003: 2}),
        (1003.25, 0.5, {1002: 6, 1003: 6}),
        (1003.75, 0.5, {1003: 12}),
    ],
)
def test_a_count_is_spread_over_the_seconds_of_its_interval(
    end_s: float, length_s: float, seconds: dict[int, int]
) -> None:
    batch = Batch(receiving=True)
    batch.add("mse-0", interval(1, {"hold/notify.latency": [MS] * 12}), end_s, length_s)
    assert by_name(batch.take(0.0))["measurement notify"]["num_reqs_per_sec"] == seconds


def test_a_steady_rate_is_shown_as_it_is() -> None:
    """As Locust computes it: the sum over any ten seconds, by ten."""
    batch = Batch(receiving=True)
    for index in range(20):
        batch.add("mse-0", interval(index, {"hold/notify.latency": [MS] * 300}), 1000.7 + 3 * index, 3.0)
    per_second = by_name(batch.take(0.0))["measurement notify"]["num_reqs_per_sec"]
    assert isinstance(per_second, dict)
    assert {sum(per_second[second + k] for k in range(10)) / 10 for second in range(1005, 1040)} == {100.0}
