"""What MSEs ask and WLCs answer in a running session, in virtual time: schedules, timeouts, repeats, bad answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from session_samples import CODEC, PROFILE, Pair, Side, histogram_values, settings_of

from loadgen.measure.recorder import Recorder
from loadgen.measure.waits import FINEST
from loadgen.nmsp import messages as m
from loadgen.nmsp import records as r
from loadgen.nmsp.messages import Message, ResponseStatus
from loadgen.nmsp.records import NO_MAC, ApGroup, ClientInfo, Reading, WipsSignature
from loadgen.nmsp.services import Subservice, mask_of
from loadgen.scenario.requests import PlannedRequest
from loadgen.session.asking import LONGEST_WAIT_NS, MOST_OUTSTANDING, Asker
from loadgen.session.directory import StationDirectory
from loadgen.session.mse import MseEndpoint
from loadgen.session.notices import Notices
from loadgen.session.wlc import WlcEndpoint
from loadgen.units import NS_PER_MS, NS_PER_S, Duration
from loadgen.world.stations import make_stations, station_macs

STATIONS = 7
WANTED = mask_of(
    [Subservice.RSSI_MS, Subservice.INFO_MS, Subservice.STATS_MS, Subservice.ON_DEMAND, Subservice.INFO_RFID]
)
MACS = station_macs(5, 3, STATIONS, (1, 4))
BACKLOG_NS = 2 * NS_PER_S
MEASURE = PlannedRequest("measurement", 1.0, (0,), "known")


def directory() -> StationDirectory:
    return StationDirectory(lambda: make_stations(PROFILE, 5, 3, STATIONS, (1, 4), 1))


class Talk:
    """A pair with a running session, whose MSE asks; a way of `way_ns` each way can be cut, or held up."""

    def __init__(self, *requests: PlannedRequest, wants: int = WANTED, duration_ns: int = 10 * NS_PER_S) -> None:
        self.pair = Pair()
        self.recorder = Recorder()
        self.asker = Asker(
            requests,
            self.recorder,
            fleet=1,
            worker=0,
            workers=1,
            macs=lambda _: MACS,
            backlog_ns=BACKLOG_NS,
            to_unix_ns=0,
        )
        settings = settings_of(wants, self.recorder)
        self.notices = Notices(self.recorder, 0)
        endpoint = MseEndpoint(settings, 0, 0, self.asker, self.notices)
        endpoint.start(0)
        self.mse = self.pair.mse = Side(endpoint, self.recorder)
        recorder = Recorder()
        self.wlc = self.pair.wlc = Side(WlcEndpoint(settings_of((1 << 23) - 1, recorder), 0, directory()), recorder)
        self.pair.settle()
        assert endpoint.active
        self.endpoint = endpoint
        self.asker.open(endpoint)
        self.asker.start(0, duration_ns)
        self.blocked = False
        self.answering = True
        self.kept: list[bytes] = []  # what the WLC said and the MSE has not heard
        self.asked: list[tuple[Message, int]] = []
        self.now_ns = 0

    def run_until(self, end_ns: int) -> None:
        """Let time pass, from one thing that is due to the next."""
        for _ in range(100_000):
            due_ns = max(self.now_ns, self.asker.next_ns())
            if due_ns > end_ns:
                break
            self.now_ns = due_ns
            self.step()
        else:
            raise AssertionError("time stands still")
        self.now_ns = end_ns

    def step(self) -> None:
        for _ in self.asker.take_due(self.now_ns):
            while not self.blocked and self.asker.send(self.endpoint, self.now_ns):
                pass
            if self.blocked:
                self.asker.hold_up(self.endpoint)
        self.exchange()

    def exchange(self) -> None:
        if self.blocked:
            return
        frames = list(self.endpoint.outbox)
        self.asked += self.mse.said()
        for frame in frames:
            self.wlc.feed(frame, self.now_ns)
            self.kept += self.wlc.endpoint.outbox
            self.wlc.endpoint.outbox.clear()
        if self.answering:
            self.deliver()

    def deliver(self) -> None:
        for frame in self.kept:
            if self.mse.fault is None:
                self.mse.feed(frame, self.now_ns)
        self.kept.clear()

    def hear(self, message: Message, transaction: int) -> None:
        self.mse.hear(message, self.now_ns, transaction)

    @property
    def counters(self) -> dict[str, int]:
        found = Counter(self.recorder.counters)
        return {
            name.partition(".")[2]: count for name, count in found.items() if name.startswith("requests.") and count
        }


def ask_wlc(message: Message, granted: int = WANTED, transaction: int = 9) -> Message:
    """A WLC's answer to one request in a session with this grant."""
    talk = Talk(wants=granted)
    talk.wlc.hear(message, 0, transaction)
    ((answer, answered),) = talk.wlc.said()
    assert answered == transaction
    return answer


# -- the WLC's answers -------------------------------------------------------------------------------------------------


def test_a_wlc_answers_about_a_station_what_it_notifies_of_it() -> None:
    stations = make_stations(PROFILE, 5, 3, STATIONS, (1, 4), 1)
    for row, mac in enumerate(MACS):
        answer = ask_wlc(m.MeasurementRequest(Subservice.RSSI_MS, mac))
        assert isinstance(answer, m.MeasurementResponse)
        assert (answer.status, answer.subservice, answer.device_mac) == (ResponseStatus.OK, 0, mac)
        assert len(answer.readings) == stations.counts[row]
        for reading, cell in zip(answer.readings, stations.readings[row], strict=False):
            assert reading.ap_mac == cell["ap_mac"].tobytes()
            assert (reading.rssi_a, reading.snr, reading.age_s) == (cell["rssi_a"], cell["snr"], cell["age_s"])


