"""The transmit queues of a link: what goes first, what does not fit, and how it is numbered."""

from __future__ import annotations

import numpy as np
import pytest
from site_samples import PROFILE, measured, plan_of, site_of

from loadgen.nmsp.bulk import NotifyReceiver, Stations
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import ClientInfoNotify, MeasurementNotify, WipsAlarmNotify
from loadgen.nmsp.records import ClientInfo, WipsAlarm
from loadgen.nmsp.services import Subservice
from loadgen.session.transmit import Measurements, Notice, Priority, TransmitQueue

CODEC = Codec(PROFILE)


def stations_of(count: int, readings: int = 3) -> Stations:
    macs = np.zeros((count, 6), np.uint8)
    macs[:, 5] = np.arange(count)
    return Stations(
        macs, np.full(count, readings), np.zeros((count, readings), PROFILE.reading.dtype), Subservice.RSSI_MS
    )


def measurements(count: int, due_ns: int = 1000) -> Measurements:
    return Measurements(PROFILE, stations_of(count), due_ns)


def info(due_ns: int = 2000) -> Notice:
    return Notice(
        CODEC,
        ClientInfoNotify(
            sequence=0,
            due_ns=due_ns,
            sent_ns=0,
            subservice=Subservice.INFO_MS,
            records=(ClientInfo(b"\x02" + bytes(5)),),
        ),
    )


def alarm() -> Notice:
    return Notice(
        CODEC,
        WipsAlarmNotify(
            sequence=0, due_ns=3000, sent_ns=0, subservice=Subservice.WIPS, records=(WipsAlarm(b"\x02" + bytes(5)),)
        ),
    )


def drain(queue: TransmitQueue, sent_ns: int = 5000) -> list[tuple[str, int, int, int]]:
    """Everything that waits, as it is written: kind, sequence, due, sent."""
    out = []
    while queue.waiting:
        data = bytes(queue.take(sent_ns).data)
        if data.startswith(b"echo"):
            out.append(("echo", 0, 0, 0))
            continue
        while data:
            size = int.from_bytes(data[4:8], "big")
            message = CODEC.decode_untrusted(int.from_bytes(data[2:4], "big"), memoryview(data)[12:size])
            data = data[size:]
            assert isinstance(message, MeasurementNotify | ClientInfoNotify | WipsAlarmNotify)
            name = {MeasurementNotify: "measurement", ClientInfoNotify: "info", WipsAlarmNotify: "alarm"}[type(message)]
            out.append((name, message.sequence, message.due_ns, message.sent_ns))
    return out


def test_high_priority_goes_first_and_each_in_its_order() -> None:
    queue = TransmitQueue(10, 100)
    for item, priority in (
        (measurements(3), Priority.NORMAL),
        (info(), Priority.NORMAL),
        (alarm(), Priority.HIGH),
        (b"echo", Priority.HIGH),
        (measurements(2, 1500), Priority.NORMAL),
    ):
        assert queue.put(item, priority) == (1 if isinstance(item, bytes) else item.count)
    assert queue.depth == [2, 6]
    assert drain(queue) == [
        ("alarm", 0, 3000, 5000),
        ("echo", 0, 0, 0),
        *(("measurement", sequence, 1000, 5000) for sequence in range(3)),
        ("info", 1, 2000, 5000),
        *(("measurement", sequence, 1500, 5000) for sequence in range(3, 5)),
    ]
    assert queue.depth == [0, 0]
    assert queue.deepest == [2, 6]


def test_high_priority_overtakes_a_batch_that_is_under_way() -> None:
    queue = TransmitQueue(10, 1000)
    queue.put(measurements(300), Priority.NORMAL)  # more than one TLS record holds
    first = queue.take(1)
    assert 0 < first.notifications < 300
    queue.put(alarm(), Priority.HIGH)
    rest = drain(queue)
    assert rest[0][0] == "alarm"
    assert [sequence for _, sequence, _, _ in rest[1:]] == list(range(first.notifications, 300))


