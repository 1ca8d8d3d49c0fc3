"""Host and port as sockets want and tell them: of an IPv6 address, the zone is a number beside it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import suppress
from typing import Any


def socket_address(host: str, port: int) -> tuple[Any, ...]:
    """What `bind` and `connect` take, of a numeric address with a zone or without.

    Raises:
        OSError: there is no such zone.
    """
    if ":" not in host:
        return host, port
    bare, _, zone = host.partition("%")
    # As the kernel will tell it: whoever looks a peer up by its address has it so.
    return str(ipaddress.ip_address(bare)), port, 0, _index(zone) if zone else 0


def _index(zone: str) -> int:
    if zone.isdecimal():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError as error:  # without a number
        raise OSError(errno.ENODEV, f"no interface {zone}") from error


def host_and_port(address: tuple[Any, ...]) -> tuple[str, int]:
    """What `getsockname`, `accept` and `getaddrinfo` tell, with the zone's name where there is one."""
    host, port = str(address[0]), int(address[1])
    if len(address) == 4 and address[3] and "%" not in host:
        zone = str(address[3])
        with suppress(OSError):  # gone since
            zone = socket.if_indextoname(address[3])
        host = f"{host}%{zone}"
    return host, port