def test_measured_on_demand_is_measured_now() -> None:
    plain = ask_wlc(m.MeasurementRequest(Subservice.RSSI_MS, MACS[2]))
    now = ask_wlc(m.OnDemandRequest(Subservice.ON_DEMAND, MACS[2]))
    assert isinstance(plain, m.MeasurementResponse)
    assert isinstance(now, m.OnDemandResponse)
    assert all(reading.age_s == 0 for reading in now.readings)
    aged: tuple[Reading, ...] = tuple(msgspec.structs.replace(reading, age_s=0) for reading in plain.readings)
    assert now.readings == aged


def test_any_device_is_each_in_turn() -> None:
    talk = Talk()
    macs = []
    for transaction in range(2 * STATIONS):
        talk.wlc.hear(m.InformationRequest(Subservice.INFO_MS, NO_MAC), 0, transaction)
        ((answer, _),) = talk.wlc.said()
        assert isinstance(answer, m.ClientInfoResponse)
        (record,) = answer.records
        assert record.station_mac == answer.device_mac
        macs.append(record.station_mac)
    assert macs == [*MACS, *MACS]


def test_information_and_statistics_are_the_stations_own() -> None:
    readings = ask_wlc(m.MeasurementRequest(Subservice.RSSI_MS, MACS[0]))
    information = ask_wlc(m.InformationRequest(Subservice.INFO_MS, MACS[0]))
    statistics = [ask_wlc(m.StatisticsRequest(Subservice.STATS_MS, mac)) for mac in MACS]
    assert isinstance(readings, m.MeasurementResponse)
    assert isinstance(information, m.ClientInfoResponse)
    (record,) = information.records
    assert isinstance(record, ClientInfo)
    assert record.ap_mac == max(readings.readings, key=lambda reading: reading.rssi_a).ap_mac
    assert record.ssid
    counted = set()
    for answer in statistics:
        assert isinstance(answer, m.ClientStatisticsResponse)
        counted.add(answer.records[0].bytes_sent)
    assert len(counted) == STATIONS  # everyone's own


UNKNOWN = b"\x02\x55\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("request_", "granted", "status"),
    [
        (m.MeasurementRequest(0, UNKNOWN), WANTED, ResponseStatus.UNKNOWN_DEVICE),
        (m.OnDemandRequest(21, UNKNOWN), WANTED, ResponseStatus.UNKNOWN_DEVICE),
        (m.InformationRequest(10, NO_MAC), WANTED, ResponseStatus.UNKNOWN_DEVICE),  # these WLCs have no tags
        (m.InformationRequest(9, MACS[0]), 1, ResponseStatus.NOT_SUBSCRIBED),
        (m.StatisticsRequest(13, MACS[0]), 1, ResponseStatus.NOT_SUBSCRIBED),
        (m.StatisticsRequest(0, MACS[0]), 1, ResponseStatus.NOT_SUBSCRIBED),  # granted, and no statistics
        (m.MeasurementRequest(200, MACS[0]), WANTED, ResponseStatus.NOT_SUBSCRIBED),
        (m.MeasurementRequest(9, MACS[0]), WANTED, ResponseStatus.NOT_SUBSCRIBED),
    ],
)
def test_what_a_wlc_does_not_tell(request_: m.DeviceRequest, granted: int, status: ResponseStatus) -> None:
    answer = ask_wlc(request_, granted)
    assert isinstance(answer, m.DeviceResponse)
    assert (answer.status, answer.subservice, answer.device_mac) == (status, request_.subservice, request_.device_mac)
    assert not getattr(answer, "readings", ()) and not getattr(answer, "records", ())  # noqa: PT018


def test_the_kind_of_an_answer_follows_from_the_subservice() -> None:
    assert isinstance(ask_wlc(m.InformationRequest(10, NO_MAC)), m.TagInfoResponse)
    assert isinstance(ask_wlc(m.InformationRequest(11, NO_MAC), 1), m.RogueInfoResponse)
    assert isinstance(ask_wlc(m.StatisticsRequest(14, NO_MAC), 1), m.TagStatisticsResponse)


def test_a_wips_configuration_is_taken_line_by_line_if_it_was_subscribed_to() -> None:
    lines = tuple(WipsSignature(number) for number in range(1, 6))
    granted = WANTED | 1 << Subservice.WIPS
    assert ask_wlc(m.WipsConfigRequest(lines), granted) == m.WipsConfigResponse(ResponseStatus.OK, 5)
    assert ask_wlc(m.WipsConfigRequest(lines)) == m.WipsConfigResponse(ResponseStatus.NOT_SUBSCRIBED, 0)


def test_capability_is_told_again_with_the_requests_transaction() -> None:
    assert ask_wlc(m.CapabilityRequest()) == m.Capability((1 << 23) - 1)


def test_subscribing_adds_and_unsubscribing_takes_away() -> None:
    talk = Talk(wants=1)
    for message, granted, answer in (
        (m.SubscribeRequest(0b110), 0b111, m.SubscribeResponse),
        (m.UnsubscribeRequest(0b10), 0b101, m.UnsubscribeResponse),
        (m.UnsubscribeRequest(1 << 63 | 0b10), 0b101, m.UnsubscribeResponse),
        (m.UnsubscribeRequest((1 << 64) - 1), 0, m.UnsubscribeResponse),
        (m.SubscribeRequest(1), 1, m.SubscribeResponse),
    ):
        talk.wlc.hear(message, 0, 5)
        assert talk.wlc.said() == [(answer(granted, ResponseStatus.OK), 5)]
        assert talk.wlc.endpoint.granted == granted
    assert talk.wlc.endpoint.active


