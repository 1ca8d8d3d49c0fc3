from __future__ import annotations

import random

import pytest

from loadgen.nmsp.services import ALL, BY_LABEL, CATALYST_9800, MOBILE_STATION, Subservice, labels_of, mask_of

# What `show nmsp subscription capability` of a live Catalyst 9800 with the mask 0x68EBE7 lists.
LIVE_9800 = [
    "rssi-ms",
    "rssi-rfid",
    "rssi-rogue",
    "rssi-ms-associated-only",
    "spectrum-interferer",
    "spectrum-air-quality",
    "spectrum-aggregate-interferer",
    "info-ms",
    "info-rogue",
    "stats-ms",
    "stats-rfid",
    "stats-rogue",
    "ap-monitor",
    "on-demand",
    "ap-info",
]


def test_the_mask_of_a_live_9800_is_its_fifteen_names() -> None:
    assert CATALYST_9800 == 0x68EBE7
    assert labels_of(0x68EBE7) == LIVE_9800
    assert mask_of(BY_LABEL[label] for label in LIVE_9800) == 0x68EBE7


def test_twenty_three_bits_in_a_row() -> None:
    assert [int(service) for service in Subservice] == list(range(23))
    assert ALL == 0x7FFFFF
    assert len(set(BY_LABEL)) == 23
    assert mask_of(Subservice) == ALL


@pytest.mark.parametrize("service", Subservice)
def test_each_name_is_its_bit_and_back(service: Subservice) -> None:
    assert BY_LABEL[service.label] is service
    assert labels_of(1 << service) == [service.label]
    assert mask_of([service, service]) == 1 << service
    assert service.label == service.label.lower()
    assert "_" not in service.label


def test_any_mask_comes_back_through_its_names() -> None:
    rng = random.Random(23)
    for _ in range(300):
        mask = rng.getrandbits(23)
        labels = labels_of(mask)
        assert len(labels) == mask.bit_count()
        assert mask_of(BY_LABEL[label] for label in labels) == mask


def test_bits_that_nobody_named_are_shown_by_number() -> None:
    assert labels_of(1 << 40 | 1 << 23 | 1) == ["rssi-ms", "bit-23", "bit-40"]
    assert labels_of(0) == []
    assert len(labels_of((1 << 64) - 1)) == 64


def test_a_notification_about_a_station_uses_one_of_two() -> None:
    assert [service.label for service in MOBILE_STATION] == ["rssi-ms", "rssi-ms-associated-only"]
