"""Who drives the endpoints of each transport, and what they need first: a row for each name in `loadgen.transports`.

What a worker's plan has no use for is not imported: it starts, and so does the first session, without.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.driver import Driver
from loadgen.drive.equipment import Equipment
from loadgen.loads import LoadKind
from loadgen.scenario.plan import Plan
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
    """What drives the endpoints of one plan.

    Attributes:
        bind: a WLC's socket; idle: nobody is to be able to connect yet. Raises OSError.
        make_context: of OpenSSL's.
        wlcs: the driver of its WLCs.
        mses, shaking_mses: that of MSEs that have sessions, and of those of which nothing but handshakes is wanted.
    """

    bind: Callable[[tuple[str, int], bool], socket.socket]
    make_context: ContextMaker
    wlcs: WlcMaker
    mses: SessionMaker
    shaking_mses: MseMaker


def drivers_of(plan: Plan) -> TransportDrivers:
    """Those of its transport; what other plans are driven by is not imported."""
    return _TRANSPORTS[plan.transport](plan)


def _tls(plan: Plan) -> TransportDrivers:
    from loadgen.drive.tls_accept import listener
    from loadgen.drive.tls_mse import MseShard

    return TransportDrivers(listener, ClockedContext, _tls_wlcs(plan), MseShard, _shaking_tls_mses)


def _tls_wlcs(plan: Plan) -> WlcMaker:
    if plan.load.kind is LoadKind.HANDSHAKE:
        from loadgen.drive.tls_handshakes import HandshakeWlcShard

        return HandshakeWlcShard
    if plan.replay is not None:
        from loadgen.drive.tls_replay import ReplayShard

        return ReplayShard
    if plan.site is not None:
        from loadgen.drive.tls_site import SiteShard

        return SiteShard
    from loadgen.drive.tls_wlc import WlcShard

    return WlcShard


def _shaking_tls_mses(equipment: Equipment, addresses: Addresses, contexts: Sequence[SSL.Context]) -> Driver:
    from loadgen.drive.tls_handshakes import HandshakeMseShard

    return HandshakeMseShard(equipment, addresses, contexts)


def _dtls(plan: Plan) -> TransportDrivers:
    from loadgen.drive.dtls_handshakes import DtlsHandshakeMseDriver, DtlsHandshakeWlcDriver
    from loadgen.drive.dtls_mse import DtlsMseDriver
    from loadgen.drive.dtls_site import DtlsSiteDriver
    from loadgen.drive.dtls_wlc import DtlsWlcDriver
    from loadgen.transport import dtls

    assert plan.replay is None  # a capture is of TCP
    notifying: WlcMaker = DtlsWlcDriver if plan.site is None else DtlsSiteDriver
    return TransportDrivers(
        bind=lambda address, _idle: dtls.listen(address),
        make_context=dtls.DatagramContext,
        wlcs=DtlsHandshakeWlcDriver if plan.load.kind is LoadKind.HANDSHAKE else notifying,
        mses=DtlsMseDriver,
        shaking_mses=DtlsHandshakeMseDriver,
    )


_TRANSPORTS: dict[str, Callable[[Plan], TransportDrivers]] = {"tls": _tls, "dtls": _dtls}
