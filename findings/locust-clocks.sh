#!/usr/bin/env bash
# Locust 2.47.0: the master puts the workers' own times of day together. One worker whose clock is 15 s off, either way, is
# enough: the current requests per second are those of the worker that is ahead alone, and the total rate sinks by the offset.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check locust==2.47.0

timeout 120 "$work/venv/bin/python" - <<'END'
import sys
import types

import locust
from locust import stats
from locust.event import Events
from locust.stats import RequestStats, setup_distributed_stats_event_listeners

SECONDS = 30
PER_SECOND = 10
REPORT_S = 3
START = 1_600_000_000.0


class Host:
    """A master or a worker: its figures, its events, and how far its clock is ahead."""

    def __init__(self, ahead):
        self.ahead = ahead
        self.stats = RequestStats()
        self.events = Events()
        setup_distributed_stats_event_listeners(self.events, self.stats)


def rates(ahead):
    """Two workers with the same load: the master's total and current requests per second."""
    now = 0.0
    reader = None
    # The module asks for nothing else of `time`.
    stats.time = types.SimpleNamespace(time=lambda: START + now + (reader.ahead if reader else 0))
    master, *workers = hosts = [Host(0), Host(0), Host(ahead)]
    for reader in hosts:
        reader.stats.clear_all()
    for second in range(SECONDS):
        for reader in workers:
            now = second + 0.5
            for _ in range(PER_SECOND):
                reader.stats.log_request("GET", "/", 20, 0)
            if second % REPORT_S == REPORT_S - 1:
                now = second + 1.0
                report = {}
                reader.events.report_to_master.fire(client_id=str(id(reader)), data=report)
                reader, worker = master, reader
                master.events.worker_report.fire(client_id=str(id(worker)), data=report)
    assert master.stats.num_requests == len(workers) * SECONDS * PER_SECOND
    return master.stats.total.total_rps, master.stats.total.current_rps


print(f"locust {locust.__version__}: two workers, {PER_SECOND} requests/s each, {SECONDS} s")
seen = {ahead: rates(ahead) for ahead in (0, 15, -15, 60)}
for ahead, (total, current) in seen.items():
    print(f"one clock {ahead:+3d} s: total {total:5.1f}/s, current {current:5.1f}/s")
true = 2 * PER_SECOND
right = all(abs(rate - true) < 1 for rate in seen[0])
wrong = all(total < 0.75 * true and current == PER_SECOND for ahead, (total, current) in seen.items() if ahead)
if not (right and wrong):
    sys.exit("behaviour changed")
END
