"""The devices of each endpoint: recorded MACs, mapped one to one, and never to those of another endpoint.

A MAC that is mapped has a rank among all recorded ones that are; endpoint e has number e times their count plus the
rank. "local" counts them in 40 bits behind a first octet that is locally administered, and of no recorded MAC. "oui"
leaves the first three octets as they are and counts in the last three, apart for each of them, over what the recorded
MACs that stay have taken.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loadgen.distinct import distinct
from loadgen.errors import InputError, Problem

MacSpace = Literal["local", "oui"]
Macs = NDArray[np.uint8]  # a row of six each

_LOW_BITS = {"local": 40, "oui": 24}
# Ours, of WLCs, MSEs and simulated stations, begin with 02.
_FIRST_OCTETS = range(0x06, 0x100, 4)
_NUMBER = np.dtype(">u8")


def is_mapped(macs: Macs) -> NDArray[np.bool_]:
    """Which are of one device; the others, of groups and of nobody, stay as they are."""
    mapped: NDArray[np.bool_] = (macs[:, 0] & 1 == 0) & macs.any(axis=1)
    return mapped


class MacMap:
    """What the recorded MACs become at each endpoint."""

    def __init__(self, macs: Macs, mapped: NDArray[np.bool_], space: MacSpace, endpoints: int) -> None:
        """Args:
        macs: all recorded ones, each once. mapped: which of them become others.

        Raises:
            InputError: so many endpoints have not got room in that space.
        """
        self._macs, self._mapped, self._space = macs, np.flatnonzero(mapped), space
        chosen = macs[self._mapped]
        self._groups: list[tuple[NDArray[np.int64], int, NDArray[np.int64]]] = []
        if space == "local":
            taken = set(macs[:, 0].tolist())
            octet = next((each for each in _FIRST_OCTETS if each not in taken), None)
            if octet is None:
                raise InputError(Problem("load.macs", '"oui": the capture has MACs of all local kinds', '"local"'))
            self._add(np.arange(len(chosen)), octet << 40, np.empty(0, np.int64), endpoints)
            return
        numbers = _numbers(macs)
        staying = np.delete(numbers, self._mapped)
        prefixes = _numbers(chosen) >> 24 << 24
        for prefix in distinct(prefixes).tolist():
            reserved = distinct(staying[staying >> 24 << 24 == prefix]) - prefix
            self._add(np.flatnonzero(prefixes == prefix), prefix, reserved, endpoints)

    def _add(self, rows: NDArray[np.int64], prefix: int, reserved: NDArray[np.int64], endpoints: int) -> None:
        bits = _LOW_BITS[self._space]
        if len(rows) * endpoints + len(reserved) > 1 << bits:
            room = max(1, ((1 << bits) - len(reserved)) // max(1, len(rows)))
            raise InputError(
                Problem(f'load.macs = "{self._space}"', f"at most {room:,} endpoints with that capture", str(endpoints))
            )
        # So many numbers are free before each of those that are not.
        self._groups.append((rows, prefix, reserved - np.arange(len(reserved))))

    def of(self, endpoint: int) -> Macs:
        """All recorded MACs, in their order, as this endpoint has them."""
        found = self._macs.copy()
        for rows, prefix, free_before in self._groups:
            number = endpoint * len(rows) + np.arange(len(rows))
            number += np.searchsorted(free_before, number, "right")
            found[self._mapped[rows]] = (number + prefix).astype(_NUMBER).view(np.uint8).reshape(-1, 8)[:, 2:]
        return found


def _numbers(macs: Macs) -> NDArray[np.int64]:
    wide = np.zeros((len(macs), 8), np.uint8)
    wide[:, 2:] = macs
    return wide.view(_NUMBER)[:, 0].astype(np.int64)
