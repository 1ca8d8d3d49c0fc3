"""What a site tells beside measurements: every service's notifications, through the codec and back."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import pytest
from site_samples import PROFILE, all_rounds, plan_of, site_of

from loadgen.nmsp.catalogue import CATALOGUE, KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import ClientInfoNotify, ServiceNotify, TagInfoNotify, WipsAlarmNotify
from loadgen.nmsp.services import Subservice
from loadgen.session.transmit import Notice, Priority
from loadgen.world.tellers import FAMILIES, Told

CODEC = Codec(PROFILE)
SITE = {
    **{name: {"count": 8, "every": ["2s", "9s"]} for name in ("tags", "rogues", "rogue_clients", "interferers")},
    "handovers": {"count": 30, "every": ["2s", "9s"]},
    "stay": "1m",
    "away": "20s",
    "services": {
        **dict.fromkeys(("information", "statistics", "spectrum", "air_quality", "aps"), "5s"),
        "alarms_per_h": 600,
    },
}


def decoded(notice: Notice, sequence: int = 3, sent_ns: int = 9) -> ServiceNotify:
    frame = notice.frame(sequence, sent_ns)
    size = PROFILE.header.size
    message = CODEC.decode_untrusted(int.from_bytes(frame[2:4], "big"), memoryview(bytes(frame))[size:])
    assert isinstance(message, ServiceNotify)
    return message


@pytest.fixture(scope="module")
def told() -> dict[Subservice, list[Told]]:
    """Two minutes of a site that has everything, by subservice."""
    plan = plan_of(SITE, stations=100)
    found: dict[Subservice, list[Told]] = defaultdict(list)
    for _, _, what in all_rounds(site_of(plan), 120):
        if isinstance(what, Told):
            found[Subservice(what.subservice)].append(what)
    return found


@pytest.mark.parametrize("subservice", list(FAMILIES), ids=lambda subservice: subservice.label)
def test_every_service_tells_something_that_can_be_read(
    subservice: Subservice, told: dict[Subservice, list[Told]]
) -> None:
    assert told[subservice]
    for each in told[subservice]:
        assert each.kind is FAMILIES[subservice][0]
        assert subservice in CATALOGUE[KIND_OF[each.kind]].subservices
        messages = [decoded(notice) for notice in each.notices(CODEC, 77)]
        assert all((m.sequence, m.due_ns, m.sent_ns, m.subservice) == (3, 77, 9, subservice) for m in messages)
        records = [record for message in messages for record in message.records]  # type: ignore[attr-defined]
        assert records == each.records


def test_as_many_records_in_a_message_as_the_profile_allows(told: dict[Subservice, list[Told]]) -> None:
    one = told[Subservice.INFO_MS][0]
    many = one._replace(records=[one.records[0]] * 150)
    sizes = [len(decoded(notice).records) for notice in many.notices(CODEC, 1)]  # type: ignore[attr-defined]
    assert sizes == [64, 64, 22]


def test_a_tag_is_told_of_by_itself_with_its_payload(told: dict[Subservice, list[Told]]) -> None:
    for each in told[Subservice.INFO_RFID]:
        for notice in each.notices(CODEC, 1):
            message = decoded(notice)
            assert isinstance(message, TagInfoNotify)
            assert len(message.records) == 1
            assert message.payload


def test_what_the_profile_has_no_message_for_is_not_told(told: dict[Subservice, list[Told]]) -> None:
    document = msgspec.structs.replace(
        PROFILE.document,
        messages={name: each for name, each in PROFILE.document.messages.items() if name != "client_info_notify"},
    )
    codec = Codec(type(PROFILE)(document))
    assert told[Subservice.INFO_MS][0].kind is ClientInfoNotify
    assert told[Subservice.INFO_MS][0].notices(codec, 1) == []


def test_alarms_go_first(told: dict[Subservice, list[Told]]) -> None:
    assert {each.priority for each in told[Subservice.WIPS]} == {Priority.HIGH}
    assert {each.kind for each in told[Subservice.WIPS]} == {WipsAlarmNotify}
    others = {each.priority for name, all_of in told.items() if name is not Subservice.WIPS for each in all_of}
    assert others == {Priority.NORMAL}


def test_a_service_does_not_depend_on_which_others_are_asked_for() -> None:
    plan = plan_of(SITE, stations=60)
    mask = 1 << Subservice.STATS_MS
    alone = [what for _, _, what in all_rounds(site_of(plan, mask=mask), 60) if isinstance(what, Told)]
    assert {each.subservice for each in alone} == {Subservice.STATS_MS}
    among = [
        what
        for _, _, what in all_rounds(site_of(plan), 60)
        if isinstance(what, Told) and what.subservice == Subservice.STATS_MS
    ]
    assert alone == among


def test_clients_are_told_of_when_they_change(told: dict[Subservice, list[Told]]) -> None:
    statuses = [record.status for each in told[Subservice.INFO_MS] for record in each.records]  # type: ignore[attr-defined]
    assert set(statuses) == {0, 3}


@pytest.mark.parametrize("most_bytes", [200, 500, 1000])
def test_no_more_records_in_a_message_than_go_into_a_datagram(
    told: dict[Subservice, list[Told]], most_bytes: int
) -> None:
    one = told[Subservice.INFO_MS][0]
    many = one._replace(records=[one.records[0]] * 150)
    notices = many.notices(CODEC, 1, most_bytes)
    assert max(notice.size for notice in notices) <= most_bytes
    assert len(notices) > len(many.notices(CODEC, 1))
    assert sum(len(decoded(notice).records) for notice in notices) == 150  # type: ignore[attr-defined]
