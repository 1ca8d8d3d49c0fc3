"""MAC addresses: the name an MSE has on a controller (the user name of its AAA entry) and in its
certificate."""

from __future__ import annotations

import re

EXPECTED_MAC = "a MAC address such as 00:50:56:9c:34:89 or 0050569c3489"

LAST_MAC = 0xFFFF_FFFF_FFFF

# The four forms the field prints: user name on IOS-XE, show server-auth-info, Windows tools, IOS `show`
# output. The separator is the same throughout, so that 00:50-56... is a typing error and not an address.
_FORMS = re.compile(
    r"[0-9a-f]{12}|[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}",
    re.IGNORECASE | re.ASCII,
)
_SEPARATORS = str.maketrans("", "", ":-.")

_LOCAL_BIT = 0x02 << 40
_GROUP_BIT = 0x01 << 40


def parse_mac(text: str) -> str:
    """Read 0050569c3489, 00:50:56:9c:34:89, 00-50-56-9C-34-89 or 0050.569c.3489 as 00:50:56:9c:34:89.

    Raises:
        ValueError: any other text, also one with blanks around it; its message is what was expected.
    """
    if _FORMS.fullmatch(text) is None:
        raise ValueError(EXPECTED_MAC)
    return mac_from_int(mac_to_int(text))


def mac_from_int(value: int) -> str:
    """12 lower-case hex digits with colons: 0x0050569c3489 -> 00:50:56:9c:34:89."""
    return value.to_bytes(6, "big").hex(":")


def mac_to_int(mac: str) -> int:
    """The 48-bit number of an address that `parse_mac` accepts."""
    return int(bare_mac(mac), 16)


def bare_mac(mac: str) -> str:
    """00:50:56:9c:34:89 -> 0050569c3489, the form of IOS-XE user names.

    Source: user name in the 3850 configuration of Cisco's MSE/converged access troubleshooting document.
    """
    return mac.translate(_SEPARATORS)


def local_mac(value: int) -> str:
    """A unicast, locally administered address made of the low 48 bits of `value` (two of them are
    overwritten).

    No manufacturer owns such an address, so an invented MSE cannot be taken for a device on the network.
    """
    return mac_from_int((value & LAST_MAC | _LOCAL_BIT) & ~_GROUP_BIT)
