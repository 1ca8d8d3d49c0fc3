"""Requests of MSEs at an endpoint that plays a capture: answered as in the capture, with the endpoint's own devices."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import replay_samples as samples
from replay_samples import BEGAN_NS, Line

from loadgen.nmsp import messages as m
from loadgen.nmsp import records as r
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile import load_profile, reference_profile
from loadgen.nmsp.records import NO_MAC
from loadgen.nmsp.services import Subservice
from loadgen.replay.answers import RecordedAnswers
from loadgen.replay.macs import MacMap
from loadgen.replay.reading import record_untrusted
from loadgen.replay.recording import mapped_macs
from loadgen.units import NS_PER_MS

PROFILE = reference_profile()
ROOT = Path(__file__).parents[2]


def info(number: int, ssid: str) -> m.ClientInfoResponse:
    record = r.ClientInfo(samples.station(number), samples.AP, ssid=ssid)
    return m.ClientInfoResponse(0, Subservice.INFO_MS, samples.station(number), records=(record,))


def asked(at_ms: int, transaction: int, number: int, *ssids: str) -> list[Line]:
    """A request about a station, and what was answered."""
    request = m.InformationRequest(Subservice.INFO_MS, samples.station(number))
    lines: list[Line] = [(at_ms * NS_PER_MS, Role.MSE, request, transaction)]
    return [*lines, *(((at_ms + 5) * NS_PER_MS, Role.WLC, info(number, ssid), transaction) for ssid in ssids)]


SAID: list[Line] = sorted(
    [
        *samples.opening(),
        *samples.notified(20),
        *asked(101, 11, 1, "first"),
        *asked(103, 12, 9, "nobody told of it"),
        *asked(151, 13, 1, "second"),
        (201 * NS_PER_MS, Role.MSE, m.WipsConfigRequest((r.WipsSignature(3),)), 14),
        (202 * NS_PER_MS, Role.WLC, m.WipsConfigResponse(0, 7), 14),
    ],
    key=lambda line: line[0],
)


class Endpoint:
    """What one endpoint says, and the MACs that it has for recorded ones."""

    def __init__(self, number: int) -> None:
        made = record_untrusted(samples.events([samples.exchange(PROFILE, SAID)]), PROFILE, "c")
        macs, mapped = mapped_macs(made.recording, aps=False)
        own = MacMap(macs, mapped, "local", 10).of(number)
        self.mac = {bytes(before): bytes(after) for before, after in zip(macs, own, strict=True)}
        self.answers = RecordedAnswers(Codec(PROFILE), made.recording.tracks[0], own)

    def ask(self, request: msgspec.Struct, transaction: int = 77) -> msgspec.Struct | None:
        kind = {m.InformationRequest: Kind.INFORMATION_REQUEST, m.WipsConfigRequest: Kind.WIPS_CONFIG_REQUEST}
        found = self.answers.answer(
            kind.get(type(request), Kind.STATISTICS_REQUEST), request, transaction, BEGAN_NS, BEGAN_NS
        )
        if found is None:
            return None
        framing, frame = PROFILE.framing, found[1]
        header = framing.header.struct.unpack_from(frame)
        assert framing.size_untrusted(header) == len(frame)
        assert framing.transaction_of(header) == transaction
        assert PROFILE.kinds[framing.id_of(header)] is found[0]
        return Codec(PROFILE).decode_untrusted(framing.id_of(header), memoryview(frame)[framing.head :])


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint(3)


def test_a_request_about_a_device_is_answered_as_it_was(endpoint: Endpoint) -> None:
    own = endpoint.mac[samples.station(1)]
    request = m.InformationRequest(Subservice.INFO_MS, own)
    for ssid in ("first", "second", "first"):  # in turn
        answer = endpoint.ask(request)
        assert isinstance(answer, m.ClientInfoResponse)
        assert (bytes(answer.device_mac), bytes(answer.records[0].station_mac)) == (own, own)
        assert (answer.records[0].ssid, bytes(answer.records[0].ap_mac)) == (ssid, samples.AP)


def test_a_device_that_was_only_asked_about_is_mapped_as_well(endpoint: Endpoint) -> None:
    own = endpoint.mac[samples.station(9)]
    assert own != samples.station(9)
    answer = endpoint.ask(m.InformationRequest(Subservice.INFO_MS, own))
    assert isinstance(answer, m.ClientInfoResponse)
    assert answer.records[0].ssid == "nobody told of it"


def test_a_request_about_any_device_gets_any_answer_of_its_kind(endpoint: Endpoint) -> None:
    seen = set()
    for _ in range(3):
        answer = endpoint.ask(m.InformationRequest(Subservice.INFO_MS, NO_MAC))
        assert isinstance(answer, m.ClientInfoResponse)
        seen.add(answer.records[0].ssid)
    assert seen == {"first", "nobody told of it", "second"}


def test_what_is_about_no_device_is_answered_by_its_kind(endpoint: Endpoint) -> None:
    answer = endpoint.ask(m.WipsConfigRequest((r.WipsSignature(1),)))
    assert answer == m.WipsConfigResponse(0, 7)


@pytest.mark.parametrize(
    "request_",
    [
        m.InformationRequest(Subservice.INFO_MS, samples.station(1)),  # a recorded MAC is none of this endpoint's
        m.InformationRequest(Subservice.INFO_HS, NO_MAC),
        m.StatisticsRequest(Subservice.STATS_MS, NO_MAC),
    ],
)
def test_what_was_not_asked_is_not_answered_from_the_capture(endpoint: Endpoint, request_: m.DeviceRequest) -> None:
    assert endpoint.ask(request_) is None


def test_a_station_is_known_by_what_was_told_of_it(endpoint: Endpoint) -> None:
    own = endpoint.mac[samples.station(2)]
    found = endpoint.answers.find(Kind.MEASUREMENT_REQUEST, Subservice.RSSI_MS, own)
    assert found is not None
    assert (bytes(found.device_mac), [reading.rssi_a for reading in found.records]) == (own, [-52, -62])
    assert endpoint.answers.find(Kind.MEASUREMENT_REQUEST, Subservice.RSSI_MS, samples.station(2)) is None
    assert endpoint.answers.find(Kind.MEASUREMENT_REQUEST, Subservice.RSSI_RFID, own) is None
    anybody = endpoint.answers.find(Kind.ON_DEMAND_REQUEST, Subservice.RSSI_MS, NO_MAC)
    assert anybody is not None
    assert bytes(anybody.device_mac) in endpoint.mac.values()
    assert endpoint.answers.find(Kind.STATISTICS_REQUEST, Subservice.STATS_MS, own) is None


def test_answers_are_found_by_their_order_where_a_layout_has_no_transactions() -> None:
    profile = load_profile(ROOT / "docs" / "wire-profile" / "swift.toml")
    assert not profile.framing.has_transaction
    heard = r.HeardStation(samples.station(1), (samples.reading(-50),))
    said: list[Line] = [(NS_PER_MS, Role.WLC, m.StationsNotify((heard,)), 0)]
    for at_ms, number in ((101, 1), (111, 2)):
        request = m.MeasurementRequest(Subservice.RSSI_MS, samples.station(number))
        found = (samples.reading(-40 - number),)
        response = m.MeasurementResponse(0, Subservice.RSSI_MS, samples.station(number), found)
        said += [(at_ms * NS_PER_MS, Role.MSE, request, 0), ((at_ms + 20) * NS_PER_MS, Role.WLC, response, 0)]
    said.sort(key=lambda line: line[0])
    made = record_untrusted(samples.events([samples.exchange(profile, said)]), profile, "c")
    answers = made.recording.tracks[0].answers
    macs = [made.recording.macs[6 * each.device : 6 * each.device + 6] for each in answers]
    assert [Kind(each.asked) for each in answers] == [Kind.MEASUREMENT_REQUEST] * 2
    assert macs == [samples.station(1), samples.station(2)]
    assert all(mac in each.frame for mac, each in zip(macs, answers, strict=True))
