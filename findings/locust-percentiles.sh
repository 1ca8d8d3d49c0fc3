#!/usr/bin/env bash
# Locust 2.47.0: the percentile columns of a CSV row contradict its other columns. Percentiles are of times cut to whole ms
# (two digits from 100 ms on), minimum, maximum and mean are of the times themselves, the median is something between; and 99 %
# of 100 requests is the slowest of them, not the 99th.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check locust==2.47.0

timeout 120 "$work/venv/bin/python" - <<'END'
import csv
import io
import sys

import locust
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV


def row(times):
    """The row of the requests in Locust's CSV."""
    environment = Environment()
    for time in times:
        environment.stats.log_request("GET", "/", time, 0)
    file = io.StringIO()
    writer = StatsCSV(environment, PERCENTILES_TO_REPORT)
    writer.requests_csv(csv.writer(file))
    return next(csv.DictReader(io.StringIO(file.getvalue())))


def tell(what, found):
    columns = ("Min Response Time", "Max Response Time", "Average Response Time", "Median Response Time", "50%", "99%", "100%")
    print(f"{what}: " + ", ".join(f"{name} {float(found[name]):g}" for name in columns))
    return [float(found[name]) for name in columns]


print(f"locust {locust.__version__}")
below = tell("ten of 144.4 ms", row([144.4] * 10))
short = tell("ten of 0.4 ms", row([0.4] * 10))
ranks = tell("1, 2, ..., 100 ms", row(float(ms) for ms in range(1, 101)))
_, maximum, _, _, half, _, whole = below
if not (whole < maximum and half < below[0]):
    sys.exit("behaviour changed: 100 % is no longer below the maximum")
if not (short[4] == short[6] == 0 < short[0] == short[3]):
    sys.exit("behaviour changed: the median is no longer another figure than 50 %")
if ranks[4:6] != [51, 100]:
    sys.exit("behaviour changed: 50 % and 99 % of 1 ... 100 are no longer 51 and 100")
END
