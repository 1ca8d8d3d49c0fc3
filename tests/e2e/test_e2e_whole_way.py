"""From two fleets that speak a layout which nobody has seen to a load in that layout: recorded, inferred, replayed.

What is inferred is known from the recording alone; what is replayed is heard by a fleet that has the true profile.
"""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from e2e_invented import invented
from e2e_loadgen import Ended, Identities, Running, Start, eventually, side_by_side
from ports import free_port

from loadgen.capture.reading import events_of
from loadgen.capture.streams import Stream, collect
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, MeasurementNotify
from loadgen.nmsp.profile import WireProfile, load_profile

pytestmark = pytest.mark.long
SCALE = 6
WLC, RECORDER = "127.77.63.7", "127.77.63.1"
REPLAYED = {1: "127.77.63.2", 6: "127.77.63.3"}  # by the seed of the layout


class Way(NamedTuple):
    """What came of it.

    Attributes:
        captures: of the tunnel, and of endpoints 0 and 2 of the replay.
    """

    true: WireProfile
    inferred: Ended
    checked: Ended
    played: Ended
    heard: Ended
    captures: tuple[Path, Path, Path]


def told_in(profile: WireProfile, stream: Stream) -> list[MeasurementNotify]:
    """The notifications that a WLC said, by the true profile; everything else of it decodes, too."""
    framing, codec, found = profile.framing, Codec(profile), []
    ((start, run),) = stream.runs
    assert (start, stream.holes) == (0, [])
    position = 0
    while position < len(run):
        header = framing.header.struct.unpack_from(run, position)
        end = position + framing.size_untrusted(header)
        number = framing.id_of(header)
        message = codec.decode_untrusted(number, memoryview(run)[position + framing.head : end - framing.foot])
        if profile.kinds[number] is Kind.MEASUREMENT_NOTIFY:
            assert isinstance(message, MeasurementNotify)
            found.append(message)
        position = end
    assert position == len(run)
    return found


def tracks_in(profile: WireProfile, path: Path) -> list[list[MeasurementNotify]]:
    """What the WLC told in each session, in the order in which they began."""
    return [told_in(profile, exchange.server) for exchange in collect(events_of([path.read_bytes()]))]


def record(start: Start, target: str, identity: Path, out: Path) -> tuple[Running, str]:
    running = start(
        "record", "--listen", f"{RECORDER}:0", "--target", f"wlc={target}", "--identity", identity, "--out", out
    )

    def ready() -> str | None:
        assert running.process.poll() is None, running.stderr
        lines = running.stdout.splitlines()
        return lines[0].removeprefix("ready: recording at ") if lines else None

    return running, eventually(ready, "a recorder that is ready")


def scenario(path: Path, wlc: str, mse: str, hold: str) -> Path:
    path.write_text(
        f"""
name = "fleets"
profile = "true.toml"
[wlc]
stations = 30
readings = [1, 6]
{wlc}
[mse]
assign = "all"
{mse}
[session]
echo_interval = "2200ms"
[load]
rate = 60
stages = [{{ hold = "{hold}" }}]
""",
        "utf-8",
    )
    return path


def recorded(start: Start, folder: Path, identities: Identities) -> Path:
    """Two MSEs at one WLC, with a recorder between."""
    target, out = f"{WLC}:{free_port(WLC)}", folder / "tunnel.pcapng"
    wlc = f'count = 1\nlisten = "{target}"\nauth_list = "{identities.auth_list}"'
    fleets = scenario(folder / "fleets.toml", wlc, "count = 2", "20s")
    wlcs = start("run", fleets, "--workers", 1, "--serve", "wlc")
    wlcs.wait_for_listener((WLC, int(target.rpartition(":")[2])))
    recorder, at = record(start, target, identities.pems[0], out)
    start("run", fleets, "--workers", 1, "--target", f"wlc={at}").end().check_passed()
    wlcs.end().check_passed()
    recorder.signal(signal.SIGINT)
    assert recorder.end().code == 130
    return out


