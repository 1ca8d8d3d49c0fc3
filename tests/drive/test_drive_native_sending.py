"""What the native turn writes is what Python writes: to who reads, stalls, leaves, unsubscribes and comes again."""

from __future__ import annotations

import random
import select
from typing import Any, NamedTuple

import pytest
from drive_samples import PATIENT, VirtualClock, equipped
from native_samples import Made, ends, make, said, say

from loadgen.drive.phase import Phase
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_wlc import WlcShard
from loadgen.measure.recorder import Recorder
from loadgen.native.library import SWITCH, native, standing
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import EchoRequest, Message, Role, SubscribeRequest, UnsubscribeRequest
from loadgen.nmsp.session import State
from loadgen.transport.tls import Tunnel
from loadgen.units import NS_PER_MS, NS_PER_S

TO_UNIX_NS = 5_000
STATIONS = 1
WLCS = 4


class Load(NamedTuple):
    """Which worker of how many plays; bursts of how many notifications; stages, and how much waits at most."""

    burst: int
    rate: int
    backlog: str
    worker: int = 0
    workers: int = 1


LOADS = {
    "singles": Load(1, 400, "2s"),
    "bursts": Load(7, 1_400, "300ms"),
    "records": Load(400, 16_000, "1s"),
    "shared": Load(3, 900, "50ms", worker=1, workers=2),
}


@pytest.fixture(scope="module", params=LOADS)
def load(request: pytest.FixtureRequest) -> Load:
    return LOADS[request.param]


@pytest.fixture(scope="module")
def made(load: Load, tmp_path_factory: pytest.TempPathFactory) -> Made:
    stages = '[{ ramp = "500ms" }, { hold = "1s" }, { ramp = "500ms", rate = 50 }]'
    text = (
        f'name = "m"\n[wlc]\ncount = {WLCS * load.workers}\nauthenticate = false\nstations = 9\nreadings = [0, 5]\n'
        f'[mse]\ncount = 1\n[load]\nrate = {load.rate}\nburst = {load.burst}\nbacklog = "{load.backlog}"\n'
        f"stages = {stages}\n"
    )
    return make(tmp_path_factory.mktemp("native") / "scenario.toml", text)


class Wlcs:
    """A worker's WLCs, with sessions over real tunnels, and the MSEs' ends of these."""

    def __init__(self, made: Made, load: Load) -> None:
        self.made = made
        self.clock = VirtualClock()
        self.recorder = Recorder(to_unix_ns=TO_UNIX_NS)
        equipment = equipped(
            Role.WLC,
            made.plan,
            made.profile,
            self.recorder,
            clock=self.clock,
            to_unix_ns=TO_UNIX_NS,
            worker=load.worker,
            workers=load.workers,
            **PATIENT,
        )
        self.shard = WlcShard(equipment, [], [])
        self.far: list[Tunnel] = []
        self.heard: list[bytes] = []
        self.links: list[WlcLink] = []
        at_ns, stages = self.clock(), made.plan.load.stages
        starts = [at_ns + TO_UNIX_NS + stage.start_ns for stage in stages]
        self.recorder.stages.add([stage.name for stage in stages], starts)
        self.shard.start_load(at_ns, stages)

    def come(self, position: int) -> None:
        """An MSE has a session at this WLC."""
        sock, server, client = ends(self.made, serves=True, room_bytes=4096)
        now = self.clock()
        link = WlcLink(sock, now, position)
        link.tunnel = server
        self.shard.add(link, 1 << 62, select.EPOLLIN)
        self.shard.on_tunnel(link, now)
        endpoint = link.endpoint
        assert endpoint is not None
        endpoint.outbox.clear()
        endpoint.session.state = State.ACTIVE
        endpoint.granted = endpoint.offered = STATIONS
        link.phase = Phase.SETTING_UP
        self.shard.activate(link, now)
        self.links.append(link)
        self.far.append(client)
        self.heard.append(b"")

    def hear(self, number: int) -> None:
        self.heard[number] += said(self.far[number])

    def turn(self) -> None:
        for _ in range(20):
            ready = self.shard.poll(0)
            self.shard.turn(ready)
            if not ready:
                return

    def shut(self) -> None:
        self.shard.shut()
        for tunnel in self.far:
            tunnel.close()


def play(made: Made, load: Load, seed: int) -> dict[str, Any]:
    """Everything that came of a script."""
    rng, codec, wlcs = random.Random(seed), Codec(made.profile), Wlcs(made, load)
    began, stalled = wlcs.clock.now_ns, set[int]()

    def tell(number: int, *messages: Message) -> None:
        say(wlcs.far[number], b"".join(codec.encode(message, 1 + rng.randrange(9)) for message in messages))

    for position in range(WLCS):
        if rng.random() < 0.8:
            wlcs.come(position)
    for _ in range(120):
        wlcs.clock.now_ns += rng.choice((0, NS_PER_MS, 5 * NS_PER_MS, 20 * NS_PER_MS, 60 * NS_PER_MS))
        what, number = rng.random(), rng.randrange(max(1, len(wlcs.far)))
        if what < 0.03:
            wlcs.come(rng.randrange(WLCS))
        elif what < 0.05 and wlcs.far:
            wlcs.far[number].close_notify()
        elif what < 0.10 and wlcs.far:
            tell(number, UnsubscribeRequest(STATIONS))
        elif what < 0.18 and wlcs.far:
            tell(number, SubscribeRequest(STATIONS))
        elif what < 0.25 and wlcs.far:
            tell(number, EchoRequest())
        elif what < 0.35 and wlcs.far:
            stalled ^= {number}
        wlcs.turn()
        for each in range(len(wlcs.far)):
            if each not in stalled:
                wlcs.hear(each)
    wlcs.clock.now_ns = began + 10 * NS_PER_S
    for _ in range(3):
        for each in range(len(wlcs.far)):
            wlcs.hear(each)
        wlcs.turn()
    totals, phases = wlcs.shard.totals(wlcs.clock()), [link.phase.name for link in wlcs.links]
    ledger = wlcs.shard.owing.ledger
    rows = {name: getattr(ledger, name).tolist() for name in ("done", "sent", "dropped", "own_dropped", "behind")}
    wlcs.shut()
    interval = wlcs.recorder.take(0)
    return {
        "heard": wlcs.heard,
        "phases": phases,
        "totals": totals,
        "rows": rows,
        "counters": interval.counters,
        "waits": interval.waits,
        "histograms": {
            tag: found.counts.tolist()
            for tag, found in interval.decoded.items()
            if not tag.endswith("generator.read_lag")
        },
    }


@pytest.mark.skipif(native() is None, reason=f"no native turn: {standing()}")
@pytest.mark.parametrize("seed", range(6))
def test_both_write_the_same(made: Made, load: Load, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    python = play(made, load, seed)
    monkeypatch.setenv(SWITCH, "1")
    assert play(made, load, seed) == python
    assert python["totals"]["notify.sent"] > 0
