"""Who speaks, and to whom, in a header: bytes that are one value in each stream, whatever it says.

The address of a device, the IPv4 addresses of the session's ends, and numbers of which each side's own is what the
other says of its peer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen.infer.addresses import may_be_mac
from loadgen.infer.columns import Field, HeadColumns

__all__ = ["find_ends", "find_sender"]

_SIZE = 6
# How wide fields are that are looked for in pairs; sessions in which they have to be one.
_PAIRS, _SESSIONS = (8, 6, 4, 2, 1), 2
# Frames that are looked through for the maker of an address, and the share of them that has one behind the header.
_FRAMES, _SHARE = 400, 0.05


def find_ends(header: HeadColumns) -> None:
    """Puts the IPv4 addresses of the session's own ends, and pairs of fields that are the other way round in the other
    direction: who speaks and who is spoken to."""
    firsts = _first_rows(header)
    for side, name in ((0, "sender_ip"), (1, "receiver_ip")):
        at = _of_session(header, firsts, side)
        if at is not None:
            evidence = f"the IPv4 address of who {'speaks' if side == 0 else 'is spoken to'}, as packets have it"
            header.put(name, at, 4, "ipv4", 0.95, evidence)
    for size in _PAIRS:
        at = 0
        while at + 2 * size <= header.end:
            if _are_mirrored(header, firsts, at, size):
                for place in (at, at + size):
                    _put_end(header, place, size)
                at += size
            at += 1


def _put_end(header: HeadColumns, at: int, size: int) -> None:
    """One of two ends, apart from what says of which kind its address is."""
    evidence = "the two are the other way round in answers"
    address = at + size - _SIZE
    is_mac = address >= at and _are_addresses(header, address)
    before = size - _SIZE if is_mac else size
    if before:
        header.put(f"end_{at}", at, before, "number", 0.7, evidence)
    if is_mac:
        header.put(f"end_{address}", address, _SIZE, "mac", 0.7, evidence)


def _first_rows(header: HeadColumns) -> list[tuple[int, int]]:
    """Of each session that both sides speak in, a row of the client and one of the server."""
    heads = header.heads
    found = []
    for rows in heads.dialogues():
        own, other = rows[heads.of_client[rows]], rows[~heads.of_client[rows]]
        if len(own) and len(other):
            found.append((int(own[0]), int(other[0])))
    return found


def _of_session(header: HeadColumns, firsts: Sequence[tuple[int, int]], side: int) -> int | None:
    """Where frames have the address of their own end of the session (side 0), or that of the other one (1)."""
    heads = header.heads
    known = [pair for pair in firsts if int(heads.session[pair[0]]) in heads.ends]
    for at in range(header.end - 3) if known else ():
        if all(header.free(column) and heads.stays[column] for column in range(at, at + 4)) and all(
            heads.cells[row, at : at + 4].tobytes() == heads.ends[int(heads.session[row])][which]
            for pair in known
            for row, which in zip(pair, (side, 1 - side), strict=True)
        ):
            return at
    return None


def _are_mirrored(header: HeadColumns, firsts: Sequence[tuple[int, int]], at: int, size: int) -> bool:
    """Whether two fields side by side change places between the directions of each session."""
    heads = header.heads
    both = range(at, at + 2 * size)
    if len(firsts) < _SESSIONS or not all(header.free(column) and heads.stays[column] for column in both):
        return False
    for own, other in firsts:
        one, two = (heads.cells[row, at : at + 2 * size].tobytes() for row in (own, other))
        if one == two or one != two[size:] + two[:size]:
            return False
    return True


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
