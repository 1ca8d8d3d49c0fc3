"""What NMSP tells about a device: one record for each kind of device and of telling.

That a controller knows these fields is public (its YANG models and MIBs, named at each record); that its NMSP record
carries this set is inferred, and how it looks on the wire is the profile's business. A field with a default may be
missing from a profile; it is then not sent, and has the default when received.

RSSI and power are in dBm, SNR in dB, ages and times of day in seconds, duty cycles in percent. Text is UTF-8.
`gc=False`: these hold only numbers, text and bytes, so no cycle is possible.

Annotations are evaluated here, once, for whoever reads documents: as text, each would be compiled at every start.
"""

from typing import Annotated, TypeAlias

import msgspec

# What a wire profile may call the type of such a field; the others are integers and text.
Mac: TypeAlias = Annotated[bytes, "mac"]
Octets: TypeAlias = Annotated[bytes, "bytes"]
Time: TypeAlias = Annotated[int, "time"]  # ns since 1970, or since the session began

NO_MAC = bytes(6)
NO_ADDRESS = bytes(16)  # addresses are 16 bytes, IPv4 mapped into IPv6 (RFC 4291 2.5.5.2)


def mac_bytes(text: str) -> Mac:
    """A MAC address as it is written, "02:00:00:00:00:01", as bytes."""
    return bytes.fromhex(text.replace(":", ""))


class Reading(msgspec.Struct, frozen=True, gc=False):
    """How one radio of one access point heard a device. Source: Cisco-IOS-XE-wireless-location-oper."""

    ap_mac: Mac
    slot: int = 0
    band: int = 0
    source: int = 0
    rssi_a: int = 0
    rssi_b: int = 0
    snr: int = 0
    age_s: int = 0


class HeardStation(msgspec.Struct, frozen=True, gc=False):
    """One of several stations in a notification, and which radios heard it."""

    station_mac: Mac
    readings: tuple[Reading, ...]


class ClientInfo(msgspec.Struct, frozen=True, gc=False):
    """Who a mobile station is, and how it is associated. Source: AIRESPACE-WIRELESS-MIB bsnMobileStation*."""

    station_mac: Mac
    ap_mac: Mac = NO_MAC
    slot: int = 0
    wlan: int = 0
    status: int = 0
    protocol: int = 0
    vlan: int = 0
    address: Octets = NO_ADDRESS
    user_name: str = ""
    ssid: str = ""


class TagInfo(msgspec.Struct, frozen=True, gc=False):
    """What an RFID tag says of itself. Source: Cisco-IOS-XE-wireless-rfid-oper, AIRESPACE-WIRELESS-MIB bsnTagTable.

    battery: 0 unknown, 1 low, 2 normal, 3 medium. vendor: 0 G2, 1 AeroScout, 2 unknown, 3 Ekahau, 4 Cadi Scientific.
    """

    tag_mac: Mac
    tag_type: int = 0
    vendor: int = 2
    battery: int = 0
    interval_s: int = 0
    sequence_number: int = 0
    channel: int = 0
    tx_power: int = 0


class RogueInfo(msgspec.Struct, frozen=True, gc=False):
    """A rogue access point, or a client of one. Source: Cisco-IOS-XE-wireless-rogue-oper.

    is_client: 0 an access point, 1 a client, whose `bssid` is the rogue access point's.
    """

    rogue_mac: Mac
    is_client: int = 0
    bssid: Mac = NO_MAC
    classification: int = 0
    state: int = 0
    containment: int = 0
    channel: int = 0
    encrypted: int = 0
    rssi: int = 0
    snr: int = 0
    detecting_aps: int = 0
    first_seen_s: int = 0
    last_seen_s: int = 0
    ssid: str = ""


class ClientStatistics(msgspec.Struct, frozen=True, gc=False):
    """A mobile station's counters. Source: AIRESPACE-WIRELESS-MIB bsnMobileStationStats*, ...ExtStats*."""

    station_mac: Mac
    bytes_received: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    packets_sent: int = 0
    policy_errors: int = 0
    tx_retries: int = 0
    tx_excessive_retries: int = 0
    rssi: int = 0
    snr: int = 0


