"""Addresses that MSEs dial from: what `mse.bind` says, and how they are dealt out.

A connection is an address and a port at both ends, and one address has some 28,000 ports for those to one WLC. So the
sessions of a WLC go round the addresses, one each, and begin at another one at every WLC: each address has as many of a
WLC's sessions as any other, or one more, and over all WLCs, too.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from loadgen.errors import Problem
from loadgen.hosts import further

# More than any plan needs. Each is looked at before a run.
MOST_SOURCES = 4096
_EXPECTED = (
    'an address such as "127.0.9.1", a range ("127.0.9.1-127.0.9.40") or a prefix ("127.0.9.0/26", "2001:db8::/122")'
)
# Prefixes of one or two addresses have no address of the network, and none that all listen to.
_HOSTS_ONLY = {4: 30, 6: 126}


class Stretch(NamedTuple):
    """Addresses that follow each other: the first one, and how many."""

    first: str
    size: int

    def addresses(self) -> Iterator[str]:
        return (further(self.first, index) for index in range(self.size))


def read_stretch(text: str) -> Stretch:
    """Read an address, a range or a prefix.

    Raises:
        ValueError: the message says what was expected.
    """
    try:
        if "/" in text:
            return _hosts_of(text)
        bare, dash, last = text.partition("-")
        first = ipaddress.ip_address(bare)
        if not dash:
            return Stretch(str(first), 1)
        end = ipaddress.ip_address(last)
        if end.version == first.version and int(end) >= int(first):
            return Stretch(str(first), int(end) - int(first) + 1)
    except ValueError:
        pass
    raise ValueError(_EXPECTED)


def _hosts_of(text: str) -> Stretch:
    network = ipaddress.ip_network(text)
    size = network.num_addresses
    if network.prefixlen > _HOSTS_ONLY[network.version]:
        return Stretch(str(network[0]), size)
    return Stretch(str(network[1]), size - (2 if network.version == 4 else 1))  # IPv6 has no broadcast


def check_bind(bind: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with `mse.bind`."""
    total = 0
    for index, text in enumerate(bind):
        try:
            total += read_stretch(text).size
        except ValueError as error:
            yield Problem(f"mse.bind[{index}]", str(error), f'"{text}"')
            return
    if total > MOST_SOURCES:
        yield Problem("mse.bind", f"at most {MOST_SOURCES:,} addresses", f"{total:,}")
        return
    (twice, times), *_ = Counter(sources_of(bind)).most_common(1) or [("", 0)]
    if times > 1:
        yield Problem("mse.bind", "each address once", f"{twice} again")


def sources_of(bind: Sequence[str]) -> list[str]:
    """All addresses of what was checked, in its order."""
    return [address for text in bind for address in read_stretch(text).addresses()]


def is_v6(host: str) -> bool:
    return ":" in host


class Sources:
    """Where sessions are dialed from.

    Attributes:
        given: there are any; otherwise the kernel chooses.
    """

    def __init__(self, bind: Sequence[str]) -> None:
        addresses = sources_of(bind)
        self.given = bool(addresses)
        self._of_kind = {kind: [each for each in addresses if is_v6(each) is kind] for kind in (False, True)}

    def __len__(self) -> int:
        return sum(map(len, self._of_kind.values()))

    def for_peer(self, host: str) -> list[str]:
        """Those from which this address can be dialed."""
        return self._of_kind[is_v6(host)]

    def of(self, host: str, turn: int) -> str | None:
        """The one whose turn it is to dial this address; None: the kernel chooses."""
        addresses = self.for_peer(host)
        return addresses[turn % len(addresses)] if addresses else None


def turns_of(wlcs: Iterable[int]) -> list[int]:
    """Of each of a plan's sessions the turn that is its own at its WLC. Args: wlcs: the WLC of each."""
    so_far = Counter[int]()
    turns = []
    for wlc in wlcs:
        turns.append(so_far[wlc] + wlc)
        so_far[wlc] += 1
    return turns
