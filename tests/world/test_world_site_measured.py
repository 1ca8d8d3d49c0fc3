"""Each class of what a site hears is measured under its own subservice: the frames, read back."""

from __future__ import annotations

from collections import defaultdict

import pytest
from site_samples import PROFILE, all_rounds, plan_of, site_of

from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, MeasurementNotify
from loadgen.nmsp.ring import Timing
from loadgen.nmsp.services import Subservice
from loadgen.session.transmit import Measurements
from loadgen.world.population import Found

CLASSES = {
    "stations": Subservice.RSSI_MS,
    "tags": Subservice.RSSI_RFID,
    "rogues": Subservice.RSSI_ROGUE,
    "rogue_clients": Subservice.RSSI_ROGUE,
    "interferers": Subservice.RSSI_INTERFERER,
    "handovers": Subservice.RSSI_HS,
}
OTHERS = [name for name in CLASSES if name != "stations"]
SITE = {name: {"count": 6, "every": ["2s", "9s"]} for name in OTHERS}


@pytest.fixture(scope="module")
def found() -> dict[int, list[Found]]:
    """A minute of a site that has all classes, by clock: they have the first ones, in this order."""
    by_clock: dict[int, list[Found]] = defaultdict(list)
    for _, clock, what in all_rounds(site_of(plan_of(SITE, stations=20)), 60):
        if isinstance(what, Found):
            by_clock[clock].append(what)
    return by_clock


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_measured_under_its_subservice(name: str, found: dict[int, list[Found]]) -> None:
    codec, size = Codec(PROFILE), PROFILE.header.size
    rounds = found[list(CLASSES).index(name)]
    assert rounds
    for each in rounds:
        notifications = Measurements(PROFILE, each.stations, 77)
        heard = set()
        for number in range(notifications.count):
            frame, count = notifications.frames(number, 1, number, Timing(0, 99))
            assert count == 1
            message = codec.decode_untrusted(PROFILE.ids[Kind.MEASUREMENT_NOTIFY], memoryview(bytes(frame))[size:])
            assert isinstance(message, MeasurementNotify)
            assert (message.subservice, message.due_ns, message.sent_ns) == (CLASSES[name], 77, 99)
            assert 1 <= len(message.readings) <= PROFILE.max_readings
            heard.add(message.station_mac)
        assert heard == {mac.tobytes() for mac in each.stations.macs}


def test_clients_alone_are_measured_under_another(found: dict[int, list[Found]]) -> None:
    subservices = {int(each.of_associated().subservice) for each in found[0]}
    assert subservices == {Subservice.RSSI_MS_ASSOCIATED_ONLY}
    assert {*CLASSES.values(), Subservice.RSSI_MS_ASSOCIATED_ONLY} == set(
        CATALOGUE[Kind.MEASUREMENT_NOTIFY].subservices
    )
