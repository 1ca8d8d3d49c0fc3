"""Nodes that nobody runs: what they say adds up, and a master takes it as it takes a real one's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.nodes import case
from benchmarks.nodes.made import MadeNode, Template
from benchmarks.nodes.recording import USERS, Recording, Said
from benchmarks.processes import SCENARIOS
from loadgen.distributed.arguments import Chosen, choose
from loadgen.distributed.master.whole import WholeRun
from loadgen.distributed.messages import INTERVAL_NS, KEY, Ending, NodeReport, Orders, WorkerInterval
from loadgen.distributed.rows import Batch
from loadgen.measure.moments import MOMENT_NS
from loadgen.measure.recorder import Recorder
from loadgen.results.health import MachineHealth, WorkerHealth
from loadgen.units import NS_PER_MS, NS_PER_S

EPOCH_NS = 1_796_000_000 * NS_PER_S
STEADY = 4


def health(process: str) -> WorkerHealth:
    return WorkerHealth(worker=process, cpu_s=1.0, wall_s=10.0, rss_bytes=1, longest_stall_ns=0, longest_gc_pause_ns=0)


def said(index: int, recorder: Recorder, batch: Batch, ending: Ending | None = None) -> Said:
    """A report of one process, as a node makes it."""
    interval = recorder.take(index)
    interval = msgspec.structs.replace(interval, moments={"notify": {EPOCH_NS // MOMENT_NS + 40 * index: 3}})
    part = WorkerInterval("mse-0", interval, 0.5 * (index + 1))
    batch.add(part.process, part.interval, (EPOCH_NS + (index + 1) * INTERVAL_NS) / NS_PER_S, INTERVAL_NS / NS_PER_S)
    rows = batch.take(EPOCH_NS / NS_PER_S)
    report = NodeReport("recorded", (part,), USERS, EPOCH_NS, EPOCH_NS, (health("mse-0"),), ending, USERS, USERS)
    return Said(rows, report)


@pytest.fixture(scope="module")
def template() -> Template:
    recorder, batch = Recorder(), Batch(receiving=True)
    recorder.count("sessions.established", USERS)
    recorder.record("handshake.tls", 5 * NS_PER_MS)
    ramp = [said(0, recorder, batch)]
    steady = []
    for index in range(1, STEADY + 3):
        recorder.count("notify.received", 10 * index)
        for value in range(10 * index):
            recorder.record("notify.latency", (value + 1) * NS_PER_MS, "hold")
        steady.append(said(index, recorder, batch))
    ending = Ending((health("mse-0"),), MachineHealth(), (), True, 1.0, 0)
    last = said(STEADY + 3, recorder, batch, ending)
    return Template(Recording(EPOCH_NS, ramp, steady, last, {"state": "running"}))


@pytest.fixture(scope="module")
def chosen() -> Chosen:
    return choose({"scenario": str(SCENARIOS / "nodes.toml")}, Path())


def orders(chosen: Chosen, nodes: int) -> Orders:
    return chosen.orders("made", EPOCH_NS, 2 * USERS * nodes, nodes)


def counted(data: dict[str, Any]) -> list[WorkerInterval]:
    return list(msgspec.msgpack.decode(data[KEY], type=NodeReport).intervals)


def test_a_recording_is_cut_into_what_is_told_of_an_interval(template: Template) -> None:
    assert [part["mse-0"].counted["notify.received"] for part in template.steady] == [20, 30, 40, 50]
    assert {part["mse-0"].cpu_s for part in template.steady} == {0.5}
    assert template.ramp["mse-0"].counted == {"sessions.established": USERS, "notify.received": 10}
    assert "handshake.tls" in template.ramp["mse-0"].interval.histograms


def test_what_nodes_say_is_what_the_master_has(template: Template, chosen: Chosen) -> None:
    nodes = [MadeNode(template, number, orders(chosen, 3)) for number in range(3)]
    whole = WholeRun("made", chosen.plan(6 * USERS), (), EPOCH_NS)
    for number, node in enumerate(nodes):
        whole.enlist(f"made-{number}", number)
        node.begin(2 * USERS, EPOCH_NS + NS_PER_S)
        node.hold(EPOCH_NS + 2 * NS_PER_S)
    received = 0
    for index in range(6):
        now_ns = EPOCH_NS + (index + 1) * INTERVAL_NS + NS_PER_S
        for number, node in enumerate(nodes):
            data = node.report(now_ns)
            (part,) = counted(data)
            assert (part.process, part.interval.index) == (f"mse-{number}", index)
            received += sum(row["num_requests"] for row in data["stats"] if row["name"] == "measurement notify")
            whole.take_untrusted(f"made-{number}", number, data[KEY], now_ns)
    assert whole.latest_whole == 5
    now_ns = EPOCH_NS + 7 * INTERVAL_NS
    whole.finishing(now_ns)
    told: Counter[str] = Counter()
    for number, node in enumerate(nodes):
        whole.take_untrusted(f"made-{number}", number, node.report(now_ns, ending=True)[KEY], now_ns)
        told.update(node.counters)
    whole.end()
    result = whole.result(now_ns, ended=True)
    assert {name: result.counters[name] for name in told} == told
    assert told["sessions.established"] == 3 * 2 * USERS
    assert received > 0
    assert {worker.worker for worker in result.workers} == {"mse-0", "mse-1", "mse-2"}


def test_a_node_never_tells_of_an_interval_what_the_next_one_tells(template: Template, chosen: Chosen) -> None:
    found = []
    for number in range(2):
        node = MadeNode(template, number, orders(chosen, 2))
        node.begin(USERS, EPOCH_NS)
        node.report(EPOCH_NS + INTERVAL_NS)
        (part,) = counted(node.report(EPOCH_NS + 2 * INTERVAL_NS))
        found.append(part.interval)
    assert found[0].histograms != found[1].histograms
    for interval in found:
        first = (EPOCH_NS + INTERVAL_NS) // MOMENT_NS
        assert interval.moments == {"notify": {first: 3}}


def test_the_table_says_what_is_missed() -> None:
    alone = {"cpu merging, ms": 900.0, "cores": 0.6, "log_bytes_per_h": 150e6, "result_bytes": 1e6, "rss_bytes": 1e8}
    hour = {f"rss_quarter_{number}_bytes": size for number, size in enumerate((90e6, 100e6, 110e6, 120e6), 1)}
    rows = case.CASE.rows({"without waiting": [alone], "an hour": [hour]})
    assert [(row.ours, row.met) for row in rows] == [
        ("0.60 cores", False),
        ("150 MB", True),
        ("90 → 100 → 110 → 120 MB", False),
    ]
    assert "merging 900" in rows[0].note


def test_a_master_that_did_not_keep_up_has_met_nothing() -> None:
    over = dict.fromkeys(("page_max_s", "view_old_max_s", "table_max_s", "result_old_max_s", "ended_s"), 1.0)
    over |= {"cores": 0.1, "sessions": 60_000, "stats_bytes": 58_000, "beat_p50_s": 2.0, "beat_p99_s": 4.0}
    alone = {"cores": 0.4, "log_bytes_per_h": 1.0, "result_bytes": 1.0, "rss_bytes": 1.0}
    rows = case.CASE.rows({"over ZeroMQ": [over | {"counters_wrong": 0}], "without waiting": [alone]})
    assert [row.met for row in rows[:3]] == [False, False, True]
    assert "did not keep up" in rows[0].note
