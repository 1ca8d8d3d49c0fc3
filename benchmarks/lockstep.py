"""Both ends of a load in one process and one thread: what is due is sent, then all is read; the CPU time of either.

    python -m benchmarks.lockstep WLCS EACH ROUNDS BURST

In each round EACH WLCs in turn owe a burst of notifications. It does not hang on who is scheduled when, which makes it
good for a busy machine. `benchmarks/peers/lockstep.c` does the same.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from loadgen.drive.equipment import equip
from loadgen.drive.tls_mse import MseShard
from loadgen.drive.tls_wlc import WlcShard
from loadgen.drive.transport_drivers import drivers_of
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.prepare.keys import make_keys
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport.contexts import client_context, server_context

_WARM_UP = 20
_ANSWER_EACH = 50  # rounds
_SET_UP_S = 120
_AHEAD_NS = 2_000_000_000
_SCENARIO = """
name = "lockstep"
[wlc]
count = {wlcs}
listen = "127.0.44.1:0"
step = "port"
authenticate = false
stations = {stations}
readings = 4
[mse]
count = 1
[load]
rate = 1_000_000
burst = {burst}
stages = [{{ hold = "600s" }}]
[tls]
version = "1.2"
"""


def main(wlcs: int, each: int, rounds: int, burst: int) -> dict[str, float]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wlc, mse = _shards(wlcs, burst)
    due = 0
    wlc.owing.slots = lambda _now_ns: due  # type: ignore[method-assign]
    # What is sent is due by then, however fast that goes.
    at_ns, stages = time.monotonic_ns() - _AHEAD_NS, wlc.plan.load.stages
    for recorder in (wlc.recorder, mse.recorder):
        recorder.stages.add([stage.name for stage in stages], [at_ns + stage.start_ns for stage in stages])
    wlc.start_load(at_ns, stages)
    mse.start_load(at_ns, stages)
    gc.collect()
    gc.freeze()
    clock, sending, receiving, before = time.thread_time_ns, 0, 0, 0
    for number in range(rounds + _WARM_UP):
        if number == _WARM_UP:
            sending = receiving = 0
            before = wlc.notifiers.sent
        if number % _ANSWER_EACH == 0:
            wlc.turn(wlc.poll(0))  # what MSEs ask
        due += each
        start = clock()
        wlc.turn([])
        between = clock()
        mse.turn(mse.poll(0))
        end = clock()
        sending, receiving = sending + between - start, receiving + end - between
    start = clock()
    for _ in range(3):
        mse.turn(mse.poll(0))
    mse.totals(time.monotonic_ns())  # of all that it holds
    receiving += clock() - start
    count = wlc.notifiers.sent - before
    came = mse.recorder.counters["notify.received"]
    assert came == wlc.notifiers.sent, (came, wlc.notifiers.sent)
    assert not any(name.startswith("errors") for name in mse.recorder.counters), mse.recorder.counters
    shown = {"send_us": sending / count / 1000, "receive_us": receiving / count / 1000, "notifications": count}
    for shard in (wlc, mse):
        shard.shut()
    return shown


def _shards(wlcs: int, burst: int) -> tuple[WlcShard, MseShard]:
    """All of whose sessions are up."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lockstep.toml"
        path.write_text(_SCENARIO.format(wlcs=wlcs, burst=burst, stations=128 if burst > 1 else 20), "utf-8")
        scenario, profile = load_scenario(path)
        plan = make_plan(scenario, profile, use=Use.BOTH)
        keys = make_keys(scenario, path, plan, datetime.now(UTC))
    drivers = drivers_of(plan)
    listeners = [drivers.bind((wlc.host, wlc.port), False) for wlc in plan.wlcs]
    ours, theirs = (equip(role, plan, profile, Recorder(), 0, 1, to_unix_ns=0) for role in (Role.WLC, Role.MSE))
    version = plan.tls.version
    serving = [server_context(one.key_pem, one.certificate_pem, one.chain_pem, version, None) for one in keys.wlc]
    dialing = [
        client_context(one.key_pem, one.certificate_pem, one.chain_pem, version, keys.mse_trust) for one in keys.mse
    ]
    wlc = WlcShard(ours, listeners, serving)
    mse = MseShard(theirs, tuple(listener.getsockname()[:2] for listener in listeners), dialing)
    mse.start_dialing(time.monotonic_ns())
    until = time.monotonic() + _SET_UP_S
    while mse.active < wlcs or wlc.active < wlcs:
        for shard in (mse, wlc):
            shard.turn(shard.poll(0))
        if time.monotonic() > until:
            raise SystemExit(f"expected {wlcs} sessions within {_SET_UP_S} s, found {mse.active}")
    return wlc, mse


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))
