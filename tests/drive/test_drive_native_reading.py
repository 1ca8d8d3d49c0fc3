"""What the native turn reads is what Python reads: the same streams, cut anywhere, with whatever is wrong with them."""

from __future__ import annotations

import random
import select
from typing import Any

import pytest
from drive_samples import PATIENT, VirtualClock, equipped
from native_samples import Made, ends, make, said, say

from loadgen.drive.phase import Phase
from loadgen.drive.tls_dial import MseLink
from loadgen.drive.tls_mse import MseShard
from loadgen.measure.recorder import Recorder
from loadgen.native.library import SWITCH, native, standing
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import EchoRequest, EchoResponse, Role
from loadgen.nmsp.ring import NotifyRing, Timing
from loadgen.nmsp.session import State
from loadgen.scenario.plan import Use
from loadgen.session.echoes import Echoes
from loadgen.transport.tls import Tunnel
from loadgen.units import NS_PER_MS, NS_PER_S
from loadgen.world.stations import make_stations

SESSIONS = 6
TO_UNIX_NS = 1 << 60
START_NS = VirtualClock().now_ns + TO_UNIX_NS
# Notifications in a burst that fill more than a record, and fewer.
BURSTS = (1, 1, 1, 2, 7, 40)
BY_SERVICE = ["rssi-ms", "rssi-rogue"]