def test_groups_that_a_wlc_does_not_have_are_nothing_to_subscribe_to() -> None:
    talk = Talk(wants=1)
    wlc = talk.wlc.endpoint
    assert isinstance(wlc, WlcEndpoint)
    talk.wlc.hear(m.SubscribeGroupsRequest(0b110, (ApGroup("group-2"), ApGroup("cellar"))), 0, 5)
    assert talk.wlc.said() == [(m.SubscribeResponse(0b111, ResponseStatus.OK), 5)]
    assert wlc.groups == ("group-2",)
    talk.wlc.hear(m.SubscribeGroupsRequest(0b1000, (ApGroup("cellar"),)), 0, 6)
    assert talk.wlc.said() == [(m.SubscribeResponse(0b111, ResponseStatus.NOTHING_GRANTED), 6)]
    assert wlc.groups == ("group-2",)
    talk.wlc.hear(m.SubscribeRequest(1), 0, 7)
    assert wlc.groups == ()


def test_a_request_that_comes_again_is_answered_again_and_counted() -> None:
    talk = Talk()
    for _ in range(3):
        talk.wlc.hear(m.MeasurementRequest(0, MACS[0]), 0, 77)
    talk.wlc.hear(m.MeasurementRequest(0, MACS[0]), 0, 78)
    answers = talk.wlc.said()
    assert [transaction for _, transaction in answers] == [77, 77, 77, 78]
    assert answers[0] == answers[1] == answers[2]
    assert talk.wlc.recorder.counters["requests.served"] == 4
    assert talk.wlc.recorder.counters["requests.repeated"] == 2


# -- the MSE's schedule ------------------------------------------------------------------------------------------------


def test_everything_that_is_due_is_asked_and_answered() -> None:
    talk = Talk(
        PlannedRequest("measurement", 10.0, (0,), "known"),
        PlannedRequest("information", 4.0, (9, 10), "any"),
        PlannedRequest("on_demand", 1.0, (21,), "unknown"),
        PlannedRequest("capability", 2.0),
        duration_ns=5 * NS_PER_S,
    )
    talk.run_until(20 * NS_PER_S)
    # Tags and nobody's MAC are refused: half of the information, and everything on demand.
    assert talk.counters == {"due": 85, "sent": 85, "answered": 85, "refused": 15}
    assert histogram_values(talk.recorder, "request.measurement.latency")[0] == 50
    assert histogram_values(talk.recorder, "request.information.service")[0] == 10
    assert histogram_values(talk.recorder, "request.on_demand.latency")[0] == 0
    assert histogram_values(talk.recorder, "request.on_demand.lag")[0] == 5
    assert histogram_values(talk.recorder, "generator.lag") == (85, 0, 0)
    asked = [message.device_mac for message, _ in talk.asked if isinstance(message, m.MeasurementRequest)]
    assert asked == (MACS * 8)[:50]


def test_latency_counts_from_when_it_was_due_and_service_from_when_it_was_sent() -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.now_ns = 30 * NS_PER_MS  # the loop comes late
    talk.answering = False
    talk.step()
    talk.now_ns = 100 * NS_PER_MS
    talk.deliver()
    assert talk.counters == {"due": 1, "sent": 1, "answered": 1}
    for what, value in (("latency", 100), ("service", 70), ("lag", 30)):
        count, low, high = histogram_values(talk.recorder, f"request.measurement.{what}")
        assert count == 1
        assert low <= value * NS_PER_MS <= high


def test_a_session_that_is_not_there_owes_what_is_dropped() -> None:
    talk = Talk(MEASURE)
    talk.asker.close(talk.endpoint)
    talk.run_until(20 * NS_PER_S)
    assert talk.counters == {"due": 10, "dropped": 10}


