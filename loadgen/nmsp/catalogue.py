"""Every message: who sends it, what answers it, which subservices it belongs to. docs/protocol.md has it in words."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from loadgen.nmsp import messages as m
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.services import Subservice


class Entry(NamedTuple):
    """What is known of a kind without looking at bytes.

    Attributes:
        message: its Struct.
        sender: who may send it.
        answers: the requests that it is the response to.
        subservices: what must be granted before it is sent; empty for what belongs to none.
    """

    message: type[msgspec.Struct]
    sender: Role
    answers: tuple[Kind, ...] = ()
    subservices: tuple[Subservice, ...] = ()


_WLC, _MSE = Role.WLC, Role.MSE
_MEASURED = (
    Subservice.RSSI_MS,
    Subservice.RSSI_MS_ASSOCIATED_ONLY,
    Subservice.RSSI_RFID,
    Subservice.RSSI_ROGUE,
    Subservice.RSSI_INTERFERER,
    Subservice.RSSI_HS,
)
_CLIENT_INFO = (Subservice.INFO_MS, Subservice.INFO_HS)

CATALOGUE: dict[Kind, Entry] = {
    Kind.VERSION_REQUEST: Entry(m.VersionRequest, _MSE),
    Kind.VERSION_RESPONSE: Entry(m.VersionResponse, _WLC, answers=(Kind.VERSION_REQUEST,)),
    Kind.CAPABILITY: Entry(m.Capability, _WLC, answers=(Kind.CAPABILITY_REQUEST,)),
    Kind.SUBSCRIBE_REQUEST: Entry(m.SubscribeRequest, _MSE),
    Kind.SUBSCRIBE_RESPONSE: Entry(
        m.SubscribeResponse, _WLC, answers=(Kind.SUBSCRIBE_REQUEST, Kind.SUBSCRIBE_GROUPS_REQUEST)
    ),
    Kind.ECHO_REQUEST: Entry(m.EchoRequest, _MSE),
    Kind.ECHO_RESPONSE: Entry(m.EchoResponse, _WLC, answers=(Kind.ECHO_REQUEST,)),
    Kind.MEASUREMENT_NOTIFY: Entry(m.MeasurementNotify, _WLC, subservices=_MEASURED),
    Kind.CAPABILITY_REQUEST: Entry(m.CapabilityRequest, _MSE),
    Kind.SUBSCRIBE_GROUPS_REQUEST: Entry(m.SubscribeGroupsRequest, _MSE),
    Kind.UNSUBSCRIBE_REQUEST: Entry(m.UnsubscribeRequest, _MSE),
    Kind.UNSUBSCRIBE_RESPONSE: Entry(m.UnsubscribeResponse, _WLC, answers=(Kind.UNSUBSCRIBE_REQUEST,)),
    Kind.MEASUREMENT_REQUEST: Entry(m.MeasurementRequest, _MSE, subservices=_MEASURED),
    Kind.MEASUREMENT_RESPONSE: Entry(
        m.MeasurementResponse, _WLC, answers=(Kind.MEASUREMENT_REQUEST,), subservices=_MEASURED
    ),
    Kind.INFORMATION_REQUEST: Entry(
        m.InformationRequest, _MSE, subservices=(*_CLIENT_INFO, Subservice.INFO_RFID, Subservice.INFO_ROGUE)
    ),
    Kind.CLIENT_INFO_RESPONSE: Entry(
        m.ClientInfoResponse, _WLC, answers=(Kind.INFORMATION_REQUEST,), subservices=_CLIENT_INFO
    ),
    Kind.TAG_INFO_RESPONSE: Entry(
        m.TagInfoResponse, _WLC, answers=(Kind.INFORMATION_REQUEST,), subservices=(Subservice.INFO_RFID,)
    ),
    Kind.ROGUE_INFO_RESPONSE: Entry(
        m.RogueInfoResponse, _WLC, answers=(Kind.INFORMATION_REQUEST,), subservices=(Subservice.INFO_ROGUE,)
    ),
    Kind.STATISTICS_REQUEST: Entry(
        m.StatisticsRequest, _MSE, subservices=(Subservice.STATS_MS, Subservice.STATS_RFID, Subservice.STATS_ROGUE)
    ),
    Kind.CLIENT_STATISTICS_RESPONSE: Entry(
        m.ClientStatisticsResponse, _WLC, answers=(Kind.STATISTICS_REQUEST,), subservices=(Subservice.STATS_MS,)
    ),
    Kind.TAG_STATISTICS_RESPONSE: Entry(
        m.TagStatisticsResponse, _WLC, answers=(Kind.STATISTICS_REQUEST,), subservices=(Subservice.STATS_RFID,)
    ),
    Kind.ROGUE_STATISTICS_RESPONSE: Entry(
        m.RogueStatisticsResponse, _WLC, answers=(Kind.STATISTICS_REQUEST,), subservices=(Subservice.STATS_ROGUE,)
    ),
    Kind.ON_DEMAND_REQUEST: Entry(m.OnDemandRequest, _MSE, subservices=(Subservice.ON_DEMAND,)),
    Kind.ON_DEMAND_RESPONSE: Entry(
        m.OnDemandResponse, _WLC, answers=(Kind.ON_DEMAND_REQUEST,), subservices=(Subservice.ON_DEMAND,)
    ),
    Kind.WIPS_CONFIG_REQUEST: Entry(m.WipsConfigRequest, _MSE, subservices=(Subservice.WIPS,)),
    Kind.WIPS_CONFIG_RESPONSE: Entry(
        m.WipsConfigResponse, _WLC, answers=(Kind.WIPS_CONFIG_REQUEST,), subservices=(Subservice.WIPS,)
    ),
    Kind.CLIENT_INFO_NOTIFY: Entry(m.ClientInfoNotify, _WLC, subservices=_CLIENT_INFO),
    Kind.TAG_INFO_NOTIFY: Entry(m.TagInfoNotify, _WLC, subservices=(Subservice.INFO_RFID,)),
    Kind.ROGUE_INFO_NOTIFY: Entry(m.RogueInfoNotify, _WLC, subservices=(Subservice.INFO_ROGUE,)),
    Kind.CLIENT_STATISTICS_NOTIFY: Entry(m.ClientStatisticsNotify, _WLC, subservices=(Subservice.STATS_MS,)),
    Kind.TAG_STATISTICS_NOTIFY: Entry(m.TagStatisticsNotify, _WLC, subservices=(Subservice.STATS_RFID,)),
    Kind.ROGUE_STATISTICS_NOTIFY: Entry(m.RogueStatisticsNotify, _WLC, subservices=(Subservice.STATS_ROGUE,)),
    Kind.INTERFERER_NOTIFY: Entry(
        m.InterfererNotify, _WLC, subservices=(Subservice.SPECTRUM_INTERFERER, Subservice.SPECTRUM_AGGREGATE_INTERFERER)
    ),
    Kind.AIR_QUALITY_NOTIFY: Entry(m.AirQualityNotify, _WLC, subservices=(Subservice.SPECTRUM_AIR_QUALITY,)),
    Kind.ATTACHMENT_NOTIFY: Entry(m.AttachmentNotify, _WLC, subservices=(Subservice.ATTACH,)),
    Kind.LOCATION_NOTIFY: Entry(m.LocationNotify, _WLC, subservices=(Subservice.LOCATION,)),
    Kind.HANDOVER_NOTIFY: Entry(m.HandoverNotify, _WLC, subservices=(Subservice.FMCHS,)),
    Kind.AP_MONITOR_NOTIFY: Entry(m.ApMonitorNotify, _WLC, subservices=(Subservice.AP_MONITOR,)),
    Kind.AP_INFO_NOTIFY: Entry(m.ApInfoNotify, _WLC, subservices=(Subservice.AP_INFO,)),
    Kind.WIPS_ALARM_NOTIFY: Entry(m.WipsAlarmNotify, _WLC, subservices=(Subservice.WIPS,)),
}

KIND_OF: dict[type[msgspec.Struct], Kind] = {
    **{entry.message: kind for kind, entry in CATALOGUE.items()},
    m.StationsNotify: Kind.MEASUREMENT_NOTIFY,
    m.Unsupported: Kind.UNSUPPORTED,
}
# What comes in any number once a session is active.
REQUESTS = tuple(
    kind for kind, entry in CATALOGUE.items() if entry.sender is Role.MSE and kind is not Kind.VERSION_REQUEST
)
NOTIFICATIONS = tuple(kind for kind in CATALOGUE if kind.label.endswith("_notify"))


def class_of(kind: Kind) -> str:
    """What a message is to its receiver: "request", "response" or "notification"."""
    entry = CATALOGUE[kind]
    return "request" if entry.sender is Role.MSE else "response" if entry.answers else "notification"