@pytest.fixture(scope="module", params=["ours", "target", "by-service"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("native") / "scenario.toml"
    services = BY_SERVICE if request.param == "by-service" else BY_SERVICE[:1]
    text = (
        f'name = "m"\n[wlc]\ncount = 1\nauthenticate = false\nsubservices = {services}\n'
        f"[mse]\ncount = {SESSIONS}\nsubscribe = {services}\n"
        f'[load]\nrate = 100\nstages = [{{ hold = "2s" }}, {{ hold = "2s" }}]\n'
    )
    if request.param == "target":
        return make(path, text, Use.TARGET_WLC, (("192.0.2.7", 16113),))
    return make(path, text)


class Sessions:
    """MSEs of a shard over real tunnels, and the WLCs' ends of these."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.clock = VirtualClock()
        self.recorder = Recorder(to_unix_ns=TO_UNIX_NS)
        equipment = equipped(
            Role.MSE, made.plan, made.profile, self.recorder, clock=self.clock, to_unix_ns=TO_UNIX_NS, **PATIENT
        )
        self.shard = MseShard(equipment, [("192.0.2.7", 16113)], [])
        self.far: list[Tunnel] = []
        self.links: list[MseLink] = []
        for number in range(SESSIONS):
            near, client, server = ends(made)
            link = MseLink(near, self.clock(), number)
            link.tunnel = client
            self.far.append(server)
            self.shard.add(link, 1 << 62, select.EPOLLIN)
            self._activate(link, equipment.settings.timers)
            self.links.append(link)
        starts = [self.clock() + TO_UNIX_NS + stage.start_ns for stage in made.plan.load.stages]
        self.recorder.stages.add([stage.name for stage in made.plan.load.stages], starts)
        self.shard.start_load(self.clock(), made.plan.load.stages)

    def _activate(self, link: MseLink, timers: Any) -> None:
        now = self.clock()
        self.shard.on_tunnel(link, now)
        endpoint = link.endpoint
        assert endpoint is not None
        endpoint.outbox.clear()
        endpoint.session.state = State.ACTIVE
        endpoint.granted = endpoint.offered = self.made.plan.mse.subscription
        endpoint.last_heard_ns = now
        endpoint.echoes = Echoes(self.recorder, timers, now, endpoint.echo_patience_ns())
        link.phase = Phase.SETTING_UP
        self.shard.activate(link, now)

    def turn(self) -> None:
        """Until nothing is ready."""
        for _ in range(1000):
            ready = self.shard.poll(0)
            nothing = self.shard.found_nothing(ready)
            self.shard.turn(ready)
            if nothing:
                return
        raise AssertionError("it reads for ever")

    def shut(self) -> None:
        self.shard.shut()
        for tunnel in self.far:
            tunnel.close()


class Script:
    """What the WLCs of one seed say, record by record; who says something when."""

    def __init__(self, made: Made, seed: int) -> None:
        self._rng = rng = random.Random(seed)
        profile, plan = made.profile, made.plan
        self._codec = Codec(profile)
        services = [bit for bit in range(23) if plan.mse.subscription >> bit & 1]
        self._rings = [
            NotifyRing(profile, make_stations(profile, 1, 0, 5, (0, 4), bit), 64)
            for bit in [*services, services[0] + 2]
        ]
        self._sequence = [0] * SESSIONS
        self.now_ns = 0
        self.steps = [self._step() for _ in range(rng.randint(4, 30))]

    def _step(self) -> tuple[int, list[tuple[int, list[bytes], bool]]]:
        """When, since the beginning: sessions, what records they are brought, and whether their WLC closes then."""
        rng = self._rng
        self.now_ns += rng.choice((0, NS_PER_MS // 3, NS_PER_MS, 7 * NS_PER_MS, 25 * NS_PER_MS, 700 * NS_PER_MS))
        chosen = rng.sample(range(SESSIONS), rng.randint(1, SESSIONS))
        return self.now_ns, [(number, self._records(number), rng.random() < 0.01) for number in chosen]

    def _records(self, number: int) -> list[bytes]:
        rng = self._rng
        frames = [self._frames(number) for _ in range(rng.choice((1, 1, 1, 2, 5)))]
        if rng.random() < 0.7:  # as a device writes: whole frames
            return frames
        stream = b"".join(frames)
        cuts = sorted(rng.randint(1, len(stream)) for _ in range(rng.randint(1, 6)))
        parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        return [part for part in parts if part]

    def _frames(self, number: int) -> bytes:
        rng = self._rng
        kind = rng.random()
        if kind < 0.06:
            return self._codec.encode(EchoRequest(), rng.randint(1, 9))
        if kind < 0.08:
            return self._codec.encode(EchoResponse(), rng.randint(1, 9))
        ring = self._rings[-1] if kind < 0.10 else rng.choice(self._rings[:-1])
        count = rng.choice(BURSTS)
        sequence = self._sequence[number]
        if kind < 0.14:  # something is missing, comes twice or late
            sequence = max(0, sequence + rng.choice((-3, -1, 1, 2, 5)))
        ago = sorted(rng.randint(0, 30 * NS_PER_MS) for _ in range(2))[::-1]
        now = self.now_ns + START_NS
        view, laid = ring.patch(rng.randint(0, 4), count, sequence, Timing(now - ago[0], now - ago[1]))
        self._sequence[number] = max(self._sequence[number], sequence + laid)
        frames = bytearray(view)
        if rng.random() < 0.004:  # a bit is wrong somewhere
            frames[rng.randrange(len(frames))] ^= 1 << rng.randrange(8)
        return bytes(frames)


def play(made: Made, seed: int) -> dict[str, Any]:
    """Everything that came of a script, but for what the kernel has told of real time."""
    sessions, script = Sessions(made), Script(made, seed)
    began = sessions.clock.now_ns
    for at_ns, step in script.steps:
        for number, records, closes in step:
            far = sessions.far[number]
            for record in records:
                say(far, record)
            if closes:
                far.close_notify()
        sessions.clock.now_ns = began + at_ns
        sessions.turn()
    sessions.clock.now_ns += NS_PER_S  # nothing waits to be taken together with what comes next
    sessions.turn()
    phases = [link.phase.name for link in sessions.links]
    answers = [said(far) for far in sessions.far]
    sessions.shut()
    interval = sessions.recorder.take(0)
    histograms = {
        tag: found.counts.tolist() for tag, found in interval.decoded.items() if not tag.endswith("generator.read_lag")
    }
    return {
        "phases": phases,
        "answers": answers,
        "counters": interval.counters,
        "histograms": histograms,
        "waits": interval.waits,
        "moments": interval.moments,
        # What is thought of others' clocks hangs on which reads are judged together; what is recorded does not here.
        "clocks": made.plan.use is Use.BOTH and interval.clocks,
    }


@pytest.mark.skipif(native() is None, reason=f"no native turn: {standing()}")
@pytest.mark.parametrize("seed", range(8))
def test_both_read_the_same(made: Made, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    python = play(made, seed)
    monkeypatch.setenv(SWITCH, "1")
    assert play(made, seed) == python
    assert python["counters"]["notify.received"] > 0


@pytest.mark.skipif(native() is None, reason=f"no native turn: {standing()}")
def test_what_is_as_expected_is_counted_where_it_is_read(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python sees the first of a stage, and no more of it, if the load is ours."""
    monkeypatch.setenv(SWITCH, "1")
    sessions, ring = Sessions(made), NotifyRing(made.profile, make_stations(made.profile, 1, 0, 5, (0, 4), 0), 64)
    counting, ours = sessions.shard.mses.reception.counting, made.plan.use is Use.BOTH
    assert (counting is not None) == (ours and made.plan.mse.subscription.bit_count() == 1)
    for turn in range(5):
        sessions.clock.now_ns += 25 * NS_PER_MS
        now = sessions.clock.now_ns + TO_UNIX_NS
        say(sessions.far[0], bytes(ring.patch(0, 3, 3 * turn, Timing(now - 7, now - 5))[0]))
        sessions.turn()
        if counting is not None:
            assert counting.tally.counted.count == 3 * turn
    sessions.shard.totals(sessions.clock())
    interval = sessions.recorder.take(0)
    sessions.shut()
    assert interval.counters["notify.received"] == 15
    assert sum(interval.decoded[f"{made.plan.load.stages[0].name}/notify.latency"].counts.tolist()) == 15
