"""Hosts and ports as people write and read them: brackets around IPv6 addresses, and zones (`%eth0`) kept."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

# A range of addresses, in what a WLC side says of where it listens: "127.0.8.1:16113 ... 127.0.8.20:16113".
THROUGH = " ... "
# Two addresses are listed one by one.
_FEWEST_OF_A_RANGE = 3
# What stands in a line may be any program's words: no range is longer than a plan may be.
_MOST_OF_A_RANGE = 250_000
# The time of day at the beginning of a log line is no address.
_ENDPOINT = r"(?<![\w:.%-])(?:\[[0-9a-fA-F:.]+(?:%[\w.-]+)?\]|(?!\d+:)[\w.-]+):\d{1,5}(?![\w:])"
_ENDPOINTS = re.compile(rf"({_ENDPOINT})(?:{re.escape(THROUGH)}({_ENDPOINT}))?")


def parse_endpoint(text: str) -> tuple[str, int]:
    """Read "192.0.2.1:16113" or "[fe80::1%eth0]:16113".

    Raises:
        ValueError: the message says what was expected.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not host or not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError('an address and a port such as "127.0.1.1:16113" or "[::1]:16113"')
    return host, int(port)


def endpoint_shown(host: str, port: int | str) -> str:
    """As `parse_endpoint` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def further(host: str, count: int) -> str:
    """The address that comes `count` after this one, in the same zone.

    Raises:
        ValueError: it is none, or there are no more.
    """
    bare, percent, zone = host.partition("%")
    return f"{ipaddress.ip_address(bare) + count}{percent}{zone}"


def endpoints_shown(endpoints: Sequence[tuple[str, int]]) -> str:
    """All of them; those that follow each other, by address or by port, by the first and the last one."""
    shown = []
    for first, last, count in _ranges(endpoints):
        ends = [endpoint_shown(*first), endpoint_shown(*last)]
        shown.append(THROUGH.join(ends) if count >= _FEWEST_OF_A_RANGE else " ".join(ends[:count]))
    return " ".join(shown)


def endpoints_in(text: str) -> list[tuple[str, int]]:
    """All that a line names, in any words around them; "A ... B" is all from A to B.

    Raises:
        ValueError: the message says what was expected.
    """
    found: list[tuple[str, int]] = []
    for first, last in _ENDPOINTS.findall(text):
        start = parse_endpoint(first)
        found += _between(start, parse_endpoint(last)) if last else [start]
    return found


def _ranges(endpoints: Sequence[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], tuple[str, int], int]]:
    """First, last and how many of each stretch in which the address, or the port, goes up by one."""
    begin, step = 0, (0, 0)
    for index, (one, other) in enumerate(pairwise(endpoints), 1):
        by = _step(one, other)
        if by in ((1, 0), (0, 1)) and (index - begin == 1 or by == step):
            step = by
            continue
        yield endpoints[begin], endpoints[index - 1], index - begin
        begin = index
    if endpoints:
        yield endpoints[begin], endpoints[-1], len(endpoints) - begin


def _step(one: tuple[str, int], other: tuple[str, int]) -> tuple[int, int]:
    """How much further an address and a port are; 0 and 0 where that cannot be told."""
    try:
        numbers = [ipaddress.ip_address(host.partition("%")[0]) for host, _ in (one, other)]
    except ValueError:  # a name
        return 0, 0
    same_kind = numbers[0].version == numbers[1].version and one[0].partition("%")[2] == other[0].partition("%")[2]
    return (int(numbers[1]) - int(numbers[0]), other[1] - one[1]) if same_kind else (0, 0)


def _between(first: tuple[str, int], last: tuple[str, int]) -> list[tuple[str, int]]:
    expected = f"as many addresses, or as many ports, as from one to the other of {endpoint_shown(*first)}"
    hosts, ports = _step(first, last)
    if (hosts > 0) == (ports > 0) or not 0 <= hosts + ports < _MOST_OF_A_RANGE or hosts < 0 or ports < 0:
        raise ValueError(f"{expected}{THROUGH}{endpoint_shown(*last)}")
    if hosts:
        return [(further(first[0], index), first[1]) for index in range(hosts + 1)]
    return [(first[0], first[1] + index) for index in range(ports + 1)]