@pytest.mark.parametrize("priority", list(Priority))
def test_what_does_not_fit_is_dropped_and_counted(priority: Priority) -> None:
    queue = TransmitQueue(5, 5)
    assert [queue.put(info(), priority) for _ in range(8)] == [1] * 5 + [0] * 3
    assert queue.dropped[priority] == 3
    assert queue.dropped[1 - priority] == 0
    assert [sequence for _, sequence, _, _ in drain(queue)] == [0, 1, 2, 3, 4]
    assert queue.put(info(), priority) == 1


def test_of_a_batch_that_does_not_fit_the_first_are_sent() -> None:
    queue = TransmitQueue(5, 10)
    assert queue.put(measurements(7), Priority.NORMAL) == 7
    assert queue.put(measurements(7), Priority.NORMAL) == 3
    assert queue.put(measurements(7), Priority.NORMAL) == 0
    assert queue.dropped == [0, 11]
    assert [sequence for _, sequence, _, _ in drain(queue)] == list(range(10))  # no gap: what was dropped has no number


def test_a_batch_is_shared_and_each_link_numbers_it_for_itself() -> None:
    batch, notice = measurements(4), info()
    ahead, behind = TransmitQueue(5, 50), TransmitQueue(5, 50)
    ahead.put(measurements(6), Priority.NORMAL)
    for queue in (ahead, behind):
        queue.put(batch, Priority.NORMAL)
        queue.put(notice, Priority.NORMAL)
    assert [sequence for _, sequence, _, _ in drain(ahead, 7)] == [*range(10), 0]
    assert drain(behind, 9) == [*(("measurement", sequence, 1000, 9) for sequence in range(4)), ("info", 0, 2000, 9)]


def test_giving_up_counts_notifications_and_no_answers() -> None:
    queue = TransmitQueue(5, 1000)
    queue.put(measurements(300), Priority.NORMAL)
    taken = queue.take(1).notifications
    queue.put(alarm(), Priority.HIGH)
    queue.put(b"echo", Priority.HIGH)
    assert queue.clear() == 300 - taken + 1
    assert not queue.waiting
    assert queue.depth == [0, 0]


def test_what_a_site_finds_survives_the_queue() -> None:
    plan = plan_of(stations=300)
    _, found = max(measured(site_of(plan), 0, 20), key=lambda each: len(each[1].stations.counts))
    queue = TransmitQueue(5, 1000)
    queue.put(Measurements(PROFILE, found.stations, 1), Priority.NORMAL)
    data = b""
    while queue.waiting:
        data += queue.take(2).data
    receiver = NotifyReceiver(PROFILE, len(data))
    receiver.view[:] = data
    assert receiver.scan_untrusted(0, len(data)).notifications == len(found.stations.counts) > 5
    assert receiver.columns().sequence.tolist() == list(range(len(found.stations.counts)))


def test_what_nobody_subscribes_to_any_more_is_forgotten() -> None:
    queue = TransmitQueue(10, 100)
    for item, priority in (
        (measurements(5), Priority.NORMAL),
        (info(), Priority.NORMAL),
        (measurements(3), Priority.NORMAL),
        (b"echo", Priority.HIGH),
        (alarm(), Priority.HIGH),
    ):
        queue.put(item, priority)
    kept = 1 << Subservice.INFO_MS
    assert queue.forget(kept | 1 << Subservice.RSSI_MS | 1 << Subservice.WIPS) == 0
    assert queue.depth == [2, 9]
    assert queue.forget(kept) == 8 + 1
    assert queue.depth == [1, 1]
    assert [name for name, *_ in drain(queue)] == ["echo", "info"]
    assert queue.depth == [0, 0]


def test_of_a_batch_that_is_under_way_the_rest_is_forgotten() -> None:
    most = CODEC.profile.notify_bytes(3)
    queue = TransmitQueue(10, 2000)
    queue.put(measurements(1000), Priority.NORMAL)
    taken = queue.take(1).notifications
    assert 0 < taken <= 16384 // most
    queue.put(info(), Priority.NORMAL)
    assert queue.forget(1 << Subservice.INFO_MS) == 1000 - taken
    assert queue.depth == [0, 1]
    queue.put(measurements(2), Priority.NORMAL)
    assert [(name, sequence) for name, sequence, *_ in drain(queue)] == [
        ("info", 0),
        ("measurement", taken),
        ("measurement", taken + 1),
    ]
