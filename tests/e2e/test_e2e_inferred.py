"""From a capture alone to a load: `loadgen infer` makes the profile with which `loadgen replay` plays it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import replay_samples as samples
from e2e_loadgen import Run

from loadgen.commands import infer
from loadgen.nmsp import messages as m
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile import WireProfile, load_profile
from loadgen.nmsp.records import Reading
from loadgen.units import NS_PER_MS, NS_PER_S

PROFILES = Path(__file__).parents[2] / "docs" / "wire-profile"
OUIS = [bytes.fromhex(oui) for oui in ("001b77", "3c0754", "88665a", "a4b1c1", "5ce91e")]
SESSIONS, MESSAGES = 3, 700


def session(profile: WireProfile, seed: int) -> list[samples.Line]:
    """A site of its own: its opening, an echo every 15 s, and stations that some of forty access points hear."""
    rng = random.Random(seed)
    aps = [OUIS[0] + rng.randbytes(3) for _ in range(40)]
    stations = [rng.choice(OUIS) + rng.randbytes(3) for _ in range(60)]
    said = samples.opening(0x2FE1 if seed % 2 else 0x60E0A3)
    at, transaction = said[-1][0], 2
    next_echo = at + 15 * NS_PER_S
    since_began = (time := profile.layouts[Kind.MEASUREMENT_NOTIFY].time) is not None and time.since_began
    for _ in range(MESSAGES):
        at += rng.randrange(20, 200) * NS_PER_MS
        if at > next_echo:
            next_echo, transaction = at + 15 * NS_PER_S, transaction + 1
            said += [
                (at, Role.MSE, m.EchoRequest(), transaction),
                (at + NS_PER_MS, Role.WLC, m.EchoResponse(), transaction),
            ]
            at += 2 * NS_PER_MS
        readings = tuple(
            Reading(
                *(ap, rng.randrange(2), rng.randrange(2), rng.randrange(3)),
                *(-30 - rng.randrange(60), -30 - rng.randrange(60), rng.randrange(5, 40), rng.randrange(30)),
            )
            for ap in rng.sample(aps, rng.randrange(1, 7))
        )
        told = m.MeasurementNotify(
            station_mac=rng.choice(stations), readings=readings, time=at + (0 if since_began else samples.BEGAN_NS)
        )
        said.append((at, Role.WLC, told, 0))
    return said


@pytest.mark.parametrize("name", ["heron", "tern"])
def test_a_capture_is_played_with_the_profile_that_was_found_in_it(run: Run, tmp_path: Path, name: str) -> None:
    profile = load_profile(PROFILES / f"{name}.toml")
    capture, found = (
        tmp_path / "tunnel.pcapng",
        tmp_path / "found.toml",
    )
    capture.write_bytes(
        samples.captured(samples.exchange(profile, session(profile, seed), seed) for seed in range(SESSIONS))
    )
    result = infer([capture])
    assert result.problems == ()
    assert result.profile is not None
    found.write_text(result.profile)
    ended = run(
        *("replay", capture, "--profile", found, "--scale", SESSIONS, "--speed", 50, "--duration", "1s"),
        *("--listen", "127.78.5.1:0", "--set", "wlc.step=port", "--workers", 1),
    )
    ended.check_passed()
    counters = ended.counters
    assert counters["sessions.established"] == SESSIONS
    assert counters["notify.due"] == counters["notify.sent"] + counters["notify.dropped"] > 0
    assert counters["notify.received"] == counters["notify.sent"]
    assert ended.errors == {}
