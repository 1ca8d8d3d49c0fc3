"""The messages of NMSP as values. Field names are the ones that a wire profile must place; a field with a default may
be missing from it.

`gc=False`: these hold only numbers, text and tuples of such, so no cycle is possible.

Annotations are evaluated here, once, for whoever reads documents: as text, each would be compiled at every start.
"""

from enum import IntEnum
from typing import TypeAlias

import msgspec

from loadgen.nmsp.records import (
    NO_MAC,
    AirQuality,
    ApGroup,
    ApInfo,
    ApMonitor,
    Attachment,
    ClientInfo,
    ClientStatistics,
    Handover,
    HeardStation,
    Interferer,
    Mac,
    Octets,
    PortLocation,
    Reading,
    RogueInfo,
    RogueStatistics,
    TagInfo,
    TagStatistics,
    Time,
    WipsAlarm,
    WipsSignature,
)

PROTOCOL_VERSION = 1


class Role(IntEnum):
    """Which side of the tunnel sends. The WLC is the TLS server, the MSE the TLS client."""

    WLC = 0
    MSE = 1


class Kind(IntEnum):
    """What a message is, independent of the number that a profile gives it on the wire."""

    VERSION_REQUEST = 0
    VERSION_RESPONSE = 1
    CAPABILITY = 2
    SUBSCRIBE_REQUEST = 3
    SUBSCRIBE_RESPONSE = 4
    ECHO_REQUEST = 5
    ECHO_RESPONSE = 6
    MEASUREMENT_NOTIFY = 7
    UNSUPPORTED = 8
    CAPABILITY_REQUEST = 9
    SUBSCRIBE_GROUPS_REQUEST = 10
    UNSUBSCRIBE_REQUEST = 11
    UNSUBSCRIBE_RESPONSE = 12
    MEASUREMENT_REQUEST = 13
    MEASUREMENT_RESPONSE = 14
    INFORMATION_REQUEST = 15
    CLIENT_INFO_RESPONSE = 16
    TAG_INFO_RESPONSE = 17
    ROGUE_INFO_RESPONSE = 18
    STATISTICS_REQUEST = 19
    CLIENT_STATISTICS_RESPONSE = 20
    TAG_STATISTICS_RESPONSE = 21
    ROGUE_STATISTICS_RESPONSE = 22
    ON_DEMAND_REQUEST = 23
    ON_DEMAND_RESPONSE = 24
    WIPS_CONFIG_REQUEST = 25
    WIPS_CONFIG_RESPONSE = 26
    CLIENT_INFO_NOTIFY = 27
    TAG_INFO_NOTIFY = 28
    ROGUE_INFO_NOTIFY = 29
    CLIENT_STATISTICS_NOTIFY = 30
    TAG_STATISTICS_NOTIFY = 31
    ROGUE_STATISTICS_NOTIFY = 32
    INTERFERER_NOTIFY = 33
    AIR_QUALITY_NOTIFY = 34
    ATTACHMENT_NOTIFY = 35
    LOCATION_NOTIFY = 36
    HANDOVER_NOTIFY = 37
    AP_MONITOR_NOTIFY = 38
    AP_INFO_NOTIFY = 39
    WIPS_ALARM_NOTIFY = 40

    @property
    def label(self) -> str:
        return self.name.lower()


class ResponseStatus(IntEnum):
    """Outcome of a request."""

    OK = 0
    UNSUPPORTED_VERSION = 1
    NOTHING_GRANTED = 2
    UNKNOWN_DEVICE = 3
    NOT_SUBSCRIBED = 4


# -- setting a session up ----------------------------------------------------------------------------------------------


class VersionRequest(msgspec.Struct, frozen=True, gc=False):
    """First message of a session, from the MSE: the versions it speaks."""

    lowest: int = PROTOCOL_VERSION
    highest: int = PROTOCOL_VERSION


class VersionResponse(msgspec.Struct, frozen=True, gc=False):
    """The version the WLC chose, or status UNSUPPORTED_VERSION."""

    version: int = PROTOCOL_VERSION
    status: int = ResponseStatus.OK


class Capability(msgspec.Struct, frozen=True, gc=False):
    """The subservices that the WLC offers, as a mask: once by itself, and whenever it is asked."""

    subservices: int


class CapabilityRequest(msgspec.Struct, frozen=True, gc=False):
    """Asks a running session's WLC what it offers."""


class SubscribeRequest(msgspec.Struct, frozen=True, gc=False):
    """The subservices that the MSE asks for, as a mask. In a running session: more of them."""

    subservices: int


class SubscribeGroupsRequest(msgspec.Struct, frozen=True, gc=False):
    """The same, for the access points of some groups only."""

    subservices: int
    groups: tuple[ApGroup, ...]


class SubscribeResponse(msgspec.Struct, frozen=True, gc=False):
    """The subservices granted (asked for and offered), as a mask."""

    subservices: int
    status: int = ResponseStatus.OK


class UnsubscribeRequest(msgspec.Struct, frozen=True, gc=False):
    """The subservices that the MSE no longer wants, as a mask."""

    subservices: int


class UnsubscribeResponse(msgspec.Struct, frozen=True, gc=False):
    """The subservices that are still granted, as a mask."""

    subservices: int
    status: int = ResponseStatus.OK


