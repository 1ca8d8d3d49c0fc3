"""A worker's answer to `loadgen status`: where its driver stands, in pieces between which that has its turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from loadgen.drive.driver import Driver
from loadgen.drive.peers import Census, Peer
from loadgen.drive.phase import Phase
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.run.channel import AskStatus, StatusPart
from loadgen.status.answer import PeerRow, SideCounts

# Each takes about a millisecond: looking at that many peers, and writing the rows of that many.
_LOOK_AT = 2048
_TELL = 100
_ECHO = (Kind.ECHO_REQUEST, Kind.ECHO_RESPONSE)
_DOWN = "down"


async def answer(
    driver: Driver | None,
    order: AskStatus,
    profile: WireProfile,
    spread: tuple[int, int],
    send: Callable[..., Awaitable[None]],
) -> None:
    """Send what was asked, the last part with the counts, or with what went wrong.

    Args:
        driver: None: nothing was dialed yet.
        spread: number of this worker, and how many play its side.
    """
    try:
        if driver is None:
            await send(StatusPart(order.serial, counts=SideCounts(0, 0, 0, {}, {}, {})))
        else:
            await _tell(driver, order, profile, spread, send)
    except Exception as error:
        # The load goes on, whatever is wrong with an answer.
        await send(StatusPart(order.serial, trouble=repr(error)))


async def _tell(
    driver: Driver,
    order: AskStatus,
    profile: WireProfile,
    spread: tuple[int, int],
    send: Callable[[StatusPart], Awaitable[None]],
) -> None:
    census = Census(order.question)
    for index, peer in enumerate(driver.peers(), 1):
        census.look_at(peer)
        if not index % _LOOK_AT:
            await trio.lowlevel.checkpoint()
    chosen = census.chosen()
    for first in range(0, len(chosen), _TELL):
        rows = tuple(row_of(driver, peer, profile, spread) for peer in chosen[first : first + _TELL])
        await send(StatusPart(order.serial, rows))
    await send(StatusPart(order.serial, counts=census.counts(driver.statistics())))


def row_of(driver: Driver, peer: Peer, profile: WireProfile, spread: tuple[int, int]) -> PeerRow:
    """A peer as it stands now."""
    link, offered, granted, notifications = peer.link, peer.offered, 0, 0
    if link is not None:
        notifications = link.notifications
        if link.endpoint is not None:
            offered = link.endpoint.offered or offered
            if link.phase is Phase.ACTIVE:
                granted, notifications = link.endpoint.granted, driver.notified(link)
    said, heard = peer.totals(link, notifications)
    owner, mac = driver.owner(peer)
    unsupported = heard.pop(Kind.UNSUPPORTED, 0)
    worker, workers = spread
    return PeerRow(
        owner=owner,
        owner_mac=mac,
        address=peer.address,
        port=peer.port,
        connection_id=(peer.serial - 1) * workers + worker + 1 if peer.serial else 0,
        phase=_DOWN if link is None else link.phase.name.lower().replace("_", " "),
        offered=offered,
        granted=granted,
        connections=peer.connections,
        disconnections=peer.disconnections,
        sent={profile.id_of(kind): count for kind, count in said.items()},
        heard={profile.id_of(kind): count for kind, count in heard.items()},
        unsupported=unsupported,
        echo_sent=sum(said.get(kind, 0) for kind in _ECHO),
        echo_heard=sum(heard.get(kind, 0) for kind in _ECHO),
    )