def test_members_that_are_not_there_have_no_turns() -> None:
    recorder = Recorder()
    asker = Asker(
        [PlannedRequest("capability", 10.0)],
        recorder,
        fleet=4,
        worker=1,
        workers=2,
        macs=lambda _: (),
        backlog_ns=BACKLOG_NS,
        to_unix_ns=0,
        all_owe=False,
    )
    endpoint = MseEndpoint(settings_of(1, recorder), 0, 1, asker)
    asker.open(endpoint)
    asker.start(0, 2 * NS_PER_S)
    assert list(asker.take_due(2 * NS_PER_S)) == [1]
    # 20 slots of four sessions: 1, 3 are this worker's, as its numbers 0 and 1, and only number 1 is there.
    assert recorder.counters["requests.due"] == 5
    assert endpoint.asked is not None
    assert [owed.due_ns for owed in endpoint.asked.owed] == [slot * NS_PER_S // 10 for slot in range(3, 20, 4)]


def test_nothing_is_kept_for_a_session_that_is_not_asked() -> None:
    talk = Talk()
    talk.run_until(NS_PER_S)
    assert talk.endpoint.asked is None
    assert talk.endpoint.noticed is None
    assert talk.asker.next_ns() > 1 << 60


# -- no answer ---------------------------------------------------------------------------------------------------------


def times_of(talk: Talk, every_ns: int, end_ns: int) -> list[int]:
    """When something was said, to the grain of `every_ns`."""
    times = []
    while talk.now_ns <= end_ns:
        before = len(talk.asked)
        talk.step()
        times += [talk.now_ns] * (len(talk.asked) - before)
        talk.now_ns += every_ns
    return times


def test_a_request_is_sent_again_with_the_same_transaction_and_then_given_up() -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.answering = False
    times = times_of(talk, 100 * NS_PER_MS, 40 * NS_PER_S)
    # 1 s until it counts as not answered, 3 s until it is sent again; the last one only waits for the answer.
    assert times == [4 * NS_PER_S * number for number in range(6)]
    assert len({transaction for _, transaction in talk.asked}) == 1
    assert len({message for message, _ in talk.asked}) == 1
    assert talk.counters == {"due": 1, "sent": 1, "retransmitted": 5, "timed_out": 1}
    assert talk.recorder.counters["errors.stream.timeout_measurement"] == 1
    assert talk.wlc.recorder.counters["requests.repeated"] == 5
    talk.deliver()  # six answers: the first is late, the others are that once more
    assert talk.counters["late"] == 1
    assert talk.counters["duplicated"] == 5
    assert "answered" not in talk.counters
    assert histogram_values(talk.recorder, "request.measurement.latency")[0] == 0


@pytest.mark.parametrize(("most", "given_up_after_s"), [(0, 1), (1, 5), (5, 21)])
def test_when_a_request_is_given_up(most: int, given_up_after_s: int) -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.endpoint.settings.timers = msgspec.structs.replace(talk.endpoint.settings.timers, max_retransmits=most)
    talk.answering = False
    talk.run_until(given_up_after_s * NS_PER_S - 1)
    assert "timed_out" not in talk.counters
    talk.run_until(given_up_after_s * NS_PER_S)
    assert talk.counters == {"due": 1, "sent": 1, "timed_out": 1} | ({"retransmitted": most} if most else {})
    talk.run_until(100 * NS_PER_S)
    assert talk.counters["timed_out"] == 1


def test_an_answer_after_the_timeout_but_before_the_repeat_is_an_answer() -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(3500 * NS_PER_MS)
    talk.deliver()
    assert talk.counters == {"due": 1, "sent": 1, "answered": 1}
    talk.run_until(60 * NS_PER_S)
    assert talk.counters == {"due": 1, "sent": 1, "answered": 1}
    count, low, high = histogram_values(talk.recorder, "request.measurement.latency")
    assert count == 1
    assert low <= 3500 * NS_PER_MS <= high


def test_both_copies_answered_is_an_answer_and_a_duplicate() -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(5 * NS_PER_S)
    talk.deliver()
    assert talk.counters == {"due": 1, "sent": 1, "retransmitted": 1, "answered": 1, "duplicated": 1}


def test_a_second_answer_to_what_was_asked_once_is_nobodys() -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(100 * NS_PER_MS)
    talk.kept *= 2
    talk.deliver()
    assert talk.counters == {"due": 1, "sent": 1, "answered": 1, "unmatched": 1}


def test_a_session_that_ends_abandons_what_is_under_way() -> None:
    talk = Talk(MEASURE)
    talk.answering = False
    talk.run_until(2500 * NS_PER_MS)
    talk.asker.close(talk.endpoint)
    talk.endpoint.settle()
    talk.run_until(60 * NS_PER_S)
    assert talk.counters == {"due": 10, "sent": 3, "abandoned": 3, "dropped": 7}


def test_answers_are_waited_for_as_long_as_they_are_in_time() -> None:
    """Sent at 0.5, 1.5 and 2.5 s: a WLC that takes 0.9 s for each answers all of them in time."""
    talk = Talk(MEASURE)
    talk.answering = False
    talk.run_until(2500 * NS_PER_MS)
    sent_ns = [pending.sent_ns for pending in talk.endpoint.asked.pending.values()]  # type: ignore[union-attr]
    assert len(sent_ns) == 3
    talk.asker.stop(2500 * NS_PER_MS)
    assert talk.asker.awaits(sent_ns[-1] + 900 * NS_PER_MS)
    talk.now_ns = sent_ns[-1] + 900 * NS_PER_MS
    talk.deliver()
    assert not talk.asker.awaits(talk.now_ns)
    assert talk.counters == {"due": 3, "sent": 3, "answered": 3}


@pytest.mark.parametrize(("after_ms", "withdrawn"), [(1, 1), (999, 1), (1000, 0)])
def test_what_we_do_not_wait_for_is_withdrawn_while_it_has_time(after_ms: int, withdrawn: int) -> None:
    """The first two had their second; the last one has until a second after it was sent."""
    talk = Talk(MEASURE)
    talk.answering = False
    talk.run_until(2500 * NS_PER_MS)
    talk.asker.stop(2500 * NS_PER_MS)
    now_ns = max(p.sent_ns for p in talk.endpoint.asked.pending.values())  # type: ignore[union-attr]
    now_ns += after_ms * NS_PER_MS
    assert talk.asker.awaits(now_ns) is bool(withdrawn)
    talk.asker.leave(talk.endpoint, now_ns)
    talk.asker.close(talk.endpoint)
    talk.endpoint.settle()
    abandoned = {"abandoned": 3 - withdrawn}
    assert talk.counters == {"due": 3, "sent": 3} | abandoned | ({"withdrawn": 1} if withdrawn else {})


def test_answers_are_waited_for_no_longer_than_that() -> None:
    talk = Talk(MEASURE)
    talk.answering = False
    talk.endpoint.settings.timers = msgspec.structs.replace(
        talk.endpoint.settings.timers, response_timeout=Duration(1 << 60)
    )
    talk.run_until(2500 * NS_PER_MS)
    talk.asker.stop(talk.now_ns)
    assert talk.asker.awaits(talk.now_ns + LONGEST_WAIT_NS - 1)
    assert not talk.asker.awaits(talk.now_ns + LONGEST_WAIT_NS)


def test_what_had_to_be_sent_again_is_not_waited_for() -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(5 * NS_PER_S)
    assert talk.counters == {"due": 1, "sent": 1, "retransmitted": 1}
    talk.asker.stop(talk.now_ns)
    assert not talk.asker.awaits(talk.now_ns)


def test_what_is_answered_after_our_goodbye_was_answered() -> None:
    """Nothing is sent again then; what has no answer until the end is abandoned."""
    talk = Talk(MEASURE)
    talk.answering = False
    talk.run_until(1500 * NS_PER_MS)
    talk.asker.close(talk.endpoint)
    del talk.kept[1:]
    talk.deliver()
    talk.run_until(60 * NS_PER_S)
    talk.endpoint.settle()
    assert talk.counters == {"due": 10, "sent": 2, "answered": 1, "abandoned": 1, "dropped": 8}


# -- held up -----------------------------------------------------------------------------------------------------------


def test_what_waits_for_the_peer_is_late_and_then_dropped_and_no_fault_of_ours() -> None:
    talk = Talk(MEASURE)
    talk.blocked = True
    talk.run_until(4500 * NS_PER_MS)
    # Due at 0, 1, 2, 3, 4 s; what is older than 2 s is gone.
    assert talk.counters == {"due": 5, "dropped": 3}
    talk.blocked = False
    talk.asker.is_owed(talk.endpoint)
    talk.run_until(4600 * NS_PER_MS)
    assert talk.counters == {"due": 5, "dropped": 3, "sent": 2, "answered": 2}
    assert talk.recorder.counters["generator.shortfall"] == 0
    assert histogram_values(talk.recorder, "generator.lag")[0] == 0
    assert histogram_values(talk.recorder, "request.measurement.lag")[0] == 2
    talk.run_until(20 * NS_PER_S)
    assert talk.counters == {"due": 10, "dropped": 3, "sent": 7, "answered": 7}
    assert histogram_values(talk.recorder, "generator.lag")[0] == 5  # caught up: lateness is ours again


def test_a_generator_that_stood_still_gives_up_by_itself() -> None:
    talk = Talk(MEASURE)
    talk.now_ns = 5500 * NS_PER_MS
    talk.step()
    assert talk.counters == {"due": 6, "dropped": 4, "sent": 2, "answered": 2}
    assert talk.recorder.counters["generator.shortfall"] == 4


def test_so_many_are_under_way_and_no_more() -> None:
    talk = Talk(PlannedRequest("measurement", 1000.0, (0,), "known"), duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(500 * NS_PER_MS)
    assert len(talk.asked) == MOST_OUTSTANDING
    talk.answering = True
    talk.deliver()
    talk.run_until(20 * NS_PER_S)
    assert talk.counters == {"due": 1000, "sent": 1000, "answered": 1000}
    assert talk.endpoint.asked is not None
    assert not talk.endpoint.asked.pending


def count_to(talk: Talk, last: int) -> None:
    """The session goes on asking, of which the WLC hears nothing, until this was its last transaction."""
    request = m.CapabilityRequest()
    assert any(talk.endpoint.ask(request) == last for _ in range(1 << 16))
    talk.endpoint.outbox.clear()


def test_transactions_that_come_round_leave_out_what_is_under_way() -> None:
    talk = Talk(PlannedRequest("capability", 2.0), duration_ns=10 * NS_PER_S)
    talk.answering = False
    talk.run_until(100 * NS_PER_MS)
    ((_, first),) = talk.asked
    assert first > 2
    count_to(talk, 0xFFFF)
    talk.run_until(600 * NS_PER_MS)
    assert talk.asked[-1][1] == 1  # 0 is of what nobody asked for
    count_to(talk, first - 1)
    talk.run_until(1100 * NS_PER_MS)
    assert [transaction for _, transaction in talk.asked] == [first, 1, first + 1]


# -- answers that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_by", [-1, 1, 1000])
def test_an_answer_with_another_transaction(off_by: int) -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(1)
    ((_, transaction),) = talk.asked
    talk.hear(m.MeasurementResponse(0, 0, MACS[0], ()), transaction + off_by)
    assert talk.counters == {"due": 1, "sent": 1, "unmatched": 1}
    talk.deliver()
    assert talk.counters == {"due": 1, "sent": 1, "unmatched": 1, "answered": 1}


@pytest.mark.parametrize(
    "answer",
    [
        m.OnDemandResponse(0, 0, MACS[0], ()),
        m.SubscribeResponse(1, 0),
        m.UnsubscribeResponse(0, 0),
        m.Capability(1),
        m.MeasurementResponse(0, 1, MACS[0], ()),
        m.MeasurementResponse(0, 0, MACS[1], ()),
        m.MeasurementResponse(0, 0, NO_MAC, ()),
        m.WipsConfigResponse(0, 7),
        m.RogueStatisticsResponse(0, 15, MACS[0], ()),
    ],
)
def test_what_is_not_about_what_was_asked_is_no_answer(answer: Message) -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(1)
    ((_, transaction),) = talk.asked
    talk.hear(answer, transaction)
    assert talk.mse.fault is None
    assert talk.counters == {"due": 1, "sent": 1, "unmatched": 1}
    assert talk.endpoint.granted == WANTED


_RESPONSE_TO = {
    "information": {
        Subservice.INFO_MS: m.ClientInfoResponse,
        Subservice.INFO_HS: m.ClientInfoResponse,
        Subservice.INFO_RFID: m.TagInfoResponse,
        Subservice.INFO_ROGUE: m.RogueInfoResponse,
    },
    "statistics": {
        Subservice.STATS_MS: m.ClientStatisticsResponse,
        Subservice.STATS_RFID: m.TagStatisticsResponse,
        Subservice.STATS_ROGUE: m.RogueStatisticsResponse,
    },
}


@pytest.mark.parametrize(
    ("name", "subservice"), [(name, each) for name, responses in _RESPONSE_TO.items() for each in responses]
)
def test_which_response_answers_follows_from_the_subservice(name: str, subservice: Subservice) -> None:
    """Those of other classes have the right number, device and subservice, and answer nothing; nor do they later."""
    talk = Talk(PlannedRequest(name, 1.0, (subservice,), "known"), duration_ns=NS_PER_S, wants=(1 << 23) - 1)
    talk.answering = False
    talk.run_until(1)
    ((_, transaction),) = talk.asked
    right = _RESPONSE_TO[name][subservice]
    wrong = {response for responses in _RESPONSE_TO.values() for response in responses.values()} - {right}
    for response in wrong:
        talk.hear(response(0, subservice, MACS[0], ()), transaction)
    assert talk.counters == {"due": 1, "sent": 1, "unmatched": 5}
    talk.hear(right(0, subservice, MACS[0], ()), transaction)
    assert talk.counters == {"due": 1, "sent": 1, "unmatched": 5, "answered": 1, "in_part": 1}  # it has no records
    assert histogram_values(talk.recorder, f"request.{name}.latency")[0] == 1


@pytest.mark.parametrize(
    "answer",
    [
        m.TagStatisticsResponse(0, Subservice.STATS_MS, MACS[0], ()),
        m.ClientStatisticsResponse(0, Subservice.STATS_MS, MACS[1], ()),
        m.SubscribeResponse(0, 0),
        m.Capability(1),
    ],
)
def test_what_is_not_about_what_was_given_up_is_no_late_answer(answer: Message) -> None:
    talk = Talk(PlannedRequest("statistics", 1.0, (Subservice.STATS_MS,), "known"), duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(60 * NS_PER_S)
    talk.hear(answer, talk.asked[0][1])
    assert (talk.counters["timed_out"], talk.counters["unmatched"]) == (1, 1)
    assert "late" not in talk.counters
    assert talk.endpoint.granted == WANTED
    talk.deliver()
    assert talk.counters["late"] == 1


_RECORDS = {
    m.ClientInfoResponse: r.ClientInfo,
    m.TagInfoResponse: r.TagInfo,
    m.RogueInfoResponse: r.RogueInfo,
    m.ClientStatisticsResponse: r.ClientStatistics,
    m.TagStatisticsResponse: r.TagStatistics,
    m.RogueStatisticsResponse: r.RogueStatistics,
}


@pytest.mark.parametrize("device", ["any", "known"])
@pytest.mark.parametrize(
    ("name", "subservice"),
    [(name, each) for name in ("information", "statistics") for each in _RESPONSE_TO[name]],
)
def test_an_answer_whose_records_are_of_another_device_than_it_says_is_none(
    name: str, subservice: Subservice, device: str
) -> None:
    """Also where any device may be the answer: which one it is, has to be one thing."""
    talk = Talk(PlannedRequest(name, 1.0, (subservice,), device), duration_ns=NS_PER_S, wants=(1 << 23) - 1)
    talk.answering = False
    talk.run_until(1)
    ((_, transaction),) = talk.asked
    response = _RESPONSE_TO[name][subservice]
    record = _RECORDS[response]
    talk.hear(response(0, subservice, MACS[0], (record(MACS[0]), record(MACS[1]))), transaction)
    assert talk.counters == {"due": 1, "sent": 1, "unmatched": 1}
    talk.hear(response(0, subservice, MACS[0], (record(MACS[0]),)), transaction)
    assert talk.counters == {"due": 1, "sent": 1, "unmatched": 1, "answered": 1}


def test_an_answer_about_any_device_may_have_records_of_any() -> None:
    request = PlannedRequest("information", 1.0, (Subservice.INFO_MS,), "any")
    talk = Talk(request, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(1)
    ((_, transaction),) = talk.asked
    records = (ClientInfo(MACS[0]), ClientInfo(MACS[1]))
    talk.hear(m.ClientInfoResponse(0, Subservice.INFO_MS, NO_MAC, records), transaction)
    assert talk.counters == {"due": 1, "sent": 1, "answered": 1}


def test_responses_that_nobody_asked_for_change_nothing() -> None:
    talk = Talk()
    for message in (m.SubscribeResponse(0, 2), m.UnsubscribeResponse(0, 0), m.SubscribeResponse((1 << 64) - 1, 0)):
        talk.hear(message, 1)
    assert talk.mse.fault is None
    assert talk.endpoint.granted == WANTED
    assert talk.endpoint.outbox == []
    assert talk.counters == {"unmatched": 3}
    assert histogram_values(talk.recorder, "handshake.session")[0] == 1


def test_an_endpoint_that_asks_nothing_counts_them_too() -> None:
    pair = Pair()
    pair.settle()
    pair.mse.hear(m.MeasurementResponse(0, 0, NO_MAC, ()), 0, 3)
    pair.mse.hear(m.Capability(1), 0, 0)
    assert pair.mse.fault is None
    assert pair.mse.said() == []  # a capability is no reason to subscribe again
    assert pair.mse.recorder.counters["requests.unmatched"] == 2


def test_a_refusal_is_an_answer_but_has_no_latency() -> None:
    talk = Talk(MEASURE, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(1)
    ((_, transaction),) = talk.asked
    talk.hear(m.MeasurementResponse(ResponseStatus.NOT_SUBSCRIBED, 0, MACS[0], ()), transaction)
    assert talk.counters == {"due": 1, "sent": 1, "answered": 1, "refused": 1}
    assert histogram_values(talk.recorder, "request.measurement.latency")[0] == 0


_DEVICE = (ResponseStatus.OK, 0, MACS[0])


@pytest.mark.parametrize(
    ("name", "answer", "in_part"),
    [
        ("measurement", m.MeasurementResponse(*_DEVICE, ()), 1),
        ("on_demand", m.OnDemandResponse(ResponseStatus.OK, Subservice.ON_DEMAND, MACS[0], ()), 1),
        ("subscribe", m.SubscribeResponse(WANTED, ResponseStatus.OK), 0),
        ("subscribe", m.SubscribeResponse(WANTED & ~1, ResponseStatus.OK), 1),
        ("subscribe_groups", m.SubscribeResponse(WANTED & ~1, ResponseStatus.OK), 1),
        ("unsubscribe", m.UnsubscribeResponse(WANTED & ~1, ResponseStatus.OK), 0),
        ("unsubscribe", m.UnsubscribeResponse(WANTED, ResponseStatus.OK), 1),
        ("wips_config", m.WipsConfigResponse(ResponseStatus.OK, 3), 0),
        ("wips_config", m.WipsConfigResponse(ResponseStatus.OK, 2), 1),
    ],
)
def test_an_answer_that_gives_less_than_was_asked_for_is_counted(name: str, answer: Message, in_part: int) -> None:
    device = "known" if name in ("measurement", "on_demand") else ""
    service = 0 if name != "on_demand" else Subservice.ON_DEMAND
    asked = PlannedRequest(name, 1.0, (service,), device, groups=("lobby",), signatures=3)
    talk = Talk(asked, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(1)
    ((_, transaction),) = talk.asked
    talk.hear(answer, transaction)
    assert talk.counters == {"due": 1, "sent": 1, "answered": 1} | ({"in_part": 1} if in_part else {})


def test_an_echo_is_answered_while_requests_are_under_way() -> None:
    talk = Talk(MEASURE)
    talk.answering = False
    talk.mse.tick(15 * NS_PER_S)  # an echo request; then requests take transactions of their own
    talk.now_ns = 15 * NS_PER_S
    talk.step()
    talk.deliver()
    assert talk.recorder.counters["echo.unmatched"] == 0
    assert histogram_values(talk.recorder, "echo.latency")[0] == 1


# -- subscriptions -----------------------------------------------------------------------------------------------------


def test_an_mse_goes_by_what_the_response_grants() -> None:
    leave = PlannedRequest("unsubscribe", 1.0, (9, 13))
    talk = Talk(leave, duration_ns=NS_PER_S)
    talk.run_until(1)
    left = WANTED & ~(1 << 9 | 1 << 13)
    assert talk.endpoint.granted == talk.wlc.endpoint.granted == left
    again = Talk(PlannedRequest("subscribe", 1.0, (9, 0)), duration_ns=NS_PER_S, wants=1)
    again.run_until(1)
    assert again.endpoint.granted == again.wlc.endpoint.granted == 1 << 9 | 1


def test_more_than_was_ever_asked_for_is_a_fault() -> None:
    talk = Talk(PlannedRequest("subscribe", 1.0, (9,)), wants=1, duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(1)
    ((_, transaction),) = talk.asked
    talk.hear(m.SubscribeResponse(1 << 9 | 1 << 3 | 1, 0), transaction)
    assert talk.mse.fault is not None
    assert talk.mse.fault.kind == "granted_too_much"


def test_a_late_answer_still_tells_what_is_granted() -> None:
    talk = Talk(PlannedRequest("unsubscribe", 1.0, (9,)), duration_ns=NS_PER_S)
    talk.answering = False
    talk.run_until(60 * NS_PER_S)
    assert talk.counters["timed_out"] == 1
    assert talk.endpoint.granted == WANTED
    talk.deliver()
    assert talk.endpoint.granted == WANTED & ~(1 << 9)


# -- what is told beside measurements ----------------------------------------------------------------------------------


def notice(sequence: int, subservice: int = Subservice.INFO_MS, due_ns: int = 1000, sent_ns: int = 3000) -> Message:
    return m.ClientInfoNotify(
        sequence=sequence, due_ns=due_ns, sent_ns=sent_ns, subservice=subservice, records=(ClientInfo(MACS[0]),)
    )


@pytest.mark.parametrize(("ours", "what", "slot"), [(True, "received", 0), (False, "came", 2)])
def test_how_long_a_notice_waited_goes_by_when_it_came_where_the_schedule_is_theirs(
    ours: bool, what: str, slot: int
) -> None:
    recorder = Recorder("before")
    recorder.stages.add(["hold"], [0])
    talk = Talk()
    message = notice(0)
    assert isinstance(message, m.ServiceNotify)
    Notices(recorder, 0, our_schedule=ours).take(talk.endpoint, message, 2 << FINEST)
    waits = recorder.take(0).waits
    assert list(waits) == [f"hold/{what}"]
    assert waits[f"hold/{what}"].counts[slot] == 1
    assert waits[f"hold/{what}"].sums[slot] == (2 << FINEST) - 1000


def hear_notices(talk: Talk, numbers: Sequence[int]) -> None:
    for number in numbers:
        talk.mse.hear(notice(number), 5000)


def test_notices_are_notifications_with_numbers_of_their_own() -> None:
    talk = Talk()
    hear_notices(talk, [0, 1, 2])
    counters = talk.recorder.counters
    assert counters["notify.received"] == counters["service.info_ms.received"] == 3
    assert counters["notify.lost"] == counters["errors.stream.not_subscribed"] == 0
    for metric, value in (("notify.latency", 4000), ("service.info_ms.latency", 4000), ("notify.service", 2000)):
        count, low, high = histogram_values(talk.recorder, metric)
        assert count == 3
        assert low <= value <= high
    hear_notices(talk, [4, 3, 3, 8])
    assert counters["notify.lost"] == 3
    assert counters["notify.reordered"] == counters["notify.duplicated"] == 1
    # What came before has no figure but its count.
    assert counters["notify.received"] == 7
    assert counters["service.info_ms.received"] == 6
    for metric in ("notify.latency", "notify.service", "service.info_ms.latency"):
        assert histogram_values(talk.recorder, metric)[0] == 3  # of those after the first three, which were taken


def test_numbers_of_notices_that_begin_again_are_no_duplicates() -> None:
    talk = Talk()
    for place, number in enumerate((0, 1, 2, 3, 0, 2, 3)):
        talk.mse.hear(notice(number, due_ns=1000 + place), 5000)
    counters = talk.recorder.counters
    assert (counters["notify.lost"], counters["notify.duplicated"]) == (1, 0)
    assert counters["errors.stream.sequence_restart"] == 1
    assert counters["service.info_ms.received"] == 7
    for metric in ("notify.latency", "notify.service", "service.info_ms.latency"):
        assert histogram_values(talk.recorder, metric)[0] == 7


def test_a_notice_of_what_was_not_granted_is_counted_and_that_is_all() -> None:
    talk = Talk()
    talk.mse.hear(notice(0, Subservice.ATTACH), 5000)
    talk.mse.hear(notice(1, 255), 5000)
    assert talk.mse.fault is None
    assert talk.recorder.counters["errors.stream.not_subscribed"] == 2
    assert talk.recorder.counters["notify.received"] == 2
    assert "service.attach.received" not in talk.recorder.counters
    for metric in ("notify.latency", "notify.service", "service.attach.latency"):
        assert histogram_values(talk.recorder, metric)[0] == 0


def test_a_notice_of_another_class_is_not_what_was_granted() -> None:
    talk = Talk(wants=(1 << 23) - 1)
    talk.mse.hear(
        m.TagInfoNotify(sequence=0, due_ns=1000, sent_ns=3000, subservice=Subservice.INFO_RFID, records=()), 5000
    )
    assert talk.recorder.counters["errors.stream.not_subscribed"] == 0
    talk.mse.hear(
        m.TagInfoNotify(sequence=1, due_ns=1000, sent_ns=3000, subservice=Subservice.INFO_MS, records=()), 5000
    )
    talk.mse.hear(notice(2, Subservice.RSSI_MS), 5000)
    assert talk.mse.fault is None
    assert talk.recorder.counters["errors.stream.not_subscribed"] == 2


@pytest.mark.parametrize("ours", [True, False])
def test_notices_that_a_wlc_still_held_when_we_left_are_no_loss(ours: bool) -> None:
    talk = Talk()
    for number in (1, 0, 3):
        talk.mse.hear(notice(number), 5000)
    assert talk.recorder.counters["notify.lost"] == 1
    if ours:
        talk.endpoint.left_ns = 6000
    talk.endpoint.settle()
    assert (talk.recorder.counters["notify.withdrawn"], talk.recorder.counters["notify.lost"]) == (ours, not ours)


def test_a_notice_of_absurd_times_and_numbers_is_only_counted() -> None:
    talk = Talk()
    most = (1 << 64) - 1
    talk.mse.hear(notice(most, due_ns=most, sent_ns=most), 5000)
    talk.mse.hear(notice(0, due_ns=0, sent_ns=most), 5000)
    assert talk.mse.fault is None
    interval = talk.recorder.take(0)
    assert interval.counters["errors.stream.sequence_jump"] == 1
    assert interval.counters["clock.clamped"] == 4  # two latencies, two services; nobody is paid for the future
    assert interval.counters["notify.received"] == 2


def test_every_answer_and_request_survives_the_wire() -> None:
    """What a WLC says to every kind, encoded and decoded again, is what it said."""
    talk = Talk(wants=(1 << 23) - 1)
    asked: list[Message] = [
        m.CapabilityRequest(),
        m.SubscribeRequest(1),
        m.SubscribeGroupsRequest(1, (ApGroup("group-1"),)),
        m.UnsubscribeRequest(2),
        m.WipsConfigRequest((WipsSignature(1),)),
        *(m.MeasurementRequest(service, NO_MAC) for service in range(6)),
        *(m.InformationRequest(service, NO_MAC) for service in range(9, 13)),
        *(m.StatisticsRequest(service, NO_MAC) for service in range(13, 16)),
        m.OnDemandRequest(21, NO_MAC),
    ]
    for number, message in enumerate(asked):
        talk.wlc.feed(CODEC.encode(message, number + 1), 0)
    assert [transaction for _, transaction in talk.wlc.said()] == list(range(1, len(asked) + 1))
