"""Tunnels of a minute or two: requests are few, and numbered from one on in each session."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import replay_samples as samples

from loadgen.infer.inference import infer
from loadgen.infer.layout_document import place_of
from loadgen.nmsp import messages as m
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import load_profile
from loadgen.units import NS_PER_MS, NS_PER_S

TERN = load_profile(Path(__file__).parents[2] / "docs" / "wire-profile" / "tern.toml")


def tunnel(seed: int, echoes: int) -> list[samples.Line]:
    """Forty stations, 20 notifications/s, an echo every 15 s."""
    rng = random.Random(seed)
    stations, aps = ([first + rng.randbytes(4) for _ in range(40)] for first in (b"\x02\x53", b"\x02\x41"))
    said = samples.opening()
    for number in range(echoes):
        at_ns = (15 + 15 * number) * NS_PER_S
        said += [
            (at_ns, Role.MSE, m.EchoRequest(), 3 + number),
            (at_ns + NS_PER_MS, Role.WLC, m.EchoResponse(), 3 + number),
        ]
    for number in range(20 * 15 * (echoes + 1)):
        at_ns = (20 + 50 * number) * NS_PER_MS
        readings = tuple(samples.reading(-40 - rng.randrange(50), ap) for ap in rng.sample(aps, rng.randrange(1, 6)))
        now_ns = samples.BEGAN_NS + at_ns
        told = m.MeasurementNotify(
            sequence=number, due_ns=now_ns, sent_ns=now_ns, station_mac=rng.choice(stations), readings=readings
        )
        said.append((at_ns, Role.WLC, told, 0))
    return sorted(said, key=lambda line: line[0])


@pytest.mark.parametrize("echoes", [3, 5])
def test_a_number_that_few_requests_have_is_no_message_id(echoes: int) -> None:
    """Five requests of each of two sessions have the numbers 1 to 5; a capability is told once."""
    exchanges = [samples.exchange(TERN, tunnel(seed, echoes), seed) for seed in range(2)]
    found = infer(exchanges)
    assert found.layout is not None
    places = {each.role: place_of(each) for each in found.layout.header.fields}
    assert places["msg_id"] == (4, 2)
    assert places["transaction"] == (6, 2)
    assert len(found.layout.messages) == 8