def gone(start: Start, folder: Path, identities: Identities, seed: int) -> Way:
    folder.mkdir()
    (folder / "true.toml").write_text(invented(seed), "utf-8")
    found, capture = folder / "found.toml", recorded(start, folder, identities)
    inferred = start("infer", capture, "--out", found, "--port", capture_port(capture)).end()
    checked = start("profile", "check", found).end()

    address = REPLAYED[seed]
    first = free_port(address)
    ports = [*range(first, first + SCALE)]  # of an address of this seed's own
    replay = start(
        *("replay", capture, "--profile", found, "--serve", "wlc", "--scale", SCALE, "--speed", 4),
        *("--listen", f"{address}:{first}", "--set", "wlc.step=port", "--set", "wlc.authenticate=false"),
        *("--set", "load.backlog=20s"),  # MSEs may come late, on a busy machine, and are told all of it even so
    )
    replay.wait_for_listener(*((address, port) for port in ports))
    # Endpoints 0 and 2 play the same track; what they say is recorded, too.
    outs = [folder / f"endpoint-{i}.pcapng" for i in (0, 2)]
    recorders = [
        record(start, f"{address}:{ports[i]}", identities.pems[0], out) for i, out in zip((0, 2), outs, strict=True)
    ]
    addresses = [f"{address}:{port}" for port in ports]
    addresses[0], addresses[2] = (at for _, at in recorders)
    mses = scenario(folder / "mses.toml", f"count = {SCALE}", "count = 1", "40s")
    heard = start("run", mses, "--workers", 1, "--target", f"wlc={','.join(addresses)}").end()
    played = replay.end()
    for recorder, _ in recorders:
        recorder.signal(signal.SIGINT)
        recorder.end()
    return Way(load_profile(folder / "true.toml"), inferred, checked, played, heard, (capture, *outs))


@pytest.fixture(scope="module")
def ways(start_shared: Start, tmp_path_factory: pytest.TempPathFactory, identities: Identities) -> dict[str, Way]:
    """By seed; it mostly waits, and does so for all of them at one time."""
    folder = tmp_path_factory.mktemp("ways")
    return side_by_side(
        {str(seed): partial(gone, start_shared, folder / str(seed), identities, seed) for seed in REPLAYED}
    )


@pytest.mark.parametrize("seed", REPLAYED)
def test_from_a_tunnel_to_a_load(ways: dict[str, Way], seed: int) -> None:
    true, inferred, checked, played, heard, (capture, *endpoints) = ways[str(seed)]
    assert inferred.code == 0, inferred.stderr + inferred.stdout
    assert checked.code == 0, checked.stderr + checked.stdout

    tracks = tracks_in(true, capture)
    counted = sum(len(tracks[i % len(tracks)]) for i in range(SCALE))
    assert played.code in (0, 4), played.stderr + played.stdout
    assert heard.counters["sessions.established"] == SCALE
    assert heard.counters["notify.received"] == played.counters["notify.sent"]
    # A replay is as long as the capture: where a track is a moment shorter, its first message is due once more.
    due, dropped = played.counters["notify.due"], played.counters["notify.dropped"]
    assert counted <= due <= counted + SCALE
    assert played.counters["notify.sent"] + dropped == due
    assert not dropped or played.code == 4  # this machine had no time for it, and that is said
    assert heard.errors == {}
    count = len(tracks[0])
    one, other = (tracks_in(true, endpoint)[0][:count] for endpoint in endpoints)
    for said in (one, other):
        assert [each.readings for each in said] == [each.readings for each in tracks[0]]
        renamed = dict(zip((each.station_mac for each in tracks[0]), (each.station_mac for each in said), strict=True))
        assert [renamed[each.station_mac] for each in tracks[0]] == [each.station_mac for each in said]
        assert len(set(renamed.values())) == len(renamed) == 30
    macs = [{each.station_mac for each in said} for said in (tracks[0], one, other)]
    assert len(macs[0] | macs[1] | macs[2]) == 3 * 30


def capture_port(capture: Path) -> int:
    """Of the WLC."""
    ports = {exchange.conversation.server[1] for exchange in collect(events_of([capture.read_bytes()]))}
    (port,) = ports
    return port
