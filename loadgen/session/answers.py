"""What answers say of what was asked: whether they are about it, and whether they give it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadgen.nmsp import messages as m
from loadgen.nmsp import records as r
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.messages import Kind, Message
from loadgen.nmsp.records import NO_MAC

# The field that says which device a record is about.
_WHOSE: dict[type[msgspec.Struct], str] = {
    r.ClientInfo: "station_mac",
    r.TagInfo: "tag_mac",
    r.RogueInfo: "rogue_mac",
    r.ClientStatistics: "station_mac",
    r.TagStatistics: "tag_mac",
    r.RogueStatistics: "rogue_mac",
}


def is_about(asked: Message, kind: Kind, answer: Message) -> bool:
    """Of a response of the kind that follows from what was asked: it is about the same device and subservice."""
    if not isinstance(answer, m.DeviceResponse):
        return True
    assert isinstance(asked, m.DeviceRequest)
    if answer.subservice != asked.subservice or answer.subservice not in CATALOGUE[kind].subservices:
        return False
    return asked.device_mac in (NO_MAC, answer.device_mac) and _is_of_one_device(answer)


def _is_of_one_device(answer: m.DeviceResponse) -> bool:
    """Its records are about the device that it is about; one about any of the class may have any in it."""
    records: Sequence[msgspec.Struct] = getattr(answer, "records", ())  # readings are of access points
    return answer.device_mac == NO_MAC or all(
        getattr(record, _WHOSE[type(record)]) == answer.device_mac for record in records
    )


def gives_less(asked: Message, answer: Message) -> bool:
    """Whether an answer with the status OK says that not all was done, or has nothing in it."""
    match asked, answer:
        case m.SubscribeRequest(wanted) | m.SubscribeGroupsRequest(wanted), m.SubscribeResponse(granted):
            return bool(wanted & ~granted)
        case m.UnsubscribeRequest(unwanted), m.UnsubscribeResponse(granted):
            return bool(unwanted & granted)
        case m.WipsConfigRequest(lines), m.WipsConfigResponse(signatures=taken):
            return taken < len(lines)
        case m.DeviceRequest(), m.MeasurementResponse(readings=found) | m.OnDemandResponse(readings=found):
            return not found
        case m.DeviceRequest(), m.DeviceResponse():
            return not getattr(answer, "records", ())
    return False
