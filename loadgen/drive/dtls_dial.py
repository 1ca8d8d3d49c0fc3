"""Drivers that play MSEs over DTLS: each association has a socket of its own, for as long as it lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio
from OpenSSL import SSL

from loadgen.drive.dialing_from import DialingFrom
from loadgen.drive.dtls import DtlsDriver, DtlsLinkT
from loadgen.drive.equipment import Equipment
from loadgen.transport.dtls import Association, dial


class DialingDriver(DtlsDriver[DtlsLinkT]):
    """A driver that dials every `workers`-th session of the plan, from `worker` on.

    Attributes:
        open: what was dialed and is not over yet.
    """

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        """Args: addresses: of all WLCs of the plan; contexts: of all its MSEs."""
        super().__init__(equipment)
        share = equipment.share
        self.worker, self.workers = share.worker, share.workers
        self.sessions = equipment.plan.sessions[share.worker :: share.workers]
        self._addresses, self._contexts = addresses, contexts
        self._dialing_from = DialingFrom(equipment)
        self.open: dict[int, trio.DTLSEndpoint] = {}

    def dial(self, key: int, number: int, link: Callable[[Association], DtlsLinkT]) -> DtlsLinkT:
        """Begin with the session in this row. Args: key: nothing else under it is under way; link: makes the
        association's.

        Raises:
            TransportFault: no socket to be had.
        """
        session = self.sessions[number]
        address = self._addresses[session.wlc]
        channel = dial(address, self._contexts[session.mse], self._dialing_from(number, address[0]))
        self.open[key] = channel.endpoint
        made = link(Association(channel, self.plan.dtls.mtu))
        if self.tracer is not None:
            made.association.observer = self.tracer.observer(made.number, address)
        self.links.add(made)  # its task begins later
        self.nursery.start_soon(self._live, key, made)
        return made

    async def _live(self, key: int, link: DtlsLinkT) -> None:
        await self.live(link)
        endpoint = self.open.pop(key)
        self.retire(endpoint)
        endpoint.close()
        self.let_go(link)

    def let_go(self, link: DtlsLinkT) -> None:
        """A link is over, and its socket closed."""

    def endpoints(self) -> list[trio.DTLSEndpoint]:
        return list(self.open.values())

    def shut(self) -> None:
        for endpoint in self.open.values():
            endpoint.close()
        self.open.clear()