class TagStatistics(msgspec.Struct, frozen=True, gc=False):
    """An RFID tag's counters. Source: AIRESPACE-WIRELESS-MIB bsnTagStats*."""

    tag_mac: Mac
    bytes_received: int = 0
    packets_received: int = 0


class RogueStatistics(msgspec.Struct, frozen=True, gc=False):
    """How often a rogue was heard. That there are statistics of rogues is public (the mask), what they hold is ours."""

    rogue_mac: Mac
    reports: int = 0
    clients: int = 0
    last_seen_s: int = 0


class Interferer(msgspec.Struct, frozen=True, gc=False):
    """A device that disturbs, as one access point sees it. Source: CISCO-LWAPP-SI-MIB cLSiIdr*."""

    device_id: int
    cluster: Mac = NO_MAC
    ap_mac: Mac = NO_MAC
    device_type: int = 0
    severity: int = 0
    duty_cycle: int = 0
    antenna: int = 0
    rssi: int = 0
    band: int = 0
    channels: int = 0
    detected_s: int = 0
    signature: Octets = b""


class AirQuality(msgspec.Struct, frozen=True, gc=False):
    """How clean a channel is at one radio. Source: CISCO-LWAPP-SI-MIB cLSiAq*."""

    ap_mac: Mac
    slot: int = 0
    channel: int = 0
    index: int = 0
    lowest_index: int = 0
    total_power: int = 0
    total_duty_cycle: int = 0
    interference_power: int = 0
    interference_duty_cycle: int = 0
    devices: int = 0
    measured_s: int = 0


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """A wired station that came to a switch port, or left it. Source: wired location service of Catalyst switches.

    state: 0 delete (link down), 1 new (link up). age_s: since the switch noticed.
    """

    station_mac: Mac
    state: int
    slot: int = 0
    port: int = 0
    age_s: int = 0
    category: int = 0
    address: Octets = NO_ADDRESS
    user_name: str = ""
    serial_number: str = ""
    udi: str = ""
    model: str = ""


class PortLocation(msgspec.Struct, frozen=True, gc=False):
    """Where a switch port is. That switches tell locations is public; that it is a text of the port's is ours."""

    slot: int
    port: int
    location: str = ""


class Handover(msgspec.Struct, frozen=True, gc=False):
    """A mobile station that went from one controller to another. The service's name is public, the fields are ours."""

    station_mac: Mac
    from_ap: Mac = NO_MAC
    to_ap: Mac = NO_MAC
    anchor: Octets = NO_ADDRESS


class ApMonitor(msgspec.Struct, frozen=True, gc=False):
    """What a monitored access point does. The service is public (LOM: CISCO-LWAPP-AP-MIB), the fields are ours."""

    ap_mac: Mac
    slot: int = 0
    channel: int = 0
    noise: int = 0
    clients: int = 0
    utilization: int = 0


class ApInfo(msgspec.Struct, frozen=True, gc=False):
    """Which access points a controller has. The service's name is public, the fields are ours."""

    ap_mac: Mac
    state: int = 0
    radios: int = 0
    address: Octets = NO_ADDRESS
    name: str = ""


class WipsAlarm(msgspec.Struct, frozen=True, gc=False):
    """An intrusion that an access point found. Source: Cisco-IOS-XE-wireless-awips-oper."""

    source_mac: Mac
    signature: int = 0
    version: int = 0
    ap_mac: Mac = NO_MAC
    radio: int = 0
    band: int = 0
    channel: int = 0
    rssi: int = 0
    snr: int = 0
    context: str = ""


class WipsSignature(msgspec.Struct, frozen=True, gc=False):
    """One line of a wIPS configuration. That it is pushed to the controller is public, the fields are ours."""

    signature: int
    enabled: int = 1
    threshold: int = 0


class ApGroup(msgspec.Struct, frozen=True, gc=False):
    """The name of a group of access points."""

    name: str
