"""Who drives the endpoints of each transport, and what they need first: a row for each name in `loadgen.transports`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.driver import Driver
from loadgen.drive.dtls_handshakes import DtlsHandshakeMseDriver, DtlsHandshakeWlcDriver
from loadgen.drive.dtls_mse import DtlsMseDriver
from loadgen.drive.dtls_site import DtlsSiteDriver
from loadgen.drive.dtls_wlc import DtlsWlcDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.tls_accept import listener
from loadgen.drive.tls_handshakes import HandshakeMseShard, HandshakeWlcShard
from loadgen.drive.tls_mse import MseShard
from loadgen.drive.tls_replay import ReplayShard
from loadgen.drive.tls_site import SiteShard
from loadgen.drive.tls_wlc import WlcShard
from loadgen.loads import LoadKind
from loadgen.scenario.plan import Plan
from loadgen.transport import dtls
from loadgen.transport.contexts import ContextMaker
from loadgen.transport.verifying import ClockedContext

# Of bound sockets and contexts of a worker's WLCs, and of addresses of all WLCs and contexts of all MSEs of its plan.
WlcMaker: TypeAlias = Callable[[Equipment, Sequence[socket.socket], Sequence[SSL.Context], Aaa | None], Driver]
Addresses: TypeAlias = Sequence[tuple[str, int]]
MseMaker: TypeAlias = Callable[[Equipment, Addresses, Sequence[SSL.Context]], Driver]


class DialsSessions(Driver, Protocol):
    """A driver of MSEs that have sessions."""

    def start_dialing(self, at_ns: int, again_until_ns: int = 0) -> None:
        """The plan's first session is dialed at `at_ns` (monotonic), the others at the plan's rate; where nobody is,
        again until `again_until_ns`.
        """


SessionMaker: TypeAlias = Callable[[Equipment, Addresses, Sequence[SSL.Context]], DialsSessions]


class TransportDrivers(NamedTuple):
    """Of one transport.

    Attributes:
        bind: a WLC's socket; idle: nobody is to be able to connect yet. Raises OSError.
        make_context: of OpenSSL's.
        wlcs, site_wlcs, shaking_wlcs: the driver of WLCs that notify at a rate, that have a site, and of which
            nothing but handshakes is wanted. replaying_wlcs: of those that say what was recorded; None: none can.
        mses, shaking_mses: the same of MSEs; those at a site are as all that have sessions.
    """

    bind: Callable[[tuple[str, int], bool], socket.socket]
    make_context: ContextMaker
    wlcs: WlcMaker
    site_wlcs: WlcMaker
    shaking_wlcs: WlcMaker
    mses: SessionMaker
    shaking_mses: MseMaker
    replaying_wlcs: WlcMaker | None = None

    def wlc_maker(self, plan: Plan) -> WlcMaker:
        """What drives the WLCs of this plan."""
        if plan.load.kind is LoadKind.HANDSHAKE:
            return self.shaking_wlcs
        if plan.replay is not None:
            assert self.replaying_wlcs is not None  # a capture is of TCP
            return self.replaying_wlcs
        return self.wlcs if plan.site is None else self.site_wlcs


TRANSPORT_DRIVERS = {
    "tls": TransportDrivers(
        bind=listener,
        make_context=ClockedContext,
        wlcs=WlcShard,
        site_wlcs=SiteShard,
        shaking_wlcs=HandshakeWlcShard,
        mses=MseShard,
        shaking_mses=HandshakeMseShard,
        replaying_wlcs=ReplayShard,
    ),
    "dtls": TransportDrivers(
        bind=lambda address, _idle: dtls.listen(address),
        make_context=dtls.DatagramContext,
        wlcs=DtlsWlcDriver,
        site_wlcs=DtlsSiteDriver,
        shaking_wlcs=DtlsHandshakeWlcDriver,
        mses=DtlsMseDriver,
        shaking_mses=DtlsHandshakeMseDriver,
    ),
}
