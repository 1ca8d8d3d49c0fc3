"""What this machine can do, by what handshakes and notifications cost where that was measured: docs/performance.md."""

from __future__ import annotations

import msgspec

from loadgen.loads import LoadKind
from loadgen.prepare.machine import cpus_available
from loadgen.scenario.plan import Plan, Use
from loadgen.transports import TRANSPORTS

# CPU time of one side for each notification, beside what sending it costs.
_NOTIFICATION_S = 0.25e-6
_HANDSHAKE_S = {"p256": 520e-6, "rsa-2048": 775e-6}


class Effort(msgspec.Struct, frozen=True):
    """What the load takes at its peak, and what there is. Rates are of notifications on the wire, or of handshakes.

    Attributes:
        cpus: of this machine, as many as our processes may use.
        cpus_needed: kept busy by all sides that are ours; 0 where the load is the peer's, or as fast as it goes.
        on_time_per_s: as many as are done on time: of notifications, with each burst written by itself.
        most_per_s: as many as are done at all: what is late goes out together, and costs the less.
        handshakes_per_s: as many as are dialed, or accepted, at once.
    """

    cpus: float
    cpus_needed: float
    on_time_per_s: float
    most_per_s: float
    handshakes_per_s: float


def effort_of(plan: Plan, peak_per_s: float, workers: int, together: float) -> Effort:
    """Args: peak_per_s: what we have to make; workers: per side; together: notifications that may go at once."""
    sides = 2 if plan.use is Use.BOTH else 1
    cpus = cpus_available()
    # Neither side can have more than its workers, and both share the machine.
    of_a_side = min(workers, cpus / sides)
    transport = TRANSPORTS[plan.transport]
    handshake_s = _HANDSHAKE_S[plan.tls.key] * transport.handshake_cost
    alone_s = together_s = handshake_s
    if plan.load.kind is LoadKind.NOTIFY:
        alone_s = transport.send_s / min(plan.load.burst, together) + _NOTIFICATION_S
        together_s = transport.send_s / together + _NOTIFICATION_S
    return Effort(
        cpus=cpus,
        cpus_needed=sides * peak_per_s * alone_s,
        on_time_per_s=of_a_side / alone_s,
        most_per_s=of_a_side / together_s,
        handshakes_per_s=of_a_side / handshake_s,
    )
