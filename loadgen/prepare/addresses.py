"""Addresses of somebody else's WLCs, as people write them."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

from loadgen.errors import InputError, Problem
from loadgen.hosts import parse_endpoint
from loadgen.transport.address import host_and_port


def read_targets(text: str, option: str, expected: str = "wlc=HOST:PORT[,...]") -> tuple[tuple[str, int], ...]:
    """Read "wlc=HOST:PORT[,...]".

    Args:
        expected: what the option takes, for the message.

    Raises:
        InputError: every address that is none, or does not resolve.
    """
    side, equals, addresses = text.partition("=")
    if side != "wlc" or not equals:
        # An MSE dials: nobody can be its target. It meets us where `--serve wlc` listens.
        raise InputError(Problem(option, expected, f'"{text}"'))
    problems: list[Problem] = []
    targets: list[tuple[str, int]] = []
    for address in addresses.split(","):
        try:
            host, port = parse_endpoint(address)
            if not port:
                raise ValueError("a port of 1 to 65535 after the address")
            targets.append((_resolve(host), port))
        except ValueError as error:
            problems.append(Problem(option, str(error), f'"{address}"'))
    if problems:
        raise InputError(problems)
    return tuple(targets)


def check_listen(text: str) -> None:
    """Check an address to listen at.

    Raises:
        InputError: it is none.
    """
    try:
        ipaddress.ip_address(parse_endpoint(text)[0])
    except ValueError as error:
        expected = 'an IP address and a port such as "192.0.2.1:16113"'
        raise InputError(Problem("--listen", expected, f'"{text}"')) from error


def _resolve(host: str) -> str:
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return host
    try:
        return host_and_port(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4])[0]
    except (OSError, UnicodeError) as error:
        raise ValueError(f"a host name that resolves ({error})") from error
