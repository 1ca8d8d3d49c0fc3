"""The address of who speaks, in a header: six bytes that are one value in each stream, whatever it says."""

from __future__ import annotations

import numpy as np

from loadgen.infer.addresses import may_be_mac
from loadgen.infer.columns import Field, HeadColumns

__all__ = ["find_sender"]

_SIZE = 6
# Frames that are looked through for the maker of an address, and the share of them that has one behind the header.
_FRAMES, _SHARE = 400, 0.05


def find_sender(header: HeadColumns) -> Field | None:
    """Puts the field. None: there is none.

    It stands alone among what varies otherwise, or the access points that bodies tell of are of its maker.
    """
    heads = header.heads
    inside = [header.free(column) and heads.stays[column] for column in range(header.end)]
    at = 0
    while at < header.end:
        end = at
        while end < header.end and inside[end]:
            end += 1
        shares = {first: _again(header, first) for first in range(at, end - _SIZE + 1) if _is_own(header, first)}
        if shares:
            first = max(shares, key=lambda place: (shares[place], -place))
            told = shares[first] >= _SHARE
            if told or (end - at == _SIZE and _are_addresses(header, first)):
                evidence = "one value in each direction of a session, as addresses are"
                evidence += ", and bodies have others of its maker" if told else ""
                return header.put("sender", first, _SIZE, "mac", 0.9 if told else 0.6, evidence)
        at = end + 1
    return None


def _is_own(header: HeadColumns, at: int) -> bool:
    """Whether six bytes tell more than the direction, and the first is that of a single device's address."""
    heads = header.heads
    return any(heads.of_stream[at : at + _SIZE]) and not (heads.cells[:, at] & 1).any()


def _are_addresses(header: HeadColumns, at: int) -> bool:
    cells = np.unique(header.heads.cells[:, at : at + _SIZE], axis=0)
    return all(may_be_mac(row.tobytes()) for row in cells)


def _again(header: HeadColumns, at: int) -> float:
    """Share of frames that have the first half of the address behind it, too."""
    heads = header.heads
    rows = np.unique(np.linspace(0, len(heads) - 1, min(len(heads), _FRAMES)).astype(int)).tolist()
    frames = [heads.frames[row].data for row in rows]
    again = [any(data[at : at + 3]) and data[at : at + 3] in data[at + _SIZE :] for data in frames]
    return sum(again) / len(again)