class EchoRequest(msgspec.Struct, frozen=True, gc=False):
    """Sign of life from the MSE; answered with the same transaction."""


class EchoResponse(msgspec.Struct, frozen=True, gc=False):
    """The WLC's answer to an echo request."""


# -- requests ----------------------------------------------------------------------------------------------------------


class DeviceRequest(msgspec.Struct, frozen=True, gc=False):
    """Asks about one device, under a subservice that says what it is; `NO_MAC` asks about any of the class."""

    subservice: int
    device_mac: Mac = NO_MAC


class MeasurementRequest(DeviceRequest, frozen=True, gc=False):
    """Who hears this device how loudly?"""


class InformationRequest(DeviceRequest, frozen=True, gc=False):
    """What is this device? Answered by the response of its class."""


class StatisticsRequest(DeviceRequest, frozen=True, gc=False):
    """What are this device's counters? Answered by the response of its class."""


class OnDemandRequest(DeviceRequest, frozen=True, gc=False):
    """Measure this device now."""


class DeviceResponse(msgspec.Struct, frozen=True, gc=False):
    """The answer to a request about devices: with status OK, a record of each."""

    status: int
    subservice: int
    device_mac: Mac


class MeasurementResponse(DeviceResponse, frozen=True, gc=False):
    readings: tuple[Reading, ...]


class OnDemandResponse(DeviceResponse, frozen=True, gc=False):
    readings: tuple[Reading, ...]


class ClientInfoResponse(DeviceResponse, frozen=True, gc=False):
    records: tuple[ClientInfo, ...]


class TagInfoResponse(DeviceResponse, frozen=True, gc=False):
    records: tuple[TagInfo, ...]


class RogueInfoResponse(DeviceResponse, frozen=True, gc=False):
    records: tuple[RogueInfo, ...]


class ClientStatisticsResponse(DeviceResponse, frozen=True, gc=False):
    records: tuple[ClientStatistics, ...]


class TagStatisticsResponse(DeviceResponse, frozen=True, gc=False):
    records: tuple[TagStatistics, ...]


class RogueStatisticsResponse(DeviceResponse, frozen=True, gc=False):
    records: tuple[RogueStatistics, ...]


class WipsConfigRequest(msgspec.Struct, frozen=True, gc=False):
    """The MSE pushes a wIPS configuration."""

    records: tuple[WipsSignature, ...]


class WipsConfigResponse(msgspec.Struct, frozen=True, gc=False):
    """Whether the WLC took it, and how many lines of it."""

    status: int
    signatures: int = 0


# -- notifications -----------------------------------------------------------------------------------------------------

# What is ours in them, in the order in which it is packed, patched and read.
STAMPS = ("sequence", "due_ns", "sent_ns")


class MeasurementNotify(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Which access points heard a device how loudly. Times are ns since the Unix epoch.

    `sequence`, `due_ns` and `sent_ns` are ours: no device has them, and a profile need not carry them. One without a
    subservice is about rssi-ms.
    """

    sequence: int = 0
    due_ns: int = 0
    sent_ns: int = 0
    station_mac: Mac
    subservice: int = 0
    readings: tuple[Reading, ...]
    time: Time = 0


class StationsNotify(msgspec.Struct, frozen=True, gc=False):
    """The same of several devices: a measurement notification of a profile whose records have records of their own."""

    stations: tuple[HeardStation, ...]
    sequence: int = 0
    due_ns: int = 0
    sent_ns: int = 0
    subservice: int = 0
    time: Time = 0


class ServiceNotify(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What all other notifications begin with. Their sequence numbers are those of one series in a session, apart from
    the measurement notifications' one. A profile need not carry what is ours, as above.
    """

    sequence: int = 0
    due_ns: int = 0
    sent_ns: int = 0
    subservice: int
    time: Time = 0


class ClientInfoNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[ClientInfo, ...]


class TagInfoNotify(ServiceNotify, frozen=True, gc=False):
    """One tag, and the payload that it sent with its last frames (CCX: up to 500 bytes)."""

    records: tuple[TagInfo, ...]
    payload: Octets = b""


class RogueInfoNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[RogueInfo, ...]


class ClientStatisticsNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[ClientStatistics, ...]


class TagStatisticsNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[TagStatistics, ...]


class RogueStatisticsNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[RogueStatistics, ...]


class InterfererNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[Interferer, ...]


class AirQualityNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[AirQuality, ...]


class AttachmentNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[Attachment, ...]


class LocationNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[PortLocation, ...]


class HandoverNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[Handover, ...]


class ApMonitorNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[ApMonitor, ...]


class ApInfoNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[ApInfo, ...]


class WipsAlarmNotify(ServiceNotify, frozen=True, gc=False):
    records: tuple[WipsAlarm, ...]


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """A message that the profile knows as bytes alone, by its name there."""

    name: str
    body: bytes


class Unsupported(msgspec.Struct, frozen=True, gc=False):
    """A message whose id the profile does not know. Counted; the link stays (YANG: unsupported-msg-count)."""

    msg_id: int


# Any of the above; `nmsp.catalogue` has them all.
Message: TypeAlias = msgspec.Struct
