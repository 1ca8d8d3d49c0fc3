"""The messages of NMSP as values. Field names are the ones that a wire profile must place.

`gc=False`: these hold only numbers, text and tuples of such, so no cycle is possible.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

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

    @property
    def label(self) -> str:
        return self.name.lower()


class Status(IntEnum):
    """Outcome of a version or subscription request."""

    OK = 0
    UNSUPPORTED_VERSION = 1
    NOTHING_GRANTED = 2


class VersionRequest(msgspec.Struct, frozen=True, gc=False):
    """First message of a session, from the MSE: the versions it speaks."""

    lowest: int
    highest: int


class VersionResponse(msgspec.Struct, frozen=True, gc=False):
    """The version the WLC chose, or status UNSUPPORTED_VERSION."""

    version: int
    status: int


class Capability(msgspec.Struct, frozen=True, gc=False):
    """The subservices that the WLC offers, as a mask."""

    subservices: int


class SubscribeRequest(msgspec.Struct, frozen=True, gc=False):
    """The subservices that the MSE asks for, as a mask."""

    subservices: int


class SubscribeResponse(msgspec.Struct, frozen=True, gc=False):
    """The subservices granted (asked for and offered), as a mask."""

    subservices: int
    status: int


class EchoRequest(msgspec.Struct, frozen=True, gc=False):
    """Sign of life from the MSE; answered with the same transaction."""


class EchoResponse(msgspec.Struct, frozen=True, gc=False):
    """The WLC's answer to an echo request."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """How one radio of one access point heard a station. RSSI in dBm, SNR in dB, age in seconds."""

    ap_mac: bytes
    slot: int
    band: int
    source: int
    rssi_a: int
    rssi_b: int
    snr: int
    age_s: int


class MeasurementNotify(msgspec.Struct, frozen=True, gc=False):
    """Which access points heard a station how loudly. Times are ns since the Unix epoch."""

    sequence: int
    due_ns: int
    sent_ns: int
    station_mac: bytes
    subservice: int
    readings: tuple[Reading, ...]


class Unsupported(msgspec.Struct, frozen=True, gc=False):
    """A message whose id the profile does not know. Counted; the link stays (YANG: unsupported-msg-count)."""

    msg_id: int


Message = (
    VersionRequest
    | VersionResponse
    | Capability
    | SubscribeRequest
    | SubscribeResponse
    | EchoRequest
    | EchoResponse
    | MeasurementNotify
    | Unsupported
)

KIND_OF: dict[type[msgspec.Struct], Kind] = {
    VersionRequest: Kind.VERSION_REQUEST,
    VersionResponse: Kind.VERSION_RESPONSE,
    Capability: Kind.CAPABILITY,
    SubscribeRequest: Kind.SUBSCRIBE_REQUEST,
    SubscribeResponse: Kind.SUBSCRIBE_RESPONSE,
    EchoRequest: Kind.ECHO_REQUEST,
    EchoResponse: Kind.ECHO_RESPONSE,
    MeasurementNotify: Kind.MEASUREMENT_NOTIFY,
    Unsupported: Kind.UNSUPPORTED,
}
