"""What Locust shows of workers' reports, in a process of its own: asked on stdin, and answered on stdout, in msgpack.

    {"reports": [stats messages], "account": {...} or None for Locust's own rows}  ->  {"csv": ..., "rows": ..., ...}

Not for the tests' own process: importing Locust removes `select.epoll`.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from typing import Any

import msgpack

from loadgen.distributed.master import master  # first, because gevent patches what others import
from loadgen.distributed.master.tables import Account, Books, install
from loadgen.distributed.rows import Row

from locust import stats  # isort: skip
from locust.env import Environment  # isort: skip

assert master


def shown(asked: dict[str, Any]) -> dict[str, Any]:
    environment = Environment()
    stats.setup_distributed_stats_event_listeners(environment.events, environment.stats)
    environment.stats.clear_all()
    if asked["account"] is not None:
        per_s = {Row(*key): rate for key, rate in asked["account"]["per_s"]}
        account = Account(per_s, asked["account"]["until_unix_s"])
        install(environment.stats, Books(lambda: account, time.time))
    for report in asked["reports"]:
        environment.events.worker_report.fire(client_id="one", data=report)
    text = io.StringIO()
    stats.StatsCSV(environment, stats.PERCENTILES_TO_REPORT).requests_csv(csv.writer(text))
    rows = [*stats.sort_stats(environment.stats.entries), environment.stats.total]
    return {
        "csv": text.getvalue(),
        "rows": [row.to_dict() for row in rows],
        "lines": [*stats.get_stats_summary(environment.stats), *stats.get_stats_summary(environment.stats, False)],
        "percentiles": stats.get_percentile_stats_summary(environment.stats),
        "start_time": environment.stats.start_time,
        "last": environment.stats.last_request_timestamp,
    }


for asked in msgpack.Unpacker(sys.stdin.buffer, strict_map_key=False, read_size=1):
    sys.stdout.buffer.write(msgpack.packb(shown(asked)))
    sys.stdout.buffer.flush()
